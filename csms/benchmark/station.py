"""A charge point for load: the cheapest websocket client that a server cannot tell from a real one.

Context: client and server share a small machine, so what the client spends, the server cannot have. Choice: an asyncio
Protocol that writes frames built beforehand (only the message id, the times and the transaction change) and compares
the beginning of the answer with what it must be; nothing is parsed but the transactionId of a start. Frames are masked
with zeros, which is allowed, costs the client nothing and the server as much as any other mask. Consequence: it does
OCPP-J calls one after the other, confirms whatever it is asked, and does nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import quote

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NO_MASK = bytes(4)
# Stand in a payload for the time of the message and the id of the running transaction.
NOW, TRANSACTION = "{now}", "{transaction}"
ID_PLACE, TIME_PLACE = b"%010d", b"%s"
# A number with spaces before it is JSON, and as long as any other.
TRANSACTION_PLACE = b"%10d"
_PLACES = re.compile(re.escape(NOW).encode() + b"|" + re.escape(f'"{TRANSACTION}"').encode())
MILLISECOND = timedelta(milliseconds=1)
# What a charge point answers to a request of the server; everything else is confirmed with an empty object.
CONFIRMATIONS = {
    "ChangeConfiguration": b'{"status":"Accepted"}',
    "GetLocalListVersion": b'{"listVersion":0}',
    "TriggerMessage": b'{"status":"NotImplemented"}',
}


class LoadError(Exception):
    """The server did not do what a benchmark can count: it refused, closed, or answered with a CALLERROR."""


class Meter:
    """Answers of one group of stations; those between `counting` set and unset have their latency in seconds kept."""

    def __init__(self) -> None:
        self.running = True
        self.counting = False
        self.latencies = array("d")


class Template:
    """The frame of one request: all but the message id (ten digits), times and transaction, which are filled in."""

    __slots__ = ("_transaction_places", "action", "frame", "opens_transaction")

    def __init__(self, action: str, payload: Mapping[str, Any]) -> None:
        self.action = action
        self.opens_transaction = action == "StartTransaction"
        text = json.dumps([2, "{id}", action, payload], separators=(",", ":")).encode().replace(b"%", b"%%")
        # Of each place in its order: whether the transaction belongs there, or the time.
        self._transaction_places = [place != NOW.encode() for place in _PLACES.findall(text)]
        text = _PLACES.sub(lambda place: TIME_PLACE if place[0] == NOW.encode() else TRANSACTION_PLACE, text)
        self.frame = text.replace(b"{id}", ID_PLACE, 1)
        length = len(self.fill(0, timestamp(datetime.now(UTC))))
        self.frame = _header(TEXT, length).replace(b"%", b"%%") + self.frame

    def fill(self, message_id: int, at: bytes, transaction_id: int = 0) -> bytes:
        return self.frame % (
            message_id,
            *[transaction_id if of_transaction else at for of_transaction in self._transaction_places],
        )


def timestamp(moment: datetime) -> bytes:
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
    """One charge point: `connect`, then `ask` for single requests, `keep_asking` or `ask_in_turn` for a loop.

    `transaction_id` is that of its last StartTransaction; 1 stands for the one that an echo never opens. `asked_of_it`
    holds when (monotonic seconds) each request of the server came.
    """

    __slots__ = (
        "_buffer", "_clock", "_done", "_due", "_every", "_expected", "_failed", "_message_id", "_meters", "_opened",
        "_sent_at", "_step", "_templates", "_timer", "_transport", "acknowledged", "asked_of_it", "identity",
        "transaction_id",
    )  # fmt: skip

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.acknowledged: dict[str, int] = {}
        self.asked_of_it: list[float] = []
        self.transaction_id = 1
        # Times run ahead of the clock by a millisecond a message: no two readings of a charge point have the same.
        self._clock = datetime.now(UTC)
        self._message_id = 0
        self._buffer = b""
        self._opened: asyncio.Future[None] | None = None
        self._done: asyncio.Future[bytes] | None = None
        self._failed: LoadError | None = None
        self._templates: Sequence[Template] = ()
        self._meters: Sequence[Meter] = ()
        self._step = 0
        # Of an open loop: seconds between two requests, when the present one was due, and the wait for the next.
        self._every = self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- connecting --------------------------------------------------------------------------------------------------
    async def connect(self, host: str, port: int, folder: str, password: str, source: str | None = None) -> None:
        """Dial `ws://host:port/folder/<identity>` with HTTP Basic, from the address `source`.

        Raises LoadError when it is not let in, OSError when nobody listens.
        """
        loop = asyncio.get_running_loop()
        self._opened = loop.create_future()
        await loop.create_connection(lambda: self, host, port, local_addr=None if source is None else (source, 0))
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

    def cut(self) -> None:
        """Be gone at once, as after a power cut: nothing is said on the websocket."""
        self._failed = LoadError("cut off")
        self._transport.abort()

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
        return self.ask_in_turn([template], [] if meter is None else [meter])

    def ask_in_turn(
        self, templates: Sequence[Template], meters: Sequence[Meter], *, every: float = 0.0, begin: float = 0.0
    ) -> asyncio.Future[bytes]:
        """As `keep_asking`, with several requests in turn and a meter for each.

        With `every` the loop is open: a request is due that many seconds after the one before was, the first after
        `begin` seconds. One that has to wait for an answer leaves late, and its latency counts from when it was due.
        """
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        if self._failed is not None:
            self._done.set_exception(self._failed)
            return self._done
        self._templates, self._meters, self._step, self._every = templates, meters, 0, every
        if every:
            self._due = perf_counter() + begin
            self._timer = loop.call_later(begin, self._send)
        else:
            self._send()
        return self._done

    def rest(self) -> None:
        """End an open loop that waits for its next request; one that waits for an answer ends with that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._done is not None and not self._done.done():
                self._done.set_result(b"")

    def _send(self) -> None:
        self._timer = None
        self._message_id += 1
        self._clock += MILLISECOND
        self._expected = b'[3,"%010d"' % self._message_id
        frame = self._templates[self._step].fill(self._message_id, timestamp(self._clock), self.transaction_id)
        self._sent_at = self._due if self._every else perf_counter()
        self._transport.write(frame)

    def _answered(self, text: bytes) -> None:
        if not text.startswith(self._expected):
            self._fail(f"answered {text[:300].decode(errors='replace')}")
            self._transport.close()
            return
        step = self._step
        if self._templates[step].opens_transaction:
            self.transaction_id = json.loads(text)[2].get("transactionId", self.transaction_id)
        if self._meters:
            meter = self._meters[step]
            if meter.counting:
                meter.latencies.append(perf_counter() - self._sent_at)
            if meter.running:
                self._step = (step + 1) % len(self._templates)
                if self._every:
                    self._send_when_due()
                else:
                    self._send()
                return
        if self._done is not None and not self._done.done():
            self._done.set_result(text)

    def _send_when_due(self) -> None:
        self._due += self._every
        wait = self._due - perf_counter()
        if wait > 0:
            self._timer = asyncio.get_running_loop().call_later(wait, self._send)
        else:
            self._send()

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
            if payload.startswith(b"[2,"):
                self._confirm(payload)
            else:
                self._answered(payload)
        elif opcode == PING:
            self._transport.write(_header(PONG, len(payload)) + payload)
        elif opcode == CLOSE:
            self._fail(f"closed with {int.from_bytes(payload[:2], 'big')}")
            self._transport.close()

    def _confirm(self, request: bytes) -> None:
        self.asked_of_it.append(monotonic())
        _, message_id, action, _ = json.loads(request)
        text = b"[3,%s,%s]" % (json.dumps(message_id).encode(), CONFIRMATIONS.get(action, b"{}"))
        self._transport.write(_header(TEXT, len(text)) + text)
