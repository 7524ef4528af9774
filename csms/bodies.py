"""Bodies of requests in front of Django, which would write them to disk before URL, key or size are looked at.

A body has a limit by path and a time: none is read where nothing is found, CSMS_BODY_LIMIT_BYTES holds everywhere
else, and a firmware image may be larger once the key or the session has been looked at. What is refused is answered
here, as a problem below /api/. Files of charge points have an application of their own (stations/files).
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from http import cookies
from importlib import import_module
from io import BytesIO
from typing import Any

import orjson
from django.conf import settings
from django.contrib import auth
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.urls import Resolver404, resolve

from stations.files.threads import with_rows
from tenants.api import problems
from tenants.models import ApiKey, ApiScope

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/api/"
# Views that take firmware images; what their forms have beside the file.
IMAGES = ("/api/v1/firmware-images/", "/admin/stations/firmwareimage/")
ENVELOPE_BYTES = 64 * 1024
# Views for whatever has no other.
CATCH_ALL = ("api/", "ocpp/")
# A large body has CSMS_BODY_SECONDS, and so much more as it needs at this pace.
SLOWEST_BYTES_PER_SECOND = 64 * 1024
# What is read of a body that is refused, and for how long, so that its sender reads the answer.
DRAINED_BYTES, DRAINED_SECONDS = 1024 * 1024, 1.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def guarded(application: Application) -> Application:
    """`application`, which gets only bodies that it may have."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        declared = headers.get(b"content-length", b"").strip()
        if b"transfer-encoding" not in headers and declared in (b"", b"0"):
            await application(scope, receive, send)
            return
        await _with_body(application, scope, headers, receive, send)

    return answer


async def _with_body(
    application: Application, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
) -> None:
    limit = await _limit(scope, headers)
    ends = _Ending(send, receive, expects=b"expect" in headers)
    if limit is None:
        without = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in _ABOUT_BODY]}
        await application(without, _Nothing(), ends.send)
        return
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        await ends.refuse(scope, *too_large(scope, limit))
        return
    body = _Counted(receive, limit, too_large(scope, limit), asyncio.get_running_loop().time())
    try:
        await application(scope, body, ends.watch)
    except OSError as error:
        if error.errno not in NO_ROOM or ends.answered:
            raise
        logger.error("A body was refused: %s", error.strerror)
        await ends.refuse(scope, 507, "no_room", "There is no room for the body. Try again later.")
        return
    if body.refused is not None and not ends.answered:
        await ends.refuse(scope, *body.refused)


def too_large(scope: Scope, limit: int) -> tuple[int, str, str]:
    """Status, code and detail of a body beyond its limit."""
    if scope["path"].startswith(IMAGES) and limit > settings.CSMS_BODY_LIMIT_BYTES:
        return 413, "file_too_large", f"An image has at most {settings.CSMS_IMAGE_LIMIT_BYTES} bytes."
    return 413, "body_too_large", f"The body of a request has at most {limit} bytes."


_ABOUT_BODY = (b"content-length", b"transfer-encoding", b"expect")


async def _limit(scope: Scope, headers: Mapping[bytes, bytes]) -> int | None:
    """The most bytes that the body may have; None when nobody wants it."""
    path: str = scope["path"]
    try:
        match = resolve(path)
    except Resolver404:
        return None
    if any(match.route.startswith(f"^{prefix}") for prefix in CATCH_ALL):
        return None
    if not path.startswith(IMAGES) or scope["method"] != "POST":
        return int(settings.CSMS_BODY_LIMIT_BYTES)
    try:
        known = await with_rows(partial(_is_known, scope, headers))
    except DatabaseError:
        return int(settings.CSMS_BODY_LIMIT_BYTES)
    return int(settings.CSMS_IMAGE_LIMIT_BYTES) + ENVELOPE_BYTES if known else None


def _is_known(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a key that may write, or a signed-in person, sends this; the view asks more closely."""
    scheme, _, credentials = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "api-key":
        key = ApiKey.authenticate(credentials.strip(), datetime.now(UTC))
        return key is not None and ApiScope.MANAGE in key.scopes
    try:
        found = cookies.SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    except cookies.CookieError:
        return False
    if found is None:
        return False
    request: Any = ASGIRequest(scope, BytesIO())
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(found.value)
    return bool(auth.get_user(request).is_authenticated)


class _Nothing:
    """The receive of a request without a body, whose caller stays."""

    _told = False

    async def __call__(self) -> Mapping[str, Any]:
        if not self._told:
            self._told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")


class _Counted:
    """A receive that ends, as if the caller had gone, when the body is too large or too slow; `refused` says which."""

    def __init__(self, receive: Receive, limit: int, too_large: tuple[int, str, str], began: float) -> None:
        self._receive = receive
        self._limit = limit
        self._too_large = too_large
        self._began = began
        self._received = 0
        self.complete = False
        self.refused: tuple[int, str, str] | None = None

    async def __call__(self) -> Mapping[str, Any]:
        if self.complete:
            return await self._receive()
        if self.refused is not None:
            return {"type": "http.disconnect"}
        seconds = settings.CSMS_BODY_SECONDS + self._received / SLOWEST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(self._began + seconds):
                message = await self._receive()
        except TimeoutError:
            self.refused = 408, "body_too_slow", "The body did not come in time."
            return {"type": "http.disconnect"}
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            self.refused = self._too_large
            return {"type": "http.disconnect"}
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message


class _Ending:
    """Answers after which the connection ends, since a body is left on it."""

    def __init__(self, send: Send, receive: Receive, *, expects: bool) -> None:
        self._send = send
        self._receive = receive
        self._expects = expects
        self.answered = False

    async def watch(self, message: Mapping[str, Any]) -> None:
        """Send as it is, and remember that there was an answer."""
        self.answered = True
        await self._send(message)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send with `Connection: close`, and some of the body read before the end."""
        if message["type"] == "http.response.start":
            self.answered = True
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() != b"connection"]
            await self._send({**message, "headers": [*kept, (b"connection", b"close")]})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._drain()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, scope: Scope, status: int, code: str, detail: str) -> None:
        if scope["path"].startswith(API):
            content_type, body = problems.CONTENT_TYPE, orjson.dumps(problems.document(status, code, detail))
        else:
            content_type, body = "text/plain; charset=utf-8", f"{detail}\n".encode()
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    async def _drain(self) -> None:
        """Nothing is read of one whose sender waits to be asked for it."""
        drained, more = 0, not self._expects
        try:
            async with asyncio.timeout(DRAINED_SECONDS):
                while more and drained < DRAINED_BYTES:
                    message = await self._receive()
                    drained += len(message.get("body", b""))
                    more = message["type"] == "http.request" and message.get("more_body", False)
        except TimeoutError:
            return
