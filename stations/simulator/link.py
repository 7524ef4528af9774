"""The station's end of the line: dials, keeps one websocket, sends one CALL at a time, counts everything.

Built on the ChargePoint of the `ocpp` package, so that the wire format is made and read by other code than the central
system's: its message classes, schemas, routing and answering of what the central system asks. Two things differ. CALLs
go out by `request`, which fails at once when the line breaks instead of waiting for the timeout, and copies less. And
the line is kept up: lost connections are dialled again with growing, jittered pauses (OCPP-J errata 3.4).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import fields
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote

import ocpp.messages
from ocpp.charge_point import camel_to_snake_case, snake_to_camel_case
from ocpp.exceptions import OCPPError
from ocpp.messages import Call, CallError, CallResult, validate_payload
from ocpp.v16 import ChargePoint, call_result
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from .clock import Clock
from .configuration import Configuration
from .options import FleetOptions
from .statistics import FleetStatistics
from .waiting import Switch, first_of

# The package validates in a thread pool by default: two thread switches a message, for work of half a millisecond.
ocpp.messages.ASYNC_VALIDATION = False

SUBPROTOCOL = Subprotocol("ocpp1.6")
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
CLOSE_TIMEOUT_SECONDS = 3.0
OPEN_TIMEOUT_SECONDS = 30.0
# Wrong credentials or an identity the server does not know do not heal by dialling again.
FINAL_REFUSALS = (401, 403, 404)

logger = logging.getLogger(__name__)
frames_logger = logging.getLogger(f"{__name__}.frames")
# The package logs each CALLERROR and each late answer as an error; here they are counted instead.
frames_logger.setLevel(logging.CRITICAL)


class CallFailed(Exception):
    """The CALL was answered by a CALLERROR, not at all, or by something that is no answer. Already counted."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NoAnswer(CallFailed):
    """No answer within the timeout."""


class LineLost(Exception):
    """There is no connection, or it broke before the answer."""


@cache
def _wire_name(name: str) -> str:
    return next(iter(snake_to_camel_case({name: None})))


def wire_members(payload: Any) -> dict[str, Any]:
    """Return the payload of a `call` dataclass for the wire, without the members that are None.

    Only the names of the message itself are turned into camelCase; whatever it contains has them already.
    """
    members = ((field.name, getattr(payload, field.name)) for field in fields(payload))
    return {_wire_name(name): value for name, value in members if value is not None}


