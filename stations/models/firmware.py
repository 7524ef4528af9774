"""Firmware and diagnostics: the images we keep, and what charge points were asked to fetch or to deliver.

`status` is the last progress that the charge point reported, or one of our own words while it has reported none
(Requested) and when the request itself came to nothing (Refused, NotSent, Superseded, Canceled, InvalidCertificate,
RevokedCertificate, NothingToUpload). The statuses as they came, in any order, are rows of their own.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import models, transaction

from stations.models.charge_point import ChargePoint
from stations.models.command import Command
from tenants.scoped import TenantModel, tenant_foreign_key

REQUESTED, REFUSED, NOT_SENT, SUPERSEDED = "Requested", "Refused", "NotSent", "Superseded"
NOTHING_TO_UPLOAD = "NothingToUpload"
CANCELED, INVALID_CERTIFICATE, REVOKED_CERTIFICATE = "Canceled", "InvalidCertificate", "RevokedCertificate"
# OCPP 1.6 ed. 2, 7.12 and 7.24.
IDLE = "Idle"
FIRMWARE_FINAL = ("Installed", "InstallationFailed", "DownloadFailed")
DIAGNOSTICS_FINAL = ("Uploaded", "UploadFailed")
# Security whitepaper ed. 3, sections 5.11 and 5.13 (UploadLogStatus, FirmwareStatus).
SIGNED_FIRMWARE_FINAL = (*FIRMWARE_FINAL, "InvalidSignature", "InstallVerificationFailed")
LOG_FINAL = ("Uploaded", "BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure")
FIRMWARE_WORDS = frozenset({*FIRMWARE_FINAL, IDLE, "Downloaded", "Downloading", "Installing"})
SIGNED_FIRMWARE_WORDS = FIRMWARE_WORDS | {
    *SIGNED_FIRMWARE_FINAL, "DownloadPaused", "DownloadScheduled", "InstallRebooting", "InstallScheduled",
    "SignatureVerified",
}  # fmt: skip
DIAGNOSTICS_WORDS = frozenset({*DIAGNOSTICS_FINAL, IDLE, "Uploading"})
LOG_WORDS = frozenset({*LOG_FINAL, IDLE, "Uploading"})
OUR_WORDS = frozenset(
    {
        REQUESTED, REFUSED, NOT_SENT, SUPERSEDED, NOTHING_TO_UPLOAD, CANCELED, INVALID_CERTIFICATE,
        REVOKED_CERTIFICATE,
    }
)  # fmt: skip
MAX_STATUS = 50
_FINAL = frozenset({*SIGNED_FIRMWARE_FINAL, *DIAGNOSTICS_FINAL, *LOG_FINAL})
_DEFINED = SIGNED_FIRMWARE_WORDS | DIAGNOSTICS_WORDS | LOG_WORDS
_FAILURE = re.compile("fail|error|abort|cancel|denied|reject", re.IGNORECASE)


def is_final(status: str) -> bool:
    """Whether nothing follows a status that a charge point reports, also one that no standard defines.

    A word of its own that plainly says failure is an end as well: else the request would be under way for ever.
    """
    return status in _FINAL or (status not in _DEFINED and _FAILURE.search(status) is not None)


def delete_files(files: list[Any]) -> None:
    """Delete these files from their storage; one that is gone is no error.

    Files of rows that went in another way (with their charge point) are found by file_exchange.remove_orphans.
    """
    for file in files:
        if file:
            file.storage.delete(file.name)


def image_path(image: FirmwareImage, filename: str) -> str:
    """Where an image lies in the storage: a folder per tenant, a name of ours."""
    return f"{image.tenant_id}/firmware/{uuid4().hex}"


class FirmwareImage(TenantModel):
    """One firmware file, and the charge points it is meant for.

    `name` is what charge points see at the end of the URL. `signature` and `signing_certificate` (PEM) belong to
    signed updates.
    """

    name = models.CharField(max_length=100, help_text="The file name that charge points see.")
    vendor = models.CharField(max_length=50, blank=True, help_text="Empty: any.")
    model = models.CharField(max_length=50, blank=True, help_text="Empty: any.")
    version = models.CharField(max_length=50, blank=True)
    description = models.CharField(max_length=200, blank=True)
    file = models.FileField(upload_to=image_path, max_length=200)
    size = models.BigIntegerField(editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    signature = models.TextField(blank=True)
    signing_certificate = models.TextField(blank=True)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.version})" if self.version else self.name

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        file = self.file
        deleted = super().delete(*args, **kwargs)
        transaction.on_commit(lambda: delete_files([file]))
        return deleted

    @property
    def in_use(self) -> bool:
        """Whether an update that has not ended refers to it."""
        return FirmwareUpdate.objects.filter(image=self, finished_at__isnull=True).exists()

    def fits(self, charge_point: ChargePoint) -> bool:
        """Whether it is meant for the charge point, as far as both say what they are."""
        pairs = ((self.vendor, charge_point.vendor), (self.model, charge_point.model))
        return all(not mine or not theirs or mine.casefold() == theirs.casefold() for mine, theirs in pairs)


class FirmwareUpdate(TenantModel):
    """One UpdateFirmware.req or SignedUpdateFirmware.req (`signed`).

    `location` has its secrets masked: the command alone has the true one, until it ends. `retrieve_date` is
    retrieveDate or retrieveDateTime; `request_id` and what follows it belong to signed updates.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="firmware_updates", db_index=False
    )
    command = models.OneToOneField(Command, null=True, on_delete=models.SET_NULL, related_name="firmware_update")
    image = models.ForeignKey(FirmwareImage, null=True, on_delete=models.SET_NULL, related_name="updates")
    version = models.CharField(max_length=50, blank=True)
    location = models.TextField()
    retrieve_date = models.DateTimeField(null=True)
    signed = models.BooleanField(default=False)
    request_id = models.BigIntegerField(null=True)
    install_date = models.DateTimeField(null=True)
    signature = models.TextField(blank=True)
    signing_certificate = models.TextField(blank=True)
    retries = models.BigIntegerField(null=True)
    retry_interval_seconds = models.BigIntegerField(null=True)
    status = models.CharField(max_length=MAX_STATUS, default=REQUESTED)
    status_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="firmware_update_newest"),
            models.Index(fields=["charge_point", "-id"], name="firmware_update_of_station"),
        ]

    def __str__(self) -> str:
        return f"Firmware update {self.pk}"

    @property
    def status_known(self) -> bool:
        """Whether the standard defines the status for this kind of update, or it is a word of ours."""
        return self.status in OUR_WORDS or self.status in (SIGNED_FIRMWARE_WORDS if self.signed else FIRMWARE_WORDS)

    @property
    def is_final(self) -> bool:
        return self.finished_at is not None


