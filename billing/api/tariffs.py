"""`tariffs/`: a PUT makes the next version; older ones stay readable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import tariffs
from billing.models import Tariff, TariffVersion
from billing.wording import describe
from tenants.api.fields import INSTANT_HINT, parse_instant
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.requests import raw_path
from tenants.api.schema import component, obj, page_of
from tenants.api.views import TenantAPIView, entity_tag
from tenants.models import ApiScope
from tenants.validators import validate_slug

MAX_NAME = 200
# Of a version, not of what it costs; and what is shown only, which may be sent back.
OF_VERSION = frozenset({"name", "valid_from", "valid_to"})
SHOWN_ONLY = frozenset({"code", "version", "text", "created_at", "created_by", "warnings"})
# Left out of what is stored, so that a tariff that was read can be sent back without becoming another.
DEFAULTS: dict[str, Any] = {"min_price": None, "max_price": None, "grace_period_minutes": 0, "tax_included": False}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_ELEMENTS = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": True},
    "description": "TariffElement objects of OCPI 2.2.1: `price_components`, `restrictions`.",
}
_LIMIT = {
    "description": "A decimal on the basis of the prices, or `{excl_vat, incl_vat}`.",
    "type": ["string", "number", "object", "null"],
}
_WRITTEN: dict[str, Any] = {
    "name": {"type": "string"},
    "currency": {"type": "string", "description": "ISO 4217."},
    "elements": _ELEMENTS,
    "min_price": _LIMIT,
    "max_price": _LIMIT,
    "grace_period_minutes": {"type": ["number", "string"]},
    "tax_included": {"type": "boolean", "description": "Whether prices are gross."},
    "valid_from": _TIME,
    "valid_to": _TIME,
}
TARIFF = component(
    "Tariff",
    obj(
        code={"type": "string"},
        version={"type": "integer"},
        text={"type": "string", "description": "What people read, the price of a kWh first."},
        created_at={"type": "string", "format": "date-time"},
        created_by={"type": "string"},
        warnings={"type": "array", "items": obj(code={"type": "string"}, detail={"type": "string"})},
        **_WRITTEN,
    ),
)
TARIFF_WRITE = component(
    "TariffWrite", {"type": "object", "required": ["currency", "elements"], "properties": _WRITTEN}
)


def tariff_json(version: TariffVersion) -> dict[str, Any]:
    """The resource: one version, with what it means in words."""
    terms = version.terms
    return {
        "code": version.tariff.code,
        "version": version.number,
        "name": version.name,
        **DEFAULTS,
        **version.data,
        "valid_from": version.valid_from,
        "valid_to": version.valid_to,
        "text": describe(terms),
        "created_at": version.created_at,
        "created_by": version.created_by,
        "warnings": tariffs.advice(terms),
    }


def tag_of(version: TariffVersion) -> str:
    """The ETag: of the newest version."""
    return entity_tag({"pk": version.pk})


class _Tariffs(TenantAPIView):
    read_scope = write_scope = ApiScope.BILLING
    tagged_object = True

    def newest(self) -> QuerySet[TariffVersion]:
        """The newest version of each tariff."""
        numbers = TariffVersion.objects.filter(tariff=OuterRef("tariff")).order_by("-number").values("number")[:1]
        return TariffVersion.objects.select_related("tariff").filter(number=Subquery(numbers))

    def answer(self, version: TariffVersion, status: int = 200) -> Response:
        return Response(tariff_json(version), status=status, headers={"ETag": tag_of(version)})


class TariffList(_Tariffs):
    paginated = True

    @extend_schema(
        operation_id="tariffs_list", summary="Tariffs, each in its newest version", responses={200: page_of(TARIFF)}
    )
    def get(self, request: Request) -> Response:
        return self.page(self.newest(), tariff_json)


class TariffDetail(_Tariffs):
    @extend_schema(operation_id="tariffs_read", summary="The newest version of a tariff", responses={200: TARIFF})
    def get(self, request: Request, code: str) -> Response:
        return self.answer(found(self.newest(), tariff__code=code))

    @extend_schema(
        operation_id="tariffs_replace",
        summary="Make the first or the next version of a tariff",
        description="What was written is never changed: a PUT makes the next version, unless it says what the newest "
        "one says already.",
        request={"application/json": TARIFF_WRITE},
        responses={200: TARIFF, 201: TARIFF},
    )
    def put(self, request: Request, code: str) -> Response:
        try:
            validate_slug(code)
        except ValidationError as error:
            raise bad_request("/code", error.messages[0], error.code or "invalid") from None
        tariff = Tariff.objects.select_for_update().filter(code=code).first()
        before = None if tariff is None else tariff.versions.order_by("-number").first()
        self.check_match(None if before is None else tag_of(before))
        written = _written(request.data, code)
        if before is not None and written == {name: getattr(before, name) for name in written}:
            return self.answer(before)
        try:
            with transaction.atomic():
                tariff = tariff or Tariff.objects.create(code=code)
                version = TariffVersion.objects.create(
                    tariff=tariff,
                    number=1 if before is None else before.number + 1,
                    created_by=caller_name(request),
                    **written,
                )
        except IntegrityError:
            raise Problem(409, "changed_meanwhile", "Somebody else has just made a version of this tariff.") from None
        changes = {"version": [None if before is None else before.number, version.number], "data": written["data"]}
        self.audit("create" if before is None else "change", tariff, changes)
        response = self.answer(version)
        if before is not None:
            return response
        return self.created(response.data, raw_path(request._request), ETag=response["ETag"])


class TariffVersionList(_Tariffs):
    tagged_object = False
    paginated = True

    @extend_schema(
        operation_id="tariffs_versions_list", summary="All versions, newest first", responses={200: page_of(TARIFF)}
    )
    def get(self, request: Request, code: str) -> Response:
        found(self.newest(), tariff__code=code)
        return self.page(TariffVersion.objects.select_related("tariff").filter(tariff__code=code), tariff_json)


class TariffVersionDetail(_Tariffs):
    tagged_object = False

    @extend_schema(operation_id="tariffs_versions_read", summary="One version", responses={200: TARIFF})
    def get(self, request: Request, code: str, number: int) -> Response:
        rows = TariffVersion.objects.select_related("tariff")
        return Response(tariff_json(found(rows, tariff__code=code, number=number)))


def found(rows: QuerySet[TariffVersion], **lookups: Any) -> TariffVersion:
    """The one version that `lookups` name. Raises Problem 404."""
    version = rows.filter(**lookups).first()
    if version is None:
        raise Problem(404, "not_found", "There is no such tariff, or no such version of it.")
    return version


def in_force(code: str, at: datetime) -> TariffVersion | None:
    """The version of the tariff `code` that is in force at `at`; None when there is none."""
    tariff = Tariff.objects.filter(code=code).first()
    return None if tariff is None else tariff.in_force(at)


def _written(body: dict[str, Any], code: str) -> dict[str, Any]:
    """The body as columns of a version, checked. Raises 400 with pointers."""
    errors: list[Mapping[str, str]] = []
    try:
        tariffs.parse({name: value for name, value in body.items() if name not in SHOWN_ONLY})
    except tariffs.Fault as fault:
        errors += fault.errors
    if body.get("code", code) != code:
        errors.append({"pointer": "/code", "detail": "It differs from the code in the URL.", "code": "code_mismatch"})
    name = body.get("name", "")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        detail = f"This must be a text of at most {MAX_NAME} characters."
        errors.append({"pointer": "/name", "detail": detail, "code": "invalid"})
    ends: dict[str, datetime | None] = {}
    for end in ("valid_from", "valid_to"):
        given = body.get(end)
        ends[end] = parse_instant(given) if isinstance(given, str) else None
        if given is not None and ends[end] is None:
            errors.append({"pointer": f"/{end}", "detail": INSTANT_HINT, "code": "invalid_time"})
    if ends["valid_from"] and ends["valid_to"] and ends["valid_from"] >= ends["valid_to"]:
        errors.append({"pointer": "/valid_to", "detail": "It is not after valid_from.", "code": "contradiction"})
    if errors:
        raise Problem(400, "invalid", "The tariff is not valid.", errors=errors)
    data = {
        member: value
        for member, value in body.items()
        if member not in OF_VERSION | SHOWN_ONLY and value not in (None, DEFAULTS.get(member))
    }
    return {"name": name, "data": data, **ends}
