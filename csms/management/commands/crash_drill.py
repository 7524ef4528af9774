"""`manage.py crash_drill`: kill the server again and again under load, and prove that nothing was lost or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from django.core.management.base import BaseCommand, CommandError
from psycopg import sql
from rich.console import Console
from rich.progress import Progress

from csms.drills import crash


class Command(BaseCommand):
    help = "Kill a server of its own at random points under load; lost, doubled or wrong transactions fail the drill."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kills", type=int, default=200, help="kill -9 this often (default %(default)s)")
        parser.add_argument("--stations", type=int, default=20, help="charging all the time (default %(default)s)")
        parser.add_argument(
            "--cut-chance", type=float, default=0.02, help="chance of a cut line for each message (default %(default)s)"
        )
        parser.add_argument(
            "--database",
            default="sqlite",
            help="sqlite, or the URL of a PostgreSQL database whose role may create databases (default %(default)s)",
        )
        parser.add_argument("--seed", type=int, default=1, help="of the random points (default %(default)s)")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--inside", action="store_true", help="run on the configured database")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["inside"]:
            self._drill(options)
            return
        with tempfile.TemporaryDirectory(prefix="csms-drill-") as folder:
            if options["database"] == "sqlite":
                code = self._run_inside(options, f"sqlite:///{folder}/drill.sqlite3", folder)
            else:
                code = self._run_on_postgresql(options, folder)
        sys.exit(code)

    def _run_on_postgresql(self, options: dict[str, Any], folder: str) -> int:
        """In a database of its own, dropped afterwards."""
        url = urlsplit(options["database"])
        name = f"csms_drill_{uuid4().hex[:12]}"
        try:
            with psycopg.connect(options["database"], autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                try:
                    return self._run_inside(options, urlunsplit(url._replace(path=f"/{name}")), folder)
                finally:
                    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                    connection.execute(drop)
        except psycopg.Error as error:
            raise CommandError(f"PostgreSQL: {error}") from error

    def _run_inside(self, options: dict[str, Any], database_url: str, folder: str) -> int:
        environment = os.environ | {
            "CSMS_DATABASE_URL": database_url,
            "CSMS_REDIS_URL": "",
            "CSMS_DATA_DIR": folder,
            "CSMS_SECRET_KEY": uuid4().hex * 2,
            "CSMS_LOG_LEVEL": "ERROR",
        }
        manage = [sys.executable, sys.argv[0]]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)  # noqa: S603 - ours
        command = [
            *manage, "crash_drill", "--inside", "--kills", str(options["kills"]), "--stations",
            str(options["stations"]), "--cut-chance", str(options["cut_chance"]), "--seed", str(options["seed"]),
        ]  # fmt: skip
        if options["json"]:
            command.append("--json")
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - ours

    def _drill(self, options: dict[str, Any]) -> None:
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("kills", total=options["kills"])
            result = crash.drill(
                kills=options["kills"],
                stations=options["stations"],
                cut_chance=options["cut_chance"],
                seed_number=options["seed"],
                on_progress=lambda done, total: progress.update(task, completed=done),
            )
        if options["json"]:
            self.stdout.write(json.dumps(asdict(result)))
        else:
            kills = ", ".join(f"{number} {point}" for point, number in result.kills.items())
            self.stdout.write(
                f"{sum(result.kills.values())} kills ({kills}) in {result.seconds:.0f} s; {result.connects} connects, "
                f"{result.answered} messages answered, {result.repeated} sent again; "
                f"{result.sessions} transactions, {result.energy_wh} Wh."
            )
            for violation in result.violations:
                self.stdout.write(violation)
            self.stdout.write("No promise broken." if not result.violations else "PROMISES BROKEN.")
        if result.violations:
            sys.exit(1)
