"""certificateHashData of a root, as a charge point computes it (RFC 6960): only to recognise what it lists.

What goes back to a charge point is always what came from it.
Source: Improved security for OCPP 1.6-J, edition 3, CertificateHashDataType; M04.FR.07.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALGORITHMS = {"SHA256": hashlib.sha256, "SHA384": hashlib.sha384, "SHA512": hashlib.sha512}


def hash_data(certificate: x509.Certificate, algorithm: str, issuer: x509.Certificate | None = None) -> dict[str, str]:
    """The four members; `issuer` is the certificate itself for a root. KeyError for an unknown algorithm."""
    digest = ALGORITHMS[algorithm]
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": digest(certificate.issuer.public_bytes()).hexdigest(),
        "issuerKeyHash": digest(_key_bits((issuer or certificate).public_key())).hexdigest(),
        "serialNumber": f"{certificate.serial_number:x}",
    }


def _key_bits(key: object) -> bytes:
    """The value of the subjectPublicKey bit string: no tag, no length, no unused-bits byte."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return b""
