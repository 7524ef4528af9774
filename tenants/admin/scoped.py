"""TenantModelAdmin: how the admin shows rows that belong to a tenant.

Context: Django's permissions are per model and for the whole installation; what a person may do here follows from the
role in the tenant they work for, and the rows they see from the scope that TenantMiddleware has opened.
Choice: one base class asks tenants/permissions.py for every permission, treats another tenant's row as absent (404, not
a redirect), and writes edits to the tenant's own AuditEntry instead of Django's installation-wide log.
Consequence: a model's admin says only how it looks, and `site_path`, its way to the site that site-limited people are
confined to. Lists of tables that grow with every message derive from LogAdmin, which never counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.dataclasses import ActionDialog
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSelectWidget

from tenants.admin import lists
from tenants.admin.careful import CarefulAdmin, DialogForm
from tenants.api.requests import address_of
from tenants.models import ApiScope, AuditEntry, Site
from tenants.permissions import allowed_site_ids, has_scope
from tenants.scoped import TenantModel
from tenants.validators import CURRENCY_DECIMALS

# Fields whose values are names from a long list: chosen, not typed.
WORDS = {
    "time_zone": [(name, name) for name in sorted(available_timezones())],
    "currency": [(code, code) for code in CURRENCY_DECIMALS],
}
lists.install()


def may(request: Any, scope: str) -> bool:
    """Whether the signed-in person may use `scope` (an ApiScope) in the tenant they work for.

    A superuser may do everything in the tenant they have switched to; of a suspended tenant, everybody only reads.
    """
    user = request.user
    if request.tenant is None or not (user.is_active and user.is_staff):
        return False
    if user.is_superuser:
        return scope == ApiScope.READ or not request.tenant.is_suspended
    return has_scope(request.membership, scope)


def limited_site_ids(request: Any) -> frozenset[int] | None:
    """Ids of the sites the person is limited to; None: all of them. One query a request."""
    if request.user.is_superuser or request.membership is None:
        return None
    if not hasattr(request, "csms_site_ids"):
        request.csms_site_ids = allowed_site_ids(request.membership)
    sites: frozenset[int] | None = request.csms_site_ids
    return sites


def confined(queryset: Any, request: Any, site_path: str) -> Any:
    """`queryset` without rows of sites that the person may not see; `site_path` leads from the model to its site."""
    sites = limited_site_ids(request)
    return queryset if sites is None else queryset.filter(**{f"{site_path}__in": sites})


class TenantModelAdmin(lists.CarefulFilters, CarefulAdmin):
    """Admin of a TenantModel. It runs inside the scope of `request.tenant`; outside one there is no permission."""

    list_per_page = 50
    list_filter_sheet = False
    compressed_fields = True
    warn_unsaved_form = True
    # What a person needs to add, change and delete; `site_path` None means that the rows concern every site.
    edit_scope: str = ApiScope.MANAGE
    site_path: str | None = None
    # Form fields whose value the audit log must not hold.
    secret_fields: tuple[str, ...] = ()

    @display(description=CarefulAdmin.action_checkbox.short_description)
    def action_checkbox(self, obj: Any) -> SafeString:
        return lists.checkbox_of(obj.pk)

    # --- who may ------------------------------------------------------------------------------------------------------
    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request, ApiScope.READ)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, ApiScope.READ)

    def has_edit_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the person may change rows; what concerns every site is closed to people limited to some."""
        if not may(request, self.edit_scope):
            return False
        return self.site_path is not None or limited_site_ids(request) is None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_edit_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_edit_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_edit_permission(request, obj)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the person may send commands; named so that actions can ask for `permissions=["operate"]`."""
        return may(request, ApiScope.OPERATE)

    # --- which rows ---------------------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request)
        return queryset if self.site_path is None else confined(queryset, request, self.site_path)

    def get_object(self, request: Any, object_id: str, from_field: str | None = None) -> Any:
        """As Django's, but 404 where Django would redirect: another tenant's row looks like one that never was."""
        # Whoever works for no tenant (any more) has no scope in which there could be one.
        visible = request.tenant is not None or not issubclass(self.model, TenantModel)
        obj = super().get_object(request, object_id, from_field) if visible else None
        if obj is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return obj

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        choices = WORDS.get(db_field.name)
        if choices is not None:
            kwargs["widget"] = UnfoldAdminSelectWidget(choices=[("", "---------")] * db_field.blank + choices)
        if isinstance(db_field, models.DateTimeField):
            kwargs["help_text"] = f"{db_field.help_text} Time zone: {timezone.get_current_timezone_name()}.".strip()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        sites = limited_site_ids(request) if field is not None and db_field.remote_field.model is Site else None
        if sites is not None:
            field.queryset = field.queryset.filter(pk__in=sites)
            field.required = True
        return field

    # --- what is left behind ------------------------------------------------------------------------------------------
    def save_model(self, request: Any, obj: Any, form: forms.BaseForm, change: bool) -> None:
        request.csms_changes = changes_of(form, self.secret_fields)
        self.save_row(obj, form)

    def save_row(self, obj: Any, form: forms.BaseForm) -> None:
        """Write what the form changed. To override where others write columns of the row at the same time."""
        obj.save()

    def audit(self, request: Any, action: str, obj: models.Model, changes: dict[str, Any] | None = None) -> None:
        """Note in the tenant's audit log that the person did `action` to `obj`."""
        AuditEntry.objects.record(
            request.user.get_username(), action, obj, changes=changes, user=request.user, address=address_of(request)
        )

    def log_addition(self, request: Any, obj: models.Model, message: Any) -> None:
        self.audit(request, "create", obj)

    def log_change(self, request: Any, obj: models.Model, message: Any) -> None:
        self.audit(request, "change", obj, getattr(request, "csms_changes", None))

    def log_deletions(self, request: Any, queryset: Iterable[models.Model]) -> None:
        self.audit_all(request, "delete", queryset)

    def audit_all(
        self, request: Any, action: str, objects: Iterable[models.Model], changes: dict[str, Any] | None = None
    ) -> None:
        """As `audit` for many rows that were all changed alike."""
        AuditEntry.objects.record_all(
            request.user.get_username(), action, objects, changes=changes, user=request.user,
            address=address_of(request),
        )  # fmt: skip

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit log, filtered to this object."""
        obj = self.get_object(request, object_id)
        query = urlencode({"object_type": obj._meta.label_lower, "object_id": str(obj.pk)})
        return HttpResponseRedirect(f"{reverse('admin:tenants_auditentry_changelist')}?{query}")


class ConfirmForm(DialogForm):
    """A dialog about one row: 404 when it is not one that the person may see, also before anything is confirmed."""

    model: type[models.Model]

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        self.row = admin.site.get_model_admin(self.model).get_object(request, str(object_id))


def confirmation(model: type[models.Model], title: str, description: str, submit_text: str) -> ActionDialog:
    """A dialog that asks "really?" before something is done to a row of `model`."""
    form_class = type(f"Confirm{model.__name__}", (ConfirmForm,), {"model": model})
    return {"title": title, "description": description, "form_class": form_class, "form_submit_text": submit_text}


class ReadOnlyAdmin(TenantModelAdmin):
    """Rows that people look at and never touch."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LogAdmin(ReadOnlyAdmin):
    """Rows of a table that grows without end: newest first, previous and next, and never a COUNT over it."""

    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering: tuple[str, ...] = ("-id",)
    sortable_by = ()
    # A row costs the server most of a millisecond, whatever the table holds.
    list_per_page = 50
    list_fullwidth = True


