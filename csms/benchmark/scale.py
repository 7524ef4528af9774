"""One server process and two on one machine, with PostgreSQL and Redis: what `serve --processes` gains.

With `Plan.share` each process has as much of a core and no more, so that two find as much of the machine as one.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from csms.benchmark import share, target
from csms.benchmark.brokers import fresh_redis
from csms.benchmark.processes import Server
from csms.benchmark.results import Plan, Results
from csms.benchmark.target import Tell, meter_values, running

PROCESSES = (1, 2)
START_SECONDS, LOOK_SECONDS, IDLE_SHARE = 30.0, 0.5, 0.1


def measure(plan: Plan, folder: Path, results: Results, tell: Tell) -> None:
    """The part processes, on the first PostgreSQL of the plan. Adds to `results`. Raises BenchmarkError."""
    choice = next((choice for choice in plan.databases if choice != "sqlite"), None)
    if choice is None:
        results.notes.append("processes: only measured on PostgreSQL.")
        return
    with ExitStack() as stack:
        redis = stack.enter_context(fresh_redis(folder))
        variables = {"CSMS_REDIS_URL": redis.url}
        product = target.product(choice, max(plan.stations), folder / "processes", stack, variables)
        for number in range(1, plan.rounds + 1):
            for processes in PROCESSES:
                with ExitStack() as held, running(product, processes=processes) as server:
                    _await_all(server.server)
                    if plan.share:
                        held.enter_context(share.group(plan.share * processes)).take(server.server.pids())
                    for count in sorted(plan.stations):
                        tell(f"Round {number} of {plan.rounds}: {processes} process(es), {count} charge points")
                        server.connect(count, transaction=True)
                        group = meter_values(plan, count)
                        results.measurements.append(server.measure("processes", number, plan.seconds, [group]))
        results.counted[f"{product.name} (processes)"] = product.verify()


def _await_all(server: Server) -> None:
    """Wait until the server's processes are idle: only the first says when it listens, and would have every socket."""
    deadline = time.monotonic() + START_SECONDS
    used, now = -1.0, server.cpu_seconds()
    while now - used > IDLE_SHARE * LOOK_SECONDS and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        used, now = now, server.cpu_seconds()
