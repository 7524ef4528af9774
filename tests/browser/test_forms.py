"""Forms in a real browser: tenant switched in another tab, two tabs on one row, a double click, two thousand rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LiveAdmin

pytestmark = [pytest.mark.browser, pytest.mark.slow]
_numbers = itertools.count(1)

MAKE_CHARGE_POINTS = """
from stations.models import ChargePoint
from tenants.models import Tenant
from tenants.scope import tenant_scope
tenant = Tenant.objects.get(slug={slug!r})
with tenant_scope(tenant):
    ChargePoint.objects.bulk_create(ChargePoint(identity=f"MANY-{{n}}", tenant=tenant) for n in range(2000))
"""


@pytest.fixture(scope="module")
def other(live_admin: LiveAdmin) -> str:
    """Another tenant of the installation, which its administrator may work for as well."""
    slug = f"{live_admin.slug}-other"
    live_admin.server.create_tenant(slug)
    return slug


@pytest.fixture
def root(page: Page, live_admin: LiveAdmin, other: str) -> Iterator[Page]:
    """A platform administrator's browser. Refusals are answers of 409 here, which the console notes."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(15_000)
    page.set_viewport_size({"width": 1440, "height": 900})
    live_admin.sign_in(page, "root")
    switch(page, live_admin.slug)
    yield page
    assert errors == []


def switch(page: Page, slug: str) -> None:
    tenant = slug.title()
    choice = page.locator("#csms-tenant-choice")
    if choice.locator("option:checked").inner_text() != tenant:
        with page.expect_navigation():
            choice.select_option(label=tenant)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def add_tag(page: Page, admin: LiveAdmin) -> str:
    name = f"FORM-{next(_numbers)}"
    page.goto(admin.url("stations/idtag/add/"))
    page.fill("#id_id_tag", name)
    save(page)
    expect(page.locator("#content")).to_contain_text(name)
    return name


def test_form_opened_for_one_tenant_is_not_saved_into_another(root: Page, live_admin: LiveAdmin, other: str) -> None:
    root.goto(live_admin.url("stations/idtag/add/"))
    root.fill("#id_id_tag", "TWOTABS")
    root.fill("#id_driver", "Jane Doe")
    second = root.context.new_page()
    second.goto(live_admin.url(""))
    switch(second, other)

    save(root)

    refusal = root.locator(".csms-refusal")
    expect(refusal).to_contain_text("Nothing was done, and what you filled in is still here.")
    expect(root.locator("#id_driver")).to_have_value("Jane Doe")
    second.goto(live_admin.url("stations/idtag/"))
    expect(second.locator("body")).not_to_contain_text("TWOTABS")
    refusal.get_by_role("button").click()
    expect(root.locator("#result_list")).to_contain_text("TWOTABS")
    expect(root.locator("#csms-tenant-choice option:checked")).to_have_text(live_admin.slug.title())


def test_second_tab_sees_what_the_first_changed(root: Page, live_admin: LiveAdmin) -> None:
    name = add_tag(root, live_admin)
    root.locator("#result_list").get_by_role("link", name=name, exact=True).click()
    second = root.context.new_page()
    second.goto(root.url)
    root.fill("#id_driver", "First")
    root.get_by_role("button", name="Save and continue editing").click()
    expect(root.locator("#id_driver")).to_have_value("First")
    second.fill("#id_driver", "Second")
    second.fill("#id_description", "by the second")

    save(second)

    table = second.locator(".csms-differences tbody")
    expect(table).to_contain_text("First")
    expect(table).to_contain_text("Second")
    table.get_by_label("First").check()
    save(second)
    second.locator("#result_list").get_by_role("link", name=name, exact=True).click()
    expect(second.locator("#id_driver")).to_have_value("First")
    expect(second.locator("#id_description")).to_have_value("by the second")


def test_double_click_sends_once(root: Page, live_admin: LiveAdmin) -> None:
    identity = f"FORM-{next(_numbers)}"
    root.goto(live_admin.url("stations/chargepoint/add/"))
    root.fill("#id_identity", identity)
    root.get_by_role("button", name="Save and continue editing").click()
    page_of_charge_point = root.url
    key = re.search(r"/(\d+)/", page_of_charge_point)
    assert key is not None
    root.locator("#header-inner li", has_text="Commands").click()
    root.locator("body > nav a", has_text="Reset").click()
    root.locator("#dialog").get_by_role("button", name="Send").dblclick()
    expect(root).to_have_url(re.compile("/stations/command/"))

    # Without script, in a tab of its own, two requests leave for certain.
    address = live_admin.url(f"stations/chargepoint/{key[1]}/clear-cache/")
    root.goto(address)
    expect(root.locator("#dialog")).to_be_visible()
    fields = root.eval_on_selector("#dialog form", "form => Object.fromEntries(new FormData(form))")
    answers = [root.request.post(address, form=fields, max_redirects=0) for _ in range(2)]
    assert [answer.status for answer in answers] == [302, 302]
    assert answers[0].headers["location"] == answers[1].headers["location"]

    root.goto(live_admin.url(f"stations/command/?charge_point={key[1]}"))
    expect(root.locator("#result_list tbody tr")).to_have_count(2)


def test_two_thousand_charge_points_are_deleted_to_the_last_click(root: Page, live_admin: LiveAdmin) -> None:
    live_admin.server.manage("shell", "--no-imports", "-c", MAKE_CHARGE_POINTS.format(slug=live_admin.slug))
    root.goto(live_admin.url("stations/chargepoint/?q=MANY-"))
    root.locator("#action-toggle").check()
    root.get_by_role("link", name="Select all 2000").click()
    root.get_by_label("Select action to run").select_option("delete_selected")
    root.get_by_role("button", name="Run").click()
    expect(root.locator("#content")).to_contain_text("Delete 2000 charge points?")
    root.get_by_role("button", name="Yes, I’m sure").click()
    expect(root.locator("body")).to_contain_text("Successfully deleted 2000", timeout=60_000)
    root.goto(live_admin.url("stations/chargepoint/?q=MANY-"))
    expect(root.locator("#result_list")).to_have_count(0)
