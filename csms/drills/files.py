"""The file drill: charge points fetch a large image, with dropped lines, while others charge on the same process.

Measured is what the others feel (the latency of Authorize with and without the downloads) and what it costs (the
largest memory of the server process). Every byte that was fetched is compared with the image.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.files import File

from csms.benchmark import rows
from csms.benchmark.load import meter_values
from csms.benchmark.processes import BenchmarkError, Process, Server, environment, manage
from csms.benchmark.station import NOW, Station, Template
from csms.drills.fleet import leave
from stations import firmware
from stations.models import ChargePoint
from tenants.models import Tenant
from tenants.scope import tenant_scope

SLUG = "file-drill"
CONNECTS_AT_A_TIME = 20
MEMORY_LOOKS_PER_SECOND = 5
WARM_UP_SECONDS = 2.0
DOWNLOAD_SECONDS = 900


@dataclass(frozen=True)
class Plan:
    """What to do; rates in seconds between two messages of one charge point."""

    image_bytes: int
    downloads: int
    drops: int
    stations: int
    seconds: float
    authorize_seconds: float
    meter_values_seconds: float
    bytes_per_second: int | None = None


@dataclass(frozen=True)
class Figures:
    """One phase: answers to Authorize, their latency in milliseconds, the largest memory of the server in bytes."""

    answers: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    rss_bytes: int
    seconds: float


@dataclass(frozen=True)
class DrillResult:
    """`before` without and `during` the downloads; `resumed` counts requests for a range, all answered 206."""

    before: Figures
    during: Figures
    completed: int
    resumed: int
    fetched_bytes: int
    download_seconds: float


# --- inside the database of the drill ---------------------------------------------------------------------------------
def seed(image: Path, downloads: int, stations: int) -> dict[str, Any]:
    """A tenant with charge points and an image; who is to charge, and the paths of who is to fetch it."""
    made = rows.seed(stations, slug=SLUG, prefix="DRILL")
    with tenant_scope(Tenant.objects.get(slug=SLUG)):
        with image.open("rb") as content:
            stored = firmware.add_image(File(content, name="firmware.bin"), "drill")
        paths = []
        for number in range(downloads):
            charge_point = ChargePoint.objects.create(identity=f"FETCH-{number:04}")
            update = firmware.request_update(charge_point, "drill", image=stored, retrieve_date=datetime.now(UTC))
            if update.command is not None:
                paths.append(urlsplit(update.command.payload["location"]).path)
    return {"stations": made, "paths": paths}


# --- the drill --------------------------------------------------------------------------------------------------------
def drill(plan: Plan, database_url: str, folder: Path, tell: Callable[[str], None]) -> DrillResult:
    """Run `plan` on an empty database. Raises BenchmarkError when something was not as it must be."""
    image = folder / "image"
    chance = random.Random(1)  # noqa: S311 - content that cannot be compressed away, nothing secret
    with image.open("wb") as file:
        for _ in range(plan.image_bytes // 65_536 + 1):
            file.write(chance.randbytes(min(65_536, plan.image_bytes - file.tell())))
    surroundings = environment(database_url, folder)
    if plan.bytes_per_second is not None:
        surroundings["CSMS_DOWNLOAD_BYTES_PER_SECOND"] = str(plan.bytes_per_second)
    tell("Preparing")
    manage("migrate", "--verbosity", "0", environment=surroundings)
    counts = ("--downloads", str(plan.downloads), "--stations", str(plan.stations))
    made = json.loads(manage("file_drill", "--inside", str(image), *counts, environment=surroundings))
    arguments = ["serve", "--host", "127.0.0.1", "--port", "0"]
    with Server(arguments, surroundings, folder) as server:
        return asyncio.run(_measure(plan, server, made, image, folder, tell))


async def _measure(
    plan: Plan, server: Server, made: dict[str, Any], image: Path, folder: Path, tell: Callable[[str], None]
) -> DrillResult:
    fleet = _Fleet(plan)
    tell(f"Connecting {plan.stations} charge points")
    await fleet.connect(server.port, made["stations"])
    try:
        await asyncio.sleep(min(WARM_UP_SECONDS, plan.seconds))
        tell("Charging without downloads")
        before = await _phase(fleet, server, asyncio.sleep(plan.seconds))
        tell(f"Charging while {plan.downloads} download {plan.image_bytes} bytes each")
        order = {
            "port": server.port,
            "paths": made["paths"],
            "drops": plan.drops,
            "size": plan.image_bytes,
            "sha256": await asyncio.to_thread(_sha256, image),
        }
        command = [sys.executable, "-m", "csms.drills.downloads"]
        with Process(command, dict(os.environ), folder / "downloads.log") as downloads:
            downloads.tell(json.dumps(order))
            done = asyncio.create_task(asyncio.to_thread(downloads.line, DOWNLOAD_SECONDS))
            during = await _phase(fleet, server, done)
            report: dict[str, Any] = json.loads(done.result())
        if report["failures"]:
            raise BenchmarkError(f"Downloads failed: {report['failures'][:3]}")
        return DrillResult(
            before, during, report["completed"], report["resumed"], report["fetched_bytes"], report["seconds"]
        )
    finally:
        await fleet.leave()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _phase(fleet: _Fleet, server: Server, until: Any) -> Figures:
    """Count answers and look at the server's memory until `until` is done."""
    fleet.latencies = array("d")
    began = time.perf_counter()
    waited = asyncio.ensure_future(until)
    largest = server.rss_bytes()
    while not waited.done():
        await asyncio.wait([waited], timeout=1 / MEMORY_LOOKS_PER_SECOND)
        largest = max(largest, server.rss_bytes())
        fleet.check()
    await waited
    ordered = sorted(fleet.latencies)
    if not ordered:
        raise BenchmarkError("No Authorize was answered in the time given.")

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)

    return Figures(len(ordered), at(0.5), at(0.99), at(1), largest, round(time.perf_counter() - began, 1))


