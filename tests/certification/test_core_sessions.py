"""Core, what the charge point begins: cold boot, charging sessions, tokens, faults, outages, data transfer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.certification.case import Case
from tests.fake_charge_point import timestamp


def members(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


async def test_tc_001_cold_boot(case: Case) -> None:
    interval = await case.booted()
    heartbeat = await case.cp.heartbeat()
    assert set(heartbeat) == {"currentTime"}
    case.is_now(heartbeat["currentTime"])
    assert interval == 300
    seen = await case.charge_point()
    assert members(seen, "connected", "registration_status") == (True, "Accepted")
    assert members(seen, "vendor", "model", "firmware_version") == ("Fake", "Test", "1.0")
    case.is_now(seen["last_seen_at"])
    for connector_id in (0, 1, 2):
        connector = await case.connector(connector_id)
        assert members(connector, "status", "error_code", "transaction") == ("Available", "NoError", None)


async def test_tc_003_session_plug_in_first(case: Case) -> None:
    await case.status(1, "Preparing")
    await case.authorized()
    tx = await case.start(meter_start=4711)
    await case.status(1, "Charging")
    seen = await case.transaction(tx)
    assert members(seen, "id", "charge_point", "connector_id") == (tx, case.cp.identity, 1)
    assert members(seen, "id_tag", "meter_start_wh", "active") == (case.tokens.valid, 4711, True)
    assert members(seen, "stopped_at", "meter_stop_wh", "stop_reason", "flags") == (None, None, "", [])
    assert members(await case.connector(1), "status", "transaction") == ("Charging", tx)


async def test_tc_004_1_session_identify_first(case: Case) -> None:
    tx = await case.charging()
    seen = await case.transaction(tx)
    assert members(seen, "id_tag", "connector_id", "active") == (case.tokens.valid, 1, True)
    assert (await case.connector(1))["status"] == "Charging"


async def test_tc_004_2_identify_first_connection_timeout(case: Case) -> None:
    await case.authorized()
    await case.status(1, "Preparing")
    await case.status(1, "Available")
    assert await case.transactions() == []
    assert members(await case.connector(1), "status", "transaction") == ("Available", None)
    # The token is not left in use.
    await case.authorized()


async def test_tc_005_1_ev_side_disconnect_ends_session(case: Case) -> None:
    tx = await case.charging()
    await case.status(1, "SuspendedEV")
    await case.ended(tx, "EVDisconnected")
    seen = await case.transaction(tx)
    assert members(seen, "active", "stop_reason", "meter_stop_wh", "energy_wh") == (False, "EVDisconnected", 2000, 1000)
    assert members(await case.connector(1), "status", "transaction") == ("Available", None)


async def test_tc_007_cached_id(case: Case) -> None:
    await case.status(1, "Preparing")
    tx = await case.start()
    await case.status(1, "Charging")
    assert members(await case.transaction(tx), "active", "id_tag") == (True, case.tokens.valid)


@pytest.mark.parametrize("connected_first", [False, True], ids=["as_first_message", "after_preparing"])
async def test_tc_023_1_authorize_invalid(case: Case, connected_first: bool) -> None:
    if connected_first:
        await case.status(1, "Preparing")
    await case.authorize(case.tokens.unknown, {"status": "Invalid"})
    answer = ("out", "CALLRESULT", "Authorize", {"idTagInfo": {"status": "Invalid"}})
    assert (await case.messages())[-2:] == [("in", "CALL", "Authorize", {"idTag": case.tokens.unknown}), answer]


async def test_tc_023_2_authorize_expired(case: Case) -> None:
    registered = await case.get(f"id-tags/{case.tokens.expired}/")
    await case.status(1, "Preparing")
    await case.authorize(case.tokens.expired, {"expiryDate": registered["expiry_date"], "status": "Expired"})


async def test_tc_023_3_authorize_blocked(case: Case) -> None:
    registered = await case.get(f"id-tags/{case.tokens.blocked}/")
    assert members(registered, "status", "blocked") == ("Blocked", True)
    await case.status(1, "Preparing")
    await case.authorize(case.tokens.blocked, {"status": "Blocked"})


async def test_tc_024_lock_failure(case: Case) -> None:
    await case.authorized()
    await case.status(1, "Preparing")
    await case.status(1, "Faulted", "ConnectorLockFailure")
    assert members(await case.connector(1), "status", "error_code") == ("Faulted", "ConnectorLockFailure")
    assert await case.transactions() == []


async def test_tc_032_1_power_failure_stop_on_boot(case: Case) -> None:
    tx = await case.charging()
    await case.reconnected()
    assert (await case.transaction(tx))["active"] is True
    await case.booted(("Available", "Finishing", "Available"))
    # The boot has ended nothing.
    assert (await case.transaction(tx))["active"] is True
    await case.stop(tx, reason="PowerLoss")
    assert members(await case.transaction(tx), "active", "stop_reason", "flags") == (False, "PowerLoss", [])


async def test_tc_037_1_offline_start_valid_token(case: Case) -> None:
    await case.reconnected()
    started_at = timestamp(datetime.now(UTC) - timedelta(hours=3))
    tx = await case.start(timestamp=started_at)
    await case.status(1, "Charging")
    seen = await case.transaction(tx)
    assert members(seen, "started_at", "active", "flags") == (started_at, True, [])


async def test_tc_037_3_offline_start_invalid_token(case: Case) -> None:
    await case.reconnected()
    started_at = timestamp(datetime.now(UTC) - timedelta(hours=3))
    tx = await case.start(case.tokens.unknown, {"status": "Invalid"}, timestamp=started_at)
    await case.status(1, "Charging")
    assert await case.cp.stop_transaction(tx, 1200, reason="DeAuthorized") == {}
    await case.status(1, "Finishing")
    seen = await case.transaction(tx)
    assert members(seen, "id_tag", "active", "stop_reason") == (case.tokens.unknown, False, "DeAuthorized")
    assert members(seen, "energy_wh", "flags") == (200, ["id_tag_refused"])


async def test_tc_039_offline_transaction(case: Case) -> None:
    await case.reconnected()
    now = datetime.now(UTC)
    started_at, stopped_at = timestamp(now - timedelta(hours=5)), timestamp(now - timedelta(hours=4))
    start = {"connectorId": 1, "idTag": case.tokens.valid, "meterStart": 100, "timestamp": started_at}
    tx = (await case.cp.call("StartTransaction", start))["transactionId"]
    stop = {"transactionId": tx, "idTag": case.tokens.valid, "meterStop": 7300, "timestamp": stopped_at}
    assert await case.cp.call("StopTransaction", stop | {"reason": "Local"}) == {"idTagInfo": case.info}
    seen = await case.transaction(tx)
    assert members(seen, "started_at", "stopped_at", "active") == (started_at, stopped_at, False)
    assert members(seen, "energy_wh", "stop_reason", "flags") == (7200, "Local", [])


async def test_tc_064_data_transfer_to_the_csms(case: Case) -> None:
    payload = {"vendorId": "org.example.nobody", "messageId": "hello", "data": "x"}
    assert await case.cp.call("DataTransfer", payload) == {"status": "UnknownVendorId"}
    assert (await case.messages())[-2:] == [
        ("in", "CALL", "DataTransfer", payload),
        ("out", "CALLRESULT", "DataTransfer", {"status": "UnknownVendorId"}),
    ]
