"""Lanes: what waits is answered together, in order, after COMMIT (stations/dispatch.py)."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from django.db import connections
from ocpp.v16 import call, call_result
from pytest_django.fixtures import Settings

from stations import dispatch
from stations.dispatch import InboundCall, Item, Link, Outcome
from stations.lanes import Lane
from stations.models import ChargePoint, OcppMessage
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.stations.rows import new_charge_point


def heartbeat(link: Link, number: int = 0) -> InboundCall:
    now = datetime.now(UTC)
    return InboundCall(link, str(number), "Heartbeat", call.Heartbeat(), {}, [], now, monotonic())


def link_of(identity: str) -> Link:
    return Link(1, 1, 1, f"alpha/{identity}")


class Recorder:
    """Stands in for answer_batch: keeps the batches, and holds each until `go` is set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self._began = threading.Semaphore(0)

    def __call__(self, items: list[Item]) -> list[Outcome]:
        self.batches.append([item.message_id for item in items])  # type: ignore[union-attr]
        self.threads.add(threading.get_ident())
        self._began.release()
        assert self.go.wait(10)
        return [Outcome(item.message_id) for item in items]  # type: ignore[union-attr]

    async def batch_began(self) -> None:
        assert await asyncio.to_thread(self._began.acquire, timeout=10)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder()
    monkeypatch.setattr(dispatch, "answer_batch", recorder)
    yield recorder
    recorder.go.set()


async def test_what_arrives_during_a_batch_is_for_the_next_ones(recorder: Recorder, settings: Settings) -> None:
    settings.CSMS_LANES = settings.CSMS_LANE_THREADS = 1
    answers = [asyncio.ensure_future(dispatch.answer(heartbeat(link_of("CP-1"))))]
    await recorder.batch_began()
    answers += [asyncio.ensure_future(dispatch.answer(heartbeat(link_of(f"CP-{n}"), n))) for n in range(1, 21)]
    await asyncio.sleep(0)
    recorder.go.set()
    outcomes = [outcome.result for outcome in await asyncio.gather(*answers)]
    # The mean of the last batch and of all that wait: of 1 and 20, then of 11 and 9.
    assert recorder.batches == [["0"], [str(n) for n in range(1, 12)], [str(n) for n in range(12, 21)]]
    # Each gets its own answer.
    assert outcomes == [str(n) for n in range(21)]


async def test_batch_has_a_limit(recorder: Recorder, settings: Settings) -> None:
    settings.CSMS_LANES, settings.CSMS_LANE_THREADS, settings.CSMS_LANE_BATCH_SIZE = 1, 1, 8
    answers = [asyncio.ensure_future(dispatch.answer(heartbeat(link_of("CP-1"))))]
    await recorder.batch_began()
    answers += [asyncio.ensure_future(dispatch.answer(heartbeat(link_of("CP-1"), n))) for n in range(1, 21)]
    await asyncio.sleep(0)
    recorder.go.set()
    await asyncio.gather(*answers)
    assert [len(batch) for batch in recorder.batches] == [1, 8, 8, 4]
    # One charge point's messages keep their order over all of them.
    assert [number for batch in recorder.batches for number in batch] == [str(n) for n in range(21)]


async def test_charge_point_always_uses_the_same_lane(settings: Settings) -> None:
    settings.CSMS_LANES = 4
    lanes = {dispatch._lane(link_of("CP-1")) for _ in range(10)}
    assert len(lanes) == 1
    assert len({dispatch._lane(link_of(f"CP-{n}")) for n in range(100)}) == 4


async def test_lanes_work_beside_each_other(recorder: Recorder, settings: Settings) -> None:
    settings.CSMS_LANES = 2
    wanted = iter(dispatch.lanes())
    links = []
    for lane in wanted:
        links.append(next(link_of(f"CP-{n}") for n in range(100) if dispatch._lane(link_of(f"CP-{n}")) is lane))
    answers = [asyncio.ensure_future(dispatch.answer(heartbeat(link))) for link in links]
    # Both have begun although neither may end.
    await recorder.batch_began()
    await recorder.batch_began()
    assert len(recorder.threads) == 2
    recorder.go.set()
    await asyncio.gather(*answers)


