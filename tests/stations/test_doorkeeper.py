"""Who gets a thread for a handshake: the known at once, strangers by turns, those held up not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from stations import doorkeeper
from stations.attempt_limits import address_group
from stations.doorkeeper import STRANGERS_AT_ONCE, Doorkeeper
from stations.handshake import REFUSALS, Accepted, Refusal, Request
from stations.screening import Screened
from tests.stations.test_handshake_decision import PASSWORD, request
from tests.stations.upgrade import basic

FLOODER, NEIGHBOUR = "192.0.2.1", "203.0.113.9"


class Threads:
    """Stands for the handshake threads: what was looked at, in order, and answers when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked: list[str] = []
        self.answers: list[asyncio.Future[Any]] = []
        self.seeded: set[tuple[str, str, str]] = set()
        monkeypatch.setattr(doorkeeper, "decide", lambda asked, owner: asked)
        monkeypatch.setattr(doorkeeper, "let_in", lambda requests, owner: self.let_in(requests))
        monkeypatch.setattr(doorkeeper, "known_good", lambda: self.seeded)
        monkeypatch.setattr(doorkeeper.connections, "in_handshake_thread", self.run)
        monkeypatch.setattr(doorkeeper.Screen, "look_through", lambda screen, requests: self.screen(requests))
        monkeypatch.setattr(doorkeeper, "REFUSED_AFTER_SECONDS", 0.0)
        # What screening says of an identity; nothing of the others.
        self.refused: dict[str, Refusal] = {}
        self.screened: list[str] = []
        # Who is plainly right; batches of those who came in together.
        self.plain: set[str] = set()
        self.together: list[list[str]] = []

    def screen(self, requests: list[Request]) -> list[Screened]:
        self.screened += [asked.identity for asked in requests]
        return [Screened(self.refused.get(asked.identity), plain=asked.identity in self.plain) for asked in requests]

    def let_in(self, requests: list[Request]) -> list[Accepted | None]:
        self.together.append([asked.identity for asked in requests])
        return [ACCEPTED if asked.identity in self.plain else None for asked in requests]

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
    assert (door.strangers, door.number_waiting) == (0, 0)


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


# --- a flood ----------------------------------------------------------------------------------------------------------
def flooded() -> Doorkeeper:
    """A doorkeeper that has seen too many failures lately."""
    door = Doorkeeper(_at_ease=0.0, _at_ease_since=monotonic())
    assert door._is_flooded()
    return door


async def test_in_a_flood_nobody_has_a_thread_before_it_was_screened(threads: Threads) -> None:
    threads.refused = {"X": REFUSALS["wrong_password"], "Y": REFUSALS["unknown_identity"]}
    door = flooded()
    tasks = [dial(door, identity) for identity in ("X", "Y", "RIGHT")]
    await settle()
    assert (threads.screened, threads.looked) == (["X", "Y", "RIGHT"], ["RIGHT"])
    assert [task.result().reason for task in tasks[:2]] == ["wrong_password", "unknown_identity"]
    await threads.answer(ACCEPTED)
    assert await tasks[2] is ACCEPTED
    assert (door.strangers, door.number_waiting) == (0, 0)


async def test_in_a_flood_those_that_take_long_to_judge_have_one_thread(threads: Threads) -> None:
    door = flooded()
    tasks = [dial(door, f"X{number}") for number in range(3)]
    await settle()
    assert threads.looked == ["X0"]
    for task in tasks:
        task.cancel()


