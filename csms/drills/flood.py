"""The flood drill: bad handshakes by the thousand a second, while charge points charge, return, and come for the first
time.

Measured is what they feel: the latency of Authorize with and without the flood, in windows that take turns, so that
whatever else the machine does falls on both; and whether anybody with the right password was refused. Some of them
return from the very address that most of the flood comes from, as behind NAT; at the end all that charge do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.core.management import call_command

from csms.benchmark.load import meter_values
from csms.benchmark.processes import BenchmarkError, Process, Server, environment, manage
from csms.benchmark.station import NOW, LoadError, Station, Template
from csms.drills import silence
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
    """What to do; rates in seconds between two messages of one charge point. A round is `seconds` without the flood and
    `seconds` with it."""

    per_second: int
    seconds: float
    rounds: int
    addresses: int
    stations: int
    authorize_seconds: float
    meter_values_seconds: float
    # Connections that never say what they want, for a window of their own (csms/drills/silence.py); 0: none.
    silent: int = 0


@dataclass
class Figures:
    """What was felt in the windows of one kind: seconds until Authorize was answered, and until a handshake of those
    who have the right password; `returning` come from the flooded address 127.0.0.1, `new` for the first time from
    addresses of their own. `refused` says who was not let in; `server_cpu` are seconds in `seconds`."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    handshakes: dict[str, array[float]] = field(default_factory=lambda: {"returning": array("d"), "new": array("d")})
    refused: list[str] = field(default_factory=list)
    server_cpu: float = 0.0
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Counts, and latencies in milliseconds. Raises BenchmarkError when there is nothing to count."""
        ordered = sorted(self.latencies)
        if not ordered or not self.handshakes["returning"]:
            raise BenchmarkError("Nothing was answered in the time given.")
        p50, p99, longest = (
            round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) for share in (0.5, 0.99, 1)
        )
        summary: dict[str, Any] = {"answers": len(ordered), "p50_ms": p50, "p99_ms": p99, "max_ms": longest}
        for kind, times in self.handshakes.items():
            summary |= {kind: len(times), f"{kind}_max_ms": round(max(times, default=0.0) * 1000, 2)}
        return summary | {"refused": self.refused, "server_cpu": round(self.server_cpu / self.seconds, 3)}


@dataclass(frozen=True)
class DrillResult:
    """`before` without and `during` the flood (Figures.summary), `floods` as each window of it reports itself
    (handshakes.Flood.report). `after`: how many of those that charge hung up and dialled again when it was over, from
    the address of the flood, and who of them was refused."""

    before: dict[str, Any]
    during: dict[str, Any]
    floods: list[dict[str, Any]]
    after: dict[str, Any]
    # silence.Silence as a dict; None without that window.
    silence: dict[str, Any] | None = None

    @property
    def refused(self) -> list[str]:
        found: list[str] = self.before["refused"] + self.during["refused"] + self.after["refused"]
        if self.silence is not None:
            found += self.silence["refused"]
        return found


# --- inside the database of the drill ---------------------------------------------------------------------------------
def seed(stations: int, new: int) -> dict[str, Any]:
    """Make the tables, and a tenant with charge points: those that charge, those that return, those that are new."""

    def made(kind: str, count: int) -> list[tuple[str, str]]:
        return [(f"{kind}-{n:04}", credentials.generate()) for n in range(count)]

    call_command("migrate", verbosity=0)
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
    """Run `plan` on an empty database. Raises BenchmarkError or LoadError when something was not as it must be."""
    surroundings = environment(database_url, folder)
    tell("Preparing")
    counts = (str(plan.stations), str(_number_of_new(plan)))
    made = json.loads(manage("flood_drill", "--inside", *counts, environment=surroundings))
    with Server(["serve", "--host", "127.0.0.1", "--port", "0"], surroundings, folder) as server:
        return asyncio.run(_measure(plan, server, made, folder, tell))


def _number_of_new(plan: Plan) -> int:
    """One a second, in all windows."""
    return 2 * plan.rounds * (int(plan.seconds / AWAY_SECONDS) + 2)


async def _measure(
    plan: Plan, server: Server, made: dict[str, Any], folder: Path, tell: Callable[[str], None]
) -> DrillResult:
    fleet = _Fleet(plan, server, made)
    tell(f"Connecting {plan.stations} charge points")
    await fleet.connect()
    before, during, floods = Figures(), Figures(), []
    identities = [identity for kind in ("charging", "returning") for identity, _ in made[kind]]
    order = Order(server.port, FOLDER, identities, plan.per_second, plan.seconds, plan.addresses)
    try:
        with Process([sys.executable, "-m", "csms.drills.handshakes"], dict(os.environ), folder / "flood.log") as flood:
            await asyncio.sleep(min(WARM_UP_SECONDS, plan.seconds))
            for number in range(1, plan.rounds + 1):
                part = f"{number} of {plan.rounds}"
                tell(f"Charging without the flood, {part}")
                await fleet.window(before, asyncio.sleep(plan.seconds))
                tell(f"Charging with {plan.per_second} bad handshakes a second from {plan.addresses} addresses, {part}")
                flood.tell(json.dumps(asdict(order)))
                answer = asyncio.create_task(asyncio.to_thread(flood.line, plan.seconds + FLOOD_GRACE_SECONDS))
                await fleet.window(during, answer)
                floods.append(json.loads(answer.result()))
        beside = None
        if plan.silent:
            tell(f"Charging beside {plan.silent} connections that never say what they want")
            beside = asdict(await fleet.beside_silence())
        tell("All that charge dial again, from the address of the flood")
        return DrillResult(before.summary(), during.summary(), floods, await fleet.dial_again(), beside)
    finally:
        await fleet.leave()


class _Fleet:
    """Charge points that charge (MeterValues and Authorize, each at its interval), and others that come and go."""

    def __init__(self, plan: Plan, server: Server, made: dict[str, Any]) -> None:
        self._plan = plan
        self._server = server
        self._made = made
        self._new = iter(made["new"])
        self._newcomers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stations: list[Station] = []
        self._figures = Figures()

    async def connect(self) -> None:
        """All that charge connect and begin; all that return have been here once."""
        gate = asyncio.Semaphore(CONNECTS_AT_A_TIME)

        async def one(number: int, identity: str, password: str) -> None:
            station = Station(identity)
            async with gate:
                await station.connect("127.0.0.1", self._server.port, FOLDER, password)
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
                self._figures.latencies.append(time.perf_counter() - asked)
            due[0] = (at + interval, interval, template)

    async def _come(self, kind: str, who: tuple[str, str], address: str) -> None:
        identity, password = who
        figures, asked = self._figures, time.perf_counter()
        status = await shake_hands(self._server.port, FOLDER, identity, password, address)
        figures.handshakes[kind].append(time.perf_counter() - asked)
        if status != 101:
            figures.refused.append(f"{identity} from {address}: {status or 'no answer'}")

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

    async def window(self, figures: Figures, until: Any) -> None:
        """Add to `figures` what happens until `until` is done."""
        self._figures = figures
        began, cpu_before = time.perf_counter(), self._server.cpu_seconds()
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
        figures.server_cpu += self._server.cpu_seconds() - cpu_before
        figures.seconds += time.perf_counter() - began
        await waited

    async def beside_silence(self) -> silence.Silence:
        """Those that return do so, one by one, while strangers sit in silence and the others charge on."""
        returning = itertools.cycle(self._made["returning"])

        async def dial() -> tuple[str, int]:
            identity, password = next(returning)
            return identity, await shake_hands(self._server.port, FOLDER, identity, password, "127.0.0.1")

        plan = self._plan
        found = await silence.beside(self._server.port, self._server.pids()[0], plan.silent, plan.seconds, dial)
        for task in self._tasks:
            if task.done():
                task.result()
        return found

    async def dial_again(self) -> dict[str, Any]:
        """All that charge hang up and connect again; `again` counts them, `refused` says who could not."""
        await self.leave()
        self._tasks, self._stations = [], []
        refused = []
        try:
            await self.connect()
        except LoadError as error:
            refused.append(str(error))
        return {"again": len(self._stations), "refused": refused}

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        for station in self._stations:
            station.close()


def as_json(result: DrillResult) -> str:
    return json.dumps(asdict(result))
