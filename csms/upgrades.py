"""The HTTP side of a connection: its head in time and of a size, and what becomes of a handshake.

Context: a connection could take for ever over its head. A flood of bad handshakes is refused by the thousand, and each
cost the making of a websocket, a second parsing of its head, a consumer and two tasks, half a millisecond, for an
answer that was known from the start. And what the libraries refused by themselves, nobody got to know.
Choice: a head has CSMS_HEAD_SECONDS and CSMS_HEAD_BYTES; until it is complete the connection is a guest at the door
(csms/door.py). A handshake that cannot be taken (csms/heads.py) is judged and recorded like any other, and answered
here. Of the others the doorkeeper is asked; only then a websocket is made. Consequence: those go on as they always did.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from csms import heads, tls
from csms.door import Door, Guest
from csms.metrics import counting
from csms.proxies import MAX_HEADER_BYTES, is_trusted
from stations import connections, doorkeeper
from stations.handshake import REFUSALS, Accepted, Refusal, read

API = b"/api/"
# How long the rest of a head is still read, so that its sender reads the answer instead of finding the line cut.
LINGER_SECONDS = 0.5
SENTENCES = {
    400: "The request is malformed.",
    408: "The request did not come in time.",
    431: "The head of the request is too large.",
}


class HeadRefused(Exception):
    """Raised inside the parser's callback; the reason stands in the protocol."""


