"""The simulated charge point, and how it answers what the central system asks: all 19 such messages of OCPP 1.6.

Core: ChangeAvailability, ChangeConfiguration, ClearCache, DataTransfer, GetConfiguration, RemoteStartTransaction,
RemoteStopTransaction, Reset, UnlockConnector. Remote trigger: TriggerMessage. Reservation: ReserveNow,
CancelReservation. Local list: GetLocalListVersion, SendLocalList. Smart charging: SetChargingProfile,
ClearChargingProfile, GetCompositeSchedule. Firmware: GetDiagnostics, UpdateFirmware. The `ocpp` package answers those
of the security extension with NotImplemented.

Each method returns the confirmation and, where something follows, names it with `then`: it happens once the answer is
on its way.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ocpp.exceptions import PropertyConstraintViolationError
from ocpp.routing import on
from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    Action,
    AvailabilityStatus,
    AvailabilityType,
    CancelReservationStatus,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    ClearCacheStatus,
    ConfigurationStatus,
    DataTransferStatus,
    GetCompositeScheduleStatus,
    MessageTrigger,
    ReadingContext,
    Reason,
    RegistrationStatus,
    RemoteStartStopStatus,
    ReservationStatus,
    ResetStatus,
    ResetType,
    TriggerMessageStatus,
    UnlockStatus,
)

from .clock import parse_time
from .connector import Connector, RemoteStart, Reservation
from .equipment import VENDOR, Equipment, Interruption
from .maintenance import update_firmware, upload_diagnostics


class SimulatedChargePoint(Equipment):
    """One charge point: `run` it with a scenario."""

    def sockets(self, connector_id: int | None) -> list[Connector]:
        """The connector of that number; all of them for 0 and None; none for a number that does not exist."""
        if not connector_id:
            return self.connectors[1:]
        return self.connectors[connector_id : connector_id + 1] if connector_id > 0 else []

    # Core

    @on(Action.change_availability)
    def on_change_availability(self, connector_id: int, type: str) -> call_result.ChangeAvailability:
        """Scheduled while a transaction runs; 0 is the station and every connector (OCPP 1.6 ed. 2, 5.2)."""
        sockets = self.sockets(connector_id)
        if not sockets:
            return call_result.ChangeAvailability(AvailabilityStatus.rejected)
        affected = sockets if connector_id else self.connectors
        for connector in affected:
            connector.scheduled_operative = type == AvailabilityType.operative
        self.then(partial(self.apply_availability, affected))
        scheduled = any(connector.transaction is not None for connector in sockets)
        return call_result.ChangeAvailability(
            AvailabilityStatus.scheduled if scheduled else AvailabilityStatus.accepted
        )

    @on(Action.change_configuration)
    def on_change_configuration(self, key: str, value: str) -> call_result.ChangeConfiguration:
        status = self.configuration.change(key, value)
        if status == ConfigurationStatus.accepted:
            self.then(partial(self.configuration_changed, key))
        return call_result.ChangeConfiguration(status)

    @on(Action.clear_cache)
    def on_clear_cache(self) -> call_result.ClearCache:
        """Rejected without a cache (errata v4.0 3.23)."""
        if not self.configuration.flag("AuthorizationCacheEnabled"):
            return call_result.ClearCache(ClearCacheStatus.rejected)
        self.cache.clear()
        return call_result.ClearCache(ClearCacheStatus.accepted)

    @on(Action.data_transfer)
    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, data: str | None = None
    ) -> call_result.DataTransfer:
        """Our own vendor has one message, Echo; everything else is unknown."""
        if vendor_id != VENDOR:
            return call_result.DataTransfer(DataTransferStatus.unknown_vendor_id)
        if message_id != "Echo":
            return call_result.DataTransfer(DataTransferStatus.unknown_message_id)
        return call_result.DataTransfer(DataTransferStatus.accepted, data)

    @on(Action.get_configuration)
    def on_get_configuration(self, key: list[str] | None = None) -> call_result.GetConfiguration:
        known, unknown = self.configuration.report(key)
        return call_result.GetConfiguration(known or None, unknown or None)

    @on(Action.remote_start_transaction)
    def on_remote_start_transaction(
        self, id_tag: str, connector_id: int | None = None, charging_profile: dict | None = None
    ) -> call_result.RemoteStartTransaction:
        """Accepted means "will try" (errata v4.0 3.32). Rejected before registration, and where no connector would do.

        A profile that comes along is a TxProfile without transactionId (errata v4.0 3.41).
        """
        rejected = call_result.RemoteStartTransaction(RemoteStartStopStatus.rejected)
        if self.registration != RegistrationStatus.accepted:
            return rejected
        if charging_profile is not None and (
            charging_profile["charging_profile_purpose"] != ChargingProfilePurposeType.tx_profile
            or "transaction_id" in charging_profile
        ):
            return rejected
        request = RemoteStart(id_tag, charging_profile)
        usable = [one for one in self.sockets(connector_id) if self.admits(one, id_tag)]
        if waiting := [one for one in usable if one.remote_start is not None and not one.remote_start.done()]:
            self.then(partial(self.hand_over, waiting[0], request))
        elif free := [one for one in usable if one.free]:
            free[0].taken = True
            self.then(partial(self.obey_remote_start, free[0], request))
        else:
            return rejected
        return call_result.RemoteStartTransaction(RemoteStartStopStatus.accepted)

    @on(Action.remote_stop_transaction)
    def on_remote_stop_transaction(self, transaction_id: int) -> call_result.RemoteStopTransaction:
        running = [one for one in self.connectors if one.running.transaction_id == transaction_id]
        if not running:
            return call_result.RemoteStopTransaction(RemoteStartStopStatus.rejected)
        self.then(partial(self.ask_to_stop, running, Reason.remote))
        return call_result.RemoteStopTransaction(RemoteStartStopStatus.accepted)

    @on(Action.reset)
    def on_reset(self, type: str) -> call_result.Reset:
        hard = type == ResetType.hard
        self.then(partial(self.reset, Interruption.HARD_RESET if hard else Interruption.SOFT_RESET))
        return call_result.Reset(ResetStatus.accepted)

    @on(Action.unlock_connector)
    def on_unlock_connector(self, connector_id: int) -> call_result.UnlockConnector:
        """Ends a transaction (OCPP 1.6 ed. 2, 5.18); NotSupported for an unknown connector (errata v4.0 3.85)."""
        if not connector_id or not self.sockets(connector_id):
            return call_result.UnlockConnector(UnlockStatus.not_supported)
        self.then(partial(self.ask_to_stop, self.sockets(connector_id), Reason.unlock_command))
        return call_result.UnlockConnector(UnlockStatus.unlocked)

    # Remote trigger

    @on(Action.trigger_message)
    def on_trigger_message(self, requested_message: str, connector_id: int | None = None) -> call_result.TriggerMessage:
        """The message follows the answer. Connector absent: all (OCPP 1.6 ed. 2, 5.17).

        A boot is triggered only until the station is accepted (errata v4.0 3.35, 3.40).
        """
        sockets = self.sockets(connector_id)
        messages: list[Any] = []
        match requested_message:
            case MessageTrigger.boot_notification if self.registration != RegistrationStatus.accepted:
                self.then(self.boot_now)
                return call_result.TriggerMessage(TriggerMessageStatus.accepted)
            case MessageTrigger.heartbeat:
                messages = [call.Heartbeat()]
            case MessageTrigger.firmware_status_notification:
                messages = [call.FirmwareStatusNotification(self.firmware_status)]
            case MessageTrigger.diagnostics_status_notification:
                messages = [call.DiagnosticsStatusNotification(self.diagnostics_status)]
            case MessageTrigger.status_notification if sockets:
                messages = [self.status_notification(one) for one in (sockets if connector_id else self.connectors)]
            case MessageTrigger.meter_values if sockets:
                samples = [self.transactions.meter_values(one, ReadingContext.trigger) for one in sockets]
                messages = [sample for sample in samples if sample is not None]
        if not messages:
            return call_result.TriggerMessage(TriggerMessageStatus.rejected)
        self.then(partial(self.send_all, messages))
        return call_result.TriggerMessage(TriggerMessageStatus.accepted)

    # Reservation

    @on(Action.reserve_now)
    def on_reserve_now(
        self, connector_id: int, expiry_date: str, id_tag: str, reservation_id: int, parent_id_tag: str | None = None
    ) -> call_result.ReserveNow:
        """The same reservationId again replaces the earlier one; 0 is whichever connector (OCPP 1.6 ed. 2, 5.13)."""
        reservation = Reservation(reservation_id, id_tag, _time(expiry_date), parent_id_tag)
        place = self.connectors[connector_id] if 0 <= connector_id < len(self.connectors) else None
        if place is None or reservation.expires_at <= self.clock.now():
            return call_result.ReserveNow(ReservationStatus.rejected)
        if place.faulted or (not connector_id and all(one.faulted for one in self.connectors[1:])):
            return call_result.ReserveNow(ReservationStatus.faulted)
        if not place.operative:
            return call_result.ReserveNow(ReservationStatus.unavailable)
        same_or_none = (None, reservation_id)
        if place.reserved_for not in same_or_none or not any(
            one.free and one.reserved_for in same_or_none for one in self.sockets(connector_id)
        ):
            return call_result.ReserveNow(ReservationStatus.occupied)
        self._drop_reservation(reservation_id, except_on=place)
        place.reservation = reservation
        self.then(partial(self.reserve, place, reservation))
        return call_result.ReserveNow(ReservationStatus.accepted)

    @on(Action.cancel_reservation)
    def on_cancel_reservation(self, reservation_id: int) -> call_result.CancelReservation:
        dropped = self._drop_reservation(reservation_id)
        if dropped is None:
            return call_result.CancelReservation(CancelReservationStatus.rejected)
        self.then(partial(self.show_idle, dropped))
        return call_result.CancelReservation(CancelReservationStatus.accepted)

    def _drop_reservation(self, reservation_id: int, except_on: Connector | None = None) -> Connector | None:
        for connector in self.connectors:
            if connector is not except_on and connector.reserved_for == reservation_id:
                connector.reservation = None
                return connector
        return None

    # Local authorization list

    @on(Action.get_local_list_version)
    def on_get_local_list_version(self) -> call_result.GetLocalListVersion:
        return call_result.GetLocalListVersion(self.local_list.version)

    @on(Action.send_local_list)
    def on_send_local_list(
        self, list_version: int, update_type: str, local_authorization_list: list[dict] | None = None
    ) -> call_result.SendLocalList:
        return call_result.SendLocalList(
            self.local_list.update(list_version, update_type, local_authorization_list or [])
        )

    # Smart charging

    @on(Action.set_charging_profile)
    def on_set_charging_profile(self, connector_id: int, cs_charging_profiles: dict) -> call_result.SetChargingProfile:
        known = 0 < connector_id < len(self.connectors)
        running = self.connectors[connector_id].running if known else None
        return call_result.SetChargingProfile(self.profiles.install(connector_id, cs_charging_profiles, running))

    @on(Action.clear_charging_profile)
    def on_clear_charging_profile(
        self,
        id: int | None = None,
        connector_id: int | None = None,
        charging_profile_purpose: str | None = None,
        stack_level: int | None = None,
    ) -> call_result.ClearChargingProfile:
        status = self.profiles.clear(id, connector_id, charging_profile_purpose, stack_level)
        return call_result.ClearChargingProfile(status)

    @on(Action.get_composite_schedule)
    def on_get_composite_schedule(
        self, connector_id: int, duration: int, charging_rate_unit: str | None = None
    ) -> call_result.GetCompositeSchedule:
        """The plan from now on; connector 0 is the draw of the whole station (OCPP 1.6 ed. 2, 5.7)."""
        if not 0 <= connector_id < len(self.connectors) or duration < 0:
            return call_result.GetCompositeSchedule(GetCompositeScheduleStatus.rejected)
        now, connector = self.clock.now(), self.connectors[connector_id]
        rated_power_w = math.fsum(one.meter.rated_power_w for one in self.sockets(connector_id))
        unit = charging_rate_unit or ChargingRateUnitType.watts
        schedule = self.profiles.composite(connector.running, now, duration, unit, rated_power_w)
        return call_result.GetCompositeSchedule(
            GetCompositeScheduleStatus.accepted, connector_id, self.clock.text(now), schedule
        )

    # Firmware management

    @on(Action.get_diagnostics)
    def on_get_diagnostics(self, location: str, **_when_and_how: Any) -> call_result.GetDiagnostics:
        self.then(partial(upload_diagnostics, self, location))
        return call_result.GetDiagnostics(f"diagnostics-{self.clock.now():%Y%m%d-%H%M%S}.log")

    @on(Action.update_firmware)
    def on_update_firmware(self, location: str, retrieve_date: str, **_how: Any) -> call_result.UpdateFirmware:
        self.then(partial(update_firmware, self, location, _time(retrieve_date)))
        return call_result.UpdateFirmware()

    # What follows an answer

    async def hand_over(self, connector: Connector, request: RemoteStart) -> None:
        """Give a remote start to the driver who waits for one."""
        if connector.remote_start is not None and not connector.remote_start.done():
            connector.remote_start.set_result(request)

    async def send_all(self, messages: list[Any]) -> None:
        """Send what was triggered."""
        for message in messages:
            await self.request(message)

    async def configuration_changed(self, key: str) -> None:
        """Let a changed key take effect where nothing reads it by itself."""
        if key == "HeartbeatInterval":
            self.heartbeat_interval_changed()
        elif key == "ClockAlignedDataInterval":
            self.transactions.aligned_interval_changed()
        elif key == "AuthorizationKey":
            await self.change_password(self.configuration.text(key))


def _time(text: str) -> Any:
    try:
        return parse_time(text)
    except ValueError as error:
        raise PropertyConstraintViolationError(f"Not a timestamp: {text}") from error
