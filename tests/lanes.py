"""The two lanes of the suite: which database and broker the tests of this run get.

Context: the product runs on SQLite alone and on PostgreSQL with Redis, and both must work. Choice: the same tests run
twice, once in each lane; CSMS_TEST_LANE says in which, `sqlite` unless told otherwise. Consequence: a test says nothing
about the lane unless it is marked `postgres`, `redis` or `sqlite`. Servers are started once, by the process the user
started; workers of pytest-xdist find their URLs in the environment, each with its own databases.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import (
    REDIS_DATABASES_PER_WORKER,
    LiveDatabases,
    MissingPart,
    PostgresServer,
    RedisServer,
    product_role_url,
    product_settings,
)

LANE = os.environ.get("CSMS_TEST_LANE", "sqlite")
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
# Name of this worker of pytest-xdist, `main` when the tests run in the process the user started.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
# Tests of pure functions, of tools that see the wire only, and of what stands before the product: the lane cannot
# matter to them, so they run in the first one only. That every case of the certification passes is tested in both.
INDIFFERENT_PATHS = (
    "csms/ocppj", "csms/certify/test_authority.py", "csms/certify/test_command.py", "csms/certify/test_faults.py",
    "csms/certify/test_general_rules.py", "csms/certify/test_reports.py", "csms/certify/test_tls.py",
    "csms/certify/test_wire.py", "csms/fuzz/test_moves.py", "stations/test_simulator.py",
    "stations/test_composite_schedule_properties.py", "stations/test_file_drill.py", "billing/test_rating.py",
    "deploy/test_files.py", "deploy/test_requirements.py", "deploy/test_tls_proxies.py", "test_both_lanes.py",
)  # fmt: skip
# Marked tests that the lane does not run. A browser shows the same pages on any database, and costs seconds a test.
DESELECTED_MARKERS = {"sqlite": ("postgres", "redis"), "postgres": ("sqlite", "browser")}


def missing_part(reason: str) -> None:
    """Skip the running test because the machine lacks a program; in CI, where every part must be present, fail it."""
    if IN_CI:
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


class Session:
    """What the tests of one run share: a temporary folder and, in the postgres lane, PostgreSQL and Redis.

    `missing` is the reason why the lane cannot run on this machine, or None.
    """

    def __init__(self) -> None:
        if LANE not in DESELECTED_MARKERS:
            raise pytest.UsageError(f"CSMS_TEST_LANE must be one of {', '.join(DESELECTED_MARKERS)}, not {LANE!r}")
        self.directory = Path(tempfile.mkdtemp(prefix="csms-tests-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.missing: str | None = None
        self._role_url: str | None = None
        self._redis_url: str | None = None
        if LANE == "postgres":
            try:
                of_the_machine = os.environ.get("CSMS_TEST_DATABASE_URL")
                self._role_url = product_role_url(of_the_machine or self._start_postgres())
                if of_the_machine:
                    atexit.register(LiveDatabases(self.directory, WORKER, self._role_url).remove_template)
                self._redis_url = (os.environ.get("CSMS_TEST_REDIS_URL") or self._start_redis()).rstrip("/")
            except MissingPart as part:
                self.missing = str(part)

    @staticmethod
    def _start_postgres() -> str:
        server = PostgresServer()
        atexit.register(server.close)
        server.start()
        return server.admin_url

    @staticmethod
    def _start_redis() -> str:
        server = RedisServer()
        atexit.register(server.close)
        server.start()
        return server.url

    def environment(self, worker: str, number: int) -> dict[str, str]:
        """Environment variables for the tests in one process; `number` counts the workers from 0."""
        database_url = f"sqlite:///{self.directory / worker}.sqlite3"
        if self._role_url:
            database_url = urlsplit(self._role_url)._replace(path="/csms").geturl()
        redis_url = f"{self._redis_url}/{number * REDIS_DATABASES_PER_WORKER}" if self._redis_url else None
        settings = product_settings(database_url, redis_url, self.directory)
        return settings | {"DJANGO_SETTINGS_MODULE": "csms.settings", "CSMS_PUBLIC_URL": "http://127.0.0.1:8000"}


def prepare_environment() -> Session | None:
    """Before Django reads its settings: start the servers and replace the CSMS_… variables of this process.

    None in a worker, whose environment the process that started it has prepared.
    """
    if WORKER != "main":
        return None
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: tests/lanes.py chooses the settings and their database")
    session = Session()
    for name in [name for name in os.environ if name.startswith("CSMS_") and not name.startswith("CSMS_TEST_")]:
        del os.environ[name]
    os.environ.update(session.environment(WORKER, 0))
    return session
