"""Passwords and security profiles, both changed by ChangeConfiguration: what its life means for how we let a charge
point in.

Context: between our request and the charge point's answer, and for ever when no answer comes, nobody but the charge
point knows which password it has and which profile it will connect with. The wrong guess locks it out.
Choice: from the moment a request is sent, old and new are both accepted, until the charge point says or shows which.
Accepted makes the new password the only one at once; a profile stays open until the first connection with the new one.
Consequence: stations/handshake.py asks for what is open and reports what a connection has proved
(stations/passwords.py, stations/security_profiles.py).

Source: Improved security for OCPP 1.6-J, edition 3: A01 (passwords), A05 (profiles), A00.FR.005.
"""

from __future__ import annotations

import logging
from typing import Any

from stations import credentials, security_events
from stations.masking import is_authorization_key
from stations.models import ChargePoint, Command, PasswordChange
from stations.models.charge_point import SecurityProfile
from stations.models.command import CommandStatus
from stations.refusal import CommandRefused
from stations.sealing import opened
from tenants.models import AuditEntry

logger = logging.getLogger(__name__)

# Whether the charge point did what it was asked is not known.
IN_DOUBT = (CommandStatus.ANSWERED, CommandStatus.TIMED_OUT, CommandStatus.UNKNOWN)
REFUSED = ("Rejected", "NotSupported")
WITH_PASSWORD = (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC)


def is_profile_key(key: object) -> bool:
    """Whether a configuration key is SecurityProfile, whatever its letter case."""
    return isinstance(key, str) and key.strip().lower() == "securityprofile"


def profile_of(payload: dict[str, Any]) -> int | None:
    """The profile that a ChangeConfiguration of SecurityProfile names; None for anything that is none."""
    value = str(payload.get("value")).strip()
    if not is_profile_key(payload.get("key")) or not (value.isascii() and value.isdecimal()):
        return None
    return int(value) if int(value) in SecurityProfile.values else None


# --- passwords --------------------------------------------------------------------------------------------------------
def authorization_key_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a new password. Source: A00.FR.205, A01.FR.02."""
    found = []
    if not credentials.from_authorization_key(str(payload["value"]))[1]:
        found.append(
            ("invalid_authorization_key", "An AuthorizationKey is 32 to 40 hexadecimal digits, an even number of them.")
        )
    if charge_point.security_profile not in WITH_PASSWORD:
        found.append(("password_not_used", "The charge point's security profile has no password."))
    if PasswordChange.objects.filter(charge_point=charge_point).exists():
        found.append(("password_change_open", "The outcome of an earlier change of the password is not known yet."))
    return found


def authorization_key_queued(command: Command) -> None:
    """Keep the salted hash of the password that is going out. An empty value is none."""
    raw, _ = credentials.from_authorization_key(str(opened(command.payload)["value"]))
    if raw:
        PasswordChange.objects.create(
            charge_point=command.charge_point,
            command=command,
            password_hash=credentials.hashed(raw, generated=False),
        )


def authorization_key_conf(command: Command, status: str) -> None:
    """Accepted: the new password is the only one from now on. RebootRequired: both, until it has restarted.

    Rejected and NotSupported: the old one stays. Anything else says nothing: both. Source: A01.FR.03, A01.FR.04.
    """
    change = PasswordChange.objects.filter(command=command).first()
    if change is None:
        # The charge point has connected meanwhile and shown which one it has, or the operator has set another one.
        return
    if status == "Accepted":
        put_in_force(change, command.requested_by)
    elif status == "RebootRequired":
        change.reboot_required = True
        change.save(update_fields=["reboot_required"])
    elif status in REFUSED:
        change.delete()


def authorization_key_without_answer(command: Command) -> None:
    """Drop a password that was never sent or was refused by a CALLERROR; else it stays open which one holds."""
    if command.status not in IN_DOUBT or command.error is not None:
        PasswordChange.objects.filter(command=command).delete()


def put_in_force(change: PasswordChange, requested_by: str) -> None:
    """Make `change` the password of its charge point; those before it are accepted no more."""
    charge_point = ChargePoint.objects.get(pk=change.charge_point_id)
    charge_point.password_hash = change.password_hash
    charge_point.save(update_fields=["password_hash", "updated_at"])
    forget_open_changes(charge_point)
    change.delete()
    AuditEntry.objects.record(requested_by, "change password", charge_point, changes={"password": ["***", "***"]})
    security_events.note("password_changed", charge_point, detail="The charge point took it.")
    logger.info("The password of charge point %r has changed", charge_point.identity)


def forget_open_changes(charge_point: ChargePoint) -> None:
    """Drop every password whose outcome was in doubt; what is queued or on its way will have an outcome yet."""
    PasswordChange.objects.filter(charge_point=charge_point, command__status__in=IN_DOUBT).delete()


# --- security profiles ------------------------------------------------------------------------------------------------
def security_profile_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a new security profile. Source: A05.FR.01, A05.FR.02."""
    profile = profile_of(payload)
    if profile is None:
        return [("invalid_security_profile", "A security profile is one of 0, 1, 2 and 3.")]
    if profile == charge_point.security_profile:
        return [("security_profile_unchanged", "This is the profile in force; the charge point will reject it.")]
    if profile in WITH_PASSWORD and not charge_point.password_hash:
        return [("no_password", "The charge point has no password, which this profile needs.")]
    return []


def security_profile_queued(command: Command) -> None:
    """Refuse to lower the profile: not by OCPP. Source: A00.FR.005."""
    profile = profile_of(command.payload)
    if profile is not None and profile < command.charge_point.security_profile:
        raise CommandRefused(
            "security_profile_lowered",
            f"Profile {command.charge_point.security_profile} of {command.charge_point} is in force, and a security "
            "profile is never lowered over OCPP. An administrator can lower it here, and at the charge point on site.",
        )


def security_profile_conf(command: Command, status: str) -> None:
    """Accepted, RebootRequired: both profiles are accepted until the first connection with the new one.

    Source: A05.FR.05-08.
    """
    if status not in REFUSED:
        _await_profile(command)


def security_profile_without_answer(command: Command) -> None:
    """Sent and not answered: the charge point may come with the new profile, so both are accepted."""
    if command.status in IN_DOUBT and command.error is None:
        _await_profile(command)


def _await_profile(command: Command) -> None:
    profile = profile_of(command.payload)
    if profile is None:
        return
    raised = ChargePoint.objects.filter(pk=command.charge_point_id, security_profile__lt=profile).update(
        pending_security_profile=profile
    )
    if raised:
        logger.info("Charge point %s may come with security profile %s from now on", command.charge_point_id, profile)


# --- ChangeConfiguration as a whole, called by stations/ocpp/core.py --------------------------------------------------
def warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    if is_authorization_key(payload["key"]):
        return authorization_key_warnings(charge_point, payload)
    return security_profile_warnings(charge_point, payload) if is_profile_key(payload["key"]) else []


def queued(command: Command) -> None:
    if is_authorization_key(command.payload["key"]):
        authorization_key_queued(command)
    elif is_profile_key(command.payload["key"]):
        security_profile_queued(command)


def answered(command: Command, status: str) -> None:
    if is_authorization_key(command.payload["key"]):
        authorization_key_conf(command, status)
    elif is_profile_key(command.payload["key"]):
        security_profile_conf(command, status)


def without_answer(command: Command) -> None:
    if is_authorization_key(command.payload["key"]):
        authorization_key_without_answer(command)
    elif is_profile_key(command.payload["key"]):
        security_profile_without_answer(command)