class Line(ChargePoint):
    """An OCPP 1.6-J charge point that keeps its own connection; what it says and answers is for subclasses."""

    def __init__(
        self,
        identity: str,
        options: FleetOptions,
        statistics: FleetStatistics,
        rng: Random,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        super().__init__(identity, None, response_timeout=options.call_timeout_seconds, logger=frames_logger)
        self.options = options
        self.statistics = statistics
        self.rng = rng
        self.clock = Clock(milliseconds=options.milliseconds)
        self.configuration = Configuration(
            connectors=options.connectors, sample_interval_seconds=options.sample_interval_seconds
        )
        password = options.password_for(identity)
        self.password: bytes | None = None if password is None else password.encode()
        self.url = f"{options.url.rstrip('/')}/{quote(identity, safe='')}"
        self.connected = Switch()
        self.online = Switch()  # on: connected and accepted, free to send
        self.may_connect = Switch()  # off: the station is without network or power
        self.may_connect.turn_on()
        self.leaving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ssl_context = ssl_context
        self._connection: ClientConnection | None = None
        self._connects = 0
        self._turn = asyncio.Lock()
        self._answer_seconds = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._follow_up: Callable[[], Coroutine[Any, Any, None]] | None = None

    # Sending

    async def request(self, payload: Any, message_id: str | None = None) -> Any:
        """Send one CALL and return the answer as a `call_result`; waits for its turn, since only one may be unanswered.

        Errors: LineLost; CallFailed with the CALLERROR's code, NoAnswer after the timeout.
        Source: OCPP-J 1.6, 4.1.1.
        """
        action = type(payload).__name__
        async with self._turn:
            if self._connection is None:
                raise LineLost
            try:
                answer = await self._exchange(action, payload, message_id or str(uuid.uuid4()))
            except TimeoutError:
                self.statistics.timeouts[action] += 1
                raise NoAnswer("Timeout") from None
            except (ConnectionClosed, LineLost):
                self.online.turn_off()
                raise LineLost from None
            except CallFailed as failure:
                self.statistics.call_errors[f"{action}: {failure.code}"] += 1
                raise
            except (OCPPError, TypeError) as invalid:
                # TypeError: members that the answer's dataclass does not have, when schemas are not checked.
                self.statistics.problem(f"{self.id}: {action}: answer violates the schema: {invalid}")
                raise CallFailed("InvalidAnswer") from invalid
            self.statistics.answered(action, self._answer_seconds)
        return answer

    async def _exchange(self, action: str, payload: Any, message_id: str) -> Any:
        """Send and wait, as the package's own `call` does, without its deep copies and deaf waiting.

        Copying a MeterValues member by member took more time than all the rest of its way, and a load generator needs
        that time.
        """
        message = Call(message_id, action, wire_members(payload))
        if self.options.validate:
            await validate_payload(message, self._ocpp_version)
        await self._send(message.to_json())
        response = await self._answer_to(message_id)
        if self.options.validate:
            response.action = action
            await validate_payload(response, self._ocpp_version)
        return getattr(call_result, action)(**camel_to_snake_case(response.payload))

    async def _answer_to(self, message_id: str) -> CallResult:
        sent_at = time.perf_counter()
        async with asyncio.timeout(self._response_timeout):
            while True:
                response = await self._response_queue.get()
                if response is None:
                    raise LineLost
                # Anything else is the late answer to an attempt that was given up.
                if response.unique_id == message_id:
                    break
        self._answer_seconds = time.perf_counter() - sent_at
        if isinstance(response, CallError):
            raise CallFailed(str(response.error_code))
        return response

    # Receiving

    def then(self, follow_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Called while answering a CALL: run this once the answer is on its way."""
        self._follow_up = follow_up

    async def _handle_call(self, msg: Any) -> None:
        """Answer one CALL of the central system; calls are taken one by one, so one follow-up slot is enough."""
        self.statistics.commands[msg.action] += 1
        self._follow_up = None
        await super()._handle_call(msg)
        if self._follow_up is not None:
            self.spawn(self._follow_up())

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the rest for as long as the station lives."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None or isinstance(error, (LineLost, CallFailed)):
            return
        logger.error("%s: %r", self.id, error, exc_info=error)
        self.statistics.problem(f"{self.id}: {error!r}")

    def cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    # The connection

    async def greet(self) -> None:
        """Say what has to be said on a new connection, then turn `online` on."""
        raise NotImplementedError

    async def keep_connected(self) -> None:
        """Dial until told to leave, and again whenever the connection is gone.

        Gives up when the server says that it does not want this station at all, or cannot be reached for
        `patience_seconds`; a station that was once connected never gives up.
        """
        failures = 0
        began = time.monotonic()
        while not self.leaving.done():
            await first_of(self.may_connect.on, self.leaving)
            if self.leaving.done():
                return
            try:
                connection = await self._dial()
            except InvalidStatus as refusal:
                status = refusal.response.status_code
                self.statistics.refused[str(status)] += 1
                if status in FINAL_REFUSALS and not self._connects:
                    self.statistics.gave_up[self.id] = f"refused with HTTP {status}"
                    return
            except ssl.SSLCertVerificationError as error:
                self.statistics.gave_up[self.id] = f"certificate: {error.verify_message}"
                return
            except (OSError, InvalidHandshake) as error:  # TimeoutError is an OSError
                self.statistics.unreachable += 1
                if not self._connects and time.monotonic() - began > self.options.patience_seconds:
                    self.statistics.gave_up[self.id] = f"not reachable: {error}"
                    return
            else:
                await self._serve(connection)
                failures = 0
                if not self.may_connect.is_on:
                    continue
            failures += 1
            longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
            await first_of(self.leaving, timeout=self.rng.uniform(longest / 2, longest))

    async def _dial(self) -> ClientConnection:
        headers = {}
        if self.password is not None:
            credentials = base64.b64encode(self.id.encode() + b":" + self.password).decode()
            headers["Authorization"] = f"Basic {credentials}"
        ping = self.configuration.number("WebSocketPingInterval") or None
        connection = await connect(
            self.url,
            subprotocols=[SUBPROTOCOL],
            additional_headers=headers,
            compression=None,  # OCPP-J 5.1 advises against it, and real stations have none
            proxy=None,
            open_timeout=OPEN_TIMEOUT_SECONDS,
            ping_interval=ping,
            ping_timeout=ping,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            ssl=self._ssl_context,
        )
        if connection.subprotocol != SUBPROTOCOL:
            # "the Charge Point shall close the connection" when its subprotocol is not agreed to (OCPP-J 1.6, 3.2).
            self.statistics.problem(f"{self.id}: the server did not agree to {SUBPROTOCOL}")
            await connection.close(1002)
            raise InvalidHandshake(f"no subprotocol {SUBPROTOCOL}")
        return connection

    async def _serve(self, connection: ClientConnection) -> None:
        """Live on one connection until it is closed by either side."""
        if self._connects:
            self.statistics.reconnects += 1
        self._connects += 1
        self.statistics.connects += 1
        self.statistics.connected += 1
        self._connection = connection
        self.connected.turn_on()
        self._response_queue: asyncio.Queue[Any] = asyncio.Queue()
        greeting = self.spawn(self.greet())
        try:
            await self.start()
        except ConnectionClosed:
            pass
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            # The package trips over frames that are not even shaped like OCPP; so would a real station, and dial again.
            self.statistics.problem(f"{self.id}: unreadable frame: {error!r}")
        finally:
            self._connection = None
            self.statistics.connected -= 1
            self.online.turn_off()
            greeting.cancel()
            self._response_queue.put_nowait(None)
            if self.may_connect.is_on and not self.leaving.done():
                self.statistics.connections_lost += 1
            self.connected.turn_off()
            await connection.close()

    async def disconnect(self, *, abruptly: bool = False) -> None:
        """Be without connection until `may_connect` is turned on; `abruptly`: as a pulled cable, no close frame."""
        self.may_connect.turn_off()
        self.online.turn_off()
        if self._connection is not None:
            if abruptly:
                self._connection.transport.abort()
            else:
                await self._connection.close()
        await first_of(self.connected.off)

    async def change_password(self, key: str) -> None:
        """Take a new AuthorizationKey and connect with it; 32 digits or more are hexadecimal (A00.FR.205)."""
        self.password = bytes.fromhex(key) if len(key) >= 32 else key.encode()
        await self.disconnect()
        self.may_connect.turn_on()
