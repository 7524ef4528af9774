"""uvicorn's websocket protocol, calmer about what any peer can send, and about one that does not take what we send.

Context: uvicorn logs a text that is not UTF-8 as a failure of the server, with a traceback, and queues a pong for every
ping even while the peer reads nothing, so that its memory is the peer's to fill. One read of 256 KiB can hold 43,000
frames; they hold the event loop for a quarter of a second, and the application, which then finds a message whenever it
asks, for as long again. It also stops and resumes reading for every single message, two system calls each.
Choice: all of this is overridden here, at the narrowest place; what was read is taken apart in slices, and others have
their turn between two; reading stops when a second message waits for the application. Consequence: whoever changes the
version of uvicorn looks at these methods; `manage.py fuzz` notices.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections import deque
from typing import Any

from django.conf import settings
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

logger = logging.getLogger(__name__)

NOT_UTF8 = 1007
# More than almost any message of a charge point; at most 700 frames.
SLICE_BYTES = 4096
# Why a connection ended that nobody closed; stations.security_events.KINDS says it in words.
NOT_READING, UNREACHABLE = "stopped_reading", "unreachable"


class Inbox:
    """What waits for the application: of asyncio.Queue as much as one reader needs, at half the cost."""

    __slots__ = ("_loop", "_messages", "_reader")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._reader: Future[None] | None = None

    def empty(self) -> bool:
        return not self._messages

    def put_nowait(self, message: ASGIReceiveEvent) -> None:
        self._messages.append(message)
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        while not self._messages:
            self._reader = self._loop.create_future()
            await self._reader
        return self._messages.popleft()


class CalmWebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes with 1007 what is not UTF-8, and answers no pings to a peer that does not read.

    Such a peer holds a buffer and a task of ours, and everybody who wants to tell it something: after
    CSMS_UNREAD_SECONDS it is cut off. Why a connection was lost stands in the scope: `extensions.lost`.
    """

    _unread: TimerHandle | None = None
    # What was read and not yet taken apart; reading is paused as long as there is any.
    _held: deque[bytes] | None = None
    _going_on = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue: Any = Inbox(self.loop)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(settings.CSMS_UNREAD_SECONDS, self._give_up)

    def resume_writing(self) -> None:
        self._forget()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        # What came before the end still counts.
        while self._held and not self.close_sent:
            super().data_received(self._held.popleft())
        self._held = None
        if isinstance(exc, TimeoutError):
            self._lost(UNREACHABLE)
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        self._lost(NOT_READING)
        self.transport.abort()

    def _lost(self, why: str) -> None:
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"]["lost"] = why
            logger.warning("Connection of %s from %s lost: %s", scope["path"], (self.client or ("",))[0], why)

    # --- slices ------------------------------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        if not self._held and len(data) <= SLICE_BYTES:
            super().data_received(data)
            return
        if self._held is None:
            self._held = deque()
        self._held.extend(data[begin : begin + SLICE_BYTES] for begin in range(0, len(data), SLICE_BYTES))
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        if not self._going_on:
            self._going_on = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Take the next slice, unless the application is still busy with the one before."""
        self._going_on = False
        if self.transport.is_closing() or not self._held or not (self.queue.empty() or self.close_sent):
            return
        super().data_received(self._held.popleft())
        if self.transport.is_closing():
            self._held.clear()
        elif self._held:
            self._go_on_soon()
        else:
            self._read_on()

    def _read_on(self) -> None:
        if self.read_paused and self.queue.empty() and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    async def receive(self) -> ASGIReceiveEvent:
        message = await self.queue.get()
        if self._held:
            self._go_on_soon()
        else:
            self._read_on()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self._held and self.close_sent:
            # The answer to our closing frame is behind what nobody asks for any more.
            self._go_on_soon()

    # --- what any peer can send --------------------------------------------------------------------------------------
    def send_receive_event_to_app(self) -> None:
        data, self.frames = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames), []
        if self.close_sent:
            return  # The application is done; what comes before the peer's own close goes nowhere.
        if not self.queue.empty() and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        if self.curr_msg_data_type != "text":
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.conn.send_close(NOT_UTF8)
            self.handle_parser_exception()
            return
        self.queue.put_nowait({"type": "websocket.receive", "text": text})

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        # RFC 6455 5.5.3: an endpoint may answer the latest ping only. Those of a peer that reads nothing stay without.
        if self.writable.is_set():
            self.transport.write(pong)
