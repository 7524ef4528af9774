"""Who is really calling: forwarded headers are believed only from CSMS_TRUSTED_PROXIES."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Peer:
    """The client's address and whether its side of the connection is encrypted."""

    address: str
    secure: bool


@lru_cache(maxsize=4)
def _networks(configured: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(entry, strict=False) for entry in configured)
    except ValueError as error:
        raise ImproperlyConfigured(f"CSMS_TRUSTED_PROXIES: {error}.") from error


def is_trusted(address: str) -> bool:
    """Whether `address` is one of the configured reverse proxies."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(tuple(settings.CSMS_TRUSTED_PROXIES)))


def peer(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Peer:
    """The peer of an ASGI connection.

    The address is the last entry of X-Forwarded-For that is not itself a trusted proxy; `secure` follows
    X-Forwarded-Proto. Without a trusted proxy both come from the socket.
    """
    client: Iterable[Any] | None = scope.get("client")
    address = str(next(iter(client), "")) if client else ""
    secure = scope.get("scheme") in ("wss", "https")
    if not is_trusted(address):
        return Peer(address, secure)
    forwarded = [
        part.strip() for part in headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",") if part.strip()
    ]
    origin = next((part for part in reversed(forwarded) if not is_trusted(part)), address)
    proto = headers.get(b"x-forwarded-proto", b"").decode("latin-1").strip().lower()
    return Peer(origin[:64], proto in ("https", "wss") if proto else secure)
