"""May the caller do this? Scopes by method, unless the view names others."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tenants.api.problems import Problem
from tenants.models import ApiKey, ApiScope
from tenants.permissions import has_scope


class HasScope(BasePermission):
    """Reading needs `read`, writing `manage`, or what the view's `read_scope` and `write_scope` say."""

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        if request.auth is None and not (user is not None and user.is_authenticated):
            return False
        if request.method in SAFE_METHODS:
            scope = getattr(view, "read_scope", ApiScope.READ)
        else:
            scope = getattr(view, "write_scope", ApiScope.MANAGE)
        if may(request, scope):
            return True
        tenant = tenant_of(request)
        if tenant is not None and tenant.is_suspended:
            raise Problem(403, "tenant_suspended", "The tenant is suspended: it can be read, not changed.")
        raise Problem(403, "missing_scope", f"This needs the scope {ApiScope(scope).value}.")


def may(request: Request, scope: str) -> bool:
    """Whether the caller holds `scope`; a superuser without a membership acts as an owner."""
    if request.auth is None and request.user is not None and request.user.is_superuser:
        tenant = tenant_of(request)
        return scope == ApiScope.READ or (tenant is not None and not tenant.is_suspended)
    return has_scope(request.auth, scope)


def tenant_of(request: Request) -> Any:
    """The Tenant the caller works for."""
    if isinstance(request.auth, ApiKey):
        return request.auth.tenant
    return getattr(request._request, "tenant", None)


def caller_name(request: Request) -> str:
    """The caller for people: in commands, audit entries."""
    if isinstance(request.auth, ApiKey):
        return f"API key {request.auth.name}"[:200]
    return str(request.user.get_username())[:200]
