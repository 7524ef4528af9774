"""The shapes of the answers, for the OpenAPI document. Checked against real answers by the tests."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from stations.attention import KINDS, SEVERITIES
from stations.id_tag_spellings import SENTENCES
from stations.models.certificate import (
    EXPIRED,
    AuthorityKind,
    CertificateState,
    CertificateType,
    Origin,
    RequestState,
)
from stations.models.charge_point import RegistrationStatus
from stations.models.command import CommandStatus
from stations.models.message import MessageType
from stations.models.refused_id_tag import Refusal
from stations.models.reservation import EndReason, ReservationStatus
from stations.models.transaction import MatchedBy
from tenants.api.schema import component, obj, page_of

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


def described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


STATUS_KNOWN = described(BOOLEAN, "False for a status that OCPP 1.6 does not define.")
CONNECTOR = component("Connector", obj(
    connector_id=INTEGER, status=described(TEXT, "As sent, also a word of the charge point's own."),
    status_known=STATUS_KNOWN, error_code=TEXT, info=TEXT, vendor_id=TEXT, vendor_error_code=TEXT,
    status_at=TIME_OR_NULL,
    transaction=described(INTEGER_OR_NULL, "The one that runs here."),
))  # fmt: skip
CHARGE_POINT = component("ChargePoint", obj(
    optional=("password", "password_form", "warnings"),
    identity=TEXT,
    site=described(TEXT_OR_NULL, "Its slug."),
    description=TEXT, serial_number=TEXT, registration_status=enum(*RegistrationStatus.values),
    security_profile=described({"type": "integer", "minimum": 0, "maximum": 3}, "0 is none, 3 client certificates."),
    exact_security_profile=described(
        BOOLEAN, "A higher profile than `security_profile` is refused too; a lower one always is."
    ),
    disabled=described(BOOLEAN, "Every connection is refused."),
    strict=described(BOOLEAN, "Every deviation from the schemas of OCPP 1.6 is refused."),
    assume_ocpp16=described(BOOLEAN, "It may connect without offering a subprotocol."),
    accept_any_id_tag=described(BOOLEAN, "Free charging."),
    accept_hexadecimal_password=BOOLEAN, heartbeat_interval_seconds=INTEGER_OR_NULL,
    call_timeout_seconds=INTEGER_OR_NULL,
    time_zone=described(TEXT, "For times that it sends without one; empty is UTC."),
    send_milliseconds=BOOLEAN, vendor=TEXT, model=TEXT, firmware_version=TEXT, charge_point_serial_number=TEXT,
    charge_box_serial_number=TEXT, iccid=TEXT, imsi=TEXT, meter_type=TEXT, meter_serial_number=TEXT,
    booted_at=TIME_OR_NULL, connected=BOOLEAN, connected_at=TIME_OR_NULL, disconnected_at=TIME_OR_NULL,
    last_seen_at=TIME_OR_NULL, connectors=array(CONNECTOR),
    deviations=described(
        {"type": "object", "additionalProperties": obj(pointer=TEXT, detail=TEXT, at=TIME)},
        "Tolerated deviations from the schemas, by `Action:kind`, those of answers by `Action.conf:kind`; more of the "
        "same kind by `Action:kind:` and the place, or the word that is not defined.",
    ),
    ocpp_url=described(TEXT_OR_NULL, "What the charge point dials; null when the installation does not know it."),
    ocpp_url_warning=described(TEXT_OR_NULL, "What to set so that it is known."),
    has_password=BOOLEAN,
    password_state=described(
        enum("none", "set", "pending", "unknown"),
        "`pending`: a new one is on its way. `unknown`: no answer came; the old and the new one are accepted until "
        "the charge point connects with one of them.",
    ),
    pending_security_profile=described(
        INTEGER_OR_NULL, "The one it was raised to; both are accepted until it connects with this one."
    ),
    contested_at=described(TIME_OR_NULL, "When two were last seen to dial with this identity by turns."),
    created_at=TIME, updated_at=TIME,
    password=described(TEXT, "Only in the answer that made it."),
    password_form=described(enum("text", "hexadecimal"), "How a given password was read."),
    warnings=described(
        array(obj(code=TEXT, detail=TEXT)), "Only in an answer to a change: what is unwise about it (`weak_password`)."
    ),
))  # fmt: skip
CONFIGURATION_KEY = component("ConfigurationKey", obj(
    key=TEXT, value=TEXT_OR_NULL, readonly=described(BOOLEAN_OR_NULL, "Null while it is not known."),
    known=described(BOOLEAN, "False when the charge point said that it does not know the key."),
    reported_at=TIME_OR_NULL, desired_value=TEXT_OR_NULL, desired_at=TIME_OR_NULL, reboot_required=BOOLEAN,
    drift=described(BOOLEAN, "The value differs from the one desired."),
))  # fmt: skip
MESSAGE = component("Message", obj(
    id=INTEGER,
    direction=described(enum("in", "out"), "From or to the charge point."),
    message_type=enum(*MessageType.names), action=TEXT, message_id=TEXT,
    payload=described(ANY, "The OCPP JSON, secrets masked; the text of a frame that is not OCPP-J."),
    received_at=TIME, latency_ms=NUMBER_OR_NULL, error=TEXT,
))  # fmt: skip
CONNECTION_ATTEMPT = component("ConnectionAttempt", obj(
    at=TIME, identity=TEXT, address=TEXT, accepted=BOOLEAN, http_status=INTEGER,
    reason=described(TEXT, "Stable, for programs; empty when accepted."),
    remedy=described(TEXT, "What to do about it."),
    security_profile=INTEGER_OR_NULL, subprotocols=TEXT, user_agent=TEXT, tls_version=TEXT, tls_cipher=TEXT,
    client_certificate=TEXT,
    charge_point=described(TEXT_OR_NULL, "The charge point that it is, or, refused, that it most likely means."),
))  # fmt: skip
COMMAND = component("Command", obj(
    id=INTEGER, charge_point=TEXT, action=TEXT,
    payload=described(OBJECT, "The OCPP request, secrets masked."),
    requested_by=TEXT, reason=TEXT, status=enum(*CommandStatus.values),
    warnings=described(array(obj(code=TEXT, detail=TEXT)), "What is unwise about it, but no reason not to send it."),
    response=described(ANY, "The payload of the CALLRESULT as received, or null."),
    error=described(OBJECT_OR_NULL, "The CALLERROR: code, description, details."),
    effect=described(OBJECT_OR_NULL, "What came of it, such as `transaction` or `boot`."),
    batch=INTEGER_OR_NULL, attempts=described(INTEGER, "How often it was put on the wire."), created_at=TIME,
    sent_at=TIME_OR_NULL, answered_at=TIME_OR_NULL, expires_at=TIME,
))  # fmt: skip
PASSWORD_COMMAND = component("PasswordCommand", {
    "allOf": [COMMAND, obj(
        optional=("password",), password=described(TEXT, "Only in the answer that made it: 40 hexadecimal digits."),
    )],
})  # fmt: skip
LOWERED_PROFILE = component("LoweredProfile", obj(
    identity=TEXT, security_profile=INTEGER,
    warnings=described(array(obj(code=TEXT, detail=TEXT)), "What else has to be done so that it can connect."),
))  # fmt: skip
COMMAND_BATCH = component("CommandBatch", obj(
    id=INTEGER, action=TEXT, requested_by=TEXT, created_at=TIME, commands=array(COMMAND),
    skipped=described(array(obj(charge_point=TEXT, code=TEXT)), "Charge points that are disabled."),
))  # fmt: skip
WITHDRAWN = component("WithdrawnBatch", obj(
    batch=INTEGER, withdrawn=INTEGER, not_queued=described(INTEGER, "Commands that were sent or closed before."),
))  # fmt: skip
TRANSACTION = component("Transaction", obj(
    id=described(INTEGER, "The OCPP transactionId."),
    charge_point=TEXT, connector_id=INTEGER, id_tag=TEXT, started_at=TIME, started_received_at=TIME,
    stopped_at=TIME_OR_NULL, stopped_received_at=TIME_OR_NULL, active=BOOLEAN, meter_start_wh=INTEGER,
    meter_stop_wh=INTEGER_OR_NULL,
    energy_wh=described(NUMBER_OR_NULL, "So far while active; null when no usable reading has come."),
    power_w=described(NUMBER_OR_NULL, "The latest while active."),
    stop_reason=TEXT, stop_id_tag=TEXT, id_tag_status=TEXT, parent_id_tag=TEXT, reservation_id=INTEGER_OR_NULL,
    flags=described(array(TEXT), "Why it is held back from billing."),
    matched_by=described(
        {"type": ["string", "null"], "enum": [*MatchedBy.values, None]},
        "How its StopTransaction was found to be its; null without one, or for one of before this was kept.",
    ),
    stop_transaction_id=described(TEXT_OR_NULL, "The transactionId that its StopTransaction carried, as sent."),
    candidates=described(
        array(INTEGER),
        "Of a stop that several transactions could have had: their ids. Of such a transaction: those of the stops.",
    ),
    duplicate_of=described(INTEGER_OR_NULL, "The transaction whose start this one repeats in other words."),
    started_by_command=INTEGER_OR_NULL,
))  # fmt: skip
METER_VALUE = component("MeterValue", obj(
    timestamp=TIME, received_at=TIME, connector_id=INTEGER, transaction=INTEGER_OR_NULL,
    transaction_id_sent=described(TEXT_OR_NULL, "The transactionId as sent, where it is not that of `transaction`."),
    matched_by=described(
        {"type": ["string", "null"], "enum": [MatchedBy.TRANSACTION_ID.value, MatchedBy.CONNECTOR.value, None]},
        "How it was found to be of `transaction`; null without one.",
    ),
    energy_wh=NUMBER_OR_NULL, power_w=NUMBER_OR_NULL,
    soc_percent=NUMBER_OR_NULL,
    sampled_value=described(array(OBJECT), "The OCPP list, untouched."),
))  # fmt: skip
ID_TAG = component("IdTag", obj(
    id_tag=TEXT, status=enum("Accepted", "Blocked"), blocked=BOOLEAN, description=TEXT, driver=TEXT,
    parent_id_tag=TEXT_OR_NULL, groups=array(TEXT),
    aliases=described(array(TEXT), "Other names of it, which authorise as it does."),
    sites=described(array(TEXT), "Slugs of the sites where it may charge; empty means everywhere."),
    expiry_date=TIME_OR_NULL, max_active_transactions=INTEGER_OR_NULL, created_at=TIME, updated_at=TIME,
))  # fmt: skip
RESERVATION = component("Reservation", obj(
    id=described(INTEGER, "The OCPP reservationId."),
    charge_point=TEXT,
    connector_id=described(INTEGER, "0 is any connector."),
    id_tag=TEXT, parent_id_tag=TEXT_OR_NULL, expiry_date=TIME,
    status=described(enum(*ReservationStatus.values), "Requested and Accepted may keep the connector from others."),
    end_reason=described({"type": ["string", "null"], "enum": [*EndReason.values, None]}, "Why it is live no more."),
    transaction=described(INTEGER_OR_NULL, "The one that was started under it."),
    command=described(INTEGER_OR_NULL, "The ReserveNow."),
    cancel_command=described(INTEGER_OR_NULL, "The latest CancelReservation."),
    warnings=described(array(obj(code=TEXT, detail=TEXT)), "What was unwise about it, but no reason not to ask."),
    requested_by=TEXT, requested_at=TIME, accepted_at=TIME_OR_NULL, ended_at=TIME_OR_NULL,
))  # fmt: skip
CANCELLATION = component("Cancellation", obj(reservation=RESERVATION, command=COMMAND))

PROFILE_WARNING = obj(code=TEXT, detail=TEXT, pointer=described(TEXT, "Where in `profile`; empty for the whole."))
CHARGING_PROFILE = component("ChargingProfile", obj(
    id=described(INTEGER, "The chargingProfileId on the wire."),
    description=TEXT,
    profile=described(OBJECT, "The OCPP chargingProfile, its chargingProfileId being `id`."),
    warnings=described(array(PROFILE_WARNING), "What is unwise about it, but no reason not to send it."),
    installed=described(array(obj(
        charge_point=TEXT, connector_id=INTEGER, transaction=INTEGER_OR_NULL,
        state=described(enum("believed", "confirmed"), "Accepted by it, or seen in a composite schedule of it."),
        current=described(BOOLEAN, "Whether it is there as it is here now."),
        installed_at=TIME, confirmed_at=TIME_OR_NULL,
    )), "Where it is installed, newest first, up to 100."),
    requested_by=TEXT, created_at=TIME, updated_at=TIME,
))  # fmt: skip
INSTALLED_PROFILE = component("InstalledProfile", obj(
    id=INTEGER,
    charging_profile_id=described(INTEGER, "The chargingProfileId on the wire."),
    library=described(INTEGER_OR_NULL, "The profile of the library that it came from."),
    connector_id=INTEGER, purpose=TEXT, stack_level=INTEGER, transaction=INTEGER_OR_NULL,
    state=described(enum("believed", "confirmed"), "Accepted by it, or seen in a composite schedule of it."),
    installed_at=TIME, confirmed_at=TIME_OR_NULL, command=INTEGER_OR_NULL,
    profile=described(OBJECT, "The OCPP chargingProfile as it was sent."),
))  # fmt: skip
COMPOSITE_SCHEDULE = component("CompositeSchedule", obj(
    connector_id=INTEGER,
    schedule_start=TIME,
    charging_schedule=described(
        OBJECT_OR_NULL, "As in GetCompositeSchedule.conf, `limit` being null where nothing limits; null if none does."
    ),
    decisions=described(
        array(obj(start_period=INTEGER, charging_profile_ids=array(INTEGER))),
        "Which profiles the limit comes from, from `start_period` seconds on.",
    ),
))  # fmt: skip

_CERTIFICATE_FACTS: dict[str, Any] = {
    "subject": TEXT, "issuer": TEXT,
    "serial_number": described(TEXT, "Hexadecimal."),
    "fingerprint": described(TEXT, "SHA-256, hexadecimal."),
    "key": described(TEXT, "Such as RSA 2048."),
    "not_before": TIME_OR_NULL, "not_after": TIME_OR_NULL,
}  # fmt: skip
CERTIFICATE_AUTHORITY = component("CertificateAuthority", obj(
    id=INTEGER, name=TEXT, kind=enum(*AuthorityKind.values), parent=INTEGER_OR_NULL, key_type=TEXT_OR_NULL,
    signature_scheme=TEXT_OR_NULL,
    active=described(BOOLEAN, "Whether certificates of it let charge points in."),
    signs_requests=described(BOOLEAN, "Whether requests of charge points go to this one."),
    organization=described(TEXT, "O of the certificates; empty is the name of the tenant."),
    validity_days=INTEGER, check_common_name=BOOLEAN, check_organization=BOOLEAN,
    renew_days_before=described(INTEGER_OR_NULL, "null: certificates are never renewed by themselves."),
    certificate=described(TEXT, "PEM. The private key never comes out."),
    **_CERTIFICATE_FACTS,
    crl_updated_at=TIME_OR_NULL, crl_next_update=TIME_OR_NULL, created_by=TEXT, created_at=TIME,
))  # fmt: skip
CERTIFICATE = component("Certificate", obj(
    id=INTEGER, charge_point=TEXT, state=enum(*CertificateState.values, EXPIRED), origin=enum(*Origin.values),
    authority=INTEGER_OR_NULL, request=INTEGER_OR_NULL,
    command=described(INTEGER_OR_NULL, "The CertificateSigned."),
    **_CERTIFICATE_FACTS,
    chain=described(TEXT, "PEM, leaf first."),
    created_at=TIME, sent_at=TIME_OR_NULL, answered_at=TIME_OR_NULL, first_used_at=TIME_OR_NULL,
    last_used_at=TIME_OR_NULL, revoked_at=TIME_OR_NULL, revoked_by=TEXT, reason=TEXT,
))  # fmt: skip
CERTIFICATE_REQUEST = component("CertificateRequest", obj(
    id=INTEGER, charge_point=TEXT, state=enum(*RequestState.values),
    problem=described(TEXT, "Why it came to nothing."),
    authority=INTEGER_OR_NULL, certificate=INTEGER_OR_NULL,
    csr=described(TEXT, "PKCS#10, PEM."),
    subject=TEXT, key=TEXT, received_at=TIME, closed_at=TIME_OR_NULL,
))  # fmt: skip
ROOT_CERTIFICATE = component("RootCertificate", obj(
    id=INTEGER, name=TEXT, certificate_type=enum(*CertificateType.values),
    certificate=described(TEXT, "PEM."),
    **_CERTIFICATE_FACTS, created_by=TEXT, created_at=TIME,
))  # fmt: skip
INSTALLED_CERTIFICATE = component("InstalledCertificate", obj(
    certificate_type=enum(*CertificateType.values),
    certificate_hash_data=described(OBJECT_OR_NULL, "As the charge point sent it; null until it has listed it."),
    subject=TEXT, not_after=TIME_OR_NULL, certificate=TEXT_OR_NULL, installed_at=TIME_OR_NULL,
    reported_at=TIME_OR_NULL,
))  # fmt: skip
CERTIFICATE_TYPE_QUERY = OpenApiParameter(
    "certificate_type", enum(*CertificateType.values), description="The type of root certificate."
)

BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
FIRMWARE_IMAGE = component("FirmwareImage", obj(
    id=INTEGER,
    name=described(TEXT, "The file name that charge points see."),
    vendor=described(TEXT, "Empty is any."), model=described(TEXT, "Empty is any."), version=TEXT, description=TEXT,
    size=described(INTEGER, "Bytes."), sha256=TEXT, signature=TEXT, signing_certificate=TEXT, created_by=TEXT,
    created_at=TIME,
))  # fmt: skip
FIRMWARE_IMAGE_UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": BINARY,
        **dict.fromkeys(
            ("name", "vendor", "model", "version", "description", "signature", "signing_certificate"), TEXT
        ),
    },
}
_PROGRESS: dict[str, Any] = {
    "final": described(BOOLEAN, "Whether it has ended, well or not."),
    "command": INTEGER_OR_NULL,
    "warnings": array(obj(code=TEXT, detail=TEXT)),
    "url_expires_at": described(TIME_OR_NULL, "Null when the file is not exchanged with us."),
    "created_at": TIME, "answered_at": TIME_OR_NULL, "finished_at": TIME_OR_NULL,
    "status_known": STATUS_KNOWN,
    "statuses": described(
        array(obj(status=TEXT, received_at=TIME, times=INTEGER, last_received_at=TIME)),
        "As they came, repetitions counted; not in lists.",
    ),
}  # fmt: skip
FIRMWARE_UPDATE = component("FirmwareUpdate", obj(
    optional=("statuses",),
    id=INTEGER, charge_point=TEXT, image=INTEGER_OR_NULL, version=TEXT,
    location=described(TEXT, "As sent, secrets masked."),
    retrieve_date=TIME_OR_NULL, retries=INTEGER_OR_NULL, retry_interval=INTEGER_OR_NULL,
    signed=described(BOOLEAN, "Whether it is a SignedUpdateFirmware; the next four belong to it."),
    request_id=described(INTEGER_OR_NULL, "The requestId on the wire."),
    install_date=TIME_OR_NULL, signature=TEXT, signing_certificate=TEXT,
    status=described(
        TEXT,
        "As last reported, or Requested, Refused, NotSent, Superseded, Canceled, InvalidCertificate, "
        "RevokedCertificate.",
    ),
    status_at=TIME_OR_NULL,
    delivered_bytes=described(INTEGER_OR_NULL, "How far the charge point has fetched the image from us."),
    **_PROGRESS,
))  # fmt: skip
DIAGNOSTICS = component("Diagnostics", obj(
    optional=("statuses",),
    id=INTEGER, charge_point=TEXT,
    location=described(TEXT, "As sent, secrets masked."),
    to_us=described(BOOLEAN, "Whether the charge point was given a URL of ours."),
    start_time=TIME_OR_NULL, stop_time=TIME_OR_NULL, retries=INTEGER_OR_NULL, retry_interval=INTEGER_OR_NULL,
    file_name=described(TEXT, "As the charge point named it in its answer."),
    status=described(TEXT, "As last reported, or Requested, NothingToUpload, Refused, NotSent, Superseded."),
    status_at=TIME_OR_NULL,
    file=described(
        {**obj(name=TEXT, content_type=TEXT, size=INTEGER, sha256=TEXT, received_at=TIME), "type": ["object", "null"]},
        "What came to us.",
    ),
    **_PROGRESS,
))  # fmt: skip
LOG_REQUEST = component("LogRequest", obj(
    optional=("statuses",),
    id=INTEGER, charge_point=TEXT,
    log_type=enum("DiagnosticsLog", "SecurityLog"),
    request_id=described(INTEGER_OR_NULL, "The requestId on the wire."),
    location=described(TEXT, "As sent, secrets masked."),
    to_us=described(BOOLEAN, "Whether the charge point was given a URL of ours."),
    oldest=TIME_OR_NULL, latest=TIME_OR_NULL, retries=INTEGER_OR_NULL, retry_interval=INTEGER_OR_NULL,
    file_name=described(TEXT, "As the charge point named it in its answer."),
    status=described(TEXT, "As last reported, or Requested, Refused, NotSent, Canceled."),
    status_at=TIME_OR_NULL,
    file=described(
        {**obj(name=TEXT, content_type=TEXT, size=INTEGER, sha256=TEXT, received_at=TIME), "type": ["object", "null"]},
        "What came to us.",
    ),
    **_PROGRESS,
))  # fmt: skip
SECURITY_EVENT = component("SecurityEvent", obj(
    id=INTEGER,
    charge_point=described(TEXT_OR_NULL, "Null when nobody registered the identity."),
    source=enum("charge_point", "csms"),
    type=described(TEXT, "As the charge point sent it, or a stable word of ours."),
    tech_info=TEXT,
    critical=BOOLEAN,
    alert=described(BOOLEAN, "Critical, and nobody has acknowledged it."),
    timestamp=described(TIME, "By the clock of the charge point."),
    received_at=TIME,
    identity=described(TEXT, "Of ours: the identity that was claimed."),
    address=TEXT,
    times=described(INTEGER, "Of ours: how often the like of it happened within the minute."),
    last_at=TIME, acknowledged_at=TIME_OR_NULL, acknowledged_by=TEXT,
))  # fmt: skip
REFUSED_ID_TAG = component("RefusedIdTag", obj(
    id=INTEGER,
    id_tag=described(TEXT, "As it was presented last."),
    charge_point=TEXT,
    status=described(TEXT, "What the charge point was answered."),
    reason=enum(*Refusal.values),
    action=described(TEXT, "The message it came in last."),
    times=INTEGER, first_at=TIME, last_at=TIME,
    near=described(
        array(obj(id_tag=TEXT, why=enum(*SENTENCES), text=TEXT)), "Registered id tags that it may be meant as."
    ),
))  # fmt: skip
ATTENTION = component("Attention", obj(
    kind=enum(*KINDS), severity=enum(*SEVERITIES), charge_point=TEXT, connector_id=INTEGER_OR_NULL, since=TIME,
    text=TEXT, remedy=described(TEXT, "What to do about it."),
    link=described(TEXT, "The path of the resource that it is about."),
))  # fmt: skip
VENDOR_MESSAGE = component("VendorMessage", obj(
    id=INTEGER, charge_point=TEXT, vendor_id=TEXT, message_id=TEXT,
    data=described(TEXT_OR_NULL, "As sent; what was no text is its JSON."),
    status=described(TEXT, "What the charge point was answered."),
    response=described(TEXT_OR_NULL, "The data of that answer."),
    received_at=TIME,
))  # fmt: skip
VENDOR_EXTENSION = component("VendorExtension", obj(
    id=INTEGER, vendor_id=TEXT, description=TEXT,
    message_ids=described(array(TEXT), "The only messageIds that are known; empty means all."),
    enabled=BOOLEAN, created_at=TIME, updated_at=TIME,
))  # fmt: skip
ACKNOWLEDGED = component("Acknowledged", obj(acknowledged=described(INTEGER, "How many alerts.")))


_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "accepted": (BOOLEAN, "Only accepted, or only refused ones."),
    "action": (TEXT, "The OCPP action."),
    "active": (BOOLEAN, "Only running, or only ended ones."),
    "at": (TIME, "The instant it begins at; now, when it is left out."),
    "batch": (INTEGER, "The id of a bulk request."),
    "blocked": (BOOLEAN, "Only blocked, or only unblocked ones."),
    "charge_point": (TEXT, "The identity of a charge point."),
    "connected": (BOOLEAN, "Only connected, or only disconnected ones."),
    "connector_id": ({"type": "integer", "minimum": 0}, "The number of a connector."),
    "description": (TEXT, "The whole description."),
    "differs": (BOOLEAN, "Only what differs, or everything."),
    "direction": (enum("in", "out"), "From or to the charge point."),
    "duration": ({"type": "integer", "minimum": 0, "maximum": 2_678_400}, "Seconds; a day, when it is left out."),
    "id_tag": (TEXT, "An id tag, in any case."),
    "identity": (TEXT, "The identity that dialled in."),
    "message_type": (enum(*MessageType.names), "The kind of frame."),
    "model": (TEXT, "As reported at boot."),
    "parent_id_tag": (TEXT, "A group, in any case."),
    "registration_status": (enum(*RegistrationStatus.values), "The registration status."),
    "transaction": (TEXT, "Those of this transaction, by its id; `none`: those without one."),
    "since": (TIME, "Received at or after this time; of meter values: taken."),
    "site": (TEXT, "The slug of a site."),
    "source": (enum("id_tags", "groups", "sites"), "Where the entries that are wanted come from."),
    "started_after": (TIME, "Started at or after this time."),
    "started_before": (TIME, "Started before this time."),
    "status": (enum(*CommandStatus.values), "The state of the command."),
    "unit": (enum("A", "W"), "A per phase, or W in total, which it is when it is left out."),
    "sync_automatically": (BOOLEAN, "Only lists that follow by themselves, or only the others."),
    "until": (TIME, "Received before this time; of meter values: taken."),
    "vendor": (TEXT, "As reported at boot."),
    "wait": ({"type": "integer", "minimum": 0, "maximum": 60}, "Seconds to wait for the command to be final."),
}


def query(*names: str) -> list[OpenApiParameter]:
    """Documentation of query parameters, by name."""
    return [OpenApiParameter(name, _QUERY[name][0], description=_QUERY[name][1]) for name in names]
