"""Each failure drill once, in the small; `manage.py drill all` is the same with more patience (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import lanes

Hold = Callable[..., tuple[int, Any]]
SIZES = ("--stations", "3", "--pause", "0.2", "--outage", "0.5")


def figures_of(hold: Hold, drill: str, *wanted: dict[str, int]) -> dict[str, Any]:
    """No promise broken in a drill that did what it was to do, one of `wanted` faults; its figures."""
    _, (result,) = hold("drill", drill, "--times", str(sum(wanted[0].values())), *SIZES)
    if result["skipped"]:
        lanes.missing_part(result["skipped"])
    # How long neighbours wait says more about the machine that runs the suite; the command judges that.
    assert [violation for violation in result["violations"] if not violation.startswith("neighbours waited")] == []
    assert result["faults"] in wanted
    figures: dict[str, Any] = result["figures"]
    assert figures["sessions"] >= 3
    assert figures["energy_wh"] > 0
    return figures


@pytest.mark.slow
@pytest.mark.sqlite
class TestOnSqlite:
    def test_dead_connections_are_found_and_replaced(self, hold: Hold) -> None:
        # Without root there is no network namespace, and both times it is the packets.
        both = {"packets dropped at sockets": 1, "network namespace unplugged": 1}
        figures = figures_of(hold, "half-open", both, {"packets dropped at sockets": 2})
        assert figures["idle_found_dead_seconds"] is not None
        assert figures["asked_found_dead_seconds"] is not None

    def test_one_that_reads_nothing_is_cut_off_and_bothers_nobody(self, hold: Hold) -> None:
        figures = figures_of(hold, "slow-reader", {"one that does not read": 1})
        assert figures["asked"] > 100
        assert figures["cut_off_seconds"] is not None

    def test_clock_may_be_set_while_charging(self, hold: Hold) -> None:
        assert figures_of(hold, "clock", {"+1 h": 1})["connects"] == 3

    def test_full_disk_is_said_and_leaves_nothing_behind(self, hold: Hold) -> None:
        figures = figures_of(hold, "disk", {"disk of files full": 1, "disk of SQLite full": 1})
        assert figures["uploads"] == {"201": 2, "507": 1}


@pytest.mark.slow
@pytest.mark.redis
class TestWithServers:
    def test_postgresql_may_be_killed(self, hold: Hold) -> None:
        assert figures_of(hold, "postgresql", {"killed": 1})["repeated"] > 0

    def test_redis_may_be_killed_and_emptied(self, hold: Hold) -> None:
        assert set(figures_of(hold, "redis", {"killed": 1, "emptied": 1})["http"]) == {"202"}

    def test_jobs_end_though_their_worker_was_killed(self, hold: Hold) -> None:
        assert sum(figures_of(hold, "jobs", {"worker killed": 1})["jobs"].values()) == 4
