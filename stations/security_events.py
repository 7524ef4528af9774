"""The central system's own security events: what it refused, and what changed in who may connect and how.

Context: the whitepaper wants the central system to log a security event whenever it ends a connection for a security
reason (A00.FR.323, A00.FR.408), and attackers decide how often that is.
Choice: one function, `note`. What is alike (kind, charge point, identity, address) within a minute is one row with a
count. Kinds that an operator must look at are alerts until acknowledged, as critical events of charge points are.
Consequence: a flood from one address costs one row a minute and identity; handshakes are held up before that
(stations/handshake.py). Nothing here ever takes a secret: `detail` is text for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import F, QuerySet

from stations.models import ChargePoint, SecurityEvent
from stations.models.security_event import EventSource, SecurityEventQuerySet, digest_of
from tenants.scope import platform_scope, tenant_scope

# Charge points behind one address that a failed TLS handshake is compared with.
MAX_AT_ADDRESS = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: what it says to people, and whether it is an alert until somebody has acknowledged it.

    `remedy` says what to do where nothing else does: connection attempts have remedies of their own.
    """

    sentence: str
    serious: bool = False
    remedy: str = ""


KINDS = {
    # Handshakes, by the reason of their refusal.
    "no_credentials": Kind("It sent no password."),
    "malformed_credentials": Kind("The Authorization header could not be read."),
    "wrong_username": Kind("The user name was not the identity."),
    "wrong_password": Kind("The password was wrong."),
    "too_many_attempts": Kind("Too many attempts failed: somebody may be guessing the password.", serious=True),
    "unknown_identity": Kind("No charge point has this identity."),
    "not_found": Kind("No charge point has this identity."),
    "profile_too_low": Kind("It used a lower security profile than the one in force.", serious=True),
    "profile_differs": Kind("It used another security profile than the one set."),
    "profile_not_allowed": Kind("It used a security profile that the tenant does not allow."),
    "handshake_flood": Kind("Bad handshakes came faster than each can have a row of its own.", serious=True),
    "contested": Kind("Two that have this identity replace each other again and again.", serious=True),
    "certificate_missing": Kind("It presented no certificate."),
    "certificate_expired": Kind("Its certificate has expired."),
    "certificate_not_yet_valid": Kind("Its certificate is not valid yet."),
    "certificate_revoked": Kind("Its certificate has been revoked.", serious=True),
    "certificate_untrusted": Kind("Nobody trusted here issued its certificate.", serious=True),
    "certificate_of_another": Kind("It presented the certificate of another charge point.", serious=True),
    "certificate_unknown": Kind("Its certificate is none that was given to it.", serious=True),
    "certificate_rejected": Kind("It presented a certificate that it had refused."),
    "certificate_organization": Kind("The O of its certificate is not the organization of the authority."),
    "certificate_unreadable": Kind("Its certificate could not be read."),
    # TLS, before there is an identity.
    "tls_version": Kind(
        "It offered no TLS version that is allowed.", remedy="Update its firmware, or set it to TLS 1.2 or newer."
    ),
    "tls_no_suite": Kind(
        "It offered no cipher suite that is allowed.", remedy="Update its firmware, or enable suites with AES-GCM."
    ),
    "tls_no_certificate": Kind(
        "It presented no certificate.", remedy="Give it a certificate, or let it dial the port for passwords."
    ),
    "tls_certificate_expired": Kind(
        "Its certificate has expired.", remedy="Renew the certificate over a lower security profile."
    ),
    "tls_certificate_not_yet_valid": Kind(
        "Its certificate is not valid yet.", remedy="Check the clock of whoever issued it, or wait until it is valid."
    ),
    "tls_untrusted_certificate": Kind(
        "Nobody trusted here issued its certificate.",
        remedy="Import the root certificate of its issuer here, or renew the certificate.",
    ),
    "tls_our_certificate_refused": Kind(
        "It did not trust our certificate.", remedy="Install the root certificate of this server at the charge point."
    ),
    "tls_failed": Kind("The TLS handshake failed."),
    # What people and charge points changed.
    "password_changed": Kind("The password was changed."),
    "security_profile_raised": Kind("The security profile was raised."),
    "security_profile_lowered": Kind("An administrator lowered the security profile.", serious=True),
    "certificate_issued": Kind("A certificate was issued."),
    "certificate_withdrawn": Kind("A certificate was revoked."),
    # People and programs that sign in.
    "password_guessing": Kind(
        "Too many sign-ins with a wrong password: somebody may be guessing it.",
        serious=True,
        remedy="Ask the person; if it was somebody else, let them set a new password.",
    ),
    "api_key_guessing": Kind(
        "Too many requests with a wrong, expired or revoked secret of this API key.",
        serious=True,
        remedy="Look for a program that has an old key.",
    ),
    # Connections.
    "babbling": Kind(
        "It sent more frames than CSMS_FRAMES_PER_SECOND allows and was slowed down.",
        serious=True,
        remedy="Look at its messages: it repeats itself, or its sampling interval is far too short.",
    ),
    "stopped_reading": Kind("It read nothing of what was sent to it, and was cut off."),
    "unreachable": Kind("It could not be reached any more: its connection was found dead."),
    "connected_elsewhere": Kind("The identity was connected from another address at the same time."),
}
_UNNAMED = Kind("")


