"""`manage.py fuzz`: generated frames against a live server; every promise about answers is checked on each."""

from __future__ import annotations

import json
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from csms.drills.command import own_database
from csms.fuzz import run

MEGABYTE = 1024 * 1024
LARGEST_FRAME = MEGABYTE
SHOWN_MOVES = 5


class Command(BaseCommand):
    help = (
        "Send generated frames (random, spoilt, out of order, repeated, split, against the protocol) over several "
        "sockets to a server of its own while another charge point charges. Fails when a CALL is not answered exactly "
        "once, a socket dies that should not, the server logs a failure or grows, or the neighbour is not served well."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--frames", type=int, default=100_000, help="to send in all (%(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="of everything that is sent (%(default)s)")
        parser.add_argument("--seconds", type=float, help="stop after this time")
        parser.add_argument("--stations", type=int, default=16, help="sockets in parallel (%(default)s)")
        parser.add_argument(
            "--growth-mb", type=float, default=64, help="memory may grow after the warm-up (%(default)s)"
        )
        parser.add_argument(
            "--database", default="sqlite", metavar="sqlite|postgresql|URL", help="as in the benchmark (%(default)s)"
        )
        parser.add_argument("--json", metavar="FILE", type=Path, help="write the result there")
        parser.add_argument(
            "--replay", metavar="SEED.STATION.MOVE", help="make one move again, with the --before moves that led to it"
        )
        parser.add_argument("--before", type=int, default=0, help="moves before that one (%(default)s)")
        parser.add_argument("--inside", nargs=2, metavar=("WHAT", "STATIONS"), help="used by the command itself")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            what, stations = options["inside"]
            self.stdout.write(json.dumps(run.seed(int(stations)) if what == "seed" else run.stored()))
            return
        # Stopped from outside, the server and the database of the run are taken down as after its end.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        plan = _plan(options)
        console = Console(stderr=True)
        if plan.replay is not None:
            _show(plan, console)
        with own_database("fuzz", options["database"]) as (database, folder):
            result = run.fuzz(plan, database.url, folder, LARGEST_FRAME, console.print)
        if options["json"]:
            options["json"].write_text(run.as_json(result))
        _print(result)
        if result.broken:
            raise CommandError(f"{len(result.broken)} promises broken.")


def _plan(options: dict[str, Any]) -> run.Plan:
    seed, replay, stations = options["seed"], None, options["stations"]
    if options["replay"]:
        try:
            seed, station, number = map(int, options["replay"].split("."))
        except ValueError:
            raise CommandError("--replay takes SEED.STATION.MOVE, as a broken promise names it.") from None
        replay = (station, max(0, number - options["before"]), number)
        stations = max(stations, station + 1)
    return run.Plan(options["frames"], options["seconds"], seed, stations, int(options["growth_mb"] * MEGABYTE), replay)


def _show(plan: run.Plan, console: Console) -> None:
    station, first, last = plan.replay or (0, 0, -1)
    maker = run.Maker(plan.seed, LARGEST_FRAME)
    for number in range(first, last + 1):
        move = maker.make(station, number)
        for part in move.parts[:SHOWN_MOVES]:
            console.print(f"{move.name} {move.kind}: {part.payload[:500]!r}", markup=False, highlight=False)


def _print(result: run.Result) -> None:
    console = Console()
    rate = result.frames / result.seconds if result.seconds else 0
    console.print(
        f"Seed {result.seed}: {result.frames:,} frames in {result.seconds:.0f} s ({rate:,.0f} a second) over "
        f"{result.connects:,} connections; memory {result.memory_warm_bytes / MEGABYTE:.0f} MB after the warm-up, "
        f"at most {result.memory_most_bytes / MEGABYTE:.0f} MB."
    )
    console.print(
        f"Neighbour: {result.neighbour_answers:,} answers, {result.neighbour_transactions:,} transactions, p99 of "
        f"Authorize {result.neighbour_p99_ms} ms."
    )
    table = Table("sent", "moves", "answered", "times", "commands", "times")
    columns = [
        sorted(counts.items(), key=lambda item: -item[1]) for counts in (result.kinds, result.answers, result.commands)
    ]
    for number in range(max(map(len, columns))):
        cells = [column[number] if number < len(column) else ("", "") for column in columns]
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for pair in cells for cell in pair))
    console.print(table)
    for broken in result.broken:
        console.print(f"BROKEN: {broken['what']}", markup=False, highlight=False)
        if broken["moves"]:
            console.print(f"  after {' '.join(broken['moves'][-SHOWN_MOVES:])}", markup=False, highlight=False)
