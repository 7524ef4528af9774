"""Starts, stops and boots that meet in one batch: each sees what the one before it has made, as if they came alone.

What is asked of the database once for a batch is older than what its calls have changed since.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from ocpp.v16 import call_result

from csms.ocppj.errors import InternalError
from stations import commands, dispatch, lane_sql
from stations.dispatch import InboundCall, Link, Work
from stations.models import (
    Boot,
    ChargePoint,
    Command,
    InstalledProfile,
    MeterValue,
    OcppMessage,
    Reservation,
    Transaction,
)
from stations.models.command import CommandStatus
from stations.models.reservation import ReservationStatus
from stations.models.transaction import MAX_TRANSACTION_ID
from stations.ocpp import core
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.lane_calls import inbound, new_link, results
from tests.stations.rows import MINUTE, as_tenant, new_id_tag, wire

# Minutes ago, so that what follows is not in the future, and late enough for commands to have their effect.
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


@pytest.fixture
def link(tenants: Tenants) -> Link:
    with tenant_scope(tenants.tenant_a):
        new_id_tag("TAG-1")
        new_id_tag("TAG-2")
    return new_link(tenants.tenant_a)


def start(link: Link, message_id: str = "m-1", **members: Any) -> InboundCall:
    payload = {"connectorId": 1, "idTag": "TAG-1", "meterStart": 1000, "timestamp": wire(NOW)} | members
    return inbound(link, "StartTransaction", payload, message_id)


def stop(link: Link, transaction_id: int, **members: Any) -> InboundCall:
    payload = {"transactionId": transaction_id, "meterStop": 3500, "timestamp": wire(NOW + MINUTE)} | members
    return inbound(link, "StopTransaction", payload)


def meter_values(link: Link, transaction_id: int, value: str, at: datetime = NOW) -> InboundCall:
    element = {"timestamp": wire(at), "sampledValue": [{"value": value}]}
    return inbound(link, "MeterValues", {"connectorId": 1, "transactionId": transaction_id, "meterValue": [element]})


def boot(link: Link, model: str = "M1") -> InboundCall:
    return inbound(link, "BootNotification", {"chargePointVendor": "Acme", "chargePointModel": model})


def next_id(link: Link) -> int:
    """The id that the next transaction gets: a charge point has it after the COMMIT only, so a test must guess."""
    (conf,) = results(start(link, connectorId=99, idTag="GUESS"))
    return int(conf.transaction_id) + 1


def sent(link: Link, action: str, payload: dict[str, Any], **columns: Any) -> Command:
    """A command that was sent a minute ago and is not answered."""
    with tenant_scope(link.tenant_id):
        return Command.objects.create(
            charge_point_id=link.charge_point_id, action=action, payload=payload, requested_by="test",
            created_at=NOW - MINUTE, expires_at=NOW + MINUTE,
            **{"status": CommandStatus.SENT, "sent_at": NOW - MINUTE, "message_id": "c-1"} | columns,
        )  # fmt: skip


def answered(link: Link, message_id: str, status: str) -> Work:
    return Work(
        link, partial(commands.answered, message_id=message_id, payload={"status": status}, late=False), commands=True
    )


class TestStarts:
    def test_start_repeated_under_another_message_id_gets_the_same_transaction(self, link: Link) -> None:
        first, second = results(start(link, "m-1"), start(link, "m-2"))
        assert first == second
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.get().pk == first.transaction_id

    def test_start_without_a_readable_time_repeated_gets_the_same_transaction(self, link: Link) -> None:
        first, second = results(start(link, timestamp="soon"), start(link, timestamp="soon"))
        assert first == second

    def test_later_start_supersedes_the_one_before_it_at_its_last_reading(self, link: Link) -> None:
        expected = next_id(link)
        first, _, second = results(
            start(link),
            meter_values(link, expected, "1500", NOW + MINUTE),
            start(link, timestamp=wire(NOW + 2 * MINUTE), meterStart=1600),
        )
        assert first.transaction_id == expected
        with tenant_scope(link.tenant_id):
            old, new = Transaction.objects.filter(connector_id=1).order_by("pk")
            assert (old.pk, new.pk) == (first.transaction_id, second.transaction_id)
            assert (old.stopped_at, old.energy_wh) == (NOW + MINUTE, Decimal(500))
            assert old.flags == ["superseded", "energy_from_meter_values"]
            assert (new.active, new.flags) == (True, [])

    def test_start_supersedes_what_has_run_before_the_batch(self, link: Link) -> None:
        (old,) = results(start(link))
        other = new_link_beside(link)
        results(start(other), start(link, timestamp=wire(NOW + MINUTE)))
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.get(pk=old.transaction_id).flags == ["superseded"]
            assert Transaction.objects.open().count() == 2

    def test_starts_on_two_connectors_leave_each_other_running(self, link: Link) -> None:
        results(start(link), start(link, connectorId=2))
        with tenant_scope(link.tenant_id):
            rows = Transaction.objects.order_by("connector_id").values_list("connector_id", "stopped_at")
            assert list(rows) == [(1, None), (2, None)]

    def test_meter_values_of_a_transaction_that_began_in_the_batch_are_its(self, link: Link) -> None:
        expected = next_id(link)
        results(start(link), meter_values(link, expected, "1200"))
        with tenant_scope(link.tenant_id):
            assert MeterValue.objects.get().transaction_id == expected

    def test_start_that_uses_a_reservation_is_tied_to_it(self, link: Link) -> None:
        with tenant_scope(link.tenant_id):
            ChargePoint.objects.update(reserved_until=NOW + 60 * MINUTE)
            Reservation.objects.create(
                charge_point_id=link.charge_point_id, reservation_id=5, connector_id=1, id_tag="TAG-1",
                id_tag_key="TAG-1", expiry_date=NOW + 60 * MINUTE, status=ReservationStatus.ACCEPTED,
                requested_at=NOW - MINUTE, requested_by="test",
            )  # fmt: skip
        (conf, *_) = results(start(link, reservationId=5), start(new_link_beside(link)))
        with tenant_scope(link.tenant_id):
            row = Reservation.objects.get()
            assert (row.status, row.transaction_id) == ("Used", conf.transaction_id)

    def test_tag_that_may_charge_once_is_refused_the_second_time(self, link: Link) -> None:
        with tenant_scope(link.tenant_id):
            new_id_tag("ONCE", max_active_transactions=1)
        first, second = results(start(link, idTag="ONCE"), start(link, idTag="ONCE", connectorId=2))
        assert [conf.id_tag_info["status"] for conf in (first, second)] == ["Accepted", "ConcurrentTx"]

    def test_many_open_ones_of_a_neighbour_are_not_read_and_each_start_still_ends_its_own(
        self, link: Link, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stations.transaction_rows.MANY_OPEN", 1)
        other = new_link_beside(link)
        results(start(link), start(other), start(other, connectorId=2))
        later = {"timestamp": wire(NOW + MINUTE)}
        results(start(link, **later), start(other, **later))
        with tenant_scope(link.tenant_id):
            superseded = Transaction.objects.filter(stopped_at=NOW + MINUTE)
            assert sorted(superseded.values_list("charge_point_id", "connector_id")) == sorted(
                [(link.charge_point_id, 1), (other.charge_point_id, 1)]
            )

    def test_ids_are_not_used_up_by_repetitions(self, link: Link) -> None:
        (first,) = results(start(link))
        for number in range(5):
            results(start(link, f"m-{number}"), start(link, f"n-{number}"))
        (other,) = results(start(link, connectorId=2))
        assert other.transaction_id == first.transaction_id + 1


def new_link_beside(link: Link, identity: str = "CP-2") -> Link:
    """Another charge point of the same tenant."""
    with tenant_scope(link.tenant_id):
        row = ChargePoint.objects.create(identity=identity, connected=True, connection_generation=1)
    return Link(link.tenant_id, row.pk, 1, f"beside/{identity}")


class TestStops:
    def test_stop_of_a_transaction_that_began_in_the_batch_closes_it(self, link: Link) -> None:
        expected = next_id(link)
        started, _ = results(start(link), stop(link, expected, idTag="TAG-1"))
        with tenant_scope(link.tenant_id):
            tx = Transaction.objects.get(pk=started.transaction_id)
            assert (tx.stop_received, tx.meter_stop_wh, tx.energy_wh, tx.flags) == (True, 3500, Decimal(2500), [])
            assert tx.stopped_at == NOW + MINUTE

    def test_repeated_stop_is_compared_with_the_one_before_it(self, link: Link) -> None:
        (started,) = results(start(link))
        results(stop(link, started.transaction_id), stop(link, started.transaction_id, meterStop=9999))
        with tenant_scope(link.tenant_id):
            tx = Transaction.objects.get()
            assert (tx.meter_stop_wh, tx.flags) == (3500, ["stop_differs"])

    def test_same_stop_twice_changes_nothing(self, link: Link) -> None:
        (started,) = results(start(link))
        results(stop(link, started.transaction_id), stop(link, started.transaction_id))
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.get().flags == []

    def test_start_after_the_stop_of_the_one_before_does_not_supersede_it(self, link: Link) -> None:
        (started,) = results(start(link))
        results(stop(link, started.transaction_id), start(link, timestamp=wire(NOW + 2 * MINUTE)))
        with tenant_scope(link.tenant_id):
            old, new = Transaction.objects.order_by("pk")
            assert (old.flags, old.stop_received, new.active) == ([], True, True)

    def test_start_repeated_after_its_stop_is_answered_with_the_closed_one(self, link: Link) -> None:
        (started,) = results(start(link))
        _, again = results(stop(link, started.transaction_id), start(link))
        assert again == started
        with tenant_scope(link.tenant_id):
            assert not Transaction.objects.get().active

    def test_clock_that_begins_anew_opens_another_after_a_stop_in_the_same_batch(self, link: Link) -> None:
        at = {"timestamp": "1970-01-01T00:00:30Z"}
        (started,) = results(start(link, **at))
        _, anew, again = results(stop(link, started.transaction_id), start(link, **at), start(link, **at))
        assert anew.transaction_id != started.transaction_id
        assert again == anew

    def test_stop_without_id_finds_the_transaction_that_began_in_the_batch(self, link: Link) -> None:
        started, *_ = results(start(link), stop(link, -1, idTag="TAG-1"), stop(link, -1, idTag="TAG-1"))
        with tenant_scope(link.tenant_id):
            tx = Transaction.objects.get()
            assert (tx.pk, tx.stop_received, tx.flags) == (started.transaction_id, True, [])

    def test_orphan_stop_twice_is_one_orphan(self, link: Link) -> None:
        results(stop(link, 2**31 - 1), stop(link, 2**31 - 1))
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.get().flags == ["orphan_stop"]

    def test_transaction_data_brings_only_what_meter_values_of_the_batch_have_not(self, link: Link) -> None:
        (started,) = results(start(link))
        data = [
            {"timestamp": wire(NOW), "sampledValue": [{"value": "1100"}]},
            {"timestamp": wire(NOW + MINUTE), "sampledValue": [{"value": "1200"}]},
        ]
        results(
            meter_values(link, started.transaction_id, "1100"),
            stop(link, started.transaction_id, transactionData=data),
        )
        with tenant_scope(link.tenant_id):
            rows = MeterValue.objects.order_by("timestamp").values_list("timestamp", "energy_wh")
            assert list(rows) == [(NOW, Decimal(1100)), (NOW + MINUTE, Decimal(1200))]

    def test_energy_without_a_usable_meter_stop_is_from_the_transaction_data_of_the_stop(self, link: Link) -> None:
        (started,) = results(start(link))
        data = [{"timestamp": wire(NOW + MINUTE), "sampledValue": [{"value": "1700"}]}]
        results(stop(link, started.transaction_id, meterStop=5, transactionData=data))
        with tenant_scope(link.tenant_id):
            tx = Transaction.objects.get()
            assert (tx.energy_wh, tx.flags) == (Decimal(700), ["negative_energy", "energy_from_meter_values"])

    def test_stop_writes_only_what_a_stop_says(self, link: Link) -> None:
        (started,) = results(start(link))

        def meanwhile(charge_point: ChargePoint, now: datetime) -> None:
            Transaction.objects.update(meter_values_rolled_up_at=NOW)

        results(stop(link, started.transaction_id), Work(link, meanwhile))
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.get().meter_values_rolled_up_at == NOW


class TestCommands:
    def test_remote_start_is_tied_to_the_first_start_of_the_batch_only(self, link: Link) -> None:
        command = sent(link, "RemoteStartTransaction", {"idTag": "TAG-1"})
        first, second, _ = results(start(link), start(link, connectorId=2), start(new_link_beside(link)))
        with tenant_scope(link.tenant_id):
            command.refresh_from_db()
            assert command.effect == {"transaction": first.transaction_id}
            assert Transaction.objects.get(pk=first.transaction_id).started_by_command_id == command.pk
            assert Transaction.objects.get(pk=second.transaction_id).started_by_command_id is None

    def test_answer_earlier_in_the_batch_decides_whether_a_start_is_the_effect(self, link: Link) -> None:
        other = new_link_beside(link)
        commanded = [sent(place, "RemoteStartTransaction", {"idTag": "TAG-1"}) for place in (link, other)]
        results(
            # Looked up for both by the first start.
            start(new_link_beside(link, "CP-3")),
            start(other, idTag="TAG-2", connectorId=2),
            answered(link, "c-1", "Accepted"), answered(other, "c-1", "Rejected"),
            start(link), start(other),
        )  # fmt: skip
        with tenant_scope(link.tenant_id):
            accepted, rejected = Command.objects.filter(pk__in=[row.pk for row in commanded]).order_by("pk")
            assert (accepted.status, accepted.effect is not None) == ("answered", True)
            assert (rejected.status, rejected.effect) == ("answered", None)

    def test_profile_of_a_remote_start_is_installed_for_its_transaction(self, link: Link) -> None:
        period = {"startPeriod": 0, "limit": 16}
        profile = {
            "chargingProfileId": 7, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]},
        }  # fmt: skip
        sent(link, "RemoteStartTransaction", {"idTag": "TAG-1", "chargingProfile": profile})
        started, _ = results(start(link), start(new_link_beside(link)))
        with tenant_scope(link.tenant_id):
            assert InstalledProfile.objects.get().transaction_id == started.transaction_id
        results(stop(link, started.transaction_id))
        with tenant_scope(link.tenant_id):
            assert not InstalledProfile.objects.exists()

    def test_profile_accepted_after_another_stop_of_the_batch_is_dropped_with_its_own(self, link: Link) -> None:
        other = new_link_beside(link)
        (elsewhere, started) = results(start(other), start(link))
        profile = {
            "chargingProfileId": 8, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
            "transactionId": started.transaction_id, "chargingProfileKind": "Relative",
            "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}]},
        }  # fmt: skip
        sent(link, "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile})
        installed: list[int] = []

        def look(charge_point: ChargePoint, now: datetime) -> None:
            installed.extend(InstalledProfile.objects.values_list("transaction_id", flat=True))

        results(
            # Looked up for both: neither has any.
            stop(other, elsewhere.transaction_id),
            answered(link, "c-1", "Accepted"), Work(link, look),
            stop(link, started.transaction_id),
        )  # fmt: skip
        assert installed == [started.transaction_id]
        with tenant_scope(link.tenant_id):
            assert not InstalledProfile.objects.exists()

    def test_profile_answered_after_a_start_in_the_batch_is_for_that_transaction(self, link: Link) -> None:
        profile = {
            "chargingProfileId": 9, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}]},
        }  # fmt: skip
        sent(link, "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile})
        started, _ = results(start(link), answered(link, "c-1", "Accepted"))
        with tenant_scope(link.tenant_id):
            assert InstalledProfile.objects.get().transaction_id == started.transaction_id


class TestBoots:
    def test_two_boots_are_two_rows_and_the_charge_point_says_what_the_last_said(self, link: Link) -> None:
        results(boot(link, "M1"), boot(link, "M2"))
        with tenant_scope(link.tenant_id):
            row = ChargePoint.objects.get()
            assert (row.vendor, row.model) == ("Acme", "M2")
            payloads = Boot.objects.order_by("pk").values_list("payload", flat=True)
            assert [payload["charge_point_model"] for payload in payloads] == ["M1", "M2"]
            latest = Boot.objects.first()
            assert latest is not None
            assert (latest.status, latest.at) == ("Accepted", row.booted_at)
            assert row.last_seen_at == row.booted_at
            assert row.updated_at >= latest.at

    def test_first_boot_is_the_effect_of_a_reset_and_the_second_of_none(self, link: Link) -> None:
        command = sent(link, "Reset", {"type": "Soft"})
        results(boot(link), boot(link), boot(new_link_beside(link)))
        with tenant_scope(link.tenant_id):
            command.refresh_from_db()
            assert command.effect is not None
            first = Boot.objects.filter(charge_point_id=link.charge_point_id).order_by("pk").first()
            assert first is not None
            assert command.effect["boot"] == first.pk
            assert Boot.objects.count() == 3

    def test_reset_rejected_earlier_in_the_batch_is_not_what_the_boot_comes_from(self, link: Link) -> None:
        command = sent(link, "Reset", {"type": "Soft"})
        results(boot(new_link_beside(link)), answered(link, "c-1", "Rejected"), boot(link))
        with tenant_scope(link.tenant_id):
            command.refresh_from_db()
            assert (command.status, command.effect) == ("answered", None)


class TestFailure:
    def test_message_that_fails_does_not_hurt_the_starts_beside_it(
        self, link: Link, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> Any:
            raise ValueError("not this one")

        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "DataTransfer", fail)
        other = new_link_beside(link)
        first, error, second = results(
            start(link), inbound(other, "DataTransfer", {"vendorId": "x"}), start(other, connectorId=2)
        )
        assert isinstance(error, InternalError)
        with tenant_scope(link.tenant_id):
            ids = {first.transaction_id, second.transaction_id}
            assert set(Transaction.objects.values_list("pk", flat=True)) == ids
            assert OcppMessage.objects.count() == 6

    @pytest.mark.postgres
    def test_start_that_another_process_has_just_stored_is_found_at_the_second_attempt(
        self, link: Link, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The look-up finds nothing, then the row is there: the INSERT at the end of the batch is refused."""
        (first,) = results(start(link))
        look_up = lane_sql.look_up_starts
        attempts: list[int] = []

        def too_early(tenant_id: int, keys: Any) -> Any:
            attempts.append(len(keys))
            found = look_up(tenant_id, keys)
            known, new_ids = found
            return found if len(attempts) > 1 else ({}, new_ids | dict.fromkeys(known, MAX_TRANSACTION_ID))

        monkeypatch.setattr(lane_sql, "look_up_starts", too_early)
        other = new_link_beside(link)
        again, beside = results(start(link), start(other))
        assert again == first
        assert isinstance(beside, call_result.StartTransaction)
        assert attempts == [2, 2]
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.count() == 2


class TestTenants:
    def test_look_up_of_starts_sees_its_own_tenant_only(self, tenants: Tenants) -> None:
        a, b = new_link(tenants.tenant_a), new_link(tenants.tenant_b)
        first, second = results(start(a), start(b))
        assert first.transaction_id != second.transaction_id
        again, also = results(start(a), start(b))
        assert (again, also) == (first, second)

    def test_update_keeps_to_its_tenant(self, tenants: Tenants) -> None:
        a = new_link(tenants.tenant_a)
        (started,) = results(start(a))

        def change() -> None:
            with core.open_batch() as batch:
                tx = Transaction(pk=started.transaction_id, meter_stop_wh=1)
                batch.update(tx, ("meter_stop_wh",))

        as_tenant(tenants.tenant_b, change)
        with tenant_scope(tenants.tenant_a):
            assert Transaction.objects.get().meter_stop_wh is None
