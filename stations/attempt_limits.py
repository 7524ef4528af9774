"""How many failed handshakes an address, or a pair of address and identity, has had within WINDOW_SECONDS.

Counted in the cache, for all processes; never per identity alone, so that nobody can lock a charge point out from
elsewhere. Who comes with just what it was let in with before, from the same address, is no guess.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import cache

from csms.proxies import address_group
from tenants.models import Tenant

if TYPE_CHECKING:
    from stations.handshake import Request

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
KNOWN_GOOD_SECONDS = 24 * 3600


def cache_safely(action: Any) -> Any:
    """Run a cache operation; a cache that is down must not keep charge points out."""
    try:
        return action()
    except Exception as error:
        logger.warning("Attempt limits are not kept: the cache failed (%s)", type(error).__name__)
        return None


def credentials_digest(request: Request) -> str:
    """What the one who dials shows of itself, as a keyed digest: equal only for the same password or certificate."""
    shown = (request.authorization or b"") + b"".join(list(request.tls.get("client_cert_chain") or [])[:1])
    return hmac.new(f"handshake\n{settings.SECRET_KEY}".encode(), shown, "sha256").hexdigest()


def is_the_same(digest: str | None, request: Request) -> bool:
    """Whether the request shows what `digest` was made of."""
    return digest is not None and hmac.compare_digest(digest, credentials_digest(request))


# --- the counters -----------------------------------------------------------------------------------------------------
def pair_key(tenant: Tenant, request: Request) -> str:
    identity = request.identity.encode().hex()[:200]
    return f"handshake:pair:{tenant.pk}:{address_group(request.address)}:{identity}"


def address_key(request: Request) -> str:
    return f"handshake:address:{address_group(request.address)}"


def good_key(tenant: Tenant, request: Request) -> str:
    return pair_key(tenant, request).replace(":pair:", ":good:")


def look_up(keys: list[str]) -> Mapping[str, Any]:
    """What the cache has of `keys`: counters, and digests of who was let in."""
    return cache_safely(lambda: cache.get_many(keys)) or {}


def limit_reached(tenant: Tenant, request: Request) -> str | None:
    """The counter that keeps this attempt out, or None.

    Who comes with just what it was let in with before, from the same address, is no guess: neighbours behind one
    address cannot lock it out by guessing at its identity.
    """
    pair, address, good = pair_key(tenant, request), address_key(request), good_key(tenant, request)
    known = look_up([pair, address, good])
    if is_the_same(known.get(good), request):
        return None
    if known.get(pair, 0) >= settings.CSMS_FAILED_ATTEMPTS_PER_IDENTITY:
        return pair
    if known.get(address, 0) >= settings.CSMS_FAILED_ATTEMPTS_PER_ADDRESS and not request.known:
        return address
    return None


def count_failure(tenant: Tenant, request: Request) -> None:
    for key in (pair_key(tenant, request), address_key(request)):
        cache_safely(lambda key=key: cache.add(key, 0, WINDOW_SECONDS))
        cache_safely(lambda key=key: cache.incr(key))


def note_reached(key: str, limit: int) -> None:
    """Tell all processes that `key` was counted to its limit, for a window from now on."""
    cache_safely(lambda: cache.set(key, limit, WINDOW_SECONDS))


def note_good(tenant: Tenant, requests: Iterable[Request]) -> None:
    """They were let in: with the same from the same address they are not held up for a day."""
    digests = {good_key(tenant, request): credentials_digest(request) for request in requests}
    cache_safely(lambda: cache.set_many(digests, KNOWN_GOOD_SECONDS))


def is_news(limit: str) -> bool:
    """Whether nobody has been told yet, within this window, that this limit is reached."""
    return bool(cache_safely(lambda: cache.add(f"{limit}:told", 1, WINDOW_SECONDS)))
