"""Waiting for whichever comes first, without giving up what did not come."""

from __future__ import annotations

import asyncio
from typing import Any


async def first_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:  # noqa: ASYNC109
    """Wait until one of the futures is done, or for so many seconds; look at them to see what it was.

    The futures are left alone: cancelling the waiter does not cancel them, as awaiting one directly would.
    """
    await asyncio.wait(set(futures), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


class Switch:
    """Something that is on or off, where both can be waited for together with other futures (asyncio.Event cannot)."""

    def __init__(self) -> None:
        self.on: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.off.set_result(None)

    @property
    def is_on(self) -> bool:
        return self.on.done()

    def turn_on(self) -> None:
        if not self.on.done():
            self.on.set_result(None)
            self.off = asyncio.get_running_loop().create_future()

    def turn_off(self) -> None:
        if self.on.done():
            self.off.set_result(None)
            self.on = asyncio.get_running_loop().create_future()
