"""SecurityEvent: what charge points report of their own security, and what we notice of it ourselves.

An event is an alert while it is critical and nobody has acknowledged it: by the table of the whitepaper for what a
charge point reports, by stations/security_events.py for what is ours.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

# Security whitepaper ed. 3, appendix "Security events": type, and whether it is critical. Others may come as well.
CRITICAL_BY_TYPE = {
    "FirmwareUpdated": True,
    "FailedToAuthenticateAtCentralSystem": False,
    "CentralSystemFailedToAuthenticate": False,
    "SettingSystemTime": True,
    "StartupOfTheDevice": True,
    "ResetOrReboot": True,
    "SecurityLogWasCleared": True,
    "ReconfigurationOfSecurityParameters": False,
    "MemoryExhaustion": True,
    "InvalidMessages": False,
    "AttemptedReplayAttacks": False,
    "TamperDetectionActivated": True,
    "InvalidFirmwareSignature": False,
    "InvalidFirmwareSigningCertificate": False,
    "InvalidCentralSystemCertificate": False,
    "InvalidChargePointCertificate": False,
    "InvalidTLSVersion": False,
    "InvalidTLSCipherSuite": False,
}
_CRITICAL = {name.casefold() for name, critical in CRITICAL_BY_TYPE.items() if critical}


def is_critical(event_type: str) -> bool:
    """Whether the whitepaper calls this type critical, in any letter case; an unknown type is not."""
    return event_type.strip().casefold() in _CRITICAL


def digest_of(*parts: object) -> str:
    """128 bits over `parts`, in hexadecimal: what makes a row unique without an index over long texts."""
    # The length of each part stands before it, so that no two lists of parts read the same.
    texts = [str(part) for part in parts]
    text = "".join(f"{len(part)}:{part}" for part in texts)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


class EventSource(models.TextChoices):
    """Who noticed it."""

    CHARGE_POINT = "charge_point", "charge point"
    CSMS = "csms", "central system"


class SecurityEventQuerySet(TenantQuerySet["SecurityEvent"]):
    def alerts(self) -> Self:
        """Critical events that nobody has acknowledged."""
        return self.filter(critical=True, acknowledged_at__isnull=True)

    def acknowledge(self, by: str, now: datetime) -> int:
        """Acknowledge the alerts among these rows; gives their number. What was acknowledged before stays so."""
        return self.alerts().update(acknowledged_at=now, acknowledged_by=by[:200])


class SecurityEvent(TenantModel):
    """One event; `type` and `tech_info` are as long as they were sent.

    `timestamp` is the charge point's clock and may be days old. Of our own events `identity` and `address` are those
    of the caller, also of one that nobody registered, and `times` counts what was alike within a minute, the last of
    it at `last_at`. `digest` covers charge point, type, timestamp and techInfo, so that a repeated notification makes
    no second row; for our own, what makes them alike and the minute.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(
        ChargePoint, null=True, on_delete=models.CASCADE, related_name="security_events", db_index=False
    )
    source = models.CharField(max_length=12, choices=EventSource.choices)
    type = models.TextField()
    tech_info = models.TextField(blank=True)
    critical = models.BooleanField()
    timestamp = models.DateTimeField()
    received_at = models.DateTimeField()
    identity = models.CharField(max_length=255, blank=True)
    address = models.CharField(max_length=64, blank=True)
    times = models.IntegerField(default=1)
    last_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=32)

    objects = TenantManager.from_queryset(SecurityEventQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "digest"], name="security_event_once")]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="security_event_newest"),
            models.Index(fields=["charge_point", "-id"], name="security_event_of_station"),
            models.Index(
                fields=["tenant", "-id"],
                condition=Q(critical=True, acknowledged_at__isnull=True),
                name="security_event_alerts",
            ),
            models.Index(
                fields=["charge_point", "-id"],
                condition=Q(critical=True, acknowledged_at__isnull=True),
                name="security_event_alerts_of",
            ),
        ]

    def __str__(self) -> str:
        return self.type[:100]

    @property
    def is_alert(self) -> bool:
        return self.critical and self.acknowledged_at is None
