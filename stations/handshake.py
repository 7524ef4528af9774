"""Who is connecting: every websocket handshake of a charge point ends here in a Link or in a Refusal.

Context: a charge point that cannot connect is the commonest call to any help desk, and a handshake that lets the wrong
one in is the commonest hole.
Choice: the decision falls before the upgrade is answered, with an HTTP status a charge point understands; each one is a
ConnectionAttempt of its tenant with a reason and a sentence that says what to do. Failed attempts are counted per
address and identity, and per address, never per identity alone, so that nobody can lock a charge point out from
elsewhere; who has been let in from an address before is not held up by its neighbours there.
Consequence: an accepted handshake raises the charge point's connection generation in the same transaction: the newest
socket wins, in whichever process the older one is.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction

from csms.proxies import peer, tls_facts
from stations import attempt_limits, credentials, passwords, rivals, security_profiles, strays
from stations.certificates import paths, presented
from stations.connection_attempts import printable, record_refused
from stations.credentials import WEAK_BYTES
from stations.dispatch import Link
from stations.models import ChargePoint, PasswordChange
from stations.models.charge_point import RegistrationStatus, SecurityProfile, validate_identity
from stations.take_over import Arrival, Taken, take_over
from tenants.models import Tenant
from tenants.postgresql.breaker import is_away
from tenants.scope import platform_scope, tenant_scope

logger = logging.getLogger(__name__)

SUBPROTOCOL = "ocpp1.6"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of the upgrade: a stable `reason`, a `remedy` for the technician, no secrets."""

    status: int
    reason: str
    remedy: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    # Of too_many_attempts: every stranger from the address is meant, not only the one identity.
    of_address: bool = False

    @property
    def body(self) -> str:
        """What the one who dialled may read: on 401 nothing that tells whether the identity exists."""
        return "The identity or the password is wrong." if self.status == 401 else self.remedy


