"""Charging profiles: the tenant's library, and what is installed on which charge point."""

from __future__ import annotations

from typing import Any

from django.db import models

from stations.models.charge_point import ChargePoint
from stations.models.command import Command
from stations.models.transaction import Transaction
from tenants.scoped import TenantModel


class Purpose(models.TextChoices):
    """ChargingProfilePurposeType, OCPP 1.6 section 7.11; the order in which lists show them."""

    CHARGE_POINT_MAX_PROFILE = "ChargePointMaxProfile"
    TX_DEFAULT_PROFILE = "TxDefaultProfile"
    TX_PROFILE = "TxProfile"


class ChargingProfile(TenantModel):
    """A profile of the library, to be sent to any charge point.

    `id` is its chargingProfileId on the wire: one positive int32 sequence for the whole deployment, never reused, so
    that it means one profile on every charge point. `profile` is the OCPP chargingProfile without that id.
    """

    id = models.AutoField(primary_key=True)
    description = models.CharField(max_length=200, blank=True)
    profile = models.JSONField()
    requested_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.pk} {self.description}".strip()

    @property
    def as_sent(self) -> dict[str, Any]:
        """The chargingProfile as it goes on the wire, its id first."""
        return {"chargingProfileId": self.pk, **self.profile}


class InstalledState(models.TextChoices):
    BELIEVED = "believed", "Believed: the charge point accepted it"
    CONFIRMED = "confirmed", "Confirmed: seen in a composite schedule of the charge point"


class InstalledProfile(TenantModel):
    """A profile that a charge point has, to the best of our knowledge; the row goes when the profile goes.

    `charging_profile_id`, `purpose` and `stack_level` repeat what stands in `profile`, the chargingProfile as sent. The
    two constraints are the two ways in which one profile replaces another (OCPP 1.6 section 5.16.2).
    """

    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="installed_profiles", db_index=False
    )
    connector_id = models.IntegerField()
    charging_profile_id = models.IntegerField()
    library = models.ForeignKey(
        ChargingProfile, null=True, blank=True, on_delete=models.SET_NULL, related_name="installed"
    )
    profile = models.JSONField()
    purpose = models.CharField(max_length=30, choices=Purpose.choices)
    stack_level = models.IntegerField()
    transaction = models.ForeignKey(
        Transaction, null=True, blank=True, on_delete=models.CASCADE, related_name="installed_profiles"
    )
    state = models.CharField(max_length=10, choices=InstalledState.choices, default=InstalledState.BELIEVED)
    installed_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)
    command = models.ForeignKey(
        Command, null=True, blank=True, on_delete=models.SET_NULL, related_name="installed_profiles"
    )

    class Meta(TenantModel.Meta):
        ordering = ["connector_id", "purpose", "-stack_level"]
        constraints = [
            models.UniqueConstraint(fields=["charge_point", "charging_profile_id"], name="installed_profile_id_once"),
            models.UniqueConstraint(
                fields=["charge_point", "connector_id", "purpose", "stack_level"], name="installed_profile_level_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.charging_profile_id} on connector {self.connector_id}"
