"""A deployment behind TLS: https and wss, with certificates that are trusted, and that are not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from csms.certify.failure import UsageError
from csms.certify.options import Options
from csms.certify.registry import choose
from csms.certify.results import Outcome
from csms.certify.runner import run
from tests.conftest import Csms


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    file = tmp_path / "localhost.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return file


@pytest.fixture
async def port(csms: Csms, certificate: Path) -> AsyncIterator[int]:
    """A port on which TLS ends, in front of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", csms.server.port)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    front = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    yield front.sockets[0].getsockname()[1]
    front.close()


def options(csms: Csms, port: int, **trust: str | bool) -> Options:
    # The server behind sees no TLS, so the charge point is one of profile 1.
    url = f"https://localhost:{port}"
    return Options(url, csms.tenant.slug, csms.tenant.api_key, security_profile=1, **trust)  # type: ignore[arg-type]


@pytest.mark.parametrize("trusted", [True, False])
async def test_it_speaks_https_and_wss(csms: Csms, port: int, certificate: Path, trusted: bool) -> None:
    given = options(csms, port, ca_file=str(certificate)) if trusted else options(csms, port, insecure=True)
    report = await run(given, choose(["061"]))
    assert [(one.outcome, one.reason) for one in report.cases] == [(Outcome.PASSED, "")]
    assert report.configuration["Charge points connect to"] == f"wss://localhost:{port}/ocpp/{csms.tenant.slug}/"
    assert report.configuration["Server certificate"] == ("verified" if trusted else "not verified")


async def test_an_unknown_certificate_is_not_trusted(csms: Csms, port: int) -> None:
    with pytest.raises(UsageError) as refused:
        await run(options(csms, port), choose(["061"]))
    assert str(refused.value) == f"localhost:{port} cannot be reached: self-signed certificate."
