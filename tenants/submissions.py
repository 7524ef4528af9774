"""A form of the admin that came back: refused when it does not fit its ticket, and carried out once.

Context: tenants/tickets.py says what each form carries. A person may have switched to another tenant meanwhile,
somebody else may have changed the row, and a double click posts everything twice.
Choice: TenantMiddleware reads the ticket and opens the scope of the tenant that the form was opened for, so that the
form can be shown again with what was typed; SubmissionMiddleware runs the view in one transaction with the record of
the key, whose unique constraint lets one of two submissions through. A submission that is refused runs as well, for the
form to show the refusal, and all that it did is taken back.
Consequence: a view of the admin needs no code for any of this. One that does not show the refusal itself is answered
for by a page that holds what was posted. A view whose POST changes nothing says so with `reads_only`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import orjson
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from cryptography.fernet import InvalidToken
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, UnreadablePostError
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeData, mark_safe

from tenants import tickets
from tenants.models import IdempotencyRecord, IdempotencyState, Tenant

logger = logging.getLogger(__name__)
View = TypeVar("View", bound=Callable[..., Any])

SWITCH = "csms_switch"
CHOICE = "csms_choice-"
# The rows that an action is about (tenants/admin/selection.py).
SELECTION = "csms_selection"
_KEY_PREFIX = "form "
_OURS = ("csrfmiddlewaretoken", tickets.FIELD, SWITCH)
# Parts of names of fields whose values are not written into a page again.
_SECRET = ("password", "private_key", "secret")

MISSING = (
    "This form came without the key that every form here carries, so nothing was done. "
    "Look through it and send it again."
)
EXPIRED = "This form was opened more than 24 hours ago, so nothing was done. Look through it and send it again."
ELSEWHERE = "This form belongs to another page, so nothing was done."
REUSED = (
    "This form has been sent before, with other contents, and that was carried out. "
    "Nothing was done now; send it again if you want this as well."
)
ANOTHER_PERSON = "This form was opened by somebody who was signed in here before you. Nothing was done; open it again."
TENANT_GONE = "This form was opened for a tenant that is gone or that you no longer work for. Nothing was done."
ANOTHER_TENANT = (
    "This form was opened for {}, and you work for {} now. Nothing was done, and what you filled in is still here."
)
CHANGED = "This was changed by somebody else since you opened it. Nothing was done; look at what differs."


@dataclass(frozen=True)
class Difference:
    """A value that is another now than when the form was opened; `yours` is None where there is nothing to choose."""

    name: str
    label: str
    theirs: str
    yours: str | None = None
    touched: bool = True


@dataclass
class Submission:
    """One POST to the admin: its ticket, and why it is refused, if it is."""

    ticket: tickets.Ticket | None
    fingerprint: str
    refusal: str = ""
    # Whether sending the same again makes sense; `switch_to` is the tenant that must be worked for first.
    again: bool = True
    switch_to: Tenant | None = None
    differences: list[Difference] = field(default_factory=list)
    # Fields for which the person chose what somebody else had saved meanwhile.
    theirs: frozenset[str] = frozenset()
    # Whether the view shows the refusal itself.
    is_shown: bool = False

    def refuse(self, sentence: str, *, again: bool = True) -> None:
        """Refuse, for the first reason that is found."""
        if not self.refusal:
            self.refusal, self.again = sentence, again

    def differs(self, name: str, value: Any) -> bool:
        """Whether the form showed another value than `value` under this name; what it did not show never differs."""
        shown = self.ticket.shown.get(name) if self.ticket is not None else None
        return shown is not None and shown != tickets.digest(value)

    @property
    def knows_nothing(self) -> bool:
        """Whether there is no telling what the form showed."""
        return self.ticket is None


def reads_only(view: View) -> View:
    """Decorate a view of the admin whose POST changes nothing: it needs no ticket."""
    view.csms_reads_only = True  # type: ignore[attr-defined]
    return view


def submission_of(request: Any) -> Submission | None:
    """The submission that a request is; None for a GET, and outside of the admin."""
    submission: Submission | None = getattr(request, "csms_submission", None)
    return submission


# --- reading, called by TenantMiddleware ------------------------------------------------------------------------------
@cache
def _admin_paths() -> tuple[str, tuple[str, ...]]:
    return reverse("admin:index"), (reverse("admin:login"), reverse("admin:logout"))


def read_submission(request: Any) -> Submission | None:
    """What a signed-in person submits to the admin; None for every other request."""
    prefix, own = _admin_paths()
    if request.method != "POST" or not request.path.startswith(prefix) or request.path in own:
        return None
    try:
        data, files = request.POST, request.FILES
    except UnreadablePostError:
        return None
    ticket = tickets.read(data.get(tickets.FIELD, ""))
    theirs = frozenset(
        name.removeprefix(CHOICE) for name, value in data.items() if name.startswith(CHOICE) and value == "theirs"
    )
    submission = Submission(ticket, _fingerprint(data, files), theirs=theirs)
    if ticket is None:
        submission.refuse(MISSING)
    elif ticket.user_id != request.user.pk:
        submission.refuse(ANOTHER_PERSON, again=False)
    elif ticket.path != request.path:
        submission.refuse(ELSEWHERE, again=False)
    elif ticket.expired:
        submission.refuse(EXPIRED)
    return submission


def _fingerprint(data: Any, files: Any) -> str:
    """SHA-256 of what was posted, without what differs each time."""
    posted = [(name, values) for name, values in sorted(data.lists()) if name not in _OURS]
    sent = [(name, [(each.name, each.size) for each in each_of]) for name, each_of in sorted(files.lists())]
    return hashlib.sha256(orjson.dumps([posted, sent])).hexdigest()


# --- carrying out -----------------------------------------------------------------------------------------------------
class SubmissionMiddleware:
    """Runs what a submission asks for, once. Must come after TenantMiddleware and the check against forgery."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        submission = submission_of(request)
        if submission is None:
            return None
        if getattr(view, "csms_reads_only", False):
            request.csms_submission = None
            return None

        def run() -> HttpResponseBase:
            response: HttpResponseBase = view(request, *args, **kwargs)
            return response

        if submission.refusal:
            return _refuse(request, submission, run)
        if request.tenant is None or submission.ticket is None:
            # Nobody without a tenant can do more here than make one, or an account; their names are unique.
            return run()
        return _run_once(request, submission, submission.ticket, run)


