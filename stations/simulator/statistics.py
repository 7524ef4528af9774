"""What a fleet has done so far, counted as it happens, in memory that does not grow with time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field

MOST_PROBLEMS_KEPT = 50


class ResponseTimes:
    """Count, mean, maximum and percentiles of response times.

    Percentiles come from buckets that each are 4 % wider than the one before, so they are right within 4 % however many
    answers there were, and a run of days needs no more memory than one of a minute.
    """

    SMALLEST_SECONDS = 0.000_05
    GROWTH = 1.04

    def __init__(self) -> None:
        self.count = 0
        self.total_seconds = 0.0
        self.max_seconds = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total_seconds += seconds
        self.max_seconds = max(self.max_seconds, seconds)
        ratio = max(seconds, self.SMALLEST_SECONDS) / self.SMALLEST_SECONDS
        self._buckets[math.ceil(math.log(ratio, self.GROWTH))] += 1

    def merge(self, other: ResponseTimes) -> None:
        self.count += other.count
        self.total_seconds += other.total_seconds
        self.max_seconds = max(self.max_seconds, other.max_seconds)
        self._buckets += other._buckets

    @property
    def mean_seconds(self) -> float:
        return self.total_seconds / self.count if self.count else 0.0

    def percentile_seconds(self, percent: float) -> float:
        """Return the response time that so many percent of the answers did not exceed."""
        wanted = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                return min(self.max_seconds, self.SMALLEST_SECONDS * self.GROWTH**bucket)
        return 0.0


@dataclass(frozen=True)
class ActionSummary:
    """The answered CALLs of one action. Times in milliseconds."""

    action: str
    count: int
    average_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, action: str, times: ResponseTimes) -> ActionSummary:
        seconds = (
            times.mean_seconds,
            times.percentile_seconds(50),
            times.percentile_seconds(95),
            times.percentile_seconds(99),
            times.max_seconds,
        )
        return cls(action, times.count, *(round(value * 1000, 2) for value in seconds))


@dataclass(frozen=True)
class FleetProgress:
    """A snapshot for a progress display."""

    stations: int
    connected: int
    charging: int
    rounds_done: int
    energy_kwh: float
    messages: int
    errors: int
    elapsed_seconds: float


@dataclass(frozen=True)
class FleetSummary:
    """The result of a run. `failed` says whether something went wrong that should not."""

    stations: int
    seconds: float
    connects: int
    reconnects: int
    connections_lost: int
    unreachable: int
    refused_handshakes: dict[str, int]
    gave_up: dict[str, str]
    rounds: int
    transactions_started: int
    transactions_stopped: int
    refused_id_tags: int
    energy_kwh: float
    messages_per_second: float
    overall: ActionSummary
    actions: list[ActionSummary]
    commands_received: dict[str, int]
    call_errors: dict[str, int]
    timeouts: dict[str, int]
    undelivered: int
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """True after any CALLERROR, timeout, refused handshake, station that gave up, lost message or wrong answer."""
        counted = (self.call_errors, self.timeouts, self.refused_handshakes, self.gave_up, self.problems)
        return any(counted) or self.undelivered > 0

    def as_dict(self) -> dict:
        """Return plain data for JSON, `failed` included."""
        return asdict(self) | {"failed": self.failed}


class FleetStatistics:
    """The counters that all stations of a fleet share; everything runs in one event loop, so plain numbers do."""

    def __init__(self) -> None:
        self.connected = 0
        self.connects = 0
        self.reconnects = 0
        self.connections_lost = 0
        self.unreachable = 0
        self.refused: Counter[str] = Counter()
        self.gave_up: dict[str, str] = {}
        self.charging = 0
        self.rounds = 0
        self.transactions_started = 0
        self.transactions_stopped = 0
        self.refused_id_tags = 0
        self.energy_wh = 0.0
        self.undelivered = 0
        self.commands: Counter[str] = Counter()
        self.call_errors: Counter[str] = Counter()
        self.timeouts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._problem_count = 0
        self._times: dict[str, ResponseTimes] = {}

    def answered(self, action: str, seconds: float) -> None:
        times = self._times.get(action)
        if times is None:
            times = self._times[action] = ResponseTimes()
        times.add(seconds)

    def problem(self, text: str) -> None:
        """Note something the central system (or this simulator) did wrong; the first ones are kept in words."""
        self._problem_count += 1
        if len(self.problems) < MOST_PROBLEMS_KEPT:
            self.problems.append(text)

    @property
    def errors(self) -> int:
        failures = self.call_errors.total() + self.timeouts.total() + self.refused.total()
        return failures + self._problem_count + self.undelivered

    @property
    def messages(self) -> int:
        return sum(times.count for times in self._times.values()) + self.commands.total()

    def progress(self, stations: int, elapsed_seconds: float) -> FleetProgress:
        return FleetProgress(
            stations=stations,
            connected=self.connected,
            charging=self.charging,
            rounds_done=self.rounds,
            energy_kwh=self.energy_wh / 1000,
            messages=self.messages,
            errors=self.errors,
            elapsed_seconds=elapsed_seconds,
        )

    def summary(self, stations: int, seconds: float) -> FleetSummary:
        overall = ResponseTimes()
        for times in self._times.values():
            overall.merge(times)
        return FleetSummary(
            stations=stations,
            seconds=round(seconds, 3),
            connects=self.connects,
            reconnects=self.reconnects,
            connections_lost=self.connections_lost,
            unreachable=self.unreachable,
            refused_handshakes=dict(self.refused),
            gave_up=dict(self.gave_up),
            rounds=self.rounds,
            transactions_started=self.transactions_started,
            transactions_stopped=self.transactions_stopped,
            refused_id_tags=self.refused_id_tags,
            energy_kwh=round(self.energy_wh / 1000, 3),
            messages_per_second=round(self.messages / seconds, 1) if seconds else 0.0,
            overall=ActionSummary.of("all", overall),
            actions=[ActionSummary.of(action, times) for action, times in sorted(self._times.items())],
            commands_received=dict(sorted(self.commands.items())),
            call_errors=dict(sorted(self.call_errors.items())),
            timeouts=dict(sorted(self.timeouts.items())),
            undelivered=self.undelivered,
            problems=list(self.problems),
        )
