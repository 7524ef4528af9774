"""The tenant scope: on whose behalf the code that runs now may touch rows.

Context: all tenants share the tables. A query that forgets its tenant must fail, not leak.
Choice: one ContextVar holds nothing, a tenant's id, or PLATFORM. Managers (tenants/scoped.py) read it when a query is
compiled; the PostgreSQL backend (tenants/postgresql) mirrors it into a session setting that row-level security compares
with every row.
Consequence: nothing works outside a scope, and code opens one in few, named places: request middleware and API
authentication, TenantTask, dispatch, commands. PLATFORM is deliberate: migrations of data, sign-in look-ups, sweeps
over all tenants.

The variable follows `await`, `asyncio.create_task` and `sync_to_async`; a plain thread or `run_in_executor` starts
without a scope. A task or generator started inside a scope keeps it after the `with` block has ended, for it runs in a
copy of the context.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from tenants.models import Tenant


class Platform(Enum):
    """The type of PLATFORM, the scope that sees every tenant."""

    PLATFORM = "platform"


PLATFORM: Final = Platform.PLATFORM
Scope: TypeAlias = int | Literal[Platform.PLATFORM] | None

_scope: ContextVar[Scope] = ContextVar("csms_tenant_scope", default=None)


class TenantScopeError(Exception):
    """Base of the refusals of the tenant guard. Each is a bug in the calling code, nothing to catch."""


class NoTenantScope(TenantScopeError):
    """A tenant's rows were touched while no tenant scope was open."""


class CrossTenantScope(TenantScopeError):
    """A tenant scope was opened inside the scope of another tenant."""


class CrossTenantWrite(TenantScopeError):
    """A row of one tenant was about to be written or deleted on behalf of another, or would point at another's row."""


class UnguardedQuery(TenantScopeError):
    """SQL that the guard cannot confine to one tenant, such as raw(), outside the platform scope."""


def current_scope() -> Scope:
    """Id of the tenant whose scope is open, PLATFORM, or None."""
    return _scope.get()


def current_tenant_id() -> int:
    """Id of the tenant whose scope is open.

    Errors: NoTenantScope when none is open; the platform scope is no tenant either.
    """
    scope = _scope.get()
    if isinstance(scope, int):
        return scope
    raise NoTenantScope("No tenant scope is open." if scope is None else "The platform scope belongs to no tenant.")


class tenant_scope(ContextDecorator):  # noqa: N801 - reads as the statement it is: with tenant_scope(tenant)
    """Context manager and decorator: act for one tenant, given as a Tenant or its id; yields the id.

    The same tenant may nest, and a tenant's scope may open inside the platform scope.
    Errors: CrossTenantScope inside another tenant's scope; NoTenantScope for an unsaved tenant.
    """

    __slots__ = ("_previous", "_tenant_id")

    def __init__(self, tenant: Tenant | int) -> None:
        tenant_id = tenant if type(tenant) is int else getattr(tenant, "pk", None)
        if type(tenant_id) is not int:
            raise NoTenantScope(f"{tenant!r} is no saved tenant.")
        self._tenant_id: int = tenant_id
        self._previous: Scope = None

    def _recreate_cm(self) -> tenant_scope:
        return tenant_scope(self._tenant_id)

    def __enter__(self) -> int:
        previous = self._previous = _scope.get()
        tenant_id = self._tenant_id
        if previous is not None and previous is not PLATFORM and previous != tenant_id:
            raise CrossTenantScope(f"Scope of tenant {tenant_id} opened inside the scope of tenant {previous}.")
        _scope.set(tenant_id)
        return tenant_id

    def __exit__(self, *exc_info: object) -> None:
        # Set, not reset(token): a generator may be closed in another context than the one that started it.
        _scope.set(self._previous)


class platform_scope(ContextDecorator):  # noqa: N801 - as above
    """Context manager and decorator: see the rows of all tenants. Say at the call why no tenant's scope will do."""

    __slots__ = ("_previous",)

    def __init__(self) -> None:
        self._previous: Scope = None

    def _recreate_cm(self) -> platform_scope:
        return platform_scope()

    def __enter__(self) -> None:
        self._previous = _scope.get()
        _scope.set(PLATFORM)

    def __exit__(self, *exc_info: object) -> None:
        _scope.set(self._previous)
