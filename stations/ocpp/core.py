"""The Core profile of OCPP 1.6, both directions.

From the charge point: Authorize, BootNotification, DataTransfer, Heartbeat, MeterValues, StartTransaction,
StatusNotification, StopTransaction. To the charge point: ChangeAvailability, ChangeConfiguration, ClearCache,
DataTransfer, GetConfiguration, RemoteStartTransaction, RemoteStopTransaction, Reset, UnlockConnector; their `_conf`
functions take in the answer. Transactions have their rules in stations/transactions.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from ocpp.v16 import call, call_result

from csms.ocppj.times import format_time, parse_time
from stations import authorization, charging_profiles, matching, secret_keys, transactions
from stations import meter_values as readings
from stations.batch import Batch, open_batch
from stations.charging_profile_rules import judge
from stations.effects import MAY_HAVE_WORKED
from stations.masking import is_secret_key
from stations.models import Boot, ChargePoint, Command, ConfigurationKey, Connector, Reservation
from stations.models.charge_point import BOOT_TEXTS
from stations.models.reservation import ENDING_STATUSES
from stations.ocpp import data_transfers
from stations.ocpp.security import credentials as security_keys

INT32_MAX = 2**31 - 1
BOOT_FACTS = (*BOOT_TEXTS.values(), "booted_at", "last_seen_at", "updated_at")


# --- from the charge point --------------------------------------------------------------------------------------------
# Actions that ask for more than their charge point, id tag and connectors.
LOOKS_AHEAD = ("BootNotification", "StartTransaction", "StopTransaction")

# Two notifications of one connector that arrive within this time may have overtaken each other.
IN_ONE_BURST = timedelta(seconds=5)


def look_ahead(batch: Batch, calls: Iterable[tuple[ChargePoint, str, Any]]) -> None:
    """Announce what these calls (charge point, action, request) will ask for, so that it is looked up once for all."""
    for charge_point, action, req in calls:
        if action == "BootNotification":
            batch.effects.announce("Reset", charge_point.pk)
        elif not charge_point.accepted:
            continue
        elif action == "StartTransaction":
            key = transactions.start_key(
                charge_point, _int32(req.connector_id), str(req.id_tag), req.timestamp, _whole(req.meter_start)
            )
            batch.transactions.announce_start(key, charge_point.pk)
            batch.effects.announce("RemoteStartTransaction", charge_point.pk)
        elif action == "StopTransaction":
            batch.transactions.announce_stop(
                charge_point.pk, transactions.reference_of(req.transaction_id), _whole(req.meter_stop)
            )
        elif action == "MeterValues":
            # Only those that name no transaction of this charge point come here.
            connector_id = _int32(req.connector_id)
            for element in req.meter_value or []:
                at = parse_time(element.get("timestamp"), charge_point.zone)
                if at is not None:
                    batch.transactions.announce_reading(charge_point.pk, connector_id, at)


def authorize(charge_point: ChargePoint, req: call.Authorize, now: datetime) -> call_result.Authorize:
    """Answer Authorize.req with the present state of the idTag.

    Errors: none of its own; an unknown idTag is Invalid.
    Source: OCPP 1.6 ed. 2, 4.2, 6.1, 6.2.
    """
    return call_result.Authorize(
        id_tag_info=authorization.presented(charge_point, req.id_tag, "Authorize", now).id_tag_info(charge_point)
    )


def boot_notification(
    charge_point: ChargePoint, req: call.BootNotification, now: datetime
) -> call_result.BootNotification:
    """Answer BootNotification.req with the registration status, the clock, and an interval in seconds.

    Open transactions stay open: their StopTransaction normally follows. `interval` is the heartbeat interval when
    Accepted, else the pause before the next BootNotification.
    Source: OCPP 1.6 ed. 2, 4.2, 6.3, 6.4; errata v4.0 3.22.
    """
    for wire, column in BOOT_TEXTS.items():
        setattr(charge_point, column, getattr(req, wire, None) or "")
    charge_point.booted_at = charge_point.last_seen_at = now
    charge_point.updated_at = datetime.now(UTC)
    payload = {wire: value for wire in BOOT_TEXTS if (value := getattr(req, wire, None)) is not None}
    with open_batch() as batch:
        batch.update(charge_point, BOOT_FACTS)
        reset = next(iter(batch.effects.candidates("Reset", charge_point.pk, now)), None)
        if reset is None or reset.outcome not in MAY_HAVE_WORKED:
            batch.add_boot(charge_point.pk, now, payload, charge_point.registration_status)
        else:
            boot = Boot.objects.create(
                charge_point=charge_point, at=now, payload=payload, status=charge_point.registration_status
            )
            reset.effect = {"boot": boot.pk, "booted_at": format_time(now)}
            batch.update(reset, ("effect",))
    return call_result.BootNotification(
        current_time=format_time(now, milliseconds=charge_point.send_milliseconds),
        interval=charge_point.effective_heartbeat_interval_seconds
        if charge_point.accepted
        else charge_point.tenant.pending_interval_seconds,
        status=charge_point.registration_status,
    )


def data_transfer(charge_point: ChargePoint, req: call.DataTransfer, now: datetime) -> call_result.DataTransfer:
    """Answer DataTransfer.req by the table of vendors' messages, stations/ocpp/data_transfers.py.

    A vendor that nobody has switched on is unknown, and no data go back.
    Source: OCPP 1.6 ed. 2, 4.3, 6.13, 6.14.
    """
    return data_transfers.answer(charge_point, req, now)


def heartbeat(charge_point: ChargePoint, req: call.Heartbeat, now: datetime) -> call_result.Heartbeat:
    """Answer Heartbeat.req with the clock.

    Source: OCPP 1.6 ed. 2, 4.6, 6.29, 6.30.
    """
    return call_result.Heartbeat(current_time=format_time(now, milliseconds=charge_point.send_milliseconds))


def meter_values(charge_point: ChargePoint, req: call.MeterValues, now: datetime) -> call_result.MeterValues:
    """Answer MeterValues.req: store every element, with the transaction that it names or that ran there at its time.

    Never refused: an error would only make the charge point repeat the message.
    Units: as sent in `sampled_value`; Wh, W and percent in the normalised columns.
    Source: OCPP 1.6 ed. 2, 4.7, 6.31, 6.32; errata v4.0 3.14-3.16.
    """
    named = req.transaction_id
    with open_batch() as batch:
        connector_id = _int32(req.connector_id)
        owners = matching.Readings(batch, charge_point, connector_id, named)
        readings.record(batch, charge_point, connector_id, owners.of, req.meter_value or [], now)
        for tx, at in owners.went_on:
            transactions.went_on(batch, tx, at)
    return call_result.MeterValues()


def start_transaction(
    charge_point: ChargePoint, req: call.StartTransaction, now: datetime
) -> call_result.StartTransaction:
    """Answer StartTransaction.req: open a transaction, or return the one this request already opened.

    Always gives a transactionId, even for a refused idTag: without an answer the charge point only repeats itself.
    Units: meter_start in Wh; timestamp is the charge point's clock, UTC, and may be hours old.
    Errors: none of its own; an unknown connector is stored, flagged and still answered.
    Source: OCPP 1.6 ed. 2, 4.8, 6.45, 6.46; retries 3.7.1.
    """
    tx, answer = transactions.start(
        charge_point,
        connector_id=_int32(req.connector_id),
        id_tag=str(req.id_tag),
        timestamp=req.timestamp,
        meter_start_wh=_whole(req.meter_start),
        reservation_id=_whole(req.reservation_id) or None,
        now=now,
    )
    return call_result.StartTransaction(transaction_id=tx.pk, id_tag_info=answer.id_tag_info(charge_point))


def status_notification(
    charge_point: ChargePoint, req: call.StatusNotification, now: datetime
) -> call_result.StatusNotification:
    """Answer StatusNotification.req: keep it in the history; what arrives last is the present state.

    Status notifications are not queued, and clocks fall back: an older time loses only against one of the same
    connector that arrived within IN_ONE_BURST before it. What is far ahead of our clock counts as of now.

    No transition is refused and none creates or ends a transaction. Connectors are created as they appear.
    Source: OCPP 1.6 ed. 2, 4.9, 6.47, 6.48; errata v4.0 3.19-3.22.
    """
    connector_id = _int32(req.connector_id)
    given = parse_time(req.timestamp, charge_point.zone) or now
    facts = (
        str(req.status),
        str(req.error_code),
        req.info or "",
        req.vendor_id or "",
        req.vendor_error_code or "",
    )
    with open_batch() as batch:
        batch.add_status(charge_point.pk, connector_id, *facts, given, now)
        # A clock that runs ahead must not make every later status look old, nor one never set make this one so.
        at = min(given, now) if given >= readings.OLDEST_CREDIBLE else now
        known = batch.connector(charge_point.pk, connector_id)
        if known is None or known.status_at is None or at >= known.status_at or _arrived_before(known, now):
            status, error_code, info, vendor_id, vendor_error_code = facts
            batch.put_connector(
                Connector(
                    tenant_id=charge_point.tenant_id,
                    charge_point=charge_point,
                    connector_id=connector_id,
                    status=status,
                    error_code=error_code,
                    info=info,
                    vendor_id=vendor_id,
                    vendor_error_code=vendor_error_code,
                    status_at=at,
                    status_received_at=now,
                )
            )
            if status in ENDING_STATUSES and charge_point.may_hold_reservations(now):
                Reservation.objects.out_of_service(charge_point.pk, connector_id, status, now)
    return call_result.StatusNotification()


def _arrived_before(known: Connector, now: datetime) -> bool:
    """Whether the status that is known came so long before `now` that the two were not sent in one burst."""
    return known.status_received_at is None or now - known.status_received_at > IN_ONE_BURST


def stop_transaction(
    charge_point: ChargePoint, req: call.StopTransaction, now: datetime
) -> call_result.StopTransaction:
    """Answer StopTransaction.req: close the transaction, keep the first stop, or store one that has no start.

    A stop cannot be refused. idTagInfo is answered only when the request had an idTag.
    Units: meter_stop in Wh; timestamp is the charge point's clock, UTC.
    Source: OCPP 1.6 ed. 2, 4.10, 6.49, 6.50; errata v4.0 3.18, 3.54; retries 3.7.1.
    """
    answer = transactions.stop(
        charge_point,
        transaction_id=req.transaction_id,
        meter_stop_wh=_whole(req.meter_stop),
        timestamp=req.timestamp,
        id_tag=req.id_tag,
        reason=req.reason or "Local",
        transaction_data=req.transaction_data or [],
        now=now,
    )
    return call_result.StopTransaction(id_tag_info=None if answer is None else answer.id_tag_info(charge_point))


def _whole(value: Any) -> int:
    """A whole number that fits a 64-bit column, from whatever number a charge point sent; absent is 0."""
    if type(value) is int and -(2**62) <= value <= 2**62:
        return value
    number = readings.number(value) if value is not None else None
    return 0 if number is None else max(-(2**62), min(2**62, int(number)))


def _int32(value: Any) -> int:
    return max(-INT32_MAX, min(INT32_MAX, _whole(value)))


# --- to the charge point: what its answer changes ---------------------------------------------------------------------
def change_availability_conf(command: Command, conf: call_result.ChangeAvailability, now: datetime) -> None:
    """ChangeAvailability.conf changes nothing of ours: a StatusNotification follows. Source: OCPP 1.6 ed. 2, 5.2."""


def change_configuration_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a new password or security profile; any other value is the operator's affair."""
    return security_keys.warnings(charge_point, payload)


