"""What Unfold works out again for every row of a list, once.

Context: half of the time of a list of fifty rows went into its headers, which each row makes anew with the links that
sort by them, and into the template of a checkbox, drawn twice a row. Choice: the headers of a list are made once, and
the checkbox is drawn once and filled in. Consequence: whoever changes the version of Unfold looks at
`unfold.templatetags.unfold_list`; a test compares.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import BadRequest
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


class NotUnderstood(BadRequest):
    """A filter in the address that cannot be understood; the text is for people."""


class CarefulFilters:
    """A list that refuses a filter it cannot understand, where Django would leave it out and show every row."""

    def get_changelist_instance(self, request: Any) -> Any:
        try:
            changelist = super().get_changelist_instance(request)  # type: ignore[misc]
        except IncorrectLookupParameters:
            if PAGE_VAR in request.GET:
                # A page that is there no more: Django shows the first one.
                raise
            raise NotUnderstood("The address of this list has a filter that it does not have.") from None
        for name, filter_class in _filters_by_parameter(self, request):
            value = request.GET.get(name, "")
            specs = [each for each in changelist.filter_specs if isinstance(each, filter_class)]
            known = {str(choice) for each in specs for choice, _ in each.lookup_choices}
            if value and value not in known:
                raise NotUnderstood(f'The filter "{filter_class.title}" has no choice "{value[:50]}".')
        return changelist


def _filters_by_parameter(model_admin: Any, request: Any) -> list[tuple[str, type[SimpleListFilter]]]:
    return [
        (each.parameter_name, each)
        for each in model_admin.get_list_filter(request)
        if isinstance(each, type) and issubclass(each, SimpleListFilter) and each.parameter_name
    ]
