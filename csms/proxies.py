"""Who is really calling: forwarded headers are believed only from CSMS_TRUSTED_PROXIES.

A proxy that ends TLS says what the peer proved in headers of its own, which it must set on every request, so that a
client cannot bring them along (deploy/nginx.conf, deploy/haproxy.cfg).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import unquote_to_bytes

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


def address_group(address: str) -> str:
    """What counts as one address: of IPv6 the network, for whoever has one address there has 2**64."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ip_network((int(found) >> 64 << 64, 64)))
    return str(found if found.version == 4 else found.ipv4_mapped)


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


# --- TLS that a proxy has ended ---------------------------------------------------------------------------------------
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
MAX_HEADER_BYTES = 16_384


def tls_facts(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What the peer's TLS proved: `tls_version`, `cipher_suite`, `client_cert_chain` or `client_cert`, as far as known.

    From our own TLS port the chain is verified (csms/tls.py). From a trusted proxy there is only the leaf, as
    `client_cert` (DER), and nobody has verified it yet: X-Client-Certificate holds it as URL-encoded PEM (nginx) or as
    base64 of the DER (HAProxy). From anybody else the headers mean nothing.
    """
    own: Mapping[str, Any] | None = (scope.get("extensions") or {}).get("tls")
    if own:
        return dict(own)
    client: Iterable[Any] | None = scope.get("client")
    if not client or not is_trusted(str(next(iter(client), ""))):
        return {}
    return {
        "tls_version": _text(headers, b"x-tls-version"),
        "cipher_suite": _text(headers, b"x-tls-cipher"),
        "client_cert_chain": [],
        "client_cert": _certificate(headers.get(b"x-client-certificate", b"")),
    }


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").strip()[:80]


def _certificate(value: bytes) -> bytes | None:
    """The DER of a certificate in a header, None without one; what cannot be read is given back, to be refused."""
    value = value.strip()
    if not value or len(value) > MAX_HEADER_BYTES:
        return value[:1] or None
    plain = unquote_to_bytes(value)
    found = _PEM.search(plain)
    try:
        return base64.b64decode(b"".join((found[1] if found else plain).split()), validate=True)
    except (binascii.Error, ValueError):
        return plain
