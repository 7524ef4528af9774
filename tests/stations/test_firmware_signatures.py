"""Our own check of firmware signatures: what is found, and that it is words, never a refusal (A00.FR.706)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from stations import firmware_signatures
from tests.stations.signatures import CONTENT, certificate, key_of, sign

NOW = datetime.now(UTC)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def codes(found: list[tuple[str, str]]) -> list[str]:
    return [code for code, _ in found]


@pytest.mark.parametrize(
    ("kind", "scheme", "name"),
    [
        ("rsa", "pss", "RSA-PSS"), ("rsa", "pss-max", "RSA-PSS"), ("rsa", "pkcs1", "RSA PKCS#1 v1.5"),
        ("ec", "ecdsa", "ECDSA"),
    ],
)  # fmt: skip
def test_right_signature_and_how_it_was_made(kind: str, scheme: str, name: str) -> None:
    key = key_of(kind)
    pem, signature = certificate(key), sign(key, scheme=scheme)
    assert firmware_signatures.scheme_of(pem, signature, SHA256) == name
    found = firmware_signatures.file_warnings(pem, signature, SHA256)
    assert codes(found) == ([] if name == "RSA-PSS" else ["signature_scheme"])
    assert all(name in sentence for _, sentence in found)
    assert firmware_signatures.encoding_warnings(signature) == []


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_signature_over_another_file_is_invalid(kind: str) -> None:
    key = key_of(kind)
    other = sign(key, b"other", scheme="pss" if kind == "rsa" else "ecdsa")
    assert codes(firmware_signatures.file_warnings(certificate(key), other, SHA256)) == ["signature_invalid"]


@pytest.mark.parametrize(
    "signature",
    ["", "AAAA", "!!", "ü", sign(key_of("ec"), scheme="ecdsa")],
    ids=["none", "short", "not base64", "not ASCII", "of another key"],
)
def test_signature_that_is_none_is_invalid(signature: str) -> None:
    found = firmware_signatures.file_warnings(certificate(key_of("rsa")), signature, SHA256)
    assert codes(found) == ["signature_invalid"]


@pytest.mark.parametrize("pem", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_certificate_that_is_none(pem: str) -> None:
    assert codes(firmware_signatures.certificate_warnings(pem, NOW)) == ["signing_certificate_unreadable"]
    assert codes(firmware_signatures.file_warnings(pem, "AAAA", SHA256)) == ["signature_invalid"]
    assert firmware_signatures.chain_warnings(pem, [certificate(key_of("rsa"))]) == []


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        ("QUJD", []), ("QUJD\n", ["signature_not_one_line"]), ("QU\r\nJD", ["signature_not_one_line"]),
        ("QUJ", ["signature_unreadable"]), ("not base64", ["signature_unreadable"]), ("", ["signature_unreadable"]),
    ],
)  # fmt: skip
def test_signature_is_base64_on_one_line(signature: str, found: list[str]) -> None:
    assert codes(firmware_signatures.encoding_warnings(signature)) == found


@pytest.mark.parametrize(
    ("pem", "found"),
    [
        (certificate(key_of("rsa")), []),
        (certificate(key_of("ec")), []),
        (certificate(key_of("rsa"), days=(-2, -1)), ["signing_certificate_expired"]),
        (certificate(key_of("rsa"), days=(1, 2)), ["signing_certificate_not_yet_valid"]),
        (certificate(key_of("rsa1024")), ["signing_key_too_small"]),
        (certificate(key_of("ec192")), ["signing_key_too_small"]),
        (certificate(key_of("rsa"), digital_signature=False), ["signing_key_usage"]),
        (certificate(key_of("rsa")) * 2, ["signing_certificate_chain"]),
        (certificate(key_of("rsa")).replace("\n", "\r\n"), []),
    ],
)
def test_certificate_by_itself(pem: str, found: list[str]) -> None:
    assert codes(firmware_signatures.certificate_warnings(pem, NOW)) == found


def test_chain_is_judged_only_against_roots_that_are_known() -> None:
    root = certificate(key_of("rsa"), name="Root", digital_signature=False)
    signed = certificate(key_of("ec"), issuer=key_of("rsa"))
    stranger = certificate(key_of("ec"))
    assert firmware_signatures.chain_warnings(stranger, []) == []
    assert firmware_signatures.chain_warnings(signed, ["nonsense", root]) == []
    assert codes(firmware_signatures.chain_warnings(stranger, [root])) == ["signing_certificate_untrusted"]
