"""What the API makes of odd requests: bodies, headers, paths, and of a database that is away."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import resolve

from stations.api import charge_points
from stations.models import ChargePoint, ConfigurationKey, IdTag
from tenants.api.requests import absolute, address_of
from tenants.scope import tenant_scope
from tests.stations.api.conftest import NOW, Owner

pytestmark = pytest.mark.django_db


def pointers(response: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


class TestBodies:
    @pytest.mark.parametrize("value", [10**18, 2**63, 10**40, -1, 0, 1.5, "5", True, [5], {"a": 5}])
    def test_number_that_is_none_or_out_of_range_is_400(self, a: Owner, value: Any) -> None:
        response = a.api("PUT", "charge-points/SAME/", {"call_timeout_seconds": value})
        assert response.status_code == 400
        assert pointers(response)[0][0] == "/call_timeout_seconds"

    @pytest.mark.parametrize("value", [5, True, None, ["x"], {"x": 1}])
    def test_text_is_text(self, a: Owner, value: Any) -> None:
        assert pointers(a.api("PUT", "charge-points/SAME/", {"description": value}))[0][0] == "/description"

    @pytest.mark.parametrize("value", ["yes", "true", 1, 0, None, []])
    def test_boolean_is_a_boolean(self, a: Owner, value: Any) -> None:
        assert pointers(a.api("PUT", "charge-points/SAME/", {"disabled": value}))[0][0] == "/disabled"

    @pytest.mark.parametrize(
        "value",
        [
            "2030-01-01",
            "2030-01-01T00:00:00",
            "tomorrow",
            "",
            5,
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "x\x00",
        ],
    )
    def test_time_has_a_zone_and_a_sensible_year(self, a: Owner, value: Any) -> None:
        assert pointers(a.api("PUT", "id-tags/X/", {"expiry_date": value}))[0][0] == "/expiry_date"

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000Z"),
            ("2030-01-01T01:30:00.123456+01:30", "2030-01-01T00:00:00.123Z"),
        ],
    )
    def test_times_are_shown_in_utc_with_milliseconds(self, a: Owner, given: str, shown: str) -> None:
        assert a.api("PUT", "id-tags/X/", {"expiry_date": given}).json()["expiry_date"] == shown

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"groups": ["a", "b\x00"]}, "/groups/1"),
            ({"a/b~c": "\x00"}, "/a~1b~0c"),
            ({"sites": ["depot", "nowhere"]}, "/sites/1"),
            ({"groups": [5]}, "/groups/0"),
        ],
    )
    def test_pointer_leads_into_the_body(self, a: Owner, body: Any, pointer: str) -> None:
        assert pointers(a.api("PUT", "id-tags/X/", body))[0][0] == pointer

    def test_all_that_is_wrong_is_told_at_once(self, a: Owner) -> None:
        found = pointers(a.api("PUT", "charge-points/SAME/", {"nonsense": 1, "strict": 1, "security_profile": 9}))
        assert dict(found) == {
            "/nonsense": "unknown_member", "/strict": "invalid", "/security_profile": "max_value",
        }  # fmt: skip

    def test_last_of_repeated_members_counts(self, a: Owner) -> None:
        response = a.api("PUT", "id-tags/X/", '{"driver": "one", "driver": "two"}')
        assert response.json()["driver"] == "two"

    def test_too_large_a_body_is_413(self, a: Owner, settings: Any) -> None:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        response = a.api("PUT", "id-tags/X/", {"driver": "x" * 2000})
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    def test_body_in_chunks_is_read(self, a: Owner) -> None:
        request = AsyncRequestFactory().put("/api/v1/id-tags/X/", content_type="application/json")
        # Transfer-Encoding: chunked comes without a Content-Length.
        request = ASGIRequest(request.scope, BytesIO(b'{"driver": "chunked"}'))
        request.META.pop("CONTENT_LENGTH", None)
        request.META |= {"HTTP_AUTHORIZATION": f"Api-Key {a.api.key}", "CONTENT_TYPE": "application/json"}
        response = resolve(request.path_info).func(request, id_tag="X")
        assert (response.status_code, response.data["driver"]) == (201, "chunked")


class TestHeaders:
    def test_accept_that_excludes_json_is_406(self, a: Owner) -> None:
        assert a.api("GET", "id-tags/", Accept="text/html").status_code == 406
        assert a.api("GET", "id-tags/", Accept="text/html, */*;q=0.1").status_code == 200

    def test_format_is_no_query_parameter(self, a: Owner) -> None:
        assert pointers(a.api("GET", "id-tags/?format=xml")) == [("/format", "unknown_parameter")]

    def test_head_and_options(self, a: Owner) -> None:
        headers = {"Authorization": f"Api-Key {a.api.key}"}
        client = Client()
        assert client.head("/api/v1/id-tags/", headers=headers).status_code == 200
        options = client.options("/api/v1/id-tags/", headers=headers)
        assert (options.status_code, options["Allow"]) == (405, "GET, POST, PUT, HEAD, OPTIONS")

    def test_rate_limit_is_on_every_answer_of_a_caller(self, a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        # A minute that does not end in between.
        monkeypatch.setattr("tenants.api.throttling.time", SimpleNamespace(time=lambda: 30.0))
        answers = [a.api("GET", "id-tags/"), a.api("GET", "id-tags/nobody/"), a.api("PUT", "id-tags/X/", {"no": 1})]
        assert [int(answer["RateLimit-Remaining"]) for answer in answers] == [5999, 5998, 5997]
        assert {answer["RateLimit-Reset"] for answer in answers} == {"31"}

    def test_cache_that_is_down_lets_requests_through(self, a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise ConnectionError

        monkeypatch.setattr("tenants.api.throttling.cache.incr", fail)
        response = a.api("GET", "id-tags/")
        assert (response.status_code, response.has_header("RateLimit-Limit")) == (200, False)

    def test_trusted_proxy_is_believed(self, settings: Any) -> None:
        settings.CSMS_TRUSTED_PROXIES = ["127.0.0.1"]
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        request = AsyncRequestFactory().get("/x/", headers=headers)
        assert (absolute(request, "/x/"), address_of(request)) == ("https://testserver/x/", "203.0.113.9")
        settings.CSMS_TRUSTED_PROXIES = []
        assert (absolute(request, "/x/"), address_of(request)) == ("http://testserver/x/", "127.0.0.1")
        assert address_of(RequestFactory(REMOTE_ADDR="").get("/")) is None


class TestPaths:
    @pytest.mark.parametrize("path", ["charge-points/%00/", "id-tags/%00/", "sites/%00/"])
    def test_null_character_names_nothing(self, a: Owner, path: str) -> None:
        assert a.api("GET", path).status_code == 404
        assert a.api("DELETE", path).status_code == 404

    @pytest.mark.parametrize("path", ["charge-points/%FF/", "id-tags/%ED%A0%80/", "charge-points/" + "x" * 3000 + "/"])
    def test_path_that_is_no_name_is_404(self, a: Owner, path: str) -> None:
        assert a.api("GET", path).status_code == 404

    @pytest.mark.parametrize("query", ["vendor=%00", "vendor=%FF", "site=%00", "vendor=a&vendor=b", "connected=1"])
    def test_query_that_is_no_text(self, a: Owner, query: str) -> None:
        assert a.api("GET", f"charge-points/?{query}").status_code == (200 if "FF" in query else 400)

    def test_slash_of_an_identity_is_told_from_one_of_the_path(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            ChargePoint.objects.create(identity="SAME/connectors")
        request = AsyncRequestFactory().get("/api/v1/charge-points/SAME%2Fconnectors/")
        match = resolve(request.path_info)
        assert match.kwargs == {"identity": "SAME"}
        for sent, identity in (("SAME%2Fconnectors", "SAME/connectors"), ("SAME/connectors", None)):
            request.scope["raw_path"] = f"/api/v1/charge-points/{sent}/".encode()
            request.META["HTTP_AUTHORIZATION"] = f"Api-Key {a.api.key}"
            data = match.func(request, **match.kwargs).data
            assert data.get("identity") == identity
            assert ("results" in data) == (identity is None)

    def test_links_keep_the_path_as_it_was_sent(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            charge_point = ChargePoint.objects.create(identity="A/B")
            for key in "ab":
                ConfigurationKey.objects.create(charge_point=charge_point, key=key)
        request = AsyncRequestFactory().get("/api/v1/charge-points/A%2FB/configuration/?page_size=1")
        request.scope["raw_path"] = b"/api/v1/charge-points/A%2FB/configuration/"
        request.META["HTTP_AUTHORIZATION"] = f"Api-Key {a.api.key}"
        match = resolve(request.path_info)
        link = match.func(request, **match.kwargs).data["next"]
        assert link.startswith("http://testserver/api/v1/charge-points/A%2FB/configuration/?page_size=1&cursor=")


class TestPages:
    def test_named_order_goes_both_ways(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            for key in ("C", "A", "B"):
                ConfigurationKey.objects.create(charge_point=a.charge_point, key=key, reported_at=NOW)
        path = "charge-points/SAME/configuration/"
        assert [row["key"] for row in a.api("GET", path).json()["results"]] == ["A", "B", "C"]
        first = a.api("GET", f"{path}?page_size=2&count=true").json()
        assert ([row["key"] for row in first["results"]], first["count"]) == (["A", "B"], 3)
        second = a.api("GET", first["next"].split("/api/v1/")[1]).json()
        assert ([row["key"] for row in second["results"]], second["next"]) == (["C"], None)
        back = a.api("GET", second["previous"].split("/api/v1/")[1]).json()
        assert ([row["key"] for row in back["results"]], back["previous"]) == (["A", "B"], None)

    @pytest.mark.parametrize(
        "cursor",
        ["", "%00", "WzFd", "bnVsbA", "W2ZhbHNlLCJ4Il0", "W2ZhbHNlLDFlOTld", "W2ZhbHNlLG51bGxd", "%F0"],
    )
    def test_forged_cursor_is_400(self, a: Owner, cursor: str) -> None:
        for path in ("id-tags/", f"transactions/{a.transaction.pk}/meter-values/", "charge-points/SAME/configuration/"):
            status = a.api("GET", f"{path}?cursor={cursor}").status_code
            # [false, "x"] is a cursor into a list by name.
            assert status == (200 if cursor == "W2ZhbHNlLCJ4Il0" and "configuration" in path else 400)

    def test_a_page_neither_skips_nor_counts(self, a: Owner, django_assert_num_queries: Any) -> None:
        with tenant_scope(a.tenant):
            IdTag.objects.bulk_create([IdTag(id_tag=f"T{number}", key=f"T{number}") for number in range(60)])
        link = a.api("GET", "id-tags/").json()["next"].split("/api/v1/")[1]
        with django_assert_num_queries(5) as queries:
            a.api("GET", link)
        statements = " ".join(query["sql"] for query in queries.captured_queries)
        assert "COUNT(" not in statements
        assert "OFFSET" not in statements


def test_database_that_is_away_is_503(a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError("secret host name")

    monkeypatch.setattr(charge_points, "charge_point_of", fail)
    response = a.api("GET", "charge-points/SAME/")
    assert (response.status_code, response.json()["code"], response["Retry-After"]) == (503, "unavailable", "5")
    assert "secret" not in response.content.decode()
