"""What Unfold works out again for every row of a list, once.

Context: half of the time of a list of fifty rows went into its headers, which each row makes anew with the links that
sort by them, and into the template of a checkbox, drawn twice a row. Choice: the headers of a list are made once, and
the checkbox is drawn once and filled in. Consequence: whoever changes the version of Unfold looks at
`unfold.templatetags.unfold_list`; a test compares.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from unfold.admin import checkbox
from unfold.templatetags import unfold_list

_PLACE = "--key--"
_headers_of = unfold_list.result_headers


def _headers(changelist: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] | None = changelist.__dict__.get("csms_headers")
    if made is None:
        made = changelist.csms_headers = list(_headers_of(changelist))
    return made


def install() -> None:
    """Have every list of the admin make its headers once."""
    unfold_list.result_headers = _headers


@cache
def _checkbox(language: str | None) -> str:
    return str(checkbox.render(ACTION_CHECKBOX_NAME, _PLACE))


def checkbox_of(key: int) -> SafeString:
    """The checkbox that chooses the row of this key for an action."""
    return mark_safe(_checkbox(get_language()).replace(_PLACE, str(int(key))))  # noqa: S308 - a template and a number
