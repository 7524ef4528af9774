"""Registering a charge point: what REST and the admin ask of one, its password, and the URL it dials.

Changes of a charge point are saved column by column: its row also holds the live state of the connection, which the
lanes write at the same time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from django.db.models.functions import Upper

from csms import addresses
from stations import commands, credentials, passwords, security_events
from stations.models import ChargePoint
from stations.models.charge_point import SecurityProfile
from tenants.models import Tenant

WITH_PASSWORD = (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC)


PERCENT = re.compile("%[0-9A-Fa-f]{2}")


class RegistrationRefused(Exception):
    """A charge point that cannot be as asked; `code` is stable, `member` the field it is about ("" none)."""

    def __init__(self, code: str, member: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.member = member
        self.detail = detail


# Every client takes such a last part of a URL out, before anything is sent (RFC 3986, 5.2.4).
DOTS = frozenset({".", ".."})
DOTS_REFUSED = "An identity of dots only is taken out of the URL by every client, so it can never connect."


def identity_warnings(charge_point: ChargePoint) -> list[dict[str, str]]:
    """What is to be known of the identity of a new charge point: {code, detail} of each."""
    identity, found = charge_point.identity, []
    typed = quote(identity, safe="")
    if PERCENT.search(identity):
        found.append(("percent_in_identity", "The identity looks percent-encoded. It is taken as it stands"))
    elif "/" in identity:
        found.append(("slash_in_identity", "A slash in an identity is not part of a path"))
    found = [(code, f"{said}: in the URL it must be typed as {typed}.") for code, said in found]
    alike = ChargePoint.objects.annotate(capitals=Upper("identity")).filter(capitals=identity.upper())
    twin = alike.exclude(identity=identity).values_list("identity", flat=True).first()
    if twin is not None:
        found.append(
            ("identity_alike", f"There is {twin} as well, which differs only in capital letters; they are two.")
        )
    return [{"code": code, "detail": detail} for code, detail in found]


def check(charge_point: ChargePoint, tenant: Tenant) -> None:
    """Raise RegistrationRefused for what no handshake would let in, or only an administrator may ask for.

    Codes: `unusable_identity`, `colon_in_identity`, `charge_point_limit`, `security_profile_lowered`.
    """
    if charge_point.pk is None and charge_point.identity in DOTS:
        raise RegistrationRefused("unusable_identity", "identity", DOTS_REFUSED)
    if charge_point.security_profile in WITH_PASSWORD and ":" in charge_point.identity:
        # HTTP Basic ends the user name at the first colon.
        raise RegistrationRefused(
            "colon_in_identity", "identity", "An identity with a colon cannot be used with a password."
        )
    if charge_point.pk is not None and charge_point.connected_at is not None:
        # Once it has connected with a profile, a lower one is a decision of its own (A00.FR.005, A05.FR.09).
        in_force = ChargePoint.objects.values_list("security_profile", flat=True).get(pk=charge_point.pk)
        if charge_point.security_profile < in_force:
            raise RegistrationRefused(
                "security_profile_lowered",
                "security_profile",
                f"Profile {in_force} is in force. Lowering it is an action of its own, which asks for a reason.",
            )
    limit = tenant.max_charge_points
    if charge_point.pk is None and limit is not None and ChargePoint.objects.count() >= limit:
        raise RegistrationRefused(
            "charge_point_limit", "", f"The tenant has reached its number of charge points ({limit})."
        )


def needs_password(charge_point: ChargePoint) -> bool:
    """Whether its security profile asks for a password and it has none."""
    return charge_point.security_profile in WITH_PASSWORD and not charge_point.password_hash


SWITCH_ON = (
    "Where a charge point's password cannot be changed, switch on \"Allow weak passwords\" in the tenant's settings: "
    "then it may have 1 to 40 bytes."
)
WEAK_PASSWORD = {
    "code": "weak_password",
    "detail": "The password is weaker than OCPP allows (16 to 20 bytes): it may be guessed. Change it where the charge "
    "point can be told another one.",
}


def check_password(typed: str, tenant: Tenant) -> None:
    """Raise credentials.InvalidPassword unless a charge point of `tenant` may have this password."""
    try:
        credentials.canonical(typed, allow_weak=tenant.allow_weak_passwords)
    except credentials.InvalidPassword as error:
        if error.weak:
            raise credentials.InvalidPassword(f"{error} {SWITCH_ON}") from None
        raise


def set_password(charge_point: ChargePoint, typed: str) -> str:
    """Give `charge_point` (not saved here) the typed password, which the caller has checked (check_password).

    Says how it was read, `text` or `hexadecimal`.
    """
    raw = credentials.canonical(typed, allow_weak=True)
    charge_point.password_hash = credentials.hashed(raw, generated=False)
    return "text" if raw == typed.encode() else "hexadecimal"


def make_password(charge_point: ChargePoint) -> str:
    """Give `charge_point` (not saved here) a new password; returns it, to be shown once."""
    password = credentials.generate()
    charge_point.password_hash = credentials.hashed(password.encode(), generated=True)
    return password


def save(charge_point: ChargePoint, columns: Iterable[str]) -> None:
    """Save these columns, all of them when the row is new; ends the connection of one that is disabled now."""
    if charge_point.pk is None:
        charge_point.save(force_insert=True)
        return
    columns = set(columns)
    in_force = charge_point.security_profile
    if "security_profile" in columns:
        in_force = ChargePoint.objects.values_list("security_profile", flat=True).get(pk=charge_point.pk)
        if charge_point.security_profile != in_force and charge_point.pending_security_profile is not None:
            # Whoever sets another one here settles what was being raised.
            charge_point.pending_security_profile = None
            columns.add("pending_security_profile")
    charge_point.save(update_fields={*columns, "updated_at"})
    if "password_hash" in columns:
        passwords.forget_open_changes(charge_point)
        security_events.note("password_changed", charge_point)
    security_events.note_profile(charge_point, in_force)
    if charge_point.disabled and charge_point.connected:
        # Its connection looks at the row, and closes.
        commands.ring_on_commit([charge_point.pk])


def connection_url(charge_point: ChargePoint, tenant: Tenant) -> str | None:
    """What a charge point is given as URL of its central system, with its identity as the last part; None when it is
    not known (csms.addresses.UNKNOWN says what to set)."""
    base = addresses.dial(charge_point.security_profile, exact=charge_point.exact_security_profile)
    return None if base is None else f"{base}/ocpp/{tenant.slug}/{quote(charge_point.identity, safe='')}"
