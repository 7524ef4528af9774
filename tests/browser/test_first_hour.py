"""A charge point's first hour in a real browser: it is added and seen to connect, and says why it is offline."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LiveAdmin, StationThread
from tests.fake_charge_point import ConnectionRefused

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Connect = Callable[[str, str], StationThread]


def add(page: Page, admin: LiveAdmin, identity: str) -> str:
    """Add a charge point as owner; the password that the next page shows."""
    admin.sign_in(page)
    page.goto(admin.url("stations/chargepoint/add/"))
    page.fill("#id_identity", identity)
    page.get_by_role("button", name="Save", exact=True).click()
    secret = page.locator("li code.csms-secret")
    expect(secret).to_be_visible()
    return secret.inner_text()


def test_new_one_is_seen_to_be_refused_and_then_to_connect(
    open_page: Page, live_admin: LiveAdmin, connect: Connect
) -> None:
    password = add(open_page, live_admin, "HOUR-1")
    expect(open_page.locator(".csms-facts")).to_contain_text(f"/ocpp/{live_admin.slug}/HOUR-1")
    waiting = open_page.locator("#waiting")
    expect(waiting).to_contain_text("Waiting for its first connection")
    with pytest.raises(ConnectionRefused):
        connect("HOUR-1", "not-this-password-1")
    expect(waiting).to_contain_text("The password is wrong.")
    connect("HOUR-1", password)
    expect(waiting).to_contain_text("connected")
    waiting.get_by_role("link", name="Go on to its page").click()
    expect(open_page.locator("#panel-live")).to_contain_text("from 127.0.0.1")


def test_reason_for_offline_is_two_clicks_from_the_dashboard(
    open_page: Page, live_admin: LiveAdmin, connect: Connect
) -> None:
    password = add(open_page, live_admin, "HOUR-2")
    station = connect("HOUR-2", password)
    station.do(station.charge_point.close)
    with pytest.raises(ConnectionRefused):
        connect("HOUR-2", "not-this-password-2")
    open_page.goto(live_admin.url(""))
    line = open_page.locator("#dashboard .csms-line", has_text="HOUR-2").first
    expect(line).to_contain_text("Not connected", timeout=20_000)
    line.get_by_role("link", name="HOUR-2").click()
    expect(open_page.locator("#presence")).to_contain_text("The password is wrong.")
