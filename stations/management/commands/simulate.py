"""`manage.py simulate`: virtual charge points against any OCPP 1.6-J central system, and the load generator."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from stations.simulator import SCENARIOS, FleetOptions, FleetSummary, run_fleet
from stations.simulator.console import ProgressDisplay, failure_lines, print_summary
from stations.simulator.link import frames_logger
from stations.simulator.options import DEFAULT_ID_TAG

SPARE_FILES = 200  # besides one socket per station


class Command(BaseCommand):
    help = (
        "Run simulated OCPP 1.6-J charge points against a central system. Exit code 1 means that something failed that "
        "should not: a CALLERROR, a timeout, a refused handshake, an undelivered transaction message, a wrong answer."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        who = parser.add_argument_group("who")
        who.add_argument("--url", default="ws://127.0.0.1:8000/ocpp/demo/", help="endpoint; the identity is appended")
        who.add_argument(
            "--stations", type=int, metavar="N", help="number of stations (default: 1, or all credentials)"
        )
        who.add_argument("--prefix", default="SIM", help="identities are PREFIX0001, PREFIX0002, ...")
        who.add_argument("--identity", action="append", default=[], help="an identity, instead of a number; repeatable")
        who.add_argument("--password", help="HTTP Basic password of all stations")
        who.add_argument(
            "--credentials",
            metavar="FILE",
            help='passwords by identity: one JSON object, or lines like {"identity": "A", "password": "B"}',
        )
        who.add_argument("--connectors", type=int, default=2, help="connectors per station")
        who.add_argument("--insecure", action="store_true", help="wss: accept any server certificate")
        who.add_argument("--ca", metavar="FILE", help="wss: PEM certificates to trust instead of the system's")

        what = parser.add_argument_group("what")
        what.add_argument(
            "--scenario",
            action="append",
            default=[],
            metavar="NAME",
            help="repeatable: stations take turns (default: mixed)",
        )
        what.add_argument("--list-scenarios", action="store_true", help="print the scenarios and end")
        what.add_argument(
            "--id-tag", action="append", default=[], metavar="TAG", help=f"repeatable (default: {DEFAULT_ID_TAG})"
        )
        what.add_argument("--sample-interval", type=float, default=10.0, metavar="SECONDS", help="between meter values")
        what.add_argument("--charging-minutes", type=float, nargs=2, default=[20, 60], metavar=("LEAST", "MOST"))
        what.add_argument(
            "--speed",
            type=float,
            default=1.0,
            metavar="FACTOR",
            help="time lapse of the pauses, not of the energy",
        )
        what.add_argument("--milliseconds", action=BooleanOptionalAction, default=True, help="in timestamps")
        what.add_argument(
            "--validate",
            action=BooleanOptionalAction,
            default=True,
            help="check messages against the schemas (costs CPU)",
        )

        when = parser.add_argument_group("how long (default: until interrupted)")
        when.add_argument("--duration", type=float, metavar="SECONDS")
        when.add_argument("--transactions", type=int, metavar="N", help="rounds of the scenario per station")
        when.add_argument("--ramp", type=float, default=0.0, metavar="SECONDS", help="spread the connects")
        when.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="with an unreachable server")
        when.add_argument("--call-timeout", type=float, default=30.0, metavar="SECONDS")
        when.add_argument("--seed", type=int, help="makes the choices of a run repeatable")

        output = parser.add_argument_group("output")
        output.add_argument("--json", action="store_true", help="the summary as JSON on stdout, and nothing else there")
        output.add_argument("--quiet", action="store_true", help="no progress bar and no tables")

    def handle(self, *args: Any, **given: Any) -> None:
        """Run the fleet and print the summary. Errors: CommandError for bad options and for failures of the run."""
        if given["list_scenarios"]:
            self._list_scenarios()
            return
        if given["verbosity"] >= 3:
            frames_logger.setLevel(logging.INFO)
        try:
            options = fleet_options(given)
            _allow_sockets(len(options.all_identities()))
            summary = asyncio.run(self._run(options, quiet=given["quiet"] or given["json"]))
        except ValueError as error:
            raise CommandError(str(error)) from error
        if given["json"]:
            self.stdout.write(json.dumps(summary.as_dict(), indent=2))
        elif not given["quiet"]:
            self._write(lambda console: print_summary(console, summary))
        if summary.failed:
            lines = failure_lines(summary)
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            raise CommandError(f"Failed: {lines[0]}{more}")

    async def _run(self, options: FleetOptions, *, quiet: bool) -> FleetSummary:
        stop = asyncio.Event()
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def leave() -> None:
            if stop.is_set() and task is not None:
                task.cancel()  # asked twice: no more good order
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, leave)
            except (NotImplementedError, RuntimeError, ValueError):
                break  # not in the main thread, or not on this platform: the caller ends the run
        console = Console(stderr=True)
        with ProgressDisplay(console, options, enabled=not quiet and console.is_terminal) as show:
            return await run_fleet(options, show, stop=stop)

    def _list_scenarios(self) -> None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, scenario in SCENARIOS.items():
            table.add_row(name, scenario.description)
        self._write(lambda console: console.print(table))

    def _write(self, draw: Any) -> None:
        """Draw with rich on the command's own stdout."""
        console = Console(force_terminal=self.stdout.isatty())
        with console.capture() as capture:
            draw(console)
        self.stdout.write(capture.get(), ending="")


def fleet_options(given: dict[str, Any]) -> FleetOptions:
    """Turn parsed arguments into options. Errors: ValueError with a sentence."""
    return FleetOptions(
        url=given["url"],
        stations=given["stations"],
        prefix=given["prefix"],
        identities=tuple(given["identity"]),
        password=given["password"],
        credentials=read_credentials(Path(given["credentials"])) if given["credentials"] else {},
        connectors=given["connectors"],
        scenarios=tuple(given["scenario"]) or ("mixed",),
        id_tags=tuple(given["id_tag"]) or (DEFAULT_ID_TAG,),
        sample_interval_seconds=given["sample_interval"],
        charging_minutes=tuple(given["charging_minutes"]),
        speed=given["speed"],
        duration_seconds=given["duration"],
        transactions=given["transactions"],
        ramp_seconds=given["ramp"],
        seed=given["seed"],
        insecure=given["insecure"],
        ca_file=given["ca"],
        milliseconds=given["milliseconds"],
        validate=given["validate"],
        call_timeout_seconds=given["call_timeout"],
        patience_seconds=given["patience"],
    )


def read_credentials(file: Path) -> dict[str, str]:
    """Return passwords by identity from a JSON object, or from lines of JSON objects.

    A line is {"identity": ..., "password": ...} or again an object of passwords by identity.
    Errors: ValueError with a sentence, without the contents.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"Cannot read the credentials file {file}: {error.strerror}.") from error
    try:
        objects = [json.loads(text)]
    except json.JSONDecodeError:
        try:
            objects = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is neither a JSON object nor lines of JSON.") from error
    credentials: dict[str, str] = {}
    for entry in objects:
        if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
            raise ValueError(f"{file} must hold objects of texts.")
        if entry.keys() == {"identity", "password"}:
            credentials[entry["identity"]] = entry["password"]
        else:
            credentials |= entry
    return credentials


def _allow_sockets(stations: int) -> None:
    """Raise the soft limit of open files as far as the hard one allows; a thousand sockets exceed the usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = stations + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            raise ValueError(
                f"{stations} stations need {wanted} open files, and the system allows {allowed} (ulimit -n)."
            )
