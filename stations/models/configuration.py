"""ConfigurationKey: what a charge point last reported, and what its operator wants."""

from __future__ import annotations

from django.db import models

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel


class ConfigurationKey(TenantModel):
    """One configuration key of one charge point; `value` and `readonly` are null when it has not been reported."""

    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="configuration", db_index=False
    )
    key = models.CharField(max_length=255)
    # A key may lack a value, which is not the same as an empty one.
    value = models.TextField(null=True)  # noqa: DJ001
    readonly = models.BooleanField(null=True)
    known = models.BooleanField(default=True, help_text="False when the charge point named it in unknownKey.")
    reported_at = models.DateTimeField(null=True)
    desired_value = models.TextField(null=True)  # noqa: DJ001
    desired_at = models.DateTimeField(null=True)
    reboot_required = models.BooleanField(default=False)

    class Meta(TenantModel.Meta):
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["charge_point", "key"], name="configuration_key_once")]

    def __str__(self) -> str:
        return self.key

    @property
    def drift(self) -> bool:
        """Whether the value reported differs from the one wanted."""
        return self.desired_value is not None and self.value != self.desired_value
