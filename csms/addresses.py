"""The addresses by which charge points reach this installation, as far as they are known: never guessed.

Context: a URL that is shown is typed into a charge point on a car park, and one that is sent is dialled by it; a wrong
one costs a journey. Choice: settings come first, by security profile (CSMS_WS_URL, CSMS_WSS_URL, CSMS_MTLS_URL, then
CSMS_PUBLIC_URL); else the ports on which a server process says it listens. A server knows its own; others (a worker, a
command) read them in the row by which it reports itself alive. Consequence: where neither says it there is no URL, and
a sentence instead that says what to set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings

from stations import connections
from stations.models.charge_point import SecurityProfile

PLAIN, TLS, CLIENT_CERTIFICATES = "ws", "wss", "mtls"
UNKNOWN = (
    "The address is not known: set CSMS_PUBLIC_URL, or for single security profiles CSMS_WS_URL, CSMS_WSS_URL and "
    "CSMS_MTLS_URL."
)
_LOCAL = ("localhost", "testserver")


def dial(profile: int, *, exact: bool = False) -> str | None:
    """What a charge point of security profile `profile` dials, up to the path (`wss://csms.example.com`), or None.

    `exact`: no higher profile will do either.
    """
    if profile == SecurityProfile.TLS_CLIENT_CERTIFICATE:
        return settings.CSMS_MTLS_URL or _own().get(CLIENT_CERTIFICATES)
    public = urlsplit(settings.CSMS_PUBLIC_URL)
    address = f"{public.netloc}{public.path.rstrip('/')}"
    with_tls: str | None = settings.CSMS_WSS_URL or (f"wss://{address}" if public.scheme == "https" else None)
    if profile == SecurityProfile.TLS_BASIC:
        return with_tls or _own().get(TLS)
    plain: str | None = settings.CSMS_WS_URL or (f"ws://{address}" if public.scheme == "http" else None)
    if plain is None and not exact:
        # Encrypted, it is let in as well.
        plain = with_tls
    return plain or _own().get(PLAIN)


def files() -> str | None:
    """Where charge points fetch firmware and deliver diagnostics, up to /files/, or None."""
    known: str = settings.CSMS_FILES_URL or settings.CSMS_PUBLIC_URL
    plain = None if known else _own().get(PLAIN)
    return known or (None if plain is None else f"http{plain.removeprefix('ws')}")


def _own() -> Mapping[str, str]:
    return connections.listens_on(datetime.now(UTC))


def listening(ports: Iterable[tuple[str, str, int]]) -> dict[str, str]:
    """The addresses of ports (kind, host, port), by kind; those on which nobody can tell by what name it is dialled are
    left out."""
    found = list(ports)
    plain = next((port for kind, _, port in found if kind == PLAIN), None)
    addresses = {}
    for kind, host, port in found:
        name = _name(host, plain)
        if name is not None:
            addresses[kind] = f"{'ws' if kind == PLAIN else 'wss'}://{name}:{port}"
    return addresses


def _name(host: str, plain_port: int | None) -> str | None:
    if host and not ip_address(host).is_unspecified:
        return f"[{host}]" if ":" in host else host
    # On all addresses: by the public name where that leads to this very server, or by the only name it answers to.
    public = urlsplit(settings.CSMS_PUBLIC_URL)
    if public.hostname and public.port == plain_port:
        return public.hostname
    named = [name for name in settings.ALLOWED_HOSTS if name not in _LOCAL and "*" not in name and name[:1] != "."]
    named = [name for name in named if not name.strip("[]").startswith(("127.", "::1"))]
    return named[0] if len(named) == 1 else None
