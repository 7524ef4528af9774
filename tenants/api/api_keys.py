"""`api-keys/`: keys for programs, shown once. Nobody grants what they do not hold: scopes, sites, time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.fields import Instant, Slugs, Text
from tenants.api.permissions import may, tenant_of
from tenants.api.problems import Problem, bad_request
from tenants.api.requests import raw_path
from tenants.api.schema import component, obj, page_of
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiKey, ApiKeySite, ApiScope, Site

_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_TIME_OR_NULL: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
API_KEY = component(
    "ApiKey",
    obj(
        optional=("key",),
        id={"type": "integer"},
        name={"type": "string"},
        prefix={"type": "string"},
        scopes={"type": "array", "items": {"type": "string", "enum": list(ApiScope.values)}},
        sites={"type": "array", "items": {"type": "string"}, "description": "Empty: all sites."},
        created_at=_TIME,
        expires_at=_TIME_OR_NULL,
        revoked_at=_TIME_OR_NULL,
        last_used_at=_TIME_OR_NULL,
        key={"type": "string", "description": "The whole key, only in the answer that made it."},
    ),
)


class ApiKeyWrite(StrictSerializer):
    name = Text(max_length=200)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=ApiScope.choices), min_length=1, max_length=4)
    sites = Slugs(required=False, default=list, help_text="Limit the key to these; empty: all sites.")
    expires_at = Instant(required=False, default=None, allow_null=True)


def api_key_json(key: ApiKey) -> dict[str, Any]:
    names = ("name", "prefix", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {
        "id": key.pk,
        **{name: getattr(key, name) for name in names},
        "sites": sorted(site.slug for site in key.sites.all()),
    }


class _ApiKeys(TenantAPIView):
    # Who has keys, and which, is not for everybody who may read charge points.
    read_scope = ApiScope.MANAGE

    def rows(self) -> QuerySet[ApiKey]:
        """The keys, or those that reach no further than the caller does."""
        rows = ApiKey.objects.prefetch_related("sites")
        own = self.site_ids()
        if own is None:
            return rows
        links = ApiKeySite.objects
        beyond = links.exclude(site_id__in=own).values("api_key_id")
        return rows.filter(pk__in=links.values("api_key_id")).exclude(pk__in=beyond)


class ApiKeyList(_ApiKeys):
    paginated = True

    @extend_schema(operation_id="api_keys_list", summary="API keys, newest first", responses={200: page_of(API_KEY)})
    def get(self, request: Request) -> Response:
        return self.page(self.rows(), api_key_json)

    @extend_schema(
        operation_id="api_keys_create", summary="Make an API key", request=ApiKeyWrite, responses={201: API_KEY}
    )
    def post(self, request: Request) -> Response:
        body = self.validated(ApiKeyWrite)
        for index, scope in enumerate(body["scopes"]):
            if not may(request, scope):
                raise bad_request(f"/scopes/{index}", "Nobody can grant a scope they do not hold.", "scope_not_held")
        self._check_expiry(body["expires_at"])
        sites = self._sites(body["sites"])
        key, text = ApiKey.issue(
            tenant_of(request),
            body["name"],
            list(dict.fromkeys(body["scopes"])),
            expires_at=body["expires_at"],
            sites=sites,
            created_by=request.user or None,
        )
        self.audit("create", key, {"scopes": [None, key.scopes], "sites": [None, [site.slug for site in sites]]})
        return self.created(api_key_json(key) | {"key": text}, f"{raw_path(request._request)}{key.pk}/")

    def _check_expiry(self, expires_at: datetime | None) -> None:
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise bad_request("/expires_at", "A time in the future.", "invalid_time")
        own = self.request.auth.expires_at if isinstance(self.request.auth, ApiKey) else None
        if own is not None and (expires_at is None or expires_at > own):
            raise bad_request("/expires_at", "Not later than the key that makes it.", "outlives_its_maker")

    def _sites(self, slugs: list[str]) -> list[Site]:
        found = {site.slug: site for site in Site.objects.filter(slug__in=slugs)}
        own = self.site_ids()
        for index, slug in enumerate(slugs):
            if slug not in found or (own is not None and found[slug].pk not in own):
                raise bad_request(f"/sites/{index}", "There is no site of this slug.", "unknown_site")
        if own is not None and not found:
            raise bad_request("/sites", "Name the sites: you are limited to some yourself.", "site_not_allowed")
        return list(found.values())


class ApiKeyDetail(_ApiKeys):
    @extend_schema(operation_id="api_keys_read", summary="One API key", responses={200: API_KEY})
    def get(self, request: Request, pk: int) -> Response:
        return Response(api_key_json(self._one(pk)))

    @extend_schema(
        operation_id="api_keys_revoke",
        summary="Revoke an API key",
        description="It is refused from now on; the record stays.",
        responses={200: API_KEY},
    )
    def delete(self, request: Request, pk: int) -> Response:
        key = self._one(pk)
        key.revoke(datetime.now(UTC))
        self.audit("revoke", key)
        return Response(api_key_json(key))

    def _one(self, pk: int) -> ApiKey:
        key = self.rows().filter(pk=pk).first()
        if key is None:
            raise Problem(404, "not_found", "There is no such API key.")
        return key
