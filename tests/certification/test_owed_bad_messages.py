"""The right CALLERROR for each kind of bad message, and none where nobody could correlate it (protocol 2.3, 2.4)."""

from __future__ import annotations

import asyncio
import json
from functools import reduce
from typing import Any

import pytest

from tests.certification.case import Case
from tests.fake_charge_point import CallErrorReceived

NOW = "2026-03-01T12:00:00Z"
START = {"connectorId": 1, "idTag": "X", "meterStart": 0, "timestamp": NOW}
NO_SAMPLES = {"connectorId": 1, "meterValue": [{"timestamp": NOW, "sampledValue": []}]}
DEEP: Any = reduce(lambda inner, _: [inner], range(80), [])


def call(action: Any, *rest: Any) -> str:
    return json.dumps([2, "m-1", action, *rest])


def status(**members: Any) -> dict[str, Any]:
    return {"connectorId": 1, "status": "Available", "errorCode": "NoError"} | members


REFUSED = [
    ("unknown action", call("MakeCoffee", {}), "NotImplemented"),
    ("unknown action of OCPP 2", call("TransactionEvent", {}), "NotImplemented"),
    ("action in another letter case", call("heartbeat", {}), "NotImplemented"),
    ("action that only we send", call("Reset", {"type": "Hard"}), "NotSupported"),
    ("action without payload", call("Heartbeat"), "FormationViolation"),
    ("id only", json.dumps([2, "m-1"]), "FormationViolation"),
    ("action is a number", call(7, {}), "FormationViolation"),
    ("payload is a list", call("Heartbeat", []), "FormationViolation"),
    ("payload is a text", call("Heartbeat", "{}"), "FormationViolation"),
    ("payload is a number", call("Heartbeat", 0), "FormationViolation"),
    ("required member missing", call("Authorize", {}), "ProtocolError"),
    ("one of two missing", call("BootNotification", {"chargePointVendor": "A"}), "ProtocolError"),
    ("no time", call("StartTransaction", {name: START[name] for name in ("connectorId", "idTag", "meterStart")}),
     "ProtocolError"),
    ("text is a list", call("Authorize", {"idTag": ["X"]}), "TypeConstraintViolation"),
    ("text is an object", call("Authorize", {"idTag": {"id": "X"}}), "TypeConstraintViolation"),
    ("number is a word", call("StatusNotification", status(connectorId="one")), "TypeConstraintViolation"),
    ("number has a fraction", call("StatusNotification", status(connectorId=1.5)), "TypeConstraintViolation"),
    ("number out of range", call("StatusNotification", status(connectorId=-1)), "PropertyConstraintViolation"),
    ("idTag too long", call("Authorize", {"idTag": "X" * 21}), "PropertyConstraintViolation"),
    ("message id beyond 255", json.dumps([2, "m" * 256, "Heartbeat", {}]), "FormationViolation"),
    ("payload nested too deeply", call("DataTransfer", {"vendorId": "x", "data": DEEP}), "FormationViolation"),
]  # fmt: skip

STRICT = [
    ("number as text", call("StatusNotification", status(connectorId="1")), "TypeConstraintViolation"),
    ("letter case", call("StatusNotification", status(status="AVAILABLE")), "PropertyConstraintViolation"),
    ("unknown status", call("StatusNotification", status(status="Exploded")), "PropertyConstraintViolation"),
    ("near word", call("DiagnosticsStatusNotification", {"status": "UploadFailure"}), "PropertyConstraintViolation"),
    ("data that is no text", call("DataTransfer", {"vendorId": "x", "data": {"a": 1}}), "TypeConstraintViolation"),
    ("unreadable time", call("StatusNotification", status(timestamp="today")), "PropertyConstraintViolation"),
    ("extra member", call("Heartbeat", {"extra": 1}), "FormationViolation"),
    ("null member", call("StatusNotification", status(info=None)), "TypeConstraintViolation"),
    ("empty list", call("MeterValues", {"connectorId": 1, "meterValue": []}), "OccurenceConstraintViolation"),
    ("empty sampled list", call("MeterValues", NO_SAMPLES), "OccurenceConstraintViolation"),
]  # fmt: skip

