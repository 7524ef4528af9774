"""GetLog and SignedUpdateFirmware as dialogs of a charge point's page, every member set or left out."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget

from stations import log_requests, signed_firmware
from stations.admin.actions import dialog
from stations.admin.dialogs import choice, number, text
from stations.admin.firmware import OUR_URL, FileForm, UpdateFirmwareForm, ask, instant, one_line, unix_lines
from stations.models import ChargePoint, FirmwareUpdate, LogRequest
from tenants.admin.scoped import TenantModelAdmin

REQUEST_ID_HELP = "Empty: given by us. The charge point repeats it in its statuses."


class GetLogForm(FileForm):
    action = "GetLog"
    title = "Get log"
    description = "Without a location the charge point delivers to us; the file is then found here."
    members = {**FileForm.members, "requestId": "request_id", "logType": "log_type"}
    log_type = choice("Log", "SecurityLog", "DiagnosticsLog")
    request_id = number("Request id", required=False, help_text=REQUEST_ID_HELP)
    oldest = instant("From", required=False, help_text="oldestTimestamp. Empty: left out.")
    latest = instant("To", required=False, help_text="latestTimestamp. Empty: left out.")
    field_order = ("log_type", "location", "oldest", "latest", "retries", "retry_interval", "request_id")

    def payload(self) -> dict[str, Any]:
        """The request as it is going to be, but for our own URL, the times and a requestId of ours."""
        given = super().payload()
        location = given.pop("location")
        return {"requestId": 0, **given, "log": {"remoteLocation": location}}

    def ask(self, charge_point: ChargePoint, by: str) -> LogRequest:
        values = self.cleaned_data
        return log_requests.request_log(
            charge_point,
            by,
            values["log_type"],
            request_id=values["request_id"],
            oldest=values["oldest"],
            latest=values["latest"],
            **self.common(),
        )

    def _point_at(self, pointer: str, detail: str) -> None:
        super()._point_at(pointer.replace("/log/remoteLocation", "/location"), detail)


class SignedUpdateFirmwareForm(UpdateFirmwareForm):
    action = "SignedUpdateFirmware"
    title = "Signed firmware update"
    description = (
        "An image of ours gets a URL for this charge point and this update alone, and brings its own signature and "
        "certificate. What does not fit is a warning of the command; it is sent all the same."
    )
    members = {**FileForm.members, "requestId": "request_id"}
    retrieve_date = instant("Retrieve date", help_text="The earliest time to fetch it.")
    install_date = instant("Install date", required=False, help_text="When to install it. Empty: left out.")
    signature = text(
        "Signature",
        required=False,
        help_text="Base64, at most 800 characters. Empty: that of the image.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    signing_certificate = text(
        "Signing certificate",
        required=False,
        help_text="PEM. Empty: that of the image.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    )
    request_id = number("Request id", required=False, help_text=REQUEST_ID_HELP)
    field_order = (
        "image", "location", "signature", "signing_certificate", "retrieve_date", "install_date", "retries",
        "retry_interval", "request_id",
    )  # fmt: skip

    def clean_signature(self) -> str:
        return one_line(self.cleaned_data["signature"])

    def clean_signing_certificate(self) -> str:
        return unix_lines(self.cleaned_data["signing_certificate"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for name in ("signature", "signing_certificate"):
            if not self.errors and not cleaned.get(name) and not getattr(cleaned.get("image"), name, ""):
                self.add_error(name, "A signed update needs it, and the image has none.")
        return cleaned

    def payload(self) -> dict[str, Any]:
        """The request as it is going to be, but for our own URL, the times and what comes from the image."""
        given = super().payload()
        given.pop("retrieveDate")
        firmware = {
            "location": given.pop("location", OUR_URL),
            "retrieveDateTime": "2026-01-01T00:00:00.000Z",
            "signingCertificate": self.cleaned_data.get("signing_certificate") or "",
            "signature": self.cleaned_data.get("signature") or "",
        }
        return {"requestId": 0, **given, "firmware": firmware}

    def ask(self, charge_point: ChargePoint, by: str) -> FirmwareUpdate:
        values = self.cleaned_data
        return signed_firmware.request_signed_update(
            charge_point,
            by,
            image=values["image"],
            retrieve_date=values["retrieve_date"],
            install_date=values["install_date"],
            signature=values["signature"],
            signing_certificate=values["signing_certificate"],
            request_id=values["request_id"],
            **self.common(),
        )

    def _point_at(self, pointer: str, detail: str) -> None:
        member = pointer.removeprefix("/firmware/").partition("/")[0]
        names = {"signature": "signature", "signingCertificate": "signing_certificate", "location": "location"}
        if member in names:
            self.add_error(names[member], f"{member} {detail.rstrip('.')}.")
        else:
            super()._point_at(pointer, detail)


class SecurityRequestActions(TenantModelAdmin):
    """The requests for logs and for signed updates, as buttons of a charge point's page."""

    @action(
        description="Get log",
        icon="policy",
        permissions=["operate"],
        url_path="get-log",
        dialog=dialog(GetLogForm),
    )
    def get_log(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return ask(request, form, form.ask)

    @action(
        description="Signed firmware update",
        icon="verified",
        permissions=["operate"],
        url_path="signed-update-firmware",
        dialog=dialog(SignedUpdateFirmwareForm),
    )
    def signed_update_firmware(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return ask(request, form, form.ask)
