"""TLS of `manage.py serve` as the openssl program sees it: another client than the one that the product is built on.

Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.312-326, 403-408, 416-426.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateRevocationListBuilder, RevokedCertificateBuilder

from stations.handshake import REFUSALS
from stations.security_events import KINDS
from tests import x509
from tests.conftest import Csms, LiveTenant
from tests.csms.test_tls import SUITES, TlsServer, options, write_certificates
from tests.fake_charge_point import FakeChargePoint
from tests.lanes import missing_part
from tests.servers import LOOPBACK, CsmsServer, free_port, wait_until
from tests.stations.upgrade import own_address

UPGRADE = (
    "GET /ocpp/{tenant}/{identity} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


LIVE = "GET /healthz/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
GRANTED = "HTTP/1.1 101 Switching Protocols"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Openssl:
    """`openssl s_client` against a server with both TLS ports.

    `root` issues what the tenant trusts, `other_root` what another tenant trusts.
    """

    tls: TlsServer
    root: x509.Identity
    other_root: x509.Identity

    def dial(self, port: int, *arguments: str, send: str = "", address: str = LOOPBACK) -> str:
        """Everything s_client says, and what it was answered; an upgrade that is granted is not made use of."""
        command = [
            "openssl", "s_client", "-connect", f"{LOOPBACK}:{port}", "-bind", f"{address}:0",
            "-servername", "localhost", "-verify_hostname", "localhost",
            "-CAfile", str(self.tls.root.certificate_path), *arguments,
        ]  # fmt: skip
        # An answer ends the connection; without a request the end of stdin does.
        if send:
            command += ["-ign_eof"]
        said = []
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
            timer.start()
            with suppress(BrokenPipeError):
                process.stdin.write(send)
                process.stdin.close()
            for line in process.stdout:
                said.append(line)
                if GRANTED in line:
                    process.kill()
            timer.cancel()
        return "".join(said)

    def shown(self, client: x509.Identity) -> tuple[str, ...]:
        return ("-cert", str(client.certificate_path), "-key", str(client.key_path))

    def client(self, serial_number: str, **how: Any) -> x509.Identity:
        return x509.make(self.tls.certificates, serial_number, issuer=how.pop("issuer", self.root), **how)

    def upgrade(self, cp: FakeChargePoint, address: str, client: x509.Identity | None) -> str:
        """The answer to a handshake of `cp` on the port for client certificates."""
        send = UPGRADE.format(tenant=self.tls.csms.tenant.slug, identity=cp.identity)
        shown = () if client is None else self.shown(client)
        return self.dial(self.tls.mtls_port, *shown, send=send, address=address)

    def revoke(self, client: x509.Identity) -> None:
        """Import a revocation list of the root that has `client` on it."""
        now = datetime.now(UTC)
        entry = RevokedCertificateBuilder().serial_number(client.certificate.serial_number).revocation_date(now).build()
        crl = (
            CertificateRevocationListBuilder()
            .issuer_name(self.root.certificate.subject)
            .last_update(now)
            .next_update(now + x509.DAY)
            .add_revoked_certificate(entry)
            .sign(self.root.key, SHA256())
        )
        (authority,) = self.tls.csms.get("certificate-authorities/")["results"]
        text = crl.public_bytes(Encoding.PEM).decode()
        self.tls.csms.post(f"certificate-authorities/{authority['id']}/crl/", {"crl": text})

    def events_of(self, cp: FakeChargePoint) -> list[dict[str, Any]]:
        """What the product itself noticed of `cp`."""
        found = self.tls.csms.get("security-events/", charge_point=cp.identity, source="csms")["results"]
        return [dict(row) for row in found]


@pytest.fixture(scope="module")
def openssl(
    _make_csms_server: Callable[..., CsmsServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Openssl]:
    if shutil.which("openssl") is None:
        missing_part("openssl is not installed")
    directory = tmp_path_factory.mktemp("openssl")
    server_root = x509.make(directory, "Root of the server", ca=True, kind="rsa", file_name="root")
    write_certificates(directory, server_root)
    ports = (free_port(), free_port())
    server = _make_csms_server(options=options(directory, *ports))
    server.start()
    tenants = [LiveTenant(slug, server.create_tenant(slug)["api_key"]) for slug in ("openssl", "openssl-other")]
    roots = [x509.make(directory, f"Root of {tenant.slug}", ca=True, file_name=tenant.slug) for tenant in tenants]
    for tenant, root in zip(tenants, roots, strict=True):
        Csms(server, tenant).post(
            "certificate-authorities/", {"name": "Clients", "kind": "trusted", "certificate": root.pem}
        )
    found = Openssl(TlsServer(Csms(server, tenants[0]), *ports, server_root, directory), *roots)
    # Roots count for the handshakes of TLS a moment later. Any HTTP answer will do: it comes after the handshake.
    for number, root in enumerate(roots):
        shown = found.shown(found.client(f"SN-FIRST-{number}", issuer=root))
        wait_until(
            lambda shown=shown: "HTTP/1.1 200" in found.dial(ports[1], *shown, send=LIVE),  # type: ignore[misc]
            describe="the roots",
        )
    yield found
    server.close()


# --- versions and suites ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suite", SUITES)
def test_suite_is_served_over_tls_12_with_the_key_it_needs_and_without_compression(
    openssl: Openssl, suite: str
) -> None:
    said = openssl.dial(openssl.tls.tls_port, "-tls1_2", "-cipher", suite)
    assert f"New, TLSv1.2, Cipher is {suite}" in said
    assert "Verify return code: 0 (ok)" in said
    assert "Server public key is 256 bit" if "ECDSA" in suite else "Server public key is 2048 bit" in said
    # Asked for by the client, and still not done.
    assert "Compression: NONE" in openssl.dial(openssl.tls.tls_port, "-tls1_2", "-cipher", suite, "-comp")


def test_tls_13_is_served(openssl: Openssl) -> None:
    said = openssl.dial(openssl.tls.tls_port, "-tls1_3")
    assert re.search(r"New, TLSv1\.3, Cipher is TLS_AES_\d+_GCM_SHA\d+", said)
    assert "Verify return code: 0 (ok)" in said
    assert "Compression: NONE" in said


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_version_is_refused_with_the_alert_and_said_to_whom_it_concerns(openssl: Openssl, version: str) -> None:
    # Below security level 1 the client does offer these versions.
    offered = openssl.dial(openssl.tls.tls_port, version, "-cipher", "DEFAULT@SECLEVEL=0", "-msg")
    assert ">>> TLS 1.0, Handshake [length" in offered or ">>> TLS 1.1, Handshake [length" in offered
    assert "tlsv1 alert protocol version" in offered
    assert "Cipher is (NONE)" in offered
    wait_until(
        lambda: (
            f"TLS handshake failed: tls_version (unsupported protocol), from {LOOPBACK}"
            in openssl.tls.csms.server.log()
        ),
        describe="the refusal in the log",
    )


@pytest.mark.parametrize("suite", ["AES128-SHA", "ECDHE-RSA-CHACHA20-POLY1305", "NULL-SHA256"])
def test_suite_that_is_not_ours_is_refused_with_the_alert(openssl: Openssl, suite: str) -> None:
    said = openssl.dial(openssl.tls.tls_port, "-tls1_2", "-cipher", f"{suite}@SECLEVEL=0")
    assert "alert handshake failure" in said


# --- client certificates: refused in TLS ------------------------------------------------------------------------------
def known_here(openssl: Openssl, serial_number: str, address: str) -> FakeChargePoint:
    """A charge point of profile 3 that was let in from `address` with a good certificate."""
    cp = openssl.tls.csms.charge_point(serial_number=serial_number, security_profile=3)
    good = openssl.client(serial_number, file_name=f"{serial_number}-good")
    assert GRANTED in openssl.upgrade(cp, address, good)
    return cp


@pytest.mark.parametrize(
    ("case", "alert", "reason"),
    [
        ("wrong CA", "unknown ca", "tls_untrusted_certificate"),
        ("expired", "certificate expired", "tls_certificate_expired"),
        ("not yet valid", "bad certificate", "tls_certificate_not_yet_valid"),
        ("none", "certificate required", "tls_no_certificate"),
    ],
)
def test_certificate_that_openssl_cannot_verify_ends_tls_with_an_alert_and_is_an_event_with_what_to_do(
    openssl: Openssl, case: str, alert: str, reason: str
) -> None:
    serial_number, address = f"SN-{case}", own_address()
    cp = known_here(openssl, serial_number, address)
    start, end = openssl.root.certificate.not_valid_before_utc, openssl.root.certificate.not_valid_after_utc
    bad: x509.Identity | None
    match case:
        case "wrong CA":
            nobody = x509.make(openssl.tls.certificates, "Root of nobody", ca=True, file_name="nobody")
            bad = openssl.client(serial_number, issuer=nobody)
        case "expired":
            bad = openssl.client(serial_number, valid_from=start - 2 * x509.DAY, valid_to=start)
        case "not yet valid":
            bad = openssl.client(serial_number, valid_from=end, valid_to=end + x509.DAY)
        case _:
            bad = None
    said = openssl.upgrade(cp, address, bad)
    assert GRANTED not in said
    assert f"alert {alert}" in said
    log = openssl.tls.csms.server.log
    wait_until(lambda: f"TLS handshake failed: {reason} (" in log(), describe="the reason in the log")
    (event,) = wait_until(lambda: openssl.events_of(cp), describe="the security event")
    assert (event["type"], event["address"], event["critical"]) == (reason, address, False)
    assert KINDS[reason].remedy
    assert event["tech_info"].endswith(f". {KINDS[reason].remedy}")


# --- client certificates: refused by what they say --------------------------------------------------------------------
@pytest.mark.parametrize("case", ["revoked", "of_another", "untrusted"])
def test_certificate_that_is_not_this_charge_points_is_refused_with_reason_and_remedy(
    openssl: Openssl, case: str
) -> None:
    serial_number = f"SN-{case}"
    cp = openssl.tls.csms.charge_point(serial_number=serial_number, security_profile=3)
    shown = openssl.client(f"{serial_number}-elsewhere" if case == "of_another" else serial_number)
    if case == "revoked":
        openssl.revoke(shown)
    elif case == "untrusted":
        # Verified by OpenSSL, for it is good for the other tenant.
        shown = openssl.client(serial_number, issuer=openssl.other_root, file_name="of-the-other-tenant")
    said = openssl.upgrade(cp, LOOPBACK, shown)
    assert "HTTP/1.1 403 Forbidden" in said
    assert REFUSALS[f"certificate_{case}"].remedy in said
    (attempt,) = openssl.tls.csms.get(f"charge-points/{cp.identity}/connection-attempts/")["results"]
    assert (attempt["accepted"], attempt["http_status"]) == (False, 403)
    assert (attempt["reason"], attempt["remedy"]) == (f"certificate_{case}", REFUSALS[f"certificate_{case}"].remedy)
    (event,) = openssl.events_of(cp)
    assert event["type"] == f"certificate_{case}"
