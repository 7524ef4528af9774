from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.checks import Tags, run_checks
from django.db import connection, models
from django.test import override_settings
from django.test.utils import isolate_apps

from tenants.checks import (
    check_database_role,
    check_model,
    check_models,
    check_row_level_security,
    is_platform_model,
    tenant_models,
)
from tenants.models import Membership, Site, Tenant
from tenants.rls import enable_statements
from tenants.scoped import TenantModel, TenantQuerySet


def _ids(model: type[models.Model]) -> list[str]:
    return [str(message.id) for message in check_model(model)]


def test_every_installed_model_passes() -> None:
    assert check_models() == []
    assert run_checks(tags=[Tags.models]) == []


def test_models_of_one_app_can_be_checked_alone() -> None:
    assert check_models(app_configs=[apps.get_app_config("tenants")]) == []


def test_tenant_models_are_those_with_a_tenant() -> None:
    assert {Site, Membership} <= set(tenant_models())
    assert not {Tenant, User} & set(tenant_models())


def test_platform_models_and_the_tables_between_them() -> None:
    assert is_platform_model(User)
    assert is_platform_model(User.groups.through)
    assert not is_platform_model(Site)


class TestModels:
    @pytest.fixture(autouse=True)
    def _registry_of_its_own(self) -> Iterator[None]:
        with isolate_apps("tenants"):
            yield

    def test_model_without_tenant_is_named(self) -> None:
        class Loose(models.Model):
            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        assert _ids(Loose) == ["tenants.E001"]

    def test_automatic_table_between_rows_of_tenants_is_refused(self) -> None:
        class Left(TenantModel):
            groups = models.ManyToManyField(Group, related_name="+")

            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        assert _ids(Left.groups.through) == ["tenants.E002"]

    def test_unguarded_manager_is_found_under_any_name(self) -> None:
        class Open(TenantModel):
            everything = models.Manager()

            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        class OpenBase(TenantModel):
            class Meta:
                app_label = "tenants"
                base_manager_name = "unguarded"

            unguarded = models.Manager()

            def __str__(self) -> str:
                return ""

        assert _ids(Open) == ["tenants.E003"]
        assert _ids(OpenBase) == ["tenants.E003"]

    def test_guarded_managers_of_ones_own_pass(self) -> None:
        class Fine(TenantModel):
            active = TenantQuerySet.as_manager()

            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        assert _ids(Fine) == []

    def test_multi_table_inheritance_is_refused(self) -> None:
        class Parent(TenantModel):
            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        class Child(Parent):
            class Meta:
                app_label = "tenants"

        class Proxy(Parent):
            class Meta:
                app_label = "tenants"
                proxy = True

        assert _ids(Child) == ["tenants.E004"]
        assert _ids(Proxy) == []

    def test_platform_model_must_not_see_the_relation(self) -> None:
        class Seen(TenantModel):
            user = models.ForeignKey(User, on_delete=models.CASCADE)
            group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+")

            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        assert _ids(Seen) == ["tenants.E005"]

    def test_tenant_may_not_be_null(self) -> None:
        class Ownerless(TenantModel):
            tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, related_name="+")

            class Meta:
                app_label = "tenants"

            def __str__(self) -> str:
                return ""

        assert _ids(Ownerless) == ["tenants.E006"]


class FakeConnection:
    """Stands for a database whose role is `row`; no test may connect as a superuser to show it."""

    vendor = "postgresql"

    def __init__(self, *row: Any) -> None:
        self.row = row

    def cursor(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return SimpleNamespace(execute=lambda sql: None, fetchone=lambda: self.row)

    def __exit__(self, *exc_info: object) -> None:
        pass


class TestDatabaseRole:
    @pytest.mark.parametrize(
        ("superuser", "bypass", "why"), [(True, False, "is a superuser"), (False, True, "has BYPASSRLS")]
    )
    def test_role_that_bypasses_the_policies_is_an_error_in_production(
        self, superuser: bool, bypass: bool, why: str
    ) -> None:
        fake = FakeConnection("boss", superuser, bypass)
        (message,) = check_database_role(fake)
        assert (message.id, message.is_serious()) == ("tenants.E010", True)
        assert f"'boss' {why}" in message.msg
        with override_settings(DEBUG=True):
            (message,) = check_database_role(fake)
        assert (message.id, message.is_serious()) == ("tenants.W010", False)

    def test_ordinary_role_passes(self) -> None:
        assert check_database_role(FakeConnection("csms", False, False)) == []

    @pytest.mark.django_db
    def test_role_of_this_installation_passes(self) -> None:
        assert check_database_role(connection) == []


@pytest.mark.postgres
@pytest.mark.django_db
class TestPolicies:
    @pytest.fixture(autouse=True)
    def _needs_postgresql(self, db: None) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("row-level security is PostgreSQL's; this run uses another database")

    def _tables(self) -> list[str]:
        return [message.msg.split("'")[1] for message in check_row_level_security(connection)]

    def test_every_table_of_a_tenant_model_is_behind_the_policy(self) -> None:
        assert self._tables() == []

    @pytest.mark.parametrize(
        "harm",
        [
            "ALTER TABLE tenants_site NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE tenants_site DISABLE ROW LEVEL SECURITY",
            "DROP POLICY csms_tenant ON tenants_site",
            "CREATE POLICY another ON tenants_site USING (true)",
        ],
    )
    def test_hole_in_one_table_is_found(self, harm: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(harm)
        assert self._tables() == ["tenants_site"]
        assert [message.id for message in run_checks(tags=[Tags.database], databases=["default"])] == ["tenants.E011"]

    def test_partition_without_policy_is_found(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE tenants_auditentry")
            cursor.execute("CREATE TABLE tenants_auditentry (tenant_id bigint, at int) PARTITION BY RANGE (at)")
            cursor.execute("CREATE TABLE one_month PARTITION OF tenants_auditentry FOR VALUES FROM (1) TO (2)")
            for statement in enable_statements("tenants_auditentry"):
                cursor.execute(statement)
            assert self._tables() == ["one_month"]
            for statement in enable_statements("one_month"):
                cursor.execute(statement)
        assert self._tables() == []
