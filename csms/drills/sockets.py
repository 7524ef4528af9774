"""Drills of single connections: one that is dead without having ended, and one whose station reads nothing."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import websockets

from csms.benchmark.processes import Server
from csms.drills.course import Plan, Tell, play
from csms.drills.fleet import Fleet
from csms.drills.namespaces import Namespace, namespace
from csms.drills.operator import request
from csms.drills.stage import Result, Skip, Stage, stage, url_of

DEAD_PEER_SECONDS, UNREAD_SECONDS = 6, 3
# What the machine may add to a time that is waited for.
GRACE_SECONDS = 20.0
LOOK_SECONDS = 0.2
BOOT = ("BootNotification", {"chargePointVendor": "Drill", "chargePointModel": "Sockets"})
SO_ATTACH_FILTER = 26
CUT_AT_SOCKET, CUT_IN_NAMESPACE = "packets dropped at sockets", "network namespace unplugged"
# The smallest segments and buffer make the server's send buffer small: it notices after some hundred answers.
SEGMENT_BYTES, RECEIVE_BYTES = 536, 4096
REPEATED = json.dumps([2, "again", "Heartbeat", {}])
# Pings before that: their answers fill the line, however slowly requests are answered.
PINGS, PING_BYTES = 4000, 120
UNANSWERED = 200_000
SEND_BYTES = 65_536
# Memory that one station may cost, and how much slower its neighbours may get.
MOST_BYTES = 32 * 1024 * 1024
MOST_FACTOR, MOST_SECONDS = 5.0, 0.5


class Line:
    """One connection of a charge point, without books."""

    def __init__(self, made: Stage, who: tuple[str, str, str]) -> None:
        self._made = made
        self.identity, self._password, _ = who
        self.socket: websockets.ClientConnection | None = None

    async def connect(self, server: Server, **options: Any) -> websockets.ClientConnection:
        """Dial and boot."""
        token = base64.b64encode(f"{self.identity}:{self._password}".encode()).decode()
        self.socket = await websockets.connect(
            f"{url_of(server)}{self.identity}", subprotocols=[websockets.Subprotocol("ocpp1.6")],
            additional_headers={"Authorization": f"Basic {token}"}, compression=None, ping_interval=None,
            open_timeout=GRACE_SECONDS, close_timeout=1, **options,
        )  # fmt: skip
        await self.socket.send(json.dumps([2, "boot", *BOOT]))
        await asyncio.wait_for(self.socket.recv(), GRACE_SECONDS)
        return self.socket

    def go_deaf(self) -> None:
        """From now on the kernel drops every packet that arrives for this connection, and so acknowledges none."""
        if self.socket is not None:
            drop_everything(self.socket.transport.get_extra_info("socket"))

    def hang_up(self) -> None:
        if self.socket is not None:
            self.socket.transport.abort()


def drop_everything(of: Any) -> None:
    """Attach a packet filter to a socket that lets nothing through (BPF: `ret 0`); needs no rights. Linux only."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    of.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> float | None:
    """Seconds until the condition held; None when it did not within `seconds`."""
    began = monotonic()
    while not await condition():
        if monotonic() - began > seconds:
            return None
        await asyncio.sleep(LOOK_SECONDS)
    return round(monotonic() - began, 1)


async def _ask(made: Stage, server: Server, path: str) -> Any:
    status, body = await asyncio.to_thread(request, server.port, made.api_key, "GET", path)
    return body if status == 200 else {}


def _shown(made: Stage, server: Server, identity: str) -> Callable[[], Awaitable[bool]]:
    async def shown() -> bool:
        found = await _ask(made, server, f"charge-points/{identity}/")
        return bool(found.get("connected", True))

    return shown


