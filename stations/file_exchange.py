"""Our own file exchange: URLs for charge points, who may use them, and the files that come in.

Context: firmware and diagnostics travel outside OCPP, by HTTP without any identity: whoever has the URL has the file.
Choice: each request gets a URL of its own with a random token (192 bits) in its path, of which we keep the SHA-256. It
is valid for one charge point and one request: until the update has ended, the file has come, or it expires. Until then
it may be used again and again, for downloads break off and are resumed. The first caller's address is recorded and the
URL bound to it: another address is refused, unless it is the one from which the charge point itself is connected, for
mobile networks move charge points about. CSMS_FILE_URL_BOUND turns that off, for networks where every connection has
another address.
Consequence: a URL that leaked is of no use to another charge point elsewhere, once its owner has begun. Charge points
behind one address (one router) cannot be told apart by it; there the secrecy of the URL has to do.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, default_storage
from django.db import transaction
from django.db.models import F, Q

from csms import addresses
from stations.models import Command, FileUrl, FirmwareImage, FirmwareUpdate, LogRequest, UploadedFile
from stations.models.firmware import delete_files
from stations.progress import note_effect
from stations.refusal import CommandRefused
from tenants.scope import current_tenant_id, platform_scope, tenant_scope

PATH = "/files/"
DOWNLOAD, UPLOAD = "d", "u"
UNNAMED = "diagnostics"
# Files without a row: an upload that broke off with its process, or rows that went with their charge point.
ORPHAN_AFTER = timedelta(hours=1)


class UrlRefused(Exception):
    """A URL that cannot be used; `status` is the HTTP status to answer with."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Download:
    """An image to send: `stored` is its name in the storage."""

    tenant_id: int
    url_id: int
    storage: Storage
    stored: str
    name: str
    size: int
    sha256: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """A request that waits for a file."""

    tenant_id: int
    url_id: int


# --- URLs -------------------------------------------------------------------------------------------------------------
def new_token(kind: str) -> str:
    """A token for one URL; `kind` is DOWNLOAD or UPLOAD. Its form is known to stations/masking.py."""
    return f"{kind}-{secrets.token_urlsafe(24)}"


def url_of(token: str, name: str = "") -> str:
    """The URL to send to the charge point, which ends in the name of the file; for uploads in a slash.

    Raises CommandRefused (`address_unknown`) when nobody knows where charge points reach us.
    """
    base = addresses.files()
    if base is None:
        raise CommandRefused(
            "address_unknown",
            "Where charge points reach our files is not known: set CSMS_FILES_URL or CSMS_PUBLIC_URL.",
        )
    return f"{base}{PATH}{token}/{quote(name)}"


def issue(
    token: str,
    command: Command,
    *,
    firmware_update: FirmwareUpdate | None = None,
    log_request: LogRequest | None = None,
) -> FileUrl:
    """Make the URL of `token` valid: from now until CSMS_FILE_URL_SECONDS after it can first be of use."""
    usable = [command.expires_at]
    if firmware_update is not None and firmware_update.retrieve_date is not None:
        usable.append(firmware_update.retrieve_date)
    try:
        expires_at = max(usable) + timedelta(seconds=settings.CSMS_FILE_URL_SECONDS)
    except OverflowError:
        expires_at = max(usable)
    return FileUrl.objects.create(
        charge_point_id=command.charge_point_id,
        token_hash=_hashed(token),
        firmware_update=firmware_update,
        log_request=log_request,
        created_at=command.created_at,
        expires_at=expires_at,
    )


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def find(token: str, address: str, now: datetime) -> Download | Upload:
    """What the URL of `token` stands for, noting its use from `address`. Raises UrlRefused.

    404 for what is not known, 410 for what was valid once, 403 for another address than the one it is bound to.
    """
    with platform_scope():
        # Whose it is can only be told by the row itself.
        row = (
            FileUrl.objects.filter(token_hash=_hashed(token))
            .select_related("charge_point", "firmware_update__image", "log_request")
            .first()
        )
    if row is None or row.charge_point.disabled:
        raise UrlRefused(404, "There is no such file.")
    if row.closed_at is not None or row.expires_at <= now:
        raise UrlRefused(410, "This URL is not valid any more.")
    with tenant_scope(row.tenant_id):
        known = Q(address="") | Q(address=address)
        if not settings.CSMS_FILE_URL_BOUND or address == row.charge_point.remote_address:
            known = Q()
        used = FileUrl.objects.filter(known, pk=row.pk, closed_at__isnull=True).update(
            address=address[:64], used_at=now, uses=F("uses") + 1
        )
    if not used:
        raise UrlRefused(403, "This URL has been given to another charge point.")
    if row.firmware_update is None:
        return Upload(row.tenant_id, row.pk)
    image = row.firmware_update.image
    if image is None:
        raise UrlRefused(410, "The file has been deleted.")
    return Download(
        tenant_id=row.tenant_id, url_id=row.pk, storage=image.file.storage, stored=image.file.name, name=image.name,
        size=image.size, sha256=image.sha256, modified_at=image.created_at,
    )  # fmt: skip


