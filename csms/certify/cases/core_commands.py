"""Core, what the operator begins: remote start and stop, reset, unlock, configuration, authorization cache."""

from __future__ import annotations

from typing import Any

from csms.certify.case import ACCEPTED, REJECTED, Case

# "40 or more keys", with and without a value; no central system may choke on them.
MANY_KEYS = 50
SAMPLE_INTERVAL = "MeterValueSampleInterval"


def remote_start(case: Case) -> dict[str, Any]:
    return {"connectorId": case.connector_id, "idTag": case.id_tags.valid}


async def tc_010(case: Case) -> None:
    """Remote start, cable plugged in first."""
    await case.status(case.connector_id, "Preparing")
    command = await case.send("RemoteStartTransaction", remote_start(case), ACCEPTED)
    await case.authorized()
    tx = await case.start()
    await case.status(case.connector_id, "Charging")
    await case.sees_command(command, effect={"transaction": tx})
    await case.sees_transaction(tx, active=True, started_by_command=command["id"])


async def tc_011_1(case: Case) -> None:
    """Remote start first."""
    await case.status(case.connector_id, "Available")
    command = await case.send("RemoteStartTransaction", remote_start(case), ACCEPTED)
    await case.authorized()
    await case.status(case.connector_id, "Preparing")
    tx = await case.start()
    await case.status(case.connector_id, "Charging")
    await case.sees_command(command, effect={"transaction": tx})
    await case.sees_transaction(tx, active=True, started_by_command=command["id"])


async def tc_011_2(case: Case) -> None:
    """Remote start first, ConnectionTimeOut."""
    before = await case.transaction_ids()
    command = await case.send("RemoteStartTransaction", remote_start(case), ACCEPTED)
    await case.authorized()
    await case.status(case.connector_id, "Preparing")
    await case.status(case.connector_id, "Available")
    await case.sees_command(command, status="answered", effect=None)
    case.check(await case.transaction_ids() == before, "The operator sees a transaction that never began.")
    await case.sees_connector(case.connector_id, status="Available", transaction=None)
    # Neither the id tag nor the connector is left reserved.
    await case.authorized()


async def tc_012(case: Case) -> None:
    """Remote stop."""
    tx = await case.charging()
    await case.send("RemoteStopTransaction", {"transactionId": tx}, ACCEPTED)
    # Accepted says that the charge point will stop, not that it has.
    await case.sees_transaction(tx, active=True)
    await case.ended(tx, "Remote")
    await case.sees_transaction(tx, active=False, stop_reason="Remote")


async def tc_013(case: Case) -> None:
    """Hard reset."""
    await case.send("Reset", {"type": "Hard"}, ACCEPTED)
    await case.reconnected()
    await case.booted()
    await case.sees("the charge point", case.operator.charge_point, connected=True, registration_status="Accepted")


async def tc_014(case: Case) -> None:
    """Soft reset."""
    await case.send("Reset", {"type": "Soft"}, ACCEPTED)
    await case.booted()
    await case.sees("the charge point", case.operator.charge_point, connected=True, registration_status="Accepted")


async def tc_017_1(case: Case) -> None:
    """Unlock connector, no session, detachable cable."""
    await case.send("UnlockConnector", {"connectorId": case.connector_id}, {"status": "Unlocked"})


async def tc_017_2(case: Case) -> None:
    """Unlock connector, no session, fixed cable."""
    await case.send("UnlockConnector", {"connectorId": case.connector_id}, {"status": "NotSupported"})


async def tc_018_1(case: Case) -> None:
    """Unlock connector with a session."""
    tx = await case.charging()
    await case.send("UnlockConnector", {"connectorId": case.connector_id}, {"status": "Unlocked"})
    await case.status(case.connector_id, "Finishing")
    await case.stop(tx, reason="UnlockCommand")
    await case.status(case.connector_id, "Available")
    await case.sees_transaction(tx, active=False, stop_reason="UnlockCommand")


async def tc_019_1(case: Case) -> None:
    """Read all configuration keys."""
    entries: list[dict[str, Any]] = [
        {"key": f"Certify.Key{number}", "readonly": number % 2 == 0, "value": str(number)}
        for number in range(MANY_KEYS)
    ]
    entries += [{"key": "Certify.NoValue", "readonly": False}, {"key": "Certify.Empty", "readonly": True, "value": ""}]
    answer = {"configurationKey": entries}
    command = await case.order("GetConfiguration", {})
    call = await case.expect("GetConfiguration")
    case.check(not call.payload.get("key"), "GetConfiguration names keys where all were asked for.")
    await case.reply(call, answer)
    await case.answered(command, answer)
    shown = await case.operator.configuration()
    for entry in entries:
        row = shown.get(entry["key"])
        case.check(row is not None, f"The operator does not see the configuration key {entry['key']}.")
        seen = {"value": (row or {}).get("value"), "readonly": (row or {}).get("readonly")}
        expected = {"value": entry.get("value"), "readonly": entry["readonly"]}
        case.equal(f"The operator sees the configuration key {entry['key']} otherwise", seen, expected)


async def tc_019_2(case: Case) -> None:
    """Read one configuration key."""
    key, value = "SupportedFeatureProfiles", "Core,FirmwareManagement,RemoteTrigger"
    answer = {"configurationKey": [{"key": key, "readonly": True, "value": value}]}
    await case.send("GetConfiguration", {"key": [key]}, answer)
    await case.sees_configuration(key, value=value, readonly=True)


async def tc_021(case: Case) -> None:
    """Change a configuration key."""
    await case.send("ChangeConfiguration", {"key": SAMPLE_INTERVAL, "value": "60"}, ACCEPTED)
    await case.sees_configuration(SAMPLE_INTERVAL, value="60")


async def tc_026(case: Case) -> None:
    """Remote start rejected."""
    before = await case.transaction_ids()
    command = await case.send("RemoteStartTransaction", remote_start(case), REJECTED)
    await case.sees_command(command, effect=None)
    case.check(await case.transaction_ids() == before, "The operator sees a transaction that never began.")


async def tc_028(case: Case) -> None:
    """Remote stop rejected."""
    tx = await case.charging()
    nobody = tx + 100_000 if tx < 2_000_000_000 else tx - 100_000
    await case.send("RemoteStopTransaction", {"transactionId": nobody}, REJECTED)
    await case.sees_transaction(tx, active=True, stopped_at=None)


async def tc_030(case: Case) -> None:
    """Unlock connector fails."""
    await case.send("UnlockConnector", {"connectorId": case.connector_id}, {"status": "UnlockFailed"})


async def tc_031(case: Case) -> None:
    """Unlock an unknown connector."""
    unknown = case.options.connectors + 7
    await case.send("UnlockConnector", {"connectorId": unknown}, {"status": "NotSupported"})


async def tc_040_1(case: Case) -> None:
    """Configuration key not supported."""
    key = "Certify.NoSuchKey"
    await case.send("ChangeConfiguration", {"key": key, "value": "anything"}, {"status": "NotSupported"})
    await case.sees_configuration(key, value=lambda value: value != "anything")


async def tc_040_2(case: Case) -> None:
    """Invalid configuration value."""
    await case.send("ChangeConfiguration", {"key": SAMPLE_INTERVAL, "value": "60"}, ACCEPTED)
    await case.send("ChangeConfiguration", {"key": SAMPLE_INTERVAL, "value": "-1"}, REJECTED)
    await case.sees_configuration(SAMPLE_INTERVAL, value="60")


async def tc_061(case: Case) -> None:
    """Clear the authorization cache."""
    await case.send("ClearCache", {}, ACCEPTED)
