"""The Reservation profile of OCPP 1.6: ReserveNow and CancelReservation, both to the charge point.

The rows and their state machine are in stations/models/reservation.py. What ends a reservation besides comes in
messages of the Core profile: StartTransaction and StatusNotification.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from ocpp.v16 import call_result

from csms.ocppj.payloads import Problem
from csms.ocppj.times import parse_time
from stations import authorization
from stations.models import ChargePoint, Command, ConfigurationKey, Connector, Reservation
from stations.models.command import CommandStatus
from stations.models.reservation import ENDING_STATUSES, EndReason
from stations.refusal import CommandRefused

FAR_AHEAD = timedelta(days=7)
IN_USE = ("Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing")
CAPABILITIES = ("ReserveConnectorZeroSupported", "SupportedFeatureProfiles")
# More live reservations than a charge point has connectors are odd enough.
SHOWN_RESERVATIONS = 50
NOT_MADE = {
    CommandStatus.ERROR: EndReason.CALL_ERROR,
    CommandStatus.EXPIRED: EndReason.NOT_SENT,
    CommandStatus.WITHDRAWN: EndReason.WITHDRAWN,
}


# --- ReserveNow -------------------------------------------------------------------------------------------------------
def reserve_now_complete(charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
    """Give a ReserveNow.req without reservationId a new one: positive, 31 bits, unique in the tenant, never reused.

    Source: OCPP 1.6 ed. 2, 5.13, 6.37.
    """
    if "reservationId" in payload:
        return payload
    return {**payload, "reservationId": Reservation.objects.new_id()}


def reserve_now_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a ReserveNow.req; nothing of it keeps the message from being sent.

    Source: OCPP 1.6 ed. 2, 5.13; conformance case 048_2 for a connector in use.
    """
    now = datetime.now(UTC)
    return [
        *_about_the_connector(charge_point, payload["connectorId"]),
        *_about_the_time(payload["expiryDate"], now),
        *_about_the_abilities(charge_point, payload["connectorId"]),
        *_about_the_id_tag(charge_point, payload, now),
        *_about_other_reservations(charge_point, payload, now),
    ]


def _about_the_connector(charge_point: ChargePoint, connector_id: int) -> list[tuple[str, str]]:
    statuses = dict(Connector.objects.filter(charge_point=charge_point).values_list("connector_id", "status"))
    for place in sorted({0, connector_id}):
        if statuses.get(place) in ENDING_STATUSES:
            name = "The charge point" if place == 0 else f"Connector {place}"
            return [("connector_out_of_service", f"{name} is {statuses[place]}.")]
    if connector_id > 0 and statuses.get(connector_id) in IN_USE:
        return [("connector_in_use", f"Connector {connector_id} is {statuses[connector_id]}.")]
    sockets = [status for place, status in statuses.items() if place > 0]
    if connector_id == 0 and sockets and "Available" not in sockets:
        return [("connector_in_use", "No connector of the charge point is Available.")]
    return []


def _about_the_time(expiry_date: str, now: datetime) -> list[tuple[str, str]]:
    expires_at = parse_time(expiry_date)
    if expires_at is not None and expires_at <= now:
        return [("expiry_in_the_past", "expiryDate is in the past.")]
    if expires_at is not None and expires_at > now + FAR_AHEAD:
        return [("expiry_far_ahead", f"expiryDate is more than {FAR_AHEAD.days} days ahead.")]
    return []


def _about_the_abilities(charge_point: ChargePoint, connector_id: int) -> list[tuple[str, str]]:
    """What its configuration says it cannot do. A charge point that never reported any leaves everything open."""
    found = []
    reported = ConfigurationKey.objects.filter(charge_point=charge_point)
    values = dict(reported.filter(key__in=CAPABILITIES, known=True).values_list("key", "value"))
    profiles = values.get("SupportedFeatureProfiles")
    if profiles is not None and "reservation" not in profiles.lower():
        found.append(("profile_not_supported", "The charge point does not report the profile Reservation."))
    if connector_id == 0 and (values.get("ReserveConnectorZeroSupported") or "").lower() != "true":
        # Absent means that it is not supported, but only of a charge point that has been asked.
        if "ReserveConnectorZeroSupported" in values or reported.exists():
            found.append(
                (
                    "connector_zero_not_supported",
                    "The charge point does not report ReserveConnectorZeroSupported, so it may reject connector 0.",
                )
            )
    return found


