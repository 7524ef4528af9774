"""Who is calling the API: an API key, or a signed-in member. Either way the tenant follows from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NoReturn

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from tenants import guessing
from tenants.api.problems import Problem
from tenants.api.requests import address_of
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
            self._refuse(credentials.strip(), address_of(request._request) or "")
        return None, key

    def _refuse(self, credentials: str, address: str) -> NoReturn:
        attempt = guessing.api_key(credentials, address)
        count = guessing.begin(attempt)
        guessing.failed(attempt, count, address)
        if count.held_up:
            raise Problem(
                429,
                "too_many_attempts",
                "Too many requests have come from this address with a key that is unknown, expired or revoked.",
                headers={"Retry-After": str(guessing.WINDOW_SECONDS)},
            )
        raise AuthenticationFailed("The API key is unknown, expired or revoked.", code="invalid_api_key")

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
