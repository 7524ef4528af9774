"""Id tags: who may charge, until when, where."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from stations.models import IdTag, LocalAuthListEntry, Transaction
from stations.models.id_tag import validate_id_tag
from stations.refused_id_tags import set_aliases, taken
from tenants.admin.people import SitesField
from tenants.admin.scoped import TenantModelAdmin
from tenants.admin.selection import number_of
from tenants.display import DASH, badge, moment


class WordsField(forms.CharField):
    """A list of words, written with commas between them."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [word.strip() for word in str(value or "").split(",") if word.strip()]

    def run_validators(self, value: Any) -> None:
        return None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class IdTagForm(forms.ModelForm):
    groups = WordsField(required=False, help_text="Names with commas between them, for example for local lists.")
    other_names = WordsField(
        required=False,
        label="Aliases",
        help_text="Other cards of the same driver, or the same card in other words, with commas between them: they "
        "authorise as this tag does.",
    )
    limited_to_sites = SitesField("Where the tag is accepted. None chosen means everywhere.")

    class Meta:
        model = IdTag
        fields = (
            "id_tag", "description", "driver", "parent_id_tag", "blocked", "expiry_date", "max_active_transactions",
            "groups",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None and "limited_to_sites" in self.fields:
            self.initial["limited_to_sites"] = list(self.instance.sites.all())
            self.initial["other_names"] = [alias.alias for alias in self.instance.aliases.all()]

    def clean_id_tag(self) -> str:
        id_tag = str(self.cleaned_data["id_tag"])
        if IdTag.objects.filter(key=id_tag.upper()).exclude(pk=self.instance.pk).exists():
            raise ValidationError("There is such an id tag already; capital and small letters are the same.")
        if taken(id_tag, by_other_than=self.instance):
            raise ValidationError("There is an id tag of which this is an alias.")
        return id_tag

    def clean_other_names(self) -> list[str]:
        names: list[str] = self.cleaned_data["other_names"]
        for name in names:
            validate_id_tag(name)
            if name.upper() == str(self.cleaned_data.get("id_tag", "")).upper():
                raise ValidationError("An id tag is no alias of itself.")
            if taken(name, by_other_than=self.instance):
                raise ValidationError(f"{name} is an id tag, or an alias of another, already.")
        return names


class AcceptanceFilter(admin.SimpleListFilter):
    title = "acceptance"
    parameter_name = "acceptance"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("accepted", "accepted"), ("blocked", "blocked"), ("expired", "expired")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        expired = Q(expiry_date__lte=timezone.now())
        match self.value():
            case "accepted":
                return queryset.filter(~expired | Q(expiry_date__isnull=True), blocked=False)
            case "blocked":
                return queryset.filter(blocked=True)
            case "expired":
                return queryset.filter(expired, blocked=False)
        return queryset


@admin.register(IdTag)
class IdTagAdmin(TenantModelAdmin):
    form = IdTagForm
    list_display = (
        "id_tag",
        "alias_names",
        "state",
        "driver",
        "parent_id_tag",
        "expiry",
        "site_names",
        "at_once",
        "description",
    )
    list_filter = (AcceptanceFilter,)
    search_fields = ("id_tag", "driver", "description", "parent_id_tag", "aliases__alias")
    search_help_text = "Id tag or alias, driver, description, parent"
    actions = ("block", "unblock")
    readonly_fields = ("site_names", "alias_names", "transactions_link")
    instead = ("Block instead", "An id tag that is blocked is refused everywhere and stays in the lists and in search.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("sites", "aliases")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        edits = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        sites = "limited_to_sites" if edits else "site_names"
        names = "other_names" if edits else "alias_names"
        limits = ("blocked", "expiry_date", sites, "max_active_transactions")
        seen = () if obj is None else ("transactions_link",)
        return [
            (None, {"fields": ("id_tag", names, "driver", "description", "parent_id_tag", "groups")}),
            ("Limits", {"fields": limits}),
            *([("Use", {"fields": seen})] if seen else []),
        ]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.instance.sites.set(form.cleaned_data["limited_to_sites"])
        set_aliases(form.instance, form.cleaned_data["other_names"])

    @display(description="State", ordering="blocked")
    def state(self, tag: IdTag) -> Any:
        if tag.blocked:
            return badge("Blocked", "danger")
        if tag.expiry_date is not None and tag.expiry_date <= timezone.now():
            return badge("Expired", "warning")
        return badge("Accepted", "success")

    @display(description="Expires", ordering="expiry_date")
    def expiry(self, tag: IdTag) -> Any:
        return moment(tag.expiry_date)

    @display(description="Sites")
    def site_names(self, tag: IdTag) -> str:
        return ", ".join(site.name for site in tag.sites.all()) or "every site"

    @display(description="Aliases")
    def alias_names(self, tag: IdTag) -> str:
        return ", ".join(alias.alias for alias in tag.aliases.all()) or DASH

    @display(description="At once", ordering="max_active_transactions")
    def at_once(self, tag: IdTag) -> str:
        return DASH if tag.max_active_transactions is None else str(tag.max_active_transactions)

    @display(description="Transactions")
    def transactions_link(self, tag: IdTag) -> Any:
        url = f"{reverse('admin:stations_transaction_changelist')}?{urlencode({'q': tag.id_tag})}"
        return format_html('<a class="csms-link" href="{}">Transactions of this tag</a>', url)

    @admin.action(description="Block", permissions=["edit"])
    def block(self, request: HttpRequest, queryset: QuerySet[IdTag]) -> HttpResponse | None:
        running = Transaction.objects.open().filter(id_tag_row__in=queryset).count()
        goes_on = "Transactions that run with them go on until somebody stops them"
        sentences = [f"{goes_on}: {running:,} now." if running else ""]
        return self._set_blocked(request, queryset, True, sentences)

    @admin.action(description="Unblock", permissions=["edit"])
    def unblock(self, request: HttpRequest, queryset: QuerySet[IdTag]) -> HttpResponse | None:
        return self._set_blocked(request, queryset, False, ["It makes no difference when and why each was blocked."])

    def _set_blocked(
        self, request: HttpRequest, queryset: QuerySet[IdTag], blocked: bool, sentences: list[str]
    ) -> HttpResponse | None:
        verb, done = ("Block", "blocked") if blocked else ("Unblock", "unblocked")
        changing = queryset.filter(blocked=not blocked).order_by("id_tag")
        number = changing.count()
        others = number_of(request) - number
        question = self.ask_first(
            request,
            verb.lower(),
            f"{verb} {number:,} id tags?",
            [f"{others:,} of the {number_of(request):,} chosen are {done} already." if others else "", *sentences],
            f"{verb} {number:,} id tags",
            shown=changing,
        )
        if question is not None:
            return question
        self.write_blocked(request, changing, blocked)
        messages.success(request, f"{number} id tags {done}.")
        return None

    def write_blocked(self, request: HttpRequest, queryset: QuerySet[IdTag], blocked: bool) -> None:
        tags = list(queryset.prefetch_related(None).select_for_update(no_key=True))
        queryset.filter(pk__in=[tag.pk for tag in tags]).update(blocked=blocked, updated_at=timezone.now())
        self.audit_all(request, "change", tags, {"blocked": [not blocked, blocked]})

    # --- deleting -----------------------------------------------------------------------------------------------------
    def consequences(self, request: HttpRequest, rows: QuerySet[IdTag]) -> list[str]:
        used = Transaction.objects.filter(id_tag_row__in=rows)
        running, ended = used.filter(stopped_at__isnull=True).count(), used.filter(stopped_at__isnull=False).count()
        sentences = []
        if running:
            sentences.append(f"{count_of(running, 'transaction')} running with it now: it goes on, and can be stopped.")
        if ended:
            sentences.append(f"{count_of(ended, 'transaction')} that ended: they keep the id tag as a text.")
        listed = LocalAuthListEntry.objects.filter(key__in=rows.values("key")).values("local_auth_list").distinct()
        if listed.exists():
            sentences.append(
                f"It is in the local list of {count_of(listed.count(), 'charge point')}: accepted there without asking "
                "us, until the list is sent again."
            )
        return sentences

    def do_instead(self, request: HttpRequest, rows: QuerySet[IdTag]) -> str:
        blocking = rows.filter(blocked=False)
        number = blocking.count()
        self.write_blocked(request, blocking, True)
        return f"{count_of(number, 'id tag')} blocked."


def count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
