"""Core, to the charge point: what its answers change, and what they do not (protocol 5)."""

from __future__ import annotations

from typing import Any

import pytest

from csms.ocppj.payloads import parse_result
from stations import commands
from stations.models import ChargePoint, Command, ConfigurationKey, Transaction
from stations.ocpp.actions import TO_CHARGE_POINT
from tenants.models import Tenant
from tests.stations.rows import HOUR, NOW, new_charge_point, new_id_tag, start

pytestmark = pytest.mark.usefixtures("in_tenant_a")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def take_in(charge_point: ChargePoint, action: str, payload: dict[str, Any], answer: dict[str, Any]) -> Command:
    """Let the profile function take in `answer` to a command of ours."""
    command = commands.enqueue(charge_point, action, payload, "test")
    conf, deviations = parse_result(action, answer)
    assert deviations == []
    TO_CHARGE_POINT[action](command, conf, NOW)
    return command


def keys() -> dict[str, tuple[str | None, bool | None, bool]]:
    return {row.key: (row.value, row.readonly, row.known) for row in ConfigurationKey.objects.all()}


def configuration(*entries: tuple[str, str | None, bool], unknown: tuple[str, ...] = ()) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "configurationKey": [
            {"key": key, "readonly": readonly} | ({} if value is None else {"value": value})
            for key, value, readonly in entries
        ]
    }
    return answer | ({"unknownKey": list(unknown)} if unknown else {})


class TestGetConfiguration:
    def test_keys_are_stored_with_value_and_read_only_flag(self, charge_point: ChargePoint) -> None:
        answer = configuration(("HeartbeatInterval", "300", False), ("NumberOfConnectors", "2", True))
        take_in(charge_point, "GetConfiguration", {}, answer)
        assert keys() == {"HeartbeatInterval": ("300", False, True), "NumberOfConnectors": ("2", True, True)}
        assert set(ConfigurationKey.objects.values_list("reported_at", flat=True)) == {NOW}

    def test_key_without_value_is_not_an_empty_value(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "GetConfiguration", {}, configuration(("CpoName", None, False), ("Empty", "", False)))
        assert keys() == {"CpoName": (None, False, True), "Empty": ("", False, True)}

    def test_unknown_key_is_remembered_as_unknown(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "GetConfiguration", {"key": ["Foo"]}, configuration(unknown=("Foo",)))
        assert keys() == {"Foo": (None, None, False)}

    def test_key_that_has_become_unknown_loses_its_value(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "GetConfiguration", {}, configuration(("Foo", "1", False)))
        take_in(charge_point, "GetConfiguration", {"key": ["Foo"]}, configuration(unknown=("Foo",)))
        assert keys() == {"Foo": (None, None, False)}

    def test_keys_that_were_not_asked_for_stay(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "GetConfiguration", {}, configuration(("A", "1", False), ("B", "2", False)))
        take_in(charge_point, "GetConfiguration", {"key": ["B"]}, configuration(("B", "3", False)))
        assert keys() == {"A": ("1", False, True), "B": ("3", False, True)}

    @pytest.mark.parametrize("key", ["AuthorizationKey", "authorizationkey"])
    def test_value_of_a_secret_is_never_stored(self, charge_point: ChargePoint, key: str) -> None:
        take_in(charge_point, "GetConfiguration", {}, configuration((key, "00112233445566778899", False)))
        assert keys() == {key: (None, False, True)}

    def test_hundreds_of_keys_are_stored(self, charge_point: ChargePoint) -> None:
        answer = configuration(*((f"Vendor.Key{number}", str(number), False) for number in range(300)))
        take_in(charge_point, "GetConfiguration", {}, answer)
        assert ConfigurationKey.objects.count() == 300

    def test_answer_without_any_list_changes_nothing(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "GetConfiguration", {}, {})
        assert keys() == {}

    def test_desired_value_survives_a_report_and_shows_as_drift(self, charge_point: ChargePoint) -> None:
        change = {"key": "HeartbeatInterval", "value": "60"}
        take_in(charge_point, "ChangeConfiguration", change, {"status": "Accepted"})
        take_in(charge_point, "GetConfiguration", {}, configuration(("HeartbeatInterval", "300", False)))
        row = ConfigurationKey.objects.get()
        assert (row.value, row.desired_value, row.drift) == ("300", "60", True)


