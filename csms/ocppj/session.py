"""One websocket conversation: which answers are due, which one we wait for, and in which order texts leave.

Two conversations run over each websocket, one per direction, and they do not wait for each other.

The charge point asks. Each CALL takes a place in a queue when it arrives, and texts leave from the front of that queue
only: an answer that is ready early, a refusal for instance, waits for those before it. So answers leave in the order of
the CALLs, exactly one for each receipt. A CALL of ours takes a place in the same queue, which puts it behind every
answer that is due at that moment: a confirmation leaves before any request that it caused.

    place of an inbound CALL   becomes answered by
    due                        send_result, send_error
    repeat of one that is due  the answer of the first, whichever that is
    refused                    (on arrival) its CALLERROR
    repeat of one answered     (on arrival) the remembered CALLRESULT

We ask. At most one CALL of ours is unanswered (OCPP-J 1.6 section 4.1.1); who sends it and when is decided outside.

    state      send_call        CALLRESULT            CALLERROR           tick past deadline    close
    idle       -> waiting       FrameIgnored          FrameIgnored        -                     -
    waiting    CallOutstanding  CallAnswered -> idle  CallFailed -> idle  CallTimedOut -> idle  CallLost
    timed out  -> waiting       CallAnswered, late    CallFailed, late    -                     -

The last 8 timed-out ids are remembered to recognise late answers. Results and errors are never answered themselves.

Repetition. A charge point that missed an answer sends the same CALL again with the same id. The session remembers its
last 16 results for 300 s, those that carry the clock for 10 s, and repeats them without bothering the database. It
never remembers errors: a retry after InternalError has to be processed again. The same id with another payload is a new
request (counters restart at boot). Safety against repetition beyond that is the database's business.
Sources: OCPP-J 1.6 sections 4.1.1, 4.1.3, 4.2.3; errata 3.1, 3.3, 3.5.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from csms.ocppj.errors import FormationViolation, OcppError
from csms.ocppj.frames import (
    MAX_MESSAGE_ID,
    BadFrame,
    Call,
    CallError,
    CallResult,
    MessageId,
    RefusedCall,
    Repair,
    canonical,
    decode,
    encode,
    storable,
)
from csms.ocppj.payloads import order_call, parse_call, parse_result, result_payload
from csms.ocppj.tolerance import Deviation

MAX_EXCERPT = 2000
REMEMBERED_ANSWERS = 16
REMEMBERED_TIMEOUTS = 8
REMEMBER_SECONDS = 300.0
REMEMBER_CLOCK_SECONDS = 10.0

# Their answers carry currentTime, by which the charge point sets its clock: an old one would set it wrong.
_CARRIES_CLOCK = frozenset({"BootNotification", "Heartbeat"})
_MAX_ACTION = 64


# Not frozen, as other events are: one is made of every message, and that would take three times as long.
@dataclass(slots=True)
class CallReceived:
    """A request to be answered by send_result or send_error. `req` is a dataclass of `ocpp.v16.call`."""

    message_id: MessageId
    action: str
    req: Any
    payload: dict[str, Any]
    deviations: tuple[Deviation, ...]


@dataclass(frozen=True, slots=True)
class CallRefused:
    """A request that was refused; its CALLERROR is queued already. `payload` is any JSON, None if there was none.

    For the log: `message_id` is cut to 255 characters and `action` to 64; `action` is None if the frame named none.
    """

    message_id: MessageId
    action: str | None
    payload: Any
    error: OcppError


@dataclass(frozen=True, slots=True)
class CallRepeated:
    """A request that came before, with the same id and payload; its answer is queued or follows that of the first."""

    message_id: MessageId
    action: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """The confirmation of a CALL of ours: `conf` is a dataclass of `ocpp.v16.call_result`, None if it is unusable."""

    message_id: str
    action: str
    payload: dict[str, Any]
    conf: Any
    deviations: tuple[Deviation, ...]
    late: bool


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A CALLERROR to a CALL of ours. `code` is any text, "" if there was none."""

    message_id: str
    action: str
    code: str
    description: str
    details: dict[str, Any]
    late: bool


@dataclass(frozen=True, slots=True)
class CallTimedOut:
    """A CALL of ours was not answered in time; it no longer counts, and another may be sent."""

    message_id: str
    action: str


