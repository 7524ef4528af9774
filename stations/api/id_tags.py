"""`id-tags/`: who may charge. Looked up without regard to case.

Who is limited to sites sees the tags that may charge there, which includes those that may charge everywhere, and
changes those that may charge at these sites only.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.filters import MAX_INT32, boolean
from stations.api.values import sites_named
from stations.models import IdTag, IdTagSite
from stations.models.id_tag import validate_id_tag
from stations.refused_id_tags import NameTaken, is_alias, set_aliases
from tenants.api.fields import Boolean, Instant, Integer, Slugs, Text
from tenants.api.many import list_of, put_many, results_of
from tenants.api.problems import Problem, bad_request
from tenants.api.requests import raw_path
from tenants.api.schema import PROBLEM
from tenants.api.views import StrictSerializer, TenantAPIView, entity_tag
from tenants.models import Site

MAX_ID_TAG = 20
WRITABLE = (
    "description", "driver", "parent_id_tag", "groups", "expiry_date", "max_active_transactions", "blocked",
)  # fmt: skip


class IdTagWrite(StrictSerializer):
    """What may be written. `blocked` is `status` in another form; given together they must agree."""

    shown_only = frozenset({"created_at", "updated_at"})

    id_tag = Text(max_length=MAX_ID_TAG, required=False, help_text="Needed by POST; in PUT and PATCH that of the URL.")
    status = serializers.ChoiceField(choices=["Accepted", "Blocked"], required=False)
    blocked = Boolean(required=False)
    description = Text(max_length=200, required=False, default="", allow_blank=True)
    driver = Text(
        max_length=200,
        required=False,
        default="",
        allow_blank=True,
        help_text="Whose it is: a name or your own customer number.",
    )
    parent_id_tag = Text(
        max_length=MAX_ID_TAG, required=False, default="", allow_blank=True, allow_null=True, help_text="Its group."
    )
    groups = serializers.ListField(child=Text(max_length=100), required=False, default=list, max_length=100)
    aliases = serializers.ListField(
        child=Text(max_length=MAX_ID_TAG),
        required=False,
        max_length=100,
        help_text="Other names of it, which authorise as it does. Left out: they stay as they are.",
    )
    sites = Slugs(required=False, default=list, help_text="Where it may charge; empty means everywhere.")
    expiry_date = Instant(required=False, default=None, allow_null=True)
    max_active_transactions = Integer(min_value=1, max_value=MAX_INT32, required=False, default=None, allow_null=True)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        status = values.pop("status", None)
        if status is not None:
            blocked = status == "Blocked"
            if values.setdefault("blocked", blocked) != blocked:
                raise serializers.ValidationError(
                    {"blocked": [serializers.ErrorDetail("It contradicts status.", code="contradiction")]}
                )
        elif not self.partial:
            values.setdefault("blocked", False)
        return values

    def validate_id_tag(self, id_tag: str) -> str:
        validate_id_tag(id_tag)
        return id_tag

    def validate_parent_id_tag(self, parent_id_tag: str | None) -> str:
        if parent_id_tag:
            validate_id_tag(parent_id_tag)
        return parent_id_tag or ""

    def validate_groups(self, groups: list[str]) -> list[str]:
        return list(dict.fromkeys(groups))

    def validate_aliases(self, aliases: list[str]) -> list[str]:
        for alias in aliases:
            validate_id_tag(alias)
        return aliases

    def validate_sites(self, slugs: list[str]) -> list[Site]:
        return sites_named(self.context["view"], slugs)


def id_tag_json(row: IdTag) -> dict[str, Any]:
    """The resource; `row` has its sites and aliases prefetched."""
    data: dict[str, Any] = {"id_tag": row.id_tag, "status": "Blocked" if row.blocked else "Accepted"}
    data |= {name: getattr(row, name) for name in (*WRITABLE, "created_at", "updated_at")}
    data["parent_id_tag"] = row.parent_id_tag or None
    data["sites"] = sorted(site.slug for site in row.sites.all())
    data["aliases"] = [alias.alias for alias in row.aliases.all()]
    return data


def tag_of(row: IdTag) -> str:
    """The ETag."""
    facts = {name: getattr(row, name) for name in WRITABLE}
    facts |= {"pk": row.pk, "sites": sorted(site.pk for site in row.sites.all())}
    aliases = sorted(alias.key for alias in row.aliases.all())
    return entity_tag(facts | ({"aliases": aliases} if aliases else {}))


class IdTagView(TenantAPIView):
    """Id tags as the caller may see and change them."""

    tagged_object = True

    def rows(self) -> QuerySet[IdTag]:
        rows = IdTag.objects.prefetch_related("sites", "aliases")
        sites = self.site_ids()
        if sites is None:
            return rows
        here = IdTagSite.objects.filter(site_id__in=sites).values("id_tag_id")
        anywhere = IdTagSite.objects.values("id_tag_id")
        return rows.filter(Q(pk__in=here) | ~Q(pk__in=anywhere))

    def answer(self, row: IdTag, status: int = 200) -> Response:
        row = IdTag.objects.prefetch_related("sites", "aliases").get(pk=row.pk)
        return Response(id_tag_json(row), status=status, headers={"ETag": tag_of(row)})

    def check_sites(self, row: IdTag) -> None:
        """Raise 403 when the caller is limited to sites and `row`, as it is stored, concerns others too."""
        allowed = self.site_ids()
        if allowed is None:
            return
        own = {site.pk for site in row.sites.all()}
        if not own or not own <= allowed:
            raise Problem(403, "site_not_allowed", "The id tag may charge at sites other than yours.")

    def write(self, row: IdTag, values: dict[str, Any]) -> None:
        sites, aliases = values.pop("sites", None), values.pop("aliases", None)
        created = row.pk is None
        if created and is_alias(row.id_tag or values["id_tag"]):
            raise Problem(409, "id_tag_taken", "There is an id tag of which this is an alias.")
        if not created:
            self.check_sites(row)
        if self.site_ids() is not None and (created or sites is not None) and not sites:
            raise bad_request("/sites", "Name sites that you are limited to.", "site_not_allowed")
        before = {name: getattr(row, name) for name in values}
        sites_before = [] if created else sorted(site.slug for site in row.sites.all())
        for name, value in values.items():
            setattr(row, name, value)
        try:
            with transaction.atomic():
                row.save(**({} if created else {"update_fields": {*values, "updated_at"}}))
                if sites is not None:
                    row.sites.set(sites)
        except IntegrityError:
            raise Problem(409, "id_tag_taken", "There is this id tag already.") from None
        changes: dict[str, Any] = {
            name: [None if created else before[name], value]
            for name, value in values.items()
            if created or before[name] != value
        }
        sites_after = sorted(site.slug for site in sites or [])
        if sites is not None and sites_before != sites_after:
            changes["sites"] = [sites_before, sites_after]
        if aliases is not None:
            aliases_before, aliases_after = self.set_aliases(row, aliases)
            if aliases_before != aliases_after:
                changes["aliases"] = [aliases_before, aliases_after]
        self.audit("create" if created else "change", row, changes)

    def set_aliases(self, row: IdTag, aliases: list[str]) -> tuple[list[str], list[str]]:
        try:
            with transaction.atomic():
                return set_aliases(row, aliases)
        except NameTaken as error:
            raise Problem(409, "alias_taken", f"{error} is an id tag, or an alias of another, already.") from None
        except ValidationError as error:
            raise bad_request("/aliases", error.messages[0], error.code or "invalid") from None

    def locked(self) -> QuerySet[IdTag]:
        return self.rows().select_for_update(of=("self",))

    def replace(self, row: IdTag | None, id_tag: str, data: Any) -> IdTag:
        """Register `id_tag`, or replace what is written of `row`, by `data`, the body of a PUT; gives the row."""
        values = self.values(id_tag, data, partial=False)
        if row is None:
            try:
                validate_id_tag(id_tag)
            except ValidationError as error:
                raise bad_request("/id_tag", error.messages[0], error.code or "invalid") from None
            row = IdTag(id_tag=id_tag)
        self.write(row, values)
        return row

    def values(self, id_tag: str, data: Any, *, partial: bool) -> dict[str, Any]:
        """The body's members; the id tag stays as first registered."""
        values = self.validated(IdTagWrite, data, partial=partial)
        if values.pop("id_tag", id_tag).upper() != id_tag.upper():
            raise bad_request("/id_tag", "It differs from the id tag in the URL.", "id_tag_mismatch")
        return values


