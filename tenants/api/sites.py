"""`sites/`: the places of a tenant."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ManyToOneRel, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.fields import Number, Text
from tenants.api.problems import Problem, bad_request
from tenants.api.requests import raw_path
from tenants.api.schema import component, obj, page_of
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import Site
from tenants.validators import validate_slug, validate_time_zone

WRITABLE = ("slug", "name", "address", "time_zone", "latitude", "longitude")
# Of a degree; the sixth digit is a decimetre.
DECIMALS = 6
SITE = component(
    "Site",
    obj(
        slug={"type": "string"},
        name={"type": "string"},
        address={"type": "string"},
        time_zone={"type": "string", "description": "Empty: the tenant's."},
        latitude={"type": ["number", "null"]},
        longitude={"type": ["number", "null"]},
    ),
)


class SiteWrite(StrictSerializer):
    slug = Text(max_length=63, help_text="Lower-case letters, digits and inner hyphens.")
    name = Text(max_length=200)
    address = Text(max_length=500, required=False, default="", allow_blank=True)
    time_zone = Text(
        max_length=64, required=False, default="", allow_blank=True, help_text="IANA name; empty: the tenant's."
    )
    latitude = Number(min_value=-90, max_value=90, required=False, default=None, allow_null=True)
    longitude = Number(min_value=-180, max_value=180, required=False, default=None, allow_null=True)

    def validate_slug(self, slug: str) -> str:
        validate_slug(slug)
        return slug

    def validate_time_zone(self, name: str) -> str:
        if name:
            validate_time_zone(name)
        return name

    def validate_latitude(self, degrees: float | None) -> float | None:
        return None if degrees is None else round(degrees, DECIMALS)

    def validate_longitude(self, degrees: float | None) -> float | None:
        return None if degrees is None else round(degrees, DECIMALS)


def site_json(site: Site) -> dict[str, Any]:
    data = {name: getattr(site, name) for name in WRITABLE}
    return data | {name: None if data[name] is None else float(data[name]) for name in ("latitude", "longitude")}


class _Sites(TenantAPIView):
    def rows(self) -> QuerySet[Site]:
        rows: QuerySet[Site] = Site.objects.all()
        sites = self.site_ids()
        return rows if sites is None else rows.filter(pk__in=sites)

    def one(self, slug: str) -> Site:
        site = self.rows().filter(slug=slug).first()
        if site is None:
            raise Problem(404, "not_found", "There is no such site.")
        return site

    def write(self, site: Site, values: dict[str, Any]) -> dict[str, Any]:
        created = site.pk is None
        if created and self.site_ids() is not None:
            raise Problem(403, "site_not_allowed", "You are limited to the sites that you have.")
        before = site_json(site)
        for name, value in values.items():
            setattr(site, name, value)
        try:
            with transaction.atomic():
                site.save()
        except IntegrityError:
            raise Problem(409, "slug_taken", "There is a site of this slug.") from None
        after = site_json(site)
        changes = {
            name: [None if created else before[name], after[name]]
            for name in WRITABLE
            if created or before[name] != after[name]
        }
        self.audit("create" if created else "change", site, changes)
        return after


class SiteList(_Sites):
    paginated = True

    @extend_schema(operation_id="sites_list", summary="Sites, newest first", responses={200: page_of(SITE)})
    def get(self, request: Request) -> Response:
        return self.page(self.rows(), site_json)

    @extend_schema(operation_id="sites_create", summary="Add a site", request=SiteWrite, responses={201: SITE})
    def post(self, request: Request) -> Response:
        data = self.write(Site(), self.validated(SiteWrite))
        return self.created(data, f"{raw_path(request._request)}{data['slug']}/")


class SiteDetail(_Sites):
    @extend_schema(operation_id="sites_read", summary="One site", responses={200: SITE})
    def get(self, request: Request, slug: str) -> Response:
        return Response(site_json(self.one(slug)))

    @extend_schema(
        operation_id="sites_replace",
        summary="Add or replace a site",
        request=SiteWrite,
        responses={200: SITE, 201: SITE},
    )
    def put(self, request: Request, slug: str) -> Response:
        values = self.validated(SiteWrite)
        site = self.rows().filter(slug=slug).first()
        if site is not None:
            return Response(self.write(site, values))
        if values["slug"] != slug:
            raise bad_request("/slug", "It differs from the slug in the URL.", "slug_mismatch")
        return self.created(self.write(Site(), values), raw_path(request._request))

    @extend_schema(
        operation_id="sites_change", summary="Change members of a site", request=SiteWrite, responses={200: SITE}
    )
    def patch(self, request: Request, slug: str) -> Response:
        return Response(self.write(self.one(slug), self.validated(SiteWrite, partial=True)))

    @extend_schema(operation_id="sites_delete", summary="Delete a site that nothing refers to", responses={204: None})
    def delete(self, request: Request, slug: str) -> Response:
        site = self.one(slug)
        used_by = references_to(site)
        if used_by:
            # A key, a member or an id tag that is limited to this one site would be limited to none.
            raise Problem(409, "site_in_use", f"The site is used by: {', '.join(used_by)}.")
        self.audit("delete", site)
        site.delete()
        return Response(status=204)


def references_to(site: Site) -> list[str]:
    """Names of the kinds of rows that refer to `site`."""
    relations = [field for field in site._meta.get_fields(include_hidden=True) if isinstance(field, ManyToOneRel)]
    return sorted(
        {
            str(relation.related_model._meta.verbose_name_plural)
            for relation in relations
            if relation.related_model._base_manager.filter(**{relation.field.name: site}).exists()
        }
    )