async def test_many_failures_are_a_flood_and_some_time_ends_it(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Doorkeeper()
    for number in range(int(doorkeeper.FAILURES_AT_EASE)):
        task = dial(door, f"X{number}")
        await settle()
        await threads.answer(REFUSALS["wrong_password"])
        assert (await task).reason == "wrong_password"
    assert (threads.screened, door._is_flooded()) == ([], True)
    later = monotonic() + 10
    monkeypatch.setattr(doorkeeper, "monotonic", lambda: later)
    assert not door._is_flooded()


async def test_who_is_held_after_screening_is_refused_with_all_of_its_address(threads: Threads) -> None:
    threads.refused = {"X0": HELD_ADDRESS}
    door = flooded()
    tasks = [dial(door, f"X{number}") for number in range(3)]
    await settle()
    assert await dial(door, "X9") is REFUSALS["too_many_attempts"]
    assert [(await task).reason for task in tasks] == ["too_many_attempts"] * 3
    assert threads.looked == []


async def test_screening_that_fails_leaves_nobody_waiting(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(screen: object, requests: list[Request]) -> list[Screened]:
        raise RuntimeError("planned")

    monkeypatch.setattr(doorkeeper.Screen, "look_through", fail)
    door = flooded()
    task = dial(door, "RIGHT")
    await settle()
    await threads.answer(ACCEPTED)
    assert await task is ACCEPTED


# --- those who come in together ---------------------------------------------------------------------------------------
async def test_known_ones_are_let_in_together_with_all_who_come_meanwhile(threads: Threads) -> None:
    door = Doorkeeper()
    for identity in ("A", "B", "C"):
        await let_in(threads, door, identity)
    threads.plain = {"A", "B", "C"}
    tasks = [dial(door, identity) for identity in ("A", "B", "C")]
    assert [await task for task in tasks] == [ACCEPTED] * 3
    assert sum(threads.together, []) == ["A", "B", "C"]
    assert len(threads.together) <= 2
    assert threads.looked == []


async def test_strangers_who_are_plainly_right_need_no_place(threads: Threads) -> None:
    threads.plain = {"RIGHT", "ALSO"}
    door = Doorkeeper()
    judged = [dial(door, f"X{number}") for number in range(3)]
    await settle()
    assert threads.looked == ["X0", "X1"]
    tasks = [dial(door, "RIGHT"), dial(door, "ALSO")]
    assert [await task for task in tasks] == [ACCEPTED] * 2
    assert threads.looked == ["X0", "X1"]
    assert (door.strangers, door.screened.length) == (2, 1)
    for task in judged:
        task.cancel()


async def test_one_that_seemed_plainly_right_and_is_not_let_in_is_judged_alone(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "let_in", lambda requests, owner: [None] * len(requests))
    threads.plain = {"RIGHT"}
    door = flooded()
    task = dial(door, "RIGHT")
    await settle()
    assert (threads.looked, door.strangers) == (["RIGHT"], 1)
    await threads.answer(REFUSALS["disabled"])
    assert await task is REFUSALS["disabled"]
    assert (door.strangers, door.number_waiting) == (0, 0)


async def test_letting_in_that_fails_leaves_nobody_waiting(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Doorkeeper()
    await let_in(threads, door, "KNOWN")

    def fail(requests: list[Request], owner: str) -> list[Accepted | None]:
        raise RuntimeError("planned")

    monkeypatch.setattr(doorkeeper, "let_in", fail)
    task = dial(door, "KNOWN")
    await settle()
    await threads.answer(ACCEPTED)
    assert await task is ACCEPTED


# --- at the gate ------------------------------------------------------------------------------------------------------
def scope_of(identity: str, password: str = PASSWORD, address: str = FLOODER) -> dict[str, Any]:
    path = f"/ocpp/alpha/{identity}"
    headers = [(b"authorization", basic(identity, password)[1].encode()), (b"sec-websocket-protocol", b"ocpp1.6")]
    return {"headers": headers, "path": path, "raw_path": path.encode(), "client": (address, 1), "scheme": "ws"}


async def opened(threads: Threads, door: Doorkeeper, identity: str = "SOMEBODY") -> None:
    """The gate is asked only once it is known who was here before."""
    assert door.at_gate(scope_of(identity)) is None
    task = dial(door, identity, NEIGHBOUR)
    await settle()
    await threads.answer(ACCEPTED)
    assert await task is ACCEPTED
    threads.looked.clear()
    threads.screened.clear()


async def test_gate_stands_open_while_there_is_no_flood(threads: Threads) -> None:
    door = Doorkeeper()
    await opened(threads, door)
    assert door.at_gate(scope_of("ANYBODY")) is None


async def test_gate_refuses_who_is_held_at_once(threads: Threads) -> None:
    door = Doorkeeper()
    await opened(threads, door)
    task = dial(door, "X")
    await settle()
    await threads.answer(HELD_ADDRESS)
    await task
    assert door.at_gate(scope_of("Y")) is REFUSALS["too_many_attempts"]
    assert door.at_gate(scope_of("Y", address=NEIGHBOUR)) is None
    assert door._unrecorded == {"alpha": 1}


async def test_in_a_flood_the_gate_screens_and_whoever_passed_is_not_screened_again(threads: Threads) -> None:
    threads.refused = {"X": REFUSALS["wrong_password"]}
    door = flooded()
    await opened(threads, door)
    wrong, right = door.at_gate(scope_of("X")), door.at_gate(scope_of("RIGHT"))
    assert isinstance(wrong, asyncio.Future)
    assert isinstance(right, asyncio.Future)
    refusal = await wrong
    assert (refusal and refusal.reason, await right) == ("wrong_password", None)
    task = dial(door, "RIGHT")
    await settle()
    assert (threads.screened, threads.looked, len(door.passed)) == (["X", "RIGHT"], ["RIGHT"], 0)
    await threads.answer(ACCEPTED)
    assert await task is ACCEPTED


async def test_in_a_flood_the_gate_stands_open_for_whoever_was_let_in_with_the_same(threads: Threads) -> None:
    door = flooded()
    await opened(threads, door)
    assert door.at_gate(scope_of("SOMEBODY", address=NEIGHBOUR)) is None
    assert door.at_gate(scope_of("SOMEBODY", "wrong-password-1234", NEIGHBOUR)) is not None


async def test_flood_is_summed_up_and_a_few_refusals_are_not(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[dict[str, int]] = []
    monkeypatch.setattr(doorkeeper, "note_floods", kept.append)
    door = Doorkeeper()
    few, many = request(tenant_slug="beta"), request()
    door._leave_out(few)
    for _ in range(doorkeeper.FLOOD):
        door._leave_out(many)
    assert door._summing_up is not None
    door._summing_up.cancel()
    door._sum_up()
    await settle()
    assert kept == [{"alpha": doorkeeper.FLOOD}]


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


async def test_whoever_is_plainly_right_at_the_gate_comes_in_with_others(threads: Threads) -> None:
    threads.plain = {"RIGHT"}
    door = flooded()
    await opened(threads, door)
    right = door.at_gate(scope_of("RIGHT"))
    assert isinstance(right, asyncio.Future)
    assert await right is None
    assert await dial(door, "RIGHT") is ACCEPTED
    assert (threads.together, threads.screened, threads.looked, len(door.passed)) == ([["RIGHT"]], ["RIGHT"], [], 0)


async def test_pass_is_for_one_handshake_and_takes_no_place_at_the_gate(threads: Threads) -> None:
    door = flooded()
    await opened(threads, door)
    first = door.at_gate(scope_of("TYPED"))
    assert isinstance(first, asyncio.Future)
    assert await first is None
    # The flood is over when it comes in, so it finds a place free.
    door._at_ease = doorkeeper.FAILURES_AT_EASE
    task = dial(door, "TYPED")
    await settle()
    assert len(door.passed) == 0
    await threads.answer(REFUSALS["wrong_password"])
    assert (await task).reason == "wrong_password"
    door._at_ease = 0.0
    again = door.at_gate(scope_of("TYPED"))
    assert isinstance(again, asyncio.Future)
    assert await again is None
    assert (threads.screened, door.strangers) == (["TYPED", "TYPED"], 0)
