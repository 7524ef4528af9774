"""Core, what the operator begins: remote start and stop, reset, unlock, configuration, authorization cache."""

from __future__ import annotations

from typing import Any

from tests.certification.case import Case

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}


def codes(command: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in command["warnings"]]


def remote_start(case: Case) -> dict[str, Any]:
    """Members in the order of the schema."""
    return {"connectorId": 1, "idTag": case.tokens.valid}


async def test_tc_010_remote_start_cable_in_first(case: Case) -> None:
    await case.status(1, "Preparing")
    command = await case.send("RemoteStartTransaction", remote_start(case), ACCEPTED)
    assert command["effect"] is None
    await case.authorized()
    tx = await case.start()
    await case.status(1, "Charging")
    assert (await case.final(command))["effect"] == {"transaction": tx}
    assert (await case.transaction(tx))["started_by_command"] == command["id"]


async def test_tc_011_1_remote_start_first(case: Case) -> None:
    await case.status(1, "Available")
    command = await case.send("RemoteStartTransaction", remote_start(case), ACCEPTED)
    assert command["warnings"] == []
    await case.authorized()
    await case.status(1, "Preparing")
    tx = await case.start()
    await case.status(1, "Charging")
    assert (await case.final(command))["effect"] == {"transaction": tx}


async def test_tc_011_2_remote_start_timeout(case: Case) -> None:
    command = await case.send("RemoteStartTransaction", remote_start(case), ACCEPTED)
    await case.authorized()
    await case.status(1, "Preparing")
    await case.status(1, "Available")
    assert await case.transactions() == []
    seen = await case.final(command)
    assert (seen["status"], seen["effect"]) == ("answered", None)
    # Neither the token nor the connector is left reserved.
    await case.authorized()
    assert (await case.connector(1))["transaction"] is None


async def test_tc_012_remote_stop(case: Case) -> None:
    tx = await case.charging()
    await case.send("RemoteStopTransaction", {"transactionId": tx}, ACCEPTED)
    assert (await case.transaction(tx))["active"] is True
    await case.ended(tx, "Remote")
    seen = await case.transaction(tx)
    assert (seen["active"], seen["stop_reason"], seen["flags"]) == (False, "Remote", [])


async def test_tc_013_hard_reset(case: Case) -> None:
    command = await case.send("Reset", {"type": "Hard"}, ACCEPTED)
    await case.reconnected()
    await case.booted()
    effect = (await case.final(command))["effect"]
    case.is_now(effect["booted_at"])
    assert set(effect) == {"boot", "booted_at"}


async def test_tc_014_soft_reset(case: Case) -> None:
    command = await case.send("Reset", {"type": "Soft"}, ACCEPTED)
    await case.booted()
    assert (await case.final(command))["effect"] is not None


async def test_tc_017_1_unlock_no_session_detachable_cable(case: Case) -> None:
    command = await case.send("UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"})
    assert command["response"] == {"status": "Unlocked"}


async def test_tc_017_2_unlock_no_session_fixed_cable(case: Case) -> None:
    command = await case.send("UnlockConnector", {"connectorId": 1}, {"status": "NotSupported"})
    assert (command["status"], command["response"]) == ("answered", {"status": "NotSupported"})


async def test_tc_018_1_unlock_with_session(case: Case) -> None:
    tx = await case.charging()
    await case.send("UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"})
    await case.status(1, "Finishing")
    await case.stop(tx, reason="UnlockCommand")
    await case.status(1, "Available")
    seen = await case.transaction(tx)
    assert (seen["active"], seen["stop_reason"]) == (False, "UnlockCommand")


async def test_tc_019_1_read_all_configuration(case: Case) -> None:
    entries: list[dict[str, Any]] = [
        {"key": f"Vendor.Key{number}", "readonly": number % 2 == 0, "value": str(number)} for number in range(50)
    ]
    entries += [{"key": "CpoName", "readonly": False}, {"key": "Empty", "readonly": True, "value": ""}]
    await case.send("GetConfiguration", {}, {"configurationKey": entries})
    seen = await case.configuration()
    assert len(seen) == 52
    shown = {key: (row["value"], row["readonly"]) for key, row in seen.items()}
    assert shown == {entry["key"]: (entry.get("value"), entry["readonly"]) for entry in entries}


async def test_tc_019_2_read_one_key(case: Case) -> None:
    value = "Core,FirmwareManagement,RemoteTrigger"
    answer = {"configurationKey": [{"key": "SupportedFeatureProfiles", "readonly": True, "value": value}]}
    await case.send("GetConfiguration", {"key": ["SupportedFeatureProfiles"]}, answer)
    seen = await case.configuration()
    assert {key: row["value"] for key, row in seen.items()} == {"SupportedFeatureProfiles": value}


async def test_tc_021_change_configuration(case: Case) -> None:
    await case.send("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "60"}, ACCEPTED)
    seen = (await case.configuration())["MeterValueSampleInterval"]
    assert (seen["value"], seen["desired_value"], seen["drift"]) == ("60", "60", False)


async def test_tc_026_remote_start_rejected(case: Case) -> None:
    command = await case.send("RemoteStartTransaction", remote_start(case), REJECTED)
    assert (command["status"], command["response"], command["effect"]) == ("answered", REJECTED, None)
    assert await case.transactions() == []


async def test_tc_028_remote_stop_rejected(case: Case) -> None:
    tx = await case.charging()
    command = await case.send("RemoteStopTransaction", {"transactionId": tx + 100_000}, REJECTED)
    assert codes(command) == ["unknown_transaction"]
    seen = await case.transaction(tx)
    assert (seen["active"], seen["stopped_at"], seen["flags"]) == (True, None, [])


async def test_tc_030_unlock_failure(case: Case) -> None:
    command = await case.send("UnlockConnector", {"connectorId": 1}, {"status": "UnlockFailed"})
    assert command["response"] == {"status": "UnlockFailed"}


async def test_tc_031_unlock_unknown_connector(case: Case) -> None:
    await case.booted()
    command = await case.send("UnlockConnector", {"connectorId": 9}, {"status": "NotSupported"})
    assert codes(command) == ["unknown_connector"]


async def test_tc_040_1_key_not_supported(case: Case) -> None:
    await case.send("ChangeConfiguration", {"key": "NoSuch.Key", "value": "anything"}, {"status": "NotSupported"})
    assert await case.configuration() == {}


async def test_tc_040_2_invalid_value(case: Case) -> None:
    await case.send("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "60"}, ACCEPTED)
    await case.send("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "-1"}, REJECTED)
    seen = (await case.configuration())["MeterValueSampleInterval"]
    assert (seen["value"], seen["desired_value"]) == ("60", "60")


async def test_tc_061_clear_authorization_cache(case: Case) -> None:
    command = await case.send("ClearCache", {}, ACCEPTED)
    assert (command["status"], command["response"]) == ("answered", ACCEPTED)
