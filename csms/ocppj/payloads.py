"""Between the JSON of the wire and the dataclasses of the `ocpp` package: check, mend, build, and back.

Top-level members become the snake_case fields of `ocpp.v16.call` and `call_result`. What is nested (meterValue,
sampledValue, idTagInfo, chargingProfile, ...) stays the JSON of the wire, camelCase dicts: it is stored as it came, and
converting it would cost more than everything else on the hot path. Enumeration fields hold plain text, equal to the
members of `ocpp.v16.enums`, or a text of the charge point's own where `tolerance` keeps unknown values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocpp.v16 import call, call_result  # type: ignore[import-untyped, unused-ignore]

from csms.ocppj.errors import FormationViolation, NotImplementedAction, NotSupported
from csms.ocppj.schemas import Schema, Shape, request_schema, result_schema
from csms.ocppj.tolerance import Deviation, Unusable, error_class, mended, problems, refusal

__all__ = [
    "FROM_CHARGE_POINT",
    "TO_CHARGE_POINT",
    "Deviation",
    "Problem",
    "order_call",
    "parse_call",
    "parse_result",
    "result_payload",
    "validate_call",
]

# OCPP 1.6 edition 2, sections 4 and 5; security whitepaper edition 3, section 4 and 5.
FROM_CHARGE_POINT = frozenset(
    {
        "Authorize",
        "BootNotification",
        "DataTransfer",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SecurityEventNotification",
        "SignCertificate",
        "SignedFirmwareStatusNotification",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    }
)
TO_CHARGE_POINT = frozenset(
    {
        "CancelReservation",
        "CertificateSigned",
        "ChangeAvailability",
        "ChangeConfiguration",
        "ClearCache",
        "ClearChargingProfile",
        "DataTransfer",
        "DeleteCertificate",
        "ExtendedTriggerMessage",
        "GetCompositeSchedule",
        "GetConfiguration",
        "GetDiagnostics",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "GetLog",
        "InstallCertificate",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "ReserveNow",
        "Reset",
        "SendLocalList",
        "SetChargingProfile",
        "SignedUpdateFirmware",
        "TriggerMessage",
        "UnlockConnector",
        "UpdateFirmware",
    }
)

# A CALLERROR makes the charge point send these again, so only what is missing or useless is refused (2.3, 4.8, 4.10).
_ALWAYS_ANSWERED = frozenset({"StartTransaction", "StopTransaction", "MeterValues"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request of ours must not be sent: JSON pointer, a sentence's end, and the OCPP errorCode for it."""

    pointer: str
    detail: str
    code: str


def parse_call(action: str, payload: object, *, strict: bool = False) -> tuple[Any, list[Deviation]]:
    """The `ocpp.v16.call` dataclass of a charge point's request, and every deviation that was tolerated.

    What may differ from the schema in the result, each with a Deviation: unknown `error_code` and `reason` are the text
    as sent (treat them as OtherError and Other), timestamps may be unreadable text (take the time of receipt), texts
    may be longer than the specification allows; in StartTransaction, StopTransaction and MeterValues integers may have
    any size or sign, idTags any length, and lists may be empty. Nested JSON is untouched unless it had to be mended.
    With `strict` every deviation is refused.
    Errors: NotImplementedAction, NotSupported, ProtocolError, FormationViolation, PropertyConstraintViolation,
    OccurenceConstraintViolation, TypeConstraintViolation; those about a member start with its JSON pointer.
    Source: OCPP 1.6 section 6 and 7; OCPP-J 1.6 section 4.2.3.
    """
    message = _CALLS.get(action)
    if message is None or action not in FROM_CHARGE_POINT:
        if action in TO_CHARGE_POINT:
            raise NotSupported(f"{action} is sent by the central system only")
        raise NotImplementedAction(f"{action[:64]} is not an action of OCPP 1.6")
    if message.accepts(payload):
        return message.build(payload), []
    if strict:
        found = problems(message.schema.shape, payload)
        raise refusal(found[0]) if found else FormationViolation("the payload breaks its schema")
    try:
        usable, deviations = mended(message.schema.shape, payload, lenient=action in _ALWAYS_ANSWERED)
    except Unusable as unusable:
        raise refusal(unusable.deviation) from None
    return message.build(usable), deviations


def parse_result(action: str, payload: object) -> tuple[Any, list[Deviation]]:
    """The `ocpp.v16.call_result` dataclass of a confirmation, as much of it as can be used; never raises.

    None if even a needed member is missing or useless; then the deviation says which. Enumeration fields may hold
    unknown texts, and list elements that are useless have been dropped.
    """
    message = _RESULTS.get(action)
    if message is None:
        return None, [Deviation("", "unknown_action", action[:64])]
    if message.accepts(payload):
        return message.build(payload), []
    try:
        usable, deviations = mended(message.schema.shape, payload, lenient=True)
    except Unusable as unusable:
        return None, [unusable.deviation]
    return message.build(usable), deviations


