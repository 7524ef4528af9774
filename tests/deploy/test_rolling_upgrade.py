"""One of two servers behind deploy/haproxy.cfg is stopped while charge points keep dialling: nobody is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests import x509
from tests.conftest import Csms, LiveTenant
from tests.deploy.test_tls_proxies import haproxy
from tests.fake_charge_point import FakeChargePoint
from tests.lanes import missing_part
from tests.servers import LOOPBACK, CsmsServer, Program, free_port

pytestmark = pytest.mark.redis


class Balanced:
    """Two servers on one database behind HAProxy, and charge points that dial the proxy."""

    def __init__(self, first: CsmsServer, directory: Path) -> None:
        self.csms = Csms(first, LiveTenant("rolling", first.create_tenant("rolling")["api_key"]))
        root = x509.make(directory, "Root", ca=True, kind="rsa", file_name="root")
        made = x509.make(directory, "localhost", issuer=root, kind="rsa", file_name="rsa")
        (directory / "tls").mkdir()
        pair = made.certificate_path.read_bytes() + made.key_path.read_bytes()
        (directory / "tls" / "server.pem.rsa").write_bytes(pair)
        shutil.copy(root.certificate_path, directory / "roots.pem")
        self.context = ssl.create_default_context(cafile=str(root.certificate_path))
        self.port = free_port()
        second = first.sibling(env={"CSMS_TRUSTED_PROXIES": LOOPBACK})
        addresses = {"SERVER_ONE": f"{LOOPBACK}:{first.port}", "SERVER_TWO": f"{LOOPBACK}:{second.port}"}
        self.proxy = Program(directory / "haproxy.log")
        self.proxy.launch(haproxy(directory, (self.port, free_port()), first.port), {**os.environ, **addresses})
        self.proxy.wait_ready(self._answers, timeout_seconds=20, describe="HAProxy")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"https://localhost:{self.port}/healthz/", verify=self.context).is_success
        except httpx.TransportError:
            return False

    def charge_point(self) -> FakeChargePoint:
        cp = self.csms.charge_point(security_profile=2)
        cp.url = cp.url.replace(f"ws://{LOOPBACK}:{self.csms.server.port}", f"wss://localhost:{self.port}")
        cp._connect_options["ssl"] = self.context
        return cp


async def test_nobody_is_refused_while_one_server_stops(
    new_csms_server: Callable[..., CsmsServer], tmp_path: Path
) -> None:
    if shutil.which("haproxy") is None:
        missing_part("haproxy is not installed")
    env = {"CSMS_TRUSTED_PROXIES": LOOPBACK, "CSMS_READINESS_GRACE_SECONDS": "4"}
    first = await asyncio.to_thread(lambda: new_csms_server(env=env).start())
    balanced = await asyncio.to_thread(Balanced, first, tmp_path)
    try:
        charging, dialling = await asyncio.to_thread(
            lambda: ([balanced.charge_point() for _ in range(4)], balanced.charge_point())
        )
        async with contextlib.AsyncExitStack() as stack:
            for cp in charging:
                await stack.enter_async_context(cp)
                assert (await cp.boot())["status"] == "Accepted"
            process = first._program.process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:
                # Raises ConnectionRefused when it is not let in.
                async with dialling:
                    await dialling.boot()
            assert process.returncode == 0
            # Taken in turns: half of them were at the server that stopped.
            lost = [cp for cp in charging if cp.closed is not None]
            assert [cp.closed.code for cp in lost if cp.closed] == [1012, 1012]
            for cp in lost:
                await cp.connect()
                assert "currentTime" in await cp.heartbeat()
            for cp in charging:
                assert "currentTime" in await cp.heartbeat()
    finally:
        balanced.proxy.end(signal.SIGTERM, grace_seconds=10)
