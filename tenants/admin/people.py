"""Who works for a tenant: memberships for its owners and administrators, user accounts for platform administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from tenants import owners
from tenants.admin.careful import CarefulAdmin
from tenants.admin.scoped import TenantModelAdmin
from tenants.display import badge, moment
from tenants.models import Membership, Role, Site
from tenants.scope import platform_scope

NO_SUCH_USER = "Nobody has exactly this user name or e-mail address."
SEVERAL_USERS = "Several accounts have this e-mail address: give the user name."
NOT_MADE_HERE = "Only an owner makes or unmakes owners."
LAST_OWNER_OF = "{} is the last owner of {} who can sign in and is not limited to sites: make another one first."
NOT_STAFF = "{} cannot sign in here yet: a platform administrator has to give the account staff status."


class SitesField(forms.ModelMultipleChoiceField):
    """The sites that something is limited to; none chosen means all of them."""

    def __init__(self, help_text: str = "None chosen means every site.") -> None:
        super().__init__(
            queryset=Site.objects.all(),
            required=False,
            label="Limited to sites",
            help_text=help_text,
            widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        )


class MembershipForm(forms.ModelForm):
    """Adds a person by exact name, so that nobody can list the people of other tenants."""

    request: Any = None
    person = forms.CharField(
        label="User name or e-mail", max_length=254, required=True, widget=UnfoldAdminTextInputWidget(),
        help_text="Exactly as the account has it. Accounts are made by the platform's administrators.",
    )  # fmt: skip
    limited_to_sites = SitesField()

    class Meta:
        model = Membership
        fields = ("role",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields.pop("person", None)
            if "limited_to_sites" in self.fields:
                self.initial["limited_to_sites"] = list(self.instance.sites.all())

    def clean_person(self) -> str:
        person = self.cleaned_data["person"].strip()
        found = list(User.objects.filter(username=person)) or list(User.objects.filter(email__iexact=person)[:2])
        if len(found) != 1:
            raise ValidationError(SEVERAL_USERS if found else NO_SUCH_USER)
        if Membership.objects.filter(user=found[0]).exists():
            raise ValidationError("This person is a member already.")
        self.instance.user = found[0]
        return person

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        role = cleaned.get("role")
        if role is None:
            return cleaned
        if self.instance.pk is None:
            if role == Role.OWNER and not self._may_edit_owners():
                self.add_error("role", NOT_MADE_HERE)
            return cleaned
        owners.hold([self.instance.tenant_id])
        before = Membership.objects.get(pk=self.instance.pk).role
        if Role.OWNER in (role, before) and not self._may_edit_owners():
            if role != before:
                self.add_error("role", NOT_MADE_HERE)
            if before == Role.OWNER:
                self.add_error(None, owners.OWNERS_ONLY)
        elif owners.is_last(self.instance):
            if role != Role.OWNER:
                self.add_error("role", owners.LAST_OWNER)
            if cleaned.get("limited_to_sites"):
                self.add_error("limited_to_sites", owners.LAST_OWNER)
        return cleaned

    def _may_edit_owners(self) -> bool:
        return owners.may_edit_owners(self.request.user, self.request.membership)


@admin.register(Membership)
class MembershipAdmin(TenantModelAdmin):
    form = MembershipForm
    list_display = ("person_name", "email", "role_badge", "site_names", "since")
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email", "user__first_name", "user__last_name")
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("sites")

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"request": request})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first = "person" if obj is None else "person_name"
        shown: dict[str, Any] = {
            "fields": (first, "role", "limited_to_sites" if self._edits(request, obj) else "site_names")
        }
        if obj is not None and obj.role == Role.OWNER and not self._may_edit_owners(request):
            shown["description"] = owners.OWNERS_ONLY
        return [(None, shown)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("person_name", "site_names") if obj is not None else ()

    def _edits(self, request: HttpRequest, obj: Any) -> bool:
        return self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_delete_permission(request, obj):
            return False
        if obj is None or obj.role != Role.OWNER:
            return True
        if request.method == "POST":
            owners.hold([obj.tenant_id])
        return self._may_edit_owners(request) and not owners.is_last(obj)

    def _may_edit_owners(self, request: Any) -> bool:
        return owners.may_edit_owners(request.user, request.membership)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.instance.sites.set(form.cleaned_data["limited_to_sites"])
        if not change and not form.instance.user.is_staff:
            messages.warning(request, NOT_STAFF.format(form.instance.user))

    @display(description="Person", ordering="user__username")
    def person_name(self, membership: Membership) -> str:
        full_name = membership.user.get_full_name()
        return f"{full_name} ({membership.user.get_username()})" if full_name else membership.user.get_username()

    @display(description="E-mail", ordering="user__email")
    def email(self, membership: Membership) -> str:
        return str(membership.user.email)

    @display(description="Role", ordering="role")
    def role_badge(self, membership: Membership) -> Any:
        variant = "active" if membership.role in (Role.OWNER, Role.ADMIN) else "plain"
        return badge(membership.get_role_display(), variant)

    @display(description="Since", ordering="created_at")
    def since(self, membership: Membership) -> Any:
        return moment(membership.created_at)

    @display(description="Limited to sites")
    def site_names(self, membership: Membership) -> str:
        return ", ".join(site.name for site in membership.sites.all()) or "all sites"


admin.site.unregister(User)
admin.site.unregister(Group)


class AccountForm(UserChangeForm):
    """An account; that of a tenant's last owner stays one that can sign in."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        taken = [name for name in ("is_active", "is_staff") if name in self.changed_data and not cleaned.get(name)]
        if taken:
            owners.hold_all_of(self.instance)
            # The instance has the new values only after this.
            for tenant in owners.left_without(self.instance):
                self.add_error(taken[0], LAST_OWNER_OF.format(self.instance, tenant))
        return cleaned


@admin.register(User)
class UserAdmin(DjangoUserAdmin, CarefulAdmin):  # type: ignore[misc]  # the stubs of get_form differ in a name
    """Accounts of the installation; what an account may do in a tenant is its membership, not Django's permissions."""

    form = AccountForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "is_superuser", "is_active")
    list_filter = ("is_staff", "is_superuser", "is_active")
    filter_horizontal = ()
    actions = None
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        (
            "Access",
            {
                "fields": ("is_active", "is_staff", "is_superuser"),
                "description": "Staff may sign in here and do what their membership in a tenant allows. "
                "A superuser is a platform administrator: every tenant, every right.",
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "usable_password", "password1", "password2", "is_staff")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_module_permission(self, request: Any) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        listed, counts, missing, protected = super().get_deleted_objects(objs, request)
        for user in objs:
            if request.method == "POST":
                owners.hold_all_of(user)
            protected = [*protected, *(LAST_OWNER_OF.format(user, tenant) for tenant in owners.left_without(user))]
        # Who may delete accounts deletes the memberships with them, whichever tenant they are in.
        return listed, counts, missing - {str(Membership._meta.verbose_name)}, protected

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002 - Django's
        refused = self.refusal_of(request, id)
        return refused or super().user_change_password(request, id, form_url)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        # The account's memberships are in many tenants, and all go with it.
        with platform_scope():
            response = super().delete_view(request, object_id, extra_context)
            return response.render() if isinstance(response, TemplateResponse) else response
