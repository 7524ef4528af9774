"""TLS of the charge points' ports: what is offered, what is asked of the peer, and why a handshake failed.

Context: a technician whose charge point cannot connect has nothing but what we saw, and an event loop's own TLS server
forgets failed handshakes and keeps one context for ever.
Choice: connections are accepted by us, each with the context that is right at that moment: certificates and trusted
roots change without a restart, and a handshake that fails is reported with its reason.
Consequence: what the peer proved stands in the ASGI scope (`extensions.tls`): version, suite, and the verified chain.

Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.312-326, 416-426.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from websockets.http11 import Request

from csms.door import Door
from csms.websocket import CalmWebSocketProtocol

logger = logging.getLogger(__name__)

# The four mandatory suites, and ECDHE-RSA for forward secrecy with RSA-only charge points. TLS 1.3 has its own.
CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
        "AES128-GCM-SHA256", "AES256-GCM-SHA384",
    )
)  # fmt: skip
ACCEPT_PAUSE_SECONDS = 0.1
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
# OpenSSL's words for what went wrong, and ours (stations.security_events.KINDS says what to do).
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls_no_certificate",
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "VERSION_TOO_LOW": "tls_version",
    "WRONG_VERSION_NUMBER": "tls_not_tls",
    "HTTP_REQUEST": "tls_not_tls",
    "NO_SHARED_CIPHER": "tls_no_suite",
    "TLSV1_ALERT_UNKNOWN_CA": "tls_our_certificate_refused",
    "SSLV3_ALERT_BAD_CERTIFICATE": "tls_our_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "tls_our_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "tls_our_certificate_refused",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "tls_our_certificate_refused",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "tls_no_suite",
}
# X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
EXPIRED, NOT_YET_VALID = 10, 9


@dataclass(frozen=True, slots=True)
class Failure:
    """A TLS handshake that did not come about: stable `reason`, OpenSSL's own `detail`."""

    address: str
    reason: str
    detail: str


def failure_reason(error: BaseException) -> str:
    """The stable code of a failed handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return {EXPIRED: "tls_certificate_expired", NOT_YET_VALID: "tls_certificate_not_yet_valid"}.get(
            error.verify_code, "tls_untrusted_certificate"
        )
    if isinstance(error, ssl.SSLError):
        return REASONS.get(error.reason or "", "tls_failed")
    return "tls_time_out" if isinstance(error, TimeoutError) else "tls_connection_lost"


# --- contexts ---------------------------------------------------------------------------------------------------------
class _Session(ssl.SSLObject):
    """A TLS session that hands over the alert of a handshake that failed: event loops drop it unsent."""

    unsent: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            error.alert = self.unsent.read()  # type: ignore[attr-defined]
            raise


class Context(ssl.SSLContext):
    """A context whose sessions know where their bytes wait to be sent."""

    sslobject_class = _Session

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        session = super().wrap_bio(incoming, outgoing, *args, **kwargs)
        if isinstance(session, _Session):
            session.unsent = outgoing
        return session


@dataclass(slots=True)
class Certificates:
    """The server's own chains with their keys, at most one RSA and one ECDSA: OpenSSL picks by suite.

    `client_roots` gives the PEM of every root that a client certificate may lead to; needed for `require_client`.
    """

    pairs: Sequence[tuple[Path, Path]]
    client_roots: Callable[[], str] = str
    _contexts: dict[bool, tuple[Any, ssl.SSLContext]] = field(default_factory=dict)

    def context(self, *, require_client: bool) -> ssl.SSLContext:
        """The context for a new connection; made anew when a file or the roots have changed.

        Files that are half written or do not fit together leave the present context in place, with a line in the log.
        Errors: ImproperlyConfigured when there is no present one.
        """
        state = (self._stamps(), self.client_roots() if require_client else "")
        known = self._contexts.get(require_client)
        if known is not None and known[0] == state:
            return known[1]
        try:
            context = self._build(state[1], require_client=require_client)
        except (OSError, ssl.SSLError) as error:
            if known is None:
                raise ImproperlyConfigured(f"TLS cannot be served: {describe(error)}.") from error
            logger.error("TLS certificates were not reloaded: %s", describe(error))
            context = known[1]
        self._contexts[require_client] = (state, context)
        return context

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        stamps = []
        for path in (path for pair in self.pairs for path in pair):
            try:
                status = path.stat()
                stamps.append((status.st_mtime_ns, status.st_size))
            except OSError:
                stamps.append((0, 0))
        return tuple(stamps)

    def _build(self, roots: str, *, require_client: bool) -> ssl.SSLContext:
        context = Context(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        for certificate, key in self.pairs:
            context.load_cert_chain(certificate, key)
        if require_client:
            context.verify_mode = ssl.CERT_REQUIRED
            if roots:
                context.load_verify_locations(cadata=roots)
        return context


def describe(error: BaseException) -> str:
    """An error in a sentence's words, without the number and place that OpenSSL adds."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


