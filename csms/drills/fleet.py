"""Charge points that keep books, as one: their load, their return after a fault, and their books for the comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from time import monotonic
from typing import Any, Self

from csms.drills.ledger_station import LedgerStation

LOOK_SECONDS = 0.05


class Fleet:
    """Stations that charge within the `async with` block; `made` is who: identity, password, id tag."""

    def __init__(
        self,
        urls: Sequence[str],
        made: Sequence[Sequence[str]],
        *,
        seed: int,
        cut_chance: float = 0.0,
        think_seconds: float = 0.0,
    ) -> None:
        self.stations = [
            LedgerStation(
                urls, identity, password, id_tag, seed=seed * 10_000 + number, cut_chance=cut_chance,
                think_seconds=think_seconds,
            )
            for number, (identity, password, id_tag) in enumerate(made)
        ]  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(station.run()) for station in self.stations]
        return self

    async def __aexit__(self, *_: object) -> None:
        await leave(self._tasks)

    def _check(self) -> None:
        """Raise what ended a station before its time: a mistake of the drill."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def returned(self, since: float, patience_seconds: float) -> list[str]:
        """Wait until each station has had an answer after `since` (monotonic); a sentence about each that has not."""
        deadline = monotonic() + patience_seconds
        while True:
            self._check()
            missing = [station.identity for station in self.stations if station.answered_at <= since]
            if not missing:
                return []
            if monotonic() > deadline:
                return [f"{identity}: had no answer for {patience_seconds:.0f} s after a fault" for identity in missing]
            await asyncio.sleep(LOOK_SECONDS)

    async def finish(self, patience_seconds: float) -> list[str]:
        """Let every session end properly; a sentence about each station that could not."""
        for station in self.stations:
            station.finish()
        _, late = await asyncio.wait(self._tasks, timeout=patience_seconds)
        return [
            f"{station.identity}: could not end its session in {patience_seconds:.0f} s"
            for station, task in zip(self.stations, self._tasks, strict=True)
            if task in late
        ]

    def books(self) -> list[dict[str, Any]]:
        """What every station knows, as csms/drills/invariants.py compares it."""
        return [
            {
                "identity": station.identity,
                "sessions": [asdict(session) for session in station.sessions],
                "calls": station.calls,
            }
            for station in self.stations
        ]

    def figures(self) -> dict[str, int]:
        """What the stations have done."""
        stopped = [session for station in self.stations for session in station.sessions if session.stopped]
        return {
            "connects": sum(station.connects for station in self.stations),
            "answered": sum(station.answered for station in self.stations),
            "repeated": sum(station.repeated for station in self.stations),
            "sessions": len(stopped),
            "energy_wh": sum((session.meter_stop_wh or 0) - session.meter_start_wh for session in stopped),
        }


async def leave(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """End what runs beside a drill; it may have failed for the reason that the drill reports."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
