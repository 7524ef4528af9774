"""A server that is told to stop: who balances sees it first, what is in hand is brought to its end, then status 0.

Each test stops a real server by a signal. The database is held up from outside where something must stay in hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest

from csms import server
from stations import connections
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused
from tests.servers import LOOPBACK, CsmsServer, wait_until

SECONDS = 8


def started(make: Callable[..., CsmsServer], **options: Any) -> Csms:
    env = {"CSMS_SHUTDOWN_SECONDS": str(SECONDS)} | options.pop("env", {})
    started_server = make(env=env, **options).start()
    return Csms(started_server, LiveTenant("stopping", started_server.create_tenant("stopping")["api_key"]))


def program(csms: Csms) -> subprocess.Popen[bytes]:
    process = csms.server._program.process
    assert process is not None
    return process


def readiness(csms: Csms) -> tuple[int, str]:
    answer = httpx.get(f"{csms.server.http_url}/readyz/")
    return answer.status_code, answer.json()["parts"]["accepting"]


async def tell(csms: Csms, number: int = signal.SIGTERM) -> float:
    """Send a signal and wait until the server says that it is stopping; when it was sent (monotonic)."""
    at = time.monotonic()
    program(csms).send_signal(number)
    await asyncio.to_thread(wait_until, lambda: readiness(csms) == (503, "stopping"), describe="a stopping server")
    return at


async def end_of(csms: Csms) -> int:
    return await asyncio.to_thread(program(csms).wait, 30)


@contextlib.contextmanager
def held_up(csms: Csms) -> Iterator[None]:
    """Nobody but the caller can write to the server's database meanwhile."""
    url = csms.server.database_url
    if url.startswith("sqlite"):
        connection: Any = sqlite3.connect(urlsplit(url).path, isolation_level=None)
        statement = "BEGIN IMMEDIATE"
    else:
        connection = psycopg.connect(url)
        statement = "LOCK TABLE stations_chargepoint IN ACCESS EXCLUSIVE MODE"
    try:
        connection.execute(statement)
        yield
    finally:
        connection.rollback()
        connection.close()


async def test_stop_from_readiness_to_the_last_answer(
    new_csms_server: Callable[..., CsmsServer], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.setblocking(False)
        env = {"CSMS_READINESS_GRACE_SECONDS": "2", "NOTIFY_SOCKET": str(tmp_path / "notify")}
        csms = await asyncio.to_thread(started, new_csms_server, env=env)
        assert told.recv(99) == b"READY=1"
        idle, busy, newcomer = await asyncio.to_thread(lambda: [csms.charge_point() for _ in range(3)])
        async with idle, busy:
            await idle.boot()
            asked = await asyncio.to_thread(csms.command, busy.identity, "ClearCache", {})
            call = await busy.expect_call("ClearCache")
            at = await tell(csms)
            assert told.recv(99) == b"STOPPING=1"
            # The balancer has not seen it yet: everything goes on, for who is there and for who comes.
            async with newcomer:
                assert (await newcomer.boot())["status"] == "Accepted"
                assert await idle.status(1, "Available") == {}
                assert (await idle.wait_closed()).code == 1012
                assert time.monotonic() - at > 2
                assert (await newcomer.wait_closed()).code == 1012
            # Its answer to a command is still waited for. Who dials is told to come again, and nothing new is begun.
            with pytest.raises(ConnectionRefused) as refused:
                await newcomer.connect()
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "10")
            alive = await asyncio.to_thread(httpx.get, f"{csms.server.http_url}/healthz/")
            assert alive.status_code == 200
            next_command = await asyncio.to_thread(csms.command, busy.identity, "Reset", {"type": "Soft"})
            await busy.reply(call, {"status": "Accepted"})
            assert (await busy.wait_closed()).code == 1012
            assert await end_of(csms) == 0
            assert time.monotonic() - at < 2 + SECONDS
    assert "Traceback" not in csms.server.log()
    await asyncio.to_thread(csms.server.start)
    assert (await asyncio.to_thread(csms.get, f"commands/{asked['id']}/"))["status"] == "answered"
    state = await asyncio.to_thread(csms.get, f"charge-points/{idle.identity}/")
    assert state["connected"] is False
    async with busy:
        await busy.boot()
        await busy.reply(await busy.expect_call("Reset"), {"status": "Accepted"})
        done = await asyncio.to_thread(csms.get, f"commands/{next_command['id']}/", wait=10)
        assert (done["status"], done["response"]) == ("answered", {"status": "Accepted"})


async def test_message_in_hand_is_answered_after_commit_and_then_the_socket_is_closed(
    new_csms_server: Callable[..., CsmsServer],
) -> None:
    csms = await asyncio.to_thread(started, new_csms_server)
    cp, tag = await asyncio.to_thread(csms.charge_point), await asyncio.to_thread(csms.id_tag)
    async with cp:
        await cp.boot()
        with held_up(csms):
            message_ids = [
                await cp.send_call(
                    "StartTransaction",
                    {"connectorId": connector, "idTag": tag, "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"},
                )
                for connector in (1, 2)
            ]
            await tell(csms)
            assert cp.closed is None
        answers = [await cp.answer_for(message_id) for message_id in message_ids]
        assert [answer["idTagInfo"]["status"] for answer in answers] == ["Accepted", "Accepted"]
        assert (await cp.wait_closed()).code == 1012
    assert await end_of(csms) == 0
    assert "Traceback" not in csms.server.log()
    await asyncio.to_thread(csms.server.start)
    found = (await asyncio.to_thread(csms.get, "transactions/"))["results"]
    assert sorted(row["id"] for row in found) == sorted(answer["transactionId"] for answer in answers)