def change_configuration_queued(command: Command) -> None:
    """Note a password that is going out; refuse a security profile below the one in force. Source: A00.FR.005."""
    security_keys.queued(command)


def change_configuration_without_answer(command: Command, now: datetime) -> None:
    """A new password or security profile that was sent may have been taken all the same."""
    security_keys.without_answer(command)


def change_configuration_conf(command: Command, conf: call_result.ChangeConfiguration, now: datetime) -> None:
    """Keep the value that the charge point took: Accepted or, active after its next reset, RebootRequired.

    A secret is not kept: masking.py and the tenant say which keys are. Rejected and NotSupported change nothing. What
    it means for passwords and security profiles: stations/ocpp/security/credentials.py.
    Source: OCPP 1.6 ed. 2, 5.3, 6.7, 6.8.
    """
    key = str(command.payload["key"])
    security_keys.answered(command, str(conf.status))
    if conf.status not in ("Accepted", "RebootRequired") or is_secret_key(
        key, secret_keys.listed(command.action, command.tenant_id)
    ):
        return
    value = command.payload["value"]
    row = ConfigurationKey(charge_point_id=command.charge_point_id, key=key, desired_value=value, desired_at=now)
    row.reboot_required = conf.status == "RebootRequired"
    if not row.reboot_required:
        row.value = value
    with open_batch() as batch:
        batch.put_configuration_key(row)


