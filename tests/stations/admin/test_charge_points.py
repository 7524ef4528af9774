"""Charge points at the admin: creating, passwords, the list, the panels of the page."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stations import credentials, handshake
from stations.models import (
    Boot,
    ChargePoint,
    ConfigurationKey,
    ConnectionAttempt,
    Connector,
    OcppMessage,
)
from stations.models.message import MessageType
from tenants.models import AuditEntry, Role, Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag, start

SETTINGS = {"registration_status": "Accepted", "security_profile": "1"}
BIG_TABLES = ("ocppmessage", "metervalue", "transaction", "command", "connectionattempt", "connectorstatus")


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, username="olga")


def panel(client: Client, charge_point: ChargePoint, name: str) -> str:
    response = client.get(url("stations_chargepoint_panel", charge_point.pk, name))
    assert response.status_code == 200
    return text_of(response)


def shown_secret(page: str) -> str:
    found = re.findall(r'<code class="csms-secret">([^<]+)</code> <button type="button" class="csms-copy"', page)
    return next((text for text in found if "://" not in text), "")


# --- creating -----------------------------------------------------------------------------------------------------
def test_new_charge_point_gets_a_password_that_is_shown_once(owner: Client) -> None:
    data = {"identity": "CP-9", **SETTINGS, "_continue": "1"}
    response = owner.post(url("stations_chargepoint_add"), data, follow=True)
    password = shown_secret(text_of(response))
    charge_point = ChargePoint.objects.get(identity="CP-9")

    assert len(password) == 20
    assert credentials.matches(charge_point.password_hash, password.encode(), accept_hexadecimal=False)
    assert shown_secret(text_of(owner.get(url("stations_chargepoint_change", charge_point.pk)))) == ""
    assert AuditEntry.objects.get().changes == {}


def test_typed_password_is_taken_and_not_kept_in_the_audit_log(owner: Client) -> None:
    owner.post(url("stations_chargepoint_add"), {"identity": "CP-9", **SETTINGS, "password": "0123456789abcdef"})
    charge_point = ChargePoint.objects.get(identity="CP-9")
    assert credentials.matches(charge_point.password_hash, b"0123456789abcdef", accept_hexadecimal=False)
    assert "0123456789abcdef" not in str(AuditEntry.objects.values_list("changes", flat=True))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"password": "short"}, "A password has 16 to 20 bytes"),
        ({"identity": "CP:9"}, "An identity with a colon cannot be used with a password"),
        ({"identity": ""}, "This field is required"),
        ({"identity": "x" * 49}, "at most 48 characters"),
        ({"identity": "CP-1"}, "already exists"),
        ({"security_profile": "0", "password": "0123456789abcdef"}, "This security profile has no password"),
        ({"time_zone": "Mars/Olympus"}, "IANA"),
    ],
)
def test_impossible_charge_point_is_refused_at_its_field(owner: Client, fields: dict[str, str], error: str) -> None:
    new_charge_point("CP-1")
    response = owner.post(url("stations_chargepoint_add"), {"identity": "CP-9", **SETTINGS, **fields})
    assert error in text_of(response)
    assert ChargePoint.objects.count() == 1


def test_same_identity_in_another_tenant_is_no_obstacle(tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_a):
        new_charge_point("CP-9")
    client_b = sign_in(tenants.tenant_b)
    assert client_b.post(url("stations_chargepoint_add"), {"identity": "CP-9", **SETTINGS}).status_code == 302


def test_tenant_at_its_limit_creates_no_more(owner: Client, in_tenant_a: Tenant) -> None:
    in_tenant_a.max_charge_points = 0
    in_tenant_a.save()
    response = owner.post(url("stations_chargepoint_add"), {"identity": "CP-9", **SETTINGS})
    assert "reached its number of charge points (0)" in text_of(response)


def test_new_password_replaces_the_old_one(owner: Client) -> None:
    charge_point = new_charge_point(password_hash=credentials.hashed(b"x" * 16, generated=True))
    response = submit(owner, "stations_chargepoint_new_password", charge_point.pk, password="")
    assert response["HX-Redirect"] == url("stations_chargepoint_change", charge_point.pk)
    password = shown_secret(text_of(owner.get(response["HX-Redirect"])))

    charge_point.refresh_from_db()
    assert credentials.matches(charge_point.password_hash, password.encode(), accept_hexadecimal=False)
    assert not credentials.matches(charge_point.password_hash, b"x" * 16, accept_hexadecimal=False)
    assert AuditEntry.objects.get().action == "new password"


def test_edit_is_audited_with_old_and_new_value(owner: Client) -> None:
    charge_point = new_charge_point(description="old")
    switches = {"send_milliseconds": "on", "accept_hexadecimal_password": "on"}
    data = {**SETTINGS, **switches, "description": "new", "identity": "OTHER"}
    response = owner.post(url("stations_chargepoint_change", charge_point.pk), data, follow=True)

    charge_point.refresh_from_db()
    assert charge_point.description == "new"
    assert charge_point.identity == "CP-1"
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.object_id) == ("olga", "change", str(charge_point.pk))
    assert entry.changes == {"description": ["old", "new"]}
    assert "has no password yet, so it cannot connect" in text_of(response)


def test_charge_point_with_transactions_is_not_deleted(owner: Client) -> None:
    busy, idle = new_charge_point("CP-1"), new_charge_point("CP-2")
    new_id_tag()
    start(busy)
    assert "would require deleting" in text_of(owner.get(url("stations_chargepoint_delete", busy.pk)))
    for charge_point in (busy, idle):
        owner.post(url("stations_chargepoint_delete", charge_point.pk), {"post": "yes"})
    assert list(ChargePoint.objects.all()) == [busy]


# --- list ---------------------------------------------------------------------------------------------------------
def test_list_takes_the_same_queries_for_one_and_for_many(owner: Client) -> None:
    new_id_tag()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert owner.get(url("stations_chargepoint_changelist")).status_code == 200
        assert not [each for each in captured.captured_queries if counts_a_big_table(each["sql"])]
        return len(captured)

    def add(identity: str) -> None:
        charge_point = new_charge_point(identity, vendor=identity)
        for connector_id in (0, 1, 2):
            Connector.objects.create(charge_point=charge_point, connector_id=connector_id, status="Available")
        start(charge_point)

    add("CP-1")
    with_one = queries()
    for number in range(2, 12):
        add(f"CP-{number}")
    assert queries() == with_one


def counts_a_big_table(sql: str) -> bool:
    return "COUNT(" in sql and any(f'FROM "stations_{table}"' in sql for table in BIG_TABLES)


def test_list_shows_connectors_hardware_and_what_runs(owner: Client) -> None:
    charge_point = new_charge_point(vendor="ABB", model="Terra", firmware_version="1.8.32")
    Connector.objects.create(charge_point=charge_point, connector_id=0, status="Available")
    fault = {"status": "Faulted", "error_code": "ConnectorLockFailure"}
    Connector.objects.create(charge_point=charge_point, connector_id=1, **fault)
    new_id_tag()
    transaction_id = start(charge_point, connector_id=1).transaction_id
    page = text_of(owner.get(url("stations_chargepoint_changelist")))

    for expected in ("ABB Terra", "1.8.32", ">1 Faulted<", "ConnectorLockFailure", f">{transaction_id}</a>"):
        assert expected in page
    # Connector 0 in order is no news.
    assert ">0 Available<" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "cp-1"}, ["CP-1"]),
        ({"q": "terra"}, ["CP-1"]),
        ({"connected__exact": "0"}, ["CP-2"]),
        ({"vendor": "ABB"}, ["CP-1"]),
        ({"connector": "Faulted"}, ["CP-2"]),
        ({"registration_status__exact": "Pending"}, ["CP-2"]),
        ({}, ["CP-1", "CP-2"]),
    ],
)
def test_list_is_searched_and_filtered(owner: Client, query: dict[str, str], found: list[str]) -> None:
    new_charge_point("CP-1", vendor="ABB", model="Terra")
    other = new_charge_point("CP-2", connected=False, registration_status="Pending", vendor="KEBA")
    Connector.objects.create(charge_point=other, connector_id=1, status="Faulted")
    changelist = owner.get(url("stations_chargepoint_changelist"), query).context["cl"]
    assert [row.identity for row in changelist.result_list] == found


# --- panels -------------------------------------------------------------------------------------------------------
def test_live_panel_shows_error_codes_and_running_transactions(owner: Client) -> None:
    charge_point = new_charge_point()
    Connector.objects.create(
        charge_point=charge_point, connector_id=1, status="Faulted", error_code="ConnectorLockFailure", info="blocked"
    )
    new_id_tag()
    start(charge_point, connector_id=1)
    start(charge_point, connector_id=7)
    page = panel(owner, charge_point, "live")
    for expected in ("Faulted", "ConnectorLockFailure", "blocked", "TAG-1"):
        assert expected in page
    Connector.objects.filter(connector_id=7).delete()
    assert "no status reported" in panel(owner, charge_point, "live")


def test_boot_panel_shows_facts_and_tolerated_deviations(owner: Client) -> None:
    now = timezone.now()
    charge_point = new_charge_point(vendor="ABB", iccid="8949020", booted_at=now)
    charge_point.deviations = {
        "MeterValues:unknown_unit": {"pointer": "/meterValue/0", "detail": "is no unit", "at": now.isoformat()}
    }
    charge_point.save()
    Boot.objects.create(charge_point=charge_point, at=now, payload={}, status="Accepted")
    page = panel(owner, charge_point, "boot")
    for expected in ("ABB", "8949020", "unknown unit", "/meterValue/0", "is no unit"):
        assert expected in page


def test_configuration_panel_shows_drift_read_only_and_unknown_keys(owner: Client) -> None:
    charge_point = new_charge_point()
    keys = ConfigurationKey.objects
    keys.create(charge_point=charge_point, key="HeartbeatInterval", value="300", desired_value="60")
    keys.create(charge_point=charge_point, key="NumberOfConnectors", value="2", readonly=True)
    keys.create(charge_point=charge_point, key="NoSuchKey", known=False)
    page = panel(owner, charge_point, "configuration")
    for expected in ("1 differs from what is wanted", ">differs<", ">read only<", "unknown to it: NoSuchKey"):
        assert expected in page


def test_connection_panel_says_what_to_do(owner: Client) -> None:
    charge_point = new_charge_point()
    refusal = handshake.REFUSALS["wrong_password"]
    ConnectionAttempt.objects.create(
        charge_point=charge_point, identity="CP-1", at=timezone.now(), accepted=False, http_status=refusal.status,
        reason=refusal.reason, remedy=refusal.remedy,
    )  # fmt: skip
    page = panel(owner, charge_point, "connection")
    assert refusal.remedy in page
    assert "wrong password" in page
    assert "HTTP 401" in page


def test_message_panel_escapes_what_a_charge_point_sends(owner: Client) -> None:
    charge_point = new_charge_point(vendor="<script>alert(1)</script>", booted_at=timezone.now())
    OcppMessage.objects.create(
        charge_point=charge_point, incoming=True, message_type=MessageType.OTHER, payload="<script>alert(1)</script>",
        received_at=timezone.now(),
    )  # fmt: skip
    for name in ("messages", "boot"):
        assert "<script>alert" not in panel(owner, charge_point, name)
    assert "<script>alert" not in text_of(owner.get(url("stations_ocppmessage_changelist")))
    assert "<script>alert" not in text_of(owner.get(url("stations_chargepoint_changelist")))


def test_every_panel_takes_a_bounded_number_of_queries(owner: Client) -> None:
    charge_point = new_charge_point()
    new_id_tag()
    for connector_id in range(1, 6):
        start(charge_point, connector_id=connector_id)
    for name in ("live", "boot", "transactions", "commands", "configuration", "messages", "connection", "times"):
        with CaptureQueriesContext(connection) as captured:
            panel(owner, charge_point, name)
        assert len(captured) <= 8, name
        assert not [each for each in captured.captured_queries if counts_a_big_table(each["sql"])]


def test_unknown_panel_is_404(owner: Client) -> None:
    charge_point = new_charge_point()
    assert owner.get(url("stations_chargepoint_panel", charge_point.pk, "secrets")).status_code == 404


def test_page_shows_the_url_to_enter(owner: Client, settings: Any, in_tenant_a: Tenant) -> None:
    settings.CSMS_PUBLIC_URL = "https://csms.example.com"
    charge_point = new_charge_point("DE*X/1 left")
    page = text_of(owner.get(url("stations_chargepoint_change", charge_point.pk)))
    assert "wss://csms.example.com/ocpp/alpha/DE%2AX%2F1%20left" in page
    assert "no password yet: it cannot connect" in page


def test_viewer_reads_the_settings_without_a_form(owner: Client, in_tenant_a: Tenant) -> None:
    charge_point = new_charge_point(last_seen_at=timezone.now() - timedelta(minutes=3))
    page = text_of(sign_in(in_tenant_a, Role.VIEWER).get(url("stations_chargepoint_change", charge_point.pk)))
    assert 'name="description"' not in page
    assert "Security profile" in page


def test_editing_leaves_a_connection_made_meanwhile_alone(in_tenant_a: Tenant) -> None:
    charge_point = ChargePoint.objects.create(identity="LIVE", connection_generation=1)
    read_before = ChargePoint.objects.get(pk=charge_point.pk)
    ChargePoint.objects.filter(pk=charge_point.pk).update(connection_generation=2, connected=True)
    read_before.description = "changed"
    form = SimpleNamespace(changed_data=["description"])
    admin.site.get_model_admin(ChargePoint).save_row(read_before, form)
    now = ChargePoint.objects.get(pk=charge_point.pk)
    assert (now.description, now.connection_generation, now.connected) == ("changed", 2, True)
