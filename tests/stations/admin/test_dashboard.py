"""The dashboard: its figures, and that they cost the same for a large tenant."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stations import commands, handshake
from stations.models import ChargePoint, ConnectionAttempt, Connector, MeterValue, Transaction
from tenants.models import Tenant
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.admin.test_charge_points import counts_a_big_table
from tests.stations.rows import new_charge_point, new_id_tag, start


@pytest.fixture
def viewer(in_tenant_a: Tenant) -> Client:
    new_id_tag()
    return sign_in(in_tenant_a, "viewer")


def context_of(client: Client) -> Any:
    return client.get(url("index")).context


def attempt(identity: str, reason: str, minutes_ago: float = 1, charge_point: ChargePoint | None = None) -> None:
    refusal = handshake.REFUSALS[reason]
    ConnectionAttempt.objects.create(
        identity=identity, charge_point=charge_point, at=timezone.now() - timedelta(minutes=minutes_ago),
        accepted=False, http_status=refusal.status, reason=reason, remedy=refusal.remedy,
    )  # fmt: skip


def test_figures(viewer: Client, in_tenant_a: Tenant) -> None:
    now = timezone.now()
    charge_point = new_charge_point("CP-1")
    new_charge_point("CP-2", connected=False)
    new_charge_point("CP-3", connected=False, registration_status="Pending")
    Connector.objects.create(
        charge_point=charge_point, connector_id=2, status="Faulted", error_code="GroundFailure", status_at=now
    )
    running = start(charge_point, now=now - timedelta(minutes=5), meter_start=1000).transaction_id
    MeterValue.objects.create(
        charge_point=charge_point, connector_id=1, transaction_id=running, timestamp=now, received_at=now,
        energy_wh=1500, power_w=7400, sampled_value=[], digest=1,
    )  # fmt: skip
    midnight = now.astimezone(in_tenant_a.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for number, stopped_at in enumerate((midnight, midnight - timedelta(seconds=1))):
        Transaction.objects.create(
            charge_point=charge_point, connector_id=1, id_tag="TAG-1", meter_start_wh=0, energy_wh=10_000,
            started_at=midnight - timedelta(hours=number + 1), started_received_at=now, stopped_at=stopped_at,
            stopped_received_at=now,
        )  # fmt: skip
    commands.enqueue(charge_point, "ClearCache", {}, "otto")

    shown = context_of(viewer)

    assert shown["stations"] == {"total": 3, "connected": 1, "pending": 1, "never": 2}
    assert (shown["running_count"], shown["running_power"]) == ("1", "7.4 kW")
    assert shown["energy_today"] == "10.5 kWh"
    assert [(row.connector_id, row.error_code) for row in shown["faulted"]] == [(2, "GroundFailure")]
    assert shown["waiting_count"] == "1"
    assert len(shown["latest_transactions"]) == 3


def test_midnight_is_that_of_the_tenant(viewer: Client, in_tenant_a: Tenant) -> None:
    in_tenant_a.time_zone = "Pacific/Kiritimati"
    in_tenant_a.save()
    midnight = timezone.now().astimezone(in_tenant_a.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    Transaction.objects.create(
        charge_point=new_charge_point(), connector_id=1, id_tag="TAG-1", started_at=midnight - timedelta(hours=1),
        started_received_at=midnight, meter_start_wh=0, stopped_at=midnight - timedelta(seconds=1), energy_wh=10_000,
        stopped_received_at=midnight,
    )  # fmt: skip
    assert context_of(viewer)["energy_today"] == "0.0 kWh"


def test_failed_handshakes_of_the_hour_come_with_their_remedy(viewer: Client) -> None:
    charge_point = new_charge_point()
    attempt("CP-1", "wrong_password", charge_point=charge_point)
    attempt("CP-1", "wrong_password", minutes_ago=61)
    for _ in range(3):
        attempt("STRANGER", "unknown_identity")
    response = viewer.get(url("index"))
    groups = {group.identity: (group.reason, group.times) for group in response.context["failed_handshakes"]}
    assert groups == {"CP-1": ("wrong_password", 1), "STRANGER": ("unknown_identity", 3)}
    assert response.context["failed_handshake_count"] == "4"
    assert handshake.REFUSALS["unknown_identity"].remedy in text_of(response)


def test_counts_are_counts(viewer: Client) -> None:
    charge_point = new_charge_point()
    for _ in range(210):
        commands.enqueue(charge_point, "ClearCache", {}, "otto")
    new_charge_point("NEVER", connected=False)
    new_charge_point("LOST", connected=False, connected_at=timezone.now(), disconnected_at=timezone.now())
    response = viewer.get(url("index"))
    assert response.context["waiting_count"] == "210"
    assert "1 lost, 1 never connected" in text_of(response)


def test_what_needs_attention_is_listed_with_its_count(viewer: Client) -> None:
    lost = timezone.now() - timedelta(hours=3)
    new_charge_point("LOST", connected=False, connected_at=lost, disconnected_at=lost)
    response = viewer.get(url("index"))
    assert response.context["attention_count"] == "1"
    assert [(each.kind.code, each.count) for each in response.context["attention_choices"]] == [("offline", "1")]
    assert [each.finding.charge_point.identity for each in response.context["attention"]] == ["LOST"]


def test_costs_the_same_for_a_large_tenant(viewer: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            viewer.get(url("index"))
        assert not [each for each in captured.captured_queries if counts_a_big_table(each["sql"])]
        return len(captured)

    def add(identity: str) -> None:
        charge_point = new_charge_point(identity)
        Connector.objects.create(charge_point=charge_point, connector_id=1, status="Faulted")
        start(charge_point, connector_id=2)
        attempt(identity, "wrong_password", charge_point=charge_point)
        commands.enqueue(charge_point, "ClearCache", {}, "otto")

    add("CP-1")
    with_one = queries()
    for number in range(2, 15):
        add(f"CP-{number}")
    assert queries() == with_one
