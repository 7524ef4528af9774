"""The flood drill: bad handshakes by the hundred a second, while charge points charge, return, and come for the first
time.

Measured is what they feel: the latency of Authorize with and without the flood, and whether anybody with the right
password was refused. Some of them return from the very address that most of the flood comes from, as behind NAT.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from csms.benchmark.load import meter_values
from csms.benchmark.processes import BenchmarkError, Process, Server, environment, manage
from csms.benchmark.station import NOW, Station, Template
from csms.drills.handshakes import Order, shake_hands
from stations import credentials
from stations.models import ChargePoint, IdTag
from tenants.models import Tenant
from tenants.scope import tenant_scope

SLUG = "flood-drill"
FOLDER = f"/ocpp/{SLUG}/"
CONNECTS_AT_A_TIME = 20
WARM_UP_SECONDS = 2.0
# Charge points that come and go beside those that charge; each kind.
COMERS = 20
AWAY_SECONDS = 1.0
# Beyond the end of the flood: what is still on its way.
FLOOD_GRACE_SECONDS = 120


@dataclass(frozen=True)
class Plan:
    """What to do; rates in seconds between two messages of one charge point."""

    per_second: int
    seconds: float
    addresses: int
    stations: int
    authorize_seconds: float
    meter_values_seconds: float


@dataclass(frozen=True)
class Figures:
    """One phase: answers to Authorize with their latency, and handshakes of those who have the right password.

    `returning` come from the flooded address 127.0.0.1, `new` for the first time from addresses of their own. Latencies
    in milliseconds.
    """

    answers: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    returning: int
    returning_max_ms: float
    new: int
    new_max_ms: float
    refused: list[str]


@dataclass(frozen=True)
class DrillResult:
    """`before` without and `during` the flood; `flood` counts its handshakes by HTTP status, and `sent`."""

    before: Figures
    during: Figures
    flood: dict[str, int]


# --- inside the database of the drill ---------------------------------------------------------------------------------
def seed(stations: int, new: int) -> dict[str, Any]:
    """A tenant with charge points: those that charge with their id tags, those that return, those that are new."""

    def made(kind: str, count: int) -> list[tuple[str, str]]:
        return [(f"{kind}-{n:04}", credentials.generate()) for n in range(count)]

    kinds = {"charging": made("DRILL", stations), "returning": made("BACK", COMERS), "new": made("NEW", new)}
    with tenant_scope(Tenant.objects.create(slug=SLUG, name="Flood drill")):
        ChargePoint.objects.bulk_create(
            ChargePoint(identity=identity, password_hash=credentials.hashed(password.encode(), generated=True))
            for kind in kinds.values()
            for identity, password in kind
        )
        IdTag.objects.create(id_tag="DRILL-TAG", key="DRILL-TAG")
    return kinds


# --- the drill --------------------------------------------------------------------------------------------------------
def drill(plan: Plan, database_url: str, folder: Path, tell: Callable[[str], None]) -> DrillResult:
    """Run `plan` on an empty database. Raises BenchmarkError when something was not as it must be."""
    surroundings = environment(database_url, folder)
    tell("Preparing")
    manage("migrate", "--verbosity", "0", environment=surroundings)
    counts = (str(plan.stations), str(_number_of_new(plan)))
    made = json.loads(manage("flood_drill", "--inside", *counts, environment=surroundings))
    with Server(["serve", "--host", "127.0.0.1", "--port", "0"], surroundings, folder) as server:
        return asyncio.run(_measure(plan, server.port, made, folder, tell))


def _number_of_new(plan: Plan) -> int:
    """One a second, in both phases."""
    return 2 * (int(plan.seconds / AWAY_SECONDS) + 2)


async def _measure(
    plan: Plan, port: int, made: dict[str, Any], folder: Path, tell: Callable[[str], None]
) -> DrillResult:
    fleet = _Fleet(plan, port, made)
    tell(f"Connecting {plan.stations} charge points")
    await fleet.connect()
    try:
        await asyncio.sleep(min(WARM_UP_SECONDS, plan.seconds))
        tell("Charging without the flood")
        before = await fleet.phase(asyncio.sleep(plan.seconds))
        tell(f"Charging with {plan.per_second} bad handshakes a second from {plan.addresses} addresses")
        identities = [identity for kind in ("charging", "returning") for identity, _ in made[kind]]
        order = Order(port, FOLDER, identities, plan.per_second, plan.seconds, plan.addresses)
        command = [sys.executable, "-m", "csms.drills.handshakes"]
        with Process(command, dict(os.environ), folder / "flood.log") as flood:
            flood.tell(json.dumps(asdict(order)))
            answer = asyncio.create_task(asyncio.to_thread(flood.line, plan.seconds + FLOOD_GRACE_SECONDS))
            during = await fleet.phase(answer)
            return DrillResult(before, during, json.loads(answer.result()))
    finally:
        await fleet.leave()


class _Fleet:
    """Charge points that charge (MeterValues and Authorize, each at its interval), and others that come and go."""

    def __init__(self, plan: Plan, port: int, made: dict[str, Any]) -> None:
        self._plan = plan
        self._port = port
        self._made = made
        self._new = iter(made["new"])
        self._newcomers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stations: list[Station] = []
        self._begin()

    def _begin(self) -> None:
        self._latencies = array("d")
        self._handshakes: dict[str, list[float]] = {"returning": [], "new": []}
        self._refused: list[str] = []

    async def connect(self) -> None:
        """All that charge connect and begin; all that return have been here once."""
        gate = asyncio.Semaphore(CONNECTS_AT_A_TIME)

        async def one(number: int, identity: str, password: str) -> None:
            station = Station(identity)
            async with gate:
                await station.connect("127.0.0.1", self._port, FOLDER, password)
                await station.ask("BootNotification", {"chargePointVendor": "Drill", "chargePointModel": "Flood"})
                start = {"connectorId": 1, "idTag": "DRILL-TAG", "meterStart": 0, "timestamp": NOW}
                transaction_id = (await station.ask("StartTransaction", start))["transactionId"]
            self._stations.append(station)
            share = number / len(self._made["charging"])
            self._tasks.append(asyncio.create_task(self._charge(station, transaction_id, share)))

        await asyncio.gather(*(one(number, *each) for number, each in enumerate(self._made["charging"])))
        for one_of_them in self._made["returning"]:
            await self._come("returning", one_of_them, "127.0.0.1")

    async def _charge(self, station: Station, transaction_id: int, share: float) -> None:
        plan = self._plan
        authorize = Template("Authorize", {"idTag": "DRILL-TAG"})
        readings = Template("MeterValues", meter_values(10, transaction_id))
        now = time.perf_counter()
        due = [
            (now + share * plan.authorize_seconds, plan.authorize_seconds, authorize),
            (now + share * plan.meter_values_seconds, plan.meter_values_seconds, readings),
        ]
        while True:
            due.sort(key=lambda entry: entry[0])
            at, interval, template = due[0]
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            asked = time.perf_counter()
            await station.keep_asking(template, None)
            if template is authorize:
                self._latencies.append(time.perf_counter() - asked)
            due[0] = (at + interval, interval, template)

    async def _come(self, kind: str, who: tuple[str, str], address: str) -> None:
        identity, password = who
        asked = time.perf_counter()
        status = await shake_hands(self._port, FOLDER, identity, password, address)
        self._handshakes[kind].append(time.perf_counter() - asked)
        if status != 101:
            self._refused.append(f"{identity} from {address}: {status or 'no answer'}")

    async def _come_and_go(self) -> None:
        """Each that returns, every second; one new one a second."""
        while True:
            coming = [self._come("returning", each, "127.0.0.1") for each in self._made["returning"]]
            newcomer = next(self._new, None)
            if newcomer is not None:
                self._newcomers += 1
                address = f"127.9.{self._newcomers // 250}.{1 + self._newcomers % 250}"
                coming.append(self._come("new", newcomer, address))
            await asyncio.gather(*coming)
            await asyncio.sleep(AWAY_SECONDS)

    async def phase(self, until: Any) -> Figures:
        """What happened until `until` was done."""
        self._begin()
        visitors = asyncio.create_task(self._come_and_go())
        waited = asyncio.ensure_future(until)
        while not waited.done():
            await asyncio.wait([waited], timeout=0.2)
            for task in (*self._tasks, visitors):
                if task.done():
                    task.result()
        visitors.cancel()
        with suppress(asyncio.CancelledError):
            await visitors
        await waited
        ordered = sorted(self._latencies)
        if not ordered or not self._handshakes["returning"]:
            raise BenchmarkError("Nothing was answered in the time given.")

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)

        longest = {kind: round(max(times, default=0.0) * 1000, 2) for kind, times in self._handshakes.items()}
        return Figures(
            len(ordered), at(0.5), at(0.99), at(1),
            len(self._handshakes["returning"]), longest["returning"],
            len(self._handshakes["new"]), longest["new"], self._refused,
        )  # fmt: skip

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        for station in self._stations:
            station.close()


def as_json(result: DrillResult) -> str:
    return json.dumps(asdict(result))
