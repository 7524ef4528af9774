"""What a frame must lead to, decided beside the server: exactly one answer with this id, or none.

Context: the generator does not know whether a message with flipped bytes can still be read, but the promise is exact.
Choice: the product's own `decode` says what it can read, and a second, strict reader that shares no code with it says
what it must be able to read. Consequence: answers are counted exactly, and a CALL that `decode` overlooks is found
as well.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from csms.ocppj.errors import OcppError
from csms.ocppj.frames import MAX_DESCRIPTION, MAX_MESSAGE_ID, BadFrame, Call, MessageId, RefusedCall, decode

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
ERROR_CODES = frozenset({OcppError.code} | {error.code for error in OcppError.__subclasses__()})
# The message id that stands for that of the CALL which the server waits for; filled in when the frame is sent.
OURS = "{id of the server's CALL}"


class Overlooked(Exception):
    """`decode` gives no id for a text that is plainly a CALL."""


def due(message: str | bytes) -> tuple[MessageId, str | None] | None:
    """Id and action (None where the frame is refused) of the CALL that has to be answered; None if nothing is due.

    Raises Overlooked.
    """
    found: tuple[MessageId, str | None] | None = None
    try:
        read = decode(message)
    except BadFrame:
        pass
    except RefusedCall as refused:
        found = (refused.message_id, None)
    else:
        found = (read.message_id, read.action) if isinstance(read, Call) else None
    plain = _plain_id(message)
    if plain is not None and (found is None or found[0] != plain or type(found[0]) is not type(plain)):
        raise Overlooked(f"{found and found[0]!r} instead of {plain!r}")
    return found


def _plain_id(message: str | bytes) -> MessageId | None:
    """The id of a CALL that is strict JSON, has an id of text or integer, and is nowhere near a limit."""
    if len(message) > 100_000:
        return None
    try:
        text = message if isinstance(message, str) else message.decode()
        elements = json.loads(text, parse_constant=_no_constant)
        text.encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(elements, list) or len(elements) < 2 or elements[0] != CALL or isinstance(elements[0], bool):
        return None
    message_id = elements[1]
    if isinstance(message_id, bool) or not isinstance(message_id, int | str) or not str(message_id).isprintable():
        return None
    if len(str(message_id)) > MAX_MESSAGE_ID:
        return None
    return message_id


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def fault(elements: Any) -> str | None:
    """What is wrong with the shape of an answer of the server; None if nothing is."""
    if elements[0] == CALL_RESULT:
        return None if len(elements) == 3 and isinstance(elements[2], dict) else "no CALLRESULT of OCPP-J"
    if elements[0] != CALL_ERROR or len(elements) != 5:
        return "neither a CALLRESULT nor a CALLERROR of OCPP-J"
    _, _, code, description, details = elements
    if code not in ERROR_CODES:
        return f"errorCode {code!r} does not exist"
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION or not isinstance(details, dict):
        return "a CALLERROR with an impossible description or details"
    return None
