"""Certificates of a tenant at the admin: authorities, client certificates, requests, the roots that are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from stations.admin.certificates import certificate_badge, request_badge
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.certificates import authorities, issuing, roots
from stations.display import charge_point_link
from stations.models import Certificate, CertificateAuthority, CertificateRequest, RootCertificate
from stations.models.certificate import EXPIRED, AuthorityKind, CertificateState, KeyType
from stations.refusal import CommandRefused
from tenants.admin.scoped import ConfirmForm, LogAdmin, SiteFilter, TenantModelAdmin
from tenants.display import DASH, badge, leave_dialog, moment

FACTS = ("subject", "issuer", "serial_number", "fingerprint", "key", "not_before", "not_after")
SETTINGS = (
    "active", "signs_requests", "organization", "validity_days", "check_common_name", "check_organization",
    "renew_days_before",
)  # fmt: skip


def pem_box(text: str) -> SafeString | str:
    """A PEM text to be selected and copied."""
    return format_html('<pre class="csms-code">{}</pre>', text) if text else DASH


def area(label: str, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label=label, help_text=help_text, widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}), strip=False
    )


# --- authorities ------------------------------------------------------------------------------------------------------
class AuthorityForm(forms.ModelForm):
    """Settings of an authority, and of a new one where its certificate comes from."""

    kind = forms.ChoiceField(choices=AuthorityKind.choices, widget=UnfoldAdminSelectWidget())
    key_type = forms.ChoiceField(
        choices=[("", "none"), *KeyType.choices], required=False, widget=UnfoldAdminSelectWidget(),
        help_text="Of one that signs here.", initial=KeyType.RSA_2048,
    )  # fmt: skip
    parent: forms.ModelChoiceField[CertificateAuthority] = forms.ModelChoiceField(
        queryset=None, required=False, empty_label="none: a root", widget=UnfoldAdminSelectWidget(),
        help_text="The root above an intermediate that signs here.",
    )  # fmt: skip
    certificate = forms.CharField(
        label="Certificate (PEM)", required=False, widget=AdminTextareaWidget(attrs={"rows": 8}),
        help_text="Of one that signs elsewhere or is only trusted.",
    )  # fmt: skip

    class Meta:
        model = CertificateAuthority
        fields = ("name", "signature_scheme", *SETTINGS)
        help_texts = {"signature_scheme": "Empty: PKCS#1 v1.5 for RSA, ECDSA for an elliptic curve."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            for name in ("kind", "key_type", "parent", "certificate"):
                self.fields.pop(name, None)
        elif "parent" in self.fields:
            self.fields["certificate"].widget = UnfoldAdminTextareaWidget(attrs={"rows": 8})
            parent: Any = self.fields["parent"]
            parent.queryset = CertificateAuthority.objects.filter(kind=AuthorityKind.ISSUING, parent=None, active=True)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return given
        try:
            if self.instance.pk is None:
                self._make(given)
            else:
                for name, value in given.items():
                    setattr(self.instance, name, value)
                authorities.check(self.instance)
                others = CertificateAuthority.objects.exclude(pk=self.instance.pk)
                if others.filter(name=self.instance.name).exists():
                    self.add_error("name", "Another authority has this name.")
        except authorities.AuthorityRefused as refused:
            self.add_error(refused.member if refused.member in self.fields else None, refused.detail)
        return given

    def _make(self, given: dict[str, Any]) -> None:
        issuing_here = given["kind"] == AuthorityKind.ISSUING
        if issuing_here and not given["key_type"]:
            self.add_error("key_type", "Choose a key.")
        if issuing_here == bool(given["certificate"]):
            text = "The certificate is made here." if issuing_here else "Paste the certificate of the authority."
            self.add_error("certificate", text)
        if not self.errors:
            if issuing_here:
                authorities.scheme_for(given["key_type"], given["signature_scheme"])
            else:
                authorities.usable(given["certificate"])
        if not self.errors and CertificateAuthority.objects.filter(name=given["name"]).exists():
            self.add_error("name", "Another authority has this name.")

    def _post_clean(self) -> None:
        # A new one is made, and checked, by the verb.
        if self.instance.pk is not None:
            super()._post_clean()  # type: ignore[misc]  # the stubs leave it out

    def _get_validation_exclusions(self) -> set[str]:
        # That another one signs is no error: it hands over.
        return {*super()._get_validation_exclusions(), "signs_requests"}  # type: ignore[misc]  # as above


@admin.register(CertificateAuthority)
class CertificateAuthorityAdmin(TenantModelAdmin):
    form = AuthorityForm
    list_display = ("name", "role", "key", "ends", "is_active", "signs", "renews", "revocations_of")
    list_filter = ("kind", "active")
    search_fields = ("name", "subject", "fingerprint")
    readonly_fields = ("kind_shown", "signs_with", *FACTS, "pem", "crl_updated_at", "crl_next_update", "created_by")
    actions_detail = ("import_crl",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            made = ("name", "kind", "key_type", "signature_scheme", "parent", "certificate")
            return [(None, {"fields": made}), ("Settings", {"fields": SETTINGS})]
        scheme = ("signature_scheme",) if obj.kind == AuthorityKind.ISSUING and obj.key_type != KeyType.EC_P256 else ()
        return [
            (None, {"fields": ("name", "kind_shown", *scheme)}),
            ("Settings", {"fields": SETTINGS}),
            ("Certificate", {"fields": (*FACTS, "pem", "created_by")}),
            ("Revocation list", {"fields": ("crl_updated_at", "crl_next_update")}),
        ]

    def save_row(self, obj: CertificateAuthority, form: Any) -> None:
        if obj.pk is not None:
            authorities.change(obj, set(form.changed_data) or {"name"})
            return
        given = {name: value for name, value in form.cleaned_data.items() if name in (*SETTINGS, "signature_scheme")}
        name, kind, now = form.cleaned_data["name"], form.cleaned_data["kind"], datetime.now(UTC)
        if kind == AuthorityKind.ISSUING:
            row = authorities.create_issuing(
                name, obj.created_by, now, key_type=form.cleaned_data["key_type"], parent=form.cleaned_data["parent"],
                **given,
            )  # fmt: skip
        else:
            given.pop("signature_scheme")
            row = authorities.import_authority(
                name, obj.created_by, now, kind=kind, certificate=form.cleaned_data["certificate"], **given
            )
        # The form's own row has become that one.
        obj.__dict__.update(row.__dict__)

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user.get_username()
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_delete_permission(request, obj):
            return False
        return obj is None or not (obj.certificates.exists() or obj.children.exists())

    def get_actions(self, request: HttpRequest) -> Any:
        # One by one, so that none goes that certificates were signed with.
        return {name: found for name, found in super().get_actions(request).items() if name != "delete_selected"}

    @display(description="Role", ordering="kind")
    def role(self, row: CertificateAuthority) -> str:
        return f"{row.kind}, below {row.parent}" if row.parent_id else row.kind

    @display(description="Kind")
    def kind_shown(self, row: CertificateAuthority) -> str:
        return row.get_kind_display()

    @display(description="Signs with")
    def signs_with(self, row: CertificateAuthority) -> str:
        return row.get_signature_scheme_display() or DASH

    @display(description="Valid until", ordering="not_after")
    def ends(self, row: CertificateAuthority) -> Any:
        return moment(row.not_after)

    @display(description="Trusted", ordering="active")
    def is_active(self, row: CertificateAuthority) -> SafeString:
        return badge("trusted", "success") if row.active else badge("off", "plain", "It lets no charge point in")

    @display(description="Signs requests")
    def signs(self, row: CertificateAuthority) -> SafeString | str:
        return badge("signs requests", "active") if row.signs_requests else DASH

    @display(description="Renewal")
    def renews(self, row: CertificateAuthority) -> str:
        days = row.renew_days_before
        return "by hand" if days is None else f"{days} days before the end"

    @display(description="Revocation list")
    def revocations_of(self, row: CertificateAuthority) -> Any:
        return DASH if row.crl_updated_at is None else moment(row.crl_updated_at)

    @display(description="PEM")
    def pem(self, row: CertificateAuthority) -> SafeString | str:
        return pem_box(row.certificate)

    @action(
        description="Import revocation list",
        icon="block",
        permissions=["edit"],
        url_path="import-crl",
        dialog={
            "title": "Import a revocation list",
            "description": "It takes the place of the one before. It must be signed by this authority.",
            "form_class": type("CrlForm", (ConfirmForm,), {"model": CertificateAuthority, "crl": area("PEM")}),
            "form_submit_text": "Import it",
        },
    )
    def import_crl(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        try:
            count = authorities.import_revocations(form.row, form.cleaned_data["crl"], datetime.now(UTC))
        except authorities.AuthorityRefused as refused:
            messages.error(request, refused.detail)
        else:
            self.audit(request, "import revocation list", form.row, {"entries": [None, count]})
            messages.success(request, f"{count} certificates are revoked by it.")
        return leave_dialog(request, reverse("admin:stations_certificateauthority_change", args=[form.row.pk]))


# --- certificates -----------------------------------------------------------------------------------------------------
class OfChargePointAdmin(LogAdmin):
    """Rows of charge points: found by identity, confined to the sites of the person."""

    site_path = "charge_point__site"
    list_select_related: tuple[str, ...] = ("charge_point", "authority")
    search_fields = ("charge_point__identity",)
    search_help_text = "Identity of the charge point"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(charge_point__in=charge_points_called(search_term)), False

    @display(description="Charge point")
    def station(self, row: Any) -> Any:
        return charge_point_link(row.charge_point)


class CertificateStateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.replace("_", " ")) for state in (*CertificateState.values, EXPIRED)]

    def queryset(self, request: Any, queryset: Any) -> QuerySet[Any]:
        found: QuerySet[Any] = queryset.in_state(self.value(), datetime.now(UTC)) if self.value() else queryset
        return found


class RevokeForm(ConfirmForm):
    model = Certificate
    why = forms.CharField(label="Reason", max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))


@admin.register(Certificate)
class CertificateAdmin(OfChargePointAdmin):
    version_fields = ("state", "revoked_at")
    list_display = ("subject", "state_shown", "station", "authority", "key", "ends", "used")
    list_filter = (CertificateStateFilter, SiteFilter, ChosenChargePoint)
    fieldsets = (
        (None, {"fields": ("station", "state_shown", "authority", "origin", "command")}),
        ("Certificate", {"fields": (*FACTS, "pem")}),
        ("History", {"fields": ("created_at", "sent_at", "answered_at", "first_used_at", "last_used_at", "revoked_at",
                                "revoked_by", "reason")}),
    )  # fmt: skip
    readonly_fields = ("station", "state_shown", "pem")
    actions_detail = ("revoke",)

    @display(description="State")
    def state_shown(self, row: Certificate) -> Any:
        return certificate_badge(row, datetime.now(UTC))

    @display(description="Valid until")
    def ends(self, row: Certificate) -> Any:
        return moment(row.not_after)

    @display(description="Last used")
    def used(self, row: Certificate) -> Any:
        return moment(row.last_used_at)

    @display(description="Chain (PEM)")
    def pem(self, row: Certificate) -> SafeString | str:
        return pem_box(row.chain)

    @action(
        description="Revoke",
        icon="block",
        permissions=["edit"],
        variant=ActionVariant.DANGER,
        url_path="revoke",
        dialog={
            "title": "Revoke this certificate?",
            "description": "The charge point cannot connect with it any more, for good. An open connection stays open.",
            "form_class": RevokeForm,
            "form_submit_text": "Revoke it",
        },
    )
    def revoke(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        by = request.user.get_username()
        with transaction.atomic():
            if issuing.revoke(form.row, by, form.cleaned_data["why"], datetime.now(UTC)):
                self.audit(request, "revoke", form.row)
                messages.success(request, "The certificate has been revoked.")
            else:
                messages.warning(request, "The certificate had been revoked already.")
        return leave_dialog(request, reverse("admin:stations_certificate_change", args=[form.row.pk]))


@admin.register(CertificateRequest)
class CertificateRequestAdmin(OfChargePointAdmin):
    version_fields = ("state",)
    list_display = ("received", "state_shown", "station", "subject", "key", "authority", "problem")
    list_filter = ("state", SiteFilter, ChosenChargePoint)
    fieldsets = (
        (None, {"fields": ("station", "state_shown", "problem", "authority", "received_at", "closed_at")}),
        ("Request", {"fields": ("subject", "key", "pem")}),
    )
    readonly_fields = ("station", "state_shown", "pem")
    actions_detail = ("import_chain", "close")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        is_open = self.get_object(request, object_id).is_open
        return super().get_actions_detail(request, object_id) if is_open else []

    @display(description="Received")
    def received(self, row: CertificateRequest) -> Any:
        return moment(row.received_at)

    @display(description="State")
    def state_shown(self, row: CertificateRequest) -> Any:
        return request_badge(row)

    @display(description="PKCS#10 (PEM), for an external issuer")
    def pem(self, row: CertificateRequest) -> SafeString | str:
        return pem_box(row.csr)

    @action(
        description="Import signed chain",
        icon="upload",
        permissions=["edit"],
        variant=ActionVariant.PRIMARY,
        url_path="import-chain",
        dialog={
            "title": "Import the signed chain",
            "description": "The certificate and its intermediates, in any order. CertificateSigned is sent.",
            "form_class": type("ChainForm", (ConfirmForm,), {"model": CertificateRequest, "chain": area("PEM")}),
            "form_submit_text": "Hand it out",
        },
    )
    def import_chain(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        try:
            with transaction.atomic():
                row = issuing.import_chain(
                    form.row, form.cleaned_data["chain"], request.user.get_username(), datetime.now(UTC)
                )
                self.audit(request, "import", row)
        except (issuing.ChainRefused, CommandRefused) as refused:
            messages.error(request, refused.detail)
            return leave_dialog(request, reverse("admin:stations_certificaterequest_change", args=[form.row.pk]))
        return leave_dialog(request, reverse("admin:stations_certificate_change", args=[row.pk]))

    @action(
        description="Close",
        icon="close",
        permissions=["edit"],
        url_path="close",
        dialog={
            "title": "Close this request?",
            "description": "For when its issuer refused it. The charge point is not told.",
            "form_class": type("CloseForm", (ConfirmForm,), {"model": CertificateRequest}),
            "form_submit_text": "Close it",
        },
    )
    def close(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        if issuing.close(form.row, datetime.now(UTC)):
            self.audit(request, "close", form.row)
        return leave_dialog(request, reverse("admin:stations_certificaterequest_change", args=[form.row.pk]))


# --- roots ------------------------------------------------------------------------------------------------------------
@admin.register(RootCertificate)
class RootCertificateAdmin(TenantModelAdmin):
    list_display = ("name", "certificate_type", "subject_shown", "key", "ends", "created_by")
    list_filter = ("certificate_type",)
    search_fields = ("name", "subject", "fingerprint")
    readonly_fields = (*FACTS, "pem", "created_by", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("name", "certificate_type", "certificate")})]
        return [
            (None, {"fields": ("name", "certificate_type", "created_by", "created_at")}),
            ("Certificate", {"fields": (*FACTS, "pem")}),
        ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_row(self, obj: RootCertificate, form: Any) -> None:
        given = form.cleaned_data
        row = roots.add(
            given["name"], given["certificate_type"], given["certificate"], obj.created_by, datetime.now(UTC)
        )
        obj.__dict__.update(row.__dict__)

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        obj.created_by = request.user.get_username()
        super().save_model(request, obj, form, change)
        if not obj.fingerprint:
            messages.warning(request, "This is no certificate that can be read; it is kept as it is.")

    @display(description="Subject")
    def subject_shown(self, row: RootCertificate) -> Any:
        return row.subject or badge("not readable", "warning")

    @display(description="Valid until", ordering="not_after")
    def ends(self, row: RootCertificate) -> Any:
        return moment(row.not_after)

    @display(description="PEM")
    def pem(self, row: RootCertificate) -> SafeString | str:
        return pem_box(row.certificate)
