"""ConnectionAttempt: every handshake and what to do about it. StrayHandshake: those of no tenant. ServerProcess: who
holds the sockets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel, tenant_foreign_key

# Whoever dials without end fills no table.
MOST_STRAYS = 2000
STRAYS_KEPT = timedelta(days=30)


class ConnectionAttempt(TenantModel):
    """One handshake as the tenant sees it, also for identities it does not know; never holds a credential.

    `reason` is a stable code of stations.handshake.REFUSALS ("" when accepted), `remedy` a sentence for the technician.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(
        ChargePoint, null=True, on_delete=models.CASCADE, related_name="connection_attempts", db_index=False
    )
    identity = models.CharField(max_length=255)
    at = models.DateTimeField()
    address = models.CharField(max_length=64, blank=True)
    accepted = models.BooleanField()
    http_status = models.PositiveSmallIntegerField()
    reason = models.CharField(max_length=50, blank=True)
    remedy = models.TextField(blank=True)
    security_profile = models.PositiveSmallIntegerField(null=True)
    subprotocols = models.CharField(max_length=255, blank=True)
    user_agent = models.CharField(max_length=255, blank=True)
    tls_version = models.CharField(max_length=20, blank=True)
    tls_cipher = models.CharField(max_length=80, blank=True)
    client_certificate = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "identity", "-id"], name="attempt_by_identity"),
            models.Index(fields=["charge_point", "-id"], name="attempt_by_charge_point"),
            models.Index(fields=["tenant", "-id"], name="attempt_newest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.identity} {self.http_status}"


class StrayHandshakeQuerySet(models.QuerySet["StrayHandshake"]):
    def add(self, now: datetime, *, path: str, address: str, **facts: Any) -> None:
        """Note a handshake; one row for what is dialled alike from one address."""
        alike = self.filter(path=path, address=address)
        if alike.update(times=F("times") + 1, last_at=now, **facts):
            return
        row = StrayHandshake(path=path, address=address, first_at=now, last_at=now, times=1, **facts)
        # Of two processes at the same moment one makes the row.
        StrayHandshake.objects.bulk_create([row], ignore_conflicts=True)
        surplus = list(self.order_by("-last_at", "-pk").values_list("pk", flat=True)[MOST_STRAYS : MOST_STRAYS + 100])
        if surplus:
            self.filter(pk__in=surplus).delete()

    def forget(self, now: datetime) -> int:
        """Delete what has not come again for STRAYS_KEPT; gives the number of rows."""
        return self.filter(last_at__lt=now - STRAYS_KEPT).delete()[0]


class StrayHandshake(models.Model):
    """A handshake whose URL names no tenant, as platform administrators see it. Platform model: it belongs to nobody.

    `path` is what was dialled, percent-encoded as sent. `meant`: the charge point that it most likely is, as
    tenant/identity, "" where there is none, or more than one.
    """

    path = models.CharField(max_length=255)
    address = models.CharField(max_length=64)
    reason = models.CharField(max_length=50)
    remedy = models.TextField()
    meant = models.CharField(max_length=120, blank=True)
    user_agent = models.CharField(max_length=255, blank=True)
    subprotocols = models.CharField(max_length=255, blank=True)
    times = models.PositiveIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)

    objects = models.Manager.from_queryset(StrayHandshakeQuerySet)()

    class Meta:
        ordering = ["-last_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["path", "address"], name="stray_handshake_once")]

    def __str__(self) -> str:
        return f"{self.path} from {self.address}"


class ServerProcess(models.Model):
    """A server process that is, or was, alive. A platform model: processes serve all tenants.

    A process that is killed cannot say goodbye; when its `alive_at` grows old, its charge points count as disconnected.
    """

    id = models.CharField(primary_key=True, max_length=36)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    alive_at = models.DateTimeField()
    # What it listens on, by kind (csms/addresses.py); null of a process of the version before.
    addresses = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
