"""Reservations asked for at the same moment, over the network: ids stay unique, and one id stays one row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.conftest import Csms

AT_ONCE = 12


def reserve_at_once(csms: Csms, identity: str, **members: Any) -> list[dict[str, Any]]:
    body = {"charge_point": identity, "connector_id": 0, "id_tag": "TAG", "expiry_date": "2030-01-01T00:00:00Z"}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda _: csms.post("reservations/", body | members), range(AT_ONCE)))


def listed(csms: Csms, identity: str) -> list[dict[str, Any]]:
    return list(csms.get("reservations/", charge_point=identity)["results"])


def test_ids_allocated_at_the_same_moment_differ(csms: Csms) -> None:
    identity = csms.charge_point().identity
    made = reserve_at_once(csms, identity)
    assert len({row["id"] for row in made}) == len(listed(csms, identity)) == AT_ONCE


def test_one_id_asked_for_at_the_same_moment_is_one_reservation(csms: Csms) -> None:
    identity = csms.charge_point().identity
    made = reserve_at_once(csms, identity, id=123_456_789)
    (row,) = listed(csms, identity)
    assert row["status"] == "Requested"
    assert row["command"] in {each["command"] for each in made}
    assert len({each["command"] for each in made}) == AT_ONCE
