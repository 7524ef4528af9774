"""What strangers can do to the server before it knows who they are: heads, bodies, silence, odd handshakes."""

from __future__ import annotations

import base64
import json
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import x509
from tests.conftest import Csms, LiveTenant
from tests.csms.test_tls import options, write_certificates
from tests.servers import LOOPBACK, CsmsServer, free_port, wait_until
from tests.stations.upgrade import basic

HEAD_SECONDS, BODY_SECONDS = 2, 2
PASSWORD = "right-password-1234"
KEY = base64.b64encode(bytes(16)).decode()
LIMIT = 5 * 1024 * 1024


@dataclass(frozen=True)
class Front:
    """A server with little patience, its tenant and its TLS ports."""

    csms: Csms
    tls_port: int
    mtls_port: int

    @property
    def port(self) -> int:
        return self.csms.server.port

    def register(self, identity: str, **members: Any) -> str:
        self.csms.request("PUT", f"charge-points/{identity}/", {"password": PASSWORD} | members)
        return identity

    def attempt(self, identity: str) -> dict[str, Any]:
        """The newest attempt recorded of `identity`."""
        found: dict[str, Any] = self.csms.get(f"charge-points/{identity}/connection-attempts/")["results"][0]
        return found


@pytest.fixture(scope="module")
def front(_make_csms_server: Callable[..., CsmsServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory = tmp_path_factory.mktemp("certificates")
    root = x509.make(directory, "Root of the server", ca=True, kind="rsa", file_name="root")
    write_certificates(directory, root)
    tls_port, mtls_port = free_port(), free_port()
    env = {"CSMS_HEAD_SECONDS": str(HEAD_SECONDS), "CSMS_BODY_SECONDS": str(BODY_SECONDS)}
    server = _make_csms_server(options=options(directory, tls_port, mtls_port), env=env)
    server.start()
    yield Front(Csms(server, LiveTenant("front", server.create_tenant("front")["api_key"])), tls_port, mtls_port)
    server.close()


def connect(port: int, address: str = LOOPBACK, timeout: float = 15) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=timeout, source_address=(address, 0))


def unverified() -> ssl.SSLContext:
    """Whose certificate it is, is no matter here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def answer(line: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer on `line`, to the end of the connection; status 0 for none."""
    received = b""
    try:
        while piece := line.recv(65536):
            received += piece
            if received.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in received:
                break
    except ConnectionResetError:
        pass
    head, _, body = received.partition(b"\r\n\r\n")
    if not head:
        return 0, {}, b""
    first, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return int(first.split()[1]), headers, body


def exchange(port: int, request: bytes, address: str = LOOPBACK) -> tuple[int, dict[str, str], bytes]:
    with connect(port, address) as line:
        try:
            line.sendall(request)
        except OSError:
            pass
        return answer(line)


def head(target: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode("latin-1")


UPGRADE, CONNECTION = "Upgrade: websocket", "Connection: Upgrade"
VERSION, WITH_KEY, SUBPROTOCOL = (
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Protocol: ocpp1.6",
)


def credentials(identity: str) -> str:
    return ": ".join(basic(identity, PASSWORD))


def handshake(identity: str, *without: str, more: tuple[str, ...] = (), **members: Any) -> bytes:
    lines = [line for line in (UPGRADE, CONNECTION, VERSION, WITH_KEY, SUBPROTOCOL) if line not in without]
    return head(members.pop("target", f"/ocpp/front/{identity}"), *lines, credentials(identity), *more, **members)


# --- handshakes that libraries would refuse without a word ------------------------------------------------------------
@pytest.mark.parametrize(
    ("without", "more", "members", "status", "reason"),
    [
        ((), (f"X-Long: {'x' * 8200}",), {}, 431, "head_too_large"),
        ((), tuple(f"X-{number}: {'x' * 4000}" for number in range(10)), {}, 431, "head_too_large"),
        ((SUBPROTOCOL,), ("Sec-WebSocket-Protocol: ",), {}, 400, "no_subprotocol"),
        ((SUBPROTOCOL,), ("Sec-WebSocket-Protocol: ,",), {}, 400, "no_subprotocol"),
        ((WITH_KEY,), (), {}, 400, "websocket_key"),
        ((WITH_KEY,), ("Sec-WebSocket-Key: short",), {}, 400, "websocket_key"),
        ((), (f"Sec-WebSocket-Key: {base64.b64encode(b'another key here').decode()}",), {}, 400, "websocket_key"),
        ((VERSION,), (), {}, 426, "websocket_version"),
        ((VERSION,), ("Sec-WebSocket-Version: 8",), {}, 426, "websocket_version"),
        ((UPGRADE,), (), {}, 426, "no_upgrade"),
        ((UPGRADE,), ("Upgrade: h2c",), {}, 426, "no_upgrade"),
        ((UPGRADE, CONNECTION, VERSION, WITH_KEY, SUBPROTOCOL), (), {}, 426, "no_upgrade"),
        ((), (), {"method": "POST"}, 405, "not_get"),
        ((), ("X-Control: a\x01b",), {}, 400, "malformed"),
        ((), ("A header without a colon",), {}, 400, "malformed"),
        ((), (f"Authorization: {basic('OTHER', 'x' * 16)[1]}",), {}, 401, "malformed_credentials"),
        ((CONNECTION,), (), {}, 101, ""),
        ((CONNECTION,), ("Connection: keep-alive, UPGRADE",), {}, 101, ""),
        ((UPGRADE,), ("Upgrade: foo, WebSocket",), {}, 101, ""),
        ((), ("Sec-WebSocket-Extensions: ;;;",), {}, 101, ""),
        ((), (), {"version": "1.0"}, 101, ""),
        ((), ("Sec-WebSocket-Version: 13",), {}, 101, ""),
        ((), ("X-Name: caf\xe9",), {}, 101, ""),
        ((), (f"X-Long: {'x' * 8000}",), {}, 101, ""),
        ((), tuple(f"X-{number}: 1" for number in range(150)), {}, 101, ""),
    ],
)  # fmt: skip
def test_handshake_is_answered_and_recorded(
    front: Front,
    request: pytest.FixtureRequest,
    without: tuple[str, ...],
    more: tuple[str, ...],
    members: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    identity = front.register(f"HEAD-{abs(hash(request.node.name)) % 10**9}")
    found, headers, _ = exchange(front.port, handshake(identity, *without, more=more, **members))
    assert found == status
    attempt = front.attempt(identity)
    assert (attempt["http_status"], attempt["reason"], attempt["accepted"]) == (status, reason, status == 101)
    if status == 101:
        assert headers["sec-websocket-protocol"] == "ocpp1.6"
    if reason == "websocket_version":
        assert headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("empty", ["Sec-WebSocket-Protocol: ", "Sec-WebSocket-Protocol: , ,"])
def test_empty_subprotocol_is_none_where_that_is_assumed(front: Front, empty: str) -> None:
    identity = front.register("ASSUMED", assume_ocpp16=True)
    found, headers, _ = exchange(front.port, handshake(identity, SUBPROTOCOL, more=(empty,)))
    assert (found, "sec-websocket-protocol" in headers) == (101, False)
    assert front.attempt(identity)["accepted"]


@pytest.mark.parametrize(
    ("target", "identity"),
    [
        ("http://other.example/ocpp/front/{}", "ABSOLUTE"),
        ("/ocpp/front/{}?a=1", "QUERY"),
        ("/ocpp/front/CP%ZZ", "CP%ZZ"),
    ],
)
def test_odd_target_is_taken_for_what_it_means(front: Front, target: str, identity: str) -> None:
    front.csms.request("PUT", f"charge-points/{quote(identity)}/", {"password": PASSWORD})
    found, _, _ = exchange(front.port, handshake(identity, target=target.format(identity)))
    assert (found, front.attempt(quote(identity))["accepted"]) == (101, True)


def test_target_that_is_not_ascii_is_refused_and_recorded(front: Front) -> None:
    front.csms.request("PUT", "charge-points/CP%C3%A9/", {"password": PASSWORD})
    assert exchange(front.port, handshake("CPé", target="/ocpp/front/CP\xc3\xa9"))[0] == 400
    assert front.attempt("CP%C3%A9")["reason"] == "malformed"


def test_long_header_line_over_tls_is_answered_and_recorded(front: Front) -> None:
    identity = front.register("LONG-TLS", security_profile=2)
    with unverified().wrap_socket(connect(front.tls_port)) as line:
        line.sendall(handshake(identity, more=(f"X-Long: {'x' * 9000}",)))
        assert answer(line)[0] == 431
    assert front.attempt(identity)["reason"] == "head_too_large"


# --- silence ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: lo", b"GET /api/v1/x HTTP/1.1\r\n"])
def test_head_that_does_not_end_is_cut_off(front: Front, said: bytes) -> None:
    began = time.monotonic()
    status, headers, _ = exchange(front.port, said)
    assert HEAD_SECONDS * 0.9 < time.monotonic() - began < HEAD_SECONDS + 5
    assert status == (408 if said else 0)
    if said.startswith(b"GET /api/"):
        assert headers["content-type"] == "application/problem+json"


def test_drip_does_not_make_it_longer_and_the_attempt_is_recorded(front: Front) -> None:
    identity = front.register("DRIP")
    began = time.monotonic()
    with connect(front.port) as line:
        line.sendall(f"GET /ocpp/front/{identity} HTTP/1.1\r\nHost: localhost\r\nX-Drip: ".encode())
        line.settimeout(0.2)
        received = b""
        while time.monotonic() - began < HEAD_SECONDS + 8 and not received:
            try:
                line.sendall(b"x")
                received = line.recv(100)
            except TimeoutError:
                continue
            except OSError:
                break
    assert received.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < HEAD_SECONDS + 5
    assert front.attempt(identity)["reason"] == "head_too_slow"


@pytest.mark.parametrize("which", ["tls_port", "mtls_port"])
@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "half"])
def test_tls_handshake_that_does_not_end_is_cut_off(front: Front, which: str, hello: bytes) -> None:
    began = time.monotonic()
    with connect(getattr(front, which)) as line:
        line.sendall(hello)
        while line.recv(100):
            pass
    assert HEAD_SECONDS * 0.9 < time.monotonic() - began < HEAD_SECONDS + 5


def test_silence_after_the_tls_handshake_is_cut_off(front: Front) -> None:
    began = time.monotonic()
    with unverified().wrap_socket(connect(front.tls_port)) as line:
        assert answer(line)[0] == 0
    assert HEAD_SECONDS * 0.9 < time.monotonic() - began < HEAD_SECONDS + 5


@pytest.mark.skipif(sys.platform != "linux", reason="sets the limit of another process")
@pytest.mark.parametrize("kind", ["plain", "tls", "one address"])
def test_right_one_gets_in_beside_more_silent_connections_than_there_are_descriptors(front: Front, kind: str) -> None:
    """400 of them, where the process may have 300 descriptors."""
    identity = front.register("KNOWN", security_profile=1)
    pid = front.csms.server.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (300, before[1]))
    silent: list[socket.socket] = []
    try:
        port = front.tls_port if kind == "tls" else front.port
        for number in range(400):
            silent.append(connect(port, "127.4.0.1" if kind == "one address" else f"127.5.0.{1 + number % 40}"))
        began = time.monotonic()
        assert exchange(front.port, handshake(identity), "127.6.0.1")[0] == 101
        assert time.monotonic() - began < 2
        found = front.csms.server.api("GET", "charge-points/", key=front.csms.tenant.api_key)
        assert found.status_code == 200
        assert time.monotonic() - began < 4
    finally:
        for line in silent:
            line.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


