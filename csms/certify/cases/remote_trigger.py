"""Remote Trigger: the operator asks for a message, sees the answer, and sees the message come because of it."""

from __future__ import annotations

from typing import Any

from csms.certify.case import ACCEPTED, REJECTED, Case
from csms.certify.charge_point import timestamp

IDLE = {"status": "Idle"}


async def tc_054(case: Case) -> None:
    """Trigger message."""
    here = {"connectorId": case.connector_id}
    # No transaction is running: a meter has a value all the same.
    sample = {"value": "4200", "context": "Trigger", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    meter_value = {"timestamp": timestamp(), "sampledValue": [sample]}
    await _triggered(case, "MeterValues", {**here, "meterValue": [meter_value]}, **here)
    await case.sees_message("MeterValues", "CALL", "in", {**here, "meterValue": [meter_value]})
    await _triggered(case, "Heartbeat", {})
    status = {**here, "errorCode": "NoError", "status": "Available", "timestamp": timestamp()}
    await _triggered(case, "StatusNotification", status, **here)
    await _triggered(case, "DiagnosticsStatusNotification", IDLE)
    await _triggered(case, "FirmwareStatusNotification", IDLE)
    # A charge point may lack the last one.
    command = await case.send(
        "TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, {"status": "NotImplemented"}
    )
    await case.sees_command(command, effect=None)


async def tc_055(case: Case) -> None:
    """Trigger message, rejected."""
    command = await case.send("TriggerMessage", {"requestedMessage": "MeterValues"}, REJECTED)
    # It is over: nothing that comes later has come because of it.
    sample = {"timestamp": timestamp(), "sampledValue": [{"value": "4300"}]}
    await case.tell("MeterValues", {"connectorId": case.connector_id, "meterValue": [sample]})
    await case.sees_command(command, status="answered", response=REJECTED, effect=None)


async def _triggered(case: Case, action: str, payload: dict[str, Any], **members: Any) -> None:
    """The operator asks for `action` with exactly `members`; the charge point accepts, then sends it; the operator sees
    that this message is what came of it."""
    command = await case.send("TriggerMessage", {"requestedMessage": action, **members}, ACCEPTED)
    message_id = await case.cp.send_call(action, payload)
    conf = await case.cp.answer_for(message_id)
    if action == "Heartbeat":
        case.is_now("currentTime in the answer to Heartbeat", conf["currentTime"])
    else:
        case.equal(f"The answer to {action}", conf, {})

    def is_this(effect: Any) -> bool:
        messages = (effect or {}).get("messages", [])
        return [(message["action"], message["message_id"]) for message in messages] == [(action, message_id)]

    await case.sees_command(command, effect=is_this)
