"""A server that can be measured: the bare echo, or the product on a temporary database of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csms.benchmark.databases import Database, fresh_database
from csms.benchmark.processes import BenchmarkError, LoadClient, Process, Server, environment, manage_command
from csms.benchmark.results import ECHO, TUNED_ECHO, Group, Measurement, Plan
from csms.benchmark.rows import SLUG

HOST = "127.0.0.1"
WARM_UP_SHARE, WARM_UP_LIMIT_SECONDS = 0.2, 2.0
# One address has some 28,000 ports to dial from; several have as many each.
SOURCES = [f"127.0.0.{last}" for last in range(2, 10)]
# How long a charge point may take to connect, one after the other; a machine that takes longer is given up.
CONNECT_SECONDS, CONNECT_SECONDS_EACH = 120.0, 0.3
KEEPER_SECONDS = 1800.0
# A busy machine answers late; longer than the load client itself waits for what is missing.
PATIENCE_SECONDS = 150.0

Tell = Callable[[str], None]


class Keeper(Process):
    """csms/benchmark/keeper.py: what has to be done inside a database, by name."""

    def __init__(self, variables: dict[str, str], folder: Path, checkout: Path | None = None) -> None:
        command = manage_command("benchmark", "--inside", "keeper", checkout=checkout)
        super().__init__(command, variables, folder / "keeper.log", checkout)

    def do(self, what: str, *arguments: Any) -> Any:
        """Carry out an order of keeper.ORDERS; what it gives. Raises BenchmarkError."""
        self.tell(json.dumps({"do": what, "arguments": arguments}))
        reply: dict[str, Any] = json.loads(self.line(KEEPER_SECONDS))
        if "failed" in reply:
            raise BenchmarkError(reply["failed"])
        return reply["done"]


@dataclass
class Target:
    """A server that can be started on its database; an echo has none, nor a keeper.

    `checkout` is where the product's code lies, unless it is this one's.
    """

    name: str
    arguments: list[str]
    environment: dict[str, str]
    folder: Path
    stations: list[tuple[str, str, str]]
    database: Database | None = None
    keeper: Keeper | None = None
    checkout: Path | None = None
    acknowledged: Counter[str] = field(default_factory=Counter)

    def start(self, *, watched: bool = False, processes: int = 1) -> Server:
        """The server, listening; `watched` has a Stopwatch in it."""
        arguments = self.arguments if processes == 1 else [*self.arguments, "--processes", str(processes)]
        if watched:
            arguments = ["benchmark", "--inside", "watched-echo" if self.database is None else "watched-product"]
        return Server(arguments, self.environment, self.folder, checkout=self.checkout)

    def order(self, what: str, *arguments: Any) -> Any:
        """Have the keeper do something. Raises BenchmarkError."""
        if self.keeper is None:
            raise BenchmarkError(f"{self.name} has no database.")
        return self.keeper.do(what, *arguments)

    def verify(self) -> int:
        """Every acknowledged MeterValues is one row of its charge point, and there is no other; how many there are."""
        found: Counter[str] = Counter(self.order("count"))
        if found != self.acknowledged:
            lost, more = (self.acknowledged - found).total(), (found - self.acknowledged).total()
            raise BenchmarkError(
                f"{self.name}: {lost} acknowledged MeterValues are not in the database, {more} are there "
                "unacknowledged."
            )
        return found.total()


def echo(stations: int, folder: Path, *, tuned: bool) -> Target:
    """The bare echo, for as many charge points (csms/benchmark/echo.py)."""
    # It opens no database, but its settings name one.
    variables = environment(f"sqlite:///{folder / 'echo.sqlite3'}", folder)
    known = [(f"ECHO-{n:05}", "password-of-nobody", f"ECHO-TAG-{n:05}") for n in range(stations)]
    name, inside = (TUNED_ECHO, "tuned-echo") if tuned else (ECHO, "echo")
    return Target(name, ["benchmark", "--inside", inside], variables, folder, known)


def product(
    choice: str,
    stations: int,
    folder: Path,
    stack: ExitStack,
    variables: dict[str, str] | None = None,
    checkout: Path | None = None,
) -> Target:
    """The product on a new database (see fresh_database) with as many charge points; `variables` are more settings.

    `checkout` is another state of the product than this one; its dependencies must be those installed here.

    Raises BenchmarkError, databases.Unavailable.
    """
    folder.mkdir()
    database = stack.enter_context(fresh_database(choice, folder))
    if database.server is not None:
        database.server.grow_old()
    surroundings = environment(database.url, folder) | (variables or {})
    keeper = stack.enter_context(Keeper(surroundings, folder, checkout))
    keeper.do("migrate")
    known = [(identity, password, id_tag) for identity, password, id_tag in keeper.do("seed", stations)]
    arguments = ["serve", "--port", "0", "--skip-checks"]
    return Target(database.name, arguments, surroundings, folder, known, database, keeper, checkout)


@dataclass
class Running:
    """A server of `target` with a load client: connect more and more of the target's charge points, and measure."""

    target: Target
    server: Server
    client: LoadClient
    processes: int = 1
    connected: int = 0

    def connect(self, up_to: int, *, transaction: bool) -> float:
        """Connect and boot the target's charge points until there are `up_to`; seconds it took."""
        missing = self.target.stations[self.connected : up_to]
        if not missing:
            return 0.0
        self.client.order(
            "connect", host=HOST, port=self.server.port, folder=f"/ocpp/{SLUG}/", stations=missing,
            transaction=transaction, sources=SOURCES,
        )  # fmt: skip
        report = self.client.report("connected", CONNECT_SECONDS + CONNECT_SECONDS_EACH * len(missing))
        self.connected = report["count"]
        return float(report["seconds"])

    def used(self) -> tuple[float, float | None, float]:
        """CPU seconds so far of the server, of its database and of the load client."""
        database = None if self.target.database is None else self.target.database.cpu_seconds()
        return self.server.cpu_seconds(), database, self.client.cpu_seconds()

    def begin(self, name: str, seconds: float, groups: Sequence[dict[str, Any]]) -> None:
        """Let the load client start a phase (see load.py); returns when it begins to count."""
        warm_up = min(WARM_UP_LIMIT_SECONDS, seconds * WARM_UP_SHARE)
        self.client.order("phase", name=name, seconds=seconds, warm_up_seconds=warm_up, groups=groups)
        self.client.report("begin")

    def measure(
        self, phase: str, number: int, seconds: float, groups: Sequence[dict[str, Any]], *, rows: int = 0
    ) -> Measurement:
        """One phase; `number` is the round."""
        self.begin(phase, seconds, groups)
        before = self.used()
        self.client.report("end", seconds + PATIENCE_SECONDS)
        after = self.used()
        result = self.client.report("result")
        lasted = result["seconds"]
        return Measurement(
            target=self.target.name,
            phase=phase,
            round=number,
            seconds=lasted,
            answers=sum(group["answers"] for group in result["groups"]),
            groups=[
                Group(group["action"], group["answers"] / lasted, group["p50_ms"], group["p99_ms"])
                for group in result["groups"]
            ],
            server_cpu_seconds=after[0] - before[0],
            database_cpu_seconds=difference(before[1], after[1]),
            client_cpu_seconds=after[2] - before[2],
            stations=groups[0]["count"],
            connected=self.connected,
            processes=self.processes,
            rows=rows,
        )


@contextmanager
def running(target: Target, *, watched: bool = False, processes: int = 1) -> Iterator[Running]:
    """Start a server of `target` and a load client; in the end, what was acknowledged is noted in the target."""
    with target.start(watched=watched, processes=processes) as server, LoadClient(target.folder) as client:
        yield Running(target, server, client, processes)
        client.order("quit")
        target.acknowledged.update(client.report("bye")["acknowledged"])


def difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def meter_values(plan: Plan, count: int, first: int = 0, every: float = 0.0) -> dict[str, Any]:
    """The group of `count` charge points that send MeterValues."""
    return {"action": "MeterValues", "first": first, "count": count, "samples": plan.samples, "every": every}
