"""Whether a server accepts a TLS version that is too old, found out without the TLS library of this machine.

Context: the libraries of today do not know TLS 1.0 and 1.1 any more, or are forbidden to speak them; what cannot be
tried cannot be judged, and a case that passes then says nothing.
Choice: the ClientHello is written by hand. Whether a server agrees to a version shows in its first answer, the
ServerHello; nothing has to be encrypted for that.
Source: RFC 2246 (TLS 1.0), RFC 4346 (TLS 1.1), RFC 4492, RFC 5746, RFC 6066.
"""

from __future__ import annotations

import secrets
import socket
from ipaddress import ip_address

VERSIONS = {"TLS 1.0": 0x0301, "TLS 1.1": 0x0302}
HANDSHAKE, ALERT = 22, 21
CLIENT_HELLO, SERVER_HELLO = 1, 2
WARNING = 1
# What these versions know, with an ECDSA key, with an RSA key, with and without forward secrecy; the last one says that
# the client knows of secure renegotiation.
SUITES = (0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035, 0x0033, 0x0039, 0x000A, 0xC008, 0xC012, 0x00FF)
CURVES = (23, 24, 25)
MAX_RECORD = 2**14


def accepts(host: str, port: int, name: str, timeout_seconds: float) -> bool:
    """Whether the server agrees to the version `name` of VERSIONS. Blocking.

    An alert, or the end of the connection, is a refusal. Errors: OSError when there is no connection, or no answer.
    """
    version = VERSIONS[name]
    with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
        connection.settimeout(timeout_seconds)
        connection.sendall(client_hello(version, host))
        try:
            return _agrees(connection, version)
        except ConnectionError:
            return False


def client_hello(version: int, host: str) -> bytes:
    """A record with a ClientHello that offers nothing newer than `version`."""
    extensions = _server_name(host) + _extension(10, _counted(b"".join(c.to_bytes(2, "big") for c in CURVES), 2))
    # Points uncompressed.
    extensions += _extension(11, _counted(b"\0", 1))
    body = version.to_bytes(2, "big") + secrets.token_bytes(32) + _counted(b"", 1)
    body += _counted(b"".join(suite.to_bytes(2, "big") for suite in SUITES), 2)
    body += _counted(b"\0", 1) + _counted(extensions, 2)
    # The record itself says TLS 1.0, as first records always do.
    return bytes([HANDSHAKE, 3, 1]) + _counted(bytes([CLIENT_HELLO]) + _counted(body, 3), 2)


def _agrees(connection: socket.socket, version: int) -> bool:
    while True:
        kind, content = _record(connection)
        if kind == ALERT and content[:1] == bytes([WARNING]):
            continue  # such as a name that it does not know
        if kind != HANDSHAKE or len(content) < 6 or content[0] != SERVER_HELLO:
            return False
        return int.from_bytes(content[4:6], "big") <= version


def _record(connection: socket.socket) -> tuple[int, bytes]:
    """Type and content of the next record; (0, b"") at the end of the connection."""
    head = _read(connection, 5)
    if len(head) < 5:
        return 0, b""
    length = int.from_bytes(head[3:5], "big")
    return head[0], _read(connection, min(length, MAX_RECORD))


def _read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (more := connection.recv(count - len(found))):
        found += more
    return found


def _server_name(host: str) -> bytes:
    try:
        ip_address(host)
    except ValueError:
        return _extension(0, _counted(b"\0" + _counted(host.encode("idna"), 2), 2))
    return b""


def _extension(number: int, content: bytes) -> bytes:
    return number.to_bytes(2, "big") + _counted(content, 2)


def _counted(content: bytes, bytes_of_length: int) -> bytes:
    return len(content).to_bytes(bytes_of_length, "big") + content
