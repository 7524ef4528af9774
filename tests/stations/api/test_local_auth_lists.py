"""`local-auth-lists/`: what is wanted, what is installed, what lies between, and sending it."""

from __future__ import annotations

from typing import Any

import pytest
from ocpp.v16 import call_result

from stations.models import (
    ChargePoint,
    Command,
    ConfigurationKey,
    IdTag,
    IdTagSite,
    LocalAuthList,
    LocalAuthListEntry,
    LocalAuthListIdTag,
)
from stations.ocpp import local_auth_list_management as profile
from tenants.models import ApiKey, AuditEntry, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import NOW, Api, Owner

pytestmark = pytest.mark.django_db

PATH = "local-auth-lists/SAME/"
ACCEPTED = {"status": "Accepted"}


def pointers(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 400, response.content
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


def put(a: Owner, source: Any, **members: Any) -> Any:
    return a.api("PUT", PATH, {"source": source, **members})


def sync(a: Owner, **body: Any) -> Any:
    return a.api("POST", f"{PATH}sync/", body)


def answer(a: Owner, status: str = "Accepted") -> None:
    """The charge point's answer to everything that waits."""
    with tenant_scope(a.tenant):
        for command in Command.objects.filter(action="SendLocalList", status="queued").order_by("id"):
            profile.send_local_list_conf(command, call_result.SendLocalList(status=status), NOW)
            Command.objects.filter(pk=command.pk).update(status="answered")


def limited_to(a: Owner, *slugs: str, scopes: tuple[str, ...] = ("read", "operate", "manage")) -> Api:
    row, key = ApiKey.issue(a.tenant, "limited", scopes)
    with tenant_scope(a.tenant):
        row.sites.set([Site.objects.get_or_create(slug=slug, defaults={"name": slug})[0] for slug in slugs])
    return Api(key)


class TestOneList:
    def test_charge_point_that_was_never_asked_has_an_empty_one(self, a: Owner) -> None:
        found = a.api("GET", PATH)
        assert found.status_code == 200
        assert found.json() == {
            "charge_point": "SAME", "status": "not_managed", "source_kind": None, "source": None, "desired_at": None,
            "desired_length": 0, "sync_automatically": False, "send_full": False,
            "installed": {"version": None, "length": 0, "complete": False, "at": None, "command": None},
            "reported_version": None, "reported_at": None, "outcome": None, "outcome_at": None,
            "differences": {"added": 0, "changed": 0, "removed": 0}, "next_version": 1,
            "limits": {"list_length": None, "request_length": None, "enabled": None, "supported": None},
            "warnings": [],
        }  # fmt: skip
        with tenant_scope(a.tenant):
            assert not LocalAuthList.objects.exists()

    @pytest.mark.parametrize("source", [{"id_tags": ["SameTag"]}, {"groups": ["staff"]}, {"sites": ["depot"]}])
    def test_source_comes_back_as_it_was_given(self, a: Owner, source: Any) -> None:
        a.api("PATCH", "id-tags/SameTag/", {"groups": ["staff"]})
        made = put(a, source)
        assert made.status_code == 200
        assert (made.json()["source"], made.json()["source_kind"]) == (source, next(iter(source)))
        assert (made.json()["status"], made.json()["desired_length"], made.json()["send_full"]) == ("unknown", 1, True)
        # And what was read can be written back.
        assert a.api("PUT", PATH, a.api("GET", PATH).json()).json()["source"] == source

    def test_no_site_named_means_that_of_the_charge_point(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            IdTag.objects.create(id_tag="ELSEWHERE").sites.set([Site.objects.create(slug="mall", name="Mall")])
        assert put(a, {"sites": []}).json()["desired_length"] == 1
        assert put(a, {"sites": ["mall"]}).json()["desired_length"] == 2

    def test_id_tags_are_taken_in_any_case_and_once(self, a: Owner) -> None:
        assert put(a, {"id_tags": ["SAMETAG", "sametag"]}).json()["source"] == {"id_tags": ["SameTag"]}

    def test_unknown_id_tags_are_pointed_at(self, a: Owner) -> None:
        refused = put(a, {"id_tags": ["X", "SameTag", "Y"]})
        assert pointers(refused) == [
            ("/source/id_tags/0", "unknown_id_tag"), ("/source/id_tags/2", "unknown_id_tag"),
        ]  # fmt: skip
        assert a.api("GET", PATH).json()["source"] is None

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, [("/source", "required")]),
            ({"source": {}}, [("/source", "either_or")]),
            ({"source": {"groups": ["a"], "sites": []}}, [("/source", "either_or")]),
            ({"source": {"groups": []}}, [("/source/groups", "min_length")]),
            ({"source": {"sites": ["nowhere"]}}, [("/source/sites/0", "unknown_site")]),
            ({"source": {"tags": []}}, [("/source/tags", "unknown_member")]),
            ({"source": {"id_tags": [5]}}, [("/source/id_tags/0", "invalid")]),
            ({"source": None, "sync_automatically": "yes"}, [("/sync_automatically", "invalid")]),
            ({"source": None, "x": 1}, [("/x", "unknown_member")]),
        ],
    )
    def test_what_is_no_source_is_refused(self, a: Owner, body: Any, expected: Any) -> None:
        assert pointers(a.api("PUT", PATH, body)) == expected

    def test_deleting_wants_nothing_and_keeps_what_is_installed(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]}, sync_automatically=True)
        sync(a)
        answer(a)
        assert a.api("DELETE", PATH).status_code == 204
        left = a.api("GET", PATH).json()
        assert (left["source"], left["sync_automatically"], left["status"]) == (None, False, "not_managed")
        assert (left["installed"]["length"], left["differences"]["removed"]) == (1, 0)
        assert sync(a).json()["code"] == "no_desired_list"

    def test_if_match_guards_against_lost_updates(self, a: Owner) -> None:
        tag = a.api("GET", PATH)["ETag"]
        body = {"source": {"groups": ["staff"]}}
        changed = a.api("PUT", PATH, body, **{"If-Match": tag})
        assert changed.status_code == 200
        assert a.api("PUT", PATH, body, **{"If-Match": tag}).status_code == 412
        assert a.api("DELETE", PATH, **{"If-Match": tag}).status_code == 412
        # What the charge point answers is nobody's edit.
        sync(a)
        answer(a)
        assert a.api("GET", PATH)["ETag"] == changed["ETag"]

    def test_writing_is_audited(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]})
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.get()
        assert (entry.action, entry.object_type) == ("change", "stations.localauthlist")
        assert entry.changes == {"source": ["", "id_tags"], "id_tags": [None, 1]}

    def test_limits_and_what_they_are_in_the_way_of(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            IdTag.objects.create(id_tag="B")
            for key, value in (
                ("LocalAuthListMaxLength", "1"), ("SendLocalListMaxLength", "5"), ("LocalAuthListEnabled", "false"),
                ("SupportedFeatureProfiles", "Core"),
            ):  # fmt: skip
                ConfigurationKey.objects.create(charge_point=a.charge_point, key=key, value=value)
        found = put(a, {"id_tags": ["SameTag", "B"]}).json()
        assert found["limits"] == {"list_length": 1, "request_length": 5, "enabled": False, "supported": False}
        assert [warning["code"] for warning in found["warnings"]] == [
            "feature_not_reported", "local_auth_list_disabled", "longer_than_list_limit",
        ]  # fmt: skip
        refused = sync(a)
        assert (refused.status_code, refused.json()["code"]) == (409, "list_too_long")
        assert refused.json()["errors"] == [
            {
                "pointer": "/localAuthorizationList",
                "detail": "The list has 2 entries, more than the 1 of LocalAuthListMaxLength.",
                "code": "list_too_long",
            }
        ]

    def test_identity_with_a_slash(self, a: Owner) -> None:
        a.api("PUT", "charge-points/A%2FB/", {})
        assert a.api("GET", "local-auth-lists/A%2FB/").json()["charge_point"] == "A/B"
        assert a.api("GET", "local-auth-lists/A%2FB/entries/").json()["results"] == []


class TestSync:
    def test_full_list_then_the_difference(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]})
        made = sync(a, reason="Monday")
        body = made.json()
        (command,) = body.pop("commands")
        assert (made.status_code, made["Location"]) == (
            202,
            f"http://testserver/api/v1/commands/?batch={body['batch']}",
        )
        assert body == {"charge_point": "SAME", "update_type": "Full", "repeated": False, "batch": command["batch"]}
        assert (command["reason"], command["requested_by"], command["status"]) == ("Monday", "API key test", "queued")
        assert command["payload"] == {
            "listVersion": 1,
            "localAuthorizationList": [{"idTag": "SameTag", "idTagInfo": ACCEPTED}],
            "updateType": "Full",
        }
        assert a.api("GET", PATH).json()["status"] == "sending"
        answer(a)
        assert a.api("GET", PATH).json()["status"] == "in_sync"
        assert sync(a).json() == {
            "charge_point": "SAME", "update_type": None, "repeated": False, "batch": None, "commands": [],
        }  # fmt: skip
        a.api("PATCH", "id-tags/SameTag/", {"status": "Blocked"})
        found = a.api("GET", PATH).json()
        assert (found["status"], found["differences"]) == ("differs", {"added": 0, "changed": 1, "removed": 0})
        assert sync(a).json()["commands"][0]["payload"]["updateType"] == "Differential"

    def test_repeating_it_gives_the_same_commands(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]})
        first, second = sync(a).json(), sync(a).json()
        assert second == first | {"repeated": True}

    def test_full_may_be_asked_for_and_a_difference_only_where_it_is_sure(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]})
        refused = sync(a, full=False)
        assert (refused.status_code, refused.json()["code"]) == (409, "installed_list_uncertain")
        sync(a)
        answer(a)
        assert sync(a, full=True).json()["update_type"] == "Full"

    def test_failure_is_shown_and_the_full_list_offered(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]})
        sync(a)
        answer(a, "Failed")
        found = a.api("GET", PATH).json()
        assert (found["status"], found["outcome"], found["send_full"]) == ("failed", "Failed", True)
        assert found["installed"]["version"] is None

    def test_raw_command_is_kept_in_step(self, a: Owner) -> None:
        body = {"action": "SendLocalList", "payload": {
            "updateType": "Full", "localAuthorizationList": [{"idTag": "RAW", "idTagInfo": ACCEPTED}],
        }}  # fmt: skip
        made = a.api("POST", "charge-points/SAME/commands/", body).json()
        assert made["payload"]["listVersion"] == 1
        answer(a)
        found = a.api("GET", PATH).json()
        assert found["installed"]["command"] == made["id"]
        assert (found["installed"]["version"], found["installed"]["length"], found["next_version"]) == (1, 1, 2)

    def test_disabled_charge_point_is_409(self, a: Owner) -> None:
        put(a, {"id_tags": ["SameTag"]})
        a.api("PATCH", "charge-points/SAME/", {"disabled": True})
        refused = sync(a)
        assert (refused.status_code, refused.json()["code"]) == (409, "charge_point_disabled")
        with tenant_scope(a.tenant):
            assert not Command.objects.exists()

    def test_bad_body_is_pointed_at(self, a: Owner) -> None:
        assert pointers(sync(a, full="yes")) == [("/full", "invalid")]
        assert pointers(sync(a, ful=True)) == [("/ful", "unknown_member")]


