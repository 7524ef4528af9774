"""The page "Needs attention": the list of stations/attention.py, by kind, with what to do and where to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from stations import attention
from stations.attention import Finding, Kind
from stations.models import ChargePoint
from tenants.admin.scoped import confined, limited_site_ids, may
from tenants.models import ApiScope

PER_PAGE = 50
VARIANTS = {attention.INFO: "info", attention.WARNING: "warning", attention.CRITICAL: "danger"}
PAGES = {
    "charge_point": "admin:stations_chargepoint_change",
    "transaction": "admin:stations_transaction_change",
    "command": "admin:stations_command_change",
    "log_request": "admin:stations_logrequest_change",
    "refused_id_tag": "admin:stations_refusedidtag_change",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A finding as a page shows it."""

    finding: Finding
    url: str
    variant: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind as something to filter by, with how many there are."""

    kind: Kind
    count: str
    variant: str
    chosen: bool


def shown_count(number: int, most: int = attention.COUNTED) -> str:
    """A number that was counted up to `most`: "10000+" where there are more."""
    return f"{most}+" if number > most else str(number)


def lines(found: list[Finding]) -> list[Line]:
    return [
        Line(each, reverse(PAGES[each.kind.target], args=[each.pk]), VARIANTS[each.kind.severity]) for each in found
    ]


def choices(counted: dict[str, int], code: str | None = None) -> list[Choice]:
    """The kinds of which there are any, and the one that is chosen."""
    return [
        Choice(kind, shown_count(counted[kind.code]), VARIANTS[kind.severity], kind.code == code)
        for kind in attention.KINDS.values()
        if counted[kind.code] or kind.code == code
    ]


def attention_view(request: Any) -> HttpResponse:
    """The whole list; `?kind=`, `?severity=` and `?charge_point=` (an id) choose, `?after=` goes on."""
    if not may(request, ApiScope.READ):
        raise PermissionDenied
    given = request.GET
    code, severity = given.get("kind") or None, given.get("severity") or None
    if code is not None and code not in attention.KINDS:
        raise BadRequest("There is no such kind.")
    if severity is not None and severity not in attention.SEVERITIES:
        raise BadRequest("There is no such severity.")
    charge_point = _charge_point(request)
    now, sites = timezone.now(), limited_site_ids(request)
    of = None if charge_point is None else charge_point.pk
    kinds = attention.chosen(code, severity)
    found = attention.findings(
        now, sites, kinds, PER_PAGE + 1, charge_point_id=of, beyond=_position(given.get("after", ""))
    )
    query = given.copy()
    if len(found) > PER_PAGE:
        since, kind, pk = attention.position(found[PER_PAGE - 1])
        query["after"] = f"{since.isoformat()}_{kind}_{pk}"
    context = {
        **admin.site.each_context(request),
        "title": "Needs attention",
        "lines": lines(found[:PER_PAGE]),
        "choices": choices(attention.counts(now, sites, of), code),
        "chosen": attention.KINDS.get(code or ""),
        "severity": severity,
        "charge_point": charge_point,
        "next": f"?{query.urlencode()}" if len(found) > PER_PAGE else "",
    }
    return TemplateResponse(request, "stations/admin/attention.html", context)


def _charge_point(request: HttpRequest) -> ChargePoint | None:
    text = request.GET.get("charge_point", "")
    if not text:
        return None
    known = text.isascii() and text.isdigit() and len(text) < 19
    row = confined(ChargePoint.objects.all(), request, "site").filter(pk=text).first() if known else None
    if row is None:
        raise BadRequest("There is no such charge point.")
    found: ChargePoint = row
    return found


def _position(text: str) -> attention.Position | None:
    if not text:
        return None
    try:
        at, kind, pk = text.replace(" ", "+").split("_")
        since = datetime.fromisoformat(at)
        if since.tzinfo is None or not (0 <= int(kind) < len(attention.KINDS) and 0 <= int(pk) < 2**63):
            raise ValueError
    except (ValueError, OverflowError):
        raise BadRequest("The page to go on with is not one of this list.") from None
    return since, int(kind), int(pk)
