"""Smart Charging: the five cases; and what is owed beside them: recurring and stacked profiles, composition."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.certification.case import Case
from tests.fake_charge_point import CallErrorReceived, ReceivedCall, timestamp

ACCEPTED = {"status": "Accepted"}
DAY = 86_400


def at(**ahead: float) -> str:
    """A time in whole seconds from now, as the operator enters it."""
    return timestamp((datetime.now(UTC) + timedelta(**ahead)).replace(microsecond=0))


def absolute(purpose: str, level: int = 1, *, unit: str = "A", limit: Any = 6.0, **members: Any) -> dict[str, Any]:
    """An Absolute profile with all that the cases want of one; members in the order of the schema."""
    return {
        **members,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "validFrom": at(hours=-1),
        "validTo": at(days=1),
        "chargingSchedule": {
            "duration": 300,
            "startSchedule": at(minutes=-1),
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
        },
    }


def relative(level: int = 1, *, unit: str = "A", limit: Any = 6.0, **members: Any) -> dict[str, Any]:
    return {
        **members,
        "stackLevel": level,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit, "numberPhases": 3}],
        },
    }


async def store(case: Case, profile: dict[str, Any], description: str = "") -> int:
    """Put a profile into the library; its id."""
    body = {"description": description, "profile": profile}
    made = await asyncio.to_thread(case.csms.post, "charging-profiles/", body)
    assert made["profile"] == {"chargingProfileId": made["id"], **profile}
    return int(made["id"])


async def send_referring(
    case: Case, action: str, payload: dict[str, Any], on_wire: dict[str, Any], **references: int
) -> dict[str, Any]:
    """Send a request that refers to what we own; the charge point accepts exactly `on_wire`; the final command."""
    path = f"charge-points/{case.cp.identity}/commands/"
    body = {"action": action, "payload": payload, **references}
    command = await asyncio.to_thread(case.csms.post, path, body)
    received = await case.expect(action, on_wire)
    is_on_wire(case, received, on_wire)
    await case.cp.reply(received, ACCEPTED)
    final = await case.final(command)
    assert (final["status"], final["response"]) == ("answered", ACCEPTED)
    return final


def is_on_wire(case: Case, received: ReceivedCall, payload: dict[str, Any]) -> None:
    """The frame is `payload` character for character: nested members in order, 6.0 as 6.0, nothing added."""
    frame = next(one for one in case.cp.received if one.frame[0] == 2 and one.frame[1] == received.message_id)
    text = frame.text if isinstance(frame.text, str) else frame.text.decode()
    assert text == json.dumps([2, received.message_id, received.action, payload], separators=(",", ":"))


async def installed(case: Case) -> dict[int, tuple[int, str, str]]:
    """What we believe that the charge point has: connector, purpose and state by chargingProfileId."""
    found = await case.get(f"charge-points/{case.cp.identity}/installed-profiles/")
    return {row["charging_profile_id"]: (row["connector_id"], row["purpose"], row["state"]) for row in found["results"]}


async def composite(case: Case, connector_id: int, duration: int = 600, unit: str = "A", **params: Any) -> Any:
    found = await case.get(
        f"charge-points/{case.cp.identity}/composite-schedule/",
        connector_id=connector_id, duration=duration, unit=unit, **params,
    )  # fmt: skip
    return found["charging_schedule"] and found["charging_schedule"]["chargingSchedulePeriod"]


@pytest.mark.parametrize(("unit", "limit"), [("A", 6.0), ("W", 6000.0), ("A", 16.1), ("A", 6)])
async def test_tc_056_tx_default_profile(case: Case, unit: str, limit: Any) -> None:
    profile = absolute("TxDefaultProfile", 2, unit=unit, limit=limit)
    pk = await store(case, profile, "Case 056")
    on_wire = {"connectorId": 1, "csChargingProfiles": {"chargingProfileId": pk, **profile}}
    command = await send_referring(case, "SetChargingProfile", {"connectorId": 1}, on_wire, charging_profile_id=pk)
    assert command["warnings"] == []
    assert await installed(case) == {pk: (1, "TxDefaultProfile", "believed")}


async def test_tx_default_profile_written_as_json_with_number_phases(case: Case) -> None:
    profile = absolute("TxDefaultProfile", chargingProfileId=56)
    profile["chargingSchedule"]["chargingSchedulePeriod"][0]["numberPhases"] = 3
    payload = {"connectorId": 0, "csChargingProfiles": profile}
    await case.send("SetChargingProfile", payload, ACCEPTED)
    assert await installed(case) == {56: (0, "TxDefaultProfile", "believed")}


async def test_tc_057_tx_profile(case: Case) -> None:
    tx = await case.charging()
    profile = absolute("TxProfile", 0)
    pk = await store(case, profile)
    on_wire = {
        "connectorId": 1,
        "csChargingProfiles": {"chargingProfileId": pk, "transactionId": tx, **profile},
    }
    command = await send_referring(
        case, "SetChargingProfile", {"connectorId": 1}, on_wire, charging_profile_id=pk, transaction_id=tx
    )
    assert command["warnings"] == []
    assert await installed(case) == {pk: (1, "TxProfile", "believed")}
    await case.ended(tx)
    assert await installed(case) == {}


async def test_relative_tx_profile_ends_with_its_transaction(case: Case) -> None:
    tx = await case.charging()
    profile = relative(chargingProfileId=57, transactionId=tx)
    await case.send("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}, ACCEPTED)
    assert await composite(case, 1) == [{"startPeriod": 0, "limit": 6.0, "numberPhases": 3}]
    await case.ended(tx)
    assert await composite(case, 1) is None


async def test_tc_059_remote_start_with_profile(case: Case) -> None:
    await case.status(1, "Available")
    profile = relative()
    # A transactionId in the library is left out: there is no transaction yet.
    pk = await store(case, {"transactionId": 0, **profile})
    payload = {"connectorId": 1, "idTag": case.tokens.valid}
    on_wire = {**payload, "chargingProfile": {"chargingProfileId": pk, **profile}}
    command = await send_referring(case, "RemoteStartTransaction", payload, on_wire, charging_profile_id=pk)
    assert await installed(case) == {}
    await case.authorized()
    await case.status(1, "Preparing")
    tx = await case.start()
    await case.status(1, "Charging")
    assert (await case.final(command))["effect"] == {"transaction": tx}
    assert await installed(case) == {pk: (1, "TxProfile", "believed")}
    # A later TxProfile of the same stack level replaces it (errata v4.0 3.42).
    later = relative(chargingProfileId=pk + 1000, transactionId=tx)
    await case.send("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": later}, ACCEPTED)
    assert await installed(case) == {pk + 1000: (1, "TxProfile", "believed")}


async def test_tc_066_composite_schedule(case: Case) -> None:
    profile = absolute("TxDefaultProfile", chargingProfileId=66)
    await case.send("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}, ACCEPTED)
    answer = {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": timestamp(),
        "chargingSchedule": {
            "duration": 200,
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}],
        },
    }
    payload = {"connectorId": 1, "duration": 200, "chargingRateUnit": "A"}
    command = await case.send("GetCompositeSchedule", payload, answer)
    assert command["effect"] == {"agrees": True, "charging_profile_ids": [66]}
    assert await installed(case) == {66: (1, "TxDefaultProfile", "confirmed")}
    # One that says something else takes the confirmation back.
    answer["chargingSchedule"]["chargingSchedulePeriod"] = [{"startPeriod": 0, "limit": 32.0}]  # type: ignore[index]
    command = await case.send("GetCompositeSchedule", payload, answer)
    assert command["effect"] == {"agrees": False, "charging_profile_ids": [66]}
    assert await installed(case) == {66: (1, "TxDefaultProfile", "believed")}
    refused = await case.send("GetCompositeSchedule", {"connectorId": 9, "duration": 200}, {"status": "Rejected"})
    assert refused["effect"] is None


async def test_tc_067_clear_profiles(case: Case) -> None:
    tx = await case.charging()
    whole = absolute("ChargePointMaxProfile", 3, chargingProfileId=6701)
    default = absolute("TxDefaultProfile", 3, chargingProfileId=6702)
    own = absolute("TxProfile", 3, chargingProfileId=6703, transactionId=tx)
    for connector_id, profile in ((0, whole), (1, default), (1, own)):
        payload = {"connectorId": connector_id, "csChargingProfiles": profile}
        assert (await case.send("SetChargingProfile", payload, ACCEPTED))["warnings"] == []
    assert sorted(await installed(case)) == [6701, 6702, 6703]
    assert (await case.send("ClearChargingProfile", {"id": 6701}, ACCEPTED))["warnings"] == []
    assert sorted(await installed(case)) == [6702, 6703]
    criteria = {"connectorId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 3}
    await case.send("ClearChargingProfile", criteria, ACCEPTED)
    assert sorted(await installed(case)) == [6703]
    await case.send("ClearChargingProfile", {}, ACCEPTED)
    assert await installed(case) == {}


# --- owed beside the cases --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "period"), [("Daily", DAY), ("Weekly", 7 * DAY)])
async def test_recurring_profile_comes_back_every_day_or_week(case: Case, kind: str, period: int) -> None:
    begin = (datetime.now(UTC) - timedelta(days=15)).replace(microsecond=0)
    profile = {
        "chargingProfileId": 70,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Recurring",
        "recurrencyKind": kind,
        "chargingSchedule": {
            "duration": 7200,
            "startSchedule": timestamp(begin),
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11000}, {"startPeriod": 3600, "limit": 3680.5}],
        },
    }
    payload = {"connectorId": 0, "csChargingProfiles": profile}
    command = await case.command("SetChargingProfile", payload)
    assert command["warnings"] == []
    received = await case.expect("SetChargingProfile", payload)
    is_on_wire(case, received, payload)
    await case.cp.reply(received, ACCEPTED)
    await case.final(command)
    found = await composite(case, 1, period + 1, "W", at=timestamp(begin + timedelta(seconds=period)))
    assert found == [
        {"startPeriod": 0, "limit": 11000.0},
        {"startPeriod": 3600, "limit": 3680.5},
        {"startPeriod": 7200, "limit": None},
        {"startPeriod": period, "limit": 11000.0},
    ]


async def test_of_stacked_profiles_the_highest_wins_while_it_lasts_and_never_above_the_charge_point_max(
    case: Case,
) -> None:
    tx = await case.charging()
    low = absolute("TxDefaultProfile", 0, limit=10.0, chargingProfileId=1)
    low["chargingSchedule"]["duration"] = 7200
    high = absolute("TxDefaultProfile", 5, limit=6.0, chargingProfileId=2)
    own = relative(2, limit=32.0, chargingProfileId=3, transactionId=tx)
    whole = absolute("ChargePointMaxProfile", 0, unit="W", limit=13800.0, chargingProfileId=4)
    whole["chargingSchedule"]["duration"] = 7200
    for connector_id, profile in ((1, low), (1, high)):
        await case.send("SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": profile}, ACCEPTED)
    (first, second) = await composite(case, 1)
    assert (first["limit"], second["limit"]) == (6.0, 10.0)
    assert 200 < second["startPeriod"] <= 240
    for connector_id, profile in ((1, own), (0, whole)):
        await case.send("SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": profile}, ACCEPTED)
    # 13800 W on three phases at 230 V are 20 A, less than the 32 A of the transaction's own profile.
    assert await composite(case, 1) == [{"startPeriod": 0, "limit": 20.0}]
    await case.ended(tx)
    assert [period["limit"] for period in await composite(case, 1)] == [6.0, 10.0]


async def test_default_of_a_connector_comes_before_that_of_connector_0_which_stays_for_the_others(case: Case) -> None:
    await case.booted()
    everywhere = absolute("TxDefaultProfile", limit=10.0, chargingProfileId=1)
    here = absolute("TxDefaultProfile", limit=16.0, chargingProfileId=2)
    for connector_id, profile in ((0, everywhere), (1, here)):
        await case.send("SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": profile}, ACCEPTED)
    assert [period["limit"] for period in await composite(case, 1, 60)] == [16.0]
    assert [period["limit"] for period in await composite(case, 2, 60)] == [10.0]
    assert [period["limit"] for period in await composite(case, 0, 60)] == [26.0]


@pytest.mark.parametrize("status", ["Rejected", "NotSupported"])
async def test_profile_that_is_refused_is_not_installed_and_replaces_nothing(case: Case, status: str) -> None:
    first = absolute("TxDefaultProfile", chargingProfileId=1)
    await case.send("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": first}, ACCEPTED)
    second = absolute("TxDefaultProfile", chargingProfileId=2)
    await case.send("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": second}, {"status": status})
    assert list(await installed(case)) == [1]


async def test_callerror_changes_nothing_and_is_shown(case: Case) -> None:
    payload = {"connectorId": 1, "csChargingProfiles": absolute("TxDefaultProfile", chargingProfileId=1)}
    command = await case.command("SetChargingProfile", payload)
    received = await case.expect("SetChargingProfile", payload)
    await case.cp.reply_error(received, "NotSupported", "No smart charging")
    final = await case.final(command)
    assert (final["status"], final["error"]["code"]) == ("error", "NotSupported")
    assert await installed(case) == {}


async def test_clear_that_finds_nothing_drops_ours_too(case: Case) -> None:
    payload = {"connectorId": 1, "csChargingProfiles": absolute("TxDefaultProfile", chargingProfileId=1)}
    await case.send("SetChargingProfile", payload, ACCEPTED)
    await case.send("ClearChargingProfile", {"stackLevel": 1}, {"status": "Unknown"})
    assert await installed(case) == {}


async def test_odd_profile_is_sent_as_it_is_with_warnings(case: Case) -> None:
    profile = relative(chargingProfileId=9000)
    profile["chargingSchedule"]["chargingSchedulePeriod"][0]["startPeriod"] = 60
    command = await case.send("SetChargingProfile", {"connectorId": 0, "csChargingProfiles": profile}, ACCEPTED)
    assert [warning["code"] for warning in command["warnings"]] == [
        "first_period_not_zero", "tx_profile_on_connector_0", "tx_profile_without_transaction",
    ]  # fmt: skip


async def test_profile_without_an_id_gets_one(case: Case) -> None:
    profile = absolute("TxDefaultProfile")
    command = await case.command("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile})
    pk = command["payload"]["csChargingProfiles"]["chargingProfileId"]
    on_wire = {"connectorId": 1, "csChargingProfiles": {"chargingProfileId": pk, **profile}}
    await case.cp.reply(await case.expect("SetChargingProfile", on_wire), ACCEPTED)
    await case.final(command)
    assert await installed(case) == {pk: (1, "TxDefaultProfile", "believed")}
    assert await store(case, profile) > pk > 0


async def test_charge_point_cannot_send_a_request_of_the_central_system(case: Case) -> None:
    with pytest.raises(CallErrorReceived) as error:
        await case.cp.call("GetCompositeSchedule", {"connectorId": 1, "duration": 60})
    assert error.value.code == "NotSupported"
