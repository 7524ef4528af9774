"""Bad handshakes beside charging, in the small; `manage.py flood_drill` is the same with 1000 a second."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from csms.drills import flood
from tests.servers import CsmsServer


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on the whole of 127.0.0.0/8")
def test_nobody_with_the_right_password_is_refused_while_passwords_are_guessed(
    new_csms_server: Callable[..., CsmsServer], tmp_path: Path
) -> None:
    plan = flood.Plan(
        per_second=300, seconds=2.5, rounds=1, addresses=3, stations=10, authorize_seconds=0.5, meter_values_seconds=5,
        silent=150,
    )  # fmt: skip
    result = flood.drill(plan, new_csms_server().database_url, tmp_path, print)
    assert result.refused == []
    assert result.after == {"again": 10, "refused": []}
    assert min(result.during[kind] for kind in ("answers", "returning", "new")) > 0
    silence = result.silence
    assert silence is not None
    assert silence["right"] > 0
    assert silence["right_max_ms"] < 2000
    assert set(silence["rest"]) == {"401"}
    (report,) = result.floods
    statuses = report["statuses"]
    assert sum(statuses.values()) == report["sent"]
    assert set(statuses) <= {"401", "429", "503", "0"}
    # The limit of three addresses is soon reached, and the rest costs next to nothing. A window may end meanwhile.
    assert statuses["401"] <= 2 * 3 * 100 + 64
    assert statuses["429"] > 0


@pytest.mark.parametrize("addresses", ["0", "65001"])
def test_addresses_that_loopback_does_not_have_are_refused(addresses: str) -> None:
    with pytest.raises(CommandError, match="--addresses must be 1 to 65000"):
        call_command("flood_drill", "--addresses", addresses)
