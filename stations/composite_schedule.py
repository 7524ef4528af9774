"""The composite schedule: which limit holds when, computed from the profiles that are installed.

Pure arithmetic on the JSON of OCPP charging profiles (camelCase): no database, no clock. It is our own preview of what
a charge point answers to GetCompositeSchedule, for planning and for comparison with that answer.

- The rules are those of OCPP 1.6 ed. 2, 3.13 with errata v4.0: at each instant, per purpose, the valid profile with the
  highest stackLevel; TxProfile before the TxDefaultProfile of the connector before that of connector 0; never more than
  the ChargePointMaxProfile.
- Time is kept in whole microseconds after the start. Only break points are visited (starts, period boundaries, ends,
  validity, recurrences), never seconds. Everything is UTC, where no day is longer than another.
- Limits are exact fractions until the very end; then they are cut down, never up, to the one decimal of OCPP's `limit`:
  a preview that rounds up would promise more than the profile allows. 16 A at 230 V on three phases is 11040.0 W;
  10000 W is 14.4 A (14.49). Digits beyond the ninth decimal of an input are binary noise and are rounded away first.
- `startPeriod` counts whole seconds, while starts may have fractions. A second in which the limit changes reports the
  lowest limit of that second.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from csms.ocppj.times import parse_time

Unit = Literal["A", "W"]
Number = int | float | Decimal
CHARGE_POINT_MAX_PROFILE = "ChargePointMaxProfile"
TX_DEFAULT_PROFILE = "TxDefaultProfile"
TX_PROFILE = "TxProfile"
# numberPhases absent means three (errata v4.0, 3.68).
DEFAULT_PHASES = 3
NOMINAL_VOLTAGE_V = 230
SECOND = 1_000_000
RECURRENCE = {"Daily": 86_400 * SECOND, "Weekly": 7 * 86_400 * SECOND}
MICROSECOND = timedelta(microseconds=1)
NOISE_DIGITS = 9


@dataclass(frozen=True)
class Candidate:
    """A profile as installed: the connectorId of its SetChargingProfile, and the chargingProfile as on the wire."""

    connector_id: int
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class ConnectorState:
    """A connector and the transaction that runs on it.

    `transaction_start` None: none runs, so TxProfiles do not count and Relative schedules begin with the interval.
    `transaction_id` given: TxProfiles that name another transaction do not count.
    """

    connector_id: int
    transaction_start: datetime | None = None
    transaction_id: int | None = None


@dataclass(frozen=True)
class Period:
    """From `start_period` seconds on: `limit` in the schedule's unit, with one decimal; None where nothing limits."""

    start_period: int
    limit: Decimal | None
    number_phases: int | None = None


@dataclass(frozen=True)
class Decision:
    """From `start_period` seconds on the limit comes from these profiles (chargingProfileId); empty: nothing limits.

    More than one only for connector 0, where the limits of the connectors are added up.
    """

    start_period: int
    charging_profile_ids: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """A composite schedule: `periods` begin at 0, ascend, and differ from their neighbours.

    `decisions` tell, in the same seconds, which profile wins; they change also where the limit stays the same.
    """

    start: datetime
    duration_seconds: int
    unit: Unit
    periods: tuple[Period, ...]
    decisions: tuple[Decision, ...] = ()

    @property
    def limited(self) -> bool:
        """Whether anything limits at any time of the interval."""
        return any(period.limit is not None for period in self.periods)

    def limit_at(self, second: int) -> Decimal | None:
        """The limit `second` seconds after the start; None: no limit, or outside of the interval."""
        if not 0 <= second < self.duration_seconds:
            return None
        after = bisect_right(self.periods, second, key=lambda period: period.start_period)
        return self.periods[after - 1].limit

    def as_json(self) -> dict[str, Any]:
        """A chargingSchedule as in GetCompositeSchedule.conf, except that `limit` is null where nothing limits."""
        return {
            "chargingRateUnit": self.unit,
            "duration": self.duration_seconds,
            "chargingSchedulePeriod": [_period_json(period) for period in self.periods],
        }


