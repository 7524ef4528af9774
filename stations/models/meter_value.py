"""MeterValue: one row per MeterValue element, with the measurands that everything else needs already normalised."""

from __future__ import annotations

from django.db import models

from stations.models.charge_point import ChargePoint
from stations.models.transaction import Transaction
from tenants.scoped import TenantModel, tenant_foreign_key


class MeterValue(TenantModel):
    """Readings taken at one instant at one connector.

    `sampled_value` is the OCPP list, untouched. `energy_wh` (Energy.Active.Import.Register), `power_w`
    (Power.Active.Import) and `soc_percent` are taken out of it, in these units, null when absent or not a number.
    `transaction_ref` is the transactionId as sent when it is not that of `transaction`, else empty. `matched_by` is a
    MatchedBy; empty when the transactionId decided, or there is no transaction.
    The constraint makes a repeated MeterValues harmless; `digest` covers what the sampled list means.
    """

    tenant = tenant_foreign_key(db_index=False, db_constraint=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="meter_values"
    )
    connector_id = models.IntegerField()
    # The lane has looked the transaction up; a check of the database's own would lock its row for every reading.
    transaction = models.ForeignKey(
        Transaction,
        null=True,
        on_delete=models.CASCADE,
        db_index=False,
        db_constraint=False,
        related_name="meter_values",
    )
    transaction_ref = models.TextField(blank=True)
    # With a default of the database, for processes of the version before that still run.
    matched_by = models.CharField(max_length=20, blank=True, default="", db_default="")
    timestamp = models.DateTimeField()
    received_at = models.DateTimeField()
    energy_wh = models.DecimalField(max_digits=15, decimal_places=3, null=True)
    power_w = models.FloatField(null=True)
    soc_percent = models.FloatField(null=True)
    sampled_value = models.JSONField()
    digest = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        ordering = ["-timestamp", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["charge_point", "connector_id", "timestamp", "digest"], name="meter_value_once"
            )
        ]
        indexes = [models.Index(fields=["transaction", "-timestamp"], name="meter_value_of_transaction")]

    def __str__(self) -> str:
        return f"{self.timestamp:%Y-%m-%d %H:%M:%S}"
