from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.models import ApiKey, AuditEntry, IdempotencyRecord, JobRun, Membership, Role, Site, Tenant
from tenants.permissions import allowed_site_ids, has_scope, scopes_of
from tenants.scope import CrossTenantScope, CrossTenantWrite, current_scope, platform_scope, tenant_scope
from tenants.validators import CURRENCY_DECIMALS

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestTenant:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("slug", "Upper"),
            ("slug", "-a"),
            ("slug", ""),
            ("currency", "XXX"),
            ("time_zone", "Berlin"),
            ("heartbeat_interval_seconds", 0),
            ("pending_interval_seconds", 0),
            ("unknown_charge_points", "welcome"),
        ],
    )
    def test_impossible_values_are_refused(self, field: str, value: object) -> None:
        with pytest.raises(ValidationError) as refused:
            Tenant(**{"slug": "acme", "name": "Acme", field: value}).full_clean()
        assert list(refused.value.error_dict) == [field]

    def test_interval_of_zero_is_refused_by_the_database_too(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Tenant.objects.create(slug="acme", name="Acme", heartbeat_interval_seconds=0)

    def test_suspension_keeps_its_first_date(self, tenants: Any) -> None:
        tenant = tenants.tenant_a
        assert not tenant.is_suspended
        tenant.suspend(NOW)
        tenant.suspend(NOW + timedelta(days=1))
        tenant.refresh_from_db()
        assert (tenant.is_suspended, tenant.suspended_at) == (True, NOW)
        tenant.resume()
        tenant.refresh_from_db()
        assert not tenant.is_suspended

    def test_currencies_know_their_decimals(self) -> None:
        assert [CURRENCY_DECIMALS[code] for code in ("EUR", "JPY", "KWD")] == [2, 0, 3]

    def test_site_has_the_tenants_zone_unless_it_has_its_own(self, tenants: Any) -> None:
        Tenant.objects.filter(pk=tenants.tenant_a.pk).update(time_zone="Europe/Berlin")
        with tenant_scope(tenants.tenant_a):
            Site.objects.create(slug="a", name="A")
            assert str(Site.objects.get().zone) == "Europe/Berlin"
            Site.objects.update(time_zone="Asia/Tokyo")
            assert str(Site.objects.get().zone) == "Asia/Tokyo"


class TestApiKey:
    def test_is_shown_once_and_stored_hashed(self, tenants: Any) -> None:
        key, text = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        prefix, secret = text.split(".")
        assert (key.prefix, len(secret)) == (prefix, 43)
        assert (len(key.secret_hash), len(key.salt)) == (32, 16)
        assert secret not in str(vars(key))
        _, another = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        assert another != text

    def test_authenticates_in_any_scope_and_leaves_it_alone(self, tenants: Any) -> None:
        key, text = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        for scope in (platform_scope(), tenant_scope(tenants.tenant_b)):
            with scope:
                before = current_scope()
                assert ApiKey.authenticate(text, NOW) == key
                assert current_scope() == before
        found = ApiKey.authenticate(text, NOW)
        assert found is not None
        assert found.tenant == tenants.tenant_a

    def test_wrong_text_is_nobody(self, tenants: Any) -> None:
        key, text = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        other, other_text = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        wrong = ["", ".", text[:-1], text + "x", key.prefix, f"{key.prefix}.", f"{key.prefix}.{other_text[13:]}"]
        wrong += [
            text.upper(),
            f"{'x' * 12}.{text[13:]}",
            "\x00" * 12 + ".x",
            f"{key.prefix}.\x00",
            text.replace(".", ""),
        ]
        assert [ApiKey.authenticate(one, NOW) for one in wrong] == [None] * len(wrong)

    def test_ends_at_its_expiry_and_when_revoked(self, tenants: Any) -> None:
        key, text = ApiKey.issue(tenants.tenant_a, "export", ["read"], expires_at=NOW)
        assert ApiKey.authenticate(text, NOW - timedelta(seconds=1)) == key
        assert ApiKey.authenticate(text, NOW) is None
        key, text = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        with tenant_scope(tenants.tenant_a):
            key.revoke(NOW)
        assert ApiKey.authenticate(text, NOW) is None

    def test_use_is_written_once_a_minute(self, tenants: Any, django_assert_num_queries: Any) -> None:
        key, text = ApiKey.issue(tenants.tenant_a, "export", ["read"])
        for seconds, queries, noted in ((0, 2, 0), (59, 1, 0), (60, 2, 60)):
            with django_assert_num_queries(queries):
                ApiKey.authenticate(text, NOW + timedelta(seconds=seconds))
            with tenant_scope(tenants.tenant_a):
                key.refresh_from_db()
            assert key.last_used_at == NOW + timedelta(seconds=noted)

    @pytest.mark.parametrize("scopes", [[], ["fly"], ["read", "read"], ["READ"]])
    def test_impossible_scopes_are_refused(self, tenants: Any, scopes: list[str]) -> None:
        with pytest.raises(ValidationError):
            ApiKey.issue(tenants.tenant_a, "export", scopes)

    def test_sites_must_be_the_tenants(self, tenants: Any) -> None:
        with tenant_scope(tenants.tenant_b):
            site = Site.objects.create(slug="b", name="B")
        with pytest.raises(CrossTenantWrite), transaction.atomic():
            ApiKey.issue(tenants.tenant_a, "export", ["read"], sites=[site])
        with tenant_scope(tenants.tenant_a), pytest.raises(CrossTenantScope):
            ApiKey.issue(tenants.tenant_b, "export", ["read"])


class TestPermissions:
    @pytest.mark.parametrize(
        ("role", "scopes"),
        [
            ("owner", {"read", "operate", "manage", "billing"}),
            ("admin", {"read", "operate", "manage", "billing"}),
            ("operator", {"read", "operate"}),
            ("billing", {"read", "billing"}),
            ("viewer", {"read"}),
        ],
    )
    def test_scopes_of_roles(self, tenants: Any, role: str, scopes: set[str]) -> None:
        assert scopes_of(Membership(tenant=tenants.tenant_a, role=role)) == scopes

    def test_every_role_is_known(self, tenants: Any) -> None:
        assert all(has_scope(Membership(tenant=tenants.tenant_a, role=role), "read") for role in Role.values)

    def test_key_has_its_scopes_and_nobody_has_none(self, tenants: Any) -> None:
        key = ApiKey(tenant=tenants.tenant_a, scopes=["read", "billing"])
        assert [has_scope(key, scope) for scope in ("read", "operate", "billing")] == [True, False, True]
        assert not has_scope(None, "read")
        assert not has_scope(Membership(tenant=tenants.tenant_a, role="gone"), "read")

    def test_suspended_tenant_reads_only(self, tenants: Any) -> None:
        tenants.tenant_a.suspend(NOW)
        assert scopes_of(Membership(tenant=tenants.tenant_a, role="owner")) == {"read"}
        assert scopes_of(ApiKey(tenant=tenants.tenant_a, scopes=["operate"])) == set()

    def test_sites_limit_a_member_unless_there_are_none(self, in_tenant_a: Any) -> None:
        member = Membership.objects.create(user=User.objects.create(username="u"))
        site = Site.objects.create(slug="a", name="A")
        assert allowed_site_ids(member) is None
        member.sites.add(site)
        assert allowed_site_ids(member) == {site.pk}


class TestConstraints:
    def test_one_membership_per_person_and_tenant(self, tenants: Any) -> None:
        user = User.objects.create(username="u")
        for tenant in tenants:
            with tenant_scope(tenant):
                Membership.objects.create(user=user)
        with tenant_scope(tenants.tenant_a), pytest.raises(IntegrityError), transaction.atomic():
            Membership.objects.create(user=user)

    def test_idempotency_key_is_of_one_owner_and_unique_to_it(self, in_tenant_a: Any) -> None:
        user = User.objects.create(username="u")
        key, _ = ApiKey.issue(in_tenant_a, "one", ["manage"])
        other, _ = ApiKey.issue(in_tenant_a, "two", ["manage"])
        values = {"key": "k", "method": "POST", "path": "/", "body_digest": "0" * 64, "expires_at": NOW}
        for owner in ({"api_key": key}, {"api_key": other}, {"user": user}):
            IdempotencyRecord.objects.create(**values, **owner)
            with pytest.raises(IntegrityError), transaction.atomic():
                IdempotencyRecord.objects.create(**values, **owner)
        for owner in ({}, {"api_key": key, "user": user}):
            with pytest.raises(IntegrityError), transaction.atomic():
                IdempotencyRecord.objects.create(**values | {"key": "l"}, **owner)

    def test_job_run_cuts_progress_to_percent(self, in_tenant_a: Any) -> None:
        run = JobRun.objects.create(task_name="t", task_id="1")
        for percent, shown in ((-1, 0), (33.9, 33), (250, 100)):
            run.set_progress(percent)
            run.refresh_from_db()
            assert run.progress == shown
        with pytest.raises(IntegrityError), transaction.atomic():
            JobRun.objects.update(progress=101)

    def test_audit_entry_names_the_object_as_it_was(self, in_tenant_a: Any) -> None:
        site = Site.objects.create(slug="a", name="Harbour")
        entry = AuditEntry.objects.record(
            "api key export", "site.deleted", site, changes={"name": ["Harbour", None]}, address="2001:db8::1"
        )
        site.delete()
        entry.refresh_from_db()
        assert (entry.object_type, entry.object_label) == ("tenants.site", "Harbour")
        assert (entry.changes, entry.address) == ({"name": ["Harbour", None]}, "2001:db8::1")
