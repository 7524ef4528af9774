"""Actions one by one at growing numbers of connected charge points, and Authorize while a thousand sample.

Of those connected, as many as `--stations` begins with send, the rest are silent: a rate at five thousand shows what
connections cost, and a latency what one charge point waits, not the length of a queue that the benchmark made.
"""

from __future__ import annotations

from csms.benchmark.results import AUTHORIZE_EVERY_SECONDS, SAMPLING_EVERY_SECONDS, Plan, Results
from csms.benchmark.target import Running, Target, Tell, meter_values, running

# Transaction is StartTransaction and StopTransaction in turn.
ACTIONS = ("Heartbeat", "StatusNotification", "Authorize", "Transaction")
# Longer would only repeat itself: there are many of these phases.
ACTION_SECONDS = 5.0
# Every charge point samples at least once, and the slowest hundredth of Authorize is more than a handful.
SAMPLING_SECONDS = 20.0


def measure(plan: Plan, target: Target, results: Results, tell: Tell, number: int) -> None:
    """The parts actions and sampling, on one server, in round `number`. Adds to `results`. Raises BenchmarkError."""
    needed = plan.sampling + plan.sampling_authorize
    counts = plan.connected if "actions" in plan.parts else []
    with running(target) as server:
        for connected in counts:
            if connected <= needed:
                _actions(plan, server, connected, results, tell, number)
        # Before more are connected than it is about.
        if "sampling" in plan.parts:
            tell(f"{plan.sampling} charge points sample every {SAMPLING_EVERY_SECONDS:.0f} s: {target.name}")
            server.connect(needed, transaction=True)
            authorize = {
                "action": "Authorize", "first": plan.sampling, "count": plan.sampling_authorize,
                "every": AUTHORIZE_EVERY_SECONDS,
            }  # fmt: skip
            groups = [meter_values(plan, plan.sampling, every=SAMPLING_EVERY_SECONDS), authorize]
            # In a short run too, what is due every so often is due once.
            seconds = SAMPLING_SECONDS if plan.seconds >= 1 else AUTHORIZE_EVERY_SECONDS
            results.measurements.append(server.measure("sampling", number, seconds, groups))
        for connected in counts:
            if connected > needed:
                _actions(plan, server, connected, results, tell, number)


def _actions(plan: Plan, server: Running, connected: int, results: Results, tell: Tell, number: int) -> None:
    tell(f"Actions with {connected} connected: {server.target.name}")
    server.connect(connected, transaction=True)
    for action in ACTIONS:
        group = {"action": action, "first": 0, "count": min(plan.stations[0], connected)}
        results.measurements.append(server.measure("actions", number, min(plan.seconds, ACTION_SECONDS), [group]))
