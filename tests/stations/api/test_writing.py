"""Writing charge points, id tags and commands: what a change touches, and what it must leave alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from stations import commands, registration
from stations.api import commands as commands_api
from stations.api import waiting
from stations.models import ChargePoint, Command, IdTag, Transaction
from tenants.models import AuditEntry
from tenants.scope import tenant_scope
from tests.stations.api.conftest import NOW, Owner

pytestmark = pytest.mark.django_db


def pointers(response: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


class TestChargePoint:
    def test_what_was_read_can_be_sent_back(self, a: Owner) -> None:
        a.api("PATCH", "charge-points/SAME/", {"password": "0123456789abcdef"})
        for path in ("charge-points/SAME/", "id-tags/SAMETAG/"):
            read = a.api("GET", path)
            sent_back = a.api("PUT", path, read.json(), **{"If-Match": read["ETag"]})
            assert sent_back.status_code == 200
            assert sent_back["ETag"] == read["ETag"]
            assert sent_back.json() | {"updated_at": None} == read.json() | {"updated_at": None}

    def test_change_leaves_the_connection_alone(self, a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        check = registration.check

        def check_while_it_connects(charge_point: ChargePoint, tenant: Any) -> None:
            # The row has been read for the change; now a handshake raises its generation.
            ChargePoint.objects.filter(pk=charge_point.pk).update(connection_generation=7, connected=True)
            check(charge_point, tenant)

        monkeypatch.setattr(registration, "check", check_while_it_connects)
        assert a.api("PATCH", "charge-points/SAME/", {"description": "x"}).status_code == 200
        with tenant_scope(a.tenant):
            row = ChargePoint.objects.get()
        assert (row.description, row.connection_generation, row.connected) == ("x", 7, True)

    def test_boot_does_not_change_the_tag_but_a_password_does(self, a: Owner) -> None:
        tag = a.api("GET", "charge-points/SAME/")["ETag"]
        with tenant_scope(a.tenant):
            charge_point = ChargePoint.objects.get()
            charge_point.vendor, charge_point.booted_at, charge_point.connected = "V", NOW, True
            charge_point.save()
        assert a.api("GET", "charge-points/SAME/")["ETag"] == tag
        a.api("PATCH", "charge-points/SAME/", {"password": "0123456789abcdef"})
        assert a.api("GET", "charge-points/SAME/")["ETag"] != tag

    def test_if_none_match_only_creates(self, a: Owner) -> None:
        headers = {"If-None-Match": "*"}
        assert a.api("PUT", "charge-points/SAME/", {}, **headers).status_code == 412
        assert a.api("PUT", "charge-points/NEW/", {}, **headers).status_code == 201
        assert a.api("PUT", "charge-points/OTHER/", {}, **{"If-Match": "*"}).status_code == 412

    def test_post_registers_and_says_where(self, a: Owner) -> None:
        made = a.api("POST", "charge-points/", {"identity": "A/B 1"})
        assert (made.status_code, made["Location"]) == (201, "http://testserver/api/v1/charge-points/A%2FB%201/")
        assert made["ETag"] == a.api("GET", "charge-points/A%2FB%201/")["ETag"]
        taken = a.api("POST", "charge-points/", {"identity": "A/B 1"})
        assert (taken.status_code, taken.json()["code"]) == (409, "identity_taken")
        assert pointers(a.api("POST", "charge-points/", {})) == [("/identity", "required")]

    @pytest.mark.parametrize("identity", ["", "x" * 49, "a\tb", "a\nb", "\u202e"])
    def test_impossible_identity_is_400(self, a: Owner, identity: str) -> None:
        assert pointers(a.api("POST", "charge-points/", {"identity": identity}))[0][0] == "/identity"

    def test_colon_cannot_go_with_a_password(self, a: Owner) -> None:
        refused = a.api("PUT", "charge-points/A:B/", {"security_profile": 1})
        assert pointers(refused) == [("/identity", "colon_in_identity")]
        made = a.api("PUT", "charge-points/A:B/", {"security_profile": 3})
        assert (made.status_code, "password" in made.json(), made.json()["has_password"]) == (201, False, False)
        assert a.api("PATCH", "charge-points/A:B/", {"security_profile": 2}).status_code == 400

    @pytest.mark.parametrize(("method", "path"), [("PUT", "charge-points/FACTORY/"), ("POST", "charge-points/")])
    def test_factory_password_is_taken_with_a_warning_where_the_tenant_switches_that_on(
        self, a: Owner, method: str, path: str
    ) -> None:
        body = {"password": "73519264"} | ({"identity": "FACTORY"} if method == "POST" else {})
        refused = a.api(method, path, body)
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["pointer"], error["code"]) == (400, "/password", "invalid_password")
        assert "Allow weak passwords" in error["detail"]
        a.tenant.allow_weak_passwords = True
        a.tenant.save()
        made = a.api(method, path, body)
        assert (made.status_code, [each["code"] for each in made.json()["warnings"]]) == (201, ["weak_password"])
        assert b"73519264" not in made.content
        # Typed, so hashed slowly.
        with tenant_scope(a.tenant):
            assert ChargePoint.objects.get(identity="FACTORY").password_hash.startswith("scrypt$")
        assert "warnings" not in a.api("GET", "charge-points/FACTORY/").json()

    def test_new_charge_point_may_come_with_a_higher_profile_unless_that_is_said(self, a: Owner) -> None:
        assert a.api("PUT", "charge-points/FREE/", {}).json()["exact_security_profile"] is False
        assert a.api("PUT", "charge-points/JUST/", {"exact_security_profile": True}).json()["exact_security_profile"]
        # Left out, it stays.
        assert a.api("PUT", "charge-points/JUST/", {}).json()["exact_security_profile"] is True
        changed = a.api("PATCH", "charge-points/JUST/", {"exact_security_profile": False}).json()
        assert changed["exact_security_profile"] is False

    def test_profile_that_needs_a_password_gets_one(self, a: Owner) -> None:
        a.api("PUT", "charge-points/NEW/", {"security_profile": 0})
        changed = a.api("PATCH", "charge-points/NEW/", {"security_profile": 2}).json()
        assert len(changed["password"]) == 20
        # Nobody has said where TLS is spoken.
        assert (changed["ocpp_url"], "CSMS_WSS_URL" in changed["ocpp_url_warning"]) == (None, True)
        assert "password" not in a.api("PUT", "charge-points/NEW/", {"security_profile": 1}).json()

    def test_limit_of_the_tenant_holds(self, a: Owner) -> None:
        a.tenant.max_charge_points = 1
        a.tenant.save()
        refused = a.api("PUT", "charge-points/NEW/", {})
        assert (refused.status_code, refused.json()["code"]) == (409, "charge_point_limit")
        assert a.api("PUT", "charge-points/SAME/", {}).status_code == 200

    def test_disabling_ends_the_connection(self, a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        rung: list[list[int]] = []
        monkeypatch.setattr(commands, "ring_on_commit", rung.append)
        a.api("PATCH", "charge-points/SAME/", {"disabled": True})
        assert rung == []
        with tenant_scope(a.tenant):
            ChargePoint.objects.update(connected=True)
        a.api("PATCH", "charge-points/SAME/", {"disabled": True})
        assert rung == [[a.charge_point.pk]]

    def test_audit_says_what_became_of_each_member(self, a: Owner) -> None:
        a.api("PATCH", "charge-points/SAME/", {"site": None, "strict": True, "description": ""})
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.get()
        assert (entry.action, entry.object_label) == ("change", "SAME")
        assert entry.changes["site"] == ["depot", None]
        assert entry.changes["strict"] == [False, True]
        assert "description" not in entry.changes


class TestIdTag:
    def test_put_without_a_status_accepts(self, a: Owner) -> None:
        a.api("PATCH", "id-tags/SameTag/", {"status": "Blocked"})
        assert a.api("PUT", "id-tags/SameTag/", {}).json()["status"] == "Accepted"

    def test_status_and_blocked_must_not_contradict_each_other(self, a: Owner) -> None:
        for body in ({"status": "Blocked", "blocked": False}, {"status": "Accepted", "blocked": True}):
            for method in ("PUT", "PATCH"):
                refused = a.api(method, "id-tags/SameTag/", body)
                assert pointers(refused) == [("/blocked", "contradiction")]
        assert a.api("PUT", "id-tags/SameTag/", {"status": "Blocked", "blocked": True}).json()["status"] == "Blocked"

    def test_identity_of_the_body_may_differ_in_case_only(self, a: Owner) -> None:
        assert a.api("PATCH", "id-tags/SameTag/", {"id_tag": "SAMETAG"}).json()["id_tag"] == "SameTag"
        assert pointers(a.api("PATCH", "id-tags/SameTag/", {"id_tag": "X"})) == [("/id_tag", "id_tag_mismatch")]

    def test_letters_that_grow_in_upper_case(self, a: Owner) -> None:
        assert a.api("PUT", f"id-tags/{'ß' * 20}/", {}).status_code == 201
        assert a.api("GET", f"id-tags/{'SS' * 20}/").json()["id_tag"] == "ß" * 20

    def test_unknown_one_is_404(self, a: Owner) -> None:
        for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
            assert a.api(method, "id-tags/NOBODY/", body).status_code == 404

    def test_deleting_keeps_its_transactions(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            Transaction.objects.update(id_tag_row=IdTag.objects.get())
        assert a.api("DELETE", "id-tags/SameTag/").status_code == 204
        assert a.api("GET", f"transactions/{a.transaction.pk}/").json()["id_tag"] == "SameTag"


class TestCommand:
    PATH = "charge-points/SAME/commands/"

    def test_transaction_is_put_into_the_payload(self, a: Owner) -> None:
        body = {"action": "RemoteStopTransaction", "transaction_id": a.transaction.pk}
        assert a.api("POST", self.PATH, body).json()["payload"] == {"transactionId": a.transaction.pk}
        refused = a.api("POST", self.PATH, {"action": "ClearCache", "transaction_id": 1})
        assert pointers(refused) == [("/transaction_id", "not_applicable")]

    def test_transaction_is_put_into_a_tx_profile(self) -> None:
        payload = {"connectorId": 1, "csChargingProfiles": {"chargingProfilePurpose": "TxProfile"}}
        changed = commands_api.with_transaction("SetChargingProfile", payload, 5)
        assert changed["csChargingProfiles"] == {"chargingProfilePurpose": "TxProfile", "transactionId": 5}
        assert "transactionId" not in payload["csChargingProfiles"]

    def test_life_may_be_chosen(self, a: Owner) -> None:
        body = {"action": "ClearCache", "time_to_live_seconds": 90}
        command = a.api("POST", self.PATH, body).json()
        life = datetime.fromisoformat(command["expires_at"]) - datetime.fromisoformat(command["created_at"])
        assert life == timedelta(seconds=90)

    def test_disabled_charge_point_is_409(self, a: Owner) -> None:
        a.api("PATCH", "charge-points/SAME/", {"disabled": True})
        refused = a.api("POST", self.PATH, {"action": "ClearCache"})
        assert (refused.status_code, refused.json()["code"]) == (409, "charge_point_disabled")

    @pytest.mark.parametrize("wait", ["-1", "61", "1.5", "x", "", "%00", "99999999999999999999"])
    def test_bad_wait_is_400_and_nothing_is_queued(self, a: Owner, wait: str) -> None:
        assert a.api("POST", f"{self.PATH}?wait={wait}", {"action": "ClearCache"}).status_code == 400
        with tenant_scope(a.tenant):
            assert not Command.objects.exists()

    def test_wait_ends_when_the_command_is_final(self, a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        looks: list[float] = []

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                Command.objects.update(status="answered", response={"status": "Accepted"}, answered_at=NOW)

        monkeypatch.setattr(waiting.time, "sleep", sleep)
        answer = a.api("POST", f"{self.PATH}?wait=60", {"action": "ClearCache"})
        assert (answer.status_code, answer.json()["status"], len(looks)) == (202, "answered", 3)
        assert answer.json()["response"] == {"status": "Accepted"}

    def test_wait_ends_with_its_time_or_the_process(self, a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(0, 1000, 5))
        monkeypatch.setattr(waiting.time, "monotonic", lambda: float(next(clock)))
        monkeypatch.setattr(waiting.time, "sleep", lambda seconds: None)
        pk = a.api("POST", self.PATH, {"action": "ClearCache"}).json()["id"]
        assert a.api("GET", f"commands/{pk}/?wait=20").json()["status"] == "queued"
        monkeypatch.setattr(waiting.connections, "any_stopping", lambda: True)
        assert a.api("GET", f"commands/{pk}/?wait=60").json()["status"] == "queued"

    def test_query_parameters_belong_to_their_method(self, a: Owner) -> None:
        assert pointers(a.api("GET", f"{self.PATH}?wait=1")) == [("/wait", "unknown_parameter")]
        assert pointers(a.api("POST", f"{self.PATH}?action=x", {"action": "ClearCache"})) == [
            ("/action", "unknown_parameter")
        ]

    def test_filters(self, a: Owner) -> None:
        pk = a.api("POST", self.PATH, {"action": "ClearCache"}).json()["id"]
        a.api("DELETE", f"commands/{pk}/")
        a.api("POST", self.PATH, {"action": "Reset", "payload": {"type": "Soft"}})
        for query, actions in (
            ("status=withdrawn", ["ClearCache"]),
            ("action=Reset", ["Reset"]),
            ("charge_point=SAME", ["Reset", "ClearCache"]),
            ("charge_point=NOBODY", []),
            ("batch=1", []),
        ):
            assert [row["action"] for row in a.api("GET", f"commands/?{query}").json()["results"]] == actions
        assert a.api("GET", "commands/?status=nonsense").status_code == 400

    def test_withdrawing_is_audited(self, a: Owner) -> None:
        pk = a.api("POST", self.PATH, {"action": "ClearCache"}).json()["id"]
        a.api("DELETE", f"commands/{pk}/")
        with tenant_scope(a.tenant):
            assert AuditEntry.objects.get().action == "withdraw"


class TestBulk:
    PATH = "commands/bulk/"

    def test_disabled_ones_are_named(self, a: Owner) -> None:
        a.api("PUT", "charge-points/OFF/", {"disabled": True})
        answer = a.api("POST", self.PATH, {"action": "ClearCache", "filter": {}})
        body = answer.json()
        assert [command["charge_point"] for command in body["commands"]] == ["SAME"]
        assert body["skipped"] == [{"charge_point": "OFF", "code": "charge_point_disabled"}]
        assert answer["Location"] == f"http://testserver/api/v1/commands/?batch={body['id']}"
        listed = a.api("GET", f"commands/?batch={body['id']}").json()["results"]
        assert [command["id"] for command in listed] == [command["id"] for command in body["commands"]]

    @pytest.mark.parametrize("wanted", [{"vendor": "nobody"}, {}])
    def test_bad_request_is_refused_whoever_it_is_for(self, a: Owner, wanted: Any) -> None:
        bad = {"action": "Reset", "payload": {"type": "Medium"}, "filter": wanted}
        assert pointers(a.api("POST", self.PATH, bad))[0][0] == "/payload/type"
        assert pointers(a.api("POST", self.PATH, {"action": "Nonsense", "filter": wanted}))[0][0] == "/action"

    def test_nobody_found_is_an_empty_batch(self, a: Owner) -> None:
        answer = a.api("POST", self.PATH, {"action": "ClearCache", "filter": {"vendor": "nobody"}})
        assert (answer.status_code, answer.json()["commands"]) == (202, [])

    @pytest.mark.parametrize(
        "body", [{}, {"charge_points": ["SAME"], "filter": {}}, {"charge_points": []}, {"filter": {"colour": "red"}}]
    )
    def test_either_a_list_or_a_filter(self, a: Owner, body: Any) -> None:
        assert a.api("POST", self.PATH, {"action": "ClearCache", **body}).status_code == 400


class TestClose:
    def test_reason_is_kept_in_the_audit_log(self, a: Owner) -> None:
        a.api("POST", f"transactions/{a.transaction.pk}/close/", {"reason": "Station was scrapped"})
        with tenant_scope(a.tenant):
            assert AuditEntry.objects.get().changes == {"reason": ["", "Station was scrapped"]}

    def test_unknown_member_is_400(self, a: Owner) -> None:
        assert pointers(a.api("POST", f"transactions/{a.transaction.pk}/close/", {"x": 1})) == [
            ("/x", "unknown_member")
        ]

    def test_body_is_optional(self, a: Owner) -> None:
        assert a.api("POST", f"transactions/{a.transaction.pk}/close/").status_code == 200


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        # Key, sites the caller is limited to, the rows; what is fetched beside them: connectors, transactions and open
        # changes of the password of charge points, sites and aliases of id tags, sites of keys, the charge point in the
        # path and what runs at its connectors.
        ("charge-points/", 6), ("charge-points/SAME/", 7), ("charge-points/SAME/connectors/", 5),
        ("charge-points/SAME/configuration/", 4), ("charge-points/SAME/commands/", 4),
        ("charge-points/SAME/messages/", 4), ("charge-points/SAME/connection-attempts/", 4), ("commands/", 3),
        ("connection-attempts/", 3), ("id-tags/", 5), ("transactions/", 3), ("sites/", 3), ("api-keys/", 4),
    ],
)  # fmt: skip
def test_number_of_queries(a: Owner, path: str, queries: int, django_assert_num_queries: Any) -> None:
    a.api("POST", "charge-points/SAME/commands/", {"action": "ClearCache"})
    with tenant_scope(a.tenant):
        for number in range(3):
            ChargePoint.objects.create(identity=f"N{number}", site=a.charge_point.site)
            IdTag.objects.create(id_tag=f"N{number}")
    # The use of a key is noted once a minute; the first request has done so.
    with django_assert_num_queries(queries):
        assert a.api("GET", path).status_code == 200


class TestWithdrawingABatch:
    def test_only_what_is_queued_is_withdrawn(self, a: Owner, b: Owner) -> None:
        a.api("PUT", "charge-points/TWO/", {})
        body = {"action": "Reset", "payload": {"type": "Soft"}, "charge_points": ["SAME", "TWO"]}
        sent = a.api("POST", "commands/bulk/", body).json()
        with tenant_scope(a.tenant):
            Command.objects.filter(pk=sent["commands"][0]["id"]).update(status="sent")
        path = f"commands/?batch={sent['id']}"
        assert b.api("DELETE", path).status_code == 404
        answer = a.api("DELETE", path)
        assert (answer.status_code, answer.json()) == (
            200,
            {"batch": sent["id"], "withdrawn": 1, "not_queued": 1},
        )
        listed = a.api("GET", path).json()["results"]
        assert sorted(command["status"] for command in listed) == ["sent", "withdrawn"]

    def test_batch_has_to_be_named(self, a: Owner) -> None:
        answer = a.api("DELETE", "commands/")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/batch")
        assert a.api("DELETE", "commands/?batch=1&status=queued").status_code == 400
