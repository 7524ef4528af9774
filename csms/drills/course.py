"""The course that most drills take: load, faults one after the other, everybody back, nothing under way, comparison."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic

from csms.benchmark.processes import Server
from csms.drills.fleet import Fleet
from csms.drills.operator import Operator
from csms.drills.stage import Result, Stage, url_of

# For everybody to be back after a fault, and for everything under way to end.
PATIENCE_SECONDS = 120.0
# Between two messages of a charge point, at most.
THINK_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """How long and how hard: `times` faults, `stations` that charge, `database` as of the benchmark, `seed`."""

    times: int
    stations: int
    database: str
    seed: int
    # Between two faults, and how long one lasts, at most; seconds.
    pause_seconds: float = 1.0
    outage_seconds: float = 2.0

    def chance(self) -> random.Random:
        return random.Random(self.seed)  # noqa: S311 - a drill is to be repeatable, not secret


Fault = Callable[[int], Awaitable[str]]
Tell = Callable[[str], None]


async def play(
    result: Result,
    plan: Plan,
    stage: Stage,
    servers: Sequence[Server],
    fault: Fault,
    tell: Tell,
    *,
    commands_per_second: float = 5.0,
    cut_chance: float = 0.005,
    jobs: Sequence[str] = (),
) -> Fleet:
    """Hold `plan.times` faults under load and note in `result` what came of it; gives the charge points.

    `fault` says what it did; the ids of the background jobs that it published come to stand in `jobs`.
    """
    chance = plan.chance()
    identities = [identity for identity, _, _ in stage.made]
    urls = [url_of(server) for server in servers]
    ports = [server.port for server in servers]
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(
            Fleet(urls, stage.made, seed=plan.seed, cut_chance=cut_chance, think_seconds=THINK_SECONDS)
        )
        result.violations += await fleet.returned(0.0, PATIENCE_SECONDS)
        operator = await stack.enter_async_context(
            Operator(ports, stage.api_key, identities, per_second=commands_per_second, seed=plan.seed)
        )
        slowest = 0.0
        for number in range(plan.times):
            tell(f"Fault {number + 1} of {plan.times}")
            await asyncio.sleep(chance.uniform(0, plan.pause_seconds))
            result.fault(await fault(number))
            healed = monotonic()
            result.violations += await fleet.returned(healed, PATIENCE_SECONDS)
            slowest = max(slowest, monotonic() - healed)
        await asyncio.sleep(plan.pause_seconds)
        await operator.stop()
        tell("Waiting until nothing is under way")
        result.violations += await asyncio.to_thread(stage.settled, identities, PATIENCE_SECONDS)
        result.violations += await fleet.finish(PATIENCE_SECONDS)
        result.violations += await asyncio.to_thread(stage.verify, fleet.books(), operator.accepted, jobs)
        result.figures |= fleet.figures()
        result.figures["slowest_return_seconds"] = round(slowest, 1)
        result.figures["commands"] = len(operator.accepted)
        result.figures["http"] = {str(status): count for status, count in sorted(operator.answers.items())}
        unhandled = sum(server.log().count("Exception in ASGI application") for server in servers)
        if unhandled:
            result.violations.append(f"{unhandled} errors that nobody handled stand in the log of the servers")
        result.figures["calls"] = sum(len(station.calls) for station in fleet.stations)
        return fleet