def validate_call(action: str, payload: object) -> list[Problem]:
    """Everything that keeps a request of ours from being sent; empty if it is right to the letter.

    Nothing is tolerated and nothing altered: types, 32-bit ranges, enumerations, lengths, timestamps as in RFC 3339,
    URIs, and at most one decimal in `limit` and `minChargingRate`. Details never repeat values, which may be secrets.
    """
    message = _CALLS.get(action)
    if message is None or action not in TO_CHARGE_POINT:
        refused = NotSupported if message is not None else NotImplementedAction
        return [Problem("", "is not an action that the central system sends", refused.code)]
    found = problems(message.schema.shape, payload)
    return [
        Problem(
            deviation.pointer,
            deviation.detail,
            FormationViolation.code if deviation.pointer == "" else error_class(deviation.kind).code,
        )
        for deviation in found
    ]


def order_call(action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """`payload` with its members, nested ones too, in the order of the schema, and without those that are None.

    Values are untouched (6.0 stays 6.0). Members that the message does not have come last.
    """
    message = _CALLS.get(action)
    return _ordered_object(message.schema.shape if message is not None else _ANY, payload)


def result_payload(conf: Any) -> dict[str, Any]:
    """The wire JSON of a `call_result` dataclass: camelCase, in the order of the schema, without members that are None.

    Nested dicts are wire JSON already and only ordered; nested dataclasses of `ocpp.v16.datatypes` are converted.
    TypeError for anything that is not a confirmation.
    """
    fields = _RESULT_FIELDS.get(type(conf))
    if fields is None:
        raise TypeError(f"{type(conf).__name__} is not a confirmation of OCPP 1.6")
    payload = {}
    for name, attribute, shape in fields:
        value = getattr(conf, attribute)
        if value is not None:
            payload[name] = value if shape is None else _ordered(shape, value)
    return payload


class _Message:
    """One request or confirmation: its schema, its dataclass, and which member becomes which field."""

    __slots__ = ("_absent", "_fields", "dataclass", "schema")

    def __init__(self, schema: Schema, dataclass: type) -> None:
        self.schema = schema
        self.dataclass = dataclass
        self._fields = {name: _snake_case(name) for name in schema.shape.members}
        # The dataclasses ask for some members that the specification leaves optional (requestId, techInfo).
        self._absent = {
            field.name: None
            for field in dataclasses.fields(dataclass)
            if field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
            and field.name not in {self._fields[name] for name in schema.shape.required}
        }

    def accepts(self, payload: object) -> bool:
        try:
            return self.schema.is_valid(payload)
        except ValueError:
            # Text that is not Unicode, keys that are not text: nothing a frame can hold, but a caller may.
            return False

    def build(self, payload: Any) -> Any:
        fields = self._fields
        values = {fields[name]: value for name, value in payload.items()}
        if self._absent:
            values = self._absent | values
        return self.dataclass(**values)


def _snake_case(name: str) -> str:
    """idTagInfo to id_tag_info; no name of OCPP 1.6 has two capitals in a row or a digit."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _ordered(shape: Shape, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _ordered_object(shape, value)
    if isinstance(value, list | tuple):
        item = shape.item or _ANY
        return [_ordered(item, element) for element in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {_camel_case(field.name): getattr(value, field.name) for field in dataclasses.fields(value)}
        return _ordered_object(shape, members)
    return value


def _ordered_object(shape: Shape, value: Mapping[str, Any]) -> dict[str, Any]:
    members = shape.members
    ordered = {name: _ordered(members[name], value[name]) for name in members if value.get(name) is not None}
    if len(ordered) < len(value):
        for name, member in value.items():
            if name not in members and member is not None:
                ordered[name] = _ordered(_ANY, member)
    return ordered


_ANY = Shape("string")

_CALLS = {
    action: _Message(request_schema(action), vars(call)[action])
    for action in sorted(FROM_CHARGE_POINT | TO_CHARGE_POINT)
}
_RESULTS = {
    action: _Message(result_schema(action), vars(call_result)[action])
    for action in sorted(FROM_CHARGE_POINT | TO_CHARGE_POINT)
}
_RESULT_FIELDS: dict[type, list[tuple[str, str, Shape | None]]] = {
    message.dataclass: [
        (name, _snake_case(name), shape if shape.kind in ("object", "array") else None)
        for name, shape in message.schema.shape.members.items()
    ]
    for message in _RESULTS.values()
}
