"""The crash drill with habits: charge points that were offline come back and do not know their transactionIds.

Some of each habit (burst_station.py) send all they have queued at once, while the server is killed again and again, and
then again what was not answered, in other words. What must hold afterwards: burst_invariants.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from csms.benchmark.interruption import early_end
from csms.drills.burst_station import HABITS, BurstStation
from csms.drills.course import PATIENCE_SECONDS, Plan
from csms.drills.crash import FUSE_SECONDS, POINTS, start
from csms.drills.fleet import leave
from csms.drills.stage import SLUG, Stage, stage, url_of

# Small batches, so that there is something to be killed between.
SETTINGS = {"CSMS_LOG_LEVEL": "ERROR", "CSMS_LANE_BATCH_SIZE": "100"}
# All stations together; a killed server is back within seconds.
SECONDS_PER_MESSAGE = 0.02


@dataclass
class BurstResult:
    """`habits`: of each how many transactions were matched, flagged with it, and in doubt between candidates."""

    kills: dict[str, int]
    habits: dict[str, dict[str, int]] = field(default_factory=dict)
    answered: int = 0
    repeated: int = 0
    connects: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


def drill(plan: Plan, transactions: int, on_progress: Callable[[int, int], None]) -> BurstResult:
    """Let `plan.stations` of each habit bring `transactions` each, and kill the server `plan.times` times meanwhile.

    Fewer times when all has been brought before. Raises Unavailable, BenchmarkError.
    """
    with stage(plan.database, plan.stations * len(HABITS), settings=SETTINGS) as made:
        made.inside("accept_any_card", {"slug": SLUG})
        return asyncio.run(_drill(plan, made, transactions, on_progress))


async def _drill(plan: Plan, made: Stage, transactions: int, on_progress: Callable[[int, int], None]) -> BurstResult:
    chance, loop = plan.chance(), asyncio.get_running_loop()
    result = BurstResult(dict.fromkeys(POINTS, 0))
    began = loop.time()
    server = await asyncio.to_thread(start, made, 0, "none", 1)
    port, url = server.port, url_of(server)
    stations = [
        BurstStation(
            url, identity, password, HABITS[number % len(HABITS)], transactions, seed=plan.seed * 10_000 + number
        )
        for number, (identity, password, _) in enumerate(made.made)
    ]
    total = sum(station.waiting for station in stations)
    # The first life ends before anybody has dialled.
    await asyncio.to_thread(server.kill)
    tasks = [asyncio.create_task(station.run()) for station in stations]
    try:
        with early_end() as over:
            for number in range(plan.times):
                if over.is_set() or all(task.done() for task in tasks):
                    break
                # First those that certainly leave something to be sent again.
                point = POINTS[-1 - number % len(POINTS)]
                # So that each life brings about its share.
                batches = chance.randrange(1, max(3, total // (50 * plan.times)))
                server = await asyncio.to_thread(start, made, port, point, batches)
                if point == "random":
                    await asyncio.sleep(chance.uniform(0.05, 1.0))
                else:
                    await asyncio.to_thread(server.ended, FUSE_SECONDS)
                await asyncio.to_thread(server.kill)
                result.kills[point] += 1
                on_progress(number + 1, plan.times)
        server = await asyncio.to_thread(start, made, port, "none", 1)
        patience = PATIENCE_SECONDS + total * SECONDS_PER_MESSAGE
        await asyncio.wait(tasks, timeout=patience)
        late = [station for station, task in zip(stations, tasks, strict=True) if not task.done()]
        result.violations += [
            f"{station.identity}: {station.waiting} messages without an answer after {patience:.0f} s"
            for station in late
        ]
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await leave(tasks)
        await asyncio.to_thread(server.stop)
    result.answered = sum(station.answered for station in stations)
    result.repeated = sum(station.repeated for station in stations)
    result.connects = sum(station.connects for station in stations)
    result.seconds = loop.time() - began
    books = [station.book() for station in stations]
    verified: dict[str, Any] = await asyncio.to_thread(made.inside, "verify_bursts", {"slug": SLUG, "books": books})
    result.habits = verified["habits"]
    result.violations += verified["violations"]
    return result
