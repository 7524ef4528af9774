"""One frame of the CSMS, judged: strict JSON, the shape of OCPP-J section 4, the schema of its message.

Nothing is tolerated here. What a central system may forgive a charge point, a certification does not forgive the
central system.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from csms.certify.failure import CaseFailed
from csms.ocppj.payloads import TO_CHARGE_POINT
from csms.ocppj.schemas import Shape, request_schema, result_schema
from csms.ocppj.tolerance import problems

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
# OCPP-J 4.1.4: a message id has at most 36 characters.
MAX_MESSAGE_ID = 36
MAX_ACTION = 64


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the CSMS, already found to be valid."""

    message_id: str
    action: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A CALLRESULT (`error` is None), or a CALLERROR (`error` is its code and description)."""

    message_id: str
    payload: dict[str, Any]
    error: str | None = None


def read(text: str | bytes) -> Call | Answer:
    """Read a frame of the CSMS. Errors: CaseFailed for everything that OCPP-J 1.6 does not allow.

    The payload of an answer is judged later, by `check_result`, since only the request tells its schema.
    """
    if isinstance(text, bytes):
        raise CaseFailed("The CSMS sent a binary frame; OCPP-J knows text frames only.")
    try:
        frame = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        raise CaseFailed("The CSMS sent a frame that is not JSON.") from None
    if not isinstance(frame, list) or len(frame) < 2:
        raise CaseFailed("The CSMS sent a frame that is not a JSON array of OCPP-J.")
    kind, message_id, rest = frame[0], frame[1], frame[2:]
    if not isinstance(message_id, str) or not 1 <= len(message_id) <= MAX_MESSAGE_ID:
        raise CaseFailed("The CSMS sent a message id that is not a text of 1 to 36 characters.")
    if kind == CALL and len(rest) == 2 and isinstance(rest[0], str) and isinstance(rest[1], dict):
        return _call(message_id, rest[0], rest[1])
    if kind == CALL_RESULT and len(rest) == 1 and isinstance(rest[0], dict):
        return Answer(message_id, rest[0])
    if kind == CALL_ERROR and len(rest) == 3 and isinstance(rest[0], str) and isinstance(rest[1], str):
        return Answer(message_id, {}, f"{rest[0]}: {rest[1]}" if rest[1] else rest[0])
    raise CaseFailed("The CSMS sent a frame that is neither a CALL nor a CALLRESULT nor a CALLERROR.")


def check_result(action: str, payload: Mapping[str, Any]) -> None:
    """Errors: CaseFailed when `payload` is not a valid confirmation of `action`."""
    _check(_result_shape(action), payload, f"The answer to {action}")


def difference(expected: Any, received: Any, at: str = "") -> str | None:
    """What makes `received` another JSON value than `expected`, in words; None when nothing does.

    The order of members says nothing in JSON, nor does 6 against 6.0; everything else does.
    """
    name = at or "the payload"
    if isinstance(expected, Mapping) and isinstance(received, Mapping):
        for member in expected:
            if member not in received:
                return f"{_path(at, member)} is absent"
        for member in received:
            if member not in expected:
                return f"{_path(at, member)} should be absent"
        pairs = [(expected[member], received[member], _path(at, member)) for member in expected]
    elif isinstance(expected, list) and isinstance(received, list):
        if len(expected) != len(received):
            return f"{name} has {len(received)} elements instead of {len(expected)}"
        pairs = [
            (one, other, f"{at}[{index}]") for index, (one, other) in enumerate(zip(expected, received, strict=True))
        ]
    else:
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (expected, received))
        if expected == received and (numbers or type(expected) is type(received)):
            return None
        return f"{name} is {shown(received)} instead of {shown(expected)}"
    for one, other, path in pairs:
        found = difference(one, other, path)
        if found is not None:
            return found
    return None


def shown(value: Any) -> str:
    """`value` as JSON, short enough for a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _call(message_id: str, action: str, payload: dict[str, Any]) -> Call:
    if action not in TO_CHARGE_POINT:
        raise CaseFailed(f"The CSMS sent {action[:MAX_ACTION]!r}, which is no request of a central system.")
    _check(_request_shape(action), payload, f"The request {action}")
    return Call(message_id, action, payload)


def _check(shape: Shape, payload: Mapping[str, Any], what: str) -> None:
    found = problems(shape, payload)
    if found:
        raise CaseFailed(f"{what} breaks its schema: {found[0].pointer or 'the payload'} {found[0].detail}.")


def _path(at: str, member: str) -> str:
    return f"{at}.{member}" if at else member


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


@cache
def _request_shape(action: str) -> Shape:
    return request_schema(action).shape


@cache
def _result_shape(action: str) -> Shape:
    return result_schema(action).shape
