"""What the API reads from Django's request beside DRF: the caller's address, and URLs as the caller writes them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest

from csms.proxies import Peer, peer


def peer_of(request: HttpRequest) -> Peer:
    """Who is calling, with forwarded headers read only from trusted proxies."""
    scope: Any = getattr(request, "scope", None)
    headers: dict[bytes, bytes] = {}
    if scope is None:
        scope = {"client": (request.META.get("REMOTE_ADDR", ""), 0), "scheme": request.scheme}
        headers = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in request.headers.items()}
    else:
        for name, value in scope["headers"]:
            headers[name.lower()] = headers[name.lower()] + b", " + value if name.lower() in headers else value
    return peer(scope, headers)


def address_of(request: HttpRequest) -> str | None:
    """The caller's IP address; None when it is not known (a Unix socket, a proxy that sends nonsense)."""
    address = peer_of(request).address
    try:
        return str(ip_address(address))
    except ValueError:
        return None


def raw_path(request: HttpRequest) -> str:
    """The path as it was sent, percent-encoded: a slash inside an identity (%2F) is told from one between parts."""
    scope: Any = getattr(request, "scope", None)
    raw: bytes | None = scope.get("raw_path") if scope is not None else None
    return quote(request.path) if raw is None else raw.partition(b"?")[0].decode("latin-1")


def absolute(request: HttpRequest, path: str) -> str:
    """`path` as a URL on the host that the caller asked, https if they did, also in front of a trusted proxy."""
    return f"{'https' if peer_of(request).secure else 'http'}://{request.get_host()}{path}"
