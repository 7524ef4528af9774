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
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F

from csms.proxies import peer
from stations import commands, credentials
from stations.dispatch import Link
from stations.models import ChargePoint, ConnectionAttempt
from stations.models.charge_point import RegistrationStatus, SecurityProfile, validate_identity
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope

logger = logging.getLogger(__name__)

SUBPROTOCOL = "ocpp1.6"
WINDOW_SECONDS = 60
KNOWN_GOOD_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of the upgrade: a stable `reason`, a `remedy` for the technician, no secrets."""

    status: int
    reason: str
    remedy: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def body(self) -> str:
        """What the one who dialled may read: on 401 nothing that tells whether the identity exists."""
        return "The identity or the password is wrong." if self.status == 401 else self.remedy


_BASIC = ((b"www-authenticate", b'Basic realm="OCPP", charset="UTF-8"'),)
REFUSALS = {
    refusal.reason: refusal
    for refusal in (
        Refusal(400, "bad_path", "The URL must be ws://HOST/ocpp/TENANT/IDENTITY; the last part is the identity, "
                "percent-encoded, 1 to 48 characters without control characters."),
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
                "point. Change the profile here, or the URL at the charge point."),
        Refusal(403, "profile_not_allowed", "The tenant does not allow this security profile. Use a higher one, or "
                "allow it in the tenant's settings."),
        Refusal(403, "disabled", "The charge point is disabled here. Enable it to let it connect."),
        Refusal(429, "too_many_attempts", "Too many failed attempts from this address. Correct the password and wait "
                "a minute.", ((b"retry-after", b"60"),)),
        Refusal(503, "tenant_limit", "The tenant has reached its number of charge points.",
                ((b"retry-after", b"3600"),)),
        Refusal(503, "draining", "The server is restarting; the charge point will reconnect by itself.",
                ((b"retry-after", b"10"),)),
        Refusal(503, "unavailable", "The database cannot be reached; the charge point will reconnect by itself.",
                ((b"retry-after", b"30"),)),
    )
}  # fmt: skip


class Refused(Exception):
    """Raised inside the decision; `refusal` is the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.refusal = REFUSALS[reason]


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
        tls=scope.get("extensions", {}).get("tls") or {},
    )


def decide(request: Request, owner: str) -> Accepted | Refusal:
    """Accept or refuse one handshake and record it; `owner` is the ServerProcess that has the socket.

    Runs in a thread of its own, outside the lanes: a slow password check must not hold up charging.
    """
    try:
        with platform_scope():
            tenant = Tenant.objects.filter(slug=request.tenant_slug).first()
        if tenant is None:
            logger.info("Handshake refused: unknown tenant, from %s", request.address)
            return REFUSALS["unknown_tenant"]
        with tenant_scope(tenant.pk):
            return _decide(tenant, request, owner)
    except DatabaseError:
        logger.exception("Handshake refused: the database failed")
        return REFUSALS["unavailable"]


def _decide(tenant: Tenant, request: Request, owner: str) -> Accepted | Refusal:
    now = datetime.now(UTC)
    limit = _limit_reached(tenant, request)
    if limit is not None:
        return _held_up(request, limit, now)
    charge_point = ChargePoint.objects.filter(identity=request.identity).first() if request.path_is_valid else None
    profile = _presented_profile(request)
    try:
        subprotocol = _subprotocol(request, charge_point)
        charge_point = _authenticated(tenant, request, charge_point, profile)
    except Refused as refused:
        if refused.refusal.status in (401, 404):
            _count_failure(tenant, request)
        _record(request, charge_point, profile, refused.refusal, now)
        logger.info(
            "Handshake refused: %s, identity %r of tenant %s from %s",
            refused.refusal.reason, request.identity, tenant.slug, request.address,
        )  # fmt: skip
        return refused.refusal
    generation, has_commands = _take_over(charge_point, request, profile, owner, now)
    cache_safely(lambda: cache.set(_good_key(tenant, request), 1, KNOWN_GOOD_SECONDS))
    return Accepted(
        link=Link(tenant.pk, charge_point.pk, generation, f"{tenant.slug}/{request.identity}"),
        subprotocol=subprotocol,
        strict=charge_point.strict,
        call_timeout_seconds=charge_point.effective_call_timeout_seconds,
        has_commands=has_commands,
    )


