"""Our own look at a firmware's signature and signing certificate, before they are handed to a charge point.

A00.FR.706 wants it; the operator decides. Everything found is a warning, a pair of a stable code and a sentence: a
charge point may know roots that we do not, and an invalid signature may be sent on purpose.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

Warnings = list[tuple[str, str]]

# A00.FR.501-503: keys worth at least 112 bits.
MINIMUM_BITS = {rsa.RSAPublicKey: 2048, dsa.DSAPublicKey: 2048, ec.EllipticCurvePublicKey: 224}
PSS, PKCS1, ECDSA = "RSA-PSS", "RSA PKCS#1 v1.5", "ECDSA"


def certificate_warnings(pem: str, now: datetime) -> Warnings:
    """What is wrong with a signing certificate by itself: unreadable, not valid now, key too small or not to sign."""
    certificates = _certificates(pem)
    if not certificates:
        return [("signing_certificate_unreadable", "The signing certificate is not a certificate in PEM.")]
    certificate, found = certificates[0], []
    if len(certificates) > 1:
        found.append(("signing_certificate_chain", "There is more than one certificate; charge points expect one."))
    if now < certificate.not_valid_before_utc:
        found.append(("signing_certificate_not_yet_valid", "The signing certificate is not valid yet."))
    if now > certificate.not_valid_after_utc:
        found.append(("signing_certificate_expired", "The signing certificate has expired."))
    found.extend(_key_warnings(certificate))
    return found


def _key_warnings(certificate: x509.Certificate) -> Warnings:
    found = []
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return [("signing_key_unknown", "The kind of key in the signing certificate is not known.")]
    bits = next((least for kind, least in MINIMUM_BITS.items() if isinstance(key, kind)), None)
    if bits is None:
        found.append(("signing_key_unknown", "The key in the signing certificate is neither RSA, DSA nor EC."))
    elif getattr(key, "key_size", 0) < bits:
        found.append(("signing_key_too_small", f"The key in the signing certificate has less than {bits} bits."))
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        usage = None
    if usage is not None and not usage.digital_signature:
        found.append(("signing_key_usage", "The key usage of the signing certificate does not allow signatures."))
    return found


def chain_warnings(pem: str, roots: list[str]) -> Warnings:
    """A warning when none of the manufacturer roots we know (PEM) has issued the certificate; none known, none given.

    No intermediate stands between the signing certificate and its root.
    """
    certificates = _certificates(pem)
    known = [root for text in roots for root in _certificates(text)]
    if not certificates or not known or any(_issued(certificates[0], root) for root in known):
        return []
    return [("signing_certificate_untrusted", "None of the manufacturer roots known here issued the certificate.")]


def _issued(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def encoding_warnings(signature: str) -> Warnings:
    """What is wrong with a signature as text: it is base64 on one line."""
    if signature != signature.strip() or "\n" in signature or "\r" in signature:
        return [("signature_not_one_line", "The signature is not one line of base64.")]
    return [] if _decoded(signature) else [("signature_unreadable", "The signature is not base64.")]


def file_warnings(pem: str, signature: str, sha256: str) -> Warnings:
    """What is wrong with a signature over the file of this SHA-256 (hexadecimal).

    L01.FR.04 asks for RSA-PSS or ECSchnorr with SHA-256. Manufacturers use PKCS#1 v1.5 and ECDSA as well: a charge
    point of theirs accepts it, another may not.
    """
    scheme = scheme_of(pem, signature, sha256)
    if scheme is None:
        return [("signature_invalid", "The signature is not one of this file by this certificate.")]
    if scheme != PSS:
        return [("signature_scheme", f"The signature is right, and {scheme}; the standard asks for {PSS}.")]
    return []


def scheme_of(pem: str, signature: str, sha256: str) -> str | None:
    """How a signature that is right was made: RSA-PSS, RSA PKCS#1 v1.5 or ECDSA, each with SHA-256; None if wrong."""
    certificates, raw = _certificates(pem), _decoded("".join(signature.split()))
    if not certificates or not raw:
        return None
    try:
        key = certificates[0].public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None
    digest, algorithm = bytes.fromhex(sha256), Prehashed(hashes.SHA256())
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        for scheme, pad in ((PSS, pss), (PKCS1, padding.PKCS1v15())):
            try:
                key.verify(raw, digest, pad, algorithm)
            except InvalidSignature:
                continue
            return scheme
    if isinstance(key, ec.EllipticCurvePublicKey):
        try:
            key.verify(raw, digest, ec.ECDSA(algorithm))
        except InvalidSignature:
            return None
        return ECDSA
    return None


def _certificates(pem: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, UnicodeEncodeError):
        return []


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