class ReportedStatus(TenantModel):
    """A status as reported, and how often it came without another in between.

    `last_received_at` is null when it came once.
    """

    status = models.CharField(max_length=MAX_STATUS)
    received_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1, db_default=1)
    last_received_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        abstract = True

    def __str__(self) -> str:
        return self.status

    def repeated(self, status: str, now: datetime) -> bool:
        """Count `status` here if it is the same; False if it is another one."""
        if self.status != status:
            return False
        self.times, self.last_received_at = self.times + 1, now
        self.save(update_fields=["times", "last_received_at"])
        return True


class FirmwareStatus(ReportedStatus):
    """(Signed)FirmwareStatusNotification.req; `update` is null when it belongs to no request of ours."""

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="+", db_index=False)
    update = models.ForeignKey(FirmwareUpdate, null=True, on_delete=models.CASCADE, related_name="statuses")

    class Meta(ReportedStatus.Meta):
        abstract = False
        ordering = ["id"]
        indexes = [
            models.Index(fields=["tenant", "id"], name="firmware_status_of_tenant"),
            models.Index(fields=["charge_point", "-id"], name="firmware_status_newest"),
        ]


class LogRequest(TenantModel):
    """One GetDiagnostics.req, or GetLog.req, which alone has a `log_type` and a `request_id`.

    `location` has its secrets masked; `to_us` when it was a URL of our file exchange. `start_time` and `stop_time` are
    oldestTimestamp and latestTimestamp of GetLog.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="log_requests", db_index=False)
    command = models.OneToOneField(Command, null=True, on_delete=models.SET_NULL, related_name="log_request")
    location = models.TextField()
    to_us = models.BooleanField(default=False)
    log_type = models.CharField(max_length=20, blank=True)
    request_id = models.BigIntegerField(null=True)
    start_time = models.DateTimeField(null=True)
    stop_time = models.DateTimeField(null=True)
    retries = models.BigIntegerField(null=True)
    retry_interval_seconds = models.BigIntegerField(null=True)
    file_name = models.CharField(max_length=255, blank=True, help_text="As the charge point named it in its answer.")
    status = models.CharField(max_length=MAX_STATUS, default=REQUESTED)
    status_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        verbose_name = "request for diagnostics"
        verbose_name_plural = "requests for diagnostics"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="log_request_newest"),
            models.Index(fields=["charge_point", "-id"], name="log_request_of_station"),
        ]

    def __str__(self) -> str:
        return f"{self.log_type or 'Diagnostics'} {self.pk}"

    @property
    def status_known(self) -> bool:
        """Whether the standard defines the status for this kind of request, or it is a word of ours."""
        return self.status in OUR_WORDS or self.status in (LOG_WORDS if self.log_type else DIAGNOSTICS_WORDS)

    @property
    def is_final(self) -> bool:
        return self.finished_at is not None


class DiagnosticsStatus(ReportedStatus):
    """DiagnosticsStatusNotification.req or LogStatusNotification.req; `request` is null when it is about none."""

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="+", db_index=False)
    request = models.ForeignKey(LogRequest, null=True, on_delete=models.CASCADE, related_name="statuses")

    class Meta(ReportedStatus.Meta):
        abstract = False
        ordering = ["id"]
        indexes = [
            models.Index(fields=["tenant", "id"], name="diag_status_of_tenant"),
            models.Index(fields=["charge_point", "-id"], name="diag_status_newest"),
        ]