def clear_cache_conf(command: Command, conf: call_result.ClearCache, now: datetime) -> None:
    """ClearCache.conf changes nothing of ours. Source: OCPP 1.6 ed. 2, 5.4; errata v4.0 3.23."""


def data_transfer_conf(command: Command, conf: call_result.DataTransfer, now: datetime) -> None:
    """DataTransfer.conf stands in the command; it changes nothing else. Source: OCPP 1.6 ed. 2, 4.3."""


def get_configuration_conf(command: Command, conf: call_result.GetConfiguration, now: datetime) -> None:
    """Store the keys reported, and which of those asked for are unknown; keys not asked for stay as they were.

    A key may lack a value. The value of a secret is never stored.
    Source: OCPP 1.6 ed. 2, 5.8, 6.23, 6.24.
    """
    rows: dict[str, ConfigurationKey] = {}
    listed = secret_keys.listed(command.action, command.tenant_id)
    for entry in conf.configuration_key or []:
        key = str(entry["key"])[:255]
        value = entry.get("value")
        secret = is_secret_key(key, listed)
        rows[key] = ConfigurationKey(
            tenant_id=command.tenant_id,
            charge_point_id=command.charge_point_id,
            key=key,
            value=None if value is None or secret else str(value),
            readonly=entry.get("readonly"),
            known=True,
            reported_at=now,
        )
    for name in conf.unknown_key or []:
        key = str(name)[:255]
        rows[key] = ConfigurationKey(
            tenant_id=command.tenant_id,
            charge_point_id=command.charge_point_id,
            key=key,
            known=False,
            reported_at=now,
        )
    ConfigurationKey.objects.bulk_create(
        [rows[key] for key in sorted(rows)],
        update_conflicts=True,
        update_fields=["value", "readonly", "known", "reported_at"],
        unique_fields=["charge_point", "key"],
    )


