"""What people and jobs left behind: the audit log and the runs of background jobs. Read only."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from tenants.admin.scoped import LogAdmin, limited_site_ids
from tenants.display import DASH, badge, moment, pretty_json
from tenants.models import AuditEntry, Guessing, JobRun, JobState

STATE_VARIANTS = {
    JobState.QUEUED: "plain",
    JobState.RUNNING: "active",
    JobState.SUCCEEDED: "success",
    JobState.FAILED: "danger",
}


@admin.register(AuditEntry)
class AuditEntryAdmin(LogAdmin):
    list_display = ("when", "actor", "action_badge", "kind", "object_link", "address")
    list_display_links = ("when",)
    fields = ("when", "actor", "action_badge", "kind", "object_link", "address", "change_table")
    readonly_fields = fields

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The log names objects of every site.
        return super().has_view_permission(request, obj) and limited_site_ids(request) is None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @display(description="When")
    def when(self, entry: AuditEntry) -> Any:
        return moment(entry.at)

    @display(description="Action")
    def action_badge(self, entry: AuditEntry) -> Any:
        variant = {"create": "success", "delete": "danger", "change": "info"}.get(entry.action, "plain")
        return badge(entry.action, variant)

    @display(description="Kind")
    def kind(self, entry: AuditEntry) -> str:
        try:
            return str(apps.get_model(entry.object_type)._meta.verbose_name)
        except (LookupError, ValueError):
            return entry.object_type or DASH

    @display(description="Object")
    def object_link(self, entry: AuditEntry) -> Any:
        if not entry.object_id:
            return DASH
        try:
            url = reverse(f"admin:{entry.object_type.replace('.', '_')}_change", args=[entry.object_id])
        except NoReverseMatch:
            return entry.object_label
        return format_html('<a class="csms-link" href="{}">{}</a>', url, entry.object_label or entry.object_id)

    @display(description="Changes")
    def change_table(self, entry: AuditEntry) -> Any:
        if not entry.changes:
            return DASH
        rows = format_html_join(
            "", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>",
            ((name, _cell(pair, 0), _cell(pair, 1)) for name, pair in entry.changes.items()),
        )  # fmt: skip
        return format_html(
            '<table class="csms-table"><thead><tr><th>Field</th><th>Before</th><th>After</th></tr></thead>'
            "<tbody>{}</tbody></table>",
            rows,
        )


def _cell(pair: Any, index: int) -> str:
    value = pair[index] if isinstance(pair, list) and len(pair) == 2 else (pair if index else None)
    if value in (None, "", []):
        return DASH
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@admin.register(Guessing)
class GuessingAdmin(LogAdmin):
    """For platform administrators: an address tries accounts of any tenant, or of none."""

    list_display = ("last", "kind", "account_shown", "address", "times", "first")
    list_display_links = ("last",)
    list_filter = ("kind",)
    fields = ("kind", "account_shown", "address", "times", "first", "last")
    readonly_fields = fields

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_module_permission(self, request: Any) -> bool:
        return bool(request.user.is_superuser)

    @display(description="Account or key")
    def account_shown(self, row: Guessing) -> str:
        return row.account or "various"

    @display(description="First")
    def first(self, row: Guessing) -> Any:
        return moment(row.first_at)

    @display(description="Last")
    def last(self, row: Guessing) -> Any:
        return moment(row.last_at)


@admin.register(JobRun)
class JobRunAdmin(LogAdmin):
    list_display = ("created", "task_name", "state_badge", "progress_percent", "started", "finished", "error")
    list_display_links = ("created",)
    list_filter = ("state",)
    fields = (
        "task_name", "task_id", "state_badge", "progress_percent", "created", "started", "finished", "error",
        "result_shown",
    )  # fmt: skip
    readonly_fields = fields

    @display(description="State")
    def state_badge(self, run: JobRun) -> Any:
        return badge(run.get_state_display(), STATE_VARIANTS.get(JobState(run.state), "plain"))

    @display(description="Progress")
    def progress_percent(self, run: JobRun) -> str:
        return f"{run.progress} %"

    @display(description="Queued")
    def created(self, run: JobRun) -> Any:
        return moment(run.created_at)

    @display(description="Started")
    def started(self, run: JobRun) -> Any:
        return moment(run.started_at)

    @display(description="Finished")
    def finished(self, run: JobRun) -> Any:
        return moment(run.finished_at)

    @display(description="Result")
    def result_shown(self, run: JobRun) -> Any:
        return DASH if run.result is None else pretty_json(run.result)
