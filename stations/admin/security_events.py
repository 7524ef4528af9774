"""Security events in the admin: the list, alerts and who acknowledged them, and the panel of a charge point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from stations import security_events
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.display import charge_point_link
from stations.models import ChargePoint, SecurityEvent
from stations.models.security_event import EventSource
from stations.security_events import kind_of
from tenants.admin.scoped import ConfirmForm, LogAdmin, TenantModelAdmin, confined, confirmation
from tenants.admin.selection import number_of
from tenants.display import DASH, badge, leave_dialog, local_text, moment

SHOWN = 30
MAX_ALERTS = 500
TEXT_SHOWN = 120


@dataclass(slots=True)
class AlertGroup:
    """Alerts of one type of one charge point (or of one unknown identity), the newest first."""

    charge_point: ChargePoint | None
    identity: str
    name: str
    sentence: str
    at: datetime
    pk: int
    times: int


def event_name(event: SecurityEvent) -> str:
    """The type as a charge point sent it; a kind of ours as words."""
    return event.type if event.source == EventSource.CHARGE_POINT else event.type.replace("_", " ")


def event_text(event: SecurityEvent) -> str:
    """What an event says, beside its type."""
    if event.source == EventSource.CHARGE_POINT:
        return event.tech_info
    parts = [kind_of(event.type).sentence, event.tech_info, f"From {event.address}." if event.address else ""]
    return " ".join(part for part in parts if part)


def event_badge(event: SecurityEvent) -> SafeString:
    """The type as a coloured word: red while it is an alert."""
    if event.is_alert:
        return badge(event_name(event), "danger", "Critical; nobody has acknowledged it")
    return badge(event_name(event), "warning" if event.critical else "plain")


def alert_groups(request: HttpRequest) -> list[AlertGroup]:
    """The open alerts that the person may see, newest first, alike ones as one. One query."""
    newest = confined(SecurityEvent.objects.alerts(), request, "charge_point__site").select_related("charge_point")
    return _grouped(newest.order_by("-id")[:MAX_ALERTS])


def _grouped(alerts: Iterable[SecurityEvent]) -> list[AlertGroup]:
    groups: dict[tuple[int | None, str, str], AlertGroup] = {}
    for event in alerts:
        key = (event.charge_point_id, "" if event.charge_point_id else event.identity, event.type)
        if key in groups:
            groups[key].times += event.times
        else:
            groups[key] = AlertGroup(
                event.charge_point, event.identity, event_name(event), event_text(event)[:TEXT_SHOWN],
                event.received_at, event.pk, event.times,
            )  # fmt: skip
    return list(groups.values())


def alerts_of(charge_point: ChargePoint) -> dict[str, Any]:
    """What the top of a charge point's page says of its open alerts."""
    return {"alerts": _grouped(SecurityEvent.objects.alerts().filter(charge_point=charge_point)[:MAX_ALERTS])}


def security_panel(charge_point: ChargePoint) -> dict[str, Any]:
    """Open alerts, and the newest events, a charge point's own and ours about it."""
    newest = SecurityEvent.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN]
    events = [(event, event_badge(event), event_text(event)) for event in newest]
    return {"events": events, **alerts_of(charge_point)}


class AlertFilter(admin.SimpleListFilter):
    """Charge points with, or without, an alert that nobody has acknowledged."""

    title = "security alerts"
    parameter_name = "alerts"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "with open alerts"), ("none", "without")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        alerts = Exists(SecurityEvent.objects.alerts().filter(charge_point=OuterRef("pk")))
        if self.value() == "open":
            return queryset.filter(alerts)
        return queryset.filter(~alerts) if self.value() == "none" else queryset


class AlertStateFilter(admin.SimpleListFilter):
    title = "alert"
    parameter_name = "alert"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("acknowledged", "acknowledged")]

    def queryset(self, request: Any, queryset: Any) -> QuerySet[Any]:
        found: QuerySet[Any] = queryset
        if self.value() == "open":
            found = queryset.alerts()
        elif self.value() == "acknowledged":
            found = queryset.filter(acknowledged_at__isnull=False)
        return found


class AcknowledgeAlertsForm(ConfirmForm):
    """Nothing to fill in: every open alert of the charge point."""

    model = ChargePoint
    title = "Acknowledge every alert of this charge point?"
    description = "They stay in the list of security events, with your name."
    submit_text = "Acknowledge"


