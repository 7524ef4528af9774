"""The Smart Charging profile of OCPP 1.6: ClearChargingProfile, GetCompositeSchedule, SetChargingProfile.

All three go to the charge point; a profile may also travel in RemoteStartTransaction (stations/ocpp/core.py). What the
answers change is in stations/charging_profiles.py, what is unwise about a profile in charging_profile_rules.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ocpp.v16 import call_result

from csms.ocppj.times import format_time, parse_time
from stations import charging_profiles
from stations.charging_profile_rules import Finding, judge, judge_request
from stations.composite_comparison import answer_of
from stations.models import ChargePoint, Command
from stations.models.charging_profile import Purpose

# Longer schedules are not compared with ours: a recurring profile has break points every day.
MAX_COMPARED_SECONDS = 31 * 86_400
Warnings = list[tuple[str, str]]


# --- SetChargingProfile -----------------------------------------------------------------------------------------------
def set_charging_profile_complete(charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
    """Give the profile a chargingProfileId if it has none; nothing else is touched."""
    return charging_profiles.with_profile_id("SetChargingProfile", payload)


def set_charging_profile_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> Warnings:
    """What is unwise about a SetChargingProfile.req; see stations/charging_profile_rules.py."""
    return _told(judge(payload["csChargingProfiles"], charge_point, payload["connectorId"]).findings)


def set_charging_profile_conf(command: Command, conf: call_result.SetChargingProfile, now: datetime) -> None:
    """Accepted: the charge point has the profile, and no longer what it replaces. Rejected, NotSupported: no change.

    A TxProfile whose transaction has ended meanwhile is gone already: the stop came before this answer.
    Source: OCPP 1.6 ed. 2, 5.16, 6.43, 6.44.
    """
    if conf.status != "Accepted":
        return
    connector_id, profile = command.payload["connectorId"], command.payload["csChargingProfiles"]
    tx = None
    if profile["chargingProfilePurpose"] == Purpose.TX_PROFILE:
        tx = charging_profiles.transaction_of(command.charge_point, connector_id, profile)
        if tx is not None and not tx.active:
            charging_profiles.replaced_by(command.charge_point_id, connector_id, profile).delete()
            return
    charging_profiles.install(command, connector_id, profile, tx, now)


# --- ClearChargingProfile ---------------------------------------------------------------------------------------------
def clear_charging_profile_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> Warnings:
    """What is unwise about a ClearChargingProfile.req. Source: OCPP 1.6 ed. 2, 5.5; errata v4.0 3.25."""
    findings = judge_request(charge_point)
    if "id" in payload and len(payload) > 1:
        findings.append(Finding("criteria_ignored", "With an id the charge point does not look at the other members."))
    if not charging_profiles.matching_criteria(charge_point.pk, payload).exists():
        findings.append(Finding("nothing_known_to_clear", "No profile that we know of is meant by this."))
    return _told(findings)


def clear_charging_profile_conf(command: Command, conf: call_result.ClearChargingProfile, now: datetime) -> None:
    """Drop what the request meant: Accepted, it is gone; Unknown, the charge point never had it or has it no more.

    Source: OCPP 1.6 ed. 2, 5.5, 6.11, 6.12; errata v4.0 3.25, 3.26.
    """
    if conf.status in ("Accepted", "Unknown"):
        charging_profiles.matching_criteria(command.charge_point_id, command.payload).delete()


# --- GetCompositeSchedule ---------------------------------------------------------------------------------------------
def get_composite_schedule_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> Warnings:
    """What is unwise about a GetCompositeSchedule.req. Source: OCPP 1.6 ed. 2, 5.7; errata v4.0 3.86."""
    findings = judge_request(charge_point, payload.get("chargingRateUnit"))
    if payload["duration"] <= 0:
        findings.append(Finding("duration_not_positive", "A schedule of no length says nothing."))
    return _told(findings)


def get_composite_schedule_conf(command: Command, conf: call_result.GetCompositeSchedule, now: datetime) -> None:
    """Compare the schedule with ours: profiles that decide a part of it are confirmed where the two agree.

    The schedule itself stands in the command. `effect` is {"agrees": true, false, or null if we know of no limit,
    "charging_profile_ids": [those that decide a part of ours]}. Nothing changes without a schedule, or with one that
    cannot be compared.
    Source: OCPP 1.6 ed. 2, 5.7, 6.21, 6.22; errata v4.0 3.57.
    """
    charge_point = command.charge_point
    start = parse_time(conf.schedule_start, charge_point.zone)
    said = {"status": conf.status, "chargingSchedule": conf.charging_schedule}
    if start is not None:
        said["scheduleStart"] = format_time(start)
    answer = answer_of(said, command.payload, command.sent_at or now)
    if answer is None or not answer.periods or not 0 < answer.duration_seconds <= MAX_COMPARED_SECONDS:
        return
    installation = charging_profiles.Installation.of(charge_point)
    try:
        agreed, ours = installation.compare(command.payload["connectorId"], answer)
    except (ValueError, OverflowError):
        return
    ids = [] if agreed is None else charging_profiles.take_in_agreement(charge_point, ours, agreed, now)
    command.effect = {"agrees": agreed, "charging_profile_ids": ids}
    command.save(update_fields=["effect"])


def _told(findings: list[Finding]) -> Warnings:
    return [(finding.code, finding.detail) for finding in findings]