class _Fleet:
    """Charge points that charge: MeterValues and Authorize, each at its interval, spread evenly."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tasks: list[asyncio.Task[None]] = []
        self._stations: list[Station] = []
        self.latencies = array("d")

    async def connect(self, port: int, stations: list[tuple[str, str, str]]) -> None:
        gate = asyncio.Semaphore(CONNECTS_AT_A_TIME)

        async def one(number: int, identity: str, password: str, id_tag: str) -> None:
            station = Station(identity)
            async with gate:
                await station.connect("127.0.0.1", port, f"/ocpp/{SLUG}/", password)
                await station.ask("BootNotification", {"chargePointVendor": "Drill", "chargePointModel": "Files"})
                start = {"connectorId": 1, "idTag": id_tag, "meterStart": 0, "timestamp": NOW}
                transaction_id = (await station.ask("StartTransaction", start))["transactionId"]
            self._stations.append(station)
            share = number / len(stations)
            self._tasks.append(asyncio.create_task(self._charge(station, id_tag, transaction_id, share)))

        await asyncio.gather(*(one(number, *station) for number, station in enumerate(stations)))

    async def _charge(self, station: Station, id_tag: str, transaction_id: int, share: float) -> None:
        authorize = Template("Authorize", {"idTag": id_tag})
        readings = Template("MeterValues", meter_values(10, transaction_id))
        now = time.perf_counter()
        due = [
            (now + share * self._plan.authorize_seconds, self._plan.authorize_seconds, authorize),
            (now + share * self._plan.meter_values_seconds, self._plan.meter_values_seconds, readings),
        ]
        while True:
            due.sort(key=lambda entry: entry[0])
            at, interval, template = due[0]
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            asked = time.perf_counter()
            await station.keep_asking(template, None)
            if template is authorize:
                self.latencies.append(time.perf_counter() - asked)
            due[0] = (at + interval, interval, template)

    def check(self) -> None:
        """Raise what ended a charge point; none ends by itself."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def leave(self) -> None:
        await leave(self._tasks)
        for station in self._stations:
            station.close()


def as_json(result: DrillResult) -> str:
    return json.dumps(asdict(result))