_BASIC = ((b"www-authenticate", b'Basic realm="OCPP", charset="UTF-8"'),)
# HTTP wants a challenge in every 401; this one must not ask for a password.
_CERTIFICATE = ((b"www-authenticate", b'ClientCertificate realm="OCPP"'),)
REFUSALS = {
    refusal.reason: refusal
    for refusal in (
        Refusal(400, "bad_path", "The URL must be ws://HOST/ocpp/TENANT/IDENTITY; the last part is the identity, "
                "percent-encoded, 1 to 48 characters without control characters."),
        Refusal(400, "malformed", "The request is not HTTP as it should be. Update the firmware of the charge point, "
                "or look for a proxy on the way that garbles it."),
        Refusal(408, "head_too_slow", "The request did not come to its end in time. Look at the charge point's network "
                "connection."),
        Refusal(431, "head_too_large", "The request, or one of its header lines (8 KiB), is too large. Look for a "
                "proxy on the way that adds headers, or shorten what the charge point sends."),
        Refusal(405, "not_get", "A WebSocket begins with GET. Set the charge point to OCPP 1.6 JSON, not SOAP.",
                ((b"allow", b"GET"),)),
        Refusal(426, "no_upgrade", "This is the address of a charge point: connect with a WebSocket and the "
                "subprotocol ocpp1.6. Set the charge point to OCPP 1.6 JSON; a proxy on the way must pass on Upgrade "
                "and Connection.",
                ((b"upgrade", b"websocket"),)),
        Refusal(426, "websocket_version", "The request does not ask for version 13 of WebSocket. Update the firmware "
                "of the charge point.", ((b"sec-websocket-version", b"13"),)),
        Refusal(400, "websocket_key", "Sec-WebSocket-Key is missing, repeated, or not base64 of 16 bytes. Update the "
                "firmware of the charge point."),
        Refusal(400, "no_subprotocol", "The charge point offers no WebSocket subprotocol. Set it to OCPP 1.6 JSON, or "
                "switch on 'assume OCPP 1.6' for this charge point."),
        Refusal(400, "unsupported_subprotocol", "The charge point does not offer ocpp1.6. Set its protocol version to "
                "OCPP 1.6 JSON."),
        Refusal(400, "colon_in_identity", "An identity with a colon cannot be used with a password (HTTP Basic). "
                "Rename the charge point."),
        Refusal(401, "no_credentials", "The charge point sent no password. Enter the password of this charge point in "
                "its settings (AuthorizationKey), or set it again here.", _BASIC),
        Refusal(401, "malformed_credentials", "The Authorization header is not HTTP Basic with base64 of "
                "identity:password.", _BASIC),
        Refusal(401, "wrong_username", "The user name differs from the identity in the URL; they must be equal.",
                _BASIC),
        Refusal(401, "wrong_password", "The password is wrong. Set a new one here and enter it at the charge point.",
                _BASIC),
        Refusal(401, "unknown_identity", "No charge point of this tenant has this identity; mind capital letters. "
                "Create it, or let the tenant admit unknown charge points as pending.", _BASIC),
        Refusal(404, "not_found", "No charge point of this tenant has this identity; mind capital letters. Create it, "
                "or let the tenant admit unknown charge points as pending."),
        Refusal(404, "unknown_tenant", "The URL names no tenant of this installation."),
        Refusal(403, "profile_too_low", "The connection uses a lower security profile than the one set for this charge "
                "point. Use wss, or have an administrator lower the profile here."),
        Refusal(403, "profile_differs", "The connection uses another security profile than the one set for this charge "
                "point. Change the profile here, or the URL at the charge point, or let it have a higher one."),
        Refusal(403, "profile_not_allowed", "The tenant does not allow this security profile. Use a higher one, or "
                "allow it in the tenant's settings."),
        Refusal(401, "certificate_missing", "The charge point showed no client certificate, which its security profile "
                "asks for. Connect to the port for client certificates; check the certificate at the charge point.",
                _CERTIFICATE),
        Refusal(403, "certificate_of_another", "The client certificate is of another charge point: its CN is not the "
                "serial number expected here. Correct the serial number here, or renew the certificate."),
        Refusal(403, "certificate_untrusted", "The client certificate leads to no authority that this tenant trusts. "
                "Import its root certificate here, or renew the certificate; mind the tenant in the URL."),
        Refusal(403, "certificate_revoked", "The client certificate has been revoked. Give the charge point a new one "
                "over a lower security profile."),
        Refusal(403, "certificate_expired", "The client certificate has expired, or is not valid yet. Renew it over a "
                "lower security profile."),
        Refusal(403, "certificate_rejected", "The charge point refused this client certificate when it was sent, so it "
                "is not trusted. Renew the certificate."),
        Refusal(403, "certificate_unknown", "The client certificate is not one that was given to this charge point. "
                "Renew it, or revoke the ones that were given to it if they are lost."),
        Refusal(403, "certificate_organization", "The O of the client certificate is not the organization of its "
                "authority. Renew the certificate, or switch off the check of O for the authority."),
        Refusal(403, "certificate_unreadable", "The client certificate cannot be read. Renew it."),
        Refusal(403, "disabled", "The charge point is disabled here. Enable it to let it connect."),
        Refusal(429, "too_many_attempts", "Too many failed attempts from this address. Correct the password and wait "
                "a minute.", ((b"retry-after", b"60"),)),
        Refusal(503, "contested", "Somebody else is connected with this identity, and the two replace each other. Find "
                "the second charge point that has it (a copied configuration?), or set a new password.",
                ((b"retry-after", b"10"),)),
        Refusal(503, "tenant_limit", "The tenant has reached its number of charge points.",
                ((b"retry-after", b"3600"),)),
        Refusal(503, "draining", "The server is restarting; the charge point will reconnect by itself.",
                ((b"retry-after", b"10"),)),
        Refusal(503, "busy", "Too many connect at the same time; the charge point will try again by itself.",
                ((b"retry-after", b"10"),)),
        Refusal(503, "unavailable", "The database cannot be reached; the charge point will reconnect by itself.",
                ((b"retry-after", b"30"),)),
    )
}  # fmt: skip
ADDRESS_HELD = replace(REFUSALS["too_many_attempts"], of_address=True)


class Refused(Exception):
    """Raised inside the decision; `refusal` is the answer."""

    def __init__(self, reason: str, addition: str = "") -> None:
        super().__init__(reason)
        refusal = REFUSALS[reason]
        self.refusal = replace(refusal, remedy=f"{refusal.remedy} {addition}") if addition else refusal


def wrong_password(password: bytes | None) -> Refused:
    """The refusal of a password, which says how long it was and nothing else of it."""
    if password is None:
        return Refused("wrong_password", "None arrived.")
    plural = "" if len(password) == 1 else "s"
    return Refused("wrong_password", f"A password of {len(password)} byte{plural} arrived.")


