"""The connections of this process, and the housekeeping they share: nothing here is the truth, the rows are.

Every few seconds one query asks which of this process's charge points have commands to be sent or to be closed, for a
doorbell may be lost (Redis restarted, a process killed between commit and ring), one write says that the process is
alive, and one count compares what the rows say is connected here with the sockets: the database may have been away when
a connection ended, and who could not report for a minute was taken for dead.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from csms import affinity, logs
from csms.metrics import counting
from stations import security_events
from stations.certificates import presented
from stations.models import ChargePoint, Command, ServerProcess
from stations.models.command import OPEN_STATUSES
from tenants.scope import platform_scope

logger = logging.getLogger(__name__)

T = TypeVar("T")

HANDSHAKE_THREADS = 4
DEAD_AFTER = timedelta(seconds=60)
CLOSES_PER_SECOND = 500
ROWS_AT_A_TIME = 500
SHORTEST_PAUSE_SECONDS = 0.01
LOOK_AGAIN_SECONDS = 0.2
# How soon a new or withdrawn root counts for the next TLS handshake.
CLIENT_ROOTS_SECONDS = 2.0
# TLS handshakes that failed, by reason and address, of the present minute: what has been looked into.
MAX_TLS_FAILURES_A_MINUTE = 100
_told: dict[str, int] = {}


class Connection(Protocol):
    """What this module needs of a consumer."""

    def ring(self) -> None: ...

    def outlived(self) -> None: ...

    async def close_for_restart(self) -> None: ...

    @property
    def answering(self) -> bool: ...

    @property
    def asking(self) -> bool: ...


class Link(Protocol):
    tenant_id: int
    charge_point_id: int
    generation: int


@dataclass(eq=False)
class Process:
    """What one event loop (one server process) keeps about its sockets."""

    id: str = field(default_factory=lambda: str(uuid4()))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    connections: dict[tuple[int, int], Connection] = field(default_factory=dict)
    # The highest generation here of each charge point.
    newest: dict[int, int] = field(default_factory=dict)
    handshakes: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(
            HANDSHAKE_THREADS, thread_name_prefix="handshake", initializer=affinity.roam
        )
    )
    housekeeping: asyncio.Task[None] | None = None
    # What differed between sockets and rows at the last look: now it differs for longer than a handshake takes.
    suspects: set[tuple[int, int]] = field(default_factory=set)
    stopping: bool = False
    draining: bool = False
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)


_processes: WeakKeyDictionary[asyncio.AbstractEventLoop, Process] = WeakKeyDictionary()


def _process() -> Process:
    return _processes.setdefault(asyncio.get_running_loop(), Process())


def process_id() -> str:
    """The id under which this process's charge points are found in the database."""
    return _process().id


# What this process listens on, by kind; None when it is no server.
_addresses: dict[str, str] | None = None


def announce(addresses: Mapping[str, str]) -> None:
    """Say what this process listens on, before its event loop begins."""
    global _addresses
    _addresses = dict(addresses)


def listens_on(now: datetime) -> Mapping[str, str]:
    """The addresses by kind of this server process; of the newest one that is alive where this is none."""
    if _addresses is not None:
        return _addresses
    with platform_scope():
        alive = ServerProcess.objects.filter(alive_at__gte=now - DEAD_AFTER, alive_at__lte=now + DEAD_AFTER)
        found = alive.exclude(addresses=None).order_by("-started_at").values_list("addresses", flat=True).first()
    return found or {}


def add(link: Link, connection: Connection) -> None:
    """Count a connection in. Where its charge point has two of this process, the older is told: the doorbell that says
    so to other processes may have rung before the older one listened."""
    process = _process()
    pk, generation = link.charge_point_id, link.generation
    process.connections[pk, generation] = connection
    counting.connected(link.tenant_id)
    rival = process.newest.get(pk, generation)
    process.newest[pk] = max(rival, generation)
    older = process.connections.get((pk, min(rival, generation)))
    if rival != generation and older is not None:
        older.outlived()


def remove(link: Link, connection: Connection) -> None:
    process = _process()
    if process.connections.pop((link.charge_point_id, link.generation), None) is not None:
        counting.disconnected(link.tenant_id)
    if process.newest.get(link.charge_point_id) == link.generation:
        del process.newest[link.charge_point_id]
    if not process.connections:
        process.emptied.set()


def count() -> int:
    """Open charge point connections of this process."""
    return len(_process().connections)


def draining() -> bool:
    """Whether this process takes no new connections any more."""
    return _process().draining


def any_stopping() -> bool:
    """Whether this process was told to stop; for threads, which have no event loop."""
    return any(process.stopping for process in list(_processes.values()))


