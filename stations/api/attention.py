"""`attention/`: what needs attention, in one list (stations/attention.py)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import attention
from stations.api import schemas
from stations.api.filters import chosen
from stations.api.visibility import charge_points_of
from stations.attention import Finding, Position
from tenants.api.pagination import page_size, wants_count
from tenants.api.problems import bad_request
from tenants.api.requests import absolute, raw_path
from tenants.api.views import TenantAPIView

KIND = OpenApiParameter("kind", schemas.enum(*attention.KINDS), description="Of one kind.")
SEVERITY = OpenApiParameter("severity", schemas.enum(*attention.SEVERITIES), description="Of one severity.")
# Where REST shows what a finding is about, after the root of the API.
TARGETS = {
    "transaction": "transactions/{}/",
    "refused_id_tag": "refused-id-tags/{}/",
    "command": "commands/{}/",
}


def link_of(finding: Finding) -> str:
    """The path of what a finding is about, after the root of the API."""
    target = finding.kind.target
    if target == "charge_point":
        return f"charge-points/{quote(finding.charge_point.identity, safe='')}/"
    if target == "log_request":
        return f"{'logs' if finding.text.split()[0].endswith('Log') else 'diagnostics'}/{finding.pk}/"
    return TARGETS[target].format(finding.pk)


def finding_json(finding: Finding, root: str) -> dict[str, Any]:
    return {
        "kind": finding.kind.code,
        "severity": finding.kind.severity,
        "charge_point": finding.charge_point.identity,
        "connector_id": finding.connector_id,
        "since": finding.since,
        "text": finding.text,
        "remedy": finding.kind.remedy,
        "link": f"{root}{link_of(finding)}",
    }


class AttentionList(TenantAPIView):
    query_parameters = frozenset({"kind", "severity", "charge_point"})
    paginated = True

    @extend_schema(
        operation_id="attention_list",
        summary="What needs attention, newest first: contradictions between facts that we hold",
        description="Worked out when it is asked for: what is mended is gone. With `count=true`, `count` goes no "
        f"further than {attention.COUNTED + 1} of one kind.",
        parameters=[KIND, SEVERITY, *schemas.query("charge_point")],
        responses={200: schemas.page_of(schemas.ATTENTION)},
    )
    def get(self, request: Request) -> Response:
        now, sites = timezone.now(), self.site_ids()
        kinds = attention.chosen(
            chosen(request, "kind", attention.KINDS), chosen(request, "severity", attention.SEVERITIES)
        )
        charge_point_id = None
        if "charge_point" in request.query_params:
            rows = charge_points_of(self).filter(identity=request.query_params["charge_point"])
            # Of none that can be seen, nothing.
            charge_point_id = rows.values_list("pk", flat=True).first() or 0
        size, (beyond, backwards) = page_size(request), _cursor(request)
        found = attention.findings(
            now, sites, kinds, size + 1, charge_point_id=charge_point_id, beyond=beyond, backwards=backwards
        )
        more = len(found) > size
        found = (found[1:] if backwards else found[:size]) if more else found
        has_previous = more if backwards else beyond is not None
        has_next = True if backwards else more
        here = raw_path(request._request)
        root = f"{here.rpartition('attention/')[0]}"
        body: dict[str, Any] = {
            "results": [finding_json(each, root) for each in found],
            "next": _link(request, found[-1], backwards=False) if found and has_next else None,
            "previous": _link(request, found[0], backwards=True) if found and has_previous else None,
        }
        if wants_count(request):
            counted = attention.counts(now, sites, charge_point_id)
            body["count"] = sum(counted[kind.code] for kind in kinds)
        return Response(body)


def _cursor(request: Request) -> tuple[Position | None, bool]:
    text = request.query_params.get("cursor")
    if text is None:
        return None, False
    try:
        backwards, at, kind, pk = orjson.loads(base64.b64decode(text.encode() + b"==", altchars=b"-_"))
        since = datetime.fromisoformat(at)
        if type(backwards) is not bool or type(kind) is not int or type(pk) is not int or since.tzinfo is None:
            raise ValueError
        if not (0 <= kind < len(attention.KINDS) and 0 <= pk < 2**63):
            raise ValueError
        return (since.astimezone(UTC), kind, pk), backwards
    except (ValueError, TypeError, OverflowError):
        raise bad_request("/cursor", "This is not a cursor from `next` or `previous`.", "invalid_cursor") from None


def _link(request: Request, finding: Finding, *, backwards: bool) -> str:
    since, kind, pk = attention.position(finding)
    query = QueryDict(mutable=True)
    query.update(request.query_params)
    query.pop("count", None)
    packed = orjson.dumps([backwards, since.isoformat(), kind, pk])
    query["cursor"] = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return absolute(request._request, f"{raw_path(request._request)}?{query.urlencode()}")
