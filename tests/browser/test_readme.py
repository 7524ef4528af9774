"""README's first five minutes, to the letter: its steps in a browser, its code block in a shell."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.csms.test_demo import Demo
from tests.lanes import missing_part
from tests.servers import LiveDatabases

pytestmark = [pytest.mark.browser, pytest.mark.slow]

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
MINUTES = README.partition("## The first five minutes")[2].partition("\n## ")[0]


@pytest.fixture
def demo(tmp_path: Path, live_databases: LiveDatabases) -> Iterator[Demo]:
    # Migrating an empty folder is tried in tests/csms/test_demo.py.
    live_databases.copy(tmp_path / "csms.sqlite3")
    demo = Demo(tmp_path, "--port", "0")
    demo.read_until("/admin/")
    yield demo
    demo.end()


def test_the_first_five_minutes_are_as_written(demo: Demo, page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    url = demo.lines[-1].removesuffix("/admin/")
    password = next(line for line in demo.lines if "shown only this once" in line).split()[7]
    assert "open the address it prints, sign in" in MINUTES
    page.goto(f"{url}/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password)
    page.get_by_role("button", name="Log in").click()

    assert "`DEMO-03` waits for a remote start" in MINUTES
    page.locator("a[href='/admin/stations/chargepoint/']", has_text="Charge points").first.click()
    page.get_by_role("link", name="DEMO-03", exact=True).click()
    live = page.locator("#panel-live")
    expect(live).to_contain_text("Available", timeout=20_000)
    page.get_by_role("link", name="Remote start").click()
    page.fill("#id_connector_id", "1")
    page.fill("#id_id_tag", "DEMO-CARD-1")
    page.locator("#dialog").get_by_role("button", name="Send").click()
    state = page.locator("#command-state")
    expect(state.get_by_role("link", name=re.compile(r"Transaction \d+"))).to_be_visible(timeout=20_000)

    assert "**API keys** → add one with all scopes" in MINUTES
    page.goto(f"{url}/admin/tenants/apikey/add/")
    page.fill("#id_name", "five minutes")
    for box in page.locator("input[name=scopes]").all():
        box.check()
    page.get_by_role("button", name="Save", exact=True).click()
    key = page.locator("code.csms-secret").inner_text()
    answers = _run(re.search(r"```\n(.*?)```", MINUTES, re.DOTALL)[1], key, url)  # type: ignore[index]
    assert [row["identity"] for row in answers[0]["results"]] == [f"DEMO-0{number}" for number in range(8, 0, -1)]
    assert (answers[1]["charge_point"], answers[1]["action"], answers[1]["status"]) == ("DEMO-01", "Reset", "answered")


def _run(block: str, key: str, url: str) -> list[dict]:
    """What the README's commands print, with the key that was shown in their first line."""
    script = block.replace("'the key that was shown'", f"'{key}'").replace("http://127.0.0.1:8000", url)
    assert f"KEY='{key}'" in script
    try:
        shell = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        missing_part("no sh")
    if "curl" in shell.stderr and "not found" in shell.stderr:
        missing_part("no curl")
    assert shell.returncode == 0, shell.stderr
    decoder, answers, rest = json.JSONDecoder(), [], shell.stdout.lstrip()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].lstrip()
    return answers
