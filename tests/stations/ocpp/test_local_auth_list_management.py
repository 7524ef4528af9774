"""Local Authorization List Management: the functions around GetLocalListVersion and SendLocalList."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ocpp.v16 import call_result

from stations import commands
from stations.models import ChargePoint, Command, CommandBatch, ConfigurationKey, LocalAuthList, LocalAuthListEntry
from stations.models.local_auth_list import MAX_VERSION
from stations.ocpp import local_auth_list_management as profile
from stations.refusal import CommandRefused
from tests.stations.rows import MINUTE, NOW, new_charge_point, wire

ACCEPTED = {"status": "Accepted"}


@pytest.fixture
def charge_point(in_tenant_a: Any) -> ChargePoint:
    return new_charge_point()


def entry(id_tag: str, info: dict[str, Any] | None = ACCEPTED) -> dict[str, Any]:
    return {"idTag": id_tag} if info is None else {"idTag": id_tag, "idTagInfo": info}


def send(
    charge_point: ChargePoint, update_type: str, *entries: dict[str, Any], version: int | None = None, **options: Any
) -> Command:
    """Queue a SendLocalList; the version is left out unless given."""
    payload: dict[str, Any] = {"updateType": update_type, "localAuthorizationList": list(entries)}
    if version is not None:
        payload["listVersion"] = version
    return commands.enqueue(charge_point, "SendLocalList", payload, "test", **options)


def answer(command: Command, status: str = "Accepted", now: Any = NOW) -> None:
    profile.send_local_list_conf(command, call_result.SendLocalList(status=status), now)
    command.status = "answered"
    command.save(update_fields=["status"])


def report(charge_point: ChargePoint, version: int, now: Any = NOW) -> Command:
    command = commands.enqueue(charge_point, "GetLocalListVersion", {}, "test")
    profile.get_local_list_version_conf(command, call_result.GetLocalListVersion(list_version=version), now)
    return command


def the_list() -> LocalAuthList:
    return LocalAuthList.objects.get()


def installed() -> dict[str, Any]:
    rows = LocalAuthListEntry.objects.order_by("key")
    # The row keeps count of what is beneath it.
    row = the_list()
    assert row.installed_length == len(rows)
    assert row.installed_fingerprint == sum(entry.fingerprint for entry in rows) % 2**63
    return {entry.id_tag: entry.info for entry in rows}


def codes(command: Command) -> list[str]:
    return [warning["code"] for warning in command.warnings]


class TestGetLocalListVersion:
    def test_not_supported_is_no_version(self, charge_point: ChargePoint) -> None:
        report(charge_point, -1)
        row = the_list()
        assert (row.reported_version, row.reported_at, row.installed_version) == (-1, NOW, None)
        assert row.not_supported
        assert row.next_version == 1

    def test_empty_is_a_list_that_we_know(self, charge_point: ChargePoint) -> None:
        command = report(charge_point, 0)
        row = the_list()
        assert (row.reported_version, row.installed_version, row.certain, row.not_supported) == (0, 0, True, False)
        assert codes(command) == []

    def test_version_of_an_unknown_list_does_not_make_it_known(self, charge_point: ChargePoint) -> None:
        report(charge_point, 7)
        row = the_list()
        assert (row.reported_version, row.installed_version, row.certain, row.next_version) == (7, None, False, 8)

    def test_other_version_than_believed_is_said_and_changes_no_entry(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", entry("A")))
        command = report(charge_point, 0, NOW + MINUTE)
        assert command.warnings == [
            {
                "code": "list_version_differs",
                "detail": "The charge point reports version 0; we believed that it has 1.",
            }
        ]
        row = the_list()
        assert (row.drift, row.certain, row.installed_version) == (True, False, 1)
        assert installed() == {"A": ACCEPTED}

    def test_list_sent_after_the_drift_ends_it(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", entry("A")))
        report(charge_point, 5, NOW + MINUTE)
        command = send(charge_point, "Full", entry("A"))
        assert command.payload["listVersion"] == 6
        answer(command, now=NOW + 2 * MINUTE)
        assert (the_list().drift, the_list().certain) == (False, True)

    def test_version_believed_tells_that_an_unanswered_list_was_not_taken(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", entry("A")))
        command = send(charge_point, "Full", entry("B"))
        command.status = "timed_out"
        profile.send_local_list_without_answer(command, NOW)
        assert (the_list().outcome, the_list().certain) == ("timed_out", False)
        report(charge_point, 1, NOW + MINUTE)
        assert (the_list().outcome, the_list().certain) == ("", True)

    def test_number_beyond_any_column_is_kept_as_the_greatest(self, charge_point: ChargePoint) -> None:
        report(charge_point, 10**30)
        assert the_list().reported_version == 2**63 - 1
        with pytest.raises(CommandRefused) as refused:
            send(charge_point, "Full")
        assert refused.value.code == "list_versions_exhausted"


class TestVersion:
    def test_each_request_gets_a_greater_one(self, charge_point: ChargePoint) -> None:
        versions = [send(charge_point, "Full").payload["listVersion"] for _ in range(3)]
        assert versions == [1, 2, 3]

    def test_is_greater_than_what_was_reported_or_given_by_hand(self, charge_point: ChargePoint) -> None:
        report(charge_point, 41)
        assert send(charge_point, "Full").payload["listVersion"] == 42
        assert send(charge_point, "Full", version=100).payload["listVersion"] == 100
        assert send(charge_point, "Full").payload["listVersion"] == 101

    def test_withdrawn_request_does_not_give_its_version_back(self, charge_point: ChargePoint) -> None:
        assert commands.withdraw(send(charge_point, "Full"))
        assert send(charge_point, "Full").payload["listVersion"] == 2

    @pytest.mark.parametrize("version", [0, -1, 5])
    def test_given_one_stays(self, charge_point: ChargePoint, version: int) -> None:
        assert send(charge_point, "Full", version=version).payload["listVersion"] == version

    @pytest.mark.parametrize("payload", [{"listVersion": None}, {"listVersion": "x"}, {"listVersion": []}])
    def test_given_garbage_stays_garbage(self, charge_point: ChargePoint, payload: dict[str, Any]) -> None:
        assert profile.send_local_list_complete(charge_point, payload) == payload

    def test_garbage_beside_it_does_not_matter(self, charge_point: ChargePoint) -> None:
        found = profile.send_local_list_complete(charge_point, {"updateType": 7, "x": {}})
        assert found == {"updateType": 7, "x": {}, "listVersion": 1}

    def test_operator_can_begin_anew_after_the_greatest(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", version=MAX_VERSION))
        with pytest.raises(CommandRefused) as refused:
            send(charge_point, "Full")
        assert refused.value.code == "list_versions_exhausted"
        answer(send(charge_point, "Full", version=1), now=NOW + MINUTE)
        assert send(charge_point, "Full").payload["listVersion"] == 2

    def test_many_charge_points_get_their_own(self, charge_point: ChargePoint) -> None:
        other = new_charge_point("CP-2")
        report(other, 9)
        batch = commands.enqueue_many([charge_point, other], "SendLocalList", {"updateType": "Full"}, "test")
        found = Command.objects.filter(batch=batch).values_list("charge_point__identity", "payload")
        assert dict(found) == {
            "CP-1": {"listVersion": 1, "updateType": "Full"},
            "CP-2": {"listVersion": 10, "updateType": "Full"},
        }


class TestAccepted:
    def test_full_list_replaces(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", entry("A"), entry("B")))
        command = send(charge_point, "Full", entry("b", {"status": "Blocked"}), entry("C"))
        answer(command, now=NOW + MINUTE)
        assert installed() == {"b": {"status": "Blocked"}, "C": ACCEPTED}
        row = the_list()
        assert (row.installed_version, row.installed_at, row.installed_by) == (2, NOW + MINUTE, command)
        assert (row.outcome, row.certain) == ("Accepted", True)

    @pytest.mark.parametrize("payload", [{"localAuthorizationList": []}, {}])
    def test_empty_or_absent_full_list_clears(self, charge_point: ChargePoint, payload: dict[str, Any]) -> None:
        answer(send(charge_point, "Full", entry("A")))
        answer(commands.enqueue(charge_point, "SendLocalList", {"updateType": "Full", **payload}, "test"))
        assert installed() == {}
        assert (the_list().installed_version, the_list().certain) == (2, True)

    def test_differential_adds_changes_and_removes_whatever_the_case(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", entry("A"), entry("B"), entry("C")))
        blocked = {"status": "Blocked"}
        answer(send(charge_point, "Differential", entry("a", None), entry("b", blocked), entry("D"), entry("E", None)))
        assert installed() == {"b": blocked, "C": ACCEPTED, "D": ACCEPTED}
        assert (the_list().installed_version, the_list().certain) == (2, True)

    def test_differential_upon_an_unknown_list_leaves_it_incomplete(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Differential", entry("A")))
        row = the_list()
        assert (row.installed_version, row.installed_complete, row.certain) == (1, False, False)
        assert installed() == {"A": ACCEPTED}

    @pytest.mark.parametrize("entries", [(entry("A"), entry("B", None)), (entry("A"), entry("a"))])
    def test_full_list_that_means_nothing_certain_is_not_taken_for_certain(
        self, charge_point: ChargePoint, entries: Any
    ) -> None:
        answer(send(charge_point, "Full", *entries))
        assert (the_list().installed_version, the_list().certain) == (1, False)

    def test_answer_taken_in_twice_changes_nothing_more(self, charge_point: ChargePoint) -> None:
        answer(send(charge_point, "Full", entry("A")))
        command = send(charge_point, "Differential", entry("B"), entry("A", None))
        for _ in range(2):
            answer(command)
        assert installed() == {"B": ACCEPTED}

    def test_late_answer_still_installs(self, charge_point: ChargePoint) -> None:
        command = send(charge_point, "Full", entry("A"))
        command.status = "timed_out"
        profile.send_local_list_without_answer(command, NOW)
        answer(command, now=NOW + MINUTE)
        assert installed() == {"A": ACCEPTED}
        assert the_list().certain

    def test_answer_later_than_that_to_a_newer_list_only_leaves_doubt(self, charge_point: ChargePoint) -> None:
        late = send(charge_point, "Full", entry("A"))
        answer(send(charge_point, "Full", entry("B")))
        answer(late, now=NOW + MINUTE)
        assert installed() == {"B": ACCEPTED}
        assert (the_list().installed_version, the_list().outcome, the_list().certain) == (2, "unknown", False)

    def test_expiry_that_has_passed_is_the_same_as_expired(self, charge_point: ChargePoint) -> None:
        past = wire(NOW - timedelta(days=1))
        answer(send(charge_point, "Full", entry("A", {"expiryDate": past, "status": "Accepted"})))
        before = the_list().installed_fingerprint
        answer(send(charge_point, "Full", entry("A", {"expiryDate": past, "status": "Expired"})))
        assert the_list().installed_fingerprint == before


class TestNotAccepted:
    @pytest.mark.parametrize("status", ["Failed", "NotSupported", "VersionMismatch", "Odd"])
    def test_changes_nothing_that_we_believe(self, charge_point: ChargePoint, status: str) -> None:
        answer(send(charge_point, "Full", entry("A")))
        answer(send(charge_point, "Differential", entry("B")), status, NOW + MINUTE)
        row = the_list()
        assert (row.outcome, row.outcome_at, row.installed_version, row.certain) == (status, NOW + MINUTE, 1, False)
        assert row.not_supported is (status == "NotSupported")
        assert installed() == {"A": ACCEPTED}
        # And nothing is sent again by itself.
        assert not Command.objects.filter(status="queued").exists()

    @pytest.mark.parametrize("status", ["error", "timed_out", "unknown", "answered"])
    def test_end_without_a_readable_answer_leaves_doubt(self, charge_point: ChargePoint, status: str) -> None:
        answer(send(charge_point, "Full", entry("A")))
        command = send(charge_point, "Full", entry("B"))
        command.status = status
        profile.send_local_list_without_answer(command, NOW + MINUTE)
        expected = "unknown" if status == "answered" else status
        assert (the_list().outcome, the_list().installed_version, the_list().certain) == (expected, 1, False)

    @pytest.mark.parametrize("status", ["expired", "withdrawn"])
    def test_what_was_never_sent_leaves_none(self, charge_point: ChargePoint, status: str) -> None:
        answer(send(charge_point, "Full", entry("A")))
        command = send(charge_point, "Full", entry("B"))
        command.status = status
        profile.send_local_list_without_answer(command, NOW)
        assert (the_list().outcome, the_list().certain) == ("Accepted", True)

    def test_later_parts_of_the_same_sync_are_withdrawn_and_no_others(self, charge_point: ChargePoint) -> None:
        batch, other = (
            CommandBatch.objects.create(action="SendLocalList", requested_by="test", created_at=NOW) for _ in range(2)
        )
        parts = [send(charge_point, "Differential", entry(tag), batch=batch) for tag in "ABC"]
        apart = [send(charge_point, "Full"), send(charge_point, "Full", batch=other)]
        elsewhere = send(new_charge_point("CP-2"), "Full", batch=batch)
        answer(parts[0], "VersionMismatch")
        found = {row.pk: row for row in Command.objects.all()}
        assert [found[part.pk].status for part in parts[1:]] == ["withdrawn", "withdrawn"]
        assert [found[each.pk].status for each in (*apart, elsewhere)] == ["queued"] * 3
        assert found[parts[2].pk].warnings[-1] == {
            "code": "earlier_part_not_accepted",
            "detail": f"Not sent: an earlier part of the list (command {parts[0].pk}) ended with VersionMismatch.",
        }

    def test_withdrawing_one_part_withdraws_those_after_it(self, charge_point: ChargePoint) -> None:
        batch = CommandBatch.objects.create(action="SendLocalList", requested_by="test", created_at=NOW)
        parts = [send(charge_point, "Differential", entry(tag), batch=batch) for tag in "ABC"]
        commands.withdraw(parts[1])
        assert list(Command.objects.order_by("id").values_list("status", flat=True)) == [
            "queued", "withdrawn", "withdrawn",
        ]  # fmt: skip


class TestWarnings:
    def configure(self, charge_point: ChargePoint, **values: str) -> None:
        for key, value in values.items():
            ConfigurationKey.objects.create(charge_point=charge_point, key=key, value=value)

    def test_ordinary_request_has_none(self, charge_point: ChargePoint) -> None:
        self.configure(
            charge_point, LocalAuthListMaxLength="10", SendLocalListMaxLength="10", LocalAuthListEnabled="true",
            SupportedFeatureProfiles="Core, LocalAuthListManagement",
        )  # fmt: skip
        command = send(charge_point, "Full", entry("A"))
        assert command.warnings == []
        answer(command)
        assert send(charge_point, "Differential", entry("B")).warnings == []

    @pytest.mark.parametrize(
        ("configuration", "update_type", "entries", "version", "expected"),
        [
            ({}, "Full", [], 0, ["list_version_below_one"]),
            ({}, "Full", [], 5, ["list_version_not_greater"]),
            ({}, "Full", [], 8, ["list_version_used"]),
            ({}, "Full", [], 9, []),
            ({}, "Full", [entry("A", None)], 9, ["entries_without_id_tag_info", "list_limits_unknown"]),
            ({}, "Full", [entry("A"), entry("a")], 9, ["duplicate_id_tags", "list_limits_unknown"]),
            ({"LocalAuthListEnabled": "False"}, "Full", [], 9, ["local_auth_list_disabled"]),
            ({"SupportedFeatureProfiles": "Core"}, "Full", [], 9, ["feature_not_reported"]),
            (
                {"SendLocalListMaxLength": "1", "LocalAuthListMaxLength": "2"},
                "Full", [entry("A"), entry("B"), entry("C")], 9,
                ["longer_than_request_limit", "longer_than_list_limit"],
            ),
            ({"SendLocalListMaxLength": "x", "LocalAuthListMaxLength": "0"}, "Full", [entry("A")], 9,
             ["list_limits_unknown"]),
            ({}, "Differential", [], 9, ["installed_list_uncertain"]),
        ],
    )  # fmt: skip
    def test_unwise_request_is_queued_all_the_same(
        self,
        charge_point: ChargePoint,
        configuration: dict[str, str],
        update_type: str,
        entries: list[dict[str, Any]],
        version: int,
        expected: list[str],
    ) -> None:
        report(charge_point, 5)
        send(charge_point, "Full", version=8)
        self.configure(charge_point, **configuration)
        command = send(charge_point, update_type, *entries, version=version)
        assert (codes(command), command.status) == (expected, "queued")

    def test_number_of_queries_does_not_grow_with_the_list(
        self, charge_point: ChargePoint, django_assert_num_queries: Any
    ) -> None:
        report(charge_point, 5)
        payload = {
            "listVersion": 9, "updateType": "Differential",
            "localAuthorizationList": [entry(f"T{number}") for number in range(1000)],
        }  # fmt: skip
        with django_assert_num_queries(2):
            profile.send_local_list_warnings(charge_point, payload)


def test_taking_in_a_long_list_takes_few_queries(charge_point: ChargePoint, django_assert_max_num_queries: Any) -> None:
    command = send(charge_point, "Full", *(entry(f"T{number}") for number in range(2000)))
    # The rows of one INSERT are limited on SQLite by its number of parameters.
    with django_assert_max_num_queries(30):
        answer(command)
    change = send(charge_point, "Differential", *(entry(f"t{number}", {"status": "Blocked"}) for number in range(2000)))
    with django_assert_max_num_queries(50):
        answer(change)
    assert len(installed()) == 2000
