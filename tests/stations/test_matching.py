"""What belongs together is put together: bursts of charge points that do not know their transactionIds.

Each habit is played through the lane as an offline charge point sends it: whole transactions at once, in one batch or
cut anywhere, with what was not answered sent again in other words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from stations.dispatch import InboundCall, Link, answer_batch
from stations.models import MeterValue, Transaction
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.lane_calls import inbound, new_link
from tests.stations.rows import new_id_tag, wire

STATIONS, TRANSACTIONS, READINGS = 4, 8, 4
BEGIN = datetime(2026, 11, 1, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Charge:
    """One transaction as the charge point lived it."""

    connector_id: int
    id_tag: str
    started_at: datetime
    meter_start_wh: int
    readings: list[tuple[datetime, int]] = field(default_factory=list)
    stopped_at: datetime = BEGIN
    meter_stop_wh: int = 0


@dataclass(frozen=True)
class Habit:
    """How a charge point writes what it has queued; `id_of` gives the id for the first transaction (0), the second …"""

    one_card: bool = False
    one_meter: bool = False
    with_tag: bool = True
    id_of: Callable[[int], int | None] = lambda number: -1


HABITS = {
    "-1, another card each": Habit(),
    "-1, one card on both connectors": Habit(one_card=True),
    "-1, no idTag in the stop": Habit(with_tag=False, one_card=True),
    "-1, one card and one meter for both connectors": Habit(one_card=True, one_meter=True),
    "0": Habit(id_of=lambda number: 0),
    "an id of nobody": Habit(id_of=lambda number: 900_000 + number, one_card=True),
    # Those that the database gives while the burst is played, to others and to this one.
    "an id of another": Habit(id_of=lambda number: 1 + number * 5 % (STATIONS * TRANSACTIONS), one_card=True),
    "an id of another, without tag": Habit(id_of=lambda number: 1 + number * 3, with_tag=False, one_card=True),
}


def at_main(moment: datetime) -> int:
    """The register of a meter that counts for both connectors, in Wh."""
    return 7000 + int((moment - BEGIN).total_seconds())


class Station:
    """Lives transactions that overlap on its two connectors, and writes them down in the order of their times."""

    def __init__(self, link: Link, name: str, habit: Habit, seed: int, *, count: int = TRANSACTIONS) -> None:
        self.link, self.habit = link, habit
        chance = random.Random(seed)
        self.charges: list[Charge] = []
        registers = {1: chance.randrange(10_000), 2: 50_000_000 + chance.randrange(10_000)}
        clocks = {1: BEGIN, 2: BEGIN + 7 * MINUTE}
        for number in range(count):
            connector_id = 1 + number % 2
            at, register = clocks[connector_id], registers[connector_id]
            card = f"{name}-CARD" if habit.one_card else f"{name}-CARD-{number}"
            charge = Charge(connector_id, card, at, register)
            for _ in range(READINGS):
                at += MINUTE * chance.randrange(5, 12)
                register += chance.randrange(200, 900)
                charge.readings.append((at, register))
            charge.stopped_at, charge.meter_stop_wh = at + MINUTE, register + chance.randrange(100)
            clocks[connector_id] = charge.stopped_at + MINUTE * chance.randrange(1, 9)
            registers[connector_id] = charge.meter_stop_wh
            if habit.one_meter:
                charge.meter_start_wh, charge.meter_stop_wh = at_main(charge.started_at), at_main(charge.stopped_at)
                charge.readings = [(at, at_main(at)) for at, _ in charge.readings]
            self.charges.append(charge)

    def frames(self) -> Iterator[tuple[str, dict[str, Any]]]:
        entries: list[tuple[datetime, int, str, dict[str, Any]]] = []
        for number, charge in enumerate(self.charges):
            guess = self.habit.id_of(number)
            start = {"connectorId": charge.connector_id, "idTag": charge.id_tag, "meterStart": charge.meter_start_wh}
            entries.append(
                (charge.started_at, number, "StartTransaction", start | {"timestamp": wire(charge.started_at)})
            )
            for at, register in charge.readings:
                value = {"timestamp": wire(at), "sampledValue": [{"value": str(register), "unit": "Wh"}]}
                payload = {"connectorId": charge.connector_id, "transactionId": guess, "meterValue": [value]}
                entries.append((at, number, "MeterValues", payload))
            stop = {"transactionId": guess, "meterStop": charge.meter_stop_wh, "timestamp": wire(charge.stopped_at)}
            if self.habit.with_tag:
                stop["idTag"] = charge.id_tag
            entries.append((charge.stopped_at, number, "StopTransaction", stop))
        for _, _, action, payload in sorted(entries, key=lambda entry: (entry[0], entry[1])):
            yield action, payload

    def calls(self, *, in_other_words: bool = False) -> list[InboundCall]:
        frames = [in_words(*frame) if in_other_words else frame for frame in self.frames()]
        return [inbound(self.link, action, payload, f"m-{n}") for n, (action, payload) in enumerate(frames)]

    def check(self) -> None:
        """Every transaction is there once, with its own energy and readings, or flagged and among the candidates."""
        rows = {
            (tx.connector_id, tx.started_at): tx
            for tx in Transaction.objects.filter(orphan_ref="", charge_point_id=self.link.charge_point_id)
        }
        orphans = Transaction.objects.filter(charge_point_id=self.link.charge_point_id).exclude(orphan_ref="")
        assert len(rows) == len(self.charges)
        for charge in self.charges:
            tx = rows[charge.connector_id, charge.started_at]
            if tx.stop_received:
                energy = Decimal(charge.meter_stop_wh - charge.meter_start_wh)
                assert (tx.meter_stop_wh, tx.energy_wh, tx.stopped_at) == (
                    charge.meter_stop_wh,
                    energy,
                    charge.stopped_at,
                )
                assert tx.matched_by
            else:
                stop = orphans.get(meter_stop_wh=charge.meter_stop_wh)
                assert tx.pk in stop.candidates
                assert "stop_ambiguous" in stop.flags
                assert tx.flags
            stored = (
                MeterValue.objects.filter(transaction=tx).order_by("timestamp").values_list("timestamp", "energy_wh")
            )
            assert [(at, int(wh)) for at, wh in stored] == charge.readings


def in_words(action: str, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same message as another firmware writes it."""
    if action == "MeterValues":
        (element,) = payload["meterValue"]
        (sample,) = element["sampledValue"]
        written_out = {"unit": "Wh", "context": "Sample.Periodic", "value": f"{sample['value']}.0", "format": "Raw"}
        return action, payload | {"meterValue": [{**element, "sampledValue": [written_out]}]}
    at = datetime.fromisoformat(payload["timestamp"])
    words: dict[str, Any] = {"timestamp": (at + timedelta(milliseconds=400)).isoformat()}
    if "idTag" in payload:
        words["idTag"] = payload["idTag"].lower()
    return action, payload | words


