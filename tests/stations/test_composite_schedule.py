"""The composite schedule by hand: an example with numbers for each rule (protocol 5.3, steps 1 to 7)."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from stations.composite_schedule import (
    Candidate,
    ConnectorState,
    Decision,
    Period,
    Schedule,
    composite,
    composite_of_charge_point,
)

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = 3600
DAY = 24 * HOUR
MAX, DEFAULT, TX = "ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"


def at(seconds: float) -> str:
    """An OCPP time so many seconds after T0."""
    return (T0 + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def profile(
    purpose: str,
    *periods: tuple[Any, ...],
    profile_id: int = 1,
    level: int = 0,
    kind: str = "Absolute",
    unit: str = "A",
    begin: float | None = 0,
    **members: Any,
) -> dict[str, Any]:
    """A chargingProfile; periods are (startPeriod, limit[, numberPhases]), `begin` is startSchedule after T0."""
    schedule: dict[str, Any] = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [
            dict(zip(("startPeriod", "limit", "numberPhases"), period, strict=False)) for period in periods
        ],
    }
    if kind != "Relative" and begin is not None:
        schedule["startSchedule"] = at(begin)
    schedule |= {name: members.pop(name) for name in ("duration", "minChargingRate") if name in members}
    return {
        "chargingProfileId": profile_id,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
        **members,
    }


def on(connector_id: int, *profiles: dict[str, Any]) -> list[Candidate]:
    return [Candidate(connector_id, one) for one in profiles]


def of(candidates: list[Candidate], seconds: int = HOUR, **options: Any) -> list[tuple[int, float | None]]:
    """The composite from T0 as pairs (startPeriod, limit)."""
    options = {"start": T0, "duration_seconds": seconds, "unit": "A"} | options
    schedule = composite(candidates, **options)
    return [(each.start_period, None if each.limit is None else float(each.limit)) for each in schedule.periods]


class TestCandidates:
    """Step 1."""

    def test_without_profiles_there_is_no_limit(self) -> None:
        schedule = composite([], start=T0, duration_seconds=HOUR, unit="W")
        assert schedule == Schedule(T0, HOUR, "W", (Period(0, None),), (Decision(0, ()),))
        assert not schedule.limited

    def test_tx_profile_counts_only_while_a_transaction_runs(self) -> None:
        candidates = on(1, profile(TX, (0, 10)))
        assert of(candidates) == [(0, None)]
        assert of(candidates, transaction_start=T0) == [(0, 10.0)]

    def test_tx_profile_of_another_transaction_does_not_count(self) -> None:
        candidates = on(1, profile(TX, (0, 10), transactionId=7))
        assert of(candidates, transaction_start=T0, transaction_id=8) == [(0, None)]
        assert of(candidates, transaction_start=T0, transaction_id=7) == [(0, 10.0)]
        assert of(candidates, transaction_start=T0) == [(0, 10.0)]

    def test_tx_profile_without_transaction_id_counts_for_the_one_that_runs(self) -> None:
        assert of(on(1, profile(TX, (0, 10))), transaction_start=T0, transaction_id=8) == [(0, 10.0)]

    def test_profiles_of_other_connectors_are_passed_over(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 10))) + on(2, profile(DEFAULT, (0, 6)))
        assert of(candidates, connector_id=1) == [(0, 10.0)]
        assert of(candidates, connector_id=2) == [(0, 6.0)]
        assert of(candidates, connector_id=3) == [(0, None)]

    def test_charge_point_max_profile_of_a_connector_and_tx_profile_of_connector_0_count_for_nothing(self) -> None:
        candidates = on(1, profile(MAX, (0, 6))) + on(0, profile(TX, (0, 7)))
        assert of(candidates, transaction_start=T0) == [(0, None)]

    def test_of_two_on_one_level_the_later_one_counts(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 10)), profile(DEFAULT, (0, 9)))) == [(0, 9.0)]


class TestSchedules:
    """Step 2: when a profile is active and what it says."""

    def test_valid_from_is_included_and_valid_to_is_not(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 10), validFrom=at(600), validTo=at(1200)))
        assert of(candidates) == [(0, None), (600, 10.0), (1200, None)]

    def test_validity_that_never_comes_gives_nothing(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 10), validFrom=at(1200), validTo=at(600)))
        assert of(candidates) == [(0, None)]

    def test_absolute_schedule_begins_at_its_start_schedule(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 10), (300, 8), begin=600))) == [(0, None), (600, 10.0), (900, 8.0)]

    def test_absolute_schedule_that_began_before_is_under_way(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 10), (1000, 8), (2000, 6), begin=-1500))) == [(0, 8.0), (500, 6.0)]

    def test_absolute_schedule_without_start_counts_as_relative(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 10), (1000, 8), begin=None))
        assert of(candidates) == [(0, 10.0), (1000, 8.0)]
        assert of(candidates, transaction_start=T0 - timedelta(seconds=400)) == [(0, 10.0), (600, 8.0)]

    def test_relative_schedule_counts_from_the_start_of_the_transaction(self) -> None:
        candidates = on(1, profile(TX, (0, 32), (1800, 16), kind="Relative"))
        assert of(candidates, transaction_start=T0 - timedelta(seconds=600)) == [(0, 32.0), (1200, 16.0)]

    def test_relative_schedule_without_transaction_counts_from_the_beginning(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 32), (1800, 16), kind="Relative"))) == [(0, 32.0), (1800, 16.0)]

    def test_start_schedule_of_a_relative_profile_is_passed_over(self) -> None:
        odd = profile(DEFAULT, (0, 32), (1800, 16), kind="Relative")
        odd["chargingSchedule"]["startSchedule"] = at(900)
        assert of(on(1, odd)) == [(0, 32.0), (1800, 16.0)]

    def test_last_period_holds_until_the_duration_ends(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 10), (600, 8), duration=1500))) == [(0, 10.0), (600, 8.0), (1500, None)]

    def test_last_period_without_duration_holds_for_ever(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 10), (60, 8), begin=-3000 * DAY))) == [(0, 8.0)]

    def test_period_beyond_the_duration_is_not_executed(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 10), (1500, 8), (1800, 7), duration=1500))
        assert of(candidates) == [(0, 10.0), (1500, None)]

    def test_before_the_first_period_nothing_limits(self) -> None:
        assert of(on(1, profile(DEFAULT, (600, 10)))) == [(0, None), (600, 10.0)]

    def test_daily_schedule_recurs_at_the_hour_of_its_start(self) -> None:
        night = profile(
            DEFAULT, (0, 32), kind="Recurring", recurrencyKind="Daily", begin=-30 * DAY + 10 * HOUR, duration=8 * HOUR
        )
        assert of(on(1, night), 3 * DAY) == [
            (0, None),
            (10 * HOUR, 32.0),
            (18 * HOUR, None),
            (34 * HOUR, 32.0),
            (42 * HOUR, None),
            (58 * HOUR, 32.0),
            (66 * HOUR, None),
        ]

    def test_recurrence_that_is_under_way_at_the_beginning_counts(self) -> None:
        night = profile(
            DEFAULT, (0, 32), (HOUR, 16), kind="Recurring", recurrencyKind="Daily", begin=-DAY - 1800, duration=2 * HOUR
        )
        assert of(on(1, night), 2 * HOUR) == [(0, 32.0), (1800, 16.0), (5400, None)]

    def test_recurring_schedule_does_nothing_before_its_start(self) -> None:
        later = profile(DEFAULT, (0, 32), kind="Recurring", recurrencyKind="Daily", begin=DAY, duration=HOUR)
        assert of(on(1, later), 3 * DAY) == [
            (0, None),
            (DAY, 32.0),
            (DAY + HOUR, None),
            (2 * DAY, 32.0),
            (2 * DAY + HOUR, None),
        ]

    def test_weekly_schedule_recurs_every_seven_days(self) -> None:
        weekly = profile(
            DEFAULT, (0, 6), kind="Recurring", recurrencyKind="Weekly", begin=-13 * DAY, duration=2 * DAY
        )  # fmt: skip
        assert of(on(1, weekly), 14 * DAY) == [
            (0, None),
            (DAY, 6.0),
            (3 * DAY, None),
            (8 * DAY, 6.0),
            (10 * DAY, None),
        ]

    def test_recurring_schedule_starts_anew_where_its_duration_goes_on(self) -> None:
        """Errata v4.0 3.43: what lies beyond the recurrence is not executed."""
        long = profile(
            DEFAULT, (0, 10), (12 * HOUR, 8), (25 * HOUR, 6), kind="Recurring", recurrencyKind="Daily", duration=3 * DAY
        )
        assert of(on(1, long), 2 * DAY) == [
            (0, 10.0),
            (12 * HOUR, 8.0),
            (24 * HOUR, 10.0),
            (36 * HOUR, 8.0),
        ]

    def test_recurring_schedule_without_duration_lasts_to_its_next_start(self) -> None:
        daily = profile(DEFAULT, (0, 10), (HOUR, 8), kind="Recurring", recurrencyKind="Daily", begin=-HOUR)
        assert of(on(1, daily), DAY) == [(0, 8.0), (23 * HOUR, 10.0)]

    def test_validity_cuts_a_recurrence_without_moving_it(self) -> None:
        daily = profile(
            DEFAULT, (0, 10), (HOUR, 8), kind="Recurring", recurrencyKind="Daily", begin=-DAY,
            validFrom=at(1800), validTo=at(DAY + 1800),
        )  # fmt: skip
        assert of(on(1, daily), 2 * DAY) == [(0, None), (1800, 10.0), (HOUR, 8.0), (DAY, 10.0), (DAY + 1800, None)]

    def test_times_with_an_offset_are_the_instants_they_mean(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 10)))
        candidates[0].profile["chargingSchedule"]["startSchedule"] = "2026-03-01T13:10:00+01:00"
        assert of(candidates) == [(0, None), (600, 10.0)]
        berlin = T0.astimezone(timezone(timedelta(hours=1)))
        assert of(candidates, start=berlin) == [(0, None), (600, 10.0)]


class TestStacking:
    """Steps 3 and 4."""

    def test_highest_level_wins_and_lets_the_lower_one_through_where_it_says_nothing(self) -> None:
        candidates = on(
            1,
            profile(DEFAULT, (0, 16), profile_id=1, level=0),
            profile(DEFAULT, (0, 32), profile_id=2, level=5, begin=600, duration=600),
            profile(DEFAULT, (0, 6), profile_id=3, level=9, validFrom=at(900), validTo=at(1000)),
        )
        assert of(candidates) == [(0, 16.0), (600, 32.0), (900, 6.0), (1000, 32.0), (1200, 16.0)]

    def test_high_level_without_duration_hides_all_below(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 32), level=3, begin=-60), profile(DEFAULT, (0, 6), level=2))
        assert of(candidates) == [(0, 32.0)]

    def test_tx_profile_wins_over_a_default_of_any_level_and_higher_limits(self) -> None:
        candidates = on(1, profile(TX, (0, 32), level=0, duration=600), profile(DEFAULT, (0, 6), level=9))
        assert of(candidates, transaction_start=T0) == [(0, 32.0), (600, 6.0)]

    def test_default_of_the_connector_wins_over_that_of_connector_0(self) -> None:
        candidates = on(0, profile(DEFAULT, (0, 6), level=9)) + on(1, profile(DEFAULT, (0, 16), duration=600))
        assert of(candidates) == [(0, 16.0), (600, 6.0)]
        assert of(candidates, connector_id=2) == [(0, 6.0)]

    def test_decisions_name_the_profile_that_wins_even_where_the_limit_stays(self) -> None:
        candidates = on(
            1,
            profile(DEFAULT, (0, 16), profile_id=11, level=1, duration=600),
            profile(DEFAULT, (0, 16), profile_id=12, level=0, duration=1200),
        )
        schedule = composite(candidates, start=T0, duration_seconds=HOUR, unit="A")
        assert schedule.periods == (Period(0, Decimal("16.0")), Period(1200, None))
        assert schedule.decisions == (Decision(0, (11,)), Decision(600, (12,)), Decision(1200, ()))


class TestChargePointMaximum:
    """Step 5."""

    def test_smaller_limit_holds(self) -> None:
        candidates = on(0, profile(MAX, (0, 10), (600, 20))) + on(1, profile(DEFAULT, (0, 16)))
        assert of(candidates) == [(0, 10.0), (600, 16.0)]

    def test_maximum_alone_limits(self) -> None:
        assert of(on(0, profile(MAX, (0, 10), duration=600))) == [(0, 10.0), (600, None)]

    def test_maximum_in_watts_is_converted_by_its_own_phases(self) -> None:
        # 7360 W on two phases of 230 V are 16 A; on three (not said) 10.66 A.
        tx = on(1, profile(DEFAULT, (0, 20, 1)))
        assert of(on(0, profile(MAX, (0, 7360, 2), unit="W")) + tx) == [(0, 16.0)]
        assert of(on(0, profile(MAX, (0, 7360), unit="W")) + tx) == [(0, 10.6)]

    def test_number_phases_come_from_the_one_that_wins(self) -> None:
        candidates = on(0, profile(MAX, (0, 10, 3))) + on(1, profile(DEFAULT, (0, 16, 1), (600, 6, 1), (1200, 6)))
        schedule = composite(candidates, start=T0, duration_seconds=HOUR, unit="A")
        assert schedule.periods == (
            Period(0, Decimal("10.0"), 3),
            Period(600, Decimal("6.0"), 1),
            Period(1200, Decimal("6.0"), None),
        )

    def test_of_equal_limits_the_one_with_fewer_phases_wins(self) -> None:
        candidates = on(0, profile(MAX, (0, 16, 1))) + on(1, profile(DEFAULT, (0, 16)))
        schedule = composite(candidates, start=T0, duration_seconds=60, unit="A")
        assert schedule.periods == (Period(0, Decimal("16.0"), 1),)

    def test_comparison_is_made_in_the_unit_asked_for(self) -> None:
        # 16 A on one phase are 3680 W, 6 A on three are 4140 W: which one is smaller depends on the unit.
        candidates = on(0, profile(MAX, (0, 6, 3))) + on(1, profile(DEFAULT, (0, 16, 1)))
        assert of(candidates) == [(0, 6.0)]
        assert of(candidates, unit="W") == [(0, 3680.0)]


class TestNumbers:
    def test_amperes_become_watts_by_voltage_and_phases(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16), (60, 16, 3), (120, 16, 2), (180, 16, 1), (240, 0)))
        assert of(candidates, unit="W") == [(0, 11040.0), (120, 7360.0), (180, 3680.0), (240, 0.0)]
        assert of(candidates, unit="W", nominal_voltage_v=Decimal("120.5"))[0] == (0, 5784.0)

    def test_result_is_cut_and_never_rounded_up(self) -> None:
        # 10000 / 690 = 14.4927..., 11039.9 / 690 = 15.99985...
        candidates = on(1, profile(DEFAULT, (0, 10000), (60, 11039.9), (120, 11040), unit="W"))
        assert of(candidates) == [(0, 14.4), (60, 15.9), (120, 16.0)]

    def test_equal_after_rounding_is_one_period(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 10000), (60, 10001), unit="W"))) == [(0, 14.4)]

    @pytest.mark.parametrize(
        ("given", "shown"),
        [(6.000000000000001, 6.0), (5.999999999999999, 6.0), (0.1 + 0.2, 0.3), (16, 16.0), (6.19, 6.1), (-0.05, -0.1)],
    )
    def test_binary_noise_disappears(self, given: float, shown: float) -> None:
        assert of(on(1, profile(DEFAULT, (0, given)))) == [(0, shown)]

    def test_json_is_that_of_ocpp_and_null_where_nothing_limits(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 6.1, 1), (60, 16), duration=120))
        schedule = composite(candidates, start=T0, duration_seconds=300, unit="A")
        assert json.dumps(schedule.as_json()) == (
            '{"chargingRateUnit": "A", "duration": 300, "chargingSchedulePeriod": ['
            '{"startPeriod": 0, "limit": 6.1, "numberPhases": 1}, {"startPeriod": 60, "limit": 16.0}, '
            '{"startPeriod": 120, "limit": null}]}'
        )

    def test_integers_written_with_a_point_stay_integers(self) -> None:
        odd = profile(DEFAULT, (0.0, 6, 1.0), (60.0, 7), duration=120.0)
        schedule = composite(on(1, odd), start=T0, duration_seconds=300, unit="A")
        assert repr(schedule.periods[1:]) == (
            "(Period(start_period=60, limit=Decimal('7.0'), number_phases=None), "
            "Period(start_period=120, limit=None, number_phases=None))"
        )
        assert repr(schedule.periods[0].number_phases) == "1"


class TestPeriods:
    """Step 6."""

    def test_equal_neighbours_are_one_period(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16), (60, 16), (120, 16, 3), (180, 10)))
        assert of(candidates) == [(0, 16.0), (180, 10.0)]

    def test_nothing_after_the_interval_is_reported(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 16), (59, 10), (60, 6))), 60) == [(0, 16.0), (59, 10.0)]

    def test_empty_interval_has_no_periods(self) -> None:
        assert of(on(1, profile(DEFAULT, (0, 16))), 0) == []

    def test_second_in_which_the_limit_changes_has_the_lowest_one(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16), (10, 6), (20, 10), (30, 10), begin=0.4))
        # Falls to 6 at 10.4 and rises to 10 at 20.4; before 0.4 there is no limit.
        assert of(candidates, 60) == [(0, 16.0), (10, 6.0), (21, 10.0)]

    def test_limit_shorter_than_a_second_is_seen(self) -> None:
        candidates = on(
            1, profile(DEFAULT, (0, 16)), profile(DEFAULT, (0, 6), level=1, validFrom=at(5.25), validTo=at(5.75))
        )
        assert of(candidates, 60) == [(0, 16.0), (5, 6.0), (6, 16.0)]

    def test_start_may_have_a_fraction(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16), (10, 6), begin=0))
        assert of(candidates, 60, start=T0 + timedelta(seconds=0.75)) == [(0, 16.0), (9, 6.0)]

    def test_limit_at_tells_the_limit_of_a_second(self) -> None:
        schedule = composite(on(1, profile(DEFAULT, (0, 16), (10, 6))), start=T0, duration_seconds=60, unit="A")
        assert [schedule.limit_at(second) for second in (-1, 0, 9, 10, 59, 60)] == [
            None, Decimal("16.0"), Decimal("16.0"), Decimal("6.0"), Decimal("6.0"), None,
        ]  # fmt: skip


class TestConnectorZero:
    """Step 7."""

    def zero(self, candidates: list[Candidate], *connectors: ConnectorState, **options: Any) -> tuple[Period, ...]:
        options = {"start": T0, "duration_seconds": HOUR, "unit": "A"} | options
        return composite_of_charge_point(candidates, connectors=connectors, **options).periods

    def test_limits_of_the_connectors_are_added(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16), (600, 10))) + on(2, profile(DEFAULT, (0, 6.5)))
        assert self.zero(candidates, ConnectorState(1), ConnectorState(2)) == (
            Period(0, Decimal("22.5")),
            Period(600, Decimal("16.5")),
        )

    def test_maximum_limits_the_sum(self) -> None:
        candidates = on(0, profile(MAX, (0, 20, 3))) + on(1, profile(DEFAULT, (0, 16), (600, 10)))
        candidates += on(2, profile(DEFAULT, (0, 6.5)))
        assert self.zero(candidates, ConnectorState(1), ConnectorState(2)) == (
            Period(0, Decimal("20.0"), 3),
            Period(600, Decimal("16.5")),
        )

    def test_default_of_connector_0_counts_for_each_connector(self) -> None:
        candidates = on(0, profile(DEFAULT, (0, 16)))
        schedule = composite_of_charge_point(
            candidates, connectors=[ConnectorState(1), ConnectorState(2)], start=T0, duration_seconds=60, unit="W"
        )
        assert schedule.periods == (Period(0, Decimal("22080.0")),)
        assert schedule.decisions == (Decision(0, (1,)),)

    def test_connector_without_limit_leaves_only_the_maximum(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16))) + on(0, profile(MAX, (0, 40), duration=600))
        assert self.zero(candidates, ConnectorState(1), ConnectorState(2)) == (
            Period(0, Decimal("40.0")),
            Period(600, None),
        )

    def test_each_connector_has_its_own_transaction(self) -> None:
        relative = profile(TX, (0, 32), (1800, 16), kind="Relative")
        candidates = on(1, relative) + on(2, relative)
        first = ConnectorState(1, T0 - timedelta(seconds=600))
        second = ConnectorState(2, T0 - timedelta(seconds=1200))
        assert self.zero(candidates, first, second) == (
            Period(0, Decimal("64.0")),
            Period(600, Decimal("48.0")),
            Period(1200, Decimal("32.0")),
        )

    def test_sum_is_exact_before_it_is_cut(self) -> None:
        # Three times 1000 / 690 = 1.449... is 4.347...; cut first it would be 4.2.
        candidates = on(0, profile(DEFAULT, (0, 1000), unit="W"))
        connectors = [ConnectorState(number) for number in (1, 2, 3)]
        assert self.zero(candidates, *connectors) == (Period(0, Decimal("4.3")),)

    def test_phases_of_a_sum_are_the_most_of_any(self) -> None:
        candidates = on(1, profile(DEFAULT, (0, 16, 1))) + on(2, profile(DEFAULT, (0, 6, 2)))
        assert self.zero(candidates, ConnectorState(1), ConnectorState(2)) == (Period(0, Decimal("22.0"), 2),)

    def test_without_connectors_only_the_maximum_limits(self) -> None:
        candidates = on(0, profile(MAX, (0, 40)), profile(DEFAULT, (0, 6)))
        assert self.zero(candidates) == (Period(0, Decimal("40.0")),)


class TestErrors:
    @pytest.mark.parametrize(
        "options",
        [
            {"start": T0.replace(tzinfo=None)},
            {"duration_seconds": -1},
            {"unit": "kW"},
            {"nominal_voltage_v": 0},
        ],
    )
    def test_senseless_question_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="."):
            of([], **options)

    def test_time_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a timestamp: yesterday"):
            of(on(1, profile(DEFAULT, (0, 6), validFrom="yesterday")))

    def test_connector_0_is_not_a_part_of_its_own_sum(self) -> None:
        with pytest.raises(ValueError, match="numbered from 1"):
            composite_of_charge_point(
                [], connectors=[ConnectorState(0)], start=T0, duration_seconds=60, unit="A"
            )  # fmt: skip


def test_a_thousand_profiles_over_a_month_take_no_time_worth_mentioning() -> None:
    candidates = on(
        1,
        *(
            profile(
                DEFAULT, (0, 6 + level % 26), (30, 7 + level % 20), level=level, begin=-DAY + 80 * level, duration=60,
                kind="Recurring", recurrencyKind="Daily",
            )
            for level in range(1000)
        ),
    )  # fmt: skip
    before = time.process_time()
    schedule = composite(candidates, start=T0, duration_seconds=31 * DAY, unit="A")
    assert len(schedule.periods) > 31 * 1000
    assert time.process_time() - before < 10
