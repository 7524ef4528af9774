"""Reservation: reserve, use, expire, be refused, cancel.

The operator reserves by `reservations/` in some cases and by a bare ReserveNow in the others: both must lead to the
same reservation. A reservation is found by its id and charge point: two charge points may have the same reservationId.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from csms.certify.case import ACCEPTED, LOOK_AGAIN_SECONDS, REJECTED, Case
from csms.certify.charge_point import timestamp
from csms.certify.failure import CaseFailed
from csms.certify.wire import Call, shown

LONG = timedelta(minutes=5)
# "a short expiry must be possible": whoever certifies does not want to wait longer either.
SHORT = timedelta(seconds=3)
MAX_RESERVATION_ID = 2**31 - 1
LIVE = ("Requested", "Accepted")


async def tc_046(case: Case) -> None:
    """Reserve a connector, then charge."""
    number = await _reserved(case, ACCEPTED)
    await _sees_reservation(case, number, status="Accepted", transaction=None)
    await case.status(case.connector_id, "Reserved")
    await case.authorized()
    await case.status(case.connector_id, "Preparing")
    tx = await case.start(reservationId=number)
    await case.status(case.connector_id, "Charging")
    await _sees_reservation(case, number, status="Used", transaction=tx)
    await case.sees_transaction(tx, active=True, reservation_id=number, id_tag=case.id_tags.valid)


async def tc_047(case: Case) -> None:
    """Reservation expires."""
    until = datetime.now(UTC) + SHORT
    number = await _reserved_by_command(case, ACCEPTED, until=until)
    await case.status(case.connector_id, "Reserved")
    patience = (until - datetime.now(UTC)).total_seconds() + case.options.sight_seconds
    row = await _no_longer_live(case, number, patience)
    case.equal("The status of a reservation whose time is over", row["status"], "Expired")
    case.check(row["accepted_at"], f"The operator does not see that reservation {number} was accepted.")
    case.equal("The expiry_date that the operator sees", row["expiry_date"], timestamp(until))
    await case.status(case.connector_id, "Available")
    await case.sees_connector(case.connector_id, status="Available")


async def tc_048_1(case: Case) -> None:
    """Reserve a connector, Faulted."""
    await _refused(case, await _reserved(case, {"status": "Faulted"}), "Faulted")


async def tc_048_2(case: Case) -> None:
    """Reserve a connector, Occupied."""
    await case.status(case.connector_id, "Preparing")
    await _refused(case, await _reserved_by_command(case, {"status": "Occupied"}), "Occupied")


async def tc_048_3(case: Case) -> None:
    """Reserve a connector, Unavailable."""
    availability: dict[str, Any] = {"connectorId": case.connector_id, "type": "Inoperative"}
    await case.send("ChangeAvailability", availability, ACCEPTED)
    await case.status(case.connector_id, "Unavailable")
    await case.sees_connector(case.connector_id, status="Unavailable")
    await _refused(case, await _reserved_by_command(case, {"status": "Unavailable"}), "Unavailable")
    # Not part of the text: the next case needs the connector.
    await case.send("ChangeAvailability", availability | {"type": "Operative"}, ACCEPTED)


async def tc_048_4(case: Case) -> None:
    """Reserve a connector, Rejected."""
    await _refused(case, await _reserved(case, REJECTED), "Rejected")


async def tc_049(case: Case) -> None:
    """Reserve the whole charge point."""
    number = await _reserved_by_command(case, ACCEPTED, connector_id=0)
    await _sees_reservation(case, number, status="Accepted", connector_id=0)
    await case.status(0, "Reserved")
    # The text speaks of a transaction and lists none; here it follows, on the last connector.
    await case.authorized()
    tx = await case.start(connector_id=case.options.connectors, reservationId=number)
    await _sees_reservation(case, number, status="Used", transaction=tx)


async def tc_051(case: Case) -> None:
    """Cancel a reservation."""
    number = await _reserved(case, ACCEPTED)
    await case.status(case.connector_id, "Reserved")
    found = await case.operator.request("DELETE", f"reservations/{number}/", charge_point=case.cp.identity)
    call = await case.expect("CancelReservation", {"reservationId": number})
    # Asking is not having: the charge point still keeps the connector free.
    await _sees_reservation(case, number, status="Accepted")
    await case.reply(call, ACCEPTED)
    await case.answered(found["command"], ACCEPTED)
    await case.status(case.connector_id, "Available")
    await _sees_reservation(case, number, status="Cancelled", transaction=None)
    await case.sees_connector(case.connector_id, status="Available")


async def tc_052(case: Case) -> None:
    """Cancel a reservation, rejected."""
    number = await _reserved_by_command(case, ACCEPTED)
    await case.status(case.connector_id, "Reserved")
    await _sees_reservation(case, number, status="Accepted")
    await case.send("CancelReservation", {"reservationId": number}, REJECTED)
    # The charge point has none by that id, so there is none.
    await _sees_reservation(case, number, status=lambda status: status not in LIVE)


async def tc_053(case: Case) -> None:
    """Use a reserved connector with an id tag of the same group."""
    tags = case.id_tags
    number = await _reserved(case, ACCEPTED, parent_id_tag=tags.parent)
    await _sees_reservation(case, number, status="Accepted", id_tag=tags.valid, parent_id_tag=tags.parent)
    await case.status(case.connector_id, "Reserved")
    await case.authorize(tags.same_parent, "Accepted", parent=tags.parent)
    await case.status(case.connector_id, "Preparing")
    tx = await case.start(tags.same_parent, parent=tags.parent, reservationId=number)
    await case.status(case.connector_id, "Charging")
    await _sees_reservation(case, number, status="Used", transaction=tx)
    await case.sees_transaction(tx, active=True, reservation_id=number, id_tag=tags.same_parent)


# --- the operator reserves --------------------------------------------------------------------------------------------
async def _reserved(case: Case, answer: dict[str, Any], *, parent_id_tag: str | None = None) -> int:
    """Reserve by `reservations/`; the charge point gives `answer`, which the operator sees; the reservationId."""
    before = await _known(case)
    body = {
        "charge_point": case.cp.identity,
        "connector_id": case.connector_id,
        "id_tag": case.id_tags.valid,
        "parent_id_tag": parent_id_tag,
        "expiry_date": timestamp(datetime.now(UTC) + LONG),
    }
    row = await case.operator.request("POST", "reservations/", body)
    payload = {"connectorId": case.connector_id, "expiryDate": body["expiry_date"], "idTag": case.id_tags.valid}
    if parent_id_tag is not None:
        payload["parentIdTag"] = parent_id_tag
    call = await case.expect("ReserveNow", payload | {"reservationId": row["id"]})
    number = _number(case, call, before)
    await case.reply(call, answer)
    await case.answered({"id": row["command"], "action": "ReserveNow"}, answer)
    return number


async def _reserved_by_command(
    case: Case, answer: dict[str, Any], *, connector_id: int | None = None, until: datetime | None = None
) -> int:
    """Reserve by a bare ReserveNow, the reservationId left to the CSMS; else as `_reserved`."""
    before = await _known(case)
    payload = {
        "connectorId": case.connector_id if connector_id is None else connector_id,
        "expiryDate": timestamp(until or datetime.now(UTC) + LONG),
        "idTag": case.id_tags.valid,
    }
    command = await case.order("ReserveNow", payload)
    call = await case.expect("ReserveNow")
    number = _number(case, call, before)
    case.equal(
        "The request ReserveNow is not what the operator ordered", call.payload, payload | {"reservationId": number}
    )
    await case.reply(call, answer)
    await case.answered(command, answer)
    return number


def _number(case: Case, call: Call, before: set[int]) -> int:
    """The reservationId of a ReserveNow; a new one, and one that every charge point can store."""
    number = int(call.payload["reservationId"])
    case.check(0 < number <= MAX_RESERVATION_ID, f"ReserveNow has the reservationId {number}.")
    case.check(number not in before, f"The reservationId {number} was given a second time.")
    return number


# --- what the operator sees -------------------------------------------------------------------------------------------
async def _reservation(case: Case, number: int) -> dict[str, Any]:
    found: dict[str, Any] = await case.operator.get(f"reservations/{number}/", charge_point=case.cp.identity)
    return found


async def _known(case: Case) -> set[int]:
    """The reservations of the charge point, of whatever status."""
    found = await case.operator.get("reservations/", charge_point=case.cp.identity, page_size=100)
    return {row["id"] for row in found["results"]}


async def _sees_reservation(case: Case, number: int, **expected: Any) -> None:
    await case.sees(f"reservation {number}", lambda: _reservation(case, number), **expected)


async def _refused(case: Case, number: int, status: str) -> None:
    """The operator sees the word of the charge point and no live reservation."""
    await _sees_reservation(case, number, status=status, connector_id=case.connector_id, transaction=None)


async def _no_longer_live(case: Case, number: int, patience: float) -> dict[str, Any]:
    """The reservation once it is live no more. Errors: CaseFailed if it still is after `patience` seconds."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        row = await _reservation(case, number)
        if row["status"] not in LIVE:
            return row
        if asyncio.get_running_loop().time() > deadline:
            raise CaseFailed(f"The operator sees reservation {number} still {shown(row['status'])} after its time.")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
