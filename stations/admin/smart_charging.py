"""Smart charging at a charge point's page: the dialogs of its requests, and the panel of what is installed.

The library and its editor are in stations/admin/charging_profiles.py.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from stations.admin.actions import dialog, send
from stations.admin.dialogs import (
    SUGGESTIONS,
    CommandForm,
    RemoteStartForm,
    SuggestingNumber,
    number,
)
from stations.charging_profile_rules import KEYS
from stations.charging_profiles import PROFILE_MEMBER, Installation, new_profile_id
from stations.models import ChargePoint, ChargingProfile, ConfigurationKey, InstalledProfile, Transaction
from stations.models.charging_profile import InstalledState, Purpose
from tenants.admin.scoped import TenantModelAdmin

MAX_LIBRARY = 200
SHOWN_INSTALLED = 200
SHOWN_PERIODS = 4
LEFT_OUT = ("", "left out")


def suggesting_number(label: str, help_text: str, *, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(label=label, required=required, help_text=help_text, widget=SuggestingNumber())


class ProfileForm(CommandForm):
    """A request with a charging profile: one of the library, or JSON as it goes on the wire."""

    library = forms.ChoiceField(label="Profile of the library", required=False, widget=UnfoldAdminSelectWidget())
    profile = forms.CharField(
        label="Or as JSON",
        required=False,
        help_text="An OCPP chargingProfile, sent as it is. A chargingProfileId is given if it has none.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false"}),
    )

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        rows = ChargingProfile.objects.all()[:MAX_LIBRARY]
        self.fields["library"].choices = [("", "none"), *((str(row.pk), profile_label(row)) for row in rows)]
        self.fields["library"].initial = request.GET.get("library")

    def clean_profile(self) -> dict[str, Any] | None:
        written = self.cleaned_data["profile"].strip()
        if not written:
            return None
        try:
            profile = json.loads(written, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}.", code="invalid") from None
        if not isinstance(profile, dict):
            raise forms.ValidationError("A charging profile is a JSON object.", code="invalid")
        return profile

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            self.cleaned_data["profile"] = self.chosen_profile()
        return super().clean()

    def chosen_profile(self) -> dict[str, Any] | None:
        """The profile to send, complete with its id; an error at the form when there is not exactly one."""
        library, profile = self.cleaned_data["library"], self.cleaned_data["profile"]
        if bool(library) == (profile is not None):
            self.add_error("library", "Choose a profile of the library, or write one as JSON.")
            return None
        if library:
            row = ChargingProfile.objects.filter(pk=library).first()
            if row is None:
                self.add_error("library", "This profile has been deleted meanwhile.")
                return None
            return row.as_sent
        if "chargingProfileId" not in profile:
            return {"chargingProfileId": new_profile_id(), **profile}
        return dict(profile)

    def _point_at(self, pointer: str, detail: str) -> None:
        member, _, inside = pointer.strip("/").partition("/")
        if member != PROFILE_MEMBER[self.action]:
            super()._point_at(pointer, detail)
            return
        field = "library" if self.cleaned_data.get("library") else "profile"
        self.add_error(field, f"{inside or member} {detail}".rstrip(".") + ".")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


class SetChargingProfileForm(ProfileForm):
    action = "SetChargingProfile"
    title = "Set charging profile"
    members = {"connectorId": "connector_id", "csChargingProfiles": "profile"}
    connector_id = suggesting_number("Connector", "0 is the charge point with all its connectors.", required=True)
    transaction_id = suggesting_number(
        "Transaction", "Put into the profile as its transactionId; a TxProfile needs one. Empty: nothing is put in."
    )
    field_order = ("connector_id", "library", "profile", "transaction_id")

    def suggest(self, charge_point: ChargePoint) -> None:
        connectors = charge_point.connectors.order_by("connector_id").values_list("connector_id", "status")
        self.fields["connector_id"].widget.options = list(connectors[:SUGGESTIONS])
        running = Transaction.objects.open().filter(charge_point=charge_point)[:SUGGESTIONS]
        self.fields["transaction_id"].widget.options = [
            (tx.pk, f"connector {tx.connector_id}, {tx.id_tag}") for tx in running
        ]

    def chosen_profile(self) -> dict[str, Any] | None:
        profile = super().chosen_profile()
        transaction_id = self.cleaned_data["transaction_id"]
        if profile is not None and transaction_id is not None:
            profile["transactionId"] = transaction_id
        return profile


class RemoteStartWithProfileForm(ProfileForm, RemoteStartForm):
    title = "Remote start with a profile"
    members = {**RemoteStartForm.members, "chargingProfile": "profile"}
    description = "Only a TxProfile makes sense here; one of the library goes without its transactionId."
    field_order = ("id_tag", "connector_id", "library", "profile")

    def chosen_profile(self) -> dict[str, Any] | None:
        profile = super().chosen_profile()
        if profile is not None and self.cleaned_data["library"]:
            profile.pop("transactionId", None)
        return profile


class ClearChargingProfileForm(CommandForm):
    action = "ClearChargingProfile"
    title = "Clear charging profiles"
    description = "One by its id alone, or all that match what is filled in, or every profile."
    members = {
        "id": "profile_id",
        "connectorId": "connector_id",
        "chargingProfilePurpose": "purpose",
        "stackLevel": "stack_level",
    }
    profile_id = suggesting_number("Id", "The chargingProfileId. With one, the charge point looks at nothing else.")
    connector_id = number("Connector", required=False, help_text="Empty: left out.")
    purpose = forms.ChoiceField(
        label="Purpose",
        required=False,
        choices=[LEFT_OUT, *((value, value) for value in Purpose.values)],
        widget=UnfoldAdminSelectWidget(),
    )
    stack_level = number("Stack level", required=False, help_text="Empty: left out.")
    everything = forms.BooleanField(
        label="Clear every profile",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Leave all the rest empty then.",
    )

    def suggest(self, charge_point: ChargePoint) -> None:
        rows = InstalledProfile.objects.filter(charge_point=charge_point)[:SUGGESTIONS]
        self.fields["profile_id"].widget.options = [
            (row.charging_profile_id, f"{row.purpose}, connector {row.connector_id}") for row in rows
        ]
        self.fields["profile_id"].initial = self.request.GET.get("id")

    def clean(self) -> dict[str, Any]:
        if not self.errors and bool(self.payload()) == self.cleaned_data["everything"]:
            self.add_error("everything", "Either fill in which profiles to clear, or choose every profile.")
        return super().clean()


class GetCompositeScheduleForm(CommandForm):
    action = "GetCompositeSchedule"
    title = "Ask for the composite schedule"
    description = "What the charge point makes of all its profiles, from now on."
    members = {"connectorId": "connector_id", "duration": "duration", "chargingRateUnit": "unit"}
    connector_id = number("Connector", initial=1, help_text="0: the draw of the charge point as a whole.")
    duration = number("Duration in seconds", initial=86_400)
    unit = forms.ChoiceField(
        label="Unit",
        required=False,
        choices=[LEFT_OUT, ("A", "A, per phase"), ("W", "W, in total")],
        widget=UnfoldAdminSelectWidget(),
    )


class SmartChargingActions(TenantModelAdmin):
    """The requests of the Smart Charging profile, as buttons of a charge point's page."""

    smart_charging_menu = {
        "title": "Smart charging",
        "icon": "ssid_chart",
        "items": [
            "set_charging_profile",
            "remote_start_with_profile",
            "clear_charging_profile",
            "get_composite_schedule",
        ],
    }

    @action(
        description="Set profile",
        icon="ssid_chart",
        permissions=["operate"],
        url_path="set-charging-profile",
        dialog=dialog(SetChargingProfileForm),
    )
    def set_charging_profile(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Start with profile",
        icon="play_circle",
        permissions=["operate"],
        url_path="remote-start-with-profile",
        dialog=dialog(RemoteStartWithProfileForm),
    )
    def remote_start_with_profile(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Clear profiles",
        icon="delete_sweep",
        permissions=["operate"],
        url_path="clear-charging-profile",
        dialog=dialog(ClearChargingProfileForm),
    )
    def clear_charging_profile(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Ask for schedule",
        icon="stacked_line_chart",
        permissions=["operate"],
        url_path="get-composite-schedule",
        dialog=dialog(GetCompositeScheduleForm),
    )
    def get_composite_schedule(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)


