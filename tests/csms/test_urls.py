"""Paths beside the API: health, documentation, errors of Django itself, charge points' URLs opened by a browser."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from csms import __version__, health, urls
from stations import connections
from tests.servers import REPOSITORY

PROBLEM = "application/problem+json"


def test_liveness_asks_nothing_of_the_database() -> None:
    # Without the db fixture a query would fail.
    response = Client().get("/healthz/")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "version": __version__})


def test_version_is_that_of_the_package() -> None:
    package = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert package["project"]["version"] == __version__


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
        response = Client().get("/readyz/")
        assert (response.status_code, response.json()["parts"]["redis"]) == (503, "cannot be reached")


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
