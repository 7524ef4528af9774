"""A socket of the station with its meter, its reservation and the transaction on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, Reason

from .charging_profiles import Running
from .meter import Meter, Vehicle

# "-1 is what a CP uses when it never got an id" (errata v4.0 3.18, 3.54).
NO_TRANSACTION_ID = -1


@dataclass(eq=False)
class Transaction:
    """A transaction as the station knows it: it exists from the moment energy may flow, its number comes later.

    Energy in Wh of the connector's meter. `started` and `stopped` are done when the central system has taken the
    message.
    """

    connector_id: int
    id_tag: str
    started_at: datetime
    meter_start_wh: int
    reservation_id: int | None = None
    transaction_id: int | None = None
    suspended: bool = False  # refused by the central system, and StopTransactionOnInvalidId is off
    data: list[dict] = field(default_factory=list)
    started: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stopped: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stop_asked: asyncio.Future[Reason] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def wire_id(self) -> int:
        return NO_TRANSACTION_ID if self.transaction_id is None else self.transaction_id

    def ask_to_stop(self, reason: Reason) -> None:
        """Make whoever lets this transaction run end it; the first reason counts."""
        if not self.stop_asked.done():
            self.stop_asked.set_result(reason)


@dataclass(frozen=True)
class Reservation:
    reservation_id: int
    id_tag: str
    expires_at: datetime
    parent_id_tag: str | None = None

    def admits(self, id_tag: str, parent_id_tag: str | None) -> bool:
        """True for the token it was made for, or one of the same group (OCPP 1.6 ed. 2, 5.13)."""
        if id_tag.upper() == self.id_tag.upper():
            return True
        ours = self.parent_id_tag
        return ours is not None and parent_id_tag is not None and ours.upper() == parent_id_tag.upper()


@dataclass(frozen=True)
class RemoteStart:
    """An accepted RemoteStartTransaction.req on its way to the connector."""

    id_tag: str
    charging_profile: dict | None = None


class Connector:
    """One socket; number 0 is the station's main controller and has neither cable nor transactions."""

    def __init__(self, connector_id: int, rng: Random, rated_power_w: float) -> None:
        self.connector_id = connector_id
        self.meter = Meter(rng, rated_power_w)
        self.status = ChargePointStatus.available
        self.error_code = ChargePointErrorCode.no_error
        self.info: str | None = None
        self.changed_at: datetime | None = None
        self.unreported = True  # the present status has not reached the central system
        self.operative = True
        self.scheduled_operative: bool | None = None
        self.vehicle: Vehicle | None = None
        self.transaction: Transaction | None = None
        self.reservation: Reservation | None = None
        self.taken = False  # a driver stands in front of it
        self.remote_start: asyncio.Future[RemoteStart] | None = None  # a driver waits to be started from afar

    @property
    def faulted(self) -> bool:
        return self.error_code != ChargePointErrorCode.no_error and self.status == ChargePointStatus.faulted

    @property
    def idle_status(self) -> ChargePointStatus:
        """The status without car and transaction."""
        if not self.operative:
            return ChargePointStatus.unavailable
        return ChargePointStatus.reserved if self.reservation else ChargePointStatus.available

    @property
    def reserved_for(self) -> int | None:
        """The reservationId of the reservation here, if any."""
        return None if self.reservation is None else self.reservation.reservation_id

    @property
    def free(self) -> bool:
        """True when a driver may walk up to it."""
        return self.operative and not self.faulted and not self.taken and self.transaction is None

    @property
    def running(self) -> Running:
        tx = self.transaction
        if tx is None:
            return Running(self.connector_id)
        return Running(self.connector_id, tx.transaction_id, tx.started_at)
