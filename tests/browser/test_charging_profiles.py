"""The editor of charging profiles in a real browser: typing redraws the chart and the JSON, saved is what was shown."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LiveAdmin

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADD = "stations/chargingprofile/add/"


@pytest.fixture
def owner(open_page: Page, live_admin: LiveAdmin) -> Page:
    live_admin.sign_in(open_page)
    return open_page


def row(page: Page, number: int) -> list[str]:
    """The values of a row of the table of periods."""
    inputs = page.locator("[data-periods] tbody tr").nth(number).locator("input")
    return [inputs.nth(column).input_value() for column in range(3)]


def type_period(page: Page, number: int, start: str, limit: str, phases: str = "") -> None:
    inputs = page.locator("[data-periods] tbody tr").nth(number).locator("input")
    for column, value in enumerate((start, limit, phases)):
        inputs.nth(column).fill(value)


def test_typed_period_redraws_chart_and_json_and_is_there_after_saving(owner: Page, live_admin: LiveAdmin) -> None:
    owner.goto(live_admin.url(ADD))
    preview = owner.locator("#profile-preview")
    expect(preview).to_contain_text("Nothing to draw")
    expect(owner.locator("[data-periods] tbody tr")).to_have_count(1)
    owner.fill("#id_description", "Less at noon")
    type_period(owner, 0, "0", "32")
    line = preview.locator("path.csms-chart-line")
    expect(line).to_have_attribute("d", re.compile(r"^M[\d.]+,[\d.]+H880.0$"))

    # The keyboard alone: a new row has the focus.
    owner.get_by_role("button", name="Add a period").press("Enter")
    owner.keyboard.type("10:00")
    owner.keyboard.press("Tab")
    owner.keyboard.type("16.5")
    owner.keyboard.press("Tab")
    owner.keyboard.type("1")
    expect(line).to_have_attribute("d", re.compile(r"^M[\d.]+,[\d.]+H404.0V[\d.]+H880.0$"))
    expect(owner.locator("#profile-json")).to_contain_text('"startPeriod": 36000')
    shown = json.loads(owner.locator("#profile-json").inner_text())
    assert shown["chargingSchedule"] == {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": 32},
            {"startPeriod": 36000, "limit": 16.5, "numberPhases": 1},
        ],
    }
    expect(preview.locator(".csms-note")).to_contain_text("taken as relative to the start of charging")

    owner.get_by_role("button", name="Save and continue editing").click()
    expect(owner.locator("#id_description")).to_have_value("Less at noon")
    owner.wait_for_url(re.compile(r"/chargingprofile/\d+/change/"))
    assert [row(owner, 0), row(owner, 1)] == [["0", "32", ""], ["36000", "16.5", "1"]]
    expect(owner.locator("[data-periods] tbody tr")).to_have_count(2)
    number = int(re.search(r"/(\d+)/change/", owner.url).group(1))  # type: ignore[union-attr]
    assert json.loads(owner.locator("#profile-json").inner_text()) == {"chargingProfileId": number, **shown}
    expect(owner.locator("#content-main")).to_contain_text("On no charge point.")


def test_rows_move_sort_and_go_and_the_preview_follows(owner: Page, live_admin: LiveAdmin) -> None:
    owner.goto(live_admin.url(ADD))
    type_period(owner, 0, "7200", "10")
    owner.get_by_role("button", name="Add a period").click()
    type_period(owner, 1, "0", "32")
    shown = owner.locator("#profile-json")
    expect(owner.locator("#profile-preview")).to_contain_text("The first startPeriod should be 0.")
    owner.get_by_role("button", name="Move up").nth(1).click()
    assert [row(owner, 0)[0], row(owner, 1)[0]] == ["0", "7200"]
    expect(owner.locator("#profile-preview")).not_to_contain_text("The first startPeriod should be 0.")
    owner.get_by_role("button", name="Move down").nth(0).click()
    owner.get_by_role("button", name="Sort by start").click()
    assert [row(owner, 0)[0], row(owner, 1)[0]] == ["0", "7200"]
    owner.get_by_role("button", name="Remove").nth(1).click()
    expect(shown).not_to_contain_text("7200")
    expect(shown).to_contain_text('"limit": 32')
    # The last row is emptied, not taken away.
    owner.get_by_role("button", name="Remove").click()
    assert row(owner, 0) == ["", "", ""]
    expect(owner.locator("#profile-preview")).to_contain_text("A schedule needs a period.")


def test_impossible_limit_is_said_while_typing_and_at_its_row_after_saving(owner: Page, live_admin: LiveAdmin) -> None:
    owner.goto(live_admin.url(ADD))
    type_period(owner, 0, "0", "16.25")
    expect(owner.locator("#profile-preview")).to_contain_text("A limit has one decimal at most.")
    owner.get_by_role("button", name="Save", exact=True).click()
    expect(owner.locator("tr.csms-period-bad")).to_contain_text("A limit has one decimal at most.")
    assert row(owner, 0) == ["0", "16.25", ""]


def test_without_our_script_rows_can_be_filled_in_and_json_written(page: Page, live_admin: LiveAdmin) -> None:
    page.route("**/charging_profile.js", lambda route: route.abort())
    live_admin.sign_in(page)
    page.goto(live_admin.url(ADD))
    type_period(page, 0, "0", "16")
    type_period(page, 1, "3600", "6")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url(re.compile(r"/chargingprofile/\d+/change/"))
    assert [row(page, 0), row(page, 1)] == [["0", "16", ""], ["3600", "6", ""]]

    page.get_by_role("heading", name="JSON instead").click()
    profile = json.loads(page.input_value("#id_as_json"))
    page.fill("#id_as_json", json.dumps(profile | {"stackLevel": 7}))
    page.locator("#id_use_json").check()
    expect(page.locator("#profile-json")).to_contain_text('"stackLevel": 7')
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator("#id_stack_level")).to_have_value("7")
    expect(page.locator("#id_use_json")).not_to_be_checked()
