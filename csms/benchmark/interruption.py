"""Ctrl-C ends a long run early, and it still says what it found."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def early_end() -> Iterator[asyncio.Event]:
    """An event of the running loop that the first Ctrl-C sets; a second one is a KeyboardInterrupt, as without it."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        over.set()
        loop.remove_signal_handler(signal.SIGINT)

    try:
        loop.add_signal_handler(signal.SIGINT, end)
    except (NotImplementedError, RuntimeError, ValueError):
        # Not in the main thread, or on a system without: Ctrl-C is what it always was.
        yield over
        return
    try:
        yield over
    finally:
        loop.remove_signal_handler(signal.SIGINT)
