"""`charge-points/` and what hangs below one: connectors, configuration, messages, connection attempts."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations import commands, credentials
from stations.api import schemas
from stations.api.filters import boolean, choice, instant, site_filter
from stations.models import (
    ChargePoint,
    ConfigurationKey,
    ConnectionAttempt,
    Connector,
    OcppMessage,
    Transaction,
)
from stations.models.charge_point import BOOT_TEXTS, RegistrationStatus, validate_identity, validate_time_zone
from stations.models.message import MessageType
from tenants.api.pagination import MAX_SIZE
from tenants.api.permissions import tenant_of
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import Site

PLAIN = (
    "description", "serial_number", "registration_status", "security_profile", "disabled", "strict", "assume_ocpp16",
    "accept_any_id_tag", "heartbeat_interval_seconds", "call_timeout_seconds", "time_zone", "send_milliseconds",
)  # fmt: skip
PASSWORD_PROFILES = (1, 2)


class ChargePointWrite(StrictSerializer):
    """What may be written. PUT replaces: what is left out goes back to its default, except the password."""

    identity = serializers.CharField(max_length=48, required=False, trim_whitespace=False)
    description = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    site = serializers.CharField(max_length=100, required=False, default=None, allow_null=True, help_text="Its slug.")
    serial_number = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    registration_status = serializers.ChoiceField(
        choices=RegistrationStatus.choices, required=False, default=RegistrationStatus.ACCEPTED.value
    )
    security_profile = serializers.IntegerField(min_value=0, max_value=3, required=False, default=1)
    disabled = serializers.BooleanField(required=False, default=False)
    strict = serializers.BooleanField(required=False, default=False)
    assume_ocpp16 = serializers.BooleanField(required=False, default=False)
    accept_any_id_tag = serializers.BooleanField(required=False, default=False)
    send_milliseconds = serializers.BooleanField(required=False, default=True)
    time_zone = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    heartbeat_interval_seconds = serializers.IntegerField(
        min_value=1, max_value=86_400, required=False, default=None, allow_null=True
    )
    call_timeout_seconds = serializers.IntegerField(
        min_value=1, max_value=600, required=False, default=None, allow_null=True
    )
    password = serializers.CharField(
        max_length=40,
        required=False,
        write_only=True,
        trim_whitespace=False,
        help_text="16 to 20 bytes as text, or 32 to 40 hexadecimal digits.",
    )

    def validate_identity(self, identity: str) -> str:
        validate_identity(identity)
        return identity

    def validate_time_zone(self, name: str) -> str:
        validate_time_zone(name)
        return name

    def validate_password(self, password: str) -> str:
        try:
            credentials.canonical(password)
        except credentials.InvalidPassword as error:
            raise serializers.ValidationError(str(error), code="invalid_password") from None
        return password

    def validate_site(self, slug: str | None) -> Site | None:
        if slug is None:
            return None
        site = Site.objects.filter(slug=slug).first()
        allowed = self.context["view"].site_ids()
        if site is None or (allowed is not None and site.pk not in allowed):
            raise serializers.ValidationError("There is no site of this slug.", code="unknown_site")
        return site


def of_caller(view: TenantAPIView) -> QuerySet[ChargePoint]:
    """The charge points that the caller may see."""
    rows: QuerySet[ChargePoint] = ChargePoint.objects.all()
    sites = view.site_ids()
    return rows if sites is None else rows.filter(site_id__in=sites)


def one_of_caller(view: TenantAPIView, identity: str) -> ChargePoint:
    """The charge point of this identity, or 404."""
    charge_point = of_caller(view).filter(identity=identity).select_related("site", "tenant").first()
    if charge_point is None:
        raise Problem(404, "not_found", "There is no charge point of this identity.")
    return charge_point


def with_live_state(rows: QuerySet[ChargePoint]) -> QuerySet[ChargePoint]:
    return rows.select_related("site").prefetch_related(
        Prefetch("connectors", Connector.objects.order_by("connector_id")),
        Prefetch("transactions", Transaction.objects.open().only("pk", "charge_point_id", "connector_id"), "open_now"),
    )


def connector_json(connector: Connector, running: dict[int, int]) -> dict[str, Any]:
    return {
        "connector_id": connector.connector_id,
        "status": connector.status,
        "error_code": connector.error_code,
        "info": connector.info,
        "vendor_id": connector.vendor_id,
        "vendor_error_code": connector.vendor_error_code,
        "status_at": connector.status_at,
        "transaction": running.get(connector.connector_id),
    }


def charge_point_json(charge_point: ChargePoint, tenant: Any) -> dict[str, Any]:
    running = {tx.connector_id: tx.pk for tx in charge_point.open_now}  # type: ignore[attr-defined]
    base = settings.CSMS_PUBLIC_URL.replace("http", "ws", 1)
    data: dict[str, Any] = {
        "identity": charge_point.identity,
        "site": charge_point.site.slug if charge_point.site else None,
        **{name: getattr(charge_point, name) for name in PLAIN},
        **{name: getattr(charge_point, name) for name in BOOT_TEXTS.values()},
        "booted_at": charge_point.booted_at,
        "connected": charge_point.connected,
        "connected_at": charge_point.connected_at,
        "last_seen_at": charge_point.last_seen_at,
        "connectors": [connector_json(connector, running) for connector in charge_point.connectors.all()],
        "deviations": charge_point.deviations,
        "ocpp_url": f"{base}/ocpp/{tenant.slug}/{quote(charge_point.identity, safe='')}",
        "created_at": charge_point.created_at,
        "updated_at": charge_point.updated_at,
    }
    return data


def _live(charge_point: ChargePoint, view: TenantAPIView) -> dict[str, Any]:
    row = with_live_state(ChargePoint.objects.filter(pk=charge_point.pk)).get()
    return charge_point_json(row, tenant_of(view.request))


def _write(view: TenantAPIView, charge_point: ChargePoint, values: dict[str, Any]) -> dict[str, Any]:
    """Save `values` on `charge_point` and give its JSON, with the password if it was made here."""
    password = values.pop("password", None)
    was_disabled = charge_point.disabled
    created = charge_point.pk is None
    changes = {
        name: [None if created else str(getattr(charge_point, name)), str(value)]
        for name, value in values.items()
        if created or getattr(charge_point, name) != value
    }
    for name, value in values.items():
        setattr(charge_point, name, value)
    shown: dict[str, Any] = {}
    if password is not None:
        raw = credentials.canonical(password)
        charge_point.password_hash = credentials.hashed(raw, generated=False)
        shown["password_form"] = "text" if raw == password.encode() else "hexadecimal"
        changes["password"] = ["***", "***"]
    elif charge_point.security_profile in PASSWORD_PROFILES and not charge_point.password_hash:
        shown["password"] = credentials.generate()
        charge_point.password_hash = credentials.hashed(shown["password"].encode(), generated=True)
    sites = view.site_ids()
    if sites is not None and charge_point.site_id not in sites:
        raise bad_request("/site", "Name one of the sites that you are limited to.", "site_not_allowed")
    try:
        with transaction.atomic():
            charge_point.save()
    except IntegrityError:
        raise Problem(409, "identity_taken", "There is a charge point of this identity.") from None
    view.audit("create" if created else "change", charge_point, changes)
    if charge_point.disabled and not was_disabled and charge_point.connected:
        # Its connection looks at the row, and ends.
        commands.ring_on_commit([charge_point.pk])
    return _live(charge_point, view) | shown


class ChargePointList(TenantAPIView):
    query_parameters = frozenset({"site", "connected", "registration_status", "vendor", "model"})
    paginated = True

    @extend_schema(
        operation_id="charge_points_list",
        summary="Charge points, newest first",
        parameters=schemas.query("site", "connected", "registration_status", "vendor", "model"),
        responses={200: schemas.page_of(schemas.CHARGE_POINT)},
    )
    def get(self, request: Request) -> Response:
        rows = with_live_state(of_caller(self))
        rows = site_filter(request, rows, "site__slug")
        rows = boolean(request, rows, "connected")
        rows = choice(request, rows, "registration_status", RegistrationStatus.values)
        for name in ("vendor", "model"):
            if name in request.query_params:
                rows = rows.filter(**{name: request.query_params[name]})
        tenant = tenant_of(request)
        return self.page(rows, lambda row: charge_point_json(row, tenant))

    @extend_schema(
        operation_id="charge_points_create",
        summary="Register a charge point",
        request=ChargePointWrite,
        responses={201: schemas.CHARGE_POINT},
    )
    def post(self, request: Request) -> Response:
        values = self.validated(ChargePointWrite)
        if "identity" not in values:
            raise bad_request("/identity", "This member is required.", "required")
        data = _write(self, ChargePoint(), values)
        location = request.build_absolute_uri(quote(data["identity"], safe="") + "/")
        return self.tagged(data, 201, {"Location": location})


class ChargePointDetail(TenantAPIView):
    @extend_schema(operation_id="charge_points_read", summary="One charge point", responses={200: schemas.CHARGE_POINT})
    def get(self, request: Request, identity: str) -> Response:
        return self.tagged(_live(one_of_caller(self, identity), self))

    @extend_schema(
        operation_id="charge_points_replace",
        summary="Register or replace a charge point",
        request=ChargePointWrite,
        responses={200: schemas.CHARGE_POINT, 201: schemas.CHARGE_POINT},
    )
    def put(self, request: Request, identity: str) -> Response:
        return self._save(request, identity, partial=False)

    @extend_schema(
        operation_id="charge_points_change",
        summary="Change members of a charge point",
        request=ChargePointWrite,
        responses={200: schemas.CHARGE_POINT},
    )
    def patch(self, request: Request, identity: str) -> Response:
        return self._save(request, identity, partial=True)

    def _save(self, request: Request, identity: str, *, partial: bool) -> Response:
        with transaction.atomic():
            charge_point = of_caller(self).filter(identity=identity).select_related("site", "tenant").first()
            if charge_point is None and partial:
                raise Problem(404, "not_found", "There is no charge point of this identity.")
            self.check_match(_live(charge_point, self) if charge_point else None)
            values = self.validated(ChargePointWrite, partial=partial)
            if values.pop("identity", identity) != identity:
                raise bad_request("/identity", "It differs from the identity in the URL.", "identity_mismatch")
            created = charge_point is None
            if charge_point is None:
                try:
                    validate_identity(identity)
                except ValidationError as error:
                    raise bad_request("/identity", error.messages[0], error.code or "invalid") from None
                charge_point = ChargePoint(identity=identity, tenant=tenant_of(request))
            data = _write(self, charge_point, values)
        return self.tagged(data, 201 if created else 200)

    @extend_schema(
        operation_id="charge_points_delete",
        summary="Delete a charge point that has no transactions",
        responses={204: None},
    )
    def delete(self, request: Request, identity: str) -> Response:
        charge_point = one_of_caller(self, identity)
        self.check_match(_live(charge_point, self))
        if Transaction.objects.filter(charge_point=charge_point).exists():
            raise Problem(
                409,
                "has_transactions",
                "Its transactions are kept, so it cannot be deleted. Disable it instead.",
            )
        pk = charge_point.pk
        with transaction.atomic():
            self.audit("delete", charge_point)
            charge_point.delete()
            # Its connection, if any, finds that it is gone.
            commands.ring_on_commit([pk])
        return Response(status=204)


class ConnectorList(TenantAPIView):
    cursor_fields = ("connector_id",)
    default_page_size = MAX_SIZE
    paginated = True

    @extend_schema(
        operation_id="connectors_list",
        summary="Connectors with their latest status; 0 is the main controller",
        responses={200: schemas.page_of(schemas.CONNECTOR)},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = one_of_caller(self, identity)
        open_now = Transaction.objects.open().filter(charge_point=charge_point)
        running = dict(open_now.values_list("connector_id", "pk"))
        rows = Connector.objects.filter(charge_point=charge_point)
        return self.page(rows, lambda row: connector_json(row, running))


class ConfigurationList(TenantAPIView):
    default_page_size = MAX_SIZE
    paginated = True

    @extend_schema(
        operation_id="configuration_list",
        summary="Configuration keys as last reported, and as wanted",
        responses={200: schemas.page_of(schemas.CONFIGURATION_KEY)},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = one_of_caller(self, identity)
        rows = ConfigurationKey.objects.filter(charge_point=charge_point)
        return self.page(rows, configuration_json)


def configuration_json(row: ConfigurationKey) -> dict[str, Any]:
    return {
        "key": row.key,
        "value": row.value,
        "readonly": row.readonly,
        "known": row.known,
        "reported_at": row.reported_at,
        "desired_value": row.desired_value,
        "desired_at": row.desired_at,
        "reboot_required": row.reboot_required,
        "drift": row.drift,
    }


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
        rows = OcppMessage.objects.filter(charge_point=one_of_caller(self, identity))
        parameters = request.query_params
        if "action" in parameters:
            rows = rows.filter(action=parameters["action"])
        if "message_type" in parameters:
            rows = rows.filter(message_type=_message_type(parameters["message_type"]))
        if "direction" in parameters:
            if parameters["direction"] not in ("in", "out"):
                raise bad_request("/direction", "in or out.", "invalid_choice")
            rows = rows.filter(incoming=parameters["direction"] == "in")
        rows = instant(request, rows, "since", "received_at__gte")
        rows = instant(request, rows, "until", "received_at__lt")
        return self.page(rows, message_json)


def _message_type(name: str) -> int:
    types = {member.name: member.value for member in MessageType}
    if name not in types:
        raise bad_request("/message_type", f"One of {', '.join(types)}.", "invalid_choice")
    return types[name]


def message_json(row: OcppMessage) -> dict[str, Any]:
    return {
        "direction": row.direction,
        "message_type": MessageType(row.message_type).name,
        "action": row.action,
        "message_id": row.message_id,
        "payload": row.payload_json,
        "received_at": row.received_at,
        "latency_ms": row.latency_ms,
        "error": row.error,
    }


class ConnectionAttemptList(TenantAPIView):
    query_parameters = frozenset({"accepted"})
    paginated = True

    @extend_schema(
        operation_id="connection_attempts_list",
        summary="Handshakes of a charge point, newest first, with what to do about those refused",
        parameters=schemas.query("accepted"),
        responses={200: schemas.page_of(schemas.CONNECTION_ATTEMPT)},
    )
    def get(self, request: Request, identity: str) -> Response:
        # By identity, not by row: attempts from before the charge point was registered are what is looked for.
        one_of_caller(self, identity)
        rows = boolean(request, ConnectionAttempt.objects.filter(identity=identity), "accepted")
        return self.page(rows, attempt_json)


def attempt_json(row: ConnectionAttempt) -> dict[str, Any]:
    names = (
        "at", "identity", "address", "accepted", "http_status", "reason", "remedy", "security_profile", "subprotocols",
        "user_agent", "tls_version", "tls_cipher", "client_certificate",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names}
