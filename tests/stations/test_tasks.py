"""Scheduled work of the charge points: expiry of commands, processes that died, retention tenant by tenant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import models

from csms.celery import app
from stations import commands, retention, tasks
from stations.models import (
    ChargePoint,
    Command,
    ConnectionAttempt,
    MeterValue,
    OcppMessage,
    SecurityEvent,
    ServerProcess,
)
from tenants.models import JobRun, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import new_charge_point


def test_worker_knows_every_task_of_the_schedule() -> None:
    # Finalising builds each task; one that cannot be built keeps every worker from starting.
    app.loader.import_default_modules()
    app.finalize()
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(app.tasks)


def test_commands_of_every_tenant_expire(tenants: Tenants) -> None:
    for tenant in tenants:
        with tenant_scope(tenant):
            commands.enqueue(new_charge_point(), "Reset", {"type": "Soft"}, "test")
            Command.objects.update(expires_at=datetime.now(UTC))
    assert tasks.expire_commands.apply().get() == 2


def test_charge_points_of_a_dead_process_are_disconnected(tenants: Tenants) -> None:
    now = datetime.now(UTC)
    for name, alive_at in (("alive", now), ("dead", now - timedelta(minutes=2))):
        ServerProcess.objects.create(id=name, host="h", pid=1, started_at=now, alive_at=alive_at)
        with tenant_scope(tenants.tenant_a):
            new_charge_point(f"CP-{name}", connection_owner=name)
    assert tasks.detect_offline.apply().get() == 1
    with tenant_scope(tenants.tenant_a):
        found = dict(ChargePoint.objects.values_list("identity", "connected"))
    assert found == {"CP-alive": True, "CP-dead": False}


class TestRetention:
    def fill(self, tenant: Tenant, ages_in_days: list[int]) -> None:
        now = datetime.now(UTC)
        with tenant_scope(tenant):
            charge_point = new_charge_point()
            for age in ages_in_days:
                at = now - timedelta(days=age, minutes=5)
                OcppMessage.objects.create(
                    charge_point=charge_point, incoming=True, message_type=2, payload="{}", received_at=at
                )
                ConnectionAttempt.objects.create(identity="CP-1", at=at, accepted=False, http_status=401)
                SecurityEvent.objects.create(
                    charge_point=charge_point, source="charge_point", type="ResetOrReboot", critical=True, timestamp=at,
                    received_at=at, last_at=at, digest=str(age),
                )  # fmt: skip
                MeterValue.objects.create(
                    charge_point=charge_point,
                    connector_id=1,
                    timestamp=at,
                    received_at=at,
                    sampled_value=[],
                    digest=age,
                )

    def left(self, tenant: Tenant, model: type[models.Model]) -> int:
        with tenant_scope(tenant):
            return int(model._default_manager.count())

    def test_each_tenant_keeps_what_its_own_retention_says(self, tenants: Tenants) -> None:
        a, b = tenants
        a.message_retention_days, a.meter_value_retention_days = 10, 30
        a.save()
        b.message_retention_days = 0
        b.save()
        for tenant in tenants:
            self.fill(tenant, [40, 20, 10, 9, 1])
        deleted = []
        for tenant in tenants:
            with tenant_scope(tenant):
                deleted.append(tasks.purge_tenant.apply().get())
        assert deleted == [{"messages": 3, "connection_attempts": 3, "security_events": 3, "meter_values": 1}, {}]
        logs = (OcppMessage, ConnectionAttempt, SecurityEvent, MeterValue)
        assert [self.left(a, model) for model in logs] == [2, 2, 2, 4]
        assert [self.left(b, model) for model in logs] == [5, 5, 5, 5]

    def test_more_rows_than_one_statement_takes_are_deleted(
        self, tenants: Tenants, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "ROWS_PER_DELETE", 3)
        self.fill(tenants.tenant_a, [400] * 1 + [300, 299, 298, 297, 296, 295] + [1])
        with tenant_scope(tenants.tenant_a):
            deleted = tasks.purge_tenant.apply().get()
        assert deleted == {"messages": 7, "connection_attempts": 7, "security_events": 7}

    def test_one_purge_is_published_for_each_tenant(self, tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks.purge_tenant, "delay", tasks.purge_tenant.apply)
        assert tasks.purge_expired_rows.apply().get() == 2
        with platform_scope():
            runs = JobRun.objects.values_list("tenant__slug", "task_name", "state").order_by("tenant__slug")
            assert list(runs) == [
                ("alpha", "stations.tasks.purge_tenant", "succeeded"),
                ("beta", "stations.tasks.purge_tenant", "succeeded"),
            ]
