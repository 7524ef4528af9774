"""PostgreSQL away: all are told within a second, and served again two seconds after it is back. Busy: they wait."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests import lanes
from tests.fake_charge_point import CallErrorReceived, ConnectionRefused, FakeChargePoint, timestamp
from tests.servers import CsmsServer, LiveDatabases, MissingPart, PostgresServer, product_role_url

pytestmark = pytest.mark.postgres
# What is promised, and what a machine that others use as well may take on top.
TOLD_SECONDS, BACK_SECONDS, GRACE_SECONDS = 1.0, 2.0, 1.0
PASSWORD = secrets.token_hex(8)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this module's own, to be killed."""
    server = PostgresServer()
    try:
        server.start()
    except MissingPart as part:
        lanes.missing_part(str(part))
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CsmsServer]:
    directory: Path = tmp_path_factory.mktemp("outage")
    url = LiveDatabases(directory, "outage", product_role_url(postgres.admin_url)).create()
    env = {"CSMS_DATABASE_POOL_SIZE": "4", "CSMS_DATABASE_POOL_TIMEOUT_SECONDS": "1", "CSMS_LANE_THREADS": "2"}
    server = CsmsServer(url, None, directory / "server", env=env)
    server.start()
    yield server
    sys.stdout.write(server.log())
    server.close()


@pytest.fixture(scope="module")
def key(server: CsmsServer) -> str:
    return str(server.create_tenant("outage")["api_key"])


@pytest.fixture
def station(server: CsmsServer, key: str) -> Callable[[], FakeChargePoint]:
    """Makes registered charge points, ready to dial."""

    def make() -> FakeChargePoint:
        identity = f"OUT-{next(_numbers)}"
        server.api("PUT", f"charge-points/{identity}/", {"password": PASSWORD}, key=key).raise_for_status()
        return FakeChargePoint(server.ws_url("outage"), identity, PASSWORD)

    return make


async def in_time(what: Awaitable[Any], seconds: float) -> Any:
    return await asyncio.wait_for(what, seconds)


async def until_right(act: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Repeat `act`, as a charge point or a program would, until it succeeds."""
    deadline = time.monotonic() + seconds
    while not await act():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.05)


async def test_everybody_is_told_at_once_and_served_again_soon(
    postgres: PostgresServer, server: CsmsServer, key: str, station: Callable[[], FakeChargePoint]
) -> None:
    other = station()
    async with station() as cp, httpx.AsyncClient(base_url=server.http_url) as client:
        await cp.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        headers = {"Authorization": f"Api-Key {key}"}
        start = {"connectorId": 1, "idTag": "TAG", "meterStart": 5, "timestamp": timestamp()}

        async def ask() -> httpx.Response:
            return await client.get("/api/v1/charge-points/", headers=headers)

        assert (await ask()).status_code == 200
        await asyncio.to_thread(postgres.kill)
        try:
            for action, payload in (("Heartbeat", {}), ("StartTransaction", start), ("Authorize", {"idTag": "TAG"})):
                with pytest.raises(CallErrorReceived) as refused:
                    await in_time(cp.call(action, payload), TOLD_SECONDS + GRACE_SECONDS)
                assert refused.value.code == "InternalError"
            with pytest.raises(ConnectionRefused) as kept_out:
                await in_time(other.connect(), TOLD_SECONDS + GRACE_SECONDS)
            assert (kept_out.value.status, kept_out.value.headers["Retry-After"]) == (503, "30")
            told = await in_time(ask(), TOLD_SECONDS + GRACE_SECONDS)
            assert (told.status_code, told.json()["code"], "Retry-After" in told.headers) == (503, "unavailable", True)
            # Beside what the REST framework catches: a session is looked up before there is a view.
            for path in ("/admin/", "/api/v1/charge-points/"):
                signed_in = client.get(path, headers={"Cookie": f"sessionid={'x' * 32}"})
                page = await in_time(signed_in, TOLD_SECONDS + GRACE_SECONDS)
                assert (page.status_code, page.headers["Retry-After"]) == (503, "5"), path
            # Many at once are told as soon as one.
            begun = time.monotonic()
            answers = await asyncio.gather(*(cp.send_call("Heartbeat", {}) for _ in range(20)))
            for message_id in answers:
                with pytest.raises(CallErrorReceived):
                    await cp.answer_for(message_id)
            assert time.monotonic() - begun < TOLD_SECONDS + GRACE_SECONDS
        finally:
            await asyncio.to_thread(postgres.start)

        async def beats() -> bool:
            try:
                return "currentTime" in await cp.call("Heartbeat", {})
            except CallErrorReceived:
                return False

        async def dials() -> bool:
            try:
                await other.connect()
            except ConnectionRefused:
                return False
            await other.close()
            return True

        async def answers_again() -> bool:
            return (await ask()).status_code == 200

        await asyncio.gather(*(until_right(act, BACK_SECONDS + GRACE_SECONDS) for act in (beats, dials, answers_again)))
        assert (await cp.call("StartTransaction", start))["transactionId"] > 0


async def test_message_waits_while_every_connection_is_in_use(
    postgres: PostgresServer, server: CsmsServer, key: str, station: Callable[[], FakeChargePoint]
) -> None:
    start = {"connectorId": 1, "idTag": "TAG", "meterStart": 5, "timestamp": timestamp()}
    reading = {"timestamp": timestamp(), "sampledValue": [{"value": "7"}]}
    database = server.database_url.rpartition("/")[2]
    admin_url = postgres.admin_url.rpartition("/")[0] + f"/{database}"
    async with station() as first, station() as second, httpx.AsyncClient(base_url=server.http_url) as client:
        for cp in (first, second):
            await cp.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        path = f"/api/v1/transactions/{(await second.call('StartTransaction', start))['transactionId']}/meter-values/"
        with psycopg.connect(admin_url) as holder:
            holder.execute("LOCK TABLE stations_metervalue IN ACCESS EXCLUSIVE MODE")
            # The lane has to take its connection anew, and the readers have them all.
            holder.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'csms_test'")
            readers = [
                asyncio.create_task(client.get(path, headers={"Authorization": f"Api-Key {key}"}, timeout=30))
                for _ in range(4)
            ]

            def readers_wait() -> bool:
                query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'stations_metervalue'::regclass"
                (number,) = holder.execute(query).fetchone() or (0,)
                return number >= 2

            async def blocked() -> bool:
                return await asyncio.to_thread(readers_wait)

            await until_right(blocked, 10)
            stuck = await first.send_call("MeterValues", {"connectorId": 1, "meterValue": [reading]})
            again = await second.send_call("StartTransaction", start | {"connectorId": 2})
            with pytest.raises(TimeoutError):
                await second.answer_for(again, timeout=3.5)
        assert (await second.answer_for(again))["transactionId"] > 0
        assert await first.answer_for(stuck) == {}
        # Nobody waits for ever on behalf of people.
        assert {answer.status_code for answer in await asyncio.gather(*readers)} <= {200, 503}