def composite(
    candidates: Iterable[Candidate],
    *,
    start: datetime,
    duration_seconds: int,
    unit: Unit,
    connector_id: int | None = None,
    nominal_voltage_v: Number = NOMINAL_VOLTAGE_V,
    transaction_start: datetime | None = None,
    transaction_id: int | None = None,
) -> Schedule:
    """Return the schedule that holds on one connector, from `start` (aware) for `duration_seconds`.

    `candidates` are the installed profiles: those of connector 0 and those of the connector. With `connector_id` (above
    0) candidates of other connectors are passed over, so all profiles of a charge point may be given; without it every
    candidate that is not of connector 0 belongs to the connector. Of two with the same purpose, connector and
    stackLevel the later in the list wins, since installing it replaces the other: give them in the order of their
    installation.
    `transaction_start`, `transaction_id`: see ConnectorState. Relative schedules count from transaction_start, else
    from `start`; so does an Absolute or Recurring one that has no startSchedule.
    `unit` is "A" (per phase) or "W" (in total); they are converted by `nominal_voltage_v` (phase to neutral) and the
    numberPhases of each profile. The smaller limit is found in that unit; of two equal ones that with fewer phases.
    A `duration_seconds` of 0 has no periods.
    Errors: ValueError for a naive `start`, a negative duration, an unknown unit or a profile that is no OCPP profile.
    Source: OCPP 1.6 ed. 2, 3.13.2 to 3.13.4; errata v4.0 3.7, 3.43 to 3.45, 3.57, 3.68, 3.78.
    """
    frame = _Frame.of(start, duration_seconds, unit, nominal_voltage_v)
    here = [one for one in candidates if connector_id is None or one.connector_id in (0, connector_id)]
    state = ConnectorState(-1 if connector_id is None else connector_id, transaction_start, transaction_id)
    anchor = frame.offset(transaction_start) if transaction_start is not None else 0
    whole = frame.strongest(_of(here, CHARGE_POINT_MAX_PROFILE, zero=True), anchor)
    return frame.schedule(_combine([_transaction_limit(frame, here, state), whole], _smallest))


def composite_of_charge_point(
    candidates: Iterable[Candidate],
    *,
    connectors: Sequence[ConnectorState],
    start: datetime,
    duration_seconds: int,
    unit: Unit,
    nominal_voltage_v: Number = NOMINAL_VOLTAGE_V,
) -> Schedule:
    """Return the schedule of connector 0: the ChargePointMaxProfile against the sum of the limits of the connectors.

    `candidates` are all profiles of the charge point; `connectors` are those that may draw (1 and up, without 0). A
    connector that nothing limits leaves the sum open, so that only the ChargePointMaxProfile limits; without connectors
    likewise. Limits are added in `unit`: amperes of connectors that share a phase add up on it. numberPhases of a sum
    is the largest. A Relative ChargePointMaxProfile counts from `start`: connector 0 has no transaction. Else as
    `composite`.
    """
    frame = _Frame.of(start, duration_seconds, unit, nominal_voltage_v)
    everything = list(candidates)
    by_connector: dict[int, list[Candidate]] = {}
    for one in everything:
        by_connector.setdefault(one.connector_id, []).append(one)
    shared = by_connector.get(0, [])
    limits = []
    for connector in connectors:
        if connector.connector_id <= 0:
            raise ValueError("connectors are numbered from 1")
        limits.append(_transaction_limit(frame, shared + by_connector.get(connector.connector_id, []), connector))
    total: _Steps = _combine(limits, _total) if limits else [(0, None)]
    whole = frame.strongest(_of(shared, CHARGE_POINT_MAX_PROFILE, zero=True), 0)
    return frame.schedule(_combine([total, whole], _smallest))


def to_unit(limit: Number, unit: str, number_phases: int | None, to: str, nominal_voltage_v: Number) -> Fraction:
    """Convert a limit between A per phase and W in total: W = A x voltage x phases. Exact; not rounded."""
    value = _exact(limit)
    if unit == to:
        return value
    factor = _exact(nominal_voltage_v) * _phases(number_phases)
    return value * factor if to == "W" else value / factor


def parse_instant(text: str) -> datetime:
    """An OCPP dateTime as an aware datetime; without an offset it is UTC. Errors: ValueError."""
    instant = parse_time(text)
    if instant is None:
        raise ValueError(f"not a timestamp: {text}")
    return instant


class _Limit(NamedTuple):
    """A limit in the frame's unit, the numberPhases it came with, and the profiles that it came from."""

    value: Fraction
    number_phases: int | None
    profile_ids: tuple[int, ...]


# A step function from 0 to the end of the frame: (from, in microseconds; limit), ascending, the first at 0.
_Steps = list[tuple[int, _Limit | None]]


class _Segment(NamedTuple):
    """A stretch on which one profile gives one limit."""

    begin: int
    end: int
    limit: _Limit