class SiteFilter(admin.SimpleListFilter):
    """Rows of one site, by the `site_path` of the list's admin; offers only sites that the person may see."""

    title = "site"
    parameter_name = "site"

    def __init__(self, request: Any, params: Any, model: Any, model_admin: Any) -> None:
        self.site_path = model_admin.site_path
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        sites = [(str(site.pk), site.name) for site in confined(Site.objects.all(), request, "pk")]
        value = self.value()
        # A site out of sight stays a choice, or Django would leave the filter out and show every row.
        return sites if not value or value in dict(sites) else [*sites, (value, "unknown")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(**{self.site_path: value}) if value.isdecimal() else queryset.none()


# --- audit ------------------------------------------------------------------------------------------------------------
def changes_of(form: forms.BaseForm, secret_fields: Iterable[str] = ()) -> dict[str, list[Any]]:
    """Field: [before, after] of what a valid form changes, as JSON; the values of secret fields are left out."""
    changes: dict[str, list[Any]] = {}
    for name in form.changed_data:
        field = form.fields[name]
        if name in secret_fields:
            changes[name] = ["***", "***"]
        else:
            before = _chosen(field, form.get_initial_for_field(field, name))
            changes[name] = [_plain(before), _plain(form.cleaned_data.get(name))]
    return changes


def _chosen(field: forms.Field, initial: Any) -> Any:
    """The rows behind the initial value of a field that chooses rows, which is given as keys; else the value itself."""
    if not isinstance(field, forms.ModelChoiceField) or field.queryset is None or initial is None:
        return initial
    if isinstance(field, forms.ModelMultipleChoiceField):
        return list(field.queryset.filter(pk__in=[getattr(row, "pk", row) for row in initial]))
    return field.queryset.filter(pk=getattr(initial, "pk", initial)).first()


def _plain(value: Any) -> Any:
    if isinstance(value, models.Model):
        return str(value)
    if isinstance(value, QuerySet | list | tuple | set | frozenset):
        return [_plain(element) for element in value]
    return value
