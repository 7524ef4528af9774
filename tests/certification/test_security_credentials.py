"""Certification cases of passwords, security profiles and the subprotocol, over real websockets and real TLS.

Source: the public descriptions of the OCA's cases 073, 083, 085 and 088; Improved security for OCPP 1.6-J, A00-A05.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import x509
from tests.certification.case import Case, Tokens, connected
from tests.conftest import Csms, LiveTenant
from tests.csms.test_tls import TlsServer, options, write_certificates
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import LOOPBACK, CsmsServer, free_port
from tests.stations.upgrade import basic, upgrade


async def rest(case: Case, method: str, path: str, body: dict[str, Any]) -> Any:
    url = f"charge-points/{case.cp.identity}/{path}"
    return await asyncio.to_thread(lambda: case.csms.request(method, url, body))


async def refused(cp: FakeChargePoint) -> int:
    """The status that this charge point's handshake is refused with."""
    with pytest.raises(ConnectionRefused) as refusal:
        await cp.connect()
    return refusal.value.status


# --- 073 --------------------------------------------------------------------------------------------------------------
async def rotated(case: Case, password: str | None, status: str) -> str:
    """The operator changes the password, the charge point answers `status`; the value as it came over the wire."""
    body = {} if password is None else {"password": password}
    made = await rest(case, "POST", "password/", body)
    received = await case.cp.expect_call("ChangeConfiguration")
    value = str(received.payload["value"])
    assert received.payload == {"key": "AuthorizationKey", "value": value}
    assert len(value) in range(32, 41, 2)
    assert made.get("password") == (value if password is None else None)
    assert made["payload"] == {"key": "AuthorizationKey", "value": "***"}
    case._asked_for.append(("ChangeConfiguration", received.payload))
    await case.cp.reply(received, {"status": status})
    final = await case.final(made)
    assert (final["status"], final["response"], "password" in final) == ("answered", {"status": status}, False)
    assert value not in str(final)
    return value


@pytest.mark.parametrize("password", [None, "0123456789abcdef", "00112233445566778899AABBCCDDEEFF00112233"])
async def test_tc_073_update_of_the_basic_authentication_password(case: Case, password: str | None) -> None:
    old = case.cp.password
    value = await rotated(case, password, "Accepted")
    await case.cp.close()
    case.cp.password = old
    assert await refused(case.cp) == 401
    # The bytes, not the digits.
    case.cp.password = bytes.fromhex(value)
    await case.cp.connect()
    assert (await case.charge_point())["password_state"] == "set"
    assert value not in str(await case.messages())
    assert value not in case.csms.server.log()


async def test_tc_073_rejected_the_old_password_stays(case: Case) -> None:
    old = case.cp.password
    value = await rotated(case, None, "Rejected")
    await case.cp.close()
    case.cp.password = bytes.fromhex(value)
    assert await refused(case.cp) == 401
    case.cp.password = old
    await case.cp.connect()


# --- 083 --------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tls(_make_csms_server: Callable[..., CsmsServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    directory = tmp_path_factory.mktemp("certificates")
    root = x509.make(directory, "Root of the server", ca=True, kind="rsa", file_name="root")
    write_certificates(directory, root)
    tls_port, mtls_port = free_port(), free_port()
    server = _make_csms_server(options=options(directory, tls_port, mtls_port))
    server.start()
    csms = Csms(server, LiveTenant("cert", server.create_tenant("cert")["api_key"]))
    yield TlsServer(csms, tls_port, mtls_port, root, directory)
    server.close()


@pytest.fixture
def over_tls(tls: TlsServer) -> Case:
    return Case(tls.csms, tls.csms.charge_point(), Tokens.register(tls.csms))


def moved(case: Case, scheme: str, port: int, password: str | bytes | None, **connect: Any) -> None:
    """The charge point dials this port from now on."""
    host = "localhost" if scheme == "wss" else LOOPBACK
    case.cp.url = f"{scheme}://{host}:{port}/ocpp/{case.csms.tenant.slug}/{case.cp.identity}"
    case.cp.password = password
    case.cp._connect_options = connect


async def raised(case: Case, profile: int) -> None:
    """The operator raises the profile, and resets; the charge point accepts both and disconnects."""
    made = await rest(case, "POST", "security-profile/", {"security_profile": profile})
    payload = {"key": "SecurityProfile", "value": str(profile)}
    await case.cp.reply(await case.expect("ChangeConfiguration", payload), {"status": "Accepted"})
    assert (await case.final(made))["response"] == {"status": "Accepted"}
    row = await case.charge_point()
    assert (row["security_profile"], row["pending_security_profile"]) == (profile - 1, profile)
    await case.send("Reset", {"type": "Hard"}, {"status": "Accepted"})
    await case.cp.close()


async def in_force(case: Case) -> tuple[int, int | None]:
    row = await case.charge_point()
    return row["security_profile"], row["pending_security_profile"]


