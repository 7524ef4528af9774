"""Reservation: reserve, use, expire, be refused, cancel. The operator works with `reservations/`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.certification.case import Case
from tests.fake_charge_point import timestamp

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}


class Operator:
    """What the operator does with one reservation."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.id = 0
        self.until = ""

    async def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = await asyncio.to_thread(lambda: self.case.csms.request(method, path, body))
        return found

    async def reserves(
        self, connector_id: int = 1, *, seconds: float = 120, answer: dict[str, str] = ACCEPTED, **members: Any
    ) -> dict[str, Any]:
        """POST, then exactly that ReserveNow, then the charge point's answer; the reservation as it then is."""
        self.until = timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
        body = {
            "charge_point": self.case.cp.identity,
            "connector_id": connector_id,
            "id_tag": self.case.tokens.valid,
            "expiry_date": self.until,
            "parent_id_tag": None,
        }
        made = await self.request("POST", "reservations/", body | members)
        assert made["status"] in ("Requested", answer["status"])
        self.id = made["id"]
        assert 0 < self.id < 2**31
        payload = {"connectorId": connector_id, "expiryDate": self.until, "idTag": self.case.tokens.valid}
        if made["parent_id_tag"] is not None:
            payload["parentIdTag"] = made["parent_id_tag"]
        received = await self.case.expect("ReserveNow", payload | {"reservationId": self.id})
        await self.case.cp.reply(received, answer)
        return await self.sees()

    async def cancels(self, answer: dict[str, str]) -> dict[str, Any]:
        """DELETE, then exactly that CancelReservation, then the charge point's answer; the final command."""
        made = await self.request("DELETE", f"reservations/{self.id}/")
        assert made["reservation"]["status"] == "Accepted"
        await self.case.cp.reply(await self.case.expect("CancelReservation", {"reservationId": self.id}), answer)
        return await self.case.final(made["command"])

    async def sees(self) -> dict[str, Any]:
        """The reservation once nothing is outstanding about it."""
        return await self.request("GET", f"reservations/{self.id}/?wait=10")

    async def live(self) -> list[int]:
        """Ids of what is reserved at the charge point."""
        found = [
            await self.case.get("reservations/", charge_point=self.case.cp.identity, status=status)
            for status in ("Requested", "Accepted")
        ]
        return [row["id"] for page in found for row in page["results"]]


@pytest.fixture
def operator(case: Case) -> Operator:
    return Operator(case)


async def test_tc_046_reserve_then_charge(case: Case, operator: Operator) -> None:
    assert (await operator.reserves())["status"] == "Accepted"
    await case.status(1, "Reserved")
    await case.authorized()
    await case.status(1, "Preparing")
    tx = await case.start(reservationId=operator.id)
    await case.status(1, "Charging")
    seen = await operator.sees()
    assert (seen["status"], seen["end_reason"], seen["transaction"]) == ("Used", "used", tx)
    assert (await case.transaction(tx))["reservation_id"] == operator.id
    assert await operator.live() == []


async def test_tc_047_reservation_expires(case: Case, operator: Operator) -> None:
    assert (await operator.reserves(seconds=2))["status"] == "Accepted"
    await case.status(1, "Reserved")
    async with asyncio.timeout(10):
        while (seen := await operator.sees())["status"] == "Accepted":
            # Every look is a request over the network; nobody waits for a clock of ours.
            assert await operator.live() in ([operator.id], [])
    await case.status(1, "Available")
    assert (seen["status"], seen["end_reason"], seen["ended_at"]) == ("Expired", "expired", operator.until)
    assert await operator.live() == []


async def refused(case: Case, operator: Operator, word: str) -> dict[str, Any]:
    seen = await operator.reserves(answer={"status": word})
    assert (seen["status"], seen["end_reason"], seen["transaction"]) == (word, "refused", None)
    assert await operator.live() == []
    return seen


async def test_tc_048_1_reserve_faulted(case: Case, operator: Operator) -> None:
    await refused(case, operator, "Faulted")


async def test_tc_048_2_reserve_occupied(case: Case, operator: Operator) -> None:
    await case.status(1, "Preparing")
    seen = await refused(case, operator, "Occupied")
    assert [warning["code"] for warning in seen["warnings"]] == ["connector_in_use"]


