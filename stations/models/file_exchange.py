"""What passes between charge points and our own file exchange: the URLs given out, and the files received."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.db import models, transaction
from django.db.models import Q

from stations.models.charge_point import ChargePoint
from stations.models.firmware import FirmwareUpdate, LogRequest, delete_files
from tenants.scoped import TenantModel


def upload_path(upload: UploadedFile, filename: str) -> str:
    """Where a received file lies in the storage: a folder per tenant, a name of ours; the given one is only shown."""
    return f"{upload.tenant_id}/uploads/{uuid4().hex}"


class FileUrl(TenantModel):
    """A URL given to one charge point for one update or one request for diagnostics.

    Of its token only the SHA-256 is kept. It ends when it expires, when the file has come (uploads), and when the
    update has ended (downloads): `closed_at`. `address` is that of the first caller, which the URL is then bound to.
    """

    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="file_urls")
    token_hash = models.CharField(max_length=64)
    firmware_update = models.OneToOneField(FirmwareUpdate, null=True, on_delete=models.CASCADE, related_name="url")
    log_request = models.OneToOneField(LogRequest, null=True, on_delete=models.CASCADE, related_name="url")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    address = models.CharField(max_length=64, blank=True)
    used_at = models.DateTimeField(null=True)
    uses = models.IntegerField(default=0)
    # The highest byte of the image that was handed to the network, over all attempts.
    delivered_bytes = models.BigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["token_hash"], name="file_url_token_once"),
            models.CheckConstraint(
                condition=Q(firmware_update__isnull=True, log_request__isnull=False)
                | Q(firmware_update__isnull=False, log_request__isnull=True),
                name="file_url_one_purpose",
            ),
        ]

    def __str__(self) -> str:
        return f"URL of {self.firmware_update or self.log_request}"


class UploadedFile(TenantModel):
    """A file that a charge point delivered; `name` is what it called the file, cut to its last part."""

    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="uploaded_files")
    log_request = models.OneToOneField(LogRequest, null=True, on_delete=models.CASCADE, related_name="upload")
    file = models.FileField(upload_to=upload_path, max_length=200)
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=100, blank=True)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    address = models.CharField(max_length=64, blank=True)
    received_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        file = self.file
        deleted = super().delete(*args, **kwargs)
        transaction.on_commit(lambda: delete_files([file]))
        return deleted
