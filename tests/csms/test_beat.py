"""Periodic jobs keep their intervals when the clock is set (csms/beat.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from celery import Celery

from csms.beat import SteadyScheduler

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Recorder(SteadyScheduler):
    """A scheduler that notes what it starts."""

    def __init__(self) -> None:
        self.started: list[str] = []
        app = Celery("test", broker="memory://", set_as_current=False)
        app.conf.timezone = "UTC"
        app.conf.beat_schedule = {
            name: {"task": name, "schedule": seconds} for name, seconds in (("often", 60.0), ("seldom", 600.0))
        }
        super().__init__(app)

    def setup_schedule(self) -> None:
        self.merge_inplace(self.app.conf.beat_schedule)

    def apply_entry(self, entry: object, producer: object = None) -> None:
        self.started.append(str(getattr(entry, "name", "")))


def at(moment: datetime) -> time_machine.travel:
    return time_machine.travel(moment, tick=False)


def ticks(scheduler: Recorder, moment: datetime) -> list[str]:
    """What is started at `moment`, until nothing more is due."""
    scheduler.started = []
    with at(moment):
        while scheduler.tick() == 0:
            pass
    return scheduler.started


def steadily(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    clock = {"monotonic": 1000.0}
    monkeypatch.setattr("csms.beat.time.monotonic", lambda: clock["monotonic"])
    return clock


@pytest.mark.parametrize("moved", [DAY, -DAY, timedelta(hours=1), timedelta(hours=-1)])
def test_jobs_go_on_at_their_intervals_when_the_clock_is_set(moved: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steadily(monkeypatch)
    with at(NOON):
        scheduler = Recorder()
    assert ticks(scheduler, NOON) == []
    clock["monotonic"] += 30
    assert ticks(scheduler, NOON + timedelta(seconds=30) + moved) == []
    clock["monotonic"] += 31
    assert ticks(scheduler, NOON + timedelta(seconds=61) + moved) == ["often"]
    clock["monotonic"] += 540
    assert sorted(ticks(scheduler, NOON + timedelta(seconds=601) + moved)) == ["often", "seldom"]
