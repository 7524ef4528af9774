"""Firmware images and updates: what REST and the admin ask for ends here, and from here in commands.enqueue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from csms.ocppj.times import format_time
from stations import commands, file_exchange
from stations.models import ChargePoint, FirmwareImage, FirmwareUpdate
from stations.models.firmware import delete_files
from tenants.scope import current_tenant_id

DEFAULT_NAME = "firmware.bin"


class ImageRefused(Exception):
    """An image that is not taken, or cannot go; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def add_image(content: File[Any], created_by: str, **members: Any) -> FirmwareImage:
    """Store a firmware file with its size and SHA-256; `members` are columns of FirmwareImage.

    Without `name` it has that of the file, cut to its last part. Raises ImageRefused: `empty_file`, `file_too_large`.
    """
    size = content.size or 0
    if size == 0:
        raise ImageRefused("empty_file", "The file is empty.")
    if size > settings.CSMS_IMAGE_LIMIT_BYTES:
        raise ImageRefused("file_too_large", f"The file has more than {settings.CSMS_IMAGE_LIMIT_BYTES} bytes.")
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
    name = file_exchange.shown_name(members.pop("name", "") or content.name or "")[:100] or DEFAULT_NAME
    image = FirmwareImage(
        # Known before the row is written, for the file goes into the tenant's folder.
        tenant_id=current_tenant_id(),
        name=name,
        size=size,
        sha256=digest.hexdigest(),
        created_by=created_by[:200],
        **members,
    )
    image.file.save(name, content, save=False)
    try:
        image.save(force_insert=True)
    except BaseException:
        delete_files([image.file])
        raise
    return image


def delete_image(image: FirmwareImage) -> None:
    """Delete an image with its file. Raises ImageRefused (`image_in_use`) while an update needs it."""
    with transaction.atomic():
        if image.in_use:
            raise ImageRefused("image_in_use", "An update that has not ended needs this image.")
        image.delete()


def request_update(
    charge_point: ChargePoint,
    requested_by: str,
    *,
    retrieve_date: datetime,
    image: FirmwareImage | None = None,
    location: str = "",
    retries: int | None = None,
    retry_interval_seconds: int | None = None,
    reason: str = "",
) -> FirmwareUpdate:
    """Queue UpdateFirmware with `image`, under a URL of its own, or with `location` exactly as given.

    What is None is left out of the request. Raises CommandRefused.
    """
    token = file_exchange.new_token(file_exchange.DOWNLOAD)
    payload: dict[str, Any] = {
        "location": location if image is None else file_exchange.url_of(token, image.name),
        "retrieveDate": format_time(retrieve_date, milliseconds=charge_point.send_milliseconds),
    }
    if retries is not None:
        payload["retries"] = retries
    if retry_interval_seconds is not None:
        payload["retryInterval"] = retry_interval_seconds
    return send(charge_point, "UpdateFirmware", payload, requested_by, image=image, token=token, reason=reason)


def send(
    charge_point: ChargePoint,
    action: str,
    payload: dict[str, Any],
    requested_by: str,
    *,
    image: FirmwareImage | None,
    token: str,
    reason: str,
    warnings: Sequence[tuple[str, str]] = (),
) -> FirmwareUpdate:
    """Queue a request for an update; with `image` the URL of `token` in `payload` is ours, and becomes valid.

    `warnings` of the image join those of the command, which are none without one. Raises CommandRefused.
    """
    with transaction.atomic():
        command = commands.enqueue(charge_point, action, payload, requested_by, reason=reason)
        update: FirmwareUpdate = FirmwareUpdate.objects.select_related("command", "charge_point").get(command=command)
        if image is not None:
            update.image, update.version = image, image.version
            update.save(update_fields=["image", "version"])
            file_exchange.issue(token, command, firmware_update=update)
            found = list(warnings)
            if not image.fits(charge_point):
                found.append(("other_hardware", f"The image is meant for {f'{image.vendor} {image.model}'.strip()}."))
            if found:
                command.warnings = [*command.warnings, *({"code": code, "detail": detail} for code, detail in found)]
                command.save(update_fields=["warnings"])
                update.command = command
    return update
