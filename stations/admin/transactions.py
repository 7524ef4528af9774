"""Transactions: facts, read only. A running one can be stopped at its charge point, or its record closed here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from stations import attention, transactions
from stations.admin.actions import send
from stations.admin.dialogs import CommandForm
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.admin.readings import chart, summary
from stations.display import charge_point_link, doubt_badges, duration, energy, flag_badges, power
from stations.models import MeterValue, Transaction
from stations.models.transaction import MAX_TRANSACTION_ID, Flag
from tenants.admin.scoped import LogAdmin, SiteFilter, confirmation
from tenants.display import DASH, badge, leave_dialog, moment

SHOWN_METER_VALUES = 200
CHARTED_METER_VALUES = 4000


class ActiveFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "active"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "running"), ("no", "ended")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(stopped_at__isnull=self.value() == "yes") if self.value() else queryset


class FlaggedFilter(admin.SimpleListFilter):
    title = "review"
    parameter_name = "flagged"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "flagged"), ("no", "not flagged")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.exclude(flags=[]) if self.value() == "yes" else queryset.filter(flags=[])


class StartedFilter(admin.SimpleListFilter):
    title = "start"
    parameter_name = "started"
    days = {"1": "last 24 hours", "7": "last 7 days", "30": "last 30 days"}

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.days.items())

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value not in self.days:
            return queryset
        return queryset.filter(started_at__gte=datetime.now(UTC) - timedelta(days=int(value or 0)))


class StopForm(CommandForm):
    """RemoteStopTransaction for the transaction whose page it is on: nothing to fill in."""

    action = "RemoteStopTransaction"
    title = "Stop this transaction?"
    description = "RemoteStopTransaction is sent; the transaction ends when the charge point says so."

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        self.tx: Transaction = TransactionAdmin.of(request, object_id)
        super().__init__(request, self.tx.charge_point_id, *args, **kwargs)

    def payload(self) -> dict[str, Any]:
        return {"transactionId": self.tx.pk}


@admin.register(Transaction)
class TransactionAdmin(LogAdmin):
    site_path = "charge_point__site"
    version_fields = ("stopped_at",)
    list_display = (
        "id", "station", "connector", "id_tag", "started", "stopped", "energy_shown", "power_shown", "reason",
        "flags_shown",
    )  # fmt: skip
    list_display_links = ("id",)
    list_select_related = ("charge_point",)
    list_filter = (ActiveFilter, FlaggedFilter, StartedFilter, SiteFilter, ChosenChargePoint)
    search_fields = ("id",)
    search_help_text = "Transaction id, exact id tag, or identity of the charge point"
    actions_detail = ("stop", "close")
    change_form_template = "admin/stations/transaction/change_form.html"

    @classmethod
    def of(cls, request: HttpRequest, object_id: Any) -> Transaction:
        """The transaction of a dialog; 404 when it is not one that the person may see."""
        tx: Any = admin.site.get_model_admin(Transaction).get_object(request, str(object_id))
        return tx

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.with_latest_reading()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(id_tag_key=term.upper()) | Q(charge_point__in=charge_points_called(term))
        if term.isdecimal() and int(term) <= MAX_TRANSACTION_ID:
            wanted |= Q(pk=int(term))
        return queryset.filter(wanted), False

    # --- list ---------------------------------------------------------------------------------------------------------
    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows: Any = list(changelist.result_list)
        found = attention.doubts(datetime.now(UTC), [row.pk for row in rows if row.active])
        for row in rows:
            row.doubts = found.get(row.pk, [])
        changelist.result_list = rows
        return changelist

    @display(description="Charge point")
    def station(self, tx: Transaction) -> Any:
        return charge_point_link(tx.charge_point)

    @display(description="Started")
    def started(self, tx: Transaction) -> Any:
        return moment(tx.started_at)

    @display(description="Stopped")
    def stopped(self, tx: Transaction) -> Any:
        return badge("running", "active") if tx.active else moment(tx.stopped_at)

    @display(description="Connector")
    def connector(self, tx: Transaction) -> int:
        return tx.connector_id

    @display(description="Energy")
    def energy_shown(self, tx: Transaction) -> str:
        return energy(tx.current_energy_wh)

    @display(description="Power")
    def power_shown(self, tx: Any) -> str:
        return power(tx.latest_power_w) if tx.active else DASH

    @display(description="Reason")
    def reason(self, tx: Transaction) -> str:
        return tx.stop_reason or DASH

    @display(description="Flags")
    def flags_shown(self, tx: Transaction) -> Any:
        doubtful = doubt_badges(getattr(tx, "doubts", []))
        return format_html("{} {}", doubtful, flag_badges(tx)) if doubtful or tx.flags else DASH

    # --- page ---------------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        state = self.admin_site.admin_view(self.state_view)
        return [path("<int:object_id>/state/", state, name="stations_transaction_state"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tx = self.get_object(request, object_id)
        extra = {**page_of(tx), "title": f"Transaction {tx.pk} at {tx.charge_point}", "subtitle": None}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def state_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The facts, the charts and the readings, without a frame around them. Polled while it runs."""
        tx = self.get_object(request, str(object_id))
        return TemplateResponse(request, "stations/admin/transaction_state.html", page_of(tx))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        return super().get_actions_detail(request, object_id) if self.get_object(request, object_id).active else []

    @action(
        description="Stop",
        icon="stop",
        permissions=["operate"],
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": StopForm.title,
            "description": StopForm.description,
            "form_class": StopForm,
            "form_submit_text": "Stop",
        },
    )
    def stop(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Close record",
        icon="lock_clock",
        permissions=["operate"],
        dialog=confirmation(
            Transaction,
            "Close the record of this transaction?",
            "For a transaction whose end will never be reported. Nothing is sent to the charge point; "
            "the record ends at its last meter value and is flagged, so that it is looked at before it is billed.",
            "Close record",
        ),
    )
    def close(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        with transaction.atomic():
            # Its StopTransaction may be arriving at this moment.
            tx = Transaction.objects.select_for_update().get(pk=form.row.pk)
            was_active = tx.active
            if was_active:
                transactions.close_by_operator(tx, datetime.now(UTC))
                self.audit(request, "close", tx)
        if was_active:
            messages.success(request, f"The record of transaction {tx.pk} is closed.")
        else:
            messages.warning(request, f"Transaction {tx.pk} has ended already.")
        return leave_dialog(request, reverse("admin:stations_transaction_change", args=[tx.pk]))


def page_of(tx: Any) -> dict[str, Any]:
    """What a transaction's page shows: two queries for the readings, however many there are."""
    readings = MeterValue.objects.filter(transaction=tx).order_by("-timestamp")
    charted = list(readings.values_list("timestamp", "power_w", "energy_wh")[:CHARTED_METER_VALUES])[::-1]
    shown = list(readings[:SHOWN_METER_VALUES])
    for row in shown:
        row.energy_text, row.power_text = energy(row.energy_wh), power(row.power_w)
        row.others = summary(row.sampled_value)
    charts = [
        chart("Power", "kW", [(at, watts / 1000) for at, watts, _ in charted if watts is not None]),
        chart(
            "Energy since the start",
            "kWh",
            [
                (at, float(so_far) / 1000)
                for at, _, wh in charted
                if wh is not None and (so_far := tx.so_far(wh)) is not None
            ],
        ),
    ]
    end = tx.stopped_at or datetime.now(UTC)
    labels = dict(Flag.choices)
    return {
        "tx": tx,
        "doubts": attention.doubts(datetime.now(UTC), [tx.pk] if tx.active else []).get(tx.pk, []),
        "station": charge_point_link(tx.charge_point),
        "reservation": tx.reservations.first(),
        "energy_text": energy(tx.current_energy_wh),
        "power_text": power(tx.latest_power_w) if tx.active else DASH,
        "duration_text": duration(max(0.0, (end - tx.started_at).total_seconds())),
        "flags": flag_badges(tx),
        "flag_sentences": [(flag, labels[flag]) for flag in tx.flags if flag in labels],
        "candidates": list(Transaction.objects.filter(pk__in=tx.candidates).order_by("pk")) if tx.candidates else [],
        "charts": [each for each in charts if each is not None],
        "meter_values": shown,
        "meter_values_limit": SHOWN_METER_VALUES,
    }
