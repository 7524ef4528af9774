"""`manage.py drill`: break one part beneath the running product, again and again, and prove that nothing was lost."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from csms.benchmark.databases import Unavailable
from csms.benchmark.processes import BenchmarkError
from csms.drills import clock, disks, inside, outages, sockets, workers
from csms.drills.course import Plan, Tell
from csms.drills.stage import Result, Skip

# Each with the number of faults it holds unless told otherwise.
DRILLS: dict[str, tuple[Callable[[Plan, Tell], Result], int]] = {
    "postgresql": (outages.postgresql, 10),
    "redis": (outages.redis, 10),
    "jobs": (workers.jobs, 6),
    "disk": (disks.disk, 5),
    "half-open": (sockets.half_open, 3),
    "slow-reader": (sockets.slow_reader, 3),
    "clock": (clock.clock, len(clock.ERRORS)),
}


class Command(BaseCommand):
    help = (
        "Failure drills. Each breaks one thing beneath servers, databases and brokers of its own while charge points "
        "charge, and compares afterwards: no acknowledged fact lost, none twice, energy exact, no command stuck, every "
        "charge point back, every job ended. "
        + " ".join(f"{name}: {(function.__doc__ or '').split(chr(10))[0]}" for name, (function, _) in DRILLS.items())
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(DRILLS)}, or all")
        parser.add_argument("--times", type=int, help="faults to hold (default: by drill)")
        parser.add_argument("--stations", type=int, default=20, help="charging all the time (default %(default)s)")
        parser.add_argument("--pause", type=float, default=1.0, help="longest, between faults, s (default %(default)s)")
        parser.add_argument("--outage", type=float, default=2.0, help="longest outage, s (default %(default)s)")
        parser.add_argument(
            "--database", default="sqlite", metavar="sqlite|postgresql|URL", help="as in the benchmark (%(default)s)"
        )
        parser.add_argument("--seed", type=int, default=1, help="of the random moments (default %(default)s)")
        parser.add_argument("--json", action="store_true", help="print the results as one JSON array")
        parser.add_argument("--inside", action="store_true", help="used by the drills themselves")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            for answer in inside.answers(sys.stdin):
                sys.stdout.write(f"{answer}\n")
                sys.stdout.flush()
            return
        names = list(DRILLS) if "all" in options["names"] else options["names"]
        if not names or not set(names) <= set(DRILLS):
            raise CommandError(f"Name a drill: {', '.join(DRILLS)}, or all.")
        plan = Plan(
            times=0, stations=options["stations"], database=options["database"], seed=options["seed"],
            pause_seconds=options["pause"], outage_seconds=options["outage"],
        )  # fmt: skip
        results = [_hold(name, plan, options["times"]) for name in names]
        if options["json"]:
            self.stdout.write(json.dumps([asdict(result) for result in results]))
        else:
            _print(results)
        if any(result.violations for result in results):
            sys.exit(1)


def _hold(name: str, plan: Plan, times: int | None) -> Result:
    function, usual = DRILLS[name]
    console = Console(stderr=True)
    began = time.monotonic()
    try:
        result = function(replace(plan, times=times or usual), lambda text: console.print(f"{name}: {text}"))
    except (Skip, Unavailable) as reason:
        result = Result(name, skipped=str(reason))
    except BenchmarkError as error:
        result = Result(name, violations=[f"the drill broke off: {error}"])
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _print(results: list[Result]) -> None:
    console = Console()
    table = Table("drill", "faults", "seen", "seconds", "broken promises")
    for result in results:
        faults = "\n".join(f"{count} {kind}" for kind, count in result.faults.items())
        seen = "\n".join(f"{name.replace('_', ' ')} {value}" for name, value in result.figures.items())
        verdict = f"skipped: {result.skipped}" if result.skipped else str(len(result.violations))
        table.add_row(result.drill, faults, seen, f"{result.seconds}", verdict)
    console.print(table)
    for result in results:
        for violation in result.violations:
            console.print(f"{result.drill}: {violation}")
    skipped = [result.drill for result in results if result.skipped]
    if any(result.violations for result in results):
        console.print("PROMISES BROKEN.")
    elif len(skipped) < len(results):
        console.print("No promise broken.")
    if skipped:
        console.print(f"Not tried: {', '.join(skipped)}.")
