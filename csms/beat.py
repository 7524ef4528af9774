"""Schedulers of periodic jobs that keep their intervals when the clock of the machine is set.

Celery measures by the wall clock: set back by a day, it would start no job for a day; set forward, all at once.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from celery import beat

# Less than this is the clock being kept right, not being set.
JUMP_SECONDS = 5.0


class SteadyScheduler(beat.Scheduler):
    """celery.beat.Scheduler whose entries move along when the clock is set."""

    _clock_offset: float | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        offset = time.time() - time.monotonic()
        moved = 0.0 if self._clock_offset is None else offset - self._clock_offset
        if abs(moved) > JUMP_SECONDS:
            for entry in self.schedule.values():
                if entry.last_run_at is not None:
                    entry.last_run_at += timedelta(seconds=moved)
            # Made anew by tick(): its order is by the old time.
            self._heap = None
        if self._clock_offset is None or abs(moved) > JUMP_SECONDS:
            self._clock_offset = offset
        seconds: float = super().tick(*args, **kwargs)
        return seconds


class SteadyPersistentScheduler(SteadyScheduler, beat.PersistentScheduler):
    """The same, remembering across restarts when each job ran: for a beat of its own."""
