"""DataTransfer: vendors nobody has switched on, vendors that are, and AutoCharge (protocol 4.3, 6.13)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from stations.dispatch import Link
from stations.models import IdTagAlias, RefusedIdTag, VendorExtension, VendorMessage
from stations.ocpp.autocharge import identities
from stations.ocpp.data_transfers import HANDLERS
from tenants.models import ApiKey, AuditEntry, Site
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.api.conftest import Api
from tests.stations.lane_calls import inbound, messages, new_link, results
from tests.stations.rows import new_id_tag

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(tenants: Tenants) -> Link:
    return new_link(tenants.tenant_a)


@pytest.fixture
def api(tenants: Tenants) -> Api:
    return Api(ApiKey.issue(tenants.tenant_a, "test", ("read", "manage"))[1])


def send(link: Link, vendor_id: str, message_id: str | None = None, data: Any = None) -> tuple[str, str | None]:
    payload = {"vendorId": vendor_id, "messageId": message_id, "data": data}
    (conf,) = results(inbound(link, "DataTransfer", {name: v for name, v in payload.items() if v is not None}))
    return conf.status, conf.data


def switch_on(link: Link, vendor_id: str = "com.acme", **fields: Any) -> None:
    with tenant_scope(link.tenant_id):
        VendorExtension.objects.create(vendor_id=vendor_id, **fields)


class TestVendors:
    def test_vendor_that_nobody_switched_on_is_unknown_and_nothing_is_kept(self, link: Link, api: Api) -> None:
        assert send(link, "com.acme", "Hello", "text") == ("UnknownVendorId", None)
        switch_on(link, "com.acme", enabled=False)
        assert send(link, "com.acme", "Hello", "text") == ("UnknownVendorId", None)
        assert api("GET", "data-transfers/").json()["results"] == []

    def test_vendor_that_is_on_is_accepted_kept_and_shown(self, link: Link, api: Api) -> None:
        switch_on(link)
        assert send(link, "COM.acme", "Hello", "text") == ("Accepted", None)
        assert send(link, "com.acme") == ("Accepted", None)
        newest, first = api("GET", "data-transfers/").json()["results"]
        assert (first["charge_point"], first["vendor_id"], first["message_id"], first["data"], first["status"]) == (
            "CP-1", "COM.acme", "Hello", "text", "Accepted",
        )  # fmt: skip
        assert (newest["message_id"], newest["data"]) == ("", None)
        assert api("GET", "charge-points/CP-1/data-transfers/").json()["results"] == [newest, first]

    def test_unknown_message_of_a_known_vendor_is_said_and_kept(self, link: Link, api: Api) -> None:
        switch_on(link, message_ids=["Hello"])
        assert send(link, "com.acme", "hello", "x") == ("Accepted", None)
        assert send(link, "com.acme", "Other", "y") == ("UnknownMessageId", None)
        assert send(link, "com.acme") == ("UnknownMessageId", None)
        kept = api("GET", "data-transfers/?message_id=OTHER").json()["results"]
        assert [(row["data"], row["status"]) for row in kept] == [("y", "UnknownMessageId")]

    @pytest.mark.parametrize(
        ("data", "kept"),
        [({"a": [1, 2]}, '{"a":[1,2]}'), ([1], "[1]"), (5, "5"), (True, "true"), ("x" * 20_000, "x" * 20_000)],
    )
    def test_data_of_any_kind_are_kept_as_text(self, link: Link, api: Api, data: Any, kept: str) -> None:
        switch_on(link)
        assert send(link, "com.acme", "Hello", data)[0] == "Accepted"
        assert api("GET", "data-transfers/").json()["results"][0]["data"] == kept

    @pytest.mark.parametrize(
        ("data", "kept"),
        [
            ({"ssid": "x", "wifiPassword": "tajna"}, '{"ssid":"x","wifiPassword":"***"}'),
            (
                '{"list": [{"key": "WiFiPassword", "value": "tajna"}]}',
                '{"list":[{"key":"WiFiPassword","value":"***"}]}',
            ),
            ({"pin": 1234, "a": {"token": "tajna"}}, '{"pin":"***","a":{"token":"***"}}'),
            ('{ "ssid":"x" }', '{ "ssid":"x" }'),
            ("{broken", "{broken"),
        ],
    )
    def test_secrets_in_json_are_not_kept(self, link: Link, api: Api, data: Any, kept: str) -> None:
        switch_on(link)
        assert send(link, "com.acme", "Hello", data)[0] == "Accepted"
        assert api("GET", "data-transfers/").json()["results"][0]["data"] == kept
        logged = [payload for _, kind, _, payload, _ in messages(link) if kind == "CALL"]
        assert "tajna" not in str(logged)
        assert "1234" not in str(logged)

    def test_search_by_text_vendor_charge_point_and_time(self, tenants: Tenants, link: Link, api: Api) -> None:
        switch_on(link)
        switch_on(link, "org.other")
        send(link, "com.acme", "A", {"serial": "Z-77"})
        send(new_link(tenants.tenant_a, "CP-2"), "org.other", "B", "nothing")

        def found(query: str) -> list[str]:
            return [row["message_id"] for row in api("GET", f"data-transfers/?{query}").json()["results"]]

        assert found("q=z-77") == ["A"]
        assert found("vendor_id=ORG.OTHER") == ["B"]
        assert found("charge_point=CP-1") == ["A"]
        assert found("since=2020-01-01T00:00:00Z") == ["B", "A"]
        assert found("until=2020-01-01T00:00:00Z") == []
        assert api("GET", "data-transfers/?strange=1").status_code == 400

    def test_one_tenants_vendors_are_not_anothers(self, tenants: Tenants, link: Link, api: Api) -> None:
        switch_on(link)
        other = new_link(tenants.tenant_b)
        assert send(other, "com.acme", "Hello", "secret") == ("UnknownVendorId", None)
        switch_on(other, "org.b")
        assert send(other, "org.b", "Hello", "secret")[0] == "Accepted"
        assert api("GET", "data-transfers/").json()["results"] == []

    def test_queries_do_not_grow_with_the_batch(self, tenants: Tenants, link: Link) -> None:
        tenants.tenant_a.autocharge_enabled = True
        tenants.tenant_a.save()
        switch_on(link)
        with tenant_scope(link.tenant_id):
            for number in range(20):
                new_id_tag(f"VID:AABBCCDDEE{number:02}")

        def queries(number: int) -> int:
            calls = []
            for n in range(number):
                calls.append(inbound(link, "DataTransfer", {"vendorId": "com.acme", "data": str(n)}, f"a{n}"))
                data = {"mac": f"aa:bb:cc:dd:ee:{n:02}"}
                payload = {"vendorId": "x", "messageId": "AutoCharge", "data": data}
                calls.append(inbound(link, "DataTransfer", payload, f"b{n}"))
            with CaptureQueriesContext(connection) as captured:
                answers = results(*calls)
            assert {answer.status for answer in answers} == {"Accepted"}
            return len([query for query in captured if "SAVEPOINT" not in str(query["sql"])])

        queries(1)
        assert queries(20) == queries(1)


class TestExtensions:
    def test_are_made_changed_and_deleted_with_a_trace(self, tenants: Tenants, link: Link, api: Api) -> None:
        made = api("POST", "vendor-extensions/", {"vendor_id": "com.acme", "message_ids": ["A"]})
        assert (made.status_code, made.json()["enabled"], made.json()["message_ids"]) == (201, True, ["A"])
        path = made["Location"].partition("/api/v1/")[2]
        again = api("POST", "vendor-extensions/", {"vendor_id": "COM.ACME"})
        assert (again.status_code, again.json()["errors"][0]["pointer"]) == (400, "/vendor_id")
        assert api("PATCH", path, {"enabled": False}).json()["enabled"] is False
        assert send(link, "com.acme", "A") == ("UnknownVendorId", None)
        assert api("PUT", path, {"vendor_id": "com.acme"}).json()["message_ids"] == []
        assert send(link, "com.acme", "B") == ("Accepted", None)
        assert api("GET", "vendor-extensions/").json()["results"] == [api("GET", path).json()]
        assert api("DELETE", path).status_code == 204
        assert send(link, "com.acme", "B") == ("UnknownVendorId", None)
        with tenant_scope(tenants.tenant_a):
            actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
            assert actions == ["create", "change", "change", "delete"]
            assert VendorMessage.objects.count() == 1

    def test_whoever_is_limited_to_sites_changes_none(self, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            site = Site.objects.create(slug="x", name="X")
        limited = Api(ApiKey.issue(tenants.tenant_a, "limited", ("read", "manage"), sites=[site])[1])
        assert limited("POST", "vendor-extensions/", {"vendor_id": "x"}).status_code == 403


class TestAutoCharge:
    @pytest.fixture(autouse=True)
    def _switched_on(self, tenants: Tenants) -> None:
        tenants.tenant_a.autocharge_enabled = True
        tenants.tenant_a.save()

    @pytest.mark.parametrize(
        "data",
        [
            "VID:AABBCCDDEEFF", "aa:bb:cc:dd:ee:ff", {"evccid": "AABBCCDDEEFF"}, {"EVCC_ID": "aa-bb-cc-dd-ee-ff"},
            '{"connectorId": 1, "vehicle": {"macAddress": "AABBCCDDEEFF"}}', {"vin": "WVWZZZ1JZXW000001"},
            {"vin": "VIN:wvwzzz1jzxw000001", "mac": "000000000000"}, '"VID:AABBCCDDEEFF"',
        ],
    )  # fmt: skip
    def test_registered_vehicle_is_authorised_in_the_answers_data(self, link: Link, data: Any) -> None:
        with tenant_scope(link.tenant_id):
            tag = new_id_tag("AA:BB:CC:DD:EE:FF", parent_id_tag="FLEET")
            IdTagAlias.objects.create(id_tag=tag, alias="WVWZZZ1JZXW000001")
        status, answer = send(link, "org.any", "AutoCharge", data)
        assert status == "Accepted"
        assert json.loads(answer or "") == {
            "idTag": "AA:BB:CC:DD:EE:FF", "idTagInfo": {"parentIdTag": "FLEET", "status": "Accepted"},
        }  # fmt: skip

    def test_unknown_and_blocked_vehicles_are_refused_and_listed(self, link: Link, api: Api) -> None:
        with tenant_scope(link.tenant_id):
            new_id_tag("AABBCCDDEEFF", blocked=True)
        for data, expected in (("VID:001122334455", "Invalid"), ("VID:AABBCCDDEEFF", "Blocked")):
            status, answer = send(link, "AutoCharge", "Authorize", data)
            assert (status, json.loads(answer or "")["idTagInfo"]) == ("Accepted", {"status": expected})
        listed = api("GET", "refused-id-tags/").json()["results"]
        assert {(row["id_tag"], row["reason"], row["action"]) for row in listed} == {
            ("VID:001122334455", "unknown", "DataTransfer"), ("VID:AABBCCDDEEFF", "blocked", "DataTransfer"),
        }  # fmt: skip
        kept = api("GET", "data-transfers/").json()["results"]
        assert [row["data"] for row in kept] == ["VID:AABBCCDDEEFF", "VID:001122334455"]

    def test_data_without_a_vehicle_are_rejected(self, link: Link) -> None:
        for data in (None, "", {"soc": 12}, {"mac": {}}, "x" * 40):
            assert send(link, "org.any", "AutoCharge", data) == ("Rejected", None)

    def test_unknown_message_of_its_vendor_is_said(self, link: Link) -> None:
        assert send(link, "AutoCharge", "Dance") == ("UnknownMessageId", None)

    def test_off_it_is_an_ordinary_message(self, tenants: Tenants, link: Link) -> None:
        tenants.tenant_a.autocharge_enabled = False
        tenants.tenant_a.save()
        with tenant_scope(link.tenant_id):
            new_id_tag("AABBCCDDEEFF")
        assert send(link, "AutoCharge", "Authorize", "VID:AABBCCDDEEFF") == ("UnknownVendorId", None)
        switch_on(link, "org.any")
        assert send(link, "org.any", "AutoCharge", "VID:AABBCCDDEEFF") == ("Accepted", None)
        with tenant_scope(link.tenant_id):
            assert not RefusedIdTag.objects.exists()

    @pytest.mark.parametrize(
        ("data", "found"),
        [
            ('{"vin":"WVWZZZ1JZXW000001","mac":"aa:bb:cc:dd:ee:ff"}', ["WVWZZZ1JZXW000001", "aa:bb:cc:dd:ee:ff"]),
            ('[{"vid":"VID:AABBCCDDEEFF"},{"vid":"VID:AABBCCDDEEFF"}]', ["VID:AABBCCDDEEFF"]),
            ('{"mac":"VID:AA:BB:CC:DD:EE:FF"}', ["AABBCCDDEEFF"]),
            ('{"power":"11000","connectorId":1}', []),
            ("4711", ["4711"]),
            ("[[[[[[\"A\"]]]]]]", []),
        ],
    )  # fmt: skip
    def test_identities_of_the_data(self, data: str, found: list[str]) -> None:
        assert identities(data) == found


def test_table_names_each_message_once() -> None:
    for known in HANDLERS.values():
        assert len({message_id.upper() for message_id in known}) == len(known)
    assert len({vendor_id.upper() for vendor_id in HANDLERS}) == len(HANDLERS)
