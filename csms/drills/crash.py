"""The crash drill: kill the server at random points under load, and compare what it kept with what it acknowledged.

Every charge point keeps its own books (ledger_station.py). After the drill each of its sessions must be exactly one
transaction with the meter readings it had, each once, and the energy it counted; nothing else may exist.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from csms.drills.ledger_station import LedgerStation
from stations import credentials
from stations.models import ChargePoint, Command, IdTag, MeterValue, Transaction
from tenants.models import Tenant
from tenants.scope import tenant_scope

START_SECONDS = 60
# How a server process dies: while the stations do what they like, with a durable batch unanswered, inside a batch.
POINTS = ("random", "after_commit", "mid_batch")


@dataclass
class DrillResult:
    """What was done and found; `violations` is empty when every promise held."""

    kills: dict[str, int]
    answered: int
    repeated: int
    connects: int
    sessions: int
    energy_wh: int
    seconds: float
    violations: list[str] = field(default_factory=list)


class DrillServer:
    """One server process after the other on one port, each with a fuse of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    async def start(self, point: str, batches: int) -> None:
        environment = os.environ | {"CSMS_DRILL_POINT": point, "CSMS_DRILL_BATCHES": str(batches)}
        command = [sys.executable, "-m", "csms.drills.crashing_server", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - ours; nothing else runs on this loop yet
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), START_SECONDS)  # type: ignore[union-attr]
        if not line.startswith("Listening on "):
            raise RuntimeError(f"The server did not start: {line!r}")
        self.port = int(line.strip().rsplit(":", 1)[1])

    async def died(self, timeout_seconds: float) -> bool:
        """Whether the process ended by its own fuse within `timeout_seconds`."""
        process = self._process
        if process is None:
            return True
        try:
            await asyncio.to_thread(process.wait, timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)


def seed(stations: int) -> tuple[Tenant, dict[str, str]]:
    """A tenant with charge points; `identity: password`."""
    tenant = Tenant.objects.create(slug="drill", name="Drill")
    passwords = {f"DRILL-{number:04}": credentials.generate() for number in range(stations)}
    with tenant_scope(tenant):
        ChargePoint.objects.bulk_create(
            ChargePoint(identity=identity, password_hash=credentials.hashed(password.encode(), generated=True))
            for identity, password in passwords.items()
        )
        for number in range(stations):
            IdTag.objects.create(id_tag=f"DRILL-TAG-{number}")
    return tenant, passwords


async def run(
    *,
    kills: int,
    stations: int,
    cut_chance: float,
    seed_number: int,
    passwords: dict[str, str],
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[LedgerStation], dict[str, int], float]:
    """Kill the server `kills` times while `stations` charge; gives the stations and their books, all sessions ended."""
    chance = random.Random(seed_number)  # noqa: S311 - a drill is to be repeatable, not secret
    server = DrillServer()
    done = dict.fromkeys(POINTS, 0)
    started = time.monotonic()
    await server.start("none", 1)
    url = f"ws://127.0.0.1:{server.port}/ocpp/drill/"
    fleet = [
        LedgerStation(
            url, identity, password, f"DRILL-TAG-{number}", seed=seed_number * 10_000 + number, cut_chance=cut_chance
        )
        for number, (identity, password) in enumerate(list(passwords.items())[:stations])
    ]
    tasks = [asyncio.create_task(station.run()) for station in fleet]
    try:
        server.kill()
        for number in range(kills):
            point = POINTS[number % len(POINTS)]
            await server.start("none" if point == "random" else point, chance.randrange(2, 60))
            if point == "random":
                await asyncio.sleep(chance.uniform(0.05, 1.0))
                server.kill()
            elif not await server.died(30):
                server.kill()
            done[point] += 1
            if on_progress is not None:
                on_progress(number + 1, kills)
        await server.start("none", 1)
        for station in fleet:
            station.finish()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        server.stop()
    return fleet, done, time.monotonic() - started


def verify(tenant: Tenant, fleet: list[LedgerStation]) -> list[str]:
    """Sentences about every promise that was broken; empty when there is none."""
    violations: list[str] = []
    with tenant_scope(tenant):
        for station in fleet:
            violations += _verify_station(station)
        stuck = Command.objects.filter(status="sent").count()
        if stuck:
            violations.append(f"{stuck} commands are stuck in sent")
    return violations


def _verify_station(station: LedgerStation) -> list[str]:
    found: list[str] = []
    rows: dict[int, Any] = {tx.pk: tx for tx in Transaction.objects.filter(charge_point__identity=station.identity)}
    if len(rows) != len(station.sessions):
        found.append(f"{station.identity}: {len(station.sessions)} sessions, but {len(rows)} transactions")
    for session in station.sessions:
        where = f"{station.identity} transaction {session.transaction_id}"
        tx = rows.get(session.transaction_id or 0)
        if tx is None:
            found.append(f"{where}: acknowledged, but not stored")
            continue
        if session.stopped and (session.meter_stop_wh, True) != (tx.meter_stop_wh, tx.stop_received):
            found.append(f"{where}: stop at {session.meter_stop_wh} Wh acknowledged, stored is {tx.meter_stop_wh}")
        if session.stopped and tx.energy_wh != (session.meter_stop_wh or 0) - session.meter_start_wh:
            found.append(f"{where}: energy is {tx.energy_wh} Wh")
        if tx.flags:
            found.append(f"{where}: flagged {tx.flags}")
        stored = sorted(
            (at.strftime("%Y-%m-%dT%H:%M:%S.000Z"), int(energy or 0))
            for at, energy in MeterValue.objects.filter(transaction=tx).values_list("timestamp", "energy_wh")
        )
        if stored != sorted(session.readings):
            found.append(f"{where}: {len(session.readings)} readings acknowledged, stored are {len(stored)}")
    return found


def drill(
    *,
    kills: int,
    stations: int,
    cut_chance: float,
    seed_number: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> DrillResult:
    """The whole drill on the configured (empty, migrated) database."""
    tenant, passwords = seed(stations)
    fleet, done, seconds = asyncio.run(
        run(
            kills=kills,
            stations=stations,
            cut_chance=cut_chance,
            seed_number=seed_number,
            passwords=passwords,
            on_progress=on_progress,
        )
    )
    stopped = [session for station in fleet for session in station.sessions if session.stopped]
    return DrillResult(
        kills=done,
        answered=sum(station.answered for station in fleet),
        repeated=sum(station.repeated for station in fleet),
        connects=sum(station.connects for station in fleet),
        sessions=len(stopped),
        energy_wh=sum((session.meter_stop_wh or 0) - session.meter_start_wh for session in stopped),
        seconds=seconds,
        violations=verify(tenant, fleet),
    )
