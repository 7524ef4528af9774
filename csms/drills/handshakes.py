"""A websocket handshake from an address of one's choice, and a flood of bad ones as a process of its own.

`python -m csms.drills.handshakes` takes an order as one line of JSON on stdin (`Order`), floods, and prints how many
handshakes got which HTTP status, as one line of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import quote

ANSWER_SECONDS = 30
AT_A_TIME = 800


@dataclass(frozen=True)
class Order:
    """`per_second` bad handshakes for `seconds`, from `addresses` loopback addresses, the first of them 127.0.0.1.

    Every second one claims one of `identities` with a wrong password, the others an identity of no one.
    """

    port: int
    folder: str
    identities: list[str]
    per_second: int
    seconds: float
    addresses: int


async def shake_hands(port: int, folder: str, identity: str, password: str, address: str) -> int:
    """The HTTP status that a handshake gets, 0 for no answer; one that is let in leaves at once."""
    credentials = base64.b64encode(f"{identity}:{password}".encode()).decode()
    request = (
        f"GET {folder}{quote(identity, safe='')} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
        f"Authorization: Basic {credentials}\r\nUser-Agent: csms-drill\r\n\r\n"
    )
    writer = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            writer.write(request.encode())
            return int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return 0
    finally:
        if writer is not None:
            writer.close()


async def flood(order: Order) -> dict[str, int]:
    """Statuses and how often each came, and `sent`."""
    statuses: Counter[str] = Counter()
    running: set[asyncio.Task[None]] = set()
    chance = random.Random(1)  # noqa: S311 - who is guessed at is no secret

    async def one(number: int) -> None:
        known = number % 2 == 0 and order.identities
        identity = chance.choice(order.identities) if known else f"NOBODY-{number}"
        address = f"127.0.0.{1 + number % order.addresses}"
        status = await shake_hands(order.port, order.folder, identity, secrets.token_hex(8), address)
        statuses[str(status)] += 1

    began = time.perf_counter()
    number = 0
    while (elapsed := time.perf_counter() - began) < order.seconds:
        while number < elapsed * order.per_second and len(running) < AT_A_TIME:
            task = asyncio.create_task(one(number))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.sleep(0.005)
    if running:
        await asyncio.wait(set(running))
    return {"sent": number, **statuses}


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    sys.stdout.write(f"{json.dumps(asyncio.run(flood(order)))}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
