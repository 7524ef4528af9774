"""Firmware Management: updates and diagnostics, begun by the resource or by the bare command, seen to their end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from csms.certify.case import Case
from csms.certify.charge_point import timestamp
from csms.certify.failure import CaseFailed

UPDATES, DIAGNOSTICS = "firmware-updates/", "diagnostics/"
NOTIFICATIONS = {UPDATES: "FirmwareStatusNotification", DIAGNOSTICS: "DiagnosticsStatusNotification"}
# An escape, capitals, a query that ends in "=", a slash at the end: altered, the charge point finds nothing.
FIRMWARE = "ftp://Updates.Example.com:2121/fw/AC%20100/v2.1/image.bin?x=1&y="
UPLOADS = "ftp://Logs.example.com/in%20coming/"
FILE_NAME = "diagnostics-0711.zip"


async def tc_044_1(case: Case) -> None:
    """Firmware update, success."""
    retrieve_date = timestamp()
    body = {"charge_point": case.cp.identity, "location": FIRMWARE, "retrieve_date": retrieve_date}
    row = await case.operator.request("POST", UPDATES, body)
    call = await case.expect("UpdateFirmware", {"location": FIRMWARE, "retrieveDate": retrieve_date})
    await case.reply(call, {})
    await case.answered({"id": row["command"], "action": "UpdateFirmware"}, {})
    await _installing(case, row["id"])
    await _reported(case, UPDATES, row["id"], ["Installed"], final=True)
    await _sees_history(case, UPDATES, row["id"], ["Downloading", "Downloaded", "Installing", "Installed"])
    shown = await case.operator.get(f"{UPDATES}{row['id']}/")
    case.equal("The location that the operator sees", shown["location"], FIRMWARE)


async def tc_044_2(case: Case) -> None:
    """Firmware update, download failed."""
    payload = {"location": FIRMWARE, "retrieveDate": timestamp(), "retries": 2, "retryInterval": 30}
    command = await case.send("UpdateFirmware", payload, {})
    number = await _made_by(case, UPDATES, command)
    await _reported(case, UPDATES, number, ["Downloading"], final=False)
    await _reported(case, UPDATES, number, ["DownloadFailed"], final=True)
    await _sees_history(case, UPDATES, number, ["Downloading", "DownloadFailed"])


async def tc_044_3(case: Case) -> None:
    """Firmware update, installation failed."""
    command = await case.send("UpdateFirmware", {"location": FIRMWARE, "retrieveDate": timestamp()}, {})
    number = await _made_by(case, UPDATES, command)
    await _installing(case, number)
    await _reported(case, UPDATES, number, ["InstallationFailed"], final=True)
    await _sees_history(case, UPDATES, number, ["Downloading", "Downloaded", "Installing", "InstallationFailed"])


async def tc_045_1(case: Case) -> None:
    """Get diagnostics."""
    row = await case.operator.request("POST", DIAGNOSTICS, {"charge_point": case.cp.identity, "location": UPLOADS})
    call = await case.expect("GetDiagnostics", {"location": UPLOADS})
    await case.reply(call, {"fileName": FILE_NAME})
    await case.answered({"id": row["command"], "action": "GetDiagnostics"}, {"fileName": FILE_NAME})
    await _sees(case, DIAGNOSTICS, row["id"], file_name=FILE_NAME, final=False)
    await _reported(case, DIAGNOSTICS, row["id"], ["Uploading"], final=False)
    await _reported(case, DIAGNOSTICS, row["id"], ["Uploaded"], final=True)
    await _sees_history(case, DIAGNOSTICS, row["id"], ["Uploading", "Uploaded"])


async def tc_045_2(case: Case) -> None:
    """Get diagnostics, upload failed."""
    payload = {"location": UPLOADS, "startTime": "2026-01-02T03:04:05.000Z", "stopTime": timestamp()}
    command = await case.send("GetDiagnostics", payload, {"fileName": FILE_NAME})
    number = await _made_by(case, DIAGNOSTICS, command)
    await _sees(case, DIAGNOSTICS, number, file_name=FILE_NAME)
    await _reported(case, DIAGNOSTICS, number, ["Uploading"], final=False)
    await _reported(case, DIAGNOSTICS, number, ["UploadFailed"], final=True)
    await _sees_history(case, DIAGNOSTICS, number, ["Uploading", "UploadFailed"])


async def _installing(case: Case, number: int) -> None:
    """Download, installation, reboot; the update has not ended by that."""
    sockets = range(1, case.options.connectors + 1)
    await _reported(case, UPDATES, number, ["Downloading", "Downloaded"], final=False)
    for connector_id in sockets:
        await case.status(connector_id, "Unavailable")
    await _reported(case, UPDATES, number, ["Installing"], final=False)
    await case.reconnected()
    await case.booted()
    for connector_id in sockets:
        await case.sees_connector(connector_id, status="Available")
    await _sees(case, UPDATES, number, status="Installing", final=False)


async def _reported(case: Case, path: str, number: int, statuses: Iterable[str], *, final: bool) -> None:
    """The charge point reports `statuses`, each answered `{}`; the operator sees the last, and whether it ends it."""
    status = ""
    for status in statuses:
        await case.tell(NOTIFICATIONS[path], {"status": status})
    await _sees(case, path, number, status=status, final=final)


async def _sees(case: Case, path: str, number: int, **expected: Any) -> None:
    what = f"{'the firmware update' if path == UPDATES else 'the diagnostics'} {number}"
    await case.sees(what, lambda: case.operator.get(f"{path}{number}/"), **expected)


async def _sees_history(case: Case, path: str, number: int, statuses: list[str]) -> None:
    """The operator sees every step in its order."""
    shown = await case.operator.get(f"{path}{number}/")
    case.equal("The steps that the operator sees", [entry["status"] for entry in shown["statuses"]], statuses)


async def _made_by(case: Case, path: str, command: dict[str, Any]) -> int:
    """The id of what a bare command has made. Errors: CaseFailed."""
    found = await case.operator.get(path, charge_point=case.cp.identity)
    for row in found["results"]:
        if row["command"] == command["id"]:
            return int(row["id"])
    raise CaseFailed(f"The operator does not see what became of the command {command['action']} in {path}.")
