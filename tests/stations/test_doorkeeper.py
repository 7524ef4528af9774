"""Who gets a thread for a handshake: the known at once, strangers by turns, those held up not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stations import doorkeeper
from stations.doorkeeper import STRANGERS_AT_ONCE, Doorkeeper
from stations.handshake import REFUSALS, Accepted, Refusal, Request, address_group
from tests.stations.test_handshake_decision import request

FLOODER, NEIGHBOUR = "192.0.2.1", "203.0.113.9"


class Threads:
    """Stands for the handshake threads: what was looked at, in order, and answers when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked: list[str] = []
        self.answers: list[asyncio.Future[Any]] = []
        self.seeded: set[tuple[str, str, str]] = set()
        monkeypatch.setattr(doorkeeper, "decide", lambda asked, owner: asked)
        monkeypatch.setattr(doorkeeper, "known_good", lambda: self.seeded)
        monkeypatch.setattr(doorkeeper.connections, "in_handshake_thread", self.run)

    async def run(self, function: Callable[[], Any]) -> Any:
        asked = function()
        if not isinstance(asked, Request):
            return asked
        self.looked.append(asked.identity)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    async def answer(self, decision: Any) -> None:
        """Answer the oldest that is being looked at."""
        self.answers.pop(0).set_result(decision)
        await settle()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    return Threads(monkeypatch)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def dial(door: Doorkeeper, identity: str, address: str = FLOODER, **members: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(door.decide(request(identity, address=address, **members)))


ACCEPTED = Accepted(link=None, subprotocol="ocpp1.6", strict=False, call_timeout_seconds=1, has_commands=False)  # type: ignore[arg-type]
HELD_PAIR = REFUSALS["too_many_attempts"]
HELD_ADDRESS = Refusal(429, "too_many_attempts", "Wait.", of_address=True)


async def let_in(threads: Threads, door: Doorkeeper, identity: str) -> None:
    task = dial(door, identity)
    await settle()
    await threads.answer(ACCEPTED)
    assert await task is ACCEPTED
    threads.looked.clear()


async def test_one_that_was_let_in_with_the_same_does_not_wait_behind_strangers(threads: Threads) -> None:
    door = Doorkeeper()
    await let_in(threads, door, "KNOWN")
    tasks = [dial(door, f"X{number}") for number in range(10)]
    await settle()
    assert threads.looked == ["X0", "X1"]
    tasks.append(dial(door, "KNOWN"))
    await settle()
    assert threads.looked == ["X0", "X1", "KNOWN"]
    for task in tasks:
        task.cancel()


async def test_guesses_at_known_ones_wait_with_the_strangers_of_their_address(threads: Threads) -> None:
    door = Doorkeeper()
    await let_in(threads, door, "KNOWN")
    tasks = [dial(door, f"X{number}") for number in range(3)]
    tasks.append(dial(door, "KNOWN", password="wrong-password-1234"))
    await settle()
    assert threads.looked == ["X0", "X1"]
    await threads.answer(HELD_ADDRESS)
    assert [task.done() for task in tasks] == [True, False, True, True]
    assert {task.result().reason for task in (tasks[2], tasks[3])} == {"too_many_attempts"}
    tasks[1].cancel()


async def test_one_that_was_connected_before_the_process_began_has_a_turn_of_its_own(threads: Threads) -> None:
    threads.seeded = {("alpha", "BEFORE", FLOODER)}
    door = Doorkeeper()
    tasks = [dial(door, f"X{number}") for number in range(50)]
    tasks.append(dial(door, "BEFORE"))
    await settle()
    for _ in range(2):
        await threads.answer(REFUSALS["wrong_password"])
    assert threads.looked == ["X0", "X1", "X2", "BEFORE"]
    for task in tasks:
        task.cancel()


async def test_addresses_have_their_turn_whatever_one_of_them_has_waiting(threads: Threads) -> None:
    door = Doorkeeper()
    tasks = [dial(door, f"X{number}") for number in range(50)]
    tasks.append(dial(door, "NEIGHBOUR", NEIGHBOUR))
    await settle()
    for _ in range(3):
        await threads.answer(REFUSALS["wrong_password"])
    assert threads.looked == ["X0", "X1", "X2", "NEIGHBOUR", "X3"]
    for task in tasks:
        task.cancel()


async def test_no_more_strangers_at_once_than_allowed_and_all_have_their_answer(threads: Threads) -> None:
    door = Doorkeeper()
    tasks = [dial(door, f"X{number}") for number in range(20)]
    await settle()
    while threads.answers:
        assert len(threads.answers) <= STRANGERS_AT_ONCE
        await threads.answer(REFUSALS["wrong_password"])
    assert [task.result().reason for task in tasks] == ["wrong_password"] * 20
    assert (door.strangers, door.number_waiting, len(door.waiting)) == (0, 0, 0)


async def test_one_that_leaves_while_it_waits_gives_its_place_on(threads: Threads) -> None:
    door = Doorkeeper()
    tasks = [dial(door, f"X{number}") for number in range(5)]
    await settle()
    tasks[2].cancel()
    await settle()
    await threads.answer(REFUSALS["wrong_password"])
    assert threads.looked == ["X0", "X1", "X3"]
    while threads.answers:
        await threads.answer(REFUSALS["wrong_password"])
    assert door.strangers == 0


@pytest.mark.parametrize(("decision", "other"), [(HELD_PAIR, "wrong_password"), (HELD_ADDRESS, "too_many_attempts")])
async def test_held_one_is_refused_without_a_thread(threads: Threads, decision: Refusal, other: str) -> None:
    door = Doorkeeper()
    first = dial(door, "X")
    await settle()
    await threads.answer(decision)
    assert (await first).reason == "too_many_attempts"
    assert (await dial(door, "X")).reason == "too_many_attempts"
    assert threads.looked == ["X"]
    second = dial(door, "Y")
    await settle()
    if threads.answers:
        await threads.answer(REFUSALS["wrong_password"])
    assert (await second).reason == other


async def test_held_address_lets_the_known_one_through(threads: Threads) -> None:
    threads.seeded = {("alpha", "KNOWN", FLOODER)}
    door = Doorkeeper()
    first = dial(door, "X")
    await settle()
    await threads.answer(HELD_ADDRESS)
    await first
    known = dial(door, "KNOWN")
    await settle()
    assert threads.looked == ["X", "KNOWN"]
    known.cancel()


async def test_guesses_at_a_known_one_do_not_hold_it_up_itself(threads: Threads) -> None:
    door = Doorkeeper()
    first = dial(door, "CP-1")
    await settle()
    await threads.answer(ACCEPTED)
    assert await first is ACCEPTED
    guess = dial(door, "CP-1", password="wrong-password-1234")
    await settle()
    await threads.answer(HELD_PAIR)
    await guess
    assert (await dial(door, "CP-1", password="wrong-password-5678")).reason == "too_many_attempts"
    again = dial(door, "CP-1")
    await settle()
    assert threads.looked == ["CP-1"] * 3
    again.cancel()


async def test_too_many_waiting_are_told_to_come_back(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "WAITING_OF_ONE", 3)
    door = Doorkeeper()
    tasks = [dial(door, f"X{number}") for number in range(6)]
    await settle()
    assert tasks[5].result().reason == "busy"
    assert not tasks[4].done()
    neighbour = dial(door, "NEIGHBOUR", NEIGHBOUR)
    await settle()
    assert not neighbour.done()
    for task in (*tasks, neighbour):
        task.cancel()


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_whoever_has_one_ipv6_address_has_the_network(address: str, group: str) -> None:
    assert address_group(address) == group
