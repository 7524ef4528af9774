"""Processor time by layer inside one server process, measured at the functions where a layer begins (layers.py).

Context: cProfile makes small Python functions many times dearer; a thread that looks at the stacks of others gets the
GIL just when they begin to wait; and faulthandler in a signal handler, which needs no GIL, crashes CPython 3.11.
Choice: some twenty functions are wrapped from outside. Each reads the CPU clock of its thread when it is entered and
left, and what has passed is charged to the watched function that was innermost meanwhile. Coroutines are timed step by
step. Consequence: exact to the clock, a few percent slower than unwatched, and no finer than the functions named.
Processor time outside of them is the event loop's in its thread, and one sum for all other threads.

The benchmark talks to it through the server's stdin and stdout: `start`, then `stop`, which prints one JSON object.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

from csms.benchmark import layers

STDIN = 0

# Layer, and the function in it.
Key = tuple[str, str]


class Account:
    """One thread: what it has used so far in seconds, and the watched functions it is in."""

    def __init__(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        self.inside: list[Key] = [(layers.LOOP if main else layers.OTHER, "")]
        self.used: dict[Key, float] = defaultdict(float)
        self.mark = time.thread_time()


class Stopwatch:
    """Watches functions from `watch` on; `reset` begins to count, `used` is what has been counted."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._accounts: list[Account] = []
        self._process_mark = time.process_time()

    def _account(self) -> Account:
        try:
            account: Account = self._local.account
        except AttributeError:
            account = self._local.account = Account()
            self._accounts.append(account)
        return account

    def _enter(self, key: Key) -> None:
        account, now = self._account(), time.thread_time()
        account.used[account.inside[-1]] += now - account.mark
        account.inside.append(key)
        account.mark = now

    def _leave(self) -> None:
        account, now = self._account(), time.thread_time()
        account.used[account.inside.pop()] += now - account.mark
        account.mark = now

    def watch(self, function: Callable[..., Any], layer: str, name: str) -> Callable[..., Any]:
        """`function`, timed; a coroutine function gives a coroutine function."""
        key = (layer, name)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
                return await _Steps(self, function(*args, **kwargs), key)

            return timed_coroutine

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._enter(key)
            try:
                return function(*args, **kwargs)
            finally:
                self._leave()

        return timed

    def watch_points(self, points: Iterable[layers.Point]) -> None:
        """Put the timed function in the place of each."""
        for point in points:
            owner = point.owner()
            setattr(owner, point.attribute, self.watch(getattr(owner, point.attribute), point.layer, point.name))

    def reset(self) -> None:
        self._process_mark = time.process_time()
        for account in self._accounts:
            # A new dict: a thread that is adding to the old one spoils nothing.
            account.used = defaultdict(float)

    def used(self) -> list[tuple[str, str, float]]:
        """`(layer, function, seconds)` since `reset`, dearest first; together the processor time of the process."""
        total: dict[Key, float] = defaultdict(float)
        for account in self._accounts:
            for key, seconds in list(account.used.items()):
                total[key] += seconds
        # Threads that are in no watched function at all have no account.
        total[layers.OTHER, ""] += max(0.0, time.process_time() - self._process_mark - sum(total.values()))
        return [(*key, seconds) for key, seconds in sorted(total.items(), key=lambda item: -item[1])]


class _Steps:
    """Awaits a coroutine, and times each step from one suspension to the next."""

    __slots__ = ("_coroutine", "_key", "_stopwatch")

    def __init__(self, stopwatch: Stopwatch, coroutine: Coroutine[Any, Any, Any], key: Key) -> None:
        self._stopwatch, self._coroutine, self._key = stopwatch, coroutine, key

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            self._stopwatch._enter(self._key)
            try:
                suspended_on = resume(value)
            except StopIteration as stop:
                return stop.value
            finally:
                self._stopwatch._leave()
            try:
                value = yield suspended_on
                resume = self._coroutine.send
            except BaseException as error:  # a cancellation too belongs to the coroutine
                value = error
                resume = self._coroutine.throw


def watch_server(*, product: bool) -> None:
    """Time this process, which is about to become a server, and obey the benchmark."""
    stopwatch = Stopwatch()
    stopwatch.watch_points(layers.PLUMBING)
    if product:
        stopwatch.watch_points(layers.PRODUCT)
        actions = layers.actions()
        for action, function in actions.items():
            actions[action] = stopwatch.watch(function, layers.PROFILE_FUNCTIONS, function.__name__)
    threading.Thread(target=_obey, args=(stopwatch,), name="stopwatch", daemon=True).start()


def _obey(stopwatch: Stopwatch) -> None:
    # Not through sys.stdin: a daemon thread that holds its lock is in the way when the interpreter ends.
    while order := os.read(STDIN, 100).strip():
        if order == b"start":
            stopwatch.reset()
        else:
            sys.stdout.write(json.dumps(stopwatch.used()) + "\n")
            sys.stdout.flush()