@dataclass(slots=True)
class Request:
    """What a handshake says about itself, taken from an ASGI websocket scope."""

    tenant_slug: str
    identity: str
    path_is_valid: bool
    subprotocols: list[str]
    authorization: bytes | None
    address: str
    secure: bool
    user_agent: str
    tls: Mapping[str, Any] = field(default_factory=dict)
    # What was dialled, percent-encoded as sent.
    path: str = ""
    # Why it cannot become a websocket whoever sends it: a key of REFUSALS.
    fault: str = ""
    # It was let in from this address before, and shows nothing else than then, as far as the doorkeeper knows.
    known: bool = False
    # Which password it has proved to have (passwords.which).
    proof: PasswordChange | bool = False
    # The client certificate, once it was accepted.
    certificate: presented.Presented | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The charge point that connected, and how its session is to behave."""

    link: Link
    subprotocol: str | None
    strict: bool
    call_timeout_seconds: int
    has_commands: bool


def read(scope: Mapping[str, Any]) -> Request:
    """Take from an ASGI scope what the decision needs. The raw path is split before it is decoded: %2F is part of an
    identity. Repeated subprotocol headers are one list. Source: OCPP-J 3.1.1, 3.2."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name.lower()] = headers[name.lower()] + b", " + value if name.lower() in headers else value
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    parts = raw_path.split(b"?")[0].strip(b"/").split(b"/")
    valid, slug, identity = len(parts) == 3 and parts[0] == b"ocpp", "", ""
    if valid:
        try:
            identity = unquote_to_bytes(parts[2]).decode()
            validate_identity(identity)
        except (UnicodeDecodeError, ValidationError):
            valid = False
    if len(parts) > 1 and parts[0] == b"ocpp":
        slug = parts[1].decode("latin-1")
    if not valid:
        identity = parts[-1].decode("latin-1")
    offered = headers.get(b"sec-websocket-protocol", b"").decode("latin-1")
    caller = peer(scope, headers)
    return Request(
        tenant_slug=slug,
        identity=identity,
        path_is_valid=valid,
        subprotocols=[name.strip() for name in offered.split(",") if name.strip()],
        authorization=headers.get(b"authorization"),
        address=caller.address,
        secure=caller.secure,
        user_agent=headers.get(b"user-agent", b"").decode("latin-1")[:255],
        tls=tls_facts(scope, headers),
        path=raw_path.decode("latin-1")[:1024],
    )


def decide(request: Request, owner: str) -> Accepted | Refusal:
    """Accept or refuse one handshake and record it; `owner` is the ServerProcess that has the socket.

    Runs in a thread of its own, outside the lanes: a slow password check must not hold up charging.
    """
    try:
        with platform_scope():
            tenant = Tenant.objects.filter(slug=request.tenant_slug).first()
        if tenant is None:
            logger.warning("Handshake refused: unknown tenant, from %s", request.address)
            refusal = REFUSALS[request.fault or "unknown_tenant"]
            strays.note(request, refusal, datetime.now(UTC))
            return refusal
        with tenant_scope(tenant.pk):
            return _decide(tenant, request, owner)
    except DatabaseError as error:
        if is_away(error):
            logger.info("Handshake refused: the database is away")
        else:
            logger.exception("Handshake refused: the database failed")
        return REFUSALS["unavailable"]


def _decide(tenant: Tenant, request: Request, owner: str) -> Accepted | Refusal:
    now = datetime.now(UTC)
    limit = attempt_limits.limit_reached(tenant, request)
    if limit is not None:
        return _held_up(request, limit, now)
    charge_point = ChargePoint.objects.filter(identity=request.identity).first() if request.path_is_valid else None
    profile = presented_profile(request)
    try:
        subprotocol = chosen_subprotocol(request, charge_point)
        charge_point = authenticated(tenant, request, charge_point, profile)
    except Refused as refused:
        if refused.refusal.status in (401, 404):
            attempt_limits.count_failure(tenant, request)
        record_refused(request, charge_point, profile, refused.refusal, now)
        logger.info(
            "Handshake refused: %s, identity %r of tenant %s from %s",
            refused.refusal.reason, request.identity, tenant.slug, request.address,
        )  # fmt: skip
        return refused.refusal
    pause = rivals.put_off(charge_point, request.address, printable(request.user_agent), now)
    if pause is not None:
        return _put_off(charge_point, request, profile, pause, now)
    held_to = security_profiles.expected(charge_point, profile)
    (taken,) = take_over([Arrival(charge_point, request, profile, held_to, plain=False)], owner, now)
    if taken is None:
        return REFUSALS["unknown_identity"]
    attempt_limits.note_good(tenant, [request])
    return accepted(tenant, charge_point, subprotocol, taken)


