"""`charge-points/`: register, change, look at charge points. What hangs below one: connectors.py, logs.py."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csms import addresses
from csms.ocppj.times import format_time
from stations import commands, credentials, passwords, registration
from stations.api import schemas
from stations.api.connectors import connector_json
from stations.api.filters import boolean, choice, site_filter
from stations.api.values import checked_password
from stations.api.visibility import charge_point_of, charge_points_of
from stations.models import ChargePoint, Connector, PasswordChange, Transaction
from stations.models.charge_point import BOOT_TEXTS, RegistrationStatus, validate_identity, validate_time_zone
from tenants.api.fields import Boolean, Integer, Text
from tenants.api.many import list_of, put_many, results_of
from tenants.api.permissions import tenant_of
from tenants.api.problems import Problem, bad_request
from tenants.api.requests import raw_path
from tenants.api.schema import PROBLEM
from tenants.api.views import StrictSerializer, TenantAPIView, entity_tag
from tenants.models import Site, Tenant

WRITABLE = (
    "description", "site", "serial_number", "registration_status", "security_profile", "exact_security_profile",
    "disabled", "strict",
    "assume_ocpp16", "accept_hexadecimal_password", "accept_any_id_tag", "heartbeat_interval_seconds",
    "call_timeout_seconds", "time_zone", "send_milliseconds",
)  # fmt: skip
LIVE = ("booted_at", "connected", "connected_at", "disconnected_at", "last_seen_at", "created_at", "updated_at")

SECURITY = ("has_password", "password_state", "pending_security_profile", "contested_at")


class ChargePointWrite(StrictSerializer):
    """What may be written. PUT replaces: what is left out goes back to its default, except password and profile."""

    shown_only = frozenset(
        {
            *LIVE,
            *BOOT_TEXTS.values(),
            *SECURITY,
            "connectors",
            "deviations",
            "ocpp_url",
            "ocpp_url_warning",
            "password_form",
            "warnings",
        }
    )

    identity = Text(max_length=48, required=False, help_text="Needed by POST; in PUT and PATCH that of the URL.")
    description = Text(max_length=200, required=False, default="", allow_blank=True)
    site = Text(max_length=63, required=False, default=None, allow_null=True, help_text="Its slug.")
    serial_number = Text(
        max_length=64,
        required=False,
        default="",
        allow_blank=True,
        help_text="Expected in the client certificate's CN; empty means the identity.",
    )
    registration_status = serializers.ChoiceField(
        choices=RegistrationStatus.choices, required=False, default=RegistrationStatus.ACCEPTED.value
    )
    security_profile = Integer(min_value=0, max_value=3, required=False, default=1)
    exact_security_profile = Boolean(
        required=False,
        default=False,
        help_text="Let it in with just this profile. Else a higher one, with what that asks for, is let in too.",
    )
    disabled = Boolean(required=False, default=False)
    strict = Boolean(required=False, default=False)
    assume_ocpp16 = Boolean(required=False, default=False)
    accept_hexadecimal_password = Boolean(required=False, default=True)
    accept_any_id_tag = Boolean(required=False, default=False)
    send_milliseconds = Boolean(required=False, default=True)
    time_zone = Text(
        max_length=64, required=False, default="", allow_blank=True, help_text="IANA name, such as Europe/Berlin."
    )
    heartbeat_interval_seconds = Integer(min_value=1, max_value=86_400, required=False, default=None, allow_null=True)
    call_timeout_seconds = Integer(min_value=1, max_value=600, required=False, default=None, allow_null=True)
    password = Text(
        max_length=40,
        required=False,
        write_only=True,
        help_text="16 to 20 bytes as text, or 32 to 40 hexadecimal digits. One is made where the profile needs one.",
    )

    def validate_identity(self, identity: str) -> str:
        validate_identity(identity)
        return identity

    def validate_time_zone(self, name: str) -> str:
        validate_time_zone(name)
        return name

    def validate_password(self, password: str) -> str:
        return checked_password(password, tenant_of(self.context["view"].request))

    def validate_site(self, slug: str | None) -> Site | None:
        if slug is None:
            return None
        site = Site.objects.filter(slug=slug).first()
        allowed = self.context["view"].site_ids()
        if site is None or (allowed is not None and site.pk not in allowed):
            raise serializers.ValidationError("There is no site of this slug.", code="unknown_site")
        return site


def with_live_state(rows: QuerySet[ChargePoint]) -> QuerySet[ChargePoint]:
    running = Transaction.objects.open().only("tenant_id", "charge_point_id", "connector_id").order_by("pk")
    return rows.select_related("site").prefetch_related(
        Prefetch("connectors", Connector.objects.order_by("connector_id")),
        Prefetch("password_changes", PasswordChange.objects.select_related("command")),
        Prefetch("transactions", running, "running"),
    )


def charge_point_json(charge_point: ChargePoint, tenant: Tenant) -> dict[str, Any]:
    """The resource; `charge_point` comes from with_live_state()."""
    running = {tx.connector_id: tx.pk for tx in charge_point.running}  # type: ignore[attr-defined]
    data: dict[str, Any] = {"identity": charge_point.identity}
    data |= {name: getattr(charge_point, name) for name in WRITABLE}
    data["site"] = charge_point.site.slug if charge_point.site else None
    data |= {name: getattr(charge_point, name) for name in (*BOOT_TEXTS.values(), *LIVE)}
    data["connectors"] = [connector_json(connector, running) for connector in charge_point.connectors.all()]
    data["deviations"] = {
        kind: {**found, "at": format_time(datetime.fromisoformat(found["at"]))}
        for kind, found in charge_point.deviations.items()
    }
    data["ocpp_url"] = registration.connection_url(charge_point, tenant)
    data["ocpp_url_warning"] = None if data["ocpp_url"] else addresses.UNKNOWN
    data["has_password"] = bool(charge_point.password_hash)
    data["password_state"] = passwords.state_of(charge_point).value
    data |= {name: getattr(charge_point, name) for name in ("pending_security_profile", "contested_at")}
    return data


def tag_of(charge_point: ChargePoint) -> str:
    """The ETag: over what may be written, so that a boot or a status does not change it."""
    facts = {name: getattr(charge_point, name) for name in WRITABLE if name != "site"}
    password = hashlib.sha256(charge_point.password_hash.encode()).hexdigest()
    return entity_tag(facts | {"pk": charge_point.pk, "site": charge_point.site_id, "password": password})


class _ChargePoints(TenantAPIView):
    tagged_object = True

    def answer(self, charge_point: ChargePoint, shown: dict[str, Any] | None = None, status: int = 200) -> Response:
        """The resource as it is in the database, with what is shown this once."""
        row = with_live_state(ChargePoint.objects.filter(pk=charge_point.pk)).get()
        data = charge_point_json(row, tenant_of(self.request)) | (shown or {})
        return Response(data, status=status, headers={"ETag": tag_of(row)})

    def write(self, charge_point: ChargePoint, values: dict[str, Any]) -> dict[str, Any]:
        """Save `values` on `charge_point`; gives what is shown this once: the password made, or how one was read."""
        password = values.pop("password", None)
        created = charge_point.pk is None
        before = {name: getattr(charge_point, name) for name in values}
        for name, value in values.items():
            setattr(charge_point, name, value)
        sites = self.site_ids()
        if sites is not None and charge_point.site_id not in sites:
            raise bad_request("/site", "Name one of the sites that you are limited to.", "site_not_allowed")
        try:
            registration.check(charge_point, tenant_of(self.request))
        except registration.RegistrationRefused as refused:
            if refused.member:
                raise bad_request(f"/{refused.member}", refused.detail, refused.code) from None
            raise Problem(409, refused.code, refused.detail) from None
        shown: dict[str, Any] = {}
        if password is not None:
            shown["password_form"] = registration.set_password(charge_point, password)
            if credentials.is_weak(password):
                shown["warnings"] = [registration.WEAK_PASSWORD]
        elif registration.needs_password(charge_point):
            shown["password"] = registration.make_password(charge_point)
        try:
            with transaction.atomic():
                registration.save(charge_point, {*values, *(["password_hash"] if shown else [])})
        except IntegrityError:
            raise Problem(409, "identity_taken", "There is a charge point of this identity.") from None
        changes = {
            name: [None if created else _plain(before[name]), _plain(value)]
            for name, value in values.items()
            if created or before[name] != value
        }
        if shown:
            changes["password"] = ["***", "***"]
        self.audit("create" if created else "change", charge_point, changes)
        warnings = registration.identity_warnings(charge_point) if created else []
        if warnings:
            shown["warnings"] = [*shown.get("warnings", []), *warnings]
        return shown

    def replace(self, charge_point: ChargePoint | None, identity: str, data: Any) -> Replaced:
        """Register `identity`, or replace what is written of `charge_point`, by `data`, the body of a PUT."""
        values = self.values(identity, data, partial=False)
        if charge_point is not None:
            for name in ("security_profile", "exact_security_profile"):
                if name not in data:
                    # Left out, it must not lower in silence what the charge point has reached.
                    del values[name]
            return Replaced(charge_point, self.write(charge_point, values), False)
        try:
            validate_identity(identity)
        except ValidationError as error:
            raise bad_request("/identity", error.messages[0], error.code or "invalid") from None
        charge_point = ChargePoint(identity=identity)
        return Replaced(charge_point, self.write(charge_point, values), True)

    def locked(self, identity: str) -> ChargePoint | None:
        """The charge point, locked until the change is committed: two that start from one state must not both hold."""
        rows = charge_points_of(self).filter(identity=identity)
        return rows.select_related("site").select_for_update(of=("self",)).first()

    def values(self, identity: str, data: Any, *, partial: bool) -> dict[str, Any]:
        values = self.validated(ChargePointWrite, data, partial=partial)
        if values.pop("identity", identity) != identity:
            raise bad_request("/identity", "It differs from the identity in the URL.", "identity_mismatch")
        return values


class Replaced(NamedTuple):
    """What a PUT has done: `shown` is in this answer only, `created` is whether it was not there before."""

    charge_point: ChargePoint
    shown: dict[str, Any]
    created: bool


def _plain(value: Any) -> Any:
    return value.slug if isinstance(value, Site) else value


class ChargePointList(_ChargePoints):
    list_methods = frozenset({"PUT"})
    query_parameters = frozenset({"site", "connected", "registration_status", "vendor", "model"})
    paginated = True

    @extend_schema(
        operation_id="charge_points_list",
        summary="Charge points, newest first",
        parameters=schemas.query("site", "connected", "registration_status", "vendor", "model"),
        responses={200: schemas.page_of(schemas.CHARGE_POINT)},
    )
    def get(self, request: Request) -> Response:
        rows = with_live_state(charge_points_of(self))
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
        charge_point = ChargePoint()
        shown = self.write(charge_point, values)
        response = self.answer(charge_point, shown)
        path = f"{raw_path(request._request)}{quote(charge_point.identity, safe='')}/"
        return self.created(response.data, path, ETag=response["ETag"])

    @extend_schema(
        operation_id="charge_points_replace_many",
        summary="Register or replace up to 1,000 charge points",
        description="Each for itself: the answer has a result for each, in the order sent.",
        request=list_of(ChargePointWrite),
        responses={200: results_of(schemas.CHARGE_POINT, "identity", PROBLEM)},
    )
    def put(self, request: Request) -> Response:
        tenant = tenant_of(request)

        def put(identity: str, data: dict[str, Any]) -> tuple[dict[str, Any], bool]:
            done = self.replace(self.locked(identity), identity, data)
            row = with_live_state(ChargePoint.objects.filter(pk=done.charge_point.pk)).get()
            return charge_point_json(row, tenant) | done.shown, done.created

        return put_many(self, "identity", str, put)


class ChargePointDetail(_ChargePoints):
    @extend_schema(operation_id="charge_points_read", summary="One charge point", responses={200: schemas.CHARGE_POINT})
    def get(self, request: Request, identity: str) -> Response:
        return self.answer(charge_point_of(self, identity))

    @extend_schema(
        operation_id="charge_points_replace",
        summary="Register or replace a charge point",
        request=ChargePointWrite,
        responses={200: schemas.CHARGE_POINT, 201: schemas.CHARGE_POINT},
    )
    def put(self, request: Request, identity: str) -> Response:
        charge_point = self.locked(identity)
        self.check_match(None if charge_point is None else tag_of(charge_point))
        done = self.replace(charge_point, identity, request.data)
        response = self.answer(done.charge_point, done.shown)
        if not done.created:
            return response
        return self.created(response.data, raw_path(request._request), ETag=response["ETag"])

    @extend_schema(
        operation_id="charge_points_change",
        summary="Change members of a charge point",
        request=ChargePointWrite,
        responses={200: schemas.CHARGE_POINT},
    )
    def patch(self, request: Request, identity: str) -> Response:
        charge_point = self.locked(identity)
        if charge_point is None:
            raise Problem(404, "not_found", "There is no charge point of this identity.")
        self.check_match(tag_of(charge_point))
        return self.answer(charge_point, self.write(charge_point, self.values(identity, request.data, partial=True)))

    @extend_schema(
        operation_id="charge_points_delete",
        summary="Delete a charge point that has no transactions",
        responses={204: None},
    )
    def delete(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        self.check_match(tag_of(charge_point))
        if Transaction.objects.filter(charge_point=charge_point).exists():
            raise Problem(
                409, "has_transactions", "Its transactions are kept, so it cannot be deleted. Disable it instead."
            )
        self.audit("delete", charge_point)
        # Its connection, if any, finds that it is gone.
        commands.ring_on_commit([charge_point.pk])
        charge_point.delete()
        return Response(status=204)
