"""Who gets a thread for a handshake, and when: a flood of bad ones must not hold up those who come to charge.

Context: judging a handshake costs queries and a slow hash, a thread's worth; asking costs nothing. A thousand guesses a
second would keep every thread busy, and a charge point would wait behind all of them.
Choice: an address (or a pair of address and identity) that has reached its limit is refused here, for a few seconds,
without thread or query. Who comes from the same address with just what it was let in with before is let in with all
others who come at that moment (stations/admission.py). The others get one of two threads while both are free and few
have failed lately; else they wait in line, each address in its turn, and are looked through together
(stations/screening.py): most of a flood ends there, before a websocket is made of it (csms/upgrades.py); whoever is
plainly right is let in as above, and whoever may be right gets a thread.
Consequence: what is remembered here is only a hint, in this process and bounded; the limits themselves are counted in
the cache (stations/attempt_limits.py), and forgetting everything costs a few threads' work. Who waited in line is told
of a refusal no sooner than after REFUSED_AFTER_SECONDS, so that the time does not tell which identities exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError

from stations import connections, security_events
from stations.admission import let_in
from stations.attempt_limits import address_group, credentials_digest, is_the_same
from stations.handshake import REFUSALS, Accepted, Refusal, Request, decide, known_good, read
from stations.screening import UNDECIDED, Screen, Screened
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope

logger = logging.getLogger(__name__)

# How long a refusal for too many attempts is repeated without looking again.
HOLD_SECONDS = 5.0
# Of the handshake threads; the others are for those who have proved to be known, for screening, and for housekeeping.
STRANGERS_AT_ONCE, STRANGERS_IN_A_FLOOD = 2, 1
# So many failures are judged one by one before it counts as a flood, and so many more each second.
FAILURES_AT_EASE, FAILURES_A_SECOND = 30.0, 5.0
SCREENED_AT_ONCE = 64
LET_IN_AT_ONCE = 64
REFUSED_AFTER_SECONDS = 0.25
# Whole depots come back at once, from one address. Each that waits has a socket, as it would have without us.
WAITING_OF_ONE = 2000
WAITING = 10_000
REMEMBERED = 200_000
# Refusals without a row are summed up so often; fewer than these are no flood.
SUMMED_UP_SECONDS, FLOOD = 10.0, 100


@dataclass(eq=False, slots=True)
class Waiting:
    """One in line: `turn` becomes None when it may go on, or its refusal.

    To go on means to have a stranger's place; `at_gate`, to have been screened; `plain`, to be let in with others.
    """

    request: Request
    group: Any
    turn: asyncio.Future[Refusal | None]
    at_gate: bool = False
    plain: bool = False


class Line:
    """Those who wait, one of each group in turn."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Any, deque[Waiting]] = OrderedDict()
        self.length = 0

    def of(self, group: Any) -> int:
        return len(self._groups.get(group, ()))

    def join(self, one: Waiting) -> None:
        self._groups.setdefault(one.group, deque()).append(one)
        self.length += 1

    def next(self) -> Waiting | None:
        """The next that still waits."""
        while self._groups:
            group, waiting = self._groups.popitem(last=False)
            one = waiting.popleft()
            self.length -= 1
            if waiting:
                self._groups[group] = waiting
            if not one.turn.done():
                return one
        return None


