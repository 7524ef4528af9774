"""`manage.py demo`, behind `make run`: a running system with something to see, on a machine that has only Python."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from csms import server as product_server
from stations import credentials
from stations.models import ChargePoint, IdTag
from tenants.models import Membership, Site, Tenant
from tenants.scope import platform_scope, tenant_scope

SLUG = "demo"
ADMIN = "admin"
START_SECONDS = 60
WATCH_SECONDS = 0.5
# Until everything has ended after Ctrl-C, and what of it the server may take for its connections.
STOP_SECONDS = 3.0
SERVER_STOP_SECONDS = 2
# Identity, scenario of `manage.py simulate`, what it shows.
STATIONS = (
    ("DEMO-01", "plug-in-first", "Cable first, then card"),
    ("DEMO-02", "identify-first", "Card first, then cable"),
    ("DEMO-03", "remote-start", "Waits for a remote start: send one from its page"),
    ("DEMO-04", "offline-replay", "Loses its line while charging and delivers later"),
    ("DEMO-05", "faults", "Breaks down and recovers"),
    ("DEMO-06", "power-loss", "Loses its power while charging"),
    ("DEMO-07", "mixed", "A bit of everything"),
    ("DEMO-08", "unknown-tag", "Somebody tries cards that nobody knows"),
)
ID_TAGS = (
    ("DEMO-CARD-1", "FAMILY", "A card of a family"),
    ("DEMO-CARD-2", "FAMILY", "Another card of the same family"),
    ("DEMO-CARD-3", "", "A card on its own"),
)


class Command(BaseCommand):
    help = "Migrate, make a demo tenant and an admin user, serve, and run simulated charge points until stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--speed", type=float, default=20.0, help="time lapse of the stations (%(default)s)")
        parser.add_argument("--seconds", type=float, help="stop by itself after this long")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()

        def asked(*_: Any) -> None:
            if stop.is_set():
                os._exit(130)
            stop.set()
            self.stdout.write(f"\nStopping, {STOP_SECONDS:.0f} seconds at most.")
            self.stdout.flush()

        try:
            self._prepare(options["host"], options["port"])
        except KeyboardInterrupt:
            raise CommandError("Stopped before anything was started.", returncode=130) from None
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, asked)
        processes: list[subprocess.Popen[Any]] = []
        try:
            self._run(options, processes, stop)
        finally:
            self._stop(processes)

    def _prepare(self, host: str, port: int) -> None:
        """Refuse what can't work before anything is changed, then bring the database up to date."""
        self.only_one = self._claim_data_dir()
        if port:
            try:
                product_server.bind(host, port).close()
            except OSError as error:
                raise CommandError(
                    f"Port {port} of {host} cannot be used ({error.strerror}): another program has it? "
                    f"Choose another one: make run PORT={port + 80 if port < 65_000 else 8080}"
                ) from error
        try:
            self._migrate()
        except DatabaseError as error:
            raise CommandError(
                f"The data in {settings.DATA_DIR} cannot be brought up to date ({error}). "
                "Move the folder away to begin anew."
            ) from error

    def _migrate(self) -> None:
        loader = MigrationLoader(connection)
        newer = [name for name in loader.applied_migrations if name not in loader.disk_migrations]
        if any(app in ("stations", "tenants", "billing") for app, _ in newer):
            raise CommandError(
                f"The data in {settings.DATA_DIR} were written by a newer version of the product. "
                "Use that version, or move the folder away to begin anew."
            )
        call_command("migrate", interactive=False, verbosity=0)

    def _claim_data_dir(self) -> IO[str]:
        """The lock on this folder's data, held by us and by our server; CommandError when another demo has it."""
        lock = (Path(settings.DATA_DIR) / "demo.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            where = lock.read().strip() or "it is starting"
            raise CommandError(
                f"It runs already with the data of this folder: {where}. Stop it there with Ctrl-C first."
            ) from None
        lock.truncate(0)
        return lock

    def _run(self, options: dict[str, Any], processes: list[subprocess.Popen[Any]], stop: threading.Event) -> None:
        """Start server and stations, say where they are, and watch them until `stop`."""
        password = self._admin_password()
        station_passwords = self._tenant()
        connection.close()
        processes.append(server := self._start_server(options["host"], options["port"]))
        url = self._await_address(server, stop)
        if url is None:
            return
        self.only_one.write(f"{url}/admin/, process {os.getpid()}")
        self.only_one.flush()
        processes.append(stations := self._start_stations(url, station_passwords, options["speed"]))
        self.stdout.write(f"\n{len(STATIONS)} simulated charge points are connecting; they charge in the background:")
        for identity, _, description in STATIONS:
            self.stdout.write(f"  {identity}  {description}")
        if password:
            self.stdout.write(f"Sign in as {ADMIN} with the password {password} (shown only this once).")
        else:
            self.stdout.write(f"Sign in as {ADMIN}; forgotten: {_python()} manage.py changepassword {ADMIN}")
        self.stdout.write("Stop with Ctrl-C.")
        self.stdout.write(f"{url}/admin/")
        self.stdout.flush()
        ends_at = None if options["seconds"] is None else time.monotonic() + options["seconds"]
        watched = True
        while not stop.wait(WATCH_SECONDS) and (ends_at is None or time.monotonic() < ends_at):
            if server.poll() is not None:
                raise CommandError(f"The server ended with {server.returncode}: {_last_words('server.log')}")
            if watched and stations.poll() is not None:
                watched = False
                self.stdout.write(f"The simulated charge points ended: {_last_words('stations.log')}")
                self.stdout.flush()

    def _stop(self, processes: list[subprocess.Popen[Any]]) -> None:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    def _admin_password(self) -> str | None:
        """The new admin's password, or None when there is one already."""
        users = get_user_model().objects
        if users.filter(username=ADMIN).exists():
            return None
        password = secrets.token_urlsafe(12)
        users.create_superuser(ADMIN, password=password)
        return password

    def _tenant(self) -> dict[str, str]:
        """Make or find the demo tenant; fresh passwords for its charge points, since only hashes are stored."""
        tenant, _ = Tenant.objects.get_or_create(slug=SLUG, defaults={"name": "Demo operator"})
        with platform_scope():
            admin = get_user_model().objects.get(username=ADMIN)
        passwords = {}
        with tenant_scope(tenant.pk):
            Membership.objects.get_or_create(user=admin, defaults={"role": "owner"})
            site, _ = Site.objects.get_or_create(slug="car-park", defaults={"name": "Car park"})
            for identity, _, description in STATIONS:
                charge_point, _ = ChargePoint.objects.get_or_create(
                    identity=identity, defaults={"description": description, "site": site}
                )
                passwords[identity] = credentials.generate()
                charge_point.password_hash = credentials.hashed(passwords[identity].encode(), generated=True)
                charge_point.save(update_fields=["password_hash"])
            for id_tag, parent, description in ID_TAGS:
                IdTag.objects.get_or_create(
                    key=id_tag.upper(),
                    defaults={"id_tag": id_tag, "parent_id_tag": parent, "description": description},
                )
            IdTag.objects.get_or_create(
                key="DEMO-BLOCKED", defaults={"id_tag": "DEMO-BLOCKED", "blocked": True, "description": "Lost card"}
            )
            IdTag.objects.get_or_create(
                key="DEMO-EXPIRED",
                defaults={
                    "id_tag": "DEMO-EXPIRED",
                    "expiry_date": datetime.now(UTC) - timedelta(days=1),
                    "description": "Contract ended",
                },
            )
        return passwords

    def _start_server(self, host: str, port: int) -> subprocess.Popen[str]:
        log = (Path(settings.DATA_DIR) / "server.log").open("a")
        given = {"CSMS_LOG_FORMAT": "console", "CSMS_SHUTDOWN_SECONDS": str(SERVER_STOP_SECONDS), **os.environ}
        return subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, sys.argv[0], "serve", "--host", host, "--port", str(port)],
            stdout=subprocess.PIPE, stderr=log, text=True, env=given,
            # Ctrl-C is passed on by us, once; the lock lasts as long as anybody writes to the data.
            start_new_session=True, pass_fds=[self.only_one.fileno()],
        )  # fmt: skip

    def _await_address(self, server: subprocess.Popen[str], stop: threading.Event) -> str | None:
        """The URL the server says it listens on, None when stopped meanwhile; CommandError when it does not come up."""
        timer = threading.Timer(START_SECONDS, server.kill)
        timer.start()
        for line in server.stdout or ():
            if line.startswith("Listening on "):
                timer.cancel()
                return line.removeprefix("Listening on ").strip()
        timer.cancel()
        if stop.is_set():
            return None
        raise CommandError(f"The server did not start: {_last_words('server.log')}")

    def _start_stations(self, url: str, passwords: dict[str, str], speed: float) -> subprocess.Popen[bytes]:
        path = Path(settings.DATA_DIR) / "demo-stations.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(passwords))
        command = [
            sys.executable, sys.argv[0], "simulate", "--url", url.replace("http", "ws", 1) + f"/ocpp/{SLUG}/",
            "--credentials", str(path), "--quiet", "--speed", str(speed), "--sample-interval", "10",
        ]  # fmt: skip
        for identity, scenario, _ in STATIONS:
            command += ["--identity", identity, "--scenario", scenario]
        for id_tag, _, _ in ID_TAGS:
            command += ["--id-tag", id_tag]
        log = (Path(settings.DATA_DIR) / "stations.log").open("ab")
        return subprocess.Popen(  # noqa: S603 - our own command line
            command, stdout=log, stderr=log, start_new_session=True
        )


def _python() -> str:
    """How the user calls this Python: from the folder of the checkout where it lies there."""
    here = Path.cwd()
    python = Path(sys.executable)
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)


def _last_words(log: str) -> str:
    """The last line of a log in the data folder, and where the rest is."""
    path = Path(settings.DATA_DIR) / log
    lines = path.read_text(errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'no word of it'} (more in {path})"
