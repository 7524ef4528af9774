"""The four flaws that central systems of charge points are found with, one test each.

Each was seen to fail with its guard taken out; how to do that again stands in its docstring.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from tests.conftest import Csms
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.stations.test_handshake import PASSWORD, Dialer
from tests.stations.upgrade import basic, own_address


@pytest.fixture
def dialer(csms: Csms) -> Dialer:
    return Dialer(csms)


async def test_websocket_without_authentication_is_not_opened(dialer: Dialer) -> None:
    """Guard: `raise Refused("no_credentials")` and `raise Refused("wrong_password")` in handshake._authenticated."""
    identity = dialer.register()
    answers = [await dialer.dial(identity), await dialer.dial(identity, basic(identity, "wrong-password-1234"))]
    assert [(answer.status, "sec-websocket-accept" in answer.headers) for answer in answers] == [(401, False)] * 2
    assert dialer.csms.get(f"charge-points/{identity}/")["connected_at"] is None


async def test_passwords_cannot_be_tried_without_end(dialer: Dialer) -> None:
    """Guard: the call of _limit_reached in handshake._decide."""
    identity, address = dialer.register(), own_address()
    guesses = [basic(identity, f"guess-number-{number:05}") for number in range(14)]
    statuses = [(await dialer.dial(identity, guess, address=address)).status for guess in guesses]
    assert statuses == [401] * 10 + [429] * 4
    # Nor is the right one told from a wrong one from there on, while the charge point itself gets in.
    assert (await dialer.dial_right(identity, address=address)).status == 429
    assert (await dialer.dial_right(identity, address=own_address())).status == 101


async def test_session_is_not_taken_over_by_a_second_socket_without_the_password(dialer: Dialer) -> None:
    """Guard: that _authenticated comes before _take_over in handshake._decide."""
    identity = dialer.register()
    cp = FakeChargePoint(dialer.csms.server.ws_url(dialer.slug), identity, PASSWORD)
    await cp.connect()
    before = await asyncio.to_thread(dialer.csms.get, f"charge-points/{identity}/")
    for password in (None, "wrong-password-1234"):
        second = FakeChargePoint(dialer.csms.server.ws_url(dialer.slug), identity, password)
        with pytest.raises(ConnectionRefused) as refused:
            await second.connect()
        assert refused.value.status == 401
    # The first still has the session: it is answered, and gets what the operator sends.
    assert "currentTime" in await cp.heartbeat()
    command = await asyncio.to_thread(dialer.csms.command, identity, "ClearCache", {})
    await cp.reply(await cp.expect_call("ClearCache"), {"status": "Accepted"})
    final = await asyncio.to_thread(dialer.csms.get, f"commands/{command['id']}/", wait=10)
    assert final["status"] == "answered"
    after = await asyncio.to_thread(dialer.csms.get, f"charge-points/{identity}/")
    assert (after["connected"], after["connected_at"]) == (True, before["connected_at"])
    # With the password, the newest wins.
    third = FakeChargePoint(dialer.csms.server.ws_url(dialer.slug), identity, PASSWORD)
    await third.connect()
    assert (await cp.wait_closed()).code == 1000
    await third.close()


async def test_credentials_are_not_exposed(dialer: Dialer) -> None:
    """Guard: `masked` in dispatch.py's message log and in api/commands.py.

    tests/stations/test_planted_secrets.py looks everywhere.
    """
    identity = dialer.register()
    cp = FakeChargePoint(dialer.csms.server.ws_url(dialer.slug), identity, PASSWORD)
    await cp.connect()
    secret = secrets.token_hex(20).upper()
    cp.on("ChangeConfiguration", {"status": "Accepted"})
    cp.on("GetConfiguration", {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": secret}]})
    payload = {"key": "AuthorizationKey", "value": secret}
    await asyncio.to_thread(dialer.csms.command, identity, "ChangeConfiguration", payload, 10)
    await asyncio.to_thread(dialer.csms.command, identity, "GetConfiguration", {}, 10)

    def answers() -> list[Any]:
        of_charge_point = ("", "commands/", "messages/", "configuration/", "connection-attempts/")
        return [dialer.csms.get(f"charge-points/{identity}/{part}") for part in of_charge_point]

    shown = str(await asyncio.to_thread(answers))
    assert "AuthorizationKey" in shown
    for value in (secret, PASSWORD):
        assert value not in shown
        assert value not in dialer.csms.server.log()
    await cp.close()
