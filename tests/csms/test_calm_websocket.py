"""What any peer can send is no failure of the server, and fills no memory of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from csms.fuzz import frames
from csms.websocket import SLICE_BYTES, CalmWebSocketProtocol

HANDSHAKE = (
    b"GET /ocpp/a/b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Line:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        return frames.read(b"".join(self.written))[0]


async def opened(may_receive: asyncio.Event | None = None) -> tuple[CalmWebSocketProtocol, Line, list[Any]]:
    """A protocol after its handshake, its line, and what the application has received since, once it may."""
    received: list[Any] = []
    accepted = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        accepted.set()
        if may_receive is not None:
            await may_receive.wait()
        while True:
            received.append(await receive())

    config = Config(application, ws=CalmWebSocketProtocol, log_config=None, lifespan="off")
    config.load()
    protocol, line = CalmWebSocketProtocol(config, ServerState(), {}), Line()
    protocol.connection_made(line)  # type: ignore[arg-type]
    protocol.data_received(HANDSHAKE)
    await asyncio.wait_for(accepted.wait(), 5)
    line.written.clear()
    return protocol, line, received


@pytest.mark.parametrize(
    "wire",
    [
        frames.frame(frames.TEXT, b"\xff\xfe"),
        frames.frame(frames.TEXT, b"\xc3", final=False) + frames.frame(frames.CONTINUATION, b"\x28"),
    ],
    ids=["whole", "in fragments"],
)
async def test_text_that_is_not_utf_8_ends_with_1007_and_nothing_is_logged(
    wire: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    protocol, line, _ = await opened()

    with caplog.at_level(logging.WARNING):
        protocol.data_received(wire + wire)

    assert line.frames == [(frames.CLOSE, b"\x03\xef")]
    assert line.closing
    assert caplog.records == []


async def test_text_in_fragments_that_cut_a_character_arrives_whole() -> None:
    protocol, _, received = await opened()
    begun, rest = "é".encode()[:1], "é".encode()[1:]

    protocol.data_received(frames.frame(frames.TEXT, begun, final=False) + frames.frame(frames.CONTINUATION, rest))
    await asyncio.sleep(0)

    assert received == [{"type": "websocket.receive", "text": "é"}]


async def test_pings_of_a_peer_that_does_not_read_stay_unanswered() -> None:
    protocol, line, _ = await opened()

    protocol.data_received(frames.frame(frames.PING, b"1"))
    protocol.pause_writing()
    protocol.data_received(frames.frame(frames.PING, b"2") * 500)
    protocol.resume_writing()
    protocol.data_received(frames.frame(frames.PING, b"3"))

    assert line.frames == [(frames.PONG, b"1"), (frames.PONG, b"3")]


async def test_reading_stops_while_more_than_one_message_waits_for_the_application() -> None:
    free = asyncio.Event()
    protocol, line, received = await opened(free)

    protocol.data_received(EMPTY)
    assert line.reading
    protocol.data_received(EMPTY)
    assert not line.reading
    free.set()
    await until(received, 2)

    assert line.reading


EMPTY = frames.frame(frames.TEXT, b"")
MANY = 40_000


async def until(received: list[Any], count: int) -> None:
    """Turn the event loop until the application has received `count` messages, and once more."""
    for _ in range(MANY):
        await asyncio.sleep(0)
        if len(received) >= count:
            break
    await asyncio.sleep(0)


async def test_many_small_frames_in_one_read_leave_others_their_turn() -> None:
    protocol, line, received = await opened()

    protocol.data_received(EMPTY * MANY)

    turns = 0
    while len(received) < MANY:
        before = len(received)
        assert not line.reading
        await asyncio.sleep(0)
        turns += 1
        assert len(received) - before <= SLICE_BYTES // len(EMPTY) + 1
        assert turns < MANY
    await asyncio.sleep(0)
    assert line.reading


async def test_a_message_of_many_slices_arrives_whole_and_in_order() -> None:
    protocol, line, received = await opened()
    long = "x" * 100 * SLICE_BYTES
    wire = b"".join(frames.frame(frames.TEXT, text.encode()) for text in ("first", long, "last"))

    half = len(wire) // 2
    protocol.data_received(wire[:half])
    protocol.data_received(wire[half:])
    await until(received, 3)

    assert [message["text"] for message in received] == ["first", long, "last"]
    assert line.reading


async def test_what_was_read_before_the_line_was_lost_reaches_the_application_first() -> None:
    protocol, _, received = await opened()

    protocol.data_received(EMPTY * MANY)
    protocol.connection_lost(None)
    await until(received, MANY + 1)

    assert [message["type"] for message in received[-2:]] == ["websocket.receive", "websocket.disconnect"]


async def test_pings_without_end_leave_others_their_turn() -> None:
    protocol, line, _ = await opened()

    protocol.data_received(frames.frame(frames.PING, b"") * MANY)
    assert line.written == []
    await asyncio.sleep(0)

    assert 0 < len(line.frames) < SLICE_BYTES
