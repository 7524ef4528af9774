"""What is impossible and what is unwise about a charging profile: one judgement for REST, the admin and every command.

Problems are what cannot go on the wire: an unknown member or enumeration value, a wrong type, two decimals in a limit,
a negative stackLevel. Findings are the rest, from a first period that does not start at 0 to a transaction that has
ended: a charge point may refuse such a profile, or do something else than was meant, but the operator may try.
Source: OCPP 1.6 ed. 2, 3.13, 5.16, 7.7 to 7.14, 9.4; errata v4.0 3.7, 3.34, 3.41 to 3.45, 3.56, 3.65, 3.66, 3.86.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from csms.ocppj.payloads import Problem, validate_call
from csms.ocppj.times import parse_time
from stations.charging_profiles import replaced_by, transaction_of, without_ids
from stations.models import ChargePoint, ChargingProfile, ConfigurationKey, InstalledProfile, Transaction
from stations.models.charging_profile import Purpose

# What a schedule of one day or one week has no use for is never executed (errata v4.0 3.43, 3.44).
RECURRENCE_SECONDS = {"Daily": 86_400, "Weekly": 7 * 86_400}
# A start that reached us later than this after it happened was waiting in an offline charge point.
LATE_START = timedelta(minutes=10)
KEYS = (
    "ChargeProfileMaxStackLevel",
    "ChargingScheduleAllowedChargingRateUnit",
    "ChargingScheduleMaxPeriods",
    "MaxChargingProfilesInstalled",
    "SupportedFeatureProfiles",
)
UNIT_WORDS = {"current": "A", "a": "A", "power": "W", "w": "W"}
MAX_INSTALLED_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """Something unwise: a stable code, a sentence, and the JSON pointer into the chargingProfile."""

    code: str
    detail: str
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`problems` make a profile impossible; `findings` only make it unwise, and are looked for if it is possible."""

    problems: list[Problem]
    findings: list[Finding]


def judge(
    profile: object,
    charge_point: ChargePoint | None = None,
    connector_id: int | None = None,
    *,
    remote_start: bool = False,
    now: datetime | None = None,
) -> Judgement:
    """Judge a chargingProfile (OCPP JSON), by itself or for `connector_id` of `charge_point`.

    chargingProfileId may be absent: the library gives it. `remote_start`: it goes into a RemoteStartTransaction, where
    `connector_id` may be None (any). With a charge point a handful of queries, whatever it has.
    """
    complete = {"chargingProfileId": 1, **profile} if isinstance(profile, dict) else profile
    member = "/csChargingProfiles"
    problems = [
        Problem(problem.pointer.removeprefix(member), problem.detail, problem.code)
        for problem in validate_call("SetChargingProfile", {"connectorId": 0, "csChargingProfiles": complete})
    ]
    if problems or not isinstance(profile, dict):
        return Judgement(problems, [])
    now = now or datetime.now(UTC)
    findings = [*_in_itself(profile), *_by_time(profile, now)]
    if remote_start:
        findings += _for_remote_start(profile)
    if charge_point is not None:
        findings += _by_local_time(profile, charge_point, now)
        if not remote_start:
            findings += _for_connector(charge_point, profile, connector_id)
        reported = _configuration(charge_point)
        findings += _by_configuration(reported, profile)
        findings += _by_installed(charge_point, profile, connector_id, reported, now)
    return Judgement([], findings)


def judge_request(charge_point: ChargePoint, unit: str | None = None) -> list[Finding]:
    """Judge a request that has no profile in it: is there smart charging at all, and in this unit? One query."""
    reported = _configuration(charge_point)
    found = [_feature_missing(reported), None if unit is None else _unit_not_allowed(reported, unit)]
    return [finding for finding in found if finding is not None]


