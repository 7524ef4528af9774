"""Says at once when PostgreSQL is away, and waits when it is only busy.

Context: a pool whose server is gone lets everybody wait for its time-out and takes its own connections for good until
they are used; charge points and people then wait in vain for ten or twenty seconds. A pool whose connections are all in
use looks the same to who waits, and there waiting is right: a refusal is what some charge points take as final.
Choice: whoever waits longer than a moment, or finds a connection dead, has a thread try to connect by itself. When
that fails the breaker opens: the pool is closed, which ends all waiting, and everybody is refused at once (`Away`).
The thread alone tries again, twice a second; when it gets through, a new pool is made, without the old one's pauses.
Consequence: a server that refuses connections is known within half a second, one that does not answer at all within
four, and recovery is noticed within a second. What runs on a connection that still works is left alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

logger = logging.getLogger(__name__)

# How long a connection is waited for before it is asked whether there is a server at all, and how often.
MOMENT_SECONDS = 0.2
SHORTEST_SECONDS = 0.001
PROBE_SECONDS = 0.5
# For a server that does not answer at all.
CONNECT_TIMEOUT_SECONDS = 3
# What a server says that is there and has no connection left. Its words, since an error of connecting has no code.
FULL = ("too many", "connection slots")

_patience: ContextVar[float | None] = ContextVar("patience", default=None)


class Away(psycopg.OperationalError):
    """PostgreSQL cannot be reached. Raised at once, without trying."""


@contextmanager
def patience(until: float) -> Iterator[None]:
    """Inside, a connection is waited for until `until` (monotonic), whatever CSMS_DATABASE_POOL_TIMEOUT_SECONDS is."""
    token = _patience.set(until)
    try:
        yield
    finally:
        _patience.reset(token)


class Breaker:
    """Of one database of this process. `connect` makes a connection of its own; `close_pool` ends the pool there is."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], close_pool: Callable[[], None]) -> None:
        self._connect = connect
        self._close_pool = close_pool
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        # How many have waited for a moment and go on waiting, and whether a connection was found dead.
        self._waiting = 0
        self._suspected = False
        self._away_since: float | None = None
        self._reached = 0.0

    @property
    def is_open(self) -> bool:
        """Whether everybody is refused at the moment."""
        return self._away_since is not None

    def check_out(self, pool_of: Callable[[], ConnectionPool[Any]]) -> psycopg.Connection[Any]:
        """A connection of the pool that works. Errors: Away; PoolTimeout when all were in use for too long."""
        given = _patience.get()
        until = monotonic() + pool_of().timeout if given is None else given
        while True:
            self._refuse_while_away()
            pool = pool_of()
            pool.open()
            try:
                connection = self._wait_for_one(pool, until)
            except PoolClosed:
                # By the probe, while this one waited; or by who ended the pool, and then there is another.
                self._refuse_while_away()
                if pool is pool_of():
                    raise
                continue
            try:
                pool.check_connection(connection)
            except psycopg.Error:
                connection.close()
                pool.putconn(connection)
                # Its neighbours in the pool are no better; the thread knows in a moment.
                self._suspected = True
                self._call()
                continue
            return connection

    def _refuse_while_away(self) -> None:
        since = self._away_since
        if since is not None:
            # A process that was forked meanwhile has no thread that looks.
            self._have_thread()
            raise Away(f"the database has been away for {monotonic() - since:.1f} s")

    def _wait_for_one(self, pool: ConnectionPool[Any], until: float) -> psycopg.Connection[Any]:
        left = until - monotonic()
        try:
            return pool.getconn(max(min(left, MOMENT_SECONDS), SHORTEST_SECONDS))
        except PoolTimeout:
            left = until - monotonic()
            if left <= 0:
                raise
        with self._lock:
            self._waiting += 1
        self._call()
        try:
            return pool.getconn(left)
        finally:
            with self._lock:
                self._waiting -= 1

    # --- the thread ---------------------------------------------------------------------------------------------------
    def _call(self) -> None:
        """Have the thread look."""
        self._have_thread()
        self._wake.set()

    def _have_thread(self) -> None:
        """Begin the thread at the first call, and again in a process that was forked."""
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._watch, name="database-breaker", daemon=True)
                    self._thread.start()

    def _watch(self) -> None:
        while True:
            self._wake.wait(PROBE_SECONDS if self._waiting or self.is_open else None)
            self._wake.clear()
            try:
                self._look()
            except Exception:
                # Without it nobody would notice that the database is back.
                logger.exception("The database was not looked for; it is tried again")

    def _look(self) -> None:
        if not (self.is_open or self._suspected) and monotonic() - self._reached < PROBE_SECONDS:
            return
        self._suspected = False
        failure = self._probe()
        if failure is None:
            self._reached = monotonic()
            if self._away_since is not None:
                logger.warning("The database is back after %.1f s", monotonic() - self._away_since)
                self._away_since = None
            return
        if self._away_since is None:
            self._away_since = monotonic()
            logger.error("The database cannot be reached: %s", failure)
        # Again each time: whoever came just before the breaker opened may have made another.
        self._close_pool()

    def _probe(self) -> str | None:
        """Why the database cannot be reached, or None. One that is full is there."""
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            text = str(error)
            return None if any(words in text for words in FULL) else text
        return None


def is_busy(error: BaseException) -> bool:
    """Whether an error of Django's says that every connection was in use for longer than it was waited for."""
    return isinstance(error.__cause__, PoolTimeout)


def is_away(error: BaseException) -> bool:
    """Whether an error of Django's says that the breaker is open."""
    return isinstance(error.__cause__, Away)