def kind_of(name: str) -> Kind:
    """What is known of a kind; one that nobody has described is no alert."""
    return KINDS.get(name, _UNNAMED)


def note(
    kind: str,
    charge_point: ChargePoint | None = None,
    identity: str = "",
    address: str = "",
    detail: str = "",
    now: datetime | None = None,
    times: int = 1,
) -> None:
    """Keep an event of ours in the open tenant, once a minute for what is alike; `detail` must hold no secret.

    `kind` is a stable name, of KINDS or another. `identity` is what the caller claimed to be, that of `charge_point`
    when left out. `times`: how many that are alike this one stands for.
    """
    now = now or datetime.now(UTC)
    identity = (identity or (charge_point.identity if charge_point is not None else ""))[:255]
    owner = None if charge_point is None else charge_point.pk
    minute = now.replace(second=0, microsecond=0)
    digest = digest_of(EventSource.CSMS.value, kind, owner, identity, address, minute.isoformat())
    if SecurityEvent.objects.filter(digest=digest).update(times=F("times") + times, last_at=now):
        return
    event = SecurityEvent(
        charge_point=charge_point,
        source=EventSource.CSMS,
        type=kind,
        tech_info=detail,
        critical=kind_of(kind).serious,
        timestamp=now,
        received_at=now,
        identity=identity,
        address=address[:64],
        last_at=now,
        times=times,
        digest=digest,
    )
    # Of two processes at the same moment one makes the row.
    SecurityEvent.objects.bulk_create([event], ignore_conflicts=True)


def babbles(charge_point: ChargePoint, now: datetime) -> None:
    """Keep that a charge point talks so much that it has to be slowed down. Runs in the lane."""
    note("babbling", charge_point, address=charge_point.remote_address, now=now)


def note_refusal(reason: str, charge_point: ChargePoint | None, identity: str, address: str, now: datetime) -> None:
    """Keep a refused handshake when it was refused for the sake of security; others are no event (bad path, limits)."""
    if reason in KINDS:
        note(reason, charge_point, identity, address, now=now)


def note_profile(charge_point: ChargePoint, before: int) -> None:
    """Keep that an administrator set another security profile than `before`; lowered, it is an alert."""
    after = int(charge_point.security_profile)
    if after != before:
        kind = "security_profile_lowered" if after < before else "security_profile_raised"
        note(kind, charge_point, detail=f"From {before} to {after}.")


def note_tls_failure(reason: str, address: str, detail: str) -> None:
    """Keep a TLS handshake that failed for the sake of security, where it can be told whose charge point it was.

    There is no identity yet: it is about the charge points that were last let in from this address; from any other
    address it is nobody's. With several behind one router, it is about none in particular. Opens scopes of its own.
    """
    if reason not in KINDS:
        return
    with platform_scope():
        found = list(ChargePoint.objects.filter(remote_address=address).order_by("pk")[:MAX_AT_ADDRESS])
    by_tenant: dict[int, list[ChargePoint]] = {}
    for charge_point in found:
        by_tenant.setdefault(charge_point.tenant_id, []).append(charge_point)
    for tenant_id, charge_points in by_tenant.items():
        with tenant_scope(tenant_id):
            said = f"{detail[:1].upper()}{detail[1:]}. {kind_of(reason).remedy}".rstrip()
            note(reason, charge_points[0] if len(charge_points) == 1 else None, address=address, detail=said)


def acknowledge(events: SecurityEventQuerySet | QuerySet[SecurityEvent], by: str) -> int:
    """Acknowledge the alerts among `events` in the name of `by`; gives their number."""
    return SecurityEvent.objects.filter(pk__in=events.order_by().values("pk")).acknowledge(by, datetime.now(UTC))
