"""The editor's form: every member of an OCPP chargingProfile as a field, or the whole as JSON.

An empty field leaves its member out. Refused is only what can never be sent, at the field that says it; what is unwise
is left to the operator (stations/charging_profile_rules.py finds it). Times are shown in the time zone of the tenant
and written in UTC; one that was not touched keeps the very text it had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from csms.ocppj.times import format_time, parse_time
from stations.charging_profile_rules import judge
from stations.charging_profiles import in_order
from stations.models import ChargingProfile
from stations.models.charging_profile import Purpose

LEFT_OUT = ("", "left out")
SPARE_ROWS = 3
MAX_PERIODS = 1000
# What may stand in a field of seconds beside a plain number: hours and minutes, and seconds.
CLOCK = re.compile(r"([0-9]{1,6}):([0-5][0-9])(?::([0-5][0-9]))?")
NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:[.,][0-9]+)?")
PERIODS = "/chargingSchedule/chargingSchedulePeriod"
# Pointer into the chargingProfile: field. The schedule itself comes last: a pointer is looked up by its longest part.
FIELDS = {
    "/chargingProfilePurpose": "purpose",
    "/chargingProfileKind": "kind",
    "/recurrencyKind": "recurrency_kind",
    "/stackLevel": "stack_level",
    "/transactionId": "transaction_id",
    "/validFrom": "valid_from",
    "/validTo": "valid_to",
    "/chargingSchedule/chargingRateUnit": "unit",
    "/chargingSchedule/startSchedule": "start_schedule",
    "/chargingSchedule/duration": "duration",
    "/chargingSchedule/minChargingRate": "min_charging_rate",
    PERIODS: "periods",
}


class LocalTimeInput(UnfoldAdminTextInputWidget):
    """A date and time, to the second, with the browser's calendar."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1"})


class InstantField(forms.CharField):
    """An OCPP dateTime, typed in the current time zone. `original` is the text it had, kept while it shows the same."""

    widget = LocalTimeInput
    original: str | None = None

    def __init__(self, label: str, help_text: str = "") -> None:
        super().__init__(label=label, required=False, help_text=f"{help_text} Empty: left out.".strip())

    def prepare_value(self, value: Any) -> Any:
        moment = parse_time(value) if value and value == self.original else None
        return value if moment is None else timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M:%S")

    def clean(self, value: Any) -> str | None:
        written = str(value or "").strip()
        if not written:
            return None
        if self.original is not None and written in (self.original, self.prepare_value(self.original)):
            return self.original
        moment = parse_time(written, timezone.get_current_timezone())
        if moment is None:
            raise ValidationError("Enter a date and a time.", code="invalid")
        return format_time(moment, milliseconds=bool(moment.microsecond))


class SecondsField(forms.CharField):
    """A number of seconds, also as h:mm or h:mm:ss."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, label: str, help_text: str) -> None:
        super().__init__(label=label, required=False, help_text=help_text)

    def clean(self, value: Any) -> int | None:
        written = str(value or "").strip()
        return seconds(written) if written else None


class LimitField(forms.CharField):
    """A number with at most one decimal."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, label: str, help_text: str) -> None:
        super().__init__(label=label, required=False, help_text=help_text)
        self.widget.attrs["inputmode"] = "decimal"

    def clean(self, value: Any) -> int | float | None:
        written = str(value or "").strip()
        return limit(written) if written else None


class PeriodsWidget(forms.Widget):
    """Rows of startPeriod, limit and numberPhases, and a few empty ones for browsers without scripts."""

    template_name = "stations/admin/periods.html"
    row_errors: Mapping[int, str] = {}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        columns = [data.getlist(f"{name}-{column}")[:MAX_PERIODS] for column in ("start", "limit", "phases")]
        return [
            {"start": start.strip(), "limit": most.strip(), "phases": phases.strip()}
            for start, most, phases in zip(*columns, strict=False)
        ]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-start" not in data

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        # Not by the renderer of forms, which knows the templates of installed packages only.
        return render_to_string(self.template_name, self.get_context(name, value, attrs))

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, None, attrs)
        given = [row for row in value or [] if any(row.values())]
        context["rows"] = [(row, self.row_errors.get(number, "")) for number, row in enumerate(given)]
        context["spare_rows"] = range(SPARE_ROWS)
        context["input_class"] = UnfoldAdminTextInputWidget().attrs["class"]
        context["name"] = name
        return context


