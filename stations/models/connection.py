"""ConnectionAttempt: every handshake and what to do about it. ServerProcess: who holds the sockets."""

from __future__ import annotations

from django.db import models

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel, tenant_foreign_key


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


class ServerProcess(models.Model):
    """A server process that is, or was, alive. A platform model: processes serve all tenants.

    A process that is killed cannot say goodbye; when its `alive_at` grows old, its charge points count as disconnected.
    """

    id = models.CharField(primary_key=True, max_length=36)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    alive_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
