"""What a fuzzing station sends comes out of its seed alone and covers every message; what must follow is known."""

from __future__ import annotations

import json
import random

import pytest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from csms.fuzz import frames, messages, oracle
from csms.fuzz.moves import Maker
from csms.ocppj.payloads import FROM_CHARGE_POINT, TO_CHARGE_POINT
from csms.ocppj.schemas import request_schema, result_schema

LIMIT = 100_000
MOVES = 400


def test_a_move_is_the_same_whenever_it_is_made_and_another_for_another_seed() -> None:
    maker, again, other = Maker(1, LIMIT), Maker(1, LIMIT), Maker(2, LIMIT)
    moves = [maker.make(3, number) for number in range(MOVES)]

    assert moves == [again.make(3, number) for number in reversed(range(MOVES))][::-1]
    assert [move.wire("x") for move in moves] == [move.wire("x") for move in moves]
    assert [move.parts for move in moves] != [other.make(3, number).parts for number in range(MOVES)]
    assert moves[7].name == "1.3.7"


@pytest.mark.parametrize("action", sorted(FROM_CHARGE_POINT | TO_CHARGE_POINT))
def test_payloads_of_every_action_are_valid(action: str) -> None:
    chance = random.Random(action)
    for _ in range(20):
        assert request_schema(action).is_valid(messages.request(chance, action))
        assert result_schema(action).is_valid(messages.result(chance, action))


def test_only_moves_that_say_so_end_a_connection() -> None:
    maker = Maker(4, LIMIT)
    for number in range(5 * MOVES):
        move = maker.make(0, number)
        if move.cuts:
            continue
        server = ServerProtocol(state=OPEN, max_size=LIMIT)
        server.receive_data(move.wire("x" * 36))
        closed = server.close_sent or server.close_rcvd
        assert (closed is None) == (move.ends is None), move
        assert closed is None or closed.code in (move.ends or ()), move


def test_the_id_of_the_servers_call_is_filled_in() -> None:
    maker = Maker(5, LIMIT)
    filled = [
        message
        for number in range(MOVES)
        for message in maker.make(0, number).read_as("the-id")
        if oracle.OURS.encode() in b"".join(part.payload for part in maker.make(0, number).parts)
    ]

    assert filled
    assert all("the-id" in (text if isinstance(text, str) else text.decode(errors="replace")) for text in filled)


@pytest.mark.parametrize(
    ("message", "due"),
    [
        ('[2,"a","Heartbeat",{}]', ("a", "Heartbeat")),
        (b'[2,7,"Nonsense",{}]', (7, "Nonsense")),
        ('["2","a","Heartbeat",{}]', ("a", "Heartbeat")),
        ('[2,"a"]', ("a", None)),
        ('[3,"a",{}]', None),
        ('[4,"a","GenericError","",{}]', None),
        ("[2", None),
        (b"\xff", None),
    ],
)
def test_an_answer_is_due_to_every_call_that_shows_its_id(message: str | bytes, due: object) -> None:
    assert oracle.due(message) == due


def test_a_call_that_the_decoder_overlooks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(message: str | bytes) -> None:
        raise oracle.BadFrame("blind")

    monkeypatch.setattr(oracle, "decode", blind)

    with pytest.raises(oracle.Overlooked, match="None instead of 'a'"):
        oracle.due('[2,"a","Heartbeat",{}]')


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ([3, "a", {}], None),
        ([4, "a", "GenericError", "", {}], None),
        ([3, "a", []], "no CALLRESULT of OCPP-J"),
        ([3, "a", {}, {}], "no CALLRESULT of OCPP-J"),
        ([4, "a", "FormatViolation", "", {}], "errorCode 'FormatViolation' does not exist"),
        ([4, "a", "GenericError", "x" * 256, {}], "a CALLERROR with an impossible description or details"),
        ([4, "a", "GenericError", ""], "neither a CALLRESULT nor a CALLERROR of OCPP-J"),
        ([5, "a", {}], "neither a CALLRESULT nor a CALLERROR of OCPP-J"),
    ],
)
def test_answers_are_judged_by_their_shape(answer: list[object], fault: str | None) -> None:
    assert oracle.fault(answer) == fault


def test_frames_of_a_server_are_read_whole_and_the_rest_is_kept() -> None:
    text = json.dumps([3, "a", {"x": "y" * 200}]).encode()
    written = frames.frame(frames.TEXT, text, masked=False) + frames.frame(frames.PONG, b"p", masked=False)

    assert frames.read(written) == ([(frames.TEXT, text), (frames.PONG, b"p")], b"")
    for cut in range(len(written)):
        found, rest = frames.read(written[:cut])
        assert frames.read(rest + written[cut:])[0] == [(frames.TEXT, text), (frames.PONG, b"p")][len(found) :]
