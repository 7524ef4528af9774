"""The head of a request as it came, and what keeps it from becoming a websocket: pure functions over bytes.

Context: libraries below us refused handshakes of charge points for this or that, and nobody got to know. Choice: what
makes a handshake is decided here, as loosely as charge points need it; the libraries get one that is in order. Sources:
RFC 6455 4.2.1, RFC 9112 3.2.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

FOLDER = b"/ocpp/"
# One header line of a handshake; of a certificate that a trusted proxy hands over, csms.proxies says how much.
LINE_BYTES = 8192
CERTIFICATE = b"x-client-certificate"
_METHOD = re.compile(rb"[A-Za-z]{1,20}\Z")


def path_of(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target in origin-form or absolute-form, both as they came."""
    if not target.startswith(b"/"):
        _, separator, rest = target.partition(b"://")
        if separator:
            target = b"/" + rest.partition(b"/")[2]
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query


def names_charge_point(path: bytes) -> bool:
    """Whether the path has the form of a charge point's: /ocpp/TENANT/IDENTITY."""
    parts = path.strip(b"/").split(b"/")
    return len(parts) == 3 and parts[0] == b"ocpp" and all(parts)


def glean(raw: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """Method, target and headers of a head that is not complete, or that no parser takes, as far as they go."""
    first, *lines = raw.split(b"\n")
    words = first.strip(b"\r").split(b" ")
    if len(words) < 2 or not _METHOD.match(words[0]):
        return b"", b"", []
    target = b"%20".join(words[1:-1]) if len(words) > 2 else words[1]
    headers = []
    # The last line may be cut off.
    for line in lines[:-1]:
        name, colon, value = line.partition(b":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return words[0], target, headers


def asks_for_websocket(method: bytes, path: bytes, headers: Headers) -> bool:
    """Whether a handshake is meant: by its headers, or by a charge point's path, which is for nothing else."""
    if path.startswith(FOLDER) and (method == b"GET" or _tokens(headers, b"upgrade")):
        return names_charge_point(path) or any(
            name == b"upgrade" or name.startswith(b"sec-websocket-") for name, _ in headers
        )
    return b"websocket" in _tokens(headers, b"upgrade") and b"upgrade" in _tokens(headers, b"connection")


def fault_of(method: bytes, headers: Headers, *, trusted: bool, certificate_bytes: int) -> str:
    """The reason (a key of stations.handshake.REFUSALS) why a handshake cannot be taken, "" for none.

    A Connection header without the word Upgrade is none: charge points leave it out. `trusted`: a proxy of ours sends
    it, with a certificate of up to `certificate_bytes`.
    """
    for name, value in headers:
        most = certificate_bytes if trusted and name == CERTIFICATE else LINE_BYTES
        if len(name) + len(value) + 2 > most:
            return "head_too_large"
    if method != b"GET":
        return "not_get"
    if b"websocket" not in _tokens(headers, b"upgrade"):
        return "no_upgrade"
    if b"13" not in _tokens(headers, b"sec-websocket-version"):
        return "websocket_version"
    return "" if key_of(headers) else "websocket_key"


def key_of(headers: Headers) -> bytes:
    """The one Sec-WebSocket-Key; b"" when there is none, more than one, or none that is base64 of 16 bytes."""
    keys = {value.strip() for name, value in headers if name == b"sec-websocket-key"}
    if len(keys) != 1:
        return b""
    (key,) = keys
    try:
        return key if len(base64.b64decode(key, validate=True)) == 16 else b""
    except (binascii.Error, ValueError):
        return b""


def in_order(key: bytes) -> bytes:
    """The head of a handshake as every library takes it."""
    return (
        b"GET / HTTP/1.1\r\nHost: csms\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


def _tokens(headers: Headers, wanted: bytes) -> set[bytes]:
    """The words of a list, over all its header lines, in lower case."""
    return {token.strip().lower() for name, value in headers if name == wanted for token in value.split(b",")} - {b""}
