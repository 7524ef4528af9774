"""Downloads beside charging, in the small; `manage.py file_drill` is the same with 200 MB and 200 charge points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
def test_images_are_resumed_whole_while_others_charge_and_memory_stays_flat(
    hold: Callable[..., tuple[int, Any]],
) -> None:
    sizes = ["--image-mb", "5", "--downloads", "3", "--drops", "2", "--stations", "5", "--seconds", "1"]
    status, result = hold("file_drill", "--authorize-seconds", "0.2", *sizes)

    assert status == 0
    assert (result["completed"], result["resumed"]) == (3, 6)
    assert result["fetched_bytes"] == 3 * 5 * 1024 * 1024
    assert result["before"]["answers"] > 0
    # 15 MB were sent; not even the one image was in memory.
    assert result["during"]["rss_bytes"] - result["before"]["rss_bytes"] < 4 * 1024 * 1024
