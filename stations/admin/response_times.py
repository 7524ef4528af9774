"""Response times of one charge point's last 24 hours, from its message log (the figures of the OCA's certificates)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stations.models import ChargePoint, Command, OcppMessage
from stations.models.command import CommandStatus
from stations.models.message import MessageType

PERIOD = timedelta(hours=24)
# Newest messages looked at: a day of one message every four seconds. The log has no index on time.
MAX_MESSAGES = 20_000
MAX_COMMANDS = 1000
ALL_ACTIONS = "All requests"


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds from a request to its answer, of `count` requests of one action."""

    action: str
    count: int
    average_ms: float
    p95_ms: float
    maximum_ms: float


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """`ours`: how fast we answered it. `theirs`: how fast it answered us, and how often not in time."""

    ours: list[Figures]
    theirs: list[Figures]
    timeouts: int
    complete: bool


def response_times(charge_point: ChargePoint, now: datetime) -> ResponseTimes:
    """The figures of `charge_point` for the 24 hours before `now`. Two queries, however long the log."""
    newest = OcppMessage.objects.filter(charge_point=charge_point).order_by("-id")
    rows = list(newest.values_list("incoming", "message_type", "action", "latency_ms", "received_at")[:MAX_MESSAGES])
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    since = now - PERIOD
    for incoming, message_type, action, latency_ms, received_at in rows:
        if message_type not in (MessageType.CALLRESULT, MessageType.CALLERROR) or latency_ms is None:
            continue
        if received_at >= since:
            (theirs if incoming else ours).setdefault(action, []).append(latency_ms)
    commands = Command.objects.filter(charge_point=charge_point).order_by("-id")[:MAX_COMMANDS]
    timeouts = sum(
        status == CommandStatus.TIMED_OUT and created_at >= since
        for status, created_at in commands.values_list("status", "created_at")
    )
    complete = len(rows) < MAX_MESSAGES or rows[-1][4] < since
    return ResponseTimes(summarised(ours), summarised(theirs), timeouts, complete)


def summarised(latencies: dict[str, list[float]]) -> list[Figures]:
    """One line for everything, then Authorize, then the other actions by name; nothing for no requests."""
    if not latencies:
        return []
    actions = sorted(latencies, key=lambda action: (action != "Authorize", action))
    everything = [value for values in latencies.values() for value in values]
    return [figures(ALL_ACTIONS, everything), *(figures(action, latencies[action]) for action in actions)]


def figures(action: str, values: Iterable[float]) -> Figures:
    """Count, average, 95th percentile (nearest rank) and maximum of at least one value."""
    ordered = sorted(values)
    rank = max(0, -(-len(ordered) * 95 // 100) - 1)
    return Figures(action, len(ordered), sum(ordered) / len(ordered), ordered[rank], ordered[-1])
