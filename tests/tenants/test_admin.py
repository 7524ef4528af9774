"""Tenants, people, keys and traces at the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from stations.models import ChargePoint
from tenants.models import ApiKey, ApiScope, AuditEntry, Membership, Role, Site, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import client_of, new_user, sign_in, sign_in_superuser, submit, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag

TENANT_FIELDS = {
    "heartbeat_interval_seconds": "300",
    "pending_interval_seconds": "60",
    "unknown_charge_points": "refuse",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "stop_tolerance_seconds": "5",
    "message_retention_days": "90",
    "meter_value_rollup_days": "400",
    "meter_value_retention_days": "0",
}


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, username="olga")


# --- tenants ------------------------------------------------------------------------------------------------------
def test_platform_administrator_creates_a_tenant_and_works_for_it(tenants: Tenants) -> None:
    client = sign_in_superuser()
    response = client.post(url("tenants_tenant_add"), {"slug": "gamma", "name": "Gamma", **TENANT_FIELDS})
    assert response.status_code == 302, text_of(response)
    gamma = Tenant.objects.get(slug="gamma")
    with tenant_scope(gamma):
        assert AuditEntry.objects.get().action == "create"

    listed = text_of(client.get(url("tenants_tenant_changelist")))
    assert f'form="switch-tenant" name="tenant" value="{gamma.pk}"' in listed
    client.post(reverse("tenants:switch"), {"tenant": gamma.pk})
    page = text_of(client.get(url("index")))
    assert all(tenant.name in page for tenant in (*tenants, gamma))
    assert re.search(rf'<option value="{gamma.pk}" selected>Gamma</option>', page)


def test_members_of_one_tenant_are_offered_no_other(tenants: Tenants) -> None:
    page = text_of(sign_in(tenants.tenant_a).get(url("index")))
    assert "Alpha" in page
    assert "Beta" not in page
    assert "csms-tenant-choice" not in page


def test_owner_edits_settings_but_not_what_is_the_platforms(tenants: Tenants) -> None:
    tenant = tenants.tenant_a
    client = sign_in(tenant)
    fields = {**TENANT_FIELDS, "name": "Renamed", "slug": "other", "currency": "USD", "max_charge_points": "9"}
    assert client.post(url("tenants_tenant_change", tenant.pk), fields).status_code == 302
    tenant.refresh_from_db()
    assert (tenant.name, tenant.time_zone) == ("Renamed", "Europe/Berlin")
    assert (tenant.slug, tenant.currency, tenant.max_charge_points) == ("alpha", "EUR", None)
    with tenant_scope(tenant):
        assert AuditEntry.objects.get().changes["name"] == ["Alpha", "Renamed"]


def test_nobody_suspends_but_the_platform_administrator(tenants: Tenants) -> None:
    tenant = tenants.tenant_b
    assert submit(sign_in(tenant), "tenants_tenant_suspend", tenant.pk).status_code == 403
    # The administrator works for the first tenant meanwhile.
    root = sign_in_superuser()
    for name, suspended in (("suspend", True), ("resume", False)):
        assert submit(root, f"tenants_tenant_{name}", tenant.pk)["HX-Redirect"]
        tenant.refresh_from_db()
        assert tenant.is_suspended is suspended
    with tenant_scope(tenant):
        assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["suspend", "resume"]


def test_tenants_are_not_deleted(tenants: Tenants) -> None:
    page = url("tenants_tenant_delete", tenants.tenant_a.pk)
    assert sign_in_superuser().post(page, {"post": "yes"}).status_code == 403


# --- sites --------------------------------------------------------------------------------------------------------
def test_site_that_somebody_is_limited_to_is_not_deleted(owner: Client, in_tenant_a: Tenant) -> None:
    sites = [Site.objects.create(name=name, slug=name.lower()) for name in ("Member", "Key", "Tag", "Free")]
    Membership.objects.create(user=new_user()).sites.set(sites[:1])
    ApiKey.issue(in_tenant_a, "key", ["read"], sites=[sites[1]])
    new_id_tag().sites.set([sites[2]])
    charge_point = new_charge_point(site=sites[3])

    for site in sites:
        owner.post(url("tenants_site_delete", site.pk), {"post": "yes"})
    assert [site.name for site in Site.objects.all()] == ["Key", "Member", "Tag"]
    assert ChargePoint.objects.get(pk=charge_point.pk).site is None


def test_sites_are_listed_with_their_charge_points(owner: Client) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    new_charge_point(site=site)
    assert f'?site={site.pk}">1</a>' in text_of(owner.get(url("tenants_site_changelist")))


# --- members ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("typed", ["bob", "bob@example.com", "BOB@example.com", " bob "])
def test_member_is_added_by_exact_name_or_address(owner: Client, typed: str) -> None:
    bob = new_user("bob")
    site = Site.objects.create(name="Depot", slug="depot")
    fields = {"person": typed, "role": Role.OPERATOR, "limited_to_sites": [site.pk]}
    response = owner.post(url("tenants_membership_add"), fields)
    assert response.status_code == 302, text_of(response)
    membership = Membership.objects.get(user=bob)
    assert (membership.role, list(membership.sites.all())) == (Role.OPERATOR, [site])


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("bo", "Nobody has exactly this"),
        ("b%", "Nobody has exactly this"),
        ("olga", "a member already"),
        ("shared@example.com", "Several accounts"),
    ],
)
def test_member_who_is_not_one_person_is_refused(owner: Client, typed: str, error: str) -> None:
    new_user("bob")
    new_user("twin1", email="shared@example.com")
    new_user("twin2", email="shared@example.com")
    assert error in text_of(owner.post(url("tenants_membership_add"), {"person": typed, "role": Role.VIEWER}))
    assert Membership.objects.count() == 1


def test_pages_of_members_name_no_people_of_other_tenants(tenants: Tenants) -> None:
    sign_in(tenants.tenant_b, username="stranger")
    client = sign_in(tenants.tenant_a)
    for page in ("tenants_membership_changelist", "tenants_membership_add"):
        assert "stranger" not in text_of(client.get(url(page)))


def test_new_member_who_cannot_sign_in_is_pointed_out(owner: Client) -> None:
    new_user("bob", is_staff=False)
    response = owner.post(url("tenants_membership_add"), {"person": "bob", "role": Role.VIEWER}, follow=True)
    assert "bob cannot sign in here yet" in text_of(response)


def test_only_owners_make_owners_and_the_last_one_stays(in_tenant_a: Tenant, owner: Client) -> None:
    admin = sign_in(in_tenant_a, Role.ADMIN, username="ada")
    olga = Membership.objects.get(user__username="olga")
    ada = Membership.objects.get(user__username="ada")

    def set_role(client: Client, membership: Membership, role: str) -> str:
        page = text_of(client.post(url("tenants_membership_change", membership.pk), {"role": role}, follow=True))
        membership.refresh_from_db()
        return page

    assert "Only an owner makes or unmakes owners" in set_role(admin, ada, Role.OWNER)
    assert "Only an owner makes or unmakes owners" in set_role(admin, olga, Role.VIEWER)
    assert "keeps at least one owner" in set_role(owner, olga, Role.VIEWER)
    assert admin.post(url("tenants_membership_delete", olga.pk), {"post": "yes"}).status_code == 403
    assert owner.post(url("tenants_membership_delete", olga.pk), {"post": "yes"}).status_code == 403
    assert (olga.role, ada.role) == (Role.OWNER, Role.ADMIN)
    set_role(owner, ada, Role.OWNER)
    set_role(owner, olga, Role.VIEWER)
    assert (olga.role, ada.role) == (Role.VIEWER, Role.OWNER)


# --- API keys -----------------------------------------------------------------------------------------------------
def test_key_is_shown_once_and_works(owner: Client) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    fields = {"name": "export", "scopes": [ApiScope.READ, ApiScope.BILLING], "limited_to_sites": [site.pk]}
    response = owner.post(url("tenants_apikey_add"), fields, follow=True)
    found = re.search(r'data-copy="([^"]+)"', text_of(response))
    assert found is not None
    key = ApiKey.authenticate(found[1], timezone.now())
    assert key is not None
    assert (key.name, key.scopes, list(key.sites.all())) == ("export", ["read", "billing"], [site])
    assert key.created_by == User.objects.get(username="olga")
    secret = found[1].partition(".")[2]
    for page in (url("tenants_apikey_changelist"), url("tenants_apikey_change", key.pk)):
        assert secret not in text_of(owner.get(page))
    assert secret not in str(AuditEntry.objects.get().changes)
    assert AuditEntry.objects.get().object_id == str(key.pk)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"scopes": []}, "This field is required"),
        ({"scopes": ["root"]}, "Select a valid choice"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "This is in the past"),
    ],
)
def test_impossible_key_is_refused(owner: Client, fields: dict[str, Any], error: str) -> None:
    response = owner.post(url("tenants_apikey_add"), {"name": "x", "scopes": ["read"], **fields})
    assert error in text_of(response)
    assert not ApiKey.objects.exists()


def test_revoked_key_stays_in_the_list_and_does_not_work(owner: Client, in_tenant_a: Tenant) -> None:
    key, text = ApiKey.issue(in_tenant_a, "export", ["read"])
    submit(owner, "tenants_apikey_revoke", key.pk)
    assert ApiKey.authenticate(text, timezone.now()) is None
    assert ">revoked</span>" in text_of(owner.get(url("tenants_apikey_changelist")))
    assert ">Revoke<" not in re.sub(r"\s+", "", text_of(owner.get(url("tenants_apikey_change", key.pk))))
    assert owner.post(url("tenants_apikey_delete", key.pk), {"post": "yes"}).status_code == 403


# --- accounts -----------------------------------------------------------------------------------------------------
def test_accounts_are_for_superusers_only(tenants: Tenants) -> None:
    user = new_user()
    client = sign_in(tenants.tenant_a)
    for page in (url("auth_user_changelist"), url("auth_user_change", user.pk), url("auth_user_add")):
        assert client.get(page).status_code == 403
        assert sign_in_superuser(f"root-{len(page)}").get(page).status_code == 200


def test_account_goes_with_its_memberships_in_every_tenant(tenants: Tenants) -> None:
    user = new_user("leaver")
    for tenant in tenants:
        with tenant_scope(tenant):
            Membership.objects.create(user=user)
    root = sign_in_superuser()
    assert "leaver" in text_of(root.get(url("auth_user_delete", user.pk)))
    root.post(url("auth_user_delete", user.pk), {"post": "yes"})
    assert not User.objects.filter(username="leaver").exists()
    with platform_scope():
        assert not Membership.objects.exists()


@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_person_without_a_tenant_finds_no_rows(tenants: Tenants, page: str) -> None:
    with tenant_scope(tenants.tenant_a):
        row = Membership.objects.create(user=new_user(), role=Role.OWNER)
    assert client_of(new_user()).get(url(f"tenants_membership_{page}", row.pk)).status_code == 404


# --- audit --------------------------------------------------------------------------------------------------------
def test_history_of_an_object_is_the_audit_log_filtered(owner: Client) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    fields = {"name": "Depot 2", "slug": "depot", "address": "", "time_zone": "Europe/Berlin"}
    owner.post(url("tenants_site_change", site.pk), fields)
    AuditEntry.objects.record("somebody else", "delete")
    response = owner.get(url("tenants_site_history", site.pk), follow=True)
    entries = response.context["cl"].result_list
    assert [(entry.actor, entry.action) for entry in entries] == [("olga", "change")]
    assert entries[0].changes == {"name": ["Depot", "Depot 2"], "time_zone": ["", "Europe/Berlin"]}
    page = text_of(owner.get(url("tenants_auditentry_change", entries[0].pk)))
    assert "<th>name</th><td>Depot</td><td>Depot 2</td>" in page


def test_audit_log_holds_who_from_where(in_tenant_a: Tenant) -> None:
    user = new_user("olga")
    Membership.objects.create(user=user, role=Role.OWNER)
    client_of(user).post(url("tenants_site_add"), {"name": "Depot", "slug": "depot"}, REMOTE_ADDR="192.0.2.7")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.user, entry.address, entry.object_label) == ("olga", user, "192.0.2.7", "Depot")
