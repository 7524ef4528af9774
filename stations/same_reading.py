"""What a sampled list means, whatever words it is in: the digest that makes a repeated MeterValues harmless.

Context: a charge point that repeats a message may write it anew: members in another order, "10.0" for "10", a default
written out or left out. On the hot path: a list of ten samples has some microseconds here.
Choice: the text of the list is cut into its values and what is around them. A charge point sends the same surroundings
again and again, so what they mean (without defaults, in a certain order) is worked out once and remembered; numbers are
brought to one form only where one of them is in another. Consequence: no sample is looked at in Python unless a value
is no plain number, or the surroundings are new.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from csms.ocppj.frames import dumps

REGISTER = "Energy.Active.Import.Register"
# What the absence of a member says (OCPP 1.6 section 7.43 and on).
_DEFAULTS = {"measurand": REGISTER, "context": "Sample.Periodic", "format": "Raw", "location": "Outlet"}
# The unit that no unit means, by the beginning of the measurand (protocol 4.5).
_UNITS = (
    ("Energy.", "Wh"), ("Power.Factor", ""), ("Power.", "W"), ("Current.", "A"), ("Voltage", "V"), ("SoC", "Percent"),
)  # fmt: skip
_VALUE = re.compile(r'"value":"([^"]*)"')
# Values as most send them: plain decimal numbers in their shortest form.
_PLAIN = re.compile(r"(?:(?!-0,)-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++(?<!0))?+,)*+")


def digest(text: str, size: int) -> int:
    """Signed 64-bit digest of what a list of `size` samples means, for the constraint; `text` is the list as JSON."""
    parts = _VALUE.split(text)
    values = parts[1::2]
    if len(values) == size and "\\" not in text:
        meaning, order = _surroundings('"value":""'.join(parts[::2]))
        if order is not None:
            values = [values[index] for index in order]
    else:
        # A value that is no text, or has a quotation mark in it.
        samples = orjson.loads(text)
        meaning, order = _in_order(samples)
        values = [_text(samples[index]) for index in order or range(len(samples))]
    joined = ",".join(values) + ","
    if _PLAIN.fullmatch(joined) is None:
        joined = ",".join(map(number_text, values)) + ","
    whole = meaning.copy()
    whole.update(joined.encode())
    return int.from_bytes(whole.digest(), "big", signed=True)


@lru_cache(maxsize=4096)
def number_text(value: str) -> str:
    """A number in its shortest form ("10.0", "1e1" and " 10" as "10"); what is none as it is."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    if not number.is_finite() or not -300 < number.adjusted() < 300:
        return value
    return f"{number.normalize():f}" if number else "0"


@lru_cache(maxsize=4096)
def _surroundings(text: str) -> tuple[blake2b, list[int] | None]:
    """`_in_order` of a list as JSON, whose values are left out."""
    return _in_order(orjson.loads(text))


def _in_order(samples: list[Any]) -> tuple[blake2b, list[int] | None]:
    """What a list says beside its values, hashed, and the order in which samples are compared (None: as they are)."""
    described = [_described(sample) for sample in samples]
    order = sorted(range(len(described)), key=described.__getitem__)
    meaning = blake2b("\n".join(described[index] for index in order).encode(), digest_size=8)
    return meaning, None if order == sorted(order) else order


def _described(sample: Any) -> str:
    """A sample but for its value: sorted members, without those that say what their absence says."""
    if not isinstance(sample, dict):
        return dumps(sample)
    measurand = str(sample.get("measurand") or REGISTER)
    unit = next((unit for beginning, unit in _UNITS if measurand.startswith(beginning)), "")
    usual = {**_DEFAULTS, "unit": unit}
    said = {
        name: member
        for name, member in sample.items()
        if name != "value" and member not in (None, "") and usual.get(name) != member
    }
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


def _text(sample: Any) -> str:
    """The value of a sample as text, as OCPP wants it."""
    value = sample.get("value", "") if isinstance(sample, dict) else ""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) else dumps(value)
