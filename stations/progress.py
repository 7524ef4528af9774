"""Which update, or which request for diagnostics, a reported status belongs to, and what it changes there.

Context: FirmwareStatusNotification and DiagnosticsStatusNotification carry no id; SignedFirmwareStatusNotification and
LogStatusNotification may. They come in any order, repeatedly, after a reboot, as Idle when triggered, and from work
that was started without us.
Choice: every status is kept with its time; one that only repeats the one before is counted there, with the times of the
first and the last. A word that no standard defines is a status like any other, shown as it came. With a requestId of
ours it belongs to that request. Else it belongs to the newest request of its kind that the charge point may have
received and that has not ended. Without one it may be a retry of what has just failed: then it is added to that
request's history for a day, and only another final status changes the outcome: the later one wins. Anything else is
kept for the charge point alone. Idle says that nothing is going on, which is no progress and ends nothing.
Consequence: an outcome shown as final stays until the charge point itself reports another one; nothing is asked again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

from csms.ocppj.times import format_time
from stations.models import (
    ChargePoint,
    Command,
    DiagnosticsStatus,
    FileUrl,
    FirmwareStatus,
    FirmwareUpdate,
    LogRequest,
    UploadedFile,
)
from stations.models.command import CommandStatus
from stations.models.firmware import (
    CANCELED,
    IDLE,
    INVALID_CERTIFICATE,
    MAX_STATUS,
    NOT_SENT,
    NOTHING_TO_UPLOAD,
    REFUSED,
    REVOKED_CERTIFICATE,
    SUPERSEDED,
    is_final,
)

Row = TypeVar("Row", FirmwareUpdate, LogRequest)
RETRIED_WITHIN = timedelta(days=1)
SUCCESS = ("Installed", "Uploaded")
# Ends that nothing of the charge point's work follows.
NEVER_BEGUN = (REFUSED, NOT_SENT, SUPERSEDED, CANCELED, INVALID_CERTIFICATE, REVOKED_CERTIFICATE)
RECEIVED = Q(command__isnull=True) | Q(command__sent_at__isnull=False)


def firmware_reported(charge_point: ChargePoint, status: str, now: datetime) -> None:
    """Keep a status of an unsigned firmware update."""
    rows = FirmwareUpdate.objects.filter(charge_point=charge_point, signed=False)
    _firmware_progress(charge_point, _newest(rows, status, now), status, now)


def signed_firmware_reported(charge_point: ChargePoint, status: str, request_id: int | None, now: datetime) -> None:
    """Keep a status of a signed firmware update; `request_id` may be absent, or one of nothing that we know."""
    rows = FirmwareUpdate.objects.filter(charge_point=charge_point, signed=True)
    update = _named(rows, request_id) if request_id is not None else None
    if update is None and _names_nothing(request_id):
        update = _newest(rows, status, now)
    _firmware_progress(charge_point, update, status, now)


def diagnostics_reported(charge_point: ChargePoint, status: str, now: datetime) -> None:
    """Keep a status of an upload of diagnostics; the final one is the effect of the command."""
    rows = LogRequest.objects.filter(charge_point=charge_point, log_type="")
    _upload_progress(charge_point, _newest(rows, status, now), status, now)


def log_reported(charge_point: ChargePoint, status: str, request_id: int | None, now: datetime) -> None:
    """Keep a status of the upload that a GetLog asked for; `request_id` may be absent, or one of nothing we know."""
    rows = LogRequest.objects.filter(charge_point=charge_point).exclude(log_type="")
    request = _named(rows, request_id) if request_id is not None else None
    if request is None and _names_nothing(request_id):
        request = _newest(rows, status, now)
    _upload_progress(charge_point, request, status, now)


def _firmware_progress(charge_point: ChargePoint, update: FirmwareUpdate | None, status: str, now: datetime) -> None:
    status = status[:MAX_STATUS]
    latest = FirmwareStatus.objects.filter(charge_point=charge_point, update=update).order_by("-id").first()
    if latest is None or not latest.repeated(status, now):
        FirmwareStatus.objects.create(charge_point=charge_point, update=update, status=status, received_at=now)
    if update is not None:
        _progress(update, status, final=is_final(status), now=now)


def _upload_progress(charge_point: ChargePoint, request: LogRequest | None, status: str, now: datetime) -> None:
    status = status[:MAX_STATUS]
    latest = DiagnosticsStatus.objects.filter(charge_point=charge_point, request=request).order_by("-id").first()
    if latest is None or not latest.repeated(status, now):
        DiagnosticsStatus.objects.create(charge_point=charge_point, request=request, status=status, received_at=now)
    if request is not None:
        _progress(request, status, final=is_final(status), now=now)
        if is_final(status):
            note_effect(request)


def _named(rows: QuerySet[Row], request_id: int) -> Row | None:
    """The newest of `rows` that was sent with this requestId, whether or not it has ended."""
    return rows.filter(RECEIVED, request_id=request_id).order_by("-id").first() if _stored(request_id) else None


def _names_nothing(request_id: int | None) -> bool:
    """Whether a requestId that we do not know says no more than an absent one: some send 0 or -1 for none."""
    return request_id is None or request_id <= 0


def _stored(request_id: int) -> bool:
    return -(2**63) <= request_id < 2**63


def _newest(rows: QuerySet[Row], status: str, now: datetime) -> Row | None:
    """The newest of `rows` that has not ended and that the charge point may have received, or what it may retry."""
    row = rows.filter(RECEIVED, finished_at__isnull=True).order_by("-id").first()
    if row is None and status != IDLE:
        newest = rows.order_by("-id").first()
        row = newest if _may_be_retried(newest, now) else None
    return row


def _may_be_retried(row: FirmwareUpdate | LogRequest | None, now: datetime) -> bool:
    """Whether `row` was ended by the charge point's own word, not long ago."""
    if row is None or row.finished_at is None or row.status in NEVER_BEGUN:
        return False
    return now - row.finished_at <= RETRIED_WITHIN