def _about_the_id_tag(charge_point: ChargePoint, payload: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    id_tag = payload["idTag"]
    answer = authorization.authorize(charge_point, id_tag, now)
    found = authorization.warnings_about(id_tag, answer.status)
    parent = payload.get("parentIdTag")
    own_parent = answer.id_tag.parent_id_tag if answer.id_tag is not None else ""
    if parent is not None and parent.upper() != own_parent.upper():
        found.append(("parent_id_tag_differs", f"parentIdTag is not the parent of the id tag {id_tag}."))
    return found


def _about_other_reservations(
    charge_point: ChargePoint, payload: dict[str, Any], now: datetime
) -> list[tuple[str, str]]:
    found = []
    for other in Reservation.objects.live(now).filter(charge_point=charge_point)[:SHOWN_RESERVATIONS]:
        if other.reservation_id == payload["reservationId"]:
            found.append(("reservation_replaced", f"Reservation {other} here is live; this one replaces it."))
        elif other.connector_id == payload["connectorId"]:
            found.append(("already_reserved", f"Reservation {other} is live on this connector."))
    return found


def reserve_now_queued(command: Command) -> None:
    """Make the Requested reservation, or put this one in the place of the one that has its id at the charge point.

    Errors: CommandRefused for a date that no clock shows, which would be a reservation without an end.
    Source: OCPP 1.6 ed. 2, 5.13.
    """
    payload = command.payload
    expires_at = parse_time(payload["expiryDate"])
    if expires_at is None:
        problem = Problem("/expiryDate", "is not a time that can be stored", "PropertyConstraintViolation")
        raise CommandRefused("invalid_payload", "The payload is not a valid ReserveNow.req.", [problem])
    Reservation.objects.request(
        command,
        reservation_id=payload["reservationId"],
        connector_id=payload["connectorId"],
        id_tag=payload["idTag"],
        parent_id_tag=payload.get("parentIdTag") or "",
        expiry_date=expires_at,
        requested_at=command.created_at,
    )


def reserve_now_conf(command: Command, conf: call_result.ReserveNow, now: datetime) -> None:
    """Accepted: the connector is kept free. Faulted, Occupied, Rejected, Unavailable: there is no reservation.

    A late answer counts as well. Source: OCPP 1.6 ed. 2, 5.13, 6.38.
    """
    row = Reservation.objects.answer(command, str(conf.status), now)
    if row is None or row.accepted_at is None:
        return
    ChargePoint.objects.filter(
        Q(reserved_until__isnull=True) | Q(reserved_until__lt=row.expiry_date), pk=command.charge_point_id
    ).update(reserved_until=row.expiry_date)
    command.effect = {"reservation": row.reservation_id}
    command.save(update_fields=["effect"])


def reserve_now_without_answer(command: Command, now: datetime) -> None:
    """Close the reservation if it is certain that the charge point has not made it.

    After silence or a lost connection it may have: then the reservation stays Requested, is Used if a StartTransaction
    names it, can be cancelled, and expires at its date.
    """
    reason = EndReason.CALL_ERROR if command.error is not None else NOT_MADE.get(CommandStatus(command.status))
    if reason is not None:
        Reservation.objects.never_made(command, reason, now)


# --- CancelReservation ------------------------------------------------------------------------------------------------
def cancel_reservation_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a CancelReservation.req; nothing of it keeps the message from being sent.

    Source: OCPP 1.6 ed. 2, 5.1.
    """
    number = payload["reservationId"]
    row = Reservation.objects.filter(charge_point=charge_point, reservation_id=number).first()
    if row is None:
        return [("unknown_reservation", f"The charge point has no reservation {number} that we know of.")]
    if not row.is_live(now := datetime.now(UTC)):
        return [("reservation_ended", f"Reservation {number} is {row.at(now).status}.")]
    return []


def cancel_reservation_queued(command: Command) -> None:
    """Note in the reservation that it is to be cancelled; it stays as it is until the charge point answers."""
    Reservation.objects.filter(
        charge_point_id=command.charge_point_id, reservation_id=command.payload["reservationId"]
    ).update(cancel_command=command)


def cancel_reservation_conf(command: Command, conf: call_result.CancelReservation, now: datetime) -> None:
    """Accepted: it is cancelled. Rejected: the charge point has no reservation of this id, so ours is closed as well.

    Source: OCPP 1.6 ed. 2, 5.1, 6.5, 6.6.
    """
    Reservation.objects.cancelled(command, str(conf.status) == "Accepted", now)