class TestEntries:
    def test_pages_lead_through_both_lists_and_back(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            for number in range(5):
                IdTag.objects.create(id_tag=f"T{number}")
        put(a, {"id_tags": ["T0", "T1", "T2"]})
        sync(a)
        answer(a)
        put(a, {"id_tags": ["T1", "T2", "T3", "T4"]})
        a.api("PATCH", "id-tags/T1/", {"status": "Blocked"})
        first = a.api("GET", f"{PATH}entries/?page_size=2&count=true").json()
        assert first["results"] == [
            {"id_tag": "T0", "desired": None, "installed": ACCEPTED, "change": "remove"},
            {"id_tag": "T1", "desired": {"status": "Blocked"}, "installed": ACCEPTED, "change": "change"},
        ]
        assert (first["count"], first["previous"]) == (5, None)

        def follow(link: str) -> Any:
            return a.api("GET", link.partition("/api/v1/")[2]).json()

        second = follow(first["next"])
        assert [(row["id_tag"], row["change"]) for row in second["results"]] == [("T2", None), ("T3", "add")]
        last = follow(second["next"])
        assert ([row["id_tag"] for row in last["results"]], last["next"]) == (["T4"], None)
        assert follow(last["previous"])["results"] == second["results"]
        differing = a.api("GET", f"{PATH}entries/?differs=true").json()["results"]
        assert [row["id_tag"] for row in differing] == ["T0", "T1", "T3", "T4"]

    @pytest.mark.parametrize("query", ["cursor=x", "page_size=0", "differs=yes", "colour=red"])
    def test_bad_query_is_400(self, a: Owner, query: str) -> None:
        assert a.api("GET", f"{PATH}entries/?{query}").status_code == 400

    def test_number_of_queries(self, a: Owner, django_assert_num_queries: Any) -> None:
        with tenant_scope(a.tenant):
            IdTag.objects.bulk_create(IdTag(id_tag=f"N{n}", key=f"N{n}", groups=["g"]) for n in range(300))
        put(a, {"groups": ["g"]})
        # Key, its sites, the charge point, its list; the tags and the entries.
        with django_assert_num_queries(6):
            assert len(a.api("GET", f"{PATH}entries/?page_size=200").json()["results"]) == 200


class TestLists:
    def test_rows_and_filters(self, a: Owner) -> None:
        assert a.api("GET", "local-auth-lists/").json()["results"] == []
        a.api("PUT", "charge-points/OTHER/", {})
        put(a, {"id_tags": ["SameTag"]}, sync_automatically=True)
        a.api("PUT", "local-auth-lists/OTHER/", {"source": {"groups": ["staff"]}})
        for query, found in (
            ("", ["OTHER", "SAME"]),
            ("charge_point=SAME", ["SAME"]),
            ("site=depot", ["SAME"]),
            ("source=groups", ["OTHER"]),
            ("sync_automatically=true", ["SAME"]),
        ):
            rows = a.api("GET", f"local-auth-lists/?{query}").json()["results"]
            assert [row["charge_point"] for row in rows] == found
        (row,) = a.api("GET", "local-auth-lists/?charge_point=SAME").json()["results"]
        detail = a.api("GET", PATH).json()
        assert row == {name: detail[name] for name in row}
        assert a.api("GET", "local-auth-lists/?source=x").status_code == 400

    def test_number_of_queries_does_not_grow_with_the_rows(self, a: Owner, django_assert_num_queries: Any) -> None:
        for number in range(5):
            a.api("PUT", f"charge-points/N{number}/", {"site": "depot"})
        body = {"filter": {}, "source": {"groups": ["staff"]}}
        assert a.api("POST", "local-auth-lists/", body).status_code == 202
        # Key, its sites, the rows with their charge points; what is being sent; the tags of the one group.
        with django_assert_num_queries(5):
            assert len(a.api("GET", "local-auth-lists/").json()["results"]) == 6


class TestMany:
    PATH = "local-auth-lists/"

    def test_source_and_sync_for_a_filter(self, a: Owner) -> None:
        a.api("PUT", "charge-points/OTHER/", {"site": "depot"})
        a.api("PUT", "charge-points/OFF/", {"site": "depot", "disabled": True})
        a.api("PUT", "charge-points/ELSEWHERE/", {})
        body = {"filter": {"site": "depot"}, "source": {"id_tags": ["SameTag"]}, "sync": True}
        made = a.api("POST", self.PATH, body)
        results = made.json()["results"]
        assert made.status_code == 202
        assert made["Location"] == f"http://testserver/api/v1/commands/?batch={made.json()['batch']}"
        found = [(row["charge_point"], len(row["commands"]), (row["error"] or {}).get("code")) for row in results]
        assert found == [("SAME", 1, None), ("OTHER", 1, None), ("OFF", 0, "charge_point_disabled")]
        listed = a.api("GET", f"commands/?batch={made.json()['batch']}").json()["results"]
        assert {row["charge_point"] for row in listed} == {"SAME", "OTHER"}

    def test_source_alone_sends_nothing_and_sync_alone_changes_none(self, a: Owner) -> None:
        body = {"charge_points": ["SAME"], "source": {"id_tags": ["SameTag"]}, "sync_automatically": True}
        made = a.api("POST", self.PATH, body).json()
        assert made == {"batch": None, "results": [{"charge_point": "SAME", "commands": [], "error": None}]}
        assert a.api("GET", PATH).json()["sync_automatically"] is True
        sent = a.api("POST", self.PATH, {"charge_points": ["SAME"], "sync": True, "full": True}).json()
        assert len(sent["results"][0]["commands"]) == 1
        assert a.api("GET", PATH).json()["source"] == {"id_tags": ["SameTag"]}

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, [("", "either_or")]),
            ({"filter": {}}, [("", "nothing_to_do")]),
            ({"filter": {}, "charge_points": ["SAME"], "sync": True}, [("", "either_or")]),
            ({"filter": {}, "sync": True, "sync_automatically": True}, [("", "source_missing")]),
            ({"charge_points": ["SAME", "NOBODY"], "sync": True}, [("/charge_points/1", "not_found")]),
            ({"filter": {}, "source": {"id_tags": ["X"]}}, [("/source/id_tags/0", "unknown_id_tag")]),
        ],
    )
    def test_bad_body_is_pointed_at(self, a: Owner, body: Any, expected: Any) -> None:
        assert pointers(a.api("POST", self.PATH, body)) == expected