def accepted(tenant: Tenant, charge_point: ChargePoint, subprotocol: str | None, taken: Taken) -> Accepted:
    """The acceptance of a charge point whose connection has been taken over."""
    charge_point.tenant = tenant
    return Accepted(
        link=Link(
            tenant.pk,
            charge_point.pk,
            taken.generation,
            f"{tenant.slug}/{charge_point.identity}",
            call_timeout_seconds=charge_point.effective_call_timeout_seconds,
        ),
        subprotocol=subprotocol,
        strict=charge_point.strict,
        call_timeout_seconds=charge_point.effective_call_timeout_seconds,
        has_commands=taken.has_commands,
    )


def presented_profile(request: Request) -> SecurityProfile:
    if request.tls.get("client_cert_chain") or request.tls.get("client_cert"):
        return SecurityProfile.TLS_CLIENT_CERTIFICATE
    if request.authorization is None:
        return SecurityProfile.NONE
    return SecurityProfile.TLS_BASIC if request.secure else SecurityProfile.BASIC


def chosen_subprotocol(request: Request, charge_point: ChargePoint | None) -> str | None:
    """The subprotocol to answer with, spelt as it was offered: a client compares; None means an upgrade without the
    header. Case 088: refuse without an upgrade."""
    if request.fault:
        raise Refused(request.fault)
    if not request.path_is_valid:
        raise Refused("bad_path")
    for name in request.subprotocols:
        if name.lower() == SUBPROTOCOL:
            return name
    if request.subprotocols:
        raise Refused("unsupported_subprotocol")
    if charge_point is not None and charge_point.assume_ocpp16:
        return None
    raise Refused("no_subprotocol")


def authenticated(
    tenant: Tenant,
    request: Request,
    charge_point: ChargePoint | None,
    profile: SecurityProfile,
    changes: Sequence[PasswordChange] | None = None,
) -> ChargePoint:
    """The charge point that has proved to be the one it claims; else raises Refused.

    `changes`: its passwords.sent_changes where they are known already.
    """
    by_certificate = SecurityProfile.TLS_CLIENT_CERTIFICATE
    if charge_point is None:
        return _admitted(tenant, request, profile, None if profile == by_certificate else given_password(request))
    required = SecurityProfile(security_profiles.expected(charge_point, profile))
    # "At least this profile": it may come with a higher one, if it proves what both of them ask for.
    higher = profile > required and not charge_point.exact_security_profile
    # With a certificate nobody asks for a password, nor looks at one.
    password = None if profile == required == by_certificate else given_password(request)
    by_password = (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC)
    if required in by_password and ":" in request.identity:
        raise Refused("colon_in_identity")
    if required != SecurityProfile.NONE and profile == SecurityProfile.NONE:
        raise Refused("certificate_missing" if required == by_certificate else "no_credentials")
    to_prove = required in by_password or (required != SecurityProfile.NONE and profile in by_password)
    if higher and required == SecurityProfile.NONE and request.secure and password is not None:
        # Without one on record there is nothing that a password could prove.
        to_prove = bool(charge_point.password_hash)
        higher = to_prove or profile == by_certificate
    if to_prove:
        if changes is None:
            changes = passwords.sent_changes(charge_point)
        request.proof = password is not None and passwords.which(charge_point, password, changes)
        if not request.proof:
            raise wrong_password(password)
    if profile != required and not higher and not (required == SecurityProfile.NONE and not request.secure):
        # A charge point without security may send a password that nobody asked for; every other mismatch counts.
        raise Refused("profile_too_low" if profile < required else "profile_differs")
    proved = profile if higher and request.secure else required  # A password that nobody asked for proves nothing.
    if (proved == SecurityProfile.NONE and not tenant.allow_security_profile_0) or (
        proved == SecurityProfile.BASIC and not tenant.allow_security_profile_1
    ):
        raise Refused("profile_not_allowed")
    if profile == by_certificate:
        _judge_certificate(request, charge_point)
    if charge_point.disabled:
        raise Refused("disabled")
    return charge_point


def _judge_certificate(request: Request, charge_point: ChargePoint) -> None:
    """Refuse unless the client certificate is this charge point's, of an authority of its tenant, and still good."""
    now = datetime.now(UTC)
    try:
        chain = request.tls.get("client_cert_chain") or paths.chain_of(request.tls["client_cert"], now)
        request.certificate = presented.judge(charge_point, chain, now)
    except (presented.NotAccepted, paths.NoPath) as error:
        raise Refused(error.reason) from None


