"""A man in the middle between a charge point and the server, which makes the server look as if it had one fault.

    async with Interposer(server.ws_url("live")) as interposer:
        interposer.fault = answers("Authorize", "idTagInfo.status", "Invalid")
        ... connect to interposer.url ...

Without a fault it passes every frame as it is. A fault is a function of one `Passing` frame, which it may change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
ABSENT: Any = object()
INJECTED = "injected-by-the-interposer"


@dataclass
class Passing:
    """One frame on its way: `to_charge_point` says where, `kind` is the message type, `action` that of the CALL it is
    or answers, `payload` its payload. `frame` is sent on (None: nothing is), then each of `more`; `later` has seconds,
    and what is sent then (None: the connection is closed)."""

    to_charge_point: bool
    kind: int
    action: str
    frame: list[Any] | None
    more: list[Any] = field(default_factory=list)
    later: list[tuple[float, Any]] = field(default_factory=list)

    @property
    def payload(self) -> Any:
        assert self.frame is not None
        return self.frame[-1]


Fault = Callable[[Passing], None]


# --- faults: what the server seems to send ----------------------------------------------------------------------------
def answers(action: str, path: str, value: Any) -> Fault:
    """The server's answer to `action` has another value at `path` (`a.b`, `a.0`; ABSENT takes it out)."""
    return _altering(to_charge_point=True, kind=CALL_RESULT, action=action, path=path, value=value)


def asks(action: str, path: str, value: Any) -> Fault:
    """The server's request `action` has another value at `path`."""
    return _altering(to_charge_point=True, kind=CALL, action=action, path=path, value=value)


def refuses(action: str, code: str = "InternalError") -> Fault:
    """The server answers `action` by a CALLERROR."""

    def fault(passing: Passing) -> None:
        if passing.to_charge_point and passing.kind == CALL_RESULT and passing.action == action:
            assert passing.frame is not None
            passing.frame = [CALL_ERROR, passing.frame[1], code, "not today", {}]

    return fault


def ignores(action: str) -> Fault:
    """The server does not answer `action`."""

    def fault(passing: Passing) -> None:
        if passing.to_charge_point and passing.kind == CALL_RESULT and passing.action == action:
            passing.frame = None

    return fault


def asks_unasked(action: str, payload: dict[str, Any], *, after: str) -> Fault:
    """With its answer to `after`, or its request `after`, the server sends one that nobody asked for."""

    def fault(passing: Passing) -> None:
        if passing.to_charge_point and passing.action == after and not fault.done:  # type: ignore[attr-defined]
            fault.done = True  # type: ignore[attr-defined]
            passing.more.append([CALL, INJECTED, action, payload])

    fault.done = False  # type: ignore[attr-defined]
    return fault


def asks_later(action: str, payload: dict[str, Any], *, after: str, seconds: float) -> Fault:
    """So many seconds after its answer to `after` the server sends a request that nobody asked for."""

    def fault(passing: Passing) -> None:
        if passing.to_charge_point and passing.kind == CALL_RESULT and passing.action == after:
            passing.later.append((seconds, [CALL, INJECTED, action, payload]))

    return fault


def sends_text(make: Callable[[list[Any]], str], *, after: str) -> Fault:
    """Behind each answer to `after` the server sends the text that `make` makes of it."""

    def fault(passing: Passing) -> None:
        if passing.to_charge_point and passing.kind == CALL_RESULT and passing.action == after:
            assert passing.frame is not None
            passing.more.append(make(passing.frame))

    return fault


# --- faults: what the server seems to keep ----------------------------------------------------------------------------
def hears(action: str, path: str, value: Any) -> Fault:
    """The server takes in another value at `path` of the charge point's request `action` than was sent."""
    return _altering(to_charge_point=False, kind=CALL, action=action, path=path, value=value)


def hears_answer(action: str, path: str, value: Any) -> Fault:
    """The server takes in another value at `path` of the charge point's answer to its request `action`."""
    return _altering(to_charge_point=False, kind=CALL_RESULT, action=action, path=path, value=value)


def _altering(*, to_charge_point: bool, kind: int, action: str, path: str, value: Any) -> Fault:
    def fault(passing: Passing) -> None:
        if (passing.to_charge_point, passing.kind, passing.action) == (to_charge_point, kind, action):
            _put(passing.payload, path.split("."), value)

    return fault


def _put(target: Any, path: list[str], value: Any) -> None:
    *parents, last = [int(part) if part.isdigit() else part for part in path]
    for part in parents:
        target = target[part]
    if value is ABSENT:
        del target[last]
    else:
        target[last] = value


