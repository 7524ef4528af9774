"""What happened on the wire: OCPP-J frames of a charge point, and handshakes, also of those that nobody knows."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.filters import boolean, chosen, instant
from stations.api.visibility import at_sites_of, charge_point_of
from stations.models import ConnectionAttempt, OcppMessage
from stations.models.message import MessageType
from tenants.api.views import TenantAPIView

ATTEMPT_MEMBERS = (
    "at", "identity", "address", "accepted", "http_status", "reason", "remedy", "security_profile", "subprotocols",
    "user_agent", "tls_version", "tls_cipher", "client_certificate",
)  # fmt: skip


def message_json(row: OcppMessage) -> dict[str, Any]:
    return {
        "id": row.pk,
        "direction": row.direction,
        "message_type": MessageType(row.message_type).name,
        "action": row.action,
        "message_id": row.message_id,
        "payload": row.payload_json,
        "received_at": row.received_at,
        "latency_ms": row.latency_ms,
        "error": row.error,
    }


def attempt_json(row: ConnectionAttempt) -> dict[str, Any]:
    charge_point = None if row.charge_point is None else row.charge_point.identity
    return {name: getattr(row, name) for name in ATTEMPT_MEMBERS} | {"charge_point": charge_point}


class MessageList(TenantAPIView):
    query_parameters = frozenset({"action", "message_type", "direction", "since", "until"})
    paginated = True

    @extend_schema(
        operation_id="messages_list",
        summary="The OCPP-J frames of a charge point, newest first; secrets are masked",
        parameters=schemas.query("action", "message_type", "direction", "since", "until"),
        responses={200: schemas.page_of(schemas.MESSAGE)},
    )
    def get(self, request: Request, identity: str) -> Response:
        rows = OcppMessage.objects.filter(charge_point=charge_point_of(self, identity))
        if "action" in request.query_params:
            rows = rows.filter(action=request.query_params["action"])
        message_type = chosen(request, "message_type", MessageType.names)
        if message_type is not None:
            rows = rows.filter(message_type=MessageType[message_type])
        direction = chosen(request, "direction", ("in", "out"))
        if direction is not None:
            rows = rows.filter(incoming=direction == "in")
        rows = instant(request, rows, "since", "received_at__gte")
        rows = instant(request, rows, "until", "received_at__lt")
        return self.page(rows, message_json)


class ChargePointConnectionAttemptList(TenantAPIView):
    query_parameters = frozenset({"accepted"})
    paginated = True

    @extend_schema(
        operation_id="charge_point_connection_attempts_list",
        summary="Handshakes of a charge point, newest first, with what to do about those refused",
        parameters=schemas.query("accepted"),
        responses={200: schemas.page_of(schemas.CONNECTION_ATTEMPT)},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        # Not by row alone: attempts from before the charge point was registered are looked for as well.
        rows = ConnectionAttempt.objects.filter(Q(identity=identity) | Q(charge_point=charge_point))
        rows = rows.select_related("charge_point")
        return self.page(boolean(request, rows, "accepted"), attempt_json)


class ConnectionAttemptList(TenantAPIView):
    query_parameters = frozenset({"accepted", "identity"})
    paginated = True

    @extend_schema(
        operation_id="connection_attempts_list",
        summary="Handshakes of all charge points, newest first, also of identities that nobody registered",
        parameters=schemas.query("accepted", "identity"),
        responses={200: schemas.page_of(schemas.CONNECTION_ATTEMPT)},
    )
    def get(self, request: Request) -> Response:
        rows = at_sites_of(self, ConnectionAttempt.objects.select_related("charge_point"), "charge_point__site_id")
        if "identity" in request.query_params:
            rows = rows.filter(identity=request.query_params["identity"])
        return self.page(boolean(request, rows, "accepted"), attempt_json)
