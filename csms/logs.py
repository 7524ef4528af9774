"""Log lines: one JSON object each, or text for people; both say whose charge point and which message they are about.

Context: code logs where something happens, with Python's own loggers; it rarely has the tenant, the identity and the
message id at hand, and a lane answers thousands of messages a second that nobody logs a line about.
Choice: what is known is left where a line would find it, and put into members only when there is a line: a connection
has a dict in a context variable, a lane points at the item that it answers, a web request has an id.
Consequence: `logging.getLogger` stays all there is. Every text of a line passes the same filter for secrets.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import uuid4

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name

from stations.masking import MASK, masked_url

T = TypeVar("T")

FORMATS = ("json", "console")
# An identity as long as a charge point likes to dial with.
MOST_LETTERS = 100
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_AUTHORIZATION = re.compile(r"\b(Basic|Bearer|Api-Key)(\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
# A password on its way to or from a charge point, as JSON and as Python write it.
_KEY_VALUE = re.compile(r"(authorizationkey\W.{0,80}?\bvalue\W{1,8})[^\"'\s,}\\]+", re.IGNORECASE)


# --- what is known of the line's place --------------------------------------------------------------------------------
_conversation: ContextVar[dict[str, str] | None] = ContextVar("csms_conversation", default=None)


class _Lane(threading.local):
    """`item`: what this lane's thread is answering now (stations/dispatch.py), or None."""

    item: Any = None


lane = _Lane()


def begin_conversation() -> None:
    """Have this task, and those it starts from now on, share what `know` is told."""
    _conversation.set({})


def know(**members: str) -> None:
    """Tell what the lines of this conversation are about: `tenant`, `charge_point`."""
    known = _conversation.get()
    if known is not None:
        known.update({name: value[:MOST_LETTERS] for name, value in members.items()})


def carried(function: Callable[[], T]) -> Callable[[], T]:
    """`function` for another thread, where its lines are about this conversation."""
    known = _conversation.get()
    if known is None:
        return function

    def run() -> T:
        token = _conversation.set(known)
        try:
            return function()
        finally:
            _conversation.reset(token)

    return run


# --- a line -----------------------------------------------------------------------------------------------------------
def _members(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what is known, without touching what the line says itself."""
    known = dict(_conversation.get() or {})
    # Django logs 4xx when all middleware is done, with the request beside the line.
    request_id = getattr(getattr(line.get("_record"), "request", None), "request_id", None)
    if request_id:
        known["request_id"] = request_id
    item = lane.item
    if item is not None:
        tenant, _, identity = item.link.lane_key.partition("/")
        known |= {"tenant": tenant, "charge_point": identity[:MOST_LETTERS]}
        # A command's answer is a function with its message id bound.
        bound = getattr(getattr(item, "function", None), "keywords", {})
        for name in ("message_id", "action"):
            value = getattr(item, name, None) or bound.get(name)
            if value:
                known[name] = str(value)[:MOST_LETTERS]
    for name, value in known.items():
        line.setdefault(name, value)
    return line


def without_secrets(text: str) -> str:
    """`text` with passwords, tokens and credentials replaced, wherever in it they are."""
    text = masked_url(text)
    text = _AUTHORIZATION.sub(rf"\1\2{MASK}", text)
    return _KEY_VALUE.sub(rf"\1{MASK}", text)


def _mask(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = without_secrets(value)
    return line


class _Refused(logging.Filter):
    """uvicorn takes a handshake that was refused for one that was forgotten; the handshake logs a line of its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg != "ASGI callable returned without completing handshake."


class _PlainRefusal(logging.Filter):
    """A request that was refused is one line: how Django came to refuse it is in its source, not in our log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True


def _json(line: MutableMapping[str, Any], **_: Any) -> str:
    # Plain ASCII: an identity may hold halves of characters that cannot be written.
    return json.dumps(line, default=str)


def configuration(form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING: lines of `form` (json or console) from `level` on, to stderr."""
    if form == "json":
        render: list[Any] = [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(_json)]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    add_log_level,
                    add_logger_name,
                    _members,
                    merge_contextvars,
                    structlog.processors.format_exc_info,
                ],
                # Last before the line is written, so that nothing added later gets past it.
                "processors": [ProcessorFormatter.remove_processors_meta, _mask, *render],
            }
        },
        "filters": {"refused": {"()": _Refused}, "plain_refusal": {"()": _PlainRefusal}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # One line an access would be one line a heartbeat behind a proxy; the message log has the facts.
            "uvicorn.access": {"level": "WARNING"},
            "uvicorn.error": {"level": "WARNING", "filters": ["refused"]},
            "websockets": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "django.request": {"filters": ["plain_refusal"]},
            "daphne": {"level": "WARNING"},
        },
    }


# --- web requests -----------------------------------------------------------------------------------------------------
class RequestIdMiddleware:
    """Every line of a web request has its `request_id`, which the answer's X-Request-ID repeats.

    An id that the caller or a proxy brings is kept if it is a plain word; else the request gets one.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        request_id = request.request_id = _request_id(request)  # type: ignore[attr-defined]
        if self.is_async:
            return self._respond(request, request_id)
        with bound_contextvars(request_id=request_id):
            response: HttpResponseBase = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response

    async def _respond(self, request: HttpRequest, request_id: str) -> HttpResponseBase:
        with bound_contextvars(request_id=request_id):
            response: HttpResponseBase = await self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response


def _request_id(request: HttpRequest) -> str:
    brought = request.headers.get("X-Request-ID", "")
    return brought if REQUEST_ID.fullmatch(brought) else uuid4().hex
