"""RefusedIdTag: a card that was not let charge, at which charge point, how often, and why."""

from __future__ import annotations

from collections.abc import Collection

from django.db import models
from django.db.models import Count

from stations.models.charge_point import ChargePoint
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

# Whoever tries cards without end fills no table: of one charge point the latest of them are kept.
MOST_OF_ONE_CHARGE_POINT = 200


class Refusal(models.TextChoices):
    """Why a card was refused."""

    UNKNOWN = "unknown", "Nobody has registered it"
    BLOCKED = "blocked", "It is blocked"
    EXPIRED = "expired", "It has expired"
    OTHER_SITE = "other_site", "It may charge at other sites only"
    CONCURRENT = "concurrent", "It is charging elsewhere already"


class RefusedIdTagQuerySet(TenantQuerySet["RefusedIdTag"]):
    def make_room(self, charge_point_ids: Collection[int]) -> None:
        """Delete what of these charge points is more than there is room for, longest unseen first."""
        counted = self.filter(charge_point_id__in=charge_point_ids).order_by().values("charge_point_id")
        full = counted.annotate(rows=Count("pk")).filter(rows__gt=MOST_OF_ONE_CHARGE_POINT)
        for charge_point_id in full.values_list("charge_point_id", flat=True):
            newest = self.filter(charge_point_id=charge_point_id).order_by("-last_at", "-pk")
            surplus = list(newest.values_list("pk", flat=True)[MOST_OF_ONE_CHARGE_POINT:])
            rows = self.filter(pk__in=surplus).order_by()
            rows._raw_delete(rows.db)


class RefusedIdTag(TenantModel):
    """One idTag at one charge point, as it was presented last; `times` since `first_at`.

    `reason` is a Refusal, `status` what the charge point was answered, `action` the message it came in.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="refused_id_tags", db_index=False
    )
    id_tag = models.CharField(max_length=255)
    key = models.CharField(max_length=255)
    status = models.CharField(max_length=20)
    reason = models.CharField(max_length=10, choices=Refusal.choices)
    action = models.CharField(max_length=20)
    times = models.PositiveIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = TenantManager.from_queryset(RefusedIdTagQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-last_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["charge_point", "key"], name="refused_id_tag_once")]
        indexes = [
            models.Index(fields=["tenant", "-last_at", "-id"], name="refused_id_tag_latest"),
            models.Index(fields=["tenant", "key"], name="refused_id_tag_by_key"),
        ]

    def __str__(self) -> str:
        return self.id_tag
