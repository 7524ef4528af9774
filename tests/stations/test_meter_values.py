"""Meter values: every reading is kept as sent, the usual measurands in Wh, W and percent beside it (protocol 4.5)."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from ocpp.v16 import call, call_result

from stations.meter_values import normalise, number, sample_key
from stations.models import ChargePoint, MeterValue
from stations.ocpp import core
from tenants.models import Tenant
from tests.stations.rows import MINUTE, NOW, meter_values, new_charge_point, new_id_tag, start, transaction, wire

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"


def sample(value: Any, measurand: str | None = None, **members: Any) -> dict[str, Any]:
    return {"value": value} | ({"measurand": measurand} if measurand else {}) | members


class TestNumber:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("12.34", Decimal("12.34")), ("-5", Decimal(-5)), ("1e3", Decimal(1000)), (" 7 ", Decimal(7)),
            (12.5, Decimal("12.5")), (0, Decimal(0)), (0.1, Decimal("0.1")),
            ("", None), ("NaN", None), ("Infinity", None), ("12,5", None), ("0x10", None), (None, None),
            ("1e999999", None), ("-1e-999999", None), (True, None),
        ],
    )  # fmt: skip
    def test_number_is_a_finite_decimal_or_nothing(self, value: object, expected: Decimal | None) -> None:
        assert number(value) == expected


class TestNormalisation:
    @pytest.mark.parametrize(
        ("reading", "energy_wh"),
        [
            # Without a measurand it is the energy register, without a unit it is Wh.
            (sample("1234"), Decimal(1234)),
            (sample("1234", ENERGY), Decimal(1234)),
            (sample("1234", ENERGY, unit="Wh"), Decimal(1234)),
            (sample("1.234", ENERGY, unit="kWh"), Decimal(1234)),
            (sample("1.234", ENERGY, unit="KWH"), Decimal(1234)),
            (sample("0.0004", ENERGY, unit="kWh"), Decimal("0.400")),
            (sample("1234.5678"), Decimal("1234.568")),
            (sample("-10"), Decimal(-10)),
            (sample("0"), Decimal(0)),
            (sample("5", unit="varh"), None),
            (sample("5", unit="MWh"), None),
            (sample("abc"), None),
            (sample("1e12"), None),
            (sample("999999999999.999"), Decimal("999999999999.999")),
            (sample("5A5A", format="SignedData"), None),
            (sample("12", format="SignedData"), None),
            (sample("12", format="Raw"), Decimal(12)),
            (sample("12", "Energy.Active.Export.Register"), None),
            (sample("12", "Energy.Active.Import.Interval"), None),
            (sample("12", "Energy.Reactive.Import.Register", unit="varh"), None),
            (sample("12", phase="N"), None),
            (sample("12", phase="L1-L2"), None),
        ],
    )
    def test_energy_register_is_normalised_to_wh(self, reading: dict[str, Any], energy_wh: Decimal | None) -> None:
        assert normalise([reading]) == (energy_wh, None, None)

    @pytest.mark.parametrize(
        ("reading", "power_w"),
        [
            (sample("7200", POWER), 7200.0),
            (sample("7200", POWER, unit="W"), 7200.0),
            (sample("7.2", POWER, unit="kW"), 7200.0),
            (sample("-0.5", POWER, unit="kW"), -500.0),
            (sample("7", POWER, unit="VA"), None),
            (sample("7200", "Power.Offered", unit="W"), None),
        ],
    )
    def test_power_is_normalised_to_w(self, reading: dict[str, Any], power_w: float | None) -> None:
        assert normalise([reading]) == (None, power_w, None)

    @pytest.mark.parametrize(
        ("reading", "soc_percent"),
        [
            (sample("42", "SoC"), 42.0),
            (sample("42", "SoC", unit="Percent", location="EV"), 42.0),
            (sample("42.5", "SoC", unit="%"), 42.5),
            (sample("42", "SoC", unit="V"), None),
        ],
    )
    def test_state_of_charge_is_normalised_to_percent(self, reading: dict[str, Any], soc_percent: float | None) -> None:
        assert normalise([reading]) == (None, None, soc_percent)

    @pytest.mark.parametrize("phases", [("L1", "L2", "L3"), ("L1-N", "L2-N", "L3-N")])
    def test_phases_are_summed_where_no_overall_value_is_given(self, phases: tuple[str, ...]) -> None:
        values = ["1000", "2000", "3000.5"]
        energy = [sample(value, phase=phase) for value, phase in zip(values, phases, strict=True)]
        power = [sample(value, POWER, phase=phase) for value, phase in zip(values, phases, strict=True)]
        assert normalise(energy + power) == (Decimal("6000.5"), 6000.5, None)

    def test_phases_of_different_units_are_summed_in_one(self) -> None:
        assert normalise([sample("1", phase="L1", unit="kWh"), sample("500", phase="L2", unit="Wh")])[0] == 1500

    def test_overall_value_wins_over_its_phases(self) -> None:
        assert normalise([sample("1", phase="L1"), sample("2", phase="L2"), sample("3010")])[0] == 3010

    def test_outlet_wins_over_every_other_location(self) -> None:
        assert normalise([sample("900", location="Inlet"), sample("850", location="Outlet")])[0] == 850
        assert normalise([sample("900", location="Inlet"), sample("850")])[0] == 850

    def test_phases_at_the_outlet_win_over_an_overall_value_elsewhere(self) -> None:
        readings = [sample("900", location="Body"), sample("400", phase="L1"), sample("450", phase="L2")]
        assert normalise(readings)[0] == 850

    def test_another_location_counts_where_the_outlet_is_silent(self) -> None:
        assert normalise([sample("900", location="Inlet")])[0] == 900

    @pytest.mark.parametrize("measurand", [ENERGY, POWER, "SoC"])
    @pytest.mark.parametrize("present", ["Sample.Periodic", "Sample.Clock", "Trigger", "Transaction.End", None, "Odd"])
    @pytest.mark.parametrize("before", ["Transaction.Begin", "Interruption.Begin", "Interruption.End"])
    @pytest.mark.parametrize("first", [True, False])
    def test_of_several_contexts_the_present_one_counts_whatever_the_order(
        self, measurand: str, present: str | None, before: str, first: bool
    ) -> None:
        now = sample("55", measurand, **({"context": present} if present else {}))
        values = [sample("20", measurand, context=before), now]
        index = (ENERGY, POWER, "SoC").index(measurand)
        assert normalise(values if first else values[::-1])[index] == 55

    def test_begin_and_end_in_one_element_are_of_its_end(self) -> None:
        begin, end = sample("1000", context="Transaction.Begin"), sample("2000", context="Transaction.End")
        assert normalise([begin, end])[0] == normalise([end, begin])[0] == 2000
        assert normalise([end, sample("1990", context="Sample.Periodic")])[0] == 2000
        assert normalise([begin])[0] == 1000

    def test_of_two_of_one_context_the_last_counts(self) -> None:
        assert normalise([sample("1000"), sample("2000")])[0] == 2000
        by_phase = [sample(value, POWER, phase=phase) for phase in ("L1", "L2") for value in ("5", "7")]
        assert normalise(by_phase)[1] == 14

    def test_readings_of_nothing_usual_give_nothing(self) -> None:
        assert normalise([sample("230", "Voltage"), sample("16", "Current.Import"), sample("50", "Frequency")]) == (
            None, None, None,
        )  # fmt: skip


class TestSampleKey:
    def test_defaults_written_out_or_left_out_are_the_same_reading(self) -> None:
        written_out = sample("1", ENERGY, context="Sample.Periodic", location="Outlet")
        assert sample_key(sample("1")) == sample_key(written_out)

    @pytest.mark.parametrize(
        "member",
        [{"value": "2"}, {"measurand": POWER}, {"context": "Trigger"}, {"phase": "L1"}, {"location": "EV"}],
        ids=lambda member: next(iter(member)),
    )
    def test_each_distinguishing_member_makes_another_reading(self, member: dict[str, str]) -> None:
        assert sample_key(sample("1")) != sample_key(sample("1") | member)

    @pytest.mark.parametrize("value", ["10.0", "1e1", " 10", 10, 10.0])
    def test_same_number_in_other_words_is_the_same_reading(self, value: Any) -> None:
        assert sample_key(sample("10")) == sample_key(sample(value))


@pytest.mark.usefixtures("in_tenant_a")
class TestStorage:
    @pytest.fixture
    def charge_point(self, in_tenant_a: Tenant) -> ChargePoint:
        new_id_tag()
        return new_charge_point()

    def test_element_is_stored_as_sent_beside_what_was_taken_out_of_it(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point).transaction_id
        sampled = [
            sample("1.5", ENERGY, unit="kWh"), sample("7200", POWER), sample("55", "SoC"),
            sample("21.5", "Temperature", unit="Celcius"),
        ]  # fmt: skip
        meter_values(charge_point, *sampled, transaction_id=opened, timestamp=wire(NOW), connector_id=1)
        row = MeterValue.objects.get()
        assert (row.transaction, row.transaction_ref, row.connector_id) == (transaction(opened), "", 1)
        assert (row.timestamp, row.received_at) == (NOW, NOW + MINUTE)
        assert (row.energy_wh, row.power_w, row.soc_percent) == (Decimal(1500), 7200.0, 55.0)
        assert row.sampled_value == sampled

    def test_each_element_is_a_row(self, charge_point: ChargePoint) -> None:
        elements = [{"timestamp": wire(NOW + n * MINUTE), "sampledValue": [sample(str(n))]} for n in range(3)]
        core.meter_values(charge_point, call.MeterValues(1, elements), NOW)
        assert list(MeterValue.objects.order_by("timestamp").values_list("energy_wh", flat=True)) == [0, 1, 2]

    def test_repeated_message_is_stored_once(self, charge_point: ChargePoint) -> None:
        for now in (NOW, NOW + MINUTE):
            meter_values(charge_point, timestamp=wire(NOW), now=now)
        assert MeterValue.objects.count() == 1

    @pytest.mark.parametrize(
        "difference",
        [{"connector_id": 2}, {"timestamp": wire(NOW + MINUTE)}],
        ids=lambda difference: next(iter(difference)),
    )
    def test_same_reading_elsewhere_or_at_another_time_is_stored(
        self, charge_point: ChargePoint, difference: dict[str, Any]
    ) -> None:
        meter_values(charge_point, timestamp=wire(NOW))
        meter_values(charge_point, **{"timestamp": wire(NOW)} | difference)
        assert MeterValue.objects.count() == 2

    @pytest.mark.parametrize("transaction_id", [0, -1, 999_999, 2**63 - 1, 2**80])
    def test_id_that_is_none_of_ours_is_kept_as_text(self, charge_point: ChargePoint, transaction_id: int) -> None:
        start(charge_point, connector_id=2)
        meter_values(charge_point, transaction_id=transaction_id)
        row = MeterValue.objects.get()
        assert (row.transaction, row.transaction_ref, row.matched_by) == (None, str(transaction_id), "")

    def test_transaction_of_another_charge_point_gets_no_readings_from_here(self, charge_point: ChargePoint) -> None:
        elsewhere = start(new_charge_point("CP-2")).transaction_id
        meter_values(charge_point, transaction_id=elsewhere)
        row = MeterValue.objects.get()
        assert (row.transaction, row.transaction_ref) == (None, str(elsewhere))

    def test_readings_after_the_stop_still_belong_to_the_transaction(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point)
        core.stop_transaction(charge_point, call.StopTransaction(2000, wire(NOW), opened.transaction_id), NOW)
        meter_values(charge_point, transaction_id=opened.transaction_id)
        assert MeterValue.objects.get().transaction_id == opened.transaction_id

    @pytest.mark.parametrize("connector_id", [0, 17, -3, 2**40])
    def test_any_connector_is_stored_without_a_transaction(self, charge_point: ChargePoint, connector_id: int) -> None:
        meter_values(charge_point, connector_id=connector_id)
        row = MeterValue.objects.get()
        assert (row.connector_id, row.transaction) == (min(connector_id, 2**31 - 1), None)

    @pytest.mark.parametrize("timestamp", ["", "later"])
    def test_unreadable_time_is_the_time_of_receipt(self, charge_point: ChargePoint, timestamp: str) -> None:
        meter_values(charge_point, timestamp=timestamp)
        assert MeterValue.objects.get().timestamp == NOW + MINUTE

    def test_time_before_the_clock_was_set_is_stored_as_given_with_the_time_of_receipt(
        self, charge_point: ChargePoint
    ) -> None:
        meter_values(charge_point, timestamp="1970-01-01T00:01:00Z")
        row = MeterValue.objects.get()
        assert (row.timestamp, row.received_at) == (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), NOW + MINUTE)

    def test_empty_lists_are_answered_and_leave_no_reading(self, charge_point: ChargePoint) -> None:
        assert core.meter_values(charge_point, call.MeterValues(1, []), NOW) == call_result.MeterValues()
        assert not MeterValue.objects.exists()

    def test_signed_data_is_kept_untouched(self, charge_point: ChargePoint) -> None:
        signed = sample("4F434D467C7B7D" * 200, ENERGY, format="SignedData", context="Transaction.End")
        meter_values(charge_point, signed)
        row = MeterValue.objects.get()
        assert (row.sampled_value, row.energy_wh) == ([signed], None)

    def test_value_that_is_no_number_is_kept_as_text(self, charge_point: ChargePoint) -> None:
        meter_values(charge_point, sample("n/a"), sample("7000", POWER))
        row = MeterValue.objects.get()
        assert (row.energy_wh, row.power_w, row.sampled_value[0]["value"]) == (None, 7000.0, "n/a")