def given_password(request: Request) -> bytes | None:
    """The password presented, as bytes; None without an Authorization header. Raises Refused.

    A user name that is not the identity is refused at once: the one who dials knows both, and learns nothing.
    """
    if request.authorization is None:
        return None
    scheme, _, encoded = request.authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        raise Refused("malformed_credentials")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("malformed_credentials") from None
    username, colon, password = decoded.partition(b":")
    if not colon:
        raise Refused("malformed_credentials")
    if username != request.identity.encode():
        raise Refused("wrong_username")
    return password


def _admitted(tenant: Tenant, request: Request, profile: SecurityProfile, password: bytes | None) -> ChargePoint:
    """An unknown identity: refused, or admitted as Pending (or Rejected) with the password it first came with."""
    credentials.matches(credentials.NOBODY, password or b"", accept_hexadecimal=True)
    policy = {"pending": RegistrationStatus.PENDING, "rejected": RegistrationStatus.REJECTED}.get(
        tenant.unknown_charge_points
    )
    if policy is None:
        raise Refused("not_found" if password is None and tenant.allow_security_profile_0 else "unknown_identity")
    if profile == SecurityProfile.NONE and not tenant.allow_security_profile_0:
        raise Refused("no_credentials")
    if profile == SecurityProfile.BASIC and not tenant.allow_security_profile_1:
        raise Refused("profile_not_allowed")
    if profile == SecurityProfile.TLS_CLIENT_CERTIFICATE:
        _judge_certificate(request, ChargePoint(identity=request.identity))
    if tenant.max_charge_points is not None and ChargePoint.objects.count() >= tenant.max_charge_points:
        raise Refused("tenant_limit")
    password_hash = ""
    if password is not None:
        if ":" in request.identity:
            raise Refused("colon_in_identity")
        if not 16 <= len(password) <= 40 and not (tenant.allow_weak_passwords and len(password) in WEAK_BYTES):
            raise wrong_password(password)
        hexadecimal = credentials.HEXADECIMAL.match(password) and len(password) % 2 == 0
        password_hash = credentials.hashed(
            bytes.fromhex(password.decode()) if hexadecimal else password, generated=False
        )
    try:
        with transaction.atomic():
            return ChargePoint.objects.create(
                identity=request.identity,
                registration_status=policy,
                security_profile=profile,
                password_hash=password_hash,
            )
    except IntegrityError:
        # Two sockets of one new charge point at once: the other one made it, and this one has to prove itself.
        return authenticated(tenant, request, ChargePoint.objects.get(identity=request.identity), profile)


def _put_off(
    charge_point: ChargePoint, request: Request, profile: SecurityProfile, pause: timedelta, now: datetime
) -> Refusal:
    """Keep out, for a while, the one that would replace somebody else's connection once more."""
    seconds = ceil(pause.total_seconds())
    refusal = replace(REFUSALS["contested"], headers=((b"retry-after", str(seconds).encode()),))
    record_refused(request, charge_point, profile, refusal, now)
    logger.info("Handshake put off %s s: contested, identity %r from %s", seconds, request.identity, request.address)
    return refusal


# --- attempt limits ---------------------------------------------------------------------------------------------------
def known_good() -> set[tuple[str, str, str]]:
    """Tenant, identity and address of who was connected within KNOWN_GOOD_SECONDS."""
    since = datetime.now(UTC) - timedelta(seconds=attempt_limits.KNOWN_GOOD_SECONDS)
    with platform_scope():
        rows = ChargePoint.objects.filter(last_seen_at__gte=since).exclude(remote_address="").order_by("-last_seen_at")
        return set(rows.values_list("tenant__slug", "identity", "remote_address")[:100_000])


def _held_up(request: Request, limit: str, now: datetime) -> Refusal:
    """Refuse without looking at anything; recorded once a minute and limit, so that a flood does not fill the table."""
    refusal = ADDRESS_HELD if limit == attempt_limits.address_key(request) else REFUSALS["too_many_attempts"]
    if attempt_limits.is_news(limit):
        charge_point = ChargePoint.objects.filter(identity=request.identity).first() if request.path_is_valid else None
        record_refused(request, charge_point, presented_profile(request), refusal, now)
        logger.info(
            "Handshake refused: %s, identity %r of tenant %s from %s",
            refusal.reason, request.identity, request.tenant_slug, request.address,
        )  # fmt: skip
    return refusal
