"""`manage.py demo`, behind `make run`: a running system with something to see, on a machine that has only Python."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from stations import credentials
from stations.models import ChargePoint, IdTag
from tenants.models import Membership, Site, Tenant
from tenants.scope import platform_scope, tenant_scope

SLUG = "demo"
ADMIN = "admin"
START_SECONDS = 60
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
        call_command("migrate", interactive=False, verbosity=0)
        password = self._admin_password()
        station_passwords = self._tenant()
        connection.close()
        server = self._start_server(options["host"], options["port"])
        url = self._await_address(server)
        stations = self._start_stations(url, station_passwords, options["speed"])
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        self.stdout.write(f"\n{len(STATIONS)} simulated charge points are connecting; they charge in the background.")
        if password:
            self.stdout.write(f"Sign in as {ADMIN} with the password {password} (shown only this once).")
        else:
            self.stdout.write(f"Sign in as {ADMIN}; forgotten: python manage.py changepassword {ADMIN}")
        self.stdout.write("Stop with Ctrl-C.")
        self.stdout.write(f"{url}/admin/")
        self.stdout.flush()
        try:
            deadline = options["seconds"]
            waited = 0.0
            while not stop.wait(0.5):
                waited += 0.5
                if server.poll() is not None:
                    raise CommandError(f"The server ended with {server.returncode}.")
                if deadline is not None and waited >= deadline:
                    break
        finally:
            for process in (stations, server):
                process.terminate()
            for process in (stations, server):
                try:
                    process.wait(settings.CSMS_SHUTDOWN_SECONDS * 2)
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
        return subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, sys.argv[0], "serve", "--host", host, "--port", str(port)],
            stdout=subprocess.PIPE, stderr=log, text=True, env={"CSMS_LOG_FORMAT": "console", **os.environ},
        )  # fmt: skip

    def _await_address(self, server: subprocess.Popen[str]) -> str:
        """The URL the server says it listens on; CommandError when it does not come up."""
        timer = threading.Timer(START_SECONDS, server.kill)
        timer.start()
        for line in server.stdout or ():
            if line.startswith("Listening on "):
                timer.cancel()
                return line.removeprefix("Listening on ").strip()
        timer.cancel()
        tail = (Path(settings.DATA_DIR) / "server.log").read_text().strip().splitlines()[-3:]
        raise CommandError("The server did not start: " + " / ".join(tail))

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
        return subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command line
