"""Generated frames against a live server, a few seconds of them; `manage.py fuzz` is the same with more patience."""

from __future__ import annotations

import json
import secrets
import struct
from typing import Any

import psutil
import pytest

from csms.fuzz import frames
from csms.fuzz.moves import Maker, Move, Part
from csms.fuzz.neighbour import ID_TAG
from csms.fuzz.run import Plan, Run, Target
from csms.fuzz.station import Account, Broken, Station
from tests.conftest import Csms

LIMIT = 1024 * 1024
FOLDER = "/ocpp/live/"


def account(csms: Csms, identity: str, **members: Any) -> Account:
    password = secrets.token_hex(8)
    csms.charge_point(identity, password=password, **members)
    return Account(csms.server.port, FOLDER, identity, password)


async def test_every_promise_holds_for_generated_frames(csms: Csms) -> None:
    kinds: list[dict[str, Any]] = [{}, {"strict": True}, {"registration_status": "Pending"}, {}]
    stations = [account(csms, f"FUZZ-{n}", call_timeout_seconds=1, **members) for n, members in enumerate(kinds)]
    neighbour = account(csms, "FUZZ-NEIGHBOUR")
    csms.id_tag(ID_TAG)
    logged = len(csms.server.log())
    server = psutil.Process(csms.server.pid)
    run = Run(Plan(2000, 4, seed=7, stations=len(stations), growth_bytes=64 * 1024 * 1024), LIMIT)

    await run.play(
        Target(csms.server.port, [*stations, neighbour], csms.tenant.api_key, lambda: server.memory_info().rss)
    )
    run.look_into(csms.server.log()[logged:])

    result = run.result
    assert result.broken == []
    assert result.frames > 100
    assert {"CALLRESULT", "SecurityError", "FormationViolation"} <= set(result.answers)
    assert result.answers["CALLRESULT"] > len(stations)
    assert result.neighbour_answers > 0
    told = csms.get("transactions/", charge_point="FUZZ-NEIGHBOUR")["results"]
    assert len(told) == result.neighbour_transactions
    assert all(tx["energy_wh"] == tx["meter_stop_wh"] - tx["meter_start_wh"] for tx in told)


class OneMove(Maker):
    """Makes the same move again and again."""

    def __init__(self, *parts: Part, ends: tuple[int, ...] | None = None) -> None:
        super().__init__(0, LIMIT)
        self._move = Move("0.0.0", "given", parts, ends)

    def make(self, station: int, number: int) -> Move:
        return self._move


def station(csms: Csms, identity: str, maker: Maker) -> Station:
    return Station(maker, 0, account(csms, identity))


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frames.frame(frames.TEXT, b"\xff\xfe"), 1007),
        (frames.frame(frames.TEXT, b"\xc3", final=False) + frames.frame(frames.CONTINUATION, b"\x28"), 1007),
        (struct.pack("!BBQ", 0x81, 0x80 | 127, 2**40) + bytes(4), 1009),
        (frames.frame(frames.PING, bytes(126)), 1002),
    ],
    ids=["not UTF-8", "not UTF-8 in fragments", "too large", "ping too long"],
)
async def test_what_is_against_the_protocol_ends_the_connection_without_a_failure_of_ours(
    csms: Csms, wire: bytes, code: int
) -> None:
    logged = len(csms.server.log())
    maker = OneMove(Part(wire, None), ends=(code,))

    await station(csms, f"FUZZ-END-{code}-{len(wire)}", maker).play(0, 0, lambda: True)

    assert "Traceback" not in csms.server.log()[logged:]


async def test_a_missing_answer_is_a_broken_promise(csms: Csms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csms.fuzz.oracle.due", lambda message: ("never", "Heartbeat"))
    maker = OneMove(Part(json.dumps([2, "other", "BootNotification", {}]).encode()))

    with pytest.raises(Broken, match="Instead of the answer to 'never' of move 0.0.0 came"):
        await station(csms, "FUZZ-MISSING", maker).play(0, 0, lambda: True)
