"""Local lists at the admin: what is filled in is what is sent, and the page says how the charge point stands to it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from ocpp.v16 import call_result

from stations import local_auth_lists
from stations.local_auth_lists import Source
from stations.models import ChargePoint, Command, ConfigurationKey, IdTag, LocalAuthList
from stations.models.local_auth_list import ListSource
from stations.ocpp import local_auth_list_management as profile
from tenants.models import AuditEntry, Site, Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import NOW, new_charge_point, new_id_tag, wire

ACCEPTED = {"status": "Accepted"}


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "owner", username="olga")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point(site=Site.objects.create(slug="depot", name="Depot"))


def dialog(client: Client, name: str, charge_point: ChargePoint, **fields: Any) -> Any:
    return submit(client, f"stations_chargepoint_{name}", charge_point.pk, **fields)


def send(client: Client, charge_point: ChargePoint, **fields: Any) -> Any:
    return dialog(client, "send_local_list", charge_point, **{"update_type": "Full"} | fields)


def want(charge_point: ChargePoint, *tags: IdTag) -> None:
    local_auth_lists.want(charge_point, Source(ListSource.ID_TAGS, id_tags=[tag.pk for tag in tags]), NOW)


def answer(status: str = "Accepted") -> None:
    for command in Command.objects.filter(action="SendLocalList", status="queued").order_by("id"):
        profile.send_local_list_conf(command, call_result.SendLocalList(status=status), datetime.now(UTC))
        Command.objects.filter(pk=command.pk).update(status="answered", response={"status": status})


def panel(client: Client, charge_point: ChargePoint) -> str:
    return text_of(client.get(url("stations_chargepoint_panel", charge_point.pk, "local_list")))


class TestSendTheseIdTags:
    @pytest.mark.parametrize(
        ("fields", "payload"),
        [
            ({"id_tags": ""}, {"listVersion": 1}),
            ({"id_tags": "", "list_version": "7"}, {"listVersion": 7}),
            ({"id_tags": "", "entries": "[]"}, {"listVersion": 1, "localAuthorizationList": []}),
            (
                {"id_tags": "a\r\n\r\n B \r\n"},
                {
                    "listVersion": 1,
                    "localAuthorizationList": [
                        {"idTag": "a", "idTagInfo": {"parentIdTag": "P", "status": "Accepted"}},
                        {"idTag": "B", "idTagInfo": {"status": "Blocked"}},
                    ],
                },
            ),
            (
                {"id_tags": "NOBODY", "info": "Accepted"},
                {"listVersion": 1, "localAuthorizationList": [{"idTag": "NOBODY", "idTagInfo": ACCEPTED}]},
            ),
            (
                {
                    "id_tags": "A", "info": "Expired", "expiry_date": "2026-03-01T12:00", "parent_id_tag": "Q",
                    "update_type": "Differential",
                },
                {
                    "listVersion": 1,
                    "localAuthorizationList": [
                        {
                            "idTag": "A",
                            "idTagInfo": {"expiryDate": wire(NOW), "parentIdTag": "Q", "status": "Expired"},
                        }
                    ],
                },
            ),
            (
                {"id_tags": "A", "removed": "B\nC", "update_type": "Differential", "info": "Accepted"},
                {
                    "listVersion": 1,
                    "localAuthorizationList": [
                        {"idTag": "A", "idTagInfo": ACCEPTED}, {"idTag": "B"}, {"idTag": "C"},
                    ],
                },
            ),
            (
                {"id_tags": "A", "info": "none"},
                {"listVersion": 1, "localAuthorizationList": [{"idTag": "A"}]},
            ),
            (
                {"entries": '[{"idTag": "A", "idTagInfo": {"status": "ConcurrentTx"}}]', "list_version": "0"},
                {
                    "listVersion": 0,
                    "localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "ConcurrentTx"}}],
                },
            ),
        ],
    )  # fmt: skip
    def test_payload_is_exactly_what_was_filled_in(
        self, owner: Client, charge_point: ChargePoint, fields: dict[str, str], payload: dict[str, Any]
    ) -> None:
        new_id_tag("A", parent_id_tag="P")
        new_id_tag("b", blocked=True)
        response = send(owner, charge_point, **fields)
        command = Command.objects.get()
        assert command.payload == payload | {"updateType": fields.get("update_type", "Full")}
        assert response["HX-Redirect"] == url("stations_command_change", command.pk)

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"id_tags": "A\nX\nY"}, "Not registered: X, Y. Choose a status to send them all the same."),
            ({"id_tags": "A", "parent_id_tag": "P"}, "Choose a status, to which the expiry and the parent belong."),
            ({"id_tags": "x" * 21, "info": "Accepted"}, "is longer than 20 characters."),
            ({"entries": "{"}, "This is not JSON."),
            ({"entries": "[{}, {}]"}, "/localAuthorizationList/0"),
            ({"entries": "[]", "id_tags": "A"}, "Fill in either the id tags or the JSON."),
            ({"list_version": "x"}, "Enter a whole number."),
            ({"list_version": str(2**40)}, "listVersion does not fit into 32 bits."),
        ],
    )
    def test_what_cannot_be_sent_is_refused_at_its_field(
        self, owner: Client, charge_point: ChargePoint, fields: dict[str, str], error: str
    ) -> None:
        new_id_tag("A")
        response = send(owner, charge_point, **fields)
        assert error in text_of(response)
        assert not Command.objects.exists()

    def test_version_is_read(self, owner: Client, charge_point: ChargePoint) -> None:
        dialog(owner, "read_local_list_version", charge_point)
        assert Command.objects.values_list("action", "payload").get() == ("GetLocalListVersion", {})


class TestWantedList:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"source": "groups", "groups": "staff, guests, staff"}, "groups: staff, guests"),
            ({"source": "sites"}, "id tags allowed at the charge point's site"),
            ({"source": "id_tags", "id_tags": "a\r\nA"}, "id tags chosen by hand"),
            ({"source": ""}, "none"),
        ],
    )
    def test_is_chosen_and_nothing_is_sent(
        self, owner: Client, charge_point: ChargePoint, fields: dict[str, str], expected: str
    ) -> None:
        new_id_tag("A")
        response = dialog(owner, "choose_local_list", charge_point, **fields)
        assert response["HX-Redirect"] == f"{url('stations_chargepoint_change', charge_point.pk)}#local_list"
        assert expected in panel(owner, charge_point).replace("&#x27;", "'")
        assert not Command.objects.exists()
        assert AuditEntry.objects.get().object_type == "stations.localauthlist"

    def test_chosen_sites_come_back_in_the_dialog(self, owner: Client, charge_point: ChargePoint) -> None:
        site = Site.objects.get()
        dialog(owner, "choose_local_list", charge_point, source="sites", sites=[site.pk], sync_automatically="on")
        row = LocalAuthList.objects.get()
        assert ([each.site for each in row.sites.all()], row.sync_automatically) == ([site], True)
        shown = text_of(owner.get(url("stations_chargepoint_choose_local_list", charge_point.pk)))
        assert 'value="sites" selected' in shown
        boxes = [tag for tag in shown.split("<input") if re.search(r"\schecked[\s>]", tag.partition(">")[0] + ">")]
        assert [re.search(r'name="(\w+)"', box)[1] for box in boxes] == ["sites", "sync_automatically"]

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"source": "groups", "groups": " , "}, "Name at least one group."),
            ({"source": "id_tags", "id_tags": "X"}, "Not registered: X."),
            ({"source": "", "sync_automatically": "on"}, "There is nothing to send while no list is wanted."),
            ({"source": "everything"}, "Select a valid choice."),
        ],
    )
    def test_what_is_no_list_is_refused(
        self, owner: Client, charge_point: ChargePoint, fields: dict[str, str], error: str
    ) -> None:
        assert error in text_of(dialog(owner, "choose_local_list", charge_point, **fields))
        assert not LocalAuthList.objects.exists()

    def test_choosing_is_for_those_who_manage(self, in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
        operator = sign_in(in_tenant_a, "operator")
        assert dialog(operator, "choose_local_list", charge_point, source="sites").status_code == 403
        viewer = sign_in(in_tenant_a, "viewer")
        for name in ("sync_local_list", "send_local_list", "read_local_list_version"):
            assert dialog(viewer, name, charge_point).status_code == 403


class TestSync:
    def test_dialog_says_what_would_happen_and_sends_it(self, owner: Client, charge_point: ChargePoint) -> None:
        want(charge_point, new_id_tag("A"), new_id_tag("B"))
        shown = text_of(owner.get(url("stations_chargepoint_sync_local_list", charge_point.pk)))
        assert "What is installed is not known: send the full list. It would have 2 entries." in shown
        response = dialog(owner, "sync_local_list", charge_point, how="")
        command = Command.objects.get()
        assert response["HX-Redirect"] == url("stations_command_change", command.pk)
        answer()
        IdTag.objects.filter(id_tag="B").update(blocked=True)
        shown = text_of(owner.get(url("stations_chargepoint_sync_local_list", charge_point.pk)))
        assert "2 entries are wanted; to add: 0, to change: 1, to remove: 0." in shown
        dialog(owner, "sync_local_list", charge_point, how="difference")
        assert Command.objects.latest("id").payload["updateType"] == "Differential"

    def test_several_requests_are_shown_together(self, owner: Client, charge_point: ChargePoint) -> None:
        ConfigurationKey.objects.create(charge_point=charge_point, key="SendLocalListMaxLength", value="1")
        want(charge_point, new_id_tag("A"), new_id_tag("B"))
        response = dialog(owner, "sync_local_list", charge_point)
        shown = text_of(owner.get(response["HX-Redirect"]))
        assert shown.count("SendLocalList") >= 2

    def test_nothing_to_send_is_said(self, owner: Client, charge_point: ChargePoint) -> None:
        want(charge_point, new_id_tag("A"))
        dialog(owner, "sync_local_list", charge_point)
        answer()
        response = dialog(owner, "sync_local_list", charge_point)
        assert Command.objects.count() == 1
        page = text_of(owner.get(response["HX-Redirect"].partition("#")[0]))
        assert "has the wanted list already; nothing was sent" in page

    @pytest.mark.parametrize(
        ("chosen", "how", "error"),
        [
            (False, "", "It is not said which id tags the charge point shall have."),
            (True, "difference", "only the full list can be sent"),
        ],
    )
    def test_refusal_is_shown_in_the_dialog(
        self, owner: Client, charge_point: ChargePoint, chosen: bool, how: str, error: str
    ) -> None:
        if chosen:
            want(charge_point, new_id_tag("A"))
        response = dialog(owner, "sync_local_list", charge_point, how=how)
        assert error in text_of(response)
        assert "HX-Redirect" not in response


class TestPages:
    def test_panel_shows_state_differences_and_commands(self, owner: Client, charge_point: ChargePoint) -> None:
        tags = [new_id_tag(name) for name in ("A", "B")]
        assert "No list is wanted." in panel(owner, charge_point)
        want(charge_point, *tags)
        dialog(owner, "sync_local_list", charge_point)
        assert "Being sent." in panel(owner, charge_point)
        answer()
        assert "In sync." in panel(owner, charge_point)
        want(charge_point, tags[0], new_id_tag("C"))
        shown = panel(owner, charge_point)
        assert "1 to add, 0 to change, 1 to remove" in shown
        assert "version 1 · 2 entries" in shown
        assert "How many entries the charge point takes is not known" in shown
        dialog(owner, "sync_local_list", charge_point)
        answer("VersionMismatch")
        shown = panel(owner, charge_point)
        assert "The charge point refused the version: send the full list." in shown
        assert "send full list" in shown
        assert "VersionMismatch" in shown

    def test_list_of_lists_and_entries_of_one(self, owner: Client, charge_point: ChargePoint) -> None:
        tags = [new_id_tag(f"T{number:03}") for number in range(205)]
        want(charge_point, *tags)
        shown = text_of(owner.get(url("stations_localauthlist_changelist")))
        assert "205 wanted, 0 installed" in shown
        page = url("stations_localauthlist_change", LocalAuthList.objects.get().pk)
        first = text_of(owner.get(page))
        assert ("T000" in first, "T199" in first, "T200" in first.replace("?from=T199", "")) == (True, True, False)
        second = text_of(owner.get(f"{page}?from=T199"))
        assert ("T200" in second, "T204" in second, "T198" in second) == (True, True, False)
        dialog(owner, "sync_local_list", charge_point)
        answer()
        assert "Nothing differs." in text_of(owner.get(f"{page}?differs=yes"))

    def test_list_of_lists_takes_few_queries(
        self, owner: Client, charge_point: ChargePoint, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(10):
            source = Source(ListSource.GROUPS, groups=["staff"])
            local_auth_lists.want(new_charge_point(f"N{number}"), source, NOW)
        owner.get(url("stations_localauthlist_changelist"))
        with django_assert_max_num_queries(15):
            owner.get(url("stations_localauthlist_changelist"))


class TestMany:
    def post(self, client: Client, action: str, *charge_points: ChargePoint, **fields: Any) -> Any:
        chosen = [each.pk for each in charge_points]
        return client.post(
            url("stations_chargepoint_changelist"),
            {"action": action, "_selected_action": chosen, "_form_submitted": "on", "send": "1", **fields},
        )

    def test_list_is_chosen_and_sent_for_many(self, owner: Client, charge_point: ChargePoint) -> None:
        other, off = new_charge_point("CP-2"), new_charge_point("CP-3", disabled=True)
        new_id_tag("A", groups=["staff"])
        asked = owner.post(
            url("stations_chargepoint_changelist"),
            {"action": "choose_local_list_many", "_selected_action": [charge_point.pk, other.pk]},
        )
        assert "Choose the wanted list: 2 charge points" in text_of(asked)
        assert not LocalAuthList.objects.exists()
        every = (charge_point, other, off)
        self.post(owner, "choose_local_list_many", *every, source="groups", groups="staff")
        assert LocalAuthList.objects.filter(source="groups").count() == 3
        response = self.post(owner, "sync_local_list_many", *every, how="full")
        assert set(Command.objects.values_list("charge_point__identity", flat=True)) == {"CP-1", "CP-2"}
        shown = text_of(owner.get(response["Location"]))
        assert "Not sent to CP-3: The charge point is disabled; it cannot connect." in shown

    def test_versions_are_read_of_many(self, owner: Client, charge_point: ChargePoint) -> None:
        self.post(owner, "read_local_list_version_many", charge_point, new_charge_point("CP-2"))
        assert Command.objects.filter(action="GetLocalListVersion").count() == 2
