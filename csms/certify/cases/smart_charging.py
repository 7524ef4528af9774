"""Smart Charging: profiles of every purpose set, read as a composite schedule, and cleared.

The operator sends a profile of the library by reference in some cases and writes it into the command in the others.
The CSMS allocates the chargingProfileId; whatever else is in a profile is the operator's, member for member.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from csms.certify.case import ACCEPTED, Case
from csms.certify.charge_point import timestamp

STACK_LEVEL = 2
DURATION_SECONDS = 300
RATE_UNIT = "A"
PERIOD: dict[str, Any] = {"startPeriod": 0, "limit": 6.0, "numberPhases": 3}


async def tc_056(case: Case) -> None:
    """Default profile for transactions."""
    here = {"connectorId": case.connector_id}
    async with _library(case, absolute("TxDefaultProfile")) as profile:
        number = profile["chargingProfileId"]
        on_wire = here | {"csChargingProfiles": profile}
        await _send_from_library(case, "SetChargingProfile", here, number, on_wire)
        await _sees_installed(
            case,
            number,
            connector_id=case.connector_id,
            purpose="TxDefaultProfile",
            stack_level=STACK_LEVEL,
            transaction=None,
            profile=profile,
        )
        await _cleared(case, {"id": number}, number)


async def tc_057(case: Case) -> None:
    """Profile of a transaction."""
    tx = await case.charging()
    here = {"connectorId": case.connector_id}
    # Both kinds that the text allows; the second takes the place of the first.
    async with _library(case, absolute("TxProfile")) as profile:
        number = profile["chargingProfileId"]
        sent = profile | {"transactionId": tx}
        on_wire = here | {"csChargingProfiles": sent}
        await _send_from_library(case, "SetChargingProfile", here, number, on_wire, transaction_id=tx)
        await _sees_installed(
            case, number, connector_id=case.connector_id, purpose="TxProfile", transaction=tx, profile=sent
        )
    later = await _set(case, case.connector_id, relative("TxProfile") | {"transactionId": tx})
    await _sees_installed(case, later, connector_id=case.connector_id, purpose="TxProfile", transaction=tx)
    await _sees_gone(case, number, kept=(later,))


async def tc_059(case: Case) -> None:
    """Remote start with a profile."""
    payload = {"connectorId": case.connector_id, "idTag": case.id_tags.valid}
    async with _library(case, relative("TxProfile")) as profile:
        number = profile["chargingProfileId"]
        on_wire = payload | {"chargingProfile": profile}
        command = await _send_from_library(case, "RemoteStartTransaction", payload, number, on_wire)
        await case.authorized()
        await case.status(case.connector_id, "Preparing")
        tx = await case.start()
        await case.status(case.connector_id, "Charging")
        await case.sees_command(command, effect={"transaction": tx})
        await case.sees_transaction(tx, active=True, started_by_command=command["id"])
        await _sees_installed(
            case, number, connector_id=case.connector_id, purpose="TxProfile", transaction=tx, profile=profile
        )


async def tc_066(case: Case) -> None:
    """Get the composite schedule."""
    order = {"connectorId": case.connector_id, "duration": DURATION_SECONDS, "chargingRateUnit": RATE_UNIT}
    # startSchedule is omitted in the schedule (errata v4.0 3.57); scheduleStart tells when it begins.
    answer = {
        "status": "Accepted",
        "connectorId": case.connector_id,
        "scheduleStart": timestamp(),
        "chargingSchedule": {
            "duration": DURATION_SECONDS,
            "chargingRateUnit": RATE_UNIT,
            "chargingSchedulePeriod": [PERIOD, {"startPeriod": 120, "limit": 16.1}],
        },
    }
    await case.send("GetCompositeSchedule", order, answer)


async def tc_067(case: Case) -> None:
    """Clear charging profiles."""
    tx = await case.charging()
    maximum = await _set(case, 0, absolute("ChargePointMaxProfile"))
    default = await _set(case, case.connector_id, absolute("TxDefaultProfile"))
    own = await _set(case, case.connector_id, absolute("TxProfile") | {"transactionId": tx})
    case.check(len({maximum, default, own}) == 3, "Two charging profiles were given the same chargingProfileId.")
    await _sees_installed(case, maximum, connector_id=0, purpose="ChargePointMaxProfile", transaction=None)
    await _sees_installed(case, default, connector_id=case.connector_id, purpose="TxDefaultProfile", transaction=None)
    await _sees_installed(case, own, connector_id=case.connector_id, purpose="TxProfile", transaction=tx)
    await _cleared(case, {"id": maximum}, maximum, kept=(default, own))
    criteria = {
        "connectorId": case.connector_id,
        "chargingProfilePurpose": "TxDefaultProfile",
        "stackLevel": STACK_LEVEL,
    }
    await _cleared(case, criteria, default, kept=(own,))
    await _cleared(case, {}, own)


# --- profiles ---------------------------------------------------------------------------------------------------------
def absolute(purpose: str) -> dict[str, Any]:
    """An Absolute profile with all that the cases want of one, and nothing else."""
    now = datetime.now(UTC)
    return {
        "stackLevel": STACK_LEVEL,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "validFrom": timestamp(now - timedelta(hours=1)),
        "validTo": timestamp(now + timedelta(days=1)),
        "chargingSchedule": {
            "duration": DURATION_SECONDS,
            "startSchedule": timestamp(now - timedelta(minutes=1)),
            "chargingRateUnit": RATE_UNIT,
            "chargingSchedulePeriod": [PERIOD],
        },
    }


def relative(purpose: str) -> dict[str, Any]:
    """A Relative profile: from the start of charging, so without startSchedule."""
    return {
        "stackLevel": STACK_LEVEL,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "duration": DURATION_SECONDS,
            "chargingRateUnit": RATE_UNIT,
            "chargingSchedulePeriod": [PERIOD],
        },
    }


@asynccontextmanager
async def _library(case: Case, profile: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Keep `profile` in the library for as long as the block lasts; gives it as it must be on the wire."""
    body = {"description": f"Certification run, {case.testbed.identity}", "profile": profile}
    row = await case.operator.request("POST", "charging-profiles/", body)
    try:
        # "`id` is the chargingProfileId on the wire": the contract of the API.
        yield {"chargingProfileId": int(row["id"])} | profile
    finally:
        await case.operator.request("DELETE", f"charging-profiles/{row['id']}/")


