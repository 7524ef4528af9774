"""A server with all three ports, for the cases of the security extension; and the same with a fault in its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csms.certify import charge_point
from csms.certify.options import Options
from tests import x509
from tests.conftest import Csms, LiveTenant
from tests.csms.certify.interposer import Interposer
from tests.csms.test_tls import TlsServer, write_certificates
from tests.csms.test_tls import options as tls_options
from tests.servers import CsmsServer, free_port


def secure_server(
    make: Callable[..., CsmsServer], directory: Path, slug: str, *, kinds: tuple[str, ...] = ("rsa", "ec")
) -> TlsServer:
    """A running server on three ports, whose own certificates have keys of `kinds`."""
    root = x509.make(directory, "Root of the server", ca=True, kind="rsa", file_name="root")
    write_certificates(directory, root)
    tls_port, mtls_port = free_port(), free_port()
    arguments = tls_options(directory, tls_port, mtls_port)[:4]
    for kind in kinds:
        arguments += ["--tls-cert", str(directory / f"{kind}.pem"), "--tls-key", str(directory / f"{kind}.key")]
    server = make(options=[*arguments, "--embedded"])
    server.start()
    csms = Csms(server, LiveTenant(slug, server.create_tenant(slug)["api_key"]))
    return TlsServer(csms, tls_port, mtls_port, root, directory)


@pytest.fixture(scope="module")
def secure(
    _make_csms_server: Callable[..., CsmsServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsServer]:
    server = secure_server(_make_csms_server, tmp_path_factory.mktemp("secure"), "secure")
    yield server
    server.csms.server.close()


def secure_options(server: TlsServer, **changes: Any) -> Options:
    """A run over all three ports, with little patience."""
    slug = server.csms.tenant.slug
    usual = {
        "timeout_seconds": 5.0,
        "settle_seconds": 0.05,
        "sight_seconds": 0.3,
        "ca_file": str(server.root.certificate_path),
        "tls_url": f"wss://localhost:{server.tls_port}/ocpp/{slug}/",
        "mtls_url": f"wss://localhost:{server.mtls_port}/ocpp/{slug}/",
    }
    return Options(f"http://127.0.0.1:{server.csms.server.port}", slug, server.csms.tenant.api_key, **(usual | changes))


def dial_through(interposer: Interposer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a charge point dials, and with whatever it shows in TLS, the interposer dials for it.

    TLS between the two is left out, so that the frames can be altered; TLS with the server is the charge point's own.
    """
    dial = charge_point.connect

    def connect(url: str, **how: Any) -> Any:
        return dial(interposer.stands_for(url, how.pop("ssl", None)), **how)

    monkeypatch.setattr(charge_point, "connect", connect)
