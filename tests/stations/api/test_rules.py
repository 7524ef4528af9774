"""What api.md promises of every endpoint: authentication, problems, pages, idempotency, limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from stations.models import Command, IdTag
from tenants.models import ApiKey, IdempotencyRecord
from tenants.scope import tenant_scope
from tests.stations.api.conftest import Api, Owner

pytestmark = pytest.mark.django_db


def pointers(response: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


class TestAuthentication:
    def test_without_a_key_is_401_and_says_how(self, a: Owner) -> None:
        response = Client().get("/api/v1/charge-points/")
        assert (response.status_code, response["WWW-Authenticate"]) == (401, "Api-Key")
        assert response.json()["code"] == "not_authenticated"

    @pytest.mark.parametrize("key", ["", "x", "abcdefghijkl.wrong", "abcdefghijkl", "a" * 5000])
    def test_wrong_key_is_401(self, a: Owner, key: str) -> None:
        assert Api(key)("GET", "charge-points/").status_code == 401

    def test_expired_and_revoked_keys_are_401(self, a: Owner) -> None:
        now = datetime.now(UTC)
        _, expired = ApiKey.issue(a.tenant, "old", ["read"], expires_at=now - timedelta(seconds=1))
        row, revoked = ApiKey.issue(a.tenant, "gone", ["read"])
        with tenant_scope(a.tenant):
            row.revoke(now)
        for key in (expired, revoked):
            response = Api(key)("GET", "charge-points/")
            assert (response.status_code, response.json()["code"]) == (401, "invalid_api_key")

    def test_key_needs_the_scope_of_the_method(self, a: Owner) -> None:
        _, reader = ApiKey.issue(a.tenant, "reader", ["read"])
        _, operator = ApiKey.issue(a.tenant, "operator", ["read", "operate"])
        reset = {"action": "ClearCache"}
        assert Api(reader)("POST", "charge-points/SAME/commands/", reset).status_code == 403
        assert Api(operator)("POST", "charge-points/SAME/commands/", reset).status_code == 202
        assert Api(operator)("PUT", "id-tags/X/", {}).json()["code"] == "missing_scope"

    def test_suspended_tenant_can_be_read_only(self, a: Owner) -> None:
        a.tenant.suspend(datetime.now(UTC))
        assert a.api("GET", "charge-points/").status_code == 200
        response = a.api("POST", "charge-points/SAME/commands/", {"action": "ClearCache"})
        assert (response.status_code, response.json()["code"]) == (403, "tenant_suspended")

    def test_site_limited_key_sees_its_sites_only(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            site = a.charge_point.site
            _, inside = ApiKey.issue(a.tenant, "inside", ["read"], sites=[site])
            other = type(site).objects.create(slug="other", name="Other")
            _, outside = ApiKey.issue(a.tenant, "outside", ["read"], sites=[other])
        assert len(Api(inside)("GET", "charge-points/").json()["results"]) == 1
        for path in ("charge-points/", "transactions/", "commands/"):
            assert Api(outside)("GET", path).json()["results"] == []
        assert Api(outside)("GET", f"transactions/{a.transaction.pk}/").status_code == 404


class TestProblems:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"nonsense": 1}, [("/nonsense", "unknown_member")]),
            ({"security_profile": 7}, [("/security_profile", "max_value")]),
            ({"password": "short"}, [("/password", "invalid_password")]),
            ({"site": "nowhere"}, [("/site", "unknown_site")]),
            ({"time_zone": "Mars/Olympus"}, [("/time_zone", "unknown_time_zone")]),
            ({"description": "a\x00b"}, [("/description", "null_character")]),
            ({"identity": "OTHER"}, [("/identity", "identity_mismatch")]),
            ({"heartbeat_interval_seconds": 10**6}, [("/heartbeat_interval_seconds", "max_value")]),
        ],
    )
    def test_bad_member_is_pointed_at(self, a: Owner, body: Any, expected: list[tuple[str, str]]) -> None:
        response = a.api("PUT", "charge-points/SAME/", body)
        assert response.status_code == 400
        assert pointers(response) == expected

    @pytest.mark.parametrize(
        "body", ["", "{", "[]", "null", '"x"', b"\xff\xfe", '{"a":' * 3000, '{"identity": "\\ud800"}']
    )
    def test_body_that_is_no_object_is_400(self, a: Owner, body: Any) -> None:
        assert a.api("POST", "charge-points/", body).status_code == 400

    def test_unknown_query_parameter_is_400(self, a: Owner) -> None:
        assert pointers(a.api("GET", "charge-points/?colour=red")) == [("/colour", "unknown_parameter")]

    def test_unknown_path_method_and_media_type_are_problems(self, a: Owner) -> None:
        assert a.api("GET", "nowhere/").status_code == 404
        assert a.api("PATCH", "transactions/").status_code == 405
        response = Client().post(
            "/api/v1/id-tags/", "x", content_type="text/plain", headers={"Authorization": f"Api-Key {a.api.key}"}
        )
        assert (response.status_code, response["Content-Type"]) == (415, "application/problem+json")

    def test_ids_out_of_range_do_not_exist(self, a: Owner) -> None:
        for path in (f"transactions/{10**30}/", f"commands/{10**30}/", f"api-keys/{10**30}/", "transactions/0/"):
            assert a.api("GET", path).status_code == 404


class TestPages:
    def test_newest_first_in_both_directions(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            for number in range(5):
                IdTag.objects.create(id_tag=f"T{number}")
        first = a.api("GET", "id-tags/?page_size=2").json()
        assert [row["id_tag"] for row in first["results"]] == ["T4", "T3"]
        assert first["previous"] is None
        second = a.api("GET", first["next"].split("/api/v1/")[1]).json()
        assert [row["id_tag"] for row in second["results"]] == ["T2", "T1"]
        third = a.api("GET", second["next"].split("/api/v1/")[1]).json()
        assert ([row["id_tag"] for row in third["results"]], third["next"]) == (["T0", "SameTag"], None)
        back = a.api("GET", third["previous"].split("/api/v1/")[1]).json()
        assert back["results"] == second["results"]

    def test_count_only_when_asked_for(self, a: Owner) -> None:
        assert "count" not in a.api("GET", "id-tags/").json()
        assert a.api("GET", "id-tags/?count=true").json()["count"] == 1

    @pytest.mark.parametrize(
        "query", ["page_size=0", "page_size=501", "page_size=x", "cursor=x", "cursor=W10", "count=1"]
    )
    def test_bad_page_is_400(self, a: Owner, query: str) -> None:
        assert a.api("GET", f"id-tags/?{query}").status_code == 400

    @pytest.mark.parametrize(
        "path",
        ["charge-points/", "transactions/", "id-tags/", "commands/", "charge-points/SAME/messages/", "api-keys/"],
    )
    def test_number_of_queries_does_not_grow(self, a: Owner, path: str, django_assert_max_num_queries: Any) -> None:
        with tenant_scope(a.tenant):
            for number in range(20):
                charge_point = type(a.charge_point).objects.create(identity=f"N{number}", site=a.charge_point.site)
                a.transaction.pk, a.transaction.connector_id = None, number + 2
                a.transaction.charge_point = charge_point
                a.transaction.save(force_insert=True)
                IdTag.objects.create(id_tag=f"N{number}")
        with django_assert_max_num_queries(10):
            assert a.api("GET", path).status_code == 200


class TestIdempotency:
    BODY = {"action": "ClearCache"}
    PATH = "charge-points/SAME/commands/"

    def test_same_key_and_body_gives_the_first_answer(self, a: Owner) -> None:
        first = a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        again = a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        assert first.content == again.content
        assert (again.status_code, again["Idempotency-Replayed"], again["Location"]) == (202, "true", first["Location"])
        with tenant_scope(a.tenant):
            assert Command.objects.count() == 1

    def test_other_body_is_422(self, a: Owner) -> None:
        a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        other = a.api("POST", self.PATH, {"action": "GetConfiguration"}, **{"Idempotency-Key": "k1"})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    def test_still_running_is_409_and_abandoned_is_taken_over(self, a: Owner) -> None:
        a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        with tenant_scope(a.tenant):
            IdempotencyRecord.objects.update(state="running", created_at=datetime.now(UTC))
        running = a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        assert (running.status_code, running["Retry-After"]) == (409, "1")
        with tenant_scope(a.tenant):
            IdempotencyRecord.objects.update(created_at=datetime.now(UTC) - timedelta(minutes=2))
        assert a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"}).status_code == 202

    def test_keys_of_two_tenants_do_not_meet(self, a: Owner, b: Owner) -> None:
        first = a.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        other = b.api("POST", self.PATH, self.BODY, **{"Idempotency-Key": "k1"})
        assert other.status_code == 202
        assert other.json()["id"] != first.json()["id"]

    def test_error_is_repeated_too(self, a: Owner) -> None:
        bad = {"action": "Reset", "payload": {"type": "Medium"}}
        first = a.api("POST", self.PATH, bad, **{"Idempotency-Key": "k1"})
        again = a.api("POST", self.PATH, bad, **{"Idempotency-Key": "k1"})
        assert (first.status_code, again.status_code) == (400, 400)
        assert first.json() == again.json()


def test_rate_limit_is_told_and_enforced(a: Owner, settings: Any) -> None:
    settings.CSMS_API_REQUESTS_PER_MINUTE = 2
    cache.clear()
    answers = [a.api("GET", "id-tags/") for _ in range(3)]
    # A minute may end in between; then the third one is the first of the next.
    assert answers[0]["RateLimit-Limit"] == "2"
    limited = [answer for answer in answers if answer.status_code == 429]
    if int(answers[-1]["RateLimit-Reset"]) < 59:
        assert len(limited) == 1
        assert int(limited[0]["Retry-After"]) >= 1


def test_committed_openapi_document_is_current(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(fresh))
    assert fresh.read_text() == Path("docs/openapi.yaml").read_text(), "run `make schema`"
