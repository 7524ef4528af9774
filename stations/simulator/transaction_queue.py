"""Transaction-related messages: kept in order, kept while offline, sent until the central system has taken them.

StartTransaction, MeterValues and StopTransaction may be sent only in the order they happened (OCPP 1.6 ed. 2, 3.7), so
one task per station sends them one by one. What the central system fails to process is sent again,
TransactionMessageAttempts times in all, after pauses that grow by TransactionMessageRetryInterval (3.7.1). A broken
line is no failure of the central system: the message simply goes first when the line is back. Requests are built when
they are sent, because the transactionId of a transaction that began offline is not known before its StartTransaction
has been answered.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .link import CallFailed, Line, LineLost, NoAnswer
from .waiting import Switch, first_of

# Samples taken while offline beyond this number are not kept: they are the first a station with a full memory lets go.
MOST_METER_VALUES = 500


@dataclass(eq=False)
class QueuedMessage:
    """One message. `answered` gets the answer, or None when the message was dropped after its last attempt.

    `lose_answers` makes the station behave as if that many answers had been lost on the way.
    """

    build: Callable[[], Any]
    answered: Callable[[Any], None]
    droppable: bool = False
    lose_answers: int = 0
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class TransactionQueue:
    """The queue of one station; `run` is its only sender."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._messages: deque[QueuedMessage] = deque()
        self._filled = Switch()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: QueuedMessage) -> None:
        if message.droppable and len(self._messages) >= MOST_METER_VALUES:
            return
        self._messages.append(message)
        self._filled.turn_on()

    async def drained(self, timeout_seconds: float) -> bool:
        """Wait until everything has been delivered, at most that long; False when something is left."""
        if self._messages:
            await first_of(self._filled.off, timeout=timeout_seconds)
        return not self._messages

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            await first_of(self._filled.on)
            await self._deliver(self._messages[0])
            self._messages.popleft()
            if not self._messages:
                self._filled.turn_off()

    async def _deliver(self, message: QueuedMessage) -> None:
        line, sent, ids = self._line, 0, set()
        while True:
            await first_of(line.online.on)
            interval = line.configuration.number("TransactionMessageRetryInterval")
            payload = message.build()
            try:
                answer = await line.request(payload, message.message_id)
            except LineLost:
                continue
            except CallFailed as failure:
                sent += 1
                if sent >= max(1, line.configuration.number("TransactionMessageAttempts")):
                    line.statistics.problem(
                        f"{line.id}: {type(payload).__name__} dropped after {sent} attempts: {failure}"
                    )
                    message.answered(None)
                    return
                if not isinstance(failure, NoAnswer):
                    # That exchange is complete; an attempt without answer keeps its id (OCPP-J errata 2025-04, 3.1).
                    message.message_id = str(uuid.uuid4())
                await asyncio.sleep(interval * sent)
                continue
            ids.add(getattr(answer, "transaction_id", None))
            if message.lose_answers > 0:
                message.lose_answers -= 1
                sent += 1
                if sent > 1:
                    message.message_id = str(uuid.uuid4())  # both ways to repeat are allowed, so show both
                await asyncio.sleep(interval * sent / line.options.speed)
                continue
            if len(ids) > 1:
                line.statistics.problem(
                    f"{line.id}: a repeated {type(payload).__name__} got different transactionIds: {ids}"
                )
            message.answered(answer)
            return
