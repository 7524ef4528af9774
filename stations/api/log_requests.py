"""`logs/`: requests for security and diagnostics logs (GetLog), their progress, and the files that came of them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations import log_requests
from stations.api import schemas
from stations.api.diagnostics import UploadRequests, file_json
from stations.api.filters import MAX_INT32
from stations.api.firmware import charge_point_named, refused, with_statuses
from stations.models import LogRequest
from stations.refusal import CommandRefused
from tenants.api.fields import Instant, Integer, Text
from tenants.api.permissions import caller_name
from tenants.api.views import StrictSerializer

LOG_TYPES = ("DiagnosticsLog", "SecurityLog")


class LogWrite(StrictSerializer):
    """A GetLog: to a location exactly as given, or to us when there is none. What is absent is not sent."""

    charge_point = Text(max_length=48)
    log_type = serializers.ChoiceField(choices=LOG_TYPES)
    location = Text(max_length=2000, required=False, default="")
    request_id = Integer(
        min_value=-(2**31), max_value=MAX_INT32, required=False, help_text="Given by us when it is absent."
    )
    oldest = Instant(required=False, help_text="oldestTimestamp.")
    latest = Instant(required=False, help_text="latestTimestamp.")
    retries = Integer(min_value=0, max_value=MAX_INT32, required=False)
    retry_interval = Integer(min_value=0, max_value=MAX_INT32, required=False, help_text="Seconds.")
    reason = Text(max_length=500, required=False, default="", allow_blank=True)


def log_json(request: LogRequest) -> dict[str, Any]:
    """The resource as lists have it; `request` comes with its charge point, command, URL and upload."""
    url = getattr(request, "url", None)
    return {
        "id": request.pk,
        "charge_point": request.charge_point.identity,
        "log_type": request.log_type,
        "request_id": request.request_id,
        "location": request.location,
        "to_us": request.to_us,
        "oldest": request.start_time,
        "latest": request.stop_time,
        "retries": request.retries,
        "retry_interval": request.retry_interval_seconds,
        "file_name": request.file_name,
        "status": request.status,
        "status_known": request.status_known,
        "status_at": request.status_at,
        "final": request.is_final,
        "file": file_json(request),
        "url_expires_at": None if url is None else url.expires_at,
        "command": request.command_id,
        "warnings": [] if request.command is None else request.command.warnings,
        "created_at": request.created_at,
        "answered_at": request.answered_at,
        "finished_at": request.finished_at,
    }


class _Logs(UploadRequests):
    logs = True
    missing = "There is no such request for a log."


class LogList(_Logs):
    query_parameters = frozenset({"charge_point"})
    paginated = True

    @extend_schema(
        operation_id="logs_list",
        summary="Requests for logs, newest first",
        parameters=schemas.query("charge_point"),
        responses={200: schemas.page_of(schemas.LOG_REQUEST)},
    )
    def get(self, request: Request) -> Response:
        return self.page(self.listed(request), log_json)

    @extend_schema(
        operation_id="logs_create",
        summary="Ask a charge point for a log (GetLog)",
        description="Without a location it comes to us, by a URL for this charge point and this request alone.",
        request=LogWrite,
        responses={202: schemas.LOG_REQUEST},
    )
    def post(self, request: Request) -> Response:
        body = self.validated(LogWrite)
        try:
            made = log_requests.request_log(
                charge_point_named(self, body["charge_point"]),
                caller_name(request),
                body["log_type"],
                location=body["location"],
                request_id=body.get("request_id"),
                oldest=body.get("oldest"),
                latest=body.get("latest"),
                retries=body.get("retries"),
                retry_interval_seconds=body.get("retry_interval"),
                reason=body["reason"],
            )
        except CommandRefused as error:
            raise refused(error) from None
        data = with_statuses(log_json(self.one(made.pk)), made.statuses.all())
        return self.created(data, reverse("api:log", args=[made.pk]), status=202)


class LogDetail(_Logs):
    @extend_schema(
        operation_id="logs_read",
        summary="One request for a log with every status reported",
        responses={200: schemas.LOG_REQUEST},
    )
    def get(self, request: Request, pk: int) -> Response:
        found = self.one(pk)
        return Response(with_statuses(log_json(found), found.statuses.all()))


class LogFile(_Logs):
    @extend_schema(
        operation_id="logs_download",
        summary="The log that the charge point delivered to us",
        responses={(200, "application/octet-stream"): schemas.BINARY},
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        return self.file_of(pk)
