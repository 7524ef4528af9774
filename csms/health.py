"""Liveness and readiness, for balancers and orchestrators."""

from __future__ import annotations

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from csms import __version__
from stations import connections

OK = "ok"
REDIS_TIMEOUT_SECONDS = 2


def liveness(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all, with the product's version; asks nothing of the database."""
    return JsonResponse({"status": OK, "version": __version__})


def readiness(request: HttpRequest) -> JsonResponse:
    """200 when this process can do its work, else 503; `parts` says which part keeps it from that.

    Redis is a part only where it is configured. A process that is stopping is not ready: its charge points are on
    their way to another.
    """
    parts = {"accepting": "stopping" if connections.any_stopping() else OK} | _database()
    if settings.REDIS_URL:
        parts["redis"] = _redis()
    ready = all(state == OK for state in parts.values())
    return JsonResponse({"status": OK if ready else "unavailable", "parts": parts}, status=200 if ready else 503)


def _database() -> dict[str, str]:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return {"database": "cannot be reached"}
    return {"database": OK, "migrations": "missing" if pending else OK}


def _redis() -> str:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
        ) as client:
            client.ping()
    except redis.RedisError:
        return "cannot be reached"
    return OK
