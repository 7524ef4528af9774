"""What a page may load, who may keep an answer, and when https is insisted on."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient, Client

from tenants.models import ApiKey
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, url

HSTS = "Strict-Transport-Security"
EVAL = "'unsafe-eval'"


def policy(response: Any) -> dict[str, list[str]]:
    """The content policy of an answer by directive."""
    return {name: values for name, *values in map(str.split, response["Content-Security-Policy"].split(";"))}


@pytest.fixture
def api(tenants: Tenants) -> Client:
    key = ApiKey.issue(tenants.tenant_a, "all", ["read", "manage"])[1]
    return Client(headers={"Authorization": f"Api-Key {key}"})


class TestContentPolicy:
    def test_pages_are_bound_to_this_host(self, tenants: Tenants) -> None:
        for page in (
            Client().get("/admin/login/"),
            sign_in(tenants.tenant_a).get("/admin/"),
            Client().get("/nowhere/"),
        ):
            found = policy(page)
            assert found["default-src"] == found["form-action"] == found["connect-src"] == ["'self'"]
            assert found["base-uri"] == found["object-src"] == found["frame-ancestors"] == ["'none'"]
            assert page["X-Frame-Options"] == "DENY"

    def test_only_the_admin_may_evaluate(self, db: None) -> None:
        assert EVAL in policy(Client().get("/admin/login/"))["script-src"]
        for path in ("/api/docs/", "/nowhere/"):
            assert EVAL not in policy(Client().get(path))["script-src"]

    @pytest.mark.parametrize("path", ["/api/v1/sites/", "/api/v1/nothing/", "/api/schema/", "/healthz/"])
    def test_what_is_no_page_may_do_nothing(self, api: Client, path: str) -> None:
        assert policy(api.get(path)) == {
            name: ["'none'"] for name in ("default-src", "base-uri", "form-action", "frame-ancestors")
        }


class TestCaching:
    @pytest.mark.parametrize("path", ["/api/v1/sites/", "/api/v1/charge-points/CP-1/", "/api/v1/nothing/"])
    def test_api_answers_are_kept_by_nobody(self, api: Client, tenants: Tenants, path: str) -> None:
        assert api.get(path)["Cache-Control"] == "no-store"
        assert Client().get(path)["Cache-Control"] == "no-store"

    def test_pages_are_kept_by_nobody(self, tenants: Tenants) -> None:
        browser = sign_in(tenants.tenant_a)
        pages = [url("index"), url("stations_chargepoint_changelist"), url("tenants_membership_add"), "/admin/jsi18n/"]
        for page in pages:
            assert "no-store" in browser.get(page)["Cache-Control"], page
        assert "no-store" in Client().get("/admin/login/")["Cache-Control"]

    def test_static_files_are_kept(self) -> None:
        assert "max-age" in Client().get("/static/stations/admin.css")["Cache-Control"]

    def test_refused_requests_are_kept_by_nobody(self, tenants: Tenants) -> None:
        client = Client(enforce_csrf_checks=True)
        assert client.post("/admin/login/", {})["Cache-Control"] == "no-store"


class TestHttps:
    def test_said_to_who_came_by_https(self, settings: Any, db: None) -> None:
        settings.CSMS_PUBLIC_URL = "https://csms.example"
        assert Client().get("/admin/login/", secure=True)[HSTS] == "max-age=31536000"
        assert HSTS not in Client().get("/admin/login/")

    def test_not_said_where_people_come_by_http(self, settings: Any, db: None) -> None:
        settings.CSMS_PUBLIC_URL = "http://csms.example:8000"
        assert HSTS not in Client().get("/admin/login/", secure=True)

    def test_can_be_left_out(self, settings: Any, db: None) -> None:
        settings.CSMS_PUBLIC_URL = "https://csms.example"
        settings.CSMS_HSTS_SECONDS = 0
        assert HSTS not in Client().get("/admin/login/", secure=True)

    async def test_trusted_proxy_that_ends_tls_is_believed(self, settings: Any) -> None:
        settings.CSMS_PUBLIC_URL = "https://csms.example"
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
        settings.CSMS_TRUSTED_PROXIES = ["127.0.0.1"]
        assert HSTS in await AsyncClient().get("/healthz/", headers=forwarded)
        settings.CSMS_TRUSTED_PROXIES = []
        assert HSTS not in await AsyncClient().get("/healthz/", headers=forwarded)