class State(ServerState):
    """What the connections of one server share: uvicorn's part, and the door."""

    def __init__(self) -> None:
        super().__init__()
        self.door = Door()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the door and the doorkeeper before it."""

    _guest: Guest | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head = False
    # What makes a handshake of the present request, and that its answer is none of uvicorn's business any more.
    _is_handshake = False
    _decided = False
    # Why the head is refused, where the parser could not say it.
    _reason = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The head as it comes, until it is complete.
        self._raw = bytearray()

    # --- the head ----------------------------------------------------------------------------------------------------
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_door()
        self._forget_unread()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Nothing is known of what comes next: the connection is one that others may need more."""
        self._in_head, self._reason = True, ""
        self._raw.clear()
        if isinstance(self.server_state, State) and self._guest is None:
            self._guest = self.server_state.door.enter(self.client[0] if self.client else "", self._send_away)

    def _begin_head(self) -> None:
        self._deadline = self.loop.call_later(settings.CSMS_HEAD_SECONDS, self._too_slow)

    def _leave_door(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._guest is not None and isinstance(self.server_state, State):
            self.server_state.door.leave(self._guest)
            self._guest = None

    def _send_away(self) -> None:
        self._guest = None
        self.transport.abort()

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and not self._decided and not self.transport.is_closing():
            self._refuse_head("head_too_slow")

    def data_received(self, data: bytes) -> None:
        if self._decided:
            return
        if self._in_head:
            if self._deadline is None:
                self._begin_head()
            self._raw += data[: settings.CSMS_HEAD_BYTES + 1]
        super().data_received(data)
        if self._decided or self.transport.is_closing():
            return
        if self._is_handshake:
            self._decided = True
            self._hand_over()
        elif self._in_head and len(self._raw) > settings.CSMS_HEAD_BYTES:
            self._refuse_head("head_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_handshake = False

    def on_headers_complete(self) -> None:
        self._leave_door()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > settings.CSMS_HEAD_BYTES:
            self._in_head, self._reason = True, "head_too_large"
            raise HeadRefused
        method = self.parser.get_method()
        if heads.asks_for_websocket(method, heads.path_of(self.url)[0], self.headers):
            self.scope["method"] = method.decode("ascii")
            self._is_handshake = True
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_handshake:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_handshake:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self.pipeline:
            self._await_head()

    def _should_upgrade(self) -> bool:
        # on_headers_complete has seen to it; everything else is plain HTTP, whatever it would like to be.
        return False

    def _unsupported_upgrade_warning(self) -> None:
        pass

    def send_400_response(self, msg: str) -> None:
        """The parser cannot take it: answered by us, unless it is the body of a request that is being answered."""
        if self._decided or self.transport.is_closing():
            return
        if self._in_head:
            self._refuse_head(self._reason or "malformed")
        else:
            super().send_400_response(msg)

    def _refuse_head(self, reason: str) -> None:
        """Answer a head that is not complete, or not in order; recorded where it names a charge point."""
        self._decided = True
        _, target, headers = heads.glean(bytes(self._raw))
        path, query = heads.path_of(target)
        refusal = REFUSALS[reason]
        if heads.names_charge_point(path):
            self._judge(self._scope_of(path, query, headers), refusal)
        elif path.startswith(API):
            body = orjson.dumps(problem(refusal))
            self._answer(refusal.status, b"application/problem+json", body, linger=reason != "head_too_slow")
        elif not self._raw:
            # Nobody has asked for anything.
            self.transport.close()
        else:
            body = f"{SENTENCES[refusal.status]}\n".encode()
            self._answer(refusal.status, b"text/plain; charset=utf-8", body, linger=reason != "head_too_slow")

    def _answer(self, status: int, content_type: bytes, body: bytes, *, linger: bool) -> None:
        self.transport.write(answer(status, content_type, body, ()))
        if linger:
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    # --- handshakes --------------------------------------------------------------------------------------------------
    def _scope_of(self, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        """What a websocket's scope says of the request, as far as the decision needs it."""
        scope: dict[str, Any] = {
            "headers": headers,
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "client": self.client,
            "scheme": "wss" if self.scheme == "https" else "ws",
        }
        session = self.transport.get_extra_info("ssl_object")
        if session is not None:
            scope["extensions"] = {"tls": tls.peer_facts(session)}
        return scope

    def _hand_over(self) -> None:
        """Refuse a handshake, or make a websocket of it, now or when it has been judged."""
        scope = self._scope_of(*heads.path_of(self.url), self.headers)
        trusted = self.client is not None and is_trusted(self.client[0])
        method = self.scope["method"].encode()
        fault = heads.fault_of(method, self.headers, trusted=trusted, certificate_bytes=MAX_HEADER_BYTES)
        if fault:
            self._judge(scope, REFUSALS[fault])
            return
        # Over TLS the client certificate counts too, and the handshake of TLS has cost far more by now.
        judgement = None if self.scheme == "https" else doorkeeper.of_this_loop().at_gate(scope)
        if isinstance(judgement, asyncio.Future):
            # Whatever it sends before it has its answer stays in the kernel.
            self.transport.pause_reading()
            judgement.add_done_callback(partial(self._judged, self.loop.time()))
        elif judgement is not None:
            self._refuse(judgement)
        else:
            self.handle_websocket_upgrade()

    def _judged(self, came: float, judgement: asyncio.Future[Refusal | None]) -> None:
        if judgement.cancelled() or self.transport.is_closing():
            return
        refusal = judgement.result()
        if refusal is None:
            self.transport.resume_reading()
            self.handle_websocket_upgrade()
        else:
            self.loop.call_at(came + doorkeeper.REFUSED_AFTER_SECONDS, self._refuse, refusal)

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to a websocket: with a head that is in order, and beside it the one that came."""
        self.connections.discard(self)
        protocol = tls.WebSocketProtocol(config=self.config, server_state=self.server_state, app_state=self.app_state)
        path, query = heads.path_of(self.url)
        protocol.came_with = {
            "http_version": self.parser.get_http_version(),
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
            "subprotocols": [
                token.strip()
                for name, value in self.headers
                if name == b"sec-websocket-protocol"
                for token in value.decode("latin-1").split(",")
            ],
        }
        protocol.connection_made(self.transport)
        protocol.data_received(heads.in_order(heads.key_of(self.headers)))
        self.transport.set_protocol(protocol)

    def _judge(self, scope: dict[str, Any], refusal: Refusal) -> None:
        """Refuse what cannot become a websocket, as the decision about it says, which records it."""
        task = self.loop.create_task(self._refuse_judged(scope, refusal))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _refuse_judged(self, scope: dict[str, Any], refusal: Refusal) -> None:
        if connections.draining():
            self._refuse(REFUSALS["draining"])
            return
        request = read(scope)
        request.fault = refusal.reason
        decision = await doorkeeper.of_this_loop().decide(request)
        self._refuse(refusal if isinstance(decision, Accepted) else decision)

    def _refuse(self, refusal: Refusal) -> None:
        if not self.transport.is_closing():
            counting.handshake(refusal.reason, None)
            self.transport.write(response(refusal))
            self.loop.call_later(LINGER_SECONDS if refusal.status == 431 else 0, self.transport.close)

    # --- answers that nobody reads -----------------------------------------------------------------------------------
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(settings.CSMS_UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget_unread()
        super().resume_writing()

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def problem(refusal: Refusal) -> dict[str, Any]:
    """A refused head as problem+json (RFC 9457)."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": SENTENCES[refusal.status],
        "code": refusal.reason,
    }


def response(refusal: Refusal) -> bytes:
    """The bytes of a refusal, as the consumer sends it."""
    return answer(refusal.status, b"text/plain; charset=utf-8", f"{refusal.body}\n".encode(), refusal.headers)


def answer(status: int, content_type: bytes, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The bytes of an answer that ends the connection."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        + b"Content-Type: "
        + content_type
        + f"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n".encode()
        + b"".join(b"%s: %s\r\n" % header for header in headers)
        + b"\r\n"
        + body
    )
