"""The processes that are measured, and the load client: starting, talking to, measuring and stopping them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, cast

import psutil
from django.conf import settings

START_SECONDS = 180
STOP_SECONDS = 30
# No order takes longer than its phase and this.
ANSWER_SECONDS = 180
# Settings that tune the product; every other CSMS_ variable is that of the installation and stays away.
TUNING = ("CSMS_LANES", "CSMS_LANE_THREADS", "CSMS_LANE_BATCH_SIZE", "CSMS_DATABASE_POOL_SIZE", "CSMS_ONE_CORE")


class BenchmarkError(Exception):
    """The run cannot be counted; the text says why."""


def environment(database_url: str, folder: Path) -> dict[str, str]:
    """The environment of the product on a database of this run, with its files below `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CSMS_") or name in TUNING}
    return kept | {
        "CSMS_DATABASE_URL": database_url,
        "CSMS_DATA_DIR": str(folder),
        "CSMS_SECRET_KEY": secrets.token_hex(32),
        # Nobody dials it: what asks where files are gets a path, and the port from whoever measures.
        "CSMS_PUBLIC_URL": "http://127.0.0.1:8000",
        # A charge point that is measured asks as fast as it is answered.
        "CSMS_FRAMES_PER_SECOND": "0",
        "PYTHONUNBUFFERED": "1",
    }


def manage(*arguments: str, environment: dict[str, str]) -> str:
    """Run `manage.py` to its end; its stdout. Raises BenchmarkError with its last words when it fails."""
    done = subprocess.run(  # noqa: S603 - ours
        manage_command(*arguments), cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"manage.py {arguments[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def manage_command(*arguments: str, checkout: Path | None = None) -> list[str]:
    """The command line of `manage.py` with `arguments`, of this checkout of the product or of another one."""
    return [sys.executable, str((checkout or Path(settings.BASE_DIR)) / "manage.py"), *arguments]


def end(child: subprocess.Popen[Any], how: signal.Signals, seconds: float) -> None:
    """Send `how` to a child and wait for its end; one that takes longer than `seconds` is killed."""
    child.send_signal(how)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Process:
    """A child that writes lines on stdout and is measured from outside; ends with the `with` block."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], log: Path, checkout: Path | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            # Of a session of its own: Ctrl-C is for the command, which then stops its children in order.
            self._child = subprocess.Popen(  # noqa: S603 - ours
                command, cwd=checkout or settings.BASE_DIR, env=environment, text=True, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
            )  # fmt: skip
        self._stdin = cast(IO[str], self._child.stdin)
        self._stdout = cast(IO[str], self._child.stdout)
        self._measured = psutil.Process(self._child.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.stop()

    def cpu_seconds(self) -> float:
        """User and system time so far, that of its processes included."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._family()))

    def rss_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self._family())

    def pids(self) -> list[int]:
        """It, and the processes it has started."""
        return [process.pid for process in self._family()]

    def _family(self) -> list[psutil.Process]:
        return [self._measured, *self._measured.children(recursive=True)]

    def tell(self, line: str) -> None:
        try:
            self._stdin.write(f"{line}\n")
            self._stdin.flush()
        except BrokenPipeError as error:
            raise BenchmarkError(f"A process of the benchmark has ended: {self._last_words()}") from error

    def line(self, timeout_seconds: float) -> str:
        """The next line it prints; BenchmarkError when it ends or is silent for too long instead."""
        # Its end is the only thing that wakes a blocking read.
        timer = threading.Timer(timeout_seconds, self._child.kill)
        timer.start()
        try:
            line = self._stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise BenchmarkError(f"A process of the benchmark ended or hung: {self._last_words()}")
        return line.strip()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").strip()[-2000:] or "it said nothing"

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def ended(self, timeout_seconds: float) -> bool:
        """Whether it ended by itself within that time."""
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to it and its children: what a power cut does."""
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        self.stop()

    def log(self) -> str:
        """What it has written to stderr so far, and whoever had the log before it."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        if self._child.poll() is None:
            end(self._child, signal.SIGTERM, STOP_SECONDS)
        self._child.wait()
        self._stdout.close()
        # What it was told last it may never have read.
        with suppress(BrokenPipeError):
            self._stdin.close()


class Server(Process):
    """The product or the echo, listening on `port`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        folder: Path,
        *,
        command: Sequence[str] = (),
        log: str = "server.log",
        checkout: Path | None = None,
    ) -> None:
        """`command` stands before `arguments` in the place of manage.py, which is that of `checkout` if given."""
        command = command or manage_command(checkout=checkout)
        super().__init__([*command, *arguments], environment, folder / log, checkout)
        try:
            line = self.line(START_SECONDS)
            if not line.startswith("Listening on "):
                raise BenchmarkError(f"The server did not start: {line}")
        except BenchmarkError:
            self.stop()
            raise
        self.port = int(line.rsplit(":", 1)[1])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        ended_with = self._child.poll()
        super().__exit__(kind, error, trace)
        if isinstance(error, BenchmarkError) and ended_with is not None:
            raise BenchmarkError(f"{error} The server had ended with {ended_with}: {self._last_words()}") from error


class LoadClient(Process):
    """csms/benchmark/load.py: give orders, take reports."""

    def __init__(self, folder: Path) -> None:
        super().__init__([sys.executable, "-m", "csms.benchmark.load"], dict(os.environ), folder / "load.log")

    def order(self, do: str, **members: Any) -> None:
        self.tell(json.dumps({"do": do, **members}))

    def report(self, event: str, timeout_seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next report, which must be `event`; BenchmarkError with the client's sentence when it failed."""
        report: dict[str, Any] = json.loads(self.line(timeout_seconds))
        if report["event"] != event:
            raise BenchmarkError(f"The load client reports: {report.get('why', report['event'])}")
        return report
