"""The product server: uvicorn for one process, a small supervisor for several, worker and beat inside when embedded.

uvicorn because it can refuse a websocket upgrade with an HTTP status, closes with 1012 on stop, and costs less than
half of Daphne's CPU a message. Compression is off: it costs 42 KB a socket and some charge points choke on it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from celery.apps.worker import Worker
from celery.beat import Service
from celery.platforms import EX_OK
from celery.worker import state
from django.conf import settings

from csms import addresses, affinity, door, systemd, tls, upgrades
from csms.beat import SteadyScheduler
from csms.celery import app as celery_app
from stations import connections

logger = logging.getLogger(__name__)

BACKLOG = 4096
SWITCH_INTERVAL_SECONDS = 0.0005
# Allocations less releases before the young are searched, and how many searches of one age make one of the next.
GARBAGE_THRESHOLDS = (10_000, 10, 10)
RESTART_PAUSE_SECONDS = 1.0
# A terminal and a supervisor each send their own signal for one and the same request.
SAME_REQUEST_SECONDS = 1.0
# How long charge points may take to answer the close frame.
CLOSE_REPLY_SECONDS = 1.0
SHORT_PAUSE_SECONDS = 0.05
# What an orderly end that does not come about has on top of its time: in a process, and in those that it supervises.
OVERTIME_SECONDS = 1.0
CHILD_OVERTIME_SECONDS = 4.0


def bind(host: str, port: int) -> socket.socket:
    """A listening socket for the processes to share; port 0 takes a free one. Raises OSError.

    Keep-alive probes find a charge point that lost its power or its SIM: it would never close the connection itself,
    and its silence proves nothing, for heartbeats may be hours apart. While something that was sent to it is not
    acknowledged there are no probes; then the user time-out counts, else the kernel would try for a quarter of an hour.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = settings.CSMS_DEAD_PEER_SECONDS
    options = {
        "TCP_KEEPIDLE": seconds // 2, "TCP_KEEPINTVL": seconds // 6, "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": seconds * 1000,
    }  # fmt: skip
    for name, value in options.items():
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    listening.bind((host, port))
    listening.listen(BACKLOG)
    listening.set_inheritable(True)
    return listening


@dataclass(frozen=True, slots=True)
class Port:
    """A listening socket and what is spoken there: plain, TLS (`certificates`), or TLS with client certificates."""

    listening: socket.socket
    certificates: tls.Certificates | None = None
    require_client: bool = False

    @property
    def kind(self) -> str:
        if self.certificates is None:
            return addresses.PLAIN
        return addresses.CLIENT_CERTIFICATES if self.require_client else addresses.TLS

    @property
    def announcement(self) -> str:
        host, port = self.listening.getsockname()[:2]
        scheme = "http" if self.certificates is None else "https"
        addition = ", client certificates required" if self.require_client else ""
        return f"Listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}{addition}"


