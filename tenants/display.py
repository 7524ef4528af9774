"""How the admin writes times, states and secrets: small pieces of HTML, the same on every page."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

DASH = "–"
MINUTE, HOUR, DAY = 60, 3600, 86_400


def badge(text: object, variant: str = "plain", title: str = "") -> SafeString:
    """A coloured word; `variant` is one of plain, success, info, active, warning, danger (admin.css)."""
    return format_html('<span class="csms-badge csms-badge-{}" title="{}">{}</span>', variant, title, text)


def local_text(at: datetime) -> str:
    """`at` in the time zone of the request, to the second, with the zone's name."""
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")


def moment(at: datetime | None) -> SafeString | str:
    """A time to the second; the zone is in the tooltip. A dash for none."""
    if at is None:
        return DASH
    local = timezone.localtime(at)
    return format_html(
        '<time class="csms-time" datetime="{}" title="{}">{}</time>',
        at.isoformat(), local_text(at), local.strftime("%Y-%m-%d %H:%M:%S"),
    )  # fmt: skip


def ago_text(at: datetime, now: datetime | None = None) -> str:
    """How long ago `at` was, in one unit: "12 s ago"; "in 3 min" for what is to come."""
    seconds = ((now or timezone.now()) - at).total_seconds()
    amount = abs(seconds)
    if amount < 2:
        return "just now"
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1, "s")):
        if amount >= size * (2 if size != 1 else 1):
            text = f"{int(amount // size)} {unit}"
            return f"{text} ago" if seconds >= 0 else f"in {text}"
    return "just now"


def ago(at: datetime | None, never: str = "never") -> SafeString | str:
    """How long ago `at` was; the time itself is in the tooltip."""
    if at is None:
        return never
    return format_html(
        '<time class="csms-time" datetime="{}" title="{}">{}</time>', at.isoformat(), local_text(at), ago_text(at)
    )


def pretty_json(value: Any) -> SafeString:
    """JSON indented for reading, in the order of its members; text that is no JSON as it is."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre class="csms-code">{}</pre>', text)


def secret_message(sentence: str, secret: str) -> SafeString:
    """A message that shows a secret this once, with a button that copies it."""
    return format_html(
        '{} <code class="csms-secret">{}</code> <button type="button" class="csms-copy" data-copy="{}">Copy</button> '
        "It is shown only now and stored as a hash.",
        sentence, secret, secret,
    )  # fmt: skip


def leave_dialog(request: HttpRequest, url: str) -> HttpResponse:
    """Go to `url` from a dialog, which htmx posts; without htmx, an ordinary redirect."""
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
