"""`manage.py flood_drill`: bad handshakes by the thousand a second while charge points charge; what that costs them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from csms.drills import flood
from csms.drills.command import own_database
from csms.drills.handshakes import MOST_ADDRESSES

SHOWN_REFUSALS = 5


class Command(BaseCommand):
    help = (
        "Flood the server with handshakes that have wrong passwords, from many loopback addresses (Linux), while "
        "charge points charge, return and come for the first time; print the latency of Authorize with and without, "
        "and whether anybody with the right password was refused. Uses a database of its own."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rate", type=int, default=1000, help="bad handshakes a second (%(default)s)")
        parser.add_argument("--seconds", type=float, default=30, help="length of each window (%(default)s)")
        parser.add_argument("--rounds", type=int, default=2, help="windows without and with the flood (%(default)s)")
        parser.add_argument(
            "--addresses", type=int, default=250, help=f"that the flood comes from, to {MOST_ADDRESSES} (%(default)s)"
        )
        parser.add_argument("--stations", type=int, default=200, help="charge points that charge (%(default)s)")
        parser.add_argument("--authorize-seconds", type=float, default=2, help="between two of one (%(default)s)")
        parser.add_argument("--meter-values-seconds", type=float, default=10, help="between two of one (%(default)s)")
        parser.add_argument(
            "--silent", type=int, default=400, help="connections that never say what they want, 0: none (%(default)s)"
        )
        parser.add_argument(
            "--database", default="sqlite", metavar="sqlite|postgresql|URL", help="as in the benchmark (%(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--inside", nargs=2, type=int, metavar="N", help="used by the drill itself")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            self.stdout.write(json.dumps(flood.seed(*options["inside"])))
            return
        if not 1 <= options["addresses"] <= MOST_ADDRESSES:
            raise CommandError(f"--addresses must be 1 to {MOST_ADDRESSES}.")
        plan = flood.Plan(
            per_second=options["rate"],
            seconds=options["seconds"],
            rounds=max(1, options["rounds"]),
            addresses=options["addresses"],
            stations=options["stations"],
            authorize_seconds=options["authorize_seconds"],
            meter_values_seconds=options["meter_values_seconds"],
            silent=options["silent"],
        )
        console = Console(stderr=True)
        with own_database("flood-drill", options["database"]) as (database, folder):
            result = flood.drill(plan, database.url, folder, console.print)
        if options["json"]:
            self.stdout.write(flood.as_json(result))
        else:
            _print(result)
        if result.refused:
            shown = "; ".join(result.refused[:SHOWN_REFUSALS])
            raise CommandError(f"{len(result.refused)} handshakes with the right password were refused: {shown}.")


def _print(result: flood.DrillResult) -> None:
    console = Console()
    heads = ("Authorize", "p50 ms", "p99 ms", "max ms", "returning", "max ms", "new", "max ms", "refused", "server CPU")
    table = Table("", *heads)
    for label, figures in (("without the flood", result.before), ("with the flood", result.during)):
        shown = ("answers", "p50_ms", "p99_ms", "max_ms", "returning", "returning_max_ms", "new", "new_max_ms")
        row = [str(figures[name]) for name in shown]
        table.add_row(label, *row, str(len(figures["refused"])), f"{figures['server_cpu']:.0%}")
    console.print(table)
    for report in result.floods:
        statuses = ", ".join(f"{count} with {status}" for status, count in report["statuses"].items())
        console.print(
            f"{report['sent']} bad handshakes, {report['per_second']} a second, answered {statuses}; p50 "
            f"{report['p50_ms']} ms, p99 {report['p99_ms']} ms. The flood itself took {report['busy']:.0%} of a core."
        )
    rate = sum(report["per_second"] for report in result.floods) / len(result.floods)
    cost = (result.during["server_cpu"] - result.before["server_cpu"]) / rate
    console.print(f"A bad handshake took {cost * 1000:.2f} ms of the server's CPU, all told.")
    if result.silence is not None:
        found = result.silence
        rest = ", ".join(f"{count} with {status}" for status, count in found["rest"].items())
        console.print(
            f"Beside {found['connections']} silent connections, with {found['descriptors']} file descriptors in all, "
            f"{found['right']} right charge points came and were answered within {found['right_max_ms']} ms, and REST "
            f"answered {rest}."
        )
    console.print(f"{result.after['again']} that charged dialled again from the address of the flood.")
