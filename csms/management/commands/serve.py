"""`manage.py serve`: the product server."""

from __future__ import annotations

import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from csms import server
from tenants.checks import check_database_role, check_row_level_security


class Command(BaseCommand):
    help = "Serve the admin, the REST API and charge points' websockets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (default %(default)s)")
        parser.add_argument("--processes", type=int, default=1, help="server processes that share the port")
        parser.add_argument(
            "--embedded",
            action="store_true",
            default=None,
            help="run the worker and beat inside this process (the default when no Redis is configured)",
        )
        parser.add_argument("--socket-fd", type=int, help="inherit this listening socket (used between processes)")
        parser.add_argument("--announce", action="store_true", help="print the address (used between processes)")

    def handle(self, *args: Any, **options: Any) -> None:
        embedded = not settings.REDIS_URL if options["embedded"] is None else options["embedded"]
        if options["socket_fd"] is not None:
            server.serve_one(socket.socket(fileno=options["socket_fd"]), embedded=False, announce=options["announce"])
            return
        if options["processes"] < 1:
            raise CommandError("--processes must be at least 1.")
        if options["processes"] > 1 and not settings.REDIS_URL:
            raise CommandError("Several processes need Redis: set CSMS_REDIS_URL.")
        if options["processes"] > 1 and options["embedded"]:
            raise CommandError("--embedded runs in one process only.")
        self._check_database()
        try:
            listening = server.bind(options["host"], options["port"])
        except OSError as error:
            raise CommandError(f"Cannot listen on {options['host']}:{options['port']}: {error.strerror}.") from error
        if options["processes"] == 1:
            server.serve_one(listening, embedded=embedded, announce=True)
        else:
            sys.exit(server.serve_many(listening, options["processes"]))

    def _check_database(self) -> None:
        """Refuse to start on a database that is behind, or on a role that row-level security does not bind."""
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not up to date: run `python manage.py migrate` first.")
        problems = [*check_database_role(connection), *check_row_level_security(connection)]
        problems = [problem for problem in problems if problem.is_serious()]
        if problems:
            raise CommandError(" ".join(str(problem) for problem in problems))
        connection.close()
