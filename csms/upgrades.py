"""The HTTP side of a connection: a handshake that is refused anyway ends before a websocket is made of it.

Context: a flood of bad handshakes is refused by the thousand, and each cost the making of a websocket, a second parsing
of its head, a consumer and two tasks, half a millisecond, for an answer that was known from the start.
Choice: the doorkeeper is asked when the head has been read. Consequence: the others go on as they always did.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from csms.metrics import counting
from stations import doorkeeper
from stations.handshake import Refusal


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the doorkeeper before the upgrade."""

    def handle_websocket_upgrade(self) -> None:
        # Over TLS the client certificate counts too, and the handshake of TLS has cost far more by now.
        if self.scheme != "http":
            super().handle_websocket_upgrade()
            return
        path = self.url.partition(b"?")[0]
        scope: dict[str, Any] = {
            "headers": self.headers,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "client": self.client,
            "scheme": "ws",
        }
        answer = doorkeeper.of_this_loop().at_gate(scope)
        if isinstance(answer, asyncio.Future):
            # Whatever it sends before it has its answer stays in the kernel.
            self.transport.pause_reading()
            answer.add_done_callback(partial(self._judged, self.loop.time()))
        elif answer is not None:
            self._refuse(answer)
        else:
            super().handle_websocket_upgrade()

    def _judged(self, came: float, judgement: asyncio.Future[Refusal | None]) -> None:
        if judgement.cancelled() or self.transport.is_closing():
            return
        refusal = judgement.result()
        if refusal is None:
            self.transport.resume_reading()
            super().handle_websocket_upgrade()
        else:
            self.loop.call_at(came + doorkeeper.REFUSED_AFTER_SECONDS, self._refuse, refusal)

    def _refuse(self, refusal: Refusal) -> None:
        if not self.transport.is_closing():
            counting.handshake(refusal.reason, None)
            self.transport.write(response(refusal))
            self.transport.close()


def response(refusal: Refusal) -> bytes:
    """The bytes of a refusal, as the consumer sends it."""
    body = f"{refusal.body}\n".encode()
    headers = b"".join(b"%s: %s\r\n" % header for header in refusal.headers)
    phrase = HTTPStatus(refusal.status).phrase
    return (
        f"HTTP/1.1 {refusal.status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n".encode()
        + headers
        + b"\r\n"
        + body
    )
