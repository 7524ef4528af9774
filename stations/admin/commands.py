"""Commands: what was asked of charge points and what they answered. A command's page refreshes until it is final."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from stations import commands
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.display import charge_point_link, command_badge, effect_link, shown_payload, shown_response
from stations.models import Command, CommandBatch
from stations.models.command import CommandStatus
from stations.ocpp.actions import TO_CHARGE_POINT
from tenants.admin.scoped import LogAdmin, confirmation
from tenants.admin.selection import number_of
from tenants.display import DASH, leave_dialog, moment, pretty_json

# Commands that something follows from; their pages wait for it this long after the answer.
WITH_EFFECT = {"RemoteStartTransaction", "Reset", "TriggerMessage"}
EFFECT_AWAITED = timedelta(minutes=10)


class ActionFilter(admin.SimpleListFilter):
    title = "action"
    parameter_name = "action"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(TO_CHARGE_POINT)]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class BatchFilter(admin.SimpleListFilter):
    """Shown only when a batch has been chosen by a link."""

    title = "batch"
    parameter_name = "batch"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        if not value:
            return []
        batch = CommandBatch.objects.filter(pk=value).first() if value.isdecimal() else None
        return [(value, str(batch or "unknown"))]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(batch=value) if value.isdecimal() else queryset.none()


@admin.register(Command)
class CommandAdmin(LogAdmin):
    site_path = "charge_point__site"
    version_fields = ("status",)
    list_display = ("created", "station", "action", "outcome", "effect_shown", "requested_by", "sent", "answered")
    list_display_links = ("created",)
    list_select_related = ("charge_point__tenant",)
    list_filter = ("status", ActionFilter, ChosenChargePoint, BatchFilter)
    search_fields = ("charge_point__identity",)
    search_help_text = "Identity of the charge point"
    actions = ("withdraw_many",)
    actions_detail = ("withdraw",)
    change_form_template = "admin/stations/command/change_form.html"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(charge_point__in=charge_points_called(search_term)), False

    @display(description="Created")
    def created(self, command: Command) -> Any:
        return moment(command.created_at)

    @display(description="Charge point")
    def station(self, command: Command) -> Any:
        return charge_point_link(command.charge_point)

    @display(description="Outcome")
    def outcome(self, command: Command) -> SafeString:
        return command_badge(command)

    @display(description="Effect")
    def effect_shown(self, command: Command) -> Any:
        return effect_link(command)

    @display(description="Sent")
    def sent(self, command: Command) -> Any:
        return moment(command.sent_at)

    @display(description="Answered after")
    def answered(self, command: Command) -> str:
        took_ms = answer_time_ms(command)
        return DASH if took_ms is None else f"{took_ms} ms"

    # --- page ---------------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        state = self.admin_site.admin_view(self.state_view)
        return [path("<int:object_id>/state/", state, name="stations_command_state"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        command = self.get_object(request, object_id)
        extra = {**page_of(command), "title": f"{command.action} to {command.charge_point}", "subtitle": None}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def state_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The changing part of a command's page, without a frame around it."""
        command = self.get_object(request, str(object_id))
        return TemplateResponse(request, "stations/admin/command_state.html", page_of(command))

    @action(
        description="Withdraw",
        icon="undo",
        permissions=["operate"],
        dialog=confirmation(
            Command,
            "Withdraw this command?",
            "It is not sent any more, if it has not been sent meanwhile.",
            "Withdraw",
        ),
    )
    def withdraw(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        command = form.row
        if commands.withdraw(command):
            messages.success(request, "The command is withdrawn.")
        else:
            messages.warning(request, "It was too late: the command has been sent or closed.")
        return leave_dialog(request, reverse("admin:stations_command_change", args=[command.pk]))

    @admin.action(description="Withdraw", permissions=["operate"])
    def withdraw_many(self, request: HttpRequest, queryset: QuerySet[Command]) -> HttpResponse | None:
        queued = queryset.filter(status=CommandStatus.QUEUED)
        number, chosen = queued.count(), number_of(request)
        question = self.ask_first(
            request,
            "withdraw_many",
            f"Withdraw {number:,} commands?",
            [
                "They are not sent any more, unless they are sent while you read this.",
                f"{chosen - number:,} of the {chosen:,} chosen are not queued any more." if chosen > number else "",
            ],
            f"Withdraw {number:,} commands",
            shown=queued.select_related("charge_point").order_by("pk"),
        )
        if question is not None:
            return question
        withdrawn = commands.withdraw_many(queued)
        messages.success(request, f"{withdrawn:,} commands withdrawn; {chosen - withdrawn:,} were not queued any more.")
        return None

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        queued = self.get_object(request, object_id).status == CommandStatus.QUEUED
        return super().get_actions_detail(request, object_id) if queued else []


def answer_time_ms(command: Command) -> int | None:
    """Milliseconds from sending a command to its answer."""
    if command.answered_at is None or command.sent_at is None:
        return None
    return round((command.answered_at - command.sent_at).total_seconds() * 1000)


def page_of(command: Command) -> dict[str, Any]:
    """What a command's page shows."""
    waits_for_effect = (
        command.action in WITH_EFFECT
        and command.effect is None
        and command.outcome == "Accepted"
        and command.answered_at is not None
        and timezone.now() - command.answered_at < EFFECT_AWAITED
    )
    error: dict[str, Any] = command.error or {}
    poll_seconds = 1 if not command.is_final else 5 if waits_for_effect else 0
    return {
        "command": command,
        "badge": command_badge(command),
        "effect": effect_link(command) if command.effect else None,
        "waits_for_effect": waits_for_effect,
        "poll_seconds": poll_seconds,
        "took_ms": answer_time_ms(command),
        "payload": pretty_json(shown_payload(command)),
        "response": None if command.response is None else pretty_json(shown_response(command)),
        "error_details": pretty_json(error["details"]) if error.get("details") else None,
    }
