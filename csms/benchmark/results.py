"""What a run of the benchmark is asked for, and what it finds: plain facts, which go into the JSON file as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

# In the order in which they are measured; `echo` is the bare echo beside meter-values and authorize.
PARTS = (
    "echo", "meter-values", "authorize", "actions", "sampling", "memory", "storm", "bulk", "data", "processes",
)  # fmt: skip
ECHO = "echo"
TUNED_ECHO = "echo, tuned"
OTHER = ", other checkout"
# Of the charge points that send MeterValues, so many more send Authorize.
AUTHORIZING_SHARE = 0.1
# Of the part `sampling`: how many sample, how often, how many others authorize, how often.
SAMPLING, SAMPLING_EVERY_SECONDS, SAMPLING_AUTHORIZE, AUTHORIZE_EVERY_SECONDS = 1000, 10.0, 100, 2.0
# Connected before the first look at the memory: threads, connections and caches that a server has only once exist then.
FIRST_SOCKETS = 20


def against(target: str) -> str:
    """The name of the other checkout on the same kind of database as `target`."""
    return f"{target}{OTHER}"


@dataclass
class Plan:
    """What was asked for; see the options of the command."""

    stations: list[int]
    seconds: float
    samples: int
    rounds: int
    databases: list[str]
    parts: Sequence[str]
    connected: list[int] = field(default_factory=list)
    sampling: int = SAMPLING
    idle_sockets: int = 0
    storm: int = 0
    bulk: int = 0
    rows: int = 0
    # Of a core, for each server process of the part processes; 0 for as much as there is.
    share: float = 0.0
    profile: bool = False
    # The folder of another checkout of the product, which is measured in turn with this one; empty for none.
    against: str = ""

    @property
    def authorizing(self) -> int:
        return max(1, round(self.stations[0] * AUTHORIZING_SHARE))

    @property
    def sampling_authorize(self) -> int:
        return min(SAMPLING_AUTHORIZE, self.sampling)

    @property
    def crowd(self) -> int:
        """Sockets that the parts memory, storm and bulk need together."""
        return max(
            self.idle_sockets if "memory" in self.parts else 0,
            self.storm if "storm" in self.parts else 0,
            self.bulk if "bulk" in self.parts else 0,
        )

    @property
    def charge_points(self) -> int:
        return max(
            max(self.stations) + self.authorizing,
            max(self.connected, default=0) if "actions" in self.parts else 0,
            self.sampling + self.sampling_authorize if "sampling" in self.parts else 0,
            FIRST_SOCKETS + self.crowd,
        )


@dataclass
class Group:
    """What one group of stations got in one measurement; latencies as the station sees them."""

    action: str
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass
class Measurement:
    """One phase of one round on one server. CPU in seconds of user and system time, of all cores together.

    `stations` are those that send, of `connected`; `rows` the meter values in the database before, where that counts.
    """

    target: str
    phase: str
    round: int
    seconds: float
    answers: int
    groups: list[Group]
    server_cpu_seconds: float
    database_cpu_seconds: float | None
    client_cpu_seconds: float
    stations: int = 0
    connected: int = 0
    processes: int = 1
    rows: int = 0

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    @property
    def client_busy(self) -> float:
        """Share of one core that the load client used."""
        return self.client_cpu_seconds / self.seconds

    def group(self, action: str) -> Group:
        return next(group for group in self.groups if group.action == action)


@dataclass
class Memory:
    """Resident memory of one server before and after `sockets` idle charge points connected and booted."""

    target: str
    sockets: int
    before_bytes: int
    after_bytes: int
    connect_seconds: float

    @property
    def bytes_a_socket(self) -> float:
        return (self.after_bytes - self.before_bytes) / self.sockets


@dataclass
class Storm:
    """`stations` of `sockets` cut off at once and back at once; seconds count from the cut.

    `connected_seconds`: the last was let in. `p50_seconds`, `p99_seconds`, `seconds`: half of them, 99 of 100, all had
    the answers to their BootNotification and two StatusNotifications.
    """

    target: str
    stations: int
    sockets: int
    connected_seconds: float
    p50_seconds: float
    p99_seconds: float
    seconds: float
    turned_away: int
    server_cpu_seconds: float
    database_cpu_seconds: float | None
    client_cpu_seconds: float


@dataclass
class Bulk:
    """One command to `stations` charge points by one REST request; seconds count from that request.

    `accepted_seconds`: it was answered 202. `sent_seconds`: the last charge point was asked. `answered_seconds`: REST
    shows all of them answered.
    """

    target: str
    action: str
    stations: int
    accepted_seconds: float
    sent_seconds: float
    answered_seconds: float
    server_cpu_seconds: float


@dataclass
class Page:
    """A list in the admin or of the REST API, with `rows` meter values in the database."""

    target: str
    name: str
    rows: int
    bytes: int
    p50_ms: float
    p95_ms: float


@dataclass
class Profile:
    """Where the processor time of one server went during `answers` MeterValues: `(layer, function, seconds)`."""

    target: str
    seconds: float
    answers: int
    used: list[tuple[str, str, float]]


@dataclass
class Results:
    """Everything found; `failures` are parts that could not be measured, `notes` what was measured otherwise."""

    plan: Plan
    machine: dict[str, str]
    databases: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    storms: list[Storm] = field(default_factory=list)
    bulks: list[Bulk] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    # Meter values found in each database: as many as were acknowledged.
    counted: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of_phase(self, phase: str) -> list[Measurement]:
        return [measurement for measurement in self.measurements if measurement.phase == phase]
