"""What is looked at by the clock in each server process: is the event loop late, who waits, what is used."""

from __future__ import annotations

import asyncio
from time import monotonic
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connections as databases

from csms.metrics import figures, resources
from csms.metrics.figures import Figures
from stations import dispatch, doorkeeper

LOOK_SECONDS = 0.25
# Looks between two that take more than a glance.
FEW = 8
_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


def start() -> None:
    """Count in this process, and watch its event loop; idempotent."""
    loop = asyncio.get_running_loop()
    current = figures.begin(settings.CSMS_METRICS_DIR)
    if loop not in _watches:
        _watches[loop] = loop.create_task(_watch(current))


async def _watch(current: Figures) -> None:
    while True:
        resources.tell(current, resources.SERVER)
        _look_at_the_pool(current)
        worst = 0.0
        for _ in range(FEW):
            due = monotonic() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            lag = max(0.0, monotonic() - due)
            worst = max(worst, lag)
            current.loop_lag_seconds.observe(lag)
            current.lane_waiting.set(sum(lane.depth for lane in dispatch.lanes()))
        current.handshakes_waiting.set(doorkeeper.of_this_loop().number_waiting)
        current.loop_lag_max.set(worst)


def _look_at_the_pool(current: Figures) -> None:
    """The pool of this process, once there is one; SQLite has none."""
    pools = getattr(databases["default"], "_connection_pools", {})
    pool = pools.get("default")
    if pool is not None:
        stats = pool.get_stats()
        current.pool_size.set(stats.get("pool_size", 0))
        current.pool_in_use.set(stats.get("pool_size", 0) - stats.get("pool_available", 0))
        current.pool_waiting.set(stats.get("requests_waiting", 0))