# --- the profile by itself --------------------------------------------------------------------------------------------
def _in_itself(profile: Mapping[str, Any]) -> Iterator[Finding]:
    schedule = profile["chargingSchedule"]
    kind, purpose = profile["chargingProfileKind"], profile["chargingProfilePurpose"]
    if profile.get("chargingProfileId", 1) <= 0:
        yield Finding("profile_id_not_positive", "A chargingProfileId should be positive.", "/chargingProfileId")
    if kind == "Recurring":
        if "recurrencyKind" not in profile:
            yield Finding("recurrency_kind_missing", "A Recurring profile needs a recurrencyKind.", "/recurrencyKind")
        if "startSchedule" not in schedule:
            yield Finding(
                "recurring_without_start_schedule",
                "A Recurring profile needs a startSchedule to recur from.",
                "/chargingSchedule/startSchedule",
            )
    elif "recurrencyKind" in profile:
        yield Finding(
            "recurrency_kind_without_recurring",
            "A recurrencyKind belongs to Recurring profiles only.",
            "/recurrencyKind",
        )
    if kind == "Relative" and "startSchedule" in schedule:
        yield Finding(
            "relative_with_start_schedule",
            "A Relative schedule begins with the charging: it has no startSchedule.",
            "/chargingSchedule/startSchedule",
        )
    if kind == "Absolute" and "startSchedule" not in schedule:
        yield Finding(
            "absolute_without_start_schedule",
            "An Absolute schedule without startSchedule is taken as relative to the start of charging.",
            "/chargingSchedule/startSchedule",
        )
    if purpose != Purpose.TX_PROFILE and "transactionId" in profile:
        yield Finding(
            "transaction_not_applicable", f"A {purpose} is for no transaction in particular.", "/transactionId"
        )
    yield from _periods(profile)


def _periods(profile: Mapping[str, Any]) -> Iterator[Finding]:
    schedule = profile["chargingSchedule"]
    periods = schedule["chargingSchedulePeriod"]
    place = "/chargingSchedule/chargingSchedulePeriod"
    starts = [period["startPeriod"] for period in periods]
    if starts[0] != 0:
        yield Finding("first_period_not_zero", "The first startPeriod should be 0.", f"{place}/0/startPeriod")
    for index, (earlier, later) in enumerate(zip(starts, starts[1:], strict=False), start=1):
        if later <= earlier:
            yield Finding(
                "periods_not_ascending", "Each startPeriod should be later than the one before.",
                f"{place}/{index}/startPeriod",
            )  # fmt: skip
            break
    duration = schedule.get("duration")
    if duration is not None and duration <= 0:
        yield Finding("duration_not_positive", "The schedule is over at once.", "/chargingSchedule/duration")
    elif duration is not None and max(starts) >= duration:
        yield Finding("period_beyond_duration", "A period after the duration is never executed.", place)
    recurrence = RECURRENCE_SECONDS.get(profile.get("recurrencyKind", ""))
    if profile["chargingProfileKind"] == "Recurring" and recurrence is not None and max(starts) >= recurrence:
        yield Finding("period_beyond_recurrence", "A period after the next recurrence is never executed.", place)
    for index, period in enumerate(periods):
        if period["limit"] < 0:
            yield Finding("limit_negative", "A limit should not be negative.", f"{place}/{index}/limit")
            break
    for index, period in enumerate(periods):
        if not 1 <= period.get("numberPhases", 3) <= 3:
            yield Finding("number_phases_odd", "There are 1 to 3 phases.", f"{place}/{index}/numberPhases")
            break


