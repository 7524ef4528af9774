"""What a drill has to do inside its database, in a process of its own: one order a line on stdin, one answer on stdout.

An order is `{"do": NAME, …}` with the arguments of ORDERS[NAME]; the answer `{"done": …}` or `{"failure": sentence}`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.core.management import call_command
from django.db import connections

from csms.benchmark import rows
from csms.drills import burst_invariants, invariants, slow_jobs
from stations import diagnostics
from stations.models import ChargePoint
from tenants.models import ApiKey, ApiScope, JobRun, JobState, Tenant
from tenants.scope import tenant_scope


def answers(orders: Iterable[str]) -> Iterator[str]:
    """The answer to each order, as lines."""
    for line in orders:
        order = json.loads(line)
        try:
            answer = {"done": ORDERS[order.pop("do")](**order)}
        except Exception as failure:
            # Told to whoever gave the order: it is the drill that breaks off.
            answer = {"failure": f"{type(failure).__name__}: {failure}"}
        # What is broken next may be the database; and a file of SQLite is whole when nobody has it open.
        connections.close_all()
        yield json.dumps(answer)


def _migrate() -> None:
    call_command("migrate", verbosity=0)


def _seed(slug: str, stations: int) -> dict[str, Any]:
    made = rows.seed(stations, slug=slug, prefix="DRILL")
    _, api_key = ApiKey.issue(Tenant.objects.get(slug=slug), "drill", list(ApiScope.values))
    return {"stations": made, "api_key": api_key}


def _publish(slug: str, jobs: int, steps: int, patience_seconds: float) -> list[str]:
    """Publish slow jobs; returns when a worker has begun one of them."""
    tasks = [uuid4().hex for _ in range(jobs)]
    with tenant_scope(Tenant.objects.get(slug=slug)):
        for task_id in tasks:
            slow_jobs.count.apply_async((steps,), task_id=task_id)
        deadline = time.monotonic() + patience_seconds
        while not JobRun.objects.filter(task_id__in=tasks, state=JobState.RUNNING).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"No worker has taken a job for {patience_seconds} s.")
            time.sleep(invariants.LOOK_SECONDS)
    return tasks


def _ended(slug: str, tasks: list[str]) -> dict[str, int]:
    """How many jobs ended how."""
    with tenant_scope(Tenant.objects.get(slug=slug)):
        states = JobRun.objects.filter(task_id__in=tasks).order_by("state").values_list("state", flat=True)
        return dict(Counter(states))


def _upload_paths(slug: str, count: int) -> list[str]:
    """Paths under which files are awaited, of charge points that never connect."""
    paths = []
    with tenant_scope(Tenant.objects.get(slug=slug)):
        for number in range(count):
            charge_point = ChargePoint.objects.create(identity=f"UPLOAD-{number:04}")
            request = diagnostics.request_diagnostics(charge_point, "drill")
            if request.command is not None:
                paths.append(urlsplit(request.command.payload["location"]).path)
    return paths


ORDERS: dict[str, Callable[..., Any]] = {
    "migrate": _migrate,
    "seed": _seed,
    "settled": invariants.settled,
    "publish": _publish,
    "ended": _ended,
    "upload_paths": _upload_paths,
    "verify": invariants.verify,
    "accept_any_card": burst_invariants.accept_any_card,
    "verify_bursts": burst_invariants.verify,
}
