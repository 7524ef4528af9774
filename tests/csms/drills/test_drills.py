"""Each failure drill once, in the small; `manage.py drill all` is the same with more patience (docs/operations.md)."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

import pytest

from tests import lanes

# Drills that one command holds: they share the migrated database they begin with. By the number of faults each needs.
TOGETHER = {
    "sqlite": {1: ("slow-reader", "clock"), 2: ("half-open", "disk")},
    "postgres": {1: ("postgresql", "jobs"), 2: ("redis",)},
}
TIMEOUT_SECONDS = 400


@functools.cache
def held(times: int) -> dict[str, dict[str, Any]]:
    sizes = ["--times", str(times), "--stations", "3", "--pause", "0.2", "--outage", "0.5"]
    drill = subprocess.run(
        [sys.executable, "manage.py", "drill", *TOGETHER[lanes.LANE][times], "--json", *sizes],
        capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert drill.stdout, drill.stderr
    return {result["drill"]: result for result in json.loads(drill.stdout)}


def figures_of(drill: str, faults: dict[str, int]) -> dict[str, Any]:
    """No promise broken in a drill that did what it was to do; its figures."""
    result = held(sum(faults.values()))[drill]
    if result["skipped"]:
        lanes.missing_part(result["skipped"])
    # How long neighbours wait says more about the machine that runs the suite; the command judges that.
    assert [violation for violation in result["violations"] if not violation.startswith("neighbours waited")] == []
    assert result["faults"] == faults
    figures: dict[str, Any] = result["figures"]
    assert figures["sessions"] >= 3
    assert figures["energy_wh"] > 0
    return figures


@pytest.mark.slow
@pytest.mark.sqlite
class TestOnSqlite:
    def test_dead_connections_are_found_and_replaced(self) -> None:
        in_namespace = "half-open" in held(2) and "network namespace unplugged" in held(2)["half-open"]["faults"]
        faults = {"packets dropped at sockets": 1, "network namespace unplugged": 1}
        figures = figures_of("half-open", faults if in_namespace else {"packets dropped at sockets": 2})
        assert figures["idle_found_dead_seconds"] is not None
        assert figures["asked_found_dead_seconds"] is not None

    def test_one_that_reads_nothing_is_cut_off_and_bothers_nobody(self) -> None:
        figures = figures_of("slow-reader", {"one that does not read": 1})
        assert figures["asked"] > 100
        assert figures["cut_off_seconds"] is not None

    def test_clock_may_be_set_while_charging(self) -> None:
        assert figures_of("clock", {"+1 h": 1})["connects"] == 3

    def test_full_disk_is_said_and_leaves_nothing_behind(self) -> None:
        figures = figures_of("disk", {"disk of files full": 1, "disk of SQLite full": 1})
        assert figures["uploads"] == {"201": 2, "507": 1}


@pytest.mark.slow
@pytest.mark.redis
class TestWithServers:
    def test_postgresql_may_be_killed(self) -> None:
        assert figures_of("postgresql", {"killed": 1})["repeated"] > 0

    def test_redis_may_be_killed_and_emptied(self) -> None:
        assert set(figures_of("redis", {"killed": 1, "emptied": 1})["http"]) == {"202"}

    def test_jobs_end_though_their_worker_was_killed(self) -> None:
        assert sum(figures_of("jobs", {"worker killed": 1})["jobs"].values()) == 4
