"""What a fuzzing station does next, out of a seed: `make(seed, station, number)` is the same move for ever.

Nothing of a move depends on what the server did, but for one thing: the id of the CALL that the server waits for, which
stands as OURS in an answer and is filled in when the move is sent. So one move can be made again alone, from its name.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from csms.fuzz import frames, messages
from csms.fuzz.oracle import OURS

# Close codes of a server: too big, not UTF-8, against the protocol. That of the first may be lost: the server closes
# while more arrives, so TCP resets the connection.
TOO_BIG, NOT_UTF8, PROTOCOL_ERROR = (1009, None), (1007,), (1002,)
LONGEST_FLOOD = 300
DEPTHS = (3, 60, 63, 64, 65, 66, 200, 1023, 1025, 5000, 50_000)


@dataclass(frozen=True, slots=True)
class Part:
    """One websocket message, or with `opcode` None bytes for the wire as they are."""

    payload: bytes
    opcode: int | None = frames.TEXT
    split: bool = False

    def with_id(self, ours: str) -> bytes:
        return self.payload.replace(OURS.encode(), ours.encode()) if OURS.encode() in self.payload else self.payload


@dataclass(frozen=True, slots=True)
class Move:
    """Parts that leave in one write. `ends`: the close codes one of which must follow, None while the socket lives.

    A None among them: no code at all. `cuts`: the line is dropped afterwards, without a closing handshake. `name` is
    `seed.station.number`.
    """

    name: str
    kind: str
    parts: tuple[Part, ...]
    ends: tuple[int | None, ...] | None = None
    cuts: bool = False

    def wire(self, ours: str) -> bytes:
        chance = random.Random(self.name)  # noqa: S311 - to be repeatable, not secret
        written = []
        for part in self.parts:
            payload = part.with_id(ours)
            if part.opcode is None:
                written.append(payload)
            elif part.split:
                written.append(frames.fragmented(chance, part.opcode, payload))
            else:
                written.append(frames.frame(part.opcode, payload))
        return b"".join(written)

    def read_as(self, ours: str) -> list[str | bytes]:
        """The websocket messages as the server's application gets them."""
        found: list[str | bytes] = []
        if self.ends is not None:
            return found
        for part in self.parts:
            if part.opcode == frames.TEXT:
                found.append(part.with_id(ours).decode())
            elif part.opcode == frames.BINARY:
                found.append(part.with_id(ours))
        return found


class Maker:
    """Makes moves; `largest_frame` in bytes is the limit of the server."""

    def __init__(self, seed: int, largest_frame: int) -> None:
        self._seed = seed
        self._largest_frame = largest_frame

    def make(self, station: int, number: int) -> Move:
        name = f"{self._seed}.{station}.{number}"
        chance = random.Random(name)  # noqa: S311 - to be repeatable, not secret
        kind = chance.choices(_KINDS, _WEIGHTS)[0]
        context = Context(chance, station, number, self)
        made = _MOVES[kind][1](context)
        if isinstance(made, Move):
            return Move(name, kind, made.parts, made.ends, made.cuts)
        parts = made if isinstance(made, tuple) else (made,)
        for part in parts:
            if part.opcode is not None and len(part.payload) > self._largest_frame:
                return Move(name, kind, (part,), TOO_BIG)
        return Move(name, kind, parts)

    @property
    def largest_frame(self) -> int:
        return self._largest_frame


@dataclass(frozen=True, slots=True)
class Context:
    """What a kind of move is made from."""

    chance: random.Random
    station: int
    number: int
    maker: Maker

    def new_id(self) -> Any:
        """A message id that no other move has, in one of many styles."""
        plain = f"{self.station}-{self.number}-{self.chance.getrandbits(40):x}"
        style = self.chance.randrange(12)
        if style == 0:
            return self.number * 1000 + self.station + self.chance.choice((0, 10**9, 2**31, 2**63, 2**64, 10**30))
        if style == 1:
            return plain + self.chance.choice((" ", '"', "\\", "/", "é", "💥", "\t", "'", "\u200b", "\x7f"))
        if style == 2:
            return plain.ljust(self.chance.choice((36, 37, 255)), "x")
        return plain

    def odd_id(self) -> Any:
        """An id that may not be usable."""
        plain = f"{self.station}-{self.number}"
        ids: tuple[Any, ...] = (
            None, True, [], {}, [plain], {"id": plain}, "", 1.5, self.number + 0.0, -self.number, 1e300, 10**300,
            2**64 + self.number, plain + "\u0000", plain + "\ud800", plain.ljust(256, "y"), plain.ljust(5000, "z"),
            OURS,
        )  # fmt: skip
        return self.chance.choice(ids)

    def valid(self) -> list[Any]:
        action = self.chance.choice(messages.ASKED)
        return [2, self.new_id(), action, messages.request(self.chance, action)]


