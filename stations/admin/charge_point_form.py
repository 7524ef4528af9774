"""Creating and editing a charge point: its identity, its password (made or typed, shown once), its URL."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from stations import credentials, registration
from stations.models import ChargePoint
from tenants.admin.scoped import ConfirmForm
from tenants.models import Tenant

RULES = "16 to 20 characters, or 32 to 40 hexadecimal digits. Empty: one is made. It is shown once, after saving."
TOLERANCES = (
    "strict",
    "assume_ocpp16",
    "accept_hexadecimal_password",
    "accept_any_id_tag",
    "send_milliseconds",
    "time_zone",
    "heartbeat_interval_seconds",
    "call_timeout_seconds",
)


def password_field(help_text: str) -> forms.CharField:
    return forms.CharField(
        required=False,
        strip=False,
        max_length=40,
        help_text=help_text,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


def checked_password(typed: str, tenant: Tenant | None = None) -> str:
    """`typed`, if OCPP allows it as a password, or `tenant` does; ValidationError if not."""
    if typed:
        try:
            if tenant is None:
                credentials.canonical(typed)
            else:
                registration.check_password(typed, tenant)
        except credentials.InvalidPassword as error:
            raise ValidationError(str(error)) from error
    return typed


def give_password(charge_point: ChargePoint, typed: str) -> str:
    """Give `charge_point` (not saved here) the typed password, or a new one; returns it, to be shown once."""
    if typed:
        registration.set_password(charge_point, typed)
        return typed
    return registration.make_password(charge_point)


def warn_of_weak(request: HttpRequest, password: str) -> None:
    """Say it where a password is weaker than OCPP allows."""
    if credentials.is_weak(password):
        messages.warning(request, registration.WEAK_PASSWORD["detail"])


class ChargePointForm(forms.ModelForm):
    """`password` is asked for a new charge point only; later there is "New password" under Security."""

    request: Any = None
    password = password_field(RULES)

    class Meta:
        model = ChargePoint
        fields = (
            "identity",
            "description",
            "site",
            "registration_status",
            "disabled",
            "security_profile",
            "exact_security_profile",
            "serial_number",
            *TOLERANCES,
        )
        labels = {
            "assume_ocpp16": "Assume OCPP 1.6",
            "exact_security_profile": "Exactly this security profile",
            "heartbeat_interval_seconds": "Heartbeat interval (seconds)",
            "call_timeout_seconds": "Time to answer our requests (seconds)",
        }
        help_texts = {
            "heartbeat_interval_seconds": "Empty: as the tenant's settings say.",
            "call_timeout_seconds": "Empty: as the installation's settings say.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            return
        self.fields.pop("password", None)
        if not self.instance.disabled and "disabled" in self.fields:
            running = " It is connected now." if self.instance.connected else ""
            question = f"Disable {self.instance.identity}? Its connection ends, and every new one is refused.{running}"
            self.fields["disabled"].widget.attrs["data-confirm"] = question

    def clean_identity(self) -> str:
        identity: str = self.cleaned_data["identity"]
        if identity in registration.DOTS:
            raise ValidationError(registration.DOTS_REFUSED, code="unusable_identity")
        return identity

    def clean_password(self) -> str:
        return checked_password(self.cleaned_data["password"], self.request.tenant)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        profile = cleaned.get("security_profile", self.instance.security_profile)
        identity = cleaned.get("identity", self.instance.identity)
        if profile in registration.WITH_PASSWORD and ":" in (identity or ""):
            # HTTP Basic ends the user name at the first colon.
            self.add_error(
                "identity" if "identity" in self.fields else "security_profile",
                "An identity with a colon cannot be used with a password.",
            )
        if cleaned.get("password") and profile not in registration.WITH_PASSWORD:
            self.add_error("password", "This security profile has no password.")
        in_force = self.instance.security_profile if self.instance.pk is not None else 0
        in_force = self.initial.get("security_profile", in_force)
        if self.instance.pk is not None and self.instance.connected_at is not None and (profile or 0) < in_force:
            self.add_error("security_profile", 'A lower profile is set by "Lower security profile", with a reason.')
        tenant = self.request.tenant
        limit = tenant.max_charge_points
        if self.instance.pk is None and limit is not None and ChargePoint.objects.count() >= limit:
            self.add_error(None, f"The tenant has reached its number of charge points ({limit}).")
        return cleaned


class NewPasswordForm(ConfirmForm):
    """A new password for a charge point that exists."""

    model = ChargePoint
    title = "New password"
    description = (
        "The old password is refused from now on; a connection that is open stays open. "
        "Enter the new one at the charge point."
    )
    password = password_field(RULES.replace("after saving", "on the next page"))

    def clean_password(self) -> str:
        charge_point: Any = self.row
        return checked_password(self.cleaned_data["password"], charge_point.tenant)
