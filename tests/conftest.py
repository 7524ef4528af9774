"""Fixtures for every test: two tenants in the database of the lane, and the product itself as a running server.

In-process tests use pytest-django (`db`, `django_db`) with `tenants` and `in_tenant_a`. Tests from outside use `csms`:
one tenant of a real server (`csms_server`), reached by REST and websockets only. `new_csms_server` makes further
servers with databases of their own.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import django
import hypothesis
import pytest
import redis
from playwright.sync_api import Page, sync_playwright

from tests import lanes
from tests.fake_charge_point import FakeChargePoint
from tests.servers import REDIS_DATABASES_PER_WORKER, CsmsServer, LiveDatabases

# How long an example takes says more about the other processes of the machine than about the code.
hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")
# Here and not in a hook: the conftest.py of a folder below may import models as soon as this module is loaded.
SESSION = lanes.prepare_environment()
django.setup()

from django.core.management import call_command  # noqa: E402 - needs the settings chosen above
from django.db import connections  # noqa: E402 - needs the settings chosen above

from csms.benchmark.databases import Database, fresh_database  # noqa: E402 - needs django.setup()
from tenants.models import Tenant  # noqa: E402 - needs django.setup()
from tenants.scope import platform_scope, tenant_scope  # noqa: E402 - needs django.setup()

TESTS = Path(__file__).resolve().parent
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    if SESSION is not None and SESSION.missing:
        pytest.exit(f"the postgres lane is not run: {SESSION.missing}", returncode=1 if lanes.IN_CI else 0)


def pytest_report_header(config: pytest.Config) -> str:
    return f"lane: {lanes.LANE} (CSMS_TEST_LANE is one of {', '.join(lanes.DESELECTED_MARKERS)})"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    assert SESSION is not None
    for number, spec in enumerate(specs):
        spec.env.update(SESSION.environment(spec.id, number))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if lanes.LANE == "postgres" and any(collection_path == TESTS / path for path in lanes.INDIFFERENT_PATHS):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    markers = lanes.DESELECTED_MARKERS[lanes.LANE]
    deselected = [item for item in items if any(item.get_closest_marker(marker) for marker in markers)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]


@pytest.fixture(scope="session")
def live_databases() -> Iterator[LiveDatabases]:
    """Migrated databases of this worker, for whatever is not the tests' own process."""
    role_url = os.environ["CSMS_DATABASE_URL"] if lanes.LANE == "postgres" else None
    databases = LiveDatabases(Path(os.environ["CSMS_DATA_DIR"]), lanes.WORKER, role_url)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Django takes the file that `django_db_modify_db_settings` has made; it goes with the folder of the run."""
    return lanes.LANE == "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, live_databases: LiveDatabases
) -> None:
    """Begin with a migrated database. On SQLite with a file: threads share an in-memory database, locks and all, as
    they do in no installation."""
    database = connections["default"].settings_dict
    if lanes.LANE == "sqlite":
        database["TEST"]["NAME"] = f"{database['NAME']}.test"
        live_databases.copy(Path(database["TEST"]["NAME"]))
    else:
        database["TEST"]["TEMPLATE"] = live_databases.template


class Tenants(NamedTuple):
    tenant_a: Tenant
    tenant_b: Tenant


@pytest.fixture
def tenants(db: None) -> Tenants:
    """Always two tenants, `alpha` and `beta`: what belongs to one must not show to the other."""
    with platform_scope():
        return Tenants(*(Tenant.objects.create(slug=slug, name=slug.title()) for slug in ("alpha", "beta")))


@pytest.fixture
def in_tenant_a(tenants: Tenants) -> Iterator[Tenant]:
    """The test runs inside the scope of `tenants.tenant_a`."""
    with tenant_scope(tenants.tenant_a):
        yield tenants.tenant_a


@dataclass(frozen=True)
class LiveTenant:
    """A tenant of a running server, with an API key of all scopes."""

    slug: str
    api_key: str


class Csms:
    """One tenant of a running server, as its users reach it.

    Every method blocks, and fails with the server's answer unless that is 2xx. An async test whose charge point has to
    act meanwhile calls it in a thread: `await asyncio.to_thread(csms.command, …, wait=10)`. For other answers ask
    `csms.server.api`.
    """

    def __init__(self, server: CsmsServer, tenant: LiveTenant):
        self.server = server
        self.tenant = tenant

    def request(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        response = self.server.api(method, path, json, key=self.tenant.api_key, **options)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def get(self, path: str, **params: Any) -> Any:
        return self.request("GET", path, params=params)

    def post(self, path: str, json: Any = None, **options: Any) -> Any:
        return self.request("POST", path, json, **options)

    def charge_point(self, identity: str | None = None, **members: Any) -> FakeChargePoint:
        """Register a charge point and return it, ready to connect with its password; `members` as REST has them."""
        identity = identity or f"CP-{next(_numbers)}"
        members = {"password": secrets.token_hex(8)} | members
        self.request("PUT", f"charge-points/{quote(identity, safe='')}/", members)
        return FakeChargePoint(self.server.ws_url(self.tenant.slug), identity, password=members["password"])

    def id_tag(self, id_tag: str | None = None, **members: Any) -> str:
        """Register an id tag, accepted unless `members` say otherwise, and return it."""
        id_tag = id_tag or f"TAG{next(_numbers):05}"
        self.request("PUT", f"id-tags/{quote(id_tag, safe='')}/", {"status": "Accepted"} | members)
        return id_tag

    def command(self, identity: str, action: str, payload: dict[str, Any], wait: int = 0) -> dict[str, Any]:
        """Ask for a CALL to the charge point; the command, after at most `wait` seconds for it to be final."""
        body = {"action": action, "payload": payload}
        path = f"charge-points/{quote(identity, safe='')}/commands/"
        command: dict[str, Any] = self.post(path, body, params={"wait": wait} if wait else {})
        return command


@pytest.fixture(scope="session")
def _make_csms_server(live_databases: LiveDatabases) -> Callable[..., CsmsServer]:
    directory = Path(os.environ["CSMS_DATA_DIR"]) / lanes.WORKER
    directory.mkdir()
    numbers = itertools.count()

    def make(*, redis_url: str | None = None, **options: Any) -> CsmsServer:
        number = next(numbers)
        redis_url = redis_url or _redis_url(number)
        return CsmsServer(live_databases.create(), redis_url, directory / f"server-{number}", **options)

    return make


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch, live_databases: LiveDatabases) -> Callable[..., tuple[int, Any]]:
    """Hold a drill of the product in this process, on a copy of a migrated database of the lane.

    `hold("crash_drill", "--kills", "6")` gives the exit status of the command, and what it printed as JSON.
    """
    database_url = os.environ["CSMS_DATABASE_URL"] if lanes.LANE == "postgres" else "sqlite"

    @contextmanager
    def migrated(choice: str, folder: Path) -> Iterator[Database]:
        if choice == database_url != "sqlite":
            yield Database("PostgreSQL", live_databases.create(), "", "a copy")
            return
        with fresh_database(choice, folder) as database:
            if choice == "sqlite":
                live_databases.copy(Path(database.url.removeprefix("sqlite:///")))
            yield database

    monkeypatch.setattr("csms.drills.stage.fresh_database", migrated)
    monkeypatch.setattr("csms.drills.command.fresh_database", migrated)

    def run(command: str, *arguments: str) -> tuple[int, Any]:
        printed, status = StringIO(), 0
        try:
            call_command(command, *arguments, "--json", "--database", database_url, stdout=printed)
        except SystemExit as end:
            status = int(end.code or 0)
        return status, json.loads(printed.getvalue())

    return run


def _redis_url(number: int) -> str | None:
    """An emptied Redis database for server `number` of this worker, other than that of the tests in this process."""
    own_url = os.environ.get("CSMS_REDIS_URL")
    if own_url is None:
        return None
    parts = urlsplit(own_url)
    database = int(parts.path.strip("/")) + 1 + number % (REDIS_DATABASES_PER_WORKER - 1)
    url = parts._replace(path=f"/{database}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def csms_server(_make_csms_server: Callable[..., CsmsServer]) -> Iterator[CsmsServer]:
    """The running server that the tests of this worker share. A test that stops it need not start it again."""
    server = _make_csms_server()
    server.start()
    yield server
    server.close()


@pytest.fixture
def new_csms_server(_make_csms_server: Callable[..., CsmsServer]) -> Iterator[Callable[..., CsmsServer]]:
    """Make servers with databases of their own, for one test: `new_csms_server(processes=2).start()`.

    Options are those of CsmsServer: processes, options, env; and `redis_url`, for a Redis that the test restarts.
    """
    servers: list[CsmsServer] = []

    def make(**options: Any) -> CsmsServer:
        servers.append(_make_csms_server(**options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
        sys.stdout.write(server.log())


@pytest.fixture(scope="session")
def _live_tenant(csms_server: CsmsServer) -> LiveTenant:
    return LiveTenant("live", csms_server.create_tenant("live")["api_key"])


@pytest.fixture
def csms(csms_server: CsmsServer, _live_tenant: LiveTenant) -> Iterator[Csms]:
    """A tenant of the shared server. Rows of earlier tests are still there: take charge points and tags of your own."""
    if not csms_server.running:
        csms_server.start()
    log_start = len(csms_server.log())
    yield Csms(csms_server, _live_tenant)
    # pytest shows it when the test failed.
    sys.stdout.write(csms_server.log()[log_start:])


@pytest.fixture(scope="module")
def _browser() -> Iterator[Any]:
    # Of a module, not of the session: while Playwright runs, its event loop is in the way of async tests.
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        lanes.missing_part("no Chromium on this machine")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(_browser: Any) -> Iterator[Page]:
    """A page of headless Chromium in a fresh profile (tests marked `browser`)."""
    with _browser.new_context() as context:
        yield context.new_page()
