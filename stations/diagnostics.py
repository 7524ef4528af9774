"""Requests for diagnostics: what REST and the admin ask for ends here, and from here in commands.enqueue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from csms.ocppj.times import format_time
from stations import commands, file_exchange
from stations.models import ChargePoint, LogRequest


def request_diagnostics(
    charge_point: ChargePoint,
    requested_by: str,
    *,
    location: str = "",
    start_time: datetime | None = None,
    stop_time: datetime | None = None,
    retries: int | None = None,
    retry_interval_seconds: int | None = None,
    reason: str = "",
) -> LogRequest:
    """Queue GetDiagnostics to `location` exactly as given, or, when it is empty, to a URL of our own.

    What is None is left out of the request. Raises CommandRefused.
    """
    token = file_exchange.new_token(file_exchange.UPLOAD)
    payload: dict[str, Any] = {"location": location or file_exchange.url_of(token)}
    for member, at in (("startTime", start_time), ("stopTime", stop_time)):
        if at is not None:
            payload[member] = format_time(at, milliseconds=charge_point.send_milliseconds)
    for member, number in (("retries", retries), ("retryInterval", retry_interval_seconds)):
        if number is not None:
            payload[member] = number
    return send(charge_point, "GetDiagnostics", payload, requested_by, token=None if location else token, reason=reason)


def send(
    charge_point: ChargePoint,
    action: str,
    payload: dict[str, Any],
    requested_by: str,
    *,
    token: str | None,
    reason: str,
) -> LogRequest:
    """Queue a request for an upload; with `token` the URL in `payload` is ours and becomes valid. CommandRefused."""
    with transaction.atomic():
        command = commands.enqueue(charge_point, action, payload, requested_by, reason=reason)
        request: LogRequest = LogRequest.objects.select_related("command", "charge_point").get(command=command)
        if token is not None:
            request.to_us = True
            request.save(update_fields=["to_us"])
            file_exchange.issue(token, command, log_request=request)
    return request