async def _send_from_library(
    case: Case, action: str, payload: dict[str, Any], number: int, on_wire: dict[str, Any], **members: Any
) -> dict[str, Any]:
    """The operator refers to a profile of the library, the charge point receives exactly `on_wire` and accepts."""
    command = await case.order(action, payload, charging_profile_id=number, **members)
    await case.reply(await case.expect(action, on_wire), ACCEPTED)
    return await case.answered(command, ACCEPTED)


async def _set(case: Case, connector_id: int, profile: dict[str, Any]) -> int:
    """The operator writes a profile into the command, the charge point accepts; the chargingProfileId."""
    command = await case.order("SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": profile})
    call = await case.expect("SetChargingProfile")
    number = int(call.payload["csChargingProfiles"]["chargingProfileId"])
    case.check(number > 0, f"SetChargingProfile has the chargingProfileId {number}.")
    case.equal(
        "The request SetChargingProfile is not what the operator ordered",
        call.payload,
        {"connectorId": connector_id, "csChargingProfiles": {"chargingProfileId": number} | profile},
    )
    await case.reply(call, ACCEPTED)
    await case.answered(command, ACCEPTED)
    return number


async def _cleared(case: Case, criteria: dict[str, Any], gone: int, kept: tuple[int, ...] = ()) -> None:
    """The operator clears by exactly these criteria, and sees that one profile is gone and the others are not."""
    await case.send("ClearChargingProfile", criteria, ACCEPTED)
    await _sees_gone(case, gone, kept)


# --- what the operator sees -------------------------------------------------------------------------------------------
async def _installed(case: Case) -> dict[int, dict[str, Any]]:
    """The profiles that the operator sees as installed on the charge point, by chargingProfileId."""
    found = await case.operator.get(f"{case.operator.path}installed-profiles/")
    return {row["charging_profile_id"]: row for row in found["results"]}


async def _sees_installed(case: Case, number: int, **expected: Any) -> None:
    async def look() -> dict[str, Any]:
        return (await _installed(case)).get(number, {})

    await case.sees(f"the installed profile {number}", look, charging_profile_id=number, **expected)


async def _sees_gone(case: Case, gone: int, kept: tuple[int, ...]) -> None:
    async def look() -> dict[str, Any]:
        return {"installed": sorted(await _installed(case))}

    await case.sees(
        f"the charge point, where profile {gone} is no more",
        look,
        installed=lambda installed: gone not in installed and set(kept) <= set(installed),
    )
