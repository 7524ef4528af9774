"""Two server processes on one PostgreSQL and one Redis: nothing that matters is in the memory of either."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import lanes
from tests.fake_charge_point import FakeChargePoint
from tests.servers import CsmsServer, MissingPart, RedisServer

pytestmark = pytest.mark.redis


class Pair:
    """Two servers on one database, a tenant, and charge points that may dial either."""

    def __init__(self, first: CsmsServer, second: CsmsServer) -> None:
        self.first, self.second = first, second
        self.key = first.create_tenant("pair")["api_key"]
        self._number = 0

    def charge_point(self) -> tuple[str, str]:
        """A new charge point: identity and password."""
        self._number += 1
        identity, password = f"PAIR-{self._number}", secrets.token_hex(8)
        answer = self.first.api("PUT", f"charge-points/{identity}/", {"password": password}, key=self.key)
        assert answer.status_code == 201, answer.text
        return identity, password

    def dial(self, server: CsmsServer, identity: str, password: str) -> FakeChargePoint:
        return FakeChargePoint(server.ws_url("pair"), identity, password=password)

    def command(self, server: CsmsServer, identity: str, wait: int) -> dict[str, Any]:
        answer = server.api(
            "POST",
            f"charge-points/{identity}/commands/",
            {"action": "ClearCache", "payload": {}},
            key=self.key,
            params={"wait": wait} if wait else None,
        )
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def get(self, server: CsmsServer, path: str, **params: Any) -> Any:
        answer = server.api("GET", path, key=self.key, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this module's own, to be restarted."""
    server = RedisServer()
    try:
        server.start()
    except MissingPart as part:
        lanes.missing_part(str(part))
    yield server
    server.close()


@pytest.fixture
def pair(new_csms_server: Callable[..., CsmsServer], own_redis: RedisServer) -> Pair:
    first = new_csms_server()
    first.redis_url = own_redis.url
    first.env["CSMS_REDIS_URL"] = own_redis.url
    first.start()
    return Pair(first, first.sibling())


async def test_command_posted_to_one_process_reaches_a_station_at_the_other(pair: Pair) -> None:
    identity, password = pair.charge_point()
    async with pair.dial(pair.first, identity, password) as station:
        station.on("ClearCache", {"status": "Accepted"})
        await station.heartbeat()
        command = await asyncio.to_thread(pair.command, pair.second, identity, 10)
        assert (command["status"], command["response"]) == ("answered", {"status": "Accepted"})


async def test_newest_socket_wins_across_processes_and_the_old_one_cleans_up_nothing(pair: Pair) -> None:
    identity, password = pair.charge_point()
    async with pair.dial(pair.first, identity, password) as old, pair.dial(pair.second, identity, password) as new:
        closed = await old.wait_closed()
        assert closed.code == 1000
        new.on("ClearCache", {"status": "Accepted"})
        await new.heartbeat()
        # Through the process that had the old socket; its clean-up must not have marked the station offline.
        assert pair.get(pair.first, f"charge-points/{identity}/")["connected"] is True
        command = await asyncio.to_thread(pair.command, pair.first, identity, 10)
        assert command["status"] == "answered"


async def test_commands_arrive_after_redis_was_restarted_under_load(pair: Pair, own_redis: RedisServer) -> None:
    credentials = [pair.charge_point() for _ in range(6)]
    stations = [
        pair.dial(server, *credential)
        for credential, server in zip(credentials, [pair.first, pair.second] * 3, strict=True)
    ]
    for station in stations:
        await station.connect()
        station.on("ClearCache", {"status": "Accepted"})
        await station.heartbeat()
    stop = asyncio.Event()

    async def load(station: FakeChargePoint) -> int:
        sent = 0
        while not stop.is_set():
            await station.meter_values(connector_id=1)
            sent += 1
        return sent

    loads = [asyncio.create_task(load(station)) for station in stations]
    before = [await asyncio.to_thread(pair.command, pair.first, identity, 0) for identity, _ in credentials]
    await asyncio.to_thread(own_redis.kill)
    during = [await asyncio.to_thread(pair.command, pair.second, identity, 0) for identity, _ in credentials]
    await asyncio.to_thread(own_redis.start)
    after = [await asyncio.to_thread(pair.command, pair.first, identity, 0) for identity, _ in credentials]
    for command in before + during + after:
        final = await asyncio.to_thread(pair.get, pair.second, f"commands/{command['id']}/", wait=30)
        assert final["status"] == "answered", final
    stop.set()
    assert all(sent > 0 for sent in await asyncio.gather(*loads))
    for station in stations:
        await station.close()


async def test_stations_of_a_killed_process_can_return_to_the_other_and_keep_their_transaction(pair: Pair) -> None:
    identity, password = pair.charge_point()
    tag = pair.first.api("PUT", "id-tags/PAIR-TAG/", {"status": "Accepted"}, key=pair.key)
    assert tag.is_success, tag.text
    station = pair.dial(pair.first, identity, password)
    await station.connect()
    started = await station.start_transaction(connector_id=1, id_tag="PAIR-TAG", meter_start=1000)
    await asyncio.to_thread(pair.first.kill)
    again = pair.dial(pair.second, identity, password)
    await again.connect()
    await again.stop_transaction(started["transactionId"], meter_stop=3500, id_tag="PAIR-TAG")
    tx = pair.get(pair.second, f"transactions/{started['transactionId']}/")
    assert (tx["active"], tx["energy_wh"], tx["flags"]) == (False, 2500, [])
    await again.close()