def _progress(row: FirmwareUpdate | LogRequest, status: str, *, final: bool, now: datetime) -> None:
    if final:
        # That a canceled one has failed says nothing new.
        if row.status != CANCELED or status in SUCCESS:
            end(row, status, now)
    elif status != IDLE and (not row.is_final or row.status == NOTHING_TO_UPLOAD):
        # A charge point that named no file and delivers one all the same.
        row.status, row.status_at, row.finished_at = status, now, None
        row.save(update_fields=["status", "status_at", "finished_at"])


def end(row: FirmwareUpdate | LogRequest, status: str, now: datetime) -> None:
    """End `row` with `status`; the URL of an image is not served any more.

    That of an upload stays until the file has come or it expires: some charge points report before they deliver.
    """
    row.status, row.status_at, row.finished_at = status, now, now
    row.save(update_fields=["status", "status_at", "finished_at"])
    urls = FileUrl.objects.filter(closed_at__isnull=True)
    if isinstance(row, FirmwareUpdate):
        urls.filter(firmware_update=row).update(closed_at=now)
    elif status in NEVER_BEGUN:
        urls.filter(log_request=row).update(closed_at=now)


def supersede(row: FirmwareUpdate | LogRequest, now: datetime, status: str = SUPERSEDED) -> None:
    """The charge point has taken `row`: what it was asked before and has not ended is not followed any more.

    `status` is CANCELED where the charge point has said so itself. A GetLog and a GetDiagnostics leave each other be.
    """
    earlier = type(row).objects.filter(charge_point_id=row.charge_point_id, finished_at__isnull=True, pk__lt=row.pk)
    if isinstance(row, LogRequest):
        earlier = earlier.exclude(log_type="") if row.log_type else earlier.filter(log_type="")
    for one in earlier.order_by("id")[:100]:
        if one.command is None or one.command.status != CommandStatus.QUEUED:
            end(one, status, now)
            if isinstance(one, LogRequest) and status == CANCELED:
                note_effect(one)


def ended_without_answer(row: FirmwareUpdate | LogRequest | None, command: Command, now: datetime) -> None:
    """The command of `row` has no confirmation: refused and never sent end it, silence leaves it open."""
    if row is None or row.is_final:
        return
    if command.status == CommandStatus.ERROR:
        end(row, REFUSED, now)
    elif command.status in (CommandStatus.EXPIRED, CommandStatus.WITHDRAWN):
        end(row, NOT_SENT, now)


def note_effect(request: LogRequest) -> None:
    """Write into the command what it led to (`log` or `diagnostics`): its outcome, and the file if it came to us."""
    # Locked, for the file and the last status may come at the same time, in two processes.
    command = Command.objects.select_for_update().filter(pk=request.command_id).first()
    if command is None:
        return
    effect: dict[str, Any] = {"log" if request.log_type else "diagnostics": request.pk, "status": request.status}
    if request.status_at is not None:
        effect["status_at"] = format_time(request.status_at)
    upload = UploadedFile.objects.filter(log_request=request).first()
    if upload is not None:
        effect["upload"] = {"name": upload.name, "size": upload.size, "sha256": upload.sha256}
    command.effect = effect
    command.save(update_fields=["effect"])
