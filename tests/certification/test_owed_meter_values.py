"""MeterValues of every measurand, context, phase, location, unit and format: stored and shown as sent (OCPP 1.6, 7)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.certification.case import Case

VALUES = {
    "measurand": [
        "Current.Export", "Current.Import", "Current.Offered", "Energy.Active.Export.Register",
        "Energy.Active.Import.Register", "Energy.Reactive.Export.Register", "Energy.Reactive.Import.Register",
        "Energy.Active.Export.Interval", "Energy.Active.Import.Interval", "Energy.Reactive.Export.Interval",
        "Energy.Reactive.Import.Interval", "Frequency", "Power.Active.Export", "Power.Active.Import", "Power.Factor",
        "Power.Offered", "Power.Reactive.Export", "Power.Reactive.Import", "RPM", "SoC", "Temperature", "Voltage",
    ],
    "context": [
        "Interruption.Begin", "Interruption.End", "Other", "Sample.Clock", "Sample.Periodic", "Transaction.Begin",
        "Transaction.End", "Trigger",
    ],
    "phase": ["L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1"],
    "location": ["Body", "Cable", "EV", "Inlet", "Outlet"],
    "unit": [
        "Wh", "kWh", "varh", "kvarh", "W", "kW", "VA", "kVA", "var", "kvar", "A", "V", "K", "Celcius", "Celsius",
        "Fahrenheit", "Percent",
    ],
    "format": ["Raw", "SignedData"],
}  # fmt: skip
# What real charge points send beside.
UNLISTED = {"measurand": ["Current.Mood"], "context": ["Weekly"], "unit": ["Hertz", "C", "%", "kW·h"], "phase": ["L4"]}
SINGLE = [(member, value) for table in (VALUES, UNLISTED) for member, values in table.items() for value in values]


async def stored(case: Case, tx: int) -> list[dict[str, Any]]:
    return list((await case.get(f"transactions/{tx}/meter-values/"))["results"])


def test_lists_are_those_of_the_standard() -> None:
    assert {member: len(values) for member, values in VALUES.items()} == {
        "measurand": 22, "context": 8, "phase": 10, "location": 5, "unit": 17, "format": 2,
    }  # fmt: skip


@pytest.mark.parametrize("member", VALUES)
async def test_every_value_of_the_standard_is_no_deviation(case: Case, member: str) -> None:
    tx = await case.start()
    sampled = [{"value": "16", member: value} for value in VALUES[member]]
    assert await case.cp.meter_values(1, tx, sampled=sampled) == {}
    (row,) = await stored(case, tx)
    assert row["sampled_value"] == sampled
    assert (await case.charge_point())["deviations"] == {}


@pytest.mark.parametrize(("member", "value"), SINGLE, ids=[f"{member}-{value}" for member, value in SINGLE])
async def test_sampled_value_is_kept_as_sent(case: Case, member: str, value: str) -> None:
    tx = await case.start()
    sampled = [{"value": "16.25", member: value}]
    assert await case.cp.meter_values(1, tx, sampled=sampled) == {}
    (row,) = await stored(case, tx)
    assert (row["sampled_value"], row["connector_id"]) == (sampled, 1)


async def test_every_combination_in_one_element(case: Case) -> None:
    tx = await case.start()
    sampled = [
        {"value": str(number), "context": "Trigger", "format": "Raw", "measurand": measurand, "phase": phase,
         "location": "Inlet", "unit": "W"}
        for number, (measurand, phase) in enumerate((m, p) for m in VALUES["measurand"] for p in VALUES["phase"])
    ]  # fmt: skip
    assert await case.cp.meter_values(1, tx, sampled=sampled) == {}
    (row,) = await stored(case, tx)
    assert row["sampled_value"] == sampled


async def test_operator_sees_energy_power_and_state_of_charge(case: Case) -> None:
    tx = await case.start(meter_start=1000)
    at = datetime.now(UTC)
    sampled = [
        {"value": "1.75", "measurand": "Energy.Active.Import.Register", "unit": "kWh"},
        {"value": "7.4", "measurand": "Power.Active.Import", "unit": "kW"},
        {"value": "63", "measurand": "SoC", "unit": "Percent", "location": "EV"},
    ]
    await case.cp.meter_values(1, tx, at=at, sampled=sampled)
    (row,) = await stored(case, tx)
    assert (float(row["energy_wh"]), float(row["power_w"]), float(row["soc_percent"])) == (1750, 7400, 63)
    seen = await case.transaction(tx)
    assert (float(seen["energy_wh"]), float(seen["power_w"]), seen["active"]) == (750, 7400, True)


async def test_main_meter_without_transaction_is_answered(case: Case) -> None:
    assert await case.cp.meter_values(0, None, 123456) == {}


async def test_signed_value_is_kept_untouched(case: Case) -> None:
    tx = await case.start()
    signed = "4F434D467C" * 300
    await case.cp.meter_values(1, tx, sampled=[{"value": signed, "format": "SignedData", "context": "Transaction.End"}])
    (row,) = await stored(case, tx)
    assert row["sampled_value"][0]["value"] == signed
    assert row["energy_wh"] is None
