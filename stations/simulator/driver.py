"""A person with a car and a card at one connector: the verbs that scenarios are made of.

A driver is the only one who moves the connector through its states; commands from afar reach the driver as a request to
stop, or as the remote start he waits for. Every verb may raise Interrupted (the station restarts or the run ends) or
DriverLeaves (there is nothing to do here any more); `leave` then puts everything in order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ocpp.v16 import call
from ocpp.v16.enums import AuthorizationStatus, ChargePointErrorCode, ChargePointStatus, ReadingContext, Reason

from .connector import Connector, RemoteStart, Transaction
from .meter import Vehicle
from .waiting import first_of

if TYPE_CHECKING:
    from .equipment import Equipment

# Between two looks at the meter when MeterValueSampleInterval is 0, so that energy still follows the battery's curve.
UNSAMPLED_STEP_SECONDS = 10.0
MINUTE_SECONDS = 60.0


class Interrupted(Exception):
    """Everything at the station has to end now."""


class DriverLeaves(Exception):
    """This driver can do nothing more here."""


class Driver:
    """One visit to the station."""

    def __init__(self, station: Equipment, connector: Connector | None = None, id_tag: str | None = None) -> None:
        self.station = station
        self.rng = station.rng
        self.id_tag = id_tag or self.rng.choice(station.options.id_tags)
        self._connector = connector
        self._cut_the_line = False
        self._status_after_fault = ChargePointStatus.available

    @property
    def connector(self) -> Connector:
        if self._connector is None:
            raise DriverLeaves("has not arrived")
        return self._connector

    async def pause(self, least_seconds: float, most_seconds: float | None = None) -> None:
        """Take some time, faster in a time lapse."""
        await self.station.pause(least_seconds, most_seconds)

    async def arrive(self) -> None:
        """Walk up to a free connector that is not reserved for others; wait until there is one."""
        while self._connector is None:
            usable = [one for one in self.station.connectors[1:] if one.free and self.station.admits(one, self.id_tag)]
            if usable:
                self._connector = self.rng.choice(usable)
                self._connector.taken = True
            else:
                await self.pause(10, 20)

    async def plug_in(self) -> None:
        """Connect the car: Preparing."""
        connector = self.connector
        connector.vehicle = Vehicle.arriving(self.rng, connector.meter.rated_power_w)
        await self.station.set_status(connector, ChargePointStatus.preparing)

    async def unplug(self) -> None:
        """Take the cable out and go: the connector is free for the next one."""
        connector = self.connector
        connector.vehicle, connector.remote_start = None, None
        self._connector, connector.taken = None, False
        if connector.scheduled_operative is not None:
            await self.station.apply_availability([connector])
        elif connector.status != connector.idle_status:
            await self.station.set_status(connector, connector.idle_status)

    async def authorize(self, id_tag: str | None = None) -> bool:
        """Present a card and return whether it may charge.

        Asks the central system, or before or instead of it the local list and cache, as LocalPreAuthorize,
        LocalAuthorizeOffline and AllowOfflineTxForUnknownId say (OCPP 1.6 ed. 2, 3.5).
        """
        station, tag = self.station, id_tag or self.id_tag
        flag = station.configuration.flag
        offline = not station.online.is_on
        if flag("LocalAuthorizeOffline" if offline else "LocalPreAuthorize"):
            info = station.known_id_tag(tag)
            if info is not None and (offline or info["status"] == AuthorizationStatus.accepted):
                return info["status"] == AuthorizationStatus.accepted
        if offline and flag("AllowOfflineTxForUnknownId"):
            return True
        await station.wait_online()
        answer = await station.request(call.Authorize(tag))
        station.remember(tag, answer.id_tag_info)
        accepted = answer.id_tag_info["status"] == AuthorizationStatus.accepted
        if not accepted:
            station.statistics.refused_id_tags += 1
        return accepted

    async def start(self, *, lose_answers: int = 0, charging_profile: dict | None = None) -> Transaction:
        """Start the transaction and wait until the central system knows it, unless the line is down; then Charging.

        `charging_profile` is the TxProfile that came with a remote start (errata v4.0 3.41).
        """
        station, connector = self.station, self.connector
        if not station.admits(connector, self.id_tag):
            raise DriverLeaves("out of service or reserved")
        tx = station.transactions.begin(connector, self.id_tag, lose_answers)
        await self._settled(tx.started)
        if charging_profile is not None:
            station.profiles.install(connector.connector_id, charging_profile, connector.running)
        await station.set_status(connector, ChargePointStatus.charging)
        return tx

    async def charge(self, least_minutes: float | None = None, most_minutes: float | None = None) -> Reason:
        """Charge for a time of the driver's choosing (default: as the options say) and return why it is over.

        That is Local, or what somebody else wanted: Remote, DeAuthorized, UnlockCommand and so on. Samples are sent
        every MeterValueSampleInterval, which stays wall-clock time in a time lapse.
        """
        station, connector = self.station, self.connector
        tx = connector.transaction
        if tx is None:
            raise DriverLeaves("nothing to charge")
        least = least_minutes or station.options.charging_minutes[0]
        most = most_minutes or least_minutes or station.options.charging_minutes[1]
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        ends_at = looked_at + self.rng.uniform(least, most) * MINUTE_SECONDS / station.options.speed
        # The first sample comes after a part of the interval: a thousand stations must not beat in step.
        next_sample_at = looked_at + self.rng.uniform(0.3, 1.0) * self._sample_seconds()
        while True:
            timeout = max(0.0, min(next_sample_at, ends_at) - loop.time())
            await first_of(station.interruption, tx.stop_asked, timeout=timeout)
            now = loop.time()
            station.transactions.advance(connector, now - looked_at)
            looked_at = now
            station.raise_if_interrupted()
            if tx.stop_asked.done():
                return tx.stop_asked.result()
            if now >= ends_at:
                return Reason.local
            if now >= next_sample_at:
                next_sample_at = max(next_sample_at + self._sample_seconds(), now)
                if station.configuration.number("MeterValueSampleInterval") > 0:
                    station.transactions.send_meter_values(connector, ReadingContext.sample_periodic)
                await self._show_flow()

    def _sample_seconds(self) -> float:
        return self.station.configuration.number("MeterValueSampleInterval") or UNSAMPLED_STEP_SECONDS

    async def _show_flow(self) -> None:
        """Report whether energy flows, and if not, whose doing it is; SuspendedEVSE wins (errata v4.0 3.55)."""
        connector = self.connector
        meter = connector.meter
        if meter.power_w > 0:
            status = ChargePointStatus.charging
        elif meter.offered_w <= 0:
            status = ChargePointStatus.suspended_evse
        else:
            status = ChargePointStatus.suspended_ev
        if connector.status not in (status, ChargePointStatus.faulted):
            await self.station.set_status(connector, status)

    async def suspend(self) -> None:
        """The car takes no more: SuspendedEV."""
        self.connector.meter.cut()
        await self.station.set_status(self.connector, ChargePointStatus.suspended_ev)

    async def stop(self, reason: Reason = Reason.local) -> None:
        """Stop the transaction and wait until the central system knows it, unless the line is down; then Finishing."""
        tx = self.station.transactions.end(self.connector, reason)
        if tx is not None:
            await self._settled(tx.stopped)
            await self.station.set_status(self.connector, ChargePointStatus.finishing)

    async def fail(self, error_code: ChargePointErrorCode, info: str) -> None:
        """Something at the connector breaks: Faulted; a running transaction ends."""
        connector = self.connector
        self._status_after_fault = connector.status
        await self.station.set_status(connector, ChargePointStatus.faulted, error_code, info)
        tx = self.station.transactions.end(connector, Reason.other)
        if tx is not None:
            self._status_after_fault = ChargePointStatus.finishing
            await self._settled(tx.stopped)

    async def recover(self) -> None:
        """The fault is gone: back to the status before it, or Finishing where it ended a transaction."""
        await self.station.set_status(self.connector, self._status_after_fault)

    def expect_remote_start(self) -> None:
        """From now on a remote start for this connector is this driver's."""
        self.connector.remote_start = asyncio.get_running_loop().create_future()

    async def wait_for_remote_start(self) -> RemoteStart:
        """Wait until the central system starts a transaction here; `expect_remote_start` comes first."""
        waiting = self.connector.remote_start
        if waiting is None:
            raise DriverLeaves("expects no remote start")
        await first_of(waiting, self.station.interruption)
        self.connector.remote_start = None
        self.station.raise_if_interrupted()
        return waiting.result()

    async def go_offline(self) -> None:
        """Cut the station's line."""
        self._cut_the_line = True
        await self.station.disconnect(abruptly=True)

    async def lose_power(self) -> None:
        """Darken the whole station; `go_online` brings the power back, and the station boots."""
        self._cut_the_line = True
        await self.station.lose_power()

    async def go_online(self) -> None:
        """Let the station reconnect and wait until it has."""
        self._cut_the_line = False
        self.station.may_connect.turn_on()
        await self.station.wait_online()

    async def leave(self) -> None:
        """Put in order whatever is still open: the line, the transaction, the cable."""
        if self._cut_the_line:
            self._cut_the_line = False
            self.station.may_connect.turn_on()
        if self._connector is None:
            return
        tx = self.station.transactions.end(self._connector, self.station.end_reason)
        if tx is not None:
            # No Interrupted here, but no waiting for repetitions either.
            wait_seconds = self.station.options.call_timeout_seconds
            await first_of(tx.stopped, self.station.online.off, timeout=wait_seconds)
            await self.station.set_status(self._connector, ChargePointStatus.finishing)
        await self.unplug()

    async def _settled(self, done: asyncio.Future[None]) -> None:
        """Wait until a transaction message has been taken, or the line is down."""
        station = self.station
        await first_of(done, station.online.off, station.interruption)
        station.raise_if_interrupted()


async def obey_remote_start(driver: Driver, request: RemoteStart) -> None:
    """What follows an accepted RemoteStartTransaction.req: authorize if so configured, plug in, start, charge, stop.

    Source: OCPP 1.6 ed. 2, 5.11.
    """
    station = driver.station
    if station.configuration.flag("AuthorizeRemoteTxRequests") and not await driver.authorize(request.id_tag):
        return
    driver.id_tag = request.id_tag
    if driver.connector.vehicle is None:
        await driver.pause(3, 8)
        await driver.plug_in()
        await driver.pause(1, 3)
    await driver.start(charging_profile=request.charging_profile)
    reason = await driver.charge()
    await driver.stop(reason)
    await driver.pause(2, 6)
    await driver.unplug()
