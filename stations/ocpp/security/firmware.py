"""Signed firmware updates.

From the charge point: SignedFirmwareStatusNotification. To the charge point: SignedUpdateFirmware. The rows are
FirmwareUpdate, as for unsigned updates; which of them a status belongs to stands in stations/progress.py, and what we
check ourselves before an image goes out in stations/firmware_signatures.py: a warning, never a refusal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ocpp.v16 import call, call_result

from csms.ocppj.times import parse_time
from stations import firmware_signatures, progress
from stations.masking import masked_url
from stations.models import ChargePoint, Command, FirmwareUpdate, RequestNumber, RootCertificate
from stations.models.certificate import CertificateType
from stations.models.firmware import CANCELED, INVALID_CERTIFICATE, REFUSED, REVOKED_CERTIFICATE, SUPERSEDED
from stations.ocpp.firmware_management import optional_int64, optional_time, protocol_warnings

MAX_ROOTS = 100
# What the status of the confirmation makes of the request, where it is a refusal; an unknown one is a refusal too.
REFUSALS = {"InvalidCertificate": INVALID_CERTIFICATE, "RevokedCertificate": REVOKED_CERTIFICATE}


# --- from the charge point --------------------------------------------------------------------------------------------
def signed_firmware_status_notification(
    charge_point: ChargePoint, req: call.SignedFirmwareStatusNotification, now: datetime
) -> call_result.SignedFirmwareStatusNotification:
    """Answer SignedFirmwareStatusNotification.req: keep the status, and with it the progress of the update.

    Always `{}`, in any order, repeated, after a reboot, and with a requestId that is absent or not ours.
    Source: Improved security for OCPP 1.6-J ed. 3, L01.FR.01-03, L01.FR.10-28, 5.19.
    """
    progress.signed_firmware_reported(charge_point, str(req.status), req.request_id, now)
    return call_result.SignedFirmwareStatusNotification()


# --- to the charge point ----------------------------------------------------------------------------------------------
def signed_update_firmware_complete(charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
    """Give the request a requestId that this charge point has not had, unless it has one."""
    return RequestNumber.objects.completed(charge_point, payload)


def signed_update_firmware_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a SignedUpdateFirmware.req, as far as it can be told without the file.

    Source: Improved security for OCPP 1.6-J ed. 3, A00.FR.706.
    """
    firmware = payload["firmware"]
    found = protocol_warnings(charge_point, firmware)
    found.extend(firmware_signatures.certificate_warnings(firmware["signingCertificate"], datetime.now(UTC)))
    roots = RootCertificate.objects.filter(certificate_type=CertificateType.MANUFACTURER_ROOT).order_by("-id")
    known = list(roots.values_list("certificate", flat=True)[:MAX_ROOTS])
    found.extend(firmware_signatures.chain_warnings(firmware["signingCertificate"], known))
    found.extend(firmware_signatures.encoding_warnings(firmware["signature"]))
    retrieve, install = parse_time(firmware["retrieveDateTime"]), parse_time(firmware.get("installDateTime"))
    if retrieve is not None and install is not None and install < retrieve:
        found.append(("install_before_retrieve", "installDateTime is before retrieveDateTime."))
    request_id = optional_int64(payload["requestId"])
    if FirmwareUpdate.objects.filter(charge_point=charge_point, signed=True, request_id=request_id).exists():
        found.append(("request_id_used", "An earlier update had this requestId; its statuses cannot be told apart."))
    return found


def signed_update_firmware_queued(command: Command) -> None:
    """Make the FirmwareUpdate that the statuses are going to belong to."""
    payload = command.payload
    firmware = payload["firmware"]
    FirmwareUpdate.objects.create(
        charge_point=command.charge_point,
        command=command,
        signed=True,
        request_id=optional_int64(payload["requestId"]),
        location=masked_url(str(firmware["location"])),
        retrieve_date=optional_time(firmware["retrieveDateTime"]),
        install_date=optional_time(firmware.get("installDateTime")),
        signature=firmware["signature"],
        signing_certificate=firmware["signingCertificate"],
        retries=optional_int64(payload.get("retries")),
        retry_interval_seconds=optional_int64(payload.get("retryInterval")),
        created_at=command.created_at,
    )


def signed_update_firmware_conf(command: Command, conf: call_result.SignedUpdateFirmware, now: datetime) -> None:
    """Accepted and AcceptedCanceled: statuses follow, and an earlier update is over. Any other status ends this one.

    Source: Improved security for OCPP 1.6-J ed. 3, L01.FR.23-27, 5.21.
    """
    update = FirmwareUpdate.objects.filter(command=command).first()
    if update is None:
        return
    update.answered_at = now
    update.save(update_fields=["answered_at"])
    if conf.status in ("Accepted", "AcceptedCanceled"):
        progress.supersede(update, now, CANCELED if conf.status == "AcceptedCanceled" else SUPERSEDED)
    elif not update.is_final:
        progress.end(update, REFUSALS.get(str(conf.status), REFUSED), now)


def signed_update_firmware_without_answer(command: Command, now: datetime) -> None:
    """End the update when it was refused or never sent; after silence its statuses may come all the same."""
    progress.ended_without_answer(FirmwareUpdate.objects.filter(command=command).first(), command, now)
