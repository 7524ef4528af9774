"""The dialogs about local lists: read the version, send any list, choose what is wanted, send what lies between."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from csms.ocppj.times import format_time
from stations import local_auth_lists
from stations.admin.dialogs import CommandForm, choice, number, text
from stations.admin.id_tags import WordsField
from stations.local_auth_entries import difference, registered
from stations.local_auth_lists import ListState, Source
from stations.models import ChargePoint, IdTag, LocalAuthListIdTag, LocalAuthListSite
from stations.models.local_auth_list import ListSource
from stations.refusal import CommandRefused
from tenants.admin.scoped import confined
from tenants.models import Site

NAMED_ERRORS = 10
AS_REGISTERED, WITHOUT = "registered", "none"
# OCPP 1.6 section 7.2.
STATUSES = ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")
WHAT_IS_NEEDED, WHOLE_LIST, DIFFERENCE = "", "full", "difference"


def lines_of(value: str) -> list[str]:
    """The lines that are not empty. An id tag may have blanks, but not around it."""
    return [line.strip() for line in value.splitlines() if line.strip()]


def id_tag_lines(label: str, help_text: str, rows: int = 4) -> forms.CharField:
    return text(label, required=False, help_text=help_text, widget=UnfoldAdminTextareaWidget(attrs={"rows": rows}))


def named(id_tags: list[str]) -> str:
    more = f" and {len(id_tags) - NAMED_ERRORS} more" if len(id_tags) > NAMED_ERRORS else ""
    return f"{', '.join(id_tags[:NAMED_ERRORS])}{more}"


class ReadVersionForm(CommandForm):
    action = "GetLocalListVersion"
    title = "Read the version of the local list"
    description = "The charge point tells which version its list has; -1 means that it has none, 0 that it is empty."
    submit_text = "Read"


class SendListForm(CommandForm):
    """SendLocalList with exactly the entries filled in, whatever list is wanted."""

    action = "SendLocalList"
    title = "Send these id tags"
    description = "Exactly what is filled in goes out, whatever list is wanted here."
    members = {"listVersion": "list_version", "updateType": "update_type", "localAuthorizationList": "id_tags"}
    update_type = choice("Update", local_auth_lists.FULL, local_auth_lists.DIFFERENTIAL)
    id_tags = id_tag_lines(
        "Id tags", "One a line. A full list without any clears the one there; a differential one adds or changes these."
    )
    info = forms.ChoiceField(
        label="Their idTagInfo",
        required=False,
        initial=AS_REGISTERED,
        choices=[
            (AS_REGISTERED, "as the id tags are registered"),
            *((status, status) for status in STATUSES),
            (WITHOUT, "none: idTagInfo is not sent"),
        ],
        widget=UnfoldAdminSelectWidget(),
    )
    expiry_date = forms.DateTimeField(
        label="Expires", required=False, widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local", "step": 1})
    )
    parent_id_tag = text("Parent id tag", required=False, help_text="Both only with a status chosen above.")
    removed = id_tag_lines("Id tags to remove", "One a line. Sent without idTagInfo, for a differential list.", rows=2)
    list_version = number("List version", required=False, help_text="Empty: the next one.")
    entries = id_tag_lines(
        "Entries as JSON",
        "Instead of the fields above: the value of localAuthorizationList. Use [] for an empty list in the request.",
        rows=2,
    )

    by_json = False
    with_version = False

    def suggest(self, charge_point: ChargePoint) -> None:
        row = local_auth_lists.list_of(charge_point)
        self.fields["list_version"].help_text = f"Empty: the next one, which is {row.next_version}."
        self.fields["expiry_date"].help_text = f"Time zone: {timezone.get_current_timezone_name()}."

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not self.errors:
            # Noted now: a field with an error loses its value.
            self.by_json, self.with_version = bool(given["entries"].strip()), given["list_version"] is not None
            given["localAuthorizationList"] = self._entries()
        return super().clean()

    def payload(self) -> dict[str, Any]:
        given = self.cleaned_data
        result: dict[str, Any] = {"updateType": given["update_type"]}
        if given["list_version"] is not None:
            result["listVersion"] = given["list_version"]
        if given["localAuthorizationList"] is not None:
            result["localAuthorizationList"] = given["localAuthorizationList"]
        return result

    def _entries(self) -> Any:
        """The list as filled in; None when it is left out."""
        given = self.cleaned_data
        id_tags, removed = lines_of(given["id_tags"]), lines_of(given["removed"])
        if self.by_json:
            if id_tags or removed:
                self.add_error("id_tags", "Fill in either the id tags or the JSON.")
            try:
                return json.loads(given["entries"])
            except ValueError:
                self.add_error("entries", "This is not JSON.")
                return None
        infos = self._infos(id_tags, given["info"] or AS_REGISTERED)
        found: list[dict[str, Any]] = [
            {"idTag": id_tag} if info is None else {"idTag": id_tag, "idTagInfo": info}
            for id_tag, info in zip(id_tags, infos, strict=True)
        ]
        return [*found, *({"idTag": id_tag} for id_tag in removed)] or None

    def _infos(self, id_tags: list[str], chosen: str) -> list[dict[str, Any] | None]:
        given = self.cleaned_data
        if chosen in (AS_REGISTERED, WITHOUT) and (given["expiry_date"] or given["parent_id_tag"]):
            self.add_error("info", "Choose a status, to which the expiry and the parent belong.")
        charge_point = self.charge_point
        if charge_point is None:
            raise TypeError("A list of one's own is sent to one charge point.")
        if chosen == WITHOUT:
            return [None] * len(id_tags)
        if chosen == AS_REGISTERED:
            found = registered(charge_point, id_tags, datetime.now(UTC))
            unknown = [id_tag for id_tag in id_tags if id_tag.upper() not in found]
            if unknown:
                self.add_error(
                    "id_tags", f"Not registered: {named(unknown)}. Choose a status to send them all the same."
                )
                return [None] * len(id_tags)
            return [found[id_tag.upper()].info(charge_point) for id_tag in id_tags]
        info: dict[str, Any] = {}
        if given["expiry_date"]:
            info["expiryDate"] = format_time(given["expiry_date"], milliseconds=charge_point.send_milliseconds)
        if given["parent_id_tag"]:
            info["parentIdTag"] = given["parent_id_tag"]
        info["status"] = chosen
        return [dict(info) for _ in id_tags]

    def _point_at(self, pointer: str, detail: str) -> None:
        # A version that was left out is allocated when the command is queued.
        if pointer == "/listVersion" and not self.with_version:
            return
        if pointer.startswith("/localAuthorizationList") and self.by_json:
            self.add_error("entries", f"{pointer} {detail}.")
        else:
            super()._point_at(pointer, detail)


class ListDialog(CommandForm):
    """A dialog about the wanted list; it is carried out by a verb of stations/local_auth_lists.py, not one command."""

    def clean(self) -> dict[str, Any]:
        return self.cleaned_data

    def refuse(self, refused: CommandRefused) -> None:
        self.add_error(None, refused.detail)


class SyncForm(ListDialog):
    title = "Send the wanted list"
    description = "As many requests as the charge point needs. A part that it refuses keeps those after it from going."
    form_before_template = "stations/admin/local_list_notes.html"
    how = forms.ChoiceField(
        label="Send",
        required=False,
        choices=[
            (WHAT_IS_NEEDED, "what is needed: the difference where that is sure"),
            (WHOLE_LIST, "the full list"),
            (DIFFERENCE, "only the difference"),
        ],
        widget=UnfoldAdminSelectWidget(),
    )

    @property
    def full(self) -> bool | None:
        return {WHOLE_LIST: True, DIFFERENCE: False}.get(self.cleaned_data["how"])

    def get_before_template_context(self, request: HttpRequest, object_id: Any = None) -> dict[str, Any]:
        context = super().get_before_template_context(request, object_id)
        if self.charge_point is None:
            return context
        row = local_auth_lists.list_of(self.charge_point)
        found = difference(row, datetime.now(UTC))
        state = local_auth_lists.state_of(row, found)
        return {
            **context,
            "row": row,
            "found": found,
            "state": state,
            "in_sync": state == ListState.IN_SYNC,
            "send_full": state in local_auth_lists.NEEDS_FULL,
        }


class SourceForm(ListDialog):
    title = "Choose the wanted list"
    description = "Which id tags the charge point shall know by itself. Nothing is sent by this."
    submit_text = "Save"
    form_before_template = ""
    edited = ("source", "groups", "sites", "id_tags", "sync_automatically")
    source = forms.ChoiceField(
        label="Entries",
        required=False,
        choices=[("", "none: the list is left alone"), *ListSource.choices],
        widget=UnfoldAdminSelectWidget(),
    )
    groups = WordsField(required=False, help_text="For groups: their names, with commas between them.")
    sites = forms.ModelMultipleChoiceField(
        queryset=Site.objects.none(),
        required=False,
        help_text="For sites: tags allowed at these, or everywhere. None chosen means the site of the charge point.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )
    id_tags = id_tag_lines("Id tags", "For id tags chosen by hand: one a line; all of them registered.")
    sync_automatically = forms.BooleanField(
        label="Send differences automatically",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Within a minute of a change, as long as the charge point accepts them. Off: only when you send.",
    )

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        sites: Any = self.fields["sites"]
        sites.queryset = confined(Site.objects.all(), request, "pk")

    def suggest(self, charge_point: ChargePoint) -> None:
        row = local_auth_lists.list_of(charge_point)
        if row.pk is None:
            return
        chosen = LocalAuthListIdTag.objects.filter(local_auth_list=row).order_by("id")
        initial = {
            "source": row.source,
            "groups": row.groups,
            "sites": list(LocalAuthListSite.objects.filter(local_auth_list=row).values_list("site_id", flat=True)),
            "id_tags": "\n".join(chosen.values_list("id_tag__id_tag", flat=True)),
            "sync_automatically": row.sync_automatically,
        }
        for name, value in initial.items():
            self.fields[name].initial = value

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        kind = given.get("source")
        if kind == ListSource.GROUPS and not given["groups"]:
            self.add_error("groups", "Name at least one group.")
        if kind == ListSource.ID_TAGS:
            id_tags = lines_of(given["id_tags"])
            if len(id_tags) > local_auth_lists.MAX_ID_TAGS:
                self.add_error("id_tags", f"More than {local_auth_lists.MAX_ID_TAGS}: use a group.")
                return given
            given["found"], unknown = local_auth_lists.find_id_tags(IdTag.objects.all(), id_tags)
            if unknown:
                self.add_error("id_tags", f"Not registered: {named([id_tags[index] for index in unknown])}.")
        if not kind and given.get("sync_automatically"):
            self.add_error("sync_automatically", "There is nothing to send while no list is wanted.")
        return given

    @property
    def chosen(self) -> Source | None:
        """What is wanted, from a valid form."""
        given = self.cleaned_data
        match given["source"]:
            case ListSource.GROUPS:
                return Source(ListSource.GROUPS, groups=list(dict.fromkeys(given["groups"])))
            case ListSource.SITES:
                return Source(ListSource.SITES, sites=list(given["sites"]))
            case ListSource.ID_TAGS:
                return Source(ListSource.ID_TAGS, id_tags=given["found"])
        return None
