"""Every part of the benchmark with tiny numbers, and the arithmetic behind its tables. Nothing is timed."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from csms.benchmark import brokers, layers, picture, report, run, stopwatch, target
from csms.benchmark.databases import Database, Unavailable, fresh_database
from csms.benchmark.load import STOP, meter_values
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.results import ECHO, PARTS, TUNED_ECHO, Group, Measurement, Page, Plan, Results
from csms.benchmark.station import Meter, Station, Template
from csms.benchmark.target import Target
from tests.lanes import LANE
from tests.servers import CsmsServer

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCT = "PostgreSQL" if LANE == "postgres" else "SQLite"


def server_url() -> str:
    """The URL of the lane's PostgreSQL role, at a database that always exists."""
    return os.environ["CSMS_DATABASE_URL"].rpartition("/")[0] + "/postgres"


def tiny(*parts: str, profile: bool = False) -> Plan:
    return Plan(
        stations=[2, 3], seconds=0.1, samples=4, rounds=1, databases=[PRODUCT.lower()], parts=parts, connected=[3, 4],
        sampling=3, idle_sockets=2, storm=3, bulk=4, rows=20, profile=profile,
    )  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, new_csms_server: Callable[..., CsmsServer]) -> list[str]:
    """Runs get copies of a migrated database, and the lane's Redis; gives what a run tells."""

    @contextmanager
    def migrated(choice: str, folder: Path) -> Iterator[Database]:
        yield Database(PRODUCT, new_csms_server().database_url, "0", "a copy")

    @contextmanager
    def lanes_redis(folder: Path) -> Iterator[brokers.RedisServer]:
        server = brokers.RedisServer("unused", folder)
        server.url = new_csms_server().redis_url or ""
        yield server

    monkeypatch.setattr(target, "fresh_database", migrated)
    monkeypatch.setattr("csms.benchmark.scale.fresh_redis", lanes_redis)
    return []


def shown(results: Results) -> str:
    """What the command prints; the picture must be an XML document."""
    ElementTree.fromstring(picture.svg(results))  # noqa: S314 - ours
    json.dumps(asdict(results))
    console = Console(file=StringIO(), width=200)
    report.show(console, results)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.slow
@pytest.mark.sqlite
def test_every_part_is_measured_and_every_acknowledged_message_is_counted(measured: list[str]) -> None:
    alone = {"data", "processes"}
    plan = tiny(*(part for part in PARTS if part not in alone), profile=True)

    results = run.measure(plan, measured.append)

    assert results.failures == []
    phases = [
        ("meter-values", 2), ("authorize alone", 1), ("authorize", 2), ("meter-values", 3), ("authorize", 3),
    ]  # fmt: skip
    compared = [(m.target, m.phase, m.stations) for m in results.measurements if m.phase in dict(phases)]
    assert compared == [(server, *phase) for server in (ECHO, TUNED_ECHO, PRODUCT) for phase in phases]
    assert all(measurement.answers > 0 for measurement in results.measurements)
    assert results.counted[PRODUCT] > 0
    actions = ["Heartbeat", "StatusNotification", "Authorize", "StartTransaction", "StopTransaction"]
    found = [(m.connected, group.action) for m in results.of_phase("actions") for group in m.groups]
    assert found == [(connected, action) for connected in (3, 4) for action in actions]
    (sampling,) = results.of_phase("sampling")
    assert [group.action for group in sampling.groups] == ["MeterValues", "Authorize"]
    assert [(memory.target, memory.sockets) for memory in results.memory] == [(PRODUCT, 4)]
    assert [(storm.stations, storm.turned_away) for storm in results.storms] == [(3, 0)]
    (bulk,) = results.bulks
    assert (bulk.action, bulk.stations) == ("ChangeConfiguration", 4)
    assert 0 < bulk.sent_seconds <= bulk.answered_seconds
    (profile,) = results.profiles
    assert {"consumer", "OCPP-J session", "bulk SQL"} <= {layer for layer, _, _ in profile.used}
    printed = shown(results)
    assert f"all {results.counted[PRODUCT]:,} acknowledged MeterValues are in the database" in printed
    assert "durable MeterValues of 3 charge points at" in printed
    assert "One command to many charge points" in printed


