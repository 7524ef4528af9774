"""The crash drill: kill the server at random points under load, and compare what it kept with what it acknowledged.

What must hold afterwards is what must hold after every drill (invariants.py).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from csms.benchmark.interruption import early_end
from csms.benchmark.processes import Server
from csms.drills.course import PATIENCE_SECONDS, Plan
from csms.drills.fleet import Fleet
from csms.drills.stage import Stage, stage, url_of

# How a server process dies: while the stations do what they like, with a durable batch unanswered, inside a batch.
POINTS = ("random", "after_commit", "mid_batch")
# By then a fuse has burnt down, else nobody charges.
FUSE_SECONDS = 30


@dataclass
class DrillResult:
    """What was done and found; `violations` is empty when every promise held."""

    kills: dict[str, int]
    answered: int = 0
    repeated: int = 0
    connects: int = 0
    sessions: int = 0
    energy_wh: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


def drill(plan: Plan, cut_chance: float, on_progress: Callable[[int, int], None]) -> DrillResult:
    """Kill the server `plan.times` times, or until Ctrl-C, while `plan.stations` charge.

    Raises Unavailable, BenchmarkError.
    """
    with stage(plan.database, plan.stations, settings={"CSMS_LOG_LEVEL": "ERROR"}) as made:
        return asyncio.run(_drill(plan, made, cut_chance, on_progress))


async def _drill(plan: Plan, made: Stage, cut_chance: float, on_progress: Callable[[int, int], None]) -> DrillResult:
    with early_end() as over:
        return await _kill_often(plan, made, cut_chance, on_progress, over)


async def _kill_often(
    plan: Plan, made: Stage, cut_chance: float, on_progress: Callable[[int, int], None], over: asyncio.Event
) -> DrillResult:
    chance = plan.chance()
    result = DrillResult(dict.fromkeys(POINTS, 0))
    began = asyncio.get_running_loop().time()
    server = await asyncio.to_thread(start, made, 0, "none", 1)
    try:
        port = server.port
        async with Fleet([url_of(server)], made.made, seed=plan.seed, cut_chance=cut_chance) as fleet:
            server.kill()
            for number in range(plan.times):
                if over.is_set():
                    break
                point = POINTS[number % len(POINTS)]
                batches = chance.randrange(2, 60)
                server = await asyncio.to_thread(start, made, port, point, batches)
                if point == "random":
                    await asyncio.sleep(chance.uniform(0.05, 1.0))
                else:
                    await asyncio.to_thread(server.ended, FUSE_SECONDS)
                await asyncio.to_thread(server.kill)
                result.kills[point] += 1
                on_progress(number + 1, plan.times)
            server = await asyncio.to_thread(start, made, port, "none", 1)
            result.violations += await fleet.finish(PATIENCE_SECONDS)
    finally:
        await asyncio.to_thread(server.stop)
    for name, value in fleet.figures().items():
        setattr(result, name, value)
    result.seconds = asyncio.get_running_loop().time() - began
    result.violations += await asyncio.to_thread(made.verify, fleet.books())
    return result


def start(made: Stage, port: int, point: str, batches: int) -> Server:
    """The next server process on the same port, with a fuse of its own (crashing_server.py)."""
    fuse = {"CSMS_DRILL_POINT": "none" if point == "random" else point, "CSMS_DRILL_BATCHES": str(batches)}
    command = [sys.executable, "-m", "csms.drills.crashing_server"]
    return made.server(port=port, command=command, settings=fuse)
