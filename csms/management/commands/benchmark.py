"""`manage.py benchmark`: the performance table of this product on this machine."""

from __future__ import annotations

import json
import signal
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from csms.benchmark import echo, report, rows, run
from csms.benchmark.databases import Unavailable, default_choice
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.stopwatch import watch_server

# Of a table in a file or a pipe.
PLAIN_WIDTH = 150
INSIDE = ("echo", "watched-echo", "watched-product", "seed", "count")


class Command(BaseCommand):
    help = (
        "Measure durable messages a second against a bare echo through the same server, Authorize under load, memory "
        "of an idle socket, and processor time a message. Uses temporary databases only; takes some minutes."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stations", type=_positive, default=50, help="charge points that send MeterValues (%(default)s)"
        )
        parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement (%(default)s)")
        parser.add_argument("--samples", type=_positive, default=10, help="sampled values a MeterValues (%(default)s)")
        parser.add_argument(
            "--rounds", type=_positive, default=3, help="how often everything is repeated (%(default)s)"
        )
        parser.add_argument(
            "--database",
            action="append",
            metavar="sqlite|postgresql|URL",
            help="repeatable; default: sqlite, and postgresql where there is one. A URL is that of a PostgreSQL role "
            "which may create databases; nothing but a new database is touched",
        )
        parser.add_argument("--idle-sockets", type=_positive, default=1000, help="for the memory of one (%(default)s)")
        parser.add_argument(
            "--only",
            default=",".join(run.PARTS),
            help="some of %(default)s, with commas; echo is the bare echo in whatever else is measured",
        )
        parser.add_argument("--json", metavar="FILE", type=Path, help="also write everything measured to FILE")
        parser.add_argument("--profile", action="store_true", help="one more round that shows where the time goes")
        parser.add_argument("--inside", choices=INSIDE, help="used by the benchmark itself")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            self._inside(options["inside"], options["stations"])
            return
        parts = [part.strip() for part in options["only"].split(",") if part.strip()]
        if not parts or set(parts) - set(run.PARTS):
            raise CommandError(f"--only takes some of {', '.join(run.PARTS)}.")
        plan = run.Plan(
            stations=options["stations"],
            seconds=options["seconds"],
            samples=options["samples"],
            rounds=options["rounds"],
            databases=options["database"] or default_choice(),
            idle_sockets=options["idle_sockets"],
            parts=parts,
            profile=options["profile"],
        )
        # Stopped from outside, the servers and databases of the run are taken down as after its end.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        console = Console()
        if not console.is_terminal:
            console = Console(width=PLAIN_WIDTH)
        try:
            with console.status("") as status:
                results = run.measure(plan, lambda text: status.update(text))
        except (BenchmarkError, Unavailable) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        report.show(console, results)
        if options["json"]:
            options["json"].write_text(json.dumps(asdict(results), indent=2) + "\n")

    def _inside(self, what: str, stations: int) -> None:
        """The benchmark's own processes, each on the database of its environment."""
        if what == "echo":
            echo.serve()
        elif what == "watched-echo":
            watch_server(product=False)
            echo.serve()
        elif what == "watched-product":
            watch_server(product=True)
            call_command("serve", port=0)
        elif what == "seed":
            self.stdout.write(json.dumps(rows.seed(stations)))
        else:
            self.stdout.write(json.dumps(rows.count()))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