# Tolerated, each with the answer it gets.
TOLERATED = [
    ("id is a number", json.dumps([2, 4711, "Heartbeat", {}]), 4711),
    ("id is a very long text", json.dumps([2, "m" * 255, "Heartbeat", {}]), "m" * 255),
    ("id is empty", json.dumps([2, "", "Heartbeat", {}]), ""),
    ("type is a text", json.dumps(["2", "m-1", "Heartbeat", {}]), "m-1"),
    ("null payload", call("Heartbeat", None), "m-1"),
    ("more elements", call("Heartbeat", {}, "more", 7), "m-1"),
    ("extra member", call("Heartbeat", {"extra": 1}), "m-1"),
    ("blanks and line breaks", '\n [ 2 , "m-1" ,\t"Heartbeat" , { } ] \n', "m-1"),
    ("number as text", call("StatusNotification", status(connectorId="1")), "m-1"),
    ("null member", call("StatusNotification", status(info=None)), "m-1"),
    ("enumeration in another letter case", call("StatusNotification", status(status="available")), "m-1"),
    ("unknown status", call("StatusNotification", status(status="Exploded")), "m-1"),
    ("unknown progress", call("FirmwareStatusNotification", {"status": "DownloadPaused"}), "m-1"),
    ("near word", call("DiagnosticsStatusNotification", {"status": "UploadFailure"}), "m-1"),
    ("data that is no text", call("DataTransfer", {"vendorId": "x", "data": {"a": [1]}}), "m-1"),
    ("unknown error code", call("StatusNotification", status(errorCode="Meltdown")), "m-1"),
    ("info too long", call("StatusNotification", status(info="i" * 500)), "m-1"),
    ("unreadable time", call("StatusNotification", status(timestamp="today")), "m-1"),
    ("text is a number", call("Authorize", {"idTag": 12345678}), "m-1"),
    ("single object for a list", call("MeterValues", {
        "connectorId": 1, "meterValue": {"timestamp": NOW, "sampledValue": {"value": 1}}}), "m-1"),
    ("empty list", call("MeterValues", NO_SAMPLES), "m-1"),
    ("unknown measurand", call("MeterValues", {"connectorId": 1, "meterValue": [
        {"timestamp": NOW, "sampledValue": [{"value": "1", "measurand": "Mood", "unit": "Smiles"}]}]}), "m-1"),
    ("unknown reason", call("StopTransaction", {
        "transactionId": 5, "meterStop": 1, "timestamp": NOW, "reason": "Bored"}), "m-1"),
    ("meter reading with a fraction", call("StartTransaction", START | {"meterStart": 12.6}), "m-1"),
    ("idTag too long where a refusal would be repeated", call("StartTransaction", START | {"idTag": "X" * 40}), "m-1"),
]  # fmt: skip

UNANSWERED = [
    ("empty", ""),
    ("not JSON", "not JSON at all"),
    ("half a frame", '[2,"m-1","Heartbeat",{'),
    ("an object", "{}"),
    ("a number", "7"),
    ("an empty list", "[]"),
    ("a type only", "[2]"),
    ("an unknown type", json.dumps([9, "m-1", "Heartbeat", {}])),
    ("type true", json.dumps([True, "m-1", "Heartbeat", {}])),
    ("no id", json.dumps([2, None, "Heartbeat", {}])),
    ("id is an object", json.dumps([2, {}, "Heartbeat", {}])),
    ("answer to nothing", json.dumps([3, "never-asked", {"status": "Accepted"}])),
    ("error to nothing", json.dumps([4, "never-asked", "GenericError", "", {}])),
    ("nested without end", "[" * 5000),
]


def ids(table: list[Any]) -> list[str]:
    return [row[0].replace(" ", "_") for row in table]


async def answer(case: Case, text: str) -> Any:
    """The next frame after sending `text` as it is."""
    await case.cp.send_raw(text)
    return (await case.cp.next_frame()).frame


def check_error(frame: Any, text: str, code: str) -> None:
    kind, message_id, found, description, details = frame
    assert (kind, message_id, found) == (4, json.loads(text)[1], code)
    assert 0 < len(description) <= 255
    assert details == {}


@pytest.mark.parametrize(("text", "code"), [row[1:] for row in REFUSED], ids=ids(REFUSED))
async def test_bad_call_gets_the_error_of_its_kind(case: Case, text: str, code: str) -> None:
    check_error(await answer(case, text), text, code)
    # The connection is none the worse, and the operator sees both frames.
    await case.cp.heartbeat()
    received, answered, *_ = await case.messages()
    assert (received[:2], answered[:2]) == (("in", "CALL"), ("out", "CALLERROR"))


@pytest.mark.parametrize(("text", "code"), [row[1:] for row in STRICT], ids=ids(STRICT))
async def test_strict_charge_point_is_refused_every_deviation(registered: Case, text: str, code: str) -> None:
    path = f"charge-points/{registered.cp.identity}/"
    await asyncio.to_thread(registered.csms.request, "PATCH", path, {"strict": True})
    await registered.cp.connect()
    check_error(await answer(registered, text), text, code)
    await registered.finish()


@pytest.mark.parametrize(("text", "message_id"), [row[1:] for row in TOLERATED], ids=ids(TOLERATED))
async def test_what_is_plainly_meant_is_answered(case: Case, text: str, message_id: Any) -> None:
    frame = await answer(case, text)
    assert frame[:2] == [3, message_id]
    assert len(frame) == 3


@pytest.mark.parametrize("text", [row[1] for row in UNANSWERED], ids=ids(UNANSWERED))
async def test_what_nobody_could_correlate_is_logged_and_not_answered(case: Case, text: str) -> None:
    await case.cp.send_raw(text)
    await case.cp.assert_silent_until_answered()
    logged = await case.messages()
    assert logged[0][:2] == ("in", "OTHER")


async def test_flood_of_nonsense_does_not_cost_the_connection(case: Case) -> None:
    for number in range(200):
        await case.cp.send_raw("x" * number)
    await case.cp.assert_silent_until_answered()


async def test_deviations_are_shown_to_the_operator_once_each(case: Case) -> None:
    for _ in range(3):
        await case.cp.call("StatusNotification", status(connectorId="1"))
    seen = await case.charge_point()
    assert list(seen["deviations"]) == ["StatusNotification:text_as_number"]


async def test_error_does_not_repeat_what_was_sent(case: Case) -> None:
    secret = "00112233445566778899AABBCCDDEEFF"
    with pytest.raises(CallErrorReceived) as refused:
        await case.cp.call("Authorize", {"idTag": secret})
    assert secret not in f"{refused.value} {refused.value.details}"
