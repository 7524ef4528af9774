"""A charge point that talks too much waits; nothing of it is lost and its neighbours are not touched."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stations import dispatch
from stations.pace import Pace
from tests.stations.test_babbling import Connected


def test_ten_seconds_worth_passes_at_once_and_then_the_rate() -> None:
    pace = Pace(5, 100.0)
    assert [pace.delay(100.0) for _ in range(50)] == [0.0] * 50
    assert [pace.delay(100.0) for _ in range(3)] == pytest.approx([0.2, 0.4, 0.6])
    # Who waited as told is in time.
    assert pace.delay(101.0) == 0.0


def test_silence_earns_no_more_than_a_burst() -> None:
    pace = Pace(5, 0.0)
    assert [pace.delay(3600.0) for _ in range(50)] == [0.0] * 50
    assert pace.delay(3600.0) == pytest.approx(0.2)


def test_operator_is_told_once_a_minute() -> None:
    pace = Pace(5, 0.0)
    assert [pace.to_report(at) for at in (1.0, 2.0, 60.9, 61.0, 62.0)] == [True, False, False, True, False]


async def test_frame_beyond_the_rate_is_looked_at_later_and_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    reports: list[Any] = []
    delays: list[float] = []

    def run(link: dispatch.Link, function: Any) -> asyncio.Future[dispatch.Outcome]:
        reports.append(function.__name__)
        done: asyncio.Future[dispatch.Outcome] = loop.create_future()
        done.set_result(dispatch.Outcome(None))
        return done

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr(dispatch, "run", run)
    monkeypatch.setattr("stations.consumers.asyncio.sleep", sleep)
    consumer = Connected()
    consumer._pace = Pace(1, 0.0)
    monkeypatch.setattr("stations.consumers.monotonic", lambda: 0.0)

    for number in range(12):
        await consumer.websocket_receive({"type": "websocket.receive", "text": json.dumps([2, str(number), "No", {}])})

    assert delays == [1.0, 2.0]
    assert reports == ["babbles"]
    # Nothing of what it said is lost.
    assert [json.loads(message["text"])[1] for message in consumer.sent] == [str(number) for number in range(12)]
