"""One fuzz: a server of its own, stations that send generated frames, a neighbour that charges, and what was promised.

The promises, checked on every frame: the server lives and logs no failure; every CALL that shows an id has exactly one
answer with that id, in order, and nothing else is answered; memory stays within a bound after the warm-up; a socket
that may live answers a valid message in the end; the neighbour's answers are exact, and so is what was stored of it.
Requests of ours are queued through REST meanwhile, so that answers have something to answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from csms.benchmark.interruption import early_end
from csms.benchmark.processes import Server, environment, manage
from csms.benchmark.station import LoadError
from csms.certify.rest import RestClient, RestRefused, Unreachable
from csms.fuzz import messages
from csms.fuzz.moves import Maker
from csms.fuzz.neighbour import ID_TAG, Charged, Neighbour
from csms.fuzz.station import PATIENCE_SECONDS, Account, Broken, Station
from stations import credentials
from stations.models import ChargePoint, IdTag, Transaction
from stations.models.charge_point import RegistrationStatus
from tenants.models import ApiKey, Tenant
from tenants.scope import tenant_scope

SLUG = "fuzz"
FOLDER = f"/ocpp/{SLUG}/"
NEIGHBOUR = "NEIGHBOUR"
# How long the server waits for an answer to a CALL of its own: many of ours never come.
CALL_TIMEOUT_SECONDS = 2
COMMAND_PAUSE_SECONDS = 0.1
MEMORY_LOOK_SECONDS = 0.25
LINE_EVERY_FRAMES = 50_000
# Of the run; what is larger after it has to stay within the bound.
WARM_UP_SHARE = 0.2
MAX_BROKEN = 20
EXCERPT, LOG_EXCERPT = 1500, 4000
FAILURES = ("Traceback (most recent call last)", " ERROR ", '"level": "error"', "CRITICAL")
FOR_EVER = 2**62


@dataclass(frozen=True)
class Plan:
    """What to do: `frames` in all, or as many as fit into `seconds`. `growth_bytes` is what memory may grow by."""

    frames: int
    seconds: float | None
    seed: int
    stations: int
    growth_bytes: int
    # Make only these moves of one station: its number, the first, the last.
    replay: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Target:
    """A running server, and who may fuzz it: `accounts` are the stations' and, last, the neighbour's."""

    port: int
    accounts: list[Account]
    api_key: str
    rss_bytes: Callable[[], int]


@dataclass
class Result:
    """What was sent and answered; `broken` names each broken promise with the moves that led to it, latest last."""

    seed: int
    frames: int = 0
    seconds: float = 0.0
    connects: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)
    memory_warm_bytes: int = 0
    memory_most_bytes: int = 0
    neighbour_answers: int = 0
    neighbour_transactions: int = 0
    neighbour_p99_ms: float = 0.0
    broken: list[dict[str, Any]] = field(default_factory=list)

    def breaks(self, what: str, moves: list[str] | None = None) -> None:
        self.broken.append({"what": what, "moves": moves or []})


# --- inside the database of the run -----------------------------------------------------------------------------------
def seed(stations: int) -> dict[str, Any]:
    """A tenant with `stations` charge points and the neighbour; passwords by identity, and an API key.

    One in four is strict, one in four was never accepted: other rules answer them.
    """
    passwords = {f"FUZZ-{number:03}": credentials.generate() for number in range(stations)}
    passwords[NEIGHBOUR] = credentials.generate()
    tenant = Tenant.objects.create(slug=SLUG, name="Fuzz")
    with tenant_scope(tenant):
        ChargePoint.objects.bulk_create(
            ChargePoint(
                identity=identity,
                password_hash=credentials.hashed(password.encode(), generated=True),
                strict=number % 4 == 1 and identity != NEIGHBOUR,
                registration_status=RegistrationStatus.PENDING
                if number % 4 == 2 and identity != NEIGHBOUR
                else RegistrationStatus.ACCEPTED,
                call_timeout_seconds=CALL_TIMEOUT_SECONDS,
            )
            for number, (identity, password) in enumerate(passwords.items())
        )
        for id_tag in (ID_TAG, "FUZZ-TAG"):
            IdTag.objects.create(id_tag=id_tag, key=id_tag)
    _, api_key = ApiKey.issue(tenant, "fuzz", ("read", "operate"))
    return {"passwords": passwords, "api_key": api_key}


def stored() -> list[dict[str, Any]]:
    """The neighbour's transactions as rows say."""
    with tenant_scope(Tenant.objects.get(slug=SLUG)):
        return [
            asdict(Charged(tx.pk, tx.meter_start_wh or 0, tx.meter_stop_wh or 0, tx.meter_values.count()))
            for tx in Transaction.objects.filter(charge_point__identity=NEIGHBOUR).order_by("pk")
        ]


