"""Reservations at the admin: the dialogs that reserve and cancel, the panel of a charge point, the list, the page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from stations import reservations
from stations.admin.actions import dialog, send
from stations.admin.dialogs import (
    SUGGESTIONS,
    CommandForm,
    RemoteStartForm,
    SuggestingNumber,
    id_tag_options,
    number,
    text,
)
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.display import charge_point_link, command_badge, reservation_badge, transaction_link
from stations.models import ChargePoint, Reservation
from stations.models.reservation import MAX_RESERVATION_ID, EndReason, ReservationStatus
from tenants.admin.scoped import LogAdmin, SiteFilter, TenantModelAdmin
from tenants.display import DASH, moment

SHOWN = 20
DEFAULT_MINUTES = 15
MAX_MINUTES = 5_000_000
ANY_CONNECTOR = "any"


class ReserveForm(CommandForm):
    """ReserveNow. Nothing is sent that is not filled in, but the parent of the id tag unless it is switched off."""

    action = "ReserveNow"
    title = "Reserve"
    description = "The charge point keeps a connector free for an id tag until a time."
    members = {
        "connectorId": "connector_id", "expiryDate": "minutes", "idTag": "id_tag", "parentIdTag": "parent_id_tag",
        "reservationId": "reservation_id",
    }  # fmt: skip
    connector_id = forms.IntegerField(
        label="Connector", widget=SuggestingNumber(), help_text="0 is any connector of the charge point."
    )
    id_tag = RemoteStartForm.base_fields["id_tag"]
    minutes = number(
        "Minutes from now",
        required=False,
        initial=DEFAULT_MINUTES,
        min_value=-MAX_MINUTES,
        max_value=MAX_MINUTES,
        help_text="How long it is kept. Not used when a time is given.",
    )
    until = forms.DateTimeField(
        label="Or until", required=False, widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local", "step": 1})
    )
    parent_id_tag = text(
        "Parent id tag", required=False, help_text="Whose whole group may use it. Empty: the parent of the id tag."
    )
    without_parent = forms.BooleanField(
        label="For this id tag alone",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="No parentIdTag is sent.",
    )
    reservation_id = number(
        "Reservation id", required=False, help_text="Empty: a new one. An id that is there already is replaced."
    )
    field_order = (
        "connector_id", "id_tag", "minutes", "until", "parent_id_tag", "without_parent", "reservation_id",
    )  # fmt: skip

    def suggest(self, charge_point: ChargePoint) -> None:
        self.fields["id_tag"].widget.options = id_tag_options("")
        connectors = charge_point.connectors.filter(connector_id__gt=0).order_by("connector_id")
        known = list(connectors.values_list("connector_id", "status")[:SUGGESTIONS])
        self.fields["connector_id"].widget.options = [(0, ANY_CONNECTOR), *known]
        if len(known) == 1:
            self.fields["connector_id"].initial = known[0][0]
        self.fields["until"].help_text = f"Exactly, in the time zone {timezone.get_current_timezone_name()}."

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not self.errors and given["minutes"] is None and given["until"] is None:
            self.add_error("minutes", "Say how long, or until when.")
        if not self.errors and given["without_parent"] and given["parent_id_tag"]:
            self.add_error("without_parent", "A parent id tag is filled in.")
        if not self.errors:
            # Once, so that what is checked is what is sent.
            given["expires_at"] = given["until"] or datetime.now(UTC) + timedelta(minutes=given["minutes"])
        return super().clean()

    def payload(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.charge_point is None:
            raise TypeError("A reservation is made at one charge point.")
        parent = None if given["without_parent"] else given["parent_id_tag"] or reservations.Parent.OF_ID_TAG
        return reservations.reserve_payload(
            self.charge_point,
            connector_id=given["connector_id"],
            id_tag=given["id_tag"],
            expiry_date=given["expires_at"],
            parent_id_tag=parent,
            reservation_id=given["reservation_id"],
        )

    def _point_at(self, pointer: str, detail: str) -> None:
        # One that was left out is allocated when the command is queued.
        if pointer != "/reservationId" or self.cleaned_data["reservation_id"] is not None:
            super()._point_at(pointer, detail)


class CancelForm(CommandForm):
    action = "CancelReservation"
    title = "Cancel reservation"
    description = "CancelReservation is sent; the reservation is closed when the charge point answers."
    submit_text = "Cancel it"
    members = {"reservationId": "reservation_id"}
    reservation_id = forms.IntegerField(
        label="Reservation", widget=SuggestingNumber(), help_text="The live ones are suggested; any id can be sent."
    )

    def suggest(self, charge_point: ChargePoint) -> None:
        live = list(Reservation.objects.live(datetime.now(UTC)).filter(charge_point=charge_point)[:SUGGESTIONS])
        field = self.fields["reservation_id"]
        field.widget.options = [(row.reservation_id, f"{connector_text(row)}, {row.id_tag}") for row in live]
        asked = self.request.GET.get("reservation")
        if asked and asked.lstrip("-").isdecimal():
            field.initial = asked
        elif len(live) == 1:
            field.initial = live[0].reservation_id


class CancelThisForm(CommandForm):
    """CancelReservation for the reservation whose page it is on: nothing to fill in."""

    action = "CancelReservation"
    title = "Cancel this reservation?"
    description = CancelForm.description
    submit_text = CancelForm.submit_text

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        self.row = ReservationAdmin.of(request, object_id)
        super().__init__(request, self.row.charge_point_id, *args, **kwargs)

    def payload(self) -> dict[str, Any]:
        return {"reservationId": self.row.reservation_id}


class ReservationActions(TenantModelAdmin):
    """The requests of the Reservation profile, as buttons of a charge point's page."""

    reservation_menu: dict[str, Any] = {
        "title": "Reservation",
        "icon": "event_available",
        "items": ["reserve", "cancel_reservation"],
    }

    @action(
        description="Reserve",
        icon="event_available",
        permissions=["operate"],
        url_path="reserve",
        dialog=dialog(ReserveForm),
    )
    def reserve(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Cancel reservation",
        icon="event_busy",
        permissions=["operate"],
        url_path="cancel-reservation",
        dialog=dialog(CancelForm),
    )
    def cancel_reservation(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)


