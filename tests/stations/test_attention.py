"""What needs attention: one test for each contradiction, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stations import attention
from stations.models import (
    ChargePoint,
    Command,
    ConfigurationKey,
    Connector,
    LogRequest,
    MeterValue,
    RefusedIdTag,
    Transaction,
)
from tenants.models import Site, Tenant
from tests.stations.rows import HOUR, MINUTE, as_tenant, new_charge_point

NOW = timezone.now()
DAY = timedelta(days=1)
_digest = iter(range(1, 1000))


def found(now: Any = NOW, sites: Any = None) -> list[tuple[str, int, Any]]:
    return [
        (each.kind.code, each.pk, each.since)
        for each in attention.findings(now, sites, list(attention.KINDS.values()), 100)
    ]


def open_transaction(charge_point: ChargePoint, ago: timedelta = 2 * HOUR, connector_id: int = 1) -> Transaction:
    at = NOW - ago
    return Transaction.objects.create(
        charge_point=charge_point, connector_id=connector_id, id_tag="T", started_at=at, started_received_at=at,
        meter_start_wh=1000,
    )  # fmt: skip


def status(charge_point: ChargePoint, word: str, ago: timedelta, connector_id: int = 1) -> Connector:
    at = NOW - ago
    return Connector.objects.create(
        charge_point=charge_point, connector_id=connector_id, status=word, status_at=at, status_received_at=at
    )


def reading(tx: Transaction, ago: timedelta, energy_wh: int | None, power_w: int | None = None) -> None:
    MeterValue.objects.create(
        charge_point=tx.charge_point, connector_id=1, transaction=tx, timestamp=NOW - ago, received_at=NOW - ago,
        energy_wh=energy_wh, power_w=power_w, sampled_value=[], digest=next(_digest),
    )  # fmt: skip


def command(charge_point: ChargePoint, action: str, word: str, ago: timedelta, **fields: Any) -> Command:
    at = NOW - ago
    return Command.objects.create(
        charge_point=charge_point, action=action, payload={}, requested_by="otto", status=word, created_at=at,
        sent_at=at, expires_at=at, **fields,
    )  # fmt: skip


@pytest.fixture
def station(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point(connected_at=NOW - DAY)


class TestConnections:
    def test_lost_and_never_connected_are_two_kinds(self, in_tenant_a: Tenant) -> None:
        lost = new_charge_point("LOST", connected=False, connected_at=NOW - DAY, disconnected_at=NOW - HOUR)
        never = new_charge_point("NEVER", connected=False)
        new_charge_point("OFF", connected=False, disabled=True, disconnected_at=NOW, connected_at=NOW)
        assert found() == [("never_connected", never.pk, never.created_at), ("offline", lost.pk, NOW - HOUR)]

    def test_says_what_is_recorded_as_running(self, station: ChargePoint) -> None:
        tx = open_transaction(station)
        ChargePoint.objects.filter(pk=station.pk).update(connected=False, disconnected_at=NOW - HOUR)
        (row,) = attention.findings(NOW, None, [attention.KINDS["offline"]], 10)
        assert row.text == f"Not connected; transaction {tx.pk} is recorded as running"


class TestTransactions:
    def test_available_with_an_open_transaction(self, station: ChargePoint) -> None:
        tx = open_transaction(station)
        status(station, "Available", HOUR)
        assert found() == [("available_with_transaction", tx.pk, NOW - HOUR)]

    @pytest.mark.parametrize(
        ("word", "ago"), [("Charging", 5 * MINUTE), ("Available", 3 * HOUR), ("Available", timedelta(seconds=30))]
    )
    def test_another_status_an_older_one_or_one_of_just_now_is_none(
        self, station: ChargePoint, word: str, ago: timedelta
    ) -> None:
        open_transaction(station)
        status(station, word, ago)
        assert found() == []

    def test_booted_since_it_began(self, station: ChargePoint) -> None:
        tx = open_transaction(station)
        ChargePoint.objects.filter(pk=station.pk).update(booted_at=NOW - HOUR)
        assert found() == [("booted_during_transaction", tx.pk, NOW - HOUR)]
        reading(tx, 30 * MINUTE, 2000)
        assert found() == []

    def test_charging_without_any_value(self, station: ChargePoint) -> None:
        tx = open_transaction(station)
        status(station, "Charging", 2 * HOUR)
        assert found() == [("charging_without_energy", tx.pk, tx.started_at)]

    def test_charging_with_a_register_that_stands_still(self, station: ChargePoint) -> None:
        tx = open_transaction(station)
        status(station, "Charging", 2 * HOUR)
        for minutes in range(0, 100, 10):
            reading(tx, minutes * MINUTE, 5000)
        assert [row[:2] for row in found()] == [("charging_without_energy", tx.pk)]
        reading(tx, 5 * MINUTE, 5001)
        reading(tx, -MINUTE, 5001)
        assert found() == []

    def test_power_without_a_register_is_energy(self, station: ChargePoint) -> None:
        tx = open_transaction(station)
        status(station, "Charging", 2 * HOUR)
        reading(tx, MINUTE, None, 7000)
        assert found() == []

    @pytest.mark.parametrize(("interval", "kinds"), [("60", 1), ("3600", 0), ("0", 0), ("odd", 0)])
    def test_its_own_interval_says_how_long_is_long(self, station: ChargePoint, interval: str, kinds: int) -> None:
        ConfigurationKey.objects.create(charge_point=station, key="MeterValueSampleInterval", value=interval)
        tx = open_transaction(station, 40 * MINUTE)
        status(station, "Charging", 40 * MINUTE)
        reading(tx, 15 * MINUTE, 5000)
        assert len(found()) == kinds


class TestWhatDidNotCome:
    def test_refused_card_of_the_last_day(self, station: ChargePoint) -> None:
        rows = [
            RefusedIdTag.objects.create(
                charge_point=station, id_tag=f"CARD-{days}", key=f"CARD-{days}", status="Invalid", reason="unknown",
                action="Authorize", times=2, first_at=NOW - 3 * DAY, last_at=NOW - days * DAY,
            )
            for days in (0, 2)
        ]  # fmt: skip
        assert found() == [("refused_card", rows[0].pk, NOW - 3 * DAY)]

    def test_accepted_command_without_effect(self, station: ChargePoint) -> None:
        accepted = {"response": {"status": "Accepted"}}
        start = command(
            station, "RemoteStartTransaction", "answered", 8 * MINUTE, answered_at=NOW - 8 * MINUTE, **accepted
        )
        command(station, "RemoteStartTransaction", "answered", MINUTE, answered_at=NOW - MINUTE, **accepted)
        command(
            station, "Reset", "answered", HOUR, answered_at=NOW - HOUR, response={"status": "Rejected"}
        )  # fmt: skip
        command(station, "Reset", "answered", HOUR, answered_at=NOW - HOUR, effect={"boot": 1}, **accepted)
        command(station, "ClearCache", "answered", HOUR, answered_at=NOW - HOUR, **accepted)
        assert found() == [("command_without_effect", start.pk, NOW - 8 * MINUTE)]

    @pytest.mark.parametrize("word", ["unknown", "timed_out"])
    def test_command_without_answer_until_a_later_one_is_answered(self, station: ChargePoint, word: str) -> None:
        row = command(station, "Reset", word, HOUR)
        assert found() == [("command_unanswered", row.pk, NOW - HOUR)]
        command(station, "Reset", "answered", MINUTE, response={"status": "Rejected"})
        assert found() == []

    def test_upload_that_is_claimed_and_not_here(self, station: ChargePoint) -> None:
        row, _, _ = (
            LogRequest.objects.create(
                charge_point=station, location="http://us/", to_us=to_us, status=word, created_at=NOW - HOUR,
                finished_at=NOW - MINUTE,
            )
            for to_us, word in ((True, "Uploaded"), (False, "Uploaded"), (True, "Uploading"))
        )  # fmt: skip
        assert found() == [("upload_missing", row.pk, NOW - MINUTE)]


def test_limited_to_sites_and_to_the_tenant(in_tenant_a: Tenant, tenants: Any) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    here = new_charge_point("HERE", connected=False, site=site, connected_at=NOW, disconnected_at=NOW - HOUR)
    there = new_charge_point("THERE", connected=False, connected_at=NOW, disconnected_at=NOW - HOUR)
    for each in (here, there):
        status(each, "Available", HOUR)
        open_transaction(each)
    assert {row[1] for row in found(sites={site.pk}) if row[0] == "offline"} == {here.pk}
    assert len(found(sites={site.pk})) == 2
    assert attention.counts(NOW, {site.pk})["offline"] == 1
    assert as_tenant(tenants.tenant_b, found) == []


def test_pages_go_on_where_the_last_one_ended_in_both_directions(in_tenant_a: Tenant) -> None:
    for number in range(7):
        # Some at the same moment, of two kinds.
        at = NOW - (number // 3) * HOUR
        row = new_charge_point(f"CP-{number}", connected=False, connected_at=NOW, disconnected_at=at)
        open_transaction(row, 4 * HOUR)
        status(row, "Available", NOW - at + MINUTE)
    kinds = list(attention.KINDS.values())
    whole = attention.findings(NOW + HOUR, None, kinds, 100)
    assert len(whole) == 14
    pages, beyond = [], None
    while page := attention.findings(NOW + HOUR, None, kinds, 4, beyond=beyond):
        pages += page
        beyond = attention.position(page[-1])
    assert [attention.position(each) for each in pages] == [attention.position(each) for each in whole]
    back = attention.findings(NOW + HOUR, None, kinds, 4, beyond=attention.position(whole[9]), backwards=True)
    assert [each.pk for each in back] == [each.pk for each in whole[5:9]]


@pytest.mark.parametrize("work", [found, lambda: attention.counts(NOW, None)])
def test_costs_the_same_for_many(in_tenant_a: Tenant, work: Callable[[], Any]) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            work()
        return len(captured)

    def add(number: int) -> None:
        row = new_charge_point(f"CP-{number}", connected_at=NOW, booted_at=NOW - HOUR)
        open_transaction(row)
        status(row, "Charging", 2 * HOUR)

    add(1)
    with_one = queries()
    assert with_one == len(attention.KINDS) + 1
    for number in range(2, 9):
        add(number)
    assert queries() == with_one
