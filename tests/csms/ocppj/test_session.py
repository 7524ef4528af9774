"""One conversation: answers in order, one CALL of ours at a time, repetitions, timeouts."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import pytest
from ocpp.v16 import call, call_result

from csms.ocppj.errors import InternalError, SecurityError
from csms.ocppj.session import (
    CallAnswered,
    CallFailed,
    CallLost,
    CallOutstanding,
    CallReceived,
    CallRefused,
    CallRepeated,
    CallTimedOut,
    FrameIgnored,
    NotPending,
    OutstandingCall,
    Session,
    SessionClosed,
)
from csms.ocppj.tolerance import Deviation
from tests.csms.ocppj.messages import FROM_CHARGE_POINT, TIME, changed

HEARTBEAT = call_result.Heartbeat(current_time=TIME)
AUTHORIZED = call_result.Authorize(id_tag_info={"status": "Accepted"})
STATUS = FROM_CHARGE_POINT["StatusNotification"]
EMPTY = call_result.StatusNotification()


def asked(message_id: Any, action: str = "StatusNotification", payload: Any = STATUS) -> str:
    return json.dumps([2, message_id, action, payload])


def answer(message_id: Any, payload: Any) -> str:
    return json.dumps([3, message_id, payload], separators=(",", ":"))


@pytest.fixture
def session() -> Session:
    numbers = itertools.count(1)
    return Session(make_id=lambda: f"our-{next(numbers)}")


class TestReceivingCalls:
    """OCPP-J 1.6 section 4.1: a CALL gives one event and gets one answer."""

    def test_call_received(self, session: Session) -> None:
        (event,) = session.receive(asked("1", "Authorize", {"idTag": "A"}), 0.0)
        assert event == CallReceived("1", "Authorize", call.Authorize(id_tag="A"), {"idTag": "A"}, ())
        assert session.pending_calls == 1
        assert session.frames_to_send() == []

    def test_result(self, session: Session) -> None:
        session.receive(asked("1", "Authorize", {"idTag": "A"}), 0.0)
        session.send_result("1", AUTHORIZED)
        assert session.pending_calls == 0
        assert session.frames_to_send() == ['[3,"1",{"idTagInfo":{"status":"Accepted"}}]']
        assert session.frames_to_send() == []

    def test_error(self, session: Session) -> None:
        session.receive(asked("1", "Authorize", {"idTag": "A"}), 0.0)
        session.send_error("1", InternalError("reference 4711", {"reference": 4711}))
        assert session.frames_to_send() == ['[4,"1","InternalError","reference 4711",{"reference":4711}]']

    def test_bytes_are_as_good_as_text(self, session: Session) -> None:
        (event,) = session.receive(asked("1", "Heartbeat", {}).encode(), 0.0)
        assert isinstance(event, CallReceived)

    @pytest.mark.parametrize("message_id", [7, 0, -7, 2**63 - 1, 2**70, "7", "", "x" * 255])
    def test_id_is_echoed_in_its_json_type(self, session: Session, message_id: str | int) -> None:
        (event,) = session.receive(asked(message_id, "Heartbeat", {}), 0.0)
        assert isinstance(event, CallReceived)
        session.send_result(event.message_id, HEARTBEAT)
        assert session.frames_to_send() == [answer(message_id, {"currentTime": TIME})]

    def test_number_and_text_are_different_ids(self, session: Session) -> None:
        session.receive(asked(7), 0.0)
        session.receive(asked("7"), 0.0)
        session.send_result("7", EMPTY)
        session.send_result(7, EMPTY)
        assert session.frames_to_send() == ["[3,7,{}]", '[3,"7",{}]']

    def test_deviations_of_frame_and_payload_are_told(self, session: Session) -> None:
        (event,) = session.receive('["2","1","StatusNotification",' + json.dumps({**STATUS, "x": 1}) + ",5]", 0.0)
        assert isinstance(event, CallReceived)
        assert [deviation.kind for deviation in event.deviations] == ["type_as_text", "extra_elements", "extra_member"]
        assert event.payload == {**STATUS, "x": 1}

    @pytest.mark.parametrize(
        ("payload", "code"),
        [("{}", "ProtocolError"), ("[]", "FormationViolation"), ('{"idTag":{}}', "TypeConstraintViolation")],
    )
    def test_bad_payload_is_refused_at_once(self, session: Session, payload: str, code: str) -> None:
        (event,) = session.receive(f'[2,"1","Authorize",{payload}]', 0.0)
        assert isinstance(event, CallRefused)
        assert (event.message_id, event.action, event.payload) == ("1", "Authorize", json.loads(payload))
        assert event.error.code == code
        assert session.pending_calls == 0
        (text,) = session.frames_to_send()
        assert json.loads(text)[:3] == [4, "1", code]

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ('[2,"1"]', "FormationViolation"),
            ('[2,"1","Heartbeat"]', "FormationViolation"),
            ('[2,"1",5,{}]', "FormationViolation"),
            ('[2,"1","Nonsense",{}]', "NotImplemented"),
            ('[2,"1","Reset",{"type":"Hard"}]', "NotSupported"),
        ],
    )
    def test_bad_frame_is_refused_at_once(self, session: Session, text: str, code: str) -> None:
        (event,) = session.receive(text, 0.0)
        assert isinstance(event, CallRefused)
        (sent,) = session.frames_to_send()
        assert json.loads(sent)[:3] == [4, "1", code]

    def test_null_payload_is_empty(self, session: Session) -> None:
        (event,) = session.receive('[2,"1","Heartbeat",null]', 0.0)
        assert isinstance(event, CallReceived)
        assert event.payload == {}

    def test_long_id_and_action_are_cut_in_the_event_only(self, session: Session) -> None:
        (event,) = session.receive(asked("x" * 300, "A" * 100, {}), 0.0)
        assert isinstance(event, CallRefused)
        assert (event.message_id, event.action) == ("x" * 255, "A" * 64)
        assert json.loads(session.frames_to_send()[0])[:3] == [4, "x" * 300, "FormationViolation"]

    def test_description_is_cut_to_255(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_error("1", InternalError("x" * 300))
        assert json.loads(session.frames_to_send()[0])[3] == "x" * 255

    def test_result_that_is_none_leaves_the_call_due(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        with pytest.raises(TypeError):
            session.send_result("1", None)
        assert session.pending_calls == 1
        session.send_error("1", InternalError())
        assert session.frames_to_send() == ['[4,"1","InternalError","",{}]']

    def test_answering_what_is_not_due_is_a_mistake(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        with pytest.raises(NotPending):
            session.send_result("1", EMPTY)
        with pytest.raises(NotPending):
            session.send_error("2", InternalError())

    def test_batch_of_frames_is_ignored(self, session: Session) -> None:
        (event,) = session.receive(f"[{asked('1')},{asked('2')}]", 0.0)
        assert isinstance(event, FrameIgnored)
        assert session.frames_to_send() == []


class TestStrict:
    """OCPP-J 1.6 section 4.2.3: a strict session refuses what a tolerant one mends."""

    def test_deviation_is_refused(self) -> None:
        session = Session(strict=True)
        (event,) = session.receive(asked("1", payload=changed("StatusNotification", connectorId="1")), 0.0)
        assert isinstance(event, CallRefused)
        assert event.error.code == "TypeConstraintViolation"

    def test_irregular_json_is_refused(self) -> None:
        session = Session(strict=True)
        (event,) = session.receive('[2,"1","DataTransfer",{"vendorId":"a\tb"}]', 0.0)
        assert isinstance(event, CallRefused)
        assert event.error.code == "FormationViolation"

    def test_strictness_can_be_changed_while_it_runs(self) -> None:
        session = Session(strict=True)
        session.strict = False
        (event,) = session.receive('[2,"1","DataTransfer",{"vendorId":"a\tb"}]', 0.0)
        assert isinstance(event, CallReceived)
        assert event.deviations == (Deviation("", "irregular_json", "the text is not strictly JSON"),)


class TestIgnored:
    """OCPP-J 1.6 section 4.1.3: other message types are ignored; results and errors are never answered."""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "hello",
            "[]",
            "{}",
            "5",
            '[1,"1",{}]',
            '[2,null,"Heartbeat",{}]',
            '[3,"unknown",{}]',
            '[4,"unknown","InternalError","",{}]',
            b"\xff",
            b"\x00",
        ],
    )
    def test_nothing_is_answered(self, session: Session, text: str | bytes) -> None:
        (event,) = session.receive(text, 0.0)
        assert isinstance(event, FrameIgnored)
        assert session.frames_to_send() == []

    def test_reason_tells_what_was_wrong(self, session: Session) -> None:
        assert session.receive('[3,"x",{}]', 0.0) == [FrameIgnored("CALLRESULT with an unknown id", '[3,"x",{}]')]
        assert session.receive('[4,"x"]', 0.0) == [FrameIgnored("CALLERROR with an unknown id", '[4,"x"]')]
        assert session.receive("hello", 0.0) == [FrameIgnored("not JSON", "hello")]
        assert session.receive(b"h\xe4llo\x00", 0.0) == [FrameIgnored("not UTF-8", "h\ufffdllo")]

    @pytest.mark.parametrize("text", ["€" * 5000, ("€" * 5000).encode(), b"\xe4" * 5000])
    def test_text_is_cut_to_2000_characters(self, session: Session, text: str | bytes) -> None:
        (event,) = session.receive(text, 0.0)
        assert isinstance(event, FrameIgnored)
        assert len(event.text) == 2000


class TestOrder:
    """OCPP-J 1.6 section 4.1.1; errata 3.5: CALLs are answered in the order received, before CALLs of ours."""

    def test_answers_leave_in_the_order_of_the_calls(self, session: Session) -> None:
        for message_id in ("1", "2", "3"):
            session.receive(asked(message_id), 0.0)
        session.send_result("3", EMPTY)
        session.send_result("1", EMPTY)
        assert session.frames_to_send() == ['[3,"1",{}]']
        session.send_error("2", InternalError())
        assert session.frames_to_send() == ['[4,"2","InternalError","",{}]', '[3,"3",{}]']

    def test_refusal_waits_for_earlier_answers(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.receive('[2,"2","Nonsense",{}]', 0.0)
        assert session.frames_to_send() == []
        assert session.pending_calls == 1
        session.send_result("1", EMPTY)
        assert [json.loads(text)[:2] for text in session.frames_to_send()] == [[3, "1"], [4, "2"]]

    def test_our_call_leaves_behind_the_answers_due_at_that_moment(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_call("ClearCache", {}, 0.0)
        session.receive(asked("2"), 0.0)
        session.send_result("2", EMPTY)
        assert session.frames_to_send() == []
        session.send_result("1", EMPTY)
        assert session.frames_to_send() == ['[3,"1",{}]', '[2,"our-1","ClearCache",{}]', '[3,"2",{}]']

    def test_our_call_leaves_at_once_when_nothing_is_due(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        session.send_call("ClearCache", {}, 0.0)
        assert session.frames_to_send() == ['[3,"1",{}]', '[2,"our-1","ClearCache",{}]']

    def test_calls_of_the_charge_point_are_answered_while_ours_waits(self, session: Session) -> None:
        session.send_call("ClearCache", {}, 0.0)
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        assert session.frames_to_send() == ['[2,"our-1","ClearCache",{}]', '[3,"1",{}]']
        assert session.outstanding is not None


class TestSendingCalls:
    """OCPP-J 1.6 section 4.1.1: at most one unanswered CALL; a CALL that timed out no longer counts."""

    def test_only_one_at_a_time(self, session: Session) -> None:
        session.send_call("ClearCache", {}, 0.0)
        with pytest.raises(CallOutstanding):
            session.send_call("ClearCache", {}, 1.0)
        assert session.frames_to_send() == ['[2,"our-1","ClearCache",{}]']

    def test_result(self, session: Session) -> None:
        message_id = session.send_call("Reset", {"type": "Hard"}, 10.0)
        assert session.outstanding == OutstandingCall("our-1", "Reset", 40.0)
        assert session.next_timeout == 40.0
        events = session.receive(answer(message_id, {"status": "Accepted"}), 11.0)
        conf = call_result.Reset(status="Accepted")
        assert events == [CallAnswered("our-1", "Reset", {"status": "Accepted"}, conf, (), False)]
        assert session.next_timeout is None
        session.send_call("ClearCache", {}, 11.0)

    @pytest.mark.parametrize("text", ['[3,"our-1",null]', '[3,"our-1"]', '["3","our-1",{}]'])
    def test_result_without_payload(self, session: Session, text: str) -> None:
        session.send_call("UpdateFirmware", {"location": "ftp://h/f", "retrieveDate": TIME}, 0.0)
        (event,) = session.receive(text, 1.0)
        assert isinstance(event, CallAnswered)
        assert (event.payload, event.conf) == ({}, call_result.UpdateFirmware())

    def test_result_that_breaks_the_schema_is_used_as_far_as_it_goes(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        (event,) = session.receive('[3,"our-1",{"status":"accepted","x":1}]', 1.0)
        assert isinstance(event, CallAnswered)
        assert event.conf == call_result.Reset(status="Accepted")
        assert [deviation.kind for deviation in event.deviations] == ["enum_case", "extra_member"]
        assert session.frames_to_send() == ['[2,"our-1","Reset",{"type":"Hard"}]']

    @pytest.mark.parametrize("payload", ["{}", "[1]", '"Accepted"'])
    def test_useless_result_is_answered_without_conf(self, session: Session, payload: str) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        (event,) = session.receive(f'[3,"our-1",{payload}]', 1.0)
        assert isinstance(event, CallAnswered)
        assert event.conf is None
        assert event.deviations[-1].kind == "missing_member"

    def test_error(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        events = session.receive('[4,"our-1","NotSupported","no",{"a":1}]', 1.0)
        assert events == [CallFailed("our-1", "Reset", "NotSupported", "no", {"a": 1}, False)]
        assert session.outstanding is None

    @pytest.mark.parametrize(
        ("rest", "code"),
        [
            ("", ""),
            (',"OccurrenceConstraintViolation",null,null', "OccurrenceConstraintViolation"),
            (',"Anything at all"', "Anything at all"),
        ],
    )
    def test_error_of_any_form(self, session: Session, rest: str, code: str) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        events = session.receive(f'[4,"our-1"{rest}]', 1.0)
        assert events == [CallFailed("our-1", "Reset", code, "", {}, False)]

    def test_result_comes_once(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        session.receive('[3,"our-1",{"status":"Accepted"}]', 1.0)
        (event,) = session.receive('[3,"our-1",{"status":"Accepted"}]', 1.0)
        assert isinstance(event, FrameIgnored)

    def test_id_of_another_json_type_still_matches(self) -> None:
        session = Session(make_id=lambda: "17")
        session.send_call("ClearCache", {}, 0.0)
        (event,) = session.receive('[3,17,{"status":"Accepted"}]', 1.0)
        assert isinstance(event, CallAnswered)
        assert event.message_id == "17"

    def test_answer_to_a_call_that_has_not_left_is_ignored(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_call("ClearCache", {}, 0.0)
        (event,) = session.receive('[3,"our-1",{"status":"Accepted"}]', 0.0)
        assert isinstance(event, FrameIgnored)
        assert session.outstanding is not None

    def test_own_message_id_and_order_of_members(self, session: Session) -> None:
        session.send_call("ChangeConfiguration", {"value": "1", "key": "A"}, 0.0, message_id="mine")
        assert session.frames_to_send() == ['[2,"mine","ChangeConfiguration",{"key":"A","value":"1"}]']

    def test_id_is_a_uuid_of_36_characters(self) -> None:
        first, second = (Session().send_call("ClearCache", {}, 0.0) for _ in range(2))
        assert (len(first), first[14]) == (36, "4")
        assert first != second


class TestTimeouts:
    """OCPP-J 1.6 section 4.1.1: a request that timed out no longer counts; a late answer is recorded, nothing else."""

    def test_timeout(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 100.0)
        assert session.tick(129.9) == []
        assert session.tick(130.0) == [CallTimedOut("our-1", "Reset")]
        assert session.tick(131.0) == []
        assert session.outstanding is None
        session.send_call("ClearCache", {}, 131.0)

    def test_timeout_is_a_setting(self) -> None:
        session = Session(call_timeout_seconds=5.0)
        session.send_call("ClearCache", {}, 0.0)
        assert session.next_timeout == 5.0

    def test_late_result(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        session.tick(30.0)
        session.send_call("ClearCache", {}, 30.0)
        (late,) = session.receive('[3,"our-1",{"status":"Accepted"}]', 31.0)
        assert isinstance(late, CallAnswered)
        assert (late.action, late.late) == ("Reset", True)
        assert session.outstanding == OutstandingCall("our-2", "ClearCache", 60.0)
        (again,) = session.receive('[3,"our-1",{"status":"Accepted"}]', 31.0)
        assert isinstance(again, FrameIgnored)

    def test_late_error(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        session.tick(30.0)
        assert session.receive('[4,"our-1","InternalError","",{}]', 31.0) == [
            CallFailed("our-1", "Reset", "InternalError", "", {}, True)
        ]

    def test_eight_timed_out_ids_are_remembered(self, session: Session) -> None:
        for number in range(9):
            session.send_call("ClearCache", {}, number * 30.0)
            session.tick(number * 30.0 + 30.0)
        (first,) = session.receive('[3,"our-1",{"status":"Accepted"}]', 300.0)
        (second,) = session.receive('[3,"our-2",{"status":"Accepted"}]', 300.0)
        assert isinstance(first, FrameIgnored)
        assert isinstance(second, CallAnswered)

    def test_call_that_timed_out_before_it_left_never_leaves(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_call("ClearCache", {}, 0.0)
        session.receive(asked("2"), 1.0)
        assert session.tick(30.0) == [CallTimedOut("our-1", "ClearCache")]
        session.send_result("1", EMPTY)
        session.send_result("2", EMPTY)
        assert session.frames_to_send() == ['[3,"1",{}]', '[3,"2",{}]']


class TestRepetition:
    """OCPP-J 1.6 section 4.2.3, errata 3.1: a repeated request may keep its id; it is processed once."""

    def test_repeat_while_pending_is_answered_with_the_first(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        assert session.receive(asked("1"), 1.0) == [CallRepeated("1", "StatusNotification", STATUS)]
        assert session.pending_calls == 2
        session.send_result("1", EMPTY)
        assert session.frames_to_send() == ['[3,"1",{}]', '[3,"1",{}]']
        assert session.pending_calls == 0

    def test_repeat_while_pending_shares_an_error_too(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.receive(asked("1"), 1.0)
        session.send_error("1", SecurityError())
        assert session.frames_to_send() == ['[4,"1","SecurityError","",{}]'] * 2

    def test_repeat_keeps_its_place_in_the_order(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.receive(asked("2", "Heartbeat", {}), 0.0)
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        assert session.frames_to_send() == ['[3,"1",{}]']
        session.send_result("2", HEARTBEAT)
        assert [json.loads(text)[1] for text in session.frames_to_send()] == ["2", "1"]

    def test_repeat_of_an_answer_that_has_not_left(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.receive(asked("2"), 0.0)
        session.send_error("2", InternalError())
        assert isinstance(session.receive(asked("2"), 0.0)[0], CallRepeated)
        session.send_result("1", EMPTY)
        assert [json.loads(text)[:2] for text in session.frames_to_send()] == [[3, "1"], [4, "2"], [4, "2"]]

    def test_repeat_later_is_answered_from_memory(self, session: Session) -> None:
        session.receive(asked("1", "Authorize", {"idTag": "A"}), 0.0)
        session.send_result("1", AUTHORIZED)
        first = session.frames_to_send()
        assert session.receive(asked("1", "Authorize", {"idTag": "A"}), 299.0) == [
            CallRepeated("1", "Authorize", {"idTag": "A"})
        ]
        assert session.frames_to_send() == first

    def test_order_of_members_does_not_matter(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        (event,) = session.receive(asked("1", payload=dict(reversed(STATUS.items()))), 1.0)
        assert isinstance(event, CallRepeated)

    @pytest.mark.parametrize(
        "text",
        [
            asked("1", payload={**STATUS, "status": "Charging"}),
            asked("1", "Heartbeat", {}),
            asked("2"),
            asked(1),
        ],
    )
    def test_another_payload_action_or_id_is_a_new_request(self, session: Session, text: str) -> None:
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        assert isinstance(session.receive(text, 1.0)[0], CallReceived)

    def test_same_id_with_another_payload_while_pending_is_a_new_request(self, session: Session) -> None:
        session.receive(asked("1", "Authorize", {"idTag": "A"}), 0.0)
        (event,) = session.receive(asked("1", "Heartbeat", {}), 0.0)
        assert isinstance(event, CallReceived)
        session.send_result("1", AUTHORIZED)
        session.send_result("1", HEARTBEAT)
        assert [list(json.loads(text)[2]) for text in session.frames_to_send()] == [["idTagInfo"], ["currentTime"]]

    def test_the_younger_answer_of_an_id_is_remembered(self, session: Session) -> None:
        for status in ("Available", "Charging"):
            session.receive(asked("1", payload={**STATUS, "status": status}), 0.0)
            session.send_result("1", EMPTY)
        assert isinstance(session.receive(asked("1", payload={**STATUS, "status": "Charging"}), 1.0)[0], CallRepeated)
        assert isinstance(session.receive(asked("1", payload={**STATUS, "status": "Available"}), 1.0)[0], CallReceived)

    def test_memory_ends_after_300_seconds(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        assert isinstance(session.receive(asked("1"), 300.0)[0], CallReceived)

    @pytest.mark.parametrize(
        ("action", "conf"),
        [
            ("Heartbeat", HEARTBEAT),
            ("BootNotification", call_result.BootNotification(current_time=TIME, interval=300, status="Accepted")),
        ],
    )
    def test_answers_that_carry_the_clock_are_remembered_for_10_seconds(
        self, session: Session, action: str, conf: Any
    ) -> None:
        text = asked("1", action, FROM_CHARGE_POINT[action])
        session.receive(text, 0.0)
        session.send_result("1", conf)
        assert isinstance(session.receive(text, 9.9)[0], CallRepeated)
        assert isinstance(session.receive(text, 10.0)[0], CallReceived)

    def test_sixteen_answers_are_remembered(self, session: Session) -> None:
        for number in range(17):
            session.receive(asked(number), 0.0)
            session.send_result(number, EMPTY)
        assert isinstance(session.receive(asked(1), 1.0)[0], CallRepeated)
        assert isinstance(session.receive(asked(0), 1.0)[0], CallReceived)

    def test_errors_are_not_remembered(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_error("1", InternalError())
        assert isinstance(session.receive(asked("1"), 1.0)[0], CallReceived)

    def test_refusals_are_not_remembered(self, session: Session) -> None:
        for _ in range(2):
            (event,) = session.receive('[2,"1","Authorize",{}]', 0.0)
            assert isinstance(event, CallRefused)
        assert len(session.frames_to_send()) == 2

    def test_huge_integers_do_not_hinder_comparison(self, session: Session) -> None:
        text = asked("1", "MeterValues", {**FROM_CHARGE_POINT["MeterValues"], "transactionId": 2**80})
        session.receive(text, 0.0)
        session.send_result("1", call_result.MeterValues())
        assert isinstance(session.receive(text, 1.0)[0], CallRepeated)


class TestClose:
    """OCPP-J 1.6 section 3: what was in flight when the socket died is lost, and whatever comes after has no effect."""

    def test_outstanding_call_is_lost(self, session: Session) -> None:
        session.send_call("Reset", {"type": "Hard"}, 0.0)
        assert session.close() == [CallLost("our-1", "Reset")]
        assert session.close() == []

    def test_nothing_outstanding_nothing_lost(self, session: Session) -> None:
        assert session.close() == []

    def test_closed_session_is_inert(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.close()
        session.send_result("1", EMPTY)
        session.send_error("1", InternalError())
        assert session.receive(asked("2"), 1.0) == []
        assert session.tick(100.0) == []
        assert session.frames_to_send() == []
        assert session.pending_calls == 0
        with pytest.raises(SessionClosed):
            session.send_call("ClearCache", {}, 0.0)


class TestMemory:
    """Ten thousand sessions live in one process."""

    def test_idle_session_holds_no_containers(self, session: Session) -> None:
        session.receive(asked("1"), 0.0)
        session.send_result("1", EMPTY)
        session.frames_to_send()
        session.tick(300.0)
        assert sys.getsizeof(session) < 160
        assert not hasattr(session, "__dict__")
        containers = [name for name in Session.__slots__ if isinstance(getattr(session, name), list | dict)]
        assert containers == []
