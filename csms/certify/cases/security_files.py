"""Security extension, files: the security log, signed firmware."""

from __future__ import annotations

import asyncio
from typing import Any

from csms.certify.authority import FirmwareSigner
from csms.certify.case import ACCEPTED, Case
from csms.certify.cases.security_certificates import sees_event
from csms.certify.charge_point import timestamp

LOGS, UPDATES = "logs/", "firmware-updates/"
NOTIFICATIONS = {LOGS: "LogStatusNotification", UPDATES: "SignedFirmwareStatusNotification"}
UPLOADS = "ftp://Logs.example.com/in%20coming/%41/"
FILE_NAME = "security_0711.log"
FIRMWARE = "https://Updates.example.com:8443/fw/AC%20100/v2.1/image.bin?x=1&y="
IMAGE = b"An image of a certification run"
# Base64 of a text: no signature of anything.
NO_SIGNATURE = "bm90IGEgc2lnbmF0dXJl"
BEFORE_REBOOT = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting"]


async def tc_079(case: Case) -> None:
    """Get security log."""
    body = {"charge_point": case.cp.identity, "log_type": "SecurityLog", "location": UPLOADS}
    row = await case.operator.request("POST", LOGS, body)
    call = await case.expect("GetLog")
    request_id = call.payload["requestId"]
    expected = {"log": {"remoteLocation": UPLOADS}, "logType": "SecurityLog", "requestId": request_id}
    case.equal("The request GetLog is not what the operator ordered", call.payload, expected)
    answer = {"status": "Accepted", "filename": FILE_NAME}
    await case.reply(call, answer)
    await case.answered({"id": row["command"], "action": "GetLog"}, answer)
    await _sees(case, LOGS, row["id"], file_name=FILE_NAME, final=False)
    await _reported(case, LOGS, row["id"], request_id, ["Uploading"], final=False)
    await _reported(case, LOGS, row["id"], request_id, ["Uploaded"], final=True)
    await _sees(case, LOGS, row["id"], statuses=_history("Uploading", "Uploaded"))


async def tc_080(case: Case) -> None:
    """Signed firmware update."""
    signer = await asyncio.to_thread(FirmwareSigner)
    number, request_id = await _ordered(case, signer.certificate, signer.signature(IMAGE))
    sockets = range(1, case.options.connectors + 1)
    await _reported(case, UPDATES, number, request_id, BEFORE_REBOOT[:1], final=False)
    for connector_id in sockets:
        await case.status(connector_id, "Unavailable")
    await _reported(case, UPDATES, number, request_id, BEFORE_REBOOT[1:], final=False)
    await case.reconnected()
    # The last four come in any order; here the two that are easily taken for the end come first.
    await case.tell("SecurityEventNotification", {"type": "FirmwareUpdated", "timestamp": timestamp()})
    await case.tell(NOTIFICATIONS[UPDATES], {"status": "Installed", "requestId": request_id})
    await case.booted()
    await sees_event(case, "FirmwareUpdated")
    await _sees(case, UPDATES, number, status="Installed", final=True, statuses=_history(*BEFORE_REBOOT, "Installed"))
    for connector_id in sockets:
        await case.sees_connector(connector_id, status="Available")


async def tc_081(case: Case) -> None:
    """Signed update, invalid signature."""
    signer = await asyncio.to_thread(FirmwareSigner)
    number, request_id = await _ordered(case, signer.certificate, NO_SIGNATURE)
    steps = ["Downloading", "Downloaded", "InvalidSignature"]
    await _reported(case, UPDATES, number, request_id, steps[:2], final=False)
    await _reported(case, UPDATES, number, request_id, steps[2:], final=True)
    event = {"type": "InvalidFirmwareSignature", "timestamp": timestamp()}
    await case.tell("SecurityEventNotification", event)
    await sees_event(case, event["type"])
    await _sees(case, UPDATES, number, status="InvalidSignature", statuses=_history(*steps))


async def _ordered(case: Case, certificate: str, signature: str) -> tuple[int, int]:
    """The operator starts the signed update, the charge point accepts it: the update's id and the requestId."""
    retrieve_date = timestamp()
    body = {
        "charge_point": case.cp.identity,
        "signed": True,
        "location": FIRMWARE,
        "retrieve_date": retrieve_date,
        "signing_certificate": certificate,
        "signature": signature,
    }
    row = await case.operator.request("POST", UPDATES, body)
    call = await case.expect("SignedUpdateFirmware")
    request_id = call.payload["requestId"]
    firmware = {
        "location": FIRMWARE,
        "retrieveDateTime": retrieve_date,
        "signingCertificate": certificate,
        "signature": signature,
    }
    expected = {"requestId": request_id, "firmware": firmware}
    case.equal("The request SignedUpdateFirmware is not what the operator ordered", call.payload, expected)
    await case.reply(call, ACCEPTED)
    await case.answered({"id": row["command"], "action": "SignedUpdateFirmware"}, ACCEPTED)
    return row["id"], request_id


async def _reported(
    case: Case, resource: str, number: int, request_id: int, statuses: list[str], *, final: bool
) -> None:
    """The charge point tells of each status, and the operator sees the last."""
    for status in statuses:
        await case.tell(NOTIFICATIONS[resource], {"status": status, "requestId": request_id})
    await _sees(case, resource, number, status=statuses[-1], final=final)


async def _sees(case: Case, resource: str, number: int, **expected: Any) -> None:
    path = f"{resource}{number}/"
    await case.sees(f"{path[:-1]}", lambda: case.operator.get(path), **expected)


def _history(*statuses: str) -> Any:
    """A condition for `sees`: exactly these were reported, in this order."""
    return lambda found: [entry["status"] for entry in found or []] == list(statuses)
