"""Refused cards: which, where, how often and why, which registered tag each may be, and letting one in with a click."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from stations import refused_id_tags
from stations.admin.filters import ChosenChargePoint
from stations.display import charge_point_link
from stations.id_tag_spellings import SENTENCES
from stations.models import IdTag, RefusedIdTag
from stations.models.refused_id_tag import Refusal
from stations.refused_id_tags import NameTaken
from tenants.admin.scoped import LogAdmin, limited_site_ids, may
from tenants.display import DASH, badge, moment
from tenants.models import ApiScope

VARIANTS = {Refusal.UNKNOWN: "warning", Refusal.BLOCKED: "danger"}
# The form below the list, and what its buttons post: one of the words, the refused card, and the tag that it is.
FORM, WISH = "let-card-in", "let_in"
ADD, ALIAS = "add", "alias"


class ReasonFilter(admin.SimpleListFilter):
    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Refusal.choices]

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(RefusedIdTag)
class RefusedIdTagAdmin(LogAdmin):
    site_path = "charge_point__site"
    list_display = ("card", "station", "why", "times", "first", "last", "near", "let_in")
    list_display_links = None
    list_select_related = ("charge_point",)
    list_filter = (ReasonFilter, ChosenChargePoint)
    search_fields = ("id_tag", "charge_point__identity")
    search_help_text = "Card, identity of the charge point"
    ordering = ("-last_at", "-id")
    list_after_template = "stations/admin/let_card_in_form.html"
    fields = ("card", "station", "why", "status", "action", "times", "first", "last", "near")
    readonly_fields = fields

    # --- list ---------------------------------------------------------------------------------------------------------
    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        # Looked up for the rows of the page only, all at once.
        rows: Any = list(changelist.result_list)
        found = refused_id_tags.near(rows)
        may_write = self.may_let_in(request)
        for row in rows:
            row.near_tags, row.may_let_in = found.get(row.pk, []), may_write
        changelist.result_list = rows
        return changelist

    def get_object(self, request: Any, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        row.near_tags, row.may_let_in = refused_id_tags.near([row]).get(row.pk, []), self.may_let_in(request)
        return row

    @staticmethod
    def may_let_in(request: HttpRequest) -> bool:
        """A tag made here may charge everywhere, so whoever is limited to sites makes none."""
        return may(request, ApiScope.MANAGE) and limited_site_ids(request) is None

    @display(description="Card", ordering="key")
    def card(self, row: RefusedIdTag) -> SafeString:
        return format_html("<code>{}</code>", row.id_tag)

    @display(description="Charge point")
    def station(self, row: RefusedIdTag) -> Any:
        return charge_point_link(row.charge_point)

    @display(description="Why", ordering="reason")
    def why(self, row: RefusedIdTag) -> SafeString:
        reason = Refusal(row.reason)
        return badge(reason.value.replace("_", " "), VARIANTS.get(reason, "plain"), f"{reason.label}: {row.status}")

    @display(description="First", ordering="first_at")
    def first(self, row: RefusedIdTag) -> Any:
        return moment(row.first_at)

    @display(description="Last", ordering="last_at")
    def last(self, row: RefusedIdTag) -> Any:
        return moment(row.last_at)

    @display(description="Near to")
    def near(self, row: Any) -> SafeString | str:
        return (
            format_html_join(
                "",
                '<div><a class="csms-link" href="{}">{}</a> <span class="csms-subtle">{}, {}</span></div>',
                (
                    (
                        reverse("admin:stations_idtag_change", args=[each.id_tag.pk]), each.id_tag.id_tag,
                        each.id_tag.driver or "no driver", SENTENCES[each.why],
                    )
                    for each in row.near_tags
                ),
            )
            or DASH
        )  # fmt: skip

    @display(description="")
    def let_in(self, row: Any) -> SafeString | str:
        if not row.may_let_in or row.reason != Refusal.UNKNOWN:
            return ""
        wishes = [(f"{ADD} {row.pk}", "Add")]
        wishes += [(f"{ALIAS} {row.pk} {each.id_tag.pk}", f"Same driver as {each.id_tag}") for each in row.near_tags]
        return format_html_join(
            "",
            '<div class="csms-nowrap"><button form="{}" name="{}" value="{}" class="csms-link">{}</button></div>',
            ((FORM, WISH, *wish) for wish in wishes),
        )

    # --- letting in ---------------------------------------------------------------------------------------------------
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST" and WISH in request.POST:
            kind, *numbers = request.POST[WISH].split()
            if not all(number.isdecimal() and len(number) < 19 for number in numbers):
                raise Http404("There is no such card.")
            if kind == ADD and len(numbers) == 1:
                return self._let_in(request, numbers[0], partial(self._add, request))
            if kind == ALIAS and len(numbers) == 2:
                return self._let_in(request, numbers[0], partial(self._alias, request, int(numbers[1])))
            raise Http404("There is no such wish.")
        return super().changelist_view(request, extra_context)

    def _add(self, request: HttpRequest, row: RefusedIdTag) -> str:
        """Register the card as an id tag, accepted everywhere from now on."""
        tag = refused_id_tags.add(row.id_tag)
        self.audit(request, "create", tag, {"id_tag": [None, tag.id_tag]})
        url = reverse("admin:stations_idtag_change", args=[tag.pk])
        return format_html('{} is an id tag now. <a href="{}">Say whose it is.</a>', tag.id_tag, url)

    def _alias(self, request: HttpRequest, tag_id: int, row: RefusedIdTag) -> str:
        """Make the card another name of a registered tag."""
        tag = IdTag.objects.filter(pk=tag_id).first()
        if tag is None:
            raise Http404("There is no such id tag.")
        alias = refused_id_tags.add_alias(tag, row.id_tag)
        self.audit(request, "change", tag, {"aliases": [None, alias.alias]})
        return f"{alias.alias} authorises as {tag.id_tag} from now on."

    def _let_in(self, request: HttpRequest, pk: str, let_in: Callable[[RefusedIdTag], str]) -> HttpResponse:
        row = self.get_object(request, pk)
        if not row.may_let_in:
            raise PermissionDenied
        try:
            messages.success(request, let_in(row))
        except NameTaken:
            messages.error(request, f"{row.id_tag} is an id tag, or an alias of one, already.")
        except ValidationError as error:
            messages.error(request, f"{row.id_tag} cannot be an id tag: {error.messages[0]}")
        return HttpResponseRedirect(request.get_full_path())
