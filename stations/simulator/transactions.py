"""Transactions on the station: begin, measure, end; what the central system must hear of goes into the queue."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ocpp.v16 import call
from ocpp.v16.enums import AuthorizationStatus, ReadingContext, Reason

from .connector import Connector, Transaction
from .transaction_queue import QueuedMessage, TransactionQueue
from .waiting import first_of

if TYPE_CHECKING:
    from .equipment import Equipment


class Transactions:
    """The transactions of one station."""

    def __init__(self, station: Equipment) -> None:
        self.station = station
        self.queue = TransactionQueue(station)
        self._aligned_changed: asyncio.Future[None] | None = None

    def begin(self, connector: Connector, id_tag: str, lose_answers: int = 0) -> Transaction:
        """Start a transaction: energy may flow now, the central system hears of it as soon as it can."""
        station = self.station
        now = station.clock.now()
        reservation_id = station.use_reservation(connector, id_tag)
        tx = Transaction(connector.connector_id, id_tag, now, connector.meter.register_wh, reservation_id)
        connector.transaction = tx
        station.statistics.charging += 1
        self._keep(connector, ReadingContext.transaction_begin, now)
        request = call.StartTransaction(
            connector_id=connector.connector_id,
            id_tag=id_tag,
            meter_start=tx.meter_start_wh,
            timestamp=station.clock.text(now),
            reservation_id=reservation_id,
        )
        self.queue.put(QueuedMessage(lambda: request, partial(self._started, tx), lose_answers=lose_answers))
        return tx

    def _started(self, tx: Transaction, answer: Any) -> None:
        station = self.station
        tx.started.set_result(None)
        if answer is None:
            return
        tx.transaction_id = answer.transaction_id
        station.statistics.transactions_started += 1
        station.remember(tx.id_tag, answer.id_tag_info)
        if answer.id_tag_info["status"] != AuthorizationStatus.accepted:
            station.statistics.refused_id_tags += 1
            if station.configuration.flag("StopTransactionOnInvalidId"):
                tx.ask_to_stop(Reason.de_authorized)
            else:
                tx.suspended = True  # the transaction goes on without energy (errata v4.0 3.17)

    def end(self, connector: Connector, reason: Reason) -> Transaction | None:
        """Stop the transaction on a connector, if there is one: no energy from now on; StopTransaction is queued."""
        station, tx = self.station, connector.transaction
        if tx is None:
            return None
        now = station.clock.now()
        connector.meter.cut()
        self._keep(connector, ReadingContext.transaction_end, now)
        connector.transaction = None
        station.statistics.charging -= 1
        station.profiles.transaction_ended(connector.connector_id)
        meter_stop_wh, data = connector.meter.register_wh, tx.data
        most = int(station.configuration.number("StopTransactionMaxMeterValues"))
        if len(data) > most:
            data = [*data[: most - 1], data[-1]]

        def request() -> call.StopTransaction:
            return call.StopTransaction(
                meter_stop=meter_stop_wh,
                timestamp=station.clock.text(now),
                transaction_id=tx.wire_id,
                reason=reason,
                id_tag=tx.id_tag if reason == Reason.local else None,
                transaction_data=data or None,
            )

        self.queue.put(QueuedMessage(request, partial(self._stopped, tx)))
        return tx

    def _stopped(self, tx: Transaction, answer: Any) -> None:
        tx.stopped.set_result(None)
        if answer is not None:
            self.station.statistics.transactions_stopped += 1
            if answer.id_tag_info:
                self.station.remember(tx.id_tag, answer.id_tag_info)

    def advance(self, connector: Connector, seconds: float) -> None:
        """Let energy flow for some seconds of simulated time, under the limits in force."""
        station, tx = self.station, connector.transaction
        if tx is None:
            return
        limit_w = 0.0 if tx.suspended else station.limit_w(connector)
        station.statistics.energy_wh += connector.meter.advance(seconds, connector.vehicle, limit_w)

    def meter_values(self, connector: Connector, context: ReadingContext) -> call.MeterValues | None:
        """Return a MeterValues.req with the measurands the configuration asks for, or None when it asks for none."""
        aligned = context == ReadingContext.sample_clock
        measurands = self.station.configuration.items("MeterValuesAlignedData" if aligned else "MeterValuesSampledData")
        sampled = connector.meter.sample(measurands, context, connector.vehicle)
        if not sampled:
            return None
        tx = connector.transaction
        value = {"timestamp": self.station.clock.text(), "sampledValue": sampled}
        return call.MeterValues(connector.connector_id, [value], None if tx is None else tx.wire_id)

    def send_meter_values(self, connector: Connector, context: ReadingContext) -> None:
        """Take a sample now and queue it."""
        request, tx = self.meter_values(connector, context), connector.transaction
        self._keep(connector, context, self.station.clock.now())
        if request is None:
            return

        def build() -> call.MeterValues:
            if tx is not None:
                request.transaction_id = tx.wire_id  # known by now, if the start has been answered meanwhile
            return request

        self.queue.put(QueuedMessage(build, lambda answer: None, droppable=True))

    def _keep(self, connector: Connector, context: ReadingContext, at: datetime) -> None:
        """Take a sample for the transactionData of StopTransaction, where the configuration asks for it."""
        tx = connector.transaction
        aligned = context == ReadingContext.sample_clock
        measurands = self.station.configuration.items("StopTxnAlignedData" if aligned else "StopTxnSampledData")
        if tx is not None and measurands:
            sampled = connector.meter.sample(measurands, context, connector.vehicle)
            tx.data.append({"timestamp": self.station.clock.text(at), "sampledValue": sampled})

    def aligned_interval_changed(self) -> None:
        """Begin, change or end the clock-aligned samples: multiples of ClockAlignedDataInterval since midnight."""
        if self._aligned_changed is not None:
            self._aligned_changed.set_result(None)
        self._aligned_changed = asyncio.get_running_loop().create_future()
        seconds = self.station.configuration.number("ClockAlignedDataInterval")
        if seconds > 0:
            self.station.spawn(self._sample_aligned(timedelta(seconds=seconds), self._aligned_changed))

    async def _sample_aligned(self, every: timedelta, changed: asyncio.Future[None]) -> None:
        while True:
            now = self.station.clock.now()
            since_midnight = now - now.replace(hour=0, minute=0, second=0, microsecond=0)
            left = every - since_midnight % every
            await first_of(changed, timeout=left.total_seconds())
            if changed.done():
                return
            for connector in self.station.connectors[1:]:
                self.send_meter_values(connector, ReadingContext.sample_clock)
