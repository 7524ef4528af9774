"""The many ways in which one card, or one vehicle, is written as an idTag, and which two are plainly the same.

Readers give the bytes of a card in either order, as hexadecimal or decimal digits, with or without leading zeros,
padding and separators; a vehicle's MAC address comes with colons, hyphens, points or nothing, and often after "VID:".
Nothing here decides who may charge, but for a vehicle's MAC address, which is the same however it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Words in front of an identifier. VID is what charge points with AutoCharge write before a vehicle's MAC address.
_PREFIX = re.compile(r"(?:VID|MAC|EVCCID|EVCC|VIN|UID|RFID|TAG)[^0-9A-Z]+")
_MAC = re.compile(
    r"(?:(?:VID|MAC|EVCCID|EVCC)[:\-_. ]?)?((?:[0-9A-F]{2}[:\-_. ]?){5}[0-9A-F]{2}|(?:[0-9A-F]{4}[:\-.]){2}[0-9A-F]{4})"
)
_HEXADECIMAL = re.compile(r"[0-9A-F]+")
# An idTag has at most 20 characters, of which 16 hexadecimal digits are 8 bytes.
_MOST_DIGITS = 20
# The shortest identity of a card has 4 bytes.
_FEWEST_DIGITS = 8

PADDING, LEADING_ZEROS, SEPARATORS = "padding", "leading_zeros", "separators"
BYTE_ORDER, DECIMAL, DECIMAL_BYTE_ORDER = "byte_order", "decimal", "decimal_byte_order"
SENTENCES = {
    PADDING: "the same but for padding",
    LEADING_ZEROS: "the same but for leading zeros",
    SEPARATORS: "the same but for separators or a prefix",
    BYTE_ORDER: "the same bytes in the other order",
    DECIMAL: "the same number, one decimal, one hexadecimal",
    DECIMAL_BYTE_ORDER: "the same number, one decimal, one hexadecimal, bytes in the other order",
}


def bare(id_tag: str) -> str:
    """`id_tag` in capitals, without a prefix, and only its letters and digits."""
    text = id_tag.upper().strip()
    text = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    return "".join(letter for letter in text if letter.isalnum())


def alike(id_tag: str) -> str:
    """What spellings of one idTag have in common: as `bare`, without zeros at either end (unless nothing is left)."""
    text = bare(id_tag)
    return text.strip("0") or text


def mac_of(id_tag: str) -> str:
    """The MAC address that `id_tag` is, as 12 capital hexadecimal digits; "" when it is none."""
    found = _MAC.fullmatch(id_tag.strip().upper())
    return "".join(digit for digit in found[1] if digit.isalnum()) if found else ""


def other_forms(id_tag: str) -> dict[str, str]:
    """What `alike` may be of a known tag that is meant, and why (a key of SENTENCES; SEPARATORS stands for itself)."""
    forms: dict[str, str] = {}
    for text, why in _forms(bare(id_tag)):
        if text:
            forms.setdefault(alike(text), why)
    return forms


def _forms(text: str) -> Iterator[tuple[str, str]]:
    yield text, SEPARATORS
    if not _HEXADECIMAL.fullmatch(text) or len(text) > _MOST_DIGITS:
        return
    turned = reversed_bytes(text)
    yield turned, BYTE_ORDER
    yield str(int(text, 16)), DECIMAL
    yield str(int(turned, 16)), DECIMAL_BYTE_ORDER
    if text.isdecimal():
        hexadecimal = f"{int(text):X}"
        yield hexadecimal, DECIMAL
        yield reversed_bytes(hexadecimal), DECIMAL_BYTE_ORDER


def reversed_bytes(hexadecimal: str) -> str:
    """The bytes in the other order; an odd number of digits lacks a leading zero."""
    even = hexadecimal if len(hexadecimal) % 2 == 0 else f"0{hexadecimal}"
    return "".join(even[index : index + 2] for index in range(len(even) - 2, -1, -2))


def relation(id_tag: str, known: str, why: str) -> str:
    """In which way exactly `id_tag` is `known`, whose `alike` was found among `other_forms` for the reason `why`.

    "" when it is not, after all: only bytes are padded with zeros behind, "CARD-10" is another card than "CARD-1".
    """
    if why != SEPARATORS:
        return why
    if id_tag.strip().upper() == known.strip().upper():
        return PADDING
    mine, theirs = bare(id_tag), bare(known)
    if mine == theirs:
        return SEPARATORS
    if mine.lstrip("0") == theirs.lstrip("0"):
        return LEADING_ZEROS
    shorter = min(len(mine), len(theirs))
    bytes_only = all(_HEXADECIMAL.fullmatch(text) and len(text) % 2 == 0 for text in (mine, theirs))
    return PADDING if bytes_only and shorter >= _FEWEST_DIGITS else ""