def connector_name(row: Reservation) -> str:
    """For a column of its own."""
    return ANY_CONNECTOR if row.connector_id == 0 else str(row.connector_id)


def connector_text(row: Reservation) -> str:
    """Within a sentence."""
    return "any connector" if row.connector_id == 0 else f"connector {row.connector_id}"


def reservations_panel(charge_point: ChargePoint) -> dict[str, Any]:
    """The newest reservations of a charge point, live or not."""
    now = datetime.now(UTC)
    rows = [row.at(now) for row in Reservation.objects.filter(charge_point=charge_point)[:SHOWN]]
    return {"rows": [(row, connector_name(row), row.is_live(now)) for row in rows]}


class ReservationStatusFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "status"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status) for status in ReservationStatus.values]

    def queryset(self, request: Any, queryset: Any) -> QuerySet[Any]:
        value = self.value()
        found: QuerySet[Any] = queryset.in_status(value, datetime.now(UTC)) if value else queryset
        return found


@admin.register(Reservation)
class ReservationAdmin(LogAdmin):
    site_path = "charge_point__site"
    version_fields = ("status",)
    list_display = (
        "number", "state", "station", "connector", "id_tag", "parent", "until", "used_by", "requested_by", "requested",
    )  # fmt: skip
    list_display_links = ("number",)
    list_select_related = ("charge_point",)
    list_filter = (ReservationStatusFilter, SiteFilter, ChosenChargePoint)
    search_fields = ("reservation_id",)
    search_help_text = "Reservation id, exact id tag, or identity of the charge point"
    actions_detail = ("cancel",)
    change_form_template = "admin/stations/reservation/change_form.html"

    @classmethod
    def of(cls, request: HttpRequest, object_id: Any) -> Reservation:
        """The reservation of a dialog; 404 when it is not one that the person may see."""
        row: Any = admin.site.get_model_admin(Reservation).get_object(request, str(object_id))
        return row

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(id_tag_key=term.upper()) | Q(charge_point__in=charge_points_called(term))
        if term.isdecimal() and int(term) <= MAX_RESERVATION_ID:
            wanted |= Q(reservation_id=int(term))
        return queryset.filter(wanted), False

    # --- list ---------------------------------------------------------------------------------------------------------
    @display(description="Id")
    def number(self, row: Reservation) -> str:
        return str(row.reservation_id)

    @display(description="State")
    def state(self, row: Reservation) -> Any:
        return reservation_badge(row.at(datetime.now(UTC)))

    @display(description="Charge point")
    def station(self, row: Reservation) -> Any:
        return charge_point_link(row.charge_point)

    @display(description="Connector")
    def connector(self, row: Reservation) -> str:
        return connector_name(row)

    @display(description="Group")
    def parent(self, row: Reservation) -> str:
        return row.parent_id_tag or DASH

    @display(description="Until")
    def until(self, row: Reservation) -> Any:
        return moment(row.expiry_date)

    @display(description="Transaction")
    def used_by(self, row: Reservation) -> Any:
        return transaction_link(row.transaction_id)

    @display(description="Requested")
    def requested(self, row: Reservation) -> Any:
        return moment(row.requested_at)

    # --- page ---------------------------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("charge_point", "command", "cancel_command")

    def get_urls(self) -> list[URLPattern]:
        state = self.admin_site.admin_view(self.state_view)
        return [path("<int:object_id>/state/", state, name="stations_reservation_state"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        title = f"Reservation {row} at {row.charge_point}"
        extra = {**page_of(row), "title": title, "subtitle": None}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def state_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The page without a frame around it. Polled while the reservation is live."""
        row = self.get_object(request, str(object_id))
        return TemplateResponse(request, "stations/admin/reservation_state.html", page_of(row))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        # One that has ended here can be cancelled at its charge point's page, where any id can be sent.
        live = self.get_object(request, object_id).is_live(datetime.now(UTC))
        return super().get_actions_detail(request, object_id) if live else []

    @action(
        description="Cancel reservation",
        icon="event_busy",
        permissions=["operate"],
        variant=ActionVariant.PRIMARY,
        url_path="cancel",
        dialog=dialog(CancelThisForm),
    )
    def cancel(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)


def page_of(row: Reservation) -> dict[str, Any]:
    """What a reservation's page shows."""
    now = datetime.now(UTC)
    row = row.at(now)
    live = row.is_live(now)
    outstanding = [each for each in (row.command, row.cancel_command) if each is not None and not each.is_final]
    return {
        "reservation": row,
        "badge": reservation_badge(row),
        "station": charge_point_link(row.charge_point),
        "connector_text": connector_text(row),
        "transaction": transaction_link(row.transaction_id),
        "reserve_command": None if row.command is None else command_badge(row.command),
        "cancel_command": None if row.cancel_command is None else command_badge(row.cancel_command),
        "why": dict(EndReason.choices).get(row.end_reason, ""),
        "poll_seconds": 1 if outstanding else 10 if live else 0,
        "live": live,
        "unanswered": live and not outstanding and row.status == ReservationStatus.REQUESTED,
    }
