"""Guessing: somebody tries passwords or API keys, as platform administrators see it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F

# Rows are kept this long after their last attempt (tenants.tasks.forget_guessing).
KEPT_FOR = timedelta(days=90)


class Guessed(models.TextChoices):
    """What is guessed at."""

    SIGN_IN = "sign_in", "password"
    API_KEY = "api_key", "API key"


class GuessingQuerySet(models.QuerySet["Guessing"]):
    def add(self, kind: str, account: str, address: str, now: datetime, times: int) -> None:
        """Note `times` failed attempts more; one row a day for what is alike."""
        day = now.date()
        alike = self.filter(kind=kind, account=account, address=address, day=day)
        if alike.update(times=F("times") + times, last_at=now):
            return
        row = Guessing(kind=kind, account=account, address=address, day=day, times=times, first_at=now, last_at=now)
        # Of two processes at the same moment one makes the row.
        Guessing.objects.bulk_create([row], ignore_conflicts=True)

    def forget(self, now: datetime) -> int:
        """Delete what is older than KEPT_FOR; gives the number of rows."""
        return self.filter(last_at__lt=now - KEPT_FOR).delete()[0]


class Guessing(models.Model):
    """Failed attempts beyond a limit, of one day. Platform model: an address tries accounts of any tenant, or of none.

    `account` is the user name or the prefix of the key where there is one; what leads to nothing is not kept, for
    people type passwords into the wrong field. `address` of IPv6 is the network.
    """

    kind = models.CharField(max_length=7, choices=Guessed)
    account = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64)
    day = models.DateField()
    times = models.PositiveIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)

    objects = models.Manager.from_queryset(GuessingQuerySet)()

    class Meta:
        ordering = ["-last_at", "-pk"]
        verbose_name_plural = "guessing"
        constraints = [
            models.UniqueConstraint(fields=["kind", "account", "address", "day"], name="guessing_once_a_day")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} from {self.address}"
