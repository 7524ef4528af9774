"""Firmware in the admin: the images we keep, the updates asked for, and the buttons and the panel of a charge point."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from stations import diagnostics, firmware, firmware_signatures
from stations.admin.actions import command_url, dialog
from stations.admin.dialogs import CommandForm, number, text
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.display import UNKNOWN_STATUS, charge_point_link, shown_status
from stations.files.for_people import attachment
from stations.models import (
    ChargePoint,
    Command,
    DiagnosticsStatus,
    FirmwareImage,
    FirmwareStatus,
    FirmwareUpdate,
    LogRequest,
)
from stations.models.command import CommandStatus
from stations.models.firmware import (
    CANCELED,
    INVALID_CERTIFICATE,
    NOT_SENT,
    NOTHING_TO_UPLOAD,
    REFUSED,
    REQUESTED,
    REVOKED_CERTIFICATE,
    SUPERSEDED,
)
from stations.refusal import CommandRefused
from tenants.admin.scoped import LogAdmin, TenantModelAdmin
from tenants.display import DASH, badge, leave_dialog, moment

SHOWN = 10
SHOWN_STATUSES = 50
LATEST_IMAGES = 200
# What stands for our own URL while a dialog is checked; the real one is made when it is sent.
OUR_URL = "https://files.invalid/"
VARIANTS = {
    REQUESTED: "plain", REFUSED: "danger", NOT_SENT: "warning", SUPERSEDED: "plain", NOTHING_TO_UPLOAD: "warning",
    "Downloading": "active", "Downloaded": "info", "Installing": "active", "Installed": "success",
    "DownloadFailed": "danger", "InstallationFailed": "danger", "Uploading": "active", "Uploaded": "success",
    "UploadFailed": "danger", CANCELED: "plain", INVALID_CERTIFICATE: "danger", REVOKED_CERTIFICATE: "danger",
    "DownloadScheduled": "info", "DownloadPaused": "warning", "SignatureVerified": "info", "InstallScheduled": "info",
    "InstallRebooting": "active", "InvalidSignature": "danger", "InstallVerificationFailed": "danger",
    "BadMessage": "danger", "NotSupportedOperation": "danger", "PermissionDenied": "danger", "UploadFailure": "danger",
}  # fmt: skip
UNDELIVERED = "The charge point says Uploaded, but no file has come to us."
SENTENCES = {
    REQUESTED: "The charge point has not reported anything yet.",
    REFUSED: "The charge point refused the request.",
    NOT_SENT: "The request was withdrawn, or expired before it could be sent.",
    SUPERSEDED: "The charge point took a later request.",
    NOTHING_TO_UPLOAD: "The charge point named no file in its answer.",
    CANCELED: "The charge point canceled it for a later request.",
    INVALID_CERTIFICATE: "The charge point does not trust the signing certificate.",
    REVOKED_CERTIFICATE: "The charge point says that the signing certificate was revoked.",
}


def kind_of(row: FirmwareUpdate | LogRequest) -> str:
    """What was asked for: a signed or an unsigned update, diagnostics, or one of the logs."""
    if isinstance(row, FirmwareUpdate):
        return "signed" if row.signed else "unsigned"
    return row.log_type or "diagnostics"


def unix_lines(pem: str) -> str:
    """PEM as it goes on the wire: LF, without what a text area adds around it, with a final newline."""
    lines = pem.replace("\r\n", "\n").strip()
    return f"{lines}\n" if lines else ""


def one_line(base64: str) -> str:
    """A signature as it goes on the wire, however a text area has wrapped it."""
    return "".join(base64.split())


def progress_badge(row: FirmwareUpdate | LogRequest) -> SafeString:
    """The status of a request as a coloured word, with what it means."""
    if not row.status_known:
        return badge(shown_status(row), "warning", UNKNOWN_STATUS)
    if is_undelivered(row):
        return badge("Uploaded, not received", "warning", UNDELIVERED)
    return badge(row.status, VARIANTS.get(row.status, "plain"), SENTENCES.get(row.status, ""))


def is_undelivered(row: FirmwareUpdate | LogRequest) -> bool:
    """Whether the charge point says that it has delivered to us what has not come; `row` comes with its upload."""
    return isinstance(row, LogRequest) and row.to_us and row.status == "Uploaded" and not hasattr(row, "upload")


# --- dialogs ----------------------------------------------------------------------------------------------------------
class MomentInput(UnfoldAdminTextInputWidget):
    """A date with a time of day, to the second."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1"})

    def format_value(self, value: Any) -> Any:
        # The field has turned it into local time, without a zone.
        return value.strftime("%Y-%m-%dT%H:%M:%S") if isinstance(value, datetime) else value


