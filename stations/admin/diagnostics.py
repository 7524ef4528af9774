"""Requests for diagnostics in the admin, and the files that charge points delivered."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from stations.admin.filters import ChosenChargePoint
from stations.admin.firmware import FirmwareUpdateAdmin, is_undelivered
from stations.files.for_people import attachment
from stations.models import LogRequest
from tenants.display import DASH


class LogTypeFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "log_type"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("diagnostics", "diagnostics"), ("DiagnosticsLog", "DiagnosticsLog"), ("SecurityLog", "SecurityLog")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(log_type="" if value == "diagnostics" else value) if value else queryset


@admin.register(LogRequest)
class LogRequestAdmin(FirmwareUpdateAdmin):
    """As the list of updates, with the file instead of the image."""

    list_display = ("created", "station", "progress", "kind", "file_name", "delivered", "ended")
    list_filter = ("status", LogTypeFilter, ChosenChargePoint)
    list_select_related = ("charge_point", "upload", "url")

    @display(description="Delivered to us")
    def delivered(self, request: LogRequest) -> SafeString | str:
        upload = getattr(request, "upload", None)
        if upload is None:
            return "nothing" if is_undelivered(request) else DASH
        url = reverse("admin:stations_logrequest_file", args=[request.pk])
        return format_html('<a class="csms-link" href="{}">{}</a> {}', url, upload.name, filesizeformat(upload.size))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.file_view)
        return [path("<int:object_id>/file/", view, name="stations_logrequest_file"), *super().get_urls()]

    def file_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """What the charge point delivered, as an attachment."""
        row = self.get_object(request, str(object_id))
        upload = getattr(row, "upload", None) if self.has_view_permission(request, row) else None
        response = None if upload is None else attachment(upload.file, upload.name, upload.size)
        if response is None:
            raise Http404("There is no such file.")
        return response
