"""A tenant with people and a charge point on the running server, and pages that tolerate no error and no stranger.

Every page opened through `open_page` must log nothing to the console, fail no request, and talk to no other host.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Response

from tests.fake_charge_point import FakeChargePoint
from tests.servers import CsmsServer

T = TypeVar("T")
PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)

MAKE_PEOPLE = """
from django.contrib.auth.models import User
from tenants.models import Membership, Tenant
from tenants.scope import tenant_scope
tenant = Tenant.objects.get(slug={slug!r})
with tenant_scope(tenant):
    for role in ("owner", "operator", "viewer"):
        user = User.objects.create_user({slug!r} + "-" + role, role + "@example.com", {password!r}, is_staff=True)
        Membership.objects.create(user=user, role=role)
User.objects.create_superuser({slug!r} + "-root", "root@example.com", {password!r})
"""


@dataclass(frozen=True)
class LiveAdmin:
    """A tenant of the running server whose people sign in as `<slug>-<role>`: owner, operator, viewer, root."""

    server: CsmsServer
    slug: str
    api_key: str

    def url(self, path: str) -> str:
        return f"{self.server.http_url}/admin/{path}"

    def sign_in(self, page: Page, role: str = "owner") -> None:
        page.goto(self.url("login/"))
        page.fill("#id_username", f"{self.slug}-{role}")
        page.fill("#id_password", PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(self.url(""))


class StationThread:
    """A FakeChargePoint in an event loop of its own: Playwright's synchronous API occupies the test's thread."""

    def __init__(self, url: str, identity: str, password: str) -> None:
        self.charge_point: FakeChargePoint
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(lambda: self._make(url, identity, password))

    async def _make(self, url: str, identity: str, password: str) -> None:
        self.charge_point = await FakeChargePoint(url, identity, password).connect()

    def do(self, action: Callable[[], Awaitable[T]]) -> T:
        """Run what `action` returns in the loop of the charge point, and wait for it."""

        async def run() -> T:
            return await action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def close(self) -> None:
        self.do(self.charge_point.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Watch:
    """What went wrong in a page."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.found: list[str] = []
        self._base_url = base_url
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._base_url, "data:", "about:")):
            self.found.append(f"request to another host: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.found.append(f"{response.status}: {response.url}")


@pytest.fixture(scope="module")
def live_admin(csms_server: CsmsServer) -> LiveAdmin:
    slug = f"browser-{next(_numbers)}"
    if not csms_server.running:
        csms_server.start()
    api_key = csms_server.create_tenant(slug)["api_key"]
    csms_server.manage("shell", "--no-imports", "-c", MAKE_PEOPLE.format(slug=slug, password=PASSWORD))
    return LiveAdmin(csms_server, slug, api_key)


@pytest.fixture
def open_page(page: Page, live_admin: LiveAdmin) -> Iterator[Page]:
    """A page that fails its test for anything in the console, any failed request, and any other host."""
    watch = Watch(page, live_admin.server.http_url)
    page.set_default_timeout(15_000)
    page.set_viewport_size({"width": 1440, "height": 900})
    yield page
    assert watch.found == []


@pytest.fixture
def connect(live_admin: LiveAdmin) -> Iterator[Callable[[str, str], StationThread]]:
    """Connect a charge point of the tenant: `connect(identity, password)`."""
    stations: list[StationThread] = []

    def make(identity: str, password: str) -> StationThread:
        stations.append(StationThread(live_admin.server.ws_url(live_admin.slug), identity, password))
        return stations[-1]

    yield make
    for station in stations:
        station.close()
