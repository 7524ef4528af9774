"""kill -9 under load, a few times; `manage.py crash_drill --kills 200` is the same with more patience."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_the_server_is_killed_under_load() -> None:
    database = os.environ["CSMS_DATABASE_URL"]
    if database.startswith("postgres"):
        # The lane's own database need not exist yet; the drill makes one of its own anyway.
        database = urlsplit(database)._replace(path="/postgres").geturl()
    drill = subprocess.run(
        [
            sys.executable, "manage.py", "crash_drill", "--json", "--kills", "6", "--stations", "6", "--seed", "7",
            "--database", database if database.startswith("postgres") else "sqlite",
        ],
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert drill.returncode == 0, drill.stdout + drill.stderr
    result = json.loads(drill.stdout)
    assert result["violations"] == []
    assert result["kills"] == {"random": 2, "after_commit": 2, "mid_batch": 2}
    # A drill in which nothing had to be sent again has shown nothing.
    assert result["repeated"] > 0
    assert result["sessions"] >= 6
