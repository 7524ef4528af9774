"""A websocket handshake with every byte of the request under control; it ends with the answer to the upgrade."""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.servers import LOOPBACK

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """The server's answer to an upgrade; header names in lower case. No body after a 101."""

    status: int
    headers: dict[str, str]
    body: str


def basic(identity: str, password: str | bytes) -> tuple[str, str]:
    """The Authorization header; a password in bytes is put in as it is."""
    secret = password.encode() if isinstance(password, str) else password
    return "Authorization", "Basic " + base64.b64encode(identity.encode() + b":" + secret).decode()


def own_address() -> str:
    """A loopback address that no other test dials from, for what is counted by address."""
    if sys.platform != "linux":
        pytest.skip("only Linux answers on the whole of 127.0.0.0/8")
    number = next(_numbers)
    return f"127.77.{number // 250}.{1 + number % 250}"


async def upgrade(
    port: int,
    path: str,
    *headers: tuple[str, str],
    subprotocols: Sequence[str] = ("ocpp1.6",),
    address: str | None = None,
) -> Answer:
    """Dial `path` (sent as it is) with `headers`; `subprotocols` are header lines. From `address`, if it is given."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, local_addr=(address, 0) if address else None)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {LOOPBACK}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
        *(f"Sec-WebSocket-Protocol: {line}" for line in subprotocols),
        *(f"{name}: {value}" for name, value in headers),
    ]
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *fields = head.rstrip("\r\n").split("\r\n")
            found = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            status = int(status_line.split()[1])
            body = b"" if status == 101 else await reader.read()
    finally:
        writer.close()
    return Answer(status, found, body.decode("utf-8", "replace"))
