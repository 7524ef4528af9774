"""The Firmware Management profile of OCPP 1.6, both directions.

From the charge point: DiagnosticsStatusNotification, FirmwareStatusNotification. To the charge point: GetDiagnostics,
UpdateFirmware. The rows are in stations/models/firmware.py; the rules which of them a status belongs to stand in
stations/progress.py. Nothing here asks a charge point for anything: a failed update is the operator's to repeat.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ocpp.v16 import call, call_result

from csms.ocppj.times import parse_time
from stations import progress
from stations.masking import masked_url
from stations.models import ChargePoint, Command, ConfigurationKey, FirmwareUpdate, LogRequest
from stations.models.firmware import NOTHING_TO_UPLOAD

INT64_MAX = 2**63 - 1
PROTOCOLS_KEY = "SupportedFileTransferProtocols"


# --- from the charge point --------------------------------------------------------------------------------------------
def diagnostics_status_notification(
    charge_point: ChargePoint, req: call.DiagnosticsStatusNotification, now: datetime
) -> call_result.DiagnosticsStatusNotification:
    """Answer DiagnosticsStatusNotification.req: keep the status, and with it the progress of the request it is about.

    Always `{}`, also Idle, in any order and without a request of ours.
    Source: OCPP 1.6 ed. 2, 4.4, 6.17, 6.18.
    """
    progress.diagnostics_reported(charge_point, str(req.status), now)
    return call_result.DiagnosticsStatusNotification()


def firmware_status_notification(
    charge_point: ChargePoint, req: call.FirmwareStatusNotification, now: datetime
) -> call_result.FirmwareStatusNotification:
    """Answer FirmwareStatusNotification.req: keep the status, and with it the progress of the update it is about.

    Always `{}`, also Idle, in any order, repeated, after a reboot and without a request of ours.
    Source: OCPP 1.6 ed. 2, 4.5, 6.21, 6.22; errata v4.0 3.47.
    """
    progress.firmware_reported(charge_point, str(req.status), now)
    return call_result.FirmwareStatusNotification()


# --- to the charge point ----------------------------------------------------------------------------------------------
def get_diagnostics_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a GetDiagnostics.req: a protocol the charge point has not named, a window that is none."""
    start, stop = parse_time(payload.get("startTime")), parse_time(payload.get("stopTime"))
    found = protocol_warnings(charge_point, payload)
    if start is not None and stop is not None and stop <= start:
        found.append(("empty_window", "stopTime is not after startTime."))
    return found


def get_diagnostics_queued(command: Command) -> None:
    """Make the LogRequest that the answer, the statuses and the file are going to belong to."""
    payload = command.payload
    LogRequest.objects.create(
        charge_point=command.charge_point,
        command=command,
        location=masked_url(str(payload["location"])),
        start_time=optional_time(payload.get("startTime")),
        stop_time=optional_time(payload.get("stopTime")),
        retries=optional_int64(payload.get("retries")),
        retry_interval_seconds=optional_int64(payload.get("retryInterval")),
        created_at=command.created_at,
    )


def get_diagnostics_conf(command: Command, conf: call_result.GetDiagnostics, now: datetime) -> None:
    """Keep the name of the file that will be delivered; without one there is nothing to deliver, which ends it.

    Source: OCPP 1.6 ed. 2, 5.9, 6.25, 6.26.
    """
    request = LogRequest.objects.filter(command=command).first()
    if request is None:
        return
    request.answered_at = now
    request.file_name = str(conf.file_name or "")[:255]
    request.save(update_fields=["answered_at", "file_name"])
    progress.supersede(request, now)
    if not request.file_name and not request.statuses.exists():
        progress.end(request, NOTHING_TO_UPLOAD, now)


def get_diagnostics_without_answer(command: Command, now: datetime) -> None:
    """End the request when it was refused or never sent; after silence its statuses may come all the same."""
    progress.ended_without_answer(LogRequest.objects.filter(command=command).first(), command, now)


def update_firmware_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about an UpdateFirmware.req: a protocol the charge point has not named."""
    return protocol_warnings(charge_point, payload)


def update_firmware_queued(command: Command) -> None:
    """Make the FirmwareUpdate that the statuses are going to belong to."""
    payload = command.payload
    FirmwareUpdate.objects.create(
        charge_point=command.charge_point,
        command=command,
        location=masked_url(str(payload["location"])),
        retrieve_date=optional_time(payload["retrieveDate"]),
        retries=optional_int64(payload.get("retries")),
        retry_interval_seconds=optional_int64(payload.get("retryInterval")),
        created_at=command.created_at,
    )


def update_firmware_conf(command: Command, conf: call_result.UpdateFirmware, now: datetime) -> None:
    """UpdateFirmware.conf says only that the request has arrived: statuses follow. It replaces an earlier update.

    Source: OCPP 1.6 ed. 2, 5.19, 6.55, 6.56; errata v4.0 3.49, 3.63.
    """
    update = FirmwareUpdate.objects.filter(command=command).first()
    if update is None:
        return
    update.answered_at = now
    update.save(update_fields=["answered_at"])
    progress.supersede(update, now)


def update_firmware_without_answer(command: Command, now: datetime) -> None:
    """End the update when it was refused or never sent; after silence its statuses may come all the same."""
    progress.ended_without_answer(FirmwareUpdate.objects.filter(command=command).first(), command, now)


def protocol_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """A warning when the charge point has told which protocols it can, and that of `location` is not among them."""
    row = ConfigurationKey.objects.filter(charge_point=charge_point, key=PROTOCOLS_KEY, known=True).first()
    known = [name.strip().upper() for name in (row.value or "").split(",") if name.strip()] if row is not None else []
    protocol = str(payload.get("location", "")).partition(":")[0].upper()
    if not known or protocol in known:
        return []
    return [("protocol_not_supported", f"The charge point has named {', '.join(known)}, not {protocol}.")]


def optional_time(text: object) -> datetime | None:
    """The instant of an optional member."""
    return parse_time(text) if text is not None else None


def optional_int64(value: object) -> int | None:
    """An optional number, as far as a column of 64 bits holds it."""
    return value if isinstance(value, int) and abs(value) <= INT64_MAX else None
