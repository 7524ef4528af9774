"""Who gets a thread for a handshake, and when: a flood of bad ones must not hold up those who come to charge.

Context: judging a handshake costs queries and a slow hash, a thread's worth; asking costs nothing. A thousand guesses a
second would keep every thread busy, and a charge point would wait behind all of them.
Choice: an address (or a pair of address and identity) that has reached its limit is refused here, for a few seconds,
without thread or query. Who comes from the same address with just what it was let in with before goes straight to a
thread. The others take turns at two threads: each address one, whatever else it has waiting; who was connected from
there before this process began, each for itself.
Consequence: what is remembered here is only a hint, in this process and bounded; the limits themselves are counted in
the cache (stations/handshake.py), and forgetting everything costs a few threads' work.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError

from stations import connections
from stations.handshake import (
    REFUSALS,
    Accepted,
    Refusal,
    Request,
    address_group,
    credentials_digest,
    decide,
    is_the_same,
    known_good,
)

logger = logging.getLogger(__name__)

# How long a refusal for too many attempts is repeated without looking again.
HOLD_SECONDS = 5.0
# Of the handshake threads; the others are for those who have proved to be known, and for housekeeping.
STRANGERS_AT_ONCE = 2
# Whole depots come back at once, from one address. Each that waits has a socket, as it would have without us.
WAITING_OF_ONE = 2000
WAITING = 10_000
REMEMBERED = 200_000


@dataclass(eq=False)
class Doorkeeper:
    """The handshakes of one event loop.

    `known`: who was let in, by tenant, identity and address, with a digest of what it showed (None: before this
    process). `held`: until when (monotonic) such a pair, or an address, is refused.
    """

    known: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    held: dict[Any, float] = field(default_factory=dict)
    strangers: int = 0
    waiting: OrderedDict[Any, deque[asyncio.Future[None]]] = field(default_factory=OrderedDict)
    number_waiting: int = 0
    _loading: asyncio.Task[None] | None = None

    async def decide(self, request: Request) -> Accepted | Refusal:
        """The decision of handshake.decide, in a thread when it is this one's turn; or a refusal that needs none."""
        owner = connections.process_id()
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())
        # One that leaves meanwhile takes nothing from the others.
        await asyncio.shield(self._loading)
        pair, group = _pair(request), address_group(request.address)
        digest = self.known.get(pair)
        proven = is_the_same(digest, request)
        request.known = proven or (digest is None and pair in self.known)

        def look() -> Awaitable[Any]:
            return connections.in_handshake_thread(lambda: decide(request, owner))

        if self._is_held(request):
            return REFUSALS["too_many_attempts"]
        decision = await look() if proven else await self._in_turn(request, pair if request.known else group, look)
        self._remember(request, decision)
        return decision

    async def _load(self) -> None:
        """Who was connected before this process began; nobody when the database is away."""
        try:
            self.known |= dict.fromkeys(await connections.in_handshake_thread(known_good))
        except DatabaseError as error:
            logger.warning("Who was connected before is not known (%s); all are strangers.", type(error).__name__)

    def _is_held(self, request: Request) -> bool:
        now = monotonic()
        if self.held.get(_pair(request), 0.0) > now:
            return not is_the_same(self.known.get(_pair(request)), request)
        return not request.known and self.held.get(address_group(request.address), 0.0) > now

    async def _in_turn(self, request: Request, group: Any, look: Callable[[], Awaitable[Any]]) -> Accepted | Refusal:
        if self.strangers < STRANGERS_AT_ONCE:
            self.strangers += 1
        elif not await self._waited(group):
            return REFUSALS["busy"]
        try:
            if self._is_held(request):
                return REFUSALS["too_many_attempts"]
            decision: Accepted | Refusal = await look()
            return decision
        finally:
            self._leave()

    async def _waited(self, group: Any) -> bool:
        """Wait for somebody's place; False when too many wait already."""
        own = self.waiting.get(group)
        if own is not None and (len(own) >= WAITING_OF_ONE or self.number_waiting >= WAITING):
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(group, deque()).append(turn)
        self.number_waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise
        return True

    def _leave(self) -> None:
        """Give the place to the next, one of each group in turn."""
        while self.waiting:
            group, turns = self.waiting.popitem(last=False)
            turn = turns.popleft()
            self.number_waiting -= 1
            if turns:
                self.waiting[group] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self.strangers -= 1

    def _remember(self, request: Request, decision: Accepted | Refusal) -> None:
        if isinstance(decision, Accepted):
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            self.known[_pair(request)] = credentials_digest(request)
        elif decision.reason == "too_many_attempts":
            if len(self.held) >= REMEMBERED:
                self.held.clear()
            key: Any = address_group(request.address) if decision.of_address else _pair(request)
            self.held[key] = monotonic() + HOLD_SECONDS


def _pair(request: Request) -> tuple[str, str, str]:
    return (request.tenant_slug, request.identity, request.address)


_doorkeepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Doorkeeper] = WeakKeyDictionary()


def of_this_loop() -> Doorkeeper:
    """The doorkeeper of the running event loop."""
    return _doorkeepers.setdefault(asyncio.get_running_loop(), Doorkeeper())
