"""A charge point for load: the cheapest websocket client that a server cannot tell from a real one.

Context: client and server share a small machine, so what the client spends, the server cannot have. Choice: an asyncio
Protocol that writes frames built beforehand (only the message id and the time change) and compares the beginning of the
answer with what it must be; nothing is parsed. Frames are masked with zeros, which is allowed, costs the client nothing
and the server as much as any other mask. Consequence: it does OCPP-J calls one after the other, and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from array import array
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from urllib.parse import quote

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NO_MASK = bytes(4)
# Stands in a payload for the time of the message.
NOW = "{now}"
ID_PLACE, TIME_PLACE = b"%010d", b"%s"
MILLISECOND = timedelta(milliseconds=1)


class LoadError(Exception):
    """The server did not do what a benchmark can count: it refused, closed, or answered with a CALLERROR."""


class Meter:
    """Answers of one group of stations; those between `counting` set and unset have their latency in seconds kept."""

    def __init__(self) -> None:
        self.running = True
        self.counting = False
        self.latencies = array("d")


class Template:
    """The frame of one request: everything but the message id (ten digits) and the times, which are filled in."""

    __slots__ = ("_times", "frame")

    def __init__(self, action: str, payload: Mapping[str, Any]) -> None:
        text = json.dumps([2, "{id}", action, payload], separators=(",", ":")).encode().replace(b"%", b"%%")
        self._times = text.count(NOW.encode())
        text = text.replace(b"{id}", ID_PLACE, 1).replace(NOW.encode(), TIME_PLACE)
        self.frame = text
        length = len(self.fill(0, _timestamp(datetime.now(UTC))))
        self.frame = _header(TEXT, length).replace(b"%", b"%%") + text

    def fill(self, message_id: int, at: bytes) -> bytes:
        return self.frame % (message_id, *(at,) * self._times)


def _timestamp(moment: datetime) -> bytes:
    return f"{moment.isoformat(timespec='milliseconds')[:23]}Z".encode()


def _header(opcode: int, length: int) -> bytes:
    """The header of a final frame, masked with zeros."""
    if length < 126:
        header = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 65536:
        header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return header + NO_MASK


class Station(asyncio.Protocol):
    """One charge point: `connect`, then `ask` for single requests or `keep_asking` for a closed loop."""

    __slots__ = (
        "_buffer", "_clock", "_done", "_expected", "_failed", "_message_id", "_meter", "_opened", "_sent_at",
        "_template", "_transport", "acknowledged", "identity",
    )  # fmt: skip

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.acknowledged: dict[str, int] = {}
        # Times run ahead of the clock by a millisecond a message: no two readings of a charge point have the same.
        self._clock = datetime.now(UTC)
        self._message_id = 0
        self._buffer = b""
        self._opened: asyncio.Future[None] | None = None
        self._done: asyncio.Future[bytes] | None = None
        self._failed: LoadError | None = None
        self._meter: Meter | None = None

    # --- connecting --------------------------------------------------------------------------------------------------
    async def connect(self, host: str, port: int, folder: str, password: str) -> None:
        """Dial `ws://host:port/folder/<identity>` with HTTP Basic. Raises LoadError when it is not let in."""
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        await loop.create_connection(lambda: self, host, port)
        credentials = base64.b64encode(f"{self.identity}:{password}".encode()).decode()
        request = (
            f"GET {folder}{quote(self.identity, safe='')} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
            f"Authorization: Basic {credentials}\r\nUser-Agent: csms-benchmark\r\n\r\n"
        )
        self._transport.write(request.encode())
        await self._opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection ended ({exc or 'closed by the server'})")

    def close(self) -> None:
        """Leave with a closing frame, which ends the server's side in order."""
        self._failed = LoadError("closed")
        self._transport.write(_header(CLOSE, 2) + struct.pack("!H", 1000))

    def _fail(self, why: str) -> None:
        if self._failed is None:
            self._failed = LoadError(f"{self.identity}: {why}")
        for waiting in (self._opened, self._done):
            if waiting is not None and not waiting.done():
                waiting.set_exception(self._failed)

    # --- asking ------------------------------------------------------------------------------------------------------
    async def ask(self, action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request; the payload of its confirmation. Raises LoadError."""
        answer = await self.keep_asking(Template(action, payload), None)
        result: dict[str, Any] = json.loads(answer)[2]
        self.acknowledged[action] = self.acknowledged.get(action, 0) + 1
        return result

    def keep_asking(self, template: Template, meter: Meter | None) -> asyncio.Future[bytes]:
        """Send the request again and again, each after the answer to the one before, while `meter.running`.

        Without a meter it is sent once. The future is done with the last answer; nothing is unanswered then.
        """
        self._done = asyncio.get_running_loop().create_future()
        if self._failed is not None:
            self._done.set_exception(self._failed)
        else:
            self._template, self._meter = template, meter
            self._send()
        return self._done

    def _send(self) -> None:
        self._message_id += 1
        self._clock += MILLISECOND
        self._expected = b'[3,"%010d"' % self._message_id
        frame = self._template.fill(self._message_id, _timestamp(self._clock))
        self._sent_at = perf_counter()
        self._transport.write(frame)

    def _answered(self, text: bytes) -> None:
        if not text.startswith(self._expected):
            self._fail(f"answered {text[:300].decode(errors='replace')}")
            self._transport.close()
            return
        meter = self._meter
        if meter is not None:
            if meter.counting:
                meter.latencies.append(perf_counter() - self._sent_at)
            if meter.running:
                self._send()
                return
        if self._done is not None and not self._done.done():
            self._done.set_result(text)

    @property
    def message_id(self) -> int:
        """The number of the last request, counted from 1 on this connection."""
        return self._message_id

    # --- frames in ---------------------------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        if self._opened is not None and not self._opened.done():
            head, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._fail(f"refused with {head.splitlines()[0].decode(errors='replace')} {data[:200]!r}")
                return
            self._opened.set_result(None)
        while len(data) >= 2:
            offset, length = 2, data[1]
            if length == 126:
                offset, length = 4, int.from_bytes(data[2:4], "big")
            elif length == 127:
                offset, length = 10, int.from_bytes(data[2:10], "big")
            end = offset + length
            if len(data) < max(offset, end):
                break
            self._take(data[0] & 0x0F, data[offset:end])
            data = data[end:]
        self._buffer = data

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._answered(payload)
        elif opcode == PING:
            self._transport.write(_header(PONG, len(payload)) + payload)
        elif opcode == CLOSE:
            self._fail(f"closed with {int.from_bytes(payload[:2], 'big')}")
            self._transport.close()