async def test_second_signal_hurries(new_csms_server: Callable[..., CsmsServer]) -> None:
    csms = await asyncio.to_thread(started, new_csms_server, env={"CSMS_READINESS_GRACE_SECONDS": "60"})
    cp = await asyncio.to_thread(csms.charge_point)
    async with cp:
        await asyncio.to_thread(csms.command, cp.identity, "ClearCache", {})
        await cp.expect_call("ClearCache")
        await tell(csms, signal.SIGINT)
        at = time.monotonic()
        program(csms).send_signal(signal.SIGINT)
        # The command stays unanswered: nobody waits for it any more.
        assert (await cp.wait_closed()).code == 1012
        assert await end_of(csms) == 0
        assert time.monotonic() - at < SECONDS / 2


async def test_process_that_cannot_come_to_its_end_shows_where_and_is_gone(
    new_csms_server: Callable[..., CsmsServer],
) -> None:
    csms = await asyncio.to_thread(started, new_csms_server, env={"CSMS_SHUTDOWN_SECONDS": "1"})
    cp = await asyncio.to_thread(csms.charge_point)
    async with cp:
        await cp.boot()
        with held_up(csms):
            await cp.send_call("Heartbeat", {})
            at = await tell(csms)
            assert await end_of(csms) == 1
            assert time.monotonic() - at < 5
    assert "Timeout (0:00:02)!" in csms.server.log()
    assert "in answer_batch" in csms.server.log()


@pytest.mark.redis
async def test_supervisor_stops_all_its_processes(new_csms_server: Callable[..., CsmsServer]) -> None:
    env = {"CSMS_READINESS_GRACE_SECONDS": "60"}
    csms = await asyncio.to_thread(started, new_csms_server, processes=2, env=env)
    charge_points = await asyncio.to_thread(lambda: [csms.charge_point() for _ in range(6)])
    children = psutil.Process(csms.server.pid).children()
    assert len(children) == 2
    async with contextlib.AsyncExitStack() as stack:
        for cp in charge_points:
            await stack.enter_async_context(cp)
        await tell(csms)
        assert [cp.closed for cp in charge_points] == [None] * 6
        # To the supervisor only; it passes the second one on as well.
        program(csms).send_signal(signal.SIGTERM)
        assert [(await cp.wait_closed()).code for cp in charge_points] == [1012] * 6
    assert await end_of(csms) == 0
    assert [child for child in children if child.is_running()] == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((LOOPBACK, csms.server.port), timeout=5)


def test_embedded_worker_ends_its_job_and_begins_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"in hand"}
    monkeypatch.setattr(server.state, "active_requests", jobs)
    monkeypatch.setattr(server.state, "should_stop", None)
    ending = threading.Timer(0.1, jobs.clear)
    ending.start()
    server.finish_embedded(time.monotonic() + 10)
    assert (jobs, server.state.should_stop) == (set(), 0)
    ending.join()
    # One that does not end is left behind in time.
    jobs.add("for ever")
    server.finish_embedded(time.monotonic() + 0.1)
    assert jobs == {"for ever"}


class Leaving:
    """A connection that drain() lets go."""

    def __init__(self, key: tuple[int, int]) -> None:
        self.key = key
        self.answering = self.asking = False
        self.closed_at: float | None = None

    def ring(self) -> None: ...

    def outlived(self) -> None: ...

    async def close_for_restart(self) -> None:
        self.closed_at = time.monotonic()
        process = connections._process()
        del process.connections[self.key]
        if not process.connections:
            process.emptied.set()


class TestSpreading:
    @pytest.fixture
    def leaving(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Leaving]:
        settings.CSMS_SHUTDOWN_SECONDS = 1
        monkeypatch.setattr(connections, "_report_gone", lambda process_id: None)
        return [Leaving((number, 1)) for number in range(1000)]

    async def test_sockets_are_closed_one_after_the_other_over_half_of_the_time(self, leaving: list[Leaving]) -> None:
        process = connections._process()
        process.connections.update({connection.key: connection for connection in leaving})
        began = time.monotonic()
        await connections.drain()
        closed = [connection.closed_at for connection in leaving]
        assert closed == sorted(closed)
        for number in range(0, 1000, 100):
            assert closed[number] - began >= number / 2000 - 0.02
        assert closed[-1] - began < 0.9

    async def test_in_a_hurry_they_are_closed_at_once(self, leaving: list[Leaving]) -> None:
        process = connections._process()
        process.connections.update({connection.key: connection for connection in leaving})
        connections.hurry()
        began = time.monotonic()
        await connections.drain()
        assert leaving[-1].closed_at - began < 0.25

    async def test_one_accepted_meanwhile_is_closed_too(self, leaving: list[Leaving]) -> None:
        process = connections._process()
        first, late = leaving[:2]
        first.answering = True
        process.connections[first.key] = first
        draining = asyncio.create_task(connections.drain())
        await asyncio.sleep(0)
        process.connections[late.key] = late
        await draining
        assert late.closed_at is not None
        # The other had something in hand to the end of what is granted: three quarters of the time.
        assert first.closed_at > late.closed_at
