"""Who has to go when too many have not said what they want. No sockets: those who are sent away are counted."""

from __future__ import annotations

import random
from typing import Any

import pytest

from csms import door
from csms.door import Door


@pytest.fixture(autouse=True)
def thousand_descriptors(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(door, "descriptors", lambda: 1000)
    settings.CSMS_UNFINISHED_PERCENT, settings.CSMS_UNFINISHED_OF_ONE_PERCENT = 5, 2
    settings.CSMS_TRUSTED_PROXIES = ["10.0.0.1"]
    monkeypatch.setattr(door.doorkeeper, "of_this_loop", Keeper)


class Keeper:
    """Knows one address."""

    def knows(self, address: str) -> bool:
        return address == "192.0.2.200"


class Crowd:
    def __init__(self) -> None:
        self.door = Door()
        self.gone: list[str] = []

    def enter(self, address: str, name: str = "") -> door.Guest:
        return self.door.enter(address, lambda: self.gone.append(name or address))


def test_one_address_has_its_share_and_its_oldest_goes() -> None:
    crowd = Crowd()
    for number in range(25):
        crowd.enter("192.0.2.1", str(number))
    assert (len(crowd.door), crowd.gone) == (20, ["0", "1", "2", "3", "4"])


def test_network_of_ipv6_is_one_address() -> None:
    crowd = Crowd()
    for number in range(25):
        crowd.enter(f"2001:db8::{number + 1:x}")
    assert len(crowd.door) == 20


def test_oldest_of_those_with_most_makes_room_for_all() -> None:
    crowd = Crowd()
    crowd.enter("198.51.100.1", "first, and alone")
    for address in range(5):
        for number in range(10):
            crowd.enter(f"192.0.2.{address}", f"{address}.{number}")
    assert (len(crowd.door), crowd.gone) == (50, ["0.0"])
    crowd.enter("203.0.113.1")
    # The next of those who still have ten.
    assert crowd.gone == ["0.0", "1.0"]


def test_proxy_is_not_one_address() -> None:
    crowd = Crowd()
    for _ in range(40):
        crowd.enter("10.0.0.1")
    assert crowd.gone == []


def test_who_is_known_comes_last() -> None:
    crowd = Crowd()
    crowd.enter("192.0.2.200", "known")
    for address in range(100):
        crowd.enter(f"192.0.2.{address}", str(address))
    assert (len(crowd.door), crowd.gone[:2], "known" in crowd.gone) == (50, ["0", "1"], False)
    while crowd.door.make_room():
        continue
    assert crowd.gone[-1] == "known"


def test_who_has_said_what_it_wants_is_not_sent_away() -> None:
    crowd = Crowd()
    guests = [crowd.enter("192.0.2.1", str(number)) for number in range(20)]
    crowd.door.leave(guests[0])
    crowd.door.leave(guests[0])
    crowd.enter("192.0.2.1")
    crowd.enter("192.0.2.1")
    assert crowd.gone == ["1"]


def test_counts_are_right_whatever_happens() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    crowd = Crowd()
    inside: dict[str, tuple[str, door.Guest]] = {}
    for number in range(3000):
        if inside and chance.random() < 0.45:
            name = chance.choice(sorted(inside))
            crowd.door.leave(inside.pop(name)[1])
        else:
            address = f"192.0.2.{chance.randrange(12)}"
            before = [each for each, _ in inside.values()]
            guest = crowd.enter(address, str(number))
            for gone in crowd.gone:
                left, _ = inside.pop(gone)
                if left != address:
                    assert before.count(left) == max(before.count(each) for each in before)
            crowd.gone.clear()
            inside[str(number)] = (address, guest)
        assert len(crowd.door) == len(inside) <= 50
    while crowd.door.make_room():
        continue
    assert len(crowd.door) == 0


@pytest.mark.parametrize(
    ("descriptor", "known", "silent", "admitted"),
    [
        (500, False, False, True),
        (850, False, False, False),
        (850, True, False, True),
        (850, False, True, True),
        (950, True, False, False),
        (950, True, True, True),
        (999, True, True, False),
    ],
)
def test_last_descriptors_are_for_those_who_are_known(
    descriptor: int, known: bool, silent: bool, admitted: bool
) -> None:
    crowd = Crowd()
    if silent:
        crowd.enter("192.0.2.1")
    assert crowd.door.admits(descriptor, "192.0.2.200" if known else "192.0.2.9") == admitted
