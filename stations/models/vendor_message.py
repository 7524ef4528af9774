"""VendorExtension: a vendor whose DataTransfers are taken. VendorMessage: one that came."""

from __future__ import annotations

from typing import Any

from django.db import models

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel, tenant_foreign_key

MAX_VENDOR_ID = 255


class VendorExtension(TenantModel):
    """A vendorId that the tenant has switched on. Compared without regard to case (CiString255Type).

    `message_ids`: the only messageIds that are known, in any letter case; empty means all.
    """

    vendor_id = models.CharField(max_length=MAX_VENDOR_ID)
    key = models.CharField(max_length=3 * MAX_VENDOR_ID, editable=False)
    message_ids = models.JSONField(
        default=list, blank=True, help_text="The only messageIds that are known. Empty means all."
    )
    description = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True, help_text="Off: answered UnknownVendorId, as without this entry.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["vendor_id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="vendor_extension_once")]

    def __str__(self) -> str:
        return self.vendor_id

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.key = self.vendor_id.upper()
        super().save(*args, **kwargs)

    def knows(self, message_id: str) -> bool:
        """Whether this messageId is one of those that the tenant has named."""
        return not self.message_ids or message_id.upper() in {str(each).upper() for each in self.message_ids}


class VendorMessage(TenantModel):
    """One DataTransfer.req of a vendor that is switched on; texts in full, `data` null where there was none.

    `status` and `response` are what the charge point was answered.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="vendor_messages", db_index=False
    )
    vendor_id = models.TextField()
    message_id = models.TextField(blank=True)
    data = models.TextField(null=True)  # noqa: DJ001 - none is not an empty text
    status = models.CharField(max_length=20)
    response = models.TextField(null=True)  # noqa: DJ001
    received_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="vendor_message_newest"),
            models.Index(fields=["charge_point", "-id"], name="vendor_message_of_station"),
        ]

    def __str__(self) -> str:
        return f"{self.vendor_id} {self.message_id}".strip()[:100]
