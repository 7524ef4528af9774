"""The tool's own certificates, and what it finds wrong with a chain."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp

from csms.certify import authority
from csms.certify.authority import Authority, chain_problem, hash_data, new_key, pem_of, root, signing_request
from tests import x509 as made
from tests.stations.signatures import key_of

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize(
    ("name", "algorithm"), [("SHA256", hashes.SHA256()), ("SHA384", hashes.SHA384()), ("SHA512", hashes.SHA512())]
)
def test_hash_data_is_that_of_an_ocsp_request(kind: str, name: str, algorithm: Any) -> None:
    certificate = root("Root", kind)
    expected = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, algorithm).build()
    found = hash_data(certificate, name)
    assert found["hashAlgorithm"] == name
    assert bytes.fromhex(found["issuerNameHash"]) == expected.issuer_name_hash
    assert bytes.fromhex(found["issuerKeyHash"]) == expected.issuer_key_hash
    assert int(found["serialNumber"], 16) == expected.serial_number
    assert len(found["serialNumber"]) == 40


def test_a_request_names_the_serial_number_alone() -> None:
    request = x509.load_pem_x509_csr(signing_request(new_key(), "SN-1").encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=SN-1"
    assert list(request.extensions) == []


def test_a_client_certificate_is_loaded_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = Authority("Some root").client("SN-1")
    client.load_into(ssl.create_default_context())
    assert list(tmp_path.iterdir()) == []
    assert "PRIVATE" not in client.chain + repr(client)


def leaf(issuer: made.Identity, key: made.Key, cn: str = "SN-1", **how: Any) -> str:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + how.pop("since", -HOUR))
        .not_valid_after(now + 2 * HOUR)
    )
    return pem_of(builder.sign(issuer.key, how.pop("algorithm", hashes.SHA256()), **how))


def test_what_is_wrong_with_a_chain(tmp_path: Path) -> None:
    top = made.make(tmp_path, "Root", ca=True, kind="rsa")
    below = made.make(tmp_path, "Below", ca=True, kind="rsa", issuer=top)
    known, key = [top.pem, below.pem], new_key()
    good = leaf(below, key)

    def problem(chain: str, **changes: Any) -> str:
        return chain_problem(chain, changes.get("key", key), "sn-1", changes.get("known", known))

    assert problem(good + below.pem) == ""
    assert problem(good) == ""
    assert problem(good + below.pem + top.pem) == ""
    assert problem(good.replace("\n", "\r\n")) == "it has line ends other than LF"
    assert problem("no certificate") == "it holds no certificates in PEM"
    assert problem(below.pem + good) == "the first certificate does not have the public key of the request"
    assert problem(good, key=new_key()) == "the first certificate does not have the public key of the request"
    assert problem(good + top.pem) == "a certificate of it is not signed by the one that follows"
    assert problem(good, known=[top.pem]) == "its last certificate is not signed by the authority"
    assert problem(leaf(below, key, "SN-2")) == "the CN of the first certificate is 'SN-2' instead of 'sn-1'"
    assert problem(leaf(below, key, since=HOUR)) == "the certificate is not valid now"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    assert problem(leaf(below, key, rsa_padding=pss)).startswith("a certificate of it is signed neither with RSA PKCS")
    assert problem(leaf(below, key, algorithm=hashes.SHA384())) == "a certificate of it is not signed with SHA-256"
    small = key_of("rsa1024")
    assert problem(leaf(below, small), key=small) == "the certificate has an RSA key of 1024 bits"


def test_firmware_is_signed_as_charge_points_check_it() -> None:
    signer = authority.FirmwareSigner()
    certificate = x509.load_pem_x509_certificate(signer.certificate.encode())
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    public_key.verify(base64.b64decode(signer.signature(b"image")), b"image", scheme, hashes.SHA256())
