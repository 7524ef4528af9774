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
