"""`manage.py crash_drill`: kill the server again and again under load, and prove that nothing was lost or doubled."""

from __future__ import annotations

import json
import signal
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import Progress

from csms.benchmark.databases import Unavailable
from csms.benchmark.processes import BenchmarkError
from csms.drills import bursts, crash
from csms.drills.course import Plan

# Where no bar can be drawn.
LINE_EVERY_KILLS = 50


class Command(BaseCommand):
    help = "Kill a server of its own at random points under load; lost, doubled or wrong transactions fail the drill."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kills", type=int, default=200, help="kill -9 this often (default %(default)s)")
        parser.add_argument("--stations", type=int, default=20, help="charging all the time (default %(default)s)")
        parser.add_argument(
            "--habits", action="store_true",
            help="so many stations of each habit bring what they queued offline, not knowing transactionIds",
        )  # fmt: skip
        parser.add_argument(
            "--transactions", type=int, default=30, help="with --habits: that each of them brings (default %(default)s)"
        )
        parser.add_argument(
            "--cut-chance", type=float, default=0.02, help="chance of a cut line for each message (default %(default)s)"
        )
        parser.add_argument(
            "--database", default="sqlite", metavar="sqlite|postgresql|URL", help="as in the benchmark (%(default)s)"
        )
        parser.add_argument("--seed", type=int, default=1, help="of the random points (default %(default)s)")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        # Stopped from outside, the server and the database of the run are taken down as after its end.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        plan = Plan(options["kills"], options["stations"], options["database"], options["seed"])
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("kills", total=plan.times)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done)
                if not console.is_terminal and done % LINE_EVERY_KILLS == 0:
                    console.print(f"{done} of {total} kills")

            try:
                result: Any = (
                    bursts.drill(plan, options["transactions"], on_progress)
                    if options["habits"]
                    else crash.drill(plan, options["cut_chance"], on_progress)
                )
            except (BenchmarkError, Unavailable) as error:
                raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(result)))
        else:
            kills = ", ".join(f"{number} {point}" for point, number in result.kills.items())
            self.stdout.write(
                f"{sum(result.kills.values())} kills ({kills}) in {result.seconds:.0f} s; {result.connects} connects, "
                f"{result.answered} messages answered, {result.repeated} sent again."
            )
            if options["habits"]:
                for habit, counts in result.habits.items():
                    self.stdout.write(
                        f"{habit}: {counts['matched']} matched, {counts['flagged']} of them flagged; "
                        f"{counts['in_doubt']} in doubt, with their candidates"
                    )
            else:
                self.stdout.write(f"{result.sessions} transactions, {result.energy_wh} Wh.")
            for violation in result.violations:
                self.stdout.write(violation)
            self.stdout.write("No promise broken." if not result.violations else "PROMISES BROKEN.")
        if result.violations:
            sys.exit(1)
