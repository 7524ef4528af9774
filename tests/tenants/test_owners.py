"""A tenant keeps an owner who can act everywhere, and nobody but an owner changes what an owner may do."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from tenants import owners
from tenants.models import AuditEntry, Membership, MembershipSite, Role, Site, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import client_of, new_user, sign_in, sign_in_superuser, text_of, url

OWNERS_ONLY = "Owners are edited by owners only"
LAST = "keeps at least one owner who can sign in and is not limited to sites"


@pytest.fixture
def depot(in_tenant_a: Tenant) -> Site:
    return Site.objects.create(name="Depot", slug="depot")


def membership_of(username: str) -> Membership:
    return Membership.objects.get(user__username=username)


def change(client: Client, username: str, role: str, *sites: Site) -> str:
    """Send the form of a member as its page would; the page that follows."""
    fields = {"role": role, "limited_to_sites": [site.pk for site in sites]}
    return text_of(client.post(url("tenants_membership_change", membership_of(username).pk), fields, follow=True))


class TestWhoEditsOwners:
    def test_administrator_does_not_limit_an_owner(self, in_tenant_a: Tenant, depot: Site) -> None:
        sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, username="otto")
        ada = sign_in(in_tenant_a, Role.ADMIN, username="ada")
        assert OWNERS_ONLY in change(ada, "olga", Role.OWNER, depot)
        assert not MembershipSite.objects.exists()
        assert OWNERS_ONLY in text_of(ada.get(url("tenants_membership_change", membership_of("olga").pk)))

    def test_administrator_does_not_widen_an_owner(self, in_tenant_a: Tenant, depot: Site) -> None:
        sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, username="otto", sites=[depot])
        assert OWNERS_ONLY in change(sign_in(in_tenant_a, Role.ADMIN), "otto", Role.OWNER)
        assert [limit.membership.user.username for limit in MembershipSite.objects.all()] == ["otto"]

    def test_administrator_does_not_delete_an_owner(self, in_tenant_a: Tenant) -> None:
        sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, username="otto")
        page = url("tenants_membership_delete", membership_of("otto").pk)
        assert sign_in(in_tenant_a, Role.ADMIN).post(page, {"post": "yes"}).status_code == 403
        assert membership_of("otto").role == Role.OWNER

    def test_owner_limits_another_owner(self, in_tenant_a: Tenant, depot: Site) -> None:
        olga = sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, username="otto")
        change(olga, "otto", Role.OWNER, depot)
        assert list(membership_of("otto").sites.all()) == [depot]
        assert AuditEntry.objects.get().changes == {"limited_to_sites": [[], ["Depot"]]}

    def test_administrator_goes_on_editing_the_others(self, in_tenant_a: Tenant, depot: Site) -> None:
        sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, Role.VIEWER, username="vera")
        change(sign_in(in_tenant_a, Role.ADMIN), "vera", Role.OPERATOR, depot)
        assert (membership_of("vera").role, list(membership_of("vera").sites.all())) == (Role.OPERATOR, [depot])


class TestLastOwner:
    def test_only_owner_is_not_limited(self, in_tenant_a: Tenant, depot: Site) -> None:
        olga = sign_in(in_tenant_a, username="olga")
        for client in (olga, sign_in_superuser()):
            assert LAST in change(client, "olga", Role.OWNER, depot)
        assert not MembershipSite.objects.exists()

    @pytest.mark.parametrize("useless", ["limited", "inactive", "no_staff"])
    def test_owner_who_cannot_act_everywhere_does_not_count(
        self, in_tenant_a: Tenant, depot: Site, useless: str
    ) -> None:
        olga = sign_in(in_tenant_a, username="olga")
        other = new_user("otto", is_active=useless != "inactive", is_staff=useless != "no_staff")
        Membership.objects.create(user=other, role=Role.OWNER).sites.set([depot] if useless == "limited" else [])
        assert LAST in change(olga, "olga", Role.VIEWER)
        assert LAST in change(olga, "olga", Role.OWNER, depot)
        assert olga.post(url("tenants_membership_delete", membership_of("olga").pk), {"post": "yes"}).status_code == 403
        assert owners.is_last(membership_of("olga"))
        assert not owners.is_last(membership_of("otto"))

    def test_one_that_could_not_act_anyway_may_go(self, in_tenant_a: Tenant, depot: Site) -> None:
        olga = sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, username="otto", sites=[depot])
        olga.post(url("tenants_membership_delete", membership_of("otto").pk), {"post": "yes"})
        assert [str(row) for row in Membership.objects.all()] == ["olga (Owner)"]

    def test_tenant_without_an_owner_is_still_edited(self, in_tenant_a: Tenant, depot: Site) -> None:
        sign_in(in_tenant_a, username="otto", sites=[depot])
        change(sign_in_superuser(), "otto", Role.OWNER)
        assert not MembershipSite.objects.exists()

    def test_site_that_an_owner_is_limited_to_is_not_deleted(self, in_tenant_a: Tenant, depot: Site) -> None:
        olga = sign_in(in_tenant_a, username="olga")
        sign_in(in_tenant_a, username="otto", sites=[depot])
        assert "limited to Depot" in text_of(olga.post(url("tenants_site_delete", depot.pk), {"post": "yes"}))
        assert list(membership_of("otto").sites.all()) == [depot]


class TestAccounts:
    def fields(self, user: User, **changed: Any) -> dict[str, Any]:
        """What the page of an account sends; a box that is not ticked is left out."""
        boxes = {"is_active": user.is_active, "is_staff": user.is_staff} | changed
        return {"username": user.username, "email": user.email} | {name: "on" for name, on in boxes.items() if on}

    @pytest.mark.parametrize("right", ["is_active", "is_staff"])
    def test_account_of_the_last_owner_stays_usable(self, tenants: Tenants, right: str) -> None:
        sign_in(tenants.tenant_b, username="olga")
        olga = User.objects.get(username="olga")
        page = url("auth_user_change", olga.pk)
        refused = text_of(sign_in_superuser().post(page, self.fields(olga, **{right: False})))
        assert "olga is the last owner of Beta who" in refused
        olga.refresh_from_db()
        assert getattr(olga, right) is True

    def test_account_of_one_of_two_owners_is_deactivated(self, tenants: Tenants) -> None:
        for name in ("olga", "otto"):
            sign_in(tenants.tenant_b, username=name)
        olga = User.objects.get(username="olga")
        page = url("auth_user_change", olga.pk)
        assert sign_in_superuser().post(page, self.fields(olga, is_active=False)).status_code == 302
        olga.refresh_from_db()
        assert olga.is_active is False

    def test_account_of_the_last_owner_is_not_deleted(self, tenants: Tenants) -> None:
        sign_in(tenants.tenant_b, username="olga")
        olga = User.objects.get(username="olga")
        root = sign_in_superuser()
        page = url("auth_user_delete", olga.pk)
        for answer in (root.get(page), root.post(page, {"post": "yes"})):
            assert "last owner of Beta" in text_of(answer)
        assert User.objects.filter(pk=olga.pk).exists()
        sign_in(tenants.tenant_b, username="otto")
        assert root.post(page, {"post": "yes"}).status_code == 302
        assert not User.objects.filter(pk=olga.pk).exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["unmake", "limit", "delete", "deactivate"])
def test_of_two_owners_who_remove_each_other_one_stays(way: str) -> None:
    with platform_scope():
        tenant = Tenant.objects.create(slug="gamma", name="Gamma")
    with tenant_scope(tenant):
        site = Site.objects.create(name="Depot", slug="depot")
        rows = [Membership.objects.create(user=new_user(name), role=Role.OWNER) for name in ("olga", "otto")]
    clients = [client_of(row.user) for row in rows]
    if way == "deactivate":
        clients = [sign_in_superuser(name) for name in ("root", "boot")]
    together = threading.Barrier(2)

    def remove(client: Client, other: Membership) -> None:
        page = url(f"tenants_membership_{'delete' if way == 'delete' else 'change'}", other.pk)
        fields: dict[str, Any] = {
            "unmake": {"role": Role.VIEWER},
            "limit": {"role": Role.OWNER, "limited_to_sites": [site.pk]},
            "delete": {"post": "yes"},
            "deactivate": {"username": other.user.username, "is_staff": "on"},
        }[way]
        if way == "deactivate":
            page = url("auth_user_change", other.user.pk)
        try:
            together.wait(10)
            client.post(page, fields)
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=pair) for pair in zip(clients, reversed(rows), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with tenant_scope(tenant):
        assert owners.lasting().count() == 1