@dataclass(frozen=True, slots=True)
class CallLost:
    """The connection ended before a CALL of ours was answered; the charge point may or may not have acted on it."""

    message_id: str
    action: str


@dataclass(frozen=True, slots=True)
class FrameIgnored:
    """A text that nothing was done with. `text` is its beginning, at most 2000 characters."""

    reason: str
    text: str


Event = CallReceived | CallRefused | CallRepeated | CallAnswered | CallFailed | CallTimedOut | CallLost | FrameIgnored


@dataclass(frozen=True, slots=True)
class OutstandingCall:
    """The CALL of ours that waits for its answer; `deadline` in the seconds of `now`."""

    message_id: str
    action: str
    deadline: float


class CallOutstanding(Exception):
    """A CALL of ours is unanswered; the next one has to wait for its answer or its timeout."""


class NotPending(LookupError):
    """No CALL with that id waits for an answer: a mistake of the caller, who answered twice or answered another."""


class SessionClosed(Exception):
    """The conversation is over; nothing can be sent any more."""


class _Place:
    """A place in the queue of texts that leave. `text` is None as long as the answer is due."""

    __slots__ = ("action", "digest", "first", "message_id", "ours", "text")

    def __init__(
        self,
        message_id: MessageId,
        action: str,
        *,
        digest: int | None = None,
        first: _Place | None = None,
        text: str | None = None,
        ours: bool = False,
    ) -> None:
        self.message_id = message_id
        self.action = action
        # Set for CALLs that are or were due, so that a repetition finds them; None for refusals and CALLs of ours.
        self.digest = digest
        # The place of the CALL that this one repeats, as long as that one was not answered.
        self.first = first
        self.text = text
        self.ours = ours


@dataclass(slots=True)
class _Remembered:
    digest: int
    expires: float
    text: str


def _new_id() -> str:
    """A message id of ours: a UUID version 4 of 36 characters (OCPP-J errata 3.1)."""
    return str(uuid.uuid4())


