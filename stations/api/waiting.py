"""Wait for a command to be final: the row is looked at, for the answer may arrive in any process."""

from __future__ import annotations

import time

from django.db import connection

from stations import connections
from stations.models import Command
from stations.models.command import OPEN_STATUSES

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25


def wait_until_final(pk: int, seconds: float) -> None:
    """Return when the command is final, the time is over, or this process is stopping.

    Between looks nothing is held: others need the database connection more than one who waits.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    while (left := deadline - time.monotonic()) > 0 and not connections.any_stopping():
        status = Command.objects.filter(pk=pk).values_list("status", flat=True).first()
        if status not in OPEN_STATUSES:
            return
        if connection.vendor == "postgresql" and not connection.in_atomic_block:
            connection.close()
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
