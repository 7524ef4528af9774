"""The tool's own keys and certificates: an authority that vouches for charge points, roots to install, firmware signed.

Everything lives in memory for one run, and is worthless after it. Nothing of the product's is used: what the product
makes of certificates is judged here from outside.
Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.501-512, A02, M03-M05, L01.
"""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
DAY = timedelta(days=1)
MIN_RSA_BITS, MIN_EC_BITS = 2048, 224
HASHES = {"SHA256": hashlib.sha256, "SHA384": hashlib.sha384, "SHA512": hashlib.sha512}


def new_key(kind: str = "ec") -> Key:
    """A private key: "ec" (P-256) or "rsa" (2048 bits)."""
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """What a charge point shows in TLS: `chain` is PEM with the leaf first, `key` belongs to the leaf."""

    chain: str
    key: Key = field(repr=False)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Give it to a client's context; OpenSSL reads files only, so it is in one for a moment."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with tempfile.TemporaryDirectory(prefix="certify-") as directory:
            file = os.path.join(directory, "client.pem")
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(self.chain.encode() + pem)
            context.load_cert_chain(file)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, in hexadecimal, as the operator sees it."""
        return fingerprint(x509.load_pem_x509_certificate(self.chain.encode()))


class Authority:
    """A root of the tool's own, with its key."""

    def __init__(self, name: str) -> None:
        self._key = new_key()
        self._certificate = _made(name, self._key, None, ca=True)
        self.pem = _pem(self._certificate)

    def client(self, common_name: str) -> ClientIdentity:
        """A certificate for a TLS client whose subject is CN alone: the certification tool sets no O."""
        key = new_key()
        leaf = _made(common_name, key, (self._certificate, self._key), usage=[ExtendedKeyUsageOID.CLIENT_AUTH])
        return ClientIdentity(_pem(leaf), key)


@dataclass(frozen=True, slots=True)
class FirmwareSigner:
    """A manufacturer: `certificate` (PEM) is its signing certificate."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)

    @property
    def certificate(self) -> str:
        return _pem(_made("Firmware signing", self.key, None))

    def signature(self, content: bytes) -> str:
        """RSA-PSS over SHA-256, in base64 on one line (L01.FR.04)."""
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return base64.b64encode(self.key.sign(content, scheme, hashes.SHA256())).decode()


def root(name: str, kind: str = "ec", *, expired: bool = False) -> x509.Certificate:
    """A root certificate to be installed; its key is forgotten at once."""
    return _made(name, new_key(kind), None, ca=not expired, not_after=datetime.now(UTC) - DAY if expired else None)


def pem_of(certificate: x509.Certificate) -> str:
    """PEM with LF line ends."""
    return _pem(certificate)


def signing_request(key: Key, common_name: str) -> str:
    """PEM of a PKCS#10 request whose subject is CN alone."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def hash_data(certificate: x509.Certificate, algorithm: str) -> dict[str, str]:
    """certificateHashData of a root as RFC 6960 has it, spelled as a charge point may spell it: the two hashes in
    different letters, the serial number with its leading zeros."""
    digest = HASHES[algorithm]
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        bits = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        bits = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        raise TypeError(f"Roots of this tool have RSA or EC keys, not {type(key).__name__}.")
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": digest(certificate.issuer.public_bytes()).hexdigest().upper(),
        "issuerKeyHash": digest(bits).hexdigest(),
        "serialNumber": f"{certificate.serial_number:040x}",
    }


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def key_problem(certificate: x509.Certificate) -> str:
    """What is wrong with the size of a certificate's key, or ""."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "" if key.key_size >= MIN_RSA_BITS else f"an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.key_size >= MIN_EC_BITS else f"an EC key of {key.key_size} bits"
    return "a key that is neither RSA nor EC"


def common_name(certificate: x509.Certificate) -> str:
    """The CN of the subject, or ""."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def chain_problem(chain: str, key: Key, expected_name: str, authorities: list[str]) -> str:
    """What is wrong with the certificateChain that came for a request with `key`, or "".

    The leaf stands first, each certificate is signed by the next and the last by one of `authorities` (PEM), the root
    itself may be there. RSA signatures are PKCS#1 v1.5, for many charge points cannot read RSA-PSS.
    """
    if "\r" in chain or "\\n" in chain:
        return "it has line ends other than LF"
    try:
        found = x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        return "it holds no certificates in PEM"
    known = [x509.load_pem_x509_certificate(pem.encode()) for pem in authorities]
    leaf = found[0]
    if leaf.public_key() != key.public_key():
        return "the first certificate does not have the public key of the request"
    if common_name(leaf).casefold() != expected_name.casefold():
        return f"the CN of the first certificate is {common_name(leaf)!r} instead of {expected_name!r}"
    if problem := key_problem(leaf):
        return f"the certificate has {problem}"
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        return "the certificate is not valid now"
    for certificate, issuer in zip(found, found[1:], strict=False):
        if not _is_signed_by(certificate, issuer):
            return "a certificate of it is not signed by the one that follows"
    if not any(_is_signed_by(found[-1], issuer) for issuer in known):
        return "its last certificate is not signed by the authority"
    for certificate in found:
        if not isinstance(certificate.signature_algorithm_parameters, padding.PKCS1v15 | ec.ECDSA):
            return "a certificate of it is signed neither with RSA PKCS#1 v1.5 nor with ECDSA"
        if not isinstance(certificate.signature_hash_algorithm, hashes.SHA256):
            return "a certificate of it is not signed with SHA-256"
    return ""


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:
        # InvalidSignature, ValueError and TypeError all mean no.
        return False
    return True


def _made(
    common_name: str,
    key: Key,
    issuer: tuple[x509.Certificate, Key] | None,
    *,
    ca: bool = False,
    usage: list[x509.ObjectIdentifier] | None = None,
    not_after: datetime | None = None,
) -> x509.Certificate:
    """A certificate of two days, signed by `issuer` or by itself."""
    now, name = datetime.now(UTC), _name(common_name)
    flags = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * DAY)
        .not_valid_after(not_after or now + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **flags), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return builder.sign(key if issuer is None else issuer[1], hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
