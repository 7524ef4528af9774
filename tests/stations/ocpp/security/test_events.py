"""Security events of charge points: stored as sent, once, critical by the table (security whitepaper, A04)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from ocpp.v16 import call, call_result

from stations.batch import open_batch
from stations.models import ChargePoint, SecurityEvent
from stations.models.security_event import CRITICAL_BY_TYPE, is_critical
from stations.ocpp.security import events
from tenants.models import Tenant
from tests.stations.rows import HOUR, NOW, new_charge_point, wire

pytestmark = pytest.mark.usefixtures("in_tenant_a")

CRITICAL = {
    "FirmwareUpdated", "SettingSystemTime", "StartupOfTheDevice", "ResetOrReboot", "SecurityLogWasCleared",
    "MemoryExhaustion", "TamperDetectionActivated",
}  # fmt: skip
NOT_CRITICAL = {
    "FailedToAuthenticateAtCentralSystem", "CentralSystemFailedToAuthenticate", "ReconfigurationOfSecurityParameters",
    "InvalidMessages", "AttemptedReplayAttacks", "InvalidFirmwareSignature", "InvalidFirmwareSigningCertificate",
    "InvalidCentralSystemCertificate", "InvalidChargePointCertificate", "InvalidTLSVersion", "InvalidTLSCipherSuite",
}  # fmt: skip


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def report(charge_point: ChargePoint, event_type: str, at: str | None = None, tech_info: str | None = None) -> None:
    req = call.SecurityEventNotification(type=event_type, timestamp=at or wire(NOW - HOUR), tech_info=tech_info)
    conf = events.security_event_notification(charge_point, req, NOW)
    assert conf == call_result.SecurityEventNotification()


def test_table_of_types_is_that_of_the_whitepaper() -> None:
    assert {name for name, critical in CRITICAL_BY_TYPE.items() if critical} == CRITICAL
    assert {name for name, critical in CRITICAL_BY_TYPE.items() if not critical} == NOT_CRITICAL


@pytest.mark.parametrize(
    ("event_type", "critical"),
    [
        ("TamperDetectionActivated", True), ("tamperdetectionactivated", True), (" RESETORREBOOT ", True),
        ("InvalidTLSVersion", False), ("DoorOpened", False), ("", False),
    ],
)  # fmt: skip
def test_criticality_does_not_mind_letter_case_and_unknown_is_not_critical(event_type: str, critical: bool) -> None:
    assert is_critical(event_type) is critical


def test_event_is_stored_as_sent(charge_point: ChargePoint) -> None:
    event_type, tech_info = "Vendor specific " * 10, "ü" * 600
    report(charge_point, event_type, "2026-02-27T03:04:05.678+01:00", tech_info)
    event = SecurityEvent.objects.get()
    assert (event.type, event.tech_info) == (event_type, tech_info)
    assert (wire(event.timestamp), event.received_at) == ("2026-02-27T02:04:05.678Z", NOW)
    assert (event.source, event.critical, event.is_alert, event.charge_point) == (
        "charge_point", False, False, charge_point,
    )  # fmt: skip
    assert (event.times, event.last_at, event.acknowledged_at, event.identity) == (1, NOW, None, "")


def test_unreadable_timestamp_becomes_the_time_of_receipt(charge_point: ChargePoint) -> None:
    report(charge_point, "MemoryExhaustion", "yesterday")
    assert SecurityEvent.objects.get().timestamp == NOW


def test_timestamp_without_a_zone_is_in_that_of_the_charge_point(charge_point: ChargePoint) -> None:
    charge_point.time_zone = "Europe/Berlin"
    report(charge_point, "MemoryExhaustion", "2026-03-01T10:00:00")
    assert wire(SecurityEvent.objects.get().timestamp) == "2026-03-01T09:00:00.000Z"


@pytest.mark.parametrize("at", ["2026-03-01T10:00:00Z", "unreadable"])
def test_repeated_event_is_one_row(charge_point: ChargePoint, at: str) -> None:
    for _ in range(3):
        report(charge_point, "ResetOrReboot", at, "watchdog")
    assert SecurityEvent.objects.count() == 1


def test_events_that_differ_are_rows_of_their_own(charge_point: ChargePoint) -> None:
    for change in (
        {}, {"tech_info": "a"}, {"at": wire(NOW)}, {"event_type": "Other"}, {"event_type": "ResetOrReboota"},
    ):  # fmt: skip
        report(charge_point, **{"event_type": "ResetOrReboot", **change})
    report(new_charge_point("CP-2"), "ResetOrReboot")
    assert SecurityEvent.objects.count() == 6


def test_burst_is_one_insert(charge_point: ChargePoint) -> None:
    with CaptureQueriesContext(connection) as queries, open_batch() as batch:
        for minute in range(100):
            report(charge_point, "InvalidMessages", wire(NOW - timedelta(days=3, minutes=minute % 99)))
        before = len(queries)
        batch.flush()
    assert (before, len(queries)) == (0, 1)
    assert 'INSERT INTO "stations_securityevent"' in queries.captured_queries[0]["sql"]
    assert SecurityEvent.objects.count() == 99


def test_critical_event_is_an_alert_until_acknowledged(charge_point: ChargePoint) -> None:
    report(charge_point, "TamperDetectionActivated")
    report(charge_point, "InvalidMessages")
    alerts: Any = SecurityEvent.objects.alerts()
    assert [event.type for event in alerts] == ["TamperDetectionActivated"]
    assert SecurityEvent.objects.acknowledge("otto", NOW) == 1
    assert SecurityEvent.objects.acknowledge("olga", NOW + HOUR) == 0
    event = SecurityEvent.objects.get(critical=True)
    assert (event.is_alert, event.acknowledged_by, event.acknowledged_at) == (False, "otto", NOW)
    # Repeated after that, it is still the same event.
    report(charge_point, "TamperDetectionActivated")
    assert not SecurityEvent.objects.alerts().exists()
