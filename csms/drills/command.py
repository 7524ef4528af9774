"""What commands share that try the product out on a database of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError

from csms.benchmark.databases import Database, Unavailable, fresh_database
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.station import LoadError


@contextmanager
def own_database(name: str, choice: str) -> Iterator[tuple[Database, Path]]:
    """A new database (`choice` as of fresh_database) and a folder, both removed at the end of the block.

    Raises CommandError for what cannot be had, and for what keeps the block from measuring.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"csms-{name}-") as path:
            folder = Path(path)
            with fresh_database(choice, folder) as database:
                yield database, folder
    except (BenchmarkError, LoadError, Unavailable) as error:
        raise CommandError(str(error)) from error
