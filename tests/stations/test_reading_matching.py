"""Readings that name no transaction, or not theirs, belong to what ran on their connector at their time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from stations.dispatch import Link
from stations.models import ChargePoint, Connector, MeterValue, Transaction
from stations.transactions import close_by_operator
from tenants.models import Tenant
from tests.conftest import Tenants
from tests.stations.lane_calls import inbound, results
from tests.stations.rows import (
    HOUR,
    MINUTE,
    NOW,
    as_tenant,
    meter_values,
    new_charge_point,
    new_id_tag,
    start,
    stop,
    wire,
)

pytestmark = pytest.mark.usefixtures("in_tenant_a")
NO_IDS = (None, 0, -1, 999_999, 2**63 - 1, 2**80)


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag("TAG-1")
    return new_charge_point()


def row() -> tuple[int | None, str, str]:
    reading = MeterValue.objects.get()
    return reading.transaction_id, reading.transaction_ref, reading.matched_by


@pytest.mark.parametrize("transaction_id", NO_IDS)
class TestOpenTransaction:
    def test_reading_belongs_to_the_one_on_its_connector(
        self, charge_point: ChargePoint, transaction_id: int | None
    ) -> None:
        start(charge_point, connector_id=2)
        opened = start(charge_point, connector_id=1).transaction_id
        meter_values(charge_point, transaction_id=transaction_id)
        assert row() == (opened, "" if transaction_id is None else str(transaction_id), "connector")
        live = Transaction.objects.with_latest_reading().get(pk=opened)
        assert live.current_energy_wh == Decimal(500)

    def test_connector_0_is_that_of_the_only_connector(
        self, charge_point: ChargePoint, transaction_id: int | None
    ) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=0)
        opened = start(charge_point).transaction_id
        meter_values(charge_point, connector_id=0, transaction_id=transaction_id)
        assert row()[0] == opened
        assert MeterValue.objects.get().connector_id == 0

    def test_connector_0_of_several_is_nobodys(self, charge_point: ChargePoint, transaction_id: int | None) -> None:
        start(charge_point)
        Connector.objects.create(charge_point=charge_point, connector_id=2)
        meter_values(charge_point, connector_id=0, transaction_id=transaction_id)
        assert row()[0] is None

    def test_reading_of_before_it_began_is_not_its(self, charge_point: ChargePoint, transaction_id: int | None) -> None:
        start(charge_point)
        meter_values(charge_point, transaction_id=transaction_id, timestamp=wire(NOW - MINUTE))
        assert row()[0] is None

    @pytest.mark.parametrize("timestamp", ["", "1970-01-01T00:00:07Z", "2099-01-01T00:00:00Z"])
    def test_time_that_cannot_be_trusted_leaves_the_order_on_the_line(
        self, charge_point: ChargePoint, transaction_id: int | None, timestamp: str
    ) -> None:
        opened = start(charge_point).transaction_id
        meter_values(charge_point, transaction_id=transaction_id, timestamp=timestamp)
        assert row()[0] == opened

    def test_late_reading_belongs_to_what_ran_then(self, charge_point: ChargePoint, transaction_id: int | None) -> None:
        first = start(charge_point).transaction_id
        stop(charge_point, first)
        start(charge_point, now=NOW + 2 * HOUR, meter_start=4000)
        meter_values(charge_point, transaction_id=transaction_id, timestamp=wire(NOW + 30 * MINUTE), now=NOW + 3 * HOUR)
        assert row()[0] == first

    def test_reading_between_two_is_nobodys(self, charge_point: ChargePoint, transaction_id: int | None) -> None:
        first = start(charge_point).transaction_id
        stop(charge_point, first)
        start(charge_point, now=NOW + 3 * HOUR, meter_start=4000)
        meter_values(charge_point, transaction_id=transaction_id, timestamp=wire(NOW + 2 * HOUR), now=NOW + 4 * HOUR)
        assert row()[0] is None

    def test_operator_who_closes_it_gets_its_energy(
        self, charge_point: ChargePoint, transaction_id: int | None
    ) -> None:
        opened = start(charge_point).transaction_id
        meter_values(charge_point, {"value": "1700"}, transaction_id=transaction_id)
        close_by_operator(Transaction.objects.get(pk=opened), NOW + HOUR)
        assert Transaction.objects.get().energy_wh == Decimal(700)

    def test_each_element_goes_by_its_own_time(
        self, charge_point: ChargePoint, tenants: Tenants, transaction_id: int | None
    ) -> None:
        first = start(charge_point).transaction_id
        stop(charge_point, first)
        second = start(charge_point, now=NOW + 2 * HOUR, meter_start=4000).transaction_id
        link = Link(charge_point.tenant_id, charge_point.pk, 1, "alpha/CP-1")
        times = [NOW + 30 * MINUTE, NOW + 90 * MINUTE, NOW + 3 * HOUR]
        elements = [{"timestamp": wire(at), "sampledValue": [{"value": str(n)}]} for n, at in enumerate(times)]
        payload: dict[str, Any] = {"connectorId": 1, "meterValue": elements}
        if transaction_id is not None:
            payload["transactionId"] = transaction_id
        results(inbound(link, "MeterValues", payload))
        found = MeterValue.objects.order_by("timestamp").values_list("transaction_id", flat=True)
        assert list(found) == [first, None, second]


class TestIdOfAnotherTransaction:
    def test_that_of_another_charge_point_counts_as_none(self, charge_point: ChargePoint) -> None:
        elsewhere = start(new_charge_point("CP-2")).transaction_id
        opened = start(charge_point).transaction_id
        meter_values(charge_point, transaction_id=elsewhere)
        assert row() == (opened, str(elsewhere), "connector")

    def test_that_of_another_connector_is_not_believed(self, charge_point: ChargePoint) -> None:
        other = start(charge_point, connector_id=2).transaction_id
        opened = start(charge_point).transaction_id
        meter_values(charge_point, connector_id=1, transaction_id=other)
        assert row() == (opened, str(other), "connector")

    def test_that_of_an_ended_one_is_not_believed_while_another_runs(self, charge_point: ChargePoint) -> None:
        ended = start(charge_point).transaction_id
        stop(charge_point, ended)
        opened = start(charge_point, now=NOW + 2 * HOUR, meter_start=4000).transaction_id
        meter_values(charge_point, transaction_id=ended, now=NOW + 3 * HOUR)
        assert row() == (opened, str(ended), "connector")

    def test_right_id_is_believed_on_connector_0_and_in_whatever_connector_runs_nothing_else(
        self, charge_point: ChargePoint
    ) -> None:
        opened = start(charge_point).transaction_id
        for connector_id in (0, 1, 7):
            meter_values(charge_point, connector_id=connector_id, transaction_id=opened)
        found = set(MeterValue.objects.values_list("transaction_id", "transaction_ref", "matched_by"))
        assert found == {(opened, "", "")}


def test_reading_repeated_with_the_right_id_is_stored_once(charge_point: ChargePoint) -> None:
    opened = start(charge_point).transaction_id
    meter_values(charge_point, transaction_id=-1)
    meter_values(charge_point, transaction_id=opened)
    assert row() == (opened, "-1", "connector")


def test_no_other_tenant_s_transaction_takes_a_reading(charge_point: ChargePoint, tenants: Tenants) -> None:
    elsewhere = start(charge_point).transaction_id

    def act() -> tuple[int | None, str, str]:
        meter_values(new_charge_point(), transaction_id=elsewhere)
        return row()

    assert as_tenant(tenants.tenant_b, act) == (None, str(elsewhere), "")
