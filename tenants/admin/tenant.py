"""Tenants and their sites: settings for owners and administrators, the list of tenants for platform administrators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display

from tenants.admin.scoped import TenantModelAdmin, confirmation, limited_site_ids, may
from tenants.display import DASH, badge, leave_dialog
from tenants.models import ApiKeySite, ApiScope, MembershipSite, Site, Tenant
from tenants.scope import platform_scope, tenant_scope

NOT_DELETED = (
    "Nobody deletes a tenant here: its transactions and invoices have to be kept. Suspend it instead, on its page: its "
    "data stay, and nobody sends commands or changes anything until it is resumed."
)


@admin.register(Tenant)
class TenantAdmin(TenantModelAdmin):
    """A member sees their own tenant only, and edits it as owner or administrator; the rest is the platform's."""

    list_display = ("name", "slug", "state", "currency", "time_zone", "created_at", "work_for_it")
    search_fields = ("name", "slug")
    ordering = ("slug",)
    list_after_template = "tenants/switch_form.html"
    actions = None
    actions_detail = ("suspend", "resume")
    fieldsets = (
        (None, {"fields": ("name", "slug", "currency", "time_zone")}),
        (
            "Charge points",
            {
                "fields": (
                    "unknown_charge_points",
                    "allow_security_profile_0",
                    "allow_security_profile_1",
                    "allow_weak_passwords",
                    "concurrent_tx_enabled",
                    "autocharge_enabled",
                    "heartbeat_interval_seconds",
                    "pending_interval_seconds",
                    "stop_tolerance_seconds",
                )
            },
        ),
        (
            "Retention and limits",
            {
                "fields": (
                    "secret_configuration_keys",
                    "message_retention_days",
                    "meter_value_rollup_days",
                    "meter_value_retention_days",
                    "history_retention_days",
                    "audit_retention_days",
                    "max_charge_points",
                )
            },
        ),
    )
    platform_fields = ("slug", "currency", "max_charge_points")

    def version_names(self, request: HttpRequest, row: Any) -> tuple[str, ...]:
        return (*super().version_names(request, row), "suspended_at")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return bool(request.user.is_superuser) or may(request, ApiScope.READ)

    def has_edit_permission(self, request: Any, obj: Any = None) -> bool:
        if request.user.is_superuser:
            return True
        return may(request, ApiScope.MANAGE) and limited_site_ids(request) is None

    def has_platform_permission(self, request: Any, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_platform_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Invoices outlive the wish to clean up: a tenant is suspended, not deleted.
        return False

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        if self.has_platform_permission(request):
            raise PermissionDenied(NOT_DELETED)
        return super().delete_view(request, object_id, extra_context)

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        queryset = super().get_queryset(request)
        if request.user.is_superuser:
            return queryset
        return queryset.filter(pk=request.tenant.pk if request.tenant else None)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if not self.has_platform_permission(request):
            return self.platform_fields
        # The slug is part of the URL that every charge point of the tenant has been given.
        return ("slug",) if obj is not None else ()

    def audit(self, request: Any, action: str, obj: Any, changes: dict[str, Any] | None = None) -> None:
        # The tenant that is edited need not be the one the platform administrator works for at the moment.
        with platform_scope(), tenant_scope(obj):
            super().audit(request, action, obj, changes)

    @display(description="State")
    def state(self, tenant: Tenant) -> Any:
        return badge("suspended", "warning") if tenant.is_suspended else badge("active", "success")

    @display(description="")
    def work_for_it(self, tenant: Tenant) -> Any:
        return format_html(
            '<button form="switch-tenant" name="tenant" value="{}" class="csms-link">Work for it</button>', tenant.pk
        )

    @action(
        description="Suspend",
        icon="pause_circle",
        permissions=["platform"],
        dialog=confirmation(
            Tenant,
            "Suspend this tenant?",
            "Its data stay and its charge points stay connected, but nobody sends commands or changes "
            "anything until it is resumed.",
            "Suspend",
        ),
    )
    def suspend(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        tenant = form.row
        with transaction.atomic():
            tenant.suspend(timezone.now())
            self.audit(request, "suspend", tenant)
        messages.success(request, f"{tenant} is suspended.")
        return leave_dialog(request, reverse("admin:tenants_tenant_change", args=[tenant.pk]))

    @action(
        description="Resume",
        icon="play_circle",
        permissions=["platform"],
        dialog=confirmation(
            Tenant,
            "Resume this tenant?",
            "Commands and changes are possible again.",
            "Resume",
        ),
    )
    def resume(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        tenant = form.row
        with transaction.atomic():
            tenant.resume()
            self.audit(request, "resume", tenant)
        messages.success(request, f"{tenant} is active.")
        return leave_dialog(request, reverse("admin:tenants_tenant_change", args=[tenant.pk]))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only the one of the two that would change something."""
        tenant = self.get_object(request, object_id)
        unwanted = "suspend" if tenant.is_suspended else "resume"
        actions = super().get_actions_detail(request, object_id)
        return [each for each in actions if not each.action_name.endswith(f"_{unwanted}")]


@admin.register(Site)
class SiteAdmin(TenantModelAdmin):
    list_display = ("name", "slug", "address", "local_time_zone", "charge_point_count")
    search_fields = ("name", "slug", "address")
    prepopulated_fields = {"slug": ("name",)}
    site_path = "pk"
    fieldsets = (
        (None, {"fields": ("name", "slug", "address", "time_zone")}),
        ("Position", {"fields": (("latitude", "longitude"),)}),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A new site would be out of sight for somebody limited to others.
        return self.has_edit_permission(request) and limited_site_ids(request) is None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(charge_points_here=Count("charge_points"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[Any], dict[str, int], set[str], Any]:
        """Refuse when somebody is limited to the site: without it, "this site only" would turn into "every site"."""
        pks = [site.pk for site in objs]
        limits = (
            MembershipSite.objects.filter(site__in=pks).select_related("membership__user"),
            ApiKeySite.objects.filter(site__in=pks).select_related("api_key"),
        )
        protected = [f"Member {row.membership}, limited to {row.site}" for row in limits[0].select_related("site")]
        protected += [f"API key {row.api_key}, limited to {row.site}" for row in limits[1].select_related("site")]
        for site in objs:
            id_tags = site.id_tags.count()
            if id_tags:
                protected.append(f"{id_tags} id tags, limited to {site}")
        return [str(site) for site in objs], {"sites": len(pks)}, set(), protected

    @display(description="Time zone")
    def local_time_zone(self, site: Site) -> str:
        return site.time_zone or "as the tenant"

    @display(description="Charge points", ordering="charge_points_here")
    def charge_point_count(self, site: Any) -> Any:
        count = site.charge_points_here
        if not count:
            return DASH
        url = reverse("admin:stations_chargepoint_changelist")
        return format_html('<a class="csms-link" href="{}?site={}">{}</a>', url, site.pk, count)