def upgrades_what_it_refuses(passing: Passing) -> None:
    """The server upgrades the connections that it refuses, and closes them after that."""


class RefusesWith:
    """The server refuses connections with another HTTP status than it does."""

    def __init__(self, status: int) -> None:
        self.status = status

    def __call__(self, passing: Passing) -> None:
        """Frames pass."""


class HangsUp:
    """The server closes the connection, without a word, behind its answer to `action`."""

    def __init__(self, action: str) -> None:
        self.action = action

    def __call__(self, passing: Passing) -> None:
        if passing.to_charge_point and passing.kind == CALL_RESULT and passing.action == self.action:
            passing.later.append((0.02, None))


class Interposer:
    """Listens on a free port of the loopback interface; `url` stands for that of the server, without the identity."""

    def __init__(self, server_url: str) -> None:
        self.fault: Fault | None = None
        self._server_url = urlsplit(server_url)
        self._server: Server | None = None
        self._upstream: dict[ServerConnection, ClientConnection] = {}
        self._upstream_ssl: ssl.SSLContext | None = None
        self._later: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return self._server_url._replace(netloc=f"127.0.0.1:{port}").geturl()

    def stands_for(self, server_url: str, ssl_context: ssl.SSLContext | None) -> str:
        """From now on it dials the server of `server_url`, by TLS if told so; what to dial instead of that."""
        self._server_url, self._upstream_ssl = urlsplit(server_url), ssl_context
        return urlsplit(self.url)._replace(scheme="ws").geturl()

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._pass_on,
            "127.0.0.1",
            0,
            process_request=self._dial,
            select_subprotocol=self._subprotocol,
            compression=None,
            ping_interval=None,
            max_size=None,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _send_later(self, target: Any, seconds: float, frame: Any) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(ConnectionClosed):
            await (target.close(1001) if frame is None else target.send(json.dumps(frame)))

    def _subprotocol(self, connection: ServerConnection, offered: Any) -> Any:
        upstream = self._upstream.get(connection)
        return None if upstream is None else upstream.subprotocol

    async def _dial(self, connection: ServerConnection, request: Request) -> Response | None:
        """Connect to the server with the same credentials; its refusal is ours."""
        offered = [
            name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()
        ]
        headers = {name: request.headers[name] for name in ("Authorization",) if name in request.headers}
        url = self._server_url._replace(path=request.path).geturl()
        tls = {} if self._upstream_ssl is None else {"ssl": self._upstream_ssl}
        try:
            self._upstream[connection] = await connect(
                url,
                subprotocols=offered or None,  # type: ignore[arg-type]
                additional_headers=headers,
                compression=None,
                proxy=None,
                ping_interval=None,
                max_size=None,
                **tls,
            )
        except InvalidStatus as refusal:
            if self.fault is upgrades_what_it_refuses:
                return None
            status = self.fault.status if isinstance(self.fault, RefusesWith) else refusal.response.status_code
            return connection.respond(status, "refused by the server")
        except (OSError, InvalidHandshake):
            # TLS with the server failed: there is no answer to hand on.
            connection.transport.abort()
        return None

    async def _pass_on(self, connection: ServerConnection) -> None:
        upstream = self._upstream.pop(connection, None)
        if upstream is None:
            return await connection.close(1002, "refused")
        actions: dict[tuple[bool, str], str] = {}
        both = [
            asyncio.create_task(self._one_way(connection, upstream, actions, to_charge_point=False)),
            asyncio.create_task(self._one_way(upstream, connection, actions, to_charge_point=True)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for end in (connection, upstream):
            end.transport.abort() if end.close_code in (None, 1006) else await end.close()
        await asyncio.gather(*both, return_exceptions=True)

    async def _one_way(
        self, source: Any, target: Any, actions: dict[tuple[bool, str], str], *, to_charge_point: bool
    ) -> None:
        try:
            while True:
                frame = json.loads(await source.recv())
                if frame[0] == CALL:
                    actions[to_charge_point, frame[1]] = frame[2]
                elif frame[1] == INJECTED:
                    continue
                action = frame[2] if frame[0] == CALL else actions.get((not to_charge_point, frame[1]), "")
                passing = Passing(to_charge_point, frame[0], action, frame)
                if self.fault is not None:
                    self.fault(passing)
                for one in [passing.frame, *passing.more]:
                    if one is not None:
                        await target.send(one if isinstance(one, str) else json.dumps(one))
                for seconds, one in passing.later:
                    self._later.append(asyncio.create_task(self._send_later(target, seconds, one)))
        except ConnectionClosed:
            pass
