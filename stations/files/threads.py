"""The threads of the file exchange: a few for files, a few for rows. The event loop never waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from csms import affinity
from stations.connections import with_connection

T = TypeVar("T")

FILE_THREADS = 4
ROW_THREADS = 2

_files = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files", initializer=affinity.roam)
_rows = ThreadPoolExecutor(ROW_THREADS, thread_name_prefix="file-rows")


async def with_file(function: Callable[[], T]) -> T:
    """Run what reads or writes files; it must not touch the database."""
    return await asyncio.get_running_loop().run_in_executor(_files, function)


async def with_rows(function: Callable[[], T]) -> T:
    """Run what reads or writes rows; it opens the tenant's scope itself."""
    return await asyncio.get_running_loop().run_in_executor(_rows, with_connection, function)
