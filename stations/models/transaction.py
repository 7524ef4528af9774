"""Transaction: one charging session as its charge point reported it. Facts are flagged, never refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Case, OuterRef, Q, Subquery, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from stations import credibility
from stations.models.charge_point import ChargePoint
from stations.models.command import Command
from stations.models.id_tag import IdTag
from stations.models.start_constraint import StartOnce
from stations.models.transaction_flag import Flag
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

MAX_TRANSACTION_ID = 2**31 - 1
# Two times of one event, one of them with its fraction of a second cut or rounded, are nearer to each other than this.
SAME_INSTANT = timedelta(seconds=1)
# How far a charge point's clock may be ahead of ours before what it says of the present is not believed.
AHEAD = timedelta(minutes=5)


class MatchedBy(models.TextChoices):
    """How a stop, or a reading, was found to belong to its transaction."""

    TRANSACTION_ID = "transaction_id", "the transactionId that was sent"
    ONLY_CANDIDATE = "only_candidate", "the only open transaction that it fits"
    READINGS = "readings", "the meter readings: it goes on from those of this one alone"
    ORDER = "order", "what was sent after it: the other candidates went on, or had stops of their own"
    CONNECTOR = "connector", "the connector and the time"


def _latest(newest: Any, column: str) -> Coalesce:
    """The value of `column` in the first of these rows that has one and is not from the future, else in any."""
    having = newest.filter(**{f"{column}__isnull": False})
    present = having.filter(timestamp__lte=timezone.now() + AHEAD)
    return Coalesce(Subquery(present.values(column)[:1]), Subquery(having.values(column)[:1]))


class TransactionQuerySet(TenantQuerySet["Transaction"]):
    def with_latest_reading(self) -> TransactionQuerySet:
        """Annotate running ones with `latest_energy_wh` (register) and `latest_power_w`, from the newest meter values.

        A look-up in the index of each transaction's meter values: written nowhere, so that a MeterValues costs one row.
        None for those that have ended: their energy is settled. A reading from the future (AHEAD) is the newest only
        where there is no other: a clock that was ahead for a moment must not hide what comes after it.
        """
        meter_values = apps.get_model("stations", "MeterValue")._default_manager
        newest = meter_values.filter(transaction=OuterRef("pk")).order_by("-timestamp")
        return self.annotate(
            latest_energy_wh=Case(When(stopped_at__isnull=True, then=_latest(newest, "energy_wh"))),
            latest_power_w=Case(When(stopped_at__isnull=True, then=_latest(newest, "power_w"))),
        )

    def open(self) -> TransactionQuerySet:
        return self.filter(stopped_at__isnull=True)

    def begun_as(self, tx: Transaction) -> TransactionQuerySet:
        """Those that the StartTransaction of `tx` has opened, in whatever words: the constraint lets one in."""
        return self.filter(
            charge_point_id=tx.charge_point_id, connector_id=tx.connector_id, id_tag_key=tx.id_tag_key,
            meter_start_wh=tx.meter_start_wh, started_at__gt=tx.started_at - SAME_INSTANT,
            started_at__lt=tx.started_at + SAME_INSTANT, orphan_ref="", duplicate_of__isnull=True,
        )  # fmt: skip


class Transaction(TenantModel):
    """`id` is the OCPP transactionId: one positive int32 sequence for the whole deployment, never 0, never reused.

    Meter readings in Wh. `started_at` and `stopped_at` are the charge point's times, `*_received_at` ours.
    The first constraint answers a repeated StartTransaction with the row it already opened (OCPP 1.6 section 3.7.1).
    `stop_received` is False while a closed row still waits for its StopTransaction, which is taken in when it comes.
    `matched_by` says how the stop was found to be this transaction's; `stop_ref` is the transactionId that it carried
    where that is not `id`. `candidates` are the ids that a stop without a start could belong to as well.
    """

    tenant = tenant_foreign_key(db_index=False)
    id = models.AutoField(primary_key=True)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.PROTECT, related_name="transactions", db_index=False)
    connector_id = models.IntegerField()
    id_tag = models.CharField(max_length=255, blank=True)
    id_tag_key = models.CharField(max_length=255, blank=True, editable=False)
    id_tag_row = models.ForeignKey(IdTag, null=True, on_delete=models.SET_NULL, related_name="transactions")
    id_tag_status = models.CharField(max_length=20, blank=True)
    id_tag_expiry_date = models.DateTimeField(null=True)
    parent_id_tag = models.CharField(max_length=20, blank=True)
    reservation_id = models.BigIntegerField(null=True)

    started_at = models.DateTimeField()
    started_received_at = models.DateTimeField()
    started_at_text = models.CharField(max_length=255, blank=True)
    meter_start_wh = models.BigIntegerField()

    stopped_at = models.DateTimeField(null=True)
    stopped_received_at = models.DateTimeField(null=True)
    meter_stop_wh = models.BigIntegerField(null=True)
    energy_wh = models.DecimalField(max_digits=15, decimal_places=3, null=True)
    stop_reason = models.CharField(max_length=255, blank=True)
    stop_id_tag = models.CharField(max_length=255, blank=True)
    stop_id_tag_status = models.CharField(max_length=20, blank=True)
    stop_received = models.BooleanField(default=False)

    flags = models.JSONField(default=list)
    orphan_ref = models.TextField(blank=True, help_text="The transactionId of a stop that has no start, as sent.")
    # With defaults of the database, for processes of the version before that still run.
    matched_by = models.CharField(max_length=20, blank=True, default="", db_default="", choices=MatchedBy.choices)
    stop_ref = models.TextField(blank=True, default="", db_default="")
    candidates = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    duplicate_of = models.IntegerField(
        null=True,
        blank=True,
        help_text="The transaction whose start this one repeats, of before that was recognised.",
    )
    started_by_command = models.ForeignKey(
        Command, null=True, on_delete=models.SET_NULL, related_name="started_transactions"
    )
    meter_values_rolled_up_at = models.DateTimeField(null=True, help_text="When its old meter values were thinned.")

    objects = TenantManager.from_queryset(TransactionQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [
            StartOnce(name="transaction_start_once"),
            models.UniqueConstraint(
                fields=["charge_point", "orphan_ref", "stopped_at", "meter_stop_wh"],
                name="transaction_orphan_stop_once",
                condition=~Q(orphan_ref=""),
            ),
        ]
        indexes = [
            models.Index(fields=["charge_point", "-id"], name="transaction_newest_of_station"),
            models.Index(fields=["tenant", "-id"], name="transaction_newest_of_tenant"),
            models.Index(fields=["tenant", "id_tag_key", "-id"], name="transaction_by_id_tag"),
            models.Index(
                fields=["charge_point", "connector_id"], condition=Q(stopped_at__isnull=True), name="transaction_open"
            ),
            models.Index(fields=["charge_point", "connector_id", "started_at"], name="transaction_by_start"),
            models.Index(
                fields=["charge_point", "meter_stop_wh"], condition=~Q(stop_ref=""), name="transaction_unnamed_stop"
            ),
            models.Index(
                fields=["tenant", "stopped_received_at"],
                condition=Q(meter_values_rolled_up_at__isnull=True),
                name="transaction_to_roll_up",
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def active(self) -> bool:
        return self.stopped_at is None

    @property
    def current_energy_wh(self) -> Decimal | None:
        """Energy so far: final once stopped, else from the newest meter value of `with_latest_reading`, else None.

        Never negative: a reading that cannot be of the register at the start says nothing.
        """
        if self.energy_wh is not None or self.stopped_at is not None:
            return self.energy_wh
        latest: Any = getattr(self, "latest_energy_wh", None)
        return None if latest is None else self.so_far(Decimal(latest))

    def so_far(self, register_wh: Decimal) -> Decimal | None:
        """Energy in Wh at a reading of the register; None where that cannot be."""
        from_start = (timezone.now() - self.started_received_at).total_seconds()
        seconds = max(from_start, (timezone.now() - self.started_at).total_seconds())
        return credibility.so_far(self.meter_start_wh, register_wh, seconds, settings.CSMS_MAX_CONNECTOR_POWER_W)

    def add_flag(self, flag: str) -> None:
        if flag not in self.flags:
            self.flags = [*self.flags, flag]


__all__ = ["Flag", "MatchedBy", "Transaction", "TransactionQuerySet"]
