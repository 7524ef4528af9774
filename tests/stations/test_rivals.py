"""Two that dial with one identity by turns: the operator is told, they are slowed down, nobody is shut out for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache

from stations import credentials, handshake, rivals
from stations.handshake import Accepted
from stations.models import ChargePoint, ConnectionAttempt, SecurityEvent
from tenants.models import Tenant
from tests.stations.rows import new_charge_point
from tests.stations.test_handshake_decision import PASSWORD, request

OURS: dict[str, Any] = {"address": "192.0.2.1"}
THEIRS: dict[str, Any] = {"address": "203.0.113.9"}


class Clock:
    """The time that handshakes go by."""

    def __init__(self) -> None:
        self.now_ = datetime.now(UTC)

    def now(self, _: Any = None) -> datetime:
        return self.now_

    def forward(self, seconds: float) -> None:
        self.now_ += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(handshake, "datetime", clock)
    return clock


@pytest.fixture
def charge_point(in_tenant_a: Tenant, clock: Clock) -> ChargePoint:
    cache.clear()
    return new_charge_point(password_hash=credentials.hashed(PASSWORD.encode(), generated=True), connected=False)


def dial(**members: Any) -> tuple[str, int]:
    """The reason of the refusal ("" when let in), and the seconds to wait."""
    decision = handshake.decide(request(**members), "process-1")
    if isinstance(decision, Accepted):
        return "", 0
    return decision.reason, int(dict(decision.headers).get(b"retry-after", b"0"))


def contest(clock: Clock) -> None:
    """Take-overs by turns until it is noticed; THEIRS is connected at the end."""
    for who in (OURS, THEIRS, OURS, THEIRS, OURS):
        assert dial(**who) == ("", 0)
        clock.forward(2)


def test_three_take_overs_a_minute_are_let_pass_and_the_fourth_is_a_contest(
    charge_point: ChargePoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for who in (OURS, THEIRS, OURS, THEIRS):
        assert dial(**who) == ("", 0)
    charge_point.refresh_from_db()
    assert not rivals.is_contested(charge_point, clock.now())
    assert dial(**OURS) == ("", 0)
    charge_point.refresh_from_db()
    assert rivals.is_contested(charge_point, clock.now())
    assert (charge_point.contested_at, charge_point.contests) == (clock.now(), 1)
    event = SecurityEvent.objects.get(type="contested")
    assert (event.address, event.critical, event.tech_info) == (
        "192.0.2.1", True, "4 take-overs within 60 s; the next one waits 10 s.",
    )  # fmt: skip
    assert "Charge point 'CP-1' is contested: 4 take-overs within 60 s, the latest from 192.0.2.1" in caplog.text


def test_rival_is_put_off_and_the_one_connected_is_not(charge_point: ChargePoint, clock: Clock) -> None:
    contest(clock)
    assert dial(**THEIRS) == ("contested", 8)
    attempt = ConnectionAttempt.objects.order_by("-id")[0]
    assert (attempt.reason, attempt.http_status, attempt.address) == ("contested", 503, "203.0.113.9")
    assert attempt.remedy.startswith("Somebody else is connected with this identity")
    assert dial(**OURS) == ("", 0)
    assert dial(**THEIRS) == ("contested", 8)


def test_anybody_may_connect_when_nobody_is(charge_point: ChargePoint, clock: Clock) -> None:
    contest(clock)
    ChargePoint.objects.update(connected=False)
    assert dial(**THEIRS) == ("", 0)


def test_pause_grows_with_each_take_over_and_ends(charge_point: ChargePoint, clock: Clock) -> None:
    contest(clock)
    pauses = []
    for number in range(7):
        rival = (THEIRS, OURS)[number % 2]
        reason, seconds = dial(**rival)
        assert reason == "contested"
        clock.forward(seconds)
        assert dial(**rival) == ("", 0)
        pauses.append(seconds)
    assert pauses == [8, 20, 40, 80, 160, 300, 300]


def test_after_a_calm_time_it_begins_anew(charge_point: ChargePoint, clock: Clock) -> None:
    contest(clock)
    clock.forward(rivals.FIRST_PAUSE.total_seconds() + rivals.CALM.total_seconds())
    for who in (THEIRS, OURS, THEIRS):
        assert dial(**who) == ("", 0)


def test_one_that_reconnects_often_is_no_rival_of_itself(charge_point: ChargePoint) -> None:
    for _ in range(10):
        assert dial(**OURS) == ("", 0)
    charge_point.refresh_from_db()
    assert charge_point.contested_at is None


def test_another_device_behind_the_same_address_is_told_apart_by_its_user_agent(charge_point: ChargePoint) -> None:
    for number in range(5):
        assert dial(user_agent=f"device-{number % 2}") == ("", 0)
    charge_point.refresh_from_db()
    assert charge_point.contested_at is not None


def test_take_overs_that_are_far_apart_are_none(charge_point: ChargePoint, clock: Clock) -> None:
    for number in range(8):
        assert dial(**(OURS, THEIRS)[number % 2]) == ("", 0)
        clock.forward(25)
    charge_point.refresh_from_db()
    assert charge_point.contested_at is None


def test_unauthenticated_one_changes_nothing(charge_point: ChargePoint) -> None:
    assert dial(**OURS) == ("", 0)
    before = ChargePoint.objects.values().get()
    for number in range(8):
        assert dial(password=f"wrong-password-{number}", **THEIRS)[0] == "wrong_password"
    assert ChargePoint.objects.values().get() == before