class SecurityEventActions(TenantModelAdmin):
    """Acknowledging, as a button of a charge point's page."""

    @action(
        description="Acknowledge alerts",
        icon="done_all",
        permissions=["operate"],
        url_path="acknowledge-alerts",
        dialog={
            "title": AcknowledgeAlertsForm.title,
            "description": AcknowledgeAlertsForm.description,
            "form_class": AcknowledgeAlertsForm,
            "form_submit_text": AcknowledgeAlertsForm.submit_text,
        },
    )
    def acknowledge_alerts(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        rows = SecurityEvent.objects.filter(charge_point=form.row)
        _say(request, security_events.acknowledge(rows, request.user.get_username()))
        return leave_dialog(request, reverse("admin:stations_chargepoint_change", args=[form.row.pk]))


def _say(request: HttpRequest, number: int) -> None:
    word = "alert" if number == 1 else "alerts"
    messages.success(request, f"{number} {word} acknowledged." if number else "There was no open alert.")


@admin.register(SecurityEvent)
class SecurityEventAdmin(LogAdmin):
    """Also of identities that nobody registered: those are seen by people who see every site."""

    site_path = "charge_point__site"
    version_fields = ("acknowledged_at",)
    list_display = ("received", "station", "kind", "text", "its_time", "repeated", "acknowledged")
    list_display_links = ("received",)
    list_select_related = ("charge_point",)
    list_filter = (AlertStateFilter, "critical", "source", ChosenChargePoint)
    search_fields = ("type",)
    search_help_text = "Type, exactly; or identity of the charge point"
    actions = ("acknowledge_many",)
    actions_detail = ("acknowledge",)
    fields = (
        "received", "station", "kind", "by", "whole_text", "its_time", "repeated", "caller", "acknowledged",
    )  # fmt: skip
    readonly_fields = fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        called = charge_points_called(term)
        found = queryset.filter(charge_point__in=called) if called else queryset.filter(type__iexact=term)
        return found, False

    @display(description="Received")
    def received(self, event: SecurityEvent) -> Any:
        return moment(event.received_at)

    @display(description="Charge point")
    def station(self, event: SecurityEvent) -> Any:
        return charge_point_link(event.charge_point, event.identity or DASH)

    @display(description="Event")
    def kind(self, event: SecurityEvent) -> SafeString:
        return event_badge(event)

    @display(description="What")
    def text(self, event: SecurityEvent) -> str:
        text = event_text(event)
        return (text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…") or DASH

    @display(description="What")
    def whole_text(self, event: SecurityEvent) -> str:
        return event_text(event) or DASH

    @display(description="Noticed by")
    def by(self, event: SecurityEvent) -> str:
        return event.get_source_display()

    @display(description="Its own time")
    def its_time(self, event: SecurityEvent) -> Any:
        return moment(event.timestamp) if event.source == EventSource.CHARGE_POINT else DASH

    @display(description="Times")
    def repeated(self, event: SecurityEvent) -> str:
        return str(event.times)

    @display(description="Claimed identity, address")
    def caller(self, event: SecurityEvent) -> str:
        return " from ".join(part for part in (event.identity, event.address) if part) or DASH

    @display(description="Acknowledged")
    def acknowledged(self, event: SecurityEvent) -> Any:
        if event.acknowledged_at is None:
            return "open" if event.critical else DASH
        return f"{event.acknowledged_by}, {local_text(event.acknowledged_at)}"

    @admin.action(description="Acknowledge", permissions=["operate"])
    def acknowledge_many(self, request: HttpRequest, queryset: QuerySet[SecurityEvent]) -> HttpResponse | None:
        opened = queryset.filter(acknowledged_at=None)
        number, chosen = opened.count(), number_of(request)
        question = self.ask_first(
            request,
            "acknowledge_many",
            f"Acknowledge {number:,} events?",
            [
                "They stay in the list, with your name.",
                f"{chosen - number:,} of the {chosen:,} chosen are acknowledged already." if chosen > number else "",
            ],
            f"Acknowledge {number:,} events",
        )
        if question is not None:
            return question
        _say(request, security_events.acknowledge(queryset, request.user.get_username()))
        return None

    @action(
        description="Acknowledge",
        icon="done",
        permissions=["operate"],
        dialog=confirmation(
            SecurityEvent, "Acknowledge this alert?", "It stays in the list, with your name.", "Acknowledge"
        ),
    )
    def acknowledge(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        rows = SecurityEvent.objects.filter(pk=form.row.pk)
        _say(request, security_events.acknowledge(rows, request.user.get_username()))
        return leave_dialog(request, reverse("admin:stations_securityevent_change", args=[form.row.pk]))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        alert = self.get_object(request, object_id).is_alert
        return super().get_actions_detail(request, object_id) if alert else []
