"""Security extension, connections: Basic authentication, TLS of the server and of the charge point, the subprotocol."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from csms.certify import old_tls
from csms.certify.authority import Authority, common_name, key_problem
from csms.certify.case import Case
from csms.certify.charge_point import SUBPROTOCOL
from csms.certify.failure import CaseFailed

UNAUTHORIZED = (401,)
# Those that say that the request itself was not right, and not who sent it.
NOT_AGREED = (400, 406, 426)
WSS_PORT = 443
# Table "Mandatory suite" of the whitepaper, A00.FR.317 and 421; two of them need an RSA key of the server.
SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "ECDSA",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "ECDSA",
    "AES128-GCM-SHA256": "RSA",
    "AES256-GCM-SHA384": "RSA",
}


async def tc_085(case: Case) -> None:
    """Basic authentication."""
    status = await case.is_refused("without credentials", statuses=UNAUTHORIZED, password=None)
    await sees_attempt(case, "the refused connection", accepted=False, http_status=status, reason=bool, remedy=bool)
    await case.is_refused("with a wrong password", statuses=UNAUTHORIZED, password=secrets.token_hex(10))
    await case.connect()
    await case.booted()
    await sees_attempt(case, "the accepted connection", accepted=True)
    # The same in the hexadecimal form, where the charge point sends the bytes that the digits stand for.
    password = secrets.token_bytes(20)
    for text in (password.hex(), password.hex().upper()):
        case.transcript.secrets.add(text)
    case.testbed_is_spoiled = True
    await case.operator.request("PATCH", case.operator.path, {"password": password.hex().upper()})
    await case.cp.close()
    await case.connect(password=password)


async def tc_086(case: Case) -> None:
    """TLS server certificate."""
    await case.connect()
    version, suite = case.cp.tls or ("", "")
    await case.booted()
    await sees_attempt(case, "the connection", accepted=True, tls_version=version, tls_cipher=suite)
    parts = urlsplit(case.cp.endpoint.url)
    host, port = parts.hostname or "", parts.port or WSS_PORT
    for suite, kind in SUITES.items():
        context = case.options.ssl_context(case.testbed.client)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        try:
            der = await asyncio.to_thread(_handshake, context, host, port, case.options.timeout_seconds)
        except (OSError, ssl.SSLError) as error:
            raise CaseFailed(f"The CSMS does not serve the cipher suite {suite} ({_reason(error)}).") from None
        _check_certificate(case, x509.load_der_x509_certificate(der), kind, host)
    for old in old_tls.VERSIONS:
        try:
            accepted = await asyncio.to_thread(old_tls.accepts, host, port, old, case.options.timeout_seconds)
        except OSError as error:
            raise CaseFailed(f"Whether the CSMS accepts {old} cannot be judged ({_reason(error)}).") from None
        case.check(not accepted, f"The CSMS accepts {old}; TLS 1.2 is the oldest version allowed.")


async def tc_087(case: Case) -> None:
    """TLS client certificate."""
    profile, serial_number = case.testbed.security_profile, case.testbed.serial_number
    without = case.options.endpoint(profile)
    await case.is_refused("without a client certificate", endpoint=without, without_answer=True)
    stranger = case.options.endpoint(profile, Authority("A stranger").client(serial_number))
    await case.is_refused("with a certificate of an unknown authority", endpoint=stranger, without_answer=True)
    # Without an Authorization header; the CN is the serial number, in other letters, and not the identity in the URL.
    await case.connect()
    await case.booted()
    version, suite = case.cp.tls or ("", "")
    named = lambda text: f"cn={serial_number}".lower() in str(text).lower()  # noqa: E731 - a condition for `sees`
    await sees_attempt(
        case,
        "the connection",
        accepted=True,
        security_profile=profile,
        tls_version=version,
        tls_cipher=suite,
        client_certificate=named,
    )
    if case.testbed.client is not None:
        await sees_certificate(case, case.testbed.client.fingerprint, state="in_use")


async def tc_088(case: Case) -> None:
    """Subprotocol negotiation."""
    status = await case.is_refused("that offers only ocpp0.1", statuses=NOT_AGREED, subprotocols=("ocpp0.1",))
    await sees_attempt(case, "the refused connection", accepted=False, http_status=status, reason=bool)
    await case.connect(subprotocols=("ocpp0.1", SUBPROTOCOL))
    case.equal("The header Sec-WebSocket-Protocol of the answer", case.cp.subprotocol, SUBPROTOCOL)
    await sees_attempt(case, "the accepted connection", accepted=True)


async def sees_attempt(case: Case, what: str, **expected: Any) -> None:
    """The operator sees this as the latest attempt of the charge point to connect."""

    async def look() -> Mapping[str, Any]:
        found = (await case.operator.get(f"{case.operator.path}connection-attempts/"))["results"]
        return found[0] if found else {}

    await case.sees(what, look, **expected)


async def sees_certificate(case: Case, fingerprint: str, **expected: Any) -> None:
    """The operator sees this of the client certificate with this SHA-256 fingerprint."""

    async def look() -> Mapping[str, Any]:
        found = (await case.operator.get("certificates/", charge_point=case.cp.identity))["results"]
        return next((row for row in found if row["fingerprint"] == fingerprint), {})

    await case.sees("the certificate of the charge point", look, **expected)


def _handshake(context: ssl.SSLContext, host: str, port: int, timeout_seconds: float) -> bytes:
    """The server's certificate (DER) of one TLS handshake, after which nothing is said. Blocking.

    Errors: OSError, ssl.SSLError.
    """
    with socket.create_connection((host, port), timeout=timeout_seconds) as plain:
        with context.wrap_socket(plain, server_hostname=host) as session:
            return session.getpeercert(binary_form=True) or b""


def _check_certificate(case: Case, certificate: x509.Certificate, kind: str, host: str) -> None:
    found = "RSA" if isinstance(certificate.public_key(), rsa.RSAPublicKey) else "ECDSA"
    case.check(found == kind, f"The server's certificate has an {found} key where the cipher suite needs {kind}.")
    problem = key_problem(certificate)
    case.check(not problem, f"The server's {kind} certificate has {problem}.")
    case.check(certificate.serial_number > 0, f"The server's {kind} certificate has no serial number.")
    name = common_name(certificate)
    case.check(
        name.lower() == host.lower(),
        f"The CN of the server's {kind} certificate is {name!r} instead of {host!r}, the name that was dialled.",
    )
    if _is_address(host):
        case.warn(f"{host} is an address: charge points expect the host name of the CSMS in the CN.")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _reason(error: OSError) -> str:
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror or str(error)
    return str(text or type(error).__name__)
