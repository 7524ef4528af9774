"""OCPP-J frames: the JSON arrays that travel on the websocket, as three dataclasses.

    CALL        [2, "id", "Action", {payload}]
    CALLRESULT  [3, "id", {payload}]
    CALLERROR   [4, "id", "code", "description", {details}]

Reading is tolerant: whatever still shows whose CALL it is gets an answer, because a charge point that gets none repeats
itself for ever. `decode` therefore ends in one of three ways: a frame; `RefusedCall`, for which a CALLERROR is due; or
`BadFrame`, which nobody can answer. Everything it hands out can be stored anywhere and written back: no NUL characters
(C strings leave them), no lone surrogates, no NaN, no deeper nesting than MAX_DEPTH, integers of any size exact.
What had to be mended is listed in `repairs` of the frame as (kind, detail).
Source: OCPP-J 1.6 section 4; message ids errata 3.1.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from csms.ocppj.errors import FormationViolation, OcppError

MessageId = str | int
Repair = tuple[str, str]

MAX_MESSAGE_ID = 255
MAX_DESCRIPTION = 255
MAX_DEPTH = 64

# Python refuses to convert integers of more than 4300 digits (or fewer, if so configured, but never below 640).
_MAX_DIGITS = 600
_INT64 = 2.0**63


# Not frozen: one of each is made of every message, and that would take three times as long.
@dataclass(slots=True)
class Call:
    """A request. `message_id` keeps the JSON type it came in, since the answer must carry the same."""

    message_id: MessageId
    action: str
    payload: dict[str, Any]
    repairs: tuple[Repair, ...] = ()


@dataclass(slots=True)
class CallResult:
    """A confirmation."""

    message_id: MessageId
    payload: dict[str, Any]
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class CallError:
    """A failure. On input `code` is any text, "" if the frame had none."""

    message_id: MessageId
    code: str
    description: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    repairs: tuple[Repair, ...] = ()


Frame = Call | CallResult | CallError


class BadFrame(Exception):
    """A text that nothing can be answered to; it is logged and the connection kept."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefusedCall(Exception):
    """A CALL whose frame is wrong but whose id is known: `error` is to be sent as CALLERROR.

    `action` is None if the frame names none; `payload` is the third element as received, None if absent or unreadable.
    """

    def __init__(self, message_id: MessageId, error: OcppError, action: str | None, payload: Any = None) -> None:
        super().__init__(message_id, error, action, payload)
        self.message_id = message_id
        self.error = error
        self.action = action
        self.payload = payload


def decode(text: str | bytes) -> Frame:
    """Read one frame. Raises BadFrame or RefusedCall (see above) and nothing else, whatever the text."""
    if not isinstance(text, str):
        try:
            text = str(text, "utf-8")
        except UnicodeDecodeError:
            raise BadFrame("not UTF-8") from None
    repairs: list[Repair] = []
    try:
        elements = orjson.loads(text)
    except orjson.JSONDecodeError:
        elements = _read_leniently(text)
        repairs.append(("irregular_json", "the text is not strictly JSON"))
    if not isinstance(elements, list):
        raise BadFrame("not a JSON array")
    if not elements:
        raise BadFrame("empty array")
    if _has_huge_number(elements):
        elements = _read_exactly(text, elements)
    kind = elements[0]
    if kind in ("2", "3", "4"):
        repairs.append(("type_as_text", "message type is text"))
        kind = int(kind)
    if isinstance(kind, bool) or kind not in (2, 3, 4):
        raise BadFrame("unknown message type")
    message_id = _usable_id(elements[1]) if len(elements) > 1 else None
    if message_id is None:
        raise BadFrame("no usable message id")
    # Depth can exceed the number of opening brackets nowhere, and counting those is far cheaper than walking.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(elements, MAX_DEPTH):
        if kind != 2:
            raise BadFrame("nested too deeply")
        raise RefusedCall(message_id, FormationViolation("nested too deeply"), _action_of(elements))
    if repairs or "\\u0000" in text:
        cleaned = [_clean(element) for element in elements]
        if cleaned != elements:
            repairs.append(("unclean_text", "NUL characters or halves of surrogate pairs were removed"))
            elements = cleaned
    if kind == 2:
        return _call(message_id, elements, repairs)
    if kind == 3:
        return _call_result(message_id, elements, repairs)
    return _call_error(message_id, elements, repairs)


def encode(frame: Frame) -> str:
    """Write one frame as compact JSON; a description is cut to 255 characters."""
    if isinstance(frame, Call):
        return dumps([2, frame.message_id, frame.action, frame.payload])
    if isinstance(frame, CallResult):
        return dumps([3, frame.message_id, frame.payload])
    return dumps([4, frame.message_id, frame.code, frame.description[:MAX_DESCRIPTION], frame.details])


