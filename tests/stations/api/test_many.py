"""PUT of a list: each row for itself, with a result for each in the order sent."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stations.models import ChargePoint, IdTag
from tenants.models import ApiKey, AuditEntry, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import Api, Owner

pytestmark = pytest.mark.django_db

UNTIED = {"identity": "NEW-1", "site": "depot"}


def problem_of(result: dict[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    problem = result["problem"]
    return result["status"], [(error["pointer"], error["code"]) for error in problem.get("errors", [])]


class TestChargePoints:
    def test_each_is_made_replaced_or_refused_for_itself(self, a: Owner, b: Owner) -> None:
        answer = a.api("PUT", "charge-points/", [
            {"identity": "SAME", "description": "was there"},
            {"identity": "NEW-1", "site": "depot"},
            {"identity": "NEW-2", "site": "nowhere"},
            {"identity": "NEW-3", "colour": "red"},
            "text",
            {"description": "nameless"},
            {"identity": "TWICE"},
            {"identity": "TWICE"},
            {"identity": "NEW-4", "password": "0123456789abcdef"},
        ])  # fmt: skip
        assert answer.status_code == 200
        body = answer.json()
        assert (body["created"], body["replaced"], body["refused"]) == (2, 1, 6)
        assert [result["index"] for result in body["results"]] == list(range(9))
        same, new, *refused, given = body["results"]
        assert (same["status"], same["identity"], same["resource"]["description"]) == (200, "SAME", "was there")
        assert (new["status"], new["problem"]) == (201, None)
        assert len(new["resource"]["password"]) >= 16
        assert [problem_of(result) for result in refused] == [
            (400, [("/site", "unknown_site")]),
            (400, [("/colour", "unknown_member")]),
            (400, [("", "not_an_object")]),
            (400, [("/identity", "required")]),
            (400, [("/identity", "repeated")]),
            (400, [("/identity", "repeated")]),
        ]
        assert given["resource"]["password_form"] == "text"
        assert "password" not in given["resource"]
        with tenant_scope(a.tenant):
            assert set(ChargePoint.objects.values_list("identity", flat=True)) == {"SAME", "NEW-1", "NEW-4"}
            assert sorted(AuditEntry.objects.values_list("action", flat=True)) == ["change", "create", "create"]
        with tenant_scope(b.tenant):
            assert ChargePoint.objects.get().description == ""

    def test_the_same_list_again_changes_nothing_and_shows_no_password(self, a: Owner) -> None:
        first = a.api("PUT", "charge-points/", [UNTIED]).json()["results"][0]
        again = a.api("PUT", "charge-points/", [UNTIED]).json()["results"][0]
        assert again["status"] == 200
        assert "password" in first["resource"]
        assert "password" not in again["resource"]

    def test_a_security_profile_left_out_stays(self, a: Owner) -> None:
        a.api("PATCH", "charge-points/SAME/", {"security_profile": 2})
        result = a.api("PUT", "charge-points/", [{"identity": "SAME"}]).json()["results"][0]
        assert result["resource"]["security_profile"] == 2

    @pytest.mark.parametrize(
        ("body", "code"),
        [({}, "not_a_list"), ([], "wrong_length"), ([{"identity": f"N{n}"} for n in range(1001)], "wrong_length")],
    )
    def test_what_is_no_list_of_up_to_a_thousand_is_refused_as_a_whole(self, a: Owner, body: Any, code: str) -> None:
        answer = a.api("PUT", "charge-points/", body)
        assert answer.status_code == 400
        assert code in (answer.json()["code"], *(error["code"] for error in answer.json().get("errors", ())))

    def test_a_key_limited_to_a_site_gets_no_further(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            other = Site.objects.create(slug="other", name="Other")
        _, key = ApiKey.issue(a.tenant, "one site", ("read", "manage"), sites=[other])
        body = [{"identity": "SAME"}, {"identity": "NEW", "site": "other"}, {"identity": "NEW-2", "site": "depot"}]
        statuses = [result["status"] for result in Api(key)("PUT", "charge-points/", body).json()["results"]]
        assert statuses == [400, 201, 400]

    def test_a_key_that_only_reads_may_not(self, a: Owner) -> None:
        _, key = ApiKey.issue(a.tenant, "reads", ("read",))
        assert Api(key)("PUT", "charge-points/", [UNTIED]).status_code == 403
        assert Api(key)("PUT", "id-tags/", [{"id_tag": "X"}]).status_code == 403


class TestIdTags:
    def test_each_is_made_replaced_or_refused_for_itself(self, a: Owner, b: Owner) -> None:
        answer = a.api("PUT", "id-tags/", [
            {"id_tag": "sametag", "driver": "Jo"},
            {"id_tag": "NEW", "sites": ["depot"], "parent_id_tag": "FAMILY"},
            {"id_tag": "N" * 21},
            {"id_tag": "new"},
            {"id_tag": "OTHER", "status": "Blocked", "blocked": False},
        ])  # fmt: skip
        body = answer.json()
        assert (body["created"], body["replaced"], body["refused"]) == (0, 1, 4)
        assert body["results"][0]["resource"]["id_tag"] == "SameTag"
        assert [problem_of(result) for result in body["results"][1:]] == [
            (400, [("/id_tag", "repeated")]),
            (400, [("/id_tag", "max_length")]),
            (400, [("/id_tag", "repeated")]),
            (400, [("/blocked", "contradiction")]),
        ]
        with tenant_scope(a.tenant):
            assert IdTag.objects.get().driver == "Jo"
        with tenant_scope(b.tenant):
            assert IdTag.objects.get().driver == ""

    def test_many_at_once_cost_the_same_for_each(self, a: Owner) -> None:
        def queries(number: int, prefix: str) -> int:
            with CaptureQueriesContext(connection) as captured:
                answer = a.api("PUT", "id-tags/", [{"id_tag": f"{prefix}{n}"} for n in range(number)])
            assert answer.json()["created"] == number
            return len(captured)

        _, few, more = queries(1, "A"), queries(10, "B"), queries(60, "C")
        assert more - few == 50 * 12


def test_an_answer_401_names_the_scheme(a: Owner) -> None:
    response = Client().get("/api/v1/charge-points/", headers={"Authorization": "Bearer abc"})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Api-Key")
    assert "`Authorization: Api-Key <prefix>.<secret>`" in response.json()["detail"]
