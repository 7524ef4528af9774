"""Ctrl-C ends a long run early, and is itself again afterwards."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from csms.benchmark.interruption import early_end


async def test_first_ctrl_c_sets_the_event_and_the_second_interrupts() -> None:
    with early_end() as over:
        assert not over.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(over.wait(), 5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_without_one_nothing_has_changed_after_the_run() -> None:
    with early_end() as over:
        pass
    assert not over.is_set()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


async def test_in_another_thread_ctrl_c_is_left_alone() -> None:
    async def run() -> bool:
        with early_end() as over:
            return over.is_set()

    assert await asyncio.to_thread(asyncio.run, run()) is False