Made = Part | tuple[Part, ...] | Move


def _written(value: Any, chance: random.Random) -> Part:
    """As one text message, in one of the styles of JSON; halves of surrogate pairs are only possible escaped."""
    compact = chance.random() < 0.7
    text = json.dumps(value, separators=(",", ":") if compact else (", ", ": "))
    if chance.random() < 0.2:
        unescaped = json.dumps(value, ensure_ascii=False)
        if all(not "\ud800" <= character <= "\udfff" for character in unescaped):
            text = unescaped
    return Part(text.encode())


def _valid(context: Context) -> Made:
    return _written(context.valid(), context.chance)


def _spoilt(context: Context) -> Made:
    elements = context.valid()
    elements[3] = messages.spoilt(context.chance, elements[3])
    return _written(elements, context.chance)


def _wrong_way(context: Context) -> Made:
    """Requests that only a central system sends, of other versions, or of nobody."""
    chance = context.chance
    if chance.random() < 0.5:
        action = chance.choice(messages.TOLD)
        payload = messages.request(chance, action)
    else:
        action, payload = chance.choice(messages.STRANGE_ACTIONS), messages.anything(chance)
    return _written([2, context.new_id(), action, payload], chance)


def _structure(context: Context) -> Made:
    """Elements too few, too many, in another order, of another type."""
    chance = context.chance
    elements = context.valid()
    change = chance.randrange(8)
    if change == 0:
        elements = elements[: chance.randrange(4)]
    elif change == 1:
        elements += [messages.anything(chance) for _ in range(chance.randint(1, 3))]
    elif change == 2:
        chance.shuffle(elements)
    elif change == 3:
        elements[0] = chance.choice(("2", 2.0, True, 0, 1, 5, 6, -2, "CALL", None, [2], 2**64, "3", "4"))
    elif change == 4:
        elements[1] = context.odd_id()
    elif change == 5:
        elements[2] = messages.anything(chance)
    elif change == 6:
        elements[3] = messages.anything(chance)
    else:
        return _written(messages.anything(chance), chance)
    return _written(elements, chance)


def _flipped(context: Context) -> Made:
    """A valid message with bytes changed, removed, doubled or cut off."""
    chance = context.chance
    data = bytearray(_written(context.valid(), chance).payload)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        at = chance.randrange(len(data))
        change = chance.randrange(5)
        if change == 0:
            data[at] ^= 1 << chance.randrange(7)
        elif change == 1:
            del data[at : at + chance.randint(1, 8)]
        elif change == 2:
            data[at:at] = data[at : at + chance.randint(1, 30)]
        elif change == 3:
            data[at:at] = chance.choice((b'"', b"\\", b",", b"]", b"}", b"[", b"{", b":", b"null", b"\x00", b"1e5"))
        else:
            del data[at + 1 :]
    return _as_text_or_binary(bytes(data))


def _as_text_or_binary(data: bytes) -> Part:
    try:
        data.decode()
    except UnicodeDecodeError:
        return Part(data, frames.BINARY)
    return Part(data)


def _noise(context: Context) -> Made:
    chance = context.chance
    length = chance.choice((0, 1, 2, 10, 100, 2000))
    if chance.random() < 0.5:
        return Part(chance.randbytes(length), frames.BINARY)
    text = "".join(chance.choices('[]{},:"\\0123456789.eE+-truefalsn ul\t\n\u00e9\u2028', k=length))
    return Part(text.encode())


