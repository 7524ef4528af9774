"""Failed attempts are counted by address and identity: no guessing of passwords, and nobody is locked out from afar."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Csms, LiveTenant
from tests.servers import CsmsServer
from tests.stations.test_handshake import PASSWORD, Dialer
from tests.stations.upgrade import basic, own_address

PAIR_LIMIT, ADDRESS_LIMIT = 3, 8


@pytest.fixture(scope="module")
def guarded(_make_csms_server: Callable[..., CsmsServer]) -> Iterator[Dialer]:
    """A server that counts failures early, and believes nobody's forwarded headers."""
    server = _make_csms_server(
        env={
            "CSMS_FAILED_ATTEMPTS_PER_IDENTITY": str(PAIR_LIMIT),
            "CSMS_FAILED_ATTEMPTS_PER_ADDRESS": str(ADDRESS_LIMIT),
        }
    )
    server.start()
    yield Dialer(Csms(server, LiveTenant("guarded", server.create_tenant("guarded")["api_key"])))
    server.close()


async def fail(dialer: Dialer, identity: str, address: str, *headers: tuple[str, str]) -> int:
    return (await dialer.dial(identity, basic(identity, "wrong-password-1234"), *headers, address=address)).status


async def test_identity_is_held_up_after_too_many_failures_from_one_address(guarded: Dialer) -> None:
    identity, address = guarded.register(), own_address()
    statuses = [await fail(guarded, identity, address) for _ in range(PAIR_LIMIT + 2)]
    assert statuses == [401] * PAIR_LIMIT + [429] * 2
    answer = await guarded.dial_right(identity, address=address)
    assert (answer.status, answer.headers["retry-after"]) == (429, "60")


async def test_same_identity_from_another_address_is_unaffected(guarded: Dialer) -> None:
    identity, attacker = guarded.register(), own_address()
    for _ in range(PAIR_LIMIT + 1):
        await fail(guarded, identity, attacker)
    assert (await guarded.dial_right(identity, address=own_address())).status == 101


async def test_other_identities_of_the_address_are_unaffected_until_its_own_limit(guarded: Dialer) -> None:
    identity, neighbour, address = guarded.register(), guarded.register(), own_address()
    for _ in range(PAIR_LIMIT + 1):
        await fail(guarded, identity, address)
    assert (await guarded.dial_right(neighbour, address=address)).status == 101


async def test_address_that_tries_many_identities_is_held_up(guarded: Dialer) -> None:
    address = own_address()
    statuses = [await fail(guarded, f"HS-{secrets.token_hex(4)}", address) for _ in range(ADDRESS_LIMIT + 2)]
    assert statuses == [401] * ADDRESS_LIMIT + [429] * 2


async def test_who_was_let_in_before_is_not_held_up_by_its_neighbours_at_the_address(guarded: Dialer) -> None:
    known, stranger, address = guarded.register(), guarded.register(), own_address()
    assert (await guarded.dial_right(known, address=address)).status == 101
    for _ in range(ADDRESS_LIMIT):
        await fail(guarded, f"HS-{secrets.token_hex(4)}", address)
    assert (await guarded.dial_right(known, address=address)).status == 101
    assert (await guarded.dial_right(stranger, address=address)).status == 429


async def test_success_does_not_count_as_a_failure(guarded: Dialer) -> None:
    identity, address = guarded.register(), own_address()
    for _ in range(ADDRESS_LIMIT + 2):
        assert (await guarded.dial_right(identity, address=address)).status == 101


async def test_operator_sees_that_attempts_are_held_up_once_and_not_for_each(guarded: Dialer) -> None:
    identity, address = guarded.register(), own_address()
    for _ in range(PAIR_LIMIT + 5):
        await fail(guarded, identity, address)
    reasons = [attempt["reason"] for attempt in guarded.attempts(identity)]
    assert reasons == ["too_many_attempts"] + ["wrong_password"] * PAIR_LIMIT
    assert guarded.last_attempt(identity)["http_status"] == 429


async def test_forwarded_headers_of_a_stranger_are_ignored(guarded: Dialer) -> None:
    """Neither a new address for each guess nor TLS can be claimed by the one who dials."""
    identity, address = guarded.register(), own_address()
    statuses = [
        await fail(guarded, identity, address, ("X-Forwarded-For", f"203.0.113.{n}"), ("X-Forwarded-Proto", "https"))
        for n in range(PAIR_LIMIT + 1)
    ]
    assert statuses == [401] * PAIR_LIMIT + [429]
    attempt = guarded.last_attempt(identity)
    assert (attempt["address"], attempt["security_profile"]) == (address, 1)


async def test_wrong_subprotocol_is_no_guess_and_is_not_counted(guarded: Dialer) -> None:
    identity, address = guarded.register(), own_address()
    for _ in range(PAIR_LIMIT + 2):
        assert (await guarded.dial_right(identity, address=address, subprotocols=["ocpp2.0.1"])).status == 400
    assert (await guarded.dial_right(identity, address=address)).status == 101


async def test_passwords_are_never_logged(guarded: Dialer) -> None:
    identity, address = guarded.register(), own_address()
    await guarded.dial_right(identity, address=address)
    for _ in range(PAIR_LIMIT + 1):
        await fail(guarded, identity, address)
    log = guarded.csms.server.log()
    for reason in ("wrong_password", "too_many_attempts"):
        assert f"Handshake refused: {reason}, identity '{identity}' of tenant guarded from {address}" in log
    assert PASSWORD not in log
    assert "wrong-password-1234" not in log
