"""The open commands (queued or sent) of the charge points of a batch, looked up once and written once.

Context: a request to a thousand charge points is a thousand commands that are taken, and a thousand that are answered,
within a second or two. A look-up and an UPDATE each cost more than everything else about them.
Choice: the lane announces whose commands the items of its batch are about; the first item that asks has them looked up
for all, locked, so that no other process takes or ends them meanwhile. Each row is one instance: an item sees what the
one before it has changed. What has changed is written at the end of the batch, what is closed before what is sent, for
the database allows a charge point one command that is sent. Consequence: what asks the database itself about commands
that the batch may have changed calls Batch.flush_facts first.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import connection
from django.db.models import Q

from stations.bulk import update_rows
from stations.models import Command
from stations.models.command import CommandStatus

# What the way of a command changes. Not `effect`: what came of it is written by whoever finds out.
COLUMNS = (
    "status", "message_id", "connection_generation", "sent_at", "answered_at", "payload", "response", "error",
    "warnings", "attempts", "not_before",
)  # fmt: skip
# More open commands than this at the charge points of a batch: each that asks reads its own.
MANY = 1000
MANY_OF_ONE = 50


class OpenCommands:
    """What was open at the charge points of one tenant's batch when it was looked up, and what became of it."""

    def __init__(self) -> None:
        self._announced: set[int] = set()
        self._rows: dict[int, list[Command]] = {}
        self._changed: dict[int, Command] = {}
        self._latest: dict[int, Command] = {}

    def announce(self, charge_point_id: int) -> None:
        """An item about commands of this charge point follows."""
        self._announced.add(charge_point_id)

    def of(self, charge_point_id: int) -> list[Command]:
        """Those of this charge point, what was sent first, then the oldest; also such as this batch has closed.

        Left out is what another transaction has its hands on, and the newest of many (MANY_OF_ONE).
        """
        if charge_point_id not in self._rows:
            self.write()
            asked = (self._announced | {charge_point_id}) - self._rows.keys()
            rows = _look_up(asked, MANY + 1) if len(asked) > 1 else []
            if len(asked) == 1 or len(rows) > MANY:
                self._announced, asked = set(), {charge_point_id}
                rows = _look_up(asked, MANY_OF_ONE)
            self._rows |= {asked_id: [] for asked_id in asked}
            for row in rows:
                self._rows[row.charge_point_id].append(row)
        return self._rows[charge_point_id]

    def forget(self, charge_point_id: int) -> None:
        """Commands of this charge point are changed by a statement of its own: read them again."""
        self._rows.pop(charge_point_id, None)

    def put(self, command: Command) -> None:
        """Have the database know what `command` is like at `write`."""
        self._changed[command.pk] = self._latest[command.pk] = command

    def latest(self, command_id: int) -> Command | None:
        """A command as this batch has left it; None for one that it has not changed."""
        return self._latest.get(command_id)

    def write(self) -> None:
        # In the order of the key, so that two that meet on a row wait instead of deadlocking.
        rows = [row for _, row in sorted(self._changed.items())]
        self._changed = {}
        for sent in (False, True):
            chosen = [row for row in rows if (row.status == CommandStatus.SENT) is sent]
            update_rows(Command, COLUMNS, [(row.pk, *(getattr(row, column) for column in COLUMNS)) for row in chosen])


def _look_up(charge_point_ids: Collection[int], limit: int) -> list[Command]:
    # Not `status__in`: each half has an index of its own, kept small by leaving out what is over.
    still_open = Q(status=CommandStatus.QUEUED) | Q(status=CommandStatus.SENT)
    rows = Command.objects.filter(still_open, charge_point_id__in=charge_point_ids).order_by("-status", "id")
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    return list(rows[:limit])
