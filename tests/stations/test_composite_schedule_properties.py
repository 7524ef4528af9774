"""The composite schedule against an oracle that asks, quarter second by quarter second, what limits now (protocol 5.3).

The oracle knows neither break points nor step functions: it answers the question for one instant and is asked for every
instant. All times of the examples are multiples of a quarter second. To have recurrences of a day and a week in
intervals of a minute, times cluster around multiples of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stations.composite_schedule import Candidate, ConnectorState, Schedule, composite, composite_of_charge_point

EXAMPLES = settings(max_examples=150, deadline=None)
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = 86_400
QUARTERS = [timedelta(milliseconds=each) for each in (0, 250, 500, 750)]
VOLTAGE = 230
Limit = tuple[Fraction, int]


# --- the oracle -------------------------------------------------------------------------------------------------------
def limit_of(profile: dict[str, Any], now: datetime, relative_to: datetime, unit: str) -> Limit | None:
    """Step 2."""
    if "validFrom" in profile and now < datetime.fromisoformat(profile["validFrom"]):
        return None
    if "validTo" in profile and now >= datetime.fromisoformat(profile["validTo"]):
        return None
    schedule = profile["chargingSchedule"]
    start = relative_to
    if profile["chargingProfileKind"] != "Relative" and "startSchedule" in schedule:
        start = datetime.fromisoformat(schedule["startSchedule"])
    offset = (now - start).total_seconds()
    if offset < 0:
        return None
    if profile["chargingProfileKind"] == "Recurring":
        offset %= {"Daily": DAY, "Weekly": 7 * DAY}[profile["recurrencyKind"]]
    if offset >= schedule.get("duration", math.inf):
        return None
    found = None
    for period in schedule["chargingSchedulePeriod"]:
        if period["startPeriod"] <= offset:
            found = period
    if found is None:
        return None
    phases = found.get("numberPhases", 3)
    limit = Fraction(str(found["limit"]))
    if schedule["chargingRateUnit"] == "A" and unit == "W":
        limit *= VOLTAGE * phases
    if schedule["chargingRateUnit"] == "W" and unit == "A":
        limit /= VOLTAGE * phases
    return limit, phases


def strongest(profiles: list[dict[str, Any]], now: datetime, relative_to: datetime, unit: str) -> Limit | None:
    """Step 3; the examples have no two profiles of one purpose and level on one connector."""
    for profile in sorted(profiles, key=lambda one: -one["stackLevel"]):
        limit = limit_of(profile, now, relative_to, unit)
        if limit is not None:
            return limit
    return None


def with_purpose(candidates: list[Candidate], purpose: str, connector_id: int) -> list[dict[str, Any]]:
    return [
        dict(one.profile)
        for one in candidates
        if one.profile["chargingProfilePurpose"] == purpose and one.connector_id == connector_id
    ]


def transaction_limit(
    candidates: list[Candidate], connector: ConnectorState, now: datetime, start: datetime, unit: str
) -> Limit | None:
    """Step 4."""
    relative_to = connector.transaction_start or start
    if connector.transaction_start is not None:
        own = strongest(with_purpose(candidates, "TxProfile", connector.connector_id), now, relative_to, unit)
        if own is not None:
            return own
    for connector_id in (connector.connector_id, 0):
        default = strongest(with_purpose(candidates, "TxDefaultProfile", connector_id), now, relative_to, unit)
        if default is not None:
            return default
    return None


def smaller(limits: Iterable[Limit | None]) -> Limit | None:
    return min((limit for limit in limits if limit is not None), default=None)


def shown(limit: Limit | None) -> tuple[Decimal, int] | None:
    """A limit as it is reported: one decimal, cut."""
    return None if limit is None else (Decimal(math.floor(limit[0] * 10)) / 10, limit[1])


def oracle(
    candidates: list[Candidate], connector: ConnectorState, start: datetime, second: int, unit: str
) -> tuple[Decimal, int] | None:
    """Step 5 in one second: the smallest limit of its four quarters."""
    found = []
    for quarter in QUARTERS:
        now = start + timedelta(seconds=second) + quarter
        maximum = with_purpose(candidates, "ChargePointMaxProfile", 0)
        found.append(transaction_limit(candidates, connector, now, start, unit))
        found.append(strongest(maximum, now, connector.transaction_start or start, unit))
    return shown(smaller(found))


def oracle_of_charge_point(
    candidates: list[Candidate], connectors: list[ConnectorState], start: datetime, second: int, unit: str
) -> tuple[Decimal, int] | None:
    """Step 7 in one second."""
    found = []
    for quarter in QUARTERS:
        now = start + timedelta(seconds=second) + quarter
        found.append(strongest(with_purpose(candidates, "ChargePointMaxProfile", 0), now, start, unit))
        each = [transaction_limit(candidates, connector, now, start, unit) for connector in connectors]
        known = [limit for limit in each if limit is not None]
        if len(known) == len(each) > 0:
            found.append((sum((limit for limit, _ in known), Fraction(0)), max(phases for _, phases in known)))
    return shown(smaller(found))


# --- examples ---------------------------------------------------------------------------------------------------------
def quarter_seconds(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low * 4, high * 4).map(lambda quarters: quarters / 4)


# Moments near the interval, or a whole number of days away from it.
MOMENTS = st.builds(
    lambda near, days: T0 + timedelta(seconds=near, days=days),
    quarter_seconds(-30, 90),
    st.sampled_from([0, 0, 0, 1, -1, -2, -7, -14, -400]),
)
STARTS = st.sampled_from([T0, T0 + timedelta(milliseconds=250), T0 + timedelta(milliseconds=750)])
LIMITS = st.integers(0, 400).map(lambda tenths: tenths / 10) | st.sampled_from([4140, 7360, 10000, 11040, 22080.5])


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    starts = draw(
        st.lists(
            st.integers(0, 60) | st.integers(DAY - 30, DAY + 30) | st.integers(7 * DAY - 9, 7 * DAY + 9),
            unique=True, max_size=5,
        )
    )  # fmt: skip
    if draw(st.booleans()) or not starts:
        starts.append(0)
    periods = []
    for start in sorted(set(starts)):
        period = {"startPeriod": start, "limit": draw(LIMITS)}
        if draw(st.booleans()):
            period["numberPhases"] = draw(st.integers(1, 3))
        periods.append(period)
    schedule: dict[str, Any] = {
        "chargingRateUnit": draw(st.sampled_from("AW")),
        "chargingSchedulePeriod": periods,
    }
    if draw(st.booleans()):
        schedule["duration"] = draw(st.integers(0, 70) | st.integers(DAY - 30, DAY + 70))
    return schedule


@st.composite
def profiles(draw: st.DrawFn, purpose: str, level: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Absolute", "Recurring", "Relative"]))
    profile: dict[str, Any] = {
        "chargingProfileId": draw(st.integers(1, 99)),
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": draw(schedules()),
    }
    if kind == "Recurring":
        profile["recurrencyKind"] = draw(st.sampled_from(["Daily", "Weekly"]))
    if kind == "Recurring" or (kind == "Absolute" and draw(st.booleans())):
        profile["chargingSchedule"]["startSchedule"] = draw(MOMENTS).isoformat()
    for name in ("validFrom", "validTo"):
        if draw(st.integers(0, 3)) == 0:
            profile[name] = draw(MOMENTS).isoformat()
    return profile


@st.composite
def installed(draw: st.DrawFn) -> list[Candidate]:
    """Up to six profiles on connectors 0 to 2, no two with the same purpose, connector and level."""
    places = st.tuples(
        st.integers(0, 2),
        st.sampled_from(["ChargePointMaxProfile", "TxDefaultProfile", "TxDefaultProfile", "TxProfile"]),
        st.integers(0, 3),
    )
    return [
        Candidate(connector_id, draw(profiles(purpose, level)))
        for connector_id, purpose, level in draw(st.lists(places, unique=True, max_size=6))
    ]


@st.composite
def states(draw: st.DrawFn, connector_id: int) -> ConnectorState:
    return ConnectorState(connector_id, draw(st.none() | MOMENTS))


CONNECTORS = st.sampled_from([(), (1,), (1, 2), (1, 2, 3)]).flatmap(
    lambda numbers: st.tuples(*(states(number) for number in numbers))
)
UNITS = st.sampled_from("AW")


def of_connector(
    candidates: list[Candidate], state: ConnectorState, start: datetime, seconds: int, unit: Any
) -> Schedule:
    return composite(
        candidates, connector_id=state.connector_id, transaction_start=state.transaction_start,
        start=start, duration_seconds=seconds, unit=unit,
    )  # fmt: skip


def each_second(schedule: Schedule) -> list[tuple[Decimal, int] | None]:
    """The reported limit of every second, by the periods alone."""
    values: list[tuple[Decimal, int] | None] = []
    for period in reversed(schedule.periods):
        value = None if period.limit is None else (period.limit, period.number_phases or 3)
        values = [value] * (schedule.duration_seconds - period.start_period - len(values)) + values
    return values


# --- properties -------------------------------------------------------------------------------------------------------
@given(installed(), states(1), STARTS, st.integers(1, 60), UNITS)
@EXAMPLES
def test_connector_has_in_every_second_the_limit_of_the_oracle(
    candidates: list[Candidate], state: ConnectorState, start: datetime, seconds: int, unit: str
) -> None:
    schedule = of_connector(candidates, state, start, seconds, unit)
    assert each_second(schedule) == [oracle(candidates, state, start, second, unit) for second in range(seconds)]


@given(installed(), CONNECTORS, STARTS, st.integers(1, 60), UNITS)
@EXAMPLES
def test_charge_point_has_in_every_second_the_limit_of_the_oracle(
    candidates: list[Candidate], connectors: tuple[ConnectorState, ...], start: datetime, seconds: int, unit: Any
) -> None:
    schedule = composite_of_charge_point(
        candidates, connectors=connectors, start=start, duration_seconds=seconds, unit=unit
    )
    expected = [oracle_of_charge_point(candidates, list(connectors), start, each, unit) for each in range(seconds)]
    assert each_second(schedule) == expected


@given(installed(), states(1), STARTS, UNITS, st.lists(st.integers(0, 15 * DAY - 1), min_size=1, max_size=20))
@EXAMPLES
def test_any_second_of_a_fortnight_has_the_limit_of_the_oracle(
    candidates: list[Candidate], state: ConnectorState, start: datetime, unit: str, seconds: list[int]
) -> None:
    schedule = of_connector(candidates, state, start, 15 * DAY, unit)
    beside = {period.start_period + step for period in schedule.periods[:50] for step in (-1, 0, 1)}
    for second in (each for each in {*seconds, *beside} if 0 <= each < 15 * DAY):
        expected = oracle(candidates, state, start, second, unit)
        assert schedule.limit_at(second) == (None if expected is None else expected[0])


@given(installed(), states(1), STARTS, st.integers(1, 15 * DAY), UNITS)
@EXAMPLES
def test_periods_begin_at_0_ascend_inside_the_interval_and_differ_from_their_neighbours(
    candidates: list[Candidate], state: ConnectorState, start: datetime, seconds: int, unit: str
) -> None:
    schedule = of_connector(candidates, state, start, seconds, unit)
    starts = [period.start_period for period in schedule.periods]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] < seconds
    values = [(period.limit, period.number_phases or 3) for period in schedule.periods]
    assert all(one != next_one for one, next_one in zip(values, values[1:], strict=False))
    decided = [decision.charging_profile_ids for decision in schedule.decisions]
    assert schedule.decisions[0].start_period == 0
    assert all(one != next_one for one, next_one in zip(decided, decided[1:], strict=False))


@given(installed(), states(1), STARTS, UNITS)
@EXAMPLES
def test_no_limit_is_above_that_of_the_charge_point_maximum(
    candidates: list[Candidate], state: ConnectorState, start: datetime, unit: str
) -> None:
    maximum = [one for one in candidates if one.profile["chargingProfilePurpose"] == "ChargePointMaxProfile"]
    whole = of_connector(maximum, state, start, 2 * DAY, unit)
    schedule = of_connector(candidates, state, start, 2 * DAY, unit)
    for second in {period.start_period for period in (*whole.periods, *schedule.periods)}:
        most = whole.limit_at(second)
        if most is not None:
            limit = schedule.limit_at(second)
            assert limit is not None
            assert limit <= most


@given(installed(), states(1), STARTS, st.integers(1, 2 * DAY), UNITS, st.integers(-(10**9), 10**9))
@EXAMPLES
def test_everything_moved_in_time_gives_the_same_periods(
    candidates: list[Candidate], state: ConnectorState, start: datetime, seconds: int, unit: str, by: int
) -> None:
    shift = timedelta(seconds=by)

    def moved(profile: dict[str, Any]) -> dict[str, Any]:
        later = {**profile, "chargingSchedule": dict(profile["chargingSchedule"])}
        for members, name in ((later, "validFrom"), (later, "validTo"), (later["chargingSchedule"], "startSchedule")):
            if name in members:
                members[name] = (datetime.fromisoformat(members[name]) + shift).isoformat()
        return later

    began = None if state.transaction_start is None else state.transaction_start + shift
    there = [Candidate(one.connector_id, moved(dict(one.profile))) for one in candidates]
    schedule = of_connector(candidates, state, start, seconds, unit)
    later = of_connector(there, ConnectorState(1, began), start + shift, seconds, unit)
    assert (later.periods, later.decisions) == (schedule.periods, schedule.decisions)


@given(installed(), states(1), st.integers(1, DAY), st.integers(1, DAY), UNITS)
@EXAMPLES
def test_later_part_of_an_interval_is_what_the_later_interval_gives(
    candidates: list[Candidate], state: ConnectorState, later: int, seconds: int, unit: str
) -> None:
    # Without a transaction a relative schedule begins with the interval, so there must be one.
    state = ConnectorState(1, state.transaction_start or T0)
    whole = of_connector(candidates, state, T0, later + seconds, unit)
    part = of_connector(candidates, state, T0 + timedelta(seconds=later), seconds, unit)
    points = {0, *(period.start_period for period in part.periods)}
    points |= {period.start_period - later for period in whole.periods if period.start_period >= later}
    assert [part.limit_at(point) for point in sorted(points)] == [
        whole.limit_at(later + point) for point in sorted(points)
    ]
