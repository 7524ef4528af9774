"""PasswordChange: a Basic password that a charge point was, or will be, asked to take."""

from __future__ import annotations

from django.db import models

from stations.models.charge_point import ChargePoint
from stations.models.command import Command
from tenants.scoped import TenantModel, tenant_foreign_key


class PasswordChange(TenantModel):
    """One ChangeConfiguration of AuthorizationKey whose outcome is not known yet; only the salted hash is kept.

    The row goes as soon as the outcome is known. While it is there and its command has been sent, this password and
    the one before are both accepted. `reboot_required`: the charge point takes it with its next boot.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="password_changes", db_index=False
    )
    command = models.OneToOneField(Command, on_delete=models.CASCADE, related_name="password_change")
    password_hash = models.CharField(max_length=255)
    reboot_required = models.BooleanField(default=False)

    class Meta(TenantModel.Meta):
        ordering = ["id"]
        indexes = [models.Index(fields=["charge_point", "id"], name="password_change_of_station")]

    def __str__(self) -> str:
        return f"{self.charge_point_id} {self.command_id}"