# --- the panel --------------------------------------------------------------------------------------------------------
def charging_profiles(charge_point: ChargePoint) -> dict[str, Any]:
    """What is installed, which of it decides at this moment, and what the charge point says it can take."""
    rows = list(InstalledProfile.objects.filter(charge_point=charge_point).select_related("library")[:SHOWN_INSTALLED])
    deciding = _deciding(charge_point, datetime.now(UTC)) if rows else {}
    keys = ConfigurationKey.objects.filter(charge_point=charge_point, key__in=KEYS, known=True).order_by("key")
    return {
        "rows": [
            {
                "installed": row,
                "confirmed": row.state == InstalledState.CONFIRMED,
                "deciding": deciding.get(row.charging_profile_id, []),
                "kind": " ".join(
                    str(row.profile[name]) for name in ("chargingProfileKind", "recurrencyKind") if name in row.profile
                ),
                "schedule": schedule_text(row.profile),
            }
            for row in rows
        ],
        "keys": list(keys),
    }


def _deciding(charge_point: ChargePoint, now: datetime) -> dict[int, list[int]]:
    """The connectors on which each profile gives the limit now, by chargingProfileId; 0 is the charge point."""
    installation = Installation.of(charge_point)
    found: dict[int, list[int]] = {}
    for connector_id in (0, *installation.connectors):
        try:
            schedule = installation.schedule(connector_id, start=now, duration_seconds=1, unit="A")
        except (ValueError, OverflowError):
            return {}
        for decision in schedule.decisions[:1]:
            for profile_id in decision.charging_profile_ids:
                found.setdefault(profile_id, []).append(connector_id)
    return found


def schedule_text(profile: dict[str, Any]) -> str:
    """The periods of a profile in a few words: "6 A, from 3600 s 10 A on 1 phase, for 7200 s"."""
    schedule = profile["chargingSchedule"]
    periods = schedule["chargingSchedulePeriod"]
    parts = []
    for period in periods[:SHOWN_PERIODS]:
        begin = f"from {period['startPeriod']} s " if period["startPeriod"] else ""
        phases = {None: "", 1: " on 1 phase"}.get(
            period.get("numberPhases"), f" on {period.get('numberPhases')} phases"
        )
        parts.append(f"{begin}{period['limit']:g} {schedule['chargingRateUnit']}{phases}")
    if len(periods) > SHOWN_PERIODS:
        parts.append(f"{len(periods) - SHOWN_PERIODS} more periods")
    if "duration" in schedule:
        parts.append(f"for {schedule['duration']} s")
    return ", ".join(parts)


def profile_label(row: ChargingProfile) -> str:
    """A profile of the library as a line of a list."""
    purpose, level = row.profile["chargingProfilePurpose"], row.profile["stackLevel"]
    return " · ".join(part for part in (str(row.pk), row.description, f"{purpose}, level {level}") if part)
