"""Commands that something of the charge point may still turn out to be the effect of, looked up once a batch.

A RemoteStartTransaction leads to a StartTransaction, a Reset to a BootNotification. Which one does is decided by
stations/transactions.py and stations/ocpp/core.py; here are the candidates. As in stations/transaction_rows.py a call
sees what the one before it in the batch has made of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from stations.models import Command
from stations.open_commands import OpenCommands

# Outcomes of a command after which the charge point may have done it, whether or not its answer reached us.
MAY_HAVE_WORKED = ("Accepted", "sent", "timed_out", "unknown")
# How long after it was sent a command may have its effect. A RemoteStartTransaction may wait for a cable as long as a
# generous ConnectionTimeOut, a Reset for the end of an update.
WINDOWS = {"RemoteStartTransaction": timedelta(minutes=15), "Reset": timedelta(minutes=30)}


class Effects:
    """The commands of one tenant's batch that were sent and have had no effect yet."""

    def __init__(self, commands: OpenCommands) -> None:
        self._commands = commands
        self._announced: dict[str, set[int]] = {action: set() for action in WINDOWS}
        self._sent: dict[tuple[str, int], list[Command]] = {}

    def announce(self, action: str, charge_point_id: int) -> None:
        """Something follows that may be the effect of an `action` of this charge point."""
        self._announced[action].add(charge_point_id)

    def candidates(self, action: str, charge_point_id: int, now: datetime) -> list[Command]:
        """Those sent in the last minutes (WINDOWS) that nothing has come of, the newest first."""
        earliest = now - WINDOWS[action]
        if (action, charge_point_id) not in self._sent:
            asked = self._announced[action] | {charge_point_id}
            asked = {asked_id for asked_id in asked if (action, asked_id) not in self._sent}
            self._sent |= {(action, asked_id): [] for asked_id in asked}
            # The other calls of the batch came a moment before this one.
            rows = Command.objects.filter(
                charge_point_id__in=asked, action=action, sent_at__gte=earliest - timedelta(minutes=1),
                effect__isnull=True,
            )  # fmt: skip
            for command in rows.order_by("-id"):
                self._sent[action, command.charge_point_id].append(command)
        sent = self._sent[action, charge_point_id]
        for command in sent:
            # Answered, or given up, by an item before this one.
            latest = self._commands.latest(command.pk)
            if latest is not None:
                command.status, command.sent_at = latest.status, latest.sent_at
                command.response, command.error = latest.response, latest.error
        return [
            command
            for command in sent
            if command.effect is None and command.sent_at is not None and command.sent_at >= earliest
        ]
