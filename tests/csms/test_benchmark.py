"""The benchmark command from end to end with tiny numbers, and the arithmetic behind its tables. Nothing is timed."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from csms.benchmark import layers, report, run
from csms.benchmark.load import meter_values
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.run import ECHO, Group, Measurement
from csms.benchmark.sampler import charge, stacks
from csms.benchmark.station import Meter, Station, Template
from tests.lanes import LANE
from tests.servers import product_environment, product_settings, run_manage


def benchmark(directory: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run the command as on an installation whose database is `directory`/own.sqlite3; what it measured and printed."""
    settings = product_settings(f"sqlite:///{directory / 'own.sqlite3'}", None, directory)
    database = os.environ["CSMS_DATABASE_URL"] if LANE == "postgres" else "sqlite"
    tiny = ["--stations", "3", "--samples", "4", "--rounds", "1", "--seconds", "0.3", "--idle-sockets", "2"]
    results = directory / "results.json"
    arguments = ["benchmark", *tiny, "--database", database, "--json", str(results), *options]
    printed = run_manage(*arguments, env=product_environment(settings))
    return json.loads(results.read_text()), printed


@pytest.mark.slow
def test_every_part_is_measured_and_every_acknowledged_message_is_counted(tmp_path: Path) -> None:
    product = "PostgreSQL" if LANE == "postgres" else "SQLite"

    results, printed = benchmark(tmp_path, "--profile")

    measured = [(measurement["target"], measurement["phase"]) for measurement in results["measurements"]]
    phases = ["meter-values", "authorize alone", "authorize"]
    assert measured == [(target, phase) for target in (ECHO, product) for phase in phases]
    assert all(measurement["answers"] > 0 for measurement in results["measurements"])
    assert results["counted"][product] > 0
    assert f"all {results['counted'][product]:,} acknowledged MeterValues are in the database" in printed
    assert [(memory["target"], memory["sockets"]) for memory in results["memory"]] == [(ECHO, 2), (product, 2)]
    assert [profile["target"] for profile in results["profiles"]] == [ECHO, product]
    assert all({layer for _, layer, _ in profile["layers"]} <= set(layers.LAYERS) for profile in results["profiles"])
    assert not (tmp_path / "own.sqlite3").exists()


@pytest.mark.postgres
def test_nothing_stays_behind_on_the_postgresql_server(tmp_path: Path) -> None:
    def databases() -> set[str]:
        url = os.environ["CSMS_DATABASE_URL"].rpartition("/")[0] + "/postgres"
        with psycopg.connect(url) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}

    before = databases()

    benchmark(tmp_path, "--only", "meter-values")

    assert {name for name in databases() - before if name.startswith("csms_benchmark")} == set()


def test_a_lost_message_fails_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "manage", lambda *arguments, environment: json.dumps({"BENCH-00000": 9}))
    target = run.Target("SQLite", [], {}, tmp_path, [], acknowledged=Counter({"BENCH-00000": 10}))

    with pytest.raises(BenchmarkError, match="1 acknowledged MeterValues are not in the database"):
        run._verify(target)


def test_a_round_is_compared_with_the_echo_of_the_same_round() -> None:
    def measured(target: str, number: int, answers: int) -> Measurement:
        group = Group("MeterValues", rate=answers / 2, p50_ms=1, p99_ms=2)
        return Measurement(target, "meter-values", number, 2.0, answers, [group], 1.0, None, 0.1)

    echo = [measured(ECHO, 1, 1000), measured(ECHO, 2, 500)]
    product = [measured("SQLite", 1, 400), measured("SQLite", 2, 300), measured("SQLite", 3, 300)]

    assert report.ratios(echo, product) == [0.4, 0.6]
    assert report.cost(product[0], 1.0) == 2.5


def test_frames_carry_a_new_id_and_time_and_are_as_long_as_their_header_says() -> None:
    template = Template("MeterValues", meter_values(10, 37))

    frame = template.fill(7, b"2026-03-01T10:00:00.000Z")

    assert frame[:2] == bytes([0x81, 0x80 | 126])
    assert int.from_bytes(frame[2:4], "big") == len(frame) - 8
    message = json.loads(frame[8:])
    assert message[:3] == [2, "0000000007", "MeterValues"]
    assert message[3]["transactionId"] == 37
    (value,) = message[3]["meterValue"]
    assert value["timestamp"] == "2026-03-01T10:00:00.000Z"
    assert len(value["sampledValue"]) == 10