def _refuse(request: Any, submission: Submission, run: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Let the view show its form again with the refusal in it, and take back whatever else it did."""
    with transaction.atomic():
        response = run()
        transaction.set_rollback(True)
    return _answer(request, submission, response)


def _run_once(
    request: Any, submission: Submission, ticket: tickets.Ticket, run: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    with transaction.atomic():
        record, is_new = _claim(request, submission, ticket)
        if is_new:
            response = run()
            if _is_done(response) and not submission.refusal:
                _keep(request, record, response)
                return response
            if not submission.refusal:
                # Nothing has come of it yet: an error is shown in the form, or a question is asked first.
                record.delete()
                return response
            transaction.set_rollback(True)
    if is_new:
        return _answer(request, submission, response)
    if record.body_digest != submission.fingerprint:
        submission.refuse(REUSED)
        return _refuse(request, submission, run)
    return _repeat(request, record)


def _claim(request: Any, submission: Submission, ticket: tickets.Ticket) -> tuple[IdempotencyRecord, bool]:
    """The record of the form's key, and whether it is new. A second submission waits here for the first's commit."""
    now = datetime.now(UTC)
    key = _KEY_PREFIX + ticket.key
    try:
        with transaction.atomic():
            record = IdempotencyRecord.objects.create(
                user=request.user, key=key, method="POST", path=request.path[:2000],
                body_digest=submission.fingerprint, created_at=now, expires_at=now + tickets.KEPT,
            )  # fmt: skip
    except IntegrityError:
        return IdempotencyRecord.objects.get(user=request.user, key=key), False
    return record, True


def _is_done(response: HttpResponseBase) -> bool:
    return 300 <= response.status_code < 400 or response.has_header("HX-Redirect")


def _location(response: HttpResponseBase) -> str:
    return str(response.headers.get("HX-Redirect") or response.headers.get("Location", ""))


def _keep(request: Any, record: IdempotencyRecord, response: HttpResponseBase) -> None:
    """Note where the submission led and what is to be said there: a password shown once must not get lost."""
    record.state = IdempotencyState.DONE
    record.response_status = response.status_code
    record.response_headers = {"Location": _location(response)}
    said = [(each.level, str(each.message), isinstance(each.message, SafeData)) for each in _pending_messages(request)]
    record.keep(orjson.dumps(said))
    record.save(update_fields=["state", "response_status", "response_headers", "response_body"])


def _repeat(request: Any, record: IdempotencyRecord) -> HttpResponse:
    """Lead to what came of the first submission, with the same messages."""
    location = record.response_headers.get("Location") or request.path
    there = {str(each.message) for each in _pending_messages(request)}
    try:
        said = orjson.loads(record.kept())
    except InvalidToken:
        logger.warning("What was said after a form was sent can no longer be read.")
        said = []
    for level, text, is_safe in said:
        if text not in there:
            messages.add_message(request, level, mark_safe(text) if is_safe else text)  # noqa: S308 - it was safe before
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(headers={"HX-Redirect": location})
    return HttpResponseRedirect(location)


def _pending_messages(request: Any) -> list[Any]:
    storage: Any = messages.get_messages(request)
    pending = list(storage)
    # They were looked at, not shown.
    storage.used = False
    return pending


# --- refusing ---------------------------------------------------------------------------------------------------------
def _answer(request: Any, submission: Submission, response: HttpResponseBase) -> HttpResponseBase:
    """The form that the view shows with the refusal in it; else the page that stands for it."""
    if not submission.is_shown or _is_done(response):
        list(messages.get_messages(request))
        response = refusal_page(request, submission)
    response.status_code = 400 if submission.knows_nothing else 409
    return response


def refusal_page(request: Any, submission: Submission) -> TemplateResponse:
    """A page that says why nothing was done, and holds what was posted so that it can be sent again."""
    submission.is_shown = True
    posted = [(name, value) for name, values in request.POST.lists() if _is_carried(name) for value in values]
    selection = getattr(request, "csms_selection", None)
    if selection is not None:
        # As the rows are now, and in one field.
        posted = [pair for pair in posted if pair[0] not in (SELECTION, ACTION_CHECKBOX_NAME, "select_across", "index")]
        posted.append((SELECTION, selection.sign()))
    context = {
        **admin.site.each_context(request),
        "title": "Nothing was done",
        "submission": submission,
        "carried": posted if submission.again else [],
        "forgotten": bool(request.FILES) or any(is_secret(name) for name in request.POST),
        "switch_name": SWITCH,
        "choice_prefix": CHOICE,
    }
    fetched = request.headers.get("HX-Request") == "true"
    return TemplateResponse(request, "tenants/refused_dialog.html" if fetched else "tenants/refused.html", context)


def is_secret(name: str) -> bool:
    """Whether a field of this name has what must not be written into a page."""
    return any(part in name.lower() for part in _SECRET)


def _is_carried(name: str) -> bool:
    return name not in _OURS and not name.startswith(CHOICE) and not is_secret(name)