# --- the run ----------------------------------------------------------------------------------------------------------
def fuzz(
    plan: Plan, database_url: str, folder: Path, largest_frame: int, tell: Callable[[str], None] = lambda text: None
) -> Result:
    """Run `plan`, until Ctrl-C at the longest, on an empty database. Raises BenchmarkError without a server."""
    surroundings = environment(database_url, folder) | {"CSMS_MAX_FRAME_BYTES": str(largest_frame)}
    tell("Preparing")
    manage("migrate", "--verbosity", "0", environment=surroundings)
    made = json.loads(manage("fuzz", "--inside", "seed", str(plan.stations), environment=surroundings))
    run = Run(plan, largest_frame, tell)
    with Server(["serve", "--host", "127.0.0.1", "--port", "0"], surroundings, folder) as server:
        accounts = [
            Account(server.port, FOLDER, identity, password) for identity, password in made["passwords"].items()
        ]
        asyncio.run(run.play(Target(server.port, accounts, made["api_key"], server.rss_bytes)))
    run.look_into((folder / "server.log").read_text(errors="replace"))
    run.compare(json.loads(manage("fuzz", "--inside", "stored", "0", environment=surroundings)))
    return run.result


class Run:
    """`play`, then `look_into` what the server logged and `compare` what it stored; `result` has it all."""

    def __init__(self, plan: Plan, largest_frame: int, tell: Callable[[str], None] = lambda text: None) -> None:
        self.result = Result(plan.seed)
        self._plan = plan
        self._maker = Maker(plan.seed, largest_frame)
        self._tell = tell
        self._stop = asyncio.Event()
        self._stations: list[Station] = []
        self._commands: Counter[str] = Counter()
        self._memory: list[tuple[int, int]] = []
        self._charged: list[Charged] = []

    async def play(self, target: Target) -> None:
        """All stations at once, the neighbour beside them."""
        *accounts, calm = target.accounts
        neighbour = Neighbour(calm, self._plan.seed)
        await neighbour.connect()
        self._stations = [Station(self._maker, number, account) for number, account in enumerate(accounts)]
        url = f"http://127.0.0.1:{target.port}"
        rest = RestClient(url, target.api_key, timeout_seconds=PATIENCE_SECONDS)
        beside = [
            asyncio.create_task(self._beside(neighbour.charge(self._stop))),
            asyncio.create_task(self._ask(rest, accounts)),
            asyncio.create_task(self._watch(target.rss_bytes)),
        ]
        began = time.perf_counter()
        with early_end() as over:
            moves = (self._play(number, station, began, over) for number, station in enumerate(self._stations))
            await asyncio.gather(*moves)
        self.result.seconds = round(time.perf_counter() - began, 2)
        self._stop.set()
        await asyncio.gather(*beside)
        self._charged = neighbour.charged
        self._sum_up(neighbour)

    async def _play(self, number: int, station: Station, began: float, over: asyncio.Event) -> None:
        plan = self._plan
        first, last = 0, FOR_EVER
        if plan.replay is not None:
            chosen, first, last = plan.replay
            if number != chosen:
                return
        share = plan.frames // plan.stations

        def running() -> bool:
            if over.is_set() or (plan.seconds is not None and time.perf_counter() - began > plan.seconds):
                return False
            return plan.replay is not None or station.frames < share

        while len(self.result.broken) < MAX_BROKEN:
            try:
                await station.play(first, last, running)
                return
            except (Broken, OSError, TimeoutError) as error:
                what = str(error) or type(error).__name__
                self.result.breaks(f"Station {number}: {what}", list(station.moves))
                self._tell(what)
                first = station.next_move
        station.leave()

    async def _beside(self, charging: Any) -> None:
        try:
            await charging
        except (Broken, LoadError) as error:
            self.result.breaks(f"The neighbour: {error}")

    async def _ask(self, rest: RestClient, accounts: list[Account]) -> None:
        """Queue valid requests for stations chosen by chance; what the API refuses, it refuses with a problem."""
        chance = random.Random(self._plan.seed)  # noqa: S311 - to be repeatable, not secret
        while not self._stop.is_set():
            action = chance.choice(messages.TOLD)
            body = {"action": action, "payload": messages.request(chance, action)}
            path = f"charge-points/{chance.choice(accounts).identity}/commands/"
            try:
                await asyncio.to_thread(rest.request, "POST", path, body)
                self._commands["queued"] += 1
            except RestRefused as refused:
                self._commands[str(refused.status)] += 1
                if refused.status >= 500:
                    self.result.breaks(f"{refused} ({json.dumps(body)[:EXCERPT]})")
            except Unreachable as error:
                self.result.breaks(str(error))
                return
            await asyncio.sleep(COMMAND_PAUSE_SECONDS)

    async def _watch(self, rss_bytes: Callable[[], int]) -> None:
        told = 0
        while not self._stop.is_set():
            sent = sum(station.frames for station in self._stations)
            self._memory.append((sent, rss_bytes()))
            if sent - told >= LINE_EVERY_FRAMES:
                told = sent
                self._tell(f"{sent:,} of {self._plan.frames:,} frames")
            await asyncio.sleep(MEMORY_LOOK_SECONDS)

    def _sum_up(self, neighbour: Neighbour) -> None:
        result = self.result
        kinds: Counter[str] = Counter()
        answers: Counter[str] = Counter()
        for station in self._stations:
            result.frames += station.frames
            result.connects += station.connects
            kinds += station.kinds
            answers += station.answers
        result.kinds, result.answers, result.commands = dict(kinds), dict(answers), dict(self._commands)
        warm = [rss for sent, rss in self._memory if sent <= result.frames * WARM_UP_SHARE]
        result.memory_warm_bytes = max(warm, default=0)
        result.memory_most_bytes = max((rss for _, rss in self._memory), default=0)
        growth = result.memory_most_bytes - result.memory_warm_bytes
        if growth > self._plan.growth_bytes:
            result.breaks(f"Memory grew by {growth / 2**20:.0f} MB after the warm-up.")
        result.neighbour_answers = neighbour.answers
        result.neighbour_transactions = len(neighbour.charged)
        latencies = sorted(neighbour.latencies)
        if latencies:
            result.neighbour_p99_ms = round(latencies[int(len(latencies) * 0.99)] * 1000, 2)

    def look_into(self, log: str) -> None:
        """Failures that the server logged."""
        lines = log.splitlines()
        for number, line in enumerate(lines):
            if any(sign in line for sign in FAILURES):
                excerpt = "\n".join(lines[number : number + 40])[:LOG_EXCERPT]
                self.result.breaks(f"The server logged: {excerpt}")
                if len(self.result.broken) >= MAX_BROKEN:
                    return

    def compare(self, rows: list[dict[str, Any]]) -> None:
        """What is stored of the neighbour is what it was told is stored; one transaction may have been under way."""
        lived = [asdict(charged) for charged in self._charged]
        if rows[: len(lived)] != lived or len(rows) > len(lived) + 1:
            pairs = [pair for pair in zip(lived, rows, strict=False) if pair[0] != pair[1]]
            wrong = pairs[0] if pairs else f"{len(rows)} instead of {len(lived)}"
            self.result.breaks(f"The neighbour's transactions differ from what was acknowledged: {wrong}")
        for earlier, later in pairwise(lived):
            if earlier["transaction_id"] >= later["transaction_id"]:
                self.result.breaks(f"Transaction ids do not grow: {earlier} {later}")


def as_json(result: Result) -> str:
    return json.dumps(asdict(result), indent=1)
