"""What is worked out once for a list is what Unfold would work out for each of its rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from unfold.admin import ModelAdmin, checkbox
from unfold.templatetags import unfold_list

from tenants.admin import lists
from tenants.admin.scoped import TenantModelAdmin


def test_checkbox_is_unfolds() -> None:
    assert lists.checkbox_of(4711) == checkbox.render("_selected_action", "4711")
    assert TenantModelAdmin.action_checkbox.short_description == ModelAdmin.action_checkbox.short_description


def test_headers_are_made_once_a_list_and_are_unfolds(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def headers_of(changelist: Any) -> Any:
        made.append(changelist)
        yield from ({"text": "Identity"}, {"text": "Site"})

    monkeypatch.setattr(lists, "_headers_of", headers_of)
    first, second = SimpleNamespace(), SimpleNamespace()
    for changelist in (first, first, second):
        assert unfold_list.result_headers(changelist) == [{"text": "Identity"}, {"text": "Site"}]
    assert made == [first, second]
