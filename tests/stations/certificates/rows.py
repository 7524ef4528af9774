"""Authorities, requests and certificates for tests, inside an open tenant scope."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from ocpp.v16 import call

from stations.certificates import authorities, issuing, pem, signing
from stations.models import Certificate, CertificateAuthority, CertificateRequest, ChargePoint
from stations.ocpp.security import certificates
from tenants.scope import tenant_scope
from tests import x509 as made

# Certificates are looked at by the clock of the machine.
NOW = datetime.now(UTC).replace(microsecond=0)


def authority(name: str = "Depot", **members: Any) -> CertificateAuthority:
    """One of ours, that signs what is asked for."""
    defaults = {"key_type": "ec_p256", "signs_requests": True}
    return authorities.create_issuing(name, "ada", NOW, **defaults | members)


def csr_text(key: Any, cn: str = "CP-1", **extra: str) -> str:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, cn)]
    if "organization" in extra:
        names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, extra["organization"]))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    authority_extension = x509.BasicConstraints(ca=True, path_length=None)
    csr = builder.add_extension(authority_extension, critical=True).sign(key, hashes.SHA256())
    return str(csr.public_bytes(Encoding.PEM).decode())


def ask(charge_point: ChargePoint, text: str | None = None, now: datetime = NOW) -> str:
    """SignCertificate; the status of its answer."""
    req = call.SignCertificate(csr=text or csr_text(made.new_key(), charge_point.identity))
    return certificates.sign_certificate(charge_point, req, now).status.value


def issued(charge_point: ChargePoint, now: datetime = NOW) -> Certificate:
    """What comes of a request that is signed."""
    assert ask(charge_point, now=now) == "Accepted"
    certificate = issuing.issue(CertificateRequest.objects.latest("id").pk, now)
    assert certificate is not None
    return certificate


def presented_chain(certificate: Certificate) -> list[bytes]:
    """As OpenSSL hands it over: DER, leaf first, root last."""
    texts = [certificate.chain]
    with tenant_scope(certificate.tenant_id):
        above = certificate.authority
        while above is not None and above.parent is not None:
            above = above.parent
    texts.append(above.certificate if above is not None else "")
    return [each.public_bytes(Encoding.DER) for text in texts for each in pem.certificates(text)]


def leaf_below(root: made.Identity, cn: str, organization: str = "") -> bytes:
    """DER of a client certificate that nobody here knows, signed by `root`."""
    key = made.new_key()
    leaf = signing.issue(
        key.public_key(), cn, organization, root.certificate, root.key, "ecdsa", NOW, timedelta(hours=1)
    )
    return leaf.public_bytes(Encoding.DER)
