"""The sidebar: what a person may open, in the order of the day's work."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

API_DOCUMENTATION = "/api/docs/"

# Title of the group, then (label, icon, "app.model") of its entries.
GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Charging",
        (
            ("Charge points", "ev_station", "stations.chargepoint"),
            ("Transactions", "bolt", "stations.transaction"),
            ("Reservations", "event_available", "stations.reservation"),
            ("Id tags", "contactless", "stations.idtag"),
            ("Refused cards", "no_accounts", "stations.refusedidtag"),
            ("Local lists", "playlist_add_check", "stations.localauthlist"),
            ("Charging profiles", "ssid_chart", "stations.chargingprofile"),
            ("Sites", "location_on", "tenants.site"),
        ),
    ),
    (
        "Operation",
        (
            ("Commands", "terminal", "stations.command"),
            ("Firmware images", "memory", "stations.firmwareimage"),
            ("Firmware updates", "system_update_alt", "stations.firmwareupdate"),
            ("Diagnostics and logs", "troubleshoot", "stations.logrequest"),
            ("Security events", "policy", "stations.securityevent"),
            ("Client certificates", "workspace_premium", "stations.certificate"),
            ("Certificate requests", "contract_edit", "stations.certificaterequest"),
            ("Certificate authorities", "verified_user", "stations.certificateauthority"),
            ("Root certificates", "shield_lock", "stations.rootcertificate"),
            ("Vendor messages", "data_object", "stations.vendormessage"),
            ("Vendor extensions", "extension", "stations.vendorextension"),
            ("Connection attempts", "cable", "stations.connectionattempt"),
            ("OCPP messages", "forum", "stations.ocppmessage"),
            ("Connector statuses", "timeline", "stations.connectorstatus"),
            ("Meter values", "speed", "stations.metervalue"),
            ("Boots", "power_settings_new", "stations.boot"),
        ),
    ),
    (
        "Administration",
        (
            ("Members", "group", "tenants.membership"),
            ("API keys", "key", "tenants.apikey"),
            ("Audit log", "history", "tenants.auditentry"),
            ("Job runs", "work_history", "tenants.jobrun"),
        ),
    ),
    (
        "Platform",
        (
            ("Tenants", "domain", "tenants.tenant"),
            ("Users", "manage_accounts", "auth.user"),
            ("Guessing", "password", "tenants.guessing"),
            ("Stray handshakes", "wrong_location", "stations.strayhandshake"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Navigation for django-unfold: only what the person may open."""
    groups: list[dict[str, Any]] = [
        {"title": "", "items": [{"title": "Dashboard", "icon": "dashboard", "link": reverse("admin:index")}]}
    ]
    if _may_open(request, "stations.chargepoint"):
        attention = {"title": "Needs attention", "icon": "notification_important"}
        groups[0]["items"].append({**attention, "link": reverse("admin:stations_attention")})
    for title, entries in GROUPS:
        items = [_item(label, icon, model) for label, icon, model in entries if _may_open(request, model)]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    for group in groups:
        if group["title"] == "Administration":
            group["items"].extend(_settings_of_own_tenant(request))
    _mark_one_active(request, groups)
    return groups


def _item(label: str, icon: str, model: str) -> dict[str, Any]:
    return {"title": label, "icon": icon, "link": reverse(f"admin:{model.replace('.', '_')}_changelist")}


def _mark_one_active(request: HttpRequest, groups: list[dict[str, Any]]) -> None:
    """Mark one entry as active, not two, on the page of the tenant at work."""
    entries = {item["title"]: item for group in groups for item in group["items"]}
    attention = entries.get("Needs attention")
    if attention is not None and request.path == attention["link"]:
        # Its address is below that of the charge points.
        entries["Charge points"]["active"] = False
    settings, tenants = entries.get("Tenant settings"), entries.get("Tenants")
    if settings is not None and tenants is not None:
        settings["active"] = request.path == settings["link"]
        tenants["active"] = request.path.startswith(tenants["link"]) and not settings["active"]


def _may_open(request: Any, model: str) -> bool:
    if model == "tenants.tenant" and not request.user.is_superuser:
        # A member has one tenant at a time, and reaches its settings directly.
        return False
    for registered, model_admin in admin.site._registry.items():
        if registered._meta.label_lower == model:
            return bool(model_admin.has_module_permission(request) and model_admin.has_view_permission(request))
    return False


def _settings_of_own_tenant(request: Any) -> list[dict[str, Any]]:
    items = [{"title": "API documentation", "icon": "api", "link": API_DOCUMENTATION}]
    if request.tenant is not None:
        link = reverse("admin:tenants_tenant_change", args=[request.tenant.pk])
        items.insert(0, {"title": "Tenant settings", "icon": "settings", "link": link})
    return items
