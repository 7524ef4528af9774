"""A charge point's password and security profile at the admin: set, changed over OCPP, lowered by administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from stations import commands, passwords, registration, rivals, security_profiles
from stations.admin.actions import command_url, dialog, send
from stations.admin.charge_point_form import (
    NewPasswordForm,
    checked_password,
    give_password,
    password_field,
    warn_of_weak,
)
from stations.admin.dialogs import CommandForm, choice
from stations.models import ChargePoint
from stations.models.charge_point import SecurityProfile
from tenants.admin.scoped import ConfirmForm, TenantModelAdmin
from tenants.display import leave_dialog, secret_message

PASSWORD_TEXTS = {
    passwords.PasswordState.NONE: "no password yet: it cannot connect",
    passwords.PasswordState.SET: "password set",
    passwords.PasswordState.PENDING: "a new password is on its way",
    passwords.PasswordState.UNKNOWN: "no answer to the new password: the old and the new one are accepted until it "
    "connects with one of them",
}


def state(charge_point: ChargePoint, now: Any) -> dict[str, Any]:
    """What the page of a charge point says of its password, its profile and who else uses its identity."""
    password = passwords.state_of(charge_point)
    wanted = charge_point.security_profile in registration.WITH_PASSWORD
    shown = wanted or password in (passwords.PasswordState.PENDING, passwords.PasswordState.UNKNOWN)
    pending = charge_point.pending_security_profile
    return {
        "password_text": PASSWORD_TEXTS[password] if shown else "",
        "password_is_fine": password == passwords.PasswordState.SET,
        "pending_profile": "" if pending is None else SecurityProfile(pending).label,
        "contested": rivals.is_contested(charge_point, now),
    }


class RotatePasswordForm(ConfirmForm):
    """A new password that the charge point is asked to take."""

    model = ChargePoint
    title = "Rotate password"
    description = (
        "Sent to the charge point as its AuthorizationKey. When it accepts, the old password is refused at once; when "
        "it rejects, the old one stays."
    )
    password = password_field(
        "16 to 20 characters, or 32 to 40 hexadecimal digits. Empty: one is made and shown once, on the next page."
    )
    reason = forms.CharField(required=False, max_length=500, widget=UnfoldAdminTextInputWidget())

    def clean_password(self) -> str:
        return checked_password(self.cleaned_data["password"])


class RaiseSecurityProfileForm(CommandForm):
    action = "ChangeConfiguration"
    title = "Raise security profile"
    description = (
        "Sent as configuration key SecurityProfile. Once it accepts, both profiles are let in until the first "
        "connection with the new one; from then on only that. Many charge points need a Reset to reconnect."
    )
    profile = choice("Security profile", "1", "2", "3")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["profile"]
        field.choices = [(str(value), label) for value, label in SecurityProfile.choices if value]
        if self.charge_point is not None:
            field.initial = str(min(3, self.charge_point.security_profile + 1))

    def payload(self) -> dict[str, Any]:
        return {"key": "SecurityProfile", "value": self.cleaned_data.get("profile", "")}


class LowerSecurityProfileForm(ConfirmForm):
    """Asks twice: for a reason, and for the identity in full."""

    model = ChargePoint
    title = "Lower security profile"
    description = (
        "Nothing is sent: OCPP does not allow it. The charge point has to be set to the lower profile on site, and "
        "cannot connect before. The lower profile is weaker against eavesdropping and forgery."
    )
    profile = forms.TypedChoiceField(label="Security profile", coerce=int, widget=UnfoldAdminSelectWidget())
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget())
    identity = forms.CharField(
        label="Identity of the charge point, to confirm",
        strip=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        charge_point: Any = self.row
        field: Any = self.fields["profile"]
        field.choices = [
            (value, label)
            for value, label in SecurityProfile.choices
            if value < charge_point.security_profile
            or (value == charge_point.security_profile and charge_point.pending_security_profile is not None)
        ][::-1]

    def clean_identity(self) -> str:
        typed: str = self.cleaned_data["identity"]
        charge_point: Any = self.row
        if typed != charge_point.identity:
            raise ValidationError("This is not the identity of this charge point.")
        return typed


def _asked(form_class: Any, submit_text: str) -> Any:
    return {
        "title": form_class.title,
        "description": form_class.description,
        "form_class": form_class,
        "form_submit_text": submit_text,
    }


def _again(request: HttpRequest, form: Any, submit_text: str, why: str) -> HttpResponse:
    """The dialog once more, with why it was not done."""
    form.add_error(None, why)
    context = {"dialog": _asked(type(form), submit_text), "form": form, "form_submit_text": submit_text}
    return render(request, "unfold/helpers/dialog.html", context)


class CredentialActions(TenantModelAdmin):
    """Password and security profile, as buttons of a charge point's page."""

    credentials_menu = {
        "title": "Access",
        "icon": "key",
        # The last is of stations/admin/security_events.py.
        "items": [
            "rotate_password",
            "new_password",
            "raise_security_profile",
            "lower_security_profile",
            "acknowledge_alerts",
        ],
    }

    @action(
        description="New password, here only",
        icon="password",
        permissions=["edit"],
        url_path="new-password",
        dialog=_asked(NewPasswordForm, "Set password"),
    )
    def new_password(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        charge_point = form.row
        password = give_password(charge_point, form.cleaned_data["password"])
        with transaction.atomic():
            registration.save(charge_point, ["password_hash"])
            self.audit(request, "new password", charge_point)
        messages.warning(request, secret_message(f"The new password of {charge_point.identity}:", password))
        warn_of_weak(request, password)
        return leave_dialog(request, reverse("admin:stations_chargepoint_change", args=[charge_point.pk]))

    @action(
        description="Rotate password, over OCPP",
        icon="key",
        permissions=["edit"],
        url_path="rotate-password",
        dialog=_asked(RotatePasswordForm, "Send"),
    )
    def rotate_password(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        charge_point, typed = form.row, form.cleaned_data["password"]
        try:
            with transaction.atomic():
                command, made = passwords.rotate_password(
                    charge_point,
                    str(request.user.get_username()),
                    typed or None,
                    reason=form.cleaned_data["reason"],
                )
                self.audit(request, "rotate password", charge_point, {"password": ["***", "***"]})
        except commands.CommandRefused as refused:
            return _again(request, form, "Send", refused.detail)
        if made is not None:
            messages.warning(request, secret_message(f"The new password of {charge_point.identity}, in hex:", made))
        return leave_dialog(request, command_url(command))

    @action(
        description="Raise security profile",
        icon="security",
        permissions=["operate"],
        url_path="raise-security-profile",
        dialog=dialog(RaiseSecurityProfileForm),
    )
    def raise_security_profile(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Lower security profile",
        icon="remove_moderator",
        permissions=["edit"],
        url_path="lower-security-profile",
        variant=ActionVariant.DANGER,
        dialog=_asked(LowerSecurityProfileForm, "Lower"),
    )
    def lower_security_profile(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        charge_point, profile = form.row, form.cleaned_data["profile"]
        before = charge_point.security_profile
        try:
            with transaction.atomic():
                warnings = security_profiles.lower_profile(charge_point, profile)
                changes = {"security_profile": [before, profile], "reason": ["", form.cleaned_data["reason"]]}
                self.audit(request, "lower security profile", charge_point, changes)
        except security_profiles.ProfileRefused as refused:
            return _again(request, form, "Lower", refused.detail)
        for warning in warnings:
            messages.warning(request, warning["detail"])
        return leave_dialog(request, reverse("admin:stations_chargepoint_change", args=[charge_point.pk]))
