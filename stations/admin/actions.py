"""The command buttons: one dialog a request, for one charge point or for many. Each ends in commands.enqueue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.dataclasses import ActionDialog
from unfold.decorators import action

from stations import commands
from stations.admin import dialogs
from stations.models import ChargePoint, Command, Transaction
from tenants.admin.scoped import TenantModelAdmin
from tenants.display import leave_dialog

SHOWN_TARGETS = 50


def dialog(form_class: type[dialogs.CommandForm]) -> ActionDialog:
    return {
        "title": form_class.title,
        "description": form_class.description,
        "form_class": form_class,
        "form_submit_text": form_class.submit_text,
    }


def send(request: HttpRequest, form: dialogs.CommandForm) -> HttpResponse:
    """Queue what a valid dialog asks for and go to the command's page; a refusal is shown in the dialog."""
    charge_point = form.charge_point
    if charge_point is None:
        raise TypeError("A dialog for many charge points is sent by send_to_many.")
    try:
        with transaction.atomic():
            command = commands.enqueue(charge_point, form.action, form.payload(), request.user.get_username())
    except commands.CommandRefused as refused:
        form.refuse(refused)
        context = {"dialog": dialog(type(form)), "form": form, "form_submit_text": form.submit_text}
        return render(request, "unfold/helpers/dialog.html", context)
    return leave_dialog(request, command_url(command))


def command_url(command: Command) -> str:
    return reverse("admin:stations_command_change", args=[command.pk])


def many_page(
    model_admin: TenantModelAdmin, request: HttpRequest, charge_points: list[ChargePoint], form: dialogs.CommandForm
) -> HttpResponse:
    """Ask once what shall be done to the charge points chosen in the list; with the errors of what was filled in."""
    now = timezone.now()
    receivers = [each for each in charge_points if not each.disabled]
    running = Transaction.objects.open().filter(charge_point__in=[each.pk for each in receivers]).count()
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{form.title}: {len(charge_points):,} charge points",
        "opts": model_admin.opts,
        "form": form,
        "receivers": len(receivers),
        "disabled": len(charge_points) - len(receivers),
        "shown": charge_points[:SHOWN_TARGETS],
        "more": max(0, len(charge_points) - SHOWN_TARGETS),
        "offline": sum(not each.connected for each in receivers),
        "expires_at": now + timedelta(seconds=commands.usual_life_seconds(form.action)) if form.action else None,
        "running": running if form.action == "Reset" else 0,
        "action_name": request.POST.get("action", ""),
        "media": model_admin.media,
    }
    return TemplateResponse(request, "stations/admin/send_to_many.html", context)


class CommandActions(TenantModelAdmin):
    """The commands of Core and Remote Trigger, as buttons of a charge point's page and as actions of the list."""

    actions_detail: tuple[str | dict[str, Any], ...] = (
        "remote_start",
        "remote_stop",
        {
            "title": "Commands",
            "icon": "terminal",
            "items": [
                "reset",
                "unlock_connector",
                "change_availability",
                "get_configuration",
                "change_configuration",
                "clear_cache",
                "trigger_message",
                "data_transfer",
            ],
        },
    )
    actions: tuple[str, ...] = (
        "reset_many",
        "availability_many",
        "read_configuration_many",
        "change_configuration_many",
        "clear_many",
        "trigger_many",
    )

    # --- one charge point ---------------------------------------------------------------------------------------------
    @action(
        description="Remote start",
        icon="play_arrow",
        permissions=["operate"],
        url_path="remote-start",
        dialog=dialog(dialogs.RemoteStartForm),
    )
    def remote_start(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Remote stop",
        icon="stop",
        permissions=["operate"],
        url_path="remote-stop",
        dialog=dialog(dialogs.RemoteStopForm),
    )
    def remote_stop(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Reset",
        icon="restart_alt",
        permissions=["operate"],
        url_path="reset",
        dialog=dialog(dialogs.ResetForm),
    )
    def reset(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Unlock connector",
        icon="lock_open",
        permissions=["operate"],
        url_path="unlock-connector",
        dialog=dialog(dialogs.UnlockForm),
    )
    def unlock_connector(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Change availability",
        icon="power_settings_new",
        permissions=["operate"],
        url_path="change-availability",
        dialog=dialog(dialogs.ChangeAvailabilityForm),
    )
    def change_availability(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Read configuration",
        icon="manage_search",
        permissions=["operate"],
        url_path="get-configuration",
        dialog=dialog(dialogs.GetConfigurationForm),
    )
    def get_configuration(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Change configuration",
        icon="tune",
        permissions=["operate"],
        url_path="change-configuration",
        dialog=dialog(dialogs.ChangeConfigurationForm),
    )
    def change_configuration(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Clear cache",
        icon="cleaning_services",
        permissions=["operate"],
        url_path="clear-cache",
        dialog=dialog(dialogs.ClearCacheForm),
    )
    def clear_cache(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Trigger message",
        icon="notifications_active",
        permissions=["operate"],
        url_path="trigger-message",
        dialog=dialog(dialogs.TriggerMessageForm),
    )
    def trigger_message(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Data transfer",
        icon="sync_alt",
        permissions=["operate"],
        url_path="data-transfer",
        dialog=dialog(dialogs.DataTransferForm),
    )
    def data_transfer(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    # --- many charge points -------------------------------------------------------------------------------------------
    @admin.action(description="Reset", permissions=["operate"])
    def reset_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, dialogs.ResetForm)

    @admin.action(description="Change availability", permissions=["operate"])
    def availability_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, dialogs.ChangeAvailabilityForm)

    @admin.action(description="Read configuration", permissions=["operate"])
    def read_configuration_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, dialogs.GetConfigurationForm)

    @admin.action(description="Change configuration", permissions=["operate"])
    def change_configuration_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, dialogs.ChangeConfigurationForm)

    @admin.action(description="Clear the authorization cache", permissions=["operate"])
    def clear_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, dialogs.ClearCacheForm)

    @admin.action(description="Trigger a message", permissions=["operate"])
    def trigger_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, dialogs.TriggerMessageForm)

    def send_to_many(
        self, request: HttpRequest, queryset: QuerySet[ChargePoint], form_class: type[dialogs.CommandForm]
    ) -> HttpResponse:
        """Ask for the members once, then queue the same request for every chosen charge point as one batch."""
        charge_points = list(queryset.select_related("tenant"))
        form = form_class(request, data=request.POST if "_form_submitted" in request.POST else None)
        if form.is_valid():
            try:
                batch = commands.enqueue_many(charge_points, form.action, form.payload(), request.user.get_username())
            except commands.CommandRefused as refused:
                form.refuse(refused)
            else:
                left_out = sum(charge_point.disabled for charge_point in charge_points)
                if left_out:
                    messages.warning(request, f"{left_out} disabled charge points were left out.")
                return HttpResponseRedirect(f"{reverse('admin:stations_command_changelist')}?batch={batch.pk}")
        return many_page(self, request, charge_points, form)
