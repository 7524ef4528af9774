"""Remote Trigger: which message came because of a TriggerMessage, and what is unwise to trigger (protocol 5)."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from stations import commands
from stations.models import ChargePoint, Command, ConfigurationKey
from stations.models.command import CommandStatus
from stations.ocpp import remote_trigger
from tenants.models import Tenant
from tests.stations.rows import MINUTE, NOW, new_charge_point

pytestmark = pytest.mark.usefixtures("in_tenant_a")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def trigger(
    charge_point: ChargePoint,
    message: str,
    connector_id: int | None = None,
    *,
    answer: str | None = "Accepted",
    sent_at: datetime = NOW,
) -> Command:
    """A TriggerMessage that was sent and, unless `answer` is None, answered."""
    payload: dict[str, Any] = {"requestedMessage": message}
    if connector_id is not None:
        payload["connectorId"] = connector_id
    command = commands.enqueue(charge_point, "TriggerMessage", payload, "test")
    command.status, command.sent_at = CommandStatus.SENT, sent_at
    if answer is not None:
        command.status, command.response = CommandStatus.ANSWERED, {"status": answer}
    command.save()
    return command


def came(
    charge_point: ChargePoint, action: str, message_id: str = "m", connector_id: int | None = None, now: datetime = NOW
) -> bool | None:
    req = SimpleNamespace() if connector_id is None else SimpleNamespace(connector_id=connector_id)
    return remote_trigger.triggered(charge_point, action, req, message_id, now)


def messages(command: Command) -> list[dict[str, Any]]:
    command.refresh_from_db()
    return list((command.effect or {}).get("messages", []))


def test_message_that_was_asked_for_is_noted_with_its_command(charge_point: ChargePoint) -> None:
    command = trigger(charge_point, "Heartbeat")
    assert came(charge_point, "Heartbeat") is True
    assert messages(command) == [{"action": "Heartbeat", "message_id": "m", "received_at": "2026-03-01T12:00:00.000Z"}]


def test_second_message_of_the_kind_came_by_itself(charge_point: ChargePoint) -> None:
    command = trigger(charge_point, "Heartbeat")
    came(charge_point, "Heartbeat", "first")
    assert came(charge_point, "Heartbeat", "second") is False
    assert [message["message_id"] for message in messages(command)] == ["first"]


def test_same_message_looked_at_again_is_noted_once(charge_point: ChargePoint) -> None:
    command = trigger(charge_point, "Heartbeat")
    assert [came(charge_point, "Heartbeat"), came(charge_point, "Heartbeat")] == [True, True]
    assert len(messages(command)) == 1


@pytest.mark.parametrize("answer", ["Rejected", "NotImplemented"])
def test_nothing_is_awaited_after_a_refusal(charge_point: ChargePoint, answer: str) -> None:
    command = trigger(charge_point, "Heartbeat", answer=answer)
    assert came(charge_point, "Heartbeat") is False
    assert messages(command) == []


def test_message_before_the_answer_came_by_itself_and_one_is_still_awaited(charge_point: ChargePoint) -> None:
    command = trigger(charge_point, "Heartbeat", answer=None)
    assert came(charge_point, "Heartbeat") is None
    assert messages(command) == []


def test_message_of_another_connector_came_by_itself(charge_point: ChargePoint) -> None:
    command = trigger(charge_point, "StatusNotification", 2)
    assert came(charge_point, "StatusNotification", "a", 1) is None
    assert came(charge_point, "StatusNotification", "b", 2) is True
    assert [message["connector_id"] for message in messages(command)] == [2]


def test_without_connector_each_connector_is_heard_once(charge_point: ChargePoint) -> None:
    command = trigger(charge_point, "MeterValues")
    assert came(charge_point, "MeterValues", "a", 0) is True
    assert came(charge_point, "MeterValues", "b", 1) is True
    assert came(charge_point, "MeterValues", "c", 1) is None
    assert [message["message_id"] for message in messages(command)] == ["a", "b"]


def test_message_long_after_the_trigger_came_by_itself(charge_point: ChargePoint) -> None:
    trigger(charge_point, "Heartbeat", sent_at=NOW - 3 * MINUTE)
    assert came(charge_point, "Heartbeat") is False


def test_trigger_of_another_charge_point_is_not_meant(charge_point: ChargePoint) -> None:
    command = trigger(new_charge_point("OTHER"), "Heartbeat")
    assert came(charge_point, "Heartbeat") is False
    assert messages(command) == []


def codes(charge_point: ChargePoint, **payload: Any) -> list[str]:
    return [code for code, _ in remote_trigger.trigger_message_warnings(charge_point, payload)]


def test_boot_of_an_accepted_charge_point_that_has_booted_is_unwise(charge_point: ChargePoint) -> None:
    assert codes(charge_point, requestedMessage="BootNotification") == []
    charge_point.booted_at = NOW
    assert codes(charge_point, requestedMessage="BootNotification") == ["boot_already_accepted"]
    charge_point.registration_status = "Pending"
    assert codes(charge_point, requestedMessage="BootNotification") == []


def test_connector_for_a_message_about_none_is_unwise(charge_point: ChargePoint) -> None:
    assert codes(charge_point, requestedMessage="Heartbeat", connectorId=1) == ["connector_without_meaning"]
    assert codes(charge_point, requestedMessage="MeterValues", connectorId=1) == []


@pytest.mark.parametrize(
    ("profiles", "found"),
    [("Core,RemoteTrigger", []), ("Core, remotetrigger", []), ("Core,SmartCharging", ["profile_not_supported"])],
)
def test_profile_that_is_not_reported_is_a_warning(charge_point: ChargePoint, profiles: str, found: list[str]) -> None:
    ConfigurationKey.objects.create(charge_point=charge_point, key="SupportedFeatureProfiles", value=profiles)
    assert codes(charge_point, requestedMessage="Heartbeat") == found
