"""Smart Charging: what the charge point's answers change in our record of what it has."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ocpp.v16 import call_result

from stations import commands, transactions
from stations.charging_profiles import Installation, agrees, with_library_profile
from stations.composite_comparison import Answer
from stations.composite_schedule import Period
from stations.models import ChargePoint, ChargingProfile, Command, Connector, InstalledProfile, Transaction
from stations.models.command import CommandStatus
from stations.ocpp import core, smart_charging
from tenants.models import Tenant
from tests.stations.rows import HOUR, MINUTE, NOW, new_charge_point, new_id_tag, start, stop, wire


def profile(pk: int, level: int = 0, purpose: str = "TxDefaultProfile", limit: Any = 6.0, **members: Any) -> Any:
    """A profile that limits from NOW on, for ever."""
    return {
        "chargingProfileId": pk,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "startSchedule": wire(NOW),
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
        },
        **members,
    }


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag()
    return new_charge_point()


def command_of(charge_point: ChargePoint, action: str, payload: dict[str, Any]) -> Command:
    return Command.objects.create(
        charge_point=charge_point, action=action, payload=payload, requested_by="otto", status=CommandStatus.ANSWERED,
        created_at=NOW, sent_at=NOW, expires_at=NOW + HOUR,
    )  # fmt: skip


def set_profile(charge_point: ChargePoint, connector_id: int, one: Any, status: str = "Accepted") -> None:
    command = command_of(charge_point, "SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": one})
    smart_charging.set_charging_profile_conf(command, call_result.SetChargingProfile(status=status), NOW)


def clear(charge_point: ChargePoint, status: str = "Accepted", **payload: Any) -> None:
    command = command_of(charge_point, "ClearChargingProfile", payload)
    smart_charging.clear_charging_profile_conf(command, call_result.ClearChargingProfile(status=status), NOW)


def installed() -> dict[int, int]:
    """The connector of each chargingProfileId."""
    return dict(InstalledProfile.objects.values_list("charging_profile_id", "connector_id"))


class TestSetChargingProfile:
    def test_accepted_profile_is_kept_as_it_was_sent(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(7, 2))
        row = InstalledProfile.objects.get()
        assert (row.charging_profile_id, row.connector_id, row.purpose, row.stack_level) == (
            7, 1, "TxDefaultProfile", 2,
        )  # fmt: skip
        assert (row.profile, row.state, row.installed_at) == (profile(7, 2), "believed", NOW)
        assert (row.transaction, row.library, row.command) == (None, None, Command.objects.get())

    @pytest.mark.parametrize("status", ["Rejected", "NotSupported", "Whatever"])
    def test_any_other_answer_changes_nothing(self, charge_point: ChargePoint, status: str) -> None:
        set_profile(charge_point, 1, profile(7))
        set_profile(charge_point, 1, profile(8), status)
        assert installed() == {7: 1}

    def test_same_id_replaces_wherever_it_was(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(7))
        set_profile(charge_point, 2, profile(7, 3))
        assert installed() == {7: 2}

    def test_same_purpose_and_level_on_the_same_connector_replaces(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(7))
        set_profile(charge_point, 2, profile(8))
        set_profile(charge_point, 1, profile(9, 1))
        set_profile(charge_point, 1, profile(10))
        assert installed() == {8: 2, 9: 1, 10: 1}

    def test_one_profile_may_replace_two(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(7))
        set_profile(charge_point, 2, profile(8))
        set_profile(charge_point, 1, profile(8))
        assert installed() == {8: 1}

    def test_default_of_connector_0_and_that_of_a_connector_stand_side_by_side(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 0, profile(7))
        set_profile(charge_point, 1, profile(8))
        set_profile(charge_point, 0, profile(9, 0, "ChargePointMaxProfile"))
        assert installed() == {7: 0, 8: 1, 9: 0}

    def test_repeated_answer_leaves_one_row(self, charge_point: ChargePoint) -> None:
        for _ in range(2):
            set_profile(charge_point, 1, profile(7))
        assert installed() == {7: 1}

    def test_profile_of_the_library_is_tied_to_it(self, charge_point: ChargePoint) -> None:
        row = ChargingProfile.objects.create(profile=profile(0))
        set_profile(charge_point, 1, profile(row.pk))
        assert InstalledProfile.objects.get().library == row
        row.delete()
        assert InstalledProfile.objects.get().library is None

    def test_tx_profile_belongs_to_the_transaction_it_names(self, charge_point: ChargePoint) -> None:
        tx = start(charge_point).transaction_id
        set_profile(charge_point, 1, profile(7, 0, "TxProfile", transactionId=tx))
        assert InstalledProfile.objects.get().transaction_id == tx

    def test_tx_profile_without_transaction_belongs_to_the_one_that_runs(self, charge_point: ChargePoint) -> None:
        tx = start(charge_point).transaction_id
        set_profile(charge_point, 1, profile(7, 0, "TxProfile"))
        assert InstalledProfile.objects.get().transaction_id == tx

    def test_tx_profile_of_a_transaction_that_has_ended_meanwhile_is_not_kept(self, charge_point: ChargePoint) -> None:
        tx = start(charge_point).transaction_id
        stop(charge_point, tx)
        set_profile(charge_point, 1, profile(7, 0, "TxProfile", transactionId=tx))
        assert installed() == {}


class TestTransactionEnds:
    def test_stop_drops_the_profiles_of_the_transaction_and_no_others(self, charge_point: ChargePoint) -> None:
        first, second = (start(charge_point, connector_id=number).transaction_id for number in (1, 2))
        set_profile(charge_point, 1, profile(7, 0, "TxProfile", transactionId=first))
        set_profile(charge_point, 1, profile(8, 1, "TxProfile", transactionId=first))
        set_profile(charge_point, 2, profile(9, 0, "TxProfile", transactionId=second))
        set_profile(charge_point, 1, profile(10))
        stop(charge_point, first)
        assert installed() == {9: 2, 10: 1}

    def test_tx_profile_for_nobody_goes_with_the_next_that_ends_on_its_connector(
        self, charge_point: ChargePoint
    ) -> None:
        set_profile(charge_point, 1, profile(7, 0, "TxProfile"))
        set_profile(charge_point, 2, profile(8, 0, "TxProfile"))
        stop(charge_point, start(charge_point).transaction_id)
        assert installed() == {8: 2}

    def test_operator_who_closes_the_record_drops_them_too(self, charge_point: ChargePoint) -> None:
        tx = start(charge_point).transaction_id
        set_profile(charge_point, 1, profile(7, 0, "TxProfile", transactionId=tx))
        transactions.close_by_operator(Transaction.objects.get(pk=tx), NOW + HOUR)
        assert installed() == {}

    def test_next_transaction_on_the_connector_drops_those_of_the_one_it_supersedes(
        self, charge_point: ChargePoint
    ) -> None:
        tx = start(charge_point).transaction_id
        set_profile(charge_point, 1, profile(7, 0, "TxProfile", transactionId=tx))
        start(charge_point, meter_start=2000, now=NOW + HOUR)
        assert installed() == {}

    def test_profiles_of_another_charge_point_stay(self, charge_point: ChargePoint) -> None:
        other = new_charge_point("CP-2")
        set_profile(other, 1, profile(7, 0, "TxProfile"))
        stop(charge_point, start(charge_point).transaction_id)
        assert installed() == {7: 1}


class TestRemoteStart:
    def remote_start(self, charge_point: ChargePoint, one: Any, status: str = "Accepted") -> Command:
        payload = {"connectorId": 1, "idTag": "TAG-1", "chargingProfile": one}
        command = command_of(charge_point, "RemoteStartTransaction", payload)
        core.remote_start_transaction_conf(command, call_result.RemoteStartTransaction(status=status), NOW)
        command.status, command.response = CommandStatus.ANSWERED, {"status": status}
        command.save()
        return command

    def test_profile_holds_for_the_transaction_that_follows(self, charge_point: ChargePoint) -> None:
        command = self.remote_start(charge_point, profile(7, 0, "TxProfile"))
        assert installed() == {}
        tx = start(charge_point, now=NOW + MINUTE).transaction_id
        row = InstalledProfile.objects.get()
        assert (row.transaction_id, row.connector_id, row.command) == (tx, 1, command)
        # A repetition of the start changes nothing, nor does it bring back what was replaced.
        set_profile(charge_point, 1, profile(8, 0, "TxProfile", transactionId=tx))
        start(charge_point, now=NOW + MINUTE)
        assert installed() == {8: 1}
        stop(charge_point, tx)
        assert installed() == {}

    def test_refused_remote_start_installs_nothing(self, charge_point: ChargePoint) -> None:
        self.remote_start(charge_point, profile(7, 0, "TxProfile"), "Rejected")
        start(charge_point, now=NOW + MINUTE)
        assert installed() == {}

    def test_other_purpose_than_tx_profile_is_not_believed(self, charge_point: ChargePoint) -> None:
        self.remote_start(charge_point, profile(7))
        start(charge_point, now=NOW + MINUTE)
        assert installed() == {}


class TestClearChargingProfile:
    @pytest.fixture(autouse=True)
    def _three(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 0, profile(1, 0, "ChargePointMaxProfile"))
        set_profile(charge_point, 0, profile(2))
        set_profile(charge_point, 1, profile(3, 1))

    @pytest.mark.parametrize(
        ("payload", "left"),
        [
            ({"id": 2}, [1, 3]),
            ({"id": 2, "connectorId": 1, "stackLevel": 9}, [1, 3]),
            ({"id": 99}, [1, 2, 3]),
            ({"connectorId": 0}, [3]),
            ({"chargingProfilePurpose": "TxDefaultProfile"}, [1]),
            ({"stackLevel": 0}, [3]),
            ({"connectorId": 0, "chargingProfilePurpose": "TxDefaultProfile"}, [1, 3]),
            ({"connectorId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}, [1, 2, 3]),
            ({}, []),
        ],
    )
    @pytest.mark.parametrize("status", ["Accepted", "Unknown"])
    def test_drops_what_the_request_meant(
        self, charge_point: ChargePoint, payload: dict[str, Any], left: list[int], status: str
    ) -> None:
        clear(charge_point, status, **payload)
        assert sorted(installed()) == left

    def test_unknown_word_changes_nothing(self, charge_point: ChargePoint) -> None:
        clear(charge_point, "Rejected")
        assert sorted(installed()) == [1, 2, 3]

    def test_other_charge_points_are_left_alone(self, charge_point: ChargePoint) -> None:
        clear(new_charge_point("CP-2"))
        assert sorted(installed()) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("payload", "codes"),
        [
            ({}, []),
            ({"id": 1}, []),
            ({"id": 1, "stackLevel": 0}, ["criteria_ignored"]),
            ({"id": 4}, ["nothing_known_to_clear"]),
            ({"connectorId": 2}, ["nothing_known_to_clear"]),
        ],
    )
    def test_warnings(self, charge_point: ChargePoint, payload: dict[str, Any], codes: list[str]) -> None:
        found = smart_charging.clear_charging_profile_warnings(charge_point, payload)
        assert [code for code, _ in found] == codes


class TestGetCompositeSchedule:
    def ask(
        self, charge_point: ChargePoint, periods: Any, *, unit: str = "A", connector_id: int = 1, **members: Any
    ) -> Any:
        """The effect of an answer with these periods; `members` of the confirmation."""
        payload = {"connectorId": connector_id, "duration": 600}
        command = command_of(charge_point, "GetCompositeSchedule", payload)
        schedule = {"duration": 600, "chargingRateUnit": unit, "chargingSchedulePeriod": periods}
        conf = {"status": "Accepted", "schedule_start": wire(NOW), "charging_schedule": schedule} | members
        smart_charging.get_composite_schedule_conf(command, call_result.GetCompositeSchedule(**conf), NOW)
        command.refresh_from_db()
        return command.effect

    def states(self) -> dict[int, str]:
        return dict(InstalledProfile.objects.values_list("charging_profile_id", "state"))

    def test_agreement_confirms_the_profiles_that_decide(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(1, 0))
        set_profile(charge_point, 1, profile(2, 1, limit=10.0))
        effect = self.ask(charge_point, [{"startPeriod": 0, "limit": 10.0, "numberPhases": 3}])
        assert effect == {"agrees": True, "charging_profile_ids": [2]}
        assert self.states() == {1: "believed", 2: "confirmed"}
        assert InstalledProfile.objects.get(charging_profile_id=2).confirmed_at == NOW

    def test_agreement_in_the_other_unit_and_on_connector_0(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 0, profile(1, 0, "ChargePointMaxProfile", 16.0))
        effect = self.ask(charge_point, [{"startPeriod": 0, "limit": 11040.0}], unit="W", connector_id=0)
        assert effect == {"agrees": True, "charging_profile_ids": [1]}

    def test_connector_0_may_be_answered_by_its_own_profile_alone(self, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1)
        set_profile(charge_point, 0, profile(1, 0, "ChargePointMaxProfile", 32.0))
        set_profile(charge_point, 1, profile(2))
        assert self.ask(charge_point, [{"startPeriod": 0, "limit": 6.0}]) == {
            "agrees": True,
            "charging_profile_ids": [2],
        }
        # The sum of the connectors decides there, as we compute it.
        ours = self.ask(charge_point, [{"startPeriod": 0, "limit": 6.0}], connector_id=0)
        assert ours == {"agrees": True, "charging_profile_ids": [2]}
        own = self.ask(charge_point, [{"startPeriod": 0, "limit": 32.0}], connector_id=0)
        assert own == {"agrees": True, "charging_profile_ids": [1]}
        assert self.states() == {1: "confirmed", 2: "confirmed"}
        neither = self.ask(charge_point, [{"startPeriod": 0, "limit": 20.0}], connector_id=0)
        assert neither == {"agrees": False, "charging_profile_ids": [1]}
        assert self.states() == {1: "believed", 2: "confirmed"}

    def test_disagreement_takes_the_confirmation_back(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(1))
        self.ask(charge_point, [{"startPeriod": 0, "limit": 6.0}])
        assert self.ask(charge_point, [{"startPeriod": 0, "limit": 6.0}, {"startPeriod": 300, "limit": 32.0}]) == {
            "agrees": False,
            "charging_profile_ids": [1],
        }
        assert self.states() == {1: "believed"}

    def test_without_a_limit_of_ours_there_is_nothing_to_confirm(self, charge_point: ChargePoint) -> None:
        assert self.ask(charge_point, [{"startPeriod": 0, "limit": 32.0}]) == {
            "agrees": None,
            "charging_profile_ids": [],
        }

    @pytest.mark.parametrize(
        "members",
        [
            {"status": "Rejected", "charging_schedule": None, "schedule_start": None},
            {"charging_schedule": None},
            {"charging_schedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": []}},
            {"charging_schedule": {"chargingRateUnit": "kW", "chargingSchedulePeriod": [{"limit": 1}]}},
            {"charging_schedule": {"duration": 2**31 - 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [{}]}},
        ],
    )  # fmt: skip
    def test_what_cannot_be_compared_changes_nothing(self, charge_point: ChargePoint, members: Any) -> None:
        set_profile(charge_point, 1, profile(1))
        assert self.ask(charge_point, [], **members) is None
        assert self.states() == {1: "believed"}

    def test_profile_with_an_impossible_time_is_no_reason_to_fail(self, charge_point: ChargePoint) -> None:
        set_profile(charge_point, 1, profile(1, validFrom="0000-01-01T00:00:00Z"))
        assert self.ask(charge_point, [{"startPeriod": 0, "limit": 6.0}]) is None

    def test_start_of_its_clock_counts_and_the_time_of_receipt_without_one(self, charge_point: ChargePoint) -> None:
        late = profile(1)
        late["chargingSchedule"]["startSchedule"] = wire(NOW + 5 * MINUTE)
        set_profile(charge_point, 1, late)
        expected = [{"startPeriod": 0, "limit": 32.0}, {"startPeriod": 300, "limit": 6.0}]
        assert self.ask(charge_point, expected, schedule_start=None)["agrees"] is True
        later = wire(NOW + 5 * MINUTE)
        assert self.ask(charge_point, [{"startPeriod": 0, "limit": 6.0}], schedule_start=later)["agrees"] is True

    def test_few_seconds_and_a_rounded_limit_are_still_agreement(self, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1)
        steps = [{"startPeriod": 0, "limit": 16.0}, {"startPeriod": 300, "limit": 6.0}]
        one = profile(1)
        one["chargingSchedule"]["chargingSchedulePeriod"] = steps
        set_profile(charge_point, 1, one)
        ours = Installation.of(charge_point).schedule(1, start=NOW, duration_seconds=600, unit="A")

        def agreed(seconds: int, *steps: tuple[int, str]) -> bool | None:
            periods = tuple(Period(begin, Decimal(limit)) for begin, limit in steps)
            return agrees(ours, Answer(NOW, seconds, "A", periods))

        assert agreed(600, (0, "15.9"), (303, "6")) is True
        assert agreed(600, (0, "15.9"), (306, "6")) is False
        assert agreed(200, (0, "15.8")) is False
        assert agreed(200, (0, "16.0")) is True
        assert agreed(200, (100, "16.0")) is False

    def test_warning_about_a_schedule_of_no_length(self, charge_point: ChargePoint) -> None:
        found = smart_charging.get_composite_schedule_warnings(charge_point, {"connectorId": 1, "duration": 0})
        assert [code for code, _ in found] == ["duration_not_positive"]


class TestRequests:
    @pytest.mark.parametrize(
        "payload",
        [{}, {"csChargingProfiles": None}, {"csChargingProfiles": "x"}, {"csChargingProfiles": [{}]}],
    )
    def test_garbage_is_left_as_it_is(self, charge_point: ChargePoint, payload: dict[str, Any]) -> None:
        assert smart_charging.set_charging_profile_complete(charge_point, payload) == payload
        with pytest.raises(commands.CommandRefused):
            commands.enqueue(charge_point, "SetChargingProfile", payload, "otto")

    def test_id_that_was_given_is_kept_and_one_that_was_not_is_new_each_time(self, charge_point: ChargePoint) -> None:
        given = {"connectorId": 1, "csChargingProfiles": profile(7)}
        assert smart_charging.set_charging_profile_complete(charge_point, given) == given
        without = {"chargingProfile": {"stackLevel": 0}}
        first, second = (
            core.remote_start_transaction_complete(charge_point, without)["chargingProfile"]["chargingProfileId"]
            for _ in range(2)
        )
        assert 0 < first < second < 2**31
        assert not ChargingProfile.objects.exists()

    def test_profile_of_the_library_gets_nothing_but_its_id(self, charge_point: ChargePoint) -> None:
        content = {name: value for name, value in profile(0).items() if name != "chargingProfileId"}
        row = ChargingProfile.objects.create(profile=content | {"transactionId": 5})
        sent = with_library_profile("SetChargingProfile", {"connectorId": 1}, row)
        assert sent == {
            "connectorId": 1,
            "csChargingProfiles": {"chargingProfileId": row.pk, "transactionId": 5, **content},
        }
        begun = with_library_profile("RemoteStartTransaction", {"idTag": "T"}, row)
        assert begun == {"idTag": "T", "chargingProfile": {"chargingProfileId": row.pk, **content}}

    def test_remote_start_without_profile_has_nothing_to_warn_of(self, charge_point: ChargePoint) -> None:
        new_id_tag("T")
        assert core.remote_start_transaction_warnings(charge_point, {"idTag": "T"}) == []
        warned = core.remote_start_transaction_warnings(charge_point, {"idTag": "T", "chargingProfile": profile(1)})
        assert [code for code, _ in warned] == ["not_a_tx_profile"]

    def test_answer_long_after_the_timeout_is_taken_in(self, charge_point: ChargePoint) -> None:
        command = commands.enqueue(
            charge_point, "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile(7)}, "otto"
        )
        Command.objects.filter(pk=command.pk).update(status="timed_out", message_id="m", sent_at=NOW)
        commands.answered(
            charge_point, NOW + timedelta(minutes=5), message_id="m", payload={"status": "Accepted"}, late=True
        )
        assert installed() == {7: 1}