class IdTagList(IdTagView):
    list_methods = frozenset({"PUT"})
    query_parameters = frozenset({"blocked", "parent_id_tag"})
    paginated = True

    @extend_schema(
        operation_id="id_tags_list",
        summary="Id tags, newest first",
        parameters=schemas.query("blocked", "parent_id_tag"),
        responses={200: schemas.page_of(schemas.ID_TAG)},
    )
    def get(self, request: Request) -> Response:
        rows = boolean(request, self.rows(), "blocked")
        if "parent_id_tag" in request.query_params:
            rows = rows.filter(parent_id_tag__iexact=request.query_params["parent_id_tag"])
        return self.page(rows, id_tag_json)

    @extend_schema(
        operation_id="id_tags_create",
        summary="Register an id tag",
        request=IdTagWrite,
        responses={201: schemas.ID_TAG},
    )
    def post(self, request: Request) -> Response:
        values = self.validated(IdTagWrite)
        if "id_tag" not in values:
            raise bad_request("/id_tag", "This member is required.", "required")
        row = IdTag()
        self.write(row, values)
        response = self.answer(row)
        path = f"{raw_path(request._request)}{quote(row.id_tag, safe='')}/"
        return self.created(response.data, path, ETag=response["ETag"])

    @extend_schema(
        operation_id="id_tags_replace_many",
        summary="Register or replace up to 1,000 id tags",
        description="Each for itself: the answer has a result for each, in the order sent.",
        request=list_of(IdTagWrite),
        responses={200: results_of(schemas.ID_TAG, "id_tag", PROBLEM)},
    )
    def put(self, request: Request) -> Response:
        def put(id_tag: str, data: dict[str, Any]) -> tuple[dict[str, Any], bool]:
            row = self.locked().filter(key=id_tag.upper()).first()
            written = self.replace(row, id_tag, data)
            return id_tag_json(IdTag.objects.prefetch_related("sites", "aliases").get(pk=written.pk)), row is None

        return put_many(self, "id_tag", str.upper, put)


