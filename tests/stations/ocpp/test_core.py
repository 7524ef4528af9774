"""Core, from the charge point: registration, status, heartbeat and data transfer (protocol 4.1, 4.4, 4.6)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from ocpp.v16 import call, call_result

from stations import commands
from stations.models import Boot, ChargePoint, Command, Connector, ConnectorStatus, Transaction
from stations.models.command import CommandStatus
from stations.ocpp import core
from tenants.models import Tenant
from tests.stations.rows import HOUR, MINUTE, NOW, new_charge_point, new_id_tag, start, transaction, wire

pytestmark = pytest.mark.usefixtures("in_tenant_a")

BOOT = {"charge_point_vendor": "Acme", "charge_point_model": "One"}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def boot(charge_point: ChargePoint, now: datetime = NOW, **members: Any) -> call_result.BootNotification:
    return core.boot_notification(charge_point, call.BootNotification(**BOOT | members), now)


class TestBootNotification:
    def test_accepted_gets_the_clock_in_milliseconds_and_the_heartbeat_interval(
        self, charge_point: ChargePoint
    ) -> None:
        assert boot(charge_point) == call_result.BootNotification("2026-03-01T12:00:00.000Z", 300, "Accepted")

    def test_interval_of_the_charge_point_wins_over_that_of_the_tenant(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.heartbeat_interval_seconds = 120
        in_tenant_a.save()
        assert boot(new_charge_point("A")).interval == 120
        assert boot(new_charge_point("B", heartbeat_interval_seconds=45)).interval == 45

    @pytest.mark.parametrize("status", ["Pending", "Rejected"])
    def test_not_accepted_gets_the_pause_before_the_next_boot(self, in_tenant_a: Tenant, status: str) -> None:
        in_tenant_a.pending_interval_seconds = 90
        in_tenant_a.save()
        conf = boot(new_charge_point(registration_status=status, heartbeat_interval_seconds=45))
        assert (conf.status, conf.interval) == (status, 90)

    def test_clock_without_fraction_for_a_charge_point_that_chokes_on_it(self) -> None:
        conf = boot(new_charge_point(send_milliseconds=False))
        assert conf.current_time == "2026-03-01T12:00:00Z"

    def test_boot_facts_are_stored_and_those_missing_next_time_are_forgotten(self, charge_point: ChargePoint) -> None:
        boot(charge_point, firmware_version="1.2", charge_point_serial_number="SN", meter_type="M", imsi="262")
        charge_point.refresh_from_db()
        assert (charge_point.vendor, charge_point.model, charge_point.firmware_version) == ("Acme", "One", "1.2")
        assert (charge_point.charge_point_serial_number, charge_point.meter_type) == ("SN", "M")
        assert (charge_point.imsi, charge_point.booted_at, charge_point.last_seen_at) == ("262", NOW, NOW)
        boot(charge_point, now=NOW + HOUR, firmware_version="1.3")
        charge_point.refresh_from_db()
        assert (charge_point.firmware_version, charge_point.charge_point_serial_number) == ("1.3", "")

    def test_every_boot_is_kept_with_what_it_said_and_was_answered(self, charge_point: ChargePoint) -> None:
        boot(charge_point, firmware_version="1.2")
        charge_point.registration_status = "Pending"
        boot(charge_point, now=NOW + HOUR)
        assert list(Boot.objects.values_list("at", "payload", "status")) == [
            (NOW + HOUR, BOOT, "Pending"),
            (NOW, BOOT | {"firmware_version": "1.2"}, "Accepted"),
        ]

    def test_texts_beyond_the_standard_length_are_stored_in_full(self, charge_point: ChargePoint) -> None:
        boot(charge_point, charge_point_vendor="V" * 200)
        charge_point.refresh_from_db()
        assert charge_point.vendor == "V" * 200

    def test_open_transactions_stay_open(self, charge_point: ChargePoint) -> None:
        new_id_tag()
        opened = start(charge_point).transaction_id
        boot(charge_point, now=NOW + MINUTE)
        assert transaction(opened).active

    @pytest.mark.parametrize(
        ("status", "response", "error", "tied"),
        [
            (CommandStatus.ANSWERED, {"status": "Accepted"}, None, True),
            # The charge point may restart before it answers, or lose the answer.
            (CommandStatus.SENT, None, None, True),
            (CommandStatus.UNKNOWN, None, None, True),
            (CommandStatus.TIMED_OUT, None, None, True),
            (CommandStatus.ANSWERED, {"status": "Rejected"}, None, False),
            (CommandStatus.ERROR, None, {"code": "NotSupported"}, False),
        ],
    )
    def test_boot_is_the_effect_of_a_reset_that_was_not_refused(
        self, charge_point: ChargePoint, status: str, response: Any, error: Any, tied: bool
    ) -> None:
        reset = commands.enqueue(charge_point, "Reset", {"type": "Hard"}, "test")
        Command.objects.filter(pk=reset.pk).update(status=status, response=response, error=error, sent_at=NOW - MINUTE)
        boot(charge_point)
        reset.refresh_from_db()
        expected = {"boot": Boot.objects.get().pk, "booted_at": "2026-03-01T12:00:00.000Z"}
        assert reset.effect == (expected if tied else None)

    def test_boot_long_after_a_reset_is_not_its_effect(self, charge_point: ChargePoint) -> None:
        reset = commands.enqueue(charge_point, "Reset", {"type": "Hard"}, "test")
        accepted = {"status": CommandStatus.ANSWERED, "response": {"status": "Accepted"}}
        Command.objects.filter(pk=reset.pk).update(sent_at=NOW - 2 * HOUR, **accepted)
        boot(charge_point)
        reset.refresh_from_db()
        assert reset.effect is None

    def test_second_boot_is_not_tied_to_the_same_reset(self, charge_point: ChargePoint) -> None:
        reset = commands.enqueue(charge_point, "Reset", {"type": "Soft"}, "test")
        Command.objects.filter(pk=reset.pk).update(status=CommandStatus.SENT, sent_at=NOW - MINUTE)
        boot(charge_point)
        first = Boot.objects.get().pk
        boot(charge_point, now=NOW + MINUTE)
        reset.refresh_from_db()
        assert reset.effect is not None
        assert reset.effect["boot"] == first


class TestHeartbeatAndDataTransfer:
    def test_heartbeat_gives_the_clock(self, charge_point: ChargePoint) -> None:
        now = NOW.replace(microsecond=123_999)
        assert core.heartbeat(charge_point, call.Heartbeat(), now).current_time == "2026-03-01T12:00:00.123Z"

    def test_heartbeat_without_fraction_for_a_charge_point_that_chokes_on_it(self) -> None:
        conf = core.heartbeat(new_charge_point(send_milliseconds=False), call.Heartbeat(), NOW)
        assert conf.current_time == "2026-03-01T12:00:00Z"

    def test_data_transfer_of_an_unknown_vendor_gets_no_data_back(self, charge_point: ChargePoint) -> None:
        req = call.DataTransfer(vendor_id="com.example", message_id="Ping", data="x")
        assert core.data_transfer(charge_point, req, NOW) == call_result.DataTransfer("UnknownVendorId")


def notify(
    charge_point: ChargePoint,
    status: str = "Available",
    *,
    connector_id: Any = 1,
    error_code: str = "NoError",
    timestamp: str | None = None,
    now: datetime = NOW,
    **members: Any,
) -> None:
    req = call.StatusNotification(connector_id, error_code, status, timestamp=timestamp, **members)
    assert core.status_notification(charge_point, req, now) == call_result.StatusNotification()


def status_of(connector_id: int = 1) -> tuple[str, datetime | None]:
    connector = Connector.objects.get(connector_id=connector_id)
    return connector.status, connector.status_at


STATUSES = [
    "Available", "Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing", "Reserved", "Unavailable",
    "Faulted",
]  # fmt: skip


class TestStatusNotification:
    def test_connectors_are_created_as_they_appear(self, charge_point: ChargePoint) -> None:
        for connector_id in (2, 0, 1):
            notify(charge_point, connector_id=connector_id)
        found = Connector.objects.filter(charge_point=charge_point).values_list("connector_id", "status")
        assert list(found) == [(0, "Available"), (1, "Available"), (2, "Available")]

    @pytest.mark.parametrize("after", STATUSES)
    @pytest.mark.parametrize("before", STATUSES)
    def test_no_transition_is_refused(self, charge_point: ChargePoint, before: str, after: str) -> None:
        notify(charge_point, before, timestamp=wire(NOW))
        notify(charge_point, after, timestamp=wire(NOW + MINUTE), now=NOW + MINUTE)
        assert status_of() == (after, NOW + MINUTE)

    def test_every_member_is_kept_in_the_latest_status_and_in_the_history(self, charge_point: ChargePoint) -> None:
        notify(
            charge_point,
            "Faulted",
            error_code="ConnectorLockFailure",
            info="lock",
            vendor_id="com.acme",
            vendor_error_code="E7",
            timestamp=wire(NOW - MINUTE),
        )
        facts = ("Faulted", "ConnectorLockFailure", "lock", "com.acme", "E7")
        columns = ("status", "error_code", "info", "vendor_id", "vendor_error_code")
        assert Connector.objects.values_list(*columns, "status_at", "status_received_at").get() == (
            *facts, NOW - MINUTE, NOW,
        )  # fmt: skip
        assert ConnectorStatus.objects.values_list(*columns, "at", "received_at").get() == (*facts, NOW - MINUTE, NOW)

    def test_members_of_the_status_before_do_not_linger(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Faulted", error_code="OtherError", info="bad", vendor_error_code="E7")
        notify(charge_point, "Available", now=NOW + MINUTE)
        connector = Connector.objects.get()
        assert (connector.error_code, connector.info, connector.vendor_error_code) == ("NoError", "", "")

    def test_absent_timestamp_is_the_time_of_receipt(self, charge_point: ChargePoint) -> None:
        notify(charge_point)
        assert status_of() == ("Available", NOW)

    @pytest.mark.parametrize("timestamp", ["", "yesterday"])
    def test_unreadable_timestamp_is_the_time_of_receipt(self, charge_point: ChargePoint, timestamp: str) -> None:
        notify(charge_point, timestamp=timestamp)
        assert status_of() == ("Available", NOW)

    def test_one_overtaken_in_a_burst_goes_to_the_history_only(self, charge_point: ChargePoint) -> None:
        soon = NOW + timedelta(seconds=5)
        notify(charge_point, "Charging", timestamp=wire(NOW))
        notify(charge_point, "Preparing", timestamp=wire(NOW - MINUTE), now=soon)
        assert status_of() == ("Charging", NOW)
        history = ConnectorStatus.objects.order_by("at").values_list("status", "at", "received_at")
        assert list(history) == [("Preparing", NOW - MINUTE, soon), ("Charging", NOW, NOW)]

    @pytest.mark.parametrize("given", [NOW - MINUTE, NOW - timedelta(days=3000)])
    def test_what_arrives_last_is_the_present_state_whatever_its_time(
        self, charge_point: ChargePoint, given: datetime
    ) -> None:
        """A clock that fell back, a power cut, a Faulted with the time of its cause."""
        notify(charge_point, "Charging", timestamp=wire(NOW))
        notify(charge_point, "Available", timestamp=wire(given), now=NOW + timedelta(seconds=6))
        assert status_of()[0] == "Available"

    def test_of_two_with_one_timestamp_the_one_received_later_counts(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Preparing", timestamp=wire(NOW))
        notify(charge_point, "Charging", timestamp=wire(NOW))
        assert status_of()[0] == "Charging"

    def test_clock_that_ran_ahead_does_not_make_later_statuses_look_old(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Charging", timestamp="2031-01-01T00:00:00Z")
        notify(charge_point, "Finishing", timestamp=wire(NOW + MINUTE), now=NOW + MINUTE)
        assert status_of() == ("Finishing", NOW + MINUTE)
        assert ConnectorStatus.objects.filter(at__year=2031).count() == 1

    def test_clock_that_was_never_set_does_not_freeze_the_status(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Available", timestamp=wire(NOW))
        notify(charge_point, "Charging", timestamp="1970-01-01T00:02:00Z", now=NOW + MINUTE)
        assert status_of() == ("Charging", NOW + MINUTE)
        assert ConnectorStatus.objects.filter(at__year=1970).count() == 1

    def test_time_without_a_zone_is_taken_in_that_of_the_charge_point(self) -> None:
        notify(new_charge_point(time_zone="Asia/Tokyo"), timestamp="2026-03-01T20:59:00")
        assert status_of() == ("Available", NOW - MINUTE)

    def test_error_code_with_another_status_is_a_warning_and_kept(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Charging", error_code="EVCommunicationError")
        connector = Connector.objects.get()
        assert (connector.status, connector.error_code) == ("Charging", "EVCommunicationError")

    def test_unknown_error_code_is_kept_as_sent(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Faulted", error_code="CoffeeMachineEmpty")
        assert Connector.objects.get().error_code == "CoffeeMachineEmpty"

    def test_status_neither_starts_nor_ends_a_transaction(self, charge_point: ChargePoint) -> None:
        notify(charge_point, "Charging")
        assert not Transaction.objects.exists()
        new_id_tag()
        opened = start(charge_point).transaction_id
        for status in ("Finishing", "Available", "Faulted"):
            notify(charge_point, status, now=NOW + MINUTE)
        assert transaction(opened).active

    def test_status_of_one_charge_point_is_not_that_of_another(self, charge_point: ChargePoint) -> None:
        other = new_charge_point("CP-2")
        notify(charge_point, "Charging")
        notify(other, "Available")
        assert Connector.objects.get(charge_point=charge_point).status == "Charging"
        assert Connector.objects.get(charge_point=other).status == "Available"

    @pytest.mark.parametrize("connector_id", [2**31 - 1, 2**40, -5])
    def test_odd_connector_number_is_stored(self, charge_point: ChargePoint, connector_id: int) -> None:
        notify(charge_point, connector_id=connector_id)
        assert Connector.objects.get().connector_id == min(connector_id, 2**31 - 1)

    def test_history_keeps_its_order_for_a_burst_after_an_outage(self, charge_point: ChargePoint) -> None:
        times = [NOW - timedelta(minutes=minutes) for minutes in (30, 20, 10)]
        for status, at in zip(("Preparing", "Charging", "Finishing"), times, strict=True):
            notify(charge_point, status, timestamp=wire(at))
        assert status_of() == ("Finishing", times[-1])
        assert list(ConnectorStatus.objects.order_by("id").values_list("at", flat=True)) == times
