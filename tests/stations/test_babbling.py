"""A charge point that babbles waits for its own rows, and a line that is lost while we send is no failure of ours."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from csms.ocppj.session import Session
from stations import dispatch
from stations.consumers import ChargePointConsumer


class Connected(ChargePointConsumer):
    """After its handshake; `sent` is what left for the charge point."""

    def __init__(self) -> None:
        self.session = Session()
        self.link = dispatch.Link(1, 1, 1, "1.1")
        self.sent: list[dict[str, Any]] = []
        self._open = self._accepted = True
        self._closing = None
        self._logged = None
        self._tasks = set()

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


class Cut(Connected):
    """Its line is lost."""

    async def send(self, message: dict[str, Any]) -> None:
        raise ConnectionResetError


@pytest.mark.parametrize("text", ["garbage", '[3,"nobody",{}]', '[4,"nobody","GenericError","",{}]', '[2,"1","No",{}]'])
async def test_the_next_frame_is_read_when_this_one_has_its_row(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    written: asyncio.Future[dispatch.Outcome] = asyncio.get_running_loop().create_future()
    entries: list[dispatch.LogEntry] = []

    def log(entry: dispatch.LogEntry) -> asyncio.Future[dispatch.Outcome]:
        entries.append(entry)
        return written

    monkeypatch.setattr(dispatch, "log", log)
    consumer = Connected()

    receiving = asyncio.create_task(consumer.websocket_receive({"type": "websocket.receive", "text": text}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert entries
    assert not receiving.done()
    # What is due to the charge point has left meanwhile.
    assert [json.loads(message["text"])[:3] for message in consumer.sent] == (
        [[4, "1", "NotImplemented"]] if text.startswith("[2") else []
    )
    written.set_result(dispatch.Outcome(None))
    await asyncio.wait_for(receiving, 1)


async def test_a_line_that_is_lost_while_we_send_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Cut()

    await consumer._close(1000)
    consumer._spawn(lambda: consumer.send({}))
    (task,) = consumer._tasks
    await asyncio.wait({task})
    await asyncio.sleep(0)

    assert consumer._tasks == set()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_any_other_failure_beside_the_frames_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Connected()

    async def fail() -> None:
        raise ValueError

    consumer._spawn(fail)
    (task,) = consumer._tasks
    await asyncio.wait({task})
    await asyncio.sleep(0)

    assert [record.message for record in caplog.records] == ["Background work of a connection failed"]
