"""Remote Trigger: the two cases, and what is owed beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.certification.case import Case
from tests.fake_charge_point import CallErrorReceived

ACCEPTED = {"status": "Accepted"}


async def triggered(case: Case, command: dict[str, Any], action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The charge point sends what was asked for; what the command says of it."""
    await case.cp.call(action, payload)
    (message,) = (await case.final(command))["effect"]["messages"]
    assert message["action"] == action
    return dict(message)


async def test_tc_054_trigger_message(case: Case) -> None:
    tx = await case.charging()
    sample = {"timestamp": "2026-03-01T12:00:00.000Z", "sampledValue": [{"value": "1200", "context": "Trigger"}]}
    command = await case.send("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, ACCEPTED)
    message = await triggered(
        case, command, "MeterValues", {"connectorId": 1, "transactionId": tx, "meterValue": [sample]}
    )
    assert message["connector_id"] == 1
    command = await case.send("TriggerMessage", {"requestedMessage": "Heartbeat"}, ACCEPTED)
    await triggered(case, command, "Heartbeat", {})
    command = await case.send("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}, ACCEPTED)
    await triggered(
        case,
        command,
        "StatusNotification",
        {"connectorId": 1, "status": "Charging", "errorCode": "NoError", "timestamp": "2026-03-01T12:00:00.000Z"},
    )
    command = await case.send("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}, ACCEPTED)
    await triggered(case, command, "DiagnosticsStatusNotification", {"status": "Idle"})
    command = await case.send("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, ACCEPTED)
    await triggered(case, command, "FirmwareStatusNotification", {"status": "Idle"})


async def test_triggered_meter_values_without_a_transaction_are_taken(case: Case) -> None:
    command = await case.send("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, ACCEPTED)
    sample = {"timestamp": "2026-03-01T12:00:00.000Z", "sampledValue": [{"value": "1200"}]}
    await triggered(case, command, "MeterValues", {"connectorId": 1, "meterValue": [sample]})


async def test_trigger_not_implemented_awaits_nothing(case: Case) -> None:
    final = await case.send(
        "TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, {"status": "NotImplemented"}
    )
    assert final["effect"] is None


async def test_tc_055_trigger_rejected(case: Case) -> None:
    command = await case.send("TriggerMessage", {"requestedMessage": "MeterValues"}, {"status": "Rejected"})
    sample = {"timestamp": "2026-03-01T12:00:00.000Z", "sampledValue": [{"value": "1200"}]}
    await case.cp.call("MeterValues", {"connectorId": 1, "meterValue": [sample]})
    assert (await case.final(command))["effect"] is None


# --- owed beside the cases --------------------------------------------------------------------------------------------
async def test_trigger_without_connector_brings_the_status_of_every_connector(case: Case) -> None:
    command = await case.send("TriggerMessage", {"requestedMessage": "StatusNotification"}, ACCEPTED)
    for connector_id in (0, 1, 2):
        await case.status(connector_id, "Available")
    await case.status(1, "Preparing")  # By itself: connector 1 has been heard.
    messages = (await case.final(command))["effect"]["messages"]
    assert [message["connector_id"] for message in messages] == [0, 1, 2]


async def test_message_about_another_connector_or_before_the_answer_came_by_itself(case: Case) -> None:
    payload = {"requestedMessage": "StatusNotification", "connectorId": 2}
    command = await case.command("TriggerMessage", payload)
    received = await case.expect("TriggerMessage", payload)
    await case.status(2, "Available")
    await case.cp.reply(received, ACCEPTED)
    await case.final(command)
    await case.status(1, "Available")
    assert (await case.final(command))["effect"] is None
    await case.status(2, "Preparing")
    (message,) = (await case.final(command))["effect"]["messages"]
    assert message["connector_id"] == 2


async def test_boot_notification_after_acceptance_is_sent_with_a_warning(case: Case) -> None:
    await case.booted()
    final = await case.send("TriggerMessage", {"requestedMessage": "BootNotification"}, {"status": "Rejected"})
    assert [warning["code"] for warning in final["warnings"]] == ["boot_already_accepted"]


async def test_pending_charge_point_may_send_what_was_triggered_and_nothing_else(registered: Case) -> None:
    case = registered
    path = f"charge-points/{case.cp.identity}/"
    await asyncio.to_thread(case.csms.request, "PATCH", path, {"registration_status": "Pending"})
    async with case.cp as cp:
        await cp.boot()
        command = await case.send(
            "TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}, ACCEPTED
        )
        await case.status(1, "Available")
        assert len((await case.final(command))["effect"]["messages"]) == 1
        with pytest.raises(CallErrorReceived) as refused:
            await cp.status(1, "Preparing")
        assert refused.value.code == "SecurityError"
        command = await case.send("TriggerMessage", {"requestedMessage": "BootNotification"}, ACCEPTED)
        assert command["warnings"] == []
        assert (await cp.boot())["status"] == "Pending"
        (message,) = (await case.final(command))["effect"]["messages"]
        assert message["action"] == "BootNotification"
