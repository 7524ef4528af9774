"""Who is calling the API: an API key, or a signed-in member. Either way the tenant follows from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from tenants.models import ApiKey

SCHEME = "Api-Key"


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key <prefix>.<secret>`; `request.auth` is the ApiKey, there is no user.

    The tenant's scope is opened by tenants.api.views.TenantAPIView, which also closes it.
    """

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != SCHEME.lower():
            return None
        key = ApiKey.authenticate(credentials.strip(), datetime.now(UTC))
        if key is None:
            raise AuthenticationFailed("The API key is unknown, expired or revoked.", code="invalid_api_key")
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return SCHEME


class MembershipSessionAuthentication(SessionAuthentication):
    """A signed-in person with a tenant (TenantMiddleware); CSRF is enforced.

    `request.auth` is the Membership, None for a superuser who is no member.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        if getattr(request._request, "tenant", None) is None:
            raise PermissionDenied("You work for no tenant.", code="no_tenant")
        return found[0], request._request.membership

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise PermissionDenied(str(error.detail), code="csrf_failed") from None
