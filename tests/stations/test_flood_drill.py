"""Bad handshakes beside charging, in the small; `manage.py flood_drill` is the same with 1000 a second."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on the whole of 127.0.0.0/8")
@pytest.mark.parametrize("addresses", ["1", "20"])
def test_nobody_with_the_right_password_is_refused_while_passwords_are_guessed(addresses: str) -> None:
    sizes = ["--rate", "300", "--seconds", "4", "--stations", "10", "--addresses", addresses]
    drill = subprocess.run(
        [sys.executable, "manage.py", "flood_drill", "--json", "--authorize-seconds", "0.5", *sizes],
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert drill.returncode == 0, drill.stdout + drill.stderr
    result = json.loads(drill.stdout)
    assert result["before"]["refused"] == result["during"]["refused"] == []
    assert result["during"]["answers"] > 0
    assert min(result["during"]["returning"], result["during"]["new"]) > 0
    assert set(result["flood"]) <= {"sent", "401", "429", "503", "0"}
    # From one address, the limit is reached at once, and the rest costs nothing.
    assert addresses != "1" or result["flood"]["429"] > result["flood"]["401"]
