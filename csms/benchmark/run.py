"""One run of the benchmark: every server in turn, again and again, so that the noise of the machine hits all alike.

A round starts each server afresh, connects the same charge points and measures the same phases; the echo comes first,
then the product on each database. The parts of one server each follow: fleet.py, crowd.py, data.py, scale.py. At the
end the meter values in each database are counted: every acknowledged one must be there, once, or the run fails.
"""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from csms.benchmark import crowd, data, fleet, machine, scale, target
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.results import ECHO, FIRST_SOCKETS, Measurement, Plan, Profile, Results, against
from csms.benchmark.target import Target, Tell, meter_values, running

# Descriptors that a server or client needs beside its sockets.
OTHER_FILES = 200


def measure(plan: Plan, tell: Tell) -> Results:
    """Carry out `plan`; `tell` is called with what is happening.

    A part that cannot be measured is one of `failures`, and the others go on. Raises BenchmarkError when a server that
    all need does not start, databases.Unavailable.
    """
    results = Results(plan, machine.describe())
    _allow_open_files(plan, results)
    folder = Path(tempfile.mkdtemp(prefix="csms-benchmark-"))
    try:
        with ExitStack() as stack:
            targets = _targets(plan, folder, stack, results, tell)
            products = [product for product in targets if product.database is not None]
            if {"meter-values", "authorize"} & set(plan.parts) or plan.parts == [ECHO]:
                for number in range(1, plan.rounds + 1):
                    for measured in targets:
                        tell(f"Round {number} of {plan.rounds}: {measured.name}")
                        with _failures(results, measured.name):
                            results.measurements += _round(plan, measured, number)
            # Two states of the product are compared within a round, by turns.
            for number in range(1, plan.rounds + 1 if plan.against else 2):
                for product in products if {"actions", "sampling"} & set(plan.parts) else []:
                    with _failures(results, product.name):
                        fleet.measure(plan, product, results, tell, number)
            for product in products if {"memory", "storm", "bulk"} & set(plan.parts) else []:
                with _failures(results, product.name):
                    crowd.measure(plan, product, results, tell)
            for measured in (products or targets) if plan.profile else []:
                tell(f"Profile: {measured.name}")
                results.profiles.append(_profile(plan, measured))
            for product in products:
                with _failures(results, product.name):
                    results.counted[product.name] = product.verify()
        for name, alone in (("data", data.measure), ("processes", scale.measure)):
            if name in plan.parts:
                with _failures(results, name):
                    alone(plan, folder, results, tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


@contextmanager
def _failures(results: Results, what: str) -> Iterator[None]:
    """A part that fails does not take the figures of the others with it."""
    try:
        yield
    except BenchmarkError as error:
        results.failures.append(f"{what}: {error}")


def _allow_open_files(plan: Plan, results: Results) -> None:
    """Both ends of every socket need a descriptor; children inherit the limit. Fewer sockets where it cannot be had."""
    needed = max(plan.charge_points, FIRST_SOCKETS + plan.crowd) + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard)))
        except (ValueError, OSError):
            # Only root may go beyond the hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            fit = hard - OTHER_FILES - FIRST_SOCKETS
            results.notes.append(
                f"The system allows {hard} open files a process, {needed} are needed (`ulimit -Hn`, LimitNOFILE): no "
                f"more than {fit} sockets were opened."
            )
            plan.idle_sockets, plan.storm = min(plan.idle_sockets, fit), min(plan.storm, fit)
            plan.connected = sorted({min(count, fit) for count in plan.connected})


def _targets(plan: Plan, folder: Path, stack: ExitStack, results: Results, tell: Tell) -> list[Target]:
    """The echo, bare and tuned, if it is wanted, and the product on each database, if any part needs it here."""
    products: list[Target] = []
    alone = set(plan.parts) <= {ECHO, "data", "processes"} and not plan.profile
    for number, choice in enumerate([] if alone else plan.databases):
        tell(f"Database: {choice.partition(':')[0]}")
        product = target.product(choice, plan.charge_points, folder / str(number), stack)
        taken = sum(product.name == other.name.partition(" (")[0] for other in products)
        if product.database is not None:
            facts = f"{product.database.name} {product.database.version}, {product.database.durability}"
            product.name = f"{product.name} ({taken + 1})" if taken else product.name
            results.databases[product.name] = facts
        products.append(product)
        if plan.against:
            tell(f"Database of the other checkout: {choice.partition(':')[0]}")
            checkout = Path(plan.against)
            other = target.product(choice, plan.charge_points, folder / f"{number}-other", stack, checkout=checkout)
            other.name = against(product.name)
            products.append(other)
    if ECHO not in plan.parts or (alone and plan.parts != [ECHO]):
        return products
    stations = max(plan.stations) + plan.authorizing
    return [*(target.echo(stations, folder, tuned=tuned) for tuned in (False, True)), *products]


# --- speed ------------------------------------------------------------------------------------------------------------
def _round(plan: Plan, measured: Target, number: int) -> list[Measurement]:
    """Start the server; for each number of stations connect them, and measure each phase."""
    found = []
    with running(measured) as server:
        for count in sorted(plan.stations):
            server.connect(count + plan.authorizing, transaction=True)
            sending = meter_values(plan, count)
            authorize = {"action": "Authorize", "first": count, "count": plan.authorizing}
            if "meter-values" in plan.parts or plan.parts == [ECHO]:
                found.append(server.measure("meter-values", number, plan.seconds, [sending]))
            if "authorize" in plan.parts:
                if count == min(plan.stations):
                    alone = authorize | {"count": 1}
                    found.append(server.measure("authorize alone", number, plan.seconds, [alone]))
                found.append(server.measure("authorize", number, plan.seconds, [sending, authorize]))
    return found


# --- where the time goes ----------------------------------------------------------------------------------------------
def _profile(plan: Plan, measured: Target) -> Profile:
    """One more phase of MeterValues on a server that watches itself."""
    count = min(plan.stations)
    with running(measured, watched=True) as server:
        server.connect(count, transaction=True)
        server.begin("profile", plan.seconds, [meter_values(plan, count)])
        server.server.tell("start")
        server.client.report("end", plan.seconds + target.PATIENCE_SECONDS)
        server.server.tell("stop")
        found = [(layer, function, seconds) for layer, function, seconds in json.loads(server.server.line(60))]
        result = server.client.report("result")
    return Profile(measured.name, result["seconds"], result["groups"][0]["answers"], found)


def progress(tell: Tell) -> Tell:
    """`tell` with the time that has passed before each sentence."""
    began = time.monotonic()
    return lambda text: tell(f"{time.monotonic() - began:6.0f} s  {text}")