class TestChangeConfiguration:
    @pytest.mark.parametrize(
        ("status", "value", "desired", "reboot_required"),
        [
            ("Accepted", "60", "60", False),
            # Stored by the charge point, active after its next reset.
            ("RebootRequired", "300", "60", True),
            ("Rejected", "300", None, False),
            ("NotSupported", "300", None, False),
        ],
    )
    def test_value_follows_the_answer(
        self, charge_point: ChargePoint, status: str, value: str, desired: str | None, reboot_required: bool
    ) -> None:
        take_in(charge_point, "GetConfiguration", {}, configuration(("HeartbeatInterval", "300", False)))
        change = {"key": "HeartbeatInterval", "value": "60"}
        take_in(charge_point, "ChangeConfiguration", change, {"status": status})
        row = ConfigurationKey.objects.get()
        assert (row.value, row.desired_value, row.reboot_required) == (value, desired, reboot_required)

    def test_key_never_reported_is_known_once_accepted(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "ChangeConfiguration", {"key": "Vendor.X", "value": "1"}, {"status": "Accepted"})
        assert keys() == {"Vendor.X": ("1", None, True)}

    def test_refused_key_is_not_shown_as_changed(self, charge_point: ChargePoint) -> None:
        take_in(charge_point, "ChangeConfiguration", {"key": "Vendor.X", "value": "1"}, {"status": "NotSupported"})
        assert keys() == {}

    def test_secret_is_not_kept(self, charge_point: ChargePoint) -> None:
        change = {"key": "AuthorizationKey", "value": "00112233445566778899AABBCCDDEEFF"}
        take_in(charge_point, "ChangeConfiguration", change, {"status": "Accepted"})
        assert keys() == {}


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, {"status": "Scheduled"}),
        ("ClearCache", {}, {"status": "Rejected"}),
        ("DataTransfer", {"vendorId": "com.example"}, {"status": "Accepted", "data": "x"}),
        ("RemoteStartTransaction", {"idTag": "TAG-1"}, {"status": "Accepted"}),
        ("RemoteStopTransaction", {"transactionId": 1}, {"status": "Accepted"}),
        ("Reset", {"type": "Soft"}, {"status": "Accepted"}),
        ("UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answer_alone_neither_starts_nor_ends_anything(
    charge_point: ChargePoint, action: str, payload: dict[str, Any], answer: dict[str, Any]
) -> None:
    new_id_tag()
    opened = start(charge_point).transaction_id
    before = ChargePoint.objects.values().get()
    command = take_in(charge_point, action, payload, answer)
    assert command.effect is None
    assert ChargePoint.objects.values().get() == before
    assert list(Transaction.objects.values_list("pk", "stopped_at")) == [(opened, None)]
    assert not ConfigurationKey.objects.exists()


def test_configuration_of_one_charge_point_is_not_that_of_another(charge_point: ChargePoint) -> None:
    other = new_charge_point("CP-2")
    take_in(charge_point, "GetConfiguration", {}, configuration(("A", "1", False)))
    take_in(other, "GetConfiguration", {}, configuration(("A", "2", False)))
    found = ConfigurationKey.objects.order_by("charge_point__identity").values_list("charge_point__identity", "value")
    assert list(found) == [("CP-1", "1"), ("CP-2", "2")]


def test_change_accepted_long_after_it_was_wanted_carries_the_time_of_the_answer(charge_point: ChargePoint) -> None:
    command = commands.enqueue(charge_point, "ChangeConfiguration", {"key": "A", "value": "1"}, "test")
    conf, _ = parse_result("ChangeConfiguration", {"status": "Accepted"})
    TO_CHARGE_POINT["ChangeConfiguration"](command, conf, NOW + HOUR)
    assert ConfigurationKey.objects.get().desired_at == NOW + HOUR