def _by_time(profile: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    valid_from, valid_to = parse_time(profile.get("validFrom")), parse_time(profile.get("validTo"))
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        yield Finding("valid_to_before_valid_from", "It is never valid: validTo is not after validFrom.", "/validTo")
    elif valid_to is not None and valid_to <= now:
        yield Finding("no_longer_valid", "Its validTo is past.", "/validTo")
    schedule = profile["chargingSchedule"]
    start, duration = parse_time(schedule.get("startSchedule")), schedule.get("duration")
    if profile["chargingProfileKind"] == "Absolute" and start is not None and duration is not None:
        # Compared as numbers of seconds: a duration of 68 years leaves the calendar.
        if (now - start).total_seconds() >= duration > 0:
            yield Finding("schedule_over", "Its duration is over: it limits nothing any more.", "/chargingSchedule")


def _by_local_time(profile: Mapping[str, Any], charge_point: ChargePoint, now: datetime) -> Iterator[Finding]:
    """Whether what recurs at one hour UTC is meant at one hour of the clock on the wall, which summer time moves."""
    if profile["chargingProfileKind"] != "Recurring":
        return
    site = charge_point.site
    zone = charge_point.tenant.zone if site is None else site.zone
    offsets = {(now + timedelta(days=days)).astimezone(zone).utcoffset() for days in range(0, 366, 30)}
    if len(offsets) > 1:
        yield Finding(
            "local_time_changes",
            f"It recurs by UTC, and {zone} has summer time: after the next change of the clocks it is an hour off.",
            "/chargingSchedule/startSchedule",
        )


# --- where it goes ----------------------------------------------------------------------------------------------------
def _for_remote_start(profile: Mapping[str, Any]) -> Iterator[Finding]:
    if profile["chargingProfilePurpose"] != Purpose.TX_PROFILE:
        yield Finding("not_a_tx_profile", "With a remote start only a TxProfile is allowed.", "/chargingProfilePurpose")
    if "transactionId" in profile:
        yield Finding(
            "transaction_not_applicable", "There is no transaction yet: transactionId is to be left out.",
            "/transactionId",
        )  # fmt: skip


def _for_connector(
    charge_point: ChargePoint, profile: Mapping[str, Any], connector_id: int | None
) -> Iterator[Finding]:
    purpose = profile["chargingProfilePurpose"]
    if purpose == Purpose.CHARGE_POINT_MAX_PROFILE and connector_id:
        yield Finding("max_profile_not_on_connector_0", "A ChargePointMaxProfile belongs on connector 0.")
    if purpose != Purpose.TX_PROFILE:
        return
    if connector_id == 0:
        yield Finding("tx_profile_on_connector_0", "A TxProfile belongs on the connector of its transaction.")
    if "transactionId" not in profile:
        yield Finding(
            "tx_profile_without_transaction", "A TxProfile should name its transaction, or it may limit another one.",
            "/transactionId",
        )  # fmt: skip
    tx = None if connector_id is None else transaction_of(charge_point, connector_id, profile)
    yield from _for_transaction(profile, tx, connector_id)


def _for_transaction(profile: Mapping[str, Any], tx: Transaction | None, connector_id: int | None) -> Iterator[Finding]:
    named = profile.get("transactionId")
    if tx is None:
        if named is not None:
            yield Finding(
                "unknown_transaction", f"Transaction {named} is not one of this charge point.", "/transactionId"
            )
        elif connector_id:
            yield Finding("no_transaction", f"No transaction runs on connector {connector_id}.")
        return
    if not tx.active:
        yield Finding("transaction_ended", f"Transaction {tx.pk} has ended.", "/transactionId")
    elif tx.connector_id != connector_id:
        yield Finding("other_connector", f"Transaction {tx.pk} runs on connector {tx.connector_id}.", "/transactionId")
    if tx.active and tx.started_received_at - tx.started_at > LATE_START:
        # OCPP 1.6 section 5.16.1: it may have been sent from a queue.
        yield Finding(
            "transaction_reported_late",
            f"The start of transaction {tx.pk} was reported long after it happened: it may be over by now.",
            "/transactionId",
        )


# --- what the charge point has said of itself -------------------------------------------------------------------------
def _configuration(charge_point: ChargePoint) -> dict[str, str]:
    rows = ConfigurationKey.objects.filter(charge_point=charge_point, key__in=KEYS, known=True, value__isnull=False)
    return {row.key: row.value or "" for row in rows}


def _feature_missing(reported: Mapping[str, str]) -> Finding | None:
    features = reported.get("SupportedFeatureProfiles")
    if features is None or "smartcharging" in features.lower().replace(" ", ""):
        return None
    return Finding("profile_not_supported", "The charge point does not report the profile SmartCharging.")


def _limit_of(reported: Mapping[str, str], key: str) -> int | None:
    text = reported.get(key, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _by_configuration(reported: Mapping[str, str], profile: Mapping[str, Any]) -> Iterator[Finding]:
    missing = _feature_missing(reported)
    if missing is not None:
        yield missing
    highest = _limit_of(reported, "ChargeProfileMaxStackLevel")
    if highest is not None and profile["stackLevel"] > highest:
        yield Finding("stack_level_too_high", f"The charge point takes stack levels up to {highest}.", "/stackLevel")
    schedule = profile["chargingSchedule"]
    most = _limit_of(reported, "ChargingScheduleMaxPeriods")
    if most is not None and len(schedule["chargingSchedulePeriod"]) > most:
        yield Finding(
            "too_many_periods", f"The charge point takes up to {most} periods.",
            "/chargingSchedule/chargingSchedulePeriod",
        )  # fmt: skip
    unit = _unit_not_allowed(reported, schedule["chargingRateUnit"])
    if unit is not None:
        yield unit


def _unit_not_allowed(reported: Mapping[str, str], unit: str) -> Finding | None:
    """That the charge point does not take limits in `unit` (errata v4.0 3.86: Current is A, Power is W)."""
    words = reported.get("ChargingScheduleAllowedChargingRateUnit", "").lower().split(",")
    allowed = {UNIT_WORDS[word.strip()] for word in words if word.strip() in UNIT_WORDS}
    if not allowed or unit in allowed:
        return None
    return Finding(
        "unit_not_allowed", f"The charge point takes limits in {' and '.join(sorted(allowed))} only.",
        "/chargingSchedule/chargingRateUnit",
    )  # fmt: skip


# --- what it has already ----------------------------------------------------------------------------------------------
def _by_installed(
    charge_point: ChargePoint,
    profile: Mapping[str, Any],
    connector_id: int | None,
    reported: Mapping[str, str],
    now: datetime,
) -> Iterator[Finding]:
    purpose, level = profile["chargingProfilePurpose"], profile["stackLevel"]
    profile_id = profile.get("chargingProfileId")
    rows = list(InstalledProfile.objects.filter(charge_point=charge_point)[:MAX_INSTALLED_LOOKED_AT])
    numbered = {"chargingProfileId": 0, **profile}
    replaced = {row.pk for row in replaced_by(charge_point.pk, connector_id, numbered)}
    for row in rows:
        if row.charging_profile_id == profile_id and (row.connector_id, row.purpose) != (connector_id, purpose):
            yield Finding(
                "profile_id_in_use",
                f"The charge point has chargingProfileId {profile_id} as {row.purpose} on connector "
                f"{row.connector_id}: that one is replaced.",
                "/chargingProfileId",
            )
    yield from _of_the_library(profile)
    most = _limit_of(reported, "MaxChargingProfilesInstalled")
    if most is not None and len(rows) - len(replaced) >= most:
        yield Finding("too_many_profiles", f"The charge point takes up to {most} profiles and has {len(rows)}.")
    valid_from = parse_time(profile.get("validFrom"))
    if replaced and valid_from is not None and valid_from > now:
        yield Finding(
            "gap_until_valid",
            "It replaces a profile at once but is valid only later: until then the other one is missing.",
            "/validFrom",
        )
    beside = [row for row in rows if (row.connector_id, row.purpose) == (connector_id, purpose)]
    if _for_ever(profile) and any(row.stack_level < level for row in beside):
        yield Finding(
            "hides_lower_levels", "It has no end: profiles of lower stack levels no longer count.", "/stackLevel"
        )
    for row in beside:
        if row.stack_level > level and _for_ever(row.profile):
            yield Finding(
                "hidden_by_higher_level",
                f"Profile {row.charging_profile_id} of stack level {row.stack_level} has no end and hides this one.",
                "/stackLevel",
            )
            break


def _for_ever(profile: Mapping[str, Any]) -> bool:
    return "duration" not in profile["chargingSchedule"] and "validTo" not in profile


def _of_the_library(profile: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the chargingProfileId is that of another profile in the library."""
    row = ChargingProfile.objects.filter(pk=profile.get("chargingProfileId", 0)).first()
    if row is not None and without_ids(row.profile) != without_ids(profile):
        yield Finding(
            "profile_id_of_library", f"The library has another profile with the chargingProfileId {row.pk}.",
            "/chargingProfileId",
        )  # fmt: skip