def _presented_profile(request: Request) -> SecurityProfile:
    if request.tls.get("client_cert_chain"):
        return SecurityProfile.TLS_CLIENT_CERTIFICATE
    if request.authorization is None:
        return SecurityProfile.NONE
    return SecurityProfile.TLS_BASIC if request.secure else SecurityProfile.BASIC


def _subprotocol(request: Request, charge_point: ChargePoint | None) -> str | None:
    """The subprotocol to answer with; None means an upgrade without the header. Case 088: refuse without an upgrade."""
    if not request.path_is_valid:
        raise Refused("bad_path")
    if any(name.lower() == SUBPROTOCOL for name in request.subprotocols):
        return SUBPROTOCOL
    if request.subprotocols:
        raise Refused("unsupported_subprotocol")
    if charge_point is not None and charge_point.assume_ocpp16:
        return None
    raise Refused("no_subprotocol")


def _authenticated(
    tenant: Tenant, request: Request, charge_point: ChargePoint | None, profile: SecurityProfile
) -> ChargePoint:
    """The charge point that has proved to be the one it claims; else raises Refused."""
    password = _password(request)
    if charge_point is None:
        return _admitted(tenant, request, profile, password)
    required = SecurityProfile(charge_point.security_profile)
    by_password = (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC)
    if required in by_password and ":" in request.identity:
        raise Refused("colon_in_identity")
    if required != SecurityProfile.NONE and profile == SecurityProfile.NONE:
        raise Refused("no_credentials")
    if required in by_password or (required != SecurityProfile.NONE and profile in by_password):
        if password is None or not credentials.matches(
            charge_point.password_hash, password, accept_hexadecimal=charge_point.accept_hexadecimal_password
        ):
            raise Refused("wrong_password")
    if profile != required and not (required == SecurityProfile.NONE and not request.secure):
        # A charge point without security may send a password that nobody asked for; every other mismatch counts.
        raise Refused("profile_too_low" if profile < required else "profile_differs")
    if (required == SecurityProfile.NONE and not tenant.allow_security_profile_0) or (
        required == SecurityProfile.BASIC and not tenant.allow_security_profile_1
    ):
        raise Refused("profile_not_allowed")
    if charge_point.disabled:
        raise Refused("disabled")
    return charge_point


def _password(request: Request) -> bytes | None:
    """The password presented, as bytes; None without an Authorization header. The user name must be the identity."""
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
        credentials.matches(credentials.NOBODY, password, accept_hexadecimal=True)
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
    if tenant.max_charge_points is not None and ChargePoint.objects.count() >= tenant.max_charge_points:
        raise Refused("tenant_limit")
    password_hash = ""
    if password is not None:
        if ":" in request.identity:
            raise Refused("colon_in_identity")
        if not 16 <= len(password) <= 40:
            raise Refused("wrong_password")
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
        return _authenticated(tenant, request, ChargePoint.objects.get(identity=request.identity), profile)


def _take_over(
    charge_point: ChargePoint, request: Request, profile: SecurityProfile, owner: str, now: datetime
) -> tuple[int, bool]:
    """Make this connection the newest of its charge point; gives its generation, and whether commands wait for it."""
    known_generation = charge_point.connection_generation
    with transaction.atomic():
        ChargePoint.objects.filter(pk=charge_point.pk).update(
            connection_generation=F("connection_generation") + 1,
            connection_owner=owner,
            connected=True,
            connected_at=now,
            last_seen_at=now,
            remote_address=request.address,
        )
        charge_point.refresh_from_db(fields=["connection_generation"])
        generation = charge_point.connection_generation
        has_commands = commands.connection_lost(charge_point.pk, generation - 1)
        _record(request, charge_point, profile, None, now)
        # More than one step: another socket was accepted since this charge point was read.
        if charge_point.connected or generation != known_generation + 1:
            message = {"type": "charge_point.superseded", "generation": generation}
            transaction.on_commit(lambda: commands.notify([charge_point.pk], message))
    return generation, has_commands


