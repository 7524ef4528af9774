"""A charge point for tests with every frame under control: it sends what the test says, well-formed or not.

Plain `websockets`, not the `ocpp` package: what a test must be able to send includes what no library would.

    async with FakeChargePoint(url, "CP-1", "password") as cp:
        assert (await cp.boot())["status"] == "Accepted"
        reset = await cp.expect_call("Reset")
        await cp.reply(reset, {"status": "Accepted"})
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import json
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
OPEN_TIMEOUT_SECONDS = 10
CLOSE_TIMEOUT_SECONDS = 5

Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Any]


class ConnectionRefused(Exception):
    """The server answered the upgrade with something else than 101."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}: {body[:200]!r}")
        self.status = status
        self.headers = headers
        self.body = body


class CallErrorReceived(Exception):
    """A CALL was answered by a CALLERROR."""

    def __init__(self, code: str, description: str, details: Any) -> None:
        super().__init__(f"{code}: {description} {details}")
        self.code = code
        self.description = description
        self.details = details


@dataclass(frozen=True)
class ReceivedFrame:
    """One frame from the server: the JSON (the raw text if it is none), and when it came by `time.monotonic()`."""

    frame: Any
    text: str | bytes
    at: float


@dataclass(frozen=True)
class ReceivedCall:
    """One CALL from the server."""

    message_id: str
    action: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Closed:
    """How the connection ended; 1006 means without close frame."""

    code: int
    reason: str


@dataclass
class _Inbox:
    """Frames of one kind that no test has asked for yet."""

    frames: list[ReceivedFrame] = field(default_factory=list)
    calls: deque[ReceivedCall] = field(default_factory=deque)
    answers: dict[Any, list[Any]] = field(default_factory=dict)
    unread: deque[ReceivedFrame] = field(default_factory=deque)


def basic_auth_header(identity: str, password: str | bytes) -> str:
    """Return the value of an Authorization header; a password in bytes is put in as it is (whitepaper A00.FR.205)."""
    secret = password.encode() if isinstance(password, str) else password
    return "Basic " + base64.b64encode(identity.encode() + b":" + secret).decode()


