"""A charge point that keeps books: it repeats every transaction message until it is answered, and knows what was.

It speaks through plain `websockets` and decides for itself when to cut the line, so it can lose exactly the answers
that a drill wants lost. It carries out what it is asked to, and keeps that too. Units: Wh.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import websockets

ANSWER_SECONDS = 10.0
RECONNECT_SECONDS = (0.02, 0.3)
# What a charge point says to a request of ours; where it is not this, it is Accepted.
ANSWERS = {"UnlockConnector": {"status": "Unlocked"}, "GetConfiguration": {}}
ACCEPTED = {"status": "Accepted"}


@dataclass
class Session:
    """One charging session as the station lived it; `transaction_id` is what every answer must agree on."""

    connector_id: int
    id_tag: str
    started_at: str
    meter_start_wh: int
    transaction_id: int | None = None
    readings: list[tuple[str, int]] = field(default_factory=list)
    meter_stop_wh: int | None = None
    stopped: bool = False


class LedgerStation:
    """Charges in a loop until told to stop; `sessions` is the truth that the database is compared with.

    `urls` end in a slash; each new connection dials one of them. `think_seconds` is the longest pause between an answer
    and the next message. `calls` has the message id of each request that came, with its action; `latencies` when
    (monotonic) each answer came, and after how many seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        identity: str,
        password: str,
        id_tag: str,
        *,
        seed: int,
        cut_chance: float = 0.0,
        think_seconds: float = 0.0,
    ) -> None:
        self.identity = identity
        self.sessions: list[Session] = []
        self.calls: list[tuple[str, str]] = []
        self.answered = 0
        self.repeated = 0
        self.connects = 0
        self.answered_at = 0.0
        self.latencies: list[tuple[float, float]] = []
        self._urls = [f"{url}{quote(identity, safe='')}" for url in urls]
        credentials = base64.b64encode(f"{identity}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._id_tag = id_tag
        self._random = random.Random(seed)  # noqa: S311 - a drill is to be repeatable, not secret
        self._cut_chance = cut_chance
        self._think_seconds = think_seconds
        self._socket: websockets.ClientConnection | None = None
        self._meter_wh = self._random.randrange(1_000_000)
        self._clock = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seed)
        self._connector_id = 0
        self._stopping = False

    def finish(self) -> None:
        """Let the present session end properly, then stop."""
        self._stopping = True

    async def run(self) -> None:
        while not self._stopping:
            await self._charge()
        await self._hang_up()

    async def _charge(self) -> None:
        self._connector_id = self._connector_id % 2 + 1
        session = Session(self._connector_id, self._id_tag, self._now(), self._meter_wh)
        self.sessions.append(session)
        start = {
            "connectorId": session.connector_id,
            "idTag": session.id_tag,
            "meterStart": session.meter_start_wh,
            "timestamp": session.started_at,
        }
        answer = await self._delivered("StartTransaction", start)
        session.transaction_id = answer["transactionId"]
        for _ in range(self._random.randrange(2, 8)):
            self._meter_wh += self._random.randrange(1, 500)
            at = self._now()
            session.readings.append((at, self._meter_wh))
            value = {"timestamp": at, "sampledValue": [{"value": str(self._meter_wh), "unit": "Wh"}]}
            payload = {
                "connectorId": session.connector_id,
                "transactionId": session.transaction_id,
                "meterValue": [value],
            }
            await self._delivered("MeterValues", payload)
        self._meter_wh += self._random.randrange(1, 500)
        session.meter_stop_wh = self._meter_wh
        stop = {
            "transactionId": session.transaction_id,
            "meterStop": self._meter_wh,
            "timestamp": self._now(),
            "idTag": session.id_tag,
            "reason": "Local",
        }
        await self._delivered("StopTransaction", stop)
        session.stopped = True

    def _now(self) -> str:
        self._clock += timedelta(seconds=self._random.randrange(1, 30))
        return self._clock.strftime("%Y-%m-%dT%H:%M:%S.000Z")

    async def _delivered(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that is sent again, on a new socket with a new or the same id, until there is one."""
        message_id = str(uuid4())
        attempt = 0
        while True:
            attempt += 1
            if attempt > 1:
                self.repeated += 1
                if self._random.random() < 0.5:
                    message_id = str(uuid4())
            asked_at = monotonic()
            answer = await self._try_once(message_id, action, payload)
            if answer is not None:
                self.answered += 1
                self.answered_at = monotonic()
                self.latencies.append((self.answered_at, self.answered_at - asked_at))
                await self._think()
                return answer

    async def _try_once(self, message_id: str, action: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        try:
            socket = await self._connected()
            await socket.send(json.dumps([2, message_id, action, payload]))
            if self._random.random() < self._cut_chance:
                await asyncio.sleep(self._random.random() * 0.01)
                # No closing handshake: the line is simply gone.
                socket.transport.abort()
                self._socket = None
                return None
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    frame = await self._next_frame(socket)
                    if frame[0] == 3 and frame[1] == message_id:
                        return dict(frame[2])
                    if frame[0] == 4 and frame[1] == message_id:
                        # InternalError: the charge point is to try again.
                        return None
        except (OSError, TimeoutError, websockets.WebSocketException):
            await self._hang_up()
            await asyncio.sleep(self._random.uniform(*RECONNECT_SECONDS))
            return None

    async def _next_frame(self, socket: websockets.ClientConnection) -> list[Any]:
        """The next frame; a request of the central system is answered on the way."""
        frame: list[Any] = json.loads(await socket.recv())
        if frame[0] == 2:
            self.calls.append((frame[1], frame[2]))
            await socket.send(json.dumps([3, frame[1], ANSWERS.get(frame[2], ACCEPTED)]))
        return frame

    async def _think(self) -> None:
        """Pause, and carry out what is asked for meanwhile."""
        if not self._think_seconds or self._socket is None:
            return
        try:
            async with asyncio.timeout(self._random.uniform(0, self._think_seconds)):
                while True:
                    await self._next_frame(self._socket)
        except TimeoutError:
            return
        except (OSError, websockets.WebSocketException):
            await self._hang_up()

    async def _connected(self) -> websockets.ClientConnection:
        if self._socket is None:
            self._socket = await websockets.connect(
                self._random.choice(self._urls), subprotocols=[websockets.Subprotocol("ocpp1.6")],
                additional_headers=self._headers, compression=None, open_timeout=ANSWER_SECONDS, ping_interval=None,
                close_timeout=1,
            )  # fmt: skip
            self.connects += 1
        return self._socket

    async def _hang_up(self) -> None:
        if self._socket is not None:
            socket, self._socket = self._socket, None
            socket.transport.abort()
