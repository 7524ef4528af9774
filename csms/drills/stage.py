"""What every drill plays on: a database of its own with a tenant and charge points, servers, perhaps Redis.

The drill's own process never opens the database: it has `manage.py drill --inside` do what is to be done there, so that
it can break the database, or the clock, beneath the product without breaking itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from csms.benchmark.brokers import RedisServer, fresh_redis
from csms.benchmark.databases import Database, fresh_database
from csms.benchmark.processes import BenchmarkError, Process, Server, environment

SLUG = "drill"
SQLITE_FILE = "benchmark.sqlite3"
FOLDER = f"/ocpp/{SLUG}/"
# So that a drill sees in seconds what an installation sees in a minute.
INSIDE_SECONDS = 600
SETTINGS = {"CSMS_CALL_TIMEOUT_SECONDS": "5", "CSMS_COMMAND_SWEEP_SECONDS": "1", "CSMS_LOG_LEVEL": "INFO"}


@dataclass
class Result:
    """What a drill did and found; `violations` is empty when all promises held, `skipped` says why nothing was done."""

    drill: str
    faults: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""

    def fault(self, kind: str) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + 1


class Skip(Exception):
    """A drill cannot be held on this machine; the text says why."""


@dataclass
class Stage:
    """`made` is who may charge: identity, password, id tag; `api_key` has all scopes."""

    folder: Path
    database: Database
    environment: dict[str, str]
    insider: Process
    redis: RedisServer | None = None
    made: list[tuple[str, str, str]] = field(default_factory=list)
    api_key: str = ""

    def server(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        log: str = "server.log",
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> Server:
        """A running server, to be used in a `with` block; `command` is put in the place of manage.py."""
        arguments = ["serve", "--host", host, "--port", str(port)]
        return Server(arguments, self.environment | dict(settings or {}), self.folder, command=command, log=log)

    def inside(self, what: str, order: Mapping[str, Any]) -> Any:
        """Have something done in the database (csms/drills/inside.py). Raises BenchmarkError."""
        self.insider.tell(json.dumps({"do": what} | dict(order)))
        answer: dict[str, Any] = json.loads(self.insider.line(INSIDE_SECONDS))
        if "failure" in answer:
            raise BenchmarkError(f"{what} failed inside the database: {answer['failure']}")
        return answer["done"]

    def settled(self, identities: Sequence[str], patience_seconds: float) -> list[str]:
        """Sentences about what is still under way after that time (csms/drills/invariants.py)."""
        order = {"slug": SLUG, "identities": list(identities), "patience_seconds": patience_seconds}
        return list(self.inside("settled", order))

    def verify(
        self, books: Sequence[dict[str, Any]], commands: Sequence[int] = (), jobs: Sequence[str] = ()
    ) -> list[str]:
        """Sentences about every promise that was broken."""
        order = {"slug": SLUG, "books": list(books), "commands": list(commands), "jobs": list(jobs)}
        return list(self.inside("verify", order))


def url_of(server: Server) -> str:
    """Where charge points dial; their identity follows."""
    return f"ws://127.0.0.1:{server.port}{FOLDER}"


@contextmanager
def stage(
    choice: str,
    stations: int,
    *,
    with_redis: bool = False,
    settings: Mapping[str, str] | None = None,
    disks: Mapping[str, int] | None = None,
) -> Iterator[Stage]:
    """Migrated and seeded; `choice` as of fresh_database. Raises Unavailable, BenchmarkError, Skip.

    `disks`: file systems of their own below the stage's folder, with so many megabytes of room.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="csms-drill-")))
        for name, megabytes in (disks or {}).items():
            stack.enter_context(_small_disk(folder / name, megabytes))
        database = stack.enter_context(fresh_database(choice, folder))
        broker = stack.enter_context(fresh_redis(folder)) if with_redis else None
        surroundings = environment(database.url, folder) | SETTINGS | dict(settings or {})
        if broker is not None:
            surroundings["CSMS_REDIS_URL"] = broker.url
        command = [sys.executable, str(Path(django_settings.BASE_DIR) / "manage.py"), "drill", "--inside"]
        insider = stack.enter_context(Process(command, surroundings, folder / "inside.log"))
        made = Stage(folder, database, surroundings, insider, broker)
        _migrate(made)
        seeded = made.inside("seed", {"slug": SLUG, "stations": stations})
        made.made, made.api_key = [tuple(each) for each in seeded["stations"]], seeded["api_key"]
        yield made


# A migrated, empty SQLite database of this process, for its next stage to begin with.
_migrated: list[bytes] = []


def _migrate(made: Stage) -> None:
    path = made.folder / SQLITE_FILE
    if made.database.url.endswith(f"/{SQLITE_FILE}") and _migrated:
        path.write_bytes(_migrated[0])
        return
    made.inside("migrate", {})
    if path.exists():
        _migrated.append(path.read_bytes())


@contextmanager
def _small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system in memory over `folder`, with that much room. Raises Skip where it may not be mounted."""
    if os.geteuid() != 0:
        raise Skip("Only root may mount the small file system that is to be filled.")
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "csms-drill", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)  # noqa: S603 - no input of others
    if mounted.returncode:
        raise Skip(f"A small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)  # noqa: S603, S607
