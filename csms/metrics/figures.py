"""Every instrument, and the files in which processes keep what they counted.

Nothing is counted before `begin`: management commands and tests pay nothing, and leave no files.
"""

from __future__ import annotations

import fcntl
import os
import socket
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

PREFIX: Final = "csms"
# Seconds. Answers: from what nobody notices to what a charge point takes for no answer.
ANSWER_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
COMMIT_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LAG_BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
HANDSHAKE_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TASK_BOUNDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


class BulkHistogram(Histogram):
    """A histogram that also takes many observations at once: one write for each bucket that has any."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add `counts` observations by bucket (as `bucket_of` numbers them) that sum up to `total`."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


def bucket_of(bounds: Sequence[float], value: float) -> int:
    """The number of the bucket of `value`; the last one, len(bounds), has no upper bound."""
    return bisect_left(bounds, value)


class Figures:
    """The instruments of a process. Dashboard and alerts in deploy/ know their names and labels."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        def named(name: str) -> str:
            return f"{PREFIX}_{name}"

        def histogram(name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> BulkHistogram:
            return BulkHistogram(named(name), text, labels, buckets=bounds, registry=registry)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(named(name), text, labels, registry=registry)

        def gauge(name: str, text: str, mode: Any = "livesum", labels: Sequence[str] = ()) -> Gauge:
            return Gauge(named(name), text, labels, registry=registry, multiprocess_mode=mode)

        self.messages = counter(
            "messages",
            "Frames. from_charge_point: its CALLs, by their answer; to_charge_point: ours, when sent and when ended.",
            ("direction", "action", "outcome", "code"),
        )
        self.answer_seconds = histogram(
            "answer_seconds", "From a CALL's arrival until its answer is committed.", ANSWER_BOUNDS
        )
        self.batch_seconds = histogram("batch_seconds", "A lane's batch, from its first query to COMMIT.", BATCH_BOUNDS)
        self.batch_items = histogram("batch_items", "Items in a lane's batch.", BATCH_SIZES)
        self.commit_seconds = histogram("commit_seconds", "Writing a transaction's rows, with COMMIT.", COMMIT_BOUNDS)
        self.lane_waiting = gauge("lane_waiting_items", "Items that wait for a lane.")

        self.connections = gauge(
            "connections", "Open websockets of charge points; the tenants with the most, the rest as 'other'.",
            labels=("tenant",),
        )  # fmt: skip
        self.handshakes = counter("handshakes", "Websocket handshakes: accepted, or why refused.", ("outcome",))
        self.handshake_seconds = histogram(
            "handshake_seconds", "From a handshake's arrival to its decision, waiting included.", HANDSHAKE_BOUNDS
        )
        self.handshakes_waiting = gauge("handshakes_waiting", "Handshakes that wait for their turn.")
        self.frames_delayed = counter("frames_delayed", "Frames that waited: their charge points send too many.")
        self.tls_failures = counter("tls_failures", "TLS handshakes that failed, by reason.", ("reason",))

        self.task_runs = counter("task_runs", "Background tasks that ended, by outcome.", ("task", "outcome"))
        self.task_seconds = histogram("task_seconds", "What background tasks took.", TASK_BOUNDS, ("task",))
        self.task_wait_seconds = histogram(
            "task_wait_seconds", "From publishing a background task until it runs.", TASK_BOUNDS
        )

        self.loop_lag_seconds = histogram(
            "event_loop_lag_seconds", "How late the event loop wakes up a timer.", LAG_BOUNDS
        )
        self.loop_lag_max = gauge(
            "event_loop_lag_max_seconds", "The latest of the last seconds, of the worst process.", "livemax"
        )
        self.pool_size = gauge("database_pool_size", "Database connections that the pools hold.")
        self.pool_in_use = gauge("database_pool_in_use", "Of these, lent to a thread.")
        self.pool_waiting = gauge("database_pool_waiting", "Threads that wait for a database connection.")
        self.resident_bytes = gauge("process_resident_bytes", "Resident memory of a process.", "liveall", ("kind",))
        self.cpu_seconds = counter("process_cpu_seconds", "Processor time, user and system.", ("kind",))
        self._cpu_told = 0.0
        self._message_children: dict[tuple[str, str, str, str], Any] = {}
        self._children: dict[tuple[Any, str], Any] = {}

    def messages_of(self, direction: str, action: str, outcome: str, code: str = "") -> Any:
        """The counter of these labels; looked up in the library once."""
        key = (direction, action, outcome, code)
        child = self._message_children.get(key)
        if child is None:
            child = self._message_children[key] = self.messages.labels(*key)
        return child

    def child(self, instrument: Any, label: str) -> Any:
        """The child of an instrument with one label; looked up in the library once."""
        key = (instrument, label)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = instrument.labels(label)
        return child

    def tell_resources(self, kind: str, resident_bytes: int, cpu_seconds: float) -> None:
        """Memory now, and processor time since the process began."""
        self.child(self.resident_bytes, kind).set(resident_bytes)
        self.child(self.cpu_seconds, kind).inc(max(0.0, cpu_seconds - self._cpu_told))
        self._cpu_told = cpu_seconds


# --- this process -----------------------------------------------------------------------------------------------------
# What this process counts with; None as long as it does not count.
current: Figures | None = None
_registry: CollectorRegistry | None = None
_directory: Path | None = None
# Part of the names of this process's files: unique among the hosts and containers that may share the folder.
_identity = ""
_lock_file: int | None = None


def begin(directory: Path | None) -> Figures:
    """Count from now on, in files of `directory` that others read too, or with None in memory; idempotent."""
    global current, _directory, _registry
    if current is not None:
        return current
    _directory = directory
    if directory is None:
        _registry = CollectorRegistry()
    else:
        directory.mkdir(parents=True, exist_ok=True)
        # The library reads both at the first value, and again after a fork.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        values.ValueClass = values.MultiProcessValue(lambda: _identity or _identify())
    current = Figures(_registry)
    return current


def collector() -> Any:
    """What collects the figures of all processes that count in the same folder. `begin` comes first."""
    if _directory is None:
        return _registry
    forget_dead(_directory)
    return MultiProcessCollector(None, path=str(_directory))


def tidy(directory: Path) -> None:
    """Begin anew when no process lives that counts in `directory`; for the start of a server.

    As long as one does, nothing is removed: sums must not sink, that would look like a restart of them all.
    """
    locks = list(directory.glob("*.lock"))
    if len(_dead(directory)) == len(locks):
        for path in (*directory.glob("*.db"), *locks):
            path.unlink(missing_ok=True)


def forget_dead(directory: Path) -> None:
    """Remove what only living processes have: connections, memory. What they counted stays."""
    for identity in _dead(directory):
        mark_process_dead(identity, str(directory))


def _dead(directory: Path) -> list[str]:
    """Those whose lock is free: a process holds its own as long as it lives, whatever ends it."""
    dead = []
    for path in directory.glob("*.lock"):
        if path.stem == _identity:
            continue
        with suppress(FileNotFoundError):
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                dead.append(path.stem)
            except BlockingIOError:
                pass
            finally:
                os.close(file)
    return dead


def _identify() -> str:
    """Take a name, and the lock that says it is alive."""
    global _identity, _lock_file
    if _directory is None:
        raise RuntimeError("Figures that are kept in memory have no files.")
    host = "".join(letter for letter in socket.gethostname() if letter.isalnum())[:20]
    identity = f"{host}-{os.getpid()}-{uuid4().hex[:6]}"
    _lock_file = os.open(_directory / f"{identity}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(_lock_file, fcntl.LOCK_EX)
    _identity = identity
    return identity


def _forget_identity() -> None:
    global _identity
    _identity = ""


# A forked worker counts in files of its own; the library asks for the name at each value.
os.register_at_fork(after_in_child=_forget_identity)
