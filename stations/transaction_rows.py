"""The transactions that the calls of one batch ask for, looked up once for all of them.

Context: a depot that starts at once sends a StartTransaction from every charge point, and a look-up or an INSERT each
costs more than all else that answering it takes.
Choice: the lane announces what the starts and stops of its batch are about; the first that asks has it looked up for
all. Each row is one instance, so that a call sees what the one before it in the batch has changed. New transactions get
their ids with that look-up where the database can hand them out, and are written in one statement.
Consequence: the database does not have them until `write`; what asks it about transactions calls Batch.flush_facts
first. What was not announced, as in a shell, is looked up when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models import OuterRef, Subquery

from stations import lane_sql
from stations.bulk import insert_rows
from stations.lane_sql import StartKey
from stations.models import InstalledProfile, MeterValue, Transaction
from stations.models.transaction import SAME_INSTANT

COLUMNS = tuple(str(field.column) for field in Transaction._meta.concrete_fields)
# More open transactions than this at the charge points of a batch: somebody repeats what is refused, and the others
# shall not read it all.
MANY_OPEN = 1000
# Of the latest transactions of a charge point, so many are looked through for a stop that nothing else finds.
NEWEST = 20
# Charge point, transactionId as sent, and meterStop.
StopKey = tuple[int, str, int]


class LastReading(NamedTuple):
    """The newest reading of a transaction's energy register; `named`: it came with the transaction's id."""

    at: datetime
    energy_wh: Decimal
    named: bool


class TransactionRows:
    """Transactions of one tenant, by id, by the request that opened them, and by the charge point that they run at."""

    def __init__(self, tenant_id: int) -> None:
        self._tenant_id = tenant_id
        self._rows: dict[int, Transaction | None] = {}
        # In their order, so that a later start has a higher id.
        self._announced: dict[StartKey, None] = {}
        self._starts: dict[StartKey, Transaction | None] = {}
        # Those of this batch, which its look-up came too early for.
        self._begun: dict[tuple[int, int, str, int], list[tuple[datetime, Transaction]]] = {}
        self._new_ids: dict[StartKey, int] = {}
        self._new: list[Transaction] = []
        # Charge points whose open transactions will be asked for.
        self._asking: set[int] = set()
        self._open: dict[int, list[Transaction]] = {}
        self._told: dict[int, bool] = {}
        self._readings: set[tuple[int, int, datetime]] = set()
        self._begun_before: dict[tuple[int, int, datetime], int | None] = {}
        self._stops: set[StopKey] = set()
        self._stopped: dict[StopKey, list[Transaction]] = {}
        self._newest: dict[int, list[Transaction]] = {}
        self._registers: dict[int, LastReading] = {}
        self._with_registers: set[int] = set()
        self._stopping: set[int] = set()
        self._with_profiles: dict[int, bool] = {}

    # --- announced ----------------------------------------------------------------------------------------------------
    def announce_start(self, key: StartKey | None, charge_point_id: int) -> None:
        """A StartTransaction follows; `key` is None when it has no time to recognise it by."""
        self._asking.add(charge_point_id)
        if key is not None:
            self._announced[key] = None

    def announce_stop(self, charge_point_id: int, reference: str, meter_stop_wh: int) -> None:
        """A StopTransaction follows; `reference` is the transactionId that it carries."""
        self._asking.add(charge_point_id)
        self._stopping.add(charge_point_id)
        self._stops.add((charge_point_id, reference, meter_stop_wh))

    def announce_reading(self, charge_point_id: int, connector_id: int, at: datetime) -> None:
        """A reading follows that names no transaction of its charge point."""
        self._asking.add(charge_point_id)
        self._readings.add((charge_point_id, connector_id, at))

    # --- by id --------------------------------------------------------------------------------------------------------
    def load(self, ids: Iterable[int]) -> None:
        missing = set(ids) - self._rows.keys()
        if missing:
            self._rows |= dict.fromkeys(missing)
            for row in Transaction.objects.filter(pk__in=missing):
                self._rows[row.pk] = row

    def get(self, transaction_id: int, charge_point_id: int) -> Transaction | None:
        """The transaction of this id, if it is one of this charge point."""
        self.load([transaction_id])
        tx = self._rows[transaction_id]
        return tx if tx is not None and tx.charge_point_id == charge_point_id else None

    def known(self, transaction_id: int) -> Transaction | None:
        """The transaction of this id if the batch has it, without a look-up."""
        return self._rows.get(transaction_id)

    def instance(self, tx: Transaction) -> Transaction:
        """The batch's instance of this row, which has just been read; from now on this one if it has none."""
        known = self._rows.get(tx.pk)
        if known is None:
            self._rows[tx.pk] = known = tx
        return known

    # --- by the request that opened it --------------------------------------------------------------------------------
    def started_by(self, key: StartKey) -> Transaction | None:
        """The transaction that this StartTransaction has opened before, in whatever words and also in this batch."""
        for started_at, tx in self._begun.get(key.but_for_the_time, ()):
            if abs(started_at - key.started_at) < SAME_INSTANT:
                return tx
        if key not in self._starts:
            asked = [one for one in self._announced | {key: None} if one not in self._starts]
            known, new_ids = lane_sql.look_up_starts(self._tenant_id, asked)
            self._new_ids |= new_ids
            self.load(known.values())
            self._starts |= {key: self._rows[known[key]] if key in known else None for key in asked}
        return self._starts[key]

    def insert(self, tx: Transaction, key: StartKey | None) -> None:
        """Give a new transaction its id and have it written; `key` is that of its StartTransaction, if it has one."""
        new_id = None if key is None else self._new_ids.pop(key, None)
        if new_id is None:
            tx.save(force_insert=True)
        else:
            tx.pk, tx.tenant_id = new_id, self._tenant_id
            tx._state.adding, tx._state.db = False, connection.alias
            self._new.append(tx)
        self._rows[tx.pk] = tx
        if key is not None:
            self._begun.setdefault(key.but_for_the_time, []).append((key.started_at, tx))
        if tx.charge_point_id in self._open:
            self._open[tx.charge_point_id].append(tx)

    def write(self) -> None:
        """Insert what is new. IntegrityError, with the COMMIT at the latest, when somebody else has just done so."""
        rows = [tuple(getattr(tx, column) for column in COLUMNS) for tx in self._new]
        insert_rows(Transaction, COLUMNS, rows, strict=True)
        self._new = []

    def note_start(self, tx: Transaction) -> None:
        """The StartTransaction of `tx` is being answered: the charge point has its id when this batch is written."""
        self._told[tx.pk] = False

    def may_be_known(self, transaction_id: int) -> bool:
        """Whether the charge point can know this id: not when the answer that tells it has not left yet."""
        return self._told.get(transaction_id, True)

    # --- by the stop that it had --------------------------------------------------------------------------------------
    def note_stop(self, tx: Transaction) -> None:
        """`tx` has its stop now, under another id than its own (`stop_ref`) or none."""
        if tx.stop_ref and tx.meter_stop_wh is not None:
            key = (tx.charge_point_id, tx.stop_ref, tx.meter_stop_wh)
            self._look_up_stopped(key)
            self._stopped[key].append(tx)

    def replace(self, orphan: Transaction, tx: Transaction) -> None:
        """The stop that was kept as the row `orphan` is that of `tx` now; the row goes."""
        key = (orphan.charge_point_id, orphan.stop_ref, orphan.meter_stop_wh or 0)
        self._stopped[key] = [row for row in self.stopped_as(*key) if row is not orphan]
        self._rows[orphan.pk] = None
        Transaction.objects.filter(pk=orphan.pk).delete()
        self.note_stop(tx)

    def stopped_as(self, charge_point_id: int, reference: str, meter_stop_wh: int) -> list[Transaction]:
        """What had a stop with this reading that carried this transactionId, without being the one of that id."""
        key = (charge_point_id, reference, meter_stop_wh)
        self._look_up_stopped(key)
        return self._stopped[key]

    def _look_up_stopped(self, key: StopKey) -> None:
        if key in self._stopped:
            return
        asked = (self._stops | {key}) - self._stopped.keys()
        self._stopped |= {each: [] for each in asked}
        rows = Transaction.objects.filter(
            charge_point_id__in={place for place, _, _ in asked}, stop_ref__in={reference for _, reference, _ in asked},
            meter_stop_wh__in={meter for _, _, meter in asked},
        )  # fmt: skip
        for row in rows.exclude(stop_ref=""):
            found = (row.charge_point_id, row.stop_ref, row.meter_stop_wh or 0)
            if found in asked:
                self._stopped[found].append(self.instance(row))

    # --- by charge point ----------------------------------------------------------------------------------------------
    def running(self, charge_point_id: int, connector_id: int, before: datetime) -> list[Transaction]:
        """What is open on the connector and began before `before`."""
        return [
            tx
            for tx in self.open_at(charge_point_id)
            if tx.connector_id == connector_id and tx.stopped_at is None and tx.started_at < before
        ]

    def open_at(self, charge_point_id: int) -> list[Transaction]:
        """What was open at the charge point when it was looked up, and what has begun since; some may have ended."""
        if charge_point_id not in self._open:
            self._load_open(charge_point_id)
        return self._open[charge_point_id]

    def _load_open(self, charge_point_id: int) -> None:
        asked = (self._asking | {charge_point_id}) - self._open.keys()
        rows = list(Transaction.objects.open().filter(charge_point_id__in=asked)[: MANY_OPEN + 1])
        if len(rows) > MANY_OPEN:
            # Each that asks has its own read from now on.
            self._asking, asked = set(), {charge_point_id}
            rows = list(Transaction.objects.open().filter(charge_point_id=charge_point_id))
        self._open |= {asked_id: [] for asked_id in asked}
        for row in [*rows, *(tx for tx in self._new if tx.charge_point_id in asked)]:
            self._open[row.charge_point_id].append(self.instance(row))
            # A start may end it.
            self._stopping.add(row.charge_point_id)

    def newest(self, charge_point_id: int) -> list[Transaction]:
        """The latest of the charge point as they are now; a few, for what no index finds."""
        if charge_point_id not in self._newest:
            rows = Transaction.objects.filter(charge_point_id=charge_point_id).order_by("-pk")[:NEWEST]
            self._newest[charge_point_id] = [self.instance(row) for row in rows]
        return [*self._newest[charge_point_id], *(tx for tx in self._new if tx.charge_point_id == charge_point_id)]

    def begun_before(
        self, charge_point_id: int, connector_id: int, at: datetime, *, look_up: bool = True
    ) -> Transaction | None:
        """The transaction that began last on the connector up to `at`; without `look_up`, of those that are here."""
        here = [
            tx
            for tx in self._rows.values()
            if tx is not None
            and (tx.charge_point_id, tx.connector_id) == (charge_point_id, connector_id)
            and tx.started_at <= at
            and not tx.orphan_ref
            and tx.duplicate_of is None
        ]
        key = (charge_point_id, connector_id, at)
        if look_up and key not in self._begun_before:
            asked = [each for each in self._readings | {key} if each not in self._begun_before]
            found = lane_sql.look_up_begun(self._tenant_id, asked)
            self.load(found.values())
            self._begun_before |= {each: found.get(each) for each in asked}
        stored = self._rows.get(self._begun_before.get(key) or 0)
        return max([*here, *([stored] if stored else [])], key=lambda tx: (tx.started_at, tx.pk), default=None)

    def last_reading(self, transaction_id: int) -> LastReading | None:
        """The newest reading of the energy register in the database; looked up for all open transactions."""
        if transaction_id not in self._with_registers:
            open_ids = {tx.pk for rows in self._open.values() for tx in rows if tx.stopped_at is None}
            asked = (open_ids | {transaction_id}) - self._with_registers - {tx.pk for tx in self._new}
            self._with_registers |= asked | {transaction_id}
            newest = MeterValue.objects.filter(transaction=OuterRef("pk"), energy_wh__isnull=False)
            newest = newest.order_by("-timestamp")
            columns = [Subquery(newest.values(name)[:1]) for name in ("timestamp", "energy_wh", "matched_by")]
            rows = Transaction.objects.filter(pk__in=asked).order_by().values_list("pk", *columns)
            for pk, at, energy_wh, matched_by in rows if asked else ():
                if at is not None:
                    self._registers[pk] = LastReading(at, Decimal(energy_wh), not matched_by)
        return self._registers.get(transaction_id)

    def has_profiles(self, charge_point_id: int) -> bool:
        """Whether there is any charging profile to drop when a transaction of this charge point ends."""
        if charge_point_id not in self._with_profiles:
            asked = (self._stopping | {charge_point_id}) - self._with_profiles.keys()
            rows = InstalledProfile.objects.filter(charge_point_id__in=asked)
            having = set(rows.order_by().values_list("charge_point_id", flat=True).distinct())
            self._with_profiles |= {asked_id: asked_id in having for asked_id in asked}
        return self._with_profiles[charge_point_id]

    def note_profile(self, charge_point_id: int) -> None:
        self._with_profiles[charge_point_id] = True
