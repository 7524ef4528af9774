"""WriteProbe: one row that is written to find out whether the database takes writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, models, transaction

# How long another writer is waited for.
PATIENCE_MILLISECONDS = 200


class WriteProbe(models.Model):
    """Platform model with a single row, which says nothing about anybody. Kept for ever: it never grows."""

    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Written at {self.at}"

    @classmethod
    def write(cls, now: datetime) -> None:
        """Write, and commit unless a transaction is open.

        Errors: what the database says when it takes no writes, and OperationalError when somebody else writes for long.
        """
        with _impatient(), transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {PATIENCE_MILLISECONDS}")
            if not cls.objects.filter(pk=1).update(at=now):
                WriteProbe.objects.bulk_create([WriteProbe(pk=1, at=now)], ignore_conflicts=True)


@contextmanager
def _impatient() -> Iterator[None]:
    """SQLite has one lock for all who write, and waits for it before the transaction begins."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        (usual,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {PATIENCE_MILLISECONDS}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {usual}")
