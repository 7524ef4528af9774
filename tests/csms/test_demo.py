"""`manage.py demo`, as `make run` calls it: from an empty folder to charging stations, and what may be in its way."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import LiveDatabases

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 90

pytestmark = pytest.mark.sqlite


class Demo:
    """One run of the command in a data folder, read line by line."""

    def __init__(self, data: Path, *options: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CSMS_")}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", *options],
            cwd=REPOSITORY, env=environment | {"CSMS_DATA_DIR": str(data)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []

    def read_until(self, text: str) -> str:
        """The first line from now on that holds `text`; fails when the command ends without it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"no {text!r} in:\n" + "\n".join(self.lines))

    def rest(self) -> str:
        output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return output

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def demos() -> Iterator[Any]:
    running: list[Demo] = []

    def start(data: Path, *options: str) -> Demo:
        running.append(Demo(data, *options))
        return running[-1]

    yield start
    for demo in running:
        demo.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_it_runs_says_so_when_it_is_started_again_and_ends_on_ctrl_c(demos: Any, tmp_path: Path) -> None:
    port = free_port()
    demo = demos(tmp_path, "--port", str(port))
    url = demo.read_until("/admin/")
    assert url == f"http://127.0.0.1:{port}/admin/"
    assert httpx.get(url, follow_redirects=True).status_code == 200
    assert [line.split()[0] for line in demo.lines if line.startswith("  DEMO-")] == [
        f"DEMO-0{number}" for number in range(1, 9)
    ]

    again = demos(tmp_path, "--port", str(free_port()))
    said = again.rest()
    assert again.process.returncode == 1
    assert said.count("\n") == 1
    assert said.startswith(f"CommandError: It runs already with the data of this folder: {url}, process ")

    asked_at = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    assert demo.read_until("Stopping") == "Stopping, 3 seconds at most."
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    # Three seconds by its own clock; twice that on a machine that does other things as well.
    assert time.monotonic() - asked_at < 6
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0

    second = demos(tmp_path, "--port", str(port), "--seconds", "0")
    said = second.rest()
    assert second.process.returncode == 0
    assert "forgotten: " in said
    assert "shown only this once" not in said


def test_a_port_that_is_taken_is_said_in_one_sentence_before_anything_is_made(demos: Any, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = demos(tmp_path, "--port", str(port))
        said = demo.rest()
    assert demo.process.returncode == 1
    assert said.startswith(f"CommandError: Port {port} of 127.0.0.1 cannot be used (Address already in use)")
    assert "make run PORT=" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "csms.sqlite3").exists() or (tmp_path / "csms.sqlite3").stat().st_size == 0


def test_data_of_a_newer_version_are_left_alone(demos: Any, tmp_path: Path, live_databases: LiveDatabases) -> None:
    """A migration that this version lacks has changed the tables in a way it does not know."""
    live_databases.copy(tmp_path / "csms.sqlite3")
    _record_migration(tmp_path / "csms.sqlite3", "stations", "9999_from_the_future")
    demo = demos(tmp_path, "--port", "0")
    said = demo.rest()
    assert demo.process.returncode == 1
    assert f"CommandError: The data in {tmp_path} were written by a newer version" in said
    assert said.count("\n") == 1


def test_a_broken_database_is_said_in_one_sentence(demos: Any, tmp_path: Path) -> None:
    (tmp_path / "csms.sqlite3").write_bytes(b"this is no database, it only has its name" * 50)
    demo = demos(tmp_path, "--port", "0")
    said = demo.rest()
    assert demo.process.returncode == 1
    assert said.startswith(
        f"CommandError: The data in {tmp_path} cannot be brought up to date (file is not a database)."
    )
    assert said.count("\n") == 1


def test_a_data_folder_that_cannot_be_made_is_said_in_one_sentence(demos: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    demo = demos(tmp_path / "file" / "var", "--port", "0")
    said = demo.rest()
    assert demo.process.returncode == 1
    assert said == f"CSMS_DATA_DIR, {tmp_path / 'file' / 'var'}, cannot be made: Not a directory.\n"


def _record_migration(database: Path, app: str, name: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, '2030-01-01')", (app, name)
        )
    connection.close()
