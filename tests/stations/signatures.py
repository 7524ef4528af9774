"""Firmware signing certificates and signatures, as manufacturers make them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
CONTENT = b"firmware" * 1000


@cache
def key_of(kind: str) -> Any:
    """A key: rsa, ec, or one too small (rsa1024, ec192)."""
    if kind.startswith("ec"):
        return ec.generate_private_key(ec.SECP192R1() if kind == "ec192" else ec.SECP256R1())
    return rsa.generate_private_key(65537, 1024 if kind == "rsa1024" else 2048)


def certificate(
    key: Any,
    *,
    issuer: Any = None,
    days: tuple[int, int] = (-1, 1),
    digital_signature: bool = True,
    name: str = "Signer",
) -> str:
    """PEM of a signing certificate for `key`, signed by `issuer` (a key) or by itself; valid from and to in `days`."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = subject if issuer is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    usages = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    usage = x509.KeyUsage(digital_signature=digital_signature, key_cert_sign=not digital_signature, **usages)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(usage, critical=True)
        .sign(issuer or key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def sign(key: Any, content: bytes = CONTENT, *, scheme: str = "pss") -> str:
    """A signature over `content` with SHA-256, in base64: pss (salt as long as the hash), pss-max, pkcs1 or ecdsa."""
    if scheme == "ecdsa":
        raw = key.sign(content, ec.ECDSA(hashes.SHA256()))
    elif scheme == "pkcs1":
        raw = key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    else:
        salt = padding.PSS.MAX_LENGTH if scheme == "pss-max" else padding.PSS.DIGEST_LENGTH
        raw = key.sign(content, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
    return base64.b64encode(raw).decode()
