"""Words that no standard defines, and what stands in for what was left out: kept, answered, and shown as unknown."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from ocpp.v16 import call_result

from stations import commands
from stations.dispatch import Link
from stations.models import ChargePoint, Command, ConfigurationKey, Connector
from stations.models.command import CommandStatus
from tenants.models import ApiKey
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.api.conftest import ALL_SCOPES, Api
from tests.stations.lane_calls import inbound, new_link, results
from tests.stations.rows import MINUTE, NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(tenants: Tenants) -> Link:
    return new_link(tenants.tenant_a)


@pytest.fixture
def api(tenants: Tenants) -> Api:
    return Api(ApiKey.issue(tenants.tenant_a, "test", ALL_SCOPES)[1])


@pytest.fixture
def owner(tenants: Tenants, link: Link) -> Client:
    with tenant_scope(tenants.tenant_a):
        return sign_in(tenants.tenant_a, username="olga")


def panel(owner: Client, link: Link, name: str) -> str:
    return text_of(owner.get(url("stations_chargepoint_panel", link.charge_point_id, name)))


def deviations(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api("GET", "charge-points/CP-1/").json()["deviations"]
    return found


def sent(link: Link, action: str, payload: dict[str, Any]) -> Command:
    """A command that has left, and waits for its answer."""
    with tenant_scope(link.tenant_id):
        command = commands.enqueue(ChargePoint.objects.get(), action, payload, "test")
        Command.objects.filter(pk=command.pk).update(
            status=CommandStatus.SENT, message_id=f"c-{command.pk}", connection_generation=1, sent_at=command.created_at
        )
    return command


def answer(link: Link, command: Command, payload: Any) -> None:
    with tenant_scope(link.tenant_id):
        commands.answered(
            ChargePoint.objects.get(), command.created_at, message_id=f"c-{command.pk}", payload=payload, late=False
        )


class TestConnector:
    def test_status_that_nobody_defined_is_kept_and_shown_as_unknown(self, link: Link, api: Api, owner: Client) -> None:
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Occupied"}
        assert results(inbound(link, "StatusNotification", status)) == [call_result.StatusNotification()]
        (connector,) = api("GET", "charge-points/CP-1/connectors/").json()["results"]
        assert (connector["status"], connector["status_known"]) == ("Occupied", False)
        assert "Occupied (unknown)" in panel(owner, link, "live")
        assert "1 Occupied (unknown)" in text_of(owner.get(url("stations_chargepoint_changelist")))
        found = deviations(api)["StatusNotification:unknown_value"]
        assert (found["pointer"], found["detail"]) == ("/status", "Occupied")
        page = panel(owner, link, "boot")
        assert "unknown value" in page
        assert "Occupied" in page

    def test_status_far_longer_than_any_is_kept(self, link: Link) -> None:
        results(inbound(link, "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "x" * 3000}))
        with tenant_scope(link.tenant_id):
            assert Connector.objects.get().status == "x" * 3000

    def test_each_unknown_word_and_each_place_is_noted(self, link: Link, api: Api) -> None:
        facts = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
        for change in ({"status": "Dreaming"}, {"status": "Occupied"}, {"status": "Dreaming"}, {"errorCode": "Odd"}):
            results(inbound(link, "StatusNotification", facts | change))
        assert {key: each["detail"] for key, each in deviations(api).items()} == {
            "StatusNotification:unknown_value": "Dreaming",
            "StatusNotification:unknown_value:Occupied": "Occupied",
            "StatusNotification:unknown_value:Odd": "Odd",
        }


class TestProgress:
    @pytest.mark.parametrize(
        ("action", "asked", "word", "status", "known", "final"),
        [
            ("DiagnosticsStatusNotification", "GetDiagnostics", "UploadFailure", "UploadFailed", True, True),
            ("DiagnosticsStatusNotification", "GetDiagnostics", "Zipping", "Zipping", False, False),
            ("FirmwareStatusNotification", "UpdateFirmware", "DownloadPaused", "DownloadPaused", False, False),
            ("FirmwareStatusNotification", "UpdateFirmware", "InstallFailed", "InstallationFailed", True, True),
        ],
    )
    def test_request_shows_the_word_and_is_not_under_way_for_ever(
        self,
        link: Link,
        api: Api,
        owner: Client,
        action: str,
        asked: str,
        word: str,
        status: str,
        known: bool,
        final: bool,
    ) -> None:
        location = {"location": "ftp://h/x"} | (
            {"retrieveDate": "2026-03-01T12:00:00Z"} if asked == "UpdateFirmware" else {}
        )
        sent(link, asked, location)
        results(inbound(link, action, {"status": word}))
        path = "diagnostics/" if asked == "GetDiagnostics" else "firmware-updates/"
        (row,) = api("GET", path).json()["results"]
        assert (row["status"], row["status_known"], row["final"]) == (status, known, final)
        assert (f"{status} (unknown)" in panel(owner, link, "firmware")) is not known
        assert list(deviations(api)) == [f"{action}:{'enum_alias' if known else 'unknown_value'}"]

    def test_repetitions_are_one_entry_with_their_number_and_times(self, link: Link, api: Api, owner: Client) -> None:
        sent(link, "GetDiagnostics", {"location": "ftp://h/x"})
        for number in range(300):
            call = inbound(link, "DiagnosticsStatusNotification", {"status": "Uploading"}, f"m-{number}")
            call.received_at = NOW + number * MINUTE
            results(call)
        (row,) = api("GET", "diagnostics/").json()["results"]
        (status,) = api("GET", f"diagnostics/{row['id']}/").json()["statuses"]
        assert (status["status"], status["times"]) == ("Uploading", 300)
        assert (status["received_at"], status["last_received_at"]) == (
            "2026-03-01T12:00:00.000Z", "2026-03-01T16:59:00.000Z",
        )  # fmt: skip
        assert "300 times until" in panel(owner, link, "firmware")
        assert "300 times until" in text_of(owner.get(url("stations_logrequest_change", row["id"])))


class TestAnswersToCommands:
    @pytest.mark.parametrize(
        ("action", "payload", "conf", "kind"),
        [
            ("Reset", {"type": "Soft"}, {"status": "Later"}, "unknown_value"),
            ("Reset", {"type": "Soft"}, {"status": "accept"}, "enum_alias"),
            ("UnlockConnector", {"connectorId": 1}, {"status": "Unlock_Failed"}, "enum_alias"),
        ],
    )
    def test_deviation_is_on_the_charge_points_page(
        self, link: Link, api: Api, owner: Client, action: str, payload: Any, conf: Any, kind: str
    ) -> None:
        command = sent(link, action, payload)
        answer(link, command, conf)
        shown = api("GET", f"commands/{command.pk}/").json()
        assert (shown["status"], shown["response"]) == ("answered", conf)
        assert list(deviations(api)) == [f"{action}.conf:{kind}"]
        assert f"{action}.conf" in panel(owner, link, "boot")


class TestReadOnly:
    @pytest.mark.parametrize(
        ("entry", "readonly"),
        [
            ({}, None), ({"readonly": None}, None), ({"readonly": "yes"}, None), ({"readonly": 7}, None),
            ({"readonly": 1}, True), ({"readonly": "1"}, True), ({"readonly": "true"}, True),
            ({"readonly": 0}, False), ({"readonly": "0"}, False), ({"readonly": False}, False),
        ],
    )  # fmt: skip
    def test_unknown_is_unknown(self, link: Link, api: Api, owner: Client, entry: Any, readonly: bool | None) -> None:
        command = sent(link, "GetConfiguration", {})
        answer(link, command, {"configurationKey": [{"key": "A", "value": "1"} | entry]})
        (row,) = api("GET", "charge-points/CP-1/configuration/").json()["results"]
        assert (row["key"], row["value"], row["readonly"]) == ("A", "1", readonly)
        page = panel(owner, link, "configuration")
        assert ("read only: unknown" in page) is (readonly is None)
        with tenant_scope(link.tenant_id):
            assert ConfigurationKey.objects.get().readonly is readonly
