"""Every table says how long its rows are kept, and the job does what it says (stations/retention_table.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db.models import Model

from stations import retention
from stations.models import (
    Boot,
    CertificateRequest,
    ChargePoint,
    Command,
    CommandBatch,
    ConnectorStatus,
    DiagnosticsStatus,
    FileUrl,
    FirmwareStatus,
    FirmwareUpdate,
    LogRequest,
    PasswordChange,
    ReservationNumber,
    Transaction,
    UploadedFile,
)
from stations.retention_table import RETENTION, ByAge, Elsewhere, Expiring, ForEver, GoesWith
from stations.tasks import purge_expired_rows
from tenants.models import ApiKey, AuditEntry, IdempotencyRecord, JobRun, Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import new_charge_point

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def labels() -> Iterator[str]:
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            yield model._meta.label


class TestTable:
    @pytest.mark.parametrize("label", sorted(labels()))
    def test_every_model_states_how_long_its_rows_are_kept(self, label: str) -> None:
        assert label in RETENTION, f"Say in stations/retention_table.py how long the rows of {label} are kept."

    @pytest.mark.parametrize("label", sorted(RETENTION))
    def test_rule_is_about_what_exists(self, label: str) -> None:
        rule = RETENTION[label]
        model = apps.get_model(label) if "_" not in label else None
        match rule:
            case ByAge(days, columns, measured=measured):
                assert model is not None
                assert hasattr(Tenant(), days)
                for column in (*columns, *([measured] if measured else [])):
                    model._meta.get_field(column)
                owner = {field.name for field in model._meta.fields}
                assert "tenant" in owner
            case Expiring(column):
                assert model is not None
                model._meta.get_field(column)
            case GoesWith(owner):
                for each in owner.split(" or "):
                    assert each in RETENTION
            case Elsewhere(how) | ForEver(how):
                assert len(how) > 10


def aged(days: int) -> datetime:
    return NOW - days * DAY


def history(charge_point: ChargePoint, days: int) -> None:
    """One of each thing that came and went `days` ago, all of it over."""
    at = aged(days)
    batch = CommandBatch.objects.create(action="Reset", requested_by="test", created_at=at)
    command = new_command(charge_point, at, batch=batch)
    Boot.objects.create(charge_point=charge_point, at=at, payload={}, status="Accepted")
    ConnectorStatus.objects.create(
        charge_point=charge_point, connector_id=1, status="Available", error_code="NoError", at=at, received_at=at
    )
    update = FirmwareUpdate.objects.create(
        charge_point=charge_point, command=command, location="ftp://h/x", created_at=at, finished_at=at
    )
    FirmwareStatus.objects.create(charge_point=charge_point, update=update, status="Installed", received_at=at)
    FirmwareStatus.objects.create(charge_point=charge_point, status="Idle", received_at=at)
    request = LogRequest.objects.create(charge_point=charge_point, location="ftp://h/x", created_at=at)
    FileUrl.objects.create(
        charge_point=charge_point,
        log_request=request,
        token_hash=f"{charge_point.pk}-{days}",
        created_at=at,
        expires_at=at,
    )
    UploadedFile.objects.create(
        charge_point=charge_point, log_request=request, file=f"x/{days}", name="x", size=1, received_at=at
    )
    DiagnosticsStatus.objects.create(charge_point=charge_point, request=request, status="Uploaded", received_at=at)
    DiagnosticsStatus.objects.create(charge_point=charge_point, status="Idle", received_at=at)
    CertificateRequest.objects.create(charge_point=charge_point, csr="x", state="rejected", received_at=at)
    JobRun.objects.create(task_name="t", task_id=f"t-{charge_point.tenant_id}-{days}", state="failed", created_at=at)


def new_command(charge_point: ChargePoint, at: datetime, **fields: Any) -> Command:
    facts = {"status": "answered", "payload": {}, "action": "Reset", "requested_by": "test"} | fields
    return Command.objects.create(charge_point=charge_point, created_at=at, expires_at=at, **facts)


HISTORY: tuple[type[Model], ...] = (
    Boot, CertificateRequest, Command, CommandBatch, ConnectorStatus, FileUrl, FirmwareUpdate, LogRequest,
    UploadedFile, JobRun,
)  # fmt: skip


def counts() -> set[int]:
    return {model._default_manager.count() for model in HISTORY}


class TestHistory:
    def test_what_is_over_and_old_goes_and_the_rest_stays(self, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        for days in (400, 366, 364, 1):
            history(charge_point, days)
        due = {
            "boots": 2, "certificate_requests": 2, "commands": 2, "command_batches": 2, "connector_statuses": 2,
            "firmware_statuses": 2, "diagnostics_statuses": 2, "firmware_updates": 2, "log_requests": 2, "job_runs": 2,
        }  # fmt: skip
        planned = retention.purge(in_tenant_a, NOW, dry_run=True)
        assert counts() == {4}
        # Batches are free to go only when their commands have gone.
        assert {table: number for table, number in planned.items() if number} == {
            table: number for table, number in due.items() if table != "command_batches"
        }
        done = retention.purge(in_tenant_a, NOW)
        assert {table: number for table, number in done.items() if number} == due
        assert counts() == {2}
        assert FirmwareStatus.objects.count() == DiagnosticsStatus.objects.count() == 4
        assert not any(retention.purge(in_tenant_a, NOW).values())

    def test_tenant_that_keeps_all_keeps_all(self, in_tenant_a: Tenant) -> None:
        history(new_charge_point(), 5000)
        in_tenant_a.history_retention_days = 0
        assert not any(retention.purge(in_tenant_a, NOW).values())
        in_tenant_a.history_retention_days = 6000
        assert not any(retention.purge(in_tenant_a, NOW).values())
        in_tenant_a.history_retention_days = 4999
        assert retention.purge(in_tenant_a, NOW)["boots"] == 1

    def test_installation_says_how_long_where_the_tenant_has_not(self, in_tenant_a: Tenant, settings: Any) -> None:
        history(new_charge_point(), 20)
        assert not any(retention.purge(in_tenant_a, NOW).values())
        settings.CSMS_HISTORY_RETENTION_DAYS = 10
        assert retention.purge(in_tenant_a, NOW)["commands"] == 1

    def test_what_is_still_open_stays(self, in_tenant_a: Tenant) -> None:
        charge_point, at = new_charge_point(), aged(900)
        queued = new_command(charge_point, at, status="queued")
        password = new_command(charge_point, at, status="unknown", action="ChangeConfiguration")
        PasswordChange.objects.create(charge_point=charge_point, command=password, password_hash="x")
        JobRun.objects.create(task_name="t", task_id="t", state="running", created_at=at)
        CertificateRequest.objects.create(charge_point=charge_point, csr="x", state="waiting", received_at=at)
        repeated = FirmwareStatus.objects.create(
            charge_point=charge_point, status="Idle", received_at=at, times=9, last_received_at=NOW
        )
        assert not any(retention.purge(in_tenant_a, NOW).values())
        assert set(Command.objects.all()) == {queued, password}
        assert FirmwareStatus.objects.get() == repeated
        assert JobRun.objects.count() == CertificateRequest.objects.count() == 1

    def test_transaction_outlives_the_command_that_started_it(self, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        command = new_command(charge_point, aged(900))
        tx = Transaction.objects.create(
            charge_point=charge_point, connector_id=1, started_at=NOW, started_received_at=NOW, meter_start_wh=0,
            started_by_command=command,
        )  # fmt: skip
        assert retention.purge(in_tenant_a, NOW)["commands"] == 1
        tx.refresh_from_db()
        assert tx.started_by_command_id is None

    def test_many_rows_go_in_lots(self, in_tenant_a: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "ROWS_PER_DELETE", 3)
        monkeypatch.setattr(retention, "REFERENCED_ROWS_PER_DELETE", 3)
        charge_point = new_charge_point()
        for days in range(380, 350, -1):
            history(charge_point, days)
        done = retention.purge(in_tenant_a, NOW)
        assert {done[table] for table in ("boots", "commands", "connector_statuses", "job_runs", "log_requests")} == {
            15
        }
        assert counts() == {15}

    @pytest.mark.parametrize("year", [1970, 2090])
    def test_wrong_clock_makes_a_status_neither_old_nor_young(self, in_tenant_a: Tenant, year: int) -> None:
        charge_point = new_charge_point()
        facts = {"charge_point": charge_point, "connector_id": 1, "status": "Available", "error_code": "NoError"}
        wrong = datetime(year, 1, 1, tzinfo=UTC)
        ConnectorStatus.objects.create(**facts, at=wrong, received_at=aged(366))
        late = ConnectorStatus.objects.create(**facts, at=wrong, received_at=aged(1))
        assert retention.purge(in_tenant_a, NOW)["connector_statuses"] == 1
        assert ConnectorStatus.objects.get() == late


class TestOthers:
    def test_idempotency_records_go_with_their_answers_when_they_have_expired(self, in_tenant_a: Tenant) -> None:
        key, _ = ApiKey.issue(in_tenant_a, "test", ["read"])
        for number, hours in enumerate((-1, 1)):
            IdempotencyRecord.objects.create(
                api_key=key, key=f"{number}", method="POST", path="/", body_digest="0", response_body=b"sealed",
                expires_at=NOW + timedelta(hours=hours),
            )  # fmt: skip
        assert retention.purge(in_tenant_a, NOW, dry_run=True)["idempotency_records"] == 1
        assert retention.purge(in_tenant_a, NOW)["idempotency_records"] == 1
        assert IdempotencyRecord.objects.get().key == "1"

    def test_audit_entries_have_days_of_their_own(self, in_tenant_a: Tenant) -> None:
        for days in (1096, 1094, 400):
            AuditEntry.objects.create(actor="a", action="change", at=aged(days))
        assert retention.purge(in_tenant_a, NOW)["audit_entries"] == 1
        in_tenant_a.audit_retention_days = 30
        assert retention.purge(in_tenant_a, NOW)["audit_entries"] == 2

    def test_numbers_of_reservations_go_but_for_the_newest(self, in_tenant_a: Tenant) -> None:
        newest = [ReservationNumber.objects.create() for _ in range(5)][-1]
        assert retention.purge(in_tenant_a, NOW)["reservation_numbers"] == 4
        assert ReservationNumber.objects.get() == newest
        assert ReservationNumber.objects.create().pk > newest.pk

    def test_expired_sessions_go(self, tenants: Tenants) -> None:
        for key, days in (("old", -1), ("live", 1)):
            Session.objects.create(session_key=key, session_data="x", expire_date=NOW + days * DAY)
        purge_expired_rows()
        assert Session.objects.get().session_key == "live"


class TestCommand:
    def test_dry_run_reports_all_and_changes_nothing(self, tenants: Tenants) -> None:
        Session.objects.create(session_key="old", session_data="x", expire_date=NOW - DAY)
        for tenant in tenants:
            with tenant_scope(tenant):
                history(new_charge_point(), 400)
        out = StringIO()
        call_command("retention", "--dry-run", stdout=out)
        lines = out.getvalue().splitlines()
        assert "installation: 1 sessions due" in lines
        for slug in ("alpha", "beta"):
            for table in ("boots", "commands", "connector statuses", "firmware updates", "log requests", "job runs"):
                assert f"{slug}: 1 {table} due" in lines
        assert Session.objects.count() == 1
        for tenant in tenants:
            with tenant_scope(tenant):
                assert counts() == {1}
