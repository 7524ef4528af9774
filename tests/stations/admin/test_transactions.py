"""Transactions at the admin: the list, the page with its readings, stopping one and closing its record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stations.models import ChargePoint, Command, MeterValue, Transaction
from stations.models.transaction import Flag
from tenants.models import AuditEntry, Site, Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.admin.test_charge_points import counts_a_big_table
from tests.stations.rows import NOW, meter_values, new_charge_point, new_id_tag, start, stop


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "operator", username="otto")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag()
    return new_charge_point()


def running(charge_point: ChargePoint, **options: Any) -> Transaction:
    return Transaction.objects.get(pk=start(charge_point, **options).transaction_id)


def read(tx: Transaction, minute: int, energy_wh: float | None, power_w: float | None) -> None:
    sampled = [{"value": "231.4", "measurand": "Voltage", "phase": "L1", "unit": "V"}]
    at = tx.started_at + timedelta(minutes=minute)
    MeterValue.objects.create(
        charge_point_id=tx.charge_point_id, connector_id=1, transaction=tx, timestamp=at, received_at=at,
        energy_wh=energy_wh, power_w=power_w, sampled_value=sampled, digest=minute,
    )  # fmt: skip


def test_list_shows_energy_power_reason_and_flags(operator: Client, charge_point: ChargePoint) -> None:
    ended = running(charge_point)
    stop(charge_point, ended.pk, reason="EVDisconnected")
    tx = running(charge_point, meter_start=5000, now=NOW + timedelta(hours=2), id_tag="NOBODY")
    read(tx, 1, 5250, 11_000)
    page = text_of(operator.get(url("stations_transaction_changelist")))
    for expected in ("2.500 kWh", "EVDisconnected", "0.250 kWh", "11.0 kW", ">running<", ">id tag refused<"):
        assert expected in page


def test_list_is_searched_and_filtered_without_counting(operator: Client, charge_point: ChargePoint) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    other = new_charge_point("OTHER-2", site=site)
    ended = running(charge_point)
    stop(charge_point, ended.pk)
    flagged = running(other, id_tag="nobody")
    queries: list[tuple[dict[str, Any], list[Transaction]]] = [
        ({}, [flagged, ended]),
        ({"active": "yes"}, [flagged]),
        ({"active": "no"}, [ended]),
        ({"flagged": "yes"}, [flagged]),
        ({"flagged": "no"}, [ended]),
        ({"site": site.pk}, [flagged]),
        ({"site": "x"}, []),
        ({"charge_point": other.pk}, [flagged]),
        ({"q": "tag-1"}, [ended]),
        ({"q": "NoBody"}, [flagged]),
        ({"q": "other"}, [flagged]),
        ({"q": str(ended.pk)}, [ended]),
        ({"q": "9" * 30}, []),
        ({"started": "1"}, []),
    ]
    for query, found in queries:
        with CaptureQueriesContext(connection) as captured:
            changelist = operator.get(url("stations_transaction_changelist"), query).context["cl"]
        assert list(changelist.result_list) == found, query
        assert not [each for each in captured.captured_queries if counts_a_big_table(each["sql"])]


def test_list_takes_the_same_queries_for_one_and_for_many(operator: Client, charge_point: ChargePoint) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            operator.get(url("stations_transaction_changelist"))
        return len(captured)

    running(charge_point)
    with_one = queries()
    for connector_id in range(2, 12):
        running(new_charge_point(f"CP-{connector_id}"), connector_id=connector_id)
    assert queries() == with_one


def test_page_shows_facts_charts_and_readings(operator: Client, charge_point: ChargePoint) -> None:
    tx = running(charge_point, meter_start=1000)
    for minute in range(1, 11):
        read(tx, minute, 1000 + minute * 180, 10_800)
    page = text_of(operator.get(url("stations_transaction_change", tx.pk)))
    for expected in ("1.800 kWh", "10.8 kW", "Voltage L1 231.4 V", "2.800 kWh", 'aria-label="Power over time"'):
        assert expected in page
    assert f'hx-get="{url("stations_transaction_state", tx.pk)}"' in page


def test_page_of_an_ended_transaction_explains_its_flags_and_rests(operator: Client, charge_point: ChargePoint) -> None:
    tx = running(charge_point)
    stop(charge_point, tx.pk, meter_stop=500)
    page = text_of(operator.get(url("stations_transaction_change", tx.pk)))
    assert f"{Flag.NEGATIVE_ENERGY.label}." in page
    assert "hx-get" not in page.partition('id="content-main"')[2]


def test_page_takes_the_same_queries_however_many_readings(operator: Client, charge_point: ChargePoint) -> None:
    tx = running(charge_point)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            operator.get(url("stations_transaction_state", tx.pk))
        assert not [each for each in captured.captured_queries if counts_a_big_table(each["sql"])]
        return len(captured)

    read(tx, 0, 1000, 1)
    with_one = queries()
    for minute in range(1, 30):
        read(tx, minute, 1000 + minute, 1)
    assert queries() == with_one


def test_stop_sends_the_transaction_id_and_leaves_the_transaction_alone(
    operator: Client, charge_point: ChargePoint
) -> None:
    tx = running(charge_point)
    response = submit(operator, "stations_transaction_stop", tx.pk)
    command = Command.objects.get()
    assert (command.action, command.payload) == ("RemoteStopTransaction", {"transactionId": tx.pk})
    assert response["HX-Redirect"] == url("stations_command_change", command.pk)
    tx.refresh_from_db()
    assert tx.active


def test_closed_record_is_flagged_audited_and_nothing_is_sent(operator: Client, charge_point: ChargePoint) -> None:
    tx = running(charge_point)
    read(tx, 5, 4000, 0)
    assert "Nothing is sent" in text_of(operator.get(url("stations_transaction_close", tx.pk)))
    for expected in (f"The record of transaction {tx.pk} is closed.", "has ended already"):
        response = submit(operator, "stations_transaction_close", tx.pk)
        assert expected in text_of(operator.get(response["HX-Redirect"]))

    tx.refresh_from_db()
    assert Flag.CLOSED_BY_OPERATOR in tx.flags
    assert tx.energy_wh == 3000
    assert [(entry.actor, entry.action) for entry in AuditEntry.objects.all()] == [("otto", "close")]
    assert not Command.objects.exists()
    page = text_of(operator.get(url("stations_transaction_change", tx.pk)))
    assert "Close record" not in page


def test_page_of_a_transaction_that_is_not_there_is_404(operator: Client) -> None:
    assert operator.get(url("stations_transaction_change", 999)).status_code == 404
    assert operator.get(url("stations_transaction_change", "x")).status_code == 404


def test_page_shows_how_stop_and_readings_were_matched(operator: Client, charge_point: ChargePoint) -> None:
    tx = running(charge_point)
    meter_values(charge_point, transaction_id=-1)
    stop(charge_point, -1)
    page = text_of(operator.get(url("stations_transaction_change", tx.pk)))
    assert "the only open transaction that it fits" in page
    assert "transactionId in the stop</dt><dd>-1" in page
    assert "connector and time, sent as -1" in page


def test_pages_of_a_stop_and_of_its_candidates_link_to_each_other(operator: Client, charge_point: ChargePoint) -> None:
    candidates = [running(charge_point, connector_id=number) for number in (1, 2)]
    stop(charge_point, -1)
    kept = Transaction.objects.exclude(orphan_ref="").get()
    page = text_of(operator.get(url("stations_transaction_change", kept.pk)))
    assert "transactions that this stop could belong to" in page
    for tx in candidates:
        assert url("stations_transaction_change", tx.pk) in page
        assert url("stations_transaction_change", kept.pk) in text_of(
            operator.get(url("stations_transaction_change", tx.pk))
        )
