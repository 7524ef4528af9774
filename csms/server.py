"""The product server: uvicorn for one process, a small supervisor for several, worker and beat inside when embedded.

uvicorn because it can refuse a websocket upgrade with an HTTP status, closes with 1012 on stop, and costs less than
half of Daphne's CPU a message. Compression is off: it costs 42 KB a socket and some charge points choke on it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn
from celery.apps.worker import Worker
from celery.beat import Scheduler, Service
from django.conf import settings

from csms import tls
from csms.celery import app as celery_app
from stations import connections

logger = logging.getLogger(__name__)

BACKLOG = 4096
SWITCH_INTERVAL_SECONDS = 0.0005
RESTART_PAUSE_SECONDS = 1.0


def bind(host: str, port: int) -> socket.socket:
    """A listening socket for the processes to share; port 0 takes a free one. Raises OSError.

    Keep-alive probes find a charge point that lost its power or its SIM: it would never close the connection itself,
    and its silence proves nothing, for heartbeats may be hours apart.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
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
    def announcement(self) -> str:
        host, port = self.listening.getsockname()[:2]
        scheme = "http" if self.certificates is None else "https"
        addition = ", client certificates required" if self.require_client else ""
        return f"Listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}{addition}"


class Server(uvicorn.Server):
    """uvicorn's server that says when it listens, and lets charge points go one after the other when it stops."""

    def __init__(self, config: uvicorn.Config, tls_ports: Sequence[Port] = (), announcement: str = "") -> None:
        super().__init__(config)
        self._tls_ports = tls_ports
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for port in self._tls_ports:
            self.servers.append(self._listen_with_tls(port))  # type: ignore[arg-type]
        if self.started and self._announcement:
            sys.stdout.write(f"{self._announcement}\n")
            sys.stdout.flush()

    def _listen_with_tls(self, port: Port) -> tls.Listener:
        def make_http() -> asyncio.Protocol:
            protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return protocol

        if port.certificates is None:
            raise TypeError("A port without certificates is served by uvicorn itself.")
        return tls.Listener(
            port.listening,
            port.certificates,
            make_http,
            require_client=port.require_client,
            failed=connections.tls_failed,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await connections.drain()
        await super().shutdown(sockets)


def serve_one(ports: Sequence[Port], *, embedded: bool, announce: bool) -> None:
    """Serve in this process until SIGTERM or SIGINT; the first of `ports` is the plain one."""
    for port in ports:
        if port.certificates is not None:
            # Before anybody is told to connect: files that are missing or do not fit stop the start.
            port.certificates.context(require_client=port.require_client)
    # A lane gives up the interpreter lock at each statement and wants it back at once; by default the event loop may
    # keep it for 5 ms each time.
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    if embedded:
        start_embedded()
    plain, *with_tls = ports
    announcement = "\n".join(port.announcement for port in ports) if announce else ""
    Server(configuration(), with_tls, announcement).run(sockets=[plain.listening])


def configuration(application: Any = "csms.asgi:application") -> uvicorn.Config:
    """How uvicorn serves `application` (an ASGI application or its import path), the product unless told otherwise."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
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
    stopping = threading.Event()

    def start(number: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            *_interpreter_options(),
            sys.argv[0],
            "serve",
            *child_options(ports),
        ]
        if number == 0:
            command.append("--announce")
        return subprocess.Popen(command, pass_fds=sockets)  # noqa: S603 - our own command line

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    children = [start(number) for number in range(processes)]
    while not stopping.wait(0.5):
        for number, child in enumerate(children):
            if child.poll() is not None:
                logger.error("Server process %s ended with %s; starting another", child.pid, child.returncode)
                time.sleep(RESTART_PAUSE_SECONDS)
                children[number] = start(number + 1)
    for child in children:
        child.terminate()
    deadline = time.monotonic() + settings.CSMS_SHUTDOWN_SECONDS * 2
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
    return 0


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
        Service(celery_app, scheduler_cls=Scheduler).start()

    threading.Thread(target=work, name="embedded-worker", daemon=True).start()
    threading.Thread(target=beat, name="embedded-beat", daemon=True).start()
