"""A websocket handshake from an address of one's choice, and a flood of bad ones as a process of its own.

Context: the flood and the server share a small machine; what the flood spends, the server cannot have. Choice: bare
sockets in one epoll loop with requests that are built beforehand; of the answer only the status is read. Consequence: a
handshake costs the flood some 100 us, and it says how busy it was, so that nobody takes its limit for the server's.

`python -m csms.drills.handshakes` takes an order as one line of JSON on stdin (`Order`), floods, and prints its report
as one line of JSON (`Flood.report`); then it takes the next order.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import random
import secrets
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import quote

ANSWER_SECONDS = 30
# Sockets that wait for their answer; beyond it the flood falls behind, as the report tells.
MOST_OPEN = 15_000
DIALLED_AT_ONCE = 100
FIRST_ADDRESS = int(IPv4Address("127.0.0.1"))
# All of them below 127.1.0.0.
MOST_ADDRESSES = 65_000
# Lets the kernel choose a port when the peer is known: each address has as many as for one peer. Linux, ip(7).
IP_BIND_ADDRESS_NO_PORT = 24


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


def upgrade_request(port: int, folder: str, identity: str, password: str) -> bytes:
    """The bytes of a handshake with HTTP Basic."""
    credentials = base64.b64encode(f"{identity}:{password}".encode()).decode()
    return (
        f"GET {folder}{quote(identity, safe='')} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
        f"Authorization: Basic {credentials}\r\nUser-Agent: csms-drill\r\n\r\n"
    ).encode()


async def shake_hands(port: int, folder: str, identity: str, password: str, address: str) -> int:
    """The HTTP status that a handshake gets, 0 for no answer; one that is let in leaves at once."""
    writer = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            writer.write(upgrade_request(port, folder, identity, password))
            return int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return 0
    finally:
        if writer is not None:
            writer.close()


# --- the flood --------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Dial:
    socket: socket.socket
    request: bytes
    began: float


class Flood:
    """Bad handshakes at a steady rate, whatever the server makes of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._events = select.epoll()
        self._open: dict[int, _Dial] = {}
        # In the order of dialling: the first is the first to be given up.
        self._oldest: deque[tuple[int, _Dial]] = deque()
        self._chance = random.Random(1)  # noqa: S311 - who is guessed at is no secret
        self._statuses: Counter[str] = Counter()
        self._seconds = array("d")
        self._sent = 0

    def run(self) -> dict[str, object]:
        order, began, busy_before = self._order, time.perf_counter(), time.process_time()
        end, total = began + order.seconds, round(order.seconds * order.per_second)
        while (now := time.perf_counter()) < end:
            due = min(total, int((now - began) * order.per_second) + 1)
            for _ in range(min(DIALLED_AT_ONCE, due - self._sent, MOST_OPEN - len(self._open))):
                self._dial(now)
            self._answers(0.002)
            self._give_up(now)
        took, busy = time.perf_counter() - began, time.process_time() - busy_before
        while self._open:
            self._answers(0.1)
            self._give_up(time.perf_counter())
        self._events.close()
        return self.report(took, busy)

    def report(self, took: float, busy: float) -> dict[str, object]:
        """What came of it: `sent` and `per_second`, `statuses` with how often each came ("0": no answer), milliseconds
        until an answer, and the share of a core that the flood itself took."""
        ordered = sorted(self._seconds)

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else 0.0

        return {
            "sent": self._sent,
            "per_second": round(self._sent / took, 1),
            "statuses": dict(sorted(self._statuses.items())),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "busy": round(busy / took, 3),
        }

    def _dial(self, now: float) -> None:
        order, number = self._order, self._sent
        self._sent += 1
        known = number % 2 == 0 and order.identities
        identity = self._chance.choice(order.identities) if known else f"NOBODY-{number}"
        request = upgrade_request(order.port, order.folder, identity, secrets.token_hex(8))
        dialling = socket.socket()
        dialling.setblocking(False)
        try:
            dialling.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            dialling.bind((str(IPv4Address(FIRST_ADDRESS + number % order.addresses)), 0))
            error = dialling.connect_ex(("127.0.0.1", order.port))
            if error not in (0, errno.EINPROGRESS):
                raise OSError(error, "connect")
            dial = _Dial(dialling, request, now)
            # On loopback it is through already, as a rule.
            self._events.register(dialling, select.EPOLLIN if self._told(dial) else select.EPOLLOUT)
        except OSError:
            dialling.close()
            self._statuses["0"] += 1
            return
        self._open[dialling.fileno()] = dial
        self._oldest.append((dialling.fileno(), dial))

    def _told(self, dial: _Dial) -> bool:
        """Send the request; False when the connection is not there yet. Raises OSError when it will not be."""
        try:
            dial.socket.send(dial.request)
        except BlockingIOError:
            return False
        return True

    def _answers(self, timeout: float) -> None:
        for number, event in self._events.poll(timeout):
            dial = self._open[number]
            try:
                if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                    if self._told(dial):
                        self._events.modify(number, select.EPOLLIN)
                    continue
                answer = dial.socket.recv(512)
            except OSError:
                answer = b""
            status = answer[9:12].decode("latin-1")
            if status.isdigit():
                self._seconds.append(time.perf_counter() - dial.began)
            self._end(number, status if status.isdigit() else "0")

    def _give_up(self, now: float) -> None:
        while self._oldest:
            number, dial = self._oldest[0]
            waits = self._open.get(number) is dial
            if waits and now - dial.began < ANSWER_SECONDS:
                return
            self._oldest.popleft()
            if waits:
                self._end(number, "0")

    def _end(self, number: int, status: str) -> None:
        # epoll forgets a socket that is closed.
        self._open.pop(number).socket.close()
        self._statuses[status] += 1


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(Flood(Order(**json.loads(line))).run())}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