class IdTagDetail(IdTagView):
    @extend_schema(operation_id="id_tags_read", summary="One id tag", responses={200: schemas.ID_TAG})
    def get(self, request: Request, id_tag: str) -> Response:
        return self.answer(self._found(self.rows(), id_tag))

    @extend_schema(
        operation_id="id_tags_replace",
        summary="Register or replace an id tag",
        request=IdTagWrite,
        responses={200: schemas.ID_TAG, 201: schemas.ID_TAG},
    )
    def put(self, request: Request, id_tag: str) -> Response:
        row = self.locked().filter(key=id_tag.upper()).first()
        self.check_match(None if row is None else tag_of(row))
        created = row is None
        response = self.answer(self.replace(row, id_tag, request.data))
        if not created:
            return response
        return self.created(response.data, raw_path(request._request), ETag=response["ETag"])

    @extend_schema(
        operation_id="id_tags_change",
        summary="Change members of an id tag",
        request=IdTagWrite,
        responses={200: schemas.ID_TAG},
    )
    def patch(self, request: Request, id_tag: str) -> Response:
        row = self._found(self.locked(), id_tag)
        self.check_match(tag_of(row))
        self.write(row, self.values(id_tag, request.data, partial=True))
        return self.answer(row)

    @extend_schema(operation_id="id_tags_delete", summary="Delete an id tag", responses={204: None})
    def delete(self, request: Request, id_tag: str) -> Response:
        row = self._found(self.locked(), id_tag)
        self.check_match(tag_of(row))
        self.check_sites(row)
        self.audit("delete", row)
        row.delete()
        return Response(status=204)

    def _found(self, rows: QuerySet[IdTag], id_tag: str) -> IdTag:
        row = rows.filter(key=id_tag.upper()).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such id tag.")
        return row
