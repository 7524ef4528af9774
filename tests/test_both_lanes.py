"""What `make test` says and ends with, whatever becomes of the two lanes."""

from __future__ import annotations

import subprocess
import sys
from typing import IO, Any

import pytest

from tests import both_lanes

# Stands for pytest: what it prints, and its exit status.
LANE = "import sys; print(sys.argv[1], 'is done'); sys.exit(int(sys.argv[2]))"
HANGING = "import time; print('hangs', flush=True); time.sleep(600)"


def lanes_are(monkeypatch: pytest.MonkeyPatch, **commands: list[str]) -> list[subprocess.Popen[bytes]]:
    """What is started for each lane, from now on."""
    started: list[subprocess.Popen[bytes]] = []

    def start(lane: str, arguments: list[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        run = subprocess.Popen([sys.executable, "-c", *commands[lane], *arguments], stdout=output)
        started.append(run)
        return run

    monkeypatch.setattr(both_lanes, "start", start)
    return started


@pytest.mark.parametrize(("sqlite", "postgres", "status"), [("0", "0", 0), ("0", "1", 1), ("1", "0", 1), ("5", "2", 5)])
def test_a_failure_of_either_lane_counts_and_the_last_words_are_those_of_the_second(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], sqlite: str, postgres: str, status: int
) -> None:
    lanes_are(monkeypatch, sqlite=[LANE, "sqlite", sqlite], postgres=[LANE, "postgres", postgres])

    assert both_lanes.main([]) == status

    assert capfd.readouterr().out.splitlines() == ["sqlite is done", "postgres is done"]


def test_a_lane_that_takes_too_long_is_ended_and_the_run_has_failed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CSMS_TEST_LANE_MINUTES", "0.02")
    started = lanes_are(monkeypatch, sqlite=[LANE, "sqlite", "0"], postgres=[HANGING])

    assert both_lanes.main([]) == both_lanes.TIMED_OUT

    assert all(run.poll() is not None for run in started)
    assert "ended after 0 minutes: postgres" in capfd.readouterr().err


def test_pytest_is_told_its_lane_and_what_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: asked.update(options, command=command))

    both_lanes.start("postgres", ["-n", "2"], None)

    assert asked["env"]["CSMS_TEST_LANE"] == "postgres"
    assert asked["command"][1:3] == ["-m", "pytest"]
    assert asked["command"][-2:] == ["-n", "2"]
