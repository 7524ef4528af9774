"""Connector: the latest status of each connector, and the history of statuses."""

from __future__ import annotations

from django.db import models

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel, tenant_foreign_key


class ChargePointStatus(models.TextChoices):
    """OCPP 1.6 section 7.7."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EVSE = "SuspendedEVSE"
    SUSPENDED_EV = "SuspendedEV"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class StatusFacts(TenantModel):
    """What a StatusNotification says; texts in full, although the standard limits them, because firmware exceeds it."""

    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, db_index=False)
    connector_id = models.IntegerField()
    status = models.TextField(blank=True)
    error_code = models.TextField(blank=True)
    info = models.TextField(blank=True)
    vendor_id = models.TextField(blank=True)
    vendor_error_code = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        abstract = True

    @property
    def status_known(self) -> bool:
        """Whether the standard defines the status; None was reported yet is no unknown one."""
        return not self.status or self.status in ChargePointStatus.values


class Connector(StatusFacts):
    """Latest status by the charge point's own timestamp; connector 0 is its main controller."""

    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="connectors", db_index=False)
    status_at = models.DateTimeField(null=True)
    status_received_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["charge_point", "connector_id"]
        constraints = [
            models.UniqueConstraint(fields=["charge_point", "connector_id"], name="connector_per_charge_point")
        ]

    def __str__(self) -> str:
        return f"{self.connector_id}"


class ConnectorStatus(StatusFacts):
    """One StatusNotification, in the order of arrival; `at` is the charge point's time, or ours when it gave none."""

    tenant = tenant_foreign_key(db_index=False, db_constraint=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="status_history", db_index=False
    )
    at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        verbose_name_plural = "connector statuses"
        indexes = [models.Index(fields=["charge_point", "connector_id", "-at"], name="connector_status_newest_first")]

    def __str__(self) -> str:
        return f"{self.connector_id} {self.status}"
