"""What charge points said and did, as it came: messages, handshakes, boots, statuses, meter values. Read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from stations.admin.filters import (
    AlwaysWindowedChangeList,
    ChosenChargePoint,
    WindowedChangeList,
    charge_points_called,
)
from stations.admin.readings import summary
from stations.display import charge_point_link, create_url, energy, power, status_badge
from stations.handshake import REFUSALS
from stations.models import Boot, ConnectionAttempt, ConnectorStatus, MeterValue, OcppMessage, StrayHandshake
from stations.models.charge_point import SecurityProfile
from stations.models.message import MessageType
from stations.ocpp.actions import FROM_CHARGE_POINT, TO_CHARGE_POINT
from tenants.admin.scoped import LogAdmin
from tenants.display import DASH, badge, local_text, moment, pretty_json

PAYLOAD_SHOWN = 200


class StationLogAdmin(LogAdmin):
    """A log that belongs to charge points and has no index by tenant."""

    site_path = "charge_point__site"
    list_select_related = ("charge_point",)
    search_fields = ("charge_point__identity",)
    search_help_text = "Identity of the charge point"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return WindowedChangeList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(charge_point__in=charge_points_called(search_term)), False

    @display(description="Charge point")
    def station(self, row: Any) -> Any:
        return charge_point_link(row.charge_point)

    @display(description="Received")
    def received(self, row: Any) -> SafeString:
        local = timezone.localtime(row.received_at)
        return format_html(
            '<time class="csms-time" title="{}">{}</time>',
            local_text(row.received_at), local.strftime("%Y-%m-%d %H:%M:%S.") + f"{local.microsecond // 1000:03d}",
        )  # fmt: skip


class MessageActionFilter(admin.SimpleListFilter):
    title = "action"
    parameter_name = "action"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted({*FROM_CHARGE_POINT, *TO_CHARGE_POINT})]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class DirectionFilter(admin.SimpleListFilter):
    title = "direction"
    parameter_name = "direction"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("in", "from the charge point"), ("out", "to the charge point")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(incoming=self.value() == "in") if self.value() else queryset


@admin.register(OcppMessage)
class OcppMessageAdmin(StationLogAdmin):
    list_display = ("received", "station", "arrow", "kind", "action", "payload_start", "latency")
    list_display_links = ("received",)
    list_filter = (DirectionFilter, "message_type", MessageActionFilter, ChosenChargePoint)
    fields = ("received", "station", "arrow", "kind", "action", "message_id", "latency", "error_shown", "content")
    readonly_fields = fields

    @display(description="Direction")
    def arrow(self, message: OcppMessage) -> SafeString:
        return badge("in", "info", "from the charge point") if message.incoming else badge("out", "plain", "to it")

    @display(description="Type")
    def kind(self, message: OcppMessage) -> SafeString:
        failed = message.message_type in (MessageType.CALLERROR, MessageType.OTHER)
        return badge(message.get_message_type_display(), "danger" if failed else "plain")

    @display(description="Payload")
    def payload_start(self, message: OcppMessage) -> SafeString:
        text = message.payload
        cut = text if len(text) <= PAYLOAD_SHOWN else f"{text[:PAYLOAD_SHOWN]}…"
        code = format_html('<code class="csms-inline-code csms-one-line">{}</code>', cut)
        return format_html('{}<div class="csms-bad-text">{}</div>', code, message.error) if message.error else code

    @display(description="Payload")
    def content(self, message: OcppMessage) -> SafeString:
        return pretty_json(message.payload_json)

    @display(description="Latency")
    def latency(self, message: OcppMessage) -> str:
        return DASH if message.latency_ms is None else f"{message.latency_ms:.1f} ms"

    @display(description="Error")
    def error_shown(self, message: OcppMessage) -> str:
        return message.error or DASH


class ReasonFilter(admin.SimpleListFilter):
    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(reason, reason.replace("_", " ")) for reason in REFUSALS]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(StrayHandshake)
class StrayHandshakeAdmin(LogAdmin):
    """For platform administrators: handshakes whose URL names no tenant."""

    list_display = ("last", "path_shown", "what_to_do", "meant_shown", "address", "times", "first")
    list_display_links = ("last",)
    search_fields = ("path",)
    search_help_text = "Part of the path"
    ordering = ("-last_at", "-pk")
    fields = (
        "path_shown", "what_to_do", "meant_shown", "address", "times", "first", "last", "user_agent", "subprotocols",
    )  # fmt: skip
    readonly_fields = fields

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_module_permission(self, request: Any) -> bool:
        return bool(request.user.is_superuser)

    @display(description="Dialled")
    def path_shown(self, row: StrayHandshake) -> SafeString:
        return format_html('<code class="csms-inline-code">{}</code>', row.path)

    @display(description="What to do")
    def what_to_do(self, row: StrayHandshake) -> str:
        return row.remedy

    @display(description="Most likely")
    def meant_shown(self, row: StrayHandshake) -> str:
        return row.meant or DASH

    @display(description="First")
    def first(self, row: StrayHandshake) -> Any:
        return moment(row.first_at)

    @display(description="Last")
    def last(self, row: StrayHandshake) -> Any:
        return moment(row.last_at)


@admin.register(ConnectionAttempt)
class ConnectionAttemptAdmin(LogAdmin):
    """Handshakes, also of identities that nobody registered: those are seen by people who see every site."""

    site_path = "charge_point__site"
    list_display = ("when", "identity_link", "result", "what_to_do", "address", "profile", "subprotocols")
    list_display_links = ("when",)
    list_select_related = ("charge_point",)
    list_filter = ("accepted", ReasonFilter, ChosenChargePoint)
    search_fields = ("identity",)
    search_help_text = "Identity, exactly as dialled"
    fields = (
        "when", "identity_link", "result", "what_to_do", "address", "profile", "subprotocols", "user_agent",
        "tls_version", "tls_cipher", "client_certificate",
    )  # fmt: skip
    readonly_fields = fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        return (queryset.filter(identity=term) if term else queryset), False

    @display(description="When")
    def when(self, attempt: ConnectionAttempt) -> Any:
        return moment(attempt.at)

    @display(description="Identity")
    def identity_link(self, attempt: ConnectionAttempt) -> Any:
        link = charge_point_link(attempt.charge_point, attempt.identity)
        if attempt.charge_point is None or attempt.charge_point.identity == attempt.identity:
            return link
        return format_html('{} <div class="csms-subtle">most likely {}</div>', attempt.identity, link)

    @display(description="Result")
    def result(self, attempt: ConnectionAttempt) -> SafeString:
        if attempt.accepted:
            return badge("accepted", "success", "HTTP 101")
        return badge(attempt.reason.replace("_", " "), "danger", f"HTTP {attempt.http_status}")

    @display(description="What to do")
    def what_to_do(self, attempt: ConnectionAttempt) -> SafeString | str:
        url = create_url(attempt)
        if not url:
            return attempt.remedy or DASH
        return format_html('{} <a class="csms-link" href="{}">Create it</a>', attempt.remedy, url)

    @display(description="Security profile")
    def profile(self, attempt: ConnectionAttempt) -> str:
        labels: dict[int | None, Any] = dict(SecurityProfile.choices)
        return str(labels.get(attempt.security_profile, DASH))


@admin.register(Boot)
class BootAdmin(StationLogAdmin):
    list_display = ("when", "station", "answer", "hardware", "firmware")
    list_display_links = ("when",)
    list_filter = ("status", ChosenChargePoint)
    fields = ("when", "station", "answer", "payload_pretty")
    readonly_fields = fields

    @display(description="When")
    def when(self, boot: Boot) -> Any:
        return moment(boot.at)

    @display(description="Our answer")
    def answer(self, boot: Boot) -> SafeString:
        return badge(boot.status, {"Accepted": "success", "Rejected": "danger"}.get(boot.status, "warning"))

    @display(description="Hardware")
    def hardware(self, boot: Boot) -> str:
        return f"{boot.payload.get('charge_point_vendor', '')} {boot.payload.get('charge_point_model', '')}".strip()

    @display(description="Firmware")
    def firmware(self, boot: Boot) -> str:
        return boot.payload.get("firmware_version") or DASH

    @display(description="Reported")
    def payload_pretty(self, boot: Boot) -> SafeString:
        return pretty_json(boot.payload)


@admin.register(ConnectorStatus)
class ConnectorStatusAdmin(StationLogAdmin):
    list_display = ("received", "station", "connector_id", "status_shown", "error_code", "info_shown", "reported_time")
    list_display_links = ("received",)
    list_filter = (ChosenChargePoint,)
    fields = (
        "received", "station", "connector_id", "status_shown", "error_code", "info", "vendor_id", "vendor_error_code",
        "reported_time",
    )  # fmt: skip
    readonly_fields = fields

    @display(description="Status")
    def status_shown(self, row: ConnectorStatus) -> SafeString:
        return status_badge(row)

    @display(description="Info")
    def info_shown(self, row: ConnectorStatus) -> str:
        return " ".join(part for part in (row.info, row.vendor_id, row.vendor_error_code) if part) or DASH

    @display(description="Its own time")
    def reported_time(self, row: ConnectorStatus) -> Any:
        return moment(row.at)


@admin.register(MeterValue)
class MeterValueAdmin(StationLogAdmin):
    list_display = ("received", "station", "connector_id", "measured", "energy_shown", "power_shown", "soc", "others")
    list_display_links = ("received",)
    list_filter = (ChosenChargePoint,)
    fields = ("received", "station", "connector_id", "transaction", "measured", "energy_shown", "power_shown", "raw")
    readonly_fields = fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return AlwaysWindowedChangeList

    @display(description="Measured")
    def measured(self, value: MeterValue) -> Any:
        return moment(value.timestamp)

    @display(description="Register")
    def energy_shown(self, value: MeterValue) -> str:
        return energy(value.energy_wh)

    @display(description="Power")
    def power_shown(self, value: MeterValue) -> str:
        return power(value.power_w)

    @display(description="State of charge")
    def soc(self, value: MeterValue) -> str:
        return DASH if value.soc_percent is None else f"{value.soc_percent:g} %"

    @display(description="Other readings")
    def others(self, value: MeterValue) -> str:
        return summary(value.sampled_value) or DASH

    @display(description="Sampled value")
    def raw(self, value: MeterValue) -> SafeString:
        return pretty_json(value.sampled_value)
