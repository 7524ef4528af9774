"""Reading and writing the JSON arrays."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from csms.ocppj.errors import PropertyConstraintViolation
from csms.ocppj.frames import BadFrame, Call, CallError, CallResult, RefusedCall, decode, encode, storable

HUGE = 9223372036854775807


def refused(text: str | bytes) -> RefusedCall:
    with pytest.raises(RefusedCall) as caught:
        decode(text)
    return caught.value


def ignored(text: str | bytes) -> str:
    with pytest.raises(BadFrame) as caught:
        decode(text)
    return caught.value.reason


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


class TestCall:
    """OCPP-J 1.6 section 4.2.1: CALL is [2, id, action, payload]."""

    @pytest.mark.parametrize(
        "text", ['[2,"1","Heartbeat",{}]', b'[2,"1","Heartbeat",{}]', ' [ 2 , "1" , "Heartbeat" , {} ] ']
    )
    def test_reads_text_and_bytes(self, text: str | bytes) -> None:
        assert decode(text) == Call("1", "Heartbeat", {})

    def test_writes_compact_json(self) -> None:
        assert encode(Call("1", "Reset", {"type": "Hard"})) == '[2,"1","Reset",{"type":"Hard"}]'

    def test_null_payload_is_empty(self) -> None:
        assert decode('[2,"1","Heartbeat",null]') == Call("1", "Heartbeat", {})

    def test_type_as_text_is_accepted(self) -> None:
        frame = decode('["2","1","Heartbeat",{}]')
        assert frame == Call("1", "Heartbeat", {}, (("type_as_text", "message type is text"),))

    def test_excess_elements_are_ignored(self) -> None:
        frame = decode('[2,"1","Heartbeat",{},{"a":1},3]')
        assert isinstance(frame, Call)
        assert (frame.payload, [kind for kind, _ in frame.repairs]) == ({}, ["extra_elements"])

    def test_action_is_case_sensitive_and_kept(self) -> None:
        assert decode('[2,"1","heartbeat",{}]') == Call("1", "heartbeat", {})


class TestMessageIds:
    """OCPP-J errata 3.1: at most 36 characters; we take any text up to 255 and integers, and echo the JSON type."""

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ('"x"', "x"),
            ('""', ""),
            ('"' + "x" * 37 + '"', "x" * 37),
            ('"' + "x" * 255 + '"', "x" * 255),
            ('"ü€"', "ü€"),
            ("7", 7),
            ("-7", -7),
            ("0", 0),
            (str(HUGE), HUGE),
            (str(2**64), 2**64),
            (str(10**60 + 1), 10**60 + 1),
            (str(-(2**63) - 1), -(2**63) - 1),
        ],
    )
    def test_id_is_echoed_in_its_json_type(self, written: str, read: str | int) -> None:
        frame = decode(f'[2,{written},"Heartbeat",{{}}]')
        assert frame.message_id == read
        assert type(frame.message_id) is type(read)
        assert encode(CallResult(frame.message_id, {})) == f"[3,{written},{{}}]"

    def test_number_with_zero_fraction_is_an_integer(self) -> None:
        assert decode('[2,7.0,"Heartbeat",{}]') == Call(7, "Heartbeat", {})

    @pytest.mark.parametrize("written", ['"' + "x" * 256 + '"', "1" * 256])
    def test_longer_than_255_is_formation_violation_with_the_id_unchanged(self, written: str) -> None:
        refusal = refused(f'[2,{written},"Heartbeat",{{}}]')
        assert refusal.error.code == "FormationViolation"
        assert encode(CallResult(refusal.message_id, {})) == f"[3,{written},{{}}]"

    @pytest.mark.parametrize("written", ["null", "true", "1.5", "{}", "[1]", '"\\ud800"', '"a\\u0000"'])
    def test_call_without_usable_id_cannot_be_answered(self, written: str) -> None:
        assert ignored(f'[2,{written},"Heartbeat",{{}}]') == "no usable message id"

    def test_call_without_id_cannot_be_answered(self) -> None:
        assert ignored("[2]") == "no usable message id"


class TestBadFrames:
    """OCPP-J 1.6 section 4.1.3 and 4.2: what nobody can answer is ignored."""

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "not JSON"),
            ("hello", "not JSON"),
            ('[2,"1","Heartbeat",{}', "not JSON"),
            ('[2,"1","Heartbeat",{},]', "not JSON"),
            ("[2,'1','Heartbeat',{}]", "not JSON"),
            ('{"2":"1"}', "not a JSON array"),
            ('"text"', "not a JSON array"),
            ("2", "not a JSON array"),
            ("null", "not a JSON array"),
            ("[]", "empty array"),
            ('[1,"1","Heartbeat",{}]', "unknown message type"),
            ('[5,"1",{}]', "unknown message type"),
            ('["5","1",{}]', "unknown message type"),
            ('["CALL","1",{}]', "unknown message type"),
            ('[true,"1","Heartbeat",{}]', "unknown message type"),
            ('[null,"1","Heartbeat",{}]', "unknown message type"),
            ('[2.5,"1","Heartbeat",{}]', "unknown message type"),
            ('[[2,"1","Heartbeat",{}],[2,"2","Heartbeat",{}]]', "unknown message type"),
            ("[3]", "no usable message id"),
            ("[4,null]", "no usable message id"),
            (b"\xff\xfe", "not UTF-8"),
            (b'[2,"\xe4","Heartbeat",{}]', "not UTF-8"),
        ],
    )
    def test_is_ignored(self, text: str | bytes, reason: str) -> None:
        assert ignored(text) == reason


class TestRefusedFrames:
    """OCPP-J 1.6 section 4.2.3: a CALL whose id is known gets a CALLERROR."""

    @pytest.mark.parametrize(
        ("text", "action", "payload"),
        [
            ('[2,"1"]', None, None),
            ('[2,"1","Heartbeat"]', "Heartbeat", None),
            ('[2,"1",5,{}]', None, {}),
            ('[2,"1",null,{}]', None, {}),
            ('[2,"1",{},{"a":1}]', None, {"a": 1}),
            ('[2,"1","Heartbeat",[]]', "Heartbeat", []),
            ('[2,"1","Heartbeat","text"]', "Heartbeat", "text"),
            ('[2,"1","Heartbeat",5]', "Heartbeat", 5),
            ('[2,"1","Heartbeat",false]', "Heartbeat", False),
        ],
    )
    def test_is_formation_violation(self, text: str, action: str | None, payload: Any) -> None:
        refusal = refused(text)
        assert refusal.message_id == "1"
        assert refusal.error.code == "FormationViolation"
        assert (refusal.action, refusal.payload) == (action, payload)

    @pytest.mark.parametrize("depth", [65, 300, 1000, 1100, 100_000])
    def test_too_deep_nesting_is_formation_violation(self, depth: int) -> None:
        refusal = refused(f'[2,"1","MeterValues",{{"a":{nested(depth)}}}]')
        assert (refusal.message_id, refusal.action) == ("1", "MeterValues")
        assert refusal.error.code == "FormationViolation"

    @pytest.mark.parametrize("written", ['"a\\"b"', "7", str(HUGE)])
    def test_too_deep_nesting_echoes_the_id_as_received(self, written: str) -> None:
        refusal = refused(f'[2,{written},"MeterValues",{{"a":{nested(5000)}}}]')
        assert encode(CallResult(refusal.message_id, {})) == f"[3,{written},{{}}]"

    @pytest.mark.parametrize("text", [nested(2000), f"[2,null,{nested(2000)}]", f'[3,"1",{nested(70)}]'])
    def test_too_deep_nesting_without_a_call_is_ignored(self, text: str) -> None:
        assert ignored(text) in ("nested too deeply", "no usable message id")

    def test_many_members_are_not_deep(self) -> None:
        text = '[2,"1","MeterValues",{"meterValue":[' + ",".join(['{"sampledValue":[{}]}'] * 200) + "]}]"
        assert isinstance(decode(text), Call)


class TestIrregularJson:
    """OCPP-J 1.6 section 4.2: JSON in UTF-8; what is still plain is read, and what cannot be stored is taken out."""

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("1e999", "1e999"),
            ("9" * 700, "9" * 700),
            ('"line\nbreak\ttab"', "line\nbreak\ttab"),
            ('"half \\ud800 pair"', "half \ufffd pair"),
        ],
    )
    def test_is_read_and_marked(self, written: str, read: str) -> None:
        frame = decode(f'[2,"1","DataTransfer",{{"data":{written}}}]')
        assert isinstance(frame, Call)
        assert frame.payload == {"data": read}
        assert frame.repairs[0][0] == "irregular_json"

    @pytest.mark.parametrize(
        "text", ['\ufeff[2,"1","Heartbeat",{}]', '[2,"1","Heartbeat",{}]\x00', b'[2,"1","Heartbeat",{}]\n\x00\x00']
    )
    def test_byte_order_mark_and_trailing_nul_are_cut_off(self, text: str | bytes) -> None:
        frame = decode(text)
        assert isinstance(frame, Call)
        assert (frame.action, frame.payload) == ("Heartbeat", {})

    def test_nul_characters_are_removed_everywhere(self) -> None:
        frame = decode('[2,"1","BootNotification",{"iccid":"123\\u0000\\u0000","a\\u0000":["\\u0000"]}]')
        assert isinstance(frame, Call)
        assert frame.payload == {"iccid": "123", "a": [""]}
        assert [kind for kind, _ in frame.repairs] == ["unclean_text"]

    def test_escaped_backslash_before_u0000_is_no_nul(self) -> None:
        frame = decode('[2,"1","DataTransfer",{"data":"\\\\u0000"}]')
        assert frame == Call("1", "DataTransfer", {"data": "\\u0000"})

    def test_half_of_a_surrogate_pair_as_raw_text(self) -> None:
        frame = decode('[2,"1","DataTransfer",{"data":"\ud83d"}]')
        assert isinstance(frame, Call)
        assert frame.payload == {"data": "\ufffd"}

    def test_both_halves_of_a_pair_are_one_character(self) -> None:
        assert storable("\ud83d\ude00") == "\U0001f600"


class TestHugeIntegers:
    """Charge points without a transaction send 9223372036854775807; nothing may be lost or refused."""

    @pytest.mark.parametrize("number", [HUGE, 2**63, 2**64 - 1, 2**64, 10**40 + 7, -(2**63), -(2**63) - 1])
    def test_integer_is_exact(self, number: int) -> None:
        frame = decode(f'[2,"1","MeterValues",{{"transactionId":{number}}}]')
        assert isinstance(frame, Call)
        assert frame.payload == {"transactionId": number}
        assert type(frame.payload["transactionId"]) is int
        assert encode(frame) == f'[2,"1","MeterValues",{{"transactionId":{number}}}]'

    def test_large_float_stays_a_float(self) -> None:
        frame = decode('[2,"1","MeterValues",{"transactionId":1e30}]')
        assert isinstance(frame, Call)
        assert frame.payload == {"transactionId": 1e30}


class TestCallResult:
    """OCPP-J 1.6 section 4.2.2: CALLRESULT is [3, id, payload]; the payload may be null or missing."""

    @pytest.mark.parametrize("text", ['[3,"1",{}]', '[3,"1",null]', '[3,"1"]'])
    def test_empty_payload(self, text: str) -> None:
        assert decode(text) == CallResult("1", {})

    def test_type_as_text(self) -> None:
        frame = decode('["3","1",{"status":"Accepted"}]')
        assert isinstance(frame, CallResult)
        assert frame.payload == {"status": "Accepted"}

    @pytest.mark.parametrize("payload", ["[1,2]", '"Accepted"', "5"])
    def test_payload_of_another_type_is_kept_as_a_remark(self, payload: str) -> None:
        assert decode(f'[3,"1",{payload}]') == CallResult("1", {}, (("payload_not_object", payload),))

    def test_excess_elements_are_ignored(self) -> None:
        frame = decode('[3,"1",{},5]')
        assert [kind for kind, _ in frame.repairs] == ["extra_elements"]

    def test_writes_an_empty_object(self) -> None:
        assert encode(CallResult("1", {})) == '[3,"1",{}]'


class TestCallError:
    """OCPP-J 1.6 section 4.2.3: CALLERROR is [4, id, code, description, details]."""

    @pytest.mark.parametrize(
        ("text", "frame"),
        [
            ('[4,"1","NotSupported","no",{"a":1}]', CallError("1", "NotSupported", "no", {"a": 1})),
            ('[4,"1","NotSupported","no"]', CallError("1", "NotSupported", "no")),
            ('[4,"1","NotSupported"]', CallError("1", "NotSupported")),
            ('[4,"1","NotSupported",null,null]', CallError("1", "NotSupported")),
            ('[4,"1"]', CallError("1", "")),
            ('[4,"1","OccurrenceConstraintViolation","",{}]', CallError("1", "OccurrenceConstraintViolation")),
            ('[4,"1","FormatViolation","",{}]', CallError("1", "FormatViolation")),
            ('[4,"1","Whatever it is","",{}]', CallError("1", "Whatever it is")),
            ('[4,"1",5,7,{}]', CallError("1", "5", "7")),
            ('[4,"1","GenericError","",{},"excess"]', CallError("1", "GenericError")),
            (
                '["4","1","GenericError","",{}]',
                CallError("1", "GenericError", repairs=(("type_as_text", "message type is text"),)),
            ),
        ],
    )
    def test_reads(self, text: str, frame: CallError) -> None:
        assert decode(text) == frame

    @pytest.mark.parametrize("details", ["[1]", '"text"', "5"])
    def test_details_of_another_type_are_kept(self, details: str) -> None:
        frame = decode(f'[4,"1","GenericError","",{details}]')
        assert isinstance(frame, CallError)
        assert frame.details == {"value": json.loads(details)}

    def test_writes_empty_description_and_details(self) -> None:
        error = PropertyConstraintViolation()
        frame = CallError("1", error.code, error.description, error.details)
        assert encode(frame) == '[4,"1","PropertyConstraintViolation","",{}]'

    def test_description_is_cut_to_255(self) -> None:
        assert orjson.loads(encode(CallError("1", "GenericError", "x" * 300)))[3] == "x" * 255


class TestEncode:
    """Whatever was read can be written: no exception for what orjson refuses."""

    @pytest.mark.parametrize("value", [2**70, "\ud800", [[[2**70]]], {"a": 2**70}])
    def test_falls_back_to_the_standard_library(self, value: Any) -> None:
        assert json.loads(encode(Call("1", "DataTransfer", {"data": value}))) == [
            2,
            "1",
            "DataTransfer",
            {"data": value},
        ]

    def test_deep_nesting_is_written(self) -> None:
        text = nested(60)
        assert encode(CallResult("1", {"a": json.loads(text)})) == f'[3,"1",{{"a":{text}}}]'

    def test_no_blanks_in_either_way(self) -> None:
        assert encode(CallResult("1", {"a": 2**70, "b": 1})) == f'[3,"1",{{"a":{2**70},"b":1}}]'
