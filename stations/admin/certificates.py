"""Certificates at a charge point's page: install, list, delete, renew, and the panel that shows what is where."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from stations.admin.actions import dialog, send
from stations.admin.dialogs import CommandForm, choice, number, text
from stations.certificates import expected, issuing, pem, roots
from stations.models import Certificate, CertificateRequest, ChargePoint, InstalledCertificate, RootCertificate
from stations.models.certificate import EXPIRED, CertificateState, CertificateType, RequestState
from tenants.admin.scoped import TenantModelAdmin
from tenants.display import badge

SHOWN = 10
CATALOGUE = 200
VARIANTS = {
    CertificateState.ISSUED: "plain", CertificateState.SENT: "active", CertificateState.ACCEPTED: "info",
    CertificateState.IN_USE: "success", CertificateState.REJECTED: "danger", CertificateState.REVOKED: "danger",
    EXPIRED: "warning", RequestState.RECEIVED: "active", RequestState.WAITING: "warning",
    RequestState.SIGNED: "success", RequestState.REPLACED: "plain", RequestState.FAILED: "danger",
    RequestState.CLOSED: "plain",
}  # fmt: skip
SENTENCES = {
    CertificateState.ISSUED: "Not sent to the charge point",
    CertificateState.SENT: "The charge point has not answered yet; it may come with it all the same",
    CertificateState.ACCEPTED: "Trusted, but not the one of the latest connection",
    CertificateState.IN_USE: "Shown at the latest connection",
    CertificateState.REJECTED: "The charge point refused it; what it had before stays trusted",
    CertificateState.REVOKED: "Never accepted again",
    EXPIRED: "No longer valid",
}


def certificate_badge(row: Certificate, now: datetime) -> SafeString:
    """The state of a certificate; what it means is in the tooltip."""
    state = row.state_at(now)
    return badge(state.replace("_", " "), VARIANTS.get(state, "plain"), SENTENCES.get(state, ""))


def request_badge(row: CertificateRequest) -> SafeString:
    """The state of a request; what is wrong with it is in the tooltip."""
    return badge(row.state, VARIANTS.get(row.state, "plain"), row.problem or dict(RequestState.choices)[row.state])


# --- dialogs ----------------------------------------------------------------------------------------------------------
class InstallCertificateForm(CommandForm):
    action = "InstallCertificate"
    title = "Install a root certificate"
    description = "One of the kept ones, or a PEM text. Odd certificates are sent too, with a warning."
    members = {"certificateType": "certificate_type", "certificate": "certificate"}
    root: forms.ModelChoiceField[RootCertificate] = forms.ModelChoiceField(
        label="Root certificate", queryset=None, required=False, empty_label="none: a PEM text",
        widget=UnfoldAdminSelectWidget(),
    )  # fmt: skip
    certificate_type = forms.ChoiceField(
        label="Type",
        required=False,
        choices=[("", "that of the root certificate"), *((each, each) for each in CertificateType.values)],
        widget=UnfoldAdminSelectWidget(),
    )
    certificate = text("PEM", required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}))
    field_order = ("root", "certificate_type", "certificate")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = RootCertificate.objects.order_by("-id").values_list("pk", flat=True)[:CATALOGUE]
        self.fields["root"].queryset = RootCertificate.objects.filter(pk__in=list(newest))

    def payload(self) -> dict[str, Any]:
        given = self.cleaned_data
        root = given.get("root")
        if root is not None:
            kind, pem_text = given.get("certificate_type") or root.certificate_type, root.certificate
        else:
            kind, pem_text = given.get("certificate_type"), pem.with_plain_line_ends(given.get("certificate", ""))
        return {"certificateType": kind, "certificate": pem_text}

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not self.errors and bool(given.get("root")) == bool(given.get("certificate", "").strip()):
            self.add_error("root", "Choose a root certificate, or paste a PEM text; not both.")
        if not self.errors and not given.get("root") and not given.get("certificate_type"):
            self.add_error("certificate_type", "Say which type it is.")
        return super().clean()


class ListCertificatesForm(CommandForm):
    action = "GetInstalledCertificateIds"
    title = "List root certificates"
    description = "What the charge point lists takes the place of what is shown here."
    members = {"certificateType": "certificate_type"}
    certificate_type = choice("Type", *CertificateType.values)


class DeleteCertificateForm(CommandForm):
    """DeleteCertificate with the hash data exactly as the charge point listed them."""

    action = "DeleteCertificate"
    title = "Delete a root certificate"
    description = "Only what the charge point has listed can be chosen: it must get its own words back."
    submit_text = "Delete it"
    certificate = forms.ChoiceField(label="Certificate", required=False, widget=UnfoldAdminSelectWidget())
    hash_data = text(
        "Or certificateHashData",
        required=False,
        help_text="JSON, sent as it is. Not used when a certificate is chosen.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    )
    sure = forms.BooleanField(
        label="I am sure",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Needed for the last root it has for us: over TLS it could never connect again.",
    )
    field_order = ("certificate", "hash_data", "sure")

    def suggest(self, charge_point: ChargePoint) -> None:
        rows = InstalledCertificate.objects.filter(charge_point=charge_point, hash_data__isnull=False)
        self.rows = {str(row.pk): row for row in rows[:CATALOGUE]}
        named = [(key, f"{row} ({row.certificate_type.removesuffix('Certificate')})") for key, row in self.rows.items()]
        self.fields["certificate"].choices = [("", "none: the JSON below"), *named]
        chosen = self.request.GET.get("certificate")
        if chosen in self.rows:
            self.fields["certificate"].initial = chosen

    def chosen_hash_data(self) -> Any:
        row = self.rows.get(self.cleaned_data.get("certificate", ""))
        if row is not None:
            return row.hash_data
        try:
            return json.loads(self.cleaned_data.get("hash_data") or "null")
        except ValueError:
            return None

    def payload(self) -> dict[str, Any]:
        return {"certificateHashData": self.chosen_hash_data()}

    def clean(self) -> dict[str, Any]:
        wanted = self.chosen_hash_data()
        if not isinstance(wanted, dict):
            self.add_error("certificate", "Choose a certificate, or give its hash data as a JSON object.")
            return self.cleaned_data
        if self.charge_point is not None and not self.cleaned_data.get("sure"):
            if roots.is_last_root(self.charge_point, wanted):
                self.add_error("sure", "This is the last root it has for us. Confirm that it shall go.")
        return super().clean()

    def _point_at(self, pointer: str, detail: str) -> None:
        self.add_error(None, f"{pointer.strip('/') or 'certificateHashData'} {detail.rstrip('.')}.")


class RenewCertificateForm(CommandForm):
    """ExtendedTriggerMessage for SignChargePointCertificate, without connectorId."""

    action = "ExtendedTriggerMessage"
    title = "Renew the client certificate"
    submit_text = "Renew it"

    def payload(self) -> dict[str, Any]:
        return dict(issuing.RENEWAL)

    def suggest(self, charge_point: ChargePoint) -> None:
        authority = expected.signing_authority()
        self.description = (
            "No authority signs requests: what the charge point asks for is going to be rejected."
            if authority is None
            else f"The charge point makes a new key and asks for a certificate, which {authority} signs."
        )


class ExtendedTriggerForm(CommandForm):
    action = "ExtendedTriggerMessage"
    title = "Trigger a message (security extension)"
    description = "The charge point answers first, then sends the message; both stand on the command's page."
    members = {"requestedMessage": "requested_message", "connectorId": "connector_id"}
    requested_message = choice(
        "Message",
        "BootNotification",
        "LogStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "SignChargePointCertificate",
        "StatusNotification",
    )
    connector_id = number("Connector", required=False, help_text="Empty: left out.")


class CertificateActions(TenantModelAdmin):
    """The certificate requests of the security extension, as buttons of a charge point's page."""

    certificate_menu = {
        "title": "Certificates",
        "icon": "workspace_premium",
        "items": [
            "renew_certificate", "install_certificate", "list_certificates", "delete_certificate", "extended_trigger",
        ],
    }  # fmt: skip

    @action(
        description="Renew client certificate",
        icon="autorenew",
        permissions=["operate"],
        url_path="renew-certificate",
        dialog=dialog(RenewCertificateForm),
    )
    def renew_certificate(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Install root certificate",
        icon="add_moderator",
        permissions=["operate"],
        url_path="install-certificate",
        dialog=dialog(InstallCertificateForm),
    )
    def install_certificate(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="List root certificates",
        icon="checklist",
        permissions=["operate"],
        url_path="list-certificates",
        dialog=dialog(ListCertificatesForm),
    )
    def list_certificates(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Delete root certificate",
        icon="remove_moderator",
        permissions=["operate"],
        url_path="delete-certificate",
        dialog=dialog(DeleteCertificateForm),
    )
    def delete_certificate(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Trigger message (security)",
        icon="notifications_active",
        permissions=["operate"],
        url_path="extended-trigger",
        dialog=dialog(ExtendedTriggerForm),
    )
    def extended_trigger(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)


def certificates_panel(charge_point: ChargePoint) -> dict[str, Any]:
    """The client certificates and requests of a charge point, and the roots that it has. Polled."""
    now = datetime.now(UTC)
    certificates = Certificate.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN]
    requests = CertificateRequest.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN]
    installed = InstalledCertificate.objects.filter(charge_point=charge_point).order_by("certificate_type", "id")
    return {
        "certificates": [(row, certificate_badge(row, now)) for row in certificates],
        "requests": [(row, request_badge(row)) for row in requests],
        "installed": installed[: SHOWN * 5],
        "serial_numbers": ", ".join(sorted(expected.serial_numbers(charge_point))),
    }
