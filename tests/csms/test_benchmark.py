"""The benchmark command from end to end with tiny numbers, and the arithmetic behind its tables. Nothing is timed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from csms.benchmark import layers, report, run, stopwatch
from csms.benchmark.load import meter_values
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.run import ECHO, Group, Measurement
from csms.benchmark.station import Meter, Station, Template
from tests.lanes import LANE
from tests.servers import REPOSITORY, product_environment, product_settings


def server_url() -> str:
    """The URL of the lane's PostgreSQL role, at a database that always exists."""
    return os.environ["CSMS_DATABASE_URL"].rpartition("/")[0] + "/postgres"


def leftovers() -> set[str]:
    """Databases of a benchmark on the lane's server."""
    if LANE != "postgres":
        return set()
    with psycopg.connect(server_url()) as connection:
        query = "SELECT datname FROM pg_database WHERE datname LIKE 'csms_benchmark%'"
        return {name for (name,) in connection.execute(query).fetchall()}


@pytest.mark.slow
def test_every_part_is_measured_and_every_acknowledged_message_is_counted(tmp_path: Path) -> None:
    product, database = ("PostgreSQL", server_url()) if LANE == "postgres" else ("SQLite", "sqlite")
    own, written, before = tmp_path / "own.sqlite3", tmp_path / "results.json", leftovers()
    tiny = ["--stations", "3", "--samples", "4", "--rounds", "1", "--seconds", "0.3", "--idle-sockets", "2"]

    ran = subprocess.run(
        [sys.executable, "manage.py", "benchmark", *tiny, "--database", database, "--json", str(written), "--profile"],
        cwd=REPOSITORY,
        env=product_environment(product_settings(f"sqlite:///{own}", None, tmp_path)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    results = json.loads(written.read_text())
    measured = [(measurement["target"], measurement["phase"]) for measurement in results["measurements"]]
    phases = ["meter-values", "authorize alone", "authorize"]
    assert measured == [(target, phase) for target in (ECHO, product) for phase in phases]
    assert all(measurement["answers"] > 0 for measurement in results["measurements"])
    assert results["counted"][product] > 0
    assert f"all {results['counted'][product]:,} acknowledged MeterValues are in the database" in ran.stdout
    assert [(memory["target"], memory["sockets"]) for memory in results["memory"]] == [(ECHO, 2), (product, 2)]
    assert [profile["target"] for profile in results["profiles"]] == [ECHO, product]
    assert {"consumer", "OCPP-J session", "bulk SQL"} <= {layer for layer, _, _ in results["profiles"][1]["used"]}
    # Neither touched the installation's database nor left one of its own behind.
    assert not own.exists()
    assert leftovers() == before


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


@pytest.mark.parametrize("point", [*layers.PLUMBING, *layers.PRODUCT], ids=lambda point: point.name)
def test_the_functions_where_layers_begin_exist(point: layers.Point) -> None:
    assert callable(getattr(point.owner(), point.attribute))


async def test_the_stopwatch_charges_the_innermost_function_and_changes_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(stopwatch.time, "thread_time", lambda: next(clock))
    monkeypatch.setattr(stopwatch.time, "process_time", lambda: 0)
    watch = stopwatch.Stopwatch()
    inner = watch.watch(lambda value: value + 1, "inner layer", "inner")

    async def outer_function() -> int:
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="thrown"):
            await failing()
        return int(inner(41))

    async def failing() -> None:
        raise ValueError("thrown")

    outer = watch.watch(outer_function, "outer layer", "outer")

    assert await outer() == 42

    used = {layer: seconds for layer, _, seconds in watch.used()}
    # Entered, suspended; entered again, inner entered, inner left, left: a second on the clock at each.
    assert used == {"outer layer": 3, "inner layer": 1, layers.LOOP: 2, layers.OTHER: 0}


async def test_a_watched_coroutine_can_be_cancelled() -> None:
    async def patient() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "cleaned up"
        return "waited"

    task = asyncio.ensure_future(stopwatch.Stopwatch().watch(patient, "layer", "patient")())
    await asyncio.sleep(0)
    task.cancel()

    assert await asyncio.wait_for(task, 1) == "cleaned up"
