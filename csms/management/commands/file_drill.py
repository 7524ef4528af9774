"""`manage.py file_drill`: many download a large image from us while others charge; what that costs them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table

from csms.drills import files
from csms.drills.command import own_database

MEGABYTE = 1024 * 1024


class Command(BaseCommand):
    help = (
        "Let charge points download a large image with dropped lines while others charge, and print the latency of "
        "Authorize and the memory of the server with and without. Uses a database of its own."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--image-mb", type=float, default=200, help="size of the image (%(default)s)")
        parser.add_argument("--downloads", type=int, default=20, help="charge points that fetch it (%(default)s)")
        parser.add_argument("--drops", type=int, default=3, help="dropped lines of each (%(default)s)")
        parser.add_argument("--stations", type=int, default=200, help="charge points that charge (%(default)s)")
        parser.add_argument("--seconds", type=float, default=30, help="measured without downloads (%(default)s)")
        parser.add_argument("--authorize-seconds", type=float, default=2, help="between two of one (%(default)s)")
        parser.add_argument("--meter-values-seconds", type=float, default=10, help="between two of one (%(default)s)")
        parser.add_argument("--rate", type=int, help="CSMS_DOWNLOAD_BYTES_PER_SECOND of the server; default: its own")
        parser.add_argument(
            "--database", default="sqlite", metavar="sqlite|postgresql|URL", help="as in the benchmark (%(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--inside", metavar="IMAGE", type=Path, help="used by the drill itself")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            self.stdout.write(json.dumps(files.seed(options["inside"], options["downloads"], options["stations"])))
            return
        plan = files.Plan(
            image_bytes=int(options["image_mb"] * MEGABYTE),
            downloads=options["downloads"],
            drops=options["drops"],
            stations=options["stations"],
            seconds=options["seconds"],
            authorize_seconds=options["authorize_seconds"],
            meter_values_seconds=options["meter_values_seconds"],
            bytes_per_second=options["rate"],
        )
        console = Console(stderr=True)
        with own_database("file-drill", options["database"]) as (database, folder):
            result = files.drill(plan, database.url, folder, console.print)
        if options["json"]:
            self.stdout.write(files.as_json(result))
        else:
            _print(result)


def _print(result: files.DrillResult) -> None:
    console = Console()
    table = Table("", "Authorize", "p50 ms", "p99 ms", "max ms", "server memory MB", "seconds")
    for label, figures in (("without downloads", result.before), ("with downloads", result.during)):
        table.add_row(
            label, str(figures.answers), f"{figures.p50_ms}", f"{figures.p99_ms}", f"{figures.max_ms}",
            f"{figures.rss_bytes / MEGABYTE:.0f}", f"{figures.seconds}",
        )  # fmt: skip
    console.print(table)
    rate = result.fetched_bytes / MEGABYTE / result.download_seconds
    console.print(
        f"{result.completed} images fetched whole, {result.resumed} times resumed, "
        f"{result.fetched_bytes / MEGABYTE:.0f} MB in {result.download_seconds} s ({rate:.0f} MB/s)."
    )
