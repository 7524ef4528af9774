"""What an operator does with reservations: reserve, cancel. REST and the admin call these.

Both end in commands.enqueue, which makes or notes the row (stations/ocpp/reservation.py), so a reservation asked for as
a bare ReserveNow is no different. Nothing is cancelled or expired by a message of our own accord.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

from csms.ocppj.times import format_time
from stations import commands
from stations.models import ChargePoint, Command, IdTag, Reservation


class Parent(Enum):
    """What to send as parentIdTag when no text is given for it."""

    OF_ID_TAG = "of_id_tag"


def reserve(
    charge_point: ChargePoint,
    *,
    connector_id: int,
    id_tag: str,
    expiry_date: datetime,
    requested_by: str,
    parent_id_tag: str | Parent | None = Parent.OF_ID_TAG,
    reservation_id: int | None = None,
    reason: str = "",
) -> Reservation:
    """Make a reservation and queue its ReserveNow; gives the row, whose `command` is queued.

    `connector_id` 0 means any connector. `parent_id_tag`: a text is sent as it is, None leaves the member out, and
    OF_ID_TAG sends the parent of the id tag if it has one, so that its group may use the reservation. A
    `reservation_id` that the charge point has already replaces that reservation; None allocates a new one.
    Errors: those of commands.enqueue.
    """
    payload = reserve_payload(
        charge_point,
        connector_id=connector_id,
        id_tag=id_tag,
        expiry_date=expiry_date,
        parent_id_tag=parent_id_tag,
        reservation_id=reservation_id,
    )
    command = commands.enqueue(charge_point, "ReserveNow", payload, requested_by, reason=reason)
    return Reservation.objects.select_related("charge_point", "command").get(command=command)


def reserve_payload(
    charge_point: ChargePoint,
    *,
    connector_id: int,
    id_tag: str,
    expiry_date: datetime,
    parent_id_tag: str | Parent | None,
    reservation_id: int | None,
) -> dict[str, Any]:
    """The ReserveNow.req; the arguments are those of `reserve`. Without reservationId when none is given."""
    if isinstance(parent_id_tag, Parent):
        row = IdTag.objects.filter(key=id_tag.upper()).first()
        parent_id_tag = row.parent_id_tag or None if row is not None else None
    payload: dict[str, Any] = {
        "connectorId": connector_id,
        "expiryDate": format_time(expiry_date, milliseconds=charge_point.send_milliseconds),
        "idTag": id_tag,
    }
    if parent_id_tag is not None:
        payload["parentIdTag"] = parent_id_tag
    if reservation_id is not None:
        payload["reservationId"] = reservation_id
    return payload


def cancel(reservation: Reservation, requested_by: str, *, reason: str = "") -> Command:
    """Queue a CancelReservation, whatever our record says: the charge point knows best.

    The reservation changes when the charge point answers: Accepted and Rejected both close it.
    Errors: those of commands.enqueue.
    """
    payload = {"reservationId": reservation.reservation_id}
    return commands.enqueue(reservation.charge_point, "CancelReservation", payload, requested_by, reason=reason)
