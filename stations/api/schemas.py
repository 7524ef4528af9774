"""The shapes of the answers, for the OpenAPI document. Checked against real answers by the tests."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from stations.models.charge_point import RegistrationStatus
from stations.models.command import CommandStatus
from stations.models.message import MessageType
from tenants.api.pages import page_schema as page_of
from tenants.api.schema import obj

__all__ = ["page_of", "query"]

TEXT: dict[str, Any] = {"type": "string"}
TEXT_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
INTEGER: dict[str, Any] = {"type": "integer"}
INTEGER_OR_NULL: dict[str, Any] = {"type": ["integer", "null"]}
NUMBER_OR_NULL: dict[str, Any] = {"type": ["number", "null"]}
BOOLEAN: dict[str, Any] = {"type": "boolean"}
BOOLEAN_OR_NULL: dict[str, Any] = {"type": ["boolean", "null"]}
TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
TIME_OR_NULL: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
ANY: dict[str, Any] = {}
OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
OBJECT_OR_NULL: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": True}


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def enum(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


CONNECTOR = obj(
    connector_id=INTEGER, status=TEXT, error_code=TEXT, info=TEXT, vendor_id=TEXT, vendor_error_code=TEXT,
    status_at=TIME_OR_NULL, transaction=INTEGER_OR_NULL,
)  # fmt: skip
CHARGE_POINT = obj(
    optional=("password", "password_form"),
    identity=TEXT, site=TEXT_OR_NULL, description=TEXT, serial_number=TEXT,
    registration_status=enum(*RegistrationStatus.values), security_profile=INTEGER, disabled=BOOLEAN, strict=BOOLEAN,
    assume_ocpp16=BOOLEAN, accept_any_id_tag=BOOLEAN, heartbeat_interval_seconds=INTEGER_OR_NULL,
    call_timeout_seconds=INTEGER_OR_NULL, time_zone=TEXT, send_milliseconds=BOOLEAN, vendor=TEXT, model=TEXT,
    firmware_version=TEXT, charge_point_serial_number=TEXT, charge_box_serial_number=TEXT, iccid=TEXT, imsi=TEXT,
    meter_type=TEXT, meter_serial_number=TEXT, booted_at=TIME_OR_NULL, connected=BOOLEAN, connected_at=TIME_OR_NULL,
    last_seen_at=TIME_OR_NULL, connectors=array(CONNECTOR), deviations=OBJECT, ocpp_url=TEXT, created_at=TIME,
    updated_at=TIME,
    password={**TEXT, "description": "Only in the answer that made it."},
    password_form={**enum("text", "hexadecimal"), "description": "How a given password was read."},
)  # fmt: skip
CONFIGURATION_KEY = obj(
    key=TEXT, value=TEXT_OR_NULL, readonly=BOOLEAN_OR_NULL, known=BOOLEAN, reported_at=TIME_OR_NULL,
    desired_value=TEXT_OR_NULL, desired_at=TIME_OR_NULL, reboot_required=BOOLEAN, drift=BOOLEAN,
)  # fmt: skip
MESSAGE = obj(
    direction=enum("in", "out"), message_type=enum(*MessageType.names), action=TEXT, message_id=TEXT, payload=ANY,
    received_at=TIME, latency_ms=NUMBER_OR_NULL, error=TEXT,
)  # fmt: skip
CONNECTION_ATTEMPT = obj(
    at=TIME, identity=TEXT, address=TEXT, accepted=BOOLEAN, http_status=INTEGER, reason=TEXT, remedy=TEXT,
    security_profile=INTEGER_OR_NULL, subprotocols=TEXT, user_agent=TEXT, tls_version=TEXT, tls_cipher=TEXT,
    client_certificate=TEXT,
)  # fmt: skip
COMMAND = obj(
    id=INTEGER, charge_point=TEXT, action=TEXT, payload=OBJECT, requested_by=TEXT, reason=TEXT,
    status=enum(*CommandStatus.values), warnings=array(obj(code=TEXT, detail=TEXT)), response=OBJECT_OR_NULL,
    error=OBJECT_OR_NULL, effect=OBJECT_OR_NULL, batch=INTEGER_OR_NULL, created_at=TIME, sent_at=TIME_OR_NULL,
    answered_at=TIME_OR_NULL, expires_at=TIME,
)  # fmt: skip
COMMAND_BATCH = obj(id=INTEGER, action=TEXT, requested_by=TEXT, created_at=TIME, commands=array(COMMAND))
TRANSACTION = obj(
    id=INTEGER, charge_point=TEXT, connector_id=INTEGER, id_tag=TEXT, started_at=TIME, started_received_at=TIME,
    stopped_at=TIME_OR_NULL, stopped_received_at=TIME_OR_NULL, active=BOOLEAN, meter_start_wh=INTEGER,
    meter_stop_wh=INTEGER_OR_NULL, energy_wh=NUMBER_OR_NULL, power_w=NUMBER_OR_NULL, stop_reason=TEXT,
    stop_id_tag=TEXT, id_tag_status=TEXT, parent_id_tag=TEXT, reservation_id=INTEGER_OR_NULL, flags=array(TEXT),
    started_by_command=INTEGER_OR_NULL,
)  # fmt: skip
METER_VALUE = obj(
    timestamp=TIME, received_at=TIME, connector_id=INTEGER, energy_wh=NUMBER_OR_NULL, power_w=NUMBER_OR_NULL,
    soc_percent=NUMBER_OR_NULL, sampled_value=array(OBJECT),
)  # fmt: skip
ID_TAG = obj(
    id_tag=TEXT, status=enum("Accepted", "Blocked"), blocked=BOOLEAN, description=TEXT, driver=TEXT,
    parent_id_tag=TEXT_OR_NULL, groups=array(TEXT), sites=array(TEXT), expiry_date=TIME_OR_NULL,
    max_active_transactions=INTEGER_OR_NULL, created_at=TIME, updated_at=TIME,
)  # fmt: skip


_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "accepted": (BOOLEAN, "Only accepted, or only refused ones."),
    "action": (TEXT, "The OCPP action."),
    "active": (BOOLEAN, "Only running, or only ended ones."),
    "batch": (INTEGER, "The id of a bulk request."),
    "blocked": (BOOLEAN, "Only blocked, or only unblocked ones."),
    "charge_point": (TEXT, "The identity of a charge point."),
    "connected": (BOOLEAN, "Only connected, or only disconnected ones."),
    "connector_id": ({"type": "integer", "minimum": 0}, "The number of a connector."),
    "direction": (enum("in", "out"), "From or to the charge point."),
    "id_tag": (TEXT, "An id tag, in any case."),
    "message_type": (enum(*MessageType.names), "The kind of frame."),
    "model": (TEXT, "As reported at boot."),
    "parent_id_tag": (TEXT, "A group, in any case."),
    "registration_status": (enum(*RegistrationStatus.values), "The registration status."),
    "since": (TIME, "Received at or after this time."),
    "site": (TEXT, "The slug of a site."),
    "started_after": (TIME, "Started at or after this time."),
    "started_before": (TIME, "Started before this time."),
    "status": (enum(*CommandStatus.values), "The state of the command."),
    "until": (TIME, "Received before this time."),
    "vendor": (TEXT, "As reported at boot."),
    "wait": ({"type": "integer", "minimum": 0, "maximum": 60}, "Seconds to wait for the command to be final."),
}


def query(*names: str) -> list[OpenApiParameter]:
    """Documentation of query parameters, by name."""
    return [OpenApiParameter(name, _QUERY[name][0], description=_QUERY[name][1]) for name in names]
