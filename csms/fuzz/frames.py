"""WebSocket frames, the legal and the illegal, as bytes. Source: RFC 6455 sections 5 to 7."""

from __future__ import annotations

import random
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL = 0x80
MASKED = 0x80
# Zeros are a mask like any other, and cost us nothing.
NO_MASK = bytes(4)


def frame(opcode: int, payload: bytes, *, final: bool = True, flags: int = 0, masked: bool = True) -> bytes:
    """One frame; `flags` are the reserved bits 0x40, 0x20, 0x10."""
    first, mask_bit = (FINAL if final else 0) | flags | opcode, MASKED if masked else 0
    length = len(payload)
    if length < 126:
        header = struct.pack("!BB", first, mask_bit | length)
    elif length < 65536:
        header = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        header = struct.pack("!BBQ", first, mask_bit | 127, length)
    return header + (NO_MASK if masked else b"") + payload


def fragmented(chance: random.Random, opcode: int, payload: bytes) -> bytes:
    """`payload` in up to six fragments, empty ones among them, with pings and pongs in between."""
    cuts = sorted(chance.randint(0, len(payload)) for _ in range(chance.randint(1, 5)))
    parts = [payload[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    written = b""
    for number, part in enumerate(parts):
        if number and chance.random() < 0.4:
            written += control(chance)
        written += frame(CONTINUATION if number else opcode, part, final=number == len(parts) - 1)
    return written


def control(chance: random.Random) -> bytes:
    """A ping or an unsolicited pong with up to 125 bytes."""
    return frame(chance.choice((PING, PONG)), chance.randbytes(chance.choice((0, 1, 4, 125))))


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def read(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Whole frames of a server (unmasked, never fragmented) in `data` as (opcode, payload), and the rest."""
    found: list[tuple[int, bytes]] = []
    begin = 0
    while len(data) - begin >= 2:
        offset, length = 2, data[begin + 1]
        if length == 126:
            offset, length = 4, int.from_bytes(data[begin + 2 : begin + 4], "big")
        elif length == 127:
            offset, length = 10, int.from_bytes(data[begin + 2 : begin + 10], "big")
        end = begin + offset + length
        if len(data) < max(begin + offset, end):
            break
        found.append((data[begin] & 0x0F, data[begin + offset : end]))
        begin = end
    return found, data[begin:]
