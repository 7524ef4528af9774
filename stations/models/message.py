"""OcppMessage: the log of OCPP-J frames, secrets masked before they are written."""

from __future__ import annotations

from typing import Any

import orjson
from django.db import models

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantModel, tenant_foreign_key


class MessageType(models.IntegerChoices):
    """OCPP-J section 4.1.3; 0 is a frame that was none of them."""

    OTHER = 0, "not OCPP-J"
    CALL = 2, "CALL"
    CALLRESULT = 3, "CALLRESULT"
    CALLERROR = 4, "CALLERROR"


class OcppMessage(TenantModel):
    """One frame. A log row: no foreign-key checks and one index, for it is written with every message.

    `payload` is JSON text as sent (CALL, CALLRESULT), the details (CALLERROR), or the frame's text (type 0).
    `latency_ms` stands on answers: from the arrival of the CALL to the commit of our answer, or from the sending of
    ours to theirs.
    """

    tenant = tenant_foreign_key(db_index=False, db_constraint=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="messages"
    )
    incoming = models.BooleanField()
    message_type = models.PositiveSmallIntegerField(choices=MessageType.choices)
    action = models.CharField(max_length=255, blank=True)
    message_id = models.CharField(max_length=255, blank=True)
    payload = models.TextField()
    received_at = models.DateTimeField()
    latency_ms = models.FloatField(null=True)
    error = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        verbose_name = "OCPP message"
        indexes = [models.Index(fields=["charge_point", "-id"], name="message_newest_first")]

    def __str__(self) -> str:
        return f"{'in' if self.incoming else 'out'} {self.get_message_type_display()} {self.action}"

    @property
    def direction(self) -> str:
        return "in" if self.incoming else "out"

    @property
    def payload_json(self) -> Any:
        """The payload as JSON, or the frame's text when it was not OCPP-J."""
        try:
            return orjson.loads(self.payload)
        except orjson.JSONDecodeError:
            return self.payload
