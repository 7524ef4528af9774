"""Command: one request of ours to one charge point. The row is the truth; see stations/commands.py for its life."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel, tenant_foreign_key


class CommandStatus(models.TextChoices):
    QUEUED = "queued"
    SENT = "sent"
    ANSWERED = "answered"
    ERROR = "error"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


OPEN_STATUSES = (CommandStatus.QUEUED, CommandStatus.SENT)


class CommandBatch(TenantModel):
    """The same request to many charge points."""

    action = models.CharField(max_length=50)
    requested_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.action} {self.pk}"


class Command(TenantModel):
    """One outbound CALL.

    `payload` is the OCPP request as it goes on the wire (a secret in it encrypted until it is sent, then masked),
    `response` the CALLRESULT's payload as received, `error` {code, description, details}, `effect` what came of it.
    `response` and `error` of a late answer are recorded too; the status then stays `timed_out`.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="commands", db_index=False)
    batch = models.ForeignKey(CommandBatch, null=True, on_delete=models.SET_NULL, related_name="commands")
    action = models.CharField(max_length=50)
    payload = models.JSONField()
    requested_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=10, choices=CommandStatus.choices, default=CommandStatus.QUEUED)
    message_id = models.CharField(max_length=36, blank=True)
    connection_generation = models.BigIntegerField(null=True)
    warnings = models.JSONField(default=list)
    response = models.JSONField(null=True)
    error = models.JSONField(null=True)
    effect = models.JSONField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # How often it was put on the wire, and, after a connection was lost with it, when it may be again.
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    not_before = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [
            # OCPP-J 4.1.1: at most one unanswered CALL per connection.
            models.UniqueConstraint(fields=["charge_point"], condition=Q(status="sent"), name="command_one_outstanding")
        ]
        indexes = [
            models.Index(fields=["charge_point", "-id"], name="command_newest_first"),
            models.Index(fields=["charge_point", "id"], condition=Q(status="queued"), name="command_queue"),
            models.Index(fields=["expires_at"], condition=Q(status="queued"), name="command_expiry"),
            models.Index(fields=["tenant", "-id"], name="command_newest_of_tenant"),
            models.Index(
                fields=["tenant", "created_at"],
                condition=Q(effect__isnull=True, status__in=("answered", "timed_out", "unknown")),
                name="command_without_effect",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.pk}"

    @property
    def is_final(self) -> bool:
        return self.status not in OPEN_STATUSES

    @property
    def outcome(self) -> str:
        """One word for lists: the status in the charge point's answer, else the state of the command."""
        if self.status == CommandStatus.ANSWERED and isinstance(self.response, dict):
            return str(self.response.get("status", "answered"))
        if self.status == CommandStatus.ERROR and isinstance(self.error, dict):
            return str(self.error.get("code", "error"))
        return self.status
