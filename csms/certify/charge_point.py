"""The charge point's side of the websocket. It sends what the case says, and judges every frame that comes back.

Context: a fault of the CSMS may show at any moment, not only when a case looks for it: an answer nobody asked for, a
CALL that breaks its schema, a second answer. Choice: the reader judges each frame as it arrives and remembers the first
fault; whatever the case does next raises it. CALLs are only queued: whether one was asked for is the case's to say.
Consequence: no case has to look for the general rules, and none can pass while one of them is broken.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from csms.certify import wire
from csms.certify.failure import CaseFailed
from csms.certify.transcript import Direction, Transcript

SUBPROTOCOL = "ocpp1.6"
NO_CLOSE_FRAME = 1006

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where charge points connect: `url` without the identity, such as wss://HOST/ocpp/TENANT/."""

    url: str
    ssl_context: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class ResponseTime:
    """How long the CSMS took to answer one request, measured at the charge point."""

    action: str
    seconds: float


class HandshakeRefused(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f"HTTP {status}: {body[:200].rstrip('.')}" if body else f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


class NotConnected(CaseFailed):
    """There was no HTTP answer at all: nobody listens, or the TLS handshake failed."""


@dataclass
class _Inbox:
    calls: deque[wire.Call] = field(default_factory=deque)
    answers: dict[str, wire.Answer] = field(default_factory=dict)
    # Message ids of our requests that wait for an answer, with action and time of sending.
    waiting: dict[str, tuple[str, float]] = field(default_factory=dict)
    ids_of_csms: set[str] = field(default_factory=set)
    fault: CaseFailed | None = None


class ChargePoint:
    """One charge point of one case. It may connect, be cut off and connect again. Timeouts are in seconds.

    `password` None means no Basic authentication. `response_times` has one entry for each answered request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        identity: str,
        password: str | None,
        transcript: Transcript,
        *,
        timeout_seconds: float = 10,
    ) -> None:
        self.endpoint = endpoint
        self.identity = identity
        self.password = password
        self.timeout_seconds = timeout_seconds
        self.response_times: list[ResponseTime] = []
        self.closed: str | None = "not connected yet"
        # Whether it is the charge point that has ended the connection, or never had one.
        self.left = True
        self.subprotocol: str | None = None
        # Message ids of all frames of the CSMS, in the order in which they came.
        self.arrived: list[str] = []
        self._transcript = transcript
        self._inbox = _Inbox()
        self._news = asyncio.Condition()
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    # --- connection --------------------------------------------------------------------------------------------------
    async def connect(
        self,
        *,
        endpoint: Endpoint | None = None,
        password: str | bytes | None = "",
        subprotocols: Sequence[str] = (SUBPROTOCOL,),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Connect; what is given replaces for this time what the charge point was made with (password None: none).

        Errors: HandshakeRefused; NotConnected when there is no HTTP answer at all or another subprotocol was chosen.
        """
        endpoint = endpoint or self.endpoint
        if password == "":
            password = self.password
        sent_headers = {"Authorization": self._authorization(password)} if password is not None else {}
        url = f"{endpoint.url.rstrip('/')}/{quote(self.identity, safe='')}"
        options: dict[str, Any] = {"ssl": endpoint.ssl_context} if endpoint.ssl_context is not None else {}
        try:
            self._connection = await connect(
                url,
                subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]
                additional_headers=sent_headers | dict(headers or {}),
                compression=None,
                proxy=None,
                ping_interval=None,
                open_timeout=self.timeout_seconds,
                close_timeout=self.timeout_seconds,
                max_size=None,
                **options,
            )
        except InvalidStatus as refusal:
            response = refusal.response
            body = bytes(response.body or b"").decode("utf-8", "replace").strip()
            self._transcript.note(Direction.CONNECTION, f"refused {url}: HTTP {response.status_code} {body}")
            raise HandshakeRefused(response.status_code, dict(response.headers), body) from None
        except (OSError, InvalidHandshake) as error:
            reason = str(error) or type(error).__name__
            self._transcript.note(Direction.CONNECTION, f"failed {url}: {reason}")
            raise NotConnected(f"The charge point cannot connect to {url}: {reason}.") from None
        self.closed = None
        self.left = False
        self.subprotocol = self._connection.subprotocol
        self._inbox.waiting.clear()
        self._transcript.note(Direction.CONNECTION, f"opened {url}, subprotocol {self.subprotocol}")
        self._reader = asyncio.create_task(self._read(self._connection))

    async def close(self) -> None:
        """Close in good order; nothing if it is closed already."""
        if self._connection is not None and self.closed is None:
            self.left = True
            await self._connection.close()
            await self._ended()

    async def drop(self) -> None:
        """Cut the TCP connection without a close frame, as a charge point does that loses power."""
        if self._connection is not None and self.closed is None:
            self.left = True
            self._connection.transport.abort()
            await self._ended()

    async def abandon(self) -> None:
        """Leave the connection at once, whatever its state; no errors."""
        await self.drop()
        if self._reader is not None:
            self._reader.cancel()

    async def wait_closed(self) -> str:
        """Wait until the CSMS has closed the connection; how. Errors: CaseFailed."""
        return await self._wait(lambda: self.closed, "The CSMS did not close the connection")

    def _authorization(self, password: str | bytes) -> str:
        secret = password.encode() if isinstance(password, str) else password
        return "Basic " + base64.b64encode(self.identity.encode() + b":" + secret).decode()

    async def _ended(self) -> None:
        if self._reader is not None:
            await asyncio.wait({self._reader})

    # --- requests of the charge point --------------------------------------------------------------------------------
    async def call(self, action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return its confirmation, which is valid by its schema.

        Errors: CaseFailed for a CALLERROR, no answer in time, a closed connection, or any fault before that.
        """
        return await self.answer_for(await self.send_call(action, payload))

    async def send_call(self, action: str, payload: Mapping[str, Any]) -> str:
        """Send a request without waiting; its message id, for `answer_for`. Errors: CaseFailed."""
        message_id = str(uuid.uuid4())
        self._inbox.waiting[message_id] = (action, time.perf_counter())
        await self._send([wire.CALL, message_id, action, payload])
        return message_id

    async def answer_for(self, message_id: str) -> dict[str, Any]:
        """The confirmation of a request sent before; each once. Errors as `call`."""
        action = self._inbox.waiting[message_id][0] if message_id in self._inbox.waiting else "the request"
        answers = self._inbox.answers
        answer = await self._wait(lambda: answers.pop(message_id, None), f"The CSMS did not answer {action}")
        if answer.error is not None:
            raise CaseFailed(f"The CSMS answered {action} with the CALLERROR {answer.error}.")
        return answer.payload

    # --- requests of the CSMS ----------------------------------------------------------------------------------------
    async def expect_call(self, action: str) -> wire.Call:
        """The oldest request of the CSMS not taken yet; it must be `action`. Errors: CaseFailed."""
        calls = self._inbox.calls
        call = await self._wait(lambda: calls.popleft() if calls else None, f"The CSMS did not send {action}")
        if call.action != action:
            raise CaseFailed(f"The CSMS sent {call.action} {wire.shown(call.payload)} where {action} was expected.")
        return call

    async def reply(self, call: wire.Call, payload: Mapping[str, Any]) -> None:
        """Answer a request with a CALLRESULT."""
        await self._send([wire.CALL_RESULT, call.message_id, payload])

    async def reply_error(self, call: wire.Call, code: str, description: str = "") -> None:
        """Answer a request with a CALLERROR."""
        await self._send([wire.CALL_ERROR, call.message_id, code, description, {}])

    @property
    def tls(self) -> tuple[str, str] | None:
        """Version and cipher suite of the connection; None without TLS."""
        found = None if self._connection is None else self._connection.transport.get_extra_info("ssl_object")
        return None if found is None else (found.version(), found.cipher()[0])

    @property
    def unexpected(self) -> list[wire.Call]:
        """Requests of the CSMS that no case has taken."""
        return list(self._inbox.calls)

    def raise_fault(self) -> None:
        """Errors: CaseFailed, when a frame so far broke the rules of OCPP-J."""
        if self._inbox.fault is not None:
            raise self._inbox.fault

    # --- frames ------------------------------------------------------------------------------------------------------
    async def _send(self, frame: list[Any]) -> None:
        self.raise_fault()
        if self._connection is None or self.closed is not None:
            raise CaseFailed(f"The connection is not open ({self.closed}).")
        text = json.dumps(frame, ensure_ascii=False)
        self._transcript.note(Direction.SENT, text)
        try:
            await self._connection.send(text)
        except ConnectionClosed:
            await self._ended()
            raise CaseFailed(f"The CSMS closed the connection ({self.closed}).") from None

    async def _read(self, connection: ClientConnection) -> None:
        try:
            while True:
                text = await connection.recv()
                at = time.perf_counter()
                async with self._news:
                    shown = text if isinstance(text, str) else f"binary: {text.hex()}"
                    self._transcript.note(Direction.RECEIVED, shown)
                    try:
                        self._take(wire.read(text), at)
                    except CaseFailed as fault:
                        self._inbox.fault = self._inbox.fault or fault
                    self._news.notify_all()
        except ConnectionClosed as end:
            frame = end.rcvd or end.sent
            code, reason = (frame.code, frame.reason) if frame else (NO_CLOSE_FRAME, "")
            self.closed = f"{code} {reason}".strip()
            self._transcript.note(Direction.CONNECTION, f"closed: {self.closed}")
        finally:
            async with self._news:
                self._news.notify_all()

    def _take(self, message: wire.Call | wire.Answer, at: float) -> None:
        inbox = self._inbox
        self.arrived.append(message.message_id)
        if isinstance(message, wire.Call):
            if message.message_id in inbox.ids_of_csms:
                raise CaseFailed(f"The CSMS used the message id {message.message_id!r} a second time.")
            inbox.ids_of_csms.add(message.message_id)
            inbox.calls.append(message)
            return
        if message.message_id not in inbox.waiting:
            raise CaseFailed(f"The CSMS answered {message.message_id!r}, which waits for no answer.")
        action, sent_at = inbox.waiting.pop(message.message_id)
        self.response_times.append(ResponseTime(action, at - sent_at))
        inbox.answers[message.message_id] = message
        if message.error is None:
            wire.check_result(action, message.payload)

    async def _wait(self, take: Callable[[], T | None], otherwise: str) -> T:
        """What `take` gives once it gives something; what has arrived counts even if the connection is gone by now."""
        try:
            async with asyncio.timeout(self.timeout_seconds), self._news:
                while True:
                    self.raise_fault()
                    if (taken := take()) is not None:
                        return taken
                    if self.closed is not None:
                        raise CaseFailed(f"{otherwise}: it closed the connection ({self.closed}).")
                    await self._news.wait()
        except TimeoutError:
            raise CaseFailed(f"{otherwise} within {self.timeout_seconds:g} seconds.") from None


def timestamp(at: datetime | None = None) -> str:
    """A time (default: now) as charge points send it: UTC, milliseconds, Z."""
    at = (at or datetime.now(UTC)).astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