def _odd_json(context: Context) -> Made:
    """What parsers stumble over: NaN, numbers of any size, doubled members, depth, byte order marks, loose ends."""
    chance = context.chance
    message_id = json.dumps(f"{context.station}-{context.number}-{chance.getrandbits(40):x}")
    depth = chance.choice(DEPTHS)
    values = (
        "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * chance.choice((19, 20, 309, 601, 5000)), "1E+2", "01",
        "0.1" + "0" * 5000, "+1", ".5", "1.", "0x10", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\x01"', '"\\x41"',
        "'a'", "undefined", '"\\u00"', "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth,
        '"' + "x" * chance.choice((256, 70_000)) + '"', "[" + "0," * 5000 + "0]", "{" + '"a":1,' * 500 + '"a":2}',
    )  # fmt: skip
    value = chance.choice(values)
    texts = (
        '[2,{id},"DataTransfer",{{"vendorId":"v","data":{value}}}]',
        '[2,{id},"Authorize",{{"idTag":"A","idTag":{value}}}]',
        '[2,{id},"Authorize",{{"idTag":{value},"idTag":"A"}}]',
        '[2,{id},"Heartbeat",{value}]',
        "[2,{id},{value},{{}}]",
        '[2,{value},"Heartbeat",{{}}]',
        '[{value},{id},"Heartbeat",{{}}]',
        "[3,{id},{value}]",
        '[4,{id},"GenericError",{value},{value}]',
        '[2,{id},"StartTransaction",{{"connectorId":1,"idTag":"A","meterStart":{value},"timestamp":"2026-01-01"}}]',
        '[2,{id},"StopTransaction",{{"transactionId":{value},"meterStop":{value},"timestamp":"2026-01-01"}}]',
        '[2,{id},"MeterValues",{{"connectorId":{value},"meterValue":[{{"timestamp":{value},"sampledValue":[]}}]}}]',
        '[2,{id},"MeterValues",{{"connectorId":1,"meterValue":[{{"sampledValue":[{{"value":{value}}}]}}]}}]',
        '[2,{id},"BootNotification",{{"chargePointVendor":{value},"chargePointModel":{value}}}]',
        '[2,{id},"StatusNotification",{{"connectorId":{value},"errorCode":"NoError","status":"Available"}}]',
        '[2,{id},"StatusNotification",{{"connectorId":1,"errorCode":"NoError","status":"Faulted","info":{value}}}]',
        "{value}",
    )
    text = chance.choice(texts).format(id=message_id, value=value)
    wrapping = chance.randrange(10)
    if wrapping == 0:
        text = chance.choice(("\ufeff", "\n\r\t ", "\x00", "//\n", "[")) + text
    elif wrapping == 1:
        text += chance.choice(("\x00", "\n", ",", "]", text, "\x00\x00\n"))
    return Part(text.encode(), frames.BINARY if chance.random() < 0.1 else frames.TEXT)


def _answer(context: Context) -> Made:
    """Results and errors: to the CALL that the server waits for, to CALLs of our own, to nothing at all."""
    chance = context.chance
    message_id = chance.choice(
        (OURS, OURS, OURS, f"{context.station}-{context.number - 1}", context.odd_id(), "nobody's")
    )
    action = chance.choice(messages.TOLD)
    payload: Any = messages.result(chance, action)
    if chance.random() < 0.5:
        payload = chance.choice((messages.spoilt(chance, payload), messages.anything(chance)))
    elements: list[Any]
    if chance.random() < 0.6:
        elements = [3, message_id, payload]
    else:
        code = chance.choice(("NotImplemented", "InternalError", "", "FormatViolation", messages.anything(chance)))
        elements = [4, message_id, code, messages.anything(chance), messages.anything(chance)]
    if chance.random() < 0.1:
        elements = elements[: chance.randrange(len(elements))]
    part = _written(elements, chance)
    return (part, part) if chance.random() < 0.1 else part


def _repeated(context: Context) -> Made:
    """An earlier message of this station once more; or its id with another payload."""
    chance = context.chance
    number = max(0, context.number - chance.choice((1, 1, 2, 3, 10, 20, 100)))
    earlier = context.maker.make(context.station, number) if number < context.number else None
    if earlier is None or earlier.kind not in ("valid", "spoilt", "wrong way", "structure"):
        part = _written(context.valid(), chance)
        return (part,) * chance.choice((2, 3, 20))
    (part,) = earlier.parts
    if chance.random() < 0.3:
        elements = json.loads(part.payload)
        if isinstance(elements, list) and len(elements) > 1:
            return _written([2, elements[1], *context.valid()[2:]], chance)
    return (part,) * chance.choice((1, 1, 2, 20))


def _split(context: Context) -> Made:
    chance = context.chance
    opcode = chance.choice((frames.TEXT, frames.TEXT, frames.BINARY))
    return Part(_written(context.valid(), chance).payload, opcode, split=True)


def _binary(context: Context) -> Made:
    """Some charge points send their JSON in binary messages."""
    return Part(_written(context.valid(), context.chance).payload, frames.BINARY)


def _controls(context: Context) -> Made:
    chance = context.chance
    pings = b"".join(frames.control(chance) for _ in range(chance.choice((1, 1, 5, 100))))
    return (Part(pings, None), _written(context.valid(), chance))