class TestWhoMay:
    def test_scopes(self, a: Owner) -> None:
        _, operator = ApiKey.issue(a.tenant, "operator", ("read", "operate"))
        _, manager = ApiKey.issue(a.tenant, "manager", ("read", "manage"))
        assert Api(operator)("PUT", PATH, {"source": None}).status_code == 403
        assert Api(manager)("PUT", PATH, {"source": {"id_tags": ["SameTag"]}}).status_code == 200
        assert Api(manager)("POST", f"{PATH}sync/", {}).status_code == 403
        refused = Api(manager)("POST", "local-auth-lists/", {"filter": {}, "sync": True})
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
        assert Api(operator)("POST", f"{PATH}sync/", {}).status_code == 202

    def test_who_is_limited_to_sites_sees_and_uses_what_is_there(self, a: Owner) -> None:
        a.api("PUT", "charge-points/ELSEWHERE/", {})
        a.api("PUT", "local-auth-lists/ELSEWHERE/", {"source": {"groups": ["staff"]}})
        put(a, {"groups": ["staff"]})
        limited = limited_to(a, "depot")
        with tenant_scope(a.tenant):
            mall = Site.objects.create(slug="mall", name="Mall")
            IdTagSite.objects.create(id_tag=IdTag.objects.create(id_tag="MALL"), site=mall)
        assert [row["charge_point"] for row in limited("GET", "local-auth-lists/").json()["results"]] == ["SAME"]
        for method, path in (
            ("GET", "local-auth-lists/ELSEWHERE/"), ("PUT", "local-auth-lists/ELSEWHERE/"),
            ("DELETE", "local-auth-lists/ELSEWHERE/"), ("GET", "local-auth-lists/ELSEWHERE/entries/"),
            ("POST", "local-auth-lists/ELSEWHERE/sync/"),
        ):  # fmt: skip
            assert limited(method, path, {} if method in ("PUT", "POST") else None).status_code == 404
        assert pointers(limited("PUT", PATH, {"source": {"id_tags": ["MALL"]}}))[0][1] == "unknown_id_tag"
        assert pointers(limited("PUT", PATH, {"source": {"sites": ["mall"]}}))[0][1] == "unknown_site"
        assert limited("PUT", PATH, {"source": {"id_tags": ["SameTag"]}}).status_code == 200


def test_site_that_a_list_names_cannot_be_deleted(a: Owner) -> None:
    with tenant_scope(a.tenant):
        Site.objects.create(slug="mall", name="Mall")
    put(a, {"sites": ["mall"]})
    refused = a.api("DELETE", "sites/mall/")
    assert (refused.status_code, refused.json()["code"]) == (409, "site_in_use")


def test_charge_point_goes_with_its_list(a: Owner) -> None:
    a.api("PUT", "charge-points/NEW/", {})
    a.api("PUT", "local-auth-lists/NEW/", {"source": {"id_tags": ["SameTag"]}})
    a.api("POST", "local-auth-lists/NEW/sync/", {})
    answer(a)
    assert a.api("DELETE", "charge-points/NEW/").status_code == 204
    with tenant_scope(a.tenant):
        assert not ChargePoint.objects.filter(identity="NEW").exists()
        for model in (LocalAuthList, LocalAuthListIdTag, LocalAuthListEntry):
            assert not model.objects.exists()