def release(charge_point: ChargePoint, now: datetime, *, generation: int) -> None:
    """The connection of `generation` has ended; a newer one's state is not touched. Runs in the lane."""
    commands.connection_lost(charge_point.pk, generation)
    ChargePoint.objects.filter(pk=charge_point.pk, connection_generation=generation).update(
        connected=False, connection_owner="", disconnected_at=now
    )


def _record(
    request: Request,
    charge_point: ChargePoint | None,
    profile: SecurityProfile,
    refusal: Refusal | None,
    now: datetime,
) -> None:
    ConnectionAttempt.objects.create(
        charge_point=charge_point,
        identity=_printable(request.identity),
        at=now,
        address=request.address,
        accepted=refusal is None,
        http_status=101 if refusal is None else refusal.status,
        reason="" if refusal is None else refusal.reason,
        remedy="" if refusal is None else refusal.remedy,
        security_profile=profile,
        subprotocols=_printable(", ".join(request.subprotocols)),
        user_agent=_printable(request.user_agent),
        tls_version=str(request.tls.get("tls_version") or ""),
        tls_cipher=str(request.tls.get("cipher_suite") or ""),
    )


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)[:255]


# --- attempt limits ---------------------------------------------------------------------------------------------------
def cache_safely(action: Any) -> Any:
    """Run a cache operation; a cache that is down must not keep charge points out."""
    try:
        return action()
    except Exception as error:
        logger.warning("Attempt limits are not kept: the cache failed (%s)", type(error).__name__)
        return None


def _pair_key(tenant: Tenant, request: Request) -> str:
    return f"handshake:pair:{tenant.pk}:{request.address}:{request.identity.encode().hex()[:200]}"


def _address_key(request: Request) -> str:
    return f"handshake:address:{request.address}"


def _good_key(tenant: Tenant, request: Request) -> str:
    return _pair_key(tenant, request).replace(":pair:", ":good:")


def _limit_reached(tenant: Tenant, request: Request) -> str | None:
    """The counter that keeps this attempt out, or None."""
    pair, address, good = _pair_key(tenant, request), _address_key(request), _good_key(tenant, request)
    known = cache_safely(lambda: cache.get_many([pair, address, good])) or {}
    if known.get(pair, 0) >= settings.CSMS_FAILED_ATTEMPTS_PER_IDENTITY:
        return pair
    if known.get(address, 0) >= settings.CSMS_FAILED_ATTEMPTS_PER_ADDRESS and good not in known:
        return address
    return None


def _held_up(request: Request, limit: str, now: datetime) -> Refusal:
    """Refuse without looking at anything; recorded once a minute and limit, so that a flood does not fill the table."""
    refusal = REFUSALS["too_many_attempts"]
    if cache_safely(lambda: cache.add(f"{limit}:told", 1, WINDOW_SECONDS)):
        charge_point = ChargePoint.objects.filter(identity=request.identity).first() if request.path_is_valid else None
        _record(request, charge_point, _presented_profile(request), refusal, now)
        logger.info(
            "Handshake refused: %s, identity %r of tenant %s from %s",
            refusal.reason, request.identity, request.tenant_slug, request.address,
        )  # fmt: skip
    return refusal


def _count_failure(tenant: Tenant, request: Request) -> None:
    for key in (_pair_key(tenant, request), _address_key(request)):
        cache_safely(lambda key=key: cache.add(key, 0, WINDOW_SECONDS))
        cache_safely(lambda key=key: cache.incr(key))
