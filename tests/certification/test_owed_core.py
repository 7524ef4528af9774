"""Core functions that none of the 77 cases asks for and every installation needs (conformance 7)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.certification.case import Case
from tests.fake_charge_point import timestamp

HUGE = 9_223_372_036_854_775_807


async def test_data_transfer_started_by_the_csms(case: Case) -> None:
    payload = {"vendorId": "com.example", "messageId": "Ping", "data": '{"a":1}'}
    command = await case.send("DataTransfer", payload, {"status": "Accepted", "data": "pong"})
    assert command["response"] == {"status": "Accepted", "data": "pong"}


async def test_data_transfer_without_its_optional_members(case: Case) -> None:
    await case.send("DataTransfer", {"vendorId": "com.example"}, {"status": "UnknownVendorId"})


async def test_data_transfer_answered_by_an_error(case: Case) -> None:
    command = await case.command("DataTransfer", {"vendorId": "com.example"})
    received = await case.expect("DataTransfer", {"vendorId": "com.example"})
    await case.cp.reply_error(received, "NotSupported", "no vendor extensions", {"hint": "none"})
    final = await case.final(command)
    assert (final["status"], final["response"]) == ("error", None)
    details = {"hint": "none"}
    assert final["error"] == {"code": "NotSupported", "description": "no vendor extensions", "details": details}


@pytest.mark.parametrize("status", ["Accepted", "Rejected", "Scheduled"])
@pytest.mark.parametrize("connector_id", [0, 1])
@pytest.mark.parametrize("kind", ["Inoperative", "Operative"])
async def test_change_availability(case: Case, connector_id: int, kind: str, status: str) -> None:
    await case.send("ChangeAvailability", {"connectorId": connector_id, "type": kind}, {"status": status})


async def test_availability_scheduled_during_a_transaction_comes_after_it(case: Case) -> None:
    tx = await case.charging()
    await case.send("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, {"status": "Scheduled"})
    assert (await case.transaction(tx))["active"] is True
    await case.stop(tx)
    await case.status(1, "Unavailable")
    assert (await case.connector(1))["status"] == "Unavailable"


async def test_keys_that_the_charge_point_does_not_know_are_shown_as_unknown(case: Case) -> None:
    answer = {
        "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}],
        "unknownKey": ["Foo", "Bar"],
    }
    await case.send("GetConfiguration", {"key": ["HeartbeatInterval", "Foo", "Bar"]}, answer)
    shown = {key: (row["known"], row["value"]) for key, row in (await case.configuration()).items()}
    assert shown == {"HeartbeatInterval": (True, "300"), "Foo": (False, None), "Bar": (False, None)}


async def test_reboot_required_is_shown_until_it_is_reported(case: Case) -> None:
    change = {"key": "WebSocketPingInterval", "value": "30"}
    await case.send("ChangeConfiguration", change, {"status": "RebootRequired"})
    row = (await case.configuration())["WebSocketPingInterval"]
    assert (row["desired_value"], row["value"]) == ("30", None)


async def test_transaction_is_stopped_with_another_token_of_the_group(case: Case) -> None:
    tx = await case.charging()
    await case.authorize(case.tokens.same_parent, case.info)
    conf = await case.cp.stop_transaction(tx, idTag=case.tokens.same_parent)
    assert conf == {"idTagInfo": case.info}
    assert (await case.transaction(tx))["active"] is False


async def test_stop_without_id_tag_gets_no_id_tag_info(case: Case) -> None:
    tx = await case.charging()
    assert await case.cp.stop_transaction(tx, reason="PowerLoss") == {}


async def test_stop_without_reason_is_local(case: Case) -> None:
    tx = await case.charging()
    await case.stop(tx)
    assert (await case.transaction(tx))["stop_reason"] == "Local"


async def test_transaction_data_is_stored_with_the_transaction_and_repetitions_left_out(case: Case) -> None:
    began = datetime.now(UTC) - timedelta(hours=1)
    tx = await case.start(timestamp=timestamp(began), meter_start=1000)
    sampled = [{"value": "1500", "context": "Sample.Periodic"}]
    await case.cp.meter_values(1, tx, at=began + timedelta(minutes=30), sampled=sampled)
    data = [
        {"timestamp": timestamp(began), "sampledValue": [{"value": "1000", "context": "Transaction.Begin"}]},
        {"timestamp": timestamp(began + timedelta(minutes=30)), "sampledValue": sampled},
        {"timestamp": timestamp(began + timedelta(hours=1)),
         "sampledValue": [{"value": "2", "unit": "kWh", "context": "Transaction.End"}]},
    ]  # fmt: skip
    await case.stop(tx, transactionData=data)
    found = (await case.get(f"transactions/{tx}/meter-values/"))["results"]
    stored = sorted((row["timestamp"], float(row["energy_wh"])) for row in found)
    assert stored == [(data[0]["timestamp"], 1000), (data[1]["timestamp"], 1500), (data[2]["timestamp"], 2000)]


@pytest.mark.parametrize("transaction_id", [-1, 0, 987_654_321, HUGE, 2**70])
async def test_stop_with_an_id_that_is_none_of_ours_is_answered_and_shown(case: Case, transaction_id: int) -> None:
    running = await case.charging()
    assert await case.cp.stop_transaction(transaction_id, meter_stop=777) == {}
    orphan, open_one = await case.transactions()
    assert (orphan["flags"], orphan["active"], orphan["meter_stop_wh"]) == (["orphan_stop"], False, 777)
    assert (open_one["id"], open_one["active"]) == (running, True)


@pytest.mark.parametrize("transaction_id", [-1, 0, 987_654_321, HUGE, 2**70])
async def test_meter_values_with_an_id_that_is_none_of_ours_are_answered(case: Case, transaction_id: int) -> None:
    """And they belong to the transaction that runs on the connector, with how that was found."""
    running = await case.charging()
    assert await case.cp.meter_values(1, transaction_id, 5000) == {}
    (reading,) = (await case.get(f"transactions/{running}/meter-values/"))["results"]
    assert (reading["transaction"], reading["matched_by"]) == (running, "connector")
    assert reading["transaction_id_sent"] == str(transaction_id)


class TestRetries:
    """A charge point repeats until it is answered: same message id or another, this connection or the next."""

    @pytest.fixture
    def start(self, case: Case) -> dict[str, Any]:
        return {"connectorId": 1, "idTag": case.tokens.valid, "meterStart": 100, "timestamp": timestamp()}

    @pytest.mark.parametrize("same_id", [True, False], ids=["same_message_id", "other_message_id"])
    @pytest.mark.parametrize("reconnect", [False, True], ids=["same_connection", "next_connection"])
    async def test_repeated_start_is_answered_alike_and_stored_once(
        self, case: Case, start: dict[str, Any], same_id: bool, reconnect: bool
    ) -> None:
        first = await case.cp.call("StartTransaction", start, message_id="start-1")
        if reconnect:
            await case.reconnected()
        again = await case.cp.call("StartTransaction", start, message_id="start-1" if same_id else "start-2")
        assert again == first
        assert [row["id"] for row in await case.transactions()] == [first["transactionId"]]

    @pytest.mark.parametrize("same_id", [True, False], ids=["same_message_id", "other_message_id"])
    @pytest.mark.parametrize("reconnect", [False, True], ids=["same_connection", "next_connection"])
    async def test_repeated_stop_is_answered_alike_and_stored_once(
        self, case: Case, start: dict[str, Any], same_id: bool, reconnect: bool
    ) -> None:
        tx = (await case.cp.call("StartTransaction", start))["transactionId"]
        stop = {"transactionId": tx, "idTag": case.tokens.valid, "meterStop": 900, "timestamp": timestamp()}
        first = await case.cp.call("StopTransaction", stop, message_id="stop-1")
        before = await case.transaction(tx)
        if reconnect:
            await case.reconnected()
        again = await case.cp.call("StopTransaction", stop, message_id="stop-1" if same_id else "stop-2")
        assert again == first == {"idTagInfo": case.info}
        assert await case.transaction(tx) == before
        assert len(await case.transactions()) == 1

    async def test_start_repeated_while_the_first_is_being_processed_is_answered_twice_and_stored_once(
        self, case: Case, start: dict[str, Any]
    ) -> None:
        for _ in range(3):
            await case.cp.send_call("StartTransaction", start, "start-1")
        answers = [await case.cp.answer_for("start-1") for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert len(await case.transactions()) == 1

    async def test_same_message_id_with_another_payload_is_a_new_request(
        self, case: Case, start: dict[str, Any]
    ) -> None:
        # Counters restart when a charge point boots.
        first = await case.cp.call("StartTransaction", start, message_id="1")
        second = await case.cp.call("StartTransaction", start | {"connectorId": 2}, message_id="1")
        assert second["transactionId"] != first["transactionId"]

    async def test_start_that_was_cut_off_before_its_answer_is_found_again(
        self, case: Case, start: dict[str, Any]
    ) -> None:
        await case.cp.send_call("StartTransaction", start)
        await case.cp.drop()
        await case.cp.connect()
        tx = (await case.cp.call("StartTransaction", start))["transactionId"]
        assert [row["id"] for row in await case.transactions()] == [tx]

    async def test_repeated_meter_values_are_stored_once(self, case: Case, start: dict[str, Any]) -> None:
        tx = (await case.cp.call("StartTransaction", start))["transactionId"]
        at = datetime.now(UTC)
        for _ in range(2):
            assert await case.cp.meter_values(1, tx, 500, at=at) == {}
        assert len((await case.get(f"transactions/{tx}/meter-values/"))["results"]) == 1


async def test_transactions_of_one_tag_may_overlap_unless_the_tenant_forbids_it(case: Case) -> None:
    first = await case.start(connector_id=1)
    second = await case.start(connector_id=2)
    assert {row["id"] for row in await case.transactions() if row["active"]} == {first, second}


async def test_stop_of_another_charge_points_transaction_does_not_touch_it(case: Case) -> None:
    tx = await case.charging()
    other = await asyncio.to_thread(case.csms.charge_point)
    async with other:
        assert await other.stop_transaction(tx) == {}
    assert (await case.transaction(tx))["active"] is True
