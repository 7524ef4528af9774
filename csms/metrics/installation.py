"""What is the same whichever process is asked: open commands, the task queue, whether database and Redis answer.

Asked when somebody scrapes, at most every few seconds, and never more than some thousands of rows.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, F, Min, Q
from kombu.transport import memory
from prometheus_client.core import GaugeMetricFamily, Metric

from csms.celery import app
from csms.metrics.jobs import PUBLISHED
from stations.models import Command
from stations.models.command import OPEN_STATUSES
from tenants.models import Tenant
from tenants.scope import platform_scope

CACHE_SECONDS: Final = 5.0
# Open commands that are looked at; more are told as so many.
MOST_COMMANDS: Final = 10_000
REDIS_TIMEOUT_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Open:
    """Open commands of one status: how many, and the age in seconds of the oldest, of all and of those whose charge
    point is connected."""

    number: int = 0
    oldest_seconds: float = 0.0
    oldest_connected_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """What was found. `commands` is empty when the database did not answer, `tasks` None when Redis did not."""

    commands: Mapping[str, Open] = field(default_factory=dict)
    tasks: tuple[int, float] | None = None
    answers: Mapping[str, bool] = field(default_factory=dict)


_lock = threading.Lock()
_known: tuple[float, State] | None = None


def state() -> State:
    """The state of the installation, at most CACHE_SECONDS old."""
    global _known
    with _lock:
        if _known is None or monotonic() - _known[0] > CACHE_SECONDS:
            _known = (monotonic(), _look())
        return _known[1]


def forget() -> None:
    """Have the next question answered afresh."""
    global _known
    with _lock:
        _known = None


def _look() -> State:
    commands, tasks = _open_commands(), _waiting_tasks()
    answers = {"database": bool(commands)} | ({"redis": tasks is not None} if settings.REDIS_URL else {})
    return State(commands, tasks, answers)


def _open_commands() -> dict[str, Open]:
    now = datetime.now(UTC)
    found = {}
    try:
        # Of all tenants: the figures are the installation's, and hold nothing of a tenant's.
        with platform_scope():
            for status in OPEN_STATUSES:
                rows = Command.objects.filter(status=status).order_by().annotate(online=F("charge_point__connected"))
                seen = rows[:MOST_COMMANDS].aggregate(
                    number=Count("pk"),
                    oldest=Min("created_at"),
                    oldest_connected=Min("created_at", filter=Q(online=True)),
                )
                found[str(status)] = Open(
                    seen["number"], _age(now, seen["oldest"]), _age(now, seen["oldest_connected"])
                )
    except DatabaseError:
        return {}
    return found


def _age(now: datetime, at: datetime | None) -> float:
    return max(0.0, (now - at).total_seconds()) if at is not None else 0.0


# --- the task queue ---------------------------------------------------------------------------------------------------
def _waiting_tasks() -> tuple[int, float] | None:
    """Tasks that no worker has taken yet, and the age of the first in seconds; None when Redis does not answer."""
    queue = app.conf.task_default_queue
    if not settings.REDIS_URL:
        waiting = memory.Channel.queues.get(queue)
        messages = list(waiting.queue) if waiting is not None else []
        return len(messages), _published_before(messages[0] if messages else None)
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
        ) as client:
            number: Any = client.llen(queue)
            first: Any = client.lindex(queue, -1)
    except redis.RedisError:
        return None
    return int(number), _published_before(json.loads(first) if first else None)


def _published_before(message: Any) -> float:
    headers = message.get("headers") if isinstance(message, dict) else None
    published = headers.get(PUBLISHED) if isinstance(headers, dict) else None
    return max(0.0, time() - published) if isinstance(published, int | float) else 0.0


# --- as metrics -------------------------------------------------------------------------------------------------------
def collect() -> Iterable[Metric]:
    """The state as gauges; what is not known is left out."""
    found = state()
    number = GaugeMetricFamily(
        "csms_commands", f"Commands that are not over; counted up to {MOST_COMMANDS}.", labels=["status"]
    )
    oldest = GaugeMetricFamily("csms_commands_oldest_seconds", "Age of the oldest of them.", labels=["status"])
    connected = GaugeMetricFamily(
        "csms_commands_oldest_connected_seconds",
        "Age of the oldest whose charge point is connected.",
        labels=["status"],
    )
    for status, seen in found.commands.items():
        number.add_metric([status], seen.number)
        oldest.add_metric([status], seen.oldest_seconds)
        connected.add_metric([status], seen.oldest_connected_seconds)
    yield from (number, oldest, connected)
    if found.tasks is not None:
        yield GaugeMetricFamily("csms_tasks_waiting", "Background tasks that wait for a worker.", value=found.tasks[0])
        yield GaugeMetricFamily("csms_tasks_oldest_seconds", "Age of the first of them.", value=found.tasks[1])
    answers = GaugeMetricFamily("csms_part_up", "Whether a part the product needs answers.", labels=["part"])
    for part, up in found.answers.items():
        answers.add_metric([part], float(up))
    yield answers


def slugs(tenant_ids: Iterable[int]) -> dict[int, str]:
    """The slugs of some tenants by id; empty when the database does not answer."""
    try:
        with platform_scope():
            return dict(Tenant.objects.filter(pk__in=list(tenant_ids)).values_list("pk", "slug"))
    except DatabaseError:
        return {}
