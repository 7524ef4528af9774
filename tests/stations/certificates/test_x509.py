"""X.509 alone: what is read however it is written, what is signed as the whitepaper wants it, hashes as in RFC 6960."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stations.certificates import facts, pem, signing
from stations.certificates.hash_data import hash_data
from tests import x509 as made
from tests.lanes import missing_part

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)
SCHEMES = [("rsa_2048", "pkcs1v15"), ("rsa_2048", "pss"), ("rsa_3072", "pkcs1v15"), ("ec_p256", "ecdsa")]


def request(key: Any, cn: str = "SN-1", **extensions: bool) -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if extensions.get("ca"):
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())


def hierarchy(key_type: str, scheme: str) -> tuple[x509.Certificate, x509.Certificate, signing.PrivateKey]:
    """A root, an intermediate below it, and the intermediate's key."""
    root_key, key = signing.new_key(key_type), signing.new_key(key_type)
    root = signing.make_authority("Root", "Ours", root_key, scheme, NOW)
    return root, signing.make_authority("Sub", "Ours", key, scheme, NOW, issuer=(root, root_key, scheme)), key


@pytest.fixture(scope="module")
def csr() -> x509.CertificateSigningRequest:
    return request(made.new_key())


class TestReading:
    @pytest.mark.parametrize(
        "mangled",
        [
            lambda text: text,
            lambda text: text.replace("\n", "\r\n"),
            lambda text: text.strip(),
            lambda text: text.replace("\n", "\\n"),
            lambda text: text.replace("\n", "\\r\\n"),
            lambda text: text.replace("\n", "\n\n"),
            lambda text: text.replace("\n", ""),
            lambda text: "Certificate Request:\n    Data: text as openssl prints it\n" + text,
            lambda text: text.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        ],
    )
    def test_request_is_read_however_its_lines_end(self, csr: x509.CertificateSigningRequest, mangled: Any) -> None:
        text = pem.written(csr)
        assert pem.signing_request(mangled(text)) == csr
        assert pem.written(pem.signing_request(mangled(text))) == text

    @pytest.mark.parametrize(
        "text",
        ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\n!!!\n-----END CERTIFICATE REQUEST-----",
         "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
         "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"],
    )  # fmt: skip
    def test_what_is_none_is_unreadable_and_says_so(self, text: str) -> None:
        for read in (pem.signing_request, pem.certificates, pem.revocation_list):
            with pytest.raises(pem.Unreadable, match=r"\.$"):
                read(text)


class TestChecking:
    def problem(self, csr: x509.CertificateSigningRequest, expected: set[str], organization: str | None = None) -> str:
        return signing.problem_of(csr, expected, organization)

    @pytest.mark.parametrize("expected", [{"SN-1"}, {"sn-1", "OTHER"}, set()])
    def test_cn_is_one_of_those_expected_in_any_letter_case_or_unchecked(
        self, csr: x509.CertificateSigningRequest, expected: set[str]
    ) -> None:
        assert self.problem(csr, expected) == ""

    def test_other_cn_or_o_is_a_problem(self, csr: x509.CertificateSigningRequest) -> None:
        assert self.problem(csr, {"SN-2"}) == "The CN is 'SN-1', and not the serial number of the charge point."
        assert self.problem(csr, {"SN-1"}, "Ours") == "The O is not 'Ours'."

    @pytest.mark.parametrize(
        ("key", "problem"),
        [
            (rsa.generate_private_key(65537, 1024), "An RSA key has at least 2048 bits."),  # noqa: S505 - on purpose
            (ec.generate_private_key(ec.SECP192R1()), "An elliptic curve has at least 224 bits."),
            (ec.generate_private_key(ec.SECP224R1()), ""),
            (ec.generate_private_key(ec.SECP384R1()), ""),
        ],
    )
    def test_weak_key_is_a_problem(self, key: Any, problem: str) -> None:
        assert self.problem(request(key), {"SN-1"}) == problem

    def test_signature_of_another_key_is_a_problem(self, csr: x509.CertificateSigningRequest) -> None:
        der = bytearray(csr.public_bytes(Encoding.DER))
        der[-1] ^= 1
        broken = x509.load_der_x509_csr(bytes(der))
        assert self.problem(broken, set()) == "The request is not signed with the key that it is for."


class TestSigning:
    @pytest.mark.parametrize(("key_type", "scheme"), SCHEMES)
    def test_leaf_is_what_charge_points_and_openssl_accept(self, key_type: str, scheme: str, tmp_path: Path) -> None:
        root, sub, sub_key = hierarchy(key_type, scheme)
        key = made.new_key("ec")
        leaf = signing.issue(key.public_key(), "SN-1", "Ours", sub, sub_key, scheme, NOW, YEAR)
        assert facts.name_text(leaf.subject) == "CN=SN-1,O=Ours"
        assert leaf.public_key() == key.public_key()
        assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (NOW - timedelta(minutes=10), NOW + YEAR)
        assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
        kinds = {"pkcs1v15": padding.PKCS1v15, "pss": padding.PSS, "ecdsa": ec.ECDSA}
        assert isinstance(leaf.signature_algorithm_parameters, kinds[scheme])
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        with pytest.raises(x509.ExtensionNotFound):
            leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        if shutil.which("openssl") is None:
            missing_part("no openssl on this machine")
        for name, each in (("root", root), ("sub", sub), ("leaf", leaf)):
            (tmp_path / name).write_text(pem.written(each))
        command = [
            "openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(tmp_path / "root"),
            "-untrusted", str(tmp_path / "sub"), str(tmp_path / "leaf"),
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr + result.stdout

    def test_certificate_never_outlives_its_issuer(self) -> None:
        root, sub, sub_key = hierarchy("ec_p256", "ecdsa")
        assert sub.not_valid_after_utc <= root.not_valid_after_utc
        leaf = signing.issue(sub_key.public_key(), "SN", "", sub, sub_key, "ecdsa", NOW, timedelta(days=100_000))
        assert leaf.not_valid_after_utc == sub.not_valid_after_utc

    def test_key_at_rest_is_encrypted_and_comes_back(self, settings: Any) -> None:
        key = signing.new_key("ec_p256")
        stored = signing.encrypted(key)
        assert signing.decrypted(stored).private_numbers() == key.private_numbers()
        old, settings.SECRET_KEY = settings.SECRET_KEY, "another one"
        with pytest.raises(signing.KeyUnavailable, match="secret key of the installation changed"):
            signing.decrypted(stored)
        settings.SECRET_KEY_FALLBACKS = [old]
        assert signing.decrypted(stored).private_numbers() == key.private_numbers()


class TestHashData:
    @pytest.mark.parametrize("kind", ["rsa", "ec"])
    @pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
    def test_hashes_are_those_of_the_whitepaper(self, tmp_path: Path, kind: str, algorithm: str) -> None:
        root = made.make(tmp_path, "Root", ca=True, kind=kind).certificate
        digest = getattr(hashlib, algorithm.lower())
        info = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        # The bit string ends the structure; its value begins after the unused-bits byte.
        key = {"ec": info[-65:], "rsa": info[24:]}[kind]
        assert hash_data(root, algorithm) == {
            "hashAlgorithm": algorithm,
            "issuerNameHash": digest(root.issuer.public_bytes()).hexdigest(),
            "issuerKeyHash": digest(key).hexdigest(),
            "serialNumber": f"{root.serial_number:x}",
        }
