"""WriteProbe: one row that is written to find out whether the database takes writes."""

from __future__ import annotations

from datetime import datetime

from django.db import models, transaction


class WriteProbe(models.Model):
    """Platform model with a single row, which says nothing about anybody. Kept for ever: it never grows."""

    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Written at {self.at}"

    @classmethod
    def write(cls, now: datetime) -> None:
        """Write, and commit unless a transaction is open. Errors: what the database says when it takes no writes."""
        with transaction.atomic():
            if not cls.objects.filter(pk=1).update(at=now):
                WriteProbe.objects.bulk_create([WriteProbe(pk=1, at=now)], ignore_conflicts=True)
