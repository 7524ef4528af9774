"""What holds in every case: OCPP-J to the letter, one answer each, and no request that nobody asked for."""

from __future__ import annotations

import json

import pytest

from csms.certify.options import Options
from csms.certify.results import Outcome
from tests.conftest import Csms
from tests.csms.certify.interposer import CALL, CALL_ERROR, Fault, Passing, asks, asks_later, sends_text
from tests.csms.certify.test_faults import certification_case, played


def twice(passing: Passing) -> None:
    if passing.to_charge_point and passing.kind == CALL:
        passing.more.append(passing.frame)


def as_another_message(passing: Passing) -> None:
    """The answer to ClearCache comes after a CALLERROR for a CALL of nobody."""
    if passing.to_charge_point and passing.kind == CALL:
        passing.more.append([CALL_ERROR, "nobody", "InternalError", "", {}])


def with_a_number_as_id(passing: Passing) -> None:
    if passing.to_charge_point and passing.kind == CALL:
        assert passing.frame is not None
        passing.frame[1] = 17


@pytest.mark.parametrize(
    ("short_id", "fault", "sentence"),
    [
        ("004_2", sends_text(json.dumps, after="Authorize"), "which waits for no answer"),
        ("004_2", sends_text(lambda frame: "[3,", after="Authorize"), "a frame that is not JSON"),
        ("004_2", sends_text(lambda frame: '[3,"a",{"x":NaN}]', after="Authorize"), "a frame that is not JSON"),
        ("004_2", sends_text(lambda frame: "{}", after="Authorize"), "not a JSON array"),
        ("004_2", sends_text(lambda frame: '[5,"a",{}]', after="Authorize"), "neither a CALL nor"),
        ("061", as_another_message, "'nobody', which waits for no answer"),
        ("061", twice, "a second time"),
        ("061", with_a_number_as_id, "a message id that is not a text of 1 to 36 characters"),
        ("061", asks("ClearCache", "unasked", True), "The request ClearCache breaks its schema: /unasked"),
        ("031", asks("UnlockConnector", "connectorId", None), "breaks its schema: /connectorId"),
    ],
)
async def test_a_broken_frame_fails_the_case_it_comes_in(
    csms: Csms, short_id: str, fault: Fault, sentence: str
) -> None:
    report = await played(csms, certification_case(short_id), fault)
    red, control = report.cases
    assert red.outcome == Outcome.FAILED
    assert sentence in red.reason
    assert control.outcome == Outcome.PASSED


async def test_a_request_that_nobody_asked_for_counts_for_some_time_after_the_case(csms: Csms) -> None:
    # Behind the last answer of the case, with the patience of a user's run.
    fault = asks_later("GetConfiguration", {}, after="Heartbeat", seconds=0.3)
    report = await played(csms, certification_case("061"), fault, settle_seconds=usual_settle_seconds())
    assert report.cases[0].reason == "The CSMS sent GetConfiguration {}, which nobody asked for."


def usual_settle_seconds() -> float:
    return Options("http://localhost", "tenant", "key").settle_seconds


async def test_a_request_that_is_queued_and_not_sent_yet_fails_the_case(csms: Csms) -> None:
    done = []

    def orders_and_holds_back(passing: Passing) -> None:
        if passing.action == "ClearCache" and passing.to_charge_point:
            passing.frame = None
        if passing.action == "DataTransfer" and not done:
            (row,) = csms.get("charge-points/", connected="true", page_size=1)["results"]
            done.append(csms.command(row["identity"], "ClearCache", {}))

    report = await played(csms, certification_case("064"), orders_and_holds_back)
    assert report.cases[0].reason == "The CSMS has queued ClearCache, which nobody asked for."


async def test_a_connection_that_the_csms_closes_fails_the_case(csms: Csms) -> None:
    def disabled(passing: Passing) -> None:
        if passing.action == "StatusNotification" and not passing.to_charge_point:
            (row,) = csms.get("charge-points/", connected="true", page_size=1)["results"]
            csms.request("PATCH", f"charge-points/{row['identity']}/", {"disabled": True})
            passing.frame = None

    report = await played(csms, certification_case("007"), disabled)
    assert report.cases[0].reason.startswith("The CSMS did not answer StatusNotification: it closed the connection (")
    assert any(line.text.startswith("closed: ") for line in report.cases[0].frames)
    assert report.cases[1].outcome == Outcome.PASSED
