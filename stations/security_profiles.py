"""Security profiles of charge points: raised over OCPP, lowered by an administrator only.

Raised, both profiles are accepted until the first connection with the new one; lowered, the charge point has to be set
to the lower one on site. Source: Improved security for OCPP 1.6-J, A00.FR.005, A05.
"""

from __future__ import annotations

import logging

from django.db import transaction

from stations import commands, security_events
from stations.models import ChargePoint, Command
from stations.models.charge_point import SecurityProfile
from stations.models.command import CommandStatus
from stations.ocpp.security.credentials import WITH_PASSWORD, profile_of
from tenants.models import AuditEntry

logger = logging.getLogger(__name__)


class ProfileRefused(Exception):
    """A profile that cannot be set; `code` is stable, the text says why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def raise_profile(charge_point: ChargePoint, profile: int, requested_by: str, *, reason: str = "") -> Command:
    """Ask the charge point to connect with `profile` (0-3) from now on.

    Raises CommandRefused: `security_profile_lowered`, and those of commands.enqueue.
    """
    payload = {"key": "SecurityProfile", "value": str(profile)}
    return commands.enqueue(charge_point, "ChangeConfiguration", payload, requested_by, reason=reason)


def lower_profile(charge_point: ChargePoint, profile: int) -> list[dict[str, str]]:
    """Expect `profile` (0-3) of `charge_point` from now on, or give up raising it; what to mind, as {code, detail}.

    Nothing is sent. The caller notes who did it, and why, in the audit log. Raises ProfileRefused:
    `security_profile_not_lower`, `colon_in_identity`.
    """
    with transaction.atomic():
        row = ChargePoint.objects.select_for_update().get(pk=charge_point.pk)
        gives_up = profile == row.security_profile and row.pending_security_profile is not None
        if profile >= row.security_profile and not gives_up:
            raise ProfileRefused(
                "security_profile_not_lower",
                f"Profile {row.security_profile} is in force. A higher one is set by the charge point, over OCPP.",
            )
        if profile in WITH_PASSWORD and ":" in row.identity:
            raise ProfileRefused("colon_in_identity", "An identity with a colon cannot be used with a password.")
        row.security_profile, row.pending_security_profile = profile, None
        row.save(update_fields=["security_profile", "pending_security_profile", "updated_at"])
        security_events.note_profile(row, charge_point.security_profile)
    charge_point.security_profile, charge_point.pending_security_profile = profile, None
    logger.warning("The security profile of charge point %r was set to %s", charge_point.identity, profile)
    found = [
        ("reconfigure_on_site", "The charge point cannot be told over OCPP: set its security profile on site, or it "
         "cannot connect.")
    ]  # fmt: skip
    if profile in WITH_PASSWORD and not row.password_hash:
        found.append(("no_password", "The charge point has no password yet, so it cannot connect."))
    if not _allowed(row, profile):
        found.append(("profile_not_allowed", "The tenant's settings do not allow this profile."))
    return [{"code": code, "detail": detail} for code, detail in found]


def _allowed(charge_point: ChargePoint, profile: int) -> bool:
    tenant = charge_point.tenant
    if profile == SecurityProfile.NONE:
        return bool(tenant.allow_security_profile_0)
    return profile != SecurityProfile.BASIC or bool(tenant.allow_security_profile_1)


def expected(charge_point: ChargePoint, presented: int) -> int:
    """The profile that a connection with profile `presented` is held to: a newer one that the charge point may have
    taken, if it is that; else the one in force."""
    in_force = int(charge_point.security_profile)
    if presented > in_force:
        if presented == charge_point.pending_security_profile:
            return presented
        # It may come back before its answer was taken in.
        sent = Command.objects.filter(
            charge_point=charge_point, status=CommandStatus.SENT, action="ChangeConfiguration"
        ).first()
        if sent is not None and profile_of(sent.payload) == presented:
            return presented
    return in_force


def proved(charge_point: ChargePoint, profile: int) -> None:
    """A connection was accepted with `profile`; a higher one than before is in force from now on. Source: A05.FR.09."""
    if profile <= charge_point.security_profile:
        return
    changed = ChargePoint.objects.filter(pk=charge_point.pk, security_profile__lt=profile).update(
        security_profile=profile, pending_security_profile=None
    )
    if changed:
        AuditEntry.objects.record(
            f"charge point {charge_point.identity}",
            "raise security profile",
            charge_point,
            changes={"security_profile": [charge_point.security_profile, profile]},
        )
        security_events.note("security_profile_raised", charge_point, detail=f"Profile {profile} is in force.")
        logger.info("Charge point %r has security profile %s from now on", charge_point.identity, profile)
