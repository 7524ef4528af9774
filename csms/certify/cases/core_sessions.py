"""Core, what the charge point begins: cold boot, charging sessions, id tags, faults, outages, data transfer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from csms.certify.case import Case
from csms.certify.charge_point import timestamp

# What was charged while offline lies hours back: a central system that takes the time of arrival shows at once.
OFFLINE = timedelta(hours=3)
REFUSED_BY_VENDOR = ("UnknownVendorId", "UnknownMessageId", "Rejected")


async def tc_001(case: Case) -> None:
    """Cold boot."""
    await case.booted()
    heartbeat = await case.call("Heartbeat", {})
    case.is_now("currentTime in the answer to Heartbeat", heartbeat["currentTime"])
    await case.sees(
        "the charge point",
        case.operator.charge_point,
        connected=True,
        registration_status="Accepted",
        vendor="CSMS",
        model="Certification",
        firmware_version="1.0",
    )
    case.is_now("last_seen_at of the charge point", (await case.operator.charge_point())["last_seen_at"])
    for connector_id in range(case.options.connectors + 1):
        await case.sees_connector(connector_id, status="Available", error_code="NoError")


async def tc_003(case: Case) -> None:
    """Regular charging session, plug in first."""
    await case.status(case.connector_id, "Preparing")
    await case.authorized()
    tx = await case.start(meterStart=4711)
    await case.status(case.connector_id, "Charging")
    await case.sees_transaction(
        tx,
        charge_point=case.cp.identity,
        connector_id=case.connector_id,
        id_tag=case.id_tags.valid,
        meter_start_wh=4711,
        active=True,
        stopped_at=None,
    )
    await case.sees_connector(case.connector_id, status="Charging", transaction=tx)


async def tc_004_1(case: Case) -> None:
    """Regular charging session, identification first."""
    tx = await case.charging()
    await case.sees_transaction(
        tx,
        connector_id=case.connector_id,
        id_tag=case.id_tags.valid,
        meter_start_wh=case.meter_start_wh,
        active=True,
    )
    await case.sees_connector(case.connector_id, status="Charging", transaction=tx)


async def tc_004_2(case: Case) -> None:
    """Identification first, ConnectionTimeOut."""
    before = await case.transaction_ids()
    await case.authorized()
    await case.status(case.connector_id, "Preparing")
    await case.status(case.connector_id, "Available")
    await case.sees_connector(case.connector_id, status="Available", transaction=None)
    case.check(await case.transaction_ids() == before, "The operator sees a transaction that never began.")
    # The id tag is not left in use.
    await case.authorized()


async def tc_005_1(case: Case) -> None:
    """EV side disconnected ends the session."""
    tx = await case.charging()
    await case.status(case.connector_id, "SuspendedEV")
    await case.ended(tx, "EVDisconnected")
    await case.sees_transaction(
        tx,
        active=False,
        stop_reason="EVDisconnected",
        meter_stop_wh=case.meter_stop_wh,
        energy_wh=case.meter_stop_wh - case.meter_start_wh,
    )
    await case.sees_connector(case.connector_id, status="Available", transaction=None)


async def tc_007(case: Case) -> None:
    """Regular start with a cached id."""
    await case.status(case.connector_id, "Preparing")
    tx = await case.start()
    await case.status(case.connector_id, "Charging")
    await case.sees_transaction(tx, id_tag=case.id_tags.valid, active=True)


async def tc_023_1(case: Case) -> None:
    """Authorize, invalid."""
    await case.status(case.connector_id, "Preparing")
    await case.authorize(case.id_tags.unknown, "Invalid")
    await case.sees_message("Authorize", "CALL", "in", {"idTag": case.id_tags.unknown})
    await case.sees_message("Authorize", "CALLRESULT", "out", {"idTagInfo": {"status": "Invalid"}})


async def tc_023_2(case: Case) -> None:
    """Authorize, expired."""
    await case.status(case.connector_id, "Preparing")
    await case.authorize(case.id_tags.expired, "Expired")
    await _sees_id_tag(case, case.id_tags.expired, expiry_date=bool)


async def tc_023_3(case: Case) -> None:
    """Authorize, blocked."""
    await case.status(case.connector_id, "Preparing")
    await case.authorize(case.id_tags.blocked, "Blocked")
    await _sees_id_tag(case, case.id_tags.blocked, status="Blocked")


async def tc_024(case: Case) -> None:
    """Start session, lock failure."""
    await case.authorized()
    await case.status(case.connector_id, "Preparing")
    await case.status(case.connector_id, "Faulted", "ConnectorLockFailure")
    await case.sees_connector(case.connector_id, status="Faulted", error_code="ConnectorLockFailure", transaction=None)


async def tc_032_1(case: Case) -> None:
    """Power failure, transaction stopped at boot."""
    tx = await case.charging()
    await case.reconnected()
    await case.sees_transaction(tx, active=True)
    await case.booted({case.connector_id: "Finishing"})
    # The boot by itself has ended nothing.
    await case.sees_transaction(tx, active=True)
    await case.stop(tx, reason="PowerLoss")
    await case.sees_transaction(tx, active=False, stop_reason="PowerLoss", meter_stop_wh=case.meter_stop_wh)


async def tc_037_1(case: Case) -> None:
    """Offline start, valid id tag."""
    await case.reconnected()
    started_at = timestamp(datetime.now(UTC) - OFFLINE)
    tx = await case.start(timestamp=started_at)
    await case.status(case.connector_id, "Charging")
    await case.sees_transaction(tx, started_at=started_at, active=True)


async def tc_037_3(case: Case) -> None:
    """Offline start, invalid id tag, StopTransactionOnInvalidId."""
    await case.reconnected()
    started_at = timestamp(datetime.now(UTC) - OFFLINE)
    tx = await case.start(case.id_tags.unknown, "Invalid", timestamp=started_at)
    await case.status(case.connector_id, "Charging")
    await case.stop(tx, id_tag=None, meterStop=case.meter_start_wh + 200, reason="DeAuthorized")
    await case.status(case.connector_id, "Finishing")
    await case.sees_transaction(
        tx,
        id_tag=case.id_tags.unknown,
        started_at=started_at,
        active=False,
        stop_reason="DeAuthorized",
        energy_wh=200,
    )


async def tc_039(case: Case) -> None:
    """Offline transaction."""
    await case.reconnected()
    now = datetime.now(UTC)
    started_at, stopped_at = timestamp(now - OFFLINE), timestamp(now - OFFLINE / 2)
    tx = await case.start(meterStart=100, timestamp=started_at)
    await case.stop(tx, meterStop=7300, timestamp=stopped_at, reason="Local")
    await case.sees_transaction(
        tx, started_at=started_at, stopped_at=stopped_at, active=False, stop_reason="Local", energy_wh=7200
    )


async def tc_064(case: Case) -> None:
    """Data transfer to the central system."""
    payload = {"vendorId": "org.example.nobody", "messageId": "hello", "data": "x"}
    answer = await case.call("DataTransfer", payload)
    status = answer["status"]
    case.check(
        status in REFUSED_BY_VENDOR,
        f"DataTransfer of a vendor that nobody knows was answered with the status {status}.",
    )
    # OCPP 1.6 section 4.3: "and the data element SHALL not be present".
    case.check(status != REFUSED_BY_VENDOR[0] or "data" not in answer, "DataTransfer was refused with data.")
    await case.sees_message("DataTransfer", "CALL", "in", payload)


async def _sees_id_tag(case: Case, id_tag: str, **expected: object) -> None:
    await case.sees(f"the id tag {id_tag}", lambda: case.operator.get(f"id-tags/{id_tag}/"), **expected)
