"""The library of charging profiles, what is installed, the composite schedule, and commands with a profile."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from stations.models import ChargePoint, ChargingProfile, InstalledProfile
from tenants.models import ApiKey, AuditEntry, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import NOW, Api, Owner

pytestmark = pytest.mark.django_db

PROFILE: dict[str, Any] = {
    "stackLevel": 1,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute",
    "validFrom": "2026-03-01T00:00:00.000Z",
    "validTo": "2126-03-02T00:00:00.000Z",
    "chargingSchedule": {
        "startSchedule": "2026-03-01T12:00:00.000Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}, {"startPeriod": 3600, "limit": 16.1}],
    },
}
TX_PROFILE: dict[str, Any] = {
    "stackLevel": 0,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6000.0}]},
}


def pointers(response: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


def made(owner: Owner, profile: Any = None, description: str = "By night") -> dict[str, Any]:
    response = owner.api("POST", "charging-profiles/", {"description": description, "profile": profile or PROFILE})
    assert response.status_code == 201, response.content
    found: dict[str, Any] = response.json()
    return found


def install(owner: Owner, pk: int, profile: dict[str, Any], **fields: Any) -> InstalledProfile:
    with tenant_scope(owner.tenant):
        return InstalledProfile.objects.create(
            **{
                "charge_point": owner.charge_point, "connector_id": 1, "charging_profile_id": pk,
                "library": ChargingProfile.objects.filter(pk=pk).first(),
                "profile": {"chargingProfileId": pk, **profile}, "purpose": profile["chargingProfilePurpose"],
                "stack_level": profile["stackLevel"], "installed_at": NOW,
            } | fields
        )  # fmt: skip


class TestLibrary:
    def test_post_gives_the_id_that_goes_on_the_wire(self, a: Owner) -> None:
        response = a.api("POST", "charging-profiles/", {"description": "By night", "profile": PROFILE})
        body = response.json()
        assert response.status_code == 201
        assert response["Location"].endswith(f"/api/v1/charging-profiles/{body['id']}/")
        assert body["profile"] == {"chargingProfileId": body["id"], **PROFILE}
        assert list(body["profile"]) == ["chargingProfileId", *PROFILE]
        assert (body["description"], body["requested_by"]) == ("By night", "API key test")
        assert (body["installed"], body["warnings"]) == ([], [])
        assert 0 < body["id"] < 2**31

    def test_limits_keep_the_form_they_were_given(self, a: Owner) -> None:
        pk = made(a)["id"]
        text = a.api("GET", f"charging-profiles/{pk}/").content.decode()
        assert '"limit":6.0' in text
        assert '"limit":16.1' in text

    def test_id_in_the_profile_is_not_looked_at(self, a: Owner) -> None:
        body = made(a, PROFILE | {"chargingProfileId": 4711})
        assert body["profile"]["chargingProfileId"] == body["id"]

    def test_ids_are_never_used_again(self, a: Owner) -> None:
        first = made(a)["id"]
        assert a.api("DELETE", f"charging-profiles/{first}/").status_code == 204
        assert made(a)["id"] > first

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"stackLevel": -1}, "/profile/stackLevel"),
            ({"chargingProfilePurpose": "X"}, "/profile/chargingProfilePurpose"),
            ({"chargingSchedule": {"chargingRateUnit": "A"}}, "/profile/chargingSchedule/chargingSchedulePeriod"),
            ({"validFrom": None}, "/profile/validFrom"),
            ({"colour": "red"}, "/profile/colour"),
        ],
    )
    def test_what_could_never_be_sent_is_pointed_at(self, a: Owner, change: dict[str, Any], pointer: str) -> None:
        for method, path in (("POST", ""), ("PUT", f"{made(a)['id']}/")):
            answer = a.api(method, f"charging-profiles/{path}", {"profile": PROFILE | change})
            assert answer.status_code == 400
            assert [found for found, _ in pointers(answer)] == [pointer]

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({}, ("/profile", "required")),
            ({"profile": []}, ("/profile", "not_a_dict")),
            ({"profile": PROFILE, "purpose": "x"}, ("/purpose", "unknown_member")),
            ({"profile": PROFILE, "description": "x" * 201}, ("/description", "max_length")),
        ],
    )
    def test_body_that_is_no_profile(self, a: Owner, body: Any, found: tuple[str, str]) -> None:
        assert pointers(a.api("POST", "charging-profiles/", body)) == [found]

    def test_two_decimals_are_refused(self, a: Owner) -> None:
        odd = deepcopy(PROFILE)
        odd["chargingSchedule"]["chargingSchedulePeriod"][1]["limit"] = 16.15
        answer = a.api("POST", "charging-profiles/", {"profile": odd})
        assert pointers(answer) == [
            ("/profile/chargingSchedule/chargingSchedulePeriod/1/limit", "PropertyConstraintViolation")
        ]

    def test_unwise_profile_is_kept_with_warnings(self, a: Owner) -> None:
        body = made(a, PROFILE | {"recurrencyKind": "Daily"})
        assert body["warnings"] == [
            {
                "code": "recurrency_kind_without_recurring",
                "detail": "A recurrencyKind belongs to Recurring profiles only.",
                "pointer": "/recurrencyKind",
            }
        ]

    def test_what_was_read_can_be_sent_back(self, a: Owner) -> None:
        path = f"charging-profiles/{made(a)['id']}/"
        read = a.api("GET", path)
        back = a.api("PUT", path, read.json(), **{"If-Match": read["ETag"]})
        assert (back.status_code, back["ETag"]) == (200, read["ETag"])
        assert back.json() | {"updated_at": None} == read.json() | {"updated_at": None}

    def test_put_replaces_and_guards_against_lost_updates(self, a: Owner) -> None:
        path = f"charging-profiles/{made(a)['id']}/"
        tag = a.api("GET", path)["ETag"]
        changed = a.api("PUT", path, {"profile": PROFILE | {"stackLevel": 3}}, **{"If-Match": tag})
        assert (changed.json()["description"], changed.json()["profile"]["stackLevel"]) == ("", 3)
        assert a.api("PUT", path, {"profile": PROFILE}, **{"If-Match": tag}).status_code == 412
        assert a.api("DELETE", path, **{"If-Match": tag}).status_code == 412

    def test_put_makes_nothing_new(self, a: Owner) -> None:
        assert a.api("PUT", "charging-profiles/999999/", {"profile": PROFILE}).status_code == 404

    def test_list_is_newest_first_and_filtered_by_description(self, a: Owner) -> None:
        ids = [made(a, description=text)["id"] for text in ("one", "two", "one")]
        assert [row["id"] for row in a.api("GET", "charging-profiles/").json()["results"]] == ids[::-1]
        found = a.api("GET", "charging-profiles/?description=one").json()["results"]
        assert [row["id"] for row in found] == [ids[2], ids[0]]

    def test_changes_are_audited(self, a: Owner) -> None:
        pk = made(a)["id"]
        a.api("PUT", f"charging-profiles/{pk}/", {"profile": PROFILE | {"stackLevel": 3}, "description": "By night"})
        a.api("DELETE", f"charging-profiles/{pk}/")
        with tenant_scope(a.tenant):
            entries = AuditEntry.objects.order_by("pk")
            assert [entry.action for entry in entries] == ["create", "change", "delete"]
            assert list(entries[1].changes) == ["profile"]


class TestWhereInstalled:
    def test_charge_points_with_their_state(self, a: Owner) -> None:
        pk = made(a)["id"]
        install(a, pk, PROFILE, state="confirmed", confirmed_at=NOW)
        (row,) = a.api("GET", f"charging-profiles/{pk}/").json()["installed"]
        assert row == {
            "charge_point": "SAME", "connector_id": 1, "transaction": None, "state": "confirmed", "current": True,
            "installed_at": "2026-03-01T12:00:00.000Z", "confirmed_at": "2026-03-01T12:00:00.000Z",
        }  # fmt: skip
        listed = a.api("GET", "charging-profiles/").json()["results"]
        assert listed[0]["installed"] == [row]

    def test_copy_is_not_current_once_the_library_has_changed(self, a: Owner) -> None:
        pk = made(a, TX_PROFILE)["id"]
        install(a, pk, TX_PROFILE | {"transactionId": 5})
        assert a.api("GET", f"charging-profiles/{pk}/").json()["installed"][0]["current"] is True
        changed = a.api("PUT", f"charging-profiles/{pk}/", {"profile": TX_PROFILE | {"stackLevel": 9}})
        assert changed.json()["installed"][0]["current"] is False

    def test_deleting_leaves_what_is_installed(self, a: Owner) -> None:
        pk = made(a)["id"]
        install(a, pk, PROFILE)
        assert a.api("DELETE", f"charging-profiles/{pk}/").status_code == 204
        (row,) = a.api("GET", "charge-points/SAME/installed-profiles/").json()["results"]
        assert (row["charging_profile_id"], row["library"], row["profile"]) == (
            pk, None, {"chargingProfileId": pk, **PROFILE},
        )  # fmt: skip

    def test_installed_profiles_of_a_charge_point(self, a: Owner) -> None:
        pk = made(a, TX_PROFILE)["id"]
        row = install(a, pk, TX_PROFILE | {"transactionId": a.transaction.pk}, transaction=a.transaction)
        assert a.api("GET", "charge-points/SAME/installed-profiles/").json()["results"] == [
            {
                "id": row.pk, "charging_profile_id": pk, "library": pk, "connector_id": 1, "purpose": "TxProfile",
                "stack_level": 0, "transaction": a.transaction.pk, "state": "believed",
                "installed_at": "2026-03-01T12:00:00.000Z", "confirmed_at": None, "command": None,
                "profile": {"chargingProfileId": pk, "transactionId": a.transaction.pk, **TX_PROFILE},
            }
        ]  # fmt: skip

    def test_queries_do_not_grow_with_the_list(self, a: Owner, django_assert_max_num_queries: Any) -> None:
        for level in range(5):
            install(a, made(a, PROFILE | {"stackLevel": level})["id"], PROFILE | {"stackLevel": level})
        with django_assert_max_num_queries(12):
            rows = a.api("GET", "charging-profiles/").json()["results"]
        assert [len(row["installed"]) for row in rows] == [1] * 5


class TestSites:
    @pytest.fixture
    def limited(self, a: Owner) -> Api:
        with tenant_scope(a.tenant):
            site = Site.objects.create(slug="elsewhere", name="Elsewhere")
            ChargePoint.objects.create(identity="ELSEWHERE", site=site)
            row, key = ApiKey.issue(a.tenant, "limited", ("read", "operate", "manage"))
            row.sites.set([site])
        return Api(key)

    def test_who_is_limited_reads_the_library_but_not_where_else_it_is_installed(self, a: Owner, limited: Api) -> None:
        pk = made(a)["id"]
        install(a, pk, PROFILE)
        found = limited("GET", f"charging-profiles/{pk}/").json()
        assert (found["description"], found["installed"]) == ("By night", [])
        assert limited("GET", "charge-points/SAME/installed-profiles/").status_code == 404
        assert limited("GET", "charge-points/SAME/composite-schedule/").status_code == 404

    def test_who_is_limited_does_not_change_the_library(self, a: Owner, limited: Api) -> None:
        pk = made(a)["id"]
        for method, path in (("POST", ""), ("PUT", f"{pk}/"), ("DELETE", f"{pk}/")):
            answer = limited(method, f"charging-profiles/{path}", {"profile": PROFILE})
            assert (answer.status_code, answer.json()["code"]) == (403, "site_not_allowed")

    def test_who_is_limited_sends_from_it(self, a: Owner, limited: Api) -> None:
        body = {
            "action": "SetChargingProfile", "payload": {"connectorId": 0}, "charging_profile_id": made(a)["id"],
        }  # fmt: skip
        assert limited("POST", "charge-points/ELSEWHERE/commands/", body).status_code == 202


class TestCommands:
    path = "charge-points/SAME/commands/"

    def test_profile_of_the_library_becomes_cs_charging_profiles(self, a: Owner) -> None:
        pk = made(a)["id"]
        body = {"action": "SetChargingProfile", "payload": {"connectorId": 1}, "charging_profile_id": pk}
        answer = a.api("POST", self.path, body)
        assert answer.status_code == 202
        assert answer.json()["payload"] == {
            "connectorId": 1, "csChargingProfiles": {"chargingProfileId": pk, **PROFILE},
        }  # fmt: skip

    def test_transaction_is_put_into_a_tx_profile_of_the_library(self, a: Owner) -> None:
        pk = made(a, TX_PROFILE)["id"]
        body = {
            "action": "SetChargingProfile", "payload": {"connectorId": 1}, "charging_profile_id": pk,
            "transaction_id": a.transaction.pk,
        }  # fmt: skip
        answer = a.api("POST", self.path, body).json()
        assert answer["payload"]["csChargingProfiles"] == {
            "chargingProfileId": pk, "transactionId": a.transaction.pk, **TX_PROFILE,
        }  # fmt: skip
        assert [warning["code"] for warning in answer["warnings"]] == ["charge_point_offline"]

    def test_remote_start_takes_the_profile_without_transaction(self, a: Owner) -> None:
        pk = made(a, TX_PROFILE | {"transactionId": 0})["id"]
        body = {
            "action": "RemoteStartTransaction", "payload": {"idTag": "SameTag", "connectorId": 1},
            "charging_profile_id": pk,
        }  # fmt: skip
        answer = a.api("POST", self.path, body).json()
        assert answer["payload"] == {
            "connectorId": 1, "idTag": "SameTag", "chargingProfile": {"chargingProfileId": pk, **TX_PROFILE},
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ({"charging_profile_id": 999_999}, ("/charging_profile_id", "not_found")),
            ({"charging_profile_id": "1"}, ("/charging_profile_id", "invalid")),
            ({"action": "Reset", "payload": {"type": "Soft"}}, ("/charging_profile_id", "not_applicable")),
            (
                {"payload": {"connectorId": 1, "csChargingProfiles": PROFILE}},
                ("/payload/csChargingProfiles", "either_or"),
            ),
            ({"transaction_id": 1}, ("/transaction_id", "not_applicable")),
            ({"payload": {}}, ("/payload/connectorId", "ProtocolError")),
        ],
    )
    def test_reference_that_leads_nowhere(self, a: Owner, change: dict[str, Any], found: tuple[str, str]) -> None:
        body = {
            "action": "SetChargingProfile", "payload": {"connectorId": 1}, "charging_profile_id": made(a)["id"],
        }  # fmt: skip
        answer = a.api("POST", self.path, body | change)
        assert answer.status_code == 400
        assert pointers(answer) == [found]

    def test_remote_start_has_no_place_for_a_transaction(self, a: Owner) -> None:
        body = {
            "action": "RemoteStartTransaction", "payload": {"idTag": "T"}, "charging_profile_id": made(a)["id"],
            "transaction_id": 1,
        }  # fmt: skip
        assert pointers(a.api("POST", self.path, body)) == [("/transaction_id", "not_applicable")]

    def test_profile_of_another_tenant_does_not_exist(self, a: Owner, b: Owner) -> None:
        body = {
            "action": "SetChargingProfile", "payload": {"connectorId": 1}, "charging_profile_id": made(a)["id"],
        }  # fmt: skip
        assert pointers(b.api("POST", self.path, body)) == [("/charging_profile_id", "not_found")]
        bulk = body | {"charge_points": ["SAME"]}
        assert pointers(b.api("POST", "commands/bulk/", bulk)) == [("/charging_profile_id", "not_found")]

    def test_one_profile_for_many_charge_points(self, a: Owner) -> None:
        a.api("PUT", "charge-points/TWO/", {})
        pk = made(a)["id"]
        body = {
            "action": "SetChargingProfile", "payload": {"connectorId": 0}, "charging_profile_id": pk,
            "charge_points": ["SAME", "TWO"],
        }  # fmt: skip
        sent = a.api("POST", "commands/bulk/", body).json()["commands"]
        assert [command["payload"]["csChargingProfiles"]["chargingProfileId"] for command in sent] == [pk, pk]

    def test_odd_profile_is_taken_with_warnings_and_an_impossible_one_is_not(self, a: Owner) -> None:
        odd = TX_PROFILE | {"transactionId": a.transaction.pk, "chargingProfileId": 3}
        payload = {"connectorId": 0, "csChargingProfiles": odd}
        answer = a.api("POST", self.path, {"action": "SetChargingProfile", "payload": payload})
        assert answer.status_code == 202
        assert [warning["code"] for warning in answer.json()["warnings"]] == [
            "tx_profile_on_connector_0", "other_connector", "charge_point_offline",
        ]  # fmt: skip
        payload = {"connectorId": 0, "csChargingProfiles": odd | {"stackLevel": -1}}
        answer = a.api("POST", self.path, {"action": "SetChargingProfile", "payload": payload})
        assert pointers(answer) == [("/payload/csChargingProfiles/stackLevel", "PropertyConstraintViolation")]


class TestCompositeSchedule:
    path = "charge-points/SAME/composite-schedule/"

    def test_of_a_connector_from_a_given_instant(self, a: Owner) -> None:
        install(a, 7, PROFILE)
        query = "connector_id=1&duration=7200&unit=A&at=2026-03-01T12:00:00Z"
        assert a.api("GET", f"{self.path}?{query}").json() == {
            "connector_id": 1,
            "schedule_start": "2026-03-01T12:00:00.000Z",
            "charging_schedule": {
                "chargingRateUnit": "A",
                "duration": 7200,
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}, {"startPeriod": 3600, "limit": 16.1}],
            },
            "decisions": [{"start_period": 0, "charging_profile_ids": [7]}],
        }

    def test_tx_profile_counts_while_its_transaction_runs(self, a: Owner) -> None:
        install(a, 7, PROFILE)
        own = TX_PROFILE | {"transactionId": a.transaction.pk}
        install(a, 8, own, transaction=a.transaction)
        query = "connector_id=1&duration=60&at=2026-03-01T13:00:00Z"
        found = a.api("GET", f"{self.path}?{query}").json()
        assert found["charging_schedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 6000.0}]
        a.api("POST", f"transactions/{a.transaction.pk}/close/")
        found = a.api("GET", f"{self.path}?{query}").json()
        # 16.1 A at 230 V on three phases.
        assert found["charging_schedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 11109.0}]

    def test_without_parameters_the_whole_charge_point_for_a_day_from_now(self, a: Owner) -> None:
        found = a.api("GET", self.path).json()
        assert (found["connector_id"], found["charging_schedule"]) == (0, None)
        install(a, 7, TX_PROFILE | {"chargingProfilePurpose": "ChargePointMaxProfile"}, connector_id=0)
        found = a.api("GET", self.path).json()["charging_schedule"]
        assert (found["duration"], found["chargingRateUnit"]) == (86_400, "W")
        assert found["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 6000.0}]

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("unit=kW", "/unit"), ("duration=-1", "/duration"), ("duration=2678401", "/duration"),
            ("connector_id=x", "/connector_id"), ("at=noon", "/at"), ("connector=1", "/connector"),
        ],
    )  # fmt: skip
    def test_parameter_that_is_not_understood(self, a: Owner, query: str, pointer: str) -> None:
        answer = a.api("GET", f"{self.path}?{query}")
        assert answer.status_code == 400
        assert [found for found, _ in pointers(answer)] == [pointer]

    def test_profile_with_a_time_no_calendar_has(self, a: Owner) -> None:
        install(a, 7, PROFILE | {"validFrom": "0000-01-01T00:00:00Z"})
        answer = a.api("GET", self.path)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_computable")
