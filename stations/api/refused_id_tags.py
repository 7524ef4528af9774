"""`refused-id-tags/`: cards that were refused, which registered tag each may be meant as, and how to let one in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import refused_id_tags
from stations.api import schemas
from stations.api.filters import charge_point_filter, choice, instant
from stations.api.id_tags import MAX_ID_TAG, IdTagView, id_tag_json, tag_of
from stations.api.values import sites_named
from stations.api.visibility import at_sites_of
from stations.id_tag_spellings import SENTENCES
from stations.models import IdTag, RefusedIdTag
from stations.models.refused_id_tag import Refusal
from stations.refused_id_tags import NameTaken, Near
from tenants.api.fields import Slugs, Text
from tenants.api.problems import Problem, bad_request
from tenants.api.requests import raw_path
from tenants.api.views import StrictSerializer
from tenants.models import Site

Made = TypeVar("Made")
REASON = OpenApiParameter("reason", schemas.enum(*Refusal.values), description="Why they were refused.")


class AddWrite(StrictSerializer):
    """What is said of the new tag; the rest is changed at `id-tags/` as of any other."""

    driver = Text(max_length=200, required=False, default="", allow_blank=True)
    description = Text(max_length=200, required=False, default="", allow_blank=True)
    sites = Slugs(required=False, default=list, help_text="Where it may charge; empty means everywhere.")

    def validate_sites(self, slugs: list[str]) -> list[Site]:
        return sites_named(self.context["view"], slugs)


class AliasWrite(StrictSerializer):
    """Whose card it is: a registered tag."""

    id_tag = Text(max_length=MAX_ID_TAG)


def refused_json(row: RefusedIdTag, near: list[Near]) -> dict[str, Any]:
    """The resource; `row` comes with its charge point."""
    return {
        "id": row.pk,
        "id_tag": row.id_tag,
        "charge_point": row.charge_point.identity,
        "status": row.status,
        "reason": row.reason,
        "action": row.action,
        "times": row.times,
        "first_at": row.first_at,
        "last_at": row.last_at,
        "near": [{"id_tag": each.id_tag.id_tag, "why": each.why, "text": SENTENCES[each.why]} for each in near],
    }


class _RefusedIdTags(IdTagView):
    tagged_object = False

    def refused(self) -> QuerySet[RefusedIdTag]:
        return at_sites_of(self, RefusedIdTag.objects.select_related("charge_point"), "charge_point__site_id")

    def one(self, pk: int) -> RefusedIdTag:
        row = self.refused().filter(pk=pk).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such refused card.")
        return row

    def shown(self, rows: list[RefusedIdTag]) -> list[dict[str, Any]]:
        near = refused_id_tags.near(rows)
        return [refused_json(row, near.get(row.pk, [])) for row in rows]

    def let_in(self, row: RefusedIdTag, make: Callable[[], Made]) -> Made:
        """What `make` gives, its refusals as those of this API."""
        try:
            return make()
        except NameTaken:
            raise Problem(409, "id_tag_taken", f"{row.id_tag} is an id tag, or an alias of one, already.") from None
        except ValidationError as error:
            raise Problem(409, error.code or "invalid", f"It cannot be an id tag: {error.messages[0]}") from None


class RefusedIdTagList(_RefusedIdTags):
    cursor_order = ("-last_at", "-id")
    query_parameters = frozenset({"charge_point", "id_tag", "reason", "since", "until"})
    paginated = True

    @extend_schema(
        operation_id="refused_id_tags_list",
        summary="Refused cards, by charge point, the latest first",
        description="`since` and `until` are about the last time. Of one charge point the latest 200 cards are kept.",
        parameters=[*schemas.query("charge_point", "id_tag", "since", "until"), REASON],
        responses={200: schemas.page_of(schemas.REFUSED_ID_TAG)},
    )
    def get(self, request: Request) -> Response:
        rows: Any = charge_point_filter(request, self.refused())
        if "id_tag" in request.query_params:
            rows = rows.filter(key=request.query_params["id_tag"].upper())
        rows = choice(request, rows, "reason", Refusal.values)
        rows = instant(request, rows, "since", "last_at__gte")
        rows = instant(request, rows, "until", "last_at__lt")
        return self.page_of(rows, self.shown)


class RefusedIdTagDetail(_RefusedIdTags):
    @extend_schema(
        operation_id="refused_id_tags_read",
        summary="A refused card at one charge point",
        responses={200: schemas.REFUSED_ID_TAG},
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(self.shown([self.one(pk)])[0])

    @extend_schema(
        operation_id="refused_id_tags_delete",
        summary="Take a refused card of one charge point off the list",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        self.one(pk).delete()
        return Response(status=204)


class RefusedIdTagAdd(_RefusedIdTags):
    @extend_schema(
        operation_id="refused_id_tags_add",
        summary="Register a refused card as an id tag, accepted from now on",
        request=AddWrite,
        responses={201: schemas.ID_TAG},
    )
    def post(self, request: Request, pk: int) -> Response:
        body = self.validated(AddWrite)
        row = self.one(pk)
        sites = body.pop("sites")
        if self.site_ids() is not None and not sites:
            raise bad_request("/sites", "Name sites that you are limited to.", "site_not_allowed")
        tag = self.let_in(row, lambda: refused_id_tags.add(row.id_tag, **body))
        tag.sites.set(sites)
        self.audit("create", tag, {"id_tag": [None, tag.id_tag]})
        return self.made(tag)

    def made(self, tag: IdTag) -> Response:
        tag = IdTag.objects.prefetch_related("sites", "aliases").get(pk=tag.pk)
        root = raw_path(self.request._request).partition("refused-id-tags/")[0]
        return self.created(id_tag_json(tag), f"{root}id-tags/{quote(tag.id_tag, safe='')}/", ETag=tag_of(tag))


class RefusedIdTagAlias(RefusedIdTagAdd):
    @extend_schema(
        operation_id="refused_id_tags_alias",
        summary="Make a refused card another name of a registered id tag: it authorises as that does",
        request=AliasWrite,
        responses={201: schemas.ID_TAG},
    )
    def post(self, request: Request, pk: int) -> Response:
        named = self.validated(AliasWrite)["id_tag"]
        row = self.one(pk)
        tag = self.rows().filter(key=named.upper()).first()
        if tag is None:
            raise bad_request("/id_tag", "There is no such id tag.", "not_found")
        self.check_sites(tag)
        self.let_in(row, lambda: refused_id_tags.add_alias(tag, row.id_tag))
        self.audit("change", tag, {"aliases": [None, row.id_tag]})
        return self.made(tag)