def timestamp(at: datetime | None = None) -> str:
    """Return a time (default: now) in UTC with milliseconds and Z."""
    at = (at or datetime.now(UTC)).astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FakeChargePoint:
    """One charge point identity; may connect, be cut off and connect again. All timeouts are in seconds.

    `url` is the endpoint, to which the percent-encoded identity is added. `username` is that of the Basic credentials,
    when it is to differ from the identity. `headers` are added to the upgrade and win over the Authorization header
    made here. `received` holds every frame of the server in order, over all connections.
    """

    def __init__(
        self,
        url: str,
        identity: str,
        password: str | bytes | None = None,
        *,
        subprotocols: Sequence[str] = ("ocpp1.6",),
        headers: Mapping[str, str] | None = None,
        username: str | None = None,
        **connect_options: Any,
    ) -> None:
        self.url = f"{url.rstrip('/')}/{quote(identity, safe='')}"
        self.identity = identity
        self.password = password
        self.username = username
        self.subprotocols = list(subprotocols)
        self.headers = dict(headers or {})
        self.closed: Closed | None = None
        self._connect_options = connect_options
        self._inbox = _Inbox()
        self._automatic: dict[str, Answer] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    # Connection

    async def connect(self) -> Self:
        """Connect. Errors: ConnectionRefused with status, headers and body of the server's answer."""
        headers = {}
        if self.password is not None:
            headers["Authorization"] = basic_auth_header(self.username or self.identity, self.password)
        options: dict[str, Any] = {
            "subprotocols": self.subprotocols or None,
            "additional_headers": headers | self.headers,
            "compression": None,
            "proxy": None,
            "ping_interval": None,
            "open_timeout": OPEN_TIMEOUT_SECONDS,
            "close_timeout": CLOSE_TIMEOUT_SECONDS,
            "max_size": None,
        }
        try:
            self._connection = await connect(self.url, **(options | self._connect_options))
        except InvalidStatus as refusal:
            response = refusal.response
            raise ConnectionRefused(response.status_code, response.headers, bytes(response.body or b"")) from None
        self.closed = None
        self._reader = asyncio.create_task(self._read(self._connection))
        return self

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def connection(self) -> ClientConnection:
        """The present websocket; for what this class does not offer."""
        assert self._connection is not None, "not connected"
        return self._connection

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol the server chose, or None."""
        return self.connection.subprotocol

    @property
    def received(self) -> list[ReceivedFrame]:
        return self._inbox.frames

    async def close(self, code: int = 1000) -> None:
        """Close with a close frame and wait until the connection is gone; nothing if it is already."""
        if self._connection is not None:
            await self._connection.close(code)
            await self._ended()

    async def drop(self) -> None:
        """Cut the TCP connection without a close frame, as a station does that loses power."""
        self.connection.transport.abort()
        await self._ended()

    async def wait_closed(self, timeout: float = 10) -> Closed:  # noqa: ASYNC109 tests say how long
        """Wait until the connection is closed by whichever side, and return how. Errors: TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._ended()
        assert self.closed is not None
        return self.closed

    async def _ended(self) -> None:
        if self._reader is not None:
            await asyncio.wait({self._reader})

    # Frames

    async def send_raw(self, data: str | bytes) -> None:
        """Send a text (str) or binary (bytes) frame exactly as it is."""
        await self.connection.send(data)

    async def send_call(self, action: str, payload: Any, message_id: Any = None) -> Any:
        """Send a CALL without waiting for the answer; return its message id (a new one unless given)."""
        message_id = str(uuid.uuid4()) if message_id is None else message_id
        await self.send_raw(json.dumps([CALL, message_id, action, payload]))
        return message_id

    async def call(
        self,
        action: str,
        payload: Any,
        *,
        message_id: Any = None,
        timeout: float = 10,  # noqa: ASYNC109 tests say how long
    ) -> dict[str, Any]:
        """Send a CALL and return the payload of its answer.

        Errors: CallErrorReceived; TimeoutError; ConnectionClosed.
        """
        return await self.answer_for(await self.send_call(action, payload, message_id), timeout)

    async def answer_for(self, message_id: Any, timeout: float = 10) -> dict[str, Any]:  # noqa: ASYNC109
        """Return the payload of the answer to a CALL, sent by now or not; each answer is given once.

        Errors: CallErrorReceived for a CALLERROR; TimeoutError; ConnectionClosed when the connection ends first.
        """
        answers = self._inbox.answers
        frame = await self._wait(lambda: answers[message_id].pop(0) if answers.get(message_id) else None, timeout)
        if frame[0] == CALL_ERROR:
            code, description, details = (*frame[2:5], "", "", {})[:3]
            raise CallErrorReceived(code, description, details)
        return frame[2]

    async def next_frame(self, timeout: float = 10) -> ReceivedFrame:  # noqa: ASYNC109
        """Return the next frame this method has not returned yet. Errors: TimeoutError; ConnectionClosed."""
        unread = self._inbox.unread
        return await self._wait(lambda: unread.popleft() if unread else None, timeout)

    # Calls from the server

    async def expect_call(self, action: str | None = None, timeout: float = 10) -> ReceivedCall:  # noqa: ASYNC109
        """Return the oldest CALL not yet returned and not answered automatically; it must be of that action.

        Errors: AssertionError for another action; TimeoutError; ConnectionClosed.
        """
        calls = self._inbox.calls
        received = await self._wait(lambda: calls.popleft() if calls else None, timeout)
        assert action in (None, received.action), f"expected {action}, got {received.action} {received.payload}"
        return received

    async def reply(self, received: ReceivedCall, payload: Any) -> None:
        """Answer a CALL with a CALLRESULT."""
        await self.send_raw(json.dumps([CALL_RESULT, received.message_id, payload]))

    async def reply_error(
        self, received: ReceivedCall, code: str, description: str = "", details: dict[str, Any] | None = None
    ) -> None:
        """Answer a CALL with a CALLERROR."""
        await self.send_raw(json.dumps([CALL_ERROR, received.message_id, code, description, details or {}]))

    def on(self, action: str, answer: Answer) -> None:
        """Answer every CALL of that action from now on by itself.

        `answer` is the payload, or a function of the request's payload, plain or async, that returns it; None from the
        function means no answer. Such calls do not show up in expect_call, but in `received`.
        """
        self._automatic[action] = answer

    async def assert_silent_until_answered(self) -> None:
        """Send a Heartbeat and assert that its answer is the next frame and nothing was left unread before.

        Since the server answers in order and sends confirmations first, what it had to say by now would have come
        before.
        """
        seen = len(self.received)
        waiting = [call.action for call in self._inbox.calls]
        with contextlib.suppress(CallErrorReceived):  # an answer, too
            await self.call("Heartbeat", {})
        arrived = [one.frame for one in self.received[seen:]]
        assert not waiting, f"not silent, calls were waiting: {waiting}"
        assert len(arrived) == 1, f"not silent: {arrived}"

    # Thin helpers for the usual requests; members given by name replace or add to the defaults

    async def boot(self, **members: Any) -> dict[str, Any]:
        """Send BootNotification."""
        payload = {"chargePointVendor": "Fake", "chargePointModel": "Test", "firmwareVersion": "1.0"}
        return await self.call("BootNotification", payload | members)

    async def heartbeat(self) -> dict[str, Any]:
        """Send Heartbeat."""
        return await self.call("Heartbeat", {})

    async def status(
        self, connector_id: int, status: str, error_code: str = "NoError", **members: Any
    ) -> dict[str, Any]:
        """Send StatusNotification with the present time."""
        payload = {"connectorId": connector_id, "status": status, "errorCode": error_code, "timestamp": timestamp()}
        return await self.call("StatusNotification", payload | members)

    async def authorize(self, id_tag: str) -> dict[str, Any]:
        """Send Authorize."""
        return await self.call("Authorize", {"idTag": id_tag})

    async def start_transaction(
        self, connector_id: int = 1, id_tag: str = "TAG-1", meter_start: int = 1000, **members: Any
    ) -> dict[str, Any]:
        """Send StartTransaction with the present time; the register in Wh."""
        payload = {"connectorId": connector_id, "idTag": id_tag, "meterStart": meter_start, "timestamp": timestamp()}
        return await self.call("StartTransaction", payload | members)

    async def stop_transaction(self, transaction_id: int, meter_stop: int = 2000, **members: Any) -> dict[str, Any]:
        """Send StopTransaction with the present time; the register in Wh."""
        payload = {"transactionId": transaction_id, "meterStop": meter_stop, "timestamp": timestamp()}
        return await self.call("StopTransaction", payload | members)

    async def meter_values(
        self,
        connector_id: int = 1,
        transaction_id: int | None = None,
        energy_wh: float = 1500,
        *,
        at: datetime | str | None = None,
        sampled: Sequence[Mapping[str, Any]] | None = None,
        **members: Any,
    ) -> dict[str, Any]:
        """Send MeterValues with one element: the energy register, or the given sampledValue list."""
        values = sampled or [{"value": f"{energy_wh:g}", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}]
        when = at if isinstance(at, str) else timestamp(at)
        payload: dict[str, Any] = {
            "connectorId": connector_id,
            "meterValue": [{"timestamp": when, "sampledValue": list(values)}],
        }
        if transaction_id is not None:
            payload["transactionId"] = transaction_id
        return await self.call("MeterValues", payload | members)

    # Receiving

    async def _read(self, connection: ClientConnection) -> None:
        try:
            while True:
                text = await connection.recv()
                await self._sort_in(text, time.monotonic())
        except ConnectionClosed as end:
            frame = end.rcvd or end.sent
            self.closed = Closed(frame.code if frame else 1006, frame.reason if frame else "")
        finally:
            async with self._news:
                self._news.notify_all()

    async def _sort_in(self, text: str | bytes, at: float) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            frame = text
        inbox, one = self._inbox, ReceivedFrame(frame, text, at)
        async with self._news:
            inbox.frames.append(one)
            inbox.unread.append(one)
            if isinstance(frame, list) and len(frame) >= 3 and frame[0] in (CALL_RESULT, CALL_ERROR):
                inbox.answers.setdefault(frame[1], []).append(frame)
            elif isinstance(frame, list) and len(frame) == 4 and frame[0] == CALL:
                received = ReceivedCall(frame[1], frame[2], frame[3])
                if received.action not in self._automatic:
                    inbox.calls.append(received)
            self._news.notify_all()
        if isinstance(frame, list) and len(frame) == 4 and frame[0] == CALL and frame[2] in self._automatic:
            await self._answer(ReceivedCall(frame[1], frame[2], frame[3]))

    async def _answer(self, received: ReceivedCall) -> None:
        answer: Any = self._automatic[received.action]
        if callable(answer):
            answer = answer(received.payload)
        if inspect.isawaitable(answer):
            # Beside the reader, because the function may itself wait for answers.
            task = asyncio.create_task(self._answer_later(received, answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif answer is not None:
            await self.reply(received, answer)

    async def _answer_later(self, received: ReceivedCall, answer: Awaitable[Any]) -> None:
        payload = await answer
        if payload is not None:
            await self.reply(received, payload)

    async def _wait(self, take: Callable[[], Any], timeout: float) -> Any:  # noqa: ASYNC109
        """Wait until `take` returns something; what has arrived is taken even if the connection is gone by now."""
        async with asyncio.timeout(timeout), self._news:
            while (taken := take()) is None:
                if self.closed is not None:
                    raise ConnectionClosed(None, None)
                await self._news.wait()
        return taken
