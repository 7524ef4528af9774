"""`id-tags/`: who may charge. Looked up without regard to case."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csms.ocppj.times import parse_time
from stations.api import schemas
from stations.api.filters import boolean
from stations.models import IdTag
from stations.models.id_tag import validate_id_tag
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import Site

MAX_ACTIVE = 2**31 - 1
MAX_TIME = 40


class Rfc3339Field(serializers.CharField):
    """A time with its zone."""

    def to_internal_value(self, data: Any) -> datetime:
        text = super().to_internal_value(data)
        at = parse_time(text) if len(text) <= MAX_TIME else None
        if at is None:
            raise serializers.ValidationError("A time such as 2026-01-31T12:00:00Z.", code="invalid_time")
        return at


class IdTagWrite(StrictSerializer):
    id_tag = serializers.CharField(max_length=20, required=False, trim_whitespace=False)
    status = serializers.ChoiceField(choices=["Accepted", "Blocked"], required=False)
    blocked = serializers.BooleanField(required=False)
    description = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    driver = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    parent_id_tag = serializers.CharField(max_length=20, required=False, default="", allow_blank=True, allow_null=True)
    groups = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, default=list, max_length=100
    )
    sites = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, default=list, max_length=1000
    )
    expiry_date = Rfc3339Field(required=False, default=None, allow_null=True)
    max_active_transactions = serializers.IntegerField(
        min_value=1, max_value=MAX_ACTIVE, required=False, default=None, allow_null=True
    )

    def validate_id_tag(self, id_tag: str) -> str:
        validate_id_tag(id_tag)
        return id_tag

    def validate_parent_id_tag(self, parent_id_tag: str | None) -> str:
        return parent_id_tag or ""

    def validate_sites(self, slugs: list[str]) -> list[Site]:
        found = {site.slug: site for site in Site.objects.filter(slug__in=slugs)}
        unknown = {
            index: [serializers.ErrorDetail("There is no site of this slug.", code="unknown_site")]
            for index, slug in enumerate(slugs)
            if slug not in found
        }
        if unknown:
            raise serializers.ValidationError(unknown)
        return [found[slug] for slug in dict.fromkeys(slugs)]

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        status, blocked = values.pop("status", None), values.get("blocked")
        if status is not None and blocked is not None and blocked != (status == "Blocked"):
            raise serializers.ValidationError({"blocked": "It contradicts status."}, code="contradiction")
        if status is not None:
            values["blocked"] = status == "Blocked"
        elif blocked is None and not self.partial:
            values["blocked"] = False
        return values


def id_tag_json(row: IdTag) -> dict[str, Any]:
    return {
        "id_tag": row.id_tag,
        "status": "Blocked" if row.blocked else "Accepted",
        "blocked": row.blocked,
        "description": row.description,
        "driver": row.driver,
        "parent_id_tag": row.parent_id_tag or None,
        "groups": row.groups,
        "sites": sorted(site.slug for site in row.sites.all()),
        "expiry_date": row.expiry_date,
        "max_active_transactions": row.max_active_transactions,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _write(view: TenantAPIView, row: IdTag, values: dict[str, Any]) -> dict[str, Any]:
    sites = values.pop("sites", None)
    created = row.pk is None
    changes = {
        name: [None if created else str(getattr(row, name)), str(value)]
        for name, value in values.items()
        if created or getattr(row, name) != value
    }
    for name, value in values.items():
        setattr(row, name, value)
    try:
        with transaction.atomic():
            row.save()
            if sites is not None:
                row.sites.set(sites)
    except IntegrityError:
        raise Problem(409, "id_tag_taken", "There is this id tag already.") from None
    view.audit("create" if created else "change", row, changes)
    return id_tag_json(IdTag.objects.prefetch_related("sites").get(pk=row.pk))


class IdTagList(TenantAPIView):
    query_parameters = frozenset({"blocked", "parent_id_tag"})
    paginated = True

    @extend_schema(
        operation_id="id_tags_list",
        summary="Id tags, newest first",
        parameters=schemas.query("blocked", "parent_id_tag"),
        responses={200: schemas.page_of(schemas.ID_TAG)},
    )
    def get(self, request: Request) -> Response:
        rows = boolean(request, IdTag.objects.prefetch_related("sites"), "blocked")
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
        data = _write(self, IdTag(), values)
        location = request.build_absolute_uri(quote(data["id_tag"], safe="") + "/")
        return self.tagged(data, 201, {"Location": location})


class IdTagDetail(TenantAPIView):
    @extend_schema(operation_id="id_tags_read", summary="One id tag", responses={200: schemas.ID_TAG})
    def get(self, request: Request, id_tag: str) -> Response:
        return self.tagged(id_tag_json(self._one(id_tag)))

    @extend_schema(
        operation_id="id_tags_replace",
        summary="Register or replace an id tag",
        request=IdTagWrite,
        responses={200: schemas.ID_TAG, 201: schemas.ID_TAG},
    )
    def put(self, request: Request, id_tag: str) -> Response:
        return self._save(id_tag, partial=False)

    @extend_schema(
        operation_id="id_tags_change",
        summary="Change members of an id tag",
        request=IdTagWrite,
        responses={200: schemas.ID_TAG},
    )
    def patch(self, request: Request, id_tag: str) -> Response:
        return self._save(id_tag, partial=True)

    @extend_schema(operation_id="id_tags_delete", summary="Delete an id tag", responses={204: None})
    def delete(self, request: Request, id_tag: str) -> Response:
        row = self._one(id_tag)
        self.check_match(id_tag_json(row))
        self.audit("delete", row)
        row.delete()
        return Response(status=204)

    def _one(self, id_tag: str) -> IdTag:
        row = IdTag.objects.prefetch_related("sites").filter(key=id_tag.upper()).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such id tag.")
        return row

    def _save(self, id_tag: str, *, partial: bool) -> Response:
        with transaction.atomic():
            row = IdTag.objects.prefetch_related("sites").filter(key=id_tag.upper()).first()
            if row is None and partial:
                raise Problem(404, "not_found", "There is no such id tag.")
            self.check_match(id_tag_json(row) if row else None)
            values = self.validated(IdTagWrite, partial=partial)
            if values.get("id_tag", id_tag).upper() != id_tag.upper():
                raise bad_request("/id_tag", "It differs from the id tag in the URL.", "id_tag_mismatch")
            created = row is None
            if row is None:
                try:
                    validate_id_tag(id_tag)
                except ValidationError as error:
                    raise bad_request("/id_tag", error.messages[0], error.code or "invalid") from None
                row = IdTag(id_tag=id_tag)
            # Kept as first registered.
            values.pop("id_tag", None)
            data = _write(self, row, values)
        return self.tagged(data, 201 if created else 200)
