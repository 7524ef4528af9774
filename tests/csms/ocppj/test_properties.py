"""Whatever a charge point sends: no exception, every CALL answered once and in order, no answer to an answer."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp.v16 import call_result

from csms.ocppj.errors import InternalError, OcppError
from csms.ocppj.frames import BadFrame, CallResult, RefusedCall, decode, encode
from csms.ocppj.payloads import (
    FROM_CHARGE_POINT,
    TO_CHARGE_POINT,
    order_call,
    parse_call,
    parse_result,
    result_payload,
    validate_call,
)
from csms.ocppj.schemas import request_schema, result_schema
from csms.ocppj.session import (
    CallAnswered,
    CallFailed,
    CallReceived,
    CallRefused,
    CallRepeated,
    FrameIgnored,
    Session,
)
from csms.ocppj.times import format_time, parse_time
from csms.ocppj.tolerance import Deviation, problems
from tests.csms.ocppj import messages

quickly = settings(max_examples=150, deadline=None)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63 - 1, 2**64, -(2**70)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=60)
    | st.sampled_from(["", "1", " 2.0 ", "1e99", "true", "available", "x" * 600, messages.TIME, "2024-05-01 12:00"])
)
JSON = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4),
    max_leaves=12,
)
IDS = st.text(max_size=40) | st.integers() | st.sampled_from(["1", "2", 1, 2])
ANSWERS = {action: parse_result(action, messages.RESULTS[action])[0] for action in messages.RESULTS}


def as_read(value: Any, *, nested: bool = True) -> Any:
    """`value` as a frame brings it: integers beyond 64 bits stay exact in the members of the payload itself only."""
    if isinstance(value, list):
        return [as_read(each) for each in value]
    if isinstance(value, dict):
        return {name: as_read(each) for name, each in value.items()}
    return float(value) if nested and type(value) is int and not -(2**63) <= value < 2**64 else value


@st.composite
def mutated(draw: st.DrawFn, payloads: dict[str, dict[str, Any]]) -> tuple[str, Any]:
    """An action and a valid payload of it in which up to three places were changed."""
    action = draw(st.sampled_from(sorted(payloads)))
    payload: Any = copy.deepcopy(payloads[action])
    for _ in range(draw(st.integers(0, 3))):
        container = payload
        while isinstance(container, dict | list) and container:
            keys: list[Any] = list(container) if isinstance(container, dict) else list(range(len(container)))
            key = draw(st.sampled_from(keys))
            child = container[key]
            if isinstance(child, dict | list) and child and draw(st.booleans()):
                container = child
                continue
            change = draw(st.sampled_from(["replace", "remove", "add", "spell", "wrap"]))
            if change == "remove":
                del container[key]
            elif change == "add" and isinstance(container, dict):
                container[draw(st.text(max_size=10))] = draw(JSON)
            elif change == "spell" and isinstance(child, str | int | float):
                container[key] = child.swapcase() if isinstance(child, str) else str(child)
            elif change == "wrap":
                container[key] = child[0] if isinstance(child, list) and child else [child]
            else:
                container[key] = draw(JSON)
            break
    return action, payload


@st.composite
def frames(draw: st.DrawFn) -> str:
    """Mostly sensible frames in both directions, often with ids that occur again."""
    kind = draw(st.sampled_from([2, 2, 2, 2, "2", 3, 4, 5]))
    if kind in (2, "2"):
        action, payload = draw(mutated(messages.FROM_CHARGE_POINT) | st.tuples(st.text(max_size=10), JSON))
        elements = [kind, draw(IDS | JSON), action, payload]
    elif kind == 3:
        elements = [3, draw(st.just("ours") | IDS), draw(mutated(messages.RESULTS))[1]]
    else:
        elements = [kind, draw(st.just("ours") | IDS), draw(JSON), draw(JSON), draw(JSON)]
    return json.dumps(elements[: draw(st.sampled_from([5, 5, 5, 5, 3, 2, 1]))])


def converse(session: Session, texts: list[str | bytes]) -> None:
    """Feed `texts`, answer everything at once, and check the rules of the conversation after each."""
    for now, text in enumerate(texts):
        (event,) = session.receive(text, float(now))
        if isinstance(event, CallReceived):
            if now % 3:
                session.send_result(event.message_id, ANSWERS[event.action])
            else:
                session.send_error(event.message_id, InternalError())
        sent = [json.loads(frame) for frame in session.frames_to_send()]
        if isinstance(event, CallReceived | CallRefused | CallRepeated):
            (answer,) = sent
            assert answer[0] in (3, 4)
            assert in_event(answer[1]) == event.message_id
        else:
            assert isinstance(event, FrameIgnored | CallAnswered | CallFailed)
            assert sent == []
        assert session.pending_calls == 0
        assert_usable_call_was_answered(text, bool(sent))


def in_event(message_id: Any) -> Any:
    """A message id as events show it: those of a refused CALL may be too long and are cut."""
    return message_id if len(str(message_id)) <= 255 else str(message_id)[:255]


def assert_usable_call_was_answered(text: str | bytes, answered: bool) -> None:
    try:
        elements = json.loads(text)
    except ValueError:
        return
    if isinstance(elements, list) and len(elements) > 1 and elements[0] in (2, "2") and elements[0] is not True:
        message_id = elements[1]
        usable = isinstance(message_id, int | str) and not isinstance(message_id, bool) and "\0" not in str(message_id)
        if usable and str(message_id).isprintable():
            assert answered


def parsed(action: str, payload: Any, *, strict: bool) -> tuple[list[Deviation], OcppError | None]:
    try:
        return parse_call(action, payload, strict=strict)[1], None
    except OcppError as error:
        return [], error


class TestSession:
    """OCPP-J 1.6 section 4: the rules hold for any input."""

    @quickly
    @given(st.lists(st.binary(max_size=60) | st.text(max_size=60), max_size=5))
    def test_arbitrary_bytes_and_texts(self, texts: list[str | bytes]) -> None:
        converse(Session(), texts)

    @quickly
    @given(st.lists(JSON.map(json.dumps) | st.lists(JSON, max_size=5).map(json.dumps), max_size=5))
    def test_arbitrary_json(self, texts: list[str | bytes]) -> None:
        converse(Session(), texts)

    @quickly
    @given(st.lists(frames(), max_size=6), st.booleans())
    def test_spoilt_messages(self, texts: list[str | bytes], strict: bool) -> None:
        session = Session(strict=strict)
        session.send_call("GetConfiguration", {}, 0.0, message_id="ours")
        session.frames_to_send()
        converse(session, texts)

    @quickly
    @given(st.lists(frames(), min_size=1, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
    def test_answers_leave_in_order_whatever_the_order_they_are_given_in(
        self, texts: list[str], random: Any, moment: int
    ) -> None:
        session = Session()
        expected: list[Any] = []
        due: list[CallReceived] = []
        for number, text in enumerate(texts):
            if number == moment:
                expected.append(session.send_call("ClearCache", {}, 0.0))
            (event,) = session.receive(text, 0.0)
            if isinstance(event, CallReceived | CallRefused | CallRepeated):
                expected.append(event.message_id)
            if isinstance(event, CallReceived):
                due.append(event)
        sent = session.frames_to_send()
        # Of two different requests under one id, the older is answered first: the caller cannot tell them apart.
        order = {id(event): random.random() for event in due}
        for event in sorted(due, key=lambda event: order[id(event)]):
            session.send_result(event.message_id, call_result.Heartbeat(current_time=messages.TIME))
            sent += session.frames_to_send()
        assert session.pending_calls == 0
        assert [in_event(json.loads(text)[1]) for text in sent] == expected


class TestFrames:
    """OCPP-J 1.6 section 4.2: reading ends in a frame or one of two refusals, and what was read can be written."""

    @quickly
    @given(st.binary(max_size=80) | st.text(max_size=80) | JSON.map(json.dumps) | frames())
    def test_decode_raises_nothing_else_and_encode_nothing(self, text: str | bytes) -> None:
        try:
            frame = decode(text)
        except BadFrame:
            return
        except RefusedCall as refused:
            encode(CallResult(refused.message_id, {}))
            return
        again = decode(encode(frame))
        assert again.message_id == frame.message_id

    @quickly
    @given(IDS, JSON)
    def test_payloads_survive(self, message_id: str | int, value: Any) -> None:
        frame = CallResult(message_id, {"a": value})
        try:
            again = decode(encode(frame))
        except BadFrame:
            assert "\x00" in str(message_id)
            return
        assert isinstance(again, CallResult)
        if "\\u0000" not in encode(frame):
            assert (again.message_id, again.payload) == (frame.message_id, {"a": as_read(value, nested=False)})


class TestPayloads:
    """OCPP 1.6 section 6 and 7: the schema and the walk agree, and only OcppErrors are raised."""

    @quickly
    @given(mutated(messages.FROM_CHARGE_POINT))
    def test_requests_of_charge_points(self, message: tuple[str, Any]) -> None:
        action, payload = message
        before = copy.deepcopy(payload)
        valid = request_schema(action).is_valid(payload)
        deviations, refused = parsed(action, payload, strict=False)
        assert valid == (not deviations and refused is None)
        _, refused = parsed(action, payload, strict=True)
        assert valid == (refused is None)
        assert refused is None or refused.description != "the payload breaks its schema"
        assert payload == before

    @quickly
    @given(mutated(messages.RESULTS))
    def test_confirmations(self, message: tuple[str, Any]) -> None:
        action, payload = message
        conf, deviations = parse_result(action, payload)
        assert result_schema(action).is_valid(payload) == (not deviations)
        if conf is not None:
            encode(CallResult("1", result_payload(conf)))

    @quickly
    @given(mutated(messages.TO_CHARGE_POINT))
    def test_requests_of_ours(self, message: tuple[str, Any]) -> None:
        action, payload = message
        before = copy.deepcopy(payload)
        found = validate_call(action, payload)
        schema = request_schema(action)
        if "\\u0000" not in json.dumps(payload):
            assert schema.is_valid(payload) == (not found)
        assert bool(found) == bool(problems(schema.shape, payload))
        if isinstance(payload, dict):
            assert order_call(action, order_call(action, payload)) == order_call(action, payload)
            if not found:
                assert order_call(action, payload) == payload
        assert payload == before

    @quickly
    @given(st.sampled_from(sorted(FROM_CHARGE_POINT | TO_CHARGE_POINT)), JSON)
    def test_arbitrary_json(self, action: str, payload: Any) -> None:
        for strict in (False, True):
            parsed(action, payload, strict=strict)
        parse_result(action, payload)
        validate_call(action, payload)


class TestTimes:
    """OCPP 1.6 section 3.15."""

    @quickly
    @given(JSON)
    def test_parse_never_raises(self, value: Any) -> None:
        parse_time(value)

    @quickly
    @given(
        st.from_regex(
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{0,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
        )
    )
    def test_whatever_is_read_can_be_written_and_read_again(self, text: str) -> None:
        moment = parse_time(text)
        if moment is not None:
            again = parse_time(format_time(moment))
            assert again == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