# --- a port -----------------------------------------------------------------------------------------------------------
class Listener:
    """Accepts on one socket and takes each connection to `make_protocol`, with `certificates` through TLS first.

    Until its TLS handshake is over it is a guest at the `door`. Has what uvicorn asks of a server: `close` and
    `wait_closed`.
    """

    def __init__(
        self,
        listening: socket.socket,
        certificates: Certificates | None,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        require_client: bool,
        failed: Callable[[Failure], None],
        door: Door,
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._certificates = certificates
        self._make_protocol = make_protocol
        self._require_client = require_client
        self._failed = failed
        self._door = door
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(self._listening)
            except OSError as error:
                if error.errno in NO_DESCRIPTOR and self._door.make_room():
                    # Its descriptor is free in the next turn of the loop.
                    await asyncio.sleep(0)
                    continue
                # A peer that left already, or all descriptors are with those who have said what they want.
                logger.warning("A connection was not accepted: %s", describe(error))
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            address = str(peer[0]) if peer else ""
            if not self._door.admits(accepted.fileno(), address):
                accepted.close()
                await asyncio.sleep(0)
                continue
            serve = self._serve(accepted) if self._certificates is None else self._shake_hands(accepted, address)
            task = loop.create_task(serve)
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
            # Who is in already is heard before the next one is taken.
            await asyncio.sleep(0)

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, accepted)
        except OSError as error:
            accepted.close()
            logger.warning("A connection was not accepted: %s", describe(error))

    async def _shake_hands(self, accepted: socket.socket, address: str) -> None:
        task = asyncio.current_task()
        if task is None or self._certificates is None:
            raise TypeError("A TLS handshake needs a task and certificates.")
        guest = self._door.enter(address, partial(_cancel, task))
        # The event loop closes its socket when the handshake fails; the alert leaves by this one.
        try:
            spare = accepted.dup()
        except OSError:
            self._door.leave(guest)
            accepted.close()
            return
        try:
            context = self._certificates.context(require_client=self._require_client)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol, accepted, ssl=context, ssl_handshake_timeout=settings.CSMS_HEAD_SECONDS
            )
        except (OSError, TimeoutError, ImproperlyConfigured) as error:
            accepted.close()
            with suppress(OSError):
                spare.send(getattr(error, "alert", b""))
                spare.shutdown(socket.SHUT_WR)
            self._failed(Failure(address, failure_reason(error), describe(error)))
        except asyncio.CancelledError:
            # Sent away from the door.
            accepted.close()
        finally:
            self._door.leave(guest)
            spare.close()

    def close(self) -> None:
        """Accept nothing more; connections that stand are left alone."""
        self._accepting.cancel()
        self._listening.close()

    async def wait_closed(self) -> None:
        await asyncio.gather(self._accepting, return_exceptions=True)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


class WebSocketProtocol(CalmWebSocketProtocol):
    """uvicorn's websocket protocol that tells the application what the peer's TLS proved.

    `scope["extensions"]["tls"]` has `tls_version` ("TLSv1.2"), `cipher_suite` (OpenSSL's name) and
    `client_cert_chain`: the verified chain as DER, leaf first, empty without a client certificate.
    """

    # Of the scope what the head said that came; the one given to the library is in order (csms/heads.py).
    came_with: dict[str, Any] | None = None

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        session = self.transport.get_extra_info("ssl_object")
        scope: Any = getattr(self, "scope", None)
        if scope is not None and self.came_with is not None:
            scope.update(self.came_with)
        if session is not None and scope is not None:
            # The application starts with the next turn of the loop.
            scope["extensions"]["tls"] = peer_facts(session)


def peer_facts(session: Any) -> dict[str, Any]:
    """What an established TLS session says of itself and its peer."""
    cipher = session.cipher()
    return {
        "tls_version": session.version() or "",
        "cipher_suite": cipher[0] if cipher else "",
        "client_cert_chain": verified_chain(session),
    }


def verified_chain(session: Any) -> list[bytes]:
    """The chain that OpenSSL verified, from leaf to root, as DER; empty when the peer showed no certificate."""
    if session.getpeercert(binary_form=True) is None:
        return []
    if hasattr(session, "get_verified_chain"):  # Python 3.13
        return list(session.get_verified_chain())
    # The same in older versions, where it has no public name.
    return [certificate.public_bytes(ssl._ssl.ENCODING_DER) for certificate in session._sslobj.get_verified_chain()]  # type: ignore[attr-defined]
