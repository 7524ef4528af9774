"""Owners: who may change what an owner may do, and the one that a tenant always keeps.

Context: an administrator who limits the only owner to one site shuts the tenant out of its own settings, and two owners
who remove each other at the same moment each see the other one stay.
Choice: an owner's membership is edited by owners (and platform administrators) only. Whoever is about to take
something from an owner first locks the tenant's row, then looks whether somebody else remains.
Consequence: the change and the look must be one transaction, as they are in the admin. The lock is the weaker kind,
which rows that refer to the tenant do not wait for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet

from tenants.models import Membership, MembershipSite, Role, Tenant
from tenants.scope import platform_scope

OWNERS_ONLY = "Owners are edited by owners only."
LAST_OWNER = "A tenant keeps at least one owner who can sign in and is not limited to sites: make another one first."


def may_edit_owners(user: Any, membership: Membership | None) -> bool:
    """Whether `user`, who is `membership` in the tenant, may make, change and unmake its owners."""
    return bool(user.is_superuser) or (membership is not None and membership.role == Role.OWNER)


def lasting() -> QuerySet[Membership]:
    """Owners who can sign in and are not limited to sites, of the open scope."""
    limits = MembershipSite.objects.filter(membership=OuterRef("pk"))
    owners: QuerySet[Membership] = Membership.objects.filter(role=Role.OWNER, user__is_active=True, user__is_staff=True)
    return owners.exclude(Exists(limits))


def hold(tenant_ids: Iterable[int]) -> None:
    """Let nobody else change owners of these tenants until the transaction ends; it must have begun."""
    list(Tenant.objects.select_for_update(no_key=True).filter(pk__in=tenant_ids).order_by("pk"))


def is_last(membership: Membership) -> bool:
    """Whether `membership`, as it is stored, is the only lasting owner of its tenant."""
    found = set(lasting().filter(tenant_id=membership.tenant_id).values_list("pk", flat=True)[:2])
    return found == {membership.pk}


def left_without(user: User) -> list[Tenant]:
    """The tenants of which `user` is the only lasting owner, by slug. Opens the platform's scope."""
    with platform_scope():
        owned = set(lasting().filter(user=user).values_list("tenant_id", flat=True))
        others = set(lasting().filter(tenant_id__in=owned).exclude(user=user).values_list("tenant_id", flat=True))
        return list(Tenant.objects.filter(pk__in=owned - others).order_by("slug"))


def hold_all_of(user: User) -> None:
    """As `hold`, for every tenant that `user` is an owner of."""
    with platform_scope():
        hold(list(Membership.objects.filter(user=user, role=Role.OWNER).values_list("tenant_id", flat=True)))