@dataclass(frozen=True)
class _Frame:
    """The interval that is asked for, and how limits are expressed in it."""

    start: datetime
    duration_seconds: int
    unit: Unit
    voltage: Number

    @classmethod
    def of(cls, start: datetime, duration_seconds: int, unit: str, voltage: Number) -> _Frame:
        if start.tzinfo is None:
            raise ValueError("start has no time zone")
        if duration_seconds < 0:
            raise ValueError("the duration is negative")
        if unit not in ("A", "W"):
            raise ValueError("the unit is neither A nor W")
        if voltage <= 0:
            raise ValueError("the nominal voltage is not positive")
        return cls(start.astimezone(UTC), int(duration_seconds), "A" if unit == "A" else "W", voltage)

    @property
    def end(self) -> int:
        return self.duration_seconds * SECOND

    def offset(self, instant: datetime) -> int:
        return (instant - self.start) // MICROSECOND

    def strongest(self, profiles: list[Mapping[str, Any]], anchor: int) -> _Steps:
        """The limit of the highest stackLevel that is active, at every instant.

        A sweep over the segments: those that have begun wait in a heap, highest level on top; what has ended is
        taken off.
        """
        ranked = sorted(enumerate(profiles), key=lambda one: (one[1]["stackLevel"], one[0]), reverse=True)
        segments: list[tuple[int, int, _Segment]] = []
        for rank, (_, profile) in enumerate(ranked):
            own = list(self._segments(profile, anchor))
            segments.extend((segment.begin, rank, segment) for segment in own)
            if self._covers_all(own):
                break  # Nothing below it is ever seen.
        segments.sort(key=lambda one: one[:2])
        points = sorted({0, *(one[2].begin for one in segments), *(one[2].end for one in segments)})
        waiting: list[tuple[int, int, _Segment]] = []
        steps: _Steps = []
        following = 0
        for point in points:
            if point >= self.end:
                break
            while following < len(segments) and segments[following][0] <= point:
                begin, rank, segment = segments[following]
                heapq.heappush(waiting, (rank, begin, segment))
                following += 1
            while waiting and waiting[0][2].end <= point:
                heapq.heappop(waiting)
            limit = waiting[0][2].limit if waiting else None
            if not steps or steps[-1][1] != limit:
                steps.append((point, limit))
        return steps or [(0, None)]

    def _covers_all(self, segments: list[_Segment]) -> bool:
        reached = 0
        for segment in segments:
            if segment.begin > reached:
                return False
            reached = segment.end
        return reached >= self.end

    def _segments(self, profile: Mapping[str, Any], anchor: int) -> Iterator[_Segment]:
        """Where a profile gives which limit inside the frame; ascending, none overlapping.

        `anchor` is where a schedule without an own start begins.
        """
        valid_from, valid_to = profile.get("validFrom"), profile.get("validTo")
        begin = max(0, self.offset(parse_instant(valid_from))) if valid_from else 0
        end = min(self.end, self.offset(parse_instant(valid_to))) if valid_to else self.end
        if begin >= end:
            return
        schedule = profile["chargingSchedule"]
        kind, own_start = profile["chargingProfileKind"], schedule.get("startSchedule")
        start = anchor if kind == "Relative" or not own_start else self.offset(parse_instant(own_start))
        duration = schedule.get("duration")
        length: float = math.inf if duration is None else int(duration) * SECOND
        pieces = self._pieces(profile)
        every = RECURRENCE.get(profile.get("recurrencyKind") or "Daily", RECURRENCE["Daily"])
        if kind != "Recurring":
            yield from _laid_out(pieces, start, length, begin, end)
            return
        # The last recurrence not after the beginning, but none before startSchedule itself.
        start += every * max(0, (begin - start) // every)
        while start < end:
            yield from _laid_out(pieces, start, min(length, every), begin, end)
            start += every

    def _pieces(self, profile: Mapping[str, Any]) -> list[tuple[int, _Limit]]:
        schedule = profile["chargingSchedule"]
        unit = schedule["chargingRateUnit"]
        ids = (profile["chargingProfileId"],) if profile.get("chargingProfileId") is not None else ()
        pieces = []
        for period in sorted(schedule["chargingSchedulePeriod"], key=lambda one: one["startPeriod"]):
            # An integer of JSON may be written 3.0.
            number_phases = None if period.get("numberPhases") is None else int(period["numberPhases"])
            value = to_unit(period["limit"], unit, number_phases, self.unit, self.voltage)
            pieces.append((int(period["startPeriod"]) * SECOND, _Limit(value, number_phases, ids)))
        return pieces

    def schedule(self, steps: _Steps) -> Schedule:
        periods: list[Period] = []
        decisions: list[Decision] = []
        for second, limit in _by_second(steps, self.end):
            period = Period(second, *(_cut(limit) if limit else (None, None)))
            if not periods or not _same(periods[-1], period):
                periods.append(period)
            decision = Decision(second, limit.profile_ids if limit else ())
            if not decisions or decisions[-1].charging_profile_ids != decision.charging_profile_ids:
                decisions.append(decision)
        return Schedule(self.start, self.duration_seconds, self.unit, tuple(periods), tuple(decisions))


def _transaction_limit(frame: _Frame, candidates: list[Candidate], state: ConnectorState) -> _Steps:
    """TxProfile where one is active, else the TxDefaultProfile of the connector, else that of connector 0."""
    running = state.transaction_start is not None
    anchor = frame.offset(state.transaction_start) if state.transaction_start is not None else 0
    own = [
        profile
        for profile in _of(candidates, TX_PROFILE, zero=False)
        if running and (state.transaction_id is None or profile.get("transactionId") in (None, state.transaction_id))
    ]
    return _combine(
        [
            frame.strongest(own, anchor),
            frame.strongest(_of(candidates, TX_DEFAULT_PROFILE, zero=False), anchor),
            frame.strongest(_of(candidates, TX_DEFAULT_PROFILE, zero=True), anchor),
        ],
        _first,
    )


def _of(candidates: Iterable[Candidate], purpose: str, *, zero: bool) -> list[Mapping[str, Any]]:
    """The profiles of a purpose, of connector 0 or of the connector."""
    return [
        one.profile
        for one in candidates
        if one.profile["chargingProfilePurpose"] == purpose and (one.connector_id == 0) is zero
    ]


def _laid_out(pieces: list[tuple[int, _Limit]], start: int, length: float, begin: int, end: int) -> Iterator[_Segment]:
    """One run of a schedule that begins at `start` and lasts `length`, as far as it lies between `begin` and `end`."""
    stop = min(end, start + length)
    for index, (offset, limit) in enumerate(pieces):
        until = start + pieces[index + 1][0] if index + 1 < len(pieces) else stop
        first, last = max(begin, start + offset), int(min(until, stop))
        if first < last:
            yield _Segment(first, last, limit)


def _combine(functions: list[_Steps], choose: Callable[[list[_Limit | None]], _Limit | None]) -> _Steps:
    """The step function that `choose` makes of the values of the others at each instant."""
    following = [0] * len(functions)
    values: list[_Limit | None] = [None] * len(functions)
    combined: _Steps = []
    for point in sorted({point for steps in functions for point, _ in steps}):
        for index, steps in enumerate(functions):
            if following[index] < len(steps) and steps[following[index]][0] == point:
                values[index] = steps[following[index]][1]
                following[index] += 1
        limit = choose(values)
        if not combined or combined[-1][1] != limit:
            combined.append((point, limit))
    return combined


def _first(limits: list[_Limit | None]) -> _Limit | None:
    return next((limit for limit in limits if limit is not None), None)


def _smallest(limits: list[_Limit | None]) -> _Limit | None:
    given = [limit for limit in limits if limit is not None]
    return min(given, key=lambda limit: (limit.value, _phases(limit.number_phases)), default=None)


def _total(limits: list[_Limit | None]) -> _Limit | None:
    given = [limit for limit in limits if limit is not None]
    if len(given) < len(limits):
        return None
    said = any(limit.number_phases is not None for limit in given)
    number_phases = max(_phases(limit.number_phases) for limit in given) if said else None
    # One profile on connector 0 may hold on several connectors.
    ids = dict.fromkeys(profile_id for limit in given for profile_id in limit.profile_ids)
    return _Limit(sum((limit.value for limit in given), Fraction(0)), number_phases, tuple(ids))


def _by_second(steps: _Steps, end: int) -> Iterator[tuple[int, _Limit | None]]:
    """The same in whole seconds: (from second, limit). A second with several limits has the smallest of them."""
    shared: tuple[int, _Limit | None] | None = None  # A second that has begun but not ended, and its smallest limit.
    for index, (begin, limit) in enumerate(steps):
        stop = min(end, steps[index + 1][0]) if index + 1 < len(steps) else end
        if begin >= stop:
            continue
        second = begin // SECOND
        if shared is not None:
            shared = (second, _smallest([shared[1], limit]))
            if stop < (second + 1) * SECOND:
                continue
            yield shared
            shared = None
            second += 1
        if stop // SECOND > second:
            yield second, limit
        if stop % SECOND:
            shared = (stop // SECOND, limit)


def _exact(number: Number) -> Fraction:
    """A number of JSON as a fraction, without the noise of binary floating point."""
    return Fraction(round(Decimal(str(number)), NOISE_DIGITS))


def _phases(number_phases: int | None) -> int:
    return number_phases if number_phases is not None and number_phases > 0 else DEFAULT_PHASES


def _cut(limit: _Limit) -> tuple[Decimal, int | None]:
    return Decimal(math.floor(limit.value * 10)).scaleb(-1), limit.number_phases


def _same(one: Period, other: Period) -> bool:
    return one.limit == other.limit and _phases(one.number_phases) == _phases(other.number_phases)


def _period_json(period: Period) -> dict[str, Any]:
    shown: dict[str, Any] = {"startPeriod": period.start_period, "limit": None}
    if period.limit is not None:
        shown["limit"] = float(period.limit)
    if period.number_phases is not None:
        shown["numberPhases"] = period.number_phases
    return shown
