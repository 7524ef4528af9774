"""Tenant B at the admin: every page of every model, asked for with the ids of tenant A's rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import URLPattern

from stations.admin.panels import PANELS
from stations.models import (
    Boot,
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    ChargePoint,
    ChargingProfile,
    Command,
    CommandBatch,
    ConnectionAttempt,
    ConnectorStatus,
    FirmwareImage,
    FirmwareUpdate,
    IdTag,
    LocalAuthList,
    LogRequest,
    MeterValue,
    OcppMessage,
    RefusedIdTag,
    Reservation,
    RootCertificate,
    SecurityEvent,
    Transaction,
    VendorExtension,
    VendorMessage,
)
from stations.models.message import MessageType
from tenants.models import ApiKey, AuditEntry, JobRun, Membership, Site, Tenant
from tenants.scope import platform_scope, tenant_scope
from tenants.scoped import TenantModel
from tests.conftest import Tenants
from tests.stations.admin.people import new_user, sign_in, text_of, url
from tests.stations.rows import NOW, new_charge_point, new_id_tag

# Stands in every row of tenant A, in a column that its list shows.
MARK = "SECRET-OF-ALPHA"


def a_transaction() -> Transaction:
    return Transaction.objects.create(
        charge_point=new_charge_point("CP-TX"), connector_id=1, id_tag=MARK, id_tag_key=MARK, started_at=NOW,
        started_received_at=NOW, meter_start_wh=0,
    )  # fmt: skip


ROWS: dict[type[models.Model], Callable[[Tenant], models.Model]] = {
    ApiKey: lambda tenant: ApiKey.issue(tenant, MARK, ["read"])[0],
    AuditEntry: lambda tenant: AuditEntry.objects.record(MARK, "create", tenant),
    Boot: lambda tenant: Boot.objects.create(
        charge_point=new_charge_point(), at=NOW, payload={"charge_point_vendor": MARK}, status="Accepted"
    ),
    Certificate: lambda tenant: Certificate.objects.create(
        charge_point=new_charge_point(), origin="issued", chain="", subject=MARK, created_at=NOW
    ),
    CertificateAuthority: lambda tenant: CertificateAuthority.objects.create(
        name=MARK, kind="trusted", certificate="", created_at=NOW
    ),
    CertificateRequest: lambda tenant: CertificateRequest.objects.create(
        charge_point=new_charge_point(), csr="", subject=MARK, state="waiting", received_at=NOW
    ),
    ChargePoint: lambda tenant: new_charge_point(MARK),
    ChargingProfile: lambda tenant: ChargingProfile.objects.create(
        description=MARK,
        profile={
            "stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Relative",
            "chargingSchedule": {
                "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6}]
            },
        },
    ),
    Command: lambda tenant: Command.objects.create(
        charge_point=new_charge_point(), action="Reset", payload={"type": "Soft"}, requested_by=MARK, created_at=NOW,
        expires_at=NOW + timedelta(days=1), batch=CommandBatch.objects.create(
            action="Reset", requested_by=MARK, created_at=NOW
        ),
    ),
    ConnectionAttempt: lambda tenant: ConnectionAttempt.objects.create(
        identity=MARK, at=NOW, accepted=False, http_status=401, reason="wrong_password"
    ),
    ConnectorStatus: lambda tenant: ConnectorStatus.objects.create(
        charge_point=new_charge_point(), connector_id=1, status="Faulted", info=MARK, at=NOW, received_at=NOW
    ),
    FirmwareImage: lambda tenant: FirmwareImage.objects.create(name=MARK, size=1, sha256="", file="gone"),
    FirmwareUpdate: lambda tenant: FirmwareUpdate.objects.create(
        charge_point=new_charge_point(), location="ftp://h/", version=MARK, created_at=NOW
    ),
    IdTag: lambda tenant: new_id_tag(MARK),
    JobRun: lambda tenant: JobRun.objects.create(task_name=MARK, task_id="1"),
    LocalAuthList: lambda tenant: LocalAuthList.objects.create(charge_point=new_charge_point(MARK)),
    Membership: lambda tenant: Membership.objects.create(user=new_user(MARK)),
    LogRequest: lambda tenant: LogRequest.objects.create(
        charge_point=new_charge_point(), location="ftp://h/", file_name=MARK, created_at=NOW
    ),
    MeterValue: lambda tenant: MeterValue.objects.create(
        charge_point=new_charge_point(MARK), connector_id=1, timestamp=NOW, received_at=NOW, sampled_value=[], digest=1
    ),
    OcppMessage: lambda tenant: OcppMessage.objects.create(
        charge_point=new_charge_point(), incoming=True, message_type=MessageType.CALL, action=MARK, payload="{}",
        received_at=NOW,
    ),
    RefusedIdTag: lambda tenant: RefusedIdTag.objects.create(
        charge_point=new_charge_point(), id_tag=MARK, key=MARK, status="Invalid", reason="unknown", action="Authorize",
        times=1, first_at=NOW, last_at=NOW,
    ),
    Reservation: lambda tenant: Reservation.objects.create(
        charge_point=new_charge_point(), reservation_id=1, connector_id=1, id_tag=MARK, id_tag_key=MARK,
        expiry_date=NOW, requested_by=MARK, requested_at=NOW,
    ),
    RootCertificate: lambda tenant: RootCertificate.objects.create(
        name=MARK, certificate_type="ManufacturerRootCertificate", certificate="", created_at=NOW
    ),
    SecurityEvent: lambda tenant: SecurityEvent.objects.create(
        charge_point=new_charge_point(), source="charge_point", type=MARK, critical=True, timestamp=NOW,
        received_at=NOW, last_at=NOW, digest="1",
    ),
    Site: lambda tenant: Site.objects.create(name=MARK, slug="secret"),
    Tenant: lambda tenant: tenant,
    Transaction: lambda tenant: a_transaction(),
    VendorExtension: lambda tenant: VendorExtension.objects.create(vendor_id=MARK),
    VendorMessage: lambda tenant: VendorMessage.objects.create(
        charge_point=new_charge_point(), vendor_id=MARK, status="Accepted", received_at=NOW
    ),
}  # fmt: skip
# Registered, but of the platform: tests/tenants/test_admin.py.
PLATFORM = {"auth.user", "stations.strayhandshake", "tenants.guessing"}


def test_table_holds_every_model_of_the_admin() -> None:
    registered = {model for model in admin.site._registry if model._meta.label_lower not in PLATFORM}
    assert registered == set(ROWS)
    assert {model for model in registered if not issubclass(model, TenantModel)} == {Tenant}


def pages_of_one_row(model: type[models.Model]) -> list[URLPattern]:
    patterns = admin.site.get_model_admin(model).get_urls()
    return [each for each in patterns if each.name and "object_id" in each.pattern.converters]


@pytest.fixture
def owner_b(tenants: Tenants) -> Client:
    return sign_in(tenants.tenant_b)


def row_of_a(tenants: Tenants, model: type[models.Model]) -> models.Model:
    with tenant_scope(tenants.tenant_a):
        return ROWS[model](tenants.tenant_a)


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_list_shows_nothing_of_another_tenant(tenants: Tenants, owner_b: Client, model: type[models.Model]) -> None:
    row = row_of_a(tenants, model)
    shown_to_a = text_of(sign_in(tenants.tenant_a).get(url(f"{model._meta.label_lower.replace('.', '_')}_changelist")))
    response = owner_b.get(url(f"{model._meta.label_lower.replace('.', '_')}_changelist"))

    assert response.status_code == 200
    mark = tenants.tenant_a.name if row == tenants.tenant_a else MARK
    assert mark in shown_to_a
    assert mark not in text_of(response)


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_every_page_of_another_tenants_row_is_404(tenants: Tenants, owner_b: Client, model: type[models.Model]) -> None:
    row = row_of_a(tenants, model)
    for pattern in pages_of_one_row(model):
        names = PANELS if "name" in pattern.pattern.converters else [None]
        for name in names:
            address = url(str(pattern.name), *([row.pk, name] if name else [row.pk]))
            for response in (owner_b.get(address), owner_b.post(address, {"_form_submitted": "on", "post": "yes"})):
                # 403: what nobody may do to such rows, whosever they are.
                assert response.status_code in (404, 403), address
                if "change" in str(pattern.name).split("_")[-1]:
                    assert response.status_code == 404 or response.request["REQUEST_METHOD"] == "POST", address
    with platform_scope():
        assert model._base_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("page", "parameter"),
    [
        ("stations_chargepoint_changelist", "site"),
        ("stations_transaction_changelist", "charge_point"),
        ("stations_transaction_changelist", "site"),
        ("stations_reservation_changelist", "charge_point"),
        ("stations_reservation_changelist", "site"),
        ("stations_command_changelist", "charge_point"),
        ("stations_command_changelist", "batch"),
        ("stations_ocppmessage_changelist", "charge_point"),
        ("stations_connectionattempt_changelist", "charge_point"),
        ("stations_metervalue_changelist", "charge_point"),
    ],
)
def test_filter_by_another_tenants_row_finds_nothing(
    tenants: Tenants, owner_b: Client, page: str, parameter: str
) -> None:
    with tenant_scope(tenants.tenant_a):
        rows: dict[str, Any] = {
            "site": Site.objects.create(name=MARK, slug="secret"),
            "charge_point": new_charge_point(MARK),
            "batch": CommandBatch.objects.create(action=MARK, requested_by=MARK, created_at=NOW),
        }
    with tenant_scope(tenants.tenant_b):
        own = new_charge_point("OWN-STATION")

    response = owner_b.get(url(page), {parameter: rows[parameter].pk})

    assert response.status_code == 200
    assert MARK not in text_of(response)
    assert f"{own.identity}</a>" not in text_of(response)


def test_dashboard_counts_the_own_tenant_only(tenants: Tenants, owner_b: Client) -> None:
    for model in (ChargePoint, Transaction, ConnectionAttempt):
        row_of_a(tenants, model)
    response = owner_b.get(url("index"))
    assert response.context["stations"]["total"] == 0
    assert response.context["running_count"] == "0"
    assert (response.context["attention_count"], response.context["attention_choices"]) == ("0", [])
    assert MARK not in text_of(response)


def test_suggested_id_tags_are_the_own_ones(tenants: Tenants, owner_b: Client) -> None:
    row_of_a(tenants, IdTag)
    with tenant_scope(tenants.tenant_b):
        new_id_tag("SECOND")
    assert text_of(owner_b.get(url("stations_chargepoint_id_tags"), {"id_tag": "SEC"})) == (
        '<option value="SECOND"></option>'
    )


def test_command_to_another_tenants_charge_point_is_not_queued(tenants: Tenants, owner_b: Client) -> None:
    row = row_of_a(tenants, ChargePoint)
    response = owner_b.post(
        url("stations_chargepoint_changelist"),
        {"action": "clear_many", "_selected_action": [row.pk], "_form_submitted": "on", "send": "1"},
    )
    assert response.status_code == 302
    with platform_scope():
        assert not Command.objects.exists()


def test_site_of_another_tenant_cannot_be_chosen(tenants: Tenants, owner_b: Client) -> None:
    site = row_of_a(tenants, Site)
    response = owner_b.post(
        url("stations_chargepoint_add"),
        {"identity": "CP-9", "registration_status": "Accepted", "security_profile": "1", "site": site.pk},
    )
    assert "not one of the available choices" in text_of(response)
