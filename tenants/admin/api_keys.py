"""API keys: made here, shown once, revoked here; never edited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from tenants.admin.people import SitesField
from tenants.admin.scoped import TenantModelAdmin, confirmation
from tenants.display import DASH, ago, badge, leave_dialog, moment, secret_message
from tenants.models import ApiKey, ApiScope


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=ApiScope.choices,
        initial=[ApiScope.READ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="What programs that sign in with this key may do.",
    )
    limited_to_sites = SitesField()

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "expires_at")

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError("This is in the past.")
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(TenantModelAdmin):
    form = ApiKeyForm
    list_display = ("name", "prefix", "state", "scope_names", "site_names", "expiry", "last_used", "created_by")
    list_select_related = ("created_by",)
    search_fields = ("name", "prefix")
    actions = None
    actions_detail = ("revoke",)
    version_fields = ("name", "scopes", "expires_at", "revoked_at")
    readonly_fields = ("prefix", "state", "scope_names", "site_names", "expiry", "last_used", "created", "created_by")
    add_fieldsets = ((None, {"fields": ("name", "scopes", "limited_to_sites", "expires_at")}),)
    fieldsets = ((None, {"fields": ("name", *readonly_fields)}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("sites")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is not None else ()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_edit_permission(request, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_edit_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A revoked key stays, so that its use in the past can be told.
        return False

    def save_model(self, request: Any, obj: ApiKey, form: Any, change: bool) -> None:
        key, text = ApiKey.issue(
            request.tenant,
            obj.name,
            form.cleaned_data["scopes"],
            expires_at=obj.expires_at,
            sites=form.cleaned_data["limited_to_sites"],
            created_by=request.user,
        )
        obj.__dict__.update({field.attname: getattr(key, field.attname) for field in key._meta.concrete_fields})
        messages.warning(request, secret_message(f"The key {key.name}:", text))

    @display(description="State")
    def state(self, key: ApiKey) -> Any:
        if key.revoked_at is not None:
            return badge("revoked", "danger")
        return badge("valid", "success") if key.is_valid_at(timezone.now()) else badge("expired", "warning")

    @display(description="Scopes")
    def scope_names(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(description="Sites")
    def site_names(self, key: ApiKey) -> str:
        return ", ".join(site.name for site in key.sites.all()) or "all sites"

    @display(description="Expires")
    def expiry(self, key: ApiKey) -> Any:
        return moment(key.expires_at) if key.expires_at else DASH

    @display(description="Created")
    def created(self, key: ApiKey) -> Any:
        return moment(key.created_at)

    @display(description="Last used")
    def last_used(self, key: ApiKey) -> Any:
        return ago(key.last_used_at)

    @action(
        description="Revoke",
        icon="key_off",
        permissions=["edit"],
        dialog=confirmation(
            ApiKey,
            "Revoke this key?",
            "Programs that use it are refused from now on. This cannot be undone.",
            "Revoke",
        ),
    )
    def revoke(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        key = form.row
        with transaction.atomic():
            key.revoke(timezone.now())
            self.audit(request, "revoke", key)
        messages.success(request, f"{key.name} is revoked.")
        return leave_dialog(request, reverse("admin:tenants_apikey_change", args=[key.pk]))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        revoked = self.get_object(request, object_id).revoked_at is not None
        return [] if revoked else super().get_actions_detail(request, object_id)
