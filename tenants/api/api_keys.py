"""`api-keys/`: keys for programs, shown once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from csms.ocppj.times import parse_time
from tenants.api.pages import page_schema
from tenants.api.permissions import may, tenant_of
from tenants.api.problems import Problem, bad_request
from tenants.api.schema import obj
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiKey, ApiScope, Site

_TIME = {"type": ["string", "null"], "format": "date-time"}
API_KEY = obj(
    optional=("key",),
    id={"type": "integer"},
    name={"type": "string"},
    prefix={"type": "string"},
    scopes={"type": "array", "items": {"type": "string", "enum": list(ApiScope.values)}},
    sites={"type": "array", "items": {"type": "string"}},
    created_at=_TIME,
    expires_at=_TIME,
    revoked_at=_TIME,
    last_used_at=_TIME,
    key={"type": "string", "description": "The whole key, only in the answer that made it."},
)


class ApiKeyWrite(StrictSerializer):
    name = serializers.CharField(max_length=200)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=ApiScope.choices), min_length=1, max_length=4)
    sites = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, default=list, max_length=1000
    )
    expires_at = serializers.CharField(max_length=40, required=False, default=None, allow_null=True)


def api_key_json(key: ApiKey) -> dict[str, Any]:
    names = ("name", "prefix", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {
        "id": key.pk,
        "sites": sorted(site.slug for site in key.sites.all()),
        **{name: getattr(key, name) for name in names},
    }


class _ApiKeys(TenantAPIView):
    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        # Who has keys, and which, is not for everybody who may read charge points.
        if not may(request, ApiScope.MANAGE):
            raise Problem(403, "missing_scope", f"This needs the scope {ApiScope.MANAGE.value}.")


class ApiKeyList(_ApiKeys):
    paginated = True

    @extend_schema(
        operation_id="api_keys_list", summary="API keys, newest first", responses={200: page_schema(API_KEY)}
    )
    def get(self, request: Request) -> Response:
        return self.page(ApiKey.objects.prefetch_related("sites"), api_key_json)

    @extend_schema(
        operation_id="api_keys_create", summary="Make an API key", request=ApiKeyWrite, responses={201: API_KEY}
    )
    def post(self, request: Request) -> Response:
        body = self.validated(ApiKeyWrite)
        scopes = list(dict.fromkeys(body["scopes"]))
        for index, scope in enumerate(body["scopes"]):
            if not may(request, scope):
                raise bad_request(f"/scopes/{index}", "Nobody can grant a scope they do not hold.", "scope_not_held")
        expires_at = None
        if body["expires_at"] is not None:
            expires_at = parse_time(body["expires_at"])
            if expires_at is None or expires_at <= datetime.now(UTC):
                raise bad_request("/expires_at", "A time in the future.", "invalid_time")
        found = {site.slug: site for site in Site.objects.filter(slug__in=body["sites"])}
        own = self.site_ids()
        for index, slug in enumerate(body["sites"]):
            if slug not in found or (own is not None and found[slug].pk not in own):
                raise bad_request(f"/sites/{index}", "There is no site of this slug.", "unknown_site")
        if own is not None and not found:
            raise bad_request("/sites", "Name the sites: you are limited to some yourself.", "site_not_allowed")
        key, text = ApiKey.issue(
            tenant_of(request), body["name"], scopes, expires_at=expires_at, sites=list(found.values())
        )
        self.audit("create", key)
        return Response(
            api_key_json(key) | {"key": text},
            status=201,
            headers={"Location": request.build_absolute_uri(f"{key.pk}/")},
        )


class ApiKeyDetail(_ApiKeys):
    @extend_schema(operation_id="api_keys_read", summary="One API key", responses={200: API_KEY})
    def get(self, request: Request, pk: int) -> Response:
        return Response(api_key_json(self._one(pk)))

    @extend_schema(operation_id="api_keys_revoke", summary="Revoke an API key", responses={200: API_KEY})
    def delete(self, request: Request, pk: int) -> Response:
        key = self._one(pk)
        key.revoke(datetime.now(UTC))
        self.audit("revoke", key)
        return Response(api_key_json(key))

    def _one(self, pk: int) -> ApiKey:
        key = ApiKey.objects.prefetch_related("sites").filter(pk=pk).first() if pk < 2**63 else None
        if key is None:
            raise Problem(404, "not_found", "There is no such API key.")
        return key
