"""What is read off a certificate: names, serial number, fingerprint, strength of its key, whose it may be."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

MIN_RSA_BITS, MIN_EC_BITS = 2048, 224


def facts(certificate: x509.Certificate) -> dict[str, Any]:
    """The columns of models.certificate.CertificateFacts."""
    return {
        "subject": name_text(certificate.subject),
        "issuer": name_text(certificate.issuer),
        "serial_number": serial_text(certificate.serial_number),
        "fingerprint": fingerprint(certificate),
        "key": key_text(certificate.public_key()),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
    }


def name_text(name: x509.Name) -> str:
    """As RFC 4514 writes it, at most 500 characters, without control characters."""
    text = name.rfc4514_string()
    return "".join(character if character.isprintable() else "\ufffd" for character in text)[:500]


def serial_text(number: int) -> str:
    """Hexadecimal without leading zeros."""
    return f"{number:x}"[:64]


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def common_name(name: x509.Name) -> str:
    """The first CN; "" without one."""
    return _first(name, NameOID.COMMON_NAME)


def organization(name: x509.Name) -> str:
    """The first O; "" without one."""
    return _first(name, NameOID.ORGANIZATION_NAME)


def _first(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    value = found[0].value if found else ""
    return value if isinstance(value, str) else ""


def key_text(key: Any) -> str:
    """Such as "RSA 2048" or "EC 256"."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.key_size}"
    return type(key).__name__.replace("PublicKey", "")[:50]


def weakness(key: Any) -> str:
    """What is wrong with a public key for OCPP 1.6, or "". Source: A00.FR.501-503."""
    if isinstance(key, rsa.RSAPublicKey):
        return "" if key.key_size >= MIN_RSA_BITS else f"An RSA key has at least {MIN_RSA_BITS} bits."
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.key_size >= MIN_EC_BITS else f"An elliptic curve has at least {MIN_EC_BITS} bits."
    return "The key is neither RSA nor of an elliptic curve."


def public_key_der(key: Any) -> bytes:
    der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def name_and_key(certificate: x509.Certificate) -> str:
    """The same for two certificates of one authority: its name and its key, not its dates."""
    return hashlib.sha256(
        certificate.subject.public_bytes() + b"\n" + public_key_der(certificate.public_key())
    ).hexdigest()


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` is the one it names, and signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_self_signed(certificate: x509.Certificate) -> bool:
    return issued_by(certificate, certificate)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others (basic constraints)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
