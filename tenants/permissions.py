"""From roles to scopes: what a member, or an API key, may do.

Three questions, asked apart: may this scope be used (here), does the object belong to the tenant (the guard and
row-level security), and is it at one of the sites the member or key is limited to (`allowed_site_ids`).
"""

from __future__ import annotations

from typing import Final

from tenants.models import ApiKey, ApiScope, Membership, Role

ROLE_SCOPES: Final[dict[str, frozenset[str]]] = {
    Role.OWNER: frozenset({ApiScope.READ, ApiScope.OPERATE, ApiScope.MANAGE, ApiScope.BILLING}),
    Role.ADMIN: frozenset({ApiScope.READ, ApiScope.OPERATE, ApiScope.MANAGE, ApiScope.BILLING}),
    Role.OPERATOR: frozenset({ApiScope.READ, ApiScope.OPERATE}),
    Role.BILLING: frozenset({ApiScope.READ, ApiScope.BILLING}),
    Role.VIEWER: frozenset({ApiScope.READ}),
}


def scopes_of(holder: Membership | ApiKey) -> frozenset[str]:
    """What the member's role or the key allows now: of a suspended tenant, reading at most."""
    granted = ROLE_SCOPES.get(holder.role, frozenset()) if isinstance(holder, Membership) else frozenset(holder.scopes)
    return granted & {ApiScope.READ} if holder.tenant.is_suspended else granted


def has_scope(holder: Membership | ApiKey | None, scope: str) -> bool:
    """Whether a member or key may use `scope` (an ApiScope). Nobody may use nothing."""
    return holder is not None and scope in scopes_of(holder)


def allowed_site_ids(holder: Membership | ApiKey) -> frozenset[int] | None:
    """Ids of the sites the member or key is limited to; None: all of them. One query, in the tenant's scope."""
    return frozenset(holder.sites.values_list("pk", flat=True)) or None
