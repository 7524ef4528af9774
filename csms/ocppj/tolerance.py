"""Payloads that break their schema: what is wrong with them, and what they plainly mean.

Context: charge points in the field send numbers as texts, nulls, single objects for lists, values nobody listed.
Refusing them loses charging sessions, and a StartTransaction, StopTransaction or MeterValues refused for a reason that
will not go away is sent again for ever. Choice: one walk over payload and `Shape` finds every deviation; `problems`
reports them, `mended` gives back a payload with them put right and notes each one. Consequence: strict and tolerant
charge points are judged by the same rules, and every tolerance leaves a trace with a stable `kind`:

    kind               what was sent                         what is made of it
    null_member        null                                  absent
    extra_member       a member the message does not have    dropped
    number_as_text     a number, text is meant               its text
    boolean_as_text    true, text is meant                   "true" (lenient, and DataTransfer's data)
    json_as_text       an object or a list is the data       its JSON text
                       of a DataTransfer
    text_as_number     "12"                                  12
    text_as_boolean    "true", "1"                           true
    number_as_boolean  1                                     true
    float_as_integer   12.0                                  12
    fraction_rounded   meterStart or meterStop 12.4          12 (lenient)
    single_for_list    an object, a list is meant            a list of it
    enum_case          an enumeration value in wrong case    the right spelling
    enum_alias         another name, or other separators,    the right one
                       for an enumeration value
    unknown_value      an unknown enumeration value          kept as sent; `detail` is that text
    too_long           a text over its length                kept in full
    timestamp_format   a readable, not RFC 3339 timestamp    kept as sent
    bad_timestamp      an unreadable timestamp               kept as sent; the caller takes the time of receipt
    bad_uri            not a URI                             kept (lenient)
    out_of_range       a number out of its range             kept (lenient)
    huge_integer       an integer beyond 32 bits             kept (lenient, and requestId)
    too_many_decimals  more than one decimal                 kept
    empty_list         an empty list, one element is needed  kept
    missing_member     a needed member of a meter value or   a stand-in (lenient): an empty time or list, null for
                       configuration key is absent           whether a key is read-only, which is not known then
    unusable_dropped   an optional member or a list element  dropped (lenient); `pointer` shows what is wrong with it
                       that nothing can be made of
    unclean_text       NUL characters, lone surrogates       removed, replaced
    wrong_type         anything else of another type         refused

"Lenient" are the three messages above and all confirmations, which can only be used as they are. An enumeration is
never a reason to refuse: a status that nobody listed still says that something goes on, and whoever is refused for it
repeats it, or stops reporting.
Source: OCPP-J 1.6 errata 3.3 for what must not be refused; the tolerances are a project decision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, cast

from csms.ocppj.errors import (
    FormationViolation,
    OccurenceConstraintViolation,
    OcppError,
    PropertyConstraintViolation,
    ProtocolError,
    TypeConstraintViolation,
)
from csms.ocppj.frames import dumps, storable
from csms.ocppj.schemas import INT32_MAX, INT32_MIN, Shape, is_date_time, is_uri
from csms.ocppj.times import parse_time

# A frame of 1 MiB may hold a hundred thousand deviations; nobody reads more than these.
MAX_DEVIATIONS = 50
_MAX_DETAIL = 100

_ERRORS: Mapping[str, type[OcppError]] = {
    "missing_member": ProtocolError,
    "extra_member": FormationViolation,
    "empty_list": OccurenceConstraintViolation,
    **dict.fromkeys(
        (
            "null_member",
            "number_as_text",
            "boolean_as_text",
            "text_as_number",
            "text_as_boolean",
            "number_as_boolean",
            "json_as_text",
            "float_as_integer",
            "fraction_rounded",
            "single_for_list",
            "wrong_type",
        ),
        TypeConstraintViolation,
    ),
}

# Texts that identify or are parsed: too long is not harmless.
_EXACT_TEXTS = frozenset({"idTag", "csr"})
_ROUNDED = frozenset({"meterStart", "meterStop"})
# Texts that may be anything: what a vendor sends as JSON is kept as its text.
_JSON_TEXTS = frozenset({"data"})
# Other words for the values of enumerations, as they are when only letters and digits are left of them. The security
# whitepaper itself writes UploadFailed where its schema has UploadFailure.
_OTHER_WORDS: Mapping[str, str] = {
    "Accepted": "accept",
    "DownloadFailed": "downloadfailure downloaderror downloadfail",
    "Downloaded": "downloadcomplete downloadcompleted downloadfinished downloadsuccess downloadsuccessful",
    "Downloading": "downloadstarted downloadinprogress",
    "Faulted": "fault faulty",
    "Finishing": "finish finished",
    "InstallRebooting": "installationrebooting rebooting",
    "InstallScheduled": "installationscheduled",
    "InstallVerificationFailed": "installationverificationfailed installverificationfailure verificationfailed",
    "InstallationFailed": "installationfailure installationerror installfailed installfailure installerror installfail",
    "Installed": "installationcomplete installationcompleted installationfinished installationsuccess"
    " installationsuccessful installcomplete installcompleted installsuccess installsuccessful",
    "Installing": "installationstarted installationinprogress installstarted installinprogress",
    "InvalidSignature": "signatureinvalid",
    "NotSupported": "notsupport unsupported",
    "Rejected": "reject refused",
    "SuspendedEV": "suspendedbyev evsuspended",
    "SuspendedEVSE": "suspendedbyevse evsesuspended",
    "Unavailable": "notavailable inoperative outofservice",
    "UnlockFailed": "unlockfailure unlockingfailed",
    "UploadFailed": "uploadfailure uploaderror uploadfail failed failure",
    "UploadFailure": "uploadfailed uploaderror uploadfail failed failure",
    "Uploaded": "uploadcomplete uploadcompleted uploadfinished uploadsuccess uploadsuccessful",
    "Uploading": "uploadstarted uploadinprogress",
}
# What stands in for a needed member inside a list, so that one bad reading does not cost the others.
_STAND_INS: Mapping[str, Any] = {"timestamp": "", "sampledValue": (), "readonly": None}

_SAMPLED = "/sampledValue/"
# An element of a list: any of them is the same place.
_INDEX = re.compile(r"/[0-9]+(?=/|$)")
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,2})?\s*")


@dataclass(frozen=True, slots=True)
class Deviation:
    """One place where a payload breaks its schema. `pointer` is a JSON pointer ("" the whole), `kind` see above."""

    pointer: str
    kind: str
    detail: str = ""

    @property
    def place(self) -> str:
        """What tells it from others of its kind: the word that nobody has defined, else where it was."""
        return self.detail if self.kind == "unknown_value" else _INDEX.sub("/*", self.pointer)


class Unusable(Exception):
    """Nothing can be made of a value, or strictness forbids to."""

    def __init__(self, pointer: str, kind: str, detail: str) -> None:
        super().__init__(pointer, kind, detail)
        self.deviation = Deviation(_pointer(pointer), kind, detail)


def error_class(kind: str) -> type[OcppError]:
    """The OcppError for a kind of deviation, where it has to be refused."""
    return _ERRORS.get(kind, PropertyConstraintViolation)


def refusal(deviation: Deviation) -> OcppError:
    """The error to answer a deviation with; its description starts with the JSON pointer."""
    if deviation.pointer == "" and deviation.kind == "wrong_type":
        return FormationViolation(f"the payload {deviation.detail}")
    return error_class(deviation.kind)(f"{deviation.pointer} {deviation.detail}")


def problems(shape: Shape, payload: object) -> list[Deviation]:
    """Everything in which `payload` breaks its schema, missing members first; empty if nothing."""
    walk = _Walk(strict=True, lenient=False)
    try:
        walk.value(shape, payload, "", "")
    except Unusable as unusable:
        walk.findings.append(unusable.deviation)
    return walk.findings


def mended(shape: Shape, payload: object, *, lenient: bool) -> tuple[Any, list[Deviation]]:
    """A copy of `payload` that can be used, and how it differs from what was sent (the first 50 deviations).

    Raises Unusable for what cannot be used; `lenient` lowers that bar as the table above says.
    """
    walk = _Walk(strict=False, lenient=lenient)
    return walk.value(shape, payload, "", ""), walk.findings


class _Walk:
    """One payload against one shape. Pointers and names are those of the wire."""

    __slots__ = ("findings", "lenient", "strict")

    def __init__(self, *, strict: bool, lenient: bool) -> None:
        self.strict = strict
        self.lenient = lenient
        self.findings: list[Deviation] = []

    def note(self, pointer: str, kind: str, detail: str) -> None:
        if len(self.findings) < MAX_DEVIATIONS:
            self.findings.append(Deviation(_pointer(pointer), kind, detail))

    def deviates(self, pointer: str, kind: str, detail: str, *, harmless: bool = True) -> None:
        """A deviation: one more note if it is harmless, else the end of this value."""
        if self.strict or not (harmless or self.lenient):
            raise Unusable(pointer, kind, detail)
        self.note(pointer, kind, detail)

    def value(self, shape: Shape, value: Any, pointer: str, name: str) -> Any:
        match shape.kind:
            case "string":
                return self.text(shape, value, pointer, name)
            case "object":
                return self.object(shape, value, pointer)
            case "array":
                return self.array(shape, value, pointer, name)
            case "integer":
                return self.integer(shape, value, pointer, name)
            case "number":
                return self.number(shape, value, pointer)
            case _:
                return self.boolean(value, pointer)

    def object(self, shape: Shape, value: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Unusable(pointer, "wrong_type", "is not an object")
        result: dict[str, Any] = {}
        for name in shape.required:
            if name not in value or (value[name] is None and not self.strict):
                self.missing(f"{pointer}/{name}", name, pointer)
                if not self.strict:
                    result[name] = _stand_in(name)
        for name, member in value.items():
            child = shape.members.get(name) if isinstance(name, str) else None
            # Most members of a meter value are enumerations sent as they should be: worth the short cut.
            if child is not None and isinstance(member, str) and member in child.values:
                result[name] = str(member)
                continue
            place = f"{pointer}/{name}"
            if child is None:
                self.note(f"{pointer}/{_escaped(str(name))}", "extra_member", "is not a member of this message")
            elif member is not None:
                try:
                    result[name] = self.value(child, member, place, name)
                except Unusable as unusable:
                    self.unusable(unusable, name, pointer, name in shape.required)
                    if name in shape.required and not self.strict:
                        result[name] = _stand_in(name)
            elif self.strict:
                self.note(place, "null_member", "is null")
            elif name not in shape.required:
                self.note(place, "null_member", "null is taken as absent")
        return result

    def missing(self, place: str, name: str, parent: str) -> None:
        if not self.strict and not (self.lenient and parent and name in _STAND_INS):
            raise Unusable(place, "missing_member", "is missing")
        self.note(place, "missing_member", "is missing")

    def unusable(self, unusable: Unusable, name: str, parent: str, required: bool) -> None:
        """Go on without a member that nothing can be made of, where that is allowed."""
        found = unusable.deviation
        if self.strict:
            self.note(found.pointer, found.kind, found.detail)
        elif self.lenient and (not required or (parent and name in _STAND_INS)):
            self.note(found.pointer, "unusable_dropped", found.detail)
        else:
            raise unusable

    def array(self, shape: Shape, value: Any, pointer: str, name: str) -> list[Any]:
        item = cast(Shape, shape.item)
        if not isinstance(value, list):
            if isinstance(value, dict) == (item.kind == "object") and value not in ("", None):
                self.deviates(pointer, "single_for_list", "is not a list")
                value = [value]
            else:
                raise Unusable(pointer, "wrong_type", "is not a list")
        if len(value) < shape.min_items:
            self.deviates(pointer, "empty_list", "is empty")
        result = []
        for index, element in enumerate(value):
            try:
                result.append(self.value(item, element, f"{pointer}/{index}", name))
            except Unusable as unusable:
                self.unusable(unusable, "", pointer, required=False)
        return result

    def text(self, shape: Shape, value: Any, pointer: str, name: str) -> str:
        if not isinstance(value, str):
            if isinstance(value, bool):
                harmless = name in _JSON_TEXTS
                self.deviates(pointer, "boolean_as_text", "is a boolean, not a text", harmless=harmless)
                value = "true" if value else "false"
            elif isinstance(value, int | float):
                self.deviates(pointer, "number_as_text", "is a number, not a text")
                value = _number_text(value)
            elif name in _JSON_TEXTS and isinstance(value, dict | list):
                self.deviates(pointer, "json_as_text", "is JSON, not a text")
                value = dumps(value)
            else:
                raise Unusable(pointer, "wrong_type", "is not a text")
        clean = storable(value)
        if clean != value:
            self.deviates(pointer, "unclean_text", "holds NUL characters or halves of surrogate pairs")
            value = clean
        if shape.values:
            return self.enumeration(shape, value, pointer)
        if shape.max_length is not None and len(value) > shape.max_length:
            detail = f"is longer than {shape.max_length} characters"
            self.deviates(pointer, "too_long", detail, harmless=name not in _EXACT_TEXTS)
        if shape.format == "date-time" and not is_date_time(value):
            if parse_time(value) is None:
                self.deviates(pointer, "bad_timestamp", "is not a timestamp")
            else:
                self.deviates(pointer, "timestamp_format", "is not a timestamp as in RFC 3339")
        elif shape.format == "uri" and not is_uri(value):
            self.deviates(pointer, "bad_uri", "is not a URI", harmless=False)
        return str(value)

    def enumeration(self, shape: Shape, value: str, pointer: str) -> str:
        spelling = shape.folded.get(value.lower())
        if spelling == value:
            return spelling
        if spelling is not None:
            self.deviates(pointer, "enum_case", f"is {spelling} in another letter case")
            return spelling
        meant = _near_words(shape).get(_letters_and_digits(value))
        # A reading is kept as it was sent, whatever a near word would make of it.
        if meant is not None and _SAMPLED not in pointer:
            self.deviates(pointer, "enum_alias", f"is {meant} by another name")
            return meant
        if self.strict:
            raise Unusable(pointer, "unknown_value", "is not one of the values defined")
        self.note(pointer, "unknown_value", value[:_MAX_DETAIL])
        return value

    def integer(self, shape: Shape, value: Any, pointer: str, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            value = self.as_integer(value, pointer, name)
        number = int(value)
        if not INT32_MIN <= number <= INT32_MAX:
            self.deviates(pointer, "huge_integer", "does not fit into 32 bits", harmless=name == "requestId")
        elif not shape.minimum <= number <= shape.maximum:
            self.deviates(pointer, "out_of_range", f"is below {shape.minimum}", harmless=False)
        return number

    def as_integer(self, value: Any, pointer: str, name: str) -> int:
        """The integer that a float or a text plainly is."""
        number = _decimal(value)
        if number is None:
            raise Unusable(pointer, "wrong_type", "is not an integer")
        if isinstance(value, str):
            self.deviates(pointer, "text_as_number", "is a text, not an integer")
        whole = int(number)
        if number == whole:
            if not isinstance(value, str):
                self.deviates(pointer, "float_as_integer", "is not written as an integer")
            return whole
        if self.lenient and name in _ROUNDED:
            self.note(pointer, "fraction_rounded", "has a fraction")
            return round(number)
        raise Unusable(pointer, "wrong_type", "is not an integer")

    def number(self, shape: Shape, value: Any, pointer: str) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Unusable(pointer, "wrong_type", "is not a number")
        decimal = _decimal(value)
        if decimal is None:
            raise Unusable(pointer, "wrong_type", "is not a number")
        if isinstance(value, str):
            self.deviates(pointer, "text_as_number", "is a text, not a number")
        number: int | float = float(decimal) if isinstance(value, str) else value
        # repr gives the shortest decimal that is this float: 16.3 has one decimal, 0.1 + 0.2 has seventeen.
        exponent = decimal.as_tuple().exponent
        if shape.one_decimal and isinstance(exponent, int) and exponent < -1:
            self.deviates(pointer, "too_many_decimals", "has more than one decimal")
        return number

    def boolean(self, value: Any, pointer: str) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false", "1", "0"):
            self.deviates(pointer, "text_as_boolean", "is a text, not a boolean")
            return value.strip().lower() in ("true", "1")
        if isinstance(value, int | float) and value in (0, 1):
            self.deviates(pointer, "number_as_boolean", "is a number, not a boolean")
            return value == 1
        raise Unusable(pointer, "wrong_type", "is not a boolean")


def _stand_in(name: str) -> Any:
    value = _STAND_INS[name]
    return list(value) if isinstance(value, tuple) else value


@cache
def _near_words(shape: Shape) -> dict[str, str]:
    """What stands for which value of an enumeration, by its letters and digits; what two values share is left out."""
    words: dict[str, str] = {}
    shared: set[str] = set()
    for value in sorted(shape.values):
        for word in (_letters_and_digits(value), *_OTHER_WORDS.get(value, "").split()):
            if word and words.setdefault(word, value) != value:
                shared.add(word)
    return {word: value for word, value in words.items() if word not in shared}


def _letters_and_digits(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _decimal(value: Any) -> Decimal | None:
    """The number that `value` is or plainly spells; None for anything else, also for exponents beyond all sense."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        number = Decimal(repr(value))
        return number if number.is_finite() else None
    return Decimal(value.strip()) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _number_text(value: int | float) -> str:
    """A number with a point and without an exponent, as texts in OCPP are written."""
    number = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return format(number, "f")


def _pointer(pointer: str) -> str:
    return storable(pointer[:255])


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