@pytest.mark.slow
@pytest.mark.sqlite
def test_another_checkout_is_measured_in_turn_with_this_one(measured: list[str], tmp_path: Path) -> None:
    """The other one is this one under another path: what runs there is what lies there."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("manage.py", "csms", "tenants", "stations", "billing", "templates"):
        (other / name).symlink_to(REPOSITORY / name)
    plan = tiny("meter-values", "actions")
    plan.stations, plan.connected, plan.rounds, plan.against = [2], [3], 1, str(other)

    results = run.measure(plan, measured.append)

    assert results.failures == []
    both = [PRODUCT, f"{PRODUCT}, other checkout"]
    assert [(m.target, m.round) for m in results.of_phase("meter-values")] == [(t, 1) for t in both]
    actions = [(m.target, m.round) for m in results.of_phase("actions")]
    assert list(dict.fromkeys(actions)) == [(t, 1) for t in both]
    assert set(results.counted) == set(both)
    printed = shown(results)
    assert "This checkout by the other" in printed
    compared = printed.partition("This checkout by the other")[2]
    assert all(action in compared for action in ("MeterValues", "Authorize", "StartTransaction", "StopTransaction"))


def test_against_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no checkout of the product"):
        call_command("benchmark", "--against", str(tmp_path))


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.redis
def test_stored_rows_and_processes_are_measured(measured: list[str]) -> None:
    results = run.measure(tiny("data", "processes"), measured.append)

    assert results.failures == []
    assert [m.rows for m in results.of_phase("data")] == [20]
    assert len(results.pages) == 22
    assert [(m.processes, m.stations) for m in results.of_phase("processes")] == [(1, 2), (1, 3), (2, 2), (2, 3)]
    assert results.counted.keys() == {"PostgreSQL (data)", "PostgreSQL (processes)"}
    assert "REST transactions/" in shown(results)


@pytest.mark.postgres
def test_a_database_of_a_run_is_its_own_and_is_removed(tmp_path: Path) -> None:
    def databases() -> set[str]:
        with psycopg.connect(server_url()) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}

    before = databases()

    with fresh_database(server_url(), tmp_path) as made:
        added = databases() - before
        (name,) = (name for name in added if name.startswith("csms_benchmark_"))
        assert made.url.endswith(f"/{name}")

    assert name not in databases()


@pytest.mark.parametrize("choice", ["mysql://somebody:secret-password@host/name", "nonsense"])
def test_a_database_of_another_kind_is_refused_without_repeating_it(choice: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="begins with postgres://") as refused, fresh_database(choice, tmp_path):
        pass
    assert choice not in str(refused.value)


def test_a_part_that_fails_leaves_the_others_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise BenchmarkError("the disk is full")

    monkeypatch.setattr(run.data, "measure", fail)
    monkeypatch.setattr(run.scale, "measure", lambda plan, folder, results, tell: results.notes.append("done"))

    results = run.measure(tiny("data", "processes"), lambda text: None)

    assert results.failures == ["data: the disk is full"]
    assert results.notes == ["done"]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(CommandError, match=f"--only takes some of {', '.join(PARTS)}"):
        call_command("benchmark", "--only", "meter-value")


def test_a_lost_message_fails_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    product = Target("SQLite", [], {}, tmp_path, [], acknowledged=Counter({"BENCH-00000": 10}))
    monkeypatch.setattr(product, "order", lambda what: {"BENCH-00000": 9})

    with pytest.raises(BenchmarkError, match="1 acknowledged MeterValues are not in the database"):
        product.verify()


def measurement(server: str, number: int, answers: int, **members: int) -> Measurement:
    group = Group("MeterValues", rate=answers / 2, p50_ms=1, p99_ms=2)
    return Measurement(server, "meter-values", number, 2.0, answers, [group], 1.0, None, 0.1, **members)


def test_a_round_is_compared_with_the_echo_of_the_same_round() -> None:
    echo = [measurement(ECHO, 1, 1000), measurement(ECHO, 2, 500)]
    product = [measurement("SQLite", 1, 400), measurement("SQLite", 2, 300), measurement("SQLite", 3, 300)]

    assert report.ratios(echo, product) == [0.4, 0.6]
    assert report.cost(product[0], 1.0) == 2.5


def test_tables_compare_few_rows_with_many() -> None:
    results = Results(tiny("data"), {})
    for rows, answers, p50_ms in ((10_000, 600, 4.0), (1_000_000, 500, 5.0)):
        results.measurements.append(measurement("PostgreSQL", 1, answers, rows=rows))
        results.measurements[-1].phase = "data"
        results.pages.append(Page("PostgreSQL", "REST transactions/", rows, 2048, p50_ms, 9.0))

    lines = [line.replace("│", " ").split() for line in shown(results).splitlines()]

    assert ["1,000,000", "250", "1.20"] in [line[:3] for line in lines]
    assert ["REST", "transactions/", "4.0", "9.0", "5.0", "9.0", "1.25", "2"] in lines


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


def test_a_transaction_stands_in_a_frame_as_a_number_of_any_length() -> None:
    for transaction_id in (7, 2_147_483_647):
        frame = STOP.fill(1, b"2026-03-01T10:00:00.000Z", transaction_id)
        assert frame[1] & 0x7F == len(frame) - 6
        assert json.loads(frame[6:])[3]["transactionId"] == transaction_id


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


async def test_requests_in_turn_are_counted_each_by_its_meter(line_and_station: tuple[Line, Station]) -> None:
    line, station = line_and_station
    start, stop = Meter(), Meter()
    start.counting = stop.counting = True
    done = station.ask_in_turn([Template("StartTransaction", {}), STOP], [start, stop])

    station.data_received(text(b'[3,"0000000001",{"transactionId":41}]'))
    stop.running = False
    station.data_received(text(b'[3,"0000000002",{}]'))

    assert await done == b'[3,"0000000002",{}]'
    assert b'"transactionId":        41' in line.written[1]
    assert (len(start.latencies), len(stop.latencies)) == (1, 1)


async def test_an_open_loop_rests_when_it_is_told_to(line_and_station: tuple[Line, Station]) -> None:
    line, station = line_and_station

    done = station.ask_in_turn([Template("Heartbeat", {})], [Meter()], every=3600.0, begin=60.0)
    station.rest()

    assert await done == b""
    assert line.written == []


async def test_what_the_server_asks_is_confirmed(line_and_station: tuple[Line, Station]) -> None:
    line, station = line_and_station

    station.data_received(text(b'[2,"a-1","ChangeConfiguration",{}]') + text(b'[2,"a-2","ClearCache",{}]'))

    assert [json.loads(frame[6:]) for frame in line.written] == [[3, "a-1", {"status": "Accepted"}], [3, "a-2", {}]]
    assert len(station.asked_of_it) == 2


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
