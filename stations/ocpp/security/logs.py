"""Logs that charge points deliver: GetLog, the security extension's successor of GetDiagnostics.

From the charge point: LogStatusNotification. To the charge point: GetLog. The rows are LogRequest, as for
GetDiagnostics; which of them a status belongs to stands in stations/progress.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ocpp.v16 import call, call_result

from csms.ocppj.times import parse_time
from stations import progress
from stations.masking import masked_url
from stations.models import ChargePoint, Command, LogRequest, RequestNumber
from stations.models.firmware import CANCELED, REFUSED
from stations.ocpp.firmware_management import optional_int64, optional_time, protocol_warnings


# --- from the charge point --------------------------------------------------------------------------------------------
def log_status_notification(
    charge_point: ChargePoint, req: call.LogStatusNotification, now: datetime
) -> call_result.LogStatusNotification:
    """Answer LogStatusNotification.req: keep the status, and with it the progress of the request it is about.

    Always `{}`, also Idle, in any order, and with a requestId that is absent or not ours.
    Source: Improved security for OCPP 1.6-J ed. 3, N01.FR.07-12, 5.11.
    """
    progress.log_reported(charge_point, str(req.status), req.request_id, now)
    return call_result.LogStatusNotification()


# --- to the charge point ----------------------------------------------------------------------------------------------
def get_log_complete(charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
    """Give the request a requestId that this charge point has not had, unless it has one."""
    return RequestNumber.objects.completed(charge_point, payload)


def get_log_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a GetLog.req: protocol, window, a requestId that was used before."""
    log = payload["log"]
    found = protocol_warnings(charge_point, {"location": log["remoteLocation"]})
    oldest, latest = parse_time(log.get("oldestTimestamp")), parse_time(log.get("latestTimestamp"))
    if oldest is not None and latest is not None and latest <= oldest:
        found.append(("empty_window", "latestTimestamp is not after oldestTimestamp."))
    request_id = optional_int64(payload["requestId"])
    if LogRequest.objects.filter(charge_point=charge_point, request_id=request_id, log_type__gt="").exists():
        found.append(("request_id_used", "An earlier GetLog had this requestId; its statuses cannot be told apart."))
    return found


def get_log_queued(command: Command) -> None:
    """Make the LogRequest that the answer, the statuses and the file are going to belong to."""
    payload = command.payload
    log = payload["log"]
    LogRequest.objects.create(
        charge_point=command.charge_point,
        command=command,
        log_type=payload["logType"],
        request_id=optional_int64(payload["requestId"]),
        location=masked_url(str(log["remoteLocation"])),
        start_time=optional_time(log.get("oldestTimestamp")),
        stop_time=optional_time(log.get("latestTimestamp")),
        retries=optional_int64(payload.get("retries")),
        retry_interval_seconds=optional_int64(payload.get("retryInterval")),
        created_at=command.created_at,
    )


def get_log_conf(command: Command, conf: call_result.GetLog, now: datetime) -> None:
    """Keep the name of the file that will be delivered; AcceptedCanceled ends the request before, Rejected this one.

    After Accepted an earlier request goes on: the statuses say by their requestId which of them they are about.
    Source: Improved security for OCPP 1.6-J ed. 3, N01.FR.01-04, N01.FR.11, 5.7.
    """
    request = LogRequest.objects.filter(command=command).first()
    if request is None:
        return
    request.answered_at = now
    request.file_name = str(conf.filename or "")[:255]
    request.save(update_fields=["answered_at", "file_name"])
    if conf.status == "AcceptedCanceled":
        progress.supersede(request, now, CANCELED)
    elif conf.status != "Accepted" and not request.is_final:
        progress.end(request, REFUSED, now)


def get_log_without_answer(command: Command, now: datetime) -> None:
    """End the request when it was refused or never sent; after silence its statuses may come all the same."""
    progress.ended_without_answer(LogRequest.objects.filter(command=command).first(), command, now)
