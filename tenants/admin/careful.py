"""Forms and dialogs of the admin that undo nobody's work: what every form, dialog and page of rows derives from.

They tell the ticket what they show (tenants/tickets.py), and show why a submission is refused (tenants/submissions.py)
with what was filled in: for a form what differs, field by field, with a choice; for a dialog what its row is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.forms import BaseDialogForm

from tenants import tickets
from tenants.admin.selection import MOST_ROWS, Selection, number_of
from tenants.display import local_text
from tenants.submissions import (
    CHANGED,
    CHOICE,
    SELECTION,
    SWITCH,
    Difference,
    Submission,
    is_secret,
    refusal_page,
    submission_of,
)

NONE = "none"
# Rows named in the question before an action, and the answer to it.
SHOWN_ROWS = 50
CONFIRMED = "csms_confirmed"
INSTEAD = "csms_instead"


def frame(request: Any) -> dict[str, Any]:
    """Context processor: the frame of the admin, for a dialog that is opened by its address."""
    match = getattr(request, "resolver_match", None)
    if match is None or match.namespace != "admin" or request.headers.get("HX-Request") == "true":
        return {}
    if getattr(match.func, "dialog", None) is None or hasattr(request, "csms_framed"):
        return {}
    # Once: making the frame renders templates of its own.
    request.csms_framed = True
    row = getattr(request, "csms_row", None)
    about_it = {} if row is None else {"opts": row._meta, "original": row, "title": str(row)}
    return {**admin.site.each_context(request), **about_it, "dialog_alone": True}


# --- forms ------------------------------------------------------------------------------------------------------------
def notice(submission: Submission) -> str:
    """Why a submission is refused, and what can be done about it, to stand inside its form."""
    submission.is_shown = True
    context = {"submission": submission, "switch_name": SWITCH, "choice_prefix": CHOICE}
    return render_to_string("tenants/form_notice.html", context)


class CarefulForm(forms.BaseForm):
    """A form about a row, bound or not: put before its class by CarefulAdmin.get_form."""

    submission: Submission | None = None

    def full_clean(self) -> None:
        submission = self.submission if self.is_bound else None
        if submission is None:
            super().full_clean()
            return
        for name in submission.theirs & self.fields.keys():
            # What is disabled keeps the value of the row, whatever was posted.
            self.fields[name].disabled = True
        super().full_clean()
        submission.differences += differences_of(self, submission)
        if submission.differences:
            submission.refuse(CHANGED)
        if submission.refusal:
            self.add_error(None, notice(submission))


def differences_of(form: Any, submission: Submission) -> list[Difference]:
    """The fields of a bound form whose row has another value than the form showed, unless that value was chosen."""
    if form.instance.pk is None:
        return []
    found = []
    for name, field in form.fields.items():
        if field.disabled:
            continue
        initial = form.get_initial_for_field(field, name)
        posted = field.widget.value_from_datadict(form.data, form.files, form.add_prefix(name))
        # What the ticket cannot tell differs if saving would change it.
        if not (submission.knows_nothing or submission.differs(form.add_prefix(name), initial)):
            continue
        if not field.has_changed(initial, posted):
            continue
        cleaned = form.cleaned_data.get(name)
        touched = submission.knows_nothing or submission.differs(form.add_prefix(name), cleaned)
        label = str(field.label or capfirst(name.replace("_", " ")))
        found.append(Difference(name, label, text_of(name, field, initial), text_of(name, field, posted), touched))
    return found


def text_of(name: str, field: Any, value: Any) -> str:
    """The value of the field of this name as people write it; never that of a password."""
    if is_secret(name):
        return "***"
    if isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
        keys = value if isinstance(value, list | tuple | QuerySet | set) else [value]
        keys = [getattr(key, "pk", key) for key in keys if key not in (None, "")]
        named = {str(row.pk): str(row) for row in field.queryset.filter(pk__in=[k for k in keys if str(k).isdecimal()])}
        return ", ".join(named.get(str(key), str(key)) for key in keys) or NONE
    if isinstance(field, forms.ChoiceField):
        choices: Any = field.choices
        labels = {str(key): str(label) for key, label in choices if not isinstance(label, list | tuple)}
        values = value if isinstance(value, list | tuple) else [value]
        return ", ".join(labels.get(str(each), str(each)) for each in values if each not in (None, "")) or NONE
    if isinstance(field, forms.BooleanField):
        return "yes" if field.to_python(value) else "no"
    prepared = field.prepare_value(value)
    if isinstance(prepared, list | tuple):
        prepared = " ".join(str(each) for each in prepared if each not in (None, ""))
    return NONE if prepared in (None, "") else str(prepared)


def shown_by(form: Any) -> dict[str, Any]:
    """What a form about a row shows: the initial value of each field."""
    return {form.add_prefix(name): form.get_initial_for_field(field, name) for name, field in form.fields.items()}


def rows_shown_by(formset: Any) -> dict[str, Any]:
    """What the rows of an inline show, as one value: rows may come and go."""
    rows = [[form.instance.pk, *map(str, shown_by(form).values())] for form in formset.initial_forms]
    return {f"{formset.prefix}.rows": [str(row) for row in rows]}


# --- dialogs ----------------------------------------------------------------------------------------------------------
class DialogForm(BaseDialogForm):
    """The form in a dialog. One about a row is refused, once, when somebody changed the row since it was opened.

    `edited` names fields that are filled in with what there is already, for it to be changed.
    """

    edited: tuple[str, ...] = ()

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        self.submission = submission_of(request)
        match = request.resolver_match
        model_admin = getattr(match.func, "model_admin", None) if match is not None else None
        if match is not None and isinstance(model_admin, CarefulAdmin) and "object_id" in match.kwargs:
            about(request, model_admin.get_object(request, unquote(str(match.kwargs["object_id"]))))

    def hold_to_suggestions(self) -> None:
        """Note what the fields in `edited` suggest, which is what is wanted now, and that it was another before."""
        values = {name: self.get_initial_for_field(self.fields[name], name) for name in self.edited}
        tickets.show(self.request, values)
        if self.submission is not None:
            self.submission.differences += [
                Difference(name, str(self.fields[name].label or name), text_of(name, self.fields[name], value))
                for name, value in values.items()
                if self.submission.differs(name, value)
            ]

    def full_clean(self) -> None:
        super().full_clean()
        submission = self.submission
        if not self.is_bound or submission is None:
            return
        if submission.differences:
            submission.refuse(CHANGED)
        if submission.refusal:
            self.add_error(None, notice(submission))


def about(request: HttpRequest, row: models.Model | None) -> None:
    """Have the tickets of this page hold the version of `row`, and find out whether the submission's is another."""
    if row is None:
        return
    request.csms_row = row  # type: ignore[attr-defined]
    version = version_of(request, row)
    prefix = f"row {row._meta.model_name} "
    tickets.show(request, {f"{prefix}{name}": value for name, value in version.items()})
    submission = submission_of(request)
    if submission is not None:
        submission.differences += [
            Difference(name, capfirst(name.replace("_", " ")), "another one" if is_secret(name) else in_words(value))
            for name, value in version.items()
            if submission.differs(f"{prefix}{name}", value)
        ]


