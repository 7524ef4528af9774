"""How the simulated charge point takes what the central system asks, over real sockets: all 19 messages of OCPP 1.6."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ocpp.exceptions import NotImplementedError as NotImplementedCallError
from ocpp.exceptions import PropertyConstraintViolationError
from ocpp.v16 import call

from stations.simulator import FleetOptions, FleetSummary, run_fleet
from tests.stations.small_csms import SmallCsms, small_csms

WAITING = "remote-start"  # a driver who waits, cable in, to be started from afar
CHARGING = "cached-id"


@pytest.fixture
async def csms() -> AsyncIterator[SmallCsms]:
    async with small_csms() as central_system:
        yield central_system


@asynccontextmanager
async def station(csms: SmallCsms, scenario: str = "idle", **given: Any) -> AsyncIterator[dict[str, FleetSummary]]:
    """A booted station with two connectors; what it reports at the end is in `result["summary"]`. Nothing may fail."""
    stop, result = asyncio.Event(), {}
    defaults = {
        "connectors": 2,
        "speed": 200.0,
        "sample_interval_seconds": 0.05,
        "seed": 4,
        "charging_minutes": (900, 900),
    }
    options = FleetOptions(url=csms.url, scenarios=(scenario,), **(defaults | given))
    running = asyncio.create_task(run_fleet(options, stop=stop))
    try:
        await csms.wait_for(lambda: len(csms.statuses()) >= options.connectors + 1)
        if scenario == WAITING:
            await csms.wait_for(lambda: "Preparing" in dict(map(reversed, csms.statuses())))
        if scenario == CHARGING:
            await csms.wait_for(lambda: "Charging" in dict(map(reversed, csms.statuses())))
        yield result
    finally:
        stop.set()
        result["summary"] = await asyncio.wait_for(running, 30)
    assert not result["summary"].failed, result["summary"]


def soon(seconds: float = 60) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def profile(purpose: str, limit: float, unit: str = "W", level: int = 0, number: int = 1, **members: Any) -> dict:
    """A relative profile with one period without end."""
    schedule = {"chargingRateUnit": unit, "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    } | members


def of_connector(csms: SmallCsms, status: str) -> int:
    """The connector that showed this status last."""
    return [connector for connector, shown in csms.statuses() if shown == status][-1]


COMMANDS = [
    (call.CancelReservation(99), "Rejected"),
    (call.ChangeAvailability(1, "Inoperative"), "Accepted"),
    (call.ChangeAvailability(0, "Operative"), "Accepted"),
    (call.ChangeAvailability(3, "Inoperative"), "Rejected"),
    (call.ChangeConfiguration("MeterValueSampleInterval", "60"), "Accepted"),
    (call.ChangeConfiguration("MeterValueSampleInterval", "-1"), "Rejected"),
    (call.ChangeConfiguration("MeterValuesSampledData", "Energy.Active.Import.Register,RPM"), "Rejected"),
    (call.ChangeConfiguration("NumberOfConnectors", "4"), "Rejected"),
    (call.ChangeConfiguration("WebSocketPingInterval", "30"), "RebootRequired"),
    (call.ChangeConfiguration("NoSuchKey", "1"), "NotSupported"),
    (call.ClearCache(), "Accepted"),
    (call.ClearChargingProfile(id=77), "Unknown"),
    (call.DataTransfer("nobody"), "UnknownVendorId"),
    (call.DataTransfer("Simulated", "Nonsense"), "UnknownMessageId"),
    (call.DataTransfer("Simulated", "Echo", "hello"), "Accepted"),
    (call.GetCompositeSchedule(1, 600), "Accepted"),
    (call.GetCompositeSchedule(9, 600), "Rejected"),
    (call.RemoteStartTransaction("SIM-TAG", 9), "Rejected"),
    (call.RemoteStartTransaction("SIM-TAG", 1, profile("TxDefaultProfile", 6000)), "Rejected"),
    (call.RemoteStopTransaction(4711), "Rejected"),
    (call.ReserveNow(1, "2001-01-01T00:00:00Z", "SIM-TAG", 1), "Rejected"),
    (call.ReserveNow(9, "2099-01-01T00:00:00Z", "SIM-TAG", 1), "Rejected"),
    (call.ReserveNow(0, "2099-01-01T00:00:00Z", "SIM-TAG", 1), "Accepted"),
    (call.Reset("Soft"), "Accepted"),
    (call.Reset("Hard"), "Accepted"),
    (call.SendLocalList(1, "Full", []), "Accepted"),
    (call.SendLocalList(1, "Full", [{"idTag": "A"}]), "Failed"),
    (call.SendLocalList(0, "Full", []), "Failed"),
    (call.SetChargingProfile(0, profile("ChargePointMaxProfile", 11000)), "Accepted"),
    (call.SetChargingProfile(1, profile("ChargePointMaxProfile", 11000)), "Rejected"),
    (call.SetChargingProfile(1, profile("TxProfile", 11000)), "Rejected"),
    (call.SetChargingProfile(1, profile("TxDefaultProfile", 16.0, "A", level=9)), "Rejected"),
    (call.TriggerMessage("BootNotification"), "Rejected"),
    (call.TriggerMessage("MeterValues", 9), "Rejected"),
    (call.UnlockConnector(1), "Unlocked"),
    (call.UnlockConnector(9), "NotSupported"),
]


@pytest.mark.parametrize(
    ("command", "status"), COMMANDS, ids=lambda one: one if isinstance(one, str) else type(one).__name__
)
async def test_answer(csms: SmallCsms, command: Any, status: str) -> None:
    async with station(csms):
        assert (await csms.send(command)).status == status


async def test_every_action_is_answered(csms: SmallCsms) -> None:
    """The 19 of OCPP 1.6; those above and the four whose answers have no status."""
    asked = {type(command).__name__ for command, _ in COMMANDS} | {"TriggerMessage"}
    async with station(csms) as result:
        assert (await csms.send(call.GetLocalListVersion())).list_version == 0
        assert (await csms.send(call.GetDiagnostics("ftp://example.org/"))).file_name.startswith("diagnostics-")
        await csms.send(call.UpdateFirmware("ftp://example.org/firmware.bin", soon(3600)))
        await csms.send(call.GetConfiguration())
        with pytest.raises(NotImplementedCallError):
            await csms.send(call.ExtendedTriggerMessage("Heartbeat"))
    assert len(asked | result["summary"].commands_received.keys() - {"ExtendedTriggerMessage"}) == 19


class TestConfiguration:
    async def test_read_all(self, csms: SmallCsms) -> None:
        async with station(csms):
            answer = await csms.send(call.GetConfiguration())
        keys = {entry["key"]: entry for entry in answer.configuration_key}
        assert len(keys) >= 40
        assert keys["NumberOfConnectors"] == {"key": "NumberOfConnectors", "readonly": True, "value": "2"}
        assert "value" not in keys["AuthorizationKey"]
        assert answer.unknown_key is None

    async def test_read_some(self, csms: SmallCsms) -> None:
        async with station(csms):
            answer = await csms.send(call.GetConfiguration(["HeartbeatInterval", "Nonsense"]))
        assert answer.configuration_key == [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]
        assert answer.unknown_key == ["Nonsense"]

    async def test_heartbeat_interval_takes_effect_at_once(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.ChangeConfiguration("HeartbeatInterval", "1"))
            await csms.wait_for_action("Heartbeat", 2)

    async def test_sample_interval_and_measurands_take_effect(self, csms: SmallCsms) -> None:
        async with station(csms, CHARGING, sample_interval_seconds=0.1):
            await csms.wait_for_action("MeterValues", 2)
            await csms.send(call.ChangeConfiguration("MeterValuesSampledData", "Power.Active.Import"))
            await csms.wait_for(
                lambda: (
                    [
                        value["measurand"]
                        for value in csms.of("MeterValues")[-1].members["meter_value"][0]["sampled_value"]
                    ]
                    == ["Power.Active.Import"]
                )
            )

    async def test_clock_aligned_samples(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.ChangeConfiguration("ClockAlignedDataInterval", "1"))
            received = await csms.wait_for_action("MeterValues", 2)
        assert [one.members["connector_id"] for one in received[:2]] == [1, 2]
        assert received[0].members["meter_value"][0]["sampled_value"][0]["context"] == "Sample.Clock"
        assert "transaction_id" not in received[0].members

    async def test_new_password(self, csms: SmallCsms) -> None:
        """TC_073."""
        csms.passwords["SIM0001"] = b"the-first-password"
        async with station(csms, password="the-first-password") as result:
            csms.passwords["SIM0001"] = bytes(range(200, 220))
            answer = await csms.send(call.ChangeConfiguration("AuthorizationKey", bytes(range(200, 220)).hex()))
            assert answer.status == "Accepted"
            await csms.wait_for(lambda: len(csms.handshakes) == 2 and "SIM0001" in csms.stations)
        assert result["summary"].connects == 2
        assert len(csms.of("BootNotification")) == 1


class TestTransactions:
    async def test_remote_start_cable_in_first(self, csms: SmallCsms) -> None:
        """TC_010, TC_012."""
        csms.known_id_tags.add("REMOTE")
        async with station(csms, WAITING):
            connector_id = of_connector(csms, "Preparing")
            assert (await csms.send(call.RemoteStartTransaction("REMOTE", connector_id))).status == "Accepted"
            await csms.wait_for_status(connector_id, "Charging")
            assert csms.story()[4:] == [
                f"{connector_id}:Preparing",
                "Authorize",
                "StartTransaction",
                f"{connector_id}:Charging",
            ]
            assert csms.of("StartTransaction")[0].members["id_tag"] == "REMOTE"
            assert (await csms.send(call.RemoteStopTransaction(1001))).status == "Accepted"
            await csms.wait_for_status(connector_id, "Finishing")
        assert csms.of("StopTransaction")[0].members["reason"] == "Remote"

    async def test_remote_start_first(self, csms: SmallCsms) -> None:
        """TC_011_1, TC_059: every station obeys a remote start on a free connector; its profile holds."""
        async with station(csms):
            request = call.RemoteStartTransaction("SIM-TAG", 2, profile("TxProfile", 6000))
            assert (await csms.send(request)).status == "Accepted"
            await csms.wait_for_status(2, "Charging")
            assert csms.story()[4:] == ["Authorize", "2:Preparing", "StartTransaction", "2:Charging"]
            schedule = (await csms.send(call.GetCompositeSchedule(2, 60, "W"))).charging_schedule
            assert schedule["charging_schedule_period"] == [{"start_period": 0, "limit": 6000}]
            assert (await csms.send(call.RemoteStartTransaction("SIM-TAG", 2))).status == "Rejected"

    async def test_unlock_ends_the_transaction(self, csms: SmallCsms) -> None:
        """TC_018_1."""
        async with station(csms, CHARGING):
            connector_id = of_connector(csms, "Charging")
            assert (await csms.send(call.UnlockConnector(connector_id))).status == "Unlocked"
            stop = (await csms.wait_for_action("StopTransaction"))[0]
        assert stop.members["reason"] == "UnlockCommand"

    async def test_availability_is_scheduled_while_charging(self, csms: SmallCsms) -> None:
        async with station(csms, CHARGING):
            connector_id = of_connector(csms, "Charging")
            answer = await csms.send(call.ChangeAvailability(connector_id, "Inoperative"))
            assert answer.status == "Scheduled"
            await csms.send(call.UnlockConnector(connector_id))
            await csms.wait_for_status(connector_id, "Unavailable")
            assert (await csms.send(call.RemoteStartTransaction("SIM-TAG", connector_id))).status == "Rejected"

    async def test_availability_of_the_whole_station(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.ChangeAvailability(0, "Inoperative"))
            await csms.wait_for(lambda: csms.statuses()[-3:] == [(number, "Unavailable") for number in range(3)])


class TestReset:
    async def test_soft_stops_first_then_boots(self, csms: SmallCsms) -> None:
        """TC_014."""
        async with station(csms, CHARGING):
            await csms.send(call.Reset("Soft"))
            await csms.wait_for_action("BootNotification", 2)
        story = csms.story()
        assert story.index("StopTransaction") < story.index("BootNotification", 1)
        assert csms.of("StopTransaction")[0].members["reason"] == "SoftReset"

    async def test_hard_boots_first_then_stops(self, csms: SmallCsms) -> None:
        """TC_013; errata v4.0 3.36."""
        async with station(csms, CHARGING):
            await csms.send(call.Reset("Hard"))
            await csms.wait_for_action("StopTransaction")
        story = csms.story()
        assert story.index("BootNotification", 1) < story.index("StopTransaction")
        assert csms.of("StopTransaction")[0].members["reason"] == "HardReset"

    async def test_availability_survives(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.ChangeAvailability(2, "Inoperative"))
            await csms.wait_for_status(2, "Unavailable")
            await csms.send(call.Reset("Soft"))
            await csms.wait_for_action("BootNotification", 2)
            await csms.wait_for(
                lambda: csms.statuses()[-3:] == [(0, "Available"), (1, "Available"), (2, "Unavailable")]
            )


class TestTrigger:
    @pytest.mark.parametrize(
        ("message", "action"),
        [
            ("Heartbeat", "Heartbeat"),
            ("FirmwareStatusNotification", "FirmwareStatusNotification"),
            ("DiagnosticsStatusNotification", "DiagnosticsStatusNotification"),
        ],
    )
    async def test_message_follows(self, csms: SmallCsms, message: str, action: str) -> None:
        """TC_054."""
        async with station(csms):
            assert (await csms.send(call.TriggerMessage(message))).status == "Accepted"
            received = await csms.wait_for_action(action)
        assert received[0].members.get("status", "Idle") == "Idle"

    async def test_status_of_all_and_of_one(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.TriggerMessage("StatusNotification"))
            await csms.wait_for_action("StatusNotification", 6)
            await csms.send(call.TriggerMessage("StatusNotification", 2))
            await csms.wait_for_action("StatusNotification", 7)
        assert [connector for connector, _ in csms.statuses()][3:7] == [0, 1, 2, 2]

    async def test_meter_values(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.TriggerMessage("MeterValues", 1))
            received = await csms.wait_for_action("MeterValues")
        assert received[0].members["meter_value"][0]["sampled_value"][0]["context"] == "Trigger"


class TestReservation:
    async def test_reserve_then_charge(self, csms: SmallCsms) -> None:
        """TC_046, TC_048_2."""
        csms.known_id_tags |= {"MINE", "OTHER"}
        async with station(csms):
            assert (await csms.send(call.ReserveNow(1, soon(), "MINE", 5))).status == "Accepted"
            await csms.wait_for_status(1, "Reserved")
            assert (await csms.send(call.ReserveNow(1, soon(), "OTHER", 6))).status == "Occupied"
            assert (await csms.send(call.RemoteStartTransaction("OTHER", 1))).status == "Rejected"
            assert (await csms.send(call.RemoteStartTransaction("mine", 1))).status == "Accepted"
            start = (await csms.wait_for_action("Authorize"))[0]
        assert start.members["id_tag"] == "mine"

    async def test_start_carries_the_reservation(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.ReserveNow(1, soon(), "SIM-TAG", 5))
            await csms.send(call.RemoteStartTransaction("SIM-TAG", 1))
            start = (await csms.wait_for_action("StartTransaction"))[0]
            assert start.members["reservation_id"] == 5
            assert (await csms.send(call.CancelReservation(5))).status == "Rejected"

    async def test_same_group(self, csms: SmallCsms) -> None:
        """TC_053: the parent of the other token is known from an earlier answer."""
        csms.known_id_tags |= {"MINE", "SISTER"}
        csms.parent_id_tags["SISTER"] = "FAMILY"
        async with station(csms):
            await csms.send(call.RemoteStartTransaction("SISTER", 2))
            await csms.wait_for_status(2, "Charging")
            await csms.send(call.ReserveNow(1, soon(), "MINE", 5, "Family"))
            assert (await csms.send(call.RemoteStartTransaction("SISTER", 1))).status == "Accepted"
            await csms.wait_for_status(1, "Charging")
        assert csms.of("StartTransaction")[1].members["reservation_id"] == 5

    async def test_expires_by_itself(self, csms: SmallCsms) -> None:
        """TC_047."""
        async with station(csms):
            await csms.send(call.ReserveNow(2, soon(0.5), "SIM-TAG", 5))
            await csms.wait_for(lambda: csms.story()[4:] == ["2:Reserved", "2:Available"])
            assert (await csms.send(call.CancelReservation(5))).status == "Rejected"

    async def test_cancel_and_replace(self, csms: SmallCsms) -> None:
        """TC_051."""
        async with station(csms):
            await csms.send(call.ReserveNow(2, soon(), "SIM-TAG", 5))
            await csms.wait_for_status(2, "Reserved")
            assert (await csms.send(call.ReserveNow(2, soon(90), "SIM-TAG", 5))).status == "Accepted"
            assert (await csms.send(call.CancelReservation(5))).status == "Accepted"
            await csms.wait_for(lambda: csms.story()[-1] == "2:Available")

    async def test_unavailable_and_bad_date(self, csms: SmallCsms) -> None:
        """TC_048_3."""
        async with station(csms):
            await csms.send(call.ChangeAvailability(1, "Inoperative"))
            assert (await csms.send(call.ReserveNow(1, soon(), "SIM-TAG", 5))).status == "Unavailable"
            with pytest.raises(PropertyConstraintViolationError):
                await csms.send(call.ReserveNow(1, "tomorrow", "SIM-TAG", 5))


class TestLocalList:
    async def test_full_and_differential(self, csms: SmallCsms) -> None:
        """TC_042_2, TC_043_4, TC_043_5."""
        accepted = {"status": "Accepted"}
        both = [{"idTag": "A", "idTagInfo": accepted}, {"idTag": "B", "idTagInfo": accepted}]
        async with station(csms):
            assert (await csms.send(call.SendLocalList(3, "Full", both))).status == "Accepted"
            assert (
                await csms.send(call.SendLocalList(3, "Differential", [{"idTag": "a"}]))
            ).status == "VersionMismatch"
            assert (await csms.send(call.SendLocalList(4, "Differential", [{"idTag": "a"}]))).status == "Accepted"
            assert (await csms.send(call.SendLocalList(5, "Full", both * 2))).status == "Failed"
            assert (await csms.send(call.GetLocalListVersion())).list_version == 4

    async def test_local_pre_authorize_uses_it(self, csms: SmallCsms) -> None:
        async with station(csms):
            await csms.send(call.SendLocalList(1, "Full", [{"idTag": "SIM-TAG", "idTagInfo": {"status": "Accepted"}}]))
            await csms.send(call.ChangeConfiguration("LocalPreAuthorize", "true"))
            await csms.send(call.RemoteStartTransaction("SIM-TAG", 1))
            await csms.wait_for_status(1, "Charging")
        assert not csms.of("Authorize")


class TestSmartCharging:
    async def test_limit_is_kept_and_zero_suspends(self, csms: SmallCsms) -> None:
        """TC_056, TC_057, TC_067."""

        def power() -> float:
            values = csms.of("MeterValues")[-1].members["meter_value"][0]["sampled_value"]
            return float(next(one["value"] for one in values if one["measurand"] == "Power.Active.Import"))

        async with station(csms, CHARGING):
            here = of_connector(csms, "Charging")
            await csms.wait_for(lambda: csms.of("MeterValues") and power() > 3000)
            assert (await csms.send(call.SetChargingProfile(0, profile("TxDefaultProfile", 2000)))).status == "Accepted"
            await csms.wait_for(lambda: power() == 2000)
            tx_profile = profile("TxProfile", 1500, number=2, transactionId=1001)
            assert (await csms.send(call.SetChargingProfile(here, tx_profile))).status == "Accepted"
            await csms.wait_for(lambda: power() == 1500)
            await csms.send(call.SetChargingProfile(0, profile("ChargePointMaxProfile", 0, number=3)))
            await csms.wait_for_status(here, "SuspendedEVSE")
            assert (await csms.send(call.ClearChargingProfile(id=3))).status == "Accepted"
            await csms.wait_for(lambda: csms.statuses()[-1] == (here, "Charging"))
            await csms.send(call.ClearChargingProfile(connector_id=here, charging_profile_purpose="TxProfile"))
            await csms.wait_for(lambda: power() == 2000)
            assert (await csms.send(call.ClearChargingProfile())).status == "Accepted"
            assert (await csms.send(call.ClearChargingProfile())).status == "Unknown"
            await csms.wait_for(lambda: power() > 3000)

    async def test_composite_schedule_stacks(self, csms: SmallCsms) -> None:
        """TC_066: the higher level lets the lower one through once its duration is over."""
        start = datetime.now(UTC) - timedelta(seconds=100)
        low = profile("TxDefaultProfile", 6.0, "A")
        high = profile("TxDefaultProfile", 16.0, "A", level=2, number=2, chargingProfileKind="Absolute")
        high["chargingSchedule"] |= {
            "startSchedule": start.isoformat(),
            "duration": 400,
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 16.0},
                {"startPeriod": 200, "limit": 10.0, "numberPhases": 1},
            ],
        }
        async with station(csms):
            for one in (low, high):
                assert (await csms.send(call.SetChargingProfile(1, one))).status == "Accepted"
            answer = await csms.send(call.GetCompositeSchedule(1, 600, "A"))
        assert (answer.status, answer.connector_id) == ("Accepted", 1)
        assert "start_schedule" not in answer.charging_schedule
        first, second, third = answer.charging_schedule["charging_schedule_period"]
        assert first == {"start_period": 0, "limit": 16}
        assert (second["limit"], second["number_phases"], third["limit"]) == (10, 1, 6)
        assert 90 <= second["start_period"] <= 100
        assert third["start_period"] - second["start_period"] in (199, 200, 201)

    async def test_composite_schedule_repeats_daily(self, csms: SmallCsms) -> None:
        daily = profile("TxDefaultProfile", 3000, chargingProfileKind="Recurring", recurrencyKind="Daily")
        start = datetime.now(UTC) - timedelta(days=3, hours=1)
        daily["chargingSchedule"] |= {"startSchedule": start.isoformat(), "duration": 7200}
        async with station(csms):
            await csms.send(call.SetChargingProfile(2, daily))
            answer = await csms.send(call.GetCompositeSchedule(2, 86400, "W"))
        limits = [one["limit"] for one in answer.charging_schedule["charging_schedule_period"]]
        assert limits[0] == limits[2] == 3000
        assert limits[1] > 3000

    async def test_errors(self, csms: SmallCsms) -> None:
        """Errata v4.0 3.38."""
        async with station(csms):
            with pytest.raises(PropertyConstraintViolationError):
                await csms.send(call.SetChargingProfile(7, profile("TxDefaultProfile", 6000)))


class TestMaintenance:
    async def test_firmware_update(self, csms: SmallCsms) -> None:
        """TC_044_1."""
        async with station(csms):
            await csms.send(call.UpdateFirmware("https://example.org/firmware-1.0.1.bin", soon(-1)))
            await csms.wait_for(lambda: len(csms.of("FirmwareStatusNotification")) == 4)
        assert csms.story()[4:] == [
            "FirmwareStatusNotification",
            "FirmwareStatusNotification",
            "1:Unavailable",
            "2:Unavailable",
            "FirmwareStatusNotification",
            "BootNotification",
            "0:Available",
            "1:Available",
            "2:Available",
            "FirmwareStatusNotification",
        ]
        statuses = [one.members["status"] for one in csms.of("FirmwareStatusNotification")]
        assert statuses == ["Downloading", "Downloaded", "Installing", "Installed"]
        assert [one.members["firmware_version"] for one in csms.of("BootNotification")] == ["1.0.0", "1.0.1"]

    async def test_download_failed(self, csms: SmallCsms) -> None:
        """TC_044_2."""
        async with station(csms):
            await csms.send(call.UpdateFirmware("gopher://example.org/firmware.bin", soon(-1)))
            received = await csms.wait_for_action("FirmwareStatusNotification", 2)
        assert [one.members["status"] for one in received] == ["Downloading", "DownloadFailed"]

    @pytest.mark.parametrize(("location", "end"), [("ftp://x/", "Uploaded"), ("gopher://x/", "UploadFailed")])
    async def test_diagnostics(self, csms: SmallCsms, location: str, end: str) -> None:
        """TC_045_1, TC_045_2."""
        async with station(csms):
            await csms.send(call.GetDiagnostics(location))
            received = await csms.wait_for_action("DiagnosticsStatusNotification", 2)
        assert [one.members["status"] for one in received] == ["Uploading", end]
