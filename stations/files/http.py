"""One HTTP request and its answer over ASGI, as little as the file exchange needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Exchange:
    """A request with its headers, and the answer to it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.receive = receive
        self.headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = value if known is None else known + b", " + value
        self._send = send
        self.answered = False

    def header(self, name: str) -> str:
        """The header, "" when it is absent."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.answered = True
        lines = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def say(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        """A short answer in plain text."""
        data = b"" if self.method == "HEAD" else f"{sentence}\n".encode()
        plain = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(f"{sentence}\n".encode())),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        await self.start(status, plain | dict(headers or {}))
        await self.body(data, more=False)

    async def refuse(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        """An answer to a request whose body, if it has one, is not read: the connection ends with it."""
        closing = {} if self.method in ("GET", "HEAD") else {"Connection": "close"}
        await self.say(status, sentence, closing | dict(headers or {}))

    async def caller_is_gone(self) -> None:
        """Return when the caller has ended the connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
