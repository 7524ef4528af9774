"""A charge point's answer to GetCompositeSchedule beside our own composite schedule, and where the two differ.

Pure: no database, no clock. Differences are stretches of time, in seconds after the start of our schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from csms.ocppj.times import parse_time
from stations.composite_schedule import DEFAULT_PHASES, NOMINAL_VOLTAGE_V, Number, Period, Schedule, Unit, to_unit

# A limit has one decimal, and whoever rounds it may round either way.
TOLERANCE = Fraction(1, 10)
# The charge point's clock and ours, and its whole seconds and ours, are not the same to the second.
CLOCK_TOLERANCE_SECONDS = 5

Kind = Literal["higher", "lower", "only_ours", "only_theirs"]


@dataclass(frozen=True)
class Answer:
    """What a charge point said: `periods` hold from `start` for `duration_seconds`, limits in `unit`."""

    start: datetime
    duration_seconds: int
    unit: Unit
    periods: tuple[Period, ...]


@dataclass(frozen=True)
class Difference:
    """From `begin` to `end` seconds the two differ; limits in the unit of our schedule, None where there is none.

    `kind` says what the charge point does: it allows "higher" or "lower" limits than ours, knows no limit where we do
    ("only_ours"), or has one where we know of none ("only_theirs"), often that of its hardware.
    """

    begin: int
    end: int
    ours: Decimal | None
    theirs: Decimal | None
    kind: Kind


def answer_of(conf: Mapping[str, Any], req: Mapping[str, Any], received_at: datetime) -> Answer | None:
    """The schedule in GetCompositeSchedule.conf; None when there is none that can be read.

    The charge point need not say when it begins (then startSchedule is tried, else `received_at` counts) nor how long
    it lasts (then as long as `req` asked for). Periods are put in order; of two with one startPeriod the later counts.
    Source: OCPP 1.6 ed. 2, 6.24; errata v4.0 3.57.
    """
    schedule = conf.get("chargingSchedule")
    if conf.get("status") != "Accepted" or not isinstance(schedule, Mapping):
        return None
    start = parse_time(conf.get("scheduleStart")) or parse_time(schedule.get("startSchedule")) or received_at
    duration, unit = schedule.get("duration", req.get("duration")), schedule.get("chargingRateUnit")
    periods = schedule.get("chargingSchedulePeriod")
    if unit not in ("A", "W") or not _is_number(duration) or not isinstance(periods, list):
        return None
    found: dict[int, Period] = {}
    for period in periods:
        if not isinstance(period, Mapping) or not (
            _is_number(period.get("startPeriod")) and _is_number(period.get("limit"))
        ):
            return None
        phases: Any = period.get("numberPhases")
        begin = int(period["startPeriod"])
        found[begin] = Period(begin, Decimal(str(period["limit"])), int(phases) if _is_number(phases) else None)
    return Answer(start, int(duration), "A" if unit == "A" else "W", tuple(found[begin] for begin in sorted(found)))


def steps_of(answer: Answer, ours: Schedule, voltage: Number = NOMINAL_VOLTAGE_V) -> list[tuple[int, Fraction | None]]:
    """The answer on the axis and in the unit of our schedule: (second, limit), None where it says nothing.

    The first is at 0, also when the answer begins earlier or later; none is at or after the end of our schedule.
    """
    shift = round((answer.start - ours.start).total_seconds())
    steps: list[tuple[int, Fraction | None]] = [(0, None)]
    for period in answer.periods:
        if period.limit is None or period.start_period >= answer.duration_seconds:
            continue
        begin = max(0, period.start_period + shift)
        steps.append((begin, to_unit(period.limit, answer.unit, period.number_phases, ours.unit, voltage)))
    if answer.duration_seconds + shift < ours.duration_seconds:
        steps.append((max(0, answer.duration_seconds + shift), None))
    # What begins later takes the place of what began at the same second.
    last = dict(steps)
    return [(second, last[second]) for second in sorted(last) if second < ours.duration_seconds or second == 0]


def differences(
    ours: Schedule,
    answer: Answer,
    *,
    voltage: Number = NOMINAL_VOLTAGE_V,
    shorter_than_seconds: int = CLOCK_TOLERANCE_SECONDS,
) -> list[Difference]:
    """Where the answer is not what we expect, in order; only inside the time that both speak of.

    Limits differ when they are more than 0.1 apart, in A where either is in A: an answer in A is no more exact in W.
    Stretches shorter than `shorter_than_seconds` are rounding of times and passed over. numberPhases are not compared.
    """
    shift = round((answer.start - ours.start).total_seconds())
    begin, end = max(0, shift), min(ours.duration_seconds, answer.duration_seconds + shift)
    theirs = steps_of(answer, ours, voltage)
    mine = [(period.start_period, period.limit) for period in ours.periods]
    points = {second for second, _ in theirs} | {second for second, _ in mine} | {begin, end}
    inside = sorted(second for second in points if begin <= second <= end)
    tolerance = _tolerance(ours, answer, voltage)
    found: list[Difference] = []
    my_limits, their_limits = _Walk(mine), _Walk(theirs)
    for second, until in zip(inside, inside[1:], strict=False):
        expected, said = my_limits.at(second), their_limits.at(second)
        kind = _kind(expected, said, tolerance)
        if kind is None or until - second < shorter_than_seconds:
            continue
        difference = Difference(second, until, _shown(expected), _shown(said), kind)
        before = found[-1] if found else None
        if (
            before is not None
            and before.end == second
            and (before.ours, before.theirs) == (difference.ours, difference.theirs)
        ):
            found[-1] = Difference(before.begin, until, before.ours, before.theirs, kind)
        else:
            found.append(difference)
    return found


class _Walk:
    """The value of a step function at ever later seconds."""

    def __init__(self, steps: list[tuple[int, Any]]) -> None:
        self._steps = steps
        self._next = 0
        self._value: Any = None

    def at(self, second: int) -> Fraction | Decimal | None:
        while self._next < len(self._steps) and self._steps[self._next][0] <= second:
            self._value = self._steps[self._next][1]
            self._next += 1
        value: Fraction | Decimal | None = self._value
        return value


def _kind(ours: Fraction | Decimal | None, theirs: Fraction | Decimal | None, tolerance: Fraction) -> Kind | None:
    if ours is None or theirs is None:
        if ours is None and theirs is None:
            return None
        return "only_theirs" if ours is None else "only_ours"
    apart = Fraction(theirs) - Fraction(ours)
    if abs(apart) <= tolerance:
        return None
    return "higher" if apart > 0 else "lower"


def _tolerance(ours: Schedule, answer: Answer, voltage: Number) -> Fraction:
    if ours.unit == answer.unit or ours.unit == "A":
        return TOLERANCE
    phases = max((period.number_phases or DEFAULT_PHASES for period in answer.periods), default=DEFAULT_PHASES)
    return TOLERANCE * Fraction(str(voltage)) * phases


def _shown(limit: Fraction | Decimal | None) -> Decimal | None:
    if limit is None or isinstance(limit, Decimal):
        return limit
    return Decimal(round(limit * 10)).scaleb(-1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e12
