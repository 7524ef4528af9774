"""The JSON schemas of OCPP 1.6 and its security extension, corrected, as compiled validators and as shapes.

Context: the schemas come with the `ocpp` package. They are stricter or looser than the specification in places (errata
of OCPP-J section 2, ranges that JSON schema could express and does not), and a validator only says that something is
wrong. Choice: each schema is corrected once at import, then used twice: compiled by jsonschema-rs for the yes or no of
the hot path (2 microseconds), and as a tree of `Shape`, which `tolerance` walks when the answer was no.
Consequence: both come from the same corrected schema and cannot disagree about what is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jsonschema_rs import Draft4Validator

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

# Messages whose field table says connectorId > 0; everywhere else 0 is the charge point itself. Left out are the
# triggers: OCPP 1.6 ed. 2 section 5.17 asks for connector 0 in its prose, and charge points answer it.
_CONNECTOR_ABOVE_ZERO = frozenset({"StartTransaction", "RemoteStartTransaction", "UnlockConnector"})
# Lists of cardinality 1..* of which the schemas do not say so everywhere.
_NEVER_EMPTY = frozenset({"meterValue", "sampledValue", "chargingSchedulePeriod"})


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What one place of a payload may hold.

    `kind` is the JSON type: object, array, string, integer, number, boolean. `members` are in the order of the schema.
    `values` are those of an enumeration, empty where any text goes; `folded` maps their lower-case forms to them.
    """

    kind: str
    members: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    item: Shape | None = None
    min_items: int = 0
    values: frozenset[str] = frozenset()
    folded: Mapping[str, str] = field(default_factory=dict)
    max_length: int | None = None
    format: str | None = None
    minimum: int = INT32_MIN
    maximum: int = INT32_MAX
    one_decimal: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """One message, request or confirmation."""

    shape: Shape
    is_valid: Callable[[Any], bool]


def request_schema(action: str) -> Schema:
    """The schema of the request of `action`, a name as on the wire. Compile once and keep it."""
    return _schema(action, action)


def result_schema(action: str) -> Schema:
    """The schema of the confirmation of `action`. Compile once and keep it."""
    return _schema(action, f"{action}Response")


def is_date_time(text: str) -> bool:
    """Whether `text` is a date-time by the letter of RFC 3339, as the schemas ask."""
    return _DATE_TIME.is_valid(text)


def is_uri(text: str) -> bool:
    """Whether `text` is an absolute URI by the letter of RFC 3986, as the schemas ask."""
    return _URI.is_valid(text)


_DATE_TIME = Draft4Validator({"format": "date-time"}, validate_formats=True)
_URI = Draft4Validator({"format": "uri"}, validate_formats=True)


def _schema(action: str, name: str) -> Schema:
    text = files("ocpp.v16").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8-sig")
    raw = json.loads(text)
    corrected = _corrected(raw, raw.get("definitions", {}), action, "")
    # Draft 4 for all: draft 6, in which the security messages are written, would take 3.0 for an integer.
    return Schema(_shape(corrected), Draft4Validator(corrected, validate_formats=True).is_valid)


def _corrected(node: dict[str, Any], definitions: dict[str, Any], action: str, name: str) -> dict[str, Any]:
    """One node of a schema with references resolved, noise left out, and the rules the schema does not know.

    Source: OCPP 1.6 section 6 and 7 for ranges and cardinalities ("integer" is 32-bit signed); errata v4.0 3.84: hertz
    is not in the list of units, so that it is a text like any other unknown unit.
    """
    if "$ref" in node:
        return _corrected(definitions[node["$ref"].rsplit("/", 1)[1]], definitions, action, name)
    kind = node["type"]
    result: dict[str, Any] = {"type": kind}
    if kind == "object":
        result["properties"] = {
            member: _corrected(child, definitions, action, member)
            for member, child in node.get("properties", {}).items()
        }
        result["additionalProperties"] = False
        if node.get("required"):
            result["required"] = node["required"]
    elif kind == "array":
        result["items"] = _corrected(node["items"], definitions, action, name)
        min_items = max(node.get("minItems", 0), 1 if name in _NEVER_EMPTY else 0)
        if min_items:
            result["minItems"] = min_items
    elif kind == "integer":
        result["minimum"], result["maximum"] = INT32_MIN, INT32_MAX
        if name == "connectorId":
            result["minimum"] = 1 if action in _CONNECTOR_ABOVE_ZERO else 0
        elif name == "stackLevel":
            result["minimum"] = 0
    else:
        result.update({key: node[key] for key in ("enum", "maxLength", "format", "multipleOf") if key in node})
        if name == "unit":
            result["enum"] = [value for value in node["enum"] if value != "Hertz"]
    return result


def _shape(node: dict[str, Any]) -> Shape:
    return Shape(
        kind=node["type"],
        members={name: _shape(child) for name, child in node.get("properties", {}).items()},
        required=tuple(node.get("required", ())),
        item=_shape(node["items"]) if "items" in node else None,
        min_items=node.get("minItems", 0),
        values=frozenset(node.get("enum", ())),
        folded={value.lower(): value for value in node.get("enum", ())},
        max_length=node.get("maxLength"),
        format=node.get("format"),
        minimum=node.get("minimum", INT32_MIN),
        maximum=node.get("maximum", INT32_MAX),
        # The schemas write "at most one decimal" as a multiple of 0.1; jsonschema-rs decides it in decimal arithmetic.
        one_decimal="multipleOf" in node,
    )
