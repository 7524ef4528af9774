"""Frames of the CSMS judged without a server; and what may not be shown."""

from __future__ import annotations

import pytest

from csms.certify import wire
from csms.certify.failure import CaseFailed
from csms.certify.transcript import MAX_TEXT, Direction, Secrets, Transcript


def test_a_valid_call_is_read() -> None:
    assert wire.read('[2,"a","Reset",{"type":"Hard"}]') == wire.Call("a", "Reset", {"type": "Hard"})


def test_an_answer_is_read_with_its_error() -> None:
    assert wire.read('[3,"a",{"x":1}]') == wire.Answer("a", {"x": 1})
    assert wire.read('[4,"a","NotSupported","no",{}]') == wire.Answer("a", {}, "NotSupported: no")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"[]", "The CSMS sent a binary frame; OCPP-J knows text frames only."),
        ('[2,"a","Heartbeat",{}]', "The CSMS sent 'Heartbeat', which is no request of a central system."),
        ('[2,"a","Reset",{}]', "The request Reset breaks its schema: /type is missing."),
        ('[3,"",{}]', "The CSMS sent a message id that is not a text of 1 to 36 characters."),
        ('[3,"a",null]', "The CSMS sent a frame that is neither a CALL nor a CALLRESULT nor a CALLERROR."),
        ('[2,"a","Reset",{"type":"Hard"},1]', "The CSMS sent a frame that is neither a CALL nor a CALLRESULT nor a "
         "CALLERROR."),
    ],
)  # fmt: skip
def test_a_frame_that_breaks_the_rules_is_a_failure(text: str | bytes, sentence: str) -> None:
    with pytest.raises(CaseFailed) as failure:
        wire.read(text)
    assert str(failure.value) == sentence


@pytest.mark.parametrize(
    ("expected", "received", "words"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        (6, 6.0, None),
        ({"a": 1}, {"a": True}, "a is true instead of 1"),
        ({"value": "60"}, {"value": 60}, 'value is 60 instead of "60"'),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is absent"),
        ({}, {"a": None}, "a should be absent"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "a[0] is 2 instead of 1"),
        ({"a": [1]}, {"a": []}, "a has 0 elements instead of 1"),
        ({}, [], "the payload is [] instead of {}"),
    ],
)
def test_a_difference_is_said_in_words(expected: object, received: object, words: str | None) -> None:
    assert wire.difference(expected, received) == words


def test_a_transcript_masks_secrets_in_every_form() -> None:
    transcript = Transcript(Secrets(["sesame-0123"]))
    transcript.note(Direction.RECEIVED, f'{{"value":"{b"sesame-0123".hex().upper()}","other":"sesame-0123"}}')
    assert transcript.lines[0].text == '{"value":"***","other":"***"}'


def test_a_transcript_cuts_what_nobody_can_read() -> None:
    transcript = Transcript(Secrets())
    transcript.note(Direction.SENT, "x" * (MAX_TEXT + 1))
    assert transcript.lines[0].text == f"{'x' * MAX_TEXT}… ({MAX_TEXT + 1} characters)"