# --- bodies -----------------------------------------------------------------------------------------------------------
def post(target: str, length: int, *lines: str, send: int | None = None) -> bytes:
    body = b"x" * (length if send is None else send)
    return head(target, f"Content-Length: {length}", "Content-Type: application/json", *lines, method="POST") + body


def chunked(target: str, size: int) -> bytes:
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    start = head(target, "Transfer-Encoding: chunked", "Content-Type: application/json", method="POST")
    return start + piece * (size // 0x10000) + b"0\r\n\r\n"


@pytest.mark.parametrize("target", ["/api/v1/charge-points/", "/admin/login/"])
@pytest.mark.parametrize("form", ["declared", "chunked"])
def test_body_of_a_stranger_beyond_the_limit_is_refused(front: Front, target: str, form: str) -> None:
    request = post(target, LIMIT + 1) if form == "declared" else chunked(target, LIMIT + 0x20000)
    status, headers, body = exchange(front.port, request)
    assert (status, headers["connection"]) == (413, "close")
    if target.startswith("/api/"):
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("target", "status"),
    [("/api/v1/nothing-here/", 404), ("/nothing-here/", 404), ("/ocpp/front/a/b/c/", 426),
     ("/api/v1/firmware-images/", 401)],
)  # fmt: skip
def test_nothing_is_read_of_a_body_that_nobody_wants(front: Front, target: str, status: int) -> None:
    """Not even asked for: the sender waits for 100 Continue."""
    lines = ("Expect: 100-continue", "Authorization: Api-Key nobody.nothing")
    request = post(target, 200 * 1024 * 1024, *lines, send=0)
    with connect(front.port) as line:
        line.sendall(request)
        found, headers, _ = answer(line)
    assert (found, headers["connection"]) == (status, "close")


