"""Guessing at passwords of people and at API keys: counted, held up, and told to those whom it concerns.

Context: whoever tries passwords must be slow, and somebody must hear of it; but a limit on an account alone would let
anybody lock its owner out, and many people may share one address.
Choice: failures are counted in the cache, for all processes, for account and address together and for the address
alone (of IPv6 its /64). An attempt is counted before it is looked at, so that a hundred at once get no further than a
hundred in a row. A browser that has signed an account in before has a counter of its own, so its neighbours cannot
hold it up. An API key has 256 random bits: it cannot be guessed, so a right one is let in whatever others do at its
address, and the wrong ones get 429 in place of 401.
Consequence: an account that is tried from many addresses is never closed; that is an alert instead. What leads to an
account is an audit entry of its tenants and, at the limit, a security event that stays an alert until acknowledged;
platform administrators see every limit that was reached (Guessing).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.core.cache import cache
from django.db import DatabaseError, models, transaction

from csms.proxies import address_group
from stations import security_events
from tenants.models import ApiKey, AuditEntry, Guessing, Membership
from tenants.models.guessing import Guessed
from tenants.scope import platform_scope, tenant_scope

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 300
# Whoever goes on is told of once in this time: a program with an old key must not fill the audit log.
TOLD_SECONDS = 3600
# Failures of one account from everywhere together, in limits of one address, that are an alert.
ADDRESSES_TOGETHER = 5
DEVICE_COOKIE = "csms_signed_in"
DEVICE_SALT = "tenants.guessing.device"
DEVICE_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to prove who one is. `account` and `address` as they are counted: folded, and by network.

    `device`: of a browser that has signed this account in before, what tells it from others.
    """

    kind: str
    account: str
    address: str
    device: str = ""

    @property
    def limit(self) -> int:
        of_people, of_programs = settings.CSMS_FAILED_SIGN_INS_PER_ACCOUNT, settings.CSMS_FAILED_API_KEYS_PER_KEY
        return int(of_people if self.kind == Guessed.SIGN_IN else of_programs)

    @property
    def address_limit(self) -> int:
        of_people, of_programs = settings.CSMS_FAILED_SIGN_INS_PER_ADDRESS, settings.CSMS_FAILED_API_KEYS_PER_ADDRESS
        return int(of_people if self.kind == Guessed.SIGN_IN else of_programs)

    def key_of_pair(self) -> str:
        origin = f"device {self.device}" if self.device else self.address
        # Names are of any length and any letters; a key of the cache is not.
        return f"guessing:{self.kind}:pair:{_digest(self.account, origin)}"

    def key_of_address(self) -> str:
        return f"guessing:{self.kind}:address:{_digest(self.address)}"

    def key_of_account(self) -> str:
        return f"guessing:{self.kind}:account:{_digest(self.account)}"


@dataclass(slots=True)
class Count:
    """What the counters say, this attempt included; 0 where they were not asked, or the cache cannot say."""

    pair: int = 0
    address: int = 0
    account: int = 0
    held_up: bool = False


def sign_in(username: str, address: str, cookie: str = "") -> Attempt:
    """An attempt at the sign-in page; `cookie` is the browser's DEVICE_COOKIE."""
    account = username.strip().casefold()
    return Attempt(Guessed.SIGN_IN, account, address_group(address), _device(account, cookie))


def api_key(text: str, address: str) -> Attempt:
    """An attempt with an API key."""
    return Attempt(Guessed.API_KEY, text.partition(".")[0][:64], address_group(address))


# --- counting ---------------------------------------------------------------------------------------------------------
def begin(attempt: Attempt) -> Count:
    """Count an attempt as failed until it has succeeded; `held_up` says that it is beyond a limit."""
    count = Count(pair=_counted(attempt.key_of_pair()))
    if not count.pair:
        return count  # without a cache nothing is counted, and nobody waits for it more than once
    if count.pair > attempt.limit:
        # It adds nothing to the address: a program with an old key is not its neighbours' fault.
        count.held_up = True
        return count
    if not attempt.device:
        count.address = _counted(attempt.key_of_address())
    count.account = _counted(attempt.key_of_account())
    count.held_up = count.address > attempt.address_limit
    return count


def succeeded(attempt: Attempt, count: Count) -> None:
    """The attempt was right: it was no guess, and those before it from there were slips."""
    if not count.pair:
        return
    _safely(lambda: cache.delete(attempt.key_of_pair()))
    if not attempt.device:
        _safely(lambda: cache.decr(attempt.key_of_address(), count.pair))
    _safely(lambda: cache.decr(attempt.key_of_account(), count.pair))