class Server(uvicorn.Server):
    """uvicorn's server that says when it listens, and lets charge points go one after the other when it stops.

    SIGTERM or SIGINT: not ready for CSMS_READINESS_GRACE_SECONDS, then everything that is in hand is brought to its end
    within CSMS_SHUTDOWN_SECONDS, with exit status 0. New charge points get 503 meanwhile. A second signal hurries.
    """

    def __init__(
        self, config: uvicorn.Config, ports: Sequence[Port] = (), announcement: str = "", core: int = 0
    ) -> None:
        super().__init__(config)
        self.server_state: upgrades.State = upgrades.State()
        self._core = core
        self._ports = ports
        self._announcement = announcement
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_by = 0
        self._asked_at = 0.0
        # When (monotonic) everything is to be over, once it was told to stop.
        self.stop_by = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        affinity.stay(self._core)
        tend_garbage()
        # Accepted by us on every port, so that one door (csms/door.py) sees them all.
        await super().startup([] if self._ports else sockets)
        for port in self._ports:
            self.servers.append(self._listen(port))  # type: ignore[arg-type]
        if self.started and self._announcement:
            sys.stdout.write(f"{self._announcement}\n")
            sys.stdout.flush()
            systemd.notify("READY=1")

    def _listen(self, port: Port) -> tls.Listener:
        def make_http() -> asyncio.Protocol:
            protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return protocol

        return tls.Listener(
            port.listening,
            port.certificates,
            make_http,
            require_client=port.require_client,
            failed=connections.tls_failed,
            door=self.server_state.door,
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal, hurry at the next. uvicorn would end the process by the signal in the end."""
        if not self.should_exit:
            self.should_exit, self._asked_by, self._asked_at = True, sig, time.monotonic()
        elif (sig == self._asked_by or time.monotonic() > self._asked_at + SAME_REQUEST_SECONDS) and self._loop:
            self._loop.call_soon_threadsafe(connections.hurry)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace, seconds = settings.CSMS_READINESS_GRACE_SECONDS, settings.CSMS_SHUTDOWN_SECONDS
        logger.info("Stopping: %d charge points are connected", connections.count())
        systemd.notify("STOPPING=1")
        # A thread that hangs must not keep the process: it shows where it hangs, and the status is 1.
        faulthandler.dump_traceback_later(grace + seconds + OVERTIME_SECONDS, exit=True)
        await connections.stop_soon(grace)
        self.stop_by = time.monotonic() + seconds
        # Ports stay open meanwhile: who dials now is told by 503 to come again, which a refused connection does not.
        await connections.drain()
        for server in self.servers:
            server.close()
        await self._closed(time.monotonic() + CLOSE_REPLY_SECONDS)
        left = self.stop_by - time.monotonic() - seconds / 20
        self.config.timeout_graceful_shutdown = max(left, 0)  # type: ignore[assignment]
        await super().shutdown(sockets)

    async def _closed(self, deadline: float) -> None:
        """Wait until charge points have answered the close frame: who is cut off before might not have read it."""
        while any(isinstance(connection, tls.WebSocketProtocol) for connection in self.server_state.connections):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(SHORT_PAUSE_SECONDS)


def tend_garbage() -> None:
    """Look for cyclic garbage among what connections make, and seldom; not among what was imported, over and over.

    By default a full search, 0.1 s with everything stopped, comes with every few thousand messages: the slowest answers
    of all, and half of the processor time of a message with 500 charge points.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def serve_one(ports: Sequence[Port], *, embedded: bool, announce: bool, core: int) -> None:
    """Serve in this process, on this core, until SIGTERM or SIGINT; the first of `ports` is the plain one."""
    for port in ports:
        if port.certificates is not None:
            # Before anybody is told to connect: files that are missing or do not fit stop the start.
            port.certificates.context(require_client=port.require_client)
    # A lane gives up the interpreter lock at each statement and wants it back at once; by default the event loop may
    # keep it for 5 ms each time.
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    if embedded:
        start_embedded()
    door.raise_limit()
    names = ((port.kind, *port.listening.getsockname()[:2]) for port in ports)
    connections.announce(addresses.listening(names))
    announcement = "\n".join(port.announcement for port in ports) if announce else ""
    server = Server(configuration(), ports, announcement, core)
    server.run()
    if embedded:
        finish_embedded(server.stop_by)


def configuration(application: Any = "csms.asgi:application") -> uvicorn.Config:
    """How uvicorn serves `application` (an ASGI application or its import path), the product unless told otherwise."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        http=upgrades.HttpProtocol,
        ws=tls.WebSocketProtocol,
        ws_max_size=settings.CSMS_MAX_FRAME_BYTES,
        ws_ping_interval=settings.CSMS_PING_INTERVAL_SECONDS or None,
        # A charge point that never answers pings is alive all the same.
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        # Forwarded headers are read by csms.proxies, which trusts only what is configured.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=settings.CSMS_SHUTDOWN_SECONDS,
        lifespan="on",
    )


def serve_many(ports: Sequence[Port], processes: int) -> int:
    """Run `processes` server processes on the same sockets, replace those that die, stop them with us.

    Gives an exit code.
    """
    sockets = [port.listening.fileno() for port in ports]
    children: list[subprocess.Popen[bytes]] = []
    stopping, hurried = threading.Event(), threading.Event()
    first_core = affinity.any_core()

    def asked(*_: Any) -> None:
        (hurried if stopping.is_set() else stopping).set()

    def start(number: int, *, announce: bool = False) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            *_interpreter_options(),
            sys.argv[0],
            "serve",
            *child_options(ports),
            "--core",
            str(first_core + number),
        ]
        if announce:
            command.append("--announce")
        return subprocess.Popen(command, pass_fds=sockets)  # noqa: S603 - our own command line

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, asked)
    children = [start(number, announce=number == 0) for number in range(processes)]
    while not stopping.wait(0.5):
        for number, child in enumerate(children):
            if child.poll() is not None:
                logger.error("Server process %s ended with %s; starting another", child.pid, child.returncode)
                time.sleep(RESTART_PAUSE_SECONDS)
                children[number] = start(number)
    for port in ports:
        # Held open here, it would take connections that nobody answers.
        port.listening.close()
    return _stop(children, hurried)


def _stop(children: list[subprocess.Popen[bytes]], hurried: threading.Event) -> int:
    """Pass the signal on, and a second one; 0 when all came to an orderly end."""
    for child in children:
        child.terminate()
    passed_on = False
    grace, seconds = settings.CSMS_READINESS_GRACE_SECONDS, settings.CSMS_SHUTDOWN_SECONDS
    deadline = time.monotonic() + grace + seconds + CHILD_OVERTIME_SECONDS
    while any(child.poll() is None for child in children) and time.monotonic() < deadline:
        if hurried.is_set() and not passed_on:
            passed_on = True
            for child in children:
                child.terminate()
        time.sleep(SHORT_PAUSE_SECONDS)
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    return 0 if all(child.returncode == 0 for child in children) else 1


def child_options(ports: Sequence[Port]) -> list[str]:
    """The options by which a server process takes over these sockets."""
    options = []
    for port in ports:
        name = "" if port.certificates is None else "mtls-" if port.require_client else "tls-"
        options += [f"--{name}socket-fd", str(port.listening.fileno())]
    for certificate, key in next((port.certificates.pairs for port in ports if port.certificates is not None), ()):
        options += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    return options


def _interpreter_options() -> list[str]:
    return ["-X", "dev"] if sys.flags.dev_mode else []


class _ThreadWorker(Worker):
    """A Celery worker that leaves signals, logging and the process title to the server it lives in."""

    def on_before_init(self, quiet: bool = False, **kwargs: Any) -> None:
        self.app.loader.init_worker()

    def on_init_blueprint(self) -> None:
        pass

    def on_start(self) -> None:
        pass

    def on_consumer_ready(self, consumer: Any) -> None:
        pass


def start_embedded() -> None:
    """Start a Celery worker and beat as threads of this process: the small installation needs nothing else."""

    def work() -> None:
        worker = _ThreadWorker(
            app=celery_app, pool="solo", concurrency=1, without_heartbeat=True, without_mingle=True,
            without_gossip=True, loglevel="WARNING", logfile=None, quiet=True,
        )  # fmt: skip
        worker.start()

    def beat() -> None:
        Service(celery_app, scheduler_cls=SteadyScheduler).start()

    threading.Thread(target=work, name="embedded-worker", daemon=True).start()
    threading.Thread(target=beat, name="embedded-beat", daemon=True).start()


def finish_embedded(deadline: float) -> None:
    """Let the embedded worker end the job it is at, until `deadline` (monotonic), and begin no other."""
    state.should_stop = EX_OK
    while state.active_requests and time.monotonic() < deadline:
        time.sleep(SHORT_PAUSE_SECONDS)
