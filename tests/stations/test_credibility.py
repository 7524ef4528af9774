"""Energy as an operator would judge it: no figure is made up, none is negative, and what cannot be is flagged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stations import credibility
from stations.models import ChargePoint, Transaction
from stations.transactions import close_by_operator
from tenants.models import ApiKey, Tenant
from tests.stations.api.conftest import Api
from tests.stations.rows import NOW, meter_values, new_charge_point, new_id_tag, start, stop, transaction, wire

MEGAWATT = 1_000_000
HOUR = 3600
ROUND = 2**32


@pytest.mark.parametrize(("start_wh", "stop_wh", "seconds", "registers", "energy", "flags"), [
    (1000, 12_000, HOUR, [], 11_000, []),
    (1000, 1000, HOUR, [], 0, []),
    (0, ROUND - 1, HOUR, [], ROUND - 1, ["energy_beyond_belief"]),
    (0, ROUND - 1, HOUR, [500, 9000], 9000, ["energy_beyond_belief", "energy_from_meter_values"]),
    (0, 2_000_000, HOUR, [], 2_000_000, ["energy_beyond_belief"]),
    (ROUND - 7296, 1500, HOUR, [], 8796, ["register_rolled_over"]),
    (2**31 - 1000, 500, HOUR, [], 1500, ["register_rolled_over"]),
    (5000, 10, HOUR, [], None, ["negative_energy"]),
    (5000, -1, HOUR, [5100, 6200], 1200, ["negative_energy", "energy_from_meter_values"]),
    (5000, None, HOUR, [5100, 6200], 1200, ["negative_energy", "energy_from_meter_values"]),
    (250, 251_000, HOUR, [250_100, 251_000], 900, ["units_differ", "energy_from_meter_values"]),
    (250, 251, HOUR, [250_100, 251_000], 900, ["units_differ", "energy_from_meter_values"]),
    (5000, 100, HOUR, [6000, 50, 100], None, ["register_restarted", "negative_energy"]),
])  # fmt: skip
def test_stopped(
    start_wh: int, stop_wh: int | None, seconds: int, registers: list[int], energy: int | None, flags: list[str]
) -> None:
    judged = credibility.judged(start_wh, stop_wh, seconds, [Decimal(value) for value in registers], MEGAWATT)
    assert (judged.energy_wh, [str(flag.value) for flag in judged.flags]) == (energy, flags)


def test_the_parts_of_a_register_that_began_again() -> None:
    registers = [Decimal(value) for value in (1000, 5000, 200, 3000)]
    assert credibility.falls(registers)
    assert credibility.sum_of_parts(registers) == 4000 + 200 + 2800


REGISTERS = st.integers(-(2**33), 2**33)


@given(REGISTERS, st.none() | REGISTERS, st.integers(-HOUR, 1000 * HOUR), st.lists(REGISTERS, max_size=6))
def test_no_energy_is_negative(start_wh: int, stop_wh: int | None, seconds: int, registers: list[int]) -> None:
    readings = [Decimal(value) for value in registers]
    judged = credibility.judged(start_wh, stop_wh, seconds, readings, MEGAWATT)
    assert judged.energy_wh is None or judged.energy_wh >= 0
    # Held back whenever the figure is not the plain difference of two that can be.
    if stop_wh is None or not 0 <= stop_wh - start_wh <= MEGAWATT * (max(seconds, 0) + 120) / HOUR:
        assert judged.flags
    assert all((credibility.so_far(start_wh, value, seconds, MEGAWATT) or 0) >= 0 for value in readings)


# --- as REST and the dashboard show it --------------------------------------------------------------------------------
@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag()
    return new_charge_point()


def shown(tenant: Tenant, transaction_id: int) -> dict[str, Any]:
    _, key = ApiKey.issue(tenant, "reads", ("read",))
    found: dict[str, Any] = Api(key)("GET", f"transactions/{transaction_id}/").json()
    return found


@pytest.mark.parametrize(("start_wh", "reading", "energy"), [
    (5000, "10", None), (1000, "1600", 600), (ROUND - 7296, "1500", 8796), (0, str(ROUND - 1), None),
])  # fmt: skip
def test_live_energy_is_known_or_not_but_never_negative(
    charge_point: ChargePoint, in_tenant_a: Tenant, start_wh: int, reading: str, energy: int | None
) -> None:
    now = datetime.now(UTC)
    running = start(charge_point, meter_start=start_wh, now=now - timedelta(minutes=10)).transaction_id
    meter_values(charge_point, {"value": reading}, transaction_id=running, now=now)
    assert shown(in_tenant_a, running)["energy_wh"] == energy


def test_a_stop_beyond_belief_keeps_its_figure_and_is_flagged(charge_point: ChargePoint, in_tenant_a: Tenant) -> None:
    running = start(charge_point, meter_start=0).transaction_id
    stop(charge_point, running, meter_stop=ROUND - 1)
    seen = shown(in_tenant_a, running)
    assert (seen["meter_stop_wh"], seen["energy_wh"], seen["flags"]) == (
        ROUND - 1, ROUND - 1, ["energy_beyond_belief"],
    )  # fmt: skip


def test_a_start_in_kilowatt_hours_is_flagged_and_the_readings_count(charge_point: ChargePoint) -> None:
    running = start(charge_point, meter_start=250).transaction_id
    for minutes, value in ((1, "250100"), (30, "251000")):
        meter_values(charge_point, {"value": value}, transaction_id=running, now=NOW + timedelta(minutes=minutes))
    stop(charge_point, running, meter_stop=251_000)
    tx: Transaction = transaction(running)
    assert (tx.energy_wh, tx.flags) == (Decimal(900), ["units_differ", "energy_from_meter_values"])


def test_a_reading_from_the_future_is_not_the_latest(charge_point: ChargePoint, in_tenant_a: Tenant) -> None:
    now = datetime.now(UTC)
    running = start(charge_point, now=now - timedelta(minutes=10)).transaction_id
    ahead = wire(now + timedelta(hours=6))
    meter_values(charge_point, {"value": "9000"}, transaction_id=running, timestamp=ahead, now=now)
    assert shown(in_tenant_a, running)["energy_wh"] == 8000
    meter_values(charge_point, {"value": "1700"}, transaction_id=running, now=now)
    assert shown(in_tenant_a, running)["energy_wh"] == 700
    close_by_operator(transaction(running), now)
    assert transaction(running).energy_wh == 700
