"""One run of the benchmark: every server in turn, again and again, so that the noise of the machine hits all alike.

A round starts each server afresh, connects the same charge points and measures the same phases; the echo comes first,
then the product on each database. At the end the meter values in each database are counted: every acknowledged one must
be there, once, or the run fails.
"""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csms.benchmark import machine
from csms.benchmark.databases import Database, fresh_database
from csms.benchmark.processes import BenchmarkError, LoadClient, Server, environment, manage
from csms.benchmark.rows import SLUG

PARTS = ("echo", "meter-values", "authorize", "memory")
ECHO = "echo"
HOST = "127.0.0.1"
# Connected before the first look at the memory: threads, connections and caches that a server has only once exist then.
FIRST_SOCKETS = 20
SETTLE_SECONDS = 2.0
WARM_UP_SHARE, WARM_UP_LIMIT_SECONDS = 0.2, 2.0
# Of the charge points that send MeterValues, so many more send Authorize.
AUTHORIZING_SHARE = 0.1

Tell = Callable[[str], None]


@dataclass
class Plan:
    """What was asked for; see the options of the command."""

    stations: int
    seconds: float
    samples: int
    rounds: int
    databases: list[str]
    idle_sockets: int
    parts: Sequence[str]
    profile: bool = False

    @property
    def authorizing(self) -> int:
        return max(1, round(self.stations * AUTHORIZING_SHARE))

    @property
    def charge_points(self) -> int:
        return max(self.stations + self.authorizing, FIRST_SOCKETS + self.idle_sockets if "memory" in self.parts else 0)


@dataclass
class Group:
    """What one group of stations got in one measurement; latencies as the station sees them."""

    action: str
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass
class Measurement:
    """One phase of one round on one server. CPU in seconds of user and system time, of all cores together."""

    target: str
    phase: str
    round: int
    seconds: float
    answers: int
    groups: list[Group]
    server_cpu_seconds: float
    database_cpu_seconds: float | None
    client_cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    def group(self, action: str) -> Group:
        return next(group for group in self.groups if group.action == action)


@dataclass
class Memory:
    """Resident memory of one server before and after `sockets` idle charge points connected and booted."""

    target: str
    sockets: int
    before_bytes: int
    after_bytes: int

    @property
    def bytes_a_socket(self) -> float:
        return (self.after_bytes - self.before_bytes) / self.sockets


@dataclass
class Profile:
    """Where the processor time of one server went during `answers` MeterValues: `(layer, function, seconds)`."""

    target: str
    seconds: float
    answers: int
    used: list[tuple[str, str, float]]


@dataclass
class Results:
    plan: Plan
    machine: dict[str, str]
    databases: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    # Meter values found in each database: as many as were acknowledged.
    counted: dict[str, int] = field(default_factory=dict)


