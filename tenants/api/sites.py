"""`sites/`: the places of a tenant."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.pages import page_schema
from tenants.api.problems import Problem
from tenants.api.schema import obj
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import Site
from tenants.validators import validate_time_zone

SITE = obj(
    slug={"type": "string"},
    name={"type": "string"},
    address={"type": "string"},
    time_zone={"type": "string"},
    latitude={"type": ["number", "null"]},
    longitude={"type": ["number", "null"]},
)


class SiteWrite(StrictSerializer):
    slug = serializers.RegexField(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", max_length=63)
    name = serializers.CharField(max_length=200)
    address = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    time_zone = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    latitude = serializers.FloatField(min_value=-90, max_value=90, required=False, default=None, allow_null=True)
    longitude = serializers.FloatField(min_value=-180, max_value=180, required=False, default=None, allow_null=True)

    def validate_time_zone(self, name: str) -> str:
        if name:
            validate_time_zone(name)
        return name


def site_json(site: Site) -> dict[str, Any]:
    return {
        "slug": site.slug,
        "name": site.name,
        "address": site.address,
        "time_zone": site.time_zone,
        "latitude": None if site.latitude is None else float(site.latitude),
        "longitude": None if site.longitude is None else float(site.longitude),
    }


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
        for name, value in values.items():
            setattr(site, name, value)
        try:
            with transaction.atomic():
                site.full_clean(validate_unique=False, validate_constraints=False)
                site.save()
        except IntegrityError:
            raise Problem(409, "slug_taken", "There is a site of this slug.") from None
        except ValidationError as error:
            raise serializers.ValidationError(serializers.as_serializer_error(error)) from None
        self.audit("create" if created else "change", site)
        return site_json(site)


class SiteList(_Sites):
    paginated = True

    @extend_schema(operation_id="sites_list", summary="Sites, newest first", responses={200: page_schema(SITE)})
    def get(self, request: Request) -> Response:
        return self.page(self.rows(), site_json)

    @extend_schema(operation_id="sites_create", summary="Add a site", request=SiteWrite, responses={201: SITE})
    def post(self, request: Request) -> Response:
        data = self.write(Site(), self.validated(SiteWrite))
        return Response(data, status=201, headers={"Location": request.build_absolute_uri(f"{data['slug']}/")})


class SiteDetail(_Sites):
    @extend_schema(operation_id="sites_read", summary="One site", responses={200: SITE})
    def get(self, request: Request, slug: str) -> Response:
        return Response(site_json(self.one(slug)))

    @extend_schema(
        operation_id="sites_change", summary="Change members of a site", request=SiteWrite, responses={200: SITE}
    )
    def patch(self, request: Request, slug: str) -> Response:
        return Response(self.write(self.one(slug), self.validated(SiteWrite, partial=True)))

    @extend_schema(
        operation_id="sites_delete", summary="Delete a site; its charge points stay, without one", responses={204: None}
    )
    def delete(self, request: Request, slug: str) -> Response:
        site = self.one(slug)
        self.audit("delete", site)
        site.delete()
        return Response(status=204)
