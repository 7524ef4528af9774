"""Firmware Management: the five cases, begun through `commands/`, seen through the resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.certification.case import Case

# A slash at the end, an escape, capitals: whatever of it is altered, the charge point cannot find the file.
FIRMWARE = "ftp://Updates.Example.com:2121/fw/AC%20100/v2.1/image.bin?x=1&y="
DIAGNOSTICS = "ftp://user:p%40ss@logs.example.com/incoming/"
SHOWN_DIAGNOSTICS = "ftp://user:***@logs.example.com/incoming/"
RETRIEVE_DATE = "2026-03-01T12:00:00.000Z"


async def updates(case: Case) -> list[dict[str, Any]]:
    found = await case.get("firmware-updates/", charge_point=case.cp.identity)
    return list(found["results"])


async def progress(case: Case, kind: str) -> tuple[str, bool, list[str]]:
    """Status, whether it is final, and the history of the one request of this charge point."""
    (row,) = (await case.get(f"{kind}/", charge_point=case.cp.identity))["results"]
    seen = await case.get(f"{kind}/{row['id']}/")
    return seen["status"], seen["final"], [entry["status"] for entry in seen["statuses"]]


async def firmware_status(case: Case, status: str) -> None:
    assert await case.cp.call("FirmwareStatusNotification", {"status": status}) == {}


async def diagnostics_status(case: Case, status: str) -> None:
    assert await case.cp.call("DiagnosticsStatusNotification", {"status": status}) == {}


async def update_to_installing(case: Case, **members: Any) -> None:
    await case.send("UpdateFirmware", {"location": FIRMWARE, **members, "retrieveDate": RETRIEVE_DATE}, {})
    await firmware_status(case, "Downloading")
    await firmware_status(case, "Downloaded")
    for connector_id in (1, 2):
        await case.status(connector_id, "Unavailable")
    await firmware_status(case, "Installing")
    await case.reconnected()
    await case.booted()


async def test_tc_044_1_firmware_update_success(case: Case) -> None:
    await update_to_installing(case)
    assert await progress(case, "firmware-updates") == (
        "Installing", False, ["Downloading", "Downloaded", "Installing"],
    )  # fmt: skip
    await firmware_status(case, "Installed")
    history = ["Downloading", "Downloaded", "Installing", "Installed"]
    assert await progress(case, "firmware-updates") == ("Installed", True, history)
    (update,) = await updates(case)
    assert (update["location"], update["retrieve_date"]) == (FIRMWARE, RETRIEVE_DATE)


async def test_tc_044_2_firmware_update_download_failed(case: Case) -> None:
    payload = {"location": FIRMWARE, "retries": 2, "retrieveDate": RETRIEVE_DATE, "retryInterval": 30}
    await case.send("UpdateFirmware", payload, {})
    await firmware_status(case, "Downloading")
    await firmware_status(case, "DownloadFailed")
    assert await progress(case, "firmware-updates") == ("DownloadFailed", True, ["Downloading", "DownloadFailed"])
    (update,) = await updates(case)
    assert (update["retries"], update["retry_interval"]) == (2, 30)


async def test_tc_044_3_firmware_update_installation_failed(case: Case) -> None:
    await update_to_installing(case, retries=0)
    await firmware_status(case, "InstallationFailed")
    history = ["Downloading", "Downloaded", "Installing", "InstallationFailed"]
    assert await progress(case, "firmware-updates") == ("InstallationFailed", True, history)


@pytest.mark.parametrize("window", [{}, {"startTime": RETRIEVE_DATE, "stopTime": "2026-03-02T12:00:00.000Z"}])
async def test_tc_045_1_get_diagnostics(case: Case, window: dict[str, str]) -> None:
    command = await case.send("GetDiagnostics", {"location": DIAGNOSTICS, **window}, {"fileName": "diag_0301.zip"})
    await diagnostics_status(case, "Uploading")
    (row,) = (await case.get("diagnostics/", charge_point=case.cp.identity))["results"]
    assert (row["status"], row["final"], row["file_name"]) == ("Uploading", False, "diag_0301.zip")
    await diagnostics_status(case, "Uploaded")
    assert await progress(case, "diagnostics") == ("Uploaded", True, ["Uploading", "Uploaded"])
    assert row["location"] == SHOWN_DIAGNOSTICS
    seen = await case.final(command)
    assert seen["payload"] == {"location": SHOWN_DIAGNOSTICS, **window}
    assert (seen["effect"]["diagnostics"], seen["effect"]["status"]) == (row["id"], "Uploaded")


async def test_tc_045_2_get_diagnostics_upload_failed(case: Case) -> None:
    payload = {"location": DIAGNOSTICS, "retries": 0, "retryInterval": 10}
    await case.send("GetDiagnostics", payload, {"fileName": "diag.log"})
    await diagnostics_status(case, "Uploading")
    await diagnostics_status(case, "UploadFailed")
    assert await progress(case, "diagnostics") == ("UploadFailed", True, ["Uploading", "UploadFailed"])


# --- beyond the cases -------------------------------------------------------------------------------------------------
async def test_notifications_without_a_request_of_ours_are_answered(case: Case) -> None:
    for status in ("Idle", "Installed", "Downloading", "DownloadFailed", "Installing", "InstallationFailed"):
        await firmware_status(case, status)
    for status in ("Idle", "Uploaded", "Uploading", "UploadFailed"):
        await diagnostics_status(case, status)
    assert await updates(case) == []


async def test_password_in_a_url_is_masked_wherever_people_read(case: Case) -> None:
    location = "https://user:s3cret-word@firmware.example.com/fw.bin"
    command = await case.command("UpdateFirmware", {"location": location, "retrieveDate": RETRIEVE_DATE})
    received = await case.expect("UpdateFirmware", {"location": location, "retrieveDate": RETRIEVE_DATE})
    await case.cp.reply_error(received, "InternalError", f"cannot reach {location}", {"url": location})
    final = await case.final(command)
    (update,) = await updates(case)
    assert final["error"]["description"] == "cannot reach https://user:***@firmware.example.com/fw.bin"
    assert (update["status"], update["final"]) == ("Refused", True)
    log = await case.get(f"charge-points/{case.cp.identity}/messages/", page_size=500)
    for shown in (command, final, update, log):
        assert "s3cret-word" not in str(shown)
