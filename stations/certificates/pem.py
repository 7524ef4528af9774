"""PEM as it is handed in: CRLF, literal \\n, blank lines, no line ends at all. Written with LF."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

MAX_CERTIFICATES = 10
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_REQUEST_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")


class Unreadable(ValueError):
    """A text that is not what it should be; the message is a sentence for people."""


def with_plain_line_ends(text: str) -> str:
    """`text` with LF only, also where line ends were escaped, and one at its end."""
    plain = text.replace("\\r", "").replace("\\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return f"{plain.strip()}\n"


def _blocks(text: str, labels: tuple[str, ...]) -> list[bytes]:
    """The DER of every block with one of these labels, in their order. Raises Unreadable."""
    found = []
    for match in _BLOCK.finditer(with_plain_line_ends(text)):
        if match[1] not in labels:
            continue
        try:
            found.append(base64.b64decode("".join(match[2].split()), validate=True))
        except (binascii.Error, ValueError):
            raise Unreadable("The PEM is not base64 between its first and last line.") from None
    return found


def certificates(text: str) -> list[x509.Certificate]:
    """Every certificate in a PEM text, in its order, one at least. Raises Unreadable."""
    blocks = _blocks(text, _CERTIFICATE_LABELS)
    if not blocks:
        raise Unreadable("There is no PEM certificate (-----BEGIN CERTIFICATE-----).")
    if len(blocks) > MAX_CERTIFICATES:
        raise Unreadable(f"There are more than {MAX_CERTIFICATES} certificates.")
    return [certificate(block) for block in blocks]


def certificate(der: bytes) -> x509.Certificate:
    """Raises Unreadable, also when the name, the dates or the key cannot be made sense of."""
    try:
        loaded = x509.load_der_x509_certificate(der)
        # Read lazily by the library: what is broken must show here.
        _ = (loaded.subject, loaded.issuer, loaded.serial_number, loaded.not_valid_after_utc, loaded.extensions)
        loaded.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise Unreadable("The certificate is not X.509 that can be read.") from error
    return loaded


def signing_request(text: str) -> x509.CertificateSigningRequest:
    """The PKCS#10 request in a PEM text. Raises Unreadable."""
    blocks = _blocks(text, _REQUEST_LABELS)
    if len(blocks) != 1:
        raise Unreadable("There is not exactly one PEM request (-----BEGIN CERTIFICATE REQUEST-----).")
    try:
        loaded = x509.load_der_x509_csr(blocks[0])
        _ = loaded.subject
        loaded.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unreadable("The request is not PKCS#10 that can be read.") from error
    return loaded


def revocation_list(text: str) -> x509.CertificateRevocationList:
    """The revocation list in a PEM text. Raises Unreadable."""
    blocks = _blocks(text, ("X509 CRL",))
    if len(blocks) != 1:
        raise Unreadable("There is not exactly one PEM revocation list (-----BEGIN X509 CRL-----).")
    try:
        loaded = x509.load_der_x509_crl(blocks[0])
        _ = (loaded.issuer, loaded.last_update_utc, loaded.next_update_utc)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unreadable("The revocation list cannot be read.") from error
    return loaded


def written(*loaded: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """PEM, one block after the other, LF, a final newline."""
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in loaded)
