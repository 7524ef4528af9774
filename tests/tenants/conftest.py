"""Rows of two tenants, for the tests of what keeps them apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User

from tenants.models import ApiKey, Membership, Site, Tenant
from tenants.scope import tenant_scope


class Rows(NamedTuple):
    """Two sites, a member limited to them, and an API key of tenant a; one site, member and key of tenant b."""

    tenant_a: Tenant
    tenant_b: Tenant
    a1: Site
    a2: Site
    b1: Site
    member_a: Membership
    member_b: Membership


@pytest.fixture
def rows(tenants: Any) -> Rows:
    made: dict[str, Any] = {}
    for letter, tenant, numbers in (("a", tenants.tenant_a, (1, 2)), ("b", tenants.tenant_b, (1,))):
        with tenant_scope(tenant):
            sites = [Site.objects.create(slug=f"{letter}{number}", name="Site") for number in numbers]
            member = Membership.objects.create(user=User.objects.create(username=letter))
            member.sites.set(sites)
            ApiKey.objects.create(name=letter, prefix=letter * 12, salt=b"", secret_hash=b"", scopes=["read"])
            made |= {site.slug: site for site in sites} | {f"member_{letter}": member}
    return Rows(tenants.tenant_a, tenants.tenant_b, **made)


@pytest.fixture
def rows_in_a(rows: Rows) -> Iterator[Rows]:
    """The test runs inside the scope of tenant a."""
    with tenant_scope(rows.tenant_a):
        yield rows
