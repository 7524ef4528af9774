"""Lanes: what waits for the database is answered in batches, each in one transaction, and nobody's order is lost.

Context: one commit a message gives a fifth of what a disk and a core allow, and a commit is mostly waiting: for the
database, and for its disk.
Choice: a lane takes of what waits, has it answered, and wakes all who asked; what arrives meanwhile is for the next
batch. No timer: an idle lane answers at once. While one batch waits for its COMMIT, a second thread with its own
connection prepares the next, as soon as that is as large. Charge points of a batch in hand are left out of the other
one, so that each has its messages answered in their order.
Consequence: whatever is done in a batch may meet another batch of the same process, as it may one of another process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)


class Keyed(Protocol):
    """What a lane knows of a link: items of one key keep their order."""

    @property
    def lane_key(self) -> str: ...


class Waits(Protocol):
    """What a lane knows of an item."""

    @property
    def link(self) -> Keyed: ...


Item = TypeVar("Item", bound=Waits)
Taken = list[tuple[Item, "asyncio.Future[Any]"]]


class Lane(Generic[Item]):
    """The items that wait for the database, and the threads that answer them.

    A thread takes a batch as soon as it is done with the last one, without asking the event loop, which meanwhile
    sends answers and reads what comes.

    How many it takes: the mean of the last batch and of all that wait. Were it all, charge points would march in step:
    one that asks a moment before the others is a batch of its own, they are the next, and then the lane idles while
    they get their answers and ask again. With the mean two halves take turns, one in the lane, the other on the wire.
    A further thread begins only when as many wait as the last batch had: many small batches cost more than they gain.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[list[Item]], list[Any]],
        *,
        threads: int,
        batch_size: int,
    ) -> None:
        """`answer` gives one outcome for each item of a batch, in a thread; `batch_size` is the most of one batch."""
        self._loop = loop
        self._answer = answer
        self._threads = threads
        self._batch_size = batch_size
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Item, asyncio.Future[Any]]] = deque()
        self._at_work = 0
        self._last = 0
        self._keys_in_hand: set[str] = set()

    def submit(self, item: Item) -> asyncio.Future[Any]:
        """Let `item` wait its turn; from the event loop's thread. Done with its outcome."""
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._lock:
            self._waiting.append((item, future))
            begins = self._is_worth_a_thread()
            self._at_work += begins
        if begins:
            self._executor.submit(self._run)
        return future

    @property
    def depth(self) -> int:
        """Items that wait, those in hand not counted."""
        return len(self._waiting)

    def _is_worth_a_thread(self) -> bool:
        return self._at_work == 0 or (self._at_work < self._threads and len(self._waiting) >= self._last)

    def _take(self, done: Taken[Item]) -> Taken[Item]:
        """Put `done` out of hand and take the next batch; an empty one ends the thread's work.

        While anything waits, at least one thread goes on: only one that leaves others at work may end.
        """
        with self._lock:
            self._keys_in_hand.difference_update(item.link.lane_key for item, _ in done)
            self._at_work -= 1
            if not self._waiting or not self._is_worth_a_thread():
                return []
            waiting = len(self._waiting)
            size = min(waiting, (waiting + self._last + 1) // 2, self._batch_size)
            taken: Taken[Item] = []
            left: Taken[Item] = []
            while self._waiting and len(taken) < size:
                one = self._waiting.popleft()
                (left if one[0].link.lane_key in self._keys_in_hand else taken).append(one)
            self._waiting.extendleft(reversed(left))
            if taken:
                self._at_work += 1
                self._last = len(taken)
                self._keys_in_hand.update(item.link.lane_key for item, _ in taken)
            return taken

    def _run(self) -> None:
        """In a thread: answer batches until nobody waits."""
        taken: Taken[Item] = []
        while taken := self._take(taken):
            try:
                done = partial(_resolve, taken, self._answer([item for item, _ in taken]))
            except BaseException as error:
                logger.exception("A batch of %d failed as a whole", len(taken))
                done = partial(_fail, taken, error)
            try:
                self._loop.call_soon_threadsafe(done)
            except RuntimeError:
                logger.debug("The event loop was closed before %d answers", len(taken))


def _resolve(taken: Taken[Any], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(taken, outcomes, strict=True):
        if not future.done():
            future.set_result(outcome)


def _fail(taken: Taken[Any], error: BaseException) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(error)
