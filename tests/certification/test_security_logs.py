"""Security extension: security log, signed firmware, security events; begun through `commands/` and the resources."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.certification.case import Case
from tests.fake_charge_point import timestamp
from tests.stations.signatures import certificate, key_of, sign

LOCATION = "ftp://user:p%40ss@logs.example.com/incoming/%41/"
SHOWN_LOCATION = "ftp://user:***@logs.example.com/incoming/%41/"
FIRMWARE = "https://Updates.Example.com:8443/fw/AC%20100/v2.1/image.bin?x=1&y="
RETRIEVE = "2026-03-01T12:00:00.000Z"


async def log_status(case: Case, status: str, **members: Any) -> None:
    assert await case.cp.call("LogStatusNotification", {"status": status, **members}) == {}


async def firmware_status(case: Case, status: str, **members: Any) -> None:
    assert await case.cp.call("SignedFirmwareStatusNotification", {"status": status, **members}) == {}


async def security_event(case: Case, event_type: str, **members: Any) -> None:
    payload = {"type": event_type, "timestamp": timestamp(datetime.now(UTC)), **members}
    assert await case.cp.call("SecurityEventNotification", payload) == {}


async def rows(case: Case, kind: str) -> list[dict[str, Any]]:
    """The rows of a resource that are of this charge point, newest first, each with its statuses if it has any."""
    found = (await case.get(f"{kind}/", charge_point=case.cp.identity))["results"]
    return [await case.get(f"{kind}/{row['id']}/") for row in found]


def progress(row: dict[str, Any]) -> tuple[str, bool, list[str]]:
    return row["status"], row["final"], [entry["status"] for entry in row["statuses"]]


# --- 079 --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("named", [True, False], ids=["with requestId", "without requestId"])
async def test_tc_079_get_security_log(case: Case, named: bool) -> None:
    payload = {"log": {"remoteLocation": LOCATION}, "logType": "SecurityLog", "requestId": 4711}
    answer = {"status": "Accepted", "filename": "security_0301.log"}
    command = await case.send("GetLog", payload, answer)
    members = {"requestId": 4711} if named else {}
    await log_status(case, "Uploading", **members)
    (row,) = await rows(case, "logs")
    assert (row["file_name"], row["location"], row["request_id"]) == ("security_0301.log", SHOWN_LOCATION, 4711)
    assert progress(row) == ("Uploading", False, ["Uploading"])
    await log_status(case, "Uploaded", **members)
    (row,) = await rows(case, "logs")
    assert progress(row) == ("Uploaded", True, ["Uploading", "Uploaded"])
    effect = (await case.final(command))["effect"]
    assert (effect["log"], effect["status"]) == (row["id"], "Uploaded")


async def test_security_log_comes_to_us(case: Case) -> None:
    body = {"charge_point": case.cp.identity, "log_type": "SecurityLog"}
    asked = await asyncio.to_thread(lambda: case.csms.post("logs/", body))
    received = await case.expect_any("GetLog")
    request_id, location = received.payload["requestId"], received.payload["log"]["remoteLocation"]
    expected = {"log": {"remoteLocation": location}, "logType": "SecurityLog", "requestId": request_id}
    assert received.payload == expected
    await case.cp.reply(received, {"status": "Accepted", "filename": "security.log"})
    await log_status(case, "Uploading", requestId=request_id)
    async with httpx.AsyncClient() as http:
        # The server of the tests is not where the URL says that the world reaches it.
        sent = await http.put(
            case.csms.server.http_url + httpx.URL(location).raw_path.decode(), content=b"events\n" * 99
        )
    assert sent.status_code in (200, 201, 204)
    await log_status(case, "Uploaded", requestId=request_id)
    row = await case.get(f"logs/{asked['id']}/")
    assert progress(row) == ("Uploaded", True, ["Uploading", "Uploaded"])
    assert (row["file"]["name"], row["file"]["size"]) == ("security.log", 693)


# --- 080, 081 ---------------------------------------------------------------------------------------------------------
def signed_update(signature: str, pem: str, **members: Any) -> dict[str, Any]:
    firmware = {"location": FIRMWARE, "retrieveDateTime": RETRIEVE, "signingCertificate": pem, "signature": signature}
    return {"requestId": 21, "firmware": {**firmware, **members}}


LAST_FOUR = ("boot", "event", "available", "installed")
ORDERS = [order for order in itertools.permutations(LAST_FOUR) if order.index("boot") < order.index("available")][::3]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_tc_080_signed_firmware_update(case: Case, order: tuple[str, ...]) -> None:
    key = key_of("rsa")
    payload = signed_update(sign(key), certificate(key))
    await case.send("SignedUpdateFirmware", payload, {"status": "Accepted"})
    await firmware_status(case, "Downloading", requestId=21)
    for connector_id in (1, 2):
        await case.status(connector_id, "Unavailable")
    history = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting"]
    for status in history[1:]:
        await firmware_status(case, status, requestId=21)
    await case.reconnected()

    async def boot() -> None:
        assert (await case.cp.boot())["status"] == "Accepted"

    async def available() -> None:
        for connector_id in (1, 2):
            await case.status(connector_id, "Available")

    steps: dict[str, Callable[[], Awaitable[None]]] = {
        "boot": boot,
        "event": lambda: security_event(case, "FirmwareUpdated"),
        "available": available,
        "installed": lambda: firmware_status(case, "Installed", requestId=21),
    }
    for step in order:
        await steps[step]()
    (row,) = await rows(case, "firmware-updates")
    assert progress(row) == ("Installed", True, [*history, "Installed"])
    assert (row["signed"], row["request_id"], row["location"]) == (True, 21, FIRMWARE)
    # Other tests may have given the tenant manufacturer roots, which did not issue this certificate.
    assert {warning["code"] for warning in row["warnings"]} <= {"signing_certificate_untrusted"}
    events = await rows(case, "security-events")
    assert [(event["type"], event["critical"], event["alert"]) for event in events] == [("FirmwareUpdated", True, True)]


@pytest.mark.parametrize("event", [True, False], ids=["with event", "without event"])
async def test_tc_081_signed_firmware_update_invalid_signature(case: Case, event: bool) -> None:
    payload = signed_update("bm90IGEgc2lnbmF0dXJl", certificate(key_of("rsa")))
    await case.send("SignedUpdateFirmware", payload, {"status": "Accepted"})
    for status in ("Downloading", "Downloaded", "InvalidSignature"):
        await firmware_status(case, status, requestId=21)
    if event:
        await security_event(case, "InvalidFirmwareSignature", techInfo="sha256 mismatch")
    (row,) = await rows(case, "firmware-updates")
    assert progress(row) == ("InvalidSignature", True, ["Downloading", "Downloaded", "InvalidSignature"])
    events = await rows(case, "security-events")
    assert [(found["type"], found["critical"], found["tech_info"]) for found in events] == (
        [("InvalidFirmwareSignature", False, "sha256 mismatch")] if event else []
    )


# --- owed -------------------------------------------------------------------------------------------------------------
async def test_get_diagnostics_log_with_every_member(case: Case) -> None:
    log = {
        "remoteLocation": LOCATION, "oldestTimestamp": "2026-02-01T00:00:00.000Z",
        "latestTimestamp": "2026-03-01T00:00:00.000Z",
    }  # fmt: skip
    payload = {"log": log, "logType": "DiagnosticsLog", "requestId": 1, "retries": 0, "retryInterval": 30}
    await case.send("GetLog", payload, {"status": "Accepted"})
    for status in ("Uploading", "UploadFailed"):
        await log_status(case, status, requestId=1)
    (row,) = await rows(case, "logs")
    assert progress(row) == ("UploadFailure", True, ["Uploading", "UploadFailure"])
    assert (row["log_type"], row["oldest"], row["latest"]) == (
        "DiagnosticsLog", log["oldestTimestamp"], log["latestTimestamp"],
    )  # fmt: skip
    assert (row["retries"], row["retry_interval"], row["file_name"]) == (0, 30, "")


async def test_second_get_log_cancels_the_first(case: Case) -> None:
    def get_log(request_id: int) -> dict[str, Any]:
        return {"log": {"remoteLocation": LOCATION}, "logType": "SecurityLog", "requestId": request_id}

    await case.send("GetLog", get_log(1), {"status": "Accepted", "filename": "one.log"})
    await log_status(case, "Uploading", requestId=1)
    await case.send("GetLog", get_log(2), {"status": "AcceptedCanceled", "filename": "two.log"})
    await log_status(case, "UploadFailure", requestId=1)
    await log_status(case, "Uploading", requestId=2)
    await log_status(case, "Uploaded", requestId=2)
    second, first = await rows(case, "logs")
    assert progress(first) == ("Canceled", True, ["Uploading", "UploadFailure"])
    assert progress(second) == ("Uploaded", True, ["Uploading", "Uploaded"])


@pytest.mark.parametrize("status", ["Rejected", "InvalidCertificate", "RevokedCertificate"])
async def test_refused_signed_update_is_a_normal_outcome(case: Case, status: str) -> None:
    await case.send("SignedUpdateFirmware", signed_update("QUJD", "PEM"), {"status": status})
    (row,) = await rows(case, "firmware-updates")
    assert (row["status"], row["final"]) == ("Refused" if status == "Rejected" else status, True)


async def test_request_id_is_given_when_left_out(case: Case) -> None:
    payload = {"log": {"remoteLocation": LOCATION}, "logType": "SecurityLog"}
    for request_id in (1, 2):
        await case.send("GetLog", payload, {"status": "Rejected"}, on_wire={**payload, "requestId": request_id})


async def test_burst_of_old_and_repeated_events_is_answered_and_stored_once(case: Case) -> None:
    for _ in range(2):
        for number in range(20):
            at = f"2025-12-31T23:{number:02}:00Z"
            await security_event(case, "ResetOrReboot", timestamp=at, techInfo=f"boot {number}")
    await security_event(case, "Something of the vendor's own", timestamp="no time at all")
    found = await case.get("security-events/", charge_point=case.cp.identity)
    assert len(found["results"]) == 21
    newest = found["results"][0]
    assert (newest["type"], newest["critical"]) == ("Something of the vendor's own", False)
    body = {"charge_point": case.cp.identity}
    acknowledged = await asyncio.to_thread(lambda: case.csms.post("security-events/acknowledge/", body))
    assert acknowledged == {"acknowledged": 20}


async def test_notifications_without_a_request_of_ours_are_answered(case: Case) -> None:
    for status in ("Idle", "Installed", "Downloading", "InvalidSignature", "InstallRebooting"):
        await firmware_status(case, status)
        await firmware_status(case, status, requestId=999)
    for status in ("Idle", "Uploaded", "PermissionDenied"):
        await log_status(case, status)
        await log_status(case, status, requestId=999)
    assert await rows(case, "firmware-updates") == []
    assert await rows(case, "logs") == []