async def in_handshake_thread(function: Callable[[], Any]) -> Any:
    """Run a handshake's decision in one of the threads kept for that, each with its own database connection."""
    function = logs.carried(function)
    return await asyncio.get_running_loop().run_in_executor(_process().handshakes, with_connection, function)


def with_connection(function: Callable[[], T]) -> T:
    """Run `function` in a thread of ours, with a database connection that works and is given back afterwards."""
    close_old_connections()
    try:
        return function()
    finally:
        # The pool, or the SQLite file, has it back; an idle thread holds nothing.
        if connection.vendor == "postgresql":
            connection.close()


def start_housekeeping() -> None:
    """Begin to look for commands and to report this process alive; idempotent."""
    process = _process()
    if process.housekeeping is None or process.housekeeping.done():
        process.housekeeping = asyncio.get_running_loop().create_task(_housekeeping(process))


async def _housekeeping(process: Process) -> None:
    while True:
        try:
            held = set(process.connections)
            waiting = await in_handshake_thread(partial(_report_and_look, process, held))
            for key, consumer in list(process.connections.items()):
                if key[0] in waiting:
                    consumer.ring()
        except DatabaseError as error:
            logger.warning("Housekeeping failed (%s); it is tried again.", type(error).__name__)
        except Exception:
            # Without it no lost doorbell would be noticed, and this process be taken for dead.
            logger.exception("Housekeeping failed; it is tried again.")
        await asyncio.sleep(settings.CSMS_COMMAND_SWEEP_SECONDS)


def _report_and_look(process: Process, held: set[tuple[int, int]]) -> set[int]:
    """Report the process alive, set right whose sockets it has; gives the charge points to be rung."""
    now = datetime.now(UTC)
    with platform_scope():
        ServerProcess.objects.update_or_create(
            id=process.id,
            defaults={"alive_at": now},
            create_defaults={
                "alive_at": now,
                "started_at": process.started_at,
                "host": socket.gethostname()[:255],
                "pid": os.getpid(),
                "addresses": _addresses,
            },
        )
        differing = _compare(process, held, now)
        # Also what is sent: unless its answer is awaited here, nobody awaits it (commands.take_next).
        return differing | set(
            Command.objects.filter(
                status__in=OPEN_STATUSES, charge_point__connection_owner=process.id, charge_point__connected=True
            )
            .order_by()
            .values_list("charge_point_id", flat=True)
            .distinct()
        )


def _compare(process: Process, held: set[tuple[int, int]], now: datetime) -> set[int]:
    """Make the rows say of this process's charge points what its sockets say; `held` has their ids and generations.

    Gives the charge points whose sockets here have to find out for themselves: a newer one may be elsewhere.
    """
    shown_here = ChargePoint.objects.filter(connection_owner=process.id, connected=True).order_by()
    if not process.suspects and shown_here.count() == len(held):
        return set()
    shown = set(shown_here.values_list("pk", "connection_generation"))
    differing = shown ^ held
    certain, process.suspects = differing & process.suspects, differing - process.suspects
    for pk, generation in certain - held:
        shown_here.filter(pk=pk, connection_generation=generation).update(
            connected=False, connection_owner="", disconnected_at=now
        )
    away = dict(certain & held)
    while away:
        chunk = [away.popitem() for _ in range(min(len(away), ROWS_AT_A_TIME))]
        rows = ChargePoint.objects.filter(pk__in=[pk for pk, _ in chunk], connected=False).order_by()
        ours = set(rows.values_list("pk", "connection_generation")) & set(chunk)
        rows.filter(pk__in=[pk for pk, _ in ours]).update(connected=True, connection_owner=process.id)
    return {pk for pk, _ in certain & held}


def forget_dead_processes(now: datetime) -> int:
    """Mark the charge points of processes that stopped reporting as disconnected; the number of charge points."""
    with platform_scope():
        # A report from the future is from before the clock was set back.
        reported = ServerProcess.objects.filter(alive_at__gte=now - DEAD_AFTER, alive_at__lte=now + DEAD_AFTER)
        alive = reported.values_list("id", flat=True)
        lost = (
            ChargePoint.objects.filter(connected=True)
            .exclude(connection_owner__in=list(alive))
            .update(connected=False, connection_owner="", disconnected_at=now)
        )
        ServerProcess.objects.filter(alive_at__lt=now - timedelta(days=1)).delete()
    return lost


# --- the end of the process -------------------------------------------------------------------------------------------
async def stop_soon(seconds: float) -> None:
    """Say that this process is stopping, and go on as before for `seconds`: who balances has to see it first."""
    process = _process()
    process.stopping = True
    await _pause(process, seconds)


def hurry() -> None:
    """Whoever stops this process does not want to wait: no pauses any more, and no waiting for charge points."""
    _process().hurried.set()