async def test_tc_048_3_reserve_unavailable(case: Case, operator: Operator) -> None:
    await case.send("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, ACCEPTED)
    await case.status(1, "Unavailable")
    await refused(case, operator, "Unavailable")


async def test_tc_048_4_reserve_rejected(case: Case, operator: Operator) -> None:
    await refused(case, operator, "Rejected")


async def test_tc_049_reserve_the_whole_charge_point(case: Case, operator: Operator) -> None:
    assert (await operator.reserves(0))["status"] == "Accepted"
    await case.status(0, "Reserved")
    # The text speaks of a transaction and lists none: here it follows, on a connector of the driver's choice.
    await case.authorized()
    tx = await case.start(connector_id=2, reservationId=operator.id)
    seen = await operator.sees()
    assert (seen["status"], seen["connector_id"], seen["transaction"]) == ("Used", 0, tx)


async def test_tc_051_cancel(case: Case, operator: Operator) -> None:
    await operator.reserves()
    await case.status(1, "Reserved")
    command = await operator.cancels(ACCEPTED)
    assert (command["status"], command["response"], command["warnings"]) == ("answered", ACCEPTED, [])
    await case.status(1, "Available")
    seen = await operator.sees()
    assert (seen["status"], seen["end_reason"], seen["cancel_command"]) == ("Cancelled", "cancelled", command["id"])
    assert await operator.live() == []


async def test_tc_052_cancel_rejected(case: Case, operator: Operator) -> None:
    await operator.reserves()
    await case.status(1, "Reserved")
    command = await operator.cancels(REJECTED)
    assert (command["status"], command["response"]) == ("answered", REJECTED)
    seen = await operator.sees()
    assert (seen["status"], seen["end_reason"]) == ("Cancelled", "cancel_rejected")
    assert await operator.live() == []


async def test_tc_053_reserved_for_the_group(case: Case, operator: Operator) -> None:
    seen = await operator.reserves(parent_id_tag=case.tokens.parent)
    assert (seen["status"], seen["parent_id_tag"]) == ("Accepted", case.tokens.parent)
    await case.status(1, "Reserved")
    await case.authorize(case.tokens.same_parent, case.info)
    await case.status(1, "Preparing")
    tx = await case.start(case.tokens.same_parent, reservationId=operator.id)
    await case.status(1, "Charging")
    seen = await operator.sees()
    assert (seen["status"], seen["transaction"], seen["id_tag"]) == ("Used", tx, case.tokens.valid)


async def test_parent_of_the_token_is_sent_unless_it_is_left_out_on_purpose(case: Case, operator: Operator) -> None:
    made = await operator.request(
        "POST",
        "reservations/",
        {
            "charge_point": case.cp.identity, "connector_id": 1, "id_tag": case.tokens.valid,
            "expiry_date": "2030-01-01T00:00:00.000Z",
        },
    )  # fmt: skip
    received = await case.expect(
        "ReserveNow",
        {
            "connectorId": 1, "expiryDate": "2030-01-01T00:00:00.000Z", "idTag": case.tokens.valid,
            "parentIdTag": case.tokens.parent, "reservationId": made["id"],
        },
    )  # fmt: skip
    await case.cp.reply(received, ACCEPTED)
    await case.send("CancelReservation", {"reservationId": made["id"]}, ACCEPTED)
    operator.id = made["id"]
    assert (await operator.sees())["status"] == "Cancelled"


async def test_bare_commands_keep_the_reservation_in_step(case: Case, operator: Operator) -> None:
    until = timestamp(datetime.now(UTC) + timedelta(minutes=1))
    payload = {"connectorId": 2, "expiryDate": until, "idTag": case.tokens.valid, "reservationId": 4711}
    command = await case.send("ReserveNow", payload, ACCEPTED)
    assert command["effect"] == {"reservation": 4711}
    (row,) = (await case.get("reservations/", charge_point=case.cp.identity))["results"]
    assert (row["id"], row["status"], row["command"]) == (4711, "Accepted", command["id"])
    await case.status(2, "Faulted", "GroundFailure")
    (row,) = (await case.get("reservations/", charge_point=case.cp.identity))["results"]
    assert (row["status"], row["end_reason"]) == ("Faulted", "out_of_service")


async def test_unknown_reservation_id_and_zero_never_refuse_a_start(case: Case, operator: Operator) -> None:
    await operator.reserves(2)
    for number in (0, operator.id + 1000):
        tx = await case.start(reservationId=number)
        await case.stop(tx)
    assert (await operator.sees())["status"] == "Accepted"
