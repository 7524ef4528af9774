"""StopTransaction: never refused, the first one counts, energy only from what is sound (protocol 4.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from ocpp.v16 import call_result

from stations.models import ChargePoint, MeterValue, Transaction
from tenants.models import Tenant
from tests.conftest import Tenants
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
    transaction,
    wire,
)

pytestmark = pytest.mark.usefixtures("in_tenant_a")
NO_INFO = call_result.StopTransaction()


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag("TAG-1", parent_id_tag="FLEET")
    return new_charge_point()


@pytest.fixture
def running(charge_point: ChargePoint) -> int:
    """The id of a transaction that began at 1000 Wh."""
    return start(charge_point, meter_start=1000).transaction_id


class TestStop:
    def test_stop_closes_the_transaction_with_what_the_charge_point_said(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        assert stop(charge_point, running, meter_stop=3500, timestamp=wire(NOW + 50 * MINUTE)) == NO_INFO
        tx = transaction(running)
        assert (tx.active, tx.stopped_at, tx.stopped_received_at) == (False, NOW + 50 * MINUTE, NOW + HOUR)
        assert (tx.meter_stop_wh, tx.energy_wh, tx.stop_received, tx.flags) == (3500, Decimal(2500), True, [])
        assert (tx.stop_reason, tx.stop_id_tag, tx.stop_id_tag_status) == ("Local", "", "")

    @pytest.mark.parametrize("reason", ["EVDisconnected", "DeAuthorized", "PowerLoss", "BecauseWeCan"])
    def test_reason_is_kept_as_sent(self, charge_point: ChargePoint, running: int, reason: str) -> None:
        stop(charge_point, running, reason=reason)
        assert transaction(running).stop_reason == reason

    def test_stop_in_the_past_keeps_its_own_time(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point, timestamp="2026-02-27T08:00:00Z").transaction_id
        stop(charge_point, opened, timestamp="2026-02-27T09:30:00Z")
        tx = transaction(opened)
        assert (tx.started_at, tx.stopped_at, tx.flags) == (
            datetime(2026, 2, 27, 8, 0, tzinfo=UTC), datetime(2026, 2, 27, 9, 30, tzinfo=UTC), [],
        )  # fmt: skip

    @pytest.mark.parametrize("timestamp", ["", "nonsense"])
    def test_unreadable_time_becomes_the_time_of_receipt_and_is_flagged(
        self, charge_point: ChargePoint, running: int, timestamp: str
    ) -> None:
        stop(charge_point, running, timestamp=timestamp)
        tx = transaction(running)
        assert (tx.stopped_at, tx.flags) == (NOW + HOUR, ["clock_suspect"])

    def test_refused_transaction_is_stopped_with_its_energy(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point, id_tag="NOBODY", meter_start=0).transaction_id
        stop(charge_point, opened, meter_stop=80, reason="DeAuthorized")
        tx = transaction(opened)
        assert (tx.energy_wh, tx.stop_reason, tx.flags) == (Decimal(80), "DeAuthorized", ["id_tag_refused"])

    def test_transaction_closed_by_a_later_start_is_still_answered(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        start(charge_point, now=NOW + HOUR)
        assert stop(charge_point, running, id_tag="TAG-1").id_tag_info["status"] == "Accepted"


class TestIdTagInfo:
    @pytest.mark.parametrize("id_tag", ["TAG-1", "tag-1"])
    def test_starter_is_accepted_in_any_letter_case(self, charge_point: ChargePoint, running: int, id_tag: str) -> None:
        assert stop(charge_point, running, id_tag=id_tag).id_tag_info == {"parentIdTag": "FLEET", "status": "Accepted"}
        assert transaction(running).stop_id_tag == id_tag

    def test_starter_is_accepted_even_if_blocked_since(self, charge_point: ChargePoint, running: int) -> None:
        tag = new_id_tag("OTHER")
        opened = start(charge_point, id_tag="OTHER", connector_id=2).transaction_id
        tag.blocked = True
        tag.save()
        assert stop(charge_point, opened, id_tag="OTHER").id_tag_info["status"] == "Accepted"

    def test_another_tag_of_the_group_is_accepted(self, charge_point: ChargePoint, running: int) -> None:
        new_id_tag("TAG-2", parent_id_tag="fleet", expiry_date=NOW - HOUR)
        assert stop(charge_point, running, id_tag="TAG-2").id_tag_info["status"] == "Accepted"
        assert transaction(running).stop_id_tag_status == "Accepted"

    @pytest.mark.parametrize(("id_tag", "status"), [("NOBODY", "Invalid"), ("BLOCKED", "Blocked")])
    def test_stranger_gets_its_own_status_and_the_stop_stands(
        self, charge_point: ChargePoint, running: int, id_tag: str, status: str
    ) -> None:
        new_id_tag("BLOCKED", blocked=True, parent_id_tag="ELSE")
        assert stop(charge_point, running, id_tag=id_tag).id_tag_info["status"] == status
        tx = transaction(running)
        assert (tx.active, tx.stop_id_tag, tx.stop_id_tag_status) == (False, id_tag, status)

    def test_tags_without_a_group_are_not_of_one_group(self, charge_point: ChargePoint) -> None:
        new_id_tag("LONE-1")
        new_id_tag("LONE-2", blocked=True)
        opened = start(charge_point, id_tag="LONE-1").transaction_id
        assert stop(charge_point, opened, id_tag="LONE-2").id_tag_info["status"] == "Blocked"

    def test_starter_that_was_refused_is_not_accepted_at_the_stop(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point, id_tag="NOBODY").transaction_id
        assert stop(charge_point, opened, id_tag="NOBODY").id_tag_info["status"] == "Invalid"


class TestRepetition:
    def test_repeated_stop_is_answered_again_and_changes_nothing(self, charge_point: ChargePoint, running: int) -> None:
        first = stop(charge_point, running, id_tag="TAG-1")
        before = Transaction.objects.values().get()
        assert stop(charge_point, running, id_tag="TAG-1", timestamp=wire(NOW + HOUR), now=NOW + 2 * HOUR) == first
        assert Transaction.objects.values().get() == before

    def test_repeated_stop_with_other_data_keeps_the_first_and_is_flagged(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        stop(charge_point, running, meter_stop=3500)
        assert stop(charge_point, running, meter_stop=9999) == NO_INFO
        tx = transaction(running)
        assert (tx.meter_stop_wh, tx.energy_wh, tx.flags) == (3500, Decimal(2500), ["stop_differs"])
        stop(charge_point, running, meter_stop=9999)
        assert transaction(running).flags == ["stop_differs"]

    def test_repeated_stop_without_a_readable_time_is_not_a_difference(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        stop(charge_point, running, timestamp="")
        stop(charge_point, running, timestamp="", now=NOW + 2 * HOUR)
        assert transaction(running).flags == ["clock_suspect"]

    def test_repeated_transaction_data_is_stored_once(self, charge_point: ChargePoint, running: int) -> None:
        data = [{"timestamp": wire(NOW), "sampledValue": [{"value": "1000", "context": "Transaction.Begin"}]}]
        stop(charge_point, running, transaction_data=data)
        stop(charge_point, running, transaction_data=data)
        assert MeterValue.objects.count() == 1


class TestStopWithoutStart:
    @pytest.mark.parametrize("transaction_id", [999_999, 0, -1, -77, 2**31, 2**63 - 1, 2**80])
    def test_unknown_id_is_answered_and_kept_as_an_orphan(self, charge_point: ChargePoint, transaction_id: int) -> None:
        assert stop(charge_point, transaction_id, meter_stop=4200) == NO_INFO
        tx = Transaction.objects.get()
        assert (tx.orphan_ref, tx.flags, tx.energy_wh) == (str(transaction_id), ["orphan_stop"], None)
        assert (tx.active, tx.stopped_at, tx.meter_stop_wh, tx.stop_received) == (False, NOW + HOUR, 4200, True)

    @pytest.mark.parametrize("transaction_id", [999_999, 0, -1, 2**63 - 1])
    def test_repeated_orphan_is_stored_once(self, charge_point: ChargePoint, transaction_id: int) -> None:
        for now in (NOW + HOUR, NOW + 2 * HOUR):
            stop(charge_point, transaction_id, id_tag="TAG-1", timestamp=wire(NOW), now=now)
        assert Transaction.objects.count() == 1

    def test_repeated_orphan_without_a_readable_time_is_stored_once(self, charge_point: ChargePoint) -> None:
        for now in (NOW + HOUR, NOW + 2 * HOUR):
            stop(charge_point, 999_999, timestamp="", now=now)
        assert Transaction.objects.count() == 1

    def test_orphan_answers_the_status_of_its_id_tag(self, charge_point: ChargePoint) -> None:
        assert stop(charge_point, 999_999, id_tag="TAG-1").id_tag_info["status"] == "Accepted"
        assert stop(charge_point, 999_998, id_tag="NOBODY").id_tag_info["status"] == "Invalid"

    def test_orphan_keeps_its_transaction_data(self, charge_point: ChargePoint) -> None:
        data = [{"timestamp": wire(NOW), "sampledValue": [{"value": "4100"}]}]
        stop(charge_point, 999_999, transaction_data=data)
        assert MeterValue.objects.get().transaction == Transaction.objects.get()

    @pytest.mark.parametrize("transaction_id", [999_999, 77])
    def test_id_of_nobody_is_never_applied_to_a_transaction_that_the_charge_point_calls_by_its_own(
        self, charge_point: ChargePoint, running: int, transaction_id: int
    ) -> None:
        meter_values(charge_point, transaction_id=running)
        stop(charge_point, transaction_id)
        assert transaction(running).active
        assert Transaction.objects.get(orphan_ref=str(transaction_id)).flags == ["orphan_stop"]

    def test_id_of_another_charge_point_is_an_orphan_here_and_untouched_there(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        other = new_charge_point("CP-2")
        assert stop(other, running) == NO_INFO
        assert transaction(running).active
        assert Transaction.objects.get(charge_point=other).orphan_ref == str(running)

    def test_id_of_another_tenant_is_an_orphan_here_and_untouched_there(
        self, charge_point: ChargePoint, running: int, tenants: Tenants
    ) -> None:
        def act() -> str:
            stop(new_charge_point("CP-1"), running)
            return Transaction.objects.get().orphan_ref

        assert as_tenant(tenants.tenant_b, act) == str(running)
        assert transaction(running).active


class TestStopWithMinusOne:
    """A charge point sends -1 when our answer to its StartTransaction never reached it (errata v4.0 3.18)."""

    def test_stop_belongs_to_the_one_open_start_of_its_id_tag(self, charge_point: ChargePoint, running: int) -> None:
        assert stop(charge_point, -1, id_tag="tag-1").id_tag_info["status"] == "Accepted"
        tx = transaction(running)
        assert (tx.active, tx.energy_wh, tx.flags) == (False, Decimal(2500), [])

    def test_repeated_stop_makes_no_orphan_and_closes_nothing_else(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        stop(charge_point, -1, id_tag="TAG-1")
        later = start(charge_point, connector_id=2, now=NOW + 10 * MINUTE).transaction_id
        stop(charge_point, -1, id_tag="TAG-1", timestamp=wire(NOW + HOUR), now=NOW + 2 * HOUR)
        assert transaction(later).active
        assert Transaction.objects.count() == 2
        assert transaction(running).flags == []

    def test_without_id_tag_it_belongs_to_the_only_one_that_it_fits(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        stop(charge_point, -1)
        tx = transaction(running)
        assert (tx.active, tx.energy_wh, tx.flags, tx.matched_by) == (False, Decimal(2500), [], "only_candidate")

    def test_in_doubt_between_two_it_is_an_orphan(self, charge_point: ChargePoint, running: int) -> None:
        start(charge_point, connector_id=2)
        stop(charge_point, -1, id_tag="TAG-1")
        assert Transaction.objects.filter(stopped_at__isnull=True).count() == 2
        assert Transaction.objects.filter(orphan_ref="-1").count() == 1

    @pytest.mark.parametrize(
        "facts", [{"meter_stop": 999}, {"timestamp": wire(NOW - MINUTE)}, {"id_tag": "OTHER"}],
        ids=lambda facts: next(iter(facts)),
    )  # fmt: skip
    def test_start_that_does_not_fit_is_not_stopped(
        self, charge_point: ChargePoint, running: int, facts: dict[str, Any]
    ) -> None:
        stop(charge_point, -1, **{"id_tag": "TAG-1"} | facts)
        assert transaction(running).active


class TestEnergy:
    @pytest.mark.parametrize("meter_stop", [999, 0, -1])
    def test_stop_below_start_is_stored_with_unknown_energy_and_flagged(
        self, charge_point: ChargePoint, running: int, meter_stop: int
    ) -> None:
        stop(charge_point, running, meter_stop=meter_stop)
        tx = transaction(running)
        assert (tx.meter_stop_wh, tx.energy_wh, tx.flags) == (meter_stop, None, ["negative_energy"])

    @pytest.mark.parametrize("meter_stop", [10**13, 2**62])
    def test_stop_beyond_belief_is_stored_with_unknown_energy_and_flagged(
        self, charge_point: ChargePoint, running: int, meter_stop: int
    ) -> None:
        assert stop(charge_point, running, meter_stop=meter_stop) == NO_INFO
        tx = transaction(running)
        assert (tx.meter_stop_wh, tx.energy_wh, tx.flags) == (meter_stop, None, ["energy_beyond_belief"])

    def test_energy_is_then_taken_from_sound_transaction_data(self, charge_point: ChargePoint, running: int) -> None:
        data = [
            {"timestamp": wire(NOW), "sampledValue": [{"value": "1000", "context": "Transaction.Begin"}]},
            {"timestamp": wire(NOW + HOUR), "sampledValue": [{"value": "1.75", "unit": "kWh"}]},
        ]
        stop(charge_point, running, meter_stop=-1, transaction_data=data)
        tx = transaction(running)
        assert (tx.energy_wh, tx.flags) == (Decimal(750), ["negative_energy", "energy_from_meter_values"])

    def test_energy_is_then_taken_from_the_last_meter_values(self, charge_point: ChargePoint, running: int) -> None:
        meter_values(charge_point, {"value": "1600"}, transaction_id=running, now=NOW + 2 * MINUTE)
        meter_values(charge_point, {"value": "1400"}, transaction_id=running, now=NOW + MINUTE)
        stop(charge_point, running, meter_stop=-1)
        assert transaction(running).energy_wh == Decimal(600)

    def test_reading_below_the_start_is_no_energy(self, charge_point: ChargePoint, running: int) -> None:
        meter_values(charge_point, {"value": "20"}, transaction_id=running)
        stop(charge_point, running, meter_stop=-1)
        tx = transaction(running)
        assert (tx.energy_wh, tx.flags) == (None, ["negative_energy"])

    def test_no_energy_at_all_is_zero_and_sound(self, charge_point: ChargePoint, running: int) -> None:
        stop(charge_point, running, meter_stop=1000)
        tx = transaction(running)
        assert (tx.energy_wh, tx.flags) == (Decimal(0), [])

    def test_meter_that_starts_at_zero_for_each_transaction_is_sound(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point, meter_start=0).transaction_id
        stop(charge_point, opened, meter_stop=7200)
        assert transaction(opened).energy_wh == Decimal(7200)


class TestTransactionData:
    def test_readings_that_meter_values_brought_already_are_not_stored_again(
        self, charge_point: ChargePoint, running: int
    ) -> None:
        meter_values(charge_point, {"value": "1500"}, transaction_id=running, now=NOW + MINUTE)
        data = [
            {
                "timestamp": wire(NOW + MINUTE),
                "sampledValue": [
                    # The same reading with its defaults written out, and one that is new.
                    {"value": "1500", "measurand": "Energy.Active.Import.Register", "context": "Sample.Periodic"},
                    {"value": "11000", "measurand": "Power.Active.Import"},
                ],
            },
            {"timestamp": wire(NOW + HOUR), "sampledValue": [{"value": "3500", "context": "Transaction.End"}]},
        ]
        stop(charge_point, running, transaction_data=data)
        stored = MeterValue.objects.order_by("timestamp", "id").values_list("timestamp", "energy_wh", "power_w")
        assert list(stored) == [
            (NOW + MINUTE, Decimal(1500), None), (NOW + MINUTE, None, 11000.0), (NOW + HOUR, Decimal(3500), None),
        ]  # fmt: skip
        assert set(MeterValue.objects.values_list("transaction", flat=True)) == {running}

    def test_a_thousand_elements_are_stored(self, charge_point: ChargePoint, running: int) -> None:
        data = [
            {"timestamp": wire(NOW + second * MINUTE / 60), "sampledValue": [{"value": str(1000 + second)}]}
            for second in range(1000)
        ]
        stop(charge_point, running, transaction_data=data)
        assert MeterValue.objects.filter(transaction=running).count() == 1000
