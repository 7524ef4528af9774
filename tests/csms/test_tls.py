"""TLS of `manage.py serve`: real handshakes against the ports of security profiles 2 and 3.

Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.312-326, 416-426.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import x509
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import LOOPBACK, CsmsServer, free_port, wait_until

SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
)


@dataclass(frozen=True)
class TlsServer:
    """A server with its TLS ports, one tenant, and the root that its certificates lead to."""

    csms: Csms
    tls_port: int
    mtls_port: int
    root: x509.Identity
    certificates: Path

    def client(self, **options: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.root.certificate_path))
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def handshake(self, context: ssl.SSLContext, port: int | None = None) -> tuple[str | None, str, Any]:
        """Version, suite and the peer's certificate of one connection. Raises ssl.SSLError, OSError."""
        with socket.create_connection((LOOPBACK, port or self.tls_port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as session:
                session.sendall(b"GET /healthz/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                # With TLS 1.3 a refusal of our certificate comes with the first answer.
                answer = session.recv(12)
                if not answer:
                    raise ConnectionResetError("closed without an answer")
                assert answer == b"HTTP/1.1 200"
                cipher = session.cipher()
                return session.version(), cipher[0] if cipher else "", session.getpeercert()

    def charge_point(self, **members: Any) -> FakeChargePoint:
        """A registered charge point that dials the TLS port."""
        cp = self.csms.charge_point(**members)
        cp.url = cp.url.replace(f"ws://{LOOPBACK}:{self.csms.server.port}", f"wss://localhost:{self.tls_port}")
        cp._connect_options["ssl"] = self.client()
        return cp


def options(directory: Path, tls_port: int, mtls_port: int) -> list[str]:
    found = ["--tls-port", str(tls_port), "--mtls-port", str(mtls_port)]
    for kind in ("rsa", "ec"):
        found += ["--tls-cert", str(directory / f"{kind}.pem"), "--tls-key", str(directory / f"{kind}.key")]
    return found


def write_certificates(directory: Path, root: x509.Identity, common_name: str = "localhost") -> None:
    for kind in ("rsa", "ec"):
        x509.make(directory, common_name, issuer=root, kind=kind, file_name=kind)


@pytest.fixture(scope="module")
def tls(_make_csms_server: Callable[..., CsmsServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    directory = tmp_path_factory.mktemp("certificates")
    root = x509.make(directory, "Root of the server", ca=True, kind="rsa", file_name="root")
    write_certificates(directory, root)
    tls_port, mtls_port = free_port(), free_port()
    server = _make_csms_server(options=options(directory, tls_port, mtls_port))
    server.start()
    csms = Csms(server, LiveTenant("tls", server.create_tenant("tls")["api_key"]))
    yield TlsServer(csms, tls_port, mtls_port, root, directory)
    server.close()


# --- versions and suites ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suite", SUITES)
def test_suite_is_served_with_the_certificate_it_needs(tls: TlsServer, suite: str) -> None:
    context = tls.client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    version, cipher, _ = tls.handshake(context)
    assert (version, cipher) == ("TLSv1.2", suite)


def test_tls_13_is_served(tls: TlsServer) -> None:
    version, cipher, certificate = tls.handshake(tls.client(minimum_version=ssl.TLSVersion.TLSv1_3))
    assert version == "TLSv1.3"
    assert cipher.startswith("TLS_")
    assert certificate["subject"] == ((("commonName", "localhost"),),)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_version_is_refused_and_logged(tls: TlsServer, version: ssl.TLSVersion) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = tls.client(minimum_version=version, maximum_version=version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)alert.protocol.version|unsupported.protocol"):
        tls.handshake(context)
    wait_until(lambda: "TLS handshake failed: tls_version" in tls.csms.server.log(), describe="the refusal in the log")


@pytest.mark.parametrize("suite", ["AES128-SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES128-GCM-SHA256"])
def test_suite_that_is_not_offered_is_refused(tls: TlsServer, suite: str) -> None:
    context = tls.client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{suite}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
        tls.handshake(context)


def test_plain_http_on_the_tls_port_ends_in_a_sentence_of_the_log_not_in_a_hang(tls: TlsServer) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{LOOPBACK}:{tls.tls_port}/healthz/", timeout=10)
    wait_until(lambda: "TLS handshake failed: tls_not_tls" in tls.csms.server.log(), describe="the refusal in the log")


def test_port_with_client_certificates_refuses_a_peer_without(tls: TlsServer) -> None:
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required"):
        tls.handshake(tls.client(), tls.mtls_port)
    wait_until(
        lambda: "TLS handshake failed: tls_no_certificate" in tls.csms.server.log(), describe="the refusal in the log"
    )


def test_peer_that_says_nothing_holds_up_nobody(tls: TlsServer) -> None:
    with socket.create_connection((LOOPBACK, tls.tls_port), timeout=5):
        assert tls.handshake(tls.client())[0] == "TLSv1.3"


# --- charge points ----------------------------------------------------------------------------------------------------
async def test_charge_point_of_profile_2_boots_over_tls_and_the_attempt_says_how(tls: TlsServer) -> None:
    cp = await asyncio.to_thread(lambda: tls.charge_point(security_profile=2))
    async with cp:
        assert (await cp.boot())["status"] == "Accepted"
        connection: Any = cp.connection.transport.get_extra_info("ssl_object")
        found = await asyncio.to_thread(tls.csms.get, f"charge-points/{cp.identity}/connection-attempts/")
    (attempt,) = found["results"]
    assert attempt["accepted"] is True
    assert (attempt["tls_version"], attempt["tls_cipher"]) == (connection.version(), connection.cipher()[0])


async def test_charge_point_of_profile_2_is_refused_without_tls(tls: TlsServer) -> None:
    cp = await asyncio.to_thread(lambda: tls.csms.charge_point(security_profile=2))
    with pytest.raises(ConnectionRefused) as refused:
        await cp.connect()
    assert refused.value.status == 403


async def test_charge_point_of_profile_1_is_refused_over_tls(tls: TlsServer) -> None:
    cp = await asyncio.to_thread(lambda: tls.charge_point(security_profile=1, exact_security_profile=True))
    with pytest.raises(ConnectionRefused) as refused:
        await cp.connect()
    assert refused.value.status == 403


async def test_wrong_password_over_tls_is_401(tls: TlsServer) -> None:
    cp = await asyncio.to_thread(lambda: tls.charge_point(security_profile=2))
    cp.password = "not the password, really"
    with pytest.raises(ConnectionRefused) as refused:
        await cp.connect()
    assert refused.value.status == 401


# --- renewal ----------------------------------------------------------------------------------------------------------
def test_new_certificate_files_are_served_without_a_restart_and_broken_ones_are_not(tls: TlsServer) -> None:
    before = tls.handshake(tls.client())[2]["serialNumber"]
    for kind in ("rsa", "ec"):
        shutil.copy(tls.certificates / f"{kind}.pem", tls.certificates / f"{kind}.pem.kept")
        (tls.certificates / f"{kind}.pem").write_text("half a certificate")
    assert tls.handshake(tls.client())[2]["serialNumber"] == before
    assert "TLS certificates were not reloaded" in tls.csms.server.log()
    write_certificates(tls.certificates, tls.root)
    assert tls.handshake(tls.client())[2]["serialNumber"] != before


# --- starting ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--tls-port", "0"], "--tls-port and --mtls-port need --tls-cert and --tls-key."),
        (["--tls-cert", "a.pem", "--tls-key", "a.key"], "--tls-cert and --tls-key need --tls-port or --mtls-port."),
        (["--tls-port", "0", "--tls-cert", "a.pem"], "--tls-cert and --tls-key are given in pairs."),
        (["--tls-port", "0", "--tls-cert", "no.pem", "--tls-key", "no.key"], "TLS cannot be served"),
    ],
)
def test_start_that_cannot_work_is_refused_with_a_sentence(
    new_csms_server: Callable[..., CsmsServer], given: list[str], sentence: str
) -> None:
    server = new_csms_server(options=given)
    with pytest.raises(AssertionError):
        server.start()
    assert sentence in server.log()
    assert "Traceback" not in server.log()
