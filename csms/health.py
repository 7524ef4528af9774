"""Liveness and readiness, for balancers and orchestrators.

Ready means: can do its work. The database must take writes, for an answer to a charge point is a row; a standby or a
full disk that only lets one read is no help. Without Redis charging goes on, on every process alike, so a balancer that
took all of them away would make it worse: that is told, and does not count.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from csms import __version__
from csms.outage import somebody_else_writes, takes_no_writes
from stations import connections
from tenants.models import WriteProbe
from tenants.postgresql.breaker import is_busy, patience

OK = "ok"
BUSY = "every connection is in use"
WAITS = "waits for another writer"
# Told, but no reason to send charge points and people elsewhere.
DEGRADED = frozenset({BUSY, WAITS})
REDIS_TIMEOUT_SECONDS = 2
DATABASE_TIMEOUT_SECONDS = 2
# Anybody may ask; the database is written to so often at most.
PROBE_SECONDS = 0.5


class _Writing:
    """Whether the database takes writes, looked at by one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = OK
        self._until = 0.0

    def state(self) -> str:
        """`ok`, or what is in the way. Errors: DatabaseError when it is something else."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._state = self._look()
                self._until = time.monotonic() + PROBE_SECONDS
            return self._state

    @staticmethod
    def _look() -> str:
        try:
            WriteProbe.write(datetime.now(UTC))
        except DatabaseError as error:
            if takes_no_writes(error):
                return "takes no writes"
            if somebody_else_writes(error):
                return WAITS
            raise
        return OK


_writing = _Writing()


def liveness(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all, with the product's version; asks nothing of the database."""
    return JsonResponse({"status": OK, "version": __version__})


def readiness(request: HttpRequest) -> JsonResponse:
    """200 when this process can do its work, else 503; `parts` says which part keeps it from that.

    `status` is `ok`, `unavailable` with 503, or `degraded` with 200: charging goes on without that part. Redis is a
    part only where it is configured. A process that is stopping is not ready: its charge points are on their way to
    another.
    """
    if connections.any_stopping():
        # Nothing else matters any more, nor is to be waited for.
        return JsonResponse({"status": "unavailable", "parts": {"accepting": "stopping"}}, status=503)
    parts = {"accepting": OK} | _database()
    ready = all(state == OK or state in DEGRADED for state in parts.values())
    if settings.REDIS_URL:
        parts["redis"] = _redis()
    if not ready:
        return JsonResponse({"status": "unavailable", "parts": parts}, status=503)
    return JsonResponse({"status": OK if set(parts.values()) == {OK} else "degraded", "parts": parts})


def _database() -> dict[str, str]:
    try:
        with patience(time.monotonic() + DATABASE_TIMEOUT_SECONDS):
            executor = MigrationExecutor(connection)
            pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
            return {"database": _writing.state(), "migrations": "missing" if pending else OK}
    except DatabaseError as error:
        return {"database": BUSY if is_busy(error) else "cannot be reached"}


def _redis() -> str:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
        ) as client:
            client.ping()
    except redis.RedisError:
        return "cannot be reached"
    return OK
