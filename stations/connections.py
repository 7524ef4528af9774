"""The connections of this process, and the housekeeping they share: nothing here is the truth, the rows are.

Every few seconds one query asks which of this process's charge points have queued commands, for a doorbell may be lost
(Redis restarted, a process killed between commit and ring), and one write says that the process is alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from stations import security_events
from stations.certificates import presented
from stations.models import ChargePoint, Command, ServerProcess
from stations.models.command import CommandStatus
from tenants.scope import platform_scope

logger = logging.getLogger(__name__)

T = TypeVar("T")

HANDSHAKE_THREADS = 4
DEAD_AFTER = timedelta(seconds=60)
CLOSES_PER_SECOND = 500
# How soon a new or withdrawn root counts for the next TLS handshake.
CLIENT_ROOTS_SECONDS = 2.0
# TLS handshakes that failed, by reason and address, of the present minute: what has been looked into.
MAX_TLS_FAILURES_A_MINUTE = 100
_told: dict[str, int] = {}


class Connection(Protocol):
    """What this module needs of a consumer."""

    def ring(self) -> None: ...

    async def close_for_restart(self) -> None: ...


class Link(Protocol):
    charge_point_id: int
    generation: int


@dataclass(eq=False)
class Process:
    """What one event loop (one server process) keeps about its sockets."""

    id: str = field(default_factory=lambda: str(uuid4()))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    connections: dict[tuple[int, int], Connection] = field(default_factory=dict)
    handshakes: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(HANDSHAKE_THREADS, thread_name_prefix="handshake")
    )
    housekeeping: asyncio.Task[None] | None = None
    draining: bool = False
    emptied: asyncio.Event = field(default_factory=asyncio.Event)


_processes: WeakKeyDictionary[asyncio.AbstractEventLoop, Process] = WeakKeyDictionary()


def _process() -> Process:
    return _processes.setdefault(asyncio.get_running_loop(), Process())


def process_id() -> str:
    """The id under which this process's charge points are found in the database."""
    return _process().id


def add(link: Link, connection: Connection) -> None:
    _process().connections[link.charge_point_id, link.generation] = connection


def remove(link: Link, connection: Connection) -> None:
    process = _process()
    process.connections.pop((link.charge_point_id, link.generation), None)
    if not process.connections:
        process.emptied.set()


def count() -> int:
    """Open charge point connections of this process."""
    return len(_process().connections)


def draining() -> bool:
    """Whether this process takes no new connections any more."""
    return _process().draining


def any_draining() -> bool:
    """As `draining`, for a thread that has no event loop: whether this process is stopping."""
    return any(process.draining for process in list(_processes.values()))


async def in_handshake_thread(function: Callable[[], Any]) -> Any:
    """Run a handshake's decision in one of the threads kept for that, each with its own database connection."""
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
            waiting = await in_handshake_thread(lambda: _report_and_look(process))
            for key, consumer in list(process.connections.items()):
                if key[0] in waiting:
                    consumer.ring()
        except DatabaseError as error:
            logger.warning("Housekeeping failed (%s); it is tried again.", type(error).__name__)
        await asyncio.sleep(settings.CSMS_COMMAND_SWEEP_SECONDS)


def _report_and_look(process: Process) -> set[int]:
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
            },
        )
        return set(
            Command.objects.filter(
                status=CommandStatus.QUEUED, charge_point__connection_owner=process.id, charge_point__connected=True
            )
            .order_by()
            .values_list("charge_point_id", flat=True)
            .distinct()
        )


def forget_dead_processes(now: datetime) -> int:
    """Mark the charge points of processes that stopped reporting as disconnected; the number of charge points."""
    with platform_scope():
        alive = ServerProcess.objects.filter(alive_at__gte=now - DEAD_AFTER).values_list("id", flat=True)
        lost = (
            ChargePoint.objects.filter(connected=True)
            .exclude(connection_owner__in=list(alive))
            .update(connected=False, connection_owner="", disconnected_at=now)
        )
        ServerProcess.objects.filter(alive_at__lt=now - timedelta(days=1)).delete()
    return lost


async def drain() -> None:
    """Take no new connections, and close the open ones spread over time, so that they do not return all at once."""
    process = _process()
    process.draining = True
    open_now = list(process.connections.values())
    pause = min(1.0 / CLOSES_PER_SECOND, settings.CSMS_SHUTDOWN_SECONDS / 2 / max(1, len(open_now)))
    for consumer in open_now:
        try:
            await consumer.close_for_restart()
        except RuntimeError:
            logger.debug("A connection closed by itself while draining")
        await asyncio.sleep(pause)
    if process.connections:
        process.emptied.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.emptied.wait(), settings.CSMS_SHUTDOWN_SECONDS / 2)
    if process.housekeeping is not None:
        process.housekeeping.cancel()
    await in_handshake_thread(lambda: _report_gone(process.id))


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