def test_image_may_be_larger_once_the_key_was_looked_at(front: Front, tmp_path: Path) -> None:
    content = b"x" * (LIMIT + 1)
    made = front.csms.server.api(
        "POST", "firmware-images/", key=front.csms.tenant.api_key, files={"file": ("image.bin", content)},
        data={"version": "1"},
    )  # fmt: skip
    assert made.status_code == 201, made.text
    assert made.json()["size"] == LIMIT + 1


def test_body_that_does_not_come_is_not_waited_for(front: Front) -> None:
    began = time.monotonic()
    status, headers, _ = exchange(front.port, post("/api/v1/charge-points/", 1000, send=10))
    assert (status, headers["content-type"]) == (408, "application/problem+json")
    assert BODY_SECONDS * 0.9 < time.monotonic() - began < BODY_SECONDS + 5


def test_body_behind_an_answer_does_not_keep_the_connection(front: Front) -> None:
    """The answer is there before the body; what follows is no head."""
    with connect(front.port) as line:
        line.sendall(head("/nothing/", "Content-Length: 1000000", method="POST"))
        line.settimeout(HEAD_SECONDS + 8)
        assert answer(line)[0] == 404


def test_large_head_is_431(front: Front) -> None:
    lines = [f"X-{number}: {'x' * 4000}" for number in range(10)]
    status, headers, _ = exchange(front.port, head("/api/v1/charge-points/", *lines))
    assert (status, headers["content-type"]) == (431, "application/problem+json")
    assert exchange(front.port, head("/", *lines))[0] == 431


def test_server_is_as_it_was(front: Front) -> None:
    """After all of that: nothing failed, and connections are not kept."""
    assert "Traceback" not in front.csms.server.log()
    sockets = Path(f"/proc/{front.csms.server.pid}/fd")
    if sockets.exists():
        wait_until(lambda: len(list(sockets.iterdir())) < 100, timeout_seconds=20, describe="descriptors to be free")
