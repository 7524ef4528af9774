"""`reservations/`: keep a connector free for an id tag, look, cancel.

`id` is the OCPP reservationId. Those that we allocate are unique in the tenant; one that was chosen by hand may exist
at two charge points, and is then told apart by `?charge_point=`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import commands, reservations
from stations.api import schemas
from stations.api.commands import MAX_WAIT_SECONDS, REFUSAL_STATUS, command_json
from stations.api.filters import MAX_INT32, chosen, site_filter, whole_number
from stations.api.visibility import at_sites_of, charge_points_of
from stations.api.waiting import wait_until_final
from stations.models import Reservation
from stations.models.command import OPEN_STATUSES
from stations.models.reservation import ReservationStatus
from tenants.api.fields import Instant, Integer, Text
from tenants.api.idempotency import FollowUp
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope

# Member of the OCPP request: member of the body.
MEMBERS = {
    "connectorId": "connector_id", "expiryDate": "expiry_date", "idTag": "id_tag", "parentIdTag": "parent_id_tag",
    "reservationId": "id",
}  # fmt: skip
STATUS = OpenApiParameter(
    "status", schemas.enum(*ReservationStatus.values), description="The state of the reservation."
)
EXAMPLES = [
    OpenApiExample(
        "Reserve",
        {"charge_point": "CP-1", "connector_id": 1, "id_tag": "04A2B3C4", "expiry_date": "2026-12-01T18:30:00Z"},
        request_only=True,
    )
]


class ReservationWrite(StrictSerializer):
    """What to reserve, where, for whom, until when."""

    charge_point = Text(max_length=48, help_text="The identity of the charge point.")
    connector_id = Integer(min_value=0, max_value=MAX_INT32, help_text="0 is any connector.")
    id_tag = Text(max_length=20)
    parent_id_tag = Text(
        max_length=20,
        required=False,
        allow_null=True,
        help_text="Its group. Left out: that of the id tag, if it has one. null: no parentIdTag is sent.",
    )
    expiry_date = Instant(help_text="When the reservation ends by itself; a minute ahead is possible.")
    id = Integer(
        min_value=1,
        max_value=MAX_INT32,
        required=False,
        help_text="A reservationId of your own choice; one that the charge point has is replaced. Left out: a new one.",
    )
    reason = Text(max_length=500, required=False, default="", allow_blank=True, help_text="Kept with the command.")


def reservation_json(row: Reservation, now: datetime) -> dict[str, Any]:
    """The resource as it is at `now`; `row` comes with its charge point and command."""
    row = row.at(now)
    return {
        "id": row.reservation_id,
        "charge_point": row.charge_point.identity,
        "connector_id": row.connector_id,
        "id_tag": row.id_tag,
        "parent_id_tag": row.parent_id_tag or None,
        "expiry_date": row.expiry_date,
        "status": row.status,
        "end_reason": row.end_reason or None,
        "transaction": row.transaction_id,
        "command": row.command_id,
        "cancel_command": row.cancel_command_id,
        "warnings": [] if row.command is None else row.command.warnings,
        "requested_by": row.requested_by,
        "requested_at": row.requested_at,
        "accepted_at": row.accepted_at,
        "ended_at": row.ended_at,
    }


def refused(error: commands.CommandRefused) -> Problem:
    """CommandRefused as an answer, with pointers to the members of the body."""
    errors = []
    for problem in error.problems:
        member = problem.pointer.strip("/")
        errors.append({"pointer": f"/{MEMBERS.get(member, member)}", "detail": problem.detail, "code": problem.code})
    return Problem(REFUSAL_STATUS.get(error.code, 400), error.code, error.detail, errors=errors)


class _Reservations(TenantAPIView):
    write_scope = ApiScope.OPERATE

    def rows(self) -> QuerySet[Reservation]:
        return at_sites_of(self, Reservation.objects.select_related("charge_point", "command"), "charge_point__site_id")

    def wait_seconds(self) -> int:
        """The parameter `wait`; raises 400."""
        return whole_number(self.request, "wait", MAX_WAIT_SECONDS) or 0


class ReservationList(_Reservations):
    query_parameters = frozenset({"charge_point", "connector_id", "id_tag", "status", "site"})
    post_parameters = frozenset({"wait"})
    paginated = True

    @extend_schema(
        operation_id="reservations_list",
        summary="Reservations, newest first",
        parameters=[*schemas.query("charge_point", "connector_id", "id_tag", "site"), STATUS],
        responses={200: schemas.page_of(schemas.RESERVATION)},
    )
    def get(self, request: Request) -> Response:
        now = datetime.now(UTC)
        rows: Any = self.rows()
        parameters = request.query_params
        status = chosen(request, "status", ReservationStatus.values)
        if status is not None:
            rows = rows.in_status(status, now)
        if "charge_point" in parameters:
            rows = rows.filter(charge_point__identity=parameters["charge_point"])
        connector_id = whole_number(request, "connector_id")
        if connector_id is not None:
            rows = rows.filter(connector_id=connector_id)
        if "id_tag" in parameters:
            rows = rows.filter(id_tag_key=parameters["id_tag"].upper())
        rows = site_filter(request, rows, "charge_point__site__slug")
        return self.page(rows, lambda row: reservation_json(row, now))

    @extend_schema(
        operation_id="reservations_create",
        summary="Reserve a connector: ReserveNow is sent",
        description="Answers at once with the reservation Requested, or with `wait` when its charge point has answered "
        "or the time is over.",
        parameters=schemas.query("wait"),
        request=ReservationWrite,
        responses={201: schemas.RESERVATION},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        self.wait_seconds()
        body = self.validated(ReservationWrite)
        identity = body["charge_point"]
        charge_point = charge_points_of(self).filter(identity=identity).select_related("tenant").first()
        if charge_point is None:
            raise bad_request("/charge_point", "There is no charge point of this identity.", "not_found")
        try:
            row = reservations.reserve(
                charge_point,
                connector_id=body["connector_id"],
                id_tag=body["id_tag"],
                expiry_date=body["expiry_date"],
                requested_by=caller_name(request),
                parent_id_tag=body.get("parent_id_tag", reservations.Parent.OF_ID_TAG),
                reservation_id=body.get("id"),
                reason=body["reason"],
            )
        except commands.CommandRefused as error:
            raise refused(error) from None
        path = reverse("api:reservation", args=[row.reservation_id])
        if Reservation.objects.filter(reservation_id=row.reservation_id).exclude(pk=row.pk).exists():
            path = f"{path}?{urlencode({'charge_point': identity})}"
        return self.created(reservation_json(row, datetime.now(UTC)), path)

    def after_commit(self) -> FollowUp | None:
        seconds = self.wait_seconds()

        def wait(response: Response) -> Response:
            command = response.data["command"]
            wait_until_final(command, seconds)
            row = self.rows().filter(command=command).first()
            if row is not None:
                response.data = reservation_json(row, datetime.now(UTC))
            return response

        return wait if seconds else None


class ReservationDetail(_Reservations):
    query_parameters = frozenset({"charge_point", "wait"})
    delete_parameters = frozenset({"charge_point"})

    @extend_schema(
        operation_id="reservations_read",
        summary="One reservation, at once or when its charge point has answered",
        parameters=schemas.query("charge_point", "wait"),
        responses={200: schemas.RESERVATION},
    )
    def get(self, request: Request, pk: int) -> Response:
        seconds = self.wait_seconds()
        row = self._one(pk)
        latest = row.cancel_command if row.cancel_command is not None else row.command
        if seconds and latest is not None and latest.status in OPEN_STATUSES:
            wait_until_final(latest.pk, seconds)
            row = self._one(pk)
        return Response(reservation_json(row, datetime.now(UTC)))

    @extend_schema(
        operation_id="reservations_cancel",
        summary="Cancel a reservation: CancelReservation is sent",
        description="The reservation changes when its charge point answers; both of its answers close it.",
        parameters=schemas.query("charge_point"),
        responses={202: schemas.CANCELLATION},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row = self._one(pk)
        try:
            command = reservations.cancel(row, caller_name(request))
        except commands.CommandRefused as error:
            raise refused(error) from None
        data = {
            "reservation": reservation_json(self._one(pk), datetime.now(UTC)),
            "command": command_json(command),
        }
        return self.created(data, reverse("api:command", args=[command.pk]), status=202)

    def _one(self, pk: int) -> Reservation:
        """The reservation whose reservationId is `pk`; raises 404, or 409 when more than one charge point has it."""
        rows = self.rows().select_related("charge_point__tenant", "cancel_command")
        rows = rows.filter(reservation_id=pk) if pk <= MAX_INT32 else rows.none()
        # Left empty, as a form does, it names none.
        if identity := self.request.query_params.get("charge_point"):
            rows = rows.filter(charge_point__identity=identity)
        found = list(rows[:2])
        if not found:
            raise Problem(404, "not_found", "There is no such reservation.")
        if len(found) > 1:
            raise Problem(409, "ambiguous", "More than one charge point has a reservation of this id: name one.")
        return found[0]