class PeriodsField(forms.Field):
    """The chargingSchedulePeriod of a schedule. A row without anything in it is no period."""

    widget = PeriodsWidget

    def clean(self, value: Any) -> list[dict[str, Any]]:
        rows = [row for row in value or [] if any(row.values())]
        periods, errors = read_periods(rows)
        self.widget.row_errors = errors
        if errors:
            raise ValidationError([f"Period {number + 1}: {text}" for number, text in errors.items()], code="invalid")
        if not periods and self.required:
            raise ValidationError("A schedule needs a period.", code="required")
        return periods

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(
            [row for row in initial or [] if any(row.values())] != [row for row in data or [] if any(row.values())]
        )


def read_periods(rows: list[dict[str, str]]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The periods of those rows that can be read, and what is wrong with the others, by number of the row."""
    periods: list[dict[str, Any]] = []
    errors: dict[int, str] = {}
    for number, row in enumerate(rows):
        try:
            if not row["start"] or not row["limit"]:
                raise ValidationError("it needs a start and a limit.")
            period = {"startPeriod": seconds(row["start"]), "limit": limit(row["limit"])}
            if row["phases"]:
                if not re.fullmatch(r"[+-]?[0-9]{1,9}", row["phases"]):
                    raise ValidationError("the phases are a whole number.")
                period["numberPhases"] = int(row["phases"])
            periods.append(period)
        except ValidationError as error:
            errors[number] = error.messages[0]
    return periods, errors


def seconds(written: str) -> int:
    """Seconds from "3600", "1:00" or "1:00:00". Errors: ValidationError."""
    clock = CLOCK.fullmatch(written)
    if clock is not None:
        hours, minutes, rest = (int(part or 0) for part in clock.groups())
        return int(timedelta(hours=hours, minutes=minutes, seconds=rest).total_seconds())
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", written):
        raise ValidationError("Enter seconds, or hours and minutes as 1:30.", code="invalid")
    return int(written)


def limit(written: str) -> int | float:
    """A limit from "16", "16.5" or "16,5"; a whole number when it is written as one. Errors: ValidationError."""
    if not NUMBER.fullmatch(written):
        raise ValidationError("Enter a number, with one decimal at most.", code="invalid")
    whole, _, decimals = written.replace(",", ".").partition(".")
    if len(decimals.rstrip("0")) > 1:
        raise ValidationError("A limit has one decimal at most.", code="invalid")
    return float(f"{whole}.{decimals}") if decimals else int(whole)


def _choice(
    label: str, *choices: str | tuple[str, str], required: bool = True, help_text: str = ""
) -> forms.ChoiceField:
    offered = [one if isinstance(one, tuple) else (one, one) for one in choices]
    return forms.ChoiceField(
        label=label,
        required=required,
        choices=offered if required else [LEFT_OUT, *offered],
        widget=UnfoldAdminSelectWidget(),
        help_text=help_text,
    )


class ChargingProfileForm(forms.ModelForm):
    purpose = _choice("Purpose", *Purpose.values)
    kind = _choice("Kind", "Absolute", "Recurring", "Relative")
    recurrency_kind = _choice("Recurrency", "Daily", "Weekly", required=False, help_text="For Recurring only.")
    stack_level = forms.IntegerField(
        label="Stack level", widget=UnfoldAdminIntegerFieldWidget(), help_text="The highest that is valid wins."
    )
    transaction_id = forms.IntegerField(
        label="Transaction",
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="For a TxProfile of one transaction. Usually given when it is sent. Empty: left out.",
    )
    valid_from = InstantField("Valid from")
    valid_to = InstantField("Valid to")
    unit = _choice("Unit", ("A", "A, per phase"), ("W", "W, in total"))
    start_schedule = InstantField("Start of the schedule", "Absolute: when it begins; Recurring: when it first begins.")
    duration = SecondsField("Duration", "In seconds, or as 8:00. Empty: left out, the last period has no end.")
    min_charging_rate = LimitField("Minimum charging rate", "In the unit of the limits. Empty: left out.")
    periods = PeriodsField(label="Periods", help_text="Each holds until the next one begins.")
    use_json = forms.BooleanField(
        label="Take this JSON instead of the fields above", required=False, widget=UnfoldBooleanSwitchWidget()
    )
    as_json = forms.CharField(
        label="OCPP chargingProfile",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14, "spellcheck": "false", "class": "csms-code-input"}),
        help_text="A chargingProfileId in it is not looked at: it is the number of this profile.",
    )

    class Meta:
        model = ChargingProfile
        fields = ("description",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        profile = self.instance.profile if isinstance(self.instance.profile, dict) else {}
        self.initial = {**values_of(profile), **self.initial}
        for name in ("valid_from", "valid_to", "start_schedule"):
            field = self.fields.get(name)
            if isinstance(field, InstantField):
                field.original = self.initial.get(name)
        # The chargingProfile that a valid form describes; before that, None.
        self.profile: dict[str, Any] | None = None
        if self.is_bound and self.data.get(self.add_prefix("use_json")):
            for name in FIELDS.values():
                self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("use_json"):
            for name in FIELDS.values():
                self.errors.pop(name, None)
            profile = self._read_json(cleaned.get("as_json") or "")
        else:
            self.errors.pop("as_json", None)
            profile = None if self.errors else profile_of(cleaned)
        if profile is not None:
            self._take(profile, cleaned)
        return cleaned

    def _read_json(self, written: str) -> dict[str, Any] | None:
        try:
            profile = json.loads(written, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            self.add_error("as_json", f"This is not JSON: {error}.")
            return None
        if not isinstance(profile, dict):
            self.add_error("as_json", "A charging profile is a JSON object.")
            return None
        profile.pop("chargingProfileId", None)
        return profile

    def _take(self, profile: dict[str, Any], cleaned: dict[str, Any]) -> None:
        for problem in judge(profile).problems:
            where = problem.pointer.strip("/").replace("/", " ")
            detail = problem.detail if problem.detail.endswith(".") else f"{problem.detail}."
            if cleaned.get("use_json"):
                self.add_error("as_json", f"{where} {detail}".strip())
            else:
                self.add_error(field_at(problem.pointer), detail if problem.pointer in FIELDS else f"{where} {detail}")
        if not self.errors:
            self.profile = self.instance.profile = profile

    def draft(self) -> dict[str, Any] | None:
        """What can be drawn of a form that may not be valid (yet): part of a chargingProfile; None for nothing."""
        if self.profile is not None or not self.is_bound:
            return self.profile or self.instance.profile or None
        given = self.cleaned_data
        if given.get("use_json"):
            return None
        periods, _ = read_periods([row for row in self["periods"].value() or [] if any(row.values())])
        if not periods:
            return None
        return profile_of(
            {**given, "periods": periods, "kind": given.get("kind") or "Absolute", "unit": given.get("unit") or "A"}
        )


def field_at(pointer: str) -> str | None:
    """The field that holds what a pointer into the chargingProfile points at."""
    while pointer:
        if pointer in FIELDS:
            return FIELDS[pointer]
        pointer = pointer.rpartition("/")[0]
    return None


def profile_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The chargingProfile of the form's values; what is empty is absent."""
    profile: dict[str, Any] = {}
    schedule: dict[str, Any] = {}
    for pointer, name in FIELDS.items():
        *parents, member = pointer.strip("/").split("/")
        value = values.get(name)
        if value not in (None, ""):
            (schedule if parents else profile)[member] = value
    return in_order({**profile, "chargingSchedule": schedule})


def values_of(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The initial values of the form for a chargingProfile; for an empty one, where to begin."""
    if not profile:
        return {
            "purpose": Purpose.TX_DEFAULT_PROFILE.value,
            "kind": "Absolute",
            "stack_level": 0,
            "unit": "A",
            "periods": [{"start": "0", "limit": "", "phases": ""}],
        }
    values: dict[str, Any] = {}
    for pointer, name in FIELDS.items():
        found: Any = profile
        for member in pointer.strip("/").split("/"):
            found = found.get(member) if isinstance(found, Mapping) else None
        if found is not None:
            values[name] = found
    values["periods"] = [
        {
            "start": str(period.get("startPeriod", "")),
            "limit": str(period.get("limit", "")),
            "phases": str(period.get("numberPhases", "")),
        }
        for period in values.get("periods", [])
    ]
    values["as_json"] = json.dumps(in_order(profile), indent=2, ensure_ascii=False)
    return values


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")
