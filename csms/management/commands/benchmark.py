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

from csms.benchmark import echo, keeper, picture, report, run
from csms.benchmark.databases import Unavailable, default_choice
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.results import PARTS, SAMPLING, Plan
from csms.benchmark.stopwatch import watch_server

# Of a table in a file or a pipe.
PLAIN_WIDTH = 150
INSIDE = ("echo", "tuned-echo", "watched-echo", "watched-product", "keeper")
ROWS, FULL_ROWS = 300_000, 10_000_000


class Command(BaseCommand):
    help = (
        "Measure what the product does on this machine: durable messages against a bare echo, Authorize under load, "
        "actions by connected charge points, memory of a socket, a reconnect storm, bulk commands, the cost of stored "
        "rows, one process and two. Uses temporary databases only; everything takes some twenty minutes."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only",
            default=",".join(PARTS),
            help="some of %(default)s, with commas; echo is the bare echo in whatever else is compared with it",
        )
        parser.add_argument(
            "--database",
            action="append",
            metavar="sqlite|postgresql|URL",
            help="repeatable; default: sqlite, and postgresql where there is one. A URL is that of a PostgreSQL role "
            "which may create databases; nothing but a new database is touched",
        )
        parser.add_argument(
            "--stations",
            type=_numbers,
            default="50,500",
            help="charge points that send MeterValues, with commas; the first is also how many send in the other parts "
            "(%(default)s)",
        )
        parser.add_argument(
            "--connected", type=_numbers, default="100,1000,5000", help="of the part actions (%(default)s)"
        )
        parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement (%(default)s)")
        parser.add_argument("--samples", type=_positive, default=10, help="sampled values a MeterValues (%(default)s)")
        parser.add_argument(
            "--rounds", type=_positive, default=3, help="how often whatever is compared is repeated (%(default)s)"
        )
        parser.add_argument(
            "--sampling", type=_positive, default=SAMPLING, help="charge points that sample every 10 s (%(default)s)"
        )
        parser.add_argument(
            "--idle-sockets", type=_positive, default=10_000, help="for the memory of one (%(default)s)"
        )
        parser.add_argument("--storm", type=_positive, default=5000, help="charge points cut off at once (%(default)s)")
        parser.add_argument(
            "--bulk", type=_positive, default=1000, help="charge points commanded at once (%(default)s)"
        )
        parser.add_argument(
            "--rows", type=_positive, default=ROWS, help="stored meter values of the part data (%(default)s)"
        )
        parser.add_argument(
            "--full",
            action="store_true",
            help=f"--rows {FULL_ROWS:,} with a million transactions: needs 10 GB of disk and some minutes",
        )
        parser.add_argument(
            "--share",
            type=float,
            default=0.0,
            metavar="CORES",
            help="hold each server process of the part processes to as much of a core: what a second one gains where "
            "there are cores for it (0.35 on a machine of two; needs root)",
        )
        parser.add_argument(
            "--against",
            type=_checkout,
            default="",
            metavar="PATH",
            help="the folder of another checkout of the product (git worktree add PATH COMMIT), measured in turn with "
            "this one in every round; its dependencies must be those installed here",
        )
        parser.add_argument("--json", metavar="FILE", type=Path, help="also write everything measured to FILE")
        parser.add_argument("--svg", metavar="FILE", type=Path, help="also draw it to FILE")
        parser.add_argument("--profile", action="store_true", help="one more round that shows where the time goes")
        parser.add_argument("--inside", choices=INSIDE, help="used by the benchmark itself")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            self._inside(options["inside"])
            return
        parts = [part.strip() for part in options["only"].split(",") if part.strip()]
        if not parts or set(parts) - set(PARTS):
            raise CommandError(f"--only takes some of {', '.join(PARTS)}.")
        plan = Plan(
            stations=options["stations"],
            seconds=options["seconds"],
            samples=options["samples"],
            rounds=options["rounds"],
            databases=options["database"] or default_choice(),
            parts=parts,
            connected=options["connected"],
            sampling=options["sampling"],
            idle_sockets=options["idle_sockets"],
            storm=options["storm"],
            bulk=options["bulk"],
            rows=FULL_ROWS if options["full"] else options["rows"],
            share=options["share"],
            profile=options["profile"],
            against=options["against"],
        )
        # Stopped from outside, the servers and databases of the run are taken down as after its end.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        console = Console()
        if not console.is_terminal:
            console = Console(width=PLAIN_WIDTH)
        try:
            with console.status("") as status:
                # Without a terminal there is nothing to overwrite: lines, away from the tables.
                tell = status.update if console.is_terminal else self.stderr.write
                results = run.measure(plan, run.progress(tell))
        except (BenchmarkError, Unavailable) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        report.show(console, results)
        if options["json"]:
            options["json"].write_text(json.dumps(asdict(results), indent=2) + "\n")
        if options["svg"]:
            options["svg"].write_text(picture.svg(results))
        if results.failures:
            raise CommandError("Not everything could be measured.")

    def _inside(self, what: str) -> None:
        """The benchmark's own processes, each on the database of its environment."""
        if what in ("echo", "tuned-echo"):
            echo.serve(tuned=what == "tuned-echo")
        elif what == "watched-echo":
            watch_server(product=False)
            echo.serve()
        elif what == "watched-product":
            watch_server(product=True)
            call_command("serve", port=0)
        else:
            keeper.serve()


def _checkout(text: str) -> str:
    folder = Path(text).resolve()
    if not (folder / "manage.py").is_file():
        raise ArgumentTypeError(f"{text!r} is no checkout of the product: there is no manage.py")
    return str(folder)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _numbers(text: str) -> list[int]:
    """Whole numbers with commas between them, smallest first."""
    return sorted({_positive(part.strip()) for part in text.split(",")})
