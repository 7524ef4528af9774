"""`manage.py certify`: the certification cases against a running deployment, and the tables of the certificate."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from csms.certify.failure import UsageError
from csms.certify.options import Options
from csms.certify.registry import CertificationCase, Row, choose
from csms.certify.reports import check_target, write
from csms.certify.reports.console import Display, print_cases, print_report
from csms.certify.reports.wording import verdict
from csms.certify.results import Report
from csms.certify.runner import run

API_KEY = "CSMS_CERTIFY_API_KEY"
CASES_FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
# Of a table in a file or a pipe.
PLAIN_WIDTH = 150


class Command(BaseCommand):
    help = (
        "Play the certification cases for an OCPP 1.6-J central system against a running deployment, as its charge "
        "point and its operator. Ends with 0 when every chosen case passed, with 1 when one failed, with 2 when the "
        "run could not begin. Registers charge points and id tags of its own in the tenant and removes them."
    )
    # It asks a deployment elsewhere: this machine's own settings and database need not be in order.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        where = parser.add_argument_group("where")
        where.add_argument("--url", metavar="http(s)://HOST:PORT", help="of the deployment")
        where.add_argument("--tenant", metavar="SLUG", help="whose charge points and id tags are made for the run")
        where.add_argument(
            "--api-key",
            metavar="KEY",
            help=f"of that tenant, with the scopes read, operate and manage; better in {API_KEY}, for others on this "
            "machine can read a command line",
        )
        where.add_argument(
            "--ocpp-url",
            default="",
            metavar="ws(s)://HOST:PORT/ocpp/SLUG/",
            help="where charge points connect, without the identity, if that is another port or host than --url",
        )
        where.add_argument(
            "--tls-url",
            default="",
            metavar="wss://HOST:PORT/ocpp/SLUG/",
            help="where charge points of security profile 2 connect, if that is another port; with it their cases run",
        )
        where.add_argument(
            "--mtls-url",
            default="",
            metavar="wss://HOST:PORT/ocpp/SLUG/",
            help="where charge points with client certificates connect (security profile 3); with it their cases run",
        )
        where.add_argument(
            "--security-profile",
            type=int,
            choices=(0, 1, 2, 3),
            help="of the charge point in cases that are about none (default: 1 without TLS, 2 with it)",
        )
        where.add_argument("--ca", default="", metavar="FILE", help="PEM certificates to trust instead of the system's")
        where.add_argument("--insecure", action="store_true", help="accept any server certificate")

        what = parser.add_argument_group("what")
        what.add_argument(
            "--only", action="append", default=[], metavar="001,003", help="these cases; also TC_001_CSMS; repeatable"
        )
        what.add_argument(
            "--profile",
            action="append",
            default=[],
            metavar="ROW",
            help=f"these functionality rows, also by short names (core, firmware, smart, …): {', '.join(Row)}",
        )
        what.add_argument("--list", action="store_true", help="print the chosen cases and end")
        what.add_argument("--connectors", type=int, default=2, help="of the charge point (%(default)s)")

        how = parser.add_argument_group("how")
        how.add_argument(
            "--timeout", type=float, default=10.0, metavar="SECONDS", help="for a step of a case (%(default)s)"
        )
        how.add_argument(
            "--settle",
            type=float,
            default=0.5,
            metavar="SECONDS",
            help="how long to listen at the end of a case for what nobody asked for (%(default)s)",
        )
        how.add_argument(
            "--report", action="append", default=[], type=Path, metavar="FILE", help=".json, .html or .pdf; repeatable"
        )

    def handle(self, *args: Any, **given: Any) -> None:
        """Run and print. Errors: CommandError with the exit status of the help text."""
        terminal = self.stdout.isatty()
        console = Console(file=_Unended(self.stdout), width=None if terminal else PLAIN_WIDTH)  # type: ignore[arg-type]
        try:
            chosen = choose(
                [text for one in given["only"] for text in one.split(",") if text.strip()], given["profile"]
            )
            if given["list"]:
                print_cases(console, chosen)
                return
            for path in given["report"]:
                check_target(path)
            report = self._run(console, _options(given), chosen)
        except UsageError as error:
            raise CommandError(str(error), returncode=BAD_USAGE) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=INTERRUPTED) from None
        print_report(console, report)
        for path in given["report"]:
            try:
                write(report, path)
            except OSError as error:
                raise CommandError(f"{path} cannot be written: {error.strerror}.", returncode=BAD_USAGE) from None
            self.stderr.write(f"Written: {path}")
        if not report.passed:
            raise CommandError(verdict(report)[1], returncode=CASES_FAILED)

    def _run(self, console: Console, options: Options, chosen: Sequence[CertificationCase]) -> Report:
        # Stopped from outside, what was registered is removed as after the end.
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        except ValueError:
            pass  # not in the main thread: whoever called sees to it
        with Display(console, len(chosen)) as show:
            return asyncio.run(run(options, chosen, show))


class _Unended:
    """The command's own stdout as rich needs it: Django would end every piece of a progress bar with a new line."""

    def __init__(self, out: Any) -> None:
        self._out = out

    def write(self, text: str) -> None:
        self._out.write(text, ending="")

    def flush(self) -> None:
        self._out.flush()

    def isatty(self) -> bool:
        return bool(self._out.isatty())


def _options(given: dict[str, Any]) -> Options:
    """Parsed arguments as options. Errors: UsageError."""
    if not given["url"]:
        raise UsageError("--url is missing: where the deployment is, such as http://127.0.0.1:8000.")
    return Options(
        url=given["url"].rstrip("/"),
        tenant=given["tenant"] or "",
        api_key=(given["api_key"] or os.environ.get(API_KEY, "")).strip(),
        ocpp_url=given["ocpp_url"],
        tls_url=given["tls_url"],
        mtls_url=given["mtls_url"],
        timeout_seconds=given["timeout"],
        settle_seconds=given["settle"],
        security_profile=given["security_profile"],
        connectors=given["connectors"],
        ca_file=given["ca"],
        insecure=given["insecure"],
    )