def test_a_length_that_holds_a_percent_sign_survives_the_filling_in() -> None:
    bare_length = len(Template("DataTransfer", {"vendorId": ""}).fill(1, b"")) - 6

    frame = Template("DataTransfer", {"vendorId": "x" * (0x0125 - bare_length)}).fill(1, b"")

    assert frame[2:4] == b"\x01%"
    assert json.loads(frame[8:])[1] == "0000000001"


class Line:
    """The transport of a station: keeps what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def line_and_station() -> tuple[Line, Station]:
    line, station = Line(), Station("BENCH-00000")
    station.connection_made(line)  # type: ignore[arg-type]
    return line, station


def text(payload: bytes) -> bytes:
    return bytes([0x81, len(payload)]) + payload


async def test_the_next_request_leaves_with_the_answer_and_the_last_answer_ends_it(
    line_and_station: tuple[Line, Station],
) -> None:
    line, station = line_and_station
    meter = Meter()
    done = station.keep_asking(Template("Heartbeat", {}), meter)
    first = text(b'[3,"0000000001",{}]')

    meter.counting = True
    station.data_received(first[:5])
    station.data_received(first[5:])
    meter.running = False
    station.data_received(text(b'[3,"0000000002",{}]'))

    assert await done == b'[3,"0000000002",{}]'
    assert len(line.written) == len(meter.latencies) == station.message_id == 2


@pytest.mark.parametrize("answer", [b'[4,"0000000001","InternalError","",{}]', b'[3,"0000000009",{}]'])
async def test_a_wrong_answer_is_a_failure(line_and_station: tuple[Line, Station], answer: bytes) -> None:
    line, station = line_and_station
    done = station.keep_asking(Template("Heartbeat", {}), Meter())

    station.data_received(text(answer))

    with pytest.raises(Exception, match="BENCH-00000: answered"):
        await asyncio.wait_for(done, 1)
    assert line.closed


@pytest.mark.parametrize(
    ("stack", "layer"),
    [
        (["/usr/lib/json/x.py", f"{layers.ROOT}stations/dispatch.py", "/usr/lib/threading.py"], "dispatch, lanes"),
        (["/venv/psycopg/cursor.py", f"{layers.ROOT}stations/bulk.py"], "database driver, COMMIT"),
        (["/venv/django/db/models/query.py", f"{layers.ROOT}stations/batch.py"], "ORM"),
        ([f"{layers.ROOT}csms/server.py"], layers.OTHER),
        ([], layers.OTHER),
    ],
)
def test_a_stack_belongs_to_the_layer_of_its_innermost_known_frame(stack: list[str], layer: str) -> None:
    assert layers.layer_of_stack(stack) == layer


def test_processor_time_is_shared_among_the_stacks_that_faulthandler_wrote() -> None:
    written = f"""Stack (most recent call first):
  File "/venv/psycopg/cursor.py", line 97 in execute
  File "{layers.ROOT}stations/bulk.py", line 32 in insert_rows
  File "{layers.ROOT}stations/dispatch.py", line 190 in answer_batch
Stack (most recent call first):
  File "{layers.ROOT}csms/ocppj/frames.py", line 103 in decode
  File "/usr/lib/python3/asyncio/runners.py", line 118 in run
Stack (most recent call first):
  <no Python frame>
Stack (most recent call first):
  File "{layers.ROOT}csms/ocppj/frames.py", line 103 in decode
  File "/usr/lib/python3/asyncio/runners.py", line 118 in run
"""

    charged = charge(stacks(written.splitlines(keepends=True)), cpu_seconds=1.5)

    assert charged == {
        "samples": 3,
        "layers": [("event loop", "OCPP-J session", 1.0), ("lanes", "database driver, COMMIT", 0.5)],
        "lines": [
            ("OCPP-J session", "csms/ocppj/frames.py:103 decode", 1.0),
            ("database driver, COMMIT", "stations/bulk.py:32 insert_rows", 0.5),
        ],
    }
