"""What the station does by itself: boot, heartbeat, report status, measure, keep transactions, restart.

Drivers and the central system act on it: a Driver (driver.py) walks through a scenario, SimulatedChargePoint
(station.py) answers commands. Anything that ends everything at once, such as a reset or the end of the run, is an
interruption: a future which all waiting at the station also waits for, so that nothing has to be cancelled in the
middle of a CALL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import (
    ChargePointErrorCode,
    ChargePointStatus,
    DiagnosticsStatus,
    FirmwareStatus,
    Reason,
    RegistrationStatus,
)

from .charging_profiles import ChargingProfiles
from .connector import Connector, RemoteStart, Reservation
from .driver import Driver, DriverLeaves, Interrupted, obey_remote_start
from .link import CallFailed, Line, LineLost
from .local_list import LocalList
from .meter import RATED_POWERS_W
from .transactions import Transactions
from .waiting import first_of

VENDOR = "Simulated"
BOOT_RETRY_SECONDS = 10.0
RESTART_SECONDS = 8.0
LAST_WORDS_SECONDS = 10.0  # to deliver what is queued, when the run ends
SHORTEST_PAUSE_SECONDS = 0.02  # in a fast time lapse, so that no loop spins

Play = Callable[[Driver], Awaitable[None]]


class Interruption(Enum):
    """Why everything that goes on at the station has to end, with the reason its transactions stop for."""

    LEAVE = Reason.local
    SOFT_RESET = Reason.soft_reset
    HARD_RESET = Reason.hard_reset
    FIRMWARE = Reason.reboot


class Equipment(Line):
    """The station without its ear for commands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        rated_power_w = self.rng.choice(RATED_POWERS_W)
        numbers = range(self.options.connectors + 1)
        self.connectors = [Connector(number, self.rng, rated_power_w) for number in numbers]
        self.transactions = Transactions(self)
        self.registration: RegistrationStatus | None = None
        self.needs_boot = True
        self.firmware_version = "1.0.0"
        self.firmware_status = FirmwareStatus.idle
        self.diagnostics_status = DiagnosticsStatus.idle
        self.cache: dict[str, dict] = {}  # idTagInfo by upper-case idTag
        number = self.configuration.number
        self.local_list = LocalList(
            most_per_request=int(number("SendLocalListMaxLength")), most_entries=int(number("LocalAuthListMaxLength"))
        )
        self.profiles = ChargingProfiles(
            connectors=self.options.connectors,
            max_installed=int(number("MaxChargingProfilesInstalled")),
            max_stack_level=int(number("ChargeProfileMaxStackLevel")),
            max_periods=int(number("ChargingScheduleMaxPeriods")),
        )
        loop = asyncio.get_running_loop()
        self.interruption: asyncio.Future[Interruption] = loop.create_future()
        self._leave_next = False
        self._boot_asked: asyncio.Future[None] = loop.create_future()
        self._heartbeat_changed: asyncio.Future[None] = loop.create_future()
        self.after_boot: list[Any] = []
        self._visits: set[asyncio.Task[None]] = set()

    # Life

    async def run(self, play: Play, rounds: int | None) -> None:
        """Connect, go through the scenario again and again, and leave in good order.

        Ends after `rounds` (None: never by itself), after an interruption LEAVE, or when the line gave up.
        """
        self.spawn(self.transactions.queue.run())
        self.spawn(self._beat())
        line = asyncio.create_task(self.keep_connected())
        life = asyncio.create_task(self._live(play, rounds))
        try:
            await first_of(line, life)
            self.interrupt(Interruption.LEAVE)
            await life
            if not line.done():
                await self.transactions.queue.drained(LAST_WORDS_SECONDS)
        finally:
            self.leaving.set_result(None)
            await self.disconnect()
            for task in (line, life):
                task.cancel()
            self.cancel_all()
            self.statistics.undelivered += len(self.transactions.queue)
            await asyncio.wait({line, life})
        if not line.cancelled():
            line.result()

    async def _live(self, play: Play, rounds: int | None) -> None:
        done = 0
        while True:
            await first_of(self.online.on, self.interruption)
            if not self.interruption.done():
                await self.visit(Driver(self), play)
            if not self.interruption.done():
                done += 1
                self.statistics.rounds += 1
                if rounds is not None and done >= rounds:
                    self.interrupt(Interruption.LEAVE)
                else:
                    with suppress(Interrupted):
                        await self.pause(10, 40)
            if self.interruption.done():
                if self._visits:
                    await asyncio.wait(self._visits)
                if self.interruption.result() is Interruption.LEAVE:
                    return
                await self._restart(self.interruption.result())

    async def visit(self, driver: Driver, play: Play) -> None:
        """Let a driver go through a scenario; afterwards, whatever happened, the connector is free."""
        try:
            await play(driver)
        except (Interrupted, DriverLeaves, LineLost, CallFailed):
            pass
        finally:
            await driver.leave()

    async def pause(self, least_seconds: float, most_seconds: float | None = None) -> None:
        """Let time pass, faster in a time lapse. Errors: Interrupted."""
        seconds = self.rng.uniform(least_seconds, most_seconds or least_seconds) / self.options.speed
        await first_of(self.interruption, timeout=max(SHORTEST_PAUSE_SECONDS, seconds))
        self.raise_if_interrupted()

    async def wait_online(self) -> None:
        """Wait for the connection. Errors: Interrupted."""
        await first_of(self.online.on, self.interruption)
        self.raise_if_interrupted()

    def raise_if_interrupted(self) -> None:
        if self.interruption.done():
            raise Interrupted

    def interrupt(self, why: Interruption) -> None:
        """End everything that goes on; the first reason counts, except that leaving is never forgotten."""
        if not self.interruption.done():
            self.interruption.set_result(why)
        elif why is Interruption.LEAVE:
            self._leave_next = True

    @property
    def end_reason(self) -> Reason:
        """Why transactions end that nobody asked to end: the interruption's reason, or Local."""
        return self.interruption.result().value if self.interruption.done() else Reason.local

    async def reset(self, why: Interruption) -> None:
        """Restart. A hard reset takes the line first: its stops are delivered after the boot (errata v4.0 3.36)."""
        if why is Interruption.HARD_RESET and not self.interruption.done():
            self.online.turn_off()
        self.interrupt(why)

    def restart_for_firmware(self) -> None:
        self.interrupt(Interruption.FIRMWARE)

    async def lose_power(self) -> None:
        """Everything goes dark: no line, no energy, and a boot when the power returns."""
        self.needs_boot = True
        await self.disconnect(abruptly=True)
        await self.ask_to_stop(self.connectors, Reason.power_loss)

    async def _restart(self, why: Interruption) -> None:
        if why is not Interruption.HARD_RESET:
            await self.transactions.queue.drained(LAST_WORDS_SECONDS)
        await self.disconnect()
        await asyncio.sleep(RESTART_SECONDS / self.options.speed)
        for connector in self.connectors:
            connector.taken = False
            connector.status, connector.error_code = connector.idle_status, ChargePointErrorCode.no_error
        self.interruption = asyncio.get_running_loop().create_future()
        if self._leave_next:
            self.interrupt(Interruption.LEAVE)
        self.needs_boot = True
        self.may_connect.turn_on()

    # Registration

    async def greet(self) -> None:
        """Boot if the station restarted, report every status the central system has not seen, then go online.

        Without a restart there is no BootNotification on a new connection (OCPP-J 1.6, 5.4).
        """
        if self.needs_boot:
            await self._boot()
            self.needs_boot = False
            for connector in self.connectors:
                connector.unreported = True  # errata v4.0 3.22: all of them, after acceptance
        while unreported := [connector for connector in self.connectors if connector.unreported]:
            for connector in unreported:
                await self._report(connector)
        while self.after_boot:
            await self.request(self.after_boot[0])
            self.after_boot.pop(0)
        self.online.turn_on()

    async def _boot(self) -> None:
        """Send BootNotification until accepted, as often as the central system says (OCPP 1.6 ed. 2, 4.2)."""
        serial = self.id[:25]
        while True:
            wait_seconds = BOOT_RETRY_SECONDS
            try:
                answer = await self.request(
                    call.BootNotification(
                        charge_point_vendor=VENDOR,
                        charge_point_model=f"SIM-{self.connectors[0].meter.rated_power_w / 1000:.0f}kW",
                        charge_point_serial_number=serial,
                        firmware_version=self.firmware_version,
                        meter_type="Simulated meter",
                        meter_serial_number=f"M-{serial}"[:25],
                    )
                )
            except CallFailed:
                pass
            else:
                self.registration = RegistrationStatus(answer.status)
                try:
                    self.clock.set(answer.current_time)
                except ValueError:
                    self.statistics.problem(f"{self.id}: BootNotification: currentTime is {answer.current_time!r}")
                if self.registration == RegistrationStatus.accepted:
                    if answer.interval > 0:
                        self.configuration.set("HeartbeatInterval", str(answer.interval))
                    else:
                        self.statistics.problem(
                            f"{self.id}: BootNotification: accepted with interval {answer.interval}"
                        )
                    return
                wait_seconds = answer.interval or BOOT_RETRY_SECONDS
            self._boot_asked = asyncio.get_running_loop().create_future()
            await first_of(self._boot_asked, timeout=wait_seconds)

    async def obey_remote_start(self, connector: Connector, request: RemoteStart) -> None:
        """Let a driver come to the connector a remote start chose."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 always inside `spawn`
        self._visits.add(task)
        try:
            await self.visit(Driver(self, connector, request.id_tag), partial(obey_remote_start, request=request))
        finally:
            self._visits.discard(task)

    async def boot_now(self) -> None:
        """Do not wait for the interval of a Pending or Rejected registration."""
        if not self._boot_asked.done():
            self._boot_asked.set_result(None)

    def heartbeat_interval_changed(self) -> None:
        """Count the new interval from now."""
        if not self._heartbeat_changed.done():
            self._heartbeat_changed.set_result(None)

    async def _beat(self) -> None:
        while True:
            await first_of(self.online.on)
            changed = self._heartbeat_changed = asyncio.get_running_loop().create_future()
            seconds = self.configuration.number("HeartbeatInterval")
            await first_of(self.online.off, changed, timeout=seconds or None)
            if self.online.is_on and not changed.done():
                with suppress(LineLost, CallFailed):
                    await self.request(call.Heartbeat())

    # Status and availability

    async def set_status(
        self,
        connector: Connector,
        status: ChargePointStatus,
        error_code: ChargePointErrorCode = ChargePointErrorCode.no_error,
        info: str | None = None,
    ) -> None:
        """Change a connector's status and report it; while offline the report is made up for after reconnecting."""
        connector.status, connector.error_code, connector.info = status, error_code, info
        connector.changed_at = self.clock.now()
        connector.unreported = True
        if self.online.is_on:
            with suppress(LineLost):
                await self._report(connector)

    async def _report(self, connector: Connector) -> None:
        connector.unreported = False
        try:
            await self.request(self.status_notification(connector))
        except LineLost:
            connector.unreported = True
            raise
        except CallFailed:
            pass  # counted; a status is not repeated

    def status_notification(self, connector: Connector) -> call.StatusNotification:
        return call.StatusNotification(
            connector_id=connector.connector_id,
            error_code=connector.error_code,
            status=connector.status,
            timestamp=self.clock.text(connector.changed_at),
            info=connector.info,
        )

    async def apply_availability(self, connectors: Iterable[Connector]) -> None:
        """Let scheduled availability take effect; it ends the reservation of a connector that goes out of service."""
        for connector in connectors:
            if connector.scheduled_operative is None or connector.transaction is not None:
                continue
            connector.operative, connector.scheduled_operative = connector.scheduled_operative, None
            if not connector.operative:
                connector.reservation = None
            waiting = connector.operative and connector.vehicle is not None
            await self.set_status(connector, ChargePointStatus.preparing if waiting else connector.idle_status)

    def admits(self, connector: Connector, id_tag: str) -> bool:
        """True when this token may start a transaction on the connector, as far as the hardware and reservations go."""
        if not connector.operative or connector.faulted or connector.transaction is not None:
            return False
        parent_id_tag = self.cache.get(id_tag.upper(), {}).get("parent_id_tag")
        if connector.reservation is not None:
            return connector.reservation.admits(id_tag, parent_id_tag)
        whole = self.connectors[0].reservation  # one connector, whichever, is kept free for it
        if whole is None or whole.admits(id_tag, parent_id_tag):
            return True
        return sum(1 for one in self.connectors[1:] if one.free and one.reservation is None) > 1

    async def reserve(self, connector: Connector, reservation: Reservation) -> None:
        """Show a reservation and drop it when it expires, by the station's own clock."""
        if connector.connector_id:
            await self.set_status(connector, ChargePointStatus.reserved)
        await asyncio.sleep(max(0.0, (reservation.expires_at - self.clock.now()).total_seconds()))
        if connector.reservation is reservation:
            connector.reservation = None
            await self.show_idle(connector)

    async def show_idle(self, connector: Connector) -> None:
        """Report Available, Reserved or Unavailable, if nobody is at the connector."""
        if connector.connector_id and not connector.taken and connector.transaction is None:
            await self.set_status(connector, connector.idle_status)

    def use_reservation(self, connector: Connector, id_tag: str) -> int | None:
        """End the reservation under which this token starts, and return its reservationId."""
        parent_id_tag = self.cache.get(id_tag.upper(), {}).get("parent_id_tag")
        for place in (connector, self.connectors[0]):
            reservation = place.reservation
            if reservation is not None and reservation.admits(id_tag, parent_id_tag):
                place.reservation = None
                return reservation.reservation_id
        return None

    # Authorization and limits

    def remember(self, id_tag: str, id_tag_info: dict) -> None:
        """The cache takes every idTagInfo that comes (OCPP 1.6 ed. 2, 3.5.1)."""
        if self.configuration.flag("AuthorizationCacheEnabled"):
            self.cache[id_tag.upper()] = id_tag_info

    def known_id_tag(self, id_tag: str) -> dict | None:
        """Return what the station itself knows of a token; the local list outranks the cache."""
        listed = self.local_list.find(id_tag) if self.configuration.flag("LocalAuthListEnabled") else None
        return listed or self.cache.get(id_tag.upper())

    def limit_w(self, connector: Connector) -> float:
        """The power that charging profiles allow on a connector now, in W."""
        charging = sum(1 for one in self.connectors if one.transaction is not None)
        return self.profiles.limit_w(connector.running, self.clock.now(), charging)

    async def ask_to_stop(self, connectors: Iterable[Connector], reason: Reason) -> None:
        """Make the drivers at these connectors end their transactions."""
        for connector in connectors:
            if connector.transaction is not None:
                connector.transaction.ask_to_stop(reason)
