"""`manage.py serve`: the product server."""

from __future__ import annotations

import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from csms import affinity, server, tls
from csms.metrics import figures
from stations import connections
from tenants.checks import check_database_role, check_row_level_security


class Command(BaseCommand):
    help = "Serve the admin, the REST API and charge points' websockets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (default %(default)s)")
        parser.add_argument("--tls-port", type=int, help="port for TLS and passwords (security profile 2)")
        parser.add_argument("--mtls-port", type=int, help="port for TLS with client certificates (security profile 3)")
        parser.add_argument(
            "--tls-cert",
            action="append",
            default=[],
            metavar="FILE",
            help="the server's certificate chain, PEM, leaf first; repeatable: one RSA, one ECDSA",
        )
        parser.add_argument(
            "--tls-key", action="append", default=[], metavar="FILE", help="its private key, PEM; in the same order"
        )
        parser.add_argument("--processes", type=int, default=1, help="server processes that share the port")
        parser.add_argument(
            "--embedded",
            action="store_true",
            default=None,
            help="run the worker and beat inside this process (the default when no Redis is configured)",
        )
        parser.add_argument("--socket-fd", type=int, help="inherit this listening socket (used between processes)")
        parser.add_argument("--tls-socket-fd", type=int, help="the same for the TLS port")
        parser.add_argument("--mtls-socket-fd", type=int, help="the same for the port with client certificates")
        parser.add_argument("--core", type=int, help="the core to run on, counted round (used between processes)")
        parser.add_argument("--announce", action="store_true", help="print the address (used between processes)")

    def handle(self, *args: Any, **options: Any) -> None:
        embedded = not settings.REDIS_URL if options["embedded"] is None else options["embedded"]
        certificates = self._certificates(options)
        core = affinity.any_core() if options["core"] is None else options["core"]
        if options["socket_fd"] is not None:
            inherited = [
                server.Port(socket.socket(fileno=options[f"{name}socket_fd"]), certificates if name else None, required)
                for name, required in (("", False), ("tls_", False), ("mtls_", True))
                if options[f"{name}socket_fd"] is not None
            ]
            server.serve_one(inherited, embedded=False, announce=options["announce"], core=core)
            return
        if options["processes"] < 1:
            raise CommandError("--processes must be at least 1.")
        if options["processes"] > 1 and not settings.REDIS_URL:
            raise CommandError("Several processes need Redis: set CSMS_REDIS_URL.")
        if options["processes"] > 1 and options["embedded"]:
            raise CommandError("--embedded runs in one process only.")
        self._check_database()
        figures.tidy(settings.CSMS_METRICS_DIR)
        ports = [self._bind(options["host"], options["port"])]
        if options["tls_port"] is not None:
            ports.append(self._bind(options["host"], options["tls_port"], certificates))
        if options["mtls_port"] is not None:
            ports.append(self._bind(options["host"], options["mtls_port"], certificates, require_client=True))
        try:
            if options["processes"] == 1:
                server.serve_one(ports, embedded=embedded, announce=True, core=core)
            else:
                sys.exit(server.serve_many(ports, options["processes"]))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error

    def _certificates(self, options: dict[str, Any]) -> tls.Certificates | None:
        """The certificates of the TLS ports; None when there is no such port. Raises CommandError."""
        certificates, keys = options["tls_cert"], options["tls_key"]
        names = ("tls_port", "mtls_port", "tls_socket_fd", "mtls_socket_fd")
        if all(options[name] is None for name in names):
            if certificates or keys:
                raise CommandError("--tls-cert and --tls-key need --tls-port or --mtls-port.")
            return None
        if not certificates:
            raise CommandError("--tls-port and --mtls-port need --tls-cert and --tls-key.")
        if len(certificates) != len(keys):
            raise CommandError("--tls-cert and --tls-key are given in pairs.")
        pairs = [(Path(certificate), Path(key)) for certificate, key in zip(certificates, keys, strict=True)]
        return tls.Certificates(pairs, connections.client_roots)

    def _bind(
        self, host: str, port: int, certificates: tls.Certificates | None = None, *, require_client: bool = False
    ) -> server.Port:
        try:
            return server.Port(server.bind(host, port), certificates, require_client)
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error

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