def instant(label: str, *, required: bool = True, help_text: str = "") -> forms.DateTimeField:
    return forms.DateTimeField(label=label, required=required, help_text=help_text, widget=MomentInput())


class FileForm(CommandForm):
    """A request about a file, checked with a stand-in where the URL is going to be ours."""

    members = {"retries": "retries", "retryInterval": "retry_interval"}
    location = text("Free location", required=False, help_text="Sent exactly as typed; FTP, HTTP or any other URL.")
    retries = number("Retries", required=False, help_text="Additional attempts. Empty: left out.")
    retry_interval = number("Retry interval (s)", required=False, help_text="Empty: left out.")

    def payload(self) -> dict[str, Any]:
        """The request as it is going to be, but for our own URL."""
        return {"location": self.cleaned_data.get("location") or OUR_URL, **super().payload()}

    def common(self) -> dict[str, Any]:
        """What both verbs take."""
        return {
            "location": self.cleaned_data["location"],
            "retries": self.cleaned_data["retries"],
            "retry_interval_seconds": self.cleaned_data["retry_interval"],
        }

    def _point_at(self, pointer: str, detail: str) -> None:
        if pointer.startswith("/location"):
            self.add_error("location", f"location {detail}.")
        else:
            super()._point_at(pointer, detail)


class UpdateFirmwareForm(FileForm):
    action = "UpdateFirmware"
    title = "Update firmware"
    description = "An image of ours gets a URL for this charge point and this update alone."
    image: forms.ModelChoiceField[FirmwareImage] = forms.ModelChoiceField(
        label="Image",
        queryset=None,
        required=False,
        empty_label="none: a free location",
        widget=UnfoldAdminSelectWidget(),
    )
    retrieve_date = instant("Retrieve date", help_text="The earliest time to fetch it.")
    field_order: tuple[str, ...] = ("image", "location", "retrieve_date", "retries", "retry_interval")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = FirmwareImage.objects.order_by("-id").values_list("pk", flat=True)[:LATEST_IMAGES]
        self.fields["image"].queryset = FirmwareImage.objects.filter(pk__in=list(newest))
        self.fields["retrieve_date"].initial = timezone.now
        zone = timezone.get_current_timezone_name()
        self.fields["retrieve_date"].help_text = f"The earliest time to fetch it. Time zone: {zone}."

    def payload(self) -> dict[str, Any]:
        return {**super().payload(), "retrieveDate": "2026-01-01T00:00:00.000Z"}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors and bool(cleaned.get("image")) == bool(cleaned.get("location")):
            self.add_error("image", "Choose an image, or type a location; not both.")
        return cleaned

    def ask(self, charge_point: ChargePoint, by: str) -> FirmwareUpdate:
        values = self.cleaned_data
        return firmware.request_update(
            charge_point, by, image=values["image"], retrieve_date=values["retrieve_date"], **self.common()
        )


class GetDiagnosticsForm(FileForm):
    action = "GetDiagnostics"
    title = "Get diagnostics"
    description = "Without a location the charge point delivers to us; the file is then found here."
    start_time = instant("From", required=False, help_text="Empty: left out.")
    stop_time = instant("To", required=False, help_text="Empty: left out.")
    field_order = ("location", "start_time", "stop_time", "retries", "retry_interval")

    def ask(self, charge_point: ChargePoint, by: str) -> LogRequest:
        values = self.cleaned_data
        return diagnostics.request_diagnostics(
            charge_point, by, start_time=values["start_time"], stop_time=values["stop_time"], **self.common()
        )


