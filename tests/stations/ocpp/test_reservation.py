"""Reservations: what a request makes, what an answer or a message of the charge point changes, how each ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from ocpp.v16 import call, call_result

from stations import commands, reservations, tasks
from stations.models import ChargePoint, Command, ConfigurationKey, Connector, Reservation, ReservationNumber
from stations.models.command import CommandStatus
from stations.ocpp import core, reservation
from tenants.models import Tenant
from tests.conftest import Tenants
from tests.stations.rows import HOUR, MINUTE, NOW, as_tenant, new_charge_point, new_id_tag, start, wire

pytestmark = pytest.mark.usefixtures("in_tenant_a")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag(parent_id_tag="FAMILY")
    return new_charge_point()


def request(charge_point: ChargePoint, *, at: datetime = NOW, lasts: timedelta = HOUR, **members: Any) -> Command:
    """A ReserveNow queued at `at`, valid for `lasts` from then."""
    payload = {"connectorId": 1, "expiryDate": wire(at + lasts), "idTag": "TAG-1"} | members
    command = commands.enqueue(charge_point, "ReserveNow", payload, "otto")
    Reservation.objects.filter(command=command).update(requested_at=at)
    return command


def accepted(charge_point: ChargePoint, *, at: datetime = NOW, **members: Any) -> Reservation:
    command = request(charge_point, at=at, **members)
    reservation.reserve_now_conf(command, call_result.ReserveNow("Accepted"), at)
    charge_point.refresh_from_db(fields=["reserved_until"])
    return of(command)


def of(command: Command) -> Reservation:
    return Reservation.objects.get(
        charge_point=command.charge_point_id, reservation_id=command.payload["reservationId"]
    )


def state(row: Reservation) -> tuple[str, str]:
    row = Reservation.objects.get(pk=row.pk)
    return row.status, row.end_reason


def status(charge_point: ChargePoint, connector_id: int, value: str, now: datetime = NOW + MINUTE) -> None:
    req = call.StatusNotification(connector_id=connector_id, error_code="NoError", status=value)
    core.status_notification(charge_point, req, now)


def cancel(row: Reservation, answer: str | None, now: datetime = NOW + MINUTE) -> Command:
    command = reservations.cancel(Reservation.objects.get(pk=row.pk), "otto")
    if answer is not None:
        reservation.cancel_reservation_conf(command, call_result.CancelReservation(answer), now)
    return command


def ended(command: Command, status: CommandStatus, **fields: Any) -> Command:
    """`command`, closed without an answer."""
    command.status = status
    for name, value in fields.items():
        setattr(command, name, value)
    command.save()
    reservation.reserve_now_without_answer(command, NOW + MINUTE)
    return command


class TestReservationId:
    def test_left_out_ones_are_positive_and_never_given_twice_in_the_tenant(self, charge_point: ChargePoint) -> None:
        rows = [of(request(place)) for place in (charge_point, charge_point, new_charge_point("CP-2"))]
        numbers = [row.reservation_id for row in rows]
        assert len(set(numbers)) == 3
        assert all(0 < number < 2**31 for number in numbers)

    def test_given_one_stays(self, charge_point: ChargePoint) -> None:
        assert request(charge_point, reservationId=7).payload["reservationId"] == 7

    def test_one_that_was_chosen_by_hand_is_passed_over(self, charge_point: ChargePoint) -> None:
        last = Reservation.objects.new_id()
        request(charge_point, reservationId=last + 1)
        assert Reservation.objects.new_id() == last + 2

    def test_deleting_the_charge_point_does_not_free_its_ids(self, charge_point: ChargePoint) -> None:
        before = of(request(charge_point)).reservation_id
        charge_point.delete()
        assert not Reservation.objects.exists()
        assert Reservation.objects.new_id() > before

    def test_each_tenant_has_numbers_of_its_own(self, charge_point: ChargePoint, tenants: Tenants) -> None:
        request(charge_point)
        assert set(ReservationNumber.objects.values_list("tenant_id", flat=True)) == {tenants.tenant_a.pk}

    def test_garbage_is_completed_without_harm_and_refused(self, charge_point: ChargePoint) -> None:
        with pytest.raises(commands.CommandRefused) as refused:
            commands.enqueue(charge_point, "ReserveNow", {"connectorId": "x", "idTag": [1]}, "otto")
        assert refused.value.code == "invalid_payload"
        assert not Reservation.objects.exists()


class TestRequest:
    def test_row_exists_before_the_charge_point_answers(self, charge_point: ChargePoint) -> None:
        row = of(request(charge_point, connectorId=0, idTag="Tag-1", parentIdTag="Family", reservationId=9))
        facts = (row.reservation_id, row.connector_id, row.id_tag, row.id_tag_key, row.parent_id_tag, row.requested_by)
        assert facts == (9, 0, "Tag-1", "TAG-1", "Family", "otto")
        assert (row.status, row.expiry_date, row.transaction, row.ended_at) == ("Requested", NOW + HOUR, None, None)

    def test_same_id_again_replaces_it(self, charge_point: ChargePoint) -> None:
        first = accepted(charge_point, reservationId=9)
        again = of(request(charge_point, reservationId=9, connectorId=2, idTag="TAG-2"))
        assert again.pk == first.pk
        assert (again.status, again.connector_id, again.id_tag, again.accepted_at) == ("Requested", 2, "TAG-2", None)

    def test_same_id_at_another_charge_point_is_another_one(self, charge_point: ChargePoint) -> None:
        for place in (charge_point, new_charge_point("CP-2")):
            request(place, reservationId=9)
        assert Reservation.objects.filter(reservation_id=9, status="Requested").count() == 2

    def test_parent_is_that_of_the_id_tag_unless_given_or_left_out(self, charge_point: ChargePoint) -> None:
        asked = {"connector_id": 1, "id_tag": "tag-1", "expiry_date": NOW + HOUR, "requested_by": "otto"}
        rows = [
            reservations.reserve(charge_point, **asked),
            reservations.reserve(charge_point, **asked, parent_id_tag=None),
            reservations.reserve(charge_point, **asked, parent_id_tag="OTHER"),
            reservations.reserve(charge_point, **asked | {"id_tag": "NOBODY"}),
        ]
        assert [row.command.payload.get("parentIdTag") for row in rows] == ["FAMILY", None, "OTHER", None]
        assert "parentIdTag" not in rows[1].command.payload
        assert "parentIdTag" not in request(charge_point).payload

    @pytest.mark.parametrize(
        ("milliseconds", "text"), [(True, "2026-03-01T13:00:00.999Z"), (False, "2026-03-01T13:00:00Z")]
    )
    def test_time_is_utc_as_the_charge_point_wants_it(
        self, charge_point: ChargePoint, milliseconds: bool, text: str
    ) -> None:
        charge_point.send_milliseconds = milliseconds
        until = NOW + HOUR + timedelta(microseconds=999_999)
        row = reservations.reserve(
            charge_point, connector_id=1, id_tag="TAG-1", expiry_date=until, requested_by="otto", reservation_id=4
        )
        assert row.command.payload == {
            "connectorId": 1, "expiryDate": text, "idTag": "TAG-1", "parentIdTag": "FAMILY", "reservationId": 4,
        }  # fmt: skip
        assert wire(row.expiry_date).replace(".000Z", "Z") == text


class TestAnswer:
    @pytest.mark.parametrize("word", ["Faulted", "Occupied", "Rejected", "Unavailable"])
    def test_refusal_leaves_no_live_reservation(self, charge_point: ChargePoint, word: str) -> None:
        command = request(charge_point)
        reservation.reserve_now_conf(command, call_result.ReserveNow(word), NOW + MINUTE)
        row = of(command)
        assert (row.status, row.end_reason, row.ended_at) == (word, "refused", NOW + MINUTE)
        assert not Reservation.objects.live(NOW).exists()
        charge_point.refresh_from_db()
        assert charge_point.reserved_until is None

    def test_accepted_one_is_live_and_known_from_the_charge_points_row(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        assert (row.status, row.accepted_at, row.command.effect) == (
            "Accepted",
            NOW,
            {"reservation": row.reservation_id},
        )
        assert charge_point.reserved_until == NOW + HOUR
        accepted(charge_point, lasts=MINUTE)
        assert charge_point.reserved_until == NOW + HOUR

    @pytest.mark.parametrize(
        ("status", "fields", "expected"),
        [
            (CommandStatus.ERROR, {"error": {"code": "NotSupported"}}, ("Rejected", "call_error")),
            (CommandStatus.TIMED_OUT, {"error": {"code": "InternalError"}}, ("Rejected", "call_error")),
            (CommandStatus.EXPIRED, {}, ("Rejected", "not_sent")),
            (CommandStatus.WITHDRAWN, {}, ("Rejected", "withdrawn")),
            (CommandStatus.TIMED_OUT, {}, ("Requested", "")),
            (CommandStatus.UNKNOWN, {}, ("Requested", "")),
        ],
    )
    def test_without_an_answer_it_is_closed_if_it_cannot_have_been_made(
        self, charge_point: ChargePoint, status: CommandStatus, fields: dict[str, Any], expected: tuple[str, str]
    ) -> None:
        command = ended(request(charge_point), status, **fields)
        assert state(of(command)) == expected

    def test_unanswered_one_expires_at_its_date(self, charge_point: ChargePoint) -> None:
        command = ended(request(charge_point), CommandStatus.TIMED_OUT)
        Reservation.objects.expire(NOW + HOUR)
        row = of(command)
        assert (row.status, row.end_reason, row.ended_at) == ("Expired", "expired", NOW + HOUR)

    @pytest.mark.parametrize(("word", "expected"), [("Accepted", "Accepted"), ("Occupied", "Occupied")])
    def test_late_answer_counts(self, charge_point: ChargePoint, word: str, expected: str) -> None:
        command = ended(request(charge_point), CommandStatus.TIMED_OUT)
        reservation.reserve_now_conf(command, call_result.ReserveNow(word), NOW + 2 * MINUTE)
        assert state(of(command))[0] == expected

    @pytest.mark.parametrize(("word", "expected"), [("Accepted", "Expired"), ("Rejected", "Rejected")])
    def test_answer_about_a_date_in_the_past(self, charge_point: ChargePoint, word: str, expected: str) -> None:
        command = request(charge_point, lasts=-MINUTE)
        Reservation.objects.expire(NOW)
        reservation.reserve_now_conf(command, call_result.ReserveNow(word), NOW)
        assert state(of(command))[0] == expected

    def test_answer_to_a_request_that_was_replaced_changes_nothing(self, charge_point: ChargePoint) -> None:
        first, second = (request(charge_point, reservationId=9) for _ in range(2))
        reservation.reserve_now_conf(first, call_result.ReserveNow("Rejected"), NOW)
        assert state(of(second)) == ("Requested", "")
        reservation.reserve_now_conf(second, call_result.ReserveNow("Accepted"), NOW)
        assert state(of(second)) == ("Accepted", "")

    @pytest.mark.parametrize("status", [CommandStatus.EXPIRED, CommandStatus.WITHDRAWN])
    def test_replacement_that_is_never_sent_gives_the_earlier_one_back(
        self, charge_point: ChargePoint, status: CommandStatus
    ) -> None:
        first = accepted(charge_point, at=datetime.now(UTC), reservationId=9, parentIdTag="FAMILY")
        ended(request(charge_point, reservationId=9, connectorId=2, idTag="TAG-2"), status)
        row = Reservation.objects.get(pk=first.pk)
        for name in ("status", "connector_id", "id_tag", "id_tag_key", "parent_id_tag", "expiry_date", "accepted_at",
                     "command_id", "requested_at", "ended_at", "replaced"):  # fmt: skip
            assert getattr(row, name) == getattr(first, name), name

    def test_refused_replacement_leaves_nothing_live(self, charge_point: ChargePoint) -> None:
        accepted(charge_point, reservationId=9)
        command = request(charge_point, reservationId=9)
        reservation.reserve_now_conf(command, call_result.ReserveNow("Occupied"), NOW)
        assert state(of(command)) == ("Occupied", "refused")
        assert of(command).replaced is None


class TestUse:
    def used(self, row: Reservation) -> int | None:
        row = Reservation.objects.get(pk=row.pk)
        assert (row.status == "Used") == (row.transaction_id is not None)
        return row.transaction_id

    def test_transaction_with_its_id_ends_it(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        answer = start(charge_point, reservation_id=row.reservation_id, now=NOW + MINUTE)
        assert self.used(row) == answer.transaction_id
        row.refresh_from_db()
        assert (row.end_reason, row.ended_at) == ("used", NOW + MINUTE)

    def test_another_tag_may_use_it_by_id(self, charge_point: ChargePoint) -> None:
        new_id_tag("TAG-2", parent_id_tag="family")
        row = accepted(charge_point, parentIdTag="FAMILY")
        answer = start(charge_point, id_tag="TAG-2", reservation_id=row.reservation_id)
        assert answer.id_tag_info == {"parentIdTag": "family", "status": "Accepted"}
        assert self.used(row) == answer.transaction_id

    @pytest.mark.parametrize("given", [True, False])
    def test_reservation_of_any_connector_is_used_on_any(self, charge_point: ChargePoint, given: bool) -> None:
        row = accepted(charge_point, connectorId=0)
        answer = start(charge_point, connector_id=2, reservation_id=row.reservation_id if given else None)
        assert self.used(row) == answer.transaction_id

    @pytest.mark.parametrize("number", [None, 0, -1])
    def test_start_of_the_reserving_tag_without_an_id_ends_it(
        self, charge_point: ChargePoint, number: int | None
    ) -> None:
        row = accepted(charge_point)
        answer = start(charge_point, id_tag="tag-1", reservation_id=number)
        assert self.used(row) == answer.transaction_id

    def test_group_uses_it_without_an_id_only_if_it_was_named(self, charge_point: ChargePoint) -> None:
        new_id_tag("TAG-2", parent_id_tag="Family")
        for_one, for_all = accepted(charge_point), accepted(charge_point, connectorId=2, parentIdTag="FAMILY")
        start(charge_point, id_tag="TAG-2", connector_id=1)
        assert self.used(for_one) is None
        answer = start(charge_point, id_tag="TAG-2", connector_id=2)
        assert self.used(for_all) == answer.transaction_id

    def test_connectors_own_one_is_used_before_that_of_any(self, charge_point: ChargePoint) -> None:
        anywhere, here = accepted(charge_point, connectorId=0), accepted(charge_point)
        start(charge_point)
        assert (self.used(anywhere), self.used(here) is not None) == (None, True)

    @pytest.mark.parametrize("number", [4711, 2**31 + 5])
    def test_unknown_id_is_answered_and_ends_nothing(self, charge_point: ChargePoint, number: int) -> None:
        row = accepted(charge_point)
        answer = start(charge_point, reservation_id=number)
        assert answer.id_tag_info["status"] == "Accepted"
        assert self.used(row) is None

    def test_start_of_others_or_elsewhere_ends_nothing(self, charge_point: ChargePoint) -> None:
        new_id_tag("TAG-2")
        row = accepted(charge_point, parentIdTag="FAMILY")
        start(charge_point, id_tag="TAG-2")
        start(charge_point, connector_id=2)
        start(new_charge_point("CP-2"), reservation_id=row.reservation_id)
        assert state(row) == ("Accepted", "")

    def test_start_from_before_the_reservation_that_comes_late_ends_nothing(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        start(charge_point, timestamp=wire(NOW - HOUR), now=NOW + MINUTE)
        assert self.used(row) is None

    def test_repeated_start_changes_nothing(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        first = start(charge_point, reservation_id=row.reservation_id)
        later = accepted(charge_point)
        again = start(charge_point, reservation_id=row.reservation_id, timestamp=wire(NOW), now=NOW + MINUTE)
        assert again == first
        assert (self.used(row), self.used(later)) == (first.transaction_id, None)

    def test_first_transaction_keeps_it(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        first = start(charge_point, reservation_id=row.reservation_id)
        start(charge_point, connector_id=2, reservation_id=row.reservation_id, now=NOW + MINUTE)
        assert self.used(row) == first.transaction_id

    def test_charge_point_that_was_offline_used_it_after_all(self, charge_point: ChargePoint) -> None:
        rows = [accepted(charge_point), of(ended(request(charge_point), CommandStatus.UNKNOWN))]
        Reservation.objects.expire(NOW + 2 * HOUR)
        for connector_id, row in enumerate(rows, 1):
            start(
                charge_point, connector_id=connector_id, timestamp=wire(NOW + MINUTE), now=NOW + 3 * HOUR,
                reservation_id=row.reservation_id,
            )  # fmt: skip
            assert self.used(row) is not None

    def test_start_without_an_id_asks_no_question_where_nothing_is_reserved(self, charge_point: ChargePoint) -> None:
        counts = []
        for connector_id in (1, 2):
            with CaptureQueriesContext(connection) as queries:
                start(charge_point, connector_id=connector_id)
            counts.append(len(queries))
            accepted(charge_point, connectorId=9)
        assert counts[1] == counts[0] + 1


class TestExpiry:
    def test_job_closes_what_is_over_in_every_tenant(self, tenants: Tenants, charge_point: ChargePoint) -> None:
        row = accepted(charge_point, lasts=MINUTE)
        assert tasks.expire_reservations.apply().get() == 1
        row.refresh_from_db()
        assert (row.status, row.end_reason, row.ended_at) == ("Expired", "expired", NOW + MINUTE)
        assert tasks.expire_reservations.apply().get() == 0

    def test_nothing_is_sent_at_the_end(self, charge_point: ChargePoint) -> None:
        accepted(charge_point)
        Reservation.objects.expire(NOW + HOUR)
        assert list(Command.objects.values_list("action", flat=True)) == ["ReserveNow"]

    def test_reader_does_not_wait_for_the_job(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        assert Reservation.objects.get(pk=row.pk).at(NOW + HOUR - MINUTE).status == "Accepted"
        assert Reservation.objects.get(pk=row.pk).at(NOW + HOUR).status == "Expired"
        over = Reservation.objects.in_status("Expired", NOW + HOUR)
        assert (list(over), list(Reservation.objects.in_status("Accepted", NOW + HOUR))) == ([row], [])
        assert list(Reservation.objects.in_status("Accepted", NOW)) == [row]


class TestCancel:
    @pytest.mark.parametrize(("answer", "reason"), [("Accepted", "cancelled"), ("Rejected", "cancel_rejected")])
    def test_both_answers_close_it_and_say_which(self, charge_point: ChargePoint, answer: str, reason: str) -> None:
        row = accepted(charge_point)
        command = cancel(row, None)
        assert (command.payload, state(row)) == ({"reservationId": row.reservation_id}, ("Accepted", ""))
        reservation.cancel_reservation_conf(command, call_result.CancelReservation(answer), NOW + MINUTE)
        row.refresh_from_db()
        assert (row.status, row.end_reason, row.ended_at) == ("Cancelled", reason, NOW + MINUTE)
        assert row.cancel_command == command

    def test_one_that_ended_stays_as_it_ended(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        start(charge_point, reservation_id=row.reservation_id)
        cancel(row, "Rejected")
        assert state(row) == ("Used", "used")

    def test_rejection_after_its_date_means_that_it_expired(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        cancel(row, "Rejected", NOW + HOUR)
        assert state(row) == ("Expired", "expired")

    def test_answer_does_not_touch_what_was_reserved_since_under_the_id(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point, reservationId=9)
        command = cancel(row, None)
        request(charge_point, reservationId=9)
        reservation.cancel_reservation_conf(command, call_result.CancelReservation("Accepted"), NOW)
        assert state(row) == ("Requested", "")

    def test_unanswered_one_can_be_cancelled(self, charge_point: ChargePoint) -> None:
        row = of(ended(request(charge_point), CommandStatus.TIMED_OUT))
        cancel(row, "Accepted")
        assert state(row) == ("Cancelled", "cancelled")


class TestOutOfService:
    @pytest.mark.parametrize("value", ["Faulted", "Unavailable"])
    @pytest.mark.parametrize("connector_id", [0, 1])
    def test_status_of_its_connector_or_of_the_charge_point_ends_it(
        self, charge_point: ChargePoint, value: str, connector_id: int
    ) -> None:
        row = accepted(charge_point)
        status(charge_point, connector_id, value)
        row.refresh_from_db()
        assert (row.status, row.end_reason, row.ended_at) == (value, "out_of_service", NOW + MINUTE)

    def test_reservation_of_any_connector_outlives_the_fault_of_one(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point, connectorId=0)
        status(charge_point, 1, "Faulted")
        assert state(row) == ("Accepted", "")
        status(charge_point, 0, "Faulted", NOW + 2 * MINUTE)
        assert state(row) == ("Faulted", "out_of_service")

    def test_other_statuses_and_other_connectors_end_nothing(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        for connector_id, value in ((1, "Reserved"), (1, "Preparing"), (1, "Available"), (2, "Faulted")):
            status(charge_point, connector_id, value)
        assert state(row) == ("Accepted", "")

    def test_older_status_of_the_same_burst_ends_nothing(self, charge_point: ChargePoint) -> None:
        row = accepted(charge_point)
        status(charge_point, 1, "Reserved")
        received_at = Connector.objects.get(connector_id=1).status_received_at
        assert received_at is not None
        req = call.StatusNotification(
            connector_id=1, error_code="NoError", status="Faulted", timestamp=wire(NOW - HOUR)
        )
        core.status_notification(charge_point, req, received_at + timedelta(seconds=3))
        assert state(row) == ("Accepted", "")
        core.status_notification(charge_point, req, received_at + MINUTE)
        assert state(row) == ("Faulted", "out_of_service")


class TestWarnings:
    def codes(self, charge_point: ChargePoint, action: str = "ReserveNow", **members: Any) -> list[str]:
        payload = members
        if action == "ReserveNow":
            soon = wire(datetime.now(UTC) + HOUR)
            payload = {"connectorId": 1, "expiryDate": soon, "idTag": "TAG-1"} | members
        return [warning["code"] for warning in commands.enqueue(charge_point, action, payload, "otto").warnings]

    def test_sensible_request_has_none(self, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1, status="Available")
        assert self.codes(charge_point, parentIdTag="family") == []

    @pytest.mark.parametrize(
        ("connector_id", "value", "asked", "expected"),
        [
            (1, "Preparing", 1, ["connector_in_use"]),
            (1, "Unavailable", 1, ["connector_out_of_service"]),
            (0, "Faulted", 1, ["unknown_connector", "connector_out_of_service"]),
            (1, "Charging", 0, ["connector_in_use"]),
            (2, "Available", 1, ["unknown_connector"]),
        ],
    )
    def test_state_of_the_connector(
        self, charge_point: ChargePoint, connector_id: int, value: str, asked: int, expected: list[str]
    ) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=connector_id, status=value)
        assert self.codes(charge_point, connectorId=asked) == expected

    def test_time(self, charge_point: ChargePoint) -> None:
        assert self.codes(charge_point, expiryDate="2020-01-01T00:00:00Z") == ["expiry_in_the_past"]
        assert self.codes(charge_point, connectorId=2, expiryDate="2099-01-01T00:00:00Z") == ["expiry_far_ahead"]

    def test_id_tag_and_its_parent(self, charge_point: ChargePoint) -> None:
        new_id_tag("BLOCKED", blocked=True)
        new_id_tag("EXPIRED", expiry_date=NOW - 3650 * 24 * HOUR)
        assert self.codes(charge_point, connectorId=1, idTag="BLOCKED") == ["id_tag_blocked"]
        assert self.codes(charge_point, connectorId=2, idTag="EXPIRED") == ["id_tag_expired"]
        assert self.codes(charge_point, connectorId=3, idTag="NOBODY") == ["id_tag_not_accepted"]
        assert self.codes(charge_point, connectorId=4, parentIdTag="OTHER") == ["parent_id_tag_differs"]

    @pytest.mark.parametrize(
        ("keys", "connector_id", "expected"),
        [
            ({}, 0, []),
            ({"ReserveConnectorZeroSupported": "true"}, 0, []),
            ({"ReserveConnectorZeroSupported": "False"}, 0, ["connector_zero_not_supported"]),
            ({"HeartbeatInterval": "300"}, 0, ["connector_zero_not_supported"]),
            ({"ReserveConnectorZeroSupported": "false"}, 1, []),
            ({"SupportedFeatureProfiles": "Core, Reservation"}, 1, []),
            ({"SupportedFeatureProfiles": "Core"}, 1, ["profile_not_supported"]),
        ],
    )
    def test_what_the_configuration_says(
        self, charge_point: ChargePoint, keys: dict[str, str], connector_id: int, expected: list[str]
    ) -> None:
        for key, value in keys.items():
            ConfigurationKey.objects.create(charge_point=charge_point, key=key, value=value)
        assert self.codes(charge_point, connectorId=connector_id) == expected

    def test_other_reservations(self, charge_point: ChargePoint) -> None:
        assert self.codes(charge_point, reservationId=9) == []
        assert self.codes(charge_point, reservationId=9) == ["reservation_replaced"]
        assert self.codes(charge_point) == ["already_reserved"]
        assert self.codes(charge_point, connectorId=2) == []

    def test_cancelling_what_is_not_there(self, charge_point: ChargePoint) -> None:
        self.codes(charge_point, reservationId=9)
        assert self.codes(charge_point, "CancelReservation", reservationId=9) == []
        assert self.codes(charge_point, "CancelReservation", reservationId=8) == ["unknown_reservation"]
        Reservation.objects.update(status="Cancelled")
        assert self.codes(charge_point, "CancelReservation", reservationId=9) == ["reservation_ended"]

    def test_number_of_queries_does_not_depend_on_how_much_is_reserved(self, charge_point: ChargePoint) -> None:
        counts = []
        for number in (1, 10):
            for _ in range(number):
                self.codes(charge_point)
            payload = {"connectorId": 1, "expiryDate": wire(NOW), "idTag": "TAG-1", "reservationId": 1}
            with CaptureQueriesContext(connection) as queries:
                reservation.reserve_now_warnings(charge_point, payload)
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 6


def test_date_that_cannot_be_stored_is_refused(charge_point: ChargePoint) -> None:
    with pytest.raises(commands.CommandRefused) as refused:
        request(charge_point, expiryDate="9999-12-31T23:59:59-12:00")
    assert [problem.pointer for problem in refused.value.problems] == ["/expiryDate"]
    assert not Command.objects.exists()


def test_another_tenants_reservation_of_the_same_id_is_untouched(tenants: Tenants, charge_point: ChargePoint) -> None:
    row = accepted(charge_point, reservationId=9)

    def elsewhere() -> None:
        new_id_tag()
        cancel(accepted(new_charge_point(), reservationId=9), "Accepted")

    as_tenant(tenants.tenant_b, elsewhere)
    assert state(row) == ("Accepted", "")
