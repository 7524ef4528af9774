"""The resources of the API: what goes in, what comes out, and that another tenant's do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from stations import credentials
from stations.models import ChargePoint
from tenants.models import AuditEntry
from tenants.scope import tenant_scope
from tests.stations.api.conftest import Owner
from tests.stations.rows import HOUR, MINUTE, NOW, meter_values, start, stop

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

    def test_how_stop_and_readings_were_matched(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            charge_point = ChargePoint.objects.select_related("tenant").get(identity="SAME")
            meter_values(charge_point, {"value": "2100"}, transaction_id=-1, now=NOW + 5 * MINUTE)
            stop(charge_point, -1, meter_stop=2500)
        tx = a.api("GET", f"transactions/{a.transaction.pk}/").json()
        assert {name: tx[name] for name in ("matched_by", "stop_transaction_id", "candidates", "duplicate_of")} == {
            "matched_by": "only_candidate",
            "stop_transaction_id": "-1",
            "candidates": [],
            "duplicate_of": None,
        }
        values = a.api("GET", f"transactions/{a.transaction.pk}/meter-values/").json()["results"]
        assert [(value["matched_by"], value["transaction_id_sent"]) for value in values] == [
            ("connector", "-1"), ("transaction_id", None),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "energies"),
        [
            ("", [700, 600, 1500, 50]), ("connector_id=1", [1500, 50]), ("connector_id=2", [700, 600]),
            ("transaction=none", [700, 600, 50]), ("since=2026-03-01T12:30:00Z", [700, 600]),
            ("until=2026-03-01T12:00:00Z", [50]), ("since=2026-03-01T12:00:00Z&until=2026-03-01T13:00:00Z", [1500]),
            ("connector_id=2&since=2026-03-01T13:30:00Z", [700]),
        ],
    )  # fmt: skip
    def test_readings_by_charge_point_connector_and_time(self, a: Owner, query: str, energies: list[int]) -> None:
        sampled = {"value": "600", "unit": "Wh", "format": "Raw", "vendorNote": "x"}
        with tenant_scope(a.tenant):
            charge_point = ChargePoint.objects.select_related("tenant").get(identity="SAME")
            meter_values(charge_point, sampled, connector_id=2, now=NOW + HOUR)
            meter_values(charge_point, {"value": "700"}, connector_id=2, now=NOW + 2 * HOUR)
            meter_values(charge_point, {"value": "50"}, connector_id=1, now=NOW - HOUR)
        found = a.api("GET", f"charge-points/SAME/meter-values/?{query}").json()["results"]
        assert [value["energy_wh"] for value in found] == energies
        by_energy = {value["energy_wh"]: value for value in found}
        if 600 in by_energy:
            assert by_energy[600]["sampled_value"] == [sampled]
            assert (by_energy[600]["transaction"], by_energy[600]["matched_by"]) == (None, None)
        if 1500 in by_energy:
            assert by_energy[1500]["transaction"] == a.transaction.pk

    def test_readings_of_one_transaction_at_its_charge_point(self, a: Owner) -> None:
        path = "charge-points/SAME/meter-values/"
        assert len(a.api("GET", f"{path}?transaction={a.transaction.pk}").json()["results"]) == 1
        answer = a.api("GET", f"{path}?transaction=x")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/transaction")
        assert a.api("GET", "charge-points/NOBODY/meter-values/").status_code == 404

    def test_stop_that_several_could_have_had_names_its_candidates(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            charge_point = ChargePoint.objects.select_related("tenant").get(identity="SAME")
            other = start(charge_point, connector_id=2, id_tag="SAMETAG").transaction_id
            stop(charge_point, -1)
        (kept,) = [tx for tx in a.api("GET", "transactions/").json()["results"] if "orphan_stop" in tx["flags"]]
        assert (kept["candidates"], kept["matched_by"]) == ([a.transaction.pk, other], None)
        assert a.api("GET", f"transactions/{other}/").json()["candidates"] == [kept["id"]]

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