def _large(context: Context) -> Made:
    """Close to the limit, and at it."""
    limit = context.maker.largest_frame
    elements = [2, context.new_id(), "DataTransfer", {"vendorId": "v", "data": ""}]
    bare = len(json.dumps(elements).encode())
    length = context.chance.choice((limit // 20, limit // 4, limit)) - bare
    elements[3] = {"vendorId": "v", "data": "x" * max(0, length)}
    return Part(json.dumps(elements).encode(), split=context.chance.random() < 0.3)


def _flood(context: Context) -> Made:
    """Many at once, without waiting for an answer: results or errors to nobody, garbage, or requests."""
    chance = context.chance
    count = chance.randint(20, LONGEST_FLOOD)
    kind = chance.randrange(5)
    if kind == 0:
        return tuple(Part(json.dumps([3, f"nobody-{n}", {}]).encode()) for n in range(count))
    if kind == 1:
        return tuple(Part(json.dumps([4, f"nobody-{n}", "GenericError", "", {}]).encode()) for n in range(count))
    if kind == 2:
        return tuple(Part(chance.choice((b"", b"[]", b"[2]", b"x", b"{}"))) for _ in range(count))
    action, payload = chance.choice((("Heartbeat", {}), ("Authorize", {"idTag": "FUZZ-TAG"}), ("Nonsense", {})))
    count //= 4
    return tuple(
        Part(json.dumps([2, f"{context.station}-{context.number}-{n}", action, payload]).encode()) for n in range(count)
    )


def _fatal(context: Context) -> Made:
    """What ends a connection, one way or another."""
    chance = context.chance
    limit = context.maker.largest_frame
    text = _written(context.valid(), chance).payload
    kind = chance.randrange(14)
    if kind == 0:
        return _ends(frames.frame(frames.TEXT, b" " * (limit + 1)), TOO_BIG)
    if kind == 1:
        return _ends(
            struct.pack("!BBQ", frames.FINAL | frames.TEXT, frames.MASKED | 127, 2**40) + frames.NO_MASK, TOO_BIG
        )
    if kind == 2:
        half = b" " * (limit // 2 + 1)
        return _ends(frames.frame(frames.TEXT, half, final=False) + frames.frame(frames.CONTINUATION, half), TOO_BIG)
    if kind == 3:
        return _ends(
            frames.frame(frames.TEXT, chance.choice((b"\xff\xfe", b"[2,\xc3\x28]", b"\xed\xa0\x80"))), NOT_UTF8
        )
    if kind == 4:
        return _ends(frames.frame(frames.TEXT, text, masked=False), PROTOCOL_ERROR)
    if kind == 5:
        return _ends(frames.frame(frames.TEXT, text, flags=chance.choice((0x40, 0x20, 0x10, 0x70))), PROTOCOL_ERROR)
    if kind == 6:
        return _ends(frames.frame(chance.choice((3, 7, 11, 15)), b"x"), PROTOCOL_ERROR)
    if kind == 7:
        return _ends(frames.frame(frames.CONTINUATION, text), PROTOCOL_ERROR)
    if kind == 8:
        begun = frames.frame(frames.TEXT, text[:5], final=False)
        return _ends(begun + frames.frame(frames.TEXT, text), PROTOCOL_ERROR)
    if kind == 9:
        return _ends(frames.frame(frames.PING, bytes(chance.choice((126, 5000)))), PROTOCOL_ERROR)
    if kind == 10:
        return _ends(frames.frame(frames.PING, b"", final=False), PROTOCOL_ERROR)
    if kind == 11:
        code = chance.choice((0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 65535))
        return _ends(frames.closing(code), PROTOCOL_ERROR)
    if kind == 12:
        code = chance.choice((1000, 1001, 1003, 1008, 1011, 1012, 3000, 4999))
        return _ends(frames.closing(code, b"so long"), (code,))
    # A line that drops, now and then in the middle of a frame.
    whole = frames.frame(frames.TEXT, text)
    return Move("", "", (Part(whole[: chance.choice((0, 1, 5, len(whole) - 1))], None),), cuts=True)


def _ends(wire: bytes, codes: tuple[int | None, ...]) -> Move:
    return Move("", "", (Part(wire, None),), ends=codes)


_MOVES: dict[str, tuple[float, Callable[[Context], Made]]] = {
    "valid": (20, _valid),
    "spoilt": (22, _spoilt),
    "wrong way": (5, _wrong_way),
    "structure": (10, _structure),
    "flipped": (10, _flipped),
    "noise": (5, _noise),
    "odd json": (10, _odd_json),
    "answer": (8, _answer),
    "repeated": (4, _repeated),
    "split": (3, _split),
    "binary": (2, _binary),
    "controls": (1, _controls),
    "large": (0.02, _large),
    "flood": (0.1, _flood),
    "fatal": (0.2, _fatal),
}
_KINDS = tuple(_MOVES)
_WEIGHTS = tuple(weight for weight, _ in _MOVES.values())
