"""A charge point's answer beside our composite schedule: how it is read, and where the two differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from stations.composite_comparison import Answer, Difference, answer_of, differences, steps_of
from stations.composite_schedule import Period, Schedule

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REQ = {"connectorId": 1, "duration": 3600, "chargingRateUnit": "A"}
SCHEDULE: dict[str, Any] = {
    "chargingRateUnit": "A",
    "duration": 1800,
    "chargingSchedulePeriod": [
        {"startPeriod": 0, "limit": 16.0},
        {"startPeriod": 600, "limit": 6.5, "numberPhases": 1},
    ],
}


def periods(*given: tuple[Any, ...]) -> tuple[Period, ...]:
    return tuple(
        Period(second, None if limit is None else Decimal(str(limit)), *phases) for second, limit, *phases in given
    )


def ours(*given: tuple[Any, ...], unit: Any = "A", seconds: int = 3600) -> Schedule:
    return Schedule(T0, seconds, unit, periods(*given))


def theirs(*given: tuple[Any, ...], unit: Any = "A", seconds: int = 3600, after: float = 0) -> Answer:
    return Answer(T0 + timedelta(seconds=after), seconds, unit, periods(*given))


class TestAnswer:
    def test_schedule_of_the_confirmation_is_read(self) -> None:
        conf = {"status": "Accepted", "scheduleStart": "2026-03-01T13:00:00+01:00", "chargingSchedule": SCHEDULE}
        expected = Answer(T0, 1800, "A", (Period(0, Decimal("16.0")), Period(600, Decimal("6.5"), 1)))
        assert answer_of(conf, REQ, T0 + timedelta(hours=1)) == expected

    def test_what_is_not_said_follows_from_the_request(self) -> None:
        schedule = {name: value for name, value in SCHEDULE.items() if name != "duration"}
        answer = answer_of({"status": "Accepted", "chargingSchedule": schedule}, REQ, T0)
        assert answer is not None
        assert (answer.start, answer.duration_seconds) == (T0, 3600)

    def test_start_inside_the_schedule_counts_where_there_is_no_other(self) -> None:
        conf = {"status": "Accepted", "chargingSchedule": {**SCHEDULE, "startSchedule": "2026-03-01T11:00:00Z"}}
        answer = answer_of(conf, REQ, T0)
        assert answer is not None
        assert answer.start == T0 - timedelta(hours=1)

    def test_periods_are_put_in_order(self) -> None:
        schedule = {**SCHEDULE, "chargingSchedulePeriod": SCHEDULE["chargingSchedulePeriod"][::-1]}
        answer = answer_of({"status": "Accepted", "chargingSchedule": schedule}, REQ, T0)
        assert answer is not None
        assert [period.start_period for period in answer.periods] == [0, 600]

    @pytest.mark.parametrize(
        "conf",
        [
            {},
            {"status": "Rejected"},
            {"status": "Accepted"},
            {"status": "Accepted", "chargingSchedule": []},
            {"status": "Accepted", "chargingSchedule": {**SCHEDULE, "chargingRateUnit": "kW"}},
            {"status": "Accepted", "chargingSchedule": {**SCHEDULE, "duration": "long"}},
            {"status": "Accepted", "chargingSchedule": {**SCHEDULE, "chargingSchedulePeriod": [{"startPeriod": 0}]}},
        ],
    )
    def test_answer_without_a_readable_schedule_is_none(self, conf: dict[str, Any]) -> None:
        assert answer_of(conf, REQ, T0) is None


class TestSteps:
    def test_answer_that_began_before_is_shifted_and_cut(self) -> None:
        answer = theirs((0, 16), (600, 10), (1200, 6), seconds=1800, after=-900)
        assert steps_of(answer, ours((0, 16))) == [(0, Fraction(10)), (300, Fraction(6)), (900, None)]

    def test_answer_that_begins_later_says_nothing_before(self) -> None:
        assert steps_of(theirs((0, 16), after=60), ours((0, 16)))[:2] == [(0, None), (60, Fraction(16))]

    def test_period_beyond_its_duration_is_left_out(self) -> None:
        answer = theirs((0, 16), (600, 6), seconds=600)
        assert steps_of(answer, ours((0, 16))) == [(0, Fraction(16)), (600, None)]

    def test_limits_are_converted_to_our_unit(self) -> None:
        answer = theirs((0, 16, 1), (60, 16))
        assert steps_of(answer, ours((0, 1), unit="W")) == [(0, Fraction(3680)), (60, Fraction(11040))]


class TestDifferences:
    def test_equal_schedules_do_not_differ(self) -> None:
        same = [(0, 16.0), (600, 6.5), (1200, None)]
        assert differences(ours(*same), theirs((0, 16.0), (600, 6.5), seconds=1200)) == []

    def test_limits_more_than_a_tenth_apart_differ(self) -> None:
        found = differences(ours((0, 16), (600, 10), (1200, 6)), theirs((0, 16.1), (600, 10.2), (1200, 5.8)))
        assert found == [
            Difference(600, 1200, Decimal(10), Decimal("10.2"), "higher"),
            Difference(1200, 3600, Decimal(6), Decimal("5.8"), "lower"),
        ]

    def test_stretches_with_the_same_difference_are_one(self) -> None:
        found = differences(ours((0, 16)), theirs((0, 10, 1), (600, 10, 3)))
        assert found == [Difference(0, 3600, Decimal(16), Decimal("10.0"), "lower")]

    def test_limit_that_only_one_has_is_told_apart(self) -> None:
        found = differences(ours((0, None), (600, 16)), theirs((0, 32), (600, 16), (1200, 16)))
        assert found == [Difference(0, 600, None, Decimal("32.0"), "only_theirs")]
        found = differences(ours((0, 16)), theirs((600, 16)))
        assert found == [Difference(0, 600, Decimal(16), None, "only_ours")]

    def test_only_the_time_that_both_speak_of_is_compared(self) -> None:
        found = differences(ours((0, 16)), theirs((0, 10), seconds=1800, after=-600))
        assert found == [Difference(0, 1200, Decimal(16), Decimal("10.0"), "lower")]
        assert differences(ours((0, 16)), theirs((0, 10), after=7200)) == []

    def test_rounding_of_times_is_no_difference(self) -> None:
        assert differences(ours((0, 16), (600, 10)), theirs((0, 16), (604, 10))) == []
        assert differences(ours((0, 16), (600, 10)), theirs((0, 16), (605, 10))) == [
            Difference(600, 605, Decimal(10), Decimal("16.0"), "higher")
        ]

    def test_answer_in_amperes_is_no_more_exact_in_watts(self) -> None:
        # 10000 W are 14.49 A; answered as 14.5 A it is 10005 W, which is no difference, and 14.7 A is one.
        assert differences(ours((0, 10000), unit="W"), theirs((0, 14.5))) == []
        assert differences(ours((0, 10000), unit="W"), theirs((0, 14.7))) == [
            Difference(0, 3600, Decimal(10000), Decimal("10143.0"), "higher")
        ]

    def test_answer_in_watts_is_compared_in_amperes(self) -> None:
        assert differences(ours((0, 16)), theirs((0, 11040), unit="W")) == []
        assert differences(ours((0, 16)), theirs((0, 3680), unit="W")) == [
            Difference(0, 3600, Decimal(16), Decimal("5.3"), "lower")
        ]
