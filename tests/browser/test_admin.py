"""The admin in a real browser on the real server: a charge point's first day, every page, every dialog."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LiveAdmin, StationThread
from tests.fake_charge_point import ConnectionRefused

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Connect = Callable[[str, str], StationThread]
_numbers = itertools.count(1)
# Lists that a charge point's first minutes fill, in the order of the sidebar.
LISTS_WITH_ROWS = (
    "stations/chargepoint/",
    "stations/transaction/",
    "stations/idtag/",
    "tenants/site/",
    "stations/command/",
    "stations/connectionattempt/",
    "stations/ocppmessage/",
    "stations/connectorstatus/",
    "stations/metervalue/",
    "stations/boot/",
    "tenants/membership/",
    "tenants/apikey/",
    "tenants/auditentry/",
)


# Tabs of a charge point's page, and something that each shows.
TABS = {
    "Overview": "#panel-live table",
    "Transactions": "#panel-transactions table",
    "Reservations": "#panel-reservations section",
    "Commands": "#panel-commands table",
    "Charging profiles": "#panel-charging_profiles section",
    "Composite schedule": "#panel-composite_schedule section",
    "Local list": "#panel-local_list section",
    "Configuration": "#panel-configuration p",
    "Firmware and logs": "#panel-firmware section",
    "Certificates": "#panel-certificates section",
    "Security": "#panel-security_events section",
    "Messages": "#panel-messages table",
    "Connection": "#panel-connection table",
    "Response times": "#panel-times table",
    "Settings": "#id_description",
}


def create_charge_point(page: Page, admin: LiveAdmin) -> tuple[str, str]:
    """Fill in the form as owner; the identity, and the password that the next page shows."""
    identity = f"B-{next(_numbers)}"
    page.goto(admin.url("stations/chargepoint/add/"))
    page.fill("#id_identity", identity)
    page.get_by_role("button", name="Save and continue editing").click()
    secret = page.locator("li code.csms-secret")
    expect(secret).to_be_visible()
    return identity, secret.inner_text()


def open_charge_point(page: Page, admin: LiveAdmin, identity: str, tab: str = "") -> None:
    page.goto(admin.url(f"stations/chargepoint/?q={identity}"))
    page.get_by_role("link", name=identity, exact=True).click()
    if tab:
        page.locator(".csms-tabs").get_by_role("link", name=tab).click()


def command(page: Page, button: str) -> None:
    """Open a dialog of the menu "Commands"; names of its links begin with the name of their icon."""
    page.locator("#header-inner li", has_text="Commands").click()
    page.locator("body > nav a", has_text=button).click()
    expect(page.locator("#dialog")).to_be_visible()


def press(page: Page, button: str) -> None:
    page.locator("#dialog").get_by_role("button", name=button).click()


@pytest.fixture
def owner(open_page: Page, live_admin: LiveAdmin) -> Page:
    live_admin.sign_in(open_page)
    return open_page


def test_new_charge_point_connects_with_the_password_shown_and_is_seen_live(
    owner: Page, live_admin: LiveAdmin, connect: Connect
) -> None:
    identity, password = create_charge_point(owner, live_admin)
    expect(owner.locator(".csms-facts code").first).to_contain_text(f"/ocpp/{live_admin.slug}/{identity}")
    live = owner.locator("#panel-live")
    expect(live).to_contain_text("has reported no connector yet")

    station = connect(identity, password)
    station.do(lambda: station.charge_point.boot())
    station.do(lambda: station.charge_point.status(1, "Faulted", "ConnectorLockFailure"))

    # No reload: the panel refreshes itself.
    expect(live).to_contain_text("ConnectorLockFailure", timeout=15_000)
    expect(live).to_contain_text("from 127.0.0.1")


def test_remote_start_from_the_dialog_leads_to_its_transaction(
    owner: Page, live_admin: LiveAdmin, connect: Connect
) -> None:
    owner.goto(live_admin.url("stations/idtag/add/"))
    owner.fill("#id_id_tag", f"TAG-{next(_numbers)}")
    id_tag = owner.input_value("#id_id_tag")
    owner.get_by_role("button", name="Save", exact=True).click()
    identity, password = create_charge_point(owner, live_admin)
    station = connect(identity, password)
    charge_point = station.charge_point

    open_charge_point(owner, live_admin, identity)
    owner.get_by_role("link", name="Remote start").click()
    press(owner, "Send")
    expect(owner.locator("#dialog")).to_contain_text("This field is required.")
    owner.fill("#id_id_tag", id_tag[:-1])
    expect(owner.locator(f'#suggestions-id_tag option[value="{id_tag}"]')).to_be_attached()
    owner.fill("#id_id_tag", id_tag)
    press(owner, "Send")

    call = station.do(lambda: charge_point.expect_call("RemoteStartTransaction"))
    assert call.payload == {"idTag": id_tag}
    state = owner.locator("#command-state")
    expect(state).to_contain_text("waits for the answer")
    station.do(lambda: charge_point.reply(call, {"status": "Accepted"}))
    expect(state).to_contain_text("waits for what follows")
    started = station.do(lambda: charge_point.start_transaction(id_tag=id_tag))
    state.get_by_role("link", name=f"Transaction {started['transactionId']}").click(timeout=15_000)
    expect(owner.locator("#transaction-state")).to_contain_text("running")

    # The stop button of the running transaction.
    owner.locator("#header-inner").get_by_role("link", name="Stop").click()
    press(owner, "Stop")
    stop = station.do(lambda: charge_point.expect_call("RemoteStopTransaction"))
    assert stop.payload == {"transactionId": started["transactionId"]}
    station.do(lambda: charge_point.reply(stop, {"status": "Rejected"}))
    expect(state).to_contain_text("Rejected")


DIALOGS = [
    ("Reset", {"type": "Hard"}, {"type": "Hard"}, "Rejected"),
    ("Unlock connector", {"connector_id": "9"}, {"connectorId": 9}, "NotSupported"),
    (
        "Change availability",
        {"connector_id": "2", "type": "Inoperative"},
        {"connectorId": 2, "type": "Inoperative"},
        "Scheduled",
    ),
    ("Read configuration", {}, {}, None),
    (
        "Change configuration",
        {"key": "NoSuchKey", "value": "-1"},
        {"key": "NoSuchKey", "value": "-1"},
        "NotSupported",
    ),
    ("Clear cache", {}, {}, "Accepted"),
    ("Data transfer", {"vendor_id": "com.example"}, {"vendorId": "com.example"}, "UnknownVendorId"),
]


def test_every_dialog_sends_what_was_filled_in_and_shows_the_answer(
    owner: Page, live_admin: LiveAdmin, connect: Connect
) -> None:
    identity, password = create_charge_point(owner, live_admin)
    station = connect(identity, password)
    charge_point = station.charge_point
    open_charge_point(owner, live_admin, identity)
    page_of_charge_point = owner.url
    for button, fields, payload, answer in DIALOGS:
        owner.goto(page_of_charge_point)
        command(owner, button)
        for name, value in fields.items():
            field = owner.locator(f"#dialog #id_{name}")
            field.select_option(value) if name == "type" else field.fill(value)
        press(owner, "Send")
        call = station.do(lambda: charge_point.expect_call())
        assert call.payload == payload
        reply = {"configurationKey": [{"key": "K", "readonly": True}]} if answer is None else {"status": answer}
        station.do(lambda call=call, reply=reply: charge_point.reply(call, reply))
        expect(owner.locator("#command-state")).to_contain_text(answer or "configurationKey")

    open_charge_point(owner, live_admin, identity, "Commands")
    expect(owner.locator("#panel-commands tbody tr")).to_have_count(len(DIALOGS))


def test_every_page_opens_without_an_error(owner: Page, live_admin: LiveAdmin, connect: Connect) -> None:
    identity, password = create_charge_point(owner, live_admin)
    owner.goto(live_admin.url("tenants/site/add/"))
    owner.fill("#id_name", f"Site {identity}")
    owner.get_by_role("button", name="Save", exact=True).click()
    owner.goto(live_admin.url("tenants/apikey/add/"))
    owner.fill("#id_name", "export")
    owner.get_by_role("button", name="Save", exact=True).click()
    owner.goto(live_admin.url("stations/idtag/add/"))
    owner.fill("#id_id_tag", f"TAG-{identity}")
    owner.get_by_role("button", name="Save", exact=True).click()
    station = connect(identity, password)
    charge_point = station.charge_point
    charge_point.on("ClearCache", {"status": "Accepted"})
    station.do(lambda: charge_point.boot())
    station.do(lambda: charge_point.status(1, "Charging"))
    started = station.do(lambda: charge_point.start_transaction(id_tag=f"TAG-{identity}"))
    for reading in (1100, 1200, 1300):
        station.do(lambda wh=reading: charge_point.meter_values(1, started["transactionId"], wh))
    open_charge_point(owner, live_admin, identity)
    command(owner, "Clear cache")
    press(owner, "Send")
    expect(owner.locator("#command-state")).to_contain_text("Accepted")

    owner.goto(live_admin.url(""))
    expect(owner.locator("#dashboard")).to_contain_text(identity)
    for address in LISTS_WITH_ROWS:
        owner.goto(live_admin.url(address))
        row = owner.locator("#result_list tbody tr").first
        expect(row).to_be_visible()
        row.locator("a").first.click()
        expect(owner).to_have_url(re.compile("/change/"))
        expect(owner.locator("#content")).to_be_visible()
        if address == "stations/chargepoint/":
            owner.wait_for_load_state("networkidle")
    for address in ("tenants/jobrun/", "password_change/", "tenants/membership/add/"):
        owner.goto(live_admin.url(address))
        expect(owner.locator("#content")).to_be_visible()

    open_charge_point(owner, live_admin, identity)
    for tab, panel in TABS.items():
        owner.locator(".csms-tabs").get_by_role("link", name=tab).click()
        expect(owner.locator(panel).first).to_be_visible()
    owner.emulate_media(color_scheme="dark")
    owner.reload()
    expect(owner.locator("html.dark")).to_be_attached()


def test_failed_handshake_appears_with_what_to_do(owner: Page, live_admin: LiveAdmin, connect: Connect) -> None:
    identity, _ = create_charge_point(owner, live_admin)
    with pytest.raises(ConnectionRefused):
        connect(identity, "wrong-password-of-20")
    owner.goto(live_admin.url(""))
    expect(owner.locator("#dashboard")).to_contain_text("The password is wrong.")
    open_charge_point(owner, live_admin, identity, "Connection")
    expect(owner.locator("#panel-connection")).to_contain_text("wrong password")


def test_one_request_to_many_charge_points(owner: Page, live_admin: LiveAdmin) -> None:
    for _ in range(2):
        create_charge_point(owner, live_admin)
    owner.goto(live_admin.url("stations/chargepoint/"))
    for box in owner.locator("#result_list tbody input.action-select").all()[:2]:
        box.check()
    owner.get_by_label("Select action to run").select_option("clear_many")
    owner.locator("#changelist-form button[type=submit]").first.click()
    expect(owner.locator("#content")).to_contain_text("not connected")
    owner.get_by_role("button", name="Send").click()
    expect(owner.locator("#result_list tbody tr")).to_have_count(2)


def test_settings_are_saved_and_errors_are_shown_on_their_tab(owner: Page, live_admin: LiveAdmin) -> None:
    identity, _ = create_charge_point(owner, live_admin)
    open_charge_point(owner, live_admin, identity, "Settings")
    owner.fill("#id_heartbeat_interval_seconds", "0")
    owner.get_by_role("button", name="Save and continue editing").click()
    expect(owner.locator("#content")).to_contain_text("greater than or equal to 1")
    owner.fill("#id_heartbeat_interval_seconds", "60")
    owner.fill("#id_description", "Beside the lift")
    owner.get_by_role("button", name="Save and continue editing").click()
    expect(owner.locator(".csms-station")).to_contain_text("Beside the lift")


def test_platform_administrator_switches_between_tenants(open_page: Page, live_admin: LiveAdmin) -> None:
    live_admin.server.create_tenant(f"{live_admin.slug}-second", name="The Second Tenant")
    live_admin.sign_in(open_page, "root")
    open_page.select_option("#csms-tenant-choice", label="The Second Tenant")
    open_page.wait_for_url(live_admin.url(""))
    expect(open_page.locator("#csms-tenant-choice option:checked")).to_have_text("The Second Tenant")
    expect(open_page.locator("#dashboard")).to_contain_text("0 of 0")
    open_page.goto(live_admin.url("tenants/tenant/"))
    first = open_page.locator("#result_list tbody tr", has_text=live_admin.slug.title()).first
    first.get_by_role("button", name="Work for it").click()
    open_page.wait_for_url(live_admin.url(""))
    expect(open_page.locator("#csms-tenant-choice option:checked")).to_have_text(live_admin.slug.title())


def test_viewer_sees_pages_without_buttons(open_page: Page, live_admin: LiveAdmin) -> None:
    live_admin.sign_in(open_page, "viewer")
    open_page.goto(live_admin.url("stations/chargepoint/"))
    row = open_page.locator("#result_list tbody tr").first
    row.locator("th a").click()
    expect(open_page.locator("#panel-live")).to_contain_text("Now")
    expect(open_page.get_by_text("Remote start")).to_have_count(0)
