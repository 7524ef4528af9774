"""What a server says to a ClientHello of TLS 1.0 and 1.1, found out without the TLS library of this machine."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csms.certify import old_tls
from csms.certify.registry import choose
from csms.certify.results import Outcome
from csms.certify.runner import run
from tests.csms.certify.secure import secure, secure_options
from tests.csms.certify.test_tls import certificate
from tests.csms.test_tls import TlsServer

__all__ = ["certificate", "secure"]

ALERT_VERSION = bytes([21, 3, 2, 0, 2, 2, 70])
ALERT_NAME = bytes([21, 3, 2, 0, 2, 1, 112])


def server_hello(version: int) -> bytes:
    """A record with the begin of a ServerHello."""
    body = version.to_bytes(2, "big") + bytes(32) + b"\0" + bytes([0xC0, 0x13, 0])
    message = bytes([2]) + len(body).to_bytes(3, "big") + body
    return bytes([22, 3, 1]) + len(message).to_bytes(2, "big") + message


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where the first who connects is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize(
    ("said", "accepted"),
    [
        (server_hello(0x0302), True),
        (server_hello(0x0301), True),
        (ALERT_NAME + server_hello(0x0302), True),
        (server_hello(0x0303), False),
        (ALERT_VERSION, False),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (server_hello(0x0302)[:7], False),
        (b"", False),
    ],
)
def test_first_answer_says_it(said: bytes, accepted: bool) -> None:
    def answer(connection: socket.socket) -> None:
        assert connection.recv(4096)[:3] == bytes([22, 3, 1])
        connection.sendall(said)

    with answering(answer) as port:
        assert old_tls.accepts("127.0.0.1", port, "TLS 1.1", 5) is accepted


@pytest.mark.parametrize("name", old_tls.VERSIONS)
def test_hello_is_understood_by_a_tls_library(certificate: Path, name: str) -> None:
    """A server that speaks every version agrees to the one that is offered, as far as its library still knows it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    seen: list[str] = []

    def answer(connection: socket.socket) -> None:
        try:
            context.wrap_socket(connection, server_side=True)
        except ssl.SSLError as error:
            seen.append(str(error.reason))

    with answering(answer) as port:
        assert old_tls.accepts("127.0.0.1", port, name, 5) is False
    # It was read to its version: nothing else was wrong with it.
    assert seen == ["UNSUPPORTED_PROTOCOL"]


@pytest.mark.skipif(not ssl.HAS_TLSv1_1, reason="the TLS library of this machine does not know TLS 1.1")
def test_server_that_accepts_an_old_version_is_found_out(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    def answer(connection: socket.socket) -> None:
        # The client leaves after the ServerHello.
        with pytest.raises(OSError, match=r"."):
            context.wrap_socket(connection, server_side=True)

    with answering(answer) as port:
        assert old_tls.accepts("127.0.0.1", port, "TLS 1.1", 5) is True


def test_nobody_there_is_not_taken_for_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        old_tls.accepts("127.0.0.1", port, "TLS 1.0", 5)


async def test_case_is_red_for_a_server_that_accepts_it(secure: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_tls, "accepts", lambda host, port, name, timeout: name == "TLS 1.1")
    report = await run(secure_options(secure), choose(["086"]))
    (one,) = report.cases
    assert (one.outcome, one.reason) == (
        Outcome.FAILED,
        "The CSMS accepts TLS 1.1; TLS 1.2 is the oldest version allowed.",
    )
    assert not report.passed