@dataclass
class Target:
    """A server that can be started: the echo, or the product on one database."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    folder: Path
    stations: list[tuple[str, str, str]]
    database: Database | None = None
    acknowledged: Counter[str] = field(default_factory=Counter)

    def start(self, *, watched: bool = False) -> Server:
        """The server, listening; `watched` has a Stopwatch in it."""
        arguments = ["benchmark", "--inside", "watched-echo" if self.database is None else "watched-product"]
        return Server(arguments if watched else self.arguments, self.environment, self.folder)

    def database_cpu_seconds(self) -> float | None:
        return None if self.database is None else self.database.cpu_seconds()


def measure(plan: Plan, tell: Tell) -> Results:
    """Carry out `plan`; `tell` is called with what is happening. Raises BenchmarkError, databases.Unavailable."""
    _allow_open_files(plan.charge_points + 200)
    results = Results(plan, machine.describe())
    folder = Path(tempfile.mkdtemp(prefix="csms-benchmark-"))
    try:
        with ExitStack() as stack:
            targets = _targets(plan, folder, stack, results, tell)
            phases = _phases(plan)
            for number in range(1, plan.rounds + 1 if phases else 1):
                for target in targets:
                    tell(f"Round {number} of {plan.rounds}: {target.name}")
                    results.measurements += _round(plan, target, number, phases)
            if "memory" in plan.parts:
                for target in targets:
                    tell(f"Memory of {plan.idle_sockets} idle sockets: {target.name}")
                    results.memory.append(_memory(plan, target))
            if plan.profile:
                for target in targets:
                    tell(f"Profile: {target.name}")
                    results.profiles.append(_profile(plan, target))
            for target in targets:
                if target.database is not None:
                    results.counted[target.name] = _verify(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


def _allow_open_files(needed: int) -> None:
    """Both ends of every socket need a descriptor; children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(
            f"The system allows {hard} open files a process, {needed} are needed: lower --idle-sockets."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _targets(plan: Plan, folder: Path, stack: ExitStack, results: Results, tell: Tell) -> list[Target]:
    products: list[Target] = []
    # The echo opens no database, but its settings name one.
    stations = [(f"ECHO-{n:05}", "password-of-nobody", f"ECHO-TAG-{n:05}") for n in range(plan.charge_points)]
    for number, choice in enumerate([] if plan.parts == [ECHO] else plan.databases):
        place = folder / str(number)
        place.mkdir()
        tell(f"Database: {choice.partition(':')[0]}")
        database = stack.enter_context(fresh_database(choice, place))
        taken = sum(database.name == product.name.partition(" (")[0] for product in products)
        name = f"{database.name} ({taken + 1})" if taken else database.name
        variables = environment(database.url, place)
        manage("migrate", "--verbosity", "0", environment=variables)
        seeded = manage("benchmark", "--inside", "seed", "--stations", str(plan.charge_points), environment=variables)
        results.databases[name] = f"{database.name} {database.version}, {database.durability}"
        serve = ["serve", "--port", "0"]
        products.append(Target(name, serve, variables, place, json.loads(seeded), database))
    if ECHO not in plan.parts:
        return products
    variables = environment(f"sqlite:///{folder / 'echo.sqlite3'}", folder)
    return [Target(ECHO, ["benchmark", "--inside", "echo"], variables, folder, stations), *products]


# --- speed ------------------------------------------------------------------------------------------------------------
def _phases(plan: Plan) -> list[tuple[str, list[dict[str, Any]]]]:
    """What every server goes through in every round: names, and who sends what (see load.py)."""
    meter_values = {"action": "MeterValues", "first": 0, "count": plan.stations, "samples": plan.samples}
    authorize = {"action": "Authorize", "first": plan.stations, "count": plan.authorizing}
    phases: list[tuple[str, list[dict[str, Any]]]] = []
    if "meter-values" in plan.parts or plan.parts == [ECHO]:
        phases.append(("meter-values", [meter_values]))
    if "authorize" in plan.parts:
        phases.append(("authorize alone", [authorize | {"count": 1}]))
        phases.append(("authorize", [meter_values, authorize]))
    return phases


def _round(
    plan: Plan, target: Target, number: int, phases: list[tuple[str, list[dict[str, Any]]]]
) -> list[Measurement]:
    """Start the server, connect everybody, measure each phase."""
    measured = []
    with target.start() as server, LoadClient(target.folder) as client:
        _connect(client, target, server, 0, plan.stations + plan.authorizing, transaction=True)
        for name, groups in phases:
            measured.append(_measurement(plan, target, number, server, client, name, groups))
        _leave(client, target)
    return measured


def _measurement(
    plan: Plan, target: Target, number: int, server: Server, client: LoadClient, name: str, groups: list[dict[str, Any]]
) -> Measurement:
    def used() -> tuple[float, float | None, float]:
        return server.cpu_seconds(), target.database_cpu_seconds(), client.cpu_seconds()

    _order_phase(plan, client, name, groups)
    client.report("begin")
    before = used()
    client.report("end", plan.seconds + 60)
    after = used()
    result = client.report("result")
    seconds = result["seconds"]
    return Measurement(
        target=target.name,
        phase=name,
        round=number,
        seconds=seconds,
        answers=sum(group["answers"] for group in result["groups"]),
        groups=[
            Group(group["action"], group["answers"] / seconds, group["p50_ms"], group["p99_ms"])
            for group in result["groups"]
        ],
        server_cpu_seconds=after[0] - before[0],
        database_cpu_seconds=None if before[1] is None or after[1] is None else after[1] - before[1],
        client_cpu_seconds=after[2] - before[2],
    )


def _order_phase(plan: Plan, client: LoadClient, name: str, groups: list[dict[str, Any]]) -> None:
    warm_up = min(WARM_UP_LIMIT_SECONDS, plan.seconds * WARM_UP_SHARE)
    client.order("phase", name=name, seconds=plan.seconds, warm_up_seconds=warm_up, groups=groups)


def _connect(client: LoadClient, target: Target, server: Server, first: int, count: int, *, transaction: bool) -> None:
    folder, stations = f"/ocpp/{SLUG}/", target.stations[first : first + count]
    client.order(
        "connect", host=HOST, port=server.port, folder=folder, stations=stations, transaction=transaction
    )  # fmt: skip
    client.report("connected")


def _leave(client: LoadClient, target: Target) -> None:
    client.order("quit")
    target.acknowledged.update(client.report("bye")["acknowledged"])


def _verify(target: Target) -> int:
    """Every acknowledged MeterValues is one row of its charge point, and there is no other; how many there are."""
    found = Counter(json.loads(manage("benchmark", "--inside", "count", environment=target.environment)))
    if found != target.acknowledged:
        lost, more = (target.acknowledged - found).total(), (found - target.acknowledged).total()
        raise BenchmarkError(
            f"{target.name}: {lost} acknowledged MeterValues are not in the database, {more} are there unacknowledged."
        )
    return found.total()


# --- memory -----------------------------------------------------------------------------------------------------------
def _memory(plan: Plan, target: Target) -> Memory:
    with target.start() as server, LoadClient(target.folder) as client:
        _connect(client, target, server, 0, FIRST_SOCKETS, transaction=False)
        time.sleep(SETTLE_SECONDS)
        before = server.rss_bytes()
        _connect(client, target, server, FIRST_SOCKETS, plan.idle_sockets, transaction=False)
        time.sleep(SETTLE_SECONDS)
        after = server.rss_bytes()
        _leave(client, target)
    return Memory(target.name, plan.idle_sockets, before, after)


# --- where the time goes ----------------------------------------------------------------------------------------------
def _profile(plan: Plan, target: Target) -> Profile:
    """One more phase of MeterValues on a server that watches itself."""
    groups = [{"action": "MeterValues", "first": 0, "count": plan.stations, "samples": plan.samples}]
    with target.start(watched=True) as server, LoadClient(target.folder) as client:
        _connect(client, target, server, 0, plan.stations, transaction=True)
        _order_phase(plan, client, "profile", groups)
        client.report("begin")
        server.tell("start")
        client.report("end", plan.seconds + 60)
        server.tell("stop")
        found = [(layer, function, seconds) for layer, function, seconds in json.loads(server.line(60))]
        result = client.report("result")
        _leave(client, target)
    return Profile(target.name, result["seconds"], result["groups"][0]["answers"], found)
