"""The way from a client certificate to an authority of the tenant, where a proxy handed over the leaf alone.

Our own TLS ports leave this to OpenSSL. A proxy ends TLS itself and passes the certificate in a header; whoever it has
let through, signatures and dates are checked here again, so that a proxy need not know the tenants' roots.
Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.403 (RFC 5280 section 6, as far as these chains go).
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from stations.certificates import pem
from stations.models import CertificateAuthority

MAX_LENGTH = 5


class NoPath(Exception):
    """No authority of the tenant vouches for the certificate; `reason` is a key of stations.handshake.REFUSALS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def chain_of(leaf_der: bytes, now: datetime) -> list[bytes]:
    """DER from the leaf to the last authority of the open tenant that vouches for it.

    Raises NoPath: `certificate_unreadable`, `certificate_expired`, `certificate_untrusted`.
    """
    try:
        leaf = pem.certificate(leaf_der)
    except pem.Unreadable:
        raise NoPath("certificate_unreadable") from None
    if not _valid(leaf, now):
        raise NoPath("certificate_expired")
    known = [
        certificate
        for row in CertificateAuthority.objects.filter(active=True).exclude(certificate="")
        for certificate in pem.certificates(row.certificate)[:1]
        if _may_sign(certificate) and _valid(certificate, now)
    ]
    chain = [leaf]
    while len(chain) < MAX_LENGTH:
        above = next((each for each in known if each not in chain and _signed_by(chain[-1], each)), None)
        if above is None:
            break
        chain.append(above)
    if len(chain) == 1:
        raise NoPath("certificate_untrusted")
    return [certificate.public_bytes(Encoding.DER) for certificate in chain]


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        # Version 1 roots have no extensions; an operator has named this one as an authority.
        return certificate.version == x509.Version.v1


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
