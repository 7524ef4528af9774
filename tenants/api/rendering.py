"""JSON in and out of the API, by orjson: UTF-8, times as RFC 3339 in UTC with milliseconds and Z."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import orjson
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from csms.ocppj.times import format_time
from tenants.api.problems import Problem

MAX_DEPTH = 64


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value.astimezone(UTC))
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return str(value)


class JsonRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS)


class AcceptHeaderNegotiation(DefaultContentNegotiation):
    """Without `?format=`, which would be one more query parameter to every path."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


class JsonParser(BaseParser):
    """A JSON object, or a list where the view says so (`list_methods`).

    What a database cannot hold (NUL, lone surrogates, endless nesting) is refused here.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read()
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Problem(400, "invalid_json", f"The body is not JSON: {error.msg} (position {error.pos}).") from error
        context = parser_context or {}
        if "view" in context and context["request"].method in context["view"].list_methods:
            if not isinstance(data, list):
                raise Problem(400, "not_a_list", "The body must be a JSON list of objects.")
        elif not isinstance(data, dict):
            raise Problem(400, "not_an_object", "The body must be a JSON object.")
        _check(data, "", 0)
        return data


def _check(value: Any, pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refused(pointer, "The body is nested too deeply.", "too_deep")
    if isinstance(value, str):
        if "\x00" in value:
            raise _refused(pointer, "A text must not contain U+0000.", "null_character")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if "\x00" in name:
                raise _refused(pointer, "A name must not contain U+0000.", "null_character")
            _check(inner, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check(inner, f"{pointer}/{index}", depth + 1)


def _refused(pointer: str, detail: str, code: str) -> Problem:
    return Problem(
        400, "invalid", "The request is not valid.", errors=[{"pointer": pointer, "detail": detail, "code": code}]
    )
