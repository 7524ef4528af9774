"""A repeated MeterValues is recognised by what it means, and nothing else is taken for a repetition."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from csms.ocppj.frames import dumps
from stations import same_reading
from stations.models import ChargePoint, MeterValue
from stations.same_reading import number_text
from tenants.models import Tenant
from tests.stations.rows import NOW, meter_values, new_charge_point, wire

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"
# What is sent first, and the same in other words.
FIRST: list[dict[str, Any]] = [
    {"value": "1500", "unit": "Wh"},
    {"value": "7200.5", "measurand": POWER, "unit": "W"},
    {"value": "230", "measurand": "Voltage", "phase": "L1-N", "unit": "V"},
]
SAME = {
    "members in another order": [dict(reversed(sample.items())) for sample in FIRST],
    "samples in another order": FIRST[::-1],
    "a zero behind the point": [{**sample, "value": f"{float(sample['value']):.2f}"} for sample in FIRST],
    "numbers instead of texts": [{**sample, "value": float(sample["value"])} for sample in FIRST],
    "whole numbers instead of texts": [{**FIRST[0], "value": 1500}, *FIRST[1:]],
    "an exponent": [{**FIRST[0], "value": "1.5E+3"}, *FIRST[1:]],
    "defaults written out": [
        {"context": "Sample.Periodic", "format": "Raw", "location": "Outlet", "measurand": ENERGY} | sample
        for sample in FIRST
    ],
    "units left out": [{name: said for name, said in sample.items() if name != "unit"} for sample in FIRST],
    "empty members": [{"phase": "", "context": ""} | sample for sample in FIRST],
    "null members": [{"phase": None} | sample for sample in FIRST],
}
OTHER = {
    "another value": [{**FIRST[0], "value": "1501"}, *FIRST[1:]],
    "another unit": [{**FIRST[0], "unit": "kWh"}, *FIRST[1:]],
    "another context": [{**FIRST[0], "context": "Transaction.Begin"}, *FIRST[1:]],
    "another phase": [*FIRST[:2], {**FIRST[2], "phase": "L2-N"}],
    "another location": [{**FIRST[0], "location": "Inlet"}, *FIRST[1:]],
    "another format": [{**FIRST[0], "format": "SignedData"}, *FIRST[1:]],
    "values of two measurands exchanged": [{**FIRST[0], "value": "7200.5"}, {**FIRST[1], "value": "1500"}, FIRST[2]],
    "one sample less": FIRST[:2],
    "one sample twice": [*FIRST, FIRST[0]],
    "a member that nobody knows": [{**FIRST[0], "vendorNote": "x"}, *FIRST[1:]],
}

# Of a single register, of FIRST, of nothing.
STABLE = (-7261838078265851930, 6255842161572351171, 442698579987815471)


def digest(sampled: list[dict[str, Any]]) -> int:
    return same_reading.digest(dumps(sampled), len(sampled))


@pytest.mark.parametrize("words", SAME.values(), ids=SAME)
def test_same_list_in_other_words_has_the_same_digest(words: list[dict[str, Any]]) -> None:
    assert digest(words) == digest(FIRST)


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_another_list_has_another_digest(other: list[dict[str, Any]]) -> None:
    assert digest(other) != digest(FIRST)


@pytest.mark.parametrize("value", ['say "1"', "back\\slash", "a,b", "", "},{", "ünï", '","value":"7'])
def test_value_that_is_no_number_counts_as_it_is(value: str) -> None:
    lists = [[{"value": value}], [{"value": f"{value}x"}], [{"value": value}, {"value": "1"}]]
    assert len({digest(sampled) for sampled in lists}) == 3
    assert digest([{"value": value}]) == digest([{"value": value, "format": "Raw"}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10.0", "10"), ("-0", "0"), ("0.000", "0"), ("007", "7"), (".5", "0.5"), ("+1", "1"), ("1e3", "1000"),
        ("NaN", "NaN"), ("n/a", "n/a"), ("1e999999", "1e999999"),
        ("123456789012345678901.10", "123456789012345678901.1"),
    ],
)  # fmt: skip
def test_number_has_one_form(value: str, text: str) -> None:
    assert number_text(value) == text


def test_digest_is_stable_and_fits_64_signed_bits() -> None:
    # Stored rows carry it: a digest that changes would let every repetition in again.
    assert digest([{"value": "1500"}]) == STABLE[0]
    assert digest(FIRST) == STABLE[1]
    assert digest([]) == STABLE[2]


def test_upgrade_gives_stored_rows_the_digest_of_the_lane() -> None:
    upgrade = import_module("stations.migrations.0013_same_meaning")
    for sampled in [FIRST, *SAME.values(), *OTHER.values(), [], [{"value": "ünï"}], [{"value": {"odd": 1}}]]:
        assert upgrade.digest(sampled) == digest(sampled)


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


@pytest.mark.parametrize("words", SAME.values(), ids=SAME)
def test_message_repeated_in_other_words_is_stored_once(charge_point: ChargePoint, words: list[dict[str, Any]]) -> None:
    meter_values(charge_point, *FIRST, timestamp="2026-03-01T12:00:00.000Z")
    meter_values(charge_point, *words, timestamp="2026-03-01T13:00:00+01:00")
    assert MeterValue.objects.get().sampled_value == FIRST


def test_reading_of_another_meaning_at_the_same_instant_is_stored(charge_point: ChargePoint) -> None:
    for sampled in (FIRST, *OTHER.values()):
        meter_values(charge_point, *sampled, timestamp=wire(NOW))
    assert MeterValue.objects.count() == 1 + len(OTHER)