def remote_start_transaction_complete(charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
    """Give the profile of a RemoteStartTransaction.req, if it has one, a chargingProfileId if it lacks one."""
    return charging_profiles.with_profile_id("RemoteStartTransaction", payload)


def remote_start_transaction_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about the card and the profile of a RemoteStartTransaction.req. Source: errata v4.0 3.41."""
    status = authorization.authorize(charge_point, payload["idTag"], datetime.now(UTC)).status
    found = authorization.warnings_about(payload["idTag"], status)
    profile = payload.get("chargingProfile")
    if profile is None:
        return found
    judgement = judge(profile, charge_point, payload.get("connectorId"), remote_start=True)
    return [*found, *((finding.code, finding.detail) for finding in judgement.findings)]


def remote_start_transaction_conf(command: Command, conf: call_result.RemoteStartTransaction, now: datetime) -> None:
    """Accepted means "will try": the transaction, if one follows, is tied to the command when it starts.

    It may have started already, when the charge point sent StartTransaction before this answer.
    Source: OCPP 1.6 ed. 2, 5.11; errata v4.0 3.32.
    """


def remote_stop_transaction_conf(command: Command, conf: call_result.RemoteStopTransaction, now: datetime) -> None:
    """Accepted means "will try": only StopTransaction ends the transaction. Source: OCPP 1.6 ed. 2, 5.12."""


def reset_conf(command: Command, conf: call_result.Reset, now: datetime) -> None:
    """The boot that a reset leads to is tied to the command by `boot_notification`. Source: OCPP 1.6 ed. 2, 5.14."""


def unlock_connector_conf(command: Command, conf: call_result.UnlockConnector, now: datetime) -> None:
    """UnlockConnector.conf stands in the command; statuses follow. Source: OCPP 1.6 ed. 2, 5.18; errata v4.0 3.85."""