@dataclass(eq=False)
class Doorkeeper:
    """The handshakes of one event loop.

    `known`: who was let in, by tenant, identity and address, with a digest of what it showed (None: before this
    process). `held`: until when (monotonic) such a pair, or an address, is refused. `arrived` wait to be screened,
    `screened` for one of the `strangers`' threads.
    """

    known: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    held: dict[Any, float] = field(default_factory=dict)
    strangers: int = 0
    arrived: Line = field(default_factory=Line)
    screened: Line = field(default_factory=Line)
    screen: Screen = field(default_factory=Screen)
    # Let through at the gate, about to come in; with what they showed there, and whether that is plainly right.
    passed: OrderedDict[tuple[Any, bytes | None], bool] = field(default_factory=OrderedDict)
    # Those who come in with others.
    returning: deque[tuple[Request, asyncio.Future[Accepted | None]]] = field(default_factory=deque)
    # Where those who are known come from.
    _addresses: set[str] = field(default_factory=set)
    _at_ease: float = FAILURES_AT_EASE
    _at_ease_since: float = 0.0
    _held_until: float = 0.0
    _unrecorded: Counter[str] = field(default_factory=Counter)
    _loading: asyncio.Task[None] | None = None
    _screening: asyncio.Task[None] | None = None
    _letting_in: asyncio.Task[None] | None = None
    _summing_up: asyncio.TimerHandle | None = None

    @property
    def number_waiting(self) -> int:
        """Strangers in line."""
        return self.arrived.length + self.screened.length

    def knows(self, address: str) -> bool:
        """Whether a charge point was let in from `address` lately, as far as this process knows."""
        return address_group(address) in self._addresses

    def _note_address(self, address: str) -> None:
        self._addresses.add(address_group(address))

    async def decide(self, request: Request) -> Accepted | Refusal:
        """The decision of handshake.decide, in a thread when it is this one's turn; or a refusal that needs none."""
        owner = connections.process_id()
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())
        # One that leaves meanwhile takes nothing from the others.
        await asyncio.shield(self._loading)
        proven = self._recognize(request)
        # Taken out whatever becomes of it: a pass is for this handshake only.
        passed = self.passed.pop((_pair(request), request.authorization), None)

        def look() -> Awaitable[Any]:
            return connections.in_handshake_thread(lambda: decide(request, owner))

        if self._is_held(request):
            self._leave_out(request)
            return REFUSALS["too_many_attempts"]
        if proven:
            decision = await self._with_others(request) or await look()
        else:
            decision = await self._in_turn(request, look, passed)
        self._remember(request, decision)
        return decision

    def at_gate(self, scope: Mapping[str, Any]) -> Refusal | asyncio.Future[Refusal | None] | None:
        """What to do with a handshake before a websocket is made of it: refuse it, let it go on (None), or wait for
        either. `scope` as far as handshake.read needs it."""
        if self._loading is None or not self._loading.done():
            return None
        flooded = self._is_flooded() or self.arrived.length
        if not flooded and self._held_until < monotonic():
            return None
        request = read(scope)
        if self._recognize(request):
            return None
        if self._is_held(request):
            self._leave_out(request)
            return REFUSALS["too_many_attempts"]
        if not flooded:
            return None
        one = self._join(request, at_gate=True)
        return REFUSALS["busy"] if one is None else one.turn

    async def _load(self) -> None:
        """Who was connected before this process began; nobody when the database is away."""
        try:
            self.known |= dict.fromkeys(await connections.in_handshake_thread(known_good))
            for _, _, address in self.known:
                self._note_address(address)
        except DatabaseError as error:
            logger.warning("Who was connected before is not known (%s); all are strangers.", type(error).__name__)

    def _recognize(self, request: Request) -> bool:
        """Whether it shows just what it was let in with before; sets `request.known`."""
        pair = _pair(request)
        digest = self.known.get(pair)
        proven = is_the_same(digest, request)
        request.known = proven or (digest is None and pair in self.known)
        return proven

    def _is_held(self, request: Request) -> bool:
        now = monotonic()
        if self._held_until < now:
            return False
        if self.held.get(_pair(request), 0.0) > now:
            return not is_the_same(self.known.get(_pair(request)), request)
        return not request.known and self.held.get(address_group(request.address), 0.0) > now

    # --- those who are plainly right ---------------------------------------------------------------------------------
    async def _with_others(self, request: Request) -> Accepted | None:
        """Let in together with all who wait for the same; None when it has to be judged for itself."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Accepted | None] = loop.create_future()
        self.returning.append((request, future))
        if self._letting_in is None or self._letting_in.done():
            self._letting_in = loop.create_task(self._let_in())
        return await future

    async def _let_in(self) -> None:
        """Let in those who wait, until nobody does; who comes meanwhile is for the next batch."""
        owner = connections.process_id()
        while self.returning:
            taken = [self.returning.popleft() for _ in range(min(len(self.returning), LET_IN_AT_ONCE))]
            requests = [request for request, _ in taken]
            try:
                look = partial(let_in, requests, owner)
                found: list[Accepted | None] = await connections.in_handshake_thread(look)
            except Exception:
                # Nobody who waits may be forgotten; each is judged for itself.
                logger.exception("Handshakes could not be let in together")
                found = [None] * len(taken)
            for (_, future), decision in zip(taken, found, strict=True):
                if not future.done():
                    future.set_result(decision)

    # --- strangers ---------------------------------------------------------------------------------------------------
    async def _in_turn(
        self, request: Request, look: Callable[[], Awaitable[Any]], passed: bool | None
    ) -> Accepted | Refusal:
        """`passed`: whether it was found plainly right at the gate; None when it was not screened there."""
        came = monotonic()
        at_once = self.strangers < STRANGERS_AT_ONCE and not self._is_flooded()
        if at_once:
            self.strangers += 1
            refusal = None
        else:
            one = self._join(request, passed=passed)
            refusal = REFUSALS["busy"] if one is None else await self._waited(one)
            if one is not None and one.plain:
                accepted = await self._with_others(request)
                if accepted is not None:
                    return accepted
                one = Waiting(request, one.group, asyncio.get_running_loop().create_future())
                self.screened.join(one)
                self._give_places()
                refusal = await self._waited(one)
        if refusal is None:
            try:
                decision: Accepted | Refusal
                decision = REFUSALS["too_many_attempts"] if self._is_held(request) else await look()
            finally:
                self._leave()
            if isinstance(decision, Accepted):
                return decision
            refusal = decision
            self._at_ease -= 1.0
        if not at_once:
            await asyncio.sleep(max(0.0, came + REFUSED_AFTER_SECONDS - monotonic()))
        return refusal

    def _is_flooded(self) -> bool:
        """Whether too many have failed lately to judge each for itself."""
        now = monotonic()
        self._at_ease = min(FAILURES_AT_EASE, self._at_ease + (now - self._at_ease_since) * FAILURES_A_SECOND)
        self._at_ease_since = now
        return self._at_ease < 1.0

    def _join(self, request: Request, *, at_gate: bool = False, passed: bool | None = None) -> Waiting | None:
        """Take a place in line; None when too many wait already."""
        group = _pair(request) if request.known else address_group(request.address)
        if self.arrived.of(group) + self.screened.of(group) >= WAITING_OF_ONE or self.number_waiting >= WAITING:
            return None
        loop = asyncio.get_running_loop()
        one = Waiting(request, group, loop.create_future(), at_gate)
        if passed is not None:
            one.plain = passed
            self._go_on(one)
            return one
        self.arrived.join(one)
        if self._screening is None or self._screening.done():
            self._screening = loop.create_task(self._screen())
        return one

    async def _waited(self, one: Waiting) -> Refusal | None:
        """None when it may go on now, with a stranger's place unless it is plain; else why it may not."""
        try:
            return await one.turn
        except asyncio.CancelledError:
            if one.turn.done() and not one.turn.cancelled() and one.turn.result() is None and not one.plain:
                self._leave()
            raise

    async def _screen(self) -> None:
        """Look through those who arrived, until all are screened."""
        while self.arrived.length:
            looked_at: list[Waiting] = []
            while len(looked_at) < SCREENED_AT_ONCE and (one := self.arrived.next()) is not None:
                if self._is_held(one.request):
                    self._leave_out(one.request)
                    one.turn.set_result(REFUSALS["too_many_attempts"])
                else:
                    looked_at.append(one)
            if looked_at:
                requests = [one.request for one in looked_at]
                for one, screened in zip(looked_at, await self._look_through(requests), strict=True):
                    self._sort(one, screened)

    async def _look_through(self, requests: list[Request]) -> list[Screened]:
        try:
            found: list[Screened] = await connections.in_handshake_thread(lambda: self.screen.look_through(requests))
        except Exception:
            # Nobody who waits may be forgotten; each is judged for itself.
            logger.exception("Handshakes could not be screened")
            return [UNDECIDED] * len(requests)
        return found

    def _sort(self, one: Waiting, screened: Screened) -> None:
        if one.turn.done():
            return
        if screened.refusal is None:
            one.plain = screened.plain
            if one.at_gate:
                self._let_pass(one)
            else:
                self._go_on(one)
            return
        self._at_ease = max(0.0, self._at_ease - 1.0)
        if not screened.recorded:
            self._leave_out(one.request)
        self._remember(one.request, screened.refusal)
        one.turn.set_result(screened.refusal)

    def _go_on(self, one: Waiting) -> None:
        """It was screened: who is plainly right needs no place, the others wait for one."""
        if one.plain:
            one.turn.set_result(None)
        else:
            self.screened.join(one)
            self._give_places()

    def _let_pass(self, one: Waiting) -> None:
        if len(self.passed) >= WAITING:
            # It went away before it asked; whoever is forgotten here is screened once more.
            self.passed.popitem(last=False)
        self.passed[_pair(one.request), one.request.authorization] = one.plain
        one.turn.set_result(None)

    def _leave(self) -> None:
        """Give up a stranger's place."""
        self.strangers -= 1
        self._give_places()

    def _give_places(self) -> None:
        places = STRANGERS_IN_A_FLOOD if self._is_flooded() else STRANGERS_AT_ONCE
        while self.strangers < places and (one := self.screened.next()) is not None:
            self.strangers += 1
            one.turn.set_result(None)

    # --- what is remembered ------------------------------------------------------------------------------------------
    def _remember(self, request: Request, decision: Accepted | Refusal) -> None:
        if isinstance(decision, Accepted):
            if len(self.known) >= REMEMBERED:
                self.known.clear()
                self._addresses.clear()
            self.known[_pair(request)] = credentials_digest(request)
            self._note_address(request.address)
        elif decision.reason == "too_many_attempts":
            if len(self.held) >= REMEMBERED:
                self.held.clear()
            key: Any = address_group(request.address) if decision.of_address else _pair(request)
            self._held_until = self.held[key] = monotonic() + HOLD_SECONDS

    def _leave_out(self, request: Request) -> None:
        """Count a refusal that has no row, to be summed up."""
        self._unrecorded[request.tenant_slug] += 1
        if self._summing_up is None:
            self._summing_up = asyncio.get_running_loop().call_later(SUMMED_UP_SECONDS, self._sum_up)

    def _sum_up(self) -> None:
        self._summing_up = None
        counted, self._unrecorded = self._unrecorded, Counter()
        floods = {slug: count for slug, count in counted.items() if count >= FLOOD}
        if floods:
            logger.warning("Handshakes refused without a row of their own within %s s: %s", SUMMED_UP_SECONDS, floods)
            asyncio.get_running_loop().create_task(_note_floods(floods))


async def _note_floods(floods: dict[str, int]) -> None:
    try:
        await connections.in_handshake_thread(lambda: note_floods(floods))
    except DatabaseError as error:
        logger.warning("A flood of handshakes was not kept (%s)", type(error).__name__)


def note_floods(floods: dict[str, int]) -> None:
    """Keep, for each tenant by its slug, how many bad handshakes have no row; slugs of no one are left out."""
    with platform_scope():
        tenants = Tenant.objects.in_bulk(list(floods), field_name="slug")
    for slug, tenant in tenants.items():
        with tenant_scope(tenant.pk):
            security_events.note("handshake_flood", times=floods[slug])


def _pair(request: Request) -> tuple[str, str, str]:
    return (request.tenant_slug, request.identity, request.address)


_doorkeepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Doorkeeper] = WeakKeyDictionary()


def of_this_loop() -> Doorkeeper:
    """The doorkeeper of the running event loop."""
    return _doorkeepers.setdefault(asyncio.get_running_loop(), Doorkeeper())
