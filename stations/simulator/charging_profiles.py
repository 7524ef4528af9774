"""Charging profiles installed on the station, the limit they give now, and the composite schedule.

Profiles are kept as they came, as dictionaries with snake_case members. Source: OCPP 1.6 ed. 2, 3.13; errata v4.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ocpp.exceptions import PropertyConstraintViolationError
from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingProfileStatus,
    ChargingRateUnitType,
    ClearChargingProfileStatus,
)

from .clock import parse_time
from .meter import NOMINAL_VOLTAGE_V

Purpose = ChargingProfilePurposeType
RECURRENCE = {"Daily": timedelta(days=1), "Weekly": timedelta(days=7)}


@dataclass(frozen=True)
class Limit:
    """A limit in W, and the phases its profile spoke of (None: not said, which means 3; errata v4.0 3.68)."""

    power_w: float
    number_phases: int | None = None

    def in_unit(self, unit: str) -> float:
        """W in total, or A per phase."""
        if unit == ChargingRateUnitType.watts:
            return self.power_w
        return self.power_w / NOMINAL_VOLTAGE_V / (self.number_phases or 3)


@dataclass(frozen=True)
class Running:
    """What a connector is doing, as far as profiles care."""

    connector_id: int
    transaction_id: int | None = None
    started_at: datetime | None = None


@dataclass
class Installed:
    connector_id: int
    profile: dict


class ChargingProfiles:
    """The store; it survives reboots, as errata v4.0 3.37 demands."""

    def __init__(self, *, connectors: int, max_installed: int, max_stack_level: int, max_periods: int) -> None:
        self._connectors = connectors
        self._max_installed = max_installed
        self._max_stack_level = max_stack_level
        self._max_periods = max_periods
        self._installed: list[Installed] = []

    def __len__(self) -> int:
        return len(self._installed)

    def install(self, connector_id: int, profile: dict, running: Running | None) -> ChargingProfileStatus:
        """Carry out SetChargingProfile.req; `running` is the transaction on that connector.

        Errors: PropertyConstraintViolationError for a connector that does not exist or a bad date (errata v4.0 3.38).
        Source: OCPP 1.6 ed. 2, 3.13, 5.16. The same id, or the same purpose and stack level on the connector, replaces.
        """
        if not 0 <= connector_id <= self._connectors:
            raise PropertyConstraintViolationError(f"There is no connector {connector_id}")
        _check_dates(profile)
        purpose = profile["charging_profile_purpose"]
        schedule = profile["charging_schedule"]
        periods = schedule["charging_schedule_period"]
        if purpose == Purpose.tx_profile:
            if connector_id == 0 or running is None or running.transaction_id is None:
                return ChargingProfileStatus.rejected
            if profile.get("transaction_id", running.transaction_id) != running.transaction_id:
                return ChargingProfileStatus.rejected
        elif "transaction_id" in profile or (purpose == Purpose.charge_point_max_profile and connector_id):
            return ChargingProfileStatus.rejected
        if not 0 <= profile["stack_level"] <= self._max_stack_level or not 0 < len(periods) <= self._max_periods:
            return ChargingProfileStatus.rejected
        if periods[0]["start_period"] != 0 or not _ascending(period["start_period"] for period in periods):
            return ChargingProfileStatus.rejected

        kept = [
            one
            for one in self._installed
            if one.profile["charging_profile_id"] != profile["charging_profile_id"]
            and (one.connector_id, one.profile["charging_profile_purpose"], one.profile["stack_level"])
            != (connector_id, purpose, profile["stack_level"])
        ]
        if len(kept) >= self._max_installed:
            return ChargingProfileStatus.rejected
        self._installed = [*kept, Installed(connector_id, profile)]
        return ChargingProfileStatus.accepted

    def clear(
        self, profile_id: int | None, connector_id: int | None, purpose: str | None, stack_level: int | None
    ) -> ClearChargingProfileStatus:
        """Carry out ClearChargingProfile.req: an id alone decides, else all that match every given criterion.

        Source: OCPP 1.6 ed. 2, 5.4; errata v4.0 3.25, 3.26.
        """

        def matches(one: Installed) -> bool:
            if profile_id is not None:
                return one.profile["charging_profile_id"] == profile_id
            return (
                connector_id in (None, one.connector_id)
                and purpose in (None, one.profile["charging_profile_purpose"])
                and stack_level in (None, one.profile["stack_level"])
            )

        kept = [one for one in self._installed if not matches(one)]
        cleared = len(kept) < len(self._installed)
        self._installed = kept
        return ClearChargingProfileStatus.accepted if cleared else ClearChargingProfileStatus.unknown

    def transaction_ended(self, connector_id: int) -> None:
        """Forget the TxProfiles of a connector: they live as long as their transaction (OCPP 1.6 ed. 2, 3.13.1)."""
        self._installed = [
            one
            for one in self._installed
            if (one.connector_id, one.profile["charging_profile_purpose"]) != (connector_id, Purpose.tx_profile)
        ]

    def limit_w(self, running: Running, at: datetime, sharing: int = 1) -> float:
        """Return the power allowed on a connector now, in W; infinity when nothing limits it.

        `sharing` connectors share the ChargePointMaxProfile in equal parts.
        """
        if not self._installed:
            return math.inf
        transaction = self._transaction_limit(running, at, at)
        whole = self._best(0, Purpose.charge_point_max_profile, running, at, at)
        return min(
            transaction.power_w if transaction else math.inf,
            whole.power_w / max(1, sharing) if whole else math.inf,
        )

    def composite(self, running: Running, begin: datetime, seconds: int, unit: str, rated_power_w: float) -> dict:
        """Return the chargingSchedule of GetCompositeSchedule.conf; where nothing limits, the hardware's rating does.

        Connector 0 gives the draw of the whole station. Limits have one decimal. startSchedule is left out (errata v4.0
        3.57).
        """
        end = begin + timedelta(seconds=seconds)
        instants = {begin} | {at for one in self._installed for at in _break_points(one.profile, running, begin, end)}
        periods: list[dict] = []
        for at in sorted(instants):
            limit = Limit(rated_power_w)
            if running.connector_id:
                limit = _smaller(limit, self._transaction_limit(running, at, begin))
            limit = _smaller(limit, self._best(0, Purpose.charge_point_max_profile, running, at, begin))
            period = {"start_period": int((at - begin).total_seconds()), "limit": round(limit.in_unit(unit), 1)}
            if limit.number_phases is not None:
                period["number_phases"] = limit.number_phases
            if not periods or period | {"start_period": 0} != periods[-1] | {"start_period": 0}:
                periods.append(period)
        return {"charging_rate_unit": unit, "duration": seconds, "charging_schedule_period": periods}

    def _transaction_limit(self, running: Running, at: datetime, begin: datetime) -> Limit | None:
        here = running.connector_id
        if running.started_at is not None and (limit := self._best(here, Purpose.tx_profile, running, at, begin)):
            return limit
        own = self._best(here, Purpose.tx_default_profile, running, at, begin)
        return own or self._best(0, Purpose.tx_default_profile, running, at, begin)

    def _best(self, connector_id: int, purpose: str, running: Running, at: datetime, begin: datetime) -> Limit | None:
        """The limit of the highest stack level that gives one at this instant."""
        candidates = [
            one.profile
            for one in self._installed
            if one.connector_id == connector_id and one.profile["charging_profile_purpose"] == purpose
        ]
        for profile in sorted(candidates, key=lambda profile: profile["stack_level"], reverse=True):
            if (limit := _limit_of(profile, running, at, begin)) is not None:
                return limit
        return None


def _smaller(one: Limit, other: Limit | None) -> Limit:
    return other if other is not None and other.power_w <= one.power_w else one


def _ascending(numbers: Iterable[int]) -> bool:
    listed = list(numbers)
    return listed == sorted(set(listed))


def _check_dates(profile: dict) -> None:
    schedule = profile["charging_schedule"]
    for text in (profile.get("valid_from"), profile.get("valid_to"), schedule.get("start_schedule")):
        if text is not None:
            try:
                parse_time(text)
            except ValueError as error:
                raise PropertyConstraintViolationError(f"Not a timestamp: {text}") from error


def _start(profile: dict, running: Running, at: datetime, begin: datetime) -> datetime:
    """When the schedule in force at `at` began; Absolute without startSchedule counts as Relative."""
    text = profile["charging_schedule"].get("start_schedule")
    if profile["charging_profile_kind"] == ChargingProfileKindType.relative or text is None:
        return running.started_at or begin
    start = parse_time(text)
    if profile["charging_profile_kind"] == ChargingProfileKindType.recurring and at > start:
        every = RECURRENCE.get(profile.get("recurrency_kind", "Daily"), RECURRENCE["Daily"])
        start += every * ((at - start) // every)
    return start


def _limit_of(profile: dict, running: Running, at: datetime, begin: datetime) -> Limit | None:
    valid_from, valid_to = profile.get("valid_from"), profile.get("valid_to")
    if (valid_from and at < parse_time(valid_from)) or (valid_to and at >= parse_time(valid_to)):
        return None
    schedule = profile["charging_schedule"]
    offset = (at - _start(profile, running, at, begin)).total_seconds()
    if offset < 0 or offset >= schedule.get("duration", math.inf):
        return None
    period = [one for one in schedule["charging_schedule_period"] if one["start_period"] <= offset][-1]
    limit, phases = float(period["limit"]), period.get("number_phases")
    if schedule["charging_rate_unit"] == ChargingRateUnitType.amps:
        limit *= NOMINAL_VOLTAGE_V * (phases or 3)
    return Limit(limit, phases)


def _break_points(profile: dict, running: Running, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every instant inside the interval at which this profile's limit may change."""
    instants = [parse_time(text) for text in (profile.get("valid_from"), profile.get("valid_to")) if text]
    schedule = profile["charging_schedule"]
    start = _start(profile, running, begin, begin)
    recurring = profile["charging_profile_kind"] == ChargingProfileKindType.recurring
    every = RECURRENCE.get(profile.get("recurrency_kind", "Daily"), RECURRENCE["Daily"])
    while start < end:
        instants.append(start)
        instants += [start + timedelta(seconds=one["start_period"]) for one in schedule["charging_schedule_period"]]
        if "duration" in schedule:
            instants.append(start + timedelta(seconds=schedule["duration"]))
        if not recurring:
            break
        start += every
    yield from (at for at in instants if begin < at < end)
