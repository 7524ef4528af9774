"""The resources of the API: what goes in, what comes out, and that another tenant's do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from stations import credentials
from stations.models import ChargePoint
from tenants.models import AuditEntry
from tenants.scope import tenant_scope
from tests.stations.api.conftest import Owner

pytestmark = pytest.mark.django_db


class TestChargePoints:
    def test_put_registers_and_shows_the_password_it_made_once(self, a: Owner) -> None:
        made = a.api("PUT", "charge-points/NEW/", {})
        assert made.status_code == 201
        password = made.json()["password"]
        with tenant_scope(a.tenant):
            stored = ChargePoint.objects.get(identity="NEW").password_hash
        assert credentials.matches(stored, password.encode(), accept_hexadecimal=False)
        assert "password" not in a.api("GET", "charge-points/NEW/").json()
        again = a.api("PUT", "charge-points/NEW/", {"description": "x"})
        assert (again.status_code, "password" in again.json()) == (200, False)

    @pytest.mark.parametrize(
        ("password", "form", "raw"),
        [("0123456789abcdef", "text", b"0123456789abcdef"), ("00" * 20, "hexadecimal", bytes(20))],
    )
    def test_given_password_is_read_as_text_or_hexadecimal(
        self, a: Owner, password: str, form: str, raw: bytes
    ) -> None:
        answer = a.api("PUT", "charge-points/NEW/", {"password": password})
        assert (answer.json()["password_form"], "password" in answer.json()) == (form, False)
        with tenant_scope(a.tenant):
            stored = ChargePoint.objects.get(identity="NEW").password_hash
        assert credentials.matches(stored, raw, accept_hexadecimal=False)

    @pytest.mark.parametrize(("path", "identity"), [("RDAM%20123", "RDAM 123"), ("A%2FB", "A/B"), ("%C3%BC", "ü")])
    def test_identity_is_percent_decoded(self, a: Owner, path: str, identity: str) -> None:
        assert a.api("PUT", f"charge-points/{path}/", {}).json()["identity"] == identity
        assert a.api("GET", f"charge-points/{path}/").json()["ocpp_url"].endswith(f"/ocpp/alpha/{path}")

    def test_put_replaces_and_patch_changes(self, a: Owner) -> None:
        a.api("PUT", "charge-points/SAME/", {"description": "one", "strict": True})
        patched = a.api("PATCH", "charge-points/SAME/", {"description": "two"}).json()
        assert (patched["description"], patched["strict"]) == ("two", True)
        replaced = a.api("PUT", "charge-points/SAME/", {}).json()
        assert (replaced["description"], replaced["strict"], replaced["site"]) == ("", False, None)

    def test_if_match_guards_against_lost_updates(self, a: Owner) -> None:
        tag = a.api("GET", "charge-points/SAME/")["ETag"]
        changed = a.api("PATCH", "charge-points/SAME/", {"description": "x"}, **{"If-Match": tag})
        assert changed.status_code == 200
        stale = a.api("PATCH", "charge-points/SAME/", {"description": "y"}, **{"If-Match": tag})
        assert stale.status_code == 412
        assert a.api("DELETE", "charge-points/SAME/", **{"If-Match": changed["ETag"]}).status_code == 409

    def test_one_without_transactions_can_be_deleted(self, a: Owner) -> None:
        a.api("PUT", "charge-points/NEW/", {})
        assert a.api("DELETE", "charge-points/NEW/").status_code == 204
        assert a.api("GET", "charge-points/NEW/").status_code == 404

    def test_connectors_with_their_transaction(self, a: Owner) -> None:
        (connector,) = a.api("GET", "charge-points/SAME/connectors/").json()["results"]
        assert (connector["status"], connector["transaction"]) == ("Charging", a.transaction.pk)

    def test_writing_is_audited_without_secrets(self, a: Owner) -> None:
        a.api("PUT", "charge-points/NEW/", {"password": "0123456789abcdef"})
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.get(object_label="NEW")
        assert (entry.actor, entry.action) == ("API key test", "create")
        assert "0123456789abcdef" not in str(entry.changes)


class TestCommands:
    def test_accepted_with_location_and_warnings(self, a: Owner) -> None:
        answer = a.api(
            "POST",
            "charge-points/SAME/commands/",
            {"action": "UnlockConnector", "payload": {"connectorId": 9}, "reason": "Stuck"},
        )
        body = answer.json()
        assert answer.status_code == 202
        assert answer["Location"].endswith(f"/api/v1/commands/{body['id']}/")
        assert (body["status"], body["reason"], body["requested_by"]) == ("queued", "Stuck", "API key test")
        assert [warning["code"] for warning in body["warnings"]] == ["unknown_connector", "charge_point_offline"]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"action": "Reset", "payload": {"type": "Medium"}}, "/payload/type"),
            ({"action": "Reset", "payload": {}}, "/payload/type"),
            ({"action": "Reset", "payload": {"type": "Soft", "x": 1}}, "/payload/x"),
            ({"action": "ChangeConfiguration", "payload": {"key": "K", "value": 60}}, "/payload/value"),
            ({"action": "MakeCoffee", "payload": {}}, "/action"),
            ({"payload": {}}, "/action"),
            ({"action": "Reset", "payload": []}, "/payload"),
        ],
    )
    def test_what_breaks_the_schema_is_pointed_at(self, a: Owner, body: Any, pointer: str) -> None:
        answer = a.api("POST", "charge-points/SAME/commands/", body)
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    def test_queued_one_can_be_withdrawn_once(self, a: Owner) -> None:
        pk = a.api("POST", "charge-points/SAME/commands/", {"action": "ClearCache"}).json()["id"]
        assert a.api("DELETE", f"commands/{pk}/").json()["status"] == "withdrawn"
        assert a.api("DELETE", f"commands/{pk}/").status_code == 409

    def test_secret_is_masked_in_the_answer(self, a: Owner) -> None:
        body = {"action": "ChangeConfiguration", "payload": {"key": "AuthorizationKey", "value": "30313233"}}
        answer = a.api("POST", "charge-points/SAME/commands/", body)
        assert answer.json()["payload"] == {"key": "AuthorizationKey", "value": "***"}
        assert "30313233" not in a.api("GET", "commands/").content.decode()

    def test_bulk_by_list_and_by_filter(self, a: Owner) -> None:
        a.api("PUT", "charge-points/TWO/", {})
        listed = a.api("POST", "commands/bulk/", {"action": "ClearCache", "charge_points": ["SAME", "TWO"]})
        assert (listed.status_code, len(listed.json()["commands"])) == (202, 2)
        found = a.api("POST", "commands/bulk/", {"action": "ClearCache", "filter": {"site": "depot"}})
        assert [command["charge_point"] for command in found.json()["commands"]] == ["SAME"]
        unknown = a.api("POST", "commands/bulk/", {"action": "ClearCache", "charge_points": ["SAME", "NOPE"]})
        assert [error["pointer"] for error in unknown.json()["errors"]] == ["/charge_points/1"]


class TestTransactions:
    def test_members_and_latest_reading(self, a: Owner) -> None:
        tx = a.api("GET", f"transactions/{a.transaction.pk}/").json()
        assert {name: tx[name] for name in ("active", "energy_wh", "power_w", "stopped_at", "started_at")} == {
            "active": True,
            "energy_wh": 500,
            "power_w": 11000.0,
            "stopped_at": None,
            "started_at": "2026-03-01T12:00:00.000Z",
        }

    @pytest.mark.parametrize(
        ("query", "number"),
        [
            ("charge_point=SAME", 1), ("charge_point=X", 0), ("id_tag=sametag", 1), ("active=true", 1),
            ("active=false", 0), ("connector_id=1", 1), ("connector_id=2", 0), ("site=depot", 1), ("site=x", 0),
            ("started_after=2026-03-01T12:00:00Z", 1), ("started_before=2026-03-01T12:00:00Z", 0),
        ],
    )  # fmt: skip
    def test_filters(self, a: Owner, query: str, number: int) -> None:
        assert len(a.api("GET", f"transactions/?{query}").json()["results"]) == number

    def test_meter_values(self, a: Owner) -> None:
        (value,) = a.api("GET", f"transactions/{a.transaction.pk}/meter-values/").json()["results"]
        assert (value["energy_wh"], value["power_w"], value["sampled_value"]) == (1500, 11000.0, [{"value": "1500"}])

    def test_operator_closes_the_record_once(self, a: Owner) -> None:
        closed = a.api("POST", f"transactions/{a.transaction.pk}/close/").json()
        assert (closed["active"], closed["energy_wh"]) == (False, 500)
        assert closed["flags"] == ["closed_by_operator", "energy_from_meter_values"]
        assert a.api("POST", f"transactions/{a.transaction.pk}/close/").status_code == 409


class TestIdTags:
    def test_case_does_not_matter_and_the_first_form_stays(self, a: Owner) -> None:
        assert a.api("GET", "id-tags/sameTAG/").json()["id_tag"] == "SameTag"
        assert a.api("PUT", "id-tags/SAMETAG/", {"status": "Blocked"}).json()["id_tag"] == "SameTag"
        assert a.api("POST", "id-tags/", {"id_tag": "sametag"}).status_code == 409

    def test_status_and_blocked_are_one(self, a: Owner) -> None:
        blocked = a.api("PATCH", "id-tags/SAMETAG/", {"blocked": True}).json()
        assert (blocked["status"], blocked["blocked"]) == ("Blocked", True)
        assert a.api("PATCH", "id-tags/SAMETAG/", {"description": "x"}).json()["status"] == "Blocked"
        assert a.api("PATCH", "id-tags/SAMETAG/", {"status": "Accepted"}).json()["blocked"] is False

    def test_all_members_come_back(self, a: Owner) -> None:
        body = {
            "expiry_date": "2030-01-01T00:00:00.000Z",
            "parent_id_tag": "FAMILY",
            "groups": ["staff"],
            "sites": ["depot"],
            "driver": "D1",
            "max_active_transactions": 2,
        }
        made = a.api("PUT", "id-tags/NEW/", body)
        assert made.status_code == 201
        assert {name: made.json()[name] for name in body} == body

    @pytest.mark.parametrize("id_tag", ["X" * 21, "a%00b"])
    def test_impossible_id_tag_is_400(self, a: Owner, id_tag: str) -> None:
        assert a.api("PUT", f"id-tags/{id_tag}/", {}).status_code == 400
