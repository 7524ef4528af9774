"""What is impossible and what is unwise about a charging profile."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stations.charging_profile_rules import judge, judge_request
from stations.models import ChargePoint, ChargingProfile, ConfigurationKey, InstalledProfile, Transaction
from tenants.models import Site, Tenant
from tests.stations.rows import HOUR, NOW, new_charge_point, new_id_tag, start, stop, wire

PERIODS = "/chargingSchedule/chargingSchedulePeriod"
ABSOLUTE: dict[str, Any] = {
    "stackLevel": 1,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute",
    "chargingSchedule": {
        "duration": 86400,
        "startSchedule": wire(NOW),
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0, "numberPhases": 3}],
    },
}
RECURRING = {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily"}
TX_PROFILE = {"chargingProfilePurpose": "TxProfile"}


def profile(schedule: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """An Absolute TxDefaultProfile without fault, changed; None takes a member away."""
    made = deepcopy(ABSOLUTE) | members
    made["chargingSchedule"] = made["chargingSchedule"] | (schedule or {})
    made["chargingSchedule"] = {name: value for name, value in made["chargingSchedule"].items() if value is not None}
    return {name: value for name, value in made.items() if value is not None}


def periods(*starts: int, **members: Any) -> dict[str, Any]:
    return {"chargingSchedulePeriod": [{"startPeriod": at, "limit": 6.0, **members} for at in starts]}


class TestImpossible:
    @pytest.mark.parametrize(
        ("wrong", "pointer"),
        [
            (profile(stackLevel=-1), "/stackLevel"),
            (profile(stackLevel=2**31), "/stackLevel"),
            (profile(stackLevel="1"), "/stackLevel"),
            (profile(chargingProfilePurpose="Other"), "/chargingProfilePurpose"),
            (profile(chargingProfileKind=None), "/chargingProfileKind"),
            (profile(recurrencyKind="Monthly"), "/recurrencyKind"),
            (profile(validFrom="tomorrow"), "/validFrom"),
            (profile(note="x"), "/note"),
            (profile({"chargingRateUnit": "kW"}), "/chargingSchedule/chargingRateUnit"),
            (profile({"chargingSchedulePeriod": []}), PERIODS),
            (profile(periods(0, limit=6.25)), f"{PERIODS}/0/limit"),
            (profile({"minChargingRate": 0.15}), "/chargingSchedule/minChargingRate"),
            (profile(periods(0, startPeriod=0.5)), f"{PERIODS}/0/startPeriod"),
            ([], ""),
            (None, ""),
        ],
    )
    def test_is_pointed_at_and_nothing_else_is_said(self, wrong: Any, pointer: str) -> None:
        judgement = judge(wrong)
        assert [problem.pointer for problem in judgement.problems] == [pointer]
        assert judgement.findings == []


class TestInItself:
    @pytest.mark.parametrize("limit", [6, 6.0, 16.1, 0, 11040.5])
    def test_profile_without_fault_has_no_findings(self, limit: float) -> None:
        judgement = judge(profile(periods(0, limit=limit)), now=NOW)
        assert (judgement.problems, judgement.findings) == ([], [])

    @pytest.mark.parametrize(
        ("odd", "code", "pointer"),
        [
            (profile(chargingProfileId=0), "profile_id_not_positive", "/chargingProfileId"),
            (profile(periods(60)), "first_period_not_zero", f"{PERIODS}/0/startPeriod"),
            (profile(periods(0, 60, 60)), "periods_not_ascending", f"{PERIODS}/2/startPeriod"),
            (profile(periods(0, 86400)), "period_beyond_duration", PERIODS),
            (profile({"duration": 0}), "duration_not_positive", "/chargingSchedule/duration"),
            (profile(periods(0, limit=-1)), "limit_negative", f"{PERIODS}/0/limit"),
            (profile(periods(0, numberPhases=4)), "number_phases_odd", f"{PERIODS}/0/numberPhases"),
            (profile(recurrencyKind="Daily"), "recurrency_kind_without_recurring", "/recurrencyKind"),
            (profile(chargingProfileKind="Recurring"), "recurrency_kind_missing", "/recurrencyKind"),
            (
                profile({"startSchedule": None}, **RECURRING),
                "recurring_without_start_schedule",
                "/chargingSchedule/startSchedule",
            ),
            (
                profile({**periods(0, 86400), "duration": 90000}, **RECURRING),
                "period_beyond_recurrence",
                PERIODS,
            ),
            (
                profile(chargingProfileKind="Relative"),
                "relative_with_start_schedule",
                "/chargingSchedule/startSchedule",
            ),
            (
                profile({"startSchedule": None}),
                "absolute_without_start_schedule",
                "/chargingSchedule/startSchedule",
            ),
            (profile(transactionId=1), "transaction_not_applicable", "/transactionId"),
            (
                profile(validFrom=wire(NOW + HOUR), validTo=wire(NOW + HOUR)),
                "valid_to_before_valid_from",
                "/validTo",
            ),
            (profile(validTo=wire(NOW)), "no_longer_valid", "/validTo"),
            (profile({"startSchedule": wire(NOW - 24 * HOUR)}), "schedule_over", "/chargingSchedule"),
        ],
    )
    def test_unwise_is_said_once_with_its_place(self, odd: dict[str, Any], code: str, pointer: str) -> None:
        (finding,) = judge(odd, now=NOW).findings
        assert (finding.code, finding.pointer) == (code, pointer)
        assert finding.detail.endswith(".")

    def test_weekly_schedule_may_have_periods_of_the_whole_week(self) -> None:
        weekly = profile({**periods(0, 6 * 86400), "duration": None}, **RECURRING | {"recurrencyKind": "Weekly"})
        assert judge(weekly, now=NOW).findings == []


def codes(odd: dict[str, Any], charge_point: ChargePoint, connector_id: int | None = 1, **options: Any) -> list[str]:
    return [finding.code for finding in judge(odd, charge_point, connector_id, now=NOW, **options).findings]


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag()
    return new_charge_point()


def running(charge_point: ChargePoint, **options: Any) -> int:
    return int(start(charge_point, **options).transaction_id)


def installed(charge_point: ChargePoint, installed_profile: dict[str, Any], connector_id: int = 1) -> None:
    InstalledProfile.objects.create(
        charge_point=charge_point, connector_id=connector_id, profile=installed_profile,
        charging_profile_id=installed_profile["chargingProfileId"],
        purpose=installed_profile["chargingProfilePurpose"], stack_level=installed_profile["stackLevel"],
        installed_at=NOW,
    )  # fmt: skip


class TestForAConnector:
    def test_tx_profile_of_the_running_transaction_is_fine(self, charge_point: ChargePoint) -> None:
        assert codes(profile(**TX_PROFILE, transactionId=running(charge_point)), charge_point) == []

    @pytest.mark.parametrize(("zone", "expected"), [("Europe/Berlin", True), ("Asia/Kolkata", False), ("UTC", False)])
    def test_recurring_by_utc_where_the_clocks_are_changed(
        self, charge_point: ChargePoint, zone: str, expected: bool
    ) -> None:
        charge_point.site = Site(slug="depot", name="Depot", time_zone=zone, tenant=charge_point.tenant)
        daily = profile({"startSchedule": "2026-11-01T21:00:00Z"}, **RECURRING)
        assert ("local_time_changes" in codes(daily, charge_point)) is expected
        assert "local_time_changes" not in codes(profile(), charge_point)

    def test_tx_profile_on_connector_0(self, charge_point: ChargePoint) -> None:
        tx = running(charge_point)
        found = codes(profile(**TX_PROFILE, transactionId=tx), charge_point, 0)
        assert found == ["tx_profile_on_connector_0", "other_connector"]

    def test_tx_profile_without_transaction(self, charge_point: ChargePoint) -> None:
        found = codes(profile(**TX_PROFILE), charge_point)
        assert found == ["tx_profile_without_transaction", "no_transaction"]
        running(charge_point)
        assert codes(profile(**TX_PROFILE), charge_point) == ["tx_profile_without_transaction"]

    @pytest.mark.parametrize("transaction_id", [0, -1, 2**31 - 1])
    def test_transaction_that_is_not_of_the_charge_point(self, charge_point: ChargePoint, transaction_id: int) -> None:
        odd = profile(**TX_PROFILE, transactionId=transaction_id)
        assert codes(odd, charge_point) == ["unknown_transaction"]

    def test_transaction_that_has_ended(self, charge_point: ChargePoint) -> None:
        tx = running(charge_point)
        stop(charge_point, tx)
        assert codes(profile(**TX_PROFILE, transactionId=tx), charge_point) == ["transaction_ended"]

    def test_transaction_whose_start_came_from_a_queue(self, charge_point: ChargePoint) -> None:
        tx = running(charge_point, timestamp=wire(NOW - HOUR))
        assert codes(profile(**TX_PROFILE, transactionId=tx), charge_point) == ["transaction_reported_late"]

    def test_charge_point_max_profile_belongs_on_connector_0(self, charge_point: ChargePoint) -> None:
        whole = profile(chargingProfilePurpose="ChargePointMaxProfile")
        assert codes(whole, charge_point, 0) == []
        assert codes(whole, charge_point, 1) == ["max_profile_not_on_connector_0"]


class TestForRemoteStart:
    def test_tx_profile_without_transaction_is_what_it_takes(self, charge_point: ChargePoint) -> None:
        assert codes(profile(**TX_PROFILE), charge_point, None, remote_start=True) == []

    def test_other_purpose_and_a_transaction_are_unwise(self, charge_point: ChargePoint) -> None:
        assert codes(profile(), charge_point, remote_start=True) == ["not_a_tx_profile"]
        odd = profile(**TX_PROFILE, transactionId=0)
        assert codes(odd, charge_point, remote_start=True) == ["transaction_not_applicable"]


class TestWhatTheChargePointSays:
    @pytest.mark.parametrize(
        ("key", "value", "code"),
        [
            ("ChargeProfileMaxStackLevel", "0", "stack_level_too_high"),
            ("ChargingScheduleMaxPeriods", "1", "too_many_periods"),
            ("ChargingScheduleAllowedChargingRateUnit", "Power", "unit_not_allowed"),
            ("MaxChargingProfilesInstalled", "0", "too_many_profiles"),
            ("SupportedFeatureProfiles", "Core,RemoteTrigger", "profile_not_supported"),
        ],
    )
    def test_limit_that_is_exceeded(self, charge_point: ChargePoint, key: str, value: str, code: str) -> None:
        ConfigurationKey.objects.create(charge_point=charge_point, key=key, value=value)
        assert codes(profile(periods(0, 60)), charge_point) == [code]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("ChargeProfileMaxStackLevel", "1"),
            ("ChargeProfileMaxStackLevel", "many"),
            ("ChargingScheduleMaxPeriods", "2"),
            ("ChargingScheduleAllowedChargingRateUnit", "Current, Power"),
            ("ChargingScheduleAllowedChargingRateUnit", "A"),
            ("ChargingScheduleAllowedChargingRateUnit", "yes"),
            ("MaxChargingProfilesInstalled", "1"),
            ("SupportedFeatureProfiles", "Core, SmartCharging"),
            ("SupportedFeatureProfiles", None),
        ],
    )
    def test_limit_that_is_kept_or_means_nothing(self, charge_point: ChargePoint, key: str, value: str | None) -> None:
        ConfigurationKey.objects.create(charge_point=charge_point, key=key, value=value)
        assert codes(profile(periods(0, 60)), charge_point) == []

    def test_profile_that_replaces_one_counts_once(self, charge_point: ChargePoint) -> None:
        ConfigurationKey.objects.create(charge_point=charge_point, key="MaxChargingProfilesInstalled", value="1")
        installed(charge_point, profile(chargingProfileId=7))
        assert codes(profile(chargingProfileId=7), charge_point) == []
        assert codes(profile(chargingProfileId=8), charge_point) == []
        assert codes(profile(chargingProfileId=8, stackLevel=2), charge_point) == ["too_many_profiles"]

    def test_request_without_a_profile(self, charge_point: ChargePoint) -> None:
        assert judge_request(charge_point, "A") == []
        ConfigurationKey.objects.create(charge_point=charge_point, key="SupportedFeatureProfiles", value="Core")
        ConfigurationKey.objects.create(
            charge_point=charge_point, key="ChargingScheduleAllowedChargingRateUnit", value="Current"
        )
        assert [finding.code for finding in judge_request(charge_point)] == ["profile_not_supported"]
        assert [finding.code for finding in judge_request(charge_point, "W")] == [
            "profile_not_supported",
            "unit_not_allowed",
        ]


class TestWhatIsInstalled:
    def test_id_that_another_profile_has_here(self, charge_point: ChargePoint) -> None:
        installed(charge_point, profile(chargingProfileId=7))
        assert codes(profile(chargingProfileId=7, stackLevel=5), charge_point) == []
        assert codes(profile(chargingProfileId=7), charge_point, 2) == ["profile_id_in_use"]

    def test_id_that_another_profile_has_in_the_library(self, charge_point: ChargePoint) -> None:
        row = ChargingProfile.objects.create(profile=profile())
        assert codes(profile(chargingProfileId=row.pk), charge_point) == []
        assert codes(profile(chargingProfileId=row.pk, stackLevel=0), charge_point) == ["profile_id_of_library"]

    def test_library_profile_with_a_transaction_is_still_that_profile(self, charge_point: ChargePoint) -> None:
        tx = running(charge_point)
        row = ChargingProfile.objects.create(profile=profile(**TX_PROFILE))
        sent = profile(**TX_PROFILE, chargingProfileId=row.pk, transactionId=tx)
        assert codes(sent, charge_point) == []

    def test_replacement_that_is_valid_only_later_leaves_a_gap(self, charge_point: ChargePoint) -> None:
        later = profile(chargingProfileId=7, validFrom=wire(NOW + HOUR))
        assert codes(later, charge_point) == []
        installed(charge_point, profile(chargingProfileId=6))
        assert codes(later, charge_point) == ["gap_until_valid"]

    def test_level_without_end_hides_lower_ones(self, charge_point: ChargePoint) -> None:
        endless = profile({"duration": None}, chargingProfileId=7, stackLevel=3)
        assert codes(endless, charge_point) == []
        installed(charge_point, profile(chargingProfileId=6))
        assert codes(endless, charge_point) == ["hides_lower_levels"]
        assert codes(endless | {"validTo": wire(NOW + HOUR)}, charge_point) == []
        installed(charge_point, endless)
        assert codes(profile(chargingProfileId=8, stackLevel=2), charge_point) == ["hidden_by_higher_level"]
        assert codes(profile(chargingProfileId=8, stackLevel=2), charge_point, 2) == []

    def test_costs_a_fixed_number_of_queries(
        self, charge_point: ChargePoint, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(1, 21):
            installed(charge_point, profile(chargingProfileId=number, stackLevel=number))
        with django_assert_max_num_queries(5):
            judge(profile(**TX_PROFILE, chargingProfileId=1, transactionId=1), charge_point, 1, now=NOW)


def test_now_is_now_when_it_is_not_said(in_tenant_a: Tenant) -> None:
    past, future = (wire(datetime.now(UTC) + timedelta(hours=hours)) for hours in (-1, 1))
    start_schedule = {"startSchedule": past}
    assert judge(profile(start_schedule, validTo=future)).findings == []
    assert [finding.code for finding in judge(profile(start_schedule, validTo=past)).findings] == ["no_longer_valid"]
    assert not Transaction.objects.exists()
