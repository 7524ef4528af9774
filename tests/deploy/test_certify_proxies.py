"""`manage.py certify` through deploy/nginx.conf and deploy/haproxy.cfg as they are, over TLS and client certificates.

The suite plays the cases of the security extension and one of Core; `make certify-proxies` plays all 77, natively and
through both proxies, and shows the lines.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from csms.certify.registry import CASES, Row
from tests import x509
from tests.deploy.test_tls_proxies import haproxy, nginx
from tests.lanes import missing_part
from tests.servers import LOOPBACK, REPOSITORY, CsmsServer, Program, free_port, wait_until

pytestmark = pytest.mark.sqlite

ALL = bool(os.environ.get("CSMS_TEST_CERTIFY_ALL"))
CHOSEN = [case.id for case in CASES if ALL or case.row == Row.SECURITY_EXTENSION or case.id == "TC_001_CSMS"]
FRONTS = {"nginx": nginx, "haproxy": haproxy}
RUN_SECONDS = 600


@dataclass(frozen=True)
class Front:
    """A deployment: where its two TLS ports are, and the root that its certificates lead to."""

    name: str
    server: CsmsServer
    key: str
    port: int
    mtls_port: int
    root: x509.Identity


@pytest.fixture(params=["natively", *FRONTS] if ALL else [*FRONTS])
def front(
    request: pytest.FixtureRequest, new_csms_server: Callable[..., CsmsServer], tmp_path: Path
) -> Iterator[Front]:
    name = str(request.param)
    if name in FRONTS and shutil.which(name) is None:
        missing_part(f"{name} is not installed")
    root = x509.make(tmp_path, "Root of the server", ca=True, kind="rsa", file_name="server-root")
    (tmp_path / "tls").mkdir()
    ports = (free_port(), free_port())
    options = ["--embedded"]
    for kind, file_name in (("rsa", "rsa"), ("ec", "ecdsa")):
        made = x509.make(tmp_path, "localhost", issuer=root, kind=kind, file_name=file_name)
        pair = made.certificate_path.read_bytes() + made.key_path.read_bytes()
        (tmp_path / "tls" / f"server.pem.{file_name}").write_bytes(pair)
        if name not in FRONTS:
            options += ["--tls-cert", str(made.certificate_path), "--tls-key", str(made.key_path)]
    if name not in FRONTS:
        options += ["--tls-port", str(ports[0]), "--mtls-port", str(ports[1])]
    # Whom the proxies name to clients as authorities that they know; what counts is what the tenant trusts.
    shutil.copy(root.certificate_path, tmp_path / "roots.pem")
    server = new_csms_server(options=options, env={"CSMS_TRUSTED_PROXIES": LOOPBACK} if name in FRONTS else {})
    server.start()
    proxy = Program(tmp_path / "proxy.log")
    if name in FRONTS:
        proxy.launch(FRONTS[name](tmp_path, ports, server.port))
    yield Front(name, server, server.create_tenant("certified")["api_key"], *ports, root)
    if name in FRONTS:
        proxy.end(15)


def test_every_chosen_case_passes(front: Front, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    context = ssl.create_default_context(cafile=str(front.root.certificate_path))

    def answers() -> bool:
        try:
            return httpx.get(f"https://localhost:{front.port}/healthz/", verify=context).is_success
        except httpx.TransportError:
            return False

    wait_until(answers, describe=f"{front.name} to pass a request on")
    report = tmp_path / "report.json"
    arguments = [
        "--url", front.server.http_url, "--tenant", "certified", "--ca", str(front.root.certificate_path),
        "--tls-url", f"wss://localhost:{front.port}/ocpp/certified/",
        "--mtls-url", f"wss://localhost:{front.mtls_port}/ocpp/certified/",
        "--only", ",".join(CHOSEN), "--report", str(report),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "certify", *arguments],
        cwd=REPOSITORY, env=front.server.env | {"CSMS_CERTIFY_API_KEY": front.key},
        capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    if ALL:
        with capfd.disabled():
            sys.stdout.write(f"\n--- {front.name}\n{done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {case["id"]: case["outcome"] for case in json.loads(report.read_text())["cases"]}
    assert found == dict.fromkeys(CHOSEN, "passed")