def note_delivered(download: Download, end: int) -> None:
    """Keep how far the image has been handed to the network."""
    with tenant_scope(download.tenant_id):
        FileUrl.objects.filter(pk=download.url_id, delivered_bytes__lt=end).update(delivered_bytes=end)


# --- files ------------------------------------------------------------------------------------------------------------
class Received(File):
    """A complete file in the incoming folder, which the storage takes over by renaming it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"), name=path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        return str(self._path)


def incoming_folder() -> Path:
    """Where files are written until they are complete; on the same file system as the storage's folder."""
    folder: Path = settings.CSMS_MEDIA_DIR / "incoming"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def take_upload(
    upload: Upload, path: Path, *, name: str, content_type: str, size: int, sha256: str, address: str, now: datetime
) -> UploadedFile:
    """Take the complete file at `path` for the request it was sent for, and close its URL. Raises UrlRefused (410).

    Of two that arrive at the same time over one URL, the first one counts.
    """
    with tenant_scope(upload.tenant_id):
        stored: Any = None
        try:
            with transaction.atomic(), Received(path) as content:
                row = FileUrl.objects.select_related("log_request", "charge_point").get(pk=upload.url_id)
                request: LogRequest = row.log_request
                # The command first, as the lanes do.
                list(Command.objects.select_for_update().filter(pk=request.command_id))
                if not FileUrl.objects.filter(pk=row.pk, closed_at__isnull=True).update(closed_at=now):
                    raise UrlRefused(410, "This URL is not valid any more.")
                received = UploadedFile(
                    tenant_id=upload.tenant_id,
                    charge_point=row.charge_point,
                    log_request=request,
                    name=shown_name(name) or shown_name(request.file_name) or UNNAMED,
                    content_type=content_type[:100],
                    size=size,
                    sha256=sha256,
                    address=address[:64],
                    received_at=now,
                )
                received.file.save(path.name, content, save=False)
                stored = received.file
                received.save(force_insert=True)
                note_effect(LogRequest.objects.get(pk=request.pk))
        except BaseException:
            if stored is not None:
                delete_files([stored])
            raise
        return received


def shown_name(name: str) -> str:
    """The last part of a path in either notation, without what cannot be printed; "" when nothing is left."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(character if character.isprintable() else "_" for character in last).strip()
    return "" if set(printable) <= {"."} else printable[:255]


def remove_orphans(now: datetime) -> int:
    """Delete the open tenant's files that have no row (any more); the number of them."""
    tenant_id = current_tenant_id()
    removed = 0
    for folder, model in (("firmware", FirmwareImage), ("uploads", UploadedFile)):
        path = f"{tenant_id}/{folder}"
        if not default_storage.exists(path):
            continue
        rows = set(model.objects.values_list("file", flat=True))
        for name in default_storage.listdir(path)[1]:
            stored = f"{path}/{name}"
            if stored not in rows and now - default_storage.get_modified_time(stored) > ORPHAN_AFTER:
                default_storage.delete(stored)
                removed += 1
    return removed


def remove_broken_uploads(now: datetime) -> int:
    """Delete what a process that died left in the incoming folder; the number of files."""
    removed = 0
    for path in incoming_folder().iterdir():
        try:
            if now - datetime.fromtimestamp(path.stat().st_mtime, UTC) > ORPHAN_AFTER:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue
    return removed
