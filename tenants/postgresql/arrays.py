"""Columns of values as arrays of PostgreSQL, in the form in which the server has least to do.

Context: the server reads an array written as text a character at a time, and each text in it has to be escaped here
before and unescaped there. Choice: texts, JSON and times travel in the binary form of arrays, numbers as text, which is
as cheap to read and cheaper to write. Source: PostgreSQL, array_recv, jsonb_recv and timestamptz_recv; the numbers of
types are those of pg_type and never change.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Literal

Kind = Literal["plain", "quoted", "text", "varchar", "json", "time"]

_TYPES = {"text": 25, "varchar": 1043, "json": 3802, "time": 1184}
# Dimensions, whether an element is NULL, type of the elements, how many there are, the number of the first.
_HEAD = Struct(">iiiii")
_LENGTH = Struct(">i")
_TIME = Struct(">iq")
_NULL = _LENGTH.pack(-1)
_JSONB_VERSION = b"\x01"
_EPOCH, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def as_array(kind: Kind, values: Iterable[Any]) -> str | bytes:
    """`values` as one parameter: text, or bytes where it is to be sent in binary form; None is NULL.

    `plain`: what needs no quotes, as numbers; `quoted`: anything else that has a text; `text` and `varchar`: str;
    `json`: the JSON text of each value, for jsonb; `time`: aware datetime, for timestamptz.
    """
    if kind == "plain":
        return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"
    if kind == "quoted":
        return f"{{{','.join(['NULL' if value is None else _quoted(str(value)) for value in values])}}}"
    if kind == "time":
        elements = [_NULL if value is None else _TIME.pack(8, (value - _EPOCH) // _MICROSECOND) for value in values]
    else:
        before = _JSONB_VERSION if kind == "json" else b""
        texts = [None if value is None else before + value.encode() for value in values]
        elements = [_NULL if text is None else _LENGTH.pack(len(text)) + text for text in texts]
    if not elements:
        return "{}"
    return _HEAD.pack(1, _NULL in elements, _TYPES[kind], len(elements), 1) + b"".join(elements)


def _quoted(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return '"' + (text.replace('"', '\\"') if '"' in text else text) + '"'
