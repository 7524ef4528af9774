"""Paths beside the API: health, documentation, errors of Django itself, charge points' URLs opened by a browser."""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from psycopg_pool import PoolTimeout

from csms import __version__, health, urls
from stations import connections
from tenants.models import ApiKey, Tenant, WriteProbe
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.servers import REPOSITORY, wait_until
from tests.stations.admin.people import sign_in

PROBLEM = "application/problem+json"


def test_liveness_asks_nothing_of_the_database() -> None:
    # Without the db fixture a query would fail.
    response = Client().get("/healthz/")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "version": __version__})


def test_version_is_that_of_the_package() -> None:
    package = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert package["project"]["version"] == __version__


@contextmanager
def without_writes() -> Iterator[None]:
    """What a standby, or a disk without room, does to this test's connection."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and connection.in_atomic_block:
            # Taken back with the savepoint.
            with transaction.atomic():
                cursor.execute("SET LOCAL transaction_read_only = on")
                yield
                transaction.set_rollback(True)
            return
        on, off = (
            ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off")
            if connection.vendor == "postgresql"
            else ("PRAGMA query_only = on", "PRAGMA query_only = off")
        )
        cursor.execute(on)
        try:
            yield
        finally:
            cursor.execute(off)


@pytest.mark.django_db
class TestReadiness:
    def test_ready(self, settings: Any) -> None:
        response = Client().get("/readyz/")
        parts = {"accepting": "ok", "database": "ok", "migrations": "ok"} | (
            {"redis": "ok"} if settings.REDIS_URL else {}
        )
        assert (response.status_code, response.json()) == (200, {"status": "ok", "parts": parts})

    def test_stopping_process_is_not_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "any_stopping", lambda: True)
        response = Client().get("/readyz/")
        assert (response.status_code, response.json()["parts"]["accepting"]) == (503, "stopping")

    def test_missing_migration_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *args: ["one"])
        response = Client().get("/readyz/")
        assert (response.status_code, response.json()["parts"]["migrations"]) == (503, "missing")

    def test_database_that_is_away_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise OperationalError

        monkeypatch.setattr(health, "MigrationExecutor", fail)
        response = Client().get("/readyz/")
        assert (response.status_code, response.json()["parts"]["database"]) == (503, "cannot be reached")

    def test_redis_that_is_away_is_told(self, settings: Any) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        # Charging goes on without it, and every process is without it: nobody is to be sent elsewhere.
        response = Client().get("/readyz/")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        assert response.json()["parts"]["redis"] == "cannot be reached"

    def test_database_that_takes_no_writes_is_told(self) -> None:
        with without_writes():
            response = wait_until(lambda: (found := Client().get("/readyz/")).status_code == 503 and found)
        assert response.json() | {"parts": response.json()["parts"] | {"redis": "ok"}} == {
            "status": "unavailable",
            "parts": {"accepting": "ok", "database": "takes no writes", "migrations": "ok", "redis": "ok"},
        }

    def test_strangers_do_not_make_it_write_with_every_request(self) -> None:
        wait_until(lambda: Client().get("/readyz/").status_code == 200)
        with CaptureQueriesContext(connection) as queries:
            for _ in range(10):
                Client().get("/readyz/")
        written = [query["sql"] for query in queries if "tenants_writeprobe" in query["sql"]]
        # Ten requests take a part of a second; where they take longer there is one more each half.
        assert len(written) < 10

    @pytest.mark.django_db(transaction=True)
    def test_other_writers_are_not_waited_for(self) -> None:
        assert wait_until(lambda: Client().get("/readyz/").json()["parts"]["database"] == "ok")
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            try:
                with transaction.atomic():
                    WriteProbe.objects.filter(pk=1).update(at=datetime.now(UTC))
                    held.set()
                    done.wait(20)
            finally:
                connection.close()

        other = threading.Thread(target=hold)
        other.start()
        try:
            assert held.wait(10)
            state = wait_until(
                lambda: (found := Client().get("/readyz/")).json()["parts"]["database"] != "ok" and found
            )
        finally:
            done.set()
            other.join()
        assert (state.status_code, state.json()["status"]) == (200, "degraded")
        assert state.json()["parts"]["database"] == "waits for another writer"
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                assert cursor.execute("PRAGMA busy_timeout").fetchone() == (20_000,)

    def test_busy_database_is_no_reason_to_be_taken_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise OperationalError from PoolTimeout()

        monkeypatch.setattr(health, "MigrationExecutor", fail)
        response = Client().get("/readyz/")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        assert response.json()["parts"]["database"] == "every connection is in use"


class TestDatabaseWithoutWrites:
    def test_writing_by_rest_is_503_and_reading_goes_on(self, tenants: Tenants) -> None:
        key = ApiKey.issue(tenants.tenant_a, "all", ["read", "manage"])[1]
        client = Client(headers={"Authorization": f"Api-Key {key}"})
        body = {"slug": "depot", "name": "Depot"}
        # Its first use within a minute is written down, which here would end the transaction that the test runs in.
        client.get("/api/v1/sites/")
        with without_writes():
            assert client.get("/api/v1/sites/").status_code == 200
            for method, path in (("put", "/api/v1/sites/depot/"), ("post", "/api/v1/sites/")):
                refused = getattr(client, method)(path, body, content_type="application/json")
                assert (refused.status_code, refused["Content-Type"], refused["Retry-After"]) == (503, PROBLEM, "5")
                assert refused.json()["detail"] == "The database takes no writes at the moment."

    @pytest.mark.django_db(transaction=True)
    def test_key_that_was_not_used_before_may_read(self) -> None:
        with platform_scope():
            tenant = Tenant.objects.create(slug="gamma", name="Gamma")
        key, text = ApiKey.issue(tenant, "all", ["read"])
        with without_writes():
            assert Client(headers={"Authorization": f"Api-Key {text}"}).get("/api/v1/sites/").status_code == 200
        with tenant_scope(tenant):
            assert ApiKey.objects.get(pk=key.pk).last_used_at is None

    def test_form_is_answered_with_a_page_that_says_so(self, tenants: Tenants) -> None:
        client = sign_in(tenants.tenant_a)
        client.raise_request_exception = False
        with without_writes():
            refused = client.post("/admin/tenants/site/add/", {"slug": "depot", "name": "Depot"})
        assert (refused.status_code, refused["Retry-After"]) == (503, "5")
        assert "The database takes no writes at the moment." in refused.content.decode()


class TestDocumentation:
    def test_page_takes_everything_from_here(self) -> None:
        page = Client().get("/api/docs/")
        assert page.status_code == 200
        found = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page.content.decode())
        assert "/api/schema/" in found
        assert [link for link in found if not link.startswith("/")] == []
        for link in found:
            assert Client().get(link).status_code == 200

    def test_document_is_open_to_all_in_two_formats(self) -> None:
        document = Client().get("/api/schema/?format=json").json()
        assert document["openapi"] == "3.1.0"
        assert Client().get("/api/schema/").content.startswith(b"openapi: 3.1.0")

    def test_every_operation_is_described(self) -> None:
        document = Client().get("/api/schema/?format=json").json()
        operations = {
            operation["operationId"]: (method, operation)
            for path in document["paths"].values()
            for method, operation in path.items()
        }
        assert len(operations) == sum(len(path) for path in document["paths"].values())
        for method, operation in operations.values():
            assert operation["summary"]
            assert operation["security"] == [{"ApiKey": []}, {"Session": []}]
            assert {"400", "401", "403", "429"} <= set(operation["responses"])
            assert ("422" in operation["responses"]) == (method == "post")


class TestErrors:
    @pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
    def test_unknown_path_is_a_problem_under_api(self, method: str) -> None:
        response = getattr(Client(enforce_csrf_checks=True), method)("/api/v2/anything")
        assert (response.status_code, response["Content-Type"], response.json()["code"]) == (404, PROBLEM, "not_found")
        assert "end with a slash" in response.json()["detail"]

    def test_host_that_is_not_served_is_400(self) -> None:
        response = Client().get("/api/v1/charge-points/", headers={"Host": "evil.example"})
        assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
        assert Client().get("/healthz/", headers={"Host": "evil.example"}).status_code == 400

    def test_errors_elsewhere_are_pages(self) -> None:
        assert Client().get("/nowhere/")["Content-Type"].startswith("text/html")
        request = RequestFactory().get("/nowhere/")
        assert urls.failed(request)["Content-Type"].startswith("text/html")
        assert urls.failed(RequestFactory().get("/api/v1/x/"))["Content-Type"] == PROBLEM


def test_charge_points_url_opened_by_a_browser_says_what_is_missing() -> None:
    for path in ("/ocpp/alpha/CP-1", "/ocpp/alpha/A%2FB", "/ocpp/"):
        for method in ("get", "post"):
            response = getattr(Client(enforce_csrf_checks=True), method)(path)
            assert (response.status_code, response["Upgrade"]) == (426, "websocket")
            assert "ocpp1.6" in response.content.decode()


def test_root_leads_to_the_admin() -> None:
    response = Client().get("/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")
