"""`local-auth-lists/`: which id tags a charge point shall know by itself, how it stands to that, and sending it.

A charge point has one list, found under its identity whether or not anything is wanted there. What is installed changes
by the answers of the charge point only; `sync/` and SendLocalList through `commands/` are kept in step.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations import local_auth_lists
from stations.api import local_auth_list_schemas as shapes
from stations.api import schemas
from stations.api.commands import BulkFilter, chosen_charge_points, command_json, refused
from stations.api.filters import boolean, choice, flag, site_filter
from stations.api.values import sites_named
from stations.api.visibility import at_sites_of, charge_point_of
from stations.local_auth_entries import Limits, Pair, difference, pairs
from stations.local_auth_lists import NEEDS_FULL, ListState, Source
from stations.models import ChargePoint, IdTag, IdTagSite, LocalAuthList, LocalAuthListEntry, LocalAuthListIdTag
from stations.models.local_auth_list import ListSource
from stations.refusal import CommandRefused
from tenants.api.fields import Boolean, Slugs, Text
from tenants.api.pagination import NewestFirstPagination, page_size, wants_count
from tenants.api.permissions import caller_name, may
from tenants.api.problems import INVALID, Problem, bad_request
from tenants.api.schema import page_of
from tenants.api.views import StrictSerializer, TenantAPIView, entity_tag
from tenants.models import ApiScope, Site

MAX_SHOWN_ERRORS = 100
# Rows of id tags that one request may write, over all its charge points.
MAX_CHOSEN = 1_000_000
CONFLICTS = {
    "no_desired_list", "list_too_long", "list_being_sent", "installed_list_uncertain", "list_versions_exhausted",
}  # fmt: skip
SHOWN_ONLY = frozenset({
    "charge_point", "status", "source_kind", "desired_at", "desired_length", "send_full", "installed",
    "reported_version", "reported_at", "outcome", "outcome_at", "differences", "next_version", "limits", "warnings",
})  # fmt: skip


# --- bodies -----------------------------------------------------------------------------------------------------------
class SourceWrite(StrictSerializer):
    """Where the entries come from: exactly one of the members."""

    id_tags = serializers.ListField(
        child=Text(max_length=20),
        required=False,
        max_length=local_auth_lists.MAX_ID_TAGS,
        help_text="Registered id tags, in any case.",
    )
    groups = serializers.ListField(child=Text(max_length=100), required=False, min_length=1, max_length=100)
    sites = Slugs(required=False, help_text="Empty: the site of the charge point.")

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if len(values) != 1:
            raise serializers.ValidationError("Give one of id_tags, groups and sites.", code="either_or")
        return values

    def validate_sites(self, slugs: list[str]) -> list[Site]:
        return sites_named(self.context["view"], slugs)


class LocalAuthListWrite(StrictSerializer):
    shown_only = SHOWN_ONLY

    source = SourceWrite(allow_null=True, help_text="Null: nothing is wanted.")
    sync_automatically = Boolean(required=False, default=False, help_text="Send differences without being asked.")


class SyncWrite(StrictSerializer):
    full = Boolean(
        required=False, default=None, allow_null=True, help_text="Absent: the full list only where it is needed."
    )
    reason = Text(max_length=500, required=False, default="", allow_blank=True)


class LocalAuthListBulkWrite(StrictSerializer):
    """Say what is wanted at many charge points, send it, or both."""

    charge_points = serializers.ListField(child=Text(max_length=48), required=False, min_length=1, max_length=10_000)
    filter = BulkFilter(required=False)
    source = SourceWrite(required=False, allow_null=True)
    sync_automatically = Boolean(required=False)
    sync = Boolean(required=False, default=False, help_text="Also send the lists.")
    full = Boolean(required=False, default=None, allow_null=True)
    reason = Text(max_length=500, required=False, default="", allow_blank=True)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if ("charge_points" in values) == ("filter" in values):
            raise serializers.ValidationError("Give either charge_points or filter.", code="either_or")
        if "sync_automatically" in values and "source" not in values:
            raise serializers.ValidationError("sync_automatically is changed with a source.", code="source_missing")
        if "source" not in values and not values["sync"]:
            raise serializers.ValidationError("Give a source, or sync, or both.", code="nothing_to_do")
        return values


# --- answers ----------------------------------------------------------------------------------------------------------
def summary_json(row: LocalAuthList, state: ListState, desired_length: int) -> dict[str, Any]:
    return {
        "charge_point": row.charge_point.identity,
        "status": state.value,
        "source_kind": row.source or None,
        "desired_at": row.desired_at,
        "desired_length": desired_length,
        "sync_automatically": row.sync_automatically,
        "send_full": state in NEEDS_FULL,
        "installed": {
            "version": row.installed_version,
            "length": row.installed_length,
            "complete": row.installed_complete,
            "at": row.installed_at,
            "command": row.installed_by_id,
        },
        "reported_version": row.reported_version,
        "reported_at": row.reported_at,
        "outcome": row.outcome or None,
        "outcome_at": row.outcome_at,
    }


def list_json(row: LocalAuthList, now: datetime) -> dict[str, Any]:
    """The resource; `row` has its charge point and need not be saved."""
    found = difference(row, now)
    state = local_auth_lists.state_of(row, found)
    limits = Limits.of(row.charge_point)
    warnings = local_auth_lists.warnings(len(found.wanted), limits)
    return {
        **summary_json(row, state, len(found.wanted)),
        "source": source_json(row),
        "differences": {
            "added": len(found.added),
            "changed": len(found.changed),
            # Where nothing is wanted, nothing is to be removed either.
            "removed": len(found.removed) if row.source else 0,
        },
        "next_version": row.next_version,
        "limits": {
            "list_length": limits.list_length,
            "request_length": limits.request_length,
            "enabled": limits.enabled,
            "supported": limits.supported,
        },
        "warnings": [{"code": code, "detail": detail} for code, detail in warnings],
    }


def source_json(row: LocalAuthList) -> dict[str, Any] | None:
    if row.source == ListSource.GROUPS:
        return {"groups": row.groups}
    if row.source == ListSource.SITES:
        return {"sites": list(row.sites.order_by("site__slug").values_list("site__slug", flat=True))}
    if row.source == ListSource.ID_TAGS:
        chosen = LocalAuthListIdTag.objects.filter(local_auth_list_id=row.pk).order_by("id")
        return {"id_tags": list(chosen.values_list("id_tag__id_tag", flat=True))}
    return None


def entry_json(pair: Pair) -> dict[str, Any]:
    return {"id_tag": pair.id_tag, "desired": pair.desired, "installed": pair.installed, "change": pair.change}


def refused_sync(error: CommandRefused) -> Problem:
    """CommandRefused as an answer: 409 where the state of the list or of the charge point is in the way."""
    if error.code not in CONFLICTS:
        return refused(error)
    errors = [
        {"pointer": problem.pointer, "detail": f"The list {problem.detail}.", "code": problem.code}
        for problem in error.problems
    ]
    return Problem(409, error.code, error.detail, errors=errors)


def tag_of(row: LocalAuthList) -> str:
    """The ETag: what people edit, not how the charge point stands to it."""
    return entity_tag(
        {
            "charge_point": row.charge_point_id,
            "source": row.source,
            "groups": row.groups,
            "desired_at": row.desired_at,
            "sync_automatically": row.sync_automatically,
        }
    )


# --- views ------------------------------------------------------------------------------------------------------------
class _LocalAuthLists(TenantAPIView):
    def rows(self) -> QuerySet[LocalAuthList]:
        return at_sites_of(self, LocalAuthList.objects.select_related("charge_point"), "charge_point__site_id")

    def source_of(self, given: dict[str, Any] | None) -> Source | None:
        """The source of a checked body; raises 400 for id tags that are not registered, or that the caller cannot see.

        Who is limited to sites sees tags that may charge there, or everywhere.
        """
        if given is None:
            return None
        ((kind, values),) = given.items()
        if kind == ListSource.GROUPS:
            return Source(ListSource.GROUPS, groups=list(dict.fromkeys(values)))
        if kind == ListSource.SITES:
            return Source(ListSource.SITES, sites=values)
        tags = IdTag.objects.all()
        sites = self.site_ids()
        if sites is not None:
            here = IdTagSite.objects.filter(site_id__in=sites).values("id_tag_id")
            tags = tags.filter(Q(pk__in=here) | ~Q(pk__in=IdTagSite.objects.values("id_tag_id")))
        found, unknown = local_auth_lists.find_id_tags(tags, values)
        if unknown:
            errors = [
                {
                    "pointer": f"/source/id_tags/{index}",
                    "detail": "There is no such id tag; register it first.",
                    "code": "unknown_id_tag",
                }
                for index in unknown[:MAX_SHOWN_ERRORS]
            ]
            raise Problem(400, "invalid", INVALID, errors=errors)
        return Source(ListSource.ID_TAGS, id_tags=found)

    def want(self, charge_point: ChargePoint, source: Source | None, automatically: bool | None) -> LocalAuthList:
        before = local_auth_lists.list_of(charge_point)
        kind, groups, automatic = before.source, before.groups, before.sync_automatically
        row = local_auth_lists.want(charge_point, source, datetime.now(UTC), sync_automatically=automatically)
        changes: dict[str, Any] = {
            name: [old, new]
            for name, old, new in (
                ("source", kind, row.source),
                ("groups", groups, row.groups),
                ("sync_automatically", automatic, row.sync_automatically),
            )
            if old != new
        }
        if source is not None and source.kind == ListSource.ID_TAGS:
            changes["id_tags"] = [None, len(source.id_tags)]
        if source is not None and source.kind == ListSource.SITES:
            changes["sites"] = [None, [site.slug for site in source.sites]]
        self.audit("change", row, changes)
        return row


class LocalAuthListList(_LocalAuthLists):
    query_parameters = frozenset({"charge_point", "site", "source", "sync_automatically"})
    paginated = True

    @extend_schema(
        operation_id="local_auth_lists_list",
        summary="Local lists of charge points that have one or were asked for it, newest first",
        parameters=schemas.query("charge_point", "site", "source", "sync_automatically"),
        responses={200: page_of(shapes.SUMMARY)},
    )
    def get(self, request: Request) -> Response:
        rows = boolean(request, self.rows(), "sync_automatically")
        rows = site_filter(request, choice(request, rows, "source", ListSource.values), "charge_point__site__slug")
        if "charge_point" in request.query_params:
            rows = rows.filter(charge_point__identity=request.query_params["charge_point"])
        paginator = NewestFirstPagination()
        page = paginator.paginate_queryset(rows, request, view=self)
        states = local_auth_lists.states(page, datetime.now(UTC))
        return paginator.get_paginated_response([summary_json(row, *states[row.charge_point_id]) for row in page])

    @extend_schema(
        operation_id="local_auth_lists_bulk",
        summary="Say what is wanted at many charge points, send it, or both",
        description="Those listed, or all that the filter finds. Sending needs the scope operate as well. A charge "
        "point whose list cannot be sent says so in its `error` and does not keep the others from theirs.",
        request=LocalAuthListBulkWrite,
        responses={202: shapes.SYNC_MANY},
        examples=[
            OpenApiExample(
                "The staff at every charge point of a site",
                {"filter": {"site": "depot"}, "source": {"groups": ["staff"]}, "sync": True},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        body = self.validated(LocalAuthListBulkWrite)
        if body["sync"] and not may(request, ApiScope.OPERATE):
            raise Problem(403, "missing_scope", "Sending lists needs the scope operate.")
        chosen = chosen_charge_points(self, body)
        if "source" in body:
            source = self.source_of(body["source"])
            if source is not None and len(source.id_tags) * len(chosen) > MAX_CHOSEN:
                raise bad_request(
                    "/source/id_tags", f"Over all charge points more than {MAX_CHOSEN}: use a group.", "too_many"
                )
            for charge_point in chosen:
                self.want(charge_point, source, body.get("sync_automatically"))
        if not body["sync"]:
            unsent: list[dict[str, Any]] = [
                {"charge_point": each.identity, "commands": [], "error": None} for each in chosen
            ]
            return Response({"batch": None, "results": unsent}, status=202)
        batch, outcomes = local_auth_lists.sync_many(chosen, caller_name(request), body["full"], reason=body["reason"])
        self.audit("send", batch)
        results: list[dict[str, Any]] = [
            {
                "charge_point": charge_point.identity,
                "commands": [] if isinstance(each, CommandRefused) else [command.pk for command in each.commands],
                "error": {"code": each.code, "detail": each.detail} if isinstance(each, CommandRefused) else None,
            }
            for charge_point, each in outcomes
        ]
        data = {"batch": batch.pk, "results": results}
        return self.created(data, f"{reverse('api:commands')}?batch={batch.pk}", status=202)


class LocalAuthListDetail(_LocalAuthLists):
    tagged_object = True

    @extend_schema(
        operation_id="local_auth_lists_read",
        summary="The local list of one charge point: wanted, installed, and what lies between",
        responses={200: shapes.LOCAL_AUTH_LIST},
    )
    def get(self, request: Request, identity: str) -> Response:
        return self._answer(local_auth_lists.list_of(charge_point_of(self, identity)))

    @extend_schema(
        operation_id="local_auth_lists_replace",
        summary="Say which id tags are wanted",
        description="Nothing is sent by this, unless differences are sent automatically.",
        request=LocalAuthListWrite,
        responses={200: shapes.LOCAL_AUTH_LIST},
    )
    def put(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        self.check_match(tag_of(local_auth_lists.list_of(charge_point)))
        body = self.validated(LocalAuthListWrite)
        return self._answer(self.want(charge_point, self.source_of(body["source"]), body["sync_automatically"]))

    @extend_schema(
        operation_id="local_auth_lists_delete",
        summary="Want no list any more; what is installed stays where it is",
        responses={204: None},
    )
    def delete(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        self.check_match(tag_of(local_auth_lists.list_of(charge_point)))
        self.want(charge_point, None, False)
        return Response(status=204)

    def _answer(self, row: LocalAuthList) -> Response:
        return Response(list_json(row, datetime.now(UTC)), headers={"ETag": tag_of(row)})


class EntryPagination(NewestFirstPagination):
    """Pages of two lists beside each other, in the order of upper-case id tags; read only as far as the page goes."""

    def paginate_pairs(self, row: LocalAuthList, request: Request, now: datetime, *, differing: bool) -> list[Pair]:
        self._request, self._fields = request, ["key"]
        size = page_size(request)
        self._count = sum(1 for _ in pairs(row, now, differing=differing)) if wants_count(request) else None
        values, backwards = self._cursor(request, LocalAuthListEntry)
        edge = None if values is None else values[0]
        found = list(islice(pairs(row, now, edge=edge, backwards=backwards, differing=differing), size + 1))
        more, found = len(found) > size, found[:size]
        if backwards:
            found.reverse()
        self._has_previous = more if backwards else edge is not None
        self._has_next = True if backwards else more
        self._rows = found
        return found


class LocalAuthListEntries(_LocalAuthLists):
    query_parameters = frozenset({"differs"})
    paginated = True

    @extend_schema(
        operation_id="local_auth_list_entries",
        summary="Entries wanted and installed, beside each other, by id tag",
        parameters=schemas.query("differs"),
        responses={200: page_of(shapes.ENTRY)},
    )
    def get(self, request: Request, identity: str) -> Response:
        row = local_auth_lists.list_of(charge_point_of(self, identity))
        paginator = EntryPagination()
        differing = flag(request, "differs") or False
        page = paginator.paginate_pairs(row, request, datetime.now(UTC), differing=differing)
        return paginator.get_paginated_response([entry_json(pair) for pair in page])


class LocalAuthListSync(_LocalAuthLists):
    write_scope = ApiScope.OPERATE

    @extend_schema(
        operation_id="local_auth_lists_sync",
        summary="Send what the charge point lacks",
        description="As many requests as it needs, queued at once; a part that fails withdraws those after it. 409 "
        "when the list is too long for the charge point, or what is installed is not known and `full` is false.",
        request=SyncWrite,
        responses={202: shapes.SYNC},
    )
    def post(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        body = self.validated(SyncWrite)
        try:
            sync = local_auth_lists.sync(charge_point, caller_name(request), body["full"], reason=body["reason"])
        except CommandRefused as error:
            raise refused_sync(error) from None
        batch = None if sync.batch is None else sync.batch.pk
        if sync.commands and not sync.repeated:
            self.audit("send", local_auth_lists.list_of(charge_point), {"update_type": [None, sync.update_type]})
        data = {
            "charge_point": charge_point.identity,
            "update_type": sync.update_type,
            "repeated": sync.repeated,
            "batch": batch,
            "commands": [command_json(command) for command in sync.commands],
        }
        return self.created(data, reverse("api:commands") + ("" if batch is None else f"?batch={batch}"), status=202)
