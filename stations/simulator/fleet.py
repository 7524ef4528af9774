"""Run many simulated charge points in one event loop and add up what they saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from .equipment import Interruption
from .options import FleetOptions
from .scenarios import SCENARIOS
from .station import SimulatedChargePoint
from .statistics import FleetProgress, FleetStatistics, FleetSummary
from .waiting import first_of

PROGRESS_SECONDS = 0.25
# After the end every station may still deliver its stops and say goodbye; then it is cut off.
GRACE_SECONDS = 20.0
LONGEST_GOODBYE_SECONDS = 5.0

__all__ = ["FleetOptions", "FleetProgress", "FleetSummary", "run_fleet"]


def _send_home(stations: set[SimulatedChargePoint]) -> None:
    """Let all leave, not all at once: their stops would arrive in one burst and be all that the response times show."""
    spread_seconds = min(LONGEST_GOODBYE_SECONDS, len(stations) / 200)
    for index, station in enumerate(stations):
        delay = spread_seconds * index / len(stations)
        asyncio.get_running_loop().call_later(delay, station.interrupt, Interruption.LEAVE)


async def run_fleet(
    options: FleetOptions,
    on_progress: Callable[[FleetProgress], None] | None = None,
    *,
    stop: asyncio.Event | None = None,
) -> FleetSummary:
    """Run a fleet until it is done, `duration_seconds` are over, or `stop` is set; return what happened.

    `on_progress` is called four times a second and once at the end. Stations end in good order: running transactions
    are stopped and delivered, connections closed. A failure of the central system is in the summary, not an exception.
    Errors: ValueError for an unknown scenario or a CA file that cannot be read.
    """
    if unknown := [name for name in options.scenarios if name not in SCENARIOS]:
        raise ValueError(f"There is no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}.")
    ssl_context = options.ssl_context()
    identities = options.all_identities()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    statistics = FleetStatistics()
    stop = stop or asyncio.Event()
    began = time.monotonic()

    stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    alive: set[SimulatedChargePoint] = set()

    async def run_station(index: int, identity: str) -> None:
        await first_of(stopping, timeout=options.ramp_seconds * index / len(identities))
        if stopping.done():
            return
        rng = random.Random(f"{seed}:{identity}")
        station = SimulatedChargePoint(identity, options, statistics, rng, ssl_context)
        alive.add(station)
        scenario = SCENARIOS[options.scenarios[index % len(options.scenarios)]]
        try:
            await station.run(scenario.play, options.transactions)
        finally:
            alive.discard(station)

    stations = [
        asyncio.create_task(run_station(index, identity), name=identity) for index, identity in enumerate(identities)
    ]
    unfinished = set(stations)
    grace_ends: float | None = None
    try:
        while unfinished and (grace_ends is None or time.monotonic() < grace_ends):
            _, unfinished = await asyncio.wait(unfinished, timeout=PROGRESS_SECONDS)
            elapsed = time.monotonic() - began
            if options.duration_seconds is not None and elapsed >= options.duration_seconds:
                stop.set()
            if stop.is_set() and grace_ends is None:
                grace_ends = time.monotonic() + GRACE_SECONDS
                stopping.set_result(None)
                _send_home(alive)
            if on_progress is not None:
                on_progress(statistics.progress(len(identities), elapsed))
    finally:
        for task in unfinished:
            task.cancel()
        ended = await asyncio.gather(*stations, return_exceptions=True)
    for task, result in zip(stations, ended, strict=True):
        if isinstance(result, Exception):
            statistics.problem(f"{task.get_name()}: {result!r}")
        elif isinstance(result, asyncio.CancelledError):
            statistics.problem(f"{task.get_name()}: did not end within {GRACE_SECONDS:.0f} s")
    return statistics.summary(len(identities), time.monotonic() - began)