def stations_of(tenant: Tenant, habit: Habit, count: int = STATIONS) -> list[Station]:
    found = [Station(new_link(tenant, f"CP-{n}"), f"S{n}", habit, n) for n in range(count)]
    with tenant_scope(tenant):
        for card in sorted({charge.id_tag for station in found for charge in station.charges}):
            new_id_tag(card)
    return found


def interleaved(queues: list[list[InboundCall]]) -> list[InboundCall]:
    """As a lane gets the bursts of several charge points: each in its order, all mixed."""
    longest = max(len(queue) for queue in queues)
    return [queue[index] for index in range(longest) for queue in queues if index < len(queue)]


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
class TestBurst:
    @pytest.mark.parametrize("size", [1000, 17, 1])
    def test_every_transaction_gets_its_own_stop_and_readings(self, tenants: Tenants, habit: Habit, size: int) -> None:
        stations = stations_of(tenants.tenant_a, habit, STATIONS if size > 1 else 2)
        play(interleaved([station.calls() for station in stations]), size)
        with tenant_scope(tenants.tenant_a):
            for station in stations:
                station.check()
            ended = Transaction.objects.filter(stop_received=True, orphan_ref="").count()
            assert ended == len(stations) * TRANSACTIONS
            assert not Transaction.objects.exclude(orphan_ref="").exists()

    def test_cut_anywhere_and_sent_again_in_other_words_nothing_comes_twice(
        self, tenants: Tenants, habit: Habit
    ) -> None:
        stations = stations_of(tenants.tenant_a, habit)
        chance = random.Random(7)
        first = interleaved([station.calls() for station in stations])
        again = interleaved([station.calls(in_other_words=True) for station in stations])
        # What was stored before the line died, then the whole queue again, twice.
        play(first[: chance.randrange(len(first))], 40)
        play(again, 40)
        play(first, 1000)
        with tenant_scope(tenants.tenant_a):
            for station in stations:
                check_in_other_words(station)
            assert Transaction.objects.count() == STATIONS * TRANSACTIONS
            assert MeterValue.objects.count() == STATIONS * TRANSACTIONS * READINGS


def play(calls: list[InboundCall], size: int) -> None:
    for start in range(0, len(calls), size):
        outcomes = answer_batch(list(calls[start : start + size]))
        assert not [outcome.result for outcome in outcomes if isinstance(outcome.result, Exception)]


def check_in_other_words(station: Station) -> None:
    """As `check`, whichever wording of the times was stored first."""
    for tx in Transaction.objects.filter(charge_point_id=station.link.charge_point_id):
        charge = min(
            (each for each in station.charges if each.connector_id == tx.connector_id),
            key=lambda each: abs(each.started_at - tx.started_at),
        )
        assert (tx.meter_start_wh, tx.meter_stop_wh) == (charge.meter_start_wh, charge.meter_stop_wh)
        stored = MeterValue.objects.filter(transaction=tx).order_by("timestamp").values_list("timestamp", "energy_wh")
        assert [(at, int(wh)) for at, wh in stored] == charge.readings
        assert "stop_differs" not in tx.flags