def dumps(value: Any) -> str:
    """Compact JSON. What orjson refuses, integers beyond 64 bits for one, goes through the standard library."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":"), default=str)


def canonical(value: Any) -> bytes:
    """JSON that is the same for whatever order members came in."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str).encode()


def storable(text: str) -> str:
    """`text` without what databases refuse: NUL characters go, halves of surrogate pairs become U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii() or _is_unicode(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _call(message_id: MessageId, elements: list[Any], repairs: list[Repair]) -> Call:
    action = _action_of(elements)
    payload = elements[3] if len(elements) > 3 else None
    if len(str(message_id)) > MAX_MESSAGE_ID:
        raise RefusedCall(message_id, FormationViolation("message id is too long"), action, payload)
    if len(elements) < 4:
        raise RefusedCall(message_id, FormationViolation("a CALL has four elements"), action)
    if action is None:
        raise RefusedCall(message_id, FormationViolation("the action is not a text"), None, payload)
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise RefusedCall(message_id, FormationViolation("the payload is not an object"), action, payload)
    if len(elements) > 4:
        repairs.append(("extra_elements", f"{len(elements) - 4} more elements than a CALL has"))
    return Call(message_id, action, payload, tuple(repairs))


def _call_result(message_id: MessageId, elements: list[Any], repairs: list[Repair]) -> CallResult:
    payload = elements[2] if len(elements) > 2 else None
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        repairs.append(("payload_not_object", dumps(payload)[:500]))
        payload = {}
    if len(elements) > 3:
        repairs.append(("extra_elements", f"{len(elements) - 3} more elements than a CALLRESULT has"))
    return CallResult(message_id, payload, tuple(repairs))


def _call_error(message_id: MessageId, elements: list[Any], repairs: list[Repair]) -> CallError:
    code, description, details = (*elements[2:5], None, None, None)[:3]
    if details is None:
        details = {}
    elif not isinstance(details, dict):
        # Kept rather than lost: it is all the operator will ever learn about the failure.
        repairs.append(("details_not_object", "details are kept as the member value"))
        details = {"value": details}
    return CallError(message_id, _text(code), _text(description), details, tuple(repairs))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value)


def _action_of(elements: list[Any]) -> str | None:
    action = elements[2] if len(elements) > 2 else None
    return storable(action) if isinstance(action, str) else None


def _usable_id(value: Any) -> MessageId | None:
    """The id as it can be echoed; None if it cannot be, or is no text that could be stored."""
    if isinstance(value, str):
        return value if storable(value) == value else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _has_huge_number(elements: list[Any]) -> bool:
    """Whether orjson turned an integer beyond 64 bits into a float, where an integer is meant.

    Only the id and the members of the payload itself are looked at: no nested member of any message is an id.
    """
    if len(elements) > 1 and isinstance(elements[1], float):
        return True
    for element in elements[2:4]:
        if isinstance(element, dict):
            for value in element.values():
                if isinstance(value, float) and not -_INT64 < value < _INT64:
                    return True
    return False


def _read_exactly(text: str, elements: list[Any]) -> list[Any]:
    """`text` once more with the standard library, which keeps integers of any size; `elements` if that fails."""
    try:
        exact = _LENIENT.decode(text.strip())
    except (ValueError, RecursionError):
        return elements
    return exact if isinstance(exact, list) else elements


def _read_leniently(text: str) -> Any:
    """Read what orjson refuses although the meaning is plain.

    That is NaN and Infinity (read as texts), numbers beyond a double (the same), raw control characters inside texts
    (a PEM pasted as it is), halves of surrogate pairs, a byte order mark in front, and NUL characters at the end.
    """
    try:
        return _LENIENT.decode(text.strip("\ufeff\x00 \t\r\n"))
    except RecursionError:
        _refuse_unreadable(text)
    except ValueError:
        raise BadFrame("not JSON") from None


_CALL_HEAD = re.compile(
    r'\s*\[\s*"?2"?\s*,\s*("(?:[^"\\\x00-\x1f]|\\.){0,300}"|-?[0-9]{1,255})\s*,(?:\s*"([A-Za-z0-9]{1,64})"\s*,)?'
)


def _refuse_unreadable(text: str) -> NoReturn:
    """Refuse a text too deeply nested for any parser, by the id in its head if it is a CALL."""
    head = _CALL_HEAD.match(text)
    if head is not None:
        try:
            message_id = _usable_id(json.loads(head[1]))
        except ValueError:
            message_id = None
        if message_id is not None:
            raise RefusedCall(message_id, FormationViolation("nested too deeply"), head[2])
    raise BadFrame("nested too deeply")


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether containers nest deeper than `limit`; level by level, so that the depth itself does no harm."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): _clean(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_clean(element) for element in value]
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


_LENIENT = json.JSONDecoder(strict=False, parse_int=_integer, parse_float=_float, parse_constant=str)