def failed(attempt: Attempt, count: Count, address: str, now: datetime | None = None) -> None:
    """The attempt was wrong, or was held up: tell those whom it concerns. Never raises for the database's sake."""
    now = now or datetime.now(UTC)
    try:
        with transaction.atomic():
            _tell(attempt, count, address, now)
    except DatabaseError as error:
        logger.warning("Failed attempts are not kept: the database failed (%s)", type(error).__name__)


def _counted(key: str) -> int:
    _safely(lambda: cache.add(key, 0, WINDOW_SECONDS))
    return _safely(lambda: cache.incr(key)) or 0


def _is_first(key: str) -> bool:
    """Whether nobody has been told of `key` within the last hour."""
    return bool(_safely(lambda: cache.add(f"{key}:told", 1, TOLD_SECONDS)))


def _safely(action: Callable[[], Any]) -> Any:
    """Run a cache operation; a cache that is down must not keep people out."""
    try:
        return action()
    except ValueError:
        return None  # the counter has run out meanwhile
    except Exception as error:
        logger.warning("Guessing is not counted: the cache failed (%s)", type(error).__name__)
        return None


def _digest(*parts: str) -> str:
    return blake2b("\n".join(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()


# --- telling ----------------------------------------------------------------------------------------------------------
def _tell(attempt: Attempt, count: Count, address: str, now: datetime) -> None:
    name, obj, tenant_ids = _concerned(attempt)
    verb = str(attempt.kind)
    pair, everywhere = attempt.key_of_pair(), attempt.key_of_account()
    if count.pair >= attempt.limit and _is_first(pair):
        logger.warning("Held up: %d failed attempts (%s) from %s", count.pair, verb, address)
        _note(tenant_ids, name, f"{verb}_held_up", obj, count.pair, address, now, alert=True)
        Guessing.objects.add(verb, name, attempt.address, now, count.pair)
    elif count.account >= attempt.limit * ADDRESSES_TOGETHER and _is_first(everywhere):
        _note(tenant_ids, name, f"{verb}_failed", obj, count.account, address, now, alert=True)
        Guessing.objects.add(verb, name, "several", now, count.account)
    elif 0 < count.account <= attempt.limit and (attempt.kind == Guessed.SIGN_IN or _is_first(f"{pair}:failed")):
        _note(tenant_ids, name, f"{verb}_failed", obj, count.pair, address, now, alert=False)
    by_address = attempt.key_of_address()
    if count.address >= attempt.address_limit and _is_first(by_address):
        logger.warning("Held up: %d failed attempts (%s) from the address %s", count.address, verb, address)
        Guessing.objects.add(verb, "", attempt.address, now, count.address)


def _concerned(attempt: Attempt) -> tuple[str, models.Model | None, list[int]]:
    """The account's name, its row and the ids of its tenants; a name that leads to none is left out."""
    with platform_scope():
        if attempt.kind == Guessed.API_KEY:
            key = ApiKey.objects.filter(prefix=attempt.account).first()
            return (key.prefix, key, [key.tenant_id]) if key is not None else ("", None, [])
        user = User.objects.filter(username__iexact=attempt.account).order_by("pk").first()
        if user is None:
            return "", None, []
        tenant_ids = Membership.objects.filter(user=user).order_by("tenant_id").values_list("tenant_id", flat=True)
        return user.username, user, list(tenant_ids)


def _note(
    tenant_ids: Iterable[int],
    name: str,
    action: str,
    obj: models.Model | None,
    times: int,
    address: str,
    now: datetime,
    *,
    alert: bool,
) -> None:
    for tenant_id in tenant_ids:
        # The caller may be signed in elsewhere.
        with platform_scope(), tenant_scope(tenant_id):
            changes = {"attempts": [None, times]}
            AuditEntry.objects.record("somebody", action, obj, changes=changes, address=address or None)
            if alert:
                kind = "password_guessing" if isinstance(obj, User) else "api_key_guessing"
                security_events.note(kind, identity=name, address=address, now=now, times=times)


# --- browsers that have been here before ------------------------------------------------------------------------------
def device_cookie(username: str) -> str:
    """The value of DEVICE_COOKIE for a browser that has just signed `username` in."""
    return signing.dumps([username.strip().casefold(), secrets.token_hex(8)], salt=DEVICE_SALT)


def _device(account: str, cookie: str) -> str:
    try:
        known, device = signing.loads(cookie, salt=DEVICE_SALT, max_age=DEVICE_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return str(device) if known == account else ""
