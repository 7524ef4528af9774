"""Making authorities and signing certificates: keys, names, extensions, algorithms.

RSA keys sign with PKCS#1 v1.5 unless an authority is set to PSS: the whitepaper recommends PSS, but many charge points
and the certification tool cannot read it.
Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.501-512; A02.FR.02-09.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from stations.certificates.facts import common_name, organization, weakness
from stations.models.certificate import KeyType, SignatureScheme

# Against a charge point whose clock is behind.
BACKDATED = timedelta(minutes=10)
ROOT_YEARS, INTERMEDIATE_YEARS = 20, 10
# X.520's upper bounds.
MAX_NAME = 64

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
SCHEMES = {
    KeyType.RSA_2048: (SignatureScheme.PKCS1V15, SignatureScheme.PSS),
    KeyType.RSA_3072: (SignatureScheme.PKCS1V15, SignatureScheme.PSS),
    KeyType.EC_P256: (SignatureScheme.ECDSA,),
}


class KeyUnavailable(Exception):
    """A private key that cannot be used; the message is a sentence for people."""


# --- keys at rest -----------------------------------------------------------------------------------------------------
def _cipher() -> MultiFernet:
    secrets = [str(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    digests = [hashlib.sha256(b"certificates\n" + secret.encode()).digest() for secret in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


def encrypted(key: PrivateKey) -> bytes:
    """The key for the database, encrypted under the installation's secret key."""
    return _cipher().encrypt(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def decrypted(stored: bytes | memoryview | None) -> PrivateKey:
    """Raises KeyUnavailable when there is none, or the installation's secret key is another one now."""
    try:
        der = _cipher().decrypt(bytes(stored or b""))
    except InvalidToken:
        raise KeyUnavailable(
            "The private key cannot be decrypted: the secret key of the installation changed."
        ) from None
    # What we encrypted ourselves need not be checked again: that takes longer than to sign.
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise KeyUnavailable("The private key is of a kind that is not used here.")
    return key


def new_key(key_type: str) -> PrivateKey:
    if key_type == KeyType.EC_P256:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 3072 if key_type == KeyType.RSA_3072 else 2048)


# --- signing ----------------------------------------------------------------------------------------------------------
def _signed(builder: x509.CertificateBuilder, key: PrivateKey, scheme: str) -> x509.Certificate:
    options: dict[str, Any] = {}
    if scheme == SignatureScheme.PSS and isinstance(key, rsa.RSAPrivateKey):
        options["rsa_padding"] = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return builder.sign(key, hashes.SHA256(), **options)


def _name(common: str, organization_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common[:MAX_NAME])]
    if organization_name:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization_name[:MAX_NAME]))
    return x509.Name(attributes)


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def make_authority(
    name: str,
    organization_name: str,
    key: PrivateKey,
    scheme: str,
    now: datetime,
    *,
    issuer: tuple[x509.Certificate, PrivateKey, str] | None = None,
) -> x509.Certificate:
    """A root, or an intermediate signed by `issuer` (certificate, key, scheme). Names have at most 64 characters."""
    subject = _name(name, organization_name)
    years = ROOT_YEARS if issuer is None else INTERMEDIATE_YEARS
    not_after = now + timedelta(days=365 * years)
    authority_key = key.public_key() if issuer is None else issuer[1].public_key()
    if issuer is not None:
        not_after = min(not_after, issuer[0].not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if issuer is None else 0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
    )
    return _signed(builder, key if issuer is None else issuer[1], scheme if issuer is None else issuer[2])


def issue(
    public_key: Any,
    serial_number: str,
    organization_name: str,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    scheme: str,
    now: datetime,
    validity: timedelta,
) -> x509.Certificate:
    """A charge point's certificate: CN is its serial number, no name of a host, good for a TLS client alone."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(serial_number, organization_name))
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATED, issuer.not_valid_before_utc))
        .not_valid_after(min(now + validity, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return _signed(builder, issuer_key, scheme)


# --- requests ---------------------------------------------------------------------------------------------------------
def problem_of(request: x509.CertificateSigningRequest, expected: set[str], organization_name: str | None) -> str:
    """Why a charge point's request is not to be signed, as a sentence; "" when it may be.

    `expected`: serial numbers of which the CN must be one, in any letter case; empty: any CN, also none.
    `organization_name`: what O must be; None: anything. Extensions asked for are not looked at: none is ever copied.
    Source: A00.FR.405, 501-503, 511; A02.FR.11, 12.
    """
    try:
        valid = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        valid = False
    if not valid:
        return "The request is not signed with the key that it is for."
    weak = weakness(request.public_key())
    if weak:
        return weak
    cn = common_name(request.subject)
    if expected and cn.casefold() not in {each.casefold() for each in expected}:
        return f"The CN is {cn!r}, and not the serial number of the charge point."[:300]
    if organization_name is not None and organization(request.subject).casefold() != organization_name.casefold():
        return f"The O is not {organization_name!r}."
    return ""
