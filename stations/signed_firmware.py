"""Signed firmware updates: what REST and the admin ask for ends here, and from here in commands.enqueue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from csms.ocppj.times import format_time
from stations import file_exchange, firmware_signatures
from stations.firmware import send
from stations.models import ChargePoint, FirmwareImage, FirmwareUpdate


def request_signed_update(
    charge_point: ChargePoint,
    requested_by: str,
    *,
    retrieve_date: datetime,
    image: FirmwareImage | None = None,
    location: str = "",
    signature: str = "",
    signing_certificate: str = "",
    install_date: datetime | None = None,
    request_id: int | None = None,
    retries: int | None = None,
    retry_interval_seconds: int | None = None,
    reason: str = "",
) -> FirmwareUpdate:
    """Queue SignedUpdateFirmware with `image`, under a URL of its own, or with `location` exactly as given.

    Signature and certificate that are empty are those of the image. What is None is left out of the request; a
    requestId is then given by us. That a signature does not fit is a warning of the command. Raises CommandRefused.
    """
    token = file_exchange.new_token(file_exchange.DOWNLOAD)
    if image is not None:
        signature, signing_certificate = signature or image.signature, signing_certificate or image.signing_certificate
    firmware: dict[str, Any] = {
        "location": location if image is None else file_exchange.url_of(token, image.name),
        "retrieveDateTime": format_time(retrieve_date, milliseconds=charge_point.send_milliseconds),
        "signingCertificate": signing_certificate,
        "signature": signature,
    }
    if install_date is not None:
        firmware["installDateTime"] = format_time(install_date, milliseconds=charge_point.send_milliseconds)
    payload: dict[str, Any] = {"firmware": firmware}
    numbers = (("requestId", request_id), ("retries", retries), ("retryInterval", retry_interval_seconds))
    payload |= {member: number for member, number in numbers if number is not None}
    found = () if image is None else firmware_signatures.file_warnings(signing_certificate, signature, image.sha256)
    return send(
        charge_point, "SignedUpdateFirmware", payload, requested_by,
        image=image, token=token, reason=reason, warnings=found,
    )  # fmt: skip