# --- two batches of one lane at the same time -------------------------------------------------------------------------
class Hands:
    """Stands for the answering of batches: keeps what is in hand, and lets one go on when the test says so."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[list[str]] = asyncio.Queue()
        self.go: dict[str, threading.Event] = {}
        self._loop = asyncio.get_running_loop()

    def __call__(self, items: list[InboundCall]) -> list[Outcome]:
        go = threading.Event()
        names = [item.message_id for item in items]
        self.go[names[0]] = go
        self._loop.call_soon_threadsafe(self.began.put_nowait, names)
        assert go.wait(10)
        return [Outcome(name) for name in names]

    async def next(self) -> list[str]:
        return await asyncio.wait_for(self.began.get(), 10)


def two_handed(hands: Hands) -> Lane[InboundCall]:
    return Lane("lane", asyncio.get_running_loop(), hands, threads=2, batch_size=500)


async def test_next_batch_begins_while_one_is_in_hand_when_it_is_as_large() -> None:
    hands = Hands()
    lane = two_handed(hands)
    futures = [lane.submit(heartbeat(link_of("CP-0"), 0))]
    assert await hands.next() == ["0"]
    futures.append(lane.submit(heartbeat(link_of("CP-1"), 1)))
    assert await hands.next() == ["1"]
    # Both are in hand: these wait.
    futures += [lane.submit(heartbeat(link_of(f"CP-{n}"), n)) for n in range(2, 9)]
    assert lane.depth == 7
    hands.go["0"].set()
    assert await hands.next() == ["2", "3", "4", "5"]
    hands.go["1"].set()
    assert (await futures[1]).result == "1"
    # Three are fewer than the four in hand.
    assert (lane.depth, hands.began.empty()) == (3, True)
    futures.append(lane.submit(heartbeat(link_of("CP-9"), 9)))
    assert await hands.next() == ["6", "7", "8", "9"]
    hands.go["2"].set()
    hands.go["6"].set()
    assert [outcome.result for outcome in await asyncio.gather(*futures)] == [str(n) for n in range(10)]


async def test_charge_point_that_is_in_hand_waits_for_its_turn_and_holds_up_nobody() -> None:
    hands = Hands()
    lane = two_handed(hands)
    first = lane.submit(heartbeat(link_of("CP-0"), 0))
    assert await hands.next() == ["0"]
    again = lane.submit(heartbeat(link_of("CP-0"), 1))
    other = lane.submit(heartbeat(link_of("CP-1"), 2))
    assert await hands.next() == ["2"]
    hands.go["2"].set()
    assert (await other).result == "2"
    assert (lane.depth, first.done()) == (1, False)
    hands.go["0"].set()
    assert await hands.next() == ["1"]
    hands.go["1"].set()
    assert (await again).result == "1"


async def test_whatever_comes_each_has_its_answer_and_each_charge_point_its_order() -> None:
    chance, pauses, lock = random.Random(1), random.Random(2), threading.Lock()
    answered: dict[str, list[int]] = {}
    in_hand: set[str] = set()
    met: list[str] = []

    def answer(items: list[InboundCall]) -> list[Outcome]:
        keys = {item.link.lane_key for item in items}
        with lock:
            met.extend(keys & in_hand)
            in_hand.update(keys)
            pause = pauses.random() / 500
        threading.Event().wait(pause)
        with lock:
            for item in items:
                answered.setdefault(item.link.lane_key, []).append(int(item.message_id))
            in_hand.difference_update(keys)
        return [Outcome(item.message_id) for item in items]

    lane: Lane[InboundCall] = Lane("lane", asyncio.get_running_loop(), answer, threads=3, batch_size=7)
    futures = []
    for number in range(2000):
        futures.append(lane.submit(heartbeat(link_of(f"CP-{chance.randrange(12)}"), number)))
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    outcomes = await asyncio.wait_for(asyncio.gather(*futures), 30)
    assert [outcome.result for outcome in outcomes] == [str(number) for number in range(2000)]
    assert all(numbers == sorted(numbers) for numbers in answered.values())
    assert (lane.depth, met) == (0, [])


async def test_charge_point_that_went_away_does_not_hold_up_the_others(recorder: Recorder, settings: Settings) -> None:
    settings.CSMS_LANES = settings.CSMS_LANE_THREADS = 1
    gone = asyncio.ensure_future(dispatch.answer(heartbeat(link_of("CP-1"))))
    await recorder.batch_began()
    staying = asyncio.ensure_future(dispatch.answer(heartbeat(link_of("CP-2"), 2)))
    await asyncio.sleep(0)
    gone.cancel()
    recorder.go.set()
    assert (await staying).result == "2"


async def test_failure_of_the_lane_itself_reaches_everybody_and_the_next_batch_runs(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CSMS_LANES = 1

    def broken(items: list[Item]) -> list[Outcome]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "answer_batch", broken)
        with pytest.raises(MemoryError):
            await dispatch.answer(heartbeat(link_of("CP-1")))
    monkeypatch.setattr(dispatch, "answer_batch", lambda items: [Outcome(7) for _ in items])
    assert (await dispatch.answer(heartbeat(link_of("CP-1")))).result == 7


def in_loop(conversation: Callable[[], Awaitable[Any]]) -> Any:
    """Run `conversation` in an event loop of its own and give back its lanes' database connections."""

    async def run() -> Any:
        try:
            return await conversation()
        finally:
            for lane in dispatch.lanes():
                lane._executor.submit(connections.close_all).result(10)
                lane._executor.shutdown()

    return asyncio.run(run())


@pytest.mark.django_db(transaction=True)
class TestAnswerAfterCommit:
    @pytest.fixture
    def link(self) -> Link:
        tenant = Tenant.objects.create(slug="alpha", name="A")
        with tenant_scope(tenant):
            charge_point = new_charge_point()
        return Link(tenant.pk, charge_point.pk, 1, "alpha/CP-1")

    def test_rows_are_visible_to_everybody_when_the_answer_arrives(self, link: Link) -> None:
        def logged() -> int:
            with tenant_scope(link.tenant_id):
                return OcppMessage.objects.count()

        async def conversation() -> tuple[Any, int]:
            outcome = await dispatch.answer(heartbeat(link))
            # Another thread, so another connection than that of the lane: it sees what is committed.
            return outcome.result, await asyncio.to_thread(with_closed_connection, logged)

        result, seen = in_loop(conversation)
        assert isinstance(result, call_result.Heartbeat)
        assert seen == 2

    def test_work_and_calls_of_one_charge_point_keep_their_order(self, link: Link) -> None:
        order: list[int] = []

        def note(number: int) -> Callable[[ChargePoint, datetime], None]:
            return lambda charge_point, now: order.append(number)

        async def conversation() -> None:
            waiting = [asyncio.ensure_future(dispatch.run(link, note(n))) for n in range(30)]
            await asyncio.gather(*waiting)

        in_loop(conversation)
        assert order == list(range(30))


def with_closed_connection(function: Callable[[], Any]) -> Any:
    try:
        return function()
    finally:
        connections.close_all()
