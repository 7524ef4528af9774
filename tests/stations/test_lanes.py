"""Lanes: what waits is answered together, in order, after COMMIT (stations/dispatch.py)."""

from __future__ import annotations

import asyncio
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
    settings.CSMS_LANES = 1
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
    settings.CSMS_LANES, settings.CSMS_LANE_BATCH_SIZE = 1, 8
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


async def test_charge_point_that_went_away_does_not_hold_up_the_others(recorder: Recorder, settings: Settings) -> None:
    settings.CSMS_LANES = 1
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
