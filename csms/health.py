"""Liveness and readiness, for balancers and orchestrators."""

from __future__ import annotations

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from stations import connections


def liveness(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


def readiness(request: HttpRequest) -> JsonResponse:
    """200 when this process can do its work, else 503; the body says which part is missing."""
    parts = {
        "database": _database(),
        "cache": _cache(),
        "accepting": "stopping" if connections.any_draining() else "ok",
    }
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "parts": parts}, status=200 if ready else 503)


def _database() -> str:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "cannot be reached"
    return "migrations are missing" if pending else "ok"


def _cache() -> str:
    try:
        cache.set("readiness", 1, 10)
        return "ok" if cache.get("readiness") == 1 else "forgets"
    except Exception as error:
        if not type(error).__module__.startswith("redis"):
            raise
        return "cannot be reached"
