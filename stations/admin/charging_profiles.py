"""The library of charging profiles: the list, and the editor with its chart and the JSON that would be sent.

The chart, the JSON and the warnings come from the server while one types (`preview_view`), so that they are made by the
same functions as what is saved and sent; without scripts they are those of the last time it was saved.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.decorators import display

from csms.ocppj.times import parse_time
from stations.admin.charging_profile_form import ChargingProfileForm, field_at
from stations.admin.composite_schedule import composite_view
from stations.admin.step_chart import Series, StepChart, duration_text, step_chart
from stations.charging_profile_rules import Finding, judge
from stations.charging_profiles import in_order, without_ids
from stations.composite_schedule import Candidate, composite
from stations.models import ChargingProfile, InstalledProfile
from stations.models.charging_profile import InstalledState, Purpose
from tenants.admin.scoped import TenantModelAdmin, confined
from tenants.display import DASH, badge
from tenants.submissions import reads_only

DAY_SECONDS = 86_400
MAX_SPAN_SECONDS = 366 * DAY_SECONDS
SHOWN_INSTALLED = 100
SHOWN_WARNINGS = 5
UNITS = {"A": "A per phase", "W": "W"}


class PurposeFilter(admin.SimpleListFilter):
    title = "purpose"
    parameter_name = "purpose"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in Purpose.values]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(profile__chargingProfilePurpose=self.value()) if self.value() else queryset


@admin.register(ChargingProfile)
class ChargingProfileAdmin(TenantModelAdmin):
    version_fields = ("description", "profile")
    form = ChargingProfileForm
    change_form_template = "admin/stations/chargingprofile/change_form.html"
    list_display = ("id", "title", "purpose", "kind", "stack_level", "periods", "installed_on", "updated_at")
    list_display_links = ("id", "title")
    list_filter = (PurposeFilter,)
    search_fields = ("description", "=id")
    search_help_text = "Description, number"
    save_as = True
    fieldsets = (
        (None, {"fields": ("description",)}),
        (
            "Profile",
            {
                "fields": (
                    ("purpose", "stack_level"),
                    ("kind", "recurrency_kind"),
                    ("valid_from", "valid_to"),
                    "transaction_id",
                )
            },
        ),
        ("Schedule", {"fields": (("unit", "min_charging_rate"), ("start_schedule", "duration"), "periods")}),
        ("JSON instead", {"fields": ("use_json", "as_json"), "classes": ("collapse",)}),
    )

    # --- list ---------------------------------------------------------------------------------------------------------
    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        installed = confined(InstalledProfile.objects.filter(library__in=rows), request, "charge_point__site")
        counts = dict(installed.values_list("library").annotate(number=Count("pk")).order_by())
        for row in rows:
            row.installed_count = counts.get(row.pk, 0)
        changelist.result_list = rows
        return changelist

    @display(description="Description", ordering="description")
    def title(self, row: ChargingProfile) -> str:
        return row.description or DASH

    @display(description="Purpose")
    def purpose(self, row: ChargingProfile) -> str:
        return str(row.profile["chargingProfilePurpose"])

    @display(description="Kind")
    def kind(self, row: ChargingProfile) -> str:
        return " ".join(row.profile[name] for name in ("chargingProfileKind", "recurrencyKind") if name in row.profile)

    @display(description="Level")
    def stack_level(self, row: ChargingProfile) -> str:
        return str(row.profile["stackLevel"])

    @display(description="Limits")
    def periods(self, row: ChargingProfile) -> str:
        schedule = row.profile["chargingSchedule"]
        limits = [period["limit"] for period in schedule["chargingSchedulePeriod"]]
        lowest, highest = min(limits), max(limits)
        extent = f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"
        many = f", {len(limits)} periods" if len(limits) > 1 else ""
        return f"{extent} {schedule['chargingRateUnit']}{many}"

    @display(description="Installed")
    def installed_on(self, row: Any) -> Any:
        return badge(f"{row.installed_count}", "success") if row.installed_count else DASH

    # --- page ---------------------------------------------------------------------------------------------------------
    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        edits = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        return self.fieldsets if edits else self.fieldsets[:1]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().changeform_view(request, object_id, form_url, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            form = response.context_data["adminform"].form
            row = self.get_object(request, object_id) if object_id else None
            response.context_data.update(preview_of(form, row))
            response.context_data.update(
                installed=installed_rows(request, row) if row else [],
                can_operate=self.has_operate_permission(request),
                can_edit=self.has_change_permission(request, row) if row else True,
            )
        return response

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("preview/", self.admin_site.admin_view(self.preview_view), name="stations_chargingprofile_preview"),
            path(
                "composite/<int:charge_point_id>/",
                self.admin_site.admin_view(composite_view),
                name="stations_chargingprofile_composite",
            ),
        ]
        return own + super().get_urls()

    @reads_only
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The chart, the JSON and the warnings of a form as it stands; nothing is saved."""
        number = request.GET.get("id", "")
        row = self.get_object(request, number) if number else None
        if not self.has_add_permission(request):
            return HttpResponse(status=403)
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        form.is_valid()
        return TemplateResponse(request, "stations/admin/charging_profile_preview.html", preview_of(form, row))

    def consequences(self, request: HttpRequest, rows: QuerySet[Any]) -> list[str]:
        installed = confined(InstalledProfile.objects.filter(library__in=rows), request, "charge_point__site")
        identities = installed.order_by("charge_point__identity").values_list("charge_point__identity", flat=True)
        where = list(identities.distinct())
        if not where:
            return []
        named = ", ".join(where[:SHOWN_INSTALLED]) + (" and more" if len(where) > SHOWN_INSTALLED else "")
        return [
            f"It is installed at {named} and stays in force there. To end that, clear it there first: "
            "Charging, Clear charging profile, on the page of the charge point."
        ]

    # --- writing ------------------------------------------------------------------------------------------------------
    def save_model(self, request: Any, obj: ChargingProfile, form: Any, change: bool) -> None:
        before = ChargingProfile.objects.filter(pk=obj.pk).first() if change else None
        if not change:
            obj.requested_by = request.user.get_username()[:200]
        super().save_model(request, obj, form, change)
        # The profile as one value: the fields of the form are only a way to write it.
        request.csms_changes = {
            name: [getattr(before, name, None), getattr(obj, name)]
            for name in ("description", "profile")
            if getattr(before, name, None) != getattr(obj, name)
        }
        for finding in judge(obj.profile).findings[:SHOWN_WARNINGS]:
            messages.warning(request, finding.detail)


