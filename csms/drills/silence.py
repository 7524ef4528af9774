"""Connections that never say what they want, beside those who come to charge: silent ones, and heads that drip.

The server's file descriptors are limited so that there are fewer than strangers (Linux): a right charge point has to
get in all the same, and REST to answer.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

OPENED_AT_ONCE = 50
DRIP_SECONDS = 0.5
# Then those who have not heard that they are to leave are told again.
LEAVE_SECONDS = 1.0
ADDRESSES = 50
# Every third one drips a byte now and then.
DRIPS = 3
PROBE = b"GET /api/v1/charge-points/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass
class Silence:
    """`connections` were opened by strangers, `descriptors` is what the server had; `right` charge points dialled
    meanwhile, in `right_max_ms` at most; `refused` says who was not let in, `rest` how REST answered, by status."""

    connections: int = 0
    descriptors: int = 0
    right: int = 0
    right_max_ms: float = 0.0
    refused: list[str] = field(default_factory=list)
    rest: dict[str, int] = field(default_factory=dict)


class Strangers:
    """So many connections, opened again as soon as they are closed."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._gate = asyncio.Semaphore(OPENED_AT_ONCE)
        self._tasks = [asyncio.create_task(self._one(number)) for number in range(count)]

    async def _one(self, number: int) -> None:
        address = f"127.10.0.{1 + number % ADDRESSES}"
        while True:
            writer = None
            try:
                async with self._gate:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
                if number % DRIPS == 0:
                    writer.write(b"GET /ocpp/nobody/here HTTP/1.1\r\nX-Drip: ")
                    while not reader.at_eof():
                        writer.write(b"x")
                        # Not wait_for, which before Python 3.12 may swallow the cancellation that ends this.
                        with suppress(TimeoutError):
                            async with asyncio.timeout(DRIP_SECONDS):
                                await reader.read(1024)
                else:
                    await reader.read(1)
            except OSError:
                pass
            finally:
                if writer is not None:
                    writer.close()
            await asyncio.sleep(DRIP_SECONDS)

    async def leave(self) -> None:
        pending = set(self._tasks)
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=LEAVE_SECONDS)


async def beside(
    port: int, pid: int, count: int, seconds: float, dial: Callable[[], Awaitable[tuple[str, int]]]
) -> Silence:
    """What right charge points feel for `seconds` beside `count` strangers; `dial` shakes hands as the next of them and
    gives its identity with the HTTP status (0: no answer)."""
    result = Silence(connections=count)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    result.descriptors = len(os.listdir(f"/proc/{pid}/fd")) + count // 2
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(result.descriptors, before[0]), before[1]))
    strangers = Strangers(port, count)
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            identity, status = await dial()
            result.right += 1
            result.right_max_ms = max(result.right_max_ms, round((time.perf_counter() - began) * 1000, 2))
            if status != 101:
                result.refused.append(f"{identity} beside silent connections: {status or 'no answer'}")
            answered = await _probe(port)
            result.rest[answered] = result.rest.get(answered, 0) + 1
            await asyncio.sleep(0.1)
    finally:
        await strangers.leave()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    return result


async def _probe(port: int) -> str:
    """The status with which REST answers somebody without a key: 401; "0" for no answer."""
    writer: Any = None
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.1", 0))
            writer.write(PROBE)
            return (await reader.readuntil(b"\r\n"))[9:12].decode("latin-1")
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return "0"
    finally:
        if writer is not None:
            writer.close()