class FirmwareActions(TenantModelAdmin):
    """The requests of the Firmware Management profile, as buttons of a charge point's page."""

    firmware_menu = {
        "title": "Firmware",
        "icon": "system_update_alt",
        # The last two are of stations/admin/security_requests.py.
        "items": ["update_firmware", "get_diagnostics", "signed_update_firmware", "get_log"],
    }

    @action(
        description="Update firmware",
        icon="system_update_alt",
        permissions=["operate"],
        url_path="update-firmware",
        dialog=dialog(UpdateFirmwareForm),
    )
    def update_firmware(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return ask(request, form, form.ask)

    @action(
        description="Get diagnostics",
        icon="troubleshoot",
        permissions=["operate"],
        url_path="get-diagnostics",
        dialog=dialog(GetDiagnosticsForm),
    )
    def get_diagnostics(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return ask(request, form, form.ask)


def ask(request: HttpRequest, form: Any, verb: Callable[[ChargePoint, str], Any]) -> HttpResponse:
    """Queue what a valid dialog asks for and go to the command's page; a refusal is shown in the dialog."""
    try:
        row = verb(form.charge_point, request.user.get_username())
    except CommandRefused as refused:
        form.refuse(refused)
        context = {"dialog": dialog(type(form)), "form": form, "form_submit_text": form.submit_text}
        return render(request, "unfold/helpers/dialog.html", context)
    return leave_dialog(request, command_url(row.command))


# --- the panel of a charge point --------------------------------------------------------------------------------------
def firmware_panel(charge_point: ChargePoint) -> dict[str, Any]:
    """The newest updates and requests for diagnostics, each with its statuses as they came. Polled."""
    updates = FirmwareUpdate.objects.filter(charge_point=charge_point).select_related("image", "url", "command")
    requests = LogRequest.objects.filter(charge_point=charge_point).select_related("upload", "url", "command")
    unasked = [
        ("Firmware", row)
        for row in FirmwareStatus.objects.filter(charge_point=charge_point, update=None).order_by("-id")[:SHOWN]
    ] + [
        ("Diagnostics", row)
        for row in DiagnosticsStatus.objects.filter(charge_point=charge_point, request=None).order_by("-id")[:SHOWN]
    ]
    return {
        "updates": [_shown(update) for update in updates.order_by("-id")[:SHOWN]],
        "requests": [_shown(request) for request in requests.order_by("-id")[:SHOWN]],
        "signed_only": takes_signed_updates_only(charge_point),
        "unasked": sorted(unasked, key=lambda pair: pair[1].received_at, reverse=True)[:SHOWN],
    }


def takes_signed_updates_only(charge_point: ChargePoint) -> bool:
    """Whether it answered its latest UpdateFirmware with NotSupported (security whitepaper, L01.FR.20)."""
    answered = Command.objects.filter(charge_point=charge_point, action="UpdateFirmware", answered_at__isnull=False)
    latest = answered.order_by("-id").first()
    if latest is None or latest.status != CommandStatus.ERROR:
        return False
    return (latest.error or {}).get("code") in ("NotSupported", "NotImplemented")


def _shown(row: FirmwareUpdate | LogRequest) -> dict[str, Any]:
    statuses = list(row.statuses.order_by("-id")[:SHOWN_STATUSES])[::-1]
    delivered = None
    url = getattr(row, "url", None)
    if isinstance(row, FirmwareUpdate) and url is not None and row.image is not None:
        delivered = f"{filesizeformat(url.delivered_bytes)} of {filesizeformat(row.image.size)}"
    return {
        "row": row,
        "kind": kind_of(row),
        # Not what was said of the connection at the time.
        "warnings": [
            warning
            for warning in (row.command.warnings if row.command is not None else [])
            if not warning["code"].startswith("charge_point_")
        ],
        "badge": progress_badge(row),
        "statuses": statuses,
        "delivered": delivered,
        "upload": getattr(row, "upload", None),
        "undelivered": is_undelivered(row),
    }


# --- images -----------------------------------------------------------------------------------------------------------
class FirmwareImageForm(forms.ModelForm):
    class Meta:
        model = FirmwareImage
        fields = (
            "file", "name", "version", "vendor", "model", "description", "signature", "signing_certificate",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields and self.instance.pk is None:
            self.fields["name"].required = False
            self.fields["name"].help_text += " Empty: that of the file."

    def clean_signature(self) -> str:
        return one_line(self.cleaned_data["signature"])

    def clean_signing_certificate(self) -> str:
        return unix_lines(self.cleaned_data["signing_certificate"])

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if not file.size:
            raise ValidationError("The file is empty.")
        if file.size > settings.CSMS_IMAGE_LIMIT_BYTES:
            raise ValidationError(f"The file has more than {filesizeformat(settings.CSMS_IMAGE_LIMIT_BYTES)}.")
        return file


@admin.register(FirmwareImage)
class FirmwareImageAdmin(TenantModelAdmin):
    form = FirmwareImageForm
    list_display = ("name", "version", "hardware", "file_size", "created_by", "created_at", "download")
    search_fields = ("name", "version", "vendor", "model", "description")
    search_help_text = "Name, version, vendor, model"
    readonly_fields = ("file_size", "sha256", "download", "created_by", "created_at", "signature_check")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        checked = ("signature_check",) if obj is not None and obj.signature else ()
        kept = ("file_size", "sha256", "download", "created_by", "created_at") if obj is not None else ()
        return [
            (None, {"fields": (*(() if obj is not None else ("file",)), "name", "version", "description")}),
            ("Meant for", {"fields": ("vendor", "model")}),
            ("Signed update", {"fields": ("signature", "signing_certificate", *checked), "classes": ("collapse",)}),
            *([("File", {"fields": kept})] if kept else []),
        ]

    def save_row(self, obj: FirmwareImage, form: forms.BaseForm) -> None:
        if obj.pk is not None:
            obj.save()
            return
        members = {name: value for name, value in form.cleaned_data.items() if name != "file"}
        stored = firmware.add_image(form.cleaned_data["file"], obj.created_by, **members)
        # The form's own row has become that one.
        obj.__dict__.update(stored.__dict__)

    def save_model(self, request: Any, obj: FirmwareImage, form: forms.BaseForm, change: bool) -> None:
        if not change:
            obj.created_by = request.user.get_username()
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or not obj.in_use)

    def get_actions(self, request: HttpRequest) -> Any:
        # One by one, so that none goes that an update still needs.
        return {name: found for name, found in super().get_actions(request).items() if name != "delete_selected"}

    @display(description="Meant for")
    def hardware(self, image: FirmwareImage) -> str:
        return f"{image.vendor} {image.model}".strip() or "any"

    @display(description="Size", ordering="size")
    def file_size(self, image: FirmwareImage) -> str:
        return filesizeformat(image.size)

    @display(description="Our own check")
    def signature_check(self, image: FirmwareImage) -> str:
        pem, signature = image.signing_certificate, image.signature
        found = firmware_signatures.certificate_warnings(pem, timezone.now())
        found += firmware_signatures.file_warnings(pem, signature, image.sha256)
        scheme = firmware_signatures.scheme_of(pem, signature, image.sha256)
        return " ".join(sentence for _, sentence in found) or f"The signature is right: {scheme} with SHA-256."

    @display(description="File")
    def download(self, image: FirmwareImage) -> SafeString | str:
        if image.pk is None:
            return DASH
        url = reverse("admin:stations_firmwareimage_file", args=[image.pk])
        return format_html('<a class="csms-link" href="{}">Download</a>', url)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.file_view)
        return [path("<int:object_id>/file/", view, name="stations_firmwareimage_file"), *super().get_urls()]

    def file_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """The image itself, as an attachment."""
        image = self.get_object(request, str(object_id))
        response = attachment(image.file, image.name, image.size) if self.has_view_permission(request, image) else None
        if response is None:
            raise Http404("There is no such file.")
        return response


# --- updates ----------------------------------------------------------------------------------------------------------
@admin.register(FirmwareUpdate)
class FirmwareUpdateAdmin(LogAdmin):
    site_path = "charge_point__site"
    list_display: tuple[str, ...] = (
        "created", "station", "progress", "kind", "installs", "fetched", "retrieve", "ended",
    )  # fmt: skip
    list_display_links = ("created",)
    list_select_related: tuple[str, ...] = ("charge_point", "image", "url")
    list_filter: tuple[Any, ...] = ("status", "signed", ChosenChargePoint)
    search_fields = ("charge_point__identity",)
    search_help_text = "Identity of the charge point"
    change_form_template = "admin/stations/transfer/change_form.html"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(charge_point__in=charge_points_called(search_term)), False

    @display(description="Requested")
    def created(self, row: Any) -> Any:
        return moment(row.created_at)

    @display(description="Charge point")
    def station(self, row: Any) -> Any:
        return charge_point_link(row.charge_point)

    @display(description="Status")
    def progress(self, row: Any) -> SafeString:
        return progress_badge(row)

    @display(description="Kind")
    def kind(self, row: Any) -> str:
        return kind_of(row)

    @display(description="Installs")
    def installs(self, update: FirmwareUpdate) -> str:
        return update.version or (update.image.name if update.image is not None else update.location[:80])

    @display(description="Fetched from us")
    def fetched(self, update: FirmwareUpdate) -> str:
        return _shown_delivered(update)

    @display(description="Retrieve date")
    def retrieve(self, update: FirmwareUpdate) -> Any:
        return moment(update.retrieve_date)

    @display(description="Ended")
    def ended(self, row: Any) -> Any:
        return moment(row.finished_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        extra = {**_shown(row), "title": f"{row} of {row.charge_point}", "subtitle": None}
        extra |= {"station": charge_point_link(row.charge_point), "sentence": SENTENCES.get(row.status, "")}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})


def _shown_delivered(update: FirmwareUpdate) -> str:
    url = getattr(update, "url", None)
    return (
        DASH
        if url is None or update.image is None
        else (f"{filesizeformat(url.delivered_bytes)} of {filesizeformat(update.image.size)}")
    )
