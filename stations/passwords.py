"""The Basic password of a charge point as its operator and its connections know it: rotate it, tell which one it has.

What a ChangeConfiguration means for it while it is under way: stations/ocpp/security/credentials.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import TextChoices

from stations import commands, credentials
from stations.models import ChargePoint, Command, PasswordChange
from stations.models.command import CommandStatus
from stations.ocpp.security.credentials import IN_DOUBT, forget_open_changes, put_in_force

__all__ = ["PasswordState", "forget_open_changes", "proved", "rotate_password", "sent_changes", "state_of", "which"]


class PasswordState(TextChoices):
    """`pending`: a new one is on its way. `unknown`: either may hold, until the charge point connects with one."""

    NONE = "none"
    SET = "set"
    PENDING = "pending"
    UNKNOWN = "unknown"


def rotate_password(
    charge_point: ChargePoint, requested_by: str, password: str | None = None, *, reason: str = ""
) -> tuple[Command, str | None]:
    """Ask the charge point to take a new password; the command, and the password if it was made here.

    `password`: 16 to 20 bytes as text, or 32 to 40 hexadecimal digits; None: 20 random bytes, given back as
    hexadecimal digits, to be shown this once. On the wire it is hexadecimal, at most 40 digits.
    Raises credentials.InvalidPassword, CommandRefused. Source: A01.FR.02, A01.FR.06, A01.FR.07.
    """
    key = credentials.generate_key() if password is None else credentials.canonical(password).hex().upper()
    payload = {"key": "AuthorizationKey", "value": key}
    with transaction.atomic():
        command = commands.enqueue(charge_point, "ChangeConfiguration", payload, requested_by, reason=reason)
        if password is None:
            quick = credentials.hashed(bytes.fromhex(key), generated=True)
            PasswordChange.objects.filter(command=command).update(password_hash=quick)
    return command, (key if password is None else None)


def state_of(charge_point: ChargePoint) -> PasswordState:
    """What is known about the password; its changes are read, or were prefetched with their commands."""
    changes = list(charge_point.password_changes.all())
    if any(change.command.status in IN_DOUBT and not change.reboot_required for change in changes):
        return PasswordState.UNKNOWN
    if changes:
        return PasswordState.PENDING
    return PasswordState.SET if charge_point.password_hash else PasswordState.NONE


def sent_changes(charge_point: ChargePoint) -> list[PasswordChange]:
    """Newer passwords that the charge point may have taken by now, with their commands."""
    changes = PasswordChange.objects.filter(charge_point=charge_point).exclude(command__status=CommandStatus.QUEUED)
    return list(changes.select_related("command"))


def which(charge_point: ChargePoint, presented: bytes, changes: Sequence[PasswordChange]) -> PasswordChange | bool:
    """Whether `presented` is a password of `charge_point`: True for the one in force, one of `changes` for a newer one
    that it may have taken by now (sent_changes), False for none."""
    stored = [charge_point.password_hash, *(change.password_hash for change in changes)]
    index = credentials.which(stored, presented, accept_hexadecimal=charge_point.accept_hexadecimal_password)
    return changes[index - 1] if index else index is not None


def proved(charge_point: ChargePoint, change: PasswordChange | bool) -> None:
    """A connection was accepted with the password that `which` found: it is the only one from now on.

    Called after what was outstanding on the old connection has been closed. One that the charge point takes with its
    next boot is kept until it has booted.
    """
    if isinstance(change, PasswordChange):
        row = PasswordChange.objects.filter(pk=change.pk).select_related("command").first()
        if row is not None:
            put_in_force(row, row.command.requested_by)
    elif change:
        for row in PasswordChange.objects.filter(charge_point=charge_point, command__status__in=IN_DOUBT):
            if not row.reboot_required or _booted_since(charge_point, row.command):
                row.delete()


def _booted_since(charge_point: ChargePoint, command: Command) -> bool:
    return (
        charge_point.booted_at is not None
        and command.answered_at is not None
        and charge_point.booted_at > command.answered_at
    )
