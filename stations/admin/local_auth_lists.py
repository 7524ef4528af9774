"""Local authorization lists at the admin: buttons and panel of a charge point, the list of lists, one's entries."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from stations import local_auth_lists
from stations.admin.actions import command_url, dialog, many_page, send
from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.admin.local_auth_list_forms import ListDialog, ReadVersionForm, SendListForm, SourceForm, SyncForm
from stations.display import charge_point_link
from stations.local_auth_entries import ADD, CHANGE, REMOVE, Limits, difference, pairs
from stations.local_auth_lists import NEEDS_FULL, ListState, Sync
from stations.models import ChargePoint, Command, LocalAuthList
from stations.models.local_auth_list import ListSource
from stations.refusal import CommandRefused
from tenants.admin.scoped import LogAdmin, SiteFilter, TenantModelAdmin
from tenants.display import DASH, badge, leave_dialog, moment

SHOWN_DIFFERENCES = 20
SHOWN_COMMANDS = 10
ENTRIES_PER_PAGE = 200
TAB = "#local_list"
ACTIONS = ("GetLocalListVersion", "SendLocalList")
STATE_VARIANTS = {
    ListState.SENDING: "active",
    ListState.NOT_SUPPORTED: "danger",
    ListState.VERSION_MISMATCH: "danger",
    ListState.FAILED: "danger",
    ListState.DRIFT: "warning",
    ListState.NOT_MANAGED: "plain",
    ListState.UNKNOWN: "info",
    ListState.DIFFERS: "warning",
    ListState.IN_SYNC: "success",
}
CHANGE_VARIANTS = {ADD: "success", CHANGE: "info", REMOVE: "warning"}


def state_badge(state: ListState) -> SafeString:
    """The state in short; the sentence behind it is in the tooltip."""
    return badge(state.value.replace("_", " "), STATE_VARIANTS[state], state.label)


def version_text(version: int | None) -> str:
    """A version as reported or believed, in words where it is none."""
    return {None: "unknown", 0: "0 (empty)", -1: "-1 (not supported)"}.get(version, str(version))


def source_text(row: LocalAuthList) -> str:
    if row.source == ListSource.GROUPS:
        return f"groups: {', '.join(row.groups)}"
    if row.source == ListSource.SITES:
        names = list(row.sites.order_by("site__name").values_list("site__name", flat=True))
        return f"id tags allowed at {', '.join(names)}" if names else "id tags allowed at the charge point's site"
    return "id tags chosen by hand" if row.source else "none"


# --- buttons ----------------------------------------------------------------------------------------------------------
class LocalAuthListActions(TenantModelAdmin):
    """What concerns the local list, as buttons of a charge point's page and as actions of the list."""

    local_list_menu: dict[str, Any] = {
        "title": "Local list",
        "icon": "playlist_add_check",
        "items": ["sync_local_list", "choose_local_list", "read_local_list_version", "send_local_list"],
    }
    local_list_actions = ("read_local_list_version_many", "choose_local_list_many", "sync_local_list_many")

    @action(
        description="Read version",
        icon="pin",
        permissions=["operate"],
        url_path="get-local-list-version",
        dialog=dialog(ReadVersionForm),
    )
    def read_local_list_version(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Send id tags",
        icon="edit_note",
        permissions=["operate"],
        url_path="send-local-list",
        dialog=dialog(SendListForm),
    )
    def send_local_list(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return send(request, form)

    @action(
        description="Send the list",
        icon="sync",
        permissions=["operate"],
        url_path="sync-local-list",
        dialog=dialog(SyncForm),
    )
    def sync_local_list(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        charge_point = form.charge_point
        try:
            made = local_auth_lists.sync(charge_point, request.user.get_username(), form.full)
        except CommandRefused as refused:
            form.refuse(refused)
            context = {"dialog": dialog(SyncForm), "form": form, "form_submit_text": form.submit_text}
            return render(request, "unfold/helpers/dialog.html", context)
        if made.repeated:
            messages.info(request, "The list is being sent already.")
        return leave_dialog(request, self._after_sync(request, charge_point, made))

    def _after_sync(self, request: HttpRequest, charge_point: ChargePoint, made: Sync) -> str:
        if len(made.commands) == 1:
            return command_url(made.commands[0])
        if made.batch is not None:
            query = urlencode({"batch": made.batch.pk, "charge_point": charge_point.pk})
            return f"{reverse('admin:stations_command_changelist')}?{query}"
        messages.success(request, "The charge point has the wanted list already; nothing was sent.")
        return page_url(charge_point)

    @action(
        description="Choose the list",
        icon="checklist",
        permissions=["edit"],
        url_path="choose-local-list",
        dialog=dialog(SourceForm),
    )
    def choose_local_list(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        self._want(request, form, [form.charge_point])
        return leave_dialog(request, page_url(form.charge_point))

    def _want(self, request: HttpRequest, form: SourceForm, charge_points: list[ChargePoint]) -> None:
        source, automatically = form.chosen, form.cleaned_data["sync_automatically"]
        for charge_point in charge_points:
            before = local_auth_lists.list_of(charge_point)
            row = local_auth_lists.want(charge_point, source, datetime.now(UTC), sync_automatically=automatically)
            changes: dict[str, Any] = {
                "source": [before.source, row.source],
                "sync_automatically": [before.sync_automatically, row.sync_automatically],
            }
            if source is not None:
                changes["entries"] = [None, source_text(row)]
            self.audit(request, "change", row, changes)

    # --- many charge points -------------------------------------------------------------------------------------------
    @admin.action(description="Read the version of the local list", permissions=["operate"])
    def read_local_list_version_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        return self.send_to_many(request, queryset, ReadVersionForm)

    @admin.action(description="Choose the wanted local list", permissions=["edit"])
    def choose_local_list_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        charge_points = list(queryset.select_related("tenant"))
        form = self._form_for_many(request, SourceForm)
        if not form.is_valid():
            return many_page(self, request, charge_points, form)
        self._want(request, form, charge_points)
        messages.success(request, f"The wanted list of {len(charge_points)} charge points is changed; nothing is sent.")
        return HttpResponseRedirect(reverse("admin:stations_localauthlist_changelist"))

    @admin.action(description="Send the wanted local list", permissions=["operate"])
    def sync_local_list_many(self, request: HttpRequest, queryset: QuerySet[ChargePoint]) -> HttpResponse:
        charge_points = list(queryset.select_related("tenant"))
        form = self._form_for_many(request, SyncForm)
        if not form.is_valid():
            return many_page(self, request, charge_points, form)
        batch, outcomes = local_auth_lists.sync_many(charge_points, request.user.get_username(), form.full)
        refused: dict[str, list[str]] = {}
        for charge_point, outcome in outcomes:
            if isinstance(outcome, CommandRefused):
                refused.setdefault(outcome.detail, []).append(charge_point.identity)
        for detail, identities in refused.items():
            more = f" and {len(identities) - 10} more" if len(identities) > 10 else ""
            messages.warning(request, f"Not sent to {', '.join(identities[:10])}{more}: {detail}")
        already = sum(isinstance(outcome, Sync) and not outcome.commands for _, outcome in outcomes)
        if already:
            messages.info(request, f"{already} charge points have the wanted list already.")
        return HttpResponseRedirect(f"{reverse('admin:stations_command_changelist')}?batch={batch.pk}")

    def _form_for_many(self, request: HttpRequest, form_class: type[ListDialog]) -> Any:
        return form_class(request, data=request.POST if "_form_submitted" in request.POST else None)


def page_url(charge_point: ChargePoint) -> str:
    return f"{reverse('admin:stations_chargepoint_change', args=[charge_point.pk])}{TAB}"


# --- panel ------------------------------------------------------------------------------------------------------------
def local_list_panel(charge_point: ChargePoint) -> dict[str, Any]:
    """What is wanted, what is installed, what lies between, and the newest commands about it."""
    now = datetime.now(UTC)
    row = local_auth_lists.list_of(charge_point)
    found = difference(row, now)
    state = local_auth_lists.state_of(row, found)
    limits = Limits.of(charge_point)
    commands = Command.objects.filter(charge_point=charge_point, action__in=ACTIONS).order_by("-id")
    differing = list(islice(pairs(row, now, differing=True), SHOWN_DIFFERENCES)) if row.source else []
    return {
        "row": row,
        "state": state,
        "badge": state_badge(state),
        "sending": state == ListState.SENDING,
        "send_full": state in NEEDS_FULL and bool(row.source),
        "source": source_text(row),
        "wanted_length": len(found.wanted),
        "found": found,
        "pairs": [(pair, badge(pair.change, CHANGE_VARIANTS[str(pair.change)])) for pair in differing],
        "more": max(0, len(found) - len(differing)) if row.source else 0,
        "installed_version": version_text(row.installed_version),
        "reported_version": version_text(row.reported_version),
        "limits": limits,
        "warnings": [detail for _, detail in local_auth_lists.warnings(len(found.wanted), limits)],
        "commands": commands[:SHOWN_COMMANDS],
    }


# --- list and page ----------------------------------------------------------------------------------------------------
@admin.register(LocalAuthList)
class LocalAuthListAdmin(LogAdmin):
    site_path = "charge_point__site"
    list_display = ("station", "state", "wanted", "entries", "installed", "reported", "outcome_shown", "automatic")
    list_display_links = ("entries",)
    list_select_related = ("charge_point",)
    list_filter = ("source", "sync_automatically", SiteFilter, ChosenChargePoint)
    search_fields = ("charge_point__identity",)
    search_help_text = "Identity of the charge point"
    change_form_template = "admin/stations/localauthlist/change_form.html"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(charge_point__in=charge_points_called(search_term)), False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        rows = list(changelist.result_list)
        states = local_auth_lists.states(rows, datetime.now(UTC))
        for row in rows:
            row.shown_state, row.wanted_length = states[row.charge_point_id]
        changelist.result_list = rows
        return changelist

    @display(description="Charge point")
    def station(self, row: LocalAuthList) -> Any:
        return charge_point_link(row.charge_point)

    @display(description="State")
    def state(self, row: Any) -> SafeString:
        return state_badge(row.shown_state)

    @display(description="Wanted")
    def wanted(self, row: LocalAuthList) -> str:
        if row.source == ListSource.GROUPS:
            return source_text(row)
        return str(row.get_source_display()) if row.source else DASH

    @display(description="Entries")
    def entries(self, row: Any) -> str:
        return f"{row.wanted_length} wanted, {row.installed_length} installed"

    @display(description="Installed version")
    def installed(self, row: LocalAuthList) -> str:
        return version_text(row.installed_version)

    @display(description="Reported")
    def reported(self, row: LocalAuthList) -> str:
        return DASH if row.reported_version is None else version_text(row.reported_version)

    @display(description="Last answer")
    def outcome_shown(self, row: LocalAuthList) -> Any:
        return row.outcome.replace("_", " ") or DASH

    @display(description="Automatic", boolean=True)
    def automatic(self, row: LocalAuthList) -> bool:
        return row.sync_automatically

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("charge_point")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Both lists beside each other, some hundred entries a page, beyond the id tag in `from`."""
        row = self.get_object(request, object_id)
        first = request.GET.get("from", "").replace("\x00", "").upper()
        differing = request.GET.get("differs") == "yes"
        found = islice(pairs(row, datetime.now(UTC), edge=first or None, differing=differing), ENTRIES_PER_PAGE + 1)
        rows = list(found)
        shown = rows[:ENTRIES_PER_PAGE]
        extra = {
            "title": f"Local list of {row.charge_point}",
            "subtitle": None,
            "row": row,
            "page_url": page_url(row.charge_point),
            "differing": differing,
            "from": first,
            "next": shown[-1].key if len(rows) > ENTRIES_PER_PAGE else None,
            "pairs": [
                (pair, badge(pair.change, CHANGE_VARIANTS[pair.change]) if pair.change else badge("same"))
                for pair in shown
            ],
            "installed_at": moment(row.installed_at),
        }
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})