async def test_tc_083_upgrade_from_profile_1_to_2(tls: TlsServer, over_tls: Case) -> None:
    case, password = over_tls, over_tls.cp.password
    secure = {"ssl": tls.client()}
    await case.cp.connect()
    await raised(case, 2)
    moved(case, "wss", tls.tls_port, password, **secure)
    await case.cp.connect()
    await case.booted()
    assert await in_force(case) == (2, None)
    await case.cp.close()
    moved(case, "ws", case.csms.server.port, password)
    assert await refused(case.cp) == 403
    attempts = (await case.get(f"charge-points/{case.cp.identity}/connection-attempts/"))["results"]
    assert (attempts[0]["reason"], attempts[0]["security_profile"]) == ("profile_too_low", 1)
    assert "wss" in attempts[0]["remedy"]
    moved(case, "wss", tls.tls_port, password, **secure)
    await case.cp.connect()
    await case.finish()


async def test_tc_083_upgrade_from_profile_1_to_2_that_fails_leaves_profile_1(tls: TlsServer, over_tls: Case) -> None:
    """A05.FR.08: the charge point falls back, and must not be locked out; the next attempt may succeed."""
    case, password = over_tls, over_tls.cp.password
    await case.cp.connect()
    await raised(case, 2)
    await case.cp.connect()
    assert await in_force(case) == (1, 2)
    await case.cp.close()
    moved(case, "wss", tls.tls_port, password, ssl=tls.client())
    await case.cp.connect()
    assert await in_force(case) == (2, None)
    await case.finish()


async def test_tc_083_upgrade_from_profile_2_to_3(tls: TlsServer, tmp_path: Path) -> None:
    csms = tls.csms
    root = x509.make(tmp_path, "Root of the operator", ca=True)
    authority = {"name": "Operator", "kind": "trusted", "certificate": root.pem, "check_organization": False}
    await asyncio.to_thread(csms.post, "certificate-authorities/", authority)
    cp = await asyncio.to_thread(lambda: csms.charge_point(security_profile=2))
    case = Case(csms, cp, Tokens.register(csms))
    password = cp.password
    client = x509.make(tmp_path, cp.identity, issuer=root)
    with_certificate = tls.client()
    with_certificate.load_cert_chain(client.certificate_path, client.key_path)
    secure, mutual = {"ssl": tls.client()}, {"ssl": with_certificate}

    moved(case, "wss", tls.tls_port, password, **secure)
    await cp.connect()
    await raised(case, 3)
    moved(case, "wss", tls.mtls_port, None, **mutual)
    await connected(cp)
    await case.booted()
    assert await in_force(case) == (3, None)
    await cp.close()
    moved(case, "wss", tls.tls_port, password, **secure)
    assert await refused(cp) == 403
    moved(case, "wss", tls.mtls_port, None, **mutual)
    await cp.connect()
    await case.finish()


# --- 085 --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("password", ["0123456789abcdef-xyz", "0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF"])
async def test_tc_085_basic_authentication(csms: Csms, tokens: Tokens, password: str) -> None:
    cp = csms.charge_point(password=password)
    case = Case(csms, cp, tokens)
    raw = bytes.fromhex(password) if len(password) == 40 else password.encode()
    path = f"/ocpp/{csms.tenant.slug}/{cp.identity}"
    without = await upgrade(csms.server.port, path)
    assert (without.status, "sec-websocket-accept" in without.headers) == (401, False)
    assert without.headers["www-authenticate"].startswith("Basic realm=")
    attempts = (await case.get(f"charge-points/{cp.identity}/connection-attempts/"))["results"]
    assert [(row["accepted"], row["reason"], row["http_status"]) for row in attempts] == [
        (False, "no_credentials", 401)
    ]
    cp.password = raw
    await cp.connect()
    await case.booted()
    await case.finish()


# --- 088 --------------------------------------------------------------------------------------------------------------
async def test_tc_088_subprotocol_negotiation(registered: Case) -> None:
    case, cp = registered, registered.cp
    assert cp.password is not None
    path, credentials = f"/ocpp/{case.csms.tenant.slug}/{cp.identity}", basic(cp.identity, cp.password)
    first = await upgrade(case.csms.server.port, path, credentials, subprotocols=["ocpp0.1"])
    assert (first.status, "sec-websocket-accept" in first.headers) == (400, False)
    attempts = (await case.get(f"charge-points/{cp.identity}/connection-attempts/"))["results"]
    assert [(row["accepted"], row["reason"], row["subprotocols"]) for row in attempts] == [
        (False, "unsupported_subprotocol", "ocpp0.1")
    ]
    second = await upgrade(case.csms.server.port, path, credentials, subprotocols=["ocpp0.1,ocpp1.6"])
    assert (second.status, second.headers["sec-websocket-protocol"]) == (101, "ocpp1.6")
