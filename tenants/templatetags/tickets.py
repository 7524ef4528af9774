"""Built into every template: the tag `csrf_token`, which writes a form's ticket as well, and frames for dialogs."""

from __future__ import annotations

from typing import Any

from django.template import Context, Library
from django.template.defaulttags import CsrfTokenNode
from django.utils.html import format_html, format_html_join

from tenants import tickets
from tenants.submissions import CHOICE, submission_of

register = Library()


class TicketNode(CsrfTokenNode):
    """Django's token against forgery, and in forms of the admin the ticket beside it."""

    def render(self, context: Context) -> Any:
        token = super().render(context)
        request: Any = context.get("request")
        match = getattr(request, "resolver_match", None)
        if match is None or match.namespace != "admin" or not request.user.is_authenticated:
            return token
        hidden = [(tickets.FIELD, tickets.issue(request))]
        submission = submission_of(request)
        if submission is not None:
            # A choice that was made holds when the form is shown again for another reason.
            hidden += [(f"{CHOICE}{name}", "theirs") for name in sorted(submission.theirs)]
        return format_html("{}{}", token, format_html_join("", '<input type="hidden" name="{}" value="{}">', hidden))


@register.tag
def csrf_token(parser: Any, token: Any) -> TicketNode:
    return TicketNode()


@register.filter
def dialog_frame(request: Any) -> str:
    """The template around a dialog: none where htmx fetches it into a page, else a page of its own."""
    fetched = request.headers.get("HX-Request") == "true"
    return "unfold/helpers/dialog_alone.html" if fetched else "admin/dialog_page.html"