class Session:
    """The conversation with one charge point over one websocket. Not thread-safe; holds no clock.

    `now` is always monotonic seconds. `strict` and `call_timeout_seconds` may be changed while it runs.
    """

    __slots__ = (
        "_closed",
        "_make_id",
        "_now",
        "_out",
        "_outstanding",
        "_queue",
        "_remembered",
        "_timed_out",
        "call_timeout_seconds",
        "strict",
    )

    def __init__(
        self,
        *,
        strict: bool = False,
        call_timeout_seconds: float = 30.0,
        make_id: Callable[[], str] = _new_id,
    ) -> None:
        self.strict = strict
        self.call_timeout_seconds = call_timeout_seconds
        self._make_id = make_id
        self._now = 0.0
        self._closed = False
        self._outstanding: OutstandingCall | None = None
        # Ten thousand sessions idle in one process: containers exist only while they hold something.
        self._queue: list[_Place] | None = None
        self._out: list[str] | None = None
        self._remembered: dict[MessageId, _Remembered] | None = None
        self._timed_out: list[tuple[str, str]] | None = None

    @property
    def outstanding(self) -> OutstandingCall | None:
        """The CALL of ours that waits for its answer, or None."""
        return self._outstanding

    @property
    def next_timeout(self) -> float | None:
        """When tick is due, in the seconds of `now`; None while no CALL of ours waits."""
        return None if self._outstanding is None else self._outstanding.deadline

    @property
    def pending_calls(self) -> int:
        """How many CALLs of the charge point have no answer yet, repetitions included."""
        return sum(place.text is None for place in self._queue or ())

    def receive(self, text: str | bytes, now: float) -> list[Event]:
        """Take one websocket message. Never raises, whatever the text; an empty list only after close."""
        if self._closed:
            return []
        self._now = now
        try:
            frame = decode(text)
        except BadFrame as bad:
            return [FrameIgnored(bad.reason, _excerpt(text))]
        except RefusedCall as refused:
            return [self._refuse(refused.message_id, refused.action, refused.payload, refused.error)]
        if isinstance(frame, Call):
            return [self._receive_call(frame)]
        return [self._receive_answer(frame, text)]

    def send_result(self, message_id: MessageId, conf: Any) -> None:
        """Answer a CALL by a confirmation, a dataclass of `ocpp.v16.call_result`. Without effect after close.

        Errors: NotPending; TypeError if `conf` is not a confirmation, and the CALL stays due.
        """
        place = self._due(message_id)
        if place is not None:
            text = encode(CallResult(place.message_id, result_payload(conf)))
            self._remember(place, text)
            self._answer(place, text)

    def send_error(self, message_id: MessageId, error: OcppError) -> None:
        """Answer a CALL by a CALLERROR. Without effect after close. Errors: NotPending."""
        place = self._due(message_id)
        if place is not None:
            self._answer(place, _error_text(place.message_id, error))

    def send_call(self, action: str, payload: dict[str, Any], now: float, message_id: str | None = None) -> str:
        """Send a request of ours behind the answers that are due now; gives its message id.

        The payload is put in the order of the schema, nothing else; `payloads.validate_call` checks it beforehand. The
        timeout runs from `now`, also while the text still waits for answers to leave before it.
        Errors: CallOutstanding while an earlier one is unanswered; SessionClosed.
        """
        if self._closed:
            raise SessionClosed
        if self._outstanding is not None:
            raise CallOutstanding(self._outstanding.action)
        self._now = now
        if message_id is None:
            message_id = self._make_id()
        text = encode(Call(message_id, action, order_call(action, payload)))
        self._outstanding = OutstandingCall(message_id, action, now + self.call_timeout_seconds)
        self._enqueue(_Place(message_id, action, text=text, ours=True))
        return message_id

    def tick(self, now: float) -> list[Event]:
        """Let time pass, at `next_timeout` or now and then: gives CallTimedOut once our CALL is overdue.

        An answer that comes before tick noticed is in time.
        """
        if self._closed:
            return []
        self._now = now
        self._forget_expired()
        waiting = self._outstanding
        if waiting is None or now < waiting.deadline:
            return []
        self._outstanding = None
        # Still behind answers that are due: it must not leave after it was reported as timed out.
        self._queue = [place for place in self._queue or () if not place.ours] or None
        self._timed_out = [*(self._timed_out or ()), (waiting.message_id, waiting.action)][-REMEMBERED_TIMEOUTS:]
        return [CallTimedOut(waiting.message_id, waiting.action)]

    def frames_to_send(self) -> list[str]:
        """The texts to write to the websocket now, in this order; each is handed out once."""
        out, self._out = self._out, None
        return out or []

    def close(self) -> list[Event]:
        """End the conversation: gives CallLost for an unanswered CALL of ours. Everything after is without effect."""
        waiting, self._outstanding = self._outstanding, None
        self._closed = True
        self._queue = self._out = self._remembered = self._timed_out = None
        return [] if waiting is None else [CallLost(waiting.message_id, waiting.action)]

    def _receive_call(self, frame: Call) -> Event:
        if self.strict and any(kind == "irregular_json" for kind, _ in frame.repairs):
            error = FormationViolation("the frame is not strictly JSON")
            return self._refuse(frame.message_id, frame.action, frame.payload, error)
        digest = _digest(frame)
        repeated = self._repeat(frame, digest)
        if repeated is not None:
            self._enqueue(repeated)
            return CallRepeated(frame.message_id, frame.action, frame.payload)
        try:
            req, deviations = parse_call(frame.action, frame.payload, strict=self.strict)
        except OcppError as error:
            return self._refuse(frame.message_id, frame.action, frame.payload, error)
        self._enqueue(_Place(frame.message_id, frame.action, digest=digest))
        noted = (*_deviations(frame.repairs), *deviations)
        return CallReceived(frame.message_id, frame.action, req, frame.payload, noted)

    def _repeat(self, frame: Call, digest: int) -> _Place | None:
        """The place of a CALL that is or was answered already; None for a new one."""
        for place in self._queue or ():
            if place.digest == digest and place.message_id == frame.message_id:
                return _Place(frame.message_id, frame.action, first=place, text=place.text)
        answer = (self._remembered or {}).get(frame.message_id)
        if answer is None or answer.digest != digest or answer.expires <= self._now:
            return None
        return _Place(frame.message_id, frame.action, text=answer.text)

    def _receive_answer(self, frame: CallResult | CallError, text: str | bytes) -> Event:
        found = self._asked(str(frame.message_id))
        if found is None:
            kind = "CALLRESULT" if isinstance(frame, CallResult) else "CALLERROR"
            return FrameIgnored(f"{kind} with an unknown id", _excerpt(text))
        message_id, action, late = found
        if isinstance(frame, CallError):
            return CallFailed(message_id, action, frame.code, frame.description, frame.details, late)
        conf, deviations = parse_result(action, frame.payload)
        noted = (*_deviations(frame.repairs), *deviations)
        return CallAnswered(message_id, action, frame.payload, conf, noted, late)

    def _asked(self, message_id: str) -> tuple[str, str, bool] | None:
        """Id, action and lateness of the CALL of ours that an answer belongs to, which is thereby done with."""
        waiting = self._outstanding
        if waiting is not None and waiting.message_id == message_id:
            if any(place.ours for place in self._queue or ()):
                return None  # it has not left yet, so this cannot be its answer
            self._outstanding = None
            return message_id, waiting.action, False
        for entry in self._timed_out or ():
            if entry[0] == message_id:
                self._timed_out = [other for other in self._timed_out or () if other is not entry] or None
                return (*entry, True)
        return None

    def _refuse(self, message_id: MessageId, action: str | None, payload: Any, error: OcppError) -> Event:
        self._enqueue(_Place(message_id, action or "", text=_error_text(message_id, error)))
        logged = message_id if len(str(message_id)) <= MAX_MESSAGE_ID else str(message_id)[:MAX_MESSAGE_ID]
        return CallRefused(logged, None if action is None else action[:_MAX_ACTION], payload, error)

    def _due(self, message_id: MessageId) -> _Place | None:
        for place in self._queue or ():
            if place.text is None and place.first is None and place.message_id == message_id:
                return place
        if self._closed:
            return None
        raise NotPending(message_id)

    def _answer(self, place: _Place, text: str) -> None:
        place.text = text
        for other in self._queue or ():
            if other.first is place:
                other.text = text
        self._flush()

    def _remember(self, place: _Place, text: str) -> None:
        if place.digest is None:
            return
        seconds = REMEMBER_CLOCK_SECONDS if place.action in _CARRIES_CLOCK else REMEMBER_SECONDS
        self._forget_expired()
        remembered = self._remembered or {}
        # Taken out first, so that it becomes the youngest of the dict.
        remembered.pop(place.message_id, None)
        remembered[place.message_id] = _Remembered(place.digest, self._now + seconds, text)
        if len(remembered) > REMEMBERED_ANSWERS:
            del remembered[next(iter(remembered))]
        self._remembered = remembered

    def _forget_expired(self) -> None:
        """Drop expired answers from the old end on. One that stays behind a younger one is not repeated either."""
        remembered = self._remembered
        while remembered:
            oldest = next(iter(remembered))
            if remembered[oldest].expires > self._now:
                return
            del remembered[oldest]
        self._remembered = None

    def _enqueue(self, place: _Place) -> None:
        if self._queue is None:
            self._queue = []
        self._queue.append(place)
        self._flush()

    def _flush(self) -> None:
        """Let everything leave that no unanswered CALL stands before."""
        queue = self._queue or []
        ready = 0
        while ready < len(queue) and (text := queue[ready].text) is not None:
            if self._out is None:
                self._out = []
            self._out.append(text)
            ready += 1
        del queue[:ready]
        if not queue:
            self._queue = None


def _error_text(message_id: MessageId, error: OcppError) -> str:
    return encode(CallError(message_id, error.code, error.description, error.details))


def _digest(frame: Call) -> int:
    """What tells a repetition from a new request, within this process; 64 bits, and the message id has to agree too."""
    return hash((frame.action, canonical(frame.payload)))


def _deviations(repairs: tuple[Repair, ...]) -> list[Deviation]:
    return [Deviation("", kind, detail) for kind, detail in repairs]


def _excerpt(text: str | bytes) -> str:
    if isinstance(text, str):
        return storable(text[:MAX_EXCERPT])
    return storable(str(text[: 4 * MAX_EXCERPT], "utf-8", "replace")[:MAX_EXCERPT])
