"""The rules of a TenantModel beyond single queries: tenant of new rows, references, instances, managers, validation."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.test.utils import isolate_apps
from django.utils import timezone

from tenants.models import AuditEntry, JobRun, MembershipSite, Site, Tenant
from tenants.scope import CrossTenantWrite, NoTenantScope, UnguardedQuery, platform_scope, tenant_scope
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet
from tests.tenants.conftest import Rows

# Built at import, as the querysets of views and admin classes are.
CLASS_LEVEL = Site.objects.filter(name="Site").order_by("slug")


def _slugs(sites: Any) -> list[str]:
    return sorted(site.slug for site in sites)


def _new(**values: Any) -> Site:
    return Site(**{"slug": "new", "name": "New"} | values)


def _changed(site: Site) -> Site:
    site.name = "Changed"
    return site


class TestTenantOfNewRows:
    def test_is_filled_from_the_scope(self, rows_in_a: Rows) -> None:
        site = Site(slug="new", name="New")
        site.save()
        assert site.tenant_id == rows_in_a.tenant_a.pk
        (bulk,) = Site.objects.bulk_create([Site(slug="bulk", name="Bulk")])
        assert bulk.tenant_id == rows_in_a.tenant_a.pk

    def test_must_be_said_in_the_platform_scope(self, rows: Rows) -> None:
        with platform_scope():
            with pytest.raises(NoTenantScope, match="cannot say whose"):
                Site.objects.create(slug="new", name="New")
            assert Site.objects.create(slug="new", name="New", tenant=rows.tenant_b).tenant_id == rows.tenant_b.pk

    @pytest.mark.parametrize("scope", ["own", "platform"])
    def test_never_changes(self, rows: Rows, scope: str) -> None:
        with tenant_scope(rows.tenant_a) if scope == "own" else platform_scope():
            for change in ({"tenant": rows.tenant_b}, {"tenant_id": rows.tenant_b.pk}):
                with pytest.raises(CrossTenantWrite, match="never changes its tenant"):
                    Site.objects.filter(pk=rows.a1.pk).update(**change)
            with pytest.raises(CrossTenantWrite):
                Site.objects.bulk_update([rows.a1], ["tenant"])
            with pytest.raises(CrossTenantWrite):
                Site.objects.bulk_create(
                    [_new(tenant=rows.tenant_a)],
                    update_conflicts=True,
                    unique_fields=["pk"],
                    update_fields=["name", "tenant"],
                )
            rows.a1.tenant = rows.tenant_b
            refusal = CrossTenantWrite if scope == "own" else IntegrityError
            for save in (rows.a1.save, rows.a1.save_base):
                with pytest.raises(refusal), transaction.atomic():
                    save()
        with platform_scope():
            assert Site.objects.get(pk=rows.a1.pk).tenant_id == rows.tenant_a.pk


class TestReferences:
    def test_foreign_instance_in_update_is_refused(self, rows_in_a: Rows) -> None:
        with pytest.raises(CrossTenantWrite, match="would point at a row of tenant"):
            MembershipSite.objects.update(site=rows_in_a.b1)

    def test_foreign_instance_in_bulk_update_is_refused(self, rows_in_a: Rows) -> None:
        row = MembershipSite.objects.order_by("pk").first()
        row.site = rows_in_a.b1
        with pytest.raises(CrossTenantWrite):
            MembershipSite.objects.bulk_update([row], ["site"])

    def test_foreign_instance_in_bulk_create_is_refused(self, rows_in_a: Rows) -> None:
        with pytest.raises(CrossTenantWrite):
            MembershipSite.objects.bulk_create(
                [MembershipSite(tenant=rows_in_a.tenant_a, membership=rows_in_a.member_a, site=rows_in_a.b1)]
            )

    def test_foreign_instance_is_refused_in_the_platform_scope_too(self, rows: Rows) -> None:
        with platform_scope(), pytest.raises(CrossTenantWrite):
            MembershipSite.objects.create(tenant=rows.tenant_a, membership=rows.member_a, site=rows.b1)

    @pytest.mark.parametrize("scope", ["own", "platform"])
    def test_foreign_id_is_refused_where_the_model_verifies_ids(self, rows: Rows, scope: str) -> None:
        with tenant_scope(rows.tenant_a) if scope == "own" else platform_scope(), pytest.raises(CrossTenantWrite):
            MembershipSite.objects.create(tenant=rows.tenant_a, membership_id=rows.member_a.pk, site_id=rows.b1.pk)

    def test_foreign_site_cannot_be_added_to_a_relation(self, rows_in_a: Rows) -> None:
        for site in (rows_in_a.b1, rows_in_a.b1.pk):
            with pytest.raises(CrossTenantWrite), transaction.atomic():
                rows_in_a.member_a.sites.add(site)
        assert _slugs(rows_in_a.member_a.sites.all()) == ["a1", "a2"]

    def test_foreign_id_does_not_validate(self, rows_in_a: Rows) -> None:
        with pytest.raises(ValidationError, match="not a valid choice"):
            MembershipSite(membership_id=rows_in_a.member_a.pk, site_id=rows_in_a.b1.pk).full_clean()

    def test_filter_by_a_foreign_instance_finds_nothing(self, rows_in_a: Rows) -> None:
        assert not MembershipSite.objects.filter(site=rows_in_a.b1).exists()

    def test_platform_models_cannot_join_into_rows_of_tenants(self, rows: Rows) -> None:
        for model in (Tenant, User):
            reachable = {
                field.related_model
                for field in model._meta.get_fields()
                if issubclass(field.related_model or model, TenantModel)
            }
            assert reachable == set()

    def test_tenant_with_rows_is_not_deleted(self, rows: Rows) -> None:
        with pytest.raises(NoTenantScope), transaction.atomic():
            rows.tenant_a.delete()
        with platform_scope(), pytest.raises(models.ProtectedError):
            rows.tenant_a.delete()

    def test_cascade_stays_inside_the_tenant(self, rows_in_a: Rows) -> None:
        rows_in_a.a1.delete()
        with platform_scope():
            assert sorted(MembershipSite.objects.values_list("site__slug", flat=True)) == ["a2", "b1"]


class TestInstances:
    def test_refresh_of_a_foreign_row_finds_nothing(self, rows_in_a: Rows) -> None:
        rows_in_a.a1.refresh_from_db()
        with pytest.raises(Site.DoesNotExist):
            rows_in_a.b1.refresh_from_db()

    def test_refresh_without_scope_is_refused(self, rows: Rows) -> None:
        with pytest.raises(NoTenantScope):
            rows.a1.refresh_from_db()

    def test_deferred_column_and_reference_need_the_scope(self, rows: Rows) -> None:
        with tenant_scope(rows.tenant_a):
            site = Site.objects.defer("address").first()
            row = MembershipSite.objects.first()
        for read in (lambda: site.address, lambda: row.site, lambda: rows.member_a.sites.count()):
            with pytest.raises(NoTenantScope):
                read()
        with tenant_scope(rows.tenant_b):
            for read in (lambda: site.address, lambda: row.site):
                with pytest.raises(Site.DoesNotExist):
                    read()

    def test_evaluated_rows_may_be_read_outside(self, rows: Rows) -> None:
        with tenant_scope(rows.tenant_a):
            sites = Site.objects.order_by("slug")
            assert len(sites) == 2
        assert [site.slug for site in sites] == ["a1", "a2"]


class TestQuerySets:
    def test_none_needs_no_scope(self, db: None) -> None:
        assert list(Site.objects.none()) == []
        assert Site.objects.none().count() == 0
        assert not Site.objects.none().filter(name="x").exists()

    def test_one_queryset_serves_every_tenant(self, rows: Rows) -> None:
        for tenant, slugs in ((rows.tenant_a, ["a1", "a2"]), (rows.tenant_b, ["b1"]), (rows.tenant_a, ["a1", "a2"])):
            with tenant_scope(tenant):
                assert [site.slug for site in CLASS_LEVEL.all()] == slugs

    def test_raw_is_for_the_platform_alone(self, rows: Rows) -> None:
        sql = "SELECT * FROM tenants_site ORDER BY slug"
        with pytest.raises(NoTenantScope):
            Site.objects.raw(sql)
        with tenant_scope(rows.tenant_a), pytest.raises(UnguardedQuery):
            Site.objects.raw(sql)
        with platform_scope():
            raw = Site.objects.raw(sql)
            assert [site.slug for site in raw.prefetch_related("memberships")] == ["a1", "a2", "b1"]
            later = [Site.objects.raw(sql), Site.objects.raw(sql).using("default"), raw.prefetch_related("memberships")]
        for queryset in later:
            with tenant_scope(rows.tenant_a), pytest.raises(UnguardedQuery):
                list(queryset)

    def test_where_clause_names_the_tenant_once(self, rows_in_a: Rows) -> None:
        sql = str(Site.objects.filter(slug="a1").order_by("slug").query)
        assert sql.count('"tenant_id" = ') == 1

    def test_guard_adds_no_query(self, rows_in_a: Rows, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(1):
            list(Site.objects.select_related("tenant"))
        with django_assert_num_queries(1):
            Site.objects.bulk_create([_new(slug=f"n{number}") for number in range(10)])
        with django_assert_num_queries(1):
            _changed(rows_in_a.a1).save()

    def test_upsert_of_own_rows_updates_them_and_returns_every_id(self, rows_in_a: Rows) -> None:
        sites = Site.objects.bulk_create(
            [_new(slug="a1", name="Changed"), _new(slug="a3")],
            update_conflicts=True,
            unique_fields=["tenant", "slug"],
            update_fields=["name"],
        )
        assert [site.pk for site in sites] == [rows_in_a.a1.pk, Site.objects.get(slug="a3").pk]
        assert Site.objects.get(slug="a1").name == "Changed"

    def test_same_slug_in_two_tenants_is_no_conflict(self, rows: Rows) -> None:
        with tenant_scope(rows.tenant_b):
            Site.objects.bulk_create(
                [_new(slug="a1", name="Of b")],
                update_conflicts=True,
                unique_fields=["tenant", "slug"],
                update_fields=["name"],
            )
        with platform_scope():
            assert sorted(Site.objects.filter(slug="a1").values_list("name", flat=True)) == ["Of b", "Site"]


class TestManagersOfSubclasses:
    def test_queryset_class_of_ones_own_keeps_the_guard(self, rows: Rows) -> None:
        with tenant_scope(rows.tenant_a):
            AuditEntry.objects.record("someone", "site.changed", rows.a1, changes={"name": ["a", "b"]})
        with tenant_scope(rows.tenant_b):
            assert AuditEntry.objects.count() == 0
        with pytest.raises(NoTenantScope):
            AuditEntry.objects.record("someone", "site.changed")

    def test_queryset_class_without_guard_is_refused(self) -> None:
        with pytest.raises(TypeError, match="must be a TenantQuerySet"):
            TenantManager.from_queryset(models.QuerySet)

    @isolate_apps("tenants")
    def test_meta_of_ones_own_and_as_manager_keep_the_guard(self) -> None:
        class Thing(TenantModel):
            objects = TenantQuerySet.as_manager()

            class Meta:
                app_label = "tenants"
                ordering = ("pk",)

            def __str__(self) -> str:
                return ""

        for manager in (Thing.objects, Thing._default_manager, Thing._base_manager):
            with pytest.raises(NoTenantScope):
                str(manager.values("pk").query)


class TestValidation:
    class SiteForm(forms.ModelForm):
        class Meta:
            model = Site
            fields = ("name", "slug")

    def test_form_finds_the_clash_within_the_tenant_and_does_not_mention_the_tenant(self, rows_in_a: Rows) -> None:
        form = self.SiteForm({"name": "Again", "slug": "a1"})
        assert form.errors == {"__all__": ["Site with this Slug already exists."]}

    def test_form_does_not_see_the_slugs_of_others(self, rows_in_a: Rows) -> None:
        form = self.SiteForm({"name": "Mine", "slug": "b1"})
        assert form.is_valid(), form.errors
        assert form.save().tenant_id == rows_in_a.tenant_a.pk

    def test_form_without_scope_is_refused(self, rows: Rows) -> None:
        with pytest.raises(NoTenantScope):
            self.SiteForm({"name": "Again", "slug": "a1"}).is_valid()

    def test_full_clean_fills_the_tenant(self, rows_in_a: Rows) -> None:
        site = _new()
        site.full_clean()
        assert site.tenant_id == rows_in_a.tenant_a.pk
        with pytest.raises(ValidationError, match="already exists"):
            _new(slug="a1").full_clean()

    def test_choices_of_a_form_are_those_of_the_tenant(self, rows: Rows) -> None:
        class Choose(forms.Form):
            site = forms.ModelChoiceField(Site.objects.all())

        with tenant_scope(rows.tenant_a):
            assert Choose({"site": rows.a1.pk}).is_valid()
        with tenant_scope(rows.tenant_b):
            assert not Choose({"site": rows.a1.pk}).is_valid()


def test_time_is_not_part_of_the_guard(rows_in_a: Rows) -> None:
    """A row written in the scope is found in it at once, by every path that the product uses most."""
    run = JobRun.objects.create(task_name="t", task_id="1")
    run.start(timezone.now())
    assert JobRun.objects.filter(task_id="1").values_list("state", flat=True).get() == "running"
