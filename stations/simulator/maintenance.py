"""Firmware update and diagnostics upload: the notifications of a station that does it, without moving any file.

Source: OCPP 1.6 ed. 2, 4.4, 4.5, 5.8 (GetDiagnostics), 5.19 (UpdateFirmware); errata v4.0 3.47 to 3.50, 3.63.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointStatus, DiagnosticsStatus, FirmwareStatus

from .driver import Interrupted
from .link import CallFailed, LineLost
from .waiting import first_of

if TYPE_CHECKING:
    from .equipment import Equipment


async def upload_diagnostics(station: Equipment, location: str) -> None:
    """Uploading, then Uploaded; UploadFailed for a protocol the station does not have."""
    try:
        await _diagnostics(station, DiagnosticsStatus.uploading)
        await station.pause(5, 15)
        done = DiagnosticsStatus.uploaded if _reachable(station, location) else DiagnosticsStatus.upload_failed
        await _diagnostics(station, done)
    except Interrupted:
        pass
    station.diagnostics_status = DiagnosticsStatus.idle


async def update_firmware(station: Equipment, location: str, retrieve_at: datetime) -> None:
    """Downloading, Downloaded, connectors Unavailable once they are free, Installing, reboot, Installed.

    DownloadFailed for a protocol the station does not have. Begins at `retrieve_at`, the earliest time (errata v4.0
    3.63).
    """
    wait_seconds = max(0.0, (retrieve_at - station.clock.now()).total_seconds())
    await first_of(station.interruption, timeout=wait_seconds)
    try:
        station.raise_if_interrupted()
        await _firmware(station, FirmwareStatus.downloading)
        await station.pause(10, 30)
        if not _reachable(station, location):
            await _firmware(station, FirmwareStatus.download_failed)
            return
        await _firmware(station, FirmwareStatus.downloaded)
        await _empty(station)
        await _firmware(station, FirmwareStatus.installing)
        await station.pause(10, 20)
    except Interrupted:
        return
    finally:
        station.firmware_status = FirmwareStatus.idle
    major, minor, patch = station.firmware_version.split(".")
    station.firmware_version = f"{major}.{minor}.{int(patch) + 1}"
    station.after_boot.append(call.FirmwareStatusNotification(FirmwareStatus.installed))
    station.restart_for_firmware()


async def _empty(station: Equipment) -> None:
    """Let transactions come to their end, and nobody new to a connector (errata v4.0 3.49)."""
    while True:
        for connector in station.connectors[1:]:
            if connector.free:
                connector.taken = True  # until the restart
                connector.reservation = None
                await station.set_status(connector, ChargePointStatus.unavailable)
        if all(connector.status == ChargePointStatus.unavailable for connector in station.connectors[1:]):
            return
        await station.pause(5)


def _reachable(station: Equipment, location: str) -> bool:
    return urlsplit(location).scheme.upper() in station.configuration.items("SupportedFileTransferProtocols")


async def _firmware(station: Equipment, status: FirmwareStatus) -> None:
    station.firmware_status = status
    await _notify(station, call.FirmwareStatusNotification(status))


async def _diagnostics(station: Equipment, status: DiagnosticsStatus) -> None:
    station.diagnostics_status = status
    await _notify(station, call.DiagnosticsStatusNotification(status))


async def _notify(station: Equipment, message: Any) -> None:
    """Send when there is a line; the work goes on even if the central system does not take it."""
    await station.wait_online()
    with suppress(LineLost, CallFailed):
        await station.request(message)
