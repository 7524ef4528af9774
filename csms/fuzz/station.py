"""A charge point out of its mind: it makes its moves as fast as the server takes them, and keeps the server's promises.

After each move it knows which answers are due, in which order. An answer that is not the next one due, that comes twice
or not at all, a line that ends when it should not or does not end when it should, is a `Broken` promise, reported with
the names of the moves that led to it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from csms.fuzz import frames, messages, oracle
from csms.fuzz.moves import Maker, Move

# The longest silence while an answer is due: the machine may be busy with everything else.
PATIENCE_SECONDS = 60.0
# Answers that may be due before the next move waits; small windows find other faults than large ones.
WINDOWS = (1, 4, 16, 64)
REMEMBERED_MOVES = 30
NO_CODE = 1005


class Broken(Exception):
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where a station dials, and as whom. `accepted`: its registration; others may only boot."""

    port: int
    folder: str
    identity: str
    password: str
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class _Due:
    """An answer that must come next: its id, the action it must fit (None: an error), the move that asked."""

    message_id: Any
    action: str | None
    move: str


class Line(asyncio.Protocol):
    """A websocket as bytes: opens with the handshake, hands out whole frames of the server, keeps its close code.

    `code` is that of the closing frame, NO_CODE for an empty one, None as long as there was none.
    """

    def __init__(self, take: Callable[[str], None], woken: Callable[[], None]) -> None:
        self._take = take
        self._woken = woken
        self._buffer = b""
        # uvloop's transports are not subclasses of asyncio's.
        self.transport: Any = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()
        self.failed: Broken | None = None
        self.code: int | None = None

    async def open(self, account: Account) -> None:
        """Raises Broken when the server does not let it in."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", account.port)
        credentials = base64.b64encode(f"{account.identity}:{account.password}".encode()).decode()
        request = (
            f"GET {account.folder}{quote(account.identity, safe='')} HTTP/1.1\r\nHost: 127.0.0.1:{account.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
            f"Authorization: Basic {credentials}\r\nUser-Agent: csms-fuzz\r\n\r\n"
        )
        self.transport.write(request.encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.opened

    async def write(self, data: bytes) -> None:
        await self._writable.wait()
        self.transport.write(data)

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # --- asyncio's calls ---------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self.lost.set()
        self._woken()
        if not self.opened.done():
            self.opened.set_exception(Broken("The line ended before the handshake did."))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        if not self.opened.done():
            head, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                status = head.split(b"\r\n", 1)[0].decode(errors="replace")
                self.opened.set_exception(Broken(f"The handshake was refused: {status} {data[:100]!r}."))
                return
            self.opened.set_result(None)
        found, self._buffer = frames.read(data)
        for opcode, payload in found:
            if opcode == frames.CLOSE:
                self.code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
                self.transport.close()
            elif opcode == frames.TEXT:
                try:
                    self._take(payload.decode())
                except (Broken, ValueError) as error:
                    self.failed = self.failed or Broken(str(error))
            elif opcode != frames.PONG:
                self.failed = self.failed or Broken(f"The server sent a frame with opcode {opcode}.")
        self._woken()


class Station:
    """Plays the moves `first` to `last` of one station; `answers` counts what came back, `kinds` what was sent."""

    def __init__(self, maker: Maker, number: int, account: Account) -> None:
        self.frames = 0
        self.connects = 0
        self.next_move = 0
        self.answers: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.moves: deque[str] = deque(maxlen=REMEMBERED_MOVES)
        self._maker = maker
        self._number = number
        self._account = account
        self._due: deque[_Due] = deque()
        self._progress = asyncio.Event()
        self._line: Line | None = None
        # The id of the CALL that the server waits for, as far as we know.
        self._asked = "nobody"

    async def play(self, first: int, last: int, running: Callable[[], bool]) -> None:
        """Make moves while `running()`; then a valid message must still be answered. Raises Broken.

        After a broken promise `next_move` tells where to go on, with a new connection.
        """
        self.leave()
        self.next_move = first
        while self.next_move <= last and running():
            move = self._maker.make(self._number, self.next_move)
            self.next_move += 1
            await self._make(move, WINDOWS[self.next_move // 200 % len(WINDOWS)])
        await self._still_alive()
        line = self._line
        if line is not None:
            await line.write(frames.closing(1000))
            await self._ended(line, (1000,))

    async def _make(self, move: Move, window: int) -> None:
        self.moves.append(move.name)
        self.kinds[move.kind] += 1
        ending = move.ends is not None or move.cuts
        await self._wait(0 if ending else window - 1)
        line = await self._connected()
        try:
            expected = [oracle.due(message) for message in move.read_as(self._asked)]
        except oracle.Overlooked as overlooked:
            raise Broken(f"The decoder reads {overlooked}.") from None
        self._due.extend(_Due(*each, move.name) for each in expected if each is not None)
        self.frames += len(move.parts)
        await line.write(move.wire(self._asked))
        # Answers are read while moves are made, also when there is nothing to wait for.
        await asyncio.sleep(0)
        if move.cuts:
            line.drop()
            self._line = None
        elif move.ends is not None:
            await self._ended(line, move.ends)

    async def _still_alive(self) -> None:
        """A message that anybody may send is answered by a result, after everything that was due."""
        line = await self._connected()
        payload = {"chargePointVendor": "Fuzz", "chargePointModel": "Calm"}
        self._due.append(_Due("still-alive", "BootNotification", "the last"))
        text = json.dumps([2, "still-alive", "BootNotification", payload])
        await line.write(frames.frame(frames.TEXT, text.encode()))
        results = self.answers["CALLRESULT"]
        await self._wait(0)
        if self.answers["CALLRESULT"] == results:
            raise Broken("A valid BootNotification was answered by an error.")

    async def _connected(self) -> Line:
        line = self._line
        if line is not None and line.lost.is_set():
            raise Broken(f"The server ended the connection (close code {line.code}).")
        if line is None:
            self.connects += 1
            line = self._line = Line(self._take, self._progress.set)
            await line.open(self._account)
            self._asked = "nobody"
        return line

    async def _wait(self, most: int) -> None:
        """Until at most `most` answers are due."""
        line = self._line
        while len(self._due) > most and line is not None:
            self._check(line)
            self._progress.clear()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._progress.wait()
            except TimeoutError:
                due = self._due[0]
                raise Broken(f"No answer to {due.message_id!r} of move {due.move}.") from None
        if line is not None:
            self._check(line)

    def _check(self, line: Line) -> None:
        if line.failed is not None:
            raise line.failed
        if line.lost.is_set() and self._due:
            due = self._due[0]
            owed = f"{due.message_id!r} of move {due.move}"
            raise Broken(f"The server ended the connection (close code {line.code}) with {owed} due.")

    async def _ended(self, line: Line, codes: tuple[int | None, ...]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await line.lost.wait()
        except TimeoutError:
            raise Broken(f"The server kept a connection that had to end with {codes}.") from None
        self._check(line)
        if line.code not in codes:
            raise Broken(f"The connection ended with close code {line.code} instead of {codes}.")
        self._line = None

    def _take(self, text: str) -> None:
        """One text of the server: the next answer due, or a CALL of its own."""
        elements = json.loads(text)
        if elements[0] == oracle.CALL:
            self.answers["CALL"] += 1
            self._asked = elements[1]
            return
        if not self._due:
            raise Broken(f"An answer to nothing: {text[:300]}")
        due = self._due.popleft()
        if elements[1] != due.message_id or type(elements[1]) is not type(due.message_id):
            raise Broken(f"Instead of the answer to {due.message_id!r} of move {due.move} came {text[:300]}")
        wrong = oracle.fault(elements)
        if wrong is not None:
            raise Broken(f"The answer to {due.message_id!r} of move {due.move} is {wrong}: {text[:300]}")
        if elements[0] == oracle.CALL_ERROR:
            self.answers[elements[2]] += 1
            if elements[2] == "InternalError":
                raise Broken(f"The server failed at {due.message_id!r} of move {due.move}: {text[:300]}")
            return
        self.answers["CALLRESULT"] += 1
        if due.action is None or not messages.is_result(due.action, elements[2]):
            raise Broken(f"No valid confirmation of {due.action} (move {due.move}): {text[:300]}")

    def leave(self) -> None:
        """Drop the line, and forget what was due."""
        line, self._line = self._line, None
        self._due.clear()
        if line is not None:
            line.drop()
