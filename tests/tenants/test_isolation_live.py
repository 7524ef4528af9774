"""Two tenants of one running server, with the same identity and the same idTag: each is alone in the world."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import CsmsServer


@dataclass
class Side:
    """One tenant: its key, and the password of its charge point."""

    server: CsmsServer
    slug: str
    key: str
    password: str

    def get(self, path: str) -> Any:
        answer = self.server.api("GET", path, key=self.key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def station(self, identity: str, password: str | None = None) -> FakeChargePoint:
        return FakeChargePoint(self.server.ws_url(self.slug), identity, password=password or self.password)


# Of the session, as the server: a worker may come back to this module for tests that it took over from another.
@pytest.fixture(scope="session")
def tenant_keys(csms_server: CsmsServer) -> dict[str, str]:
    return {slug: csms_server.create_tenant(slug)["api_key"] for slug in ("isolated-a", "isolated-b")}


@pytest.fixture
def identity() -> str:
    return f"SAME-{secrets.token_hex(4)}"


@pytest.fixture
def sides(csms_server: CsmsServer, tenant_keys: dict[str, str], identity: str) -> tuple[Side, Side]:
    """Both tenants with the charge point `identity` and the id tag SAMETAG, accepted in A, blocked in B."""
    made = []
    for slug, status in (("isolated-a", "Accepted"), ("isolated-b", "Blocked")):
        side = Side(csms_server, slug, tenant_keys[slug], secrets.token_hex(8))
        answer = csms_server.api("PUT", f"charge-points/{identity}/", {"password": side.password}, key=side.key)
        assert answer.status_code == 201, answer.text
        answer = csms_server.api("PUT", "id-tags/SAMETAG/", {"status": status}, key=side.key)
        assert answer.is_success, answer.text
        made.append(side)
    return made[0], made[1]


async def test_password_of_one_tenant_does_not_open_the_other(sides: tuple[Side, Side], identity: str) -> None:
    a, b = sides
    with pytest.raises(ConnectionRefused) as refused:
        await b.station(identity, a.password).connect()
    assert refused.value.status == 401
    attempts = {side.slug: side.get(f"charge-points/{identity}/connection-attempts/")["results"] for side in sides}
    assert attempts[a.slug] == []
    assert [attempt["reason"] for attempt in attempts[b.slug]] == ["wrong_password"]


async def test_both_are_connected_at_once_and_neither_supersedes_the_other(
    sides: tuple[Side, Side], identity: str
) -> None:
    a, b = sides
    async with a.station(identity) as station_a, b.station(identity) as station_b:
        await station_a.heartbeat()
        await station_b.heartbeat()
        assert a.get(f"charge-points/{identity}/")["connected"]
        assert b.get(f"charge-points/{identity}/")["connected"]


async def test_same_id_tag_has_the_status_of_its_own_tenant(sides: tuple[Side, Side], identity: str) -> None:
    a, b = sides
    async with a.station(identity) as station_a, b.station(identity) as station_b:
        assert (await station_a.authorize("sametag"))["idTagInfo"] == {"status": "Accepted"}
        assert (await station_b.authorize("SAMETAG"))["idTagInfo"] == {"status": "Blocked"}


async def test_transaction_id_of_the_other_tenant_touches_nothing_of_it(
    sides: tuple[Side, Side], identity: str
) -> None:
    a, b = sides
    async with a.station(identity) as station_a, b.station(identity) as station_b:
        started = await station_a.start_transaction(connector_id=1, id_tag="SAMETAG", meter_start=100)
        transaction_id = started["transactionId"]
        await station_b.meter_values(connector_id=1, transaction_id=transaction_id)
        assert await station_b.stop_transaction(transaction_id, meter_stop=99_999) == {}
        tx = a.get(f"transactions/{transaction_id}/")
        assert (tx["active"], tx["meter_stop_wh"], tx["flags"]) == (True, None, [])
        assert a.get(f"transactions/{transaction_id}/meter-values/")["results"] == []
        assert b.server.api("GET", f"transactions/{transaction_id}/", key=b.key).status_code == 404
        orphans = b.get(f"transactions/?charge_point={identity}")["results"]
        assert [tx["flags"] for tx in orphans] == [["orphan_stop"]]


async def test_command_reaches_the_charge_point_of_its_own_tenant_only(sides: tuple[Side, Side], identity: str) -> None:
    a, b = sides
    async with a.station(identity) as station_a, b.station(identity) as station_b:
        await station_a.heartbeat()
        await station_b.heartbeat()
        station_b.on("ClearCache", {"status": "Accepted"})
        body = {"action": "ClearCache", "payload": {}}
        answer = await asyncio.to_thread(
            b.server.api, "POST", f"charge-points/{identity}/commands/", body, b.key, params={"wait": 10}
        )
        assert answer.json()["status"] == "answered"
        await station_a.assert_silent_until_answered()
        assert a.get(f"charge-points/{identity}/commands/")["results"] == []
        assert a.server.api("GET", f"commands/{answer.json()['id']}/", key=a.key).status_code == 404


async def test_one_batch_of_both_tenants_keeps_their_rows_apart(sides: tuple[Side, Side], identity: str) -> None:
    a, b = sides
    async with a.station(identity) as station_a, b.station(identity) as station_b:
        calls = []
        for number in range(20):
            station, status = (station_a, "Charging") if number % 2 else (station_b, "Faulted")
            calls.append(station.status(1, status, error_code="NoError" if number % 2 else "GroundFailure"))
        # Each station one after the other, both at once: the lane sees their calls mixed.
        await asyncio.gather(_in_turn(calls[0::2]), _in_turn(calls[1::2]))
    (connector_a,) = a.get(f"charge-points/{identity}/connectors/")["results"]
    (connector_b,) = b.get(f"charge-points/{identity}/connectors/")["results"]
    assert (connector_a["status"], connector_b["status"]) == ("Charging", "Faulted")
    for side, status in ((a, "Charging"), (b, "Faulted")):
        messages = side.get(f"charge-points/{identity}/messages/?action=StatusNotification&direction=in")["results"]
        assert {message["payload"]["status"] for message in messages} == {status}


async def _in_turn(calls: list[Any]) -> None:
    for call in calls:
        await call