# --- the preview ------------------------------------------------------------------------------------------------------
def preview_of(form: ChargingProfileForm, row: ChargingProfile | None) -> dict[str, Any]:
    """What the preview shows: chart, JSON as it would be sent, warnings, and what keeps a form from being complete."""
    draft = form.draft()
    complete = form.profile if form.is_bound else (row.profile if row else None)
    sent = None
    if complete is not None:
        sent = in_order({"chargingProfileId": row.pk, **complete} if row else complete)
    incomplete = []
    if form.is_bound and form.profile is None:
        incomplete = [
            (form.fields[name].label if name in form.fields else "", error)
            for name, errors in form.errors.items()
            for error in errors
        ]
    return {
        "chart": chart_of(draft) if draft else None,
        "sent": sent,
        "has_id": row is not None,
        "findings": [(label_of(form, finding), finding.detail) for finding in judge(complete).findings]
        if complete is not None
        else [],
        "incomplete": incomplete,
        "facts": facts_of(draft) if draft else [],
    }


def label_of(form: ChargingProfileForm, finding: Finding) -> str:
    name = field_at(finding.pointer)
    return str(form.fields[name].label) if name in form.fields else ""


def chart_of(profile: dict[str, Any]) -> StepChart | None:
    """The schedule of a profile over its own length: its duration, else a day, or a week when it recurs weekly."""
    schedule = profile["chargingSchedule"]
    span = span_of(profile)
    recurs = profile.get("chargingProfileKind") == "Recurring"
    alone = {
        "stackLevel": 0,
        "chargingProfilePurpose": Purpose.TX_DEFAULT_PROFILE,
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    }
    start = parse_time(schedule.get("startSchedule")) if profile.get("chargingProfileKind") != "Relative" else None
    begin = start or datetime(2000, 1, 1, tzinfo=UTC)
    try:
        steps = composite([Candidate(1, alone)], start=begin, duration_seconds=span, unit=schedule["chargingRateUnit"])
        begin + timedelta(seconds=span)
    except (ValueError, OverflowError):
        return None
    limits = [(each.start_period, None if each.limit is None else float(each.limit)) for each in steps.periods]
    least = schedule.get("minChargingRate")
    unit = UNITS[schedule["chargingRateUnit"]]
    name = "Limit, each time it recurs" if recurs else "Limit"
    return step_chart(
        "Limits over time",
        unit,
        span,
        [Series(name, "ours", limits)],
        begin=start,
        rule=None if least is None else (float(least), f"minimum {least:g}"),
    )


def span_of(profile: dict[str, Any]) -> int:
    """How many seconds of a schedule its chart shows."""
    schedule = profile["chargingSchedule"]
    if profile.get("chargingProfileKind") == "Recurring":
        return 7 * DAY_SECONDS if profile.get("recurrencyKind") == "Weekly" else DAY_SECONDS
    duration = schedule.get("duration")
    last = max(period["startPeriod"] for period in schedule["chargingSchedulePeriod"])
    length = duration if duration is not None and duration > 0 else max(DAY_SECONDS, last * 5 // 4)
    return int(min(length, MAX_SPAN_SECONDS))


def facts_of(profile: dict[str, Any]) -> list[str]:
    """What the chart cannot show, in words."""
    schedule = profile["chargingSchedule"]
    facts = []
    if profile.get("chargingProfileKind") == "Relative" or "startSchedule" not in schedule:
        facts.append("Time counts from the start of charging, in hours and minutes.")
    if profile.get("chargingProfileKind") == "Recurring":
        facts.append(
            "It begins anew every week." if profile.get("recurrencyKind") == "Weekly" else "It begins anew every day."
        )
    if "duration" in schedule:
        facts.append(f"It lasts {duration_text(max(0, schedule['duration']))} hours; after that a lower level limits.")
    else:
        facts.append("It has no duration: the last period holds on.")
    return facts


def installed_rows(request: HttpRequest, row: ChargingProfile) -> list[dict[str, Any]]:
    """Where the profile is, as far as the person may see it, and whether it is there as it is here."""
    rows = confined(InstalledProfile.objects.filter(library=row), request, "charge_point__site")
    return [
        {
            "installed": one,
            "confirmed": one.state == InstalledState.CONFIRMED,
            "current": without_ids(one.profile) == without_ids(row.profile),
        }
        for one in rows.select_related("charge_point").order_by("charge_point__identity", "connector_id")[
            :SHOWN_INSTALLED
        ]
    ]
