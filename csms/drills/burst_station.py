"""A charge point that comes back with whole transactions in its queue, and does not know their transactionIds.

It sends all of them at once, without waiting for an answer, and after a lost line again what was not answered, in other
words. What it writes for a transactionId, and with whose card, is its habit. Units: Wh.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import websockets

ANSWER_SECONDS = 30.0
RECONNECT_SECONDS = (0.02, 0.3)
READINGS = 8
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Habit:
    """`id`: what it writes for a transactionId that it does not know: a number, `nobody`, or `another` of its own."""

    name: str
    id: int | str
    one_card: bool
    tag_in_stop: bool = True


HABITS = (
    Habit("-1, another card each", -1, one_card=False),
    Habit("-1, one card on both connectors", -1, one_card=True),
    Habit("-1, no idTag in the stop", -1, one_card=True, tag_in_stop=False),
    Habit("an id of nobody", "nobody", one_card=True),
    Habit("an id of another transaction", "another", one_card=True),
)


@dataclass
class Charge:
    """One transaction as the station lived it; times as it writes them first."""

    connector_id: int
    id_tag: str
    started_at: datetime
    meter_start_wh: int
    readings: list[tuple[datetime, int]] = field(default_factory=list)
    stopped_at: datetime | None = None
    meter_stop_wh: int = 0
    transaction_id: int | None = None

    def book(self) -> dict[str, Any]:
        """As csms/drills/burst_invariants.py compares it."""
        return {
            "connector_id": self.connector_id,
            "meter_start_wh": self.meter_start_wh,
            "meter_stop_wh": self.meter_stop_wh,
            "readings": [[at.isoformat(), wh] for at, wh in self.readings],
        }


@dataclass
class Entry:
    """A message of the queue, about the transaction of this number."""

    at: datetime
    number: int
    action: str
    register_wh: int
    message_id: str = field(default_factory=lambda: str(uuid4()))
    attempts: int = 0


class BurstStation:
    """Has lived `transactions` on two connectors, overlapping; `run` ends when every message was answered."""

    def __init__(self, url: str, identity: str, password: str, habit: Habit, transactions: int, *, seed: int) -> None:
        self.identity, self.habit = identity, habit
        self.answered = self.repeated = self.connects = 0
        self._url = f"{url}{quote(identity, safe='')}"
        credentials = base64.b64encode(f"{identity}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._random = random.Random(seed)  # noqa: S311 - a drill is to be repeatable, not secret
        self._cuts = seed % 2 == 0
        self.charges = self._live(transactions)
        self._queue = {entry.message_id: entry for entry in sorted(self._entries(), key=lambda e: (e.at, e.number))}

    def book(self) -> dict[str, Any]:
        charges = [charge.book() for charge in self.charges]
        return {"identity": self.identity, "habit": self.habit.name, "charges": charges}

    @property
    def waiting(self) -> int:
        """How many messages have no answer yet."""
        return len(self._queue)

    def _live(self, transactions: int) -> list[Charge]:
        begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._random.randrange(86_400))
        clocks = {1: begin, 2: begin + 7 * MINUTE}
        registers = {1: self._random.randrange(1_000_000), 2: 40_000_000 + self._random.randrange(1_000_000)}
        charges = []
        for number in range(transactions):
            connector_id = 1 + number % 2
            at, register = clocks[connector_id], registers[connector_id]
            id_tag = f"{self.identity}-{0 if self.habit.one_card else number}"
            charge = Charge(connector_id, id_tag, at + timedelta(milliseconds=600), register)
            for _ in range(READINGS):
                at += self._random.randrange(60, 600) * timedelta(seconds=1)
                register += self._random.randrange(50, 900)
                charge.readings.append((at, register))
            charge.stopped_at = at + self._random.randrange(1, 60) * timedelta(seconds=1)
            charge.meter_stop_wh = register + self._random.randrange(100)
            clocks[connector_id] = charge.stopped_at + self._random.randrange(1, 20) * MINUTE
            registers[connector_id] = charge.meter_stop_wh
            charges.append(charge)
        return charges

    def _entries(self) -> list[Entry]:
        entries = []
        for number, charge in enumerate(self.charges):
            entries.append(Entry(charge.started_at, number, "StartTransaction", charge.meter_start_wh))
            entries += [Entry(at, number, "MeterValues", register) for at, register in charge.readings]
            entries.append(
                Entry(charge.stopped_at or charge.started_at, number, "StopTransaction", charge.meter_stop_wh)
            )
        return entries

    # --- what it writes -----------------------------------------------------------------------------------------------
    def _payload(self, entry: Entry) -> dict[str, Any]:
        """The message; each attempt is in words of its own."""
        charge, odd = self.charges[entry.number], entry.attempts % 2 == 0
        if entry.action == "MeterValues":
            value = f"{entry.register_wh}.0" if odd else str(entry.register_wh)
            sample = (
                {"value": value, "context": "Sample.Periodic", "unit": "Wh"} if odd else {"unit": "Wh", "value": value}
            )
            element = {"timestamp": _wire(entry.at), "sampledValue": [sample]}
            return {"connectorId": charge.connector_id, "transactionId": self._id(entry), "meterValue": [element]}
        id_tag = charge.id_tag.lower() if odd else charge.id_tag
        if entry.action == "StartTransaction":
            # The fraction as it is; with the next attempt cut by some, rounded by others.
            at = self._in_seconds(entry.at) if odd else entry.at
            return {
                "connectorId": charge.connector_id,
                "idTag": id_tag,
                "meterStart": charge.meter_start_wh,
                "timestamp": _wire(at),
            }
        at = entry.at + timedelta(milliseconds=self._random.randrange(40))
        stop = {"transactionId": self._id(entry), "meterStop": charge.meter_stop_wh, "timestamp": _wire(at)}
        return stop | {"idTag": id_tag} if self.habit.tag_in_stop else stop

    def _in_seconds(self, at: datetime) -> datetime:
        return at.replace(microsecond=0) if self._cuts else at + timedelta(milliseconds=400)

    def _id(self, entry: Entry) -> int:
        if isinstance(self.habit.id, int):
            return self.habit.id
        if self.habit.id == "nobody":
            return 1_000_000_000 + entry.number
        # The one before it, once that is known, else what a counter of its own would say.
        known = self.charges[entry.number - 1].transaction_id if entry.number else None
        return known or entry.number + 1

    # --- the line -----------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        while self._queue:
            try:
                await self._burst()
            except (OSError, TimeoutError, websockets.WebSocketException):
                await asyncio.sleep(self._random.uniform(*RECONNECT_SECONDS))

    async def _burst(self) -> None:
        """Everything that is not answered, at once; then the answers, until they end or the line does."""
        async with websockets.connect(
            self._url, subprotocols=[websockets.Subprotocol("ocpp1.6")], additional_headers=self._headers,
            compression=None, open_timeout=ANSWER_SECONDS, ping_interval=None, close_timeout=1,
        ) as socket:  # fmt: skip
            self.connects += 1
            sending = asyncio.create_task(self._send_all(socket))
            try:
                while self._queue:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        self._take(json.loads(await socket.recv()))
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self, socket: websockets.ClientConnection) -> None:
        for entry in list(self._queue.values()):
            entry.attempts += 1
            self.repeated += entry.attempts > 1
            await socket.send(json.dumps([2, entry.message_id, entry.action, self._payload(entry)]))

    def _take(self, frame: list[Any]) -> None:
        """An answer; a refusal is one for the next burst."""
        if frame[0] != 3:
            return
        entry = self._queue.pop(frame[1], None)
        if entry is not None:
            self.answered += 1
            if entry.action == "StartTransaction":
                self.charges[entry.number].transaction_id = frame[2]["transactionId"]


def _wire(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
