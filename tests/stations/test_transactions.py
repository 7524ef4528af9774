"""StartTransaction: always answered, stored once, superseding what it shows to be over (protocol 4.3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError
from django.db import transaction as database_transaction

from stations import commands
from stations.models import ChargePoint, Command, Connector, Transaction
from stations.models.command import CommandStatus
from stations.transactions import close_by_operator
from tenants.models import Tenant
from tests.stations.rows import (
    HOUR,
    MINUTE,
    NOW,
    meter_values,
    new_charge_point,
    new_id_tag,
    start,
    stop,
    transaction,
    wire,
)

pytestmark = pytest.mark.usefixtures("in_tenant_a")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag("TAG-1")
    return new_charge_point()


class TestAnswer:
    def test_accepted_start_opens_a_transaction_with_what_the_charge_point_said(
        self, charge_point: ChargePoint
    ) -> None:
        conf = start(charge_point, connector_id=2, meter_start=1234, timestamp=wire(NOW - HOUR), reservation_id=7)
        assert conf.id_tag_info == {"status": "Accepted"}
        tx = transaction(conf.transaction_id)
        assert (tx.charge_point, tx.connector_id, tx.id_tag, tx.meter_start_wh) == (charge_point, 2, "TAG-1", 1234)
        assert (tx.started_at, tx.started_received_at, tx.reservation_id) == (NOW - HOUR, NOW, 7)
        assert (tx.active, tx.flags, tx.energy_wh, tx.id_tag_status) == (True, [], None, "Accepted")
        assert tx.id_tag_row is not None

    @pytest.mark.parametrize(
        ("id_tag", "status"), [("NOBODY", "Invalid"), ("BLOCKED", "Blocked"), ("EXPIRED", "Expired")]
    )
    def test_refused_id_tag_gets_a_transaction_id_all_the_same(
        self, charge_point: ChargePoint, id_tag: str, status: str
    ) -> None:
        new_id_tag("BLOCKED", blocked=True)
        new_id_tag("EXPIRED", expiry_date=NOW - MINUTE)
        conf = start(charge_point, id_tag=id_tag)
        assert conf.id_tag_info["status"] == status
        tx = transaction(conf.transaction_id)
        assert (tx.id_tag_status, tx.flags, tx.active) == (status, ["id_tag_refused"], True)

    def test_id_tag_is_checked_again_whatever_authorize_said(self, charge_point: ChargePoint) -> None:
        tag = new_id_tag("TAG-2")
        assert start(charge_point, id_tag="TAG-2", connector_id=1).id_tag_info["status"] == "Accepted"
        tag.blocked = True
        tag.save()
        assert start(charge_point, id_tag="TAG-2", connector_id=2).id_tag_info["status"] == "Blocked"

    def test_unknown_connector_is_created(self, charge_point: ChargePoint) -> None:
        start(charge_point, connector_id=9)
        assert Connector.objects.get().connector_id == 9

    def test_connector_with_a_status_keeps_it(self, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1, status="Preparing")
        start(charge_point)
        assert Connector.objects.get().status == "Preparing"

    @pytest.mark.parametrize("connector_id", [0, -1])
    def test_connector_0_is_answered_and_shown_as_unknown(self, charge_point: ChargePoint, connector_id: int) -> None:
        tx = transaction(start(charge_point, connector_id=connector_id).transaction_id)
        assert (tx.connector_id, tx.flags) == (connector_id, ["unknown_connector"])
        assert not Connector.objects.exists()

    def test_reservation_0_means_none(self, charge_point: ChargePoint) -> None:
        assert transaction(start(charge_point, reservation_id=0).transaction_id).reservation_id is None

    @pytest.mark.parametrize("meter_start", [-5, 2**31, 2**62])
    def test_meter_start_of_any_size_is_stored(self, charge_point: ChargePoint, meter_start: int) -> None:
        assert transaction(start(charge_point, meter_start=meter_start).transaction_id).meter_start_wh == meter_start

    @pytest.mark.parametrize("id_tag", ["T" * 300, "ß" * 255])
    def test_id_tag_beyond_the_standard_length_is_invalid_and_answered(
        self, charge_point: ChargePoint, id_tag: str
    ) -> None:
        conf = start(charge_point, id_tag=id_tag)
        assert conf.id_tag_info == {"status": "Invalid"}
        assert transaction(conf.transaction_id).id_tag == id_tag[:255]

    def test_ids_are_positive_and_unique_over_all_charge_points_and_tenants(self, charge_point: ChargePoint) -> None:
        other = new_charge_point("CP-2")
        ids = [start(place, connector_id=connector).transaction_id for place in (charge_point, other)
               for connector in (1, 2)]  # fmt: skip
        assert len(set(ids)) == 4
        assert all(0 < number < 2**31 for number in ids)

    def test_id_of_a_deleted_transaction_is_never_given_again(self, charge_point: ChargePoint) -> None:
        first = start(charge_point).transaction_id
        transaction(first).delete()
        assert start(charge_point, connector_id=2).transaction_id > first

    def test_parent_and_expiry_go_back_with_the_status(self, charge_point: ChargePoint) -> None:
        new_id_tag("TAG-2", parent_id_tag="FLEET", expiry_date=datetime(2027, 1, 1, tzinfo=UTC))
        assert start(charge_point, id_tag="tag-2").id_tag_info == {
            "expiryDate": "2027-01-01T00:00:00.000Z",
            "parentIdTag": "FLEET",
            "status": "Accepted",
        }


class TestRepetition:
    def test_repeated_start_returns_the_first_transaction_id(self, charge_point: ChargePoint) -> None:
        first = start(charge_point)
        assert start(charge_point, now=NOW + MINUTE, timestamp=wire(NOW)) == first
        assert Transaction.objects.count() == 1

    def test_repeated_start_gets_the_status_of_the_first_though_the_tag_has_changed(
        self, charge_point: ChargePoint
    ) -> None:
        tag = new_id_tag("TAG-2", parent_id_tag="FLEET")
        first = start(charge_point, id_tag="TAG-2")
        tag.blocked = True
        tag.save()
        assert start(charge_point, id_tag="TAG-2") == first

    def test_repeated_start_is_never_concurrent_with_itself(
        self, charge_point: ChargePoint, in_tenant_a: Tenant
    ) -> None:
        in_tenant_a.concurrent_tx_enabled = True
        in_tenant_a.save()
        charge_point = ChargePoint.objects.select_related("tenant").get()
        assert start(charge_point) == start(charge_point)

    def test_start_repeated_after_its_stop_opens_nothing(self, charge_point: ChargePoint) -> None:
        first = start(charge_point)
        stop(charge_point, first.transaction_id)
        assert start(charge_point) == first
        assert not transaction(first.transaction_id).active

    @pytest.mark.parametrize(
        "difference",
        [{"connector_id": 2}, {"id_tag": "TAG-2"}, {"meter_start": 1001}, {"timestamp": wire(NOW + MINUTE)}],
        ids=lambda difference: next(iter(difference)),
    )
    def test_start_that_differs_in_one_fact_is_another_transaction(
        self, charge_point: ChargePoint, difference: dict[str, Any]
    ) -> None:
        first = start(charge_point)
        assert start(charge_point, **difference).transaction_id != first.transaction_id

    def test_same_instant_written_otherwise_is_the_same_start(self, charge_point: ChargePoint) -> None:
        first = start(charge_point, timestamp="2026-03-01T12:00:00Z")
        assert start(charge_point, timestamp="2026-03-01T13:00:00.000+01:00") == first

    def test_same_start_at_another_charge_point_is_another_transaction(self, charge_point: ChargePoint) -> None:
        first = start(charge_point).transaction_id
        assert start(new_charge_point("CP-2")).transaction_id != first

    def test_database_refuses_a_second_row_for_one_start(self, charge_point: ChargePoint) -> None:
        tx = transaction(start(charge_point).transaction_id)
        tx.pk = None
        with pytest.raises(IntegrityError), database_transaction.atomic():
            tx.save(force_insert=True)

    @pytest.mark.parametrize("timestamp", ["", "2026-13-45"])
    def test_start_without_a_readable_time_is_recognised_while_it_runs(
        self, charge_point: ChargePoint, timestamp: str
    ) -> None:
        first = start(charge_point, timestamp=timestamp)
        assert start(charge_point, timestamp=timestamp, now=NOW + MINUTE) == first
        stop(charge_point, first.transaction_id)
        assert start(charge_point, timestamp=timestamp, now=NOW + 2 * HOUR).transaction_id != first.transaction_id


class TestClock:
    def test_past_start_keeps_its_own_time(self, charge_point: ChargePoint) -> None:
        tx = transaction(start(charge_point, timestamp="2026-02-27T08:30:00Z").transaction_id)
        assert (tx.started_at, tx.flags) == (datetime(2026, 2, 27, 8, 30, tzinfo=UTC), [])

    @pytest.mark.parametrize(
        ("timestamp", "suspect"),
        [
            ("1970-01-01T00:00:30Z", True),
            ("2009-12-31T23:59:59Z", True),
            ("2010-01-01T00:00:00Z", False),
            (wire(NOW + timedelta(hours=23)), False),
            (wire(NOW + timedelta(hours=25)), True),
        ],
    )
    def test_incredible_time_is_stored_as_given_with_the_time_of_receipt_and_flagged(
        self, charge_point: ChargePoint, timestamp: str, suspect: bool
    ) -> None:
        tx = transaction(start(charge_point, timestamp=timestamp).transaction_id)
        assert (tx.started_at, tx.started_received_at) == (datetime.fromisoformat(timestamp), NOW)
        assert tx.flags == (["clock_suspect"] if suspect else [])

    @pytest.mark.parametrize("timestamp", ["", "soon"])
    def test_unreadable_time_becomes_the_time_of_receipt_and_is_flagged(
        self, charge_point: ChargePoint, timestamp: str
    ) -> None:
        tx = transaction(start(charge_point, timestamp=timestamp).transaction_id)
        assert (tx.started_at, tx.flags, tx.started_at_text) == (NOW, ["clock_suspect"], timestamp)

    def test_time_without_zone_is_taken_in_that_of_the_charge_point(self, charge_point: ChargePoint) -> None:
        tokyo = new_charge_point("CP-2", time_zone="Asia/Tokyo")
        tx = transaction(start(tokyo, timestamp="2026-03-01T20:00:00").transaction_id)
        assert tx.started_at == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)

    def test_clock_that_begins_anew_after_each_power_cut_makes_separate_transactions(
        self, charge_point: ChargePoint
    ) -> None:
        first = start(charge_point, timestamp="1970-01-01T00:00:30Z")
        stop(charge_point, first.transaction_id, timestamp="1970-01-01T00:40:00Z")
        second = start(charge_point, timestamp="1970-01-01T00:00:30Z", now=NOW + 2 * HOUR)
        assert second.transaction_id != first.transaction_id
        again = start(charge_point, timestamp="1970-01-01T00:00:30Z", now=NOW + 2 * HOUR + MINUTE)
        assert again == second


class TestSuperseding:
    def test_later_start_on_the_connector_closes_what_still_runs_at_its_last_reading(
        self, charge_point: ChargePoint
    ) -> None:
        old = start(charge_point, meter_start=1000).transaction_id
        meter_values(charge_point, {"value": "4.2", "unit": "kWh"}, transaction_id=old, now=NOW + 30 * MINUTE)
        start(charge_point, now=NOW + HOUR)
        tx = transaction(old)
        assert (tx.active, tx.stopped_at, tx.stopped_received_at) == (False, NOW + 30 * MINUTE, NOW + HOUR)
        assert (tx.energy_wh, tx.meter_stop_wh, tx.stop_received) == (Decimal(3200), None, False)
        assert tx.flags == ["superseded", "energy_from_meter_values"]

    def test_without_any_reading_it_ends_where_the_new_one_begins_with_unknown_energy(
        self, charge_point: ChargePoint
    ) -> None:
        old = start(charge_point).transaction_id
        start(charge_point, now=NOW + 2 * HOUR, timestamp=wire(NOW + HOUR))
        tx = transaction(old)
        assert (tx.stopped_at, tx.energy_wh, tx.flags) == (NOW + HOUR, None, ["superseded"])

    def test_start_from_a_clock_that_runs_ahead_does_not_end_it_in_the_future(self, charge_point: ChargePoint) -> None:
        old = start(charge_point).transaction_id
        start(charge_point, now=NOW + HOUR, timestamp="2031-01-01T00:00:00Z")
        assert transaction(old).stopped_at == NOW + HOUR

    def test_earlier_start_arriving_late_closes_nothing(self, charge_point: ChargePoint) -> None:
        running = start(charge_point).transaction_id
        start(charge_point, timestamp=wire(NOW - HOUR), now=NOW + MINUTE)
        assert transaction(running).active

    def test_start_on_another_connector_closes_nothing(self, charge_point: ChargePoint) -> None:
        running = start(charge_point).transaction_id
        start(charge_point, connector_id=2, now=NOW + HOUR)
        assert transaction(running).active

    def test_start_at_another_charge_point_closes_nothing(self, charge_point: ChargePoint) -> None:
        running = start(charge_point).transaction_id
        start(new_charge_point("CP-2"), now=NOW + HOUR)
        assert transaction(running).active

    def test_refused_start_closes_nothing(self, charge_point: ChargePoint) -> None:
        running = start(charge_point).transaction_id
        start(charge_point, id_tag="NOBODY", now=NOW + HOUR)
        assert transaction(running).active

    def test_late_stop_of_a_superseded_transaction_is_taken_in(self, charge_point: ChargePoint) -> None:
        old = start(charge_point, meter_start=1000).transaction_id
        meter_values(charge_point, {"value": "1500"}, transaction_id=old)
        start(charge_point, now=NOW + HOUR)
        stop(charge_point, old, meter_stop=2000, timestamp=wire(NOW + 50 * MINUTE), now=NOW + 2 * HOUR)
        tx = transaction(old)
        assert (tx.stopped_at, tx.meter_stop_wh, tx.energy_wh) == (NOW + 50 * MINUTE, 2000, Decimal(1000))
        assert (tx.stop_received, tx.flags) == (True, ["superseded"])

    def test_operator_closes_a_transaction_at_its_last_reading(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point, meter_start=1000).transaction_id
        meter_values(charge_point, {"value": "1500"}, transaction_id=opened, now=NOW + MINUTE)
        close_by_operator(transaction(opened), NOW + HOUR)
        tx = transaction(opened)
        assert (tx.stopped_at, tx.energy_wh, tx.stop_received) == (NOW + MINUTE, Decimal(500), False)
        assert tx.flags == ["closed_by_operator", "energy_from_meter_values"]


class TestRemoteStart:
    def command(self, charge_point: ChargePoint, status: str = "answered", **payload: Any) -> Command:
        command = commands.enqueue(charge_point, "RemoteStartTransaction", {"idTag": "TAG-1"} | payload, "test")
        response = {"status": "Accepted"} if status == "answered" else None
        Command.objects.filter(pk=command.pk).update(status=status, response=response, sent_at=NOW - MINUTE)
        return command

    @pytest.mark.parametrize("status", ["answered", "sent", "timed_out", "unknown"])
    def test_start_is_the_effect_of_a_command_that_may_have_arrived(
        self, charge_point: ChargePoint, status: str
    ) -> None:
        command = self.command(charge_point, status, connectorId=1)
        opened = start(charge_point, id_tag="tag-1").transaction_id
        command.refresh_from_db()
        assert command.effect == {"transaction": opened}
        assert transaction(opened).started_by_command == command

    @pytest.mark.parametrize(
        "members", [{"idTag": "TAG-2"}, {"connectorId": 2}], ids=lambda members: next(iter(members))
    )
    def test_command_for_something_else_is_not_fulfilled(
        self, charge_point: ChargePoint, members: dict[str, Any]
    ) -> None:
        command = self.command(charge_point, **members)
        assert transaction(start(charge_point).transaction_id).started_by_command is None
        command.refresh_from_db()
        assert command.effect is None

    def test_rejected_command_is_not_fulfilled(self, charge_point: ChargePoint) -> None:
        command = self.command(charge_point)
        Command.objects.filter(pk=command.pk).update(response={"status": "Rejected"})
        assert transaction(start(charge_point).transaction_id).started_by_command is None

    def test_queued_command_is_not_fulfilled(self, charge_point: ChargePoint) -> None:
        command = self.command(charge_point)
        Command.objects.filter(pk=command.pk).update(status=CommandStatus.QUEUED, sent_at=None, response=None)
        assert transaction(start(charge_point).transaction_id).started_by_command is None

    def test_start_from_before_the_command_is_not_its_effect(self, charge_point: ChargePoint) -> None:
        self.command(charge_point)
        opened = start(charge_point, timestamp=wire(NOW - HOUR)).transaction_id
        assert transaction(opened).started_by_command is None

    @pytest.mark.parametrize(("behind", "tied"), [(4 * MINUTE, True), (10 * MINUTE, False)])
    def test_clock_that_is_a_little_behind_is_forgiven(
        self, charge_point: ChargePoint, behind: timedelta, tied: bool
    ) -> None:
        self.command(charge_point)
        opened = start(charge_point, timestamp=wire(NOW - behind)).transaction_id
        assert (transaction(opened).started_by_command is not None) is tied

    def test_command_that_nothing_came_of_does_not_take_the_start_of_a_later_one(
        self, charge_point: ChargePoint
    ) -> None:
        abandoned, later = self.command(charge_point, connectorId=1), self.command(charge_point, connectorId=1)
        opened = start(charge_point).transaction_id
        assert transaction(opened).started_by_command == later
        abandoned.refresh_from_db()
        assert abandoned.effect is None

    def test_one_command_leads_to_one_transaction(self, charge_point: ChargePoint) -> None:
        self.command(charge_point)
        first = start(charge_point).transaction_id
        second = start(charge_point, connector_id=2).transaction_id
        assert transaction(first).started_by_command is not None
        assert transaction(second).started_by_command is None
