"""Requests for logs (GetLog): what REST and the admin ask for ends here, and from here in commands.enqueue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from csms.ocppj.times import format_time
from stations import file_exchange
from stations.diagnostics import send
from stations.models import ChargePoint, LogRequest


def request_log(
    charge_point: ChargePoint,
    requested_by: str,
    log_type: str,
    *,
    location: str = "",
    request_id: int | None = None,
    oldest: datetime | None = None,
    latest: datetime | None = None,
    retries: int | None = None,
    retry_interval_seconds: int | None = None,
    reason: str = "",
) -> LogRequest:
    """Queue GetLog to `location` exactly as given, or, when it is empty, to a URL of our own.

    `log_type` is DiagnosticsLog or SecurityLog. What is None is left out of the request; a requestId is then given by
    us. Raises CommandRefused.
    """
    token = file_exchange.new_token(file_exchange.UPLOAD)
    log: dict[str, Any] = {"remoteLocation": location or file_exchange.url_of(token)}
    for member, at in (("oldestTimestamp", oldest), ("latestTimestamp", latest)):
        if at is not None:
            log[member] = format_time(at, milliseconds=charge_point.send_milliseconds)
    payload: dict[str, Any] = {"log": log, "logType": log_type}
    numbers = (("requestId", request_id), ("retries", retries), ("retryInterval", retry_interval_seconds))
    payload |= {member: number for member, number in numbers if number is not None}
    return send(charge_point, "GetLog", payload, requested_by, token=None if location else token, reason=reason)
