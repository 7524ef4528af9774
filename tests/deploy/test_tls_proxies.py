"""deploy/nginx.conf and deploy/haproxy.cfg before a live server: TLS ends there, the product judges as at its own port.

The files are taken as they are; only ports, paths and addresses are put in.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import x509
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.lanes import missing_part
from tests.servers import LOOPBACK, REPOSITORY, CsmsServer, Program, free_port, wait_until

SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)


@dataclass(frozen=True)
class Front:
    """A proxy before a server: its ports for passwords and for client certificates, and the roots of both sides."""

    csms: Csms
    port: int
    mtls_port: int
    server_root: x509.Identity
    client_root: x509.Identity
    directory: Path

    def context(self, client: x509.Identity | None = None, **options: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.server_root.certificate_path))
        if client is not None:
            context.load_cert_chain(client.certificate_path, client.key_path)
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def charge_point(self, client: x509.Identity | None = None, **members: Any) -> FakeChargePoint:
        """A registered charge point that dials the proxy: with a password, or with the certificate."""
        cp = self.csms.charge_point(**members)
        port = self.port if client is None else self.mtls_port
        cp.url = cp.url.replace(f"ws://{LOOPBACK}:{self.csms.server.port}", f"wss://localhost:{port}")
        cp._connect_options["ssl"] = self.context(client)
        if client is not None:
            cp.password = None
        return cp

    def client(self, common_name: str, **options: Any) -> x509.Identity:
        return x509.make(self.directory, common_name, issuer=options.pop("issuer", self.client_root), **options)

    def attempts(self, cp: FakeChargePoint) -> list[dict[str, Any]]:
        found = self.csms.get(f"charge-points/{cp.identity}/connection-attempts/")["results"]
        return [dict(row) for row in found]


def nginx(directory: Path, ports: tuple[int, int], backend: int) -> list[str]:
    text = (REPOSITORY / "deploy/nginx.conf").read_text()
    text = text.replace("/etc/csms", str(directory)).replace("127.0.0.1:8000", f"{LOOPBACK}:{backend}")
    text = text.replace("listen 443 ssl", f"listen {LOOPBACK}:{ports[0]} ssl")
    text = text.replace("listen 8444 ssl", f"listen {LOOPBACK}:{ports[1]} ssl")
    # Run by whoever runs the tests, in a folder of theirs.
    folders = "".join(
        f"    {name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{folders}")
    user = "user root;\n" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(f"{user}daemon off;\npid {directory}/nginx.pid;\n{text}")
    return ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]


def haproxy(directory: Path, ports: tuple[int, int], backend: int) -> list[str]:
    text = (REPOSITORY / "deploy/haproxy.cfg").read_text()
    text = text.replace("/etc/csms", str(directory)).replace("127.0.0.1:8000", f"{LOOPBACK}:{backend}")
    text = text.replace("bind :443 ", f"bind {LOOPBACK}:{ports[0]} ").replace(
        "bind :8444 ", f"bind {LOOPBACK}:{ports[1]} "
    )
    text = re.sub(r"maxconn \d+", "maxconn 200", text)
    (directory / "haproxy.cfg").write_text(text)
    return ["haproxy", "-W", "-f", str(directory / "haproxy.cfg")]


@pytest.fixture(scope="module", params=[nginx, haproxy], ids=lambda proxy: proxy.__name__)
def front(
    request: pytest.FixtureRequest,
    _make_csms_server: Callable[..., CsmsServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    name = request.param.__name__
    if shutil.which(name) is None:
        missing_part(f"{name} is not installed")
    directory = tmp_path_factory.mktemp(name)
    server_root = x509.make(directory, "Root of the server", ca=True, kind="rsa", file_name="server-root")
    client_root = x509.make(directory, "Root of the clients", ca=True, file_name="client-root")
    (directory / "tls").mkdir()
    for kind, file_name in (("rsa", "rsa"), ("ec", "ecdsa")):
        made = x509.make(directory, "localhost", issuer=server_root, kind=kind, file_name=file_name)
        pair = made.certificate_path.read_bytes() + made.key_path.read_bytes()
        (directory / "tls" / f"server.pem.{file_name}").write_bytes(pair)
    shutil.copy(client_root.certificate_path, directory / "roots.pem")
    server = _make_csms_server(env={"CSMS_TRUSTED_PROXIES": LOOPBACK})
    server.start()
    ports = (free_port(), free_port())
    program = Program(directory / f"{name}.log")
    program.launch(request.param(directory, ports, server.port))
    csms = Csms(server, LiveTenant("proxied", server.create_tenant("proxied")["api_key"]))
    csms.post("certificate-authorities/", {"name": "Clients", "kind": "trusted", "certificate": client_root.pem})
    front = Front(csms, *ports, server_root, client_root, directory)

    def answers() -> bool:
        try:
            return httpx.get(f"https://localhost:{ports[0]}/healthz/", verify=front.context()).is_success
        except httpx.TransportError:
            return False

    wait_until(answers, describe=f"{name} to pass a request on: {program.log()}")
    yield front
    program.end(15)
    server.close()


async def refused(cp: FakeChargePoint) -> int:
    with pytest.raises(ConnectionRefused) as refusal:
        await cp.connect()
    return refusal.value.status


@pytest.mark.parametrize("suite", SUITES)
def test_required_suite_is_served(front: Front, suite: str) -> None:
    context = front.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    assert httpx.get(f"https://localhost:{front.port}/healthz/", verify=context).json()["status"] == "ok"


def test_tls_11_is_refused(front: Front) -> None:
    context = front.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://localhost:{front.port}/healthz/", verify=context)


async def test_charge_point_with_a_password_is_seen_as_profile_2_with_its_tls(front: Front) -> None:
    cp = await asyncio.to_thread(lambda: front.charge_point(security_profile=2))
    async with cp:
        assert (await cp.boot())["status"] == "Accepted"
    (attempt,) = await asyncio.to_thread(front.attempts, cp)
    assert (attempt["accepted"], attempt["security_profile"], attempt["tls_version"]) == (True, 2, "TLSv1.3")
    assert attempt["tls_cipher"].startswith("TLS_")


async def test_charge_point_with_a_certificate_is_seen_as_profile_3(front: Front) -> None:
    client = front.client("SN-1")
    cp = await asyncio.to_thread(lambda: front.charge_point(client, security_profile=3, serial_number="SN-1"))
    async with cp:
        assert (await cp.boot())["status"] == "Accepted"
    (attempt,) = await asyncio.to_thread(front.attempts, cp)
    assert (attempt["accepted"], attempt["security_profile"]) == (True, 3)
    assert "CN=SN-1" in attempt["client_certificate"]


@pytest.mark.parametrize("case", ["of_another", "untrusted", "expired"])
async def test_certificate_that_is_not_good_is_refused_with_its_reason(front: Front, case: str) -> None:
    serial = f"SN-{case}"
    if case == "of_another":
        client = front.client("SN-somebody-else")
    elif case == "untrusted":
        other = x509.make(front.directory, "Root of nobody", ca=True, file_name="other-root")
        client = front.client(serial, issuer=other)
    else:
        start = front.client_root.certificate.not_valid_before_utc
        client = front.client(serial, valid_from=start - 2 * x509.DAY, valid_to=start)
    cp = await asyncio.to_thread(lambda: front.charge_point(client, security_profile=3, serial_number=serial))
    assert await refused(cp) == 403
    (attempt,) = await asyncio.to_thread(front.attempts, cp)
    assert attempt["reason"] == f"certificate_{case}"
    assert attempt["remedy"]


async def test_certificate_in_a_header_of_the_client_is_not_passed_on(front: Front) -> None:
    client = front.client("SN-spoofed")
    cp = await asyncio.to_thread(lambda: front.charge_point(security_profile=3, serial_number="SN-spoofed"))
    der = client.certificate.public_bytes(Encoding.DER)
    cp.password = None
    cp.headers = {"X-Client-Certificate": ssl.DER_cert_to_PEM_cert(der).replace("\n", "%0A").replace(" ", "%20")}
    assert await refused(cp) == 401
    (attempt,) = await asyncio.to_thread(front.attempts, cp)
    assert attempt["client_certificate"] == ""


async def test_headers_of_a_peer_that_is_no_trusted_proxy_mean_nothing(csms: Csms, tmp_path: Path) -> None:
    root = x509.make(tmp_path, "Root", ca=True)
    client = x509.make(tmp_path, "SN-direct", issuer=root)
    csms.post("certificate-authorities/", {"name": "Direct", "kind": "trusted", "certificate": root.pem})
    cp = csms.charge_point(security_profile=3, serial_number="SN-direct")
    cp.password = None
    cp.headers = {
        "X-Client-Certificate": client.pem.replace("\n", "%0A").replace(" ", "%20"),
        "X-Forwarded-Proto": "https",
        "X-TLS-Version": "TLSv1.3",
    }
    assert await refused(cp) == 401
    found = await asyncio.to_thread(csms.get, f"charge-points/{cp.identity}/connection-attempts/")
    (attempt,) = found["results"]
    assert (attempt["client_certificate"], attempt["tls_version"], attempt["security_profile"]) == ("", "", 0)
