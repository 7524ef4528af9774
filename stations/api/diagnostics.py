"""`diagnostics/`: requests for diagnostics, their progress, and the files that came of them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import diagnostics
from stations.api import schemas
from stations.api.filters import MAX_INT32
from stations.api.firmware import charge_point_named, refused, with_statuses
from stations.api.visibility import at_sites_of
from stations.files.for_people import attachment
from stations.models import LogRequest
from stations.refusal import CommandRefused
from tenants.api.fields import Instant, Integer, Text
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope


class DiagnosticsWrite(StrictSerializer):
    """A GetDiagnostics: to a location exactly as given, or to us when there is none. What is absent is not sent."""

    charge_point = Text(max_length=48)
    location = Text(max_length=2000, required=False, default="")
    start_time = Instant(required=False)
    stop_time = Instant(required=False)
    retries = Integer(min_value=0, max_value=MAX_INT32, required=False)
    retry_interval = Integer(min_value=0, max_value=MAX_INT32, required=False, help_text="Seconds.")
    reason = Text(max_length=500, required=False, default="", allow_blank=True)


def file_json(request: LogRequest) -> dict[str, Any] | None:
    """The file that came to us, if one did."""
    upload = getattr(request, "upload", None)
    if upload is None:
        return None
    return {name: getattr(upload, name) for name in ("name", "content_type", "size", "sha256", "received_at")}


def diagnostics_json(request: LogRequest) -> dict[str, Any]:
    """The resource as lists have it; `request` comes with its charge point, command, URL and upload."""
    url = getattr(request, "url", None)
    return {
        "id": request.pk,
        "charge_point": request.charge_point.identity,
        "location": request.location,
        "to_us": request.to_us,
        "start_time": request.start_time,
        "stop_time": request.stop_time,
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


class UploadRequests(TenantAPIView):
    """Requests for what a charge point delivers: diagnostics, or, where `logs` says so, the logs of GetLog."""

    write_scope = ApiScope.OPERATE
    logs = False
    missing = "There is no such request for diagnostics."

    def rows(self) -> QuerySet[LogRequest]:
        rows = LogRequest.objects.exclude(log_type="") if self.logs else LogRequest.objects.filter(log_type="")
        return at_sites_of(
            self, rows.select_related("charge_point", "command", "url", "upload"), "charge_point__site_id"
        )

    def listed(self, request: Request) -> QuerySet[LogRequest]:
        """The rows of a list, of one charge point where the request names it."""
        rows = self.rows()
        if "charge_point" in request.query_params:
            rows = rows.filter(charge_point__identity=request.query_params["charge_point"])
        return rows

    def one(self, pk: int) -> LogRequest:
        request = self.rows().filter(pk=pk).first()
        if request is None:
            raise Problem(404, "not_found", self.missing)
        return request

    def file_of(self, pk: int) -> HttpResponseBase:
        """The file that came to us, as a download; 404 while there is none."""
        upload = getattr(self.one(pk), "upload", None)
        response = None if upload is None else attachment(upload.file, upload.name, upload.size)
        if response is None:
            raise Problem(404, "no_file", "No file has come to us.")
        return response


class DiagnosticsList(UploadRequests):
    query_parameters = frozenset({"charge_point"})
    paginated = True

    @extend_schema(
        operation_id="diagnostics_list",
        summary="Requests for diagnostics, newest first",
        parameters=schemas.query("charge_point"),
        responses={200: schemas.page_of(schemas.DIAGNOSTICS)},
    )
    def get(self, request: Request) -> Response:
        return self.page(self.listed(request), diagnostics_json)

    @extend_schema(
        operation_id="diagnostics_create",
        summary="Ask a charge point for its diagnostics (GetDiagnostics)",
        description="Without a location they come to us, by a URL for this charge point and this request alone.",
        request=DiagnosticsWrite,
        responses={202: schemas.DIAGNOSTICS},
    )
    def post(self, request: Request) -> Response:
        body = self.validated(DiagnosticsWrite)
        try:
            made = diagnostics.request_diagnostics(
                charge_point_named(self, body["charge_point"]),
                caller_name(request),
                location=body["location"],
                start_time=body.get("start_time"),
                stop_time=body.get("stop_time"),
                retries=body.get("retries"),
                retry_interval_seconds=body.get("retry_interval"),
                reason=body["reason"],
            )
        except CommandRefused as error:
            raise refused(error) from None
        data = with_statuses(diagnostics_json(self.one(made.pk)), made.statuses.all())
        return self.created(data, reverse("api:diagnostics", args=[made.pk]), status=202)


class DiagnosticsDetail(UploadRequests):
    @extend_schema(
        operation_id="diagnostics_read",
        summary="One request for diagnostics with every status reported",
        responses={200: schemas.DIAGNOSTICS},
    )
    def get(self, request: Request, pk: int) -> Response:
        found = self.one(pk)
        return Response(with_statuses(diagnostics_json(found), found.statuses.all()))


class DiagnosticsFile(UploadRequests):
    @extend_schema(
        operation_id="diagnostics_download",
        summary="The file that the charge point delivered to us",
        responses={(200, "application/octet-stream"): schemas.BINARY},
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        return self.file_of(pk)
