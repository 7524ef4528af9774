"""The consumer: order, doorbell, time-out, the newest socket wins, whatever ends a connection is cleaned up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from websockets.exceptions import ConnectionClosed

from csms.ocppj.session import Session
from stations import connections, dispatch, doorkeeper, handshake
from stations.consumers import ChargePointConsumer
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint, timestamp
from tests.servers import CsmsServer, wait_until

CALL_TIMEOUT_SECONDS = 1


@pytest.fixture(scope="module")
def patient(_make_csms_server: Callable[..., CsmsServer]) -> Iterator[Csms]:
    """A tenant of a server that never looks for commands by itself: what arrives was brought by a doorbell."""
    server = _make_csms_server(
        env={"CSMS_COMMAND_SWEEP_SECONDS": "3600", "CSMS_CALL_TIMEOUT_SECONDS": str(CALL_TIMEOUT_SECONDS)}
    )
    server.start()
    yield Csms(server, LiveTenant("patient", server.create_tenant("patient")["api_key"]))
    server.close()


@pytest.fixture
async def station(patient: Csms) -> AsyncIterator[FakeChargePoint]:
    """A connected charge point."""
    cp: FakeChargePoint = await asyncio.to_thread(patient.charge_point)
    await cp.connect()
    yield cp
    if cp.closed is None:
        await cp.close()


async def command(csms: Csms, identity: str, action: str = "ClearCache", **payload: Any) -> dict[str, Any]:
    return await asyncio.to_thread(csms.command, identity, action, payload)


async def final(csms: Csms, queued: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = await asyncio.to_thread(lambda: csms.get(f"commands/{queued['id']}/", wait=10))
    return found


async def seen(csms: Csms, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = await asyncio.to_thread(csms.get, f"charge-points/{identity}/")
    return found


async def until_disconnected(csms: Csms, identity: str) -> None:
    def disconnected() -> bool:
        return not csms.get(f"charge-points/{identity}/")["connected"]

    await asyncio.to_thread(wait_until, disconnected, describe=f"{identity} to be disconnected")


# --- order ------------------------------------------------------------------------------------------------------------
async def test_burst_is_answered_completely_and_in_order(station: FakeChargePoint) -> None:
    calls = [
        ("Heartbeat", {}),
        ("Authorize", {"idTag": "X"}),
        ("Nonsense", {}),
        ("StatusNotification", {"connectorId": 1, "status": "Available", "errorCode": "NoError"}),
        ("Authorize", {}),
    ]
    for number in range(50):
        await station.send_call(*calls[number % 5], f"m-{number}")
    await station.answer_for("m-48")
    assert [one.frame[1] for one in station.received][:49] == [f"m-{number}" for number in range(49)]
    assert [one.frame[0] for one in station.received][:5] == [3, 3, 4, 3, 4]


async def test_boot_that_comes_first_is_answered_before_a_command_that_waited(patient: Csms) -> None:
    cp = await asyncio.to_thread(patient.charge_point)
    waiting = await command(patient, cp.identity)
    async with cp:
        assert (await cp.boot())["status"] == "Accepted"
        received = await cp.expect_call("ClearCache")
        await cp.reply(received, {"status": "Accepted"})
        assert (await final(patient, waiting))["status"] == "answered"
        assert [one.frame[0] for one in cp.received] == [3, 2]


async def test_command_that_waited_reaches_a_charge_point_that_says_nothing(patient: Csms) -> None:
    cp = await asyncio.to_thread(patient.charge_point)
    await command(patient, cp.identity)
    async with cp:
        await cp.expect_call("ClearCache")


async def test_sweep_does_not_overtake_a_boot_that_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []

    async def run(link: Any, function: Any, *, commands: bool) -> dispatch.Outcome:
        looked.append(function)
        return dispatch.Outcome(None)

    monkeypatch.setattr(dispatch, "run", run)
    consumer = ChargePointConsumer()
    consumer.link, consumer.session = dispatch.Link(1, 1, 1, "alpha/CP-1"), Session()
    # As after a handshake that found commands waiting.
    consumer._open, consumer._closing, consumer._may_pump = True, None, False
    consumer._pumping, consumer._timer, consumer._tasks = asyncio.Lock(), None, set()
    consumer.ring()
    await asyncio.gather(*consumer._tasks)
    assert looked == []
    consumer._first_frame_is_over()
    await asyncio.gather(*consumer._tasks)
    assert len(looked) == 1


async def test_commands_go_out_one_after_the_other_in_the_order_asked(patient: Csms, station: FakeChargePoint) -> None:
    queued = [await command(patient, station.identity, "UnlockConnector", connectorId=n) for n in range(1, 4)]
    for number, one in enumerate(queued, 1):
        received = await station.expect_call("UnlockConnector")
        assert received.payload == {"connectorId": number}
        # The next one stays at home until this one is answered.
        await station.assert_silent_until_answered()
        await station.reply(received, {"status": "Unlocked"})
        assert (await final(patient, one))["response"] == {"status": "Unlocked"}


async def test_calls_of_the_charge_point_are_answered_while_ours_waits(patient: Csms, station: FakeChargePoint) -> None:
    queued = await command(patient, station.identity)
    received = await station.expect_call("ClearCache")
    assert "currentTime" in await station.heartbeat()
    await station.reply(received, {"status": "Accepted"})
    assert (await final(patient, queued))["status"] == "answered"


# --- doorbell, time-out -----------------------------------------------------------------------------------------------
async def test_doorbell_brings_a_command_at_once(patient: Csms, station: FakeChargePoint) -> None:
    for _ in range(3):
        queued = await command(patient, station.identity)
        await station.reply(await station.expect_call("ClearCache", timeout=5), {"status": "Accepted"})
        assert (await final(patient, queued))["status"] == "answered"


async def test_command_whose_doorbell_was_lost_is_found_by_the_sweep(csms: Csms) -> None:
    cp = await asyncio.to_thread(csms.charge_point)
    async with cp:
        await cp.heartbeat()
        # A row as `enqueue` writes it, by another process and without ringing.
        program = (
            "from datetime import UTC, datetime, timedelta\n"
            "from stations.models import ChargePoint, Command\n"
            "from tenants.scope import platform_scope, tenant_scope\n"
            "with platform_scope():\n"
            f"    row = ChargePoint.objects.get(tenant__slug={csms.tenant.slug!r}, identity={cp.identity!r})\n"
            "now = datetime.now(UTC)\n"
            "with tenant_scope(row.tenant_id):\n"
            "    Command.objects.create(charge_point=row, action='ClearCache', payload={}, requested_by='test',\n"
            "                           created_at=now, expires_at=now + timedelta(minutes=5))\n"
        )
        await asyncio.to_thread(csms.server.manage, "shell", "--no-imports", "-c", program)
        await cp.reply(await cp.expect_call("ClearCache", timeout=15), {"status": "Accepted"})


async def test_silence_times_out_the_next_goes_on_and_a_late_answer_is_recorded(
    patient: Csms, station: FakeChargePoint
) -> None:
    first = await command(patient, station.identity, "Reset", type="Soft")
    second = await command(patient, station.identity)
    unanswered = await station.expect_call("Reset")
    assert (await final(patient, first))["status"] == "timed_out"
    received = await station.expect_call("ClearCache")
    await station.reply(unanswered, {"status": "Accepted"})
    await station.reply(received, {"status": "Rejected"})
    assert (await final(patient, second))["response"] == {"status": "Rejected"}
    late = await final(patient, first)
    assert (late["status"], late["response"]) == ("timed_out", {"status": "Accepted"})
    assert late["answered_at"] is not None
    # Reset is not sent again.
    await station.assert_silent_until_answered()


async def test_error_to_a_command_is_recorded(patient: Csms, station: FakeChargePoint) -> None:
    queued = await command(patient, station.identity)
    await station.reply_error(await station.expect_call("ClearCache"), "NotImplemented", "no cache")
    done = await final(patient, queued)
    assert (done["status"], done["error"]["code"], done["error"]["description"]) == (
        "error", "NotImplemented", "no cache",
    )  # fmt: skip


async def test_answer_repeated_or_to_nothing_is_ignored(patient: Csms, station: FakeChargePoint) -> None:
    queued = await command(patient, station.identity)
    received = await station.expect_call("ClearCache")
    await station.reply(received, {"status": "Accepted"})
    await station.reply(received, {"status": "Rejected"})
    await station.send_raw(json.dumps([3, "nobody-asked", {}]))
    await station.assert_silent_until_answered()
    assert (await final(patient, queued))["response"] == {"status": "Accepted"}


# --- newest socket wins -----------------------------------------------------------------------------------------------
async def test_newest_socket_wins_and_the_old_one_cleans_up_nothing(patient: Csms, station: FakeChargePoint) -> None:
    newer = FakeChargePoint(patient.server.ws_url(patient.tenant.slug), station.identity, station.password)
    async with newer:
        assert (await station.wait_closed()).code == 1000
        assert (await seen(patient, station.identity))["connected"] is True
        queued = await command(patient, station.identity)
        await newer.reply(await newer.expect_call("ClearCache"), {"status": "Accepted"})
        assert (await final(patient, queued))["status"] == "answered"
    await until_disconnected(patient, station.identity)


async def test_command_in_flight_on_the_old_socket_is_sent_again_on_the_new_if_that_does_no_harm(
    patient: Csms, station: FakeChargePoint
) -> None:
    harmless = await command(patient, station.identity)
    await station.expect_call("ClearCache")
    async with FakeChargePoint(patient.server.ws_url(patient.tenant.slug), station.identity, station.password) as newer:
        await newer.boot()
        await newer.reply(await newer.expect_call("ClearCache"), {"status": "Accepted"})
        assert (await final(patient, harmless))["status"] == "answered"


async def test_command_in_flight_when_the_socket_dies_is_unknown_if_repeating_it_could_do_harm(
    patient: Csms, station: FakeChargePoint
) -> None:
    reset = await command(patient, station.identity, "Reset", type="Hard")
    await station.expect_call("Reset")
    await station.drop()
    assert (await final(patient, reset))["status"] == "unknown"
    await station.connect()
    await station.boot()
    await station.assert_silent_until_answered()


async def test_storm_of_reconnects_leaves_one_open_socket_that_works(patient: Csms) -> None:
    cp = await asyncio.to_thread(patient.charge_point)
    url = patient.server.ws_url(patient.tenant.slug)
    storm = [FakeChargePoint(url, cp.identity, cp.password) for _ in range(25)]
    for burst in (storm[:10], storm[10:20], storm[20:]):
        await asyncio.gather(*(one.connect() for one in burst))

    def one_is_left() -> bool:
        return sum(one.closed is None for one in storm) == 1

    await asyncio.to_thread(wait_until, one_is_left, describe="one socket to be left")
    (survivor,) = [one for one in storm if one.closed is None]
    assert (await seen(patient, cp.identity))["connected"] is True
    queued = await command(patient, cp.identity)
    await survivor.reply(await survivor.expect_call("ClearCache"), {"status": "Accepted"})
    assert (await final(patient, queued))["status"] == "answered"
    assert {one.closed.code for one in storm if one.closed is not None} == {1000}
    await survivor.close()
    await until_disconnected(patient, cp.identity)


@pytest.mark.parametrize(
    ("over", "code"),
    [
        (lambda consumer: consumer.charge_point_superseded({"generation": 2}), 1000),
        (lambda consumer: consumer.close_for_restart(), 1012),
    ],
)
async def test_connection_that_is_over_before_its_handshake_is_answered_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, over: Callable[[ChargePointConsumer], Awaitable[None]], code: int
) -> None:
    """A close before the accept would be an HTTP 403 to a charge point whose password was right."""
    link = dispatch.Link(1, 1, 1, "alpha/CP-1")

    class Layer:
        async def group_add(self, group: str, channel: str) -> None:
            await over(consumer)

    async def decide(request: Any) -> handshake.Accepted:
        return handshake.Accepted(link, "ocpp1.6", False, 30, has_commands=False)

    monkeypatch.setattr(connections, "start_housekeeping", lambda: None)
    monkeypatch.setattr(doorkeeper, "of_this_loop", lambda: SimpleNamespace(decide=decide))
    sent: list[dict[str, Any]] = []
    consumer = ChargePointConsumer()
    consumer.scope = {"type": "websocket", "path": "/ocpp/alpha/CP-1", "headers": [], "client": ("127.0.0.1", 1)}
    consumer.channel_layer, consumer.channel_name = Layer(), "here"
    consumer.base_send = AsyncMock(side_effect=sent.append)

    await consumer.websocket_connect({"type": "websocket.connect"})

    connections.remove(link, consumer)
    assert sent == [
        {"type": "websocket.accept", "subprotocol": "ocpp1.6"},
        {"type": "websocket.close", "code": code},
    ]


# --- frames -----------------------------------------------------------------------------------------------------------
async def test_fragmented_message_is_one_message(station: FakeChargePoint) -> None:
    await station.connection.send(iter(['[2,"frag', 'mented","Heart', 'beat",{}', "]"]))
    assert "currentTime" in await station.answer_for("fragmented")


async def test_ping_between_fragments_is_answered(station: FakeChargePoint) -> None:
    async def fragments() -> AsyncIterator[str]:
        yield '[2,"f","Heart'
        await (await station.connection.ping())
        yield 'beat",{}]'

    await station.connection.send(fragments())
    assert "currentTime" in await station.answer_for("f")


async def test_binary_frame_is_read_as_text_and_answered_as_text(station: FakeChargePoint) -> None:
    await station.send_raw(b'[2,"binary","Heartbeat",{}]')
    assert "currentTime" in await station.answer_for("binary")
    assert isinstance(station.received[-1].text, str)


async def test_binary_frame_that_is_no_text_is_ignored(station: FakeChargePoint) -> None:
    await station.send_raw(b"\xff\xfe\x00\x01")
    await station.assert_silent_until_answered()


async def test_large_message_within_the_limit_is_answered(patient: Csms, station: FakeChargePoint) -> None:
    sampled = [{"value": "1", "context": "Sample.Periodic", "measurand": "Voltage", "unit": "V"}] * 8
    times = [f"2026-03-01T{hour:02}:{minute:02}:00Z" for hour in range(24) for minute in range(60)]
    elements = [{"timestamp": time, "sampledValue": sampled} for time in times]
    payload = {"transactionId": 424242, "meterStop": 1, "timestamp": timestamp(), "transactionData": elements[:1200]}
    assert 800_000 < len(json.dumps(payload)) < 1024 * 1024
    assert await station.call("StopTransaction", payload, timeout=30) == {}


async def test_message_over_the_limit_ends_the_connection_and_nothing_else(
    patient: Csms, station: FakeChargePoint
) -> None:
    await station.send_raw(json.dumps([2, "big", "DataTransfer", {"vendorId": "x", "data": "x" * (1024 * 1024)}]))
    assert (await station.wait_closed()).code == 1009
    await until_disconnected(patient, station.identity)
    await station.connect()
    await station.heartbeat()


# --- the end of a connection ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["close", "drop"])
async def test_end_of_a_connection_is_seen(patient: Csms, station: FakeChargePoint, how: str) -> None:
    await station.heartbeat()
    assert (await seen(patient, station.identity))["connected"] is True
    await getattr(station, how)()
    await until_disconnected(patient, station.identity)


@pytest.mark.parametrize("how", ["close", "drop"])
async def test_connection_that_ends_before_its_answers_is_cleaned_up_and_loses_nothing_that_was_answered(
    patient: Csms, station: FakeChargePoint, how: str
) -> None:
    start = {"connectorId": 1, "idTag": "X", "meterStart": 5, "timestamp": timestamp()}
    for number in range(20):
        await station.send_call("StartTransaction", start, f"m-{number}")
    await getattr(station, how)()
    await until_disconnected(patient, station.identity)
    await station.connect()
    tx = (await station.call("StartTransaction", start))["transactionId"]
    found = await asyncio.to_thread(lambda: patient.get("transactions/", charge_point=station.identity)["results"])
    assert [row["id"] for row in found] == [tx]


async def test_connection_given_up_during_the_handshake_leaves_nothing_behind(patient: Csms) -> None:
    cp = await asyncio.to_thread(patient.charge_point)
    for _ in range(5):
        dialing = asyncio.create_task(cp.connect())
        await asyncio.sleep(0)
        dialing.cancel()
        with pytest.raises((asyncio.CancelledError, ConnectionClosed, ConnectionRefused)):
            await dialing
    await until_disconnected(patient, cp.identity)
    async with cp:
        assert (await seen(patient, cp.identity))["connected"] is True
        await cp.heartbeat()


async def test_server_that_stops_says_so_and_the_charge_point_finds_everything_again(
    new_csms_server: Callable[..., CsmsServer],
) -> None:
    server = new_csms_server().start()
    csms = Csms(server, LiveTenant("stopping", server.create_tenant("stopping")["api_key"]))
    cp, tag = await asyncio.to_thread(csms.charge_point), await asyncio.to_thread(csms.id_tag)
    async with cp:
        tx = (await cp.start_transaction(1, tag))["transactionId"]
        await asyncio.to_thread(server.stop)
        assert (await cp.wait_closed()).code == 1012
        await asyncio.to_thread(server.start)
        await cp.connect()
        # No boot on this connection: acceptance and transaction outlive the server.
        assert "idTagInfo" in await cp.stop_transaction(tx, idTag=tag)
        assert (await seen(csms, cp.identity))["connected"] is True