def in_words(value: Any) -> str:
    """A column's value as people write it."""
    if isinstance(value, datetime):
        return local_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value in (None, "") else str(value)


def version_of(request: HttpRequest, row: models.Model) -> Mapping[str, Any]:
    """What people decide of a row, by column; what charge points and jobs write does not make it another."""
    model_admin = admin.site.get_model_admin(type(row))
    return model_admin.version_of(request, row) if isinstance(model_admin, CarefulAdmin) else {}


# --- pages ------------------------------------------------------------------------------------------------------------
class CarefulAdmin(ModelAdmin):
    """Pages of rows whose forms, confirmations and actions are submitted once, for the tenant they were opened for."""

    # Columns that make a row another one for whoever looks at it; empty: those of its form.
    version_fields: tuple[str, ...] = ()
    # What can be done instead of deleting: the text of a button, and why one might. None: nothing.
    instead: tuple[str, str] | None = None

    def version_names(self, request: HttpRequest, row: models.Model) -> tuple[str, ...]:
        """The columns that people decide about."""
        names = self.version_fields or tuple(flatten_fieldsets(self.get_fieldsets(request, row)))
        columns = {each.name for each in self.opts.concrete_fields}
        return tuple(name for name in names if name in columns)

    def version_of(self, request: HttpRequest, row: models.Model) -> dict[str, Any]:
        """What people have decided about `row`, by column."""
        names = self.version_names(request, row)
        return {name: self.opts.get_field(name).value_from_object(row) for name in names}

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (CarefulForm, form), {"submission": submission_of(request)})

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            tickets.show(request, shown_by(context["adminform"].form))
            for inline in context["inline_admin_formsets"]:
                tickets.show(request, rows_shown_by(inline.formset))
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if object_id is not None and submission_of(request) is not None:
            self._hold(object_id)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _hold(self, object_id: str) -> None:
        """Let nobody change the row between here, where it is compared, and the commit."""
        if transaction.get_connection().in_atomic_block:
            rows = self.model._default_manager.select_for_update(no_key=True).order_by()
            try:
                rows.filter(pk=unquote(object_id)).first()
            except (ValueError, OverflowError):
                return  # No key of this model: the view answers 404.

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)
        submission = submission_of(request)
        if submission is not None and change:
            for formset in formsets:
                for name, rows in rows_shown_by(formset).items():
                    if submission.differs(name, rows):
                        label = capfirst(str(formset.model._meta.verbose_name_plural))
                        submission.differences.append(Difference(name, label, f"{len(rows)} now, changed meanwhile"))
        return formsets, inlines

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        if not self.has_delete_permission(request):
            return super().delete_view(request, object_id, extra_context)
        refused = self.refusal_of(request, object_id)
        if refused is not None:
            return refused
        rows = self.get_queryset(request).filter(pk=unquote(object_id))
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[unquote(object_id)])
        if INSTEAD in request.POST and self.instead and self.has_change_permission(request):
            messages.success(request, self.do_instead(request, rows))
            return HttpResponseRedirect(page)
        extra = {**self._deleting(request, rows), "back_url": page}
        return super().delete_view(request, object_id, {**extra, **(extra_context or {})})

    def refusal_of(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """For a page about a row that is no form of ours: the page that refuses a submission, if it must be refused."""
        submission = submission_of(request)
        if submission is not None:
            self._hold(object_id)
        about(request, self.get_object(request, unquote(object_id)))
        if submission is None or not (submission.differences or submission.refusal):
            return None
        submission.refuse(CHANGED)
        return refusal_page(request, submission)

    # --- actions on many rows -----------------------------------------------------------------------------------------
    def changelist_view(self, request: Any, extra_context: dict[str, Any] | None = None) -> Any:
        chosen = Selection.read(request.POST[SELECTION]) if SELECTION in request.POST else None
        if chosen is not None:
            # What Django asks for before it calls response_action, which knows the rows.
            request.csms_chosen = chosen
            posted = request.POST.copy()
            posted[ACTION_CHECKBOX_NAME] = "0"
            posted["select_across"] = "1"
            posted.pop("index", None)
            request.POST = posted
        return super().changelist_view(request, extra_context)

    def response_action(self, request: Any, queryset: QuerySet[Any]) -> Any:
        """Do what was chosen to exactly the rows that were chosen, however the list's filter sees them by now."""
        submission = submission_of(request)
        asked = getattr(request, "csms_chosen", None)
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if asked is not None:
            queryset = self.get_queryset(request).filter(pk__in=asked.keys)
        elif request.POST.get("select_across", "0") != "1":
            # Django leaves out what is no key.
            queryset = queryset.filter(pk__in=[key for key in ticked if key.isdecimal() and len(key) < 19])
        first = queryset.order_by("pk").first()
        columns = self.version_names(request, first) if first is not None else ()
        now = request.csms_selection = Selection.of(queryset, columns)
        if len(now.keys) > MOST_ROWS:
            messages.error(request, f"More than {MOST_ROWS:,} rows at once are too many: narrow the list by a filter.")
            return HttpResponseRedirect(request.get_full_path())
        if submission is not None and asked is not None and now.version != asked.version:
            submission.refuse(_changed_meanwhile(asked, now))
        if submission is not None and submission.refusal and "_form_submitted" not in request.POST:
            return refusal_page(request, submission)
        # The rows alone: a search may have joined and made distinct what is going to be locked or updated.
        queryset = self.get_queryset(request).filter(pk__in=now.keys)
        if INSTEAD in request.POST and self.instead and self.has_change_permission(request):
            messages.success(request, self.do_instead(request, queryset))
            return HttpResponseRedirect(request.get_full_path())
        response = super().response_action(request, queryset)
        if isinstance(response, TemplateResponse) and request.POST.get("action") == "delete_selected":
            response.context_data = {**(response.context_data or {}), **self._deleting(request, queryset)}
            response.context_data["back_url"] = request.get_full_path()
        return response

    def _deleting(self, request: HttpRequest, rows: QuerySet[Any]) -> dict[str, Any]:
        offered = self.instead if self.has_change_permission(request) else None
        return {"consequences": self.consequences(request, rows), "instead": offered, "instead_name": INSTEAD}

    # --- deleting -----------------------------------------------------------------------------------------------------
    def consequences(self, request: HttpRequest, rows: QuerySet[Any]) -> Sequence[str]:
        """What deleting `rows` means beyond the rows themselves, in sentences; to override."""
        return ()

    def do_instead(self, request: HttpRequest, rows: QuerySet[Any]) -> str:
        """Do to `rows` what `instead` offers; gives the sentence that says so."""
        raise NotImplementedError(f"{type(self).__name__} offers nothing instead of deleting.")

    # --- the question -------------------------------------------------------------------------------------------------
    def ask_first(
        self,
        request: Any,
        action: str,
        title: str,
        sentences: Sequence[str],
        submit_text: str,
        *,
        shown: Iterable[Any] = (),
    ) -> TemplateResponse | None:
        """The question before an action on many rows; None when it has been answered with yes."""
        if CONFIRMED in request.POST:
            return None
        rows = list(islice(shown, SHOWN_ROWS))
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "action_name": action,
            "sentences": [sentence for sentence in sentences if sentence],
            "submit_text": submit_text,
            "shown": rows,
            "more": max(0, number_of(request) - len(rows)),
            "confirmed_name": CONFIRMED,
            "media": self.media,
        }
        return TemplateResponse(request, "tenants/ask_first.html", context)


def _changed_meanwhile(asked: Selection, now: Selection) -> str:
    gone = len(asked.keys) - len(now.keys)
    what = f"{gone:,} of the {len(asked.keys):,} chosen are gone" if gone else "Some of the chosen were changed"
    return f"{what} since you were asked. Nothing was done; look at what is chosen now, and send it again."