async def drain() -> None:
    """Take no new connections, and close the open ones spread over time, so that they do not return all at once.

    What a charge point asked is answered before its close frame, and its answer to a command of ours is waited for;
    both for three quarters of CSMS_SHUTDOWN_SECONDS at most. A second call returns at once.
    """
    process = _process()
    if process.draining:
        return
    process.stopping = process.draining = True
    began, seconds = time.monotonic(), float(settings.CSMS_SHUTDOWN_SECONDS)
    patience = began + seconds * 3 / 4
    open_now = list(process.connections.values())
    spread = min(len(open_now) / CLOSES_PER_SECOND, seconds / 2)
    leaving: dict[Connection, asyncio.Task[None]] = {}
    for number, consumer in enumerate(open_now):
        await _pause(process, began + spread * number / len(open_now) - time.monotonic())
        leaving[consumer] = asyncio.create_task(_let_go(process, consumer, patience))
    while process.connections and time.monotonic() < began + seconds * 4 / 5:
        # Those whose handshake was under way when this began.
        for consumer in set(process.connections.values()) - set(leaving):
            leaving[consumer] = asyncio.create_task(_let_go(process, consumer, patience))
        process.emptied.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.emptied.wait(), LOOK_AGAIN_SECONDS)
    if leaving:
        await asyncio.wait(leaving.values(), timeout=seconds / 20)
    if process.housekeeping is not None:
        process.housekeeping.cancel()
    try:
        left = began + seconds * 17 / 20 - time.monotonic()
        await asyncio.wait_for(in_handshake_thread(lambda: _report_gone(process.id)), left)
    except (DatabaseError, TimeoutError) as error:
        logger.warning("The end of this process was not recorded (%s); others notice within a minute.", error)


async def _pause(process: Process, seconds: float) -> None:
    """Wait, unless in a hurry. What is shorter than the clock of the event loop can measure adds up to the next."""
    if seconds > SHORTEST_PAUSE_SECONDS:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.hurried.wait(), seconds)


async def _let_go(process: Process, consumer: Connection, patience: float) -> None:
    """Close a connection when nothing is in hand there, at `patience` (monotonic) at the latest."""
    pause = SHORTEST_PAUSE_SECONDS
    while consumer.answering or (consumer.asking and not process.hurried.is_set()):
        left = patience - time.monotonic()
        if left <= 0:
            break
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, LOOK_AGAIN_SECONDS)
    try:
        await consumer.close_for_restart()
    except (OSError, RuntimeError):
        logger.debug("A connection closed by itself while draining")


def _report_gone(process_id: str) -> None:
    with platform_scope():
        ServerProcess.objects.filter(id=process_id).delete()


# --- TLS --------------------------------------------------------------------------------------------------------------
class ClientRoots:
    """What `client_roots` gives, kept up to date by a thread of its own: a TLS handshake must not wait for rows."""

    def __init__(self) -> None:
        self._text = ""
        self._renewing: threading.Thread | None = None
        self._lock = threading.Lock()

    def text(self) -> str:
        """The roots as they were a moment ago; the first call reads them and starts the thread."""
        with self._lock:
            if self._renewing is None:
                # Before there is an event loop: `serve` makes its first TLS context before it listens.
                self._read()
                self._renewing = threading.Thread(target=self._renew, name="client-roots", daemon=True)
                self._renewing.start()
        return self._text

    def _read(self) -> None:
        try:
            self._text = with_connection(presented.client_roots)
        except DatabaseError as error:
            logger.warning("Client roots were not read (%s); they are tried again.", type(error).__name__)

    def _renew(self) -> None:
        while True:
            time.sleep(CLIENT_ROOTS_SECONDS)
            self._read()


_client_roots = ClientRoots()


def client_roots() -> str:
    """PEM of every root that a charge point's certificate may lead to; which tenant's it is, the handshake judges."""
    return _client_roots.text()


def tls_failed(failure: Any) -> None:
    """Report a TLS handshake that failed: there is no identity yet, only an address (csms.tls.Failure)."""
    logger.info("TLS handshake failed: %s (%s), from %s", failure.reason, failure.detail, failure.address)
    counting.tls_failed(failure.reason)
    minute = int(time.monotonic() // 60)
    if _told.get("minute") != minute:
        _told.clear()
        _told["minute"] = minute
    key = f"{failure.reason} {failure.address}"
    # What is alike once a minute, and never more than the handshakes of charge points can bear.
    if key in _told or len(_told) > MAX_TLS_FAILURES_A_MINUTE:
        return
    _told[key] = minute
    _process().handshakes.submit(with_connection, lambda: _note_tls_failure(failure))


def _note_tls_failure(failure: Any) -> None:
    try:
        security_events.note_tls_failure(failure.reason, failure.address, failure.detail)
    except DatabaseError as error:
        logger.warning("A failed TLS handshake was not kept (%s)", type(error).__name__)
