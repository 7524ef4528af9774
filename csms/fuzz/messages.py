"""Payloads by the schemas of OCPP 1.6, valid and spoilt, from a `random.Random`: the same seed gives the same payload.

The schemas are those that the product itself reads by, so every action of both directions is covered, and a valid
payload is valid by definition: whether the product then says so is what the fuzz finds out.
"""

from __future__ import annotations

import copy
import random
import string
from functools import cache
from typing import Any

from csms.ocppj.payloads import FROM_CHARGE_POINT, TO_CHARGE_POINT
from csms.ocppj.schemas import Schema, Shape, request_schema, result_schema

ASKED = tuple(sorted(FROM_CHARGE_POINT))
TOLD = tuple(sorted(TO_CHARGE_POINT))
# Actions of OCPP 2.0.1, 2.1 and 1.5, and near misses.
STRANGE_ACTIONS = (
    "TransactionEvent", "NotifyReport", "GetVariables", "SecurityEvent", "NotifyEVChargingNeeds",
    "Get15118EVCertificate", "NotifyDERAlarm", "authorize", "Authorize.req", "BootNotificationRequest",
    "HeartBeat", "MeterValue", "", " ", "__init__", "Heartbeat\n", "\u0000", "é" * 30, "A" * 300,
)  # fmt: skip
TIMES = (
    "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.123+02:00", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z", "2026-02-30T10:00:00Z", "2026-03-01 10:00", "2026-03-01T24:00:00Z", "yesterday", "0",
    "2026-12-31T23:59:60Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "",
)  # fmt: skip
URIS = ("https://example.com/a", "ftp://u:p@h/f", "file:///etc/passwd", "://", "http://[::1", "")
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**70), 10**40, 0.1, -0.0, 1.5,
    1e308, 5e-324, 16.35, 1e15, 3.0,
)  # fmt: skip
TEXTS = (
    "", " ", "\u0000", "a\u0000b", "\ud800", "\udc00\ud800", "\ufeff", "\u202e", "é", "💥", "NaN", "null", "-1",
    "1e999", "0x10", "true", "Accepted ", "accepted", "'; DROP TABLE x; --", "%s%n", "{}", "[2]", "../../etc/passwd",
    "<b>", "\x1b[31m", "\r\n", "x" * 51, "x" * 256, "y" * 5000,
)  # fmt: skip
MAX_ITEMS = 3


@cache
def _schema(action: str, request: bool) -> Schema:
    return request_schema(action) if request else result_schema(action)


def request(chance: random.Random, action: str) -> dict[str, Any]:
    """A valid request of `action`."""
    made: dict[str, Any] = _value(chance, _schema(action, True).shape)
    return made


def result(chance: random.Random, action: str) -> dict[str, Any]:
    """A valid confirmation of `action`."""
    made: dict[str, Any] = _value(chance, _schema(action, False).shape)
    return made


def is_result(action: str, payload: Any) -> bool:
    """Whether `payload` is a valid confirmation of `action`."""
    return _schema(action, False).is_valid(payload)


def _value(chance: random.Random, shape: Shape) -> Any:
    if shape.kind == "object":
        return {
            name: _value(chance, child)
            for name, child in shape.members.items()
            if name in shape.required or chance.random() < 0.4
        }
    if shape.kind == "array" and shape.item is not None:
        item = shape.item
        return [_value(chance, item) for _ in range(chance.randint(max(1, shape.min_items), MAX_ITEMS))]
    if shape.kind == "boolean":
        return chance.random() < 0.5
    if shape.kind == "integer":
        return chance.randint(max(shape.minimum, 0), min(shape.maximum, chance.choice((2, 100, 2**31 - 1))))
    if shape.kind == "number":
        return chance.randint(0, 1000) / 10 if shape.one_decimal else chance.choice((0, 1.5, 16, 1e6))
    return _text(chance, shape)


def _text(chance: random.Random, shape: Shape) -> str:
    if shape.values:
        return chance.choice(sorted(shape.values))
    if shape.format == "date-time":
        day = f"20{chance.randint(10, 40)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
        hour, minute, second = chance.randint(0, 23), chance.randint(0, 59), chance.randint(0, 59)
        return f"{day}T{hour:02}:{minute:02}:{second:02}.{chance.randint(0, 999):03}Z"
    if shape.format == "uri":
        return URIS[0]
    longest = min(shape.max_length or 40, 40)
    return "".join(chance.choices(string.ascii_letters + string.digits + " .-_äß", k=chance.randint(1, longest)))


def anything(chance: random.Random, depth: int = 3) -> Any:
    """Any JSON value that `json.dumps` writes, halves of surrogate pairs and huge integers among them."""
    kind = chance.randrange(8 if depth else 6)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return chance.choice(NUMBERS)
    if kind in (2, 3):
        return chance.choice(TEXTS)
    if kind == 4:
        return chance.choice(TIMES)
    if kind == 5:
        return "".join(map(chr, chance.choices(range(1, 0x250), k=chance.randint(0, 20))))
    if kind == 6:
        return [anything(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return {str(chance.choice(TEXTS)): anything(chance, depth - 1) for _ in range(chance.randint(0, 3))}


def spoilt(chance: random.Random, payload: Any) -> Any:
    """A copy of `payload` in which one to three places were replaced, removed, added, respelt or wrapped."""
    changed = copy.deepcopy(payload)
    for _ in range(chance.randint(1, 3)):
        container: Any = changed
        while isinstance(container, dict | list) and container:
            keys = list(container) if isinstance(container, dict) else list(range(len(container)))
            key = chance.choice(keys)
            child = container[key]
            if isinstance(child, dict | list) and child and chance.random() < 0.6:
                container = child
                continue
            _spoil(chance, container, key)
            break
    return changed


def _spoil(chance: random.Random, container: Any, key: Any) -> None:
    child = container[key]
    change = chance.choice(("replace", "replace", "remove", "add", "respell", "wrap", "multiply"))
    if change == "remove":
        del container[key]
    elif change == "add" and isinstance(container, dict):
        container[chance.choice(TEXTS)] = anything(chance)
    elif change == "respell" and isinstance(child, str | int | float):
        container[key] = child.swapcase() if isinstance(child, str) else str(child)
    elif change == "wrap":
        container[key] = child[0] if isinstance(child, list) and child else [child]
    elif change == "multiply" and isinstance(child, list):
        container[key] = child * chance.choice((0, 2, 200))
    else:
        container[key] = anything(chance)