def _negated(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def negated() -> bool:
        return not await condition()

    return negated


async def _has_event(made: Stage, server: Server, identity: str, kind: str) -> bool:
    found = await _ask(made, server, f"security-events/?charge_point={identity}")
    return any(event["type"] == kind for event in found.get("results", []))


# --- half-open --------------------------------------------------------------------------------------------------------
def half_open(plan: Plan, tell: Tell) -> Result:
    """Drop every packet to charge points without a word: lost power, lost SIM, a router that forgot them.

    Who dials again is served at once; who does not is found dead, also with a command on its way, and that is said.
    """
    if sys.platform != "linux":
        raise Skip("Only Linux has packet filters for single sockets.")
    result = Result("half-open")
    settings = {"CSMS_DEAD_PEER_SECONDS": str(DEAD_PEER_SECONDS)}
    with ExitStack() as stack:
        made = stack.enter_context(stage(plan.database, plan.stations + 3, settings=settings))
        # All addresses: also that of the link into the namespace.
        server = stack.enter_context(made.server(host="0.0.0.0"))  # noqa: S104
        own, made.made = made.made[:3], made.made[3:]
        network: Namespace | None = None
        try:
            network = stack.enter_context(namespace())
        except Skip as reason:
            tell(f"Sockets are cut off one by one only. {reason}")

        async def fault(number: int) -> str:
            inside = network if number % 2 else None
            await _half_open_once(result, made, server, own, inside)
            return CUT_AT_SOCKET if inside is None else CUT_IN_NAMESPACE

        asyncio.run(play(result, plan, made, [server], fault, tell))
    return result


async def _half_open_once(
    result: Result, made: Stage, server: Server, own: list[tuple[str, str, str]], network: Namespace | None
) -> None:
    """Three lose the network, all in `network` or each at its socket; the first has another one to dial again by."""
    returning, idle, asked = (Line(made, who) for who in own)
    lines = [returning, idle, asked]
    try:
        for line in lines:
            options = {}
            if network is not None:
                options["sock"] = network.socket()
                await asyncio.to_thread(options["sock"].connect, (network.address, server.port))
            await line.connect(server, **options)
        if network is not None:
            network.pull()
        else:
            for line in lines:
                line.go_deaf()
        began = monotonic()
        again = Line(made, own[0])
        lines.append(again)
        await again.connect(server)
        result.figures["served_again_seconds"] = round(monotonic() - began, 1)
        body = {"action": "UnlockConnector", "payload": {"connectorId": 1}}
        status, command = await asyncio.to_thread(
            request, server.port, made.api_key, "POST", f"charge-points/{asked.identity}/commands/", body
        )
        if status != 202:
            result.violations.append(f"{asked.identity}: a command was answered {status}")
        for line, what in ((idle, "idle"), (asked, "asked")):
            gone = _negated(_shown(made, server, line.identity))
            seconds = await until(gone, 2 * DEAD_PEER_SECONDS + GRACE_SECONDS)
            result.figures[f"{what}_found_dead_seconds"] = seconds
            if seconds is None:
                result.violations.append(f"{line.identity}: {what} and dead, but still shown as connected")
            elif not await _has_event(made, server, line.identity, "unreachable"):
                result.violations.append(f"{line.identity}: found dead, but no event says so")
        if status == 202:
            found = await _ask(made, server, f"commands/{command['id']}/")
            if found.get("status") not in ("timed_out", "unknown"):
                result.violations.append(f"command {command['id']} to a dead connection is {found.get('status')}")
        if not await _shown(made, server, again.identity)():
            result.violations.append(f"{again.identity}: came back, but the end of its old connection hides that")
    finally:
        if network is not None:
            network.plug()
        for line in lines:
            line.hang_up()


# --- a slow reader ----------------------------------------------------------------------------------------------------
def slow_reader(plan: Plan, tell: Tell) -> Result:
    """Let a charge point ask without end and read no answer: it is cut off, and nobody else feels it.

    The server's memory stays bounded meanwhile, and an event says why the connection ended.
    """
    result = Result("slow-reader")
    settings = {"CSMS_UNREAD_SECONDS": str(UNREAD_SECONDS)}
    with stage(plan.database, plan.stations + 1, settings=settings) as made, made.server() as server:
        own, made.made = made.made[0], made.made[1:]

        slow = _Slow(result, made, server, Line(made, own))

        async def fault(number: int) -> str:
            await slow.once()
            return "one that does not read"

        fleet = asyncio.run(play(result, plan, made, [server], fault, tell))
        slow.compare(fleet)
    return result


class _Slow:
    """The charge point that does not read, and what its neighbours and the server's memory make of it."""

    def __init__(self, result: Result, made: Stage, server: Server, line: Line) -> None:
        self._result, self._made, self._server, self._line = result, made, server, line
        # From when to when (monotonic) it asked.
        self._windows: list[tuple[float, float]] = []

    async def once(self) -> None:
        """Connect, ask without reading until nothing is taken any more, and wait for the end."""
        result, line, before = self._result, self._line, self._server.rss_bytes()
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        # Else the system takes megabytes of requests that the server has long ceased to read.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        raw.connect(("127.0.0.1", self._server.port))
        began = monotonic()
        try:
            # It reads one frame ahead, then nothing: there is nobody to hand it to.
            connection = await line.connect(self._server, sock=raw, max_queue=1)
            asked, since = await self._ask_on(connection)
            shown = _shown(self._made, self._server, line.identity)
            seconds = await until(_negated(shown), UNREAD_SECONDS + GRACE_SECONDS)
            if seconds is not None:
                seconds = round(monotonic() - since, 1)
            largest = self._server.rss_bytes() - before
            result.figures |= {"asked": asked, "cut_off_seconds": seconds, "grew_bytes": largest}
            if asked >= UNANSWERED:
                result.violations.append(f"{asked} requests were taken of one that reads no answer")
            if seconds is None:
                result.violations.append(f"{line.identity}: reads nothing, and is still connected")
            elif not await _has_event(self._made, self._server, line.identity, "stopped_reading"):
                result.violations.append(f"{line.identity}: was cut off, but no event says why")
            if largest > MOST_BYTES:
                result.violations.append(f"the server grew by {largest} bytes for one that does not read")
        finally:
            self._windows.append((began, monotonic()))
            line.hang_up()

    async def _ask_on(self, connection: websockets.ClientConnection) -> tuple[int, float]:
        """How many requests were handed over until the end came, and when something was for the last time (monotonic).

        A server that is busy takes its time, too; so it is the end that is waited for, not a pause.
        """
        asked, since = 0, monotonic()
        with suppress(TimeoutError, OSError, websockets.WebSocketException):
            for number in range(PINGS + UNANSWERED):
                async with asyncio.timeout(UNREAD_SECONDS + GRACE_SECONDS):
                    if number < PINGS:
                        await connection.ping(str(number).encode().ljust(PING_BYTES))
                    else:
                        await connection.send(REPEATED)
                        asked += 1
                since = monotonic()
        return asked, since

    def compare(self, fleet: Fleet) -> None:
        """The neighbours' answers, beside those of the time without."""
        beside: list[float] = []
        alone: list[float] = []
        for at, seconds in (answer for station in fleet.stations for answer in station.latencies):
            within = any(began <= at <= ended for began, ended in self._windows)
            (beside if within else alone).append(seconds)
        if not beside or not alone:
            self._result.violations.append("the neighbours had no answers to compare")
            return
        p99_beside, p99_alone = _p99(beside), _p99(alone)
        self._result.figures |= {"p99_beside_ms": round(p99_beside * 1000), "p99_alone_ms": round(p99_alone * 1000)}
        if p99_beside > max(p99_alone * MOST_FACTOR, MOST_SECONDS):
            self._result.violations.append(f"neighbours waited {p99_beside:.3f} s (p99), without it {p99_alone:.3f} s")


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]
