"""Charge points: the list, the page with its panels, creating one, and its password."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Exists, OuterRef, Prefetch, QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from csms import addresses
from stations import registration
from stations.admin import credentials
from stations.admin.actions import CommandActions
from stations.admin.attention import attention_view
from stations.admin.charge_point_form import (
    TOLERANCES,
    ChargePointForm,
    give_password,
    warn_of_weak,
)
from stations.admin.dialogs import id_tag_options, option_tags
from stations.admin.panels import PANELS, presence
from stations.admin.security_events import AlertFilter, alerts_of
from stations.admin.station_actions import MANY, MENUS, ExtensionActions
from stations.display import connection_dot, connector_badge, registration_badge
from stations.models import ChargePoint, Connector, Transaction
from stations.models.connector import ChargePointStatus
from tenants.admin.careful import SHOWN_ROWS
from tenants.admin.scoped import SiteFilter, confined
from tenants.display import DASH, ago, secret_message

MAX_VENDORS = 50
# The tabs of a charge point's page, in groups that fit a narrow screen; all but the first and "general" are panels that
# are fetched when their tab is opened.
TAB_GROUPS = (
    ("Now", (("overview", "Overview"), ("general", "Settings"))),
    (
        "Charging",
        (
            ("transactions", "Transactions"),
            ("reservations", "Reservations"),
            ("charging_profiles", "Charging profiles"),
            ("composite_schedule", "Composite schedule"),
        ),
    ),
    (
        "Operation",
        (
            ("commands", "Commands"),
            ("configuration", "Configuration"),
            ("local_list", "Local list"),
            ("firmware", "Firmware and logs"),
        ),
    ),
    ("Security", (("security_events", "Security"), ("certificates", "Certificates"))),
    ("Trouble", (("connection", "Connection"), ("messages", "Messages"), ("times", "Response times"))),
)
LAZY_TABS = tuple(
    (name, label) for _, tabs in TAB_GROUPS for name, label in tabs if name not in ("overview", "general")
)


class PresenceFilter(admin.SimpleListFilter):
    """Connected, lost, or never there: three different things to do."""

    title = "connection"
    parameter_name = "presence"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("connected", "connected"), ("lost", "lost"), ("never", "never connected")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        if self.value() == "connected":
            return queryset.filter(connected=True)
        return queryset.filter(connected=False, connected_at__isnull=self.value() == "never")


class VendorFilter(admin.SimpleListFilter):
    title = "vendor"
    parameter_name = "vendor"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        vendors = confined(ChargePoint.objects.exclude(vendor=""), request, "site")
        names = vendors.order_by("vendor").values_list("vendor", flat=True).distinct()[:MAX_VENDORS]
        return [(name, name) for name in names]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(vendor=self.value()) if self.value() else queryset


class ConnectorStatusFilter(admin.SimpleListFilter):
    title = "connector status"
    parameter_name = "connector"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status) for status in ChargePointStatus.values]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(Exists(Connector.objects.filter(charge_point=OuterRef("pk"), status=self.value())))


@admin.register(ChargePoint)
class ChargePointAdmin(CommandActions, ExtensionActions):
    form = ChargePointForm
    site_path = "site"
    secret_fields = ("password",)
    list_display = ("connection", "identity", "site", "status", "connector_badges", "hardware", "last_seen", "running")
    list_display_links = ("identity",)
    list_select_related = ("site",)
    list_filter = (
        PresenceFilter, "registration_status", ConnectorStatusFilter, AlertFilter, SiteFilter, VendorFilter, "disabled",
    )  # fmt: skip
    search_fields = ("identity", "description", "vendor", "model", "serial_number", "charge_point_serial_number")
    search_help_text = "Identity, description, vendor, model, serial number"
    actions_detail = MENUS
    actions = MANY
    change_form_template = "admin/stations/chargepoint/change_form.html"
    instead = (
        "Disable instead",
        "A charge point that is disabled is refused and gets no commands; its transactions and its history stay.",
    )
    fieldsets = (
        (None, {"fields": ("identity", "description", "site", "registration_status", "disabled")}),
        ("Security", {"fields": ("security_profile", "exact_security_profile", "serial_number")}),
        ("Behaviour", {"fields": TOLERANCES}),
    )
    add_fieldsets = (
        (None, {"fields": ("identity", "description", "site", "registration_status")}),
        ("Security", {"fields": ("security_profile", "exact_security_profile", "password", "serial_number")}),
        ("Behaviour", {"fields": TOLERANCES}),
    )

    def version_names(self, request: HttpRequest, row: Any) -> tuple[str, ...]:
        # What the dialogs about passwords and profiles change is in no field of the form.
        return (*super().version_names(request, row), "password_hash", "pending_security_profile")

    # --- list ---------------------------------------------------------------------------------------------------------
    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        # Fetched for the rows of the page only: two queries, however many charge points there are.
        running = Transaction.objects.open().only("pk", "charge_point_id", "tenant_id")
        rows = list(changelist.result_list)
        running_ones = Prefetch("transactions", queryset=running, to_attr="running_transactions")
        prefetch_related_objects(rows, "connectors", running_ones)
        changelist.result_list = rows
        return changelist

    @display(description="")
    def connection(self, charge_point: ChargePoint) -> SafeString:
        return connection_dot(charge_point)

    @display(description="Registration", ordering="registration_status")
    def status(self, charge_point: ChargePoint) -> SafeString:
        return registration_badge(charge_point)

    @display(description="Connectors")
    def connector_badges(self, charge_point: ChargePoint) -> SafeString | str:
        connectors = sorted(charge_point.connectors.all(), key=lambda connector: connector.connector_id)
        # Connector 0 is the main controller: of interest when something is wrong with it.
        shown = [each for each in connectors if each.connector_id != 0 or each.status in ("Faulted", "Unavailable")]
        if not shown:
            return DASH
        return format_html(
            '<span class="csms-badges">{}</span>',
            format_html_join(
                " ", "{}", ((connector_badge(connector, connected=charge_point.connected),) for connector in shown)
            ),
        )

    @display(description="Hardware", ordering="vendor")
    def hardware(self, charge_point: ChargePoint) -> SafeString | str:
        name = f"{charge_point.vendor} {charge_point.model}".strip()
        if not name:
            return DASH
        return format_html('{}<div class="csms-subtle">{}</div>', name, charge_point.firmware_version)

    @display(description="Last seen", ordering="last_seen_at")
    def last_seen(self, charge_point: ChargePoint) -> Any:
        return ago(charge_point.last_seen_at)

    @display(description="Charging")
    def running(self, charge_point: Any) -> Any:
        transactions = charge_point.running_transactions
        if not transactions:
            return DASH
        if len(transactions) == 1:
            url = reverse("admin:stations_transaction_change", args=[transactions[0].pk])
            return format_html('<a class="csms-link" href="{}">{}</a>', url, transactions[0].pk)
        url = f"{reverse('admin:stations_transaction_changelist')}?charge_point={charge_point.pk}&active=yes"
        return format_html('<a class="csms-link" href="{}">{} transactions</a>', url, len(transactions))

    # --- page ---------------------------------------------------------------------------------------------------------
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # The identity is in the URL that the charge point has been given, and in every row about it.
        return ("identity",) if obj is not None else ()

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"request": request})

    def change_view(
        self, request: Any, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        charge_point = self.get_object(request, object_id)
        extra = {
            "charge_point": charge_point,
            "subtitle": None,
            "tab_groups": TAB_GROUPS,
            "lazy_tabs": LAZY_TABS,
            "connection_url": registration.connection_url(charge_point, request.tenant),
            "address_unknown": addresses.UNKNOWN,
            **credentials.state(charge_point, timezone.now()),
            **alerts_of(charge_point),
            **presence(charge_point),
        }
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("attention/", self.admin_site.admin_view(attention_view), name="stations_attention"),
            path("id-tags/", self.admin_site.admin_view(self.id_tags_view), name="stations_chargepoint_id_tags"),
            path(
                "<int:object_id>/connect/",
                self.admin_site.admin_view(self.connect_view),
                name="stations_chargepoint_connect",
            ),
            path(
                "<int:object_id>/panel/<slug:name>/",
                self.admin_site.admin_view(self.panel_view),
                name="stations_chargepoint_panel",
            ),
        ]
        return own + super().get_urls()

    def response_add(
        self, request: HttpRequest, obj: ChargePoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the page that says how to connect it, with its password, unless another page was asked for."""
        response = super().response_add(request, obj, post_url_continue)
        if {"_continue", "_addanother", "_popup"} & set(request.POST) or not isinstance(response, HttpResponseRedirect):
            return response
        return HttpResponseRedirect(reverse("admin:stations_chargepoint_connect", args=[obj.pk]))

    def connect_view(self, request: Any, object_id: int) -> HttpResponse:
        """What to enter at the charge point, and, live, whether it has come or why it was refused."""
        charge_point = self.get_object(request, str(object_id))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Connect {charge_point.identity}",
            "charge_point": charge_point,
            "connection_url": registration.connection_url(charge_point, request.tenant),
            "address_unknown": addresses.UNKNOWN,
            "can_edit": self.has_edit_permission(request),
            "with_password": charge_point.security_profile in registration.WITH_PASSWORD,
            **presence(charge_point),
        }
        return TemplateResponse(request, "stations/admin/connect.html", context)

    def panel_view(self, request: HttpRequest, object_id: int, name: str) -> HttpResponse:
        """One panel of a charge point's page, as HTML without a frame around it."""
        charge_point = self.get_object(request, str(object_id))
        panel = PANELS.get(name)
        if panel is None:
            raise Http404("There is no such panel.")
        context = {
            "charge_point": charge_point,
            "can_operate": self.has_operate_permission(request),
            "can_edit": self.has_edit_permission(request),
            **panel(charge_point),
        }
        return TemplateResponse(request, f"stations/admin/panels/{name}.html", context)

    def id_tags_view(self, request: HttpRequest) -> HttpResponse:
        """Suggestions for a free id tag: options of a datalist."""
        if not self.has_view_permission(request):
            raise Http404("There is nothing to suggest.")
        return HttpResponse(option_tags(id_tag_options(request.GET.get("id_tag", "")[:20])))

    # --- writing ------------------------------------------------------------------------------------------------------
    def save_model(self, request: Any, obj: ChargePoint, form: Any, change: bool) -> None:
        password = None
        if not change and obj.security_profile in registration.WITH_PASSWORD:
            password = give_password(obj, form.cleaned_data["password"])
        super().save_model(request, obj, form, change)
        for warning in [] if change else registration.identity_warnings(obj):
            messages.warning(request, warning["detail"])
        if password is not None:
            messages.warning(request, secret_message(f"The password of {obj.identity}:", password))
            warn_of_weak(request, password)
        elif obj.security_profile in registration.WITH_PASSWORD and not obj.password_hash:
            messages.warning(request, f"{obj.identity} has no password yet, so it cannot connect: see Security.")

    def save_row(self, obj: ChargePoint, form: Any) -> None:
        registration.save(obj, form.changed_data)

    def consequences(self, request: HttpRequest, rows: QuerySet[Any]) -> list[str]:
        connected = rows.filter(connected=True).count()
        if not connected:
            return []
        return [f"{connected:,} of them connected now: their connections end, and they are refused from then on."]

    def do_instead(self, request: HttpRequest, rows: QuerySet[Any]) -> str:
        disabled = list(rows.filter(disabled=False).select_for_update(no_key=True, of=("self",)))
        for charge_point in disabled:
            charge_point.disabled = True
            registration.save(charge_point, ["disabled"])
            self.audit(request, "change", charge_point, {"disabled": [False, True]})
        more = f" and {len(disabled) - 10:,} more" if len(disabled) > 10 else ""
        return f"Disabled: {', '.join(row.identity for row in disabled[:10]) or 'none that was not before'}{more}."

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[Any], dict[str, int], set[str], Any]:
        """What goes and what stands in the way, without loading a million messages to list them."""
        chosen = list(objs)
        transactions = Transaction.objects.filter(charge_point__in=[each.pk for each in chosen])
        numbers = transactions.order_by().values_list("charge_point__identity").annotate(number=Count("pk"))
        protected = [
            f"{identity} has {number:,} {'transaction' if number == 1 else 'transactions'}, which are kept"
            for identity, number in numbers.order_by("charge_point__identity")[:SHOWN_ROWS]
        ]
        listed = [format_html("{} with its connectors, commands, messages and log", each.identity) for each in chosen]
        return listed, {"charge points": len(chosen)}, set(), protected
