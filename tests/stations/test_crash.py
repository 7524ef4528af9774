"""kill -9 under load, a few times; `manage.py crash_drill --kills 200` is the same with more patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_the_server_is_killed_under_load(
    hold: Callable[..., tuple[int, Any]],
) -> None:
    status, result = hold("crash_drill", "--kills", "6", "--stations", "6", "--seed", "7")

    assert (status, result["violations"]) == (0, [])
    assert result["kills"] == {"random": 2, "after_commit": 2, "mid_batch": 2}
    # A drill in which nothing had to be sent again has shown nothing.
    assert result["repeated"] > 0
    assert result["sessions"] >= 6


@pytest.mark.slow
def test_bursts_of_those_who_do_not_know_their_ids_are_put_together_when_the_server_is_killed(
    hold: Callable[..., tuple[int, Any]],
) -> None:
    options = ("--habits", "--kills", "3", "--stations", "2", "--transactions", "6", "--seed", "7")
    status, result = hold("crash_drill", *options)

    assert (status, result["violations"]) == (0, [])
    assert sum(result["kills"].values()) > 0
    assert result["repeated"] > 0
    assert len(result["habits"]) == 5
    for counts in result["habits"].values():
        assert counts["matched"] + counts["in_doubt"] == 12
