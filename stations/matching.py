"""What belongs together is put together: which transaction a stop, or a reading, is about.

Context: a charge point that was offline sends whole transactions in one burst, before our answer to their starts can
have told it their ids. Its stops and readings carry -1, 0, no id, or one that it guessed: nobody's, or that of another
transaction of its own. Each fact is kept anyway; here it is found out whose it is.
Choice: the order on the line and the times tell. A reading belongs to the transaction that ran on its connector at its
time. A stop belongs to one of the open transactions that began before it, with a register that has not fallen and the
tag, or its group, where one is given; on each connector only the latest, since a start ends what was before it. Meter
readings tell two connectors apart. An id is believed only when the rest fits, and never when our answer with it has not
left yet. How it was matched is kept; in doubt nothing is closed: the stop is kept by itself, with its candidates.
Consequence: nothing here is asked of the database for messages with a right id, and once a batch for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from csms.ocppj.times import parse_time
from stations.batch import Batch
from stations.lane_sql import Owner
from stations.models import ChargePoint, Transaction
from stations.models.transaction import MAX_TRANSACTION_ID, SAME_INSTANT, Flag, MatchedBy

# Between a reading and the stop a transaction may have drawn so many times its mean power, and a minute's worth.
POWER_FACTOR = 10
GRACE = timedelta(minutes=1)
# Without a reading to go by: no connector gives more.
CEILING_W = Decimal(1_000_000)


def is_ours(transaction_id: int) -> bool:
    """Whether a transactionId could have been issued by us; 0, -1 and what exceeds 31 bits mean "no id"."""
    return 1 <= transaction_id <= MAX_TRANSACTION_ID


# --- stops ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Stop:
    """What a StopTransaction says, in Wh and UTC.

    `reference`: the transactionId as sent. `has_time`: its time could be read, else `stopped_at` is that of its
    receipt; `credible`: it is one to go by. `id_tag_key` and `parent_key` in upper case, "" for none;
    `id_tag_id` the row of the tag, also where it goes by another name.
    """

    reference: str
    meter_stop_wh: int
    stopped_at: datetime
    has_time: bool
    credible: bool
    id_tag_key: str = ""
    parent_key: str = ""
    id_tag_id: int | None = None
    data: Sequence[dict[str, Any]] = ()

    @property
    def reference_is_none(self) -> bool:
        """Whether it says that the charge point has no id: 0, -1 and other numbers below, or beyond 31 bits."""
        return self.reference.startswith("-") or self.reference == "0" or len(self.reference) > 10


@dataclass(frozen=True, slots=True)
class Match:
    """Whose a stop is. `repeated`: `tx` has it, or another one that it contradicts, already.

    `doubted`: it named another transaction than `tx`, or `tx` although it does not fit. Without `tx` the `candidates`
    are those that it could be of.
    """

    tx: Transaction | None
    matched_by: str = ""
    repeated: bool = False
    doubted: bool = False
    candidates: list[Transaction] = field(default_factory=list)


def match_stop(batch: Batch, charge_point: ChargePoint, named: Transaction | None, stop: Stop) -> Match:
    """The transaction of `stop`; `named` is the one of this charge point that has the id it carries."""
    if named is not None and named.stop_received and _contests(batch, named, stop):
        return Match(named, repeated=True)
    earlier = batch.transactions.stopped_as(charge_point.pk, stop.reference, stop.meter_stop_wh)
    repeated = next((tx for tx in earlier if is_same_stop(batch, tx, stop)), None)
    if repeated is not None:
        return Match(repeated, repeated=True)
    candidates = _candidates(batch, charge_point, stop)
    if named is not None and not named.stop_received:
        told = batch.transactions.may_be_known(named.pk)
        others = [tx for tx in candidates if tx is not named]
        if told and fits(named, stop) and not _points_elsewhere(batch, named, others, stop):
            return Match(named, MatchedBy.TRANSACTION_ID)
        if not others:
            doubted = not fits(named, stop, but_for_the_register=True)
            return Match(named, MatchedBy.TRANSACTION_ID, doubted=doubted)
    elif named is not None and not candidates:
        return Match(named, repeated=True)
    if not candidates:
        # One that has lost its ids repeats under none what it sent with one.
        newest = batch.transactions.newest(charge_point.pk) if stop.reference_is_none else []
        again = next((tx for tx in newest if is_same_stop(batch, tx, stop)), None)
        return Match(again, repeated=again is not None)
    matched_by: str = MatchedBy.ONLY_CANDIDATE
    if len(candidates) > 1:
        matched_by, candidates = MatchedBy.READINGS, _told_apart(batch, charge_point, candidates, stop)
    if len(candidates) > 1:
        return Match(None, doubted=named is not None, candidates=candidates)
    (tx,) = candidates
    if tx is named:
        return Match(tx, MatchedBy.TRANSACTION_ID)
    return Match(tx, matched_by, doubted=named is not None)


def is_same_stop(batch: Batch, tx: Transaction, stop: Stop) -> bool:
    """Whether `tx` has this very stop: the same reading, the same tag, and the same time within the tolerance."""
    if not tx.stop_received or tx.meter_stop_wh != stop.meter_stop_wh or tx.stop_id_tag.upper() != stop.id_tag_key:
        return False
    if not stop.has_time:
        return Flag.CLOCK_SUSPECT in tx.flags
    return apart(tx, stop) <= batch.stop_tolerance


def apart(tx: Transaction, stop: Stop) -> timedelta:
    """How far the end that `tx` has had is from the time of `stop`."""
    return timedelta.max if tx.stopped_at is None else abs(tx.stopped_at - stop.stopped_at)


def _contests(batch: Batch, named: Transaction, stop: Stop) -> bool:
    """Whether `stop` is about the end that `named` has had: it has its reading, or its time, or no time at all.

    With another reading at another time it is another transaction's, whose id the charge point guessed.
    """
    return not stop.has_time or named.meter_stop_wh == stop.meter_stop_wh or apart(named, stop) <= batch.stop_tolerance


def fits(tx: Transaction, stop: Stop, *, but_for_the_register: bool = False) -> bool:
    """Whether `tx` began before `stop`, with a register at most as high, by the same tag or one of its group."""
    register = but_for_the_register or stop.meter_stop_wh < 0 or tx.meter_start_wh <= stop.meter_stop_wh
    return _in_time(tx, stop) and register and _tag_fits(tx, stop)


def _in_time(tx: Transaction, stop: Stop) -> bool:
    """Whether `tx` began before `stop`, as far as the clock can be trusted; else the order on the line has to do."""
    return not stop.credible or Flag.CLOCK_SUSPECT in tx.flags or tx.started_at <= stop.stopped_at + SAME_INSTANT


def _tag_fits(tx: Transaction, stop: Stop) -> bool:
    if stop.id_tag_key in ("", tx.id_tag_key) or (stop.id_tag_id is not None and stop.id_tag_id == tx.id_tag_row_id):
        return True
    parent = tx.parent_id_tag.upper()
    return bool(parent) and parent in (stop.id_tag_key, stop.parent_key)


def _candidates(batch: Batch, charge_point: ChargePoint, stop: Stop) -> list[Transaction]:
    """The open transactions that `stop` fits; on each connector the latest of them that began before it.

    A connector whose latest one does not fit has none: what is open below it has ended without its stop.
    """
    latest: dict[int, Transaction] = {}
    found = []
    for tx in sorted(batch.transactions.open_at(charge_point.pk), key=lambda tx: (tx.started_at, tx.pk)):
        if tx.stopped_at is not None or not _in_time(tx, stop):
            continue
        if tx.connector_id > 0:
            latest[tx.connector_id] = tx
        else:
            found.append(tx)
    fitting = [tx for tx in [*found, *latest.values()] if fits(tx, stop)]
    return fitting if stop.reference_is_none else [tx for tx in fitting if not _goes_by_its_id(batch, tx, stop)]


def _goes_by_its_id(batch: Batch, tx: Transaction, stop: Stop) -> bool:
    """Whether the charge point knows the id of `tx`, having named it in a reading, and yet names another one here."""
    if stop.reference == str(tx.pk):
        return False
    last = batch.last_reading(tx.pk)
    return last is not None and last.named


def _points_elsewhere(batch: Batch, named: Transaction, others: list[Transaction], stop: Stop) -> bool:
    """Whether the register speaks against `named` and for one of `others`."""
    if not others or _continues(batch, named, stop):
        return False
    return any(_continues(batch, tx, stop) for tx in others)


def _told_apart(
    batch: Batch, charge_point: ChargePoint, candidates: list[Transaction], stop: Stop
) -> list[Transaction]:
    """The candidates that are left when the readings have been heard; all of them when those say nothing."""
    begun = [tx for tx in candidates if _began_it(tx, stop, charge_point)]
    if len(begun) == 1:
        return begun
    continued = [tx for tx in candidates if _continues(batch, tx, stop)]
    return continued or candidates


def _began_it(tx: Transaction, stop: Stop, charge_point: ChargePoint) -> bool:
    """Whether transactionData has the reading with which `tx` began, at its time."""
    for element in stop.data:
        at = parse_time(element.get("timestamp"), charge_point.zone)
        if at is None or abs(at - tx.started_at) > SAME_INSTANT:
            continue
        for sample in element.get("sampledValue") or []:
            if sample.get("context") == "Transaction.Begin":
                return True
    return False


def _continues(batch: Batch, tx: Transaction, stop: Stop) -> bool:
    """Whether the stop's register goes on from the last reading of `tx`: not below it, nor too far above.

    How far it can have got, its own mean power says (POWER_FACTOR, GRACE), before its first reading CEILING_W.
    """
    if stop.meter_stop_wh < 0:
        return True
    last = batch.last_reading(tx.pk)
    at, register = (tx.started_at, Decimal(tx.meter_start_wh)) if last is None else (last.at, last.energy_wh)
    if stop.meter_stop_wh < int(register):
        return False
    elapsed = max(stop.stopped_at - at, timedelta()) + GRACE
    power = CEILING_W
    if last is not None and at > tx.started_at:
        mean = (register - tx.meter_start_wh) / _hours(at - tx.started_at)
        # One that has drawn nothing yet may begin to.
        power = min(CEILING_W, POWER_FACTOR * mean) if mean > 0 else CEILING_W
    return stop.meter_stop_wh - register <= power * _hours(elapsed)


def _hours(duration: timedelta) -> Decimal:
    return Decimal(duration.total_seconds()) / 3600


# --- readings ---------------------------------------------------------------------------------------------------------
class Readings:
    """Whose the readings of one MeterValues are, by the time of each.

    `connector_id` is where they were taken; on connector 0 those of a charge point with one connector are that one's.
    `went_on`: transactions in doubt about a stop, with the time of a reading that they have had.
    """

    __slots__ = ("_batch", "_charge_point", "_connector_id", "_named", "_owner", "_reference", "went_on")

    def __init__(self, batch: Batch, charge_point: ChargePoint, connector_id: int, transaction_id: int | None) -> None:
        owner = None if transaction_id is None or not is_ours(transaction_id) else batch.owner(transaction_id)
        self._owner: Owner | None = owner if owner is not None and owner.charge_point_id == charge_point.pk else None
        self._named = transaction_id if self._owner is not None else None
        self._reference = "" if transaction_id is None else str(transaction_id)[:100]
        self._batch, self._charge_point, self._connector_id = batch, charge_point, connector_id
        self.went_on: list[tuple[Transaction, datetime]] = []

    def of(self, at: datetime, credible: bool) -> tuple[int | None, str, str]:
        """The id of the transaction that had a reading at `at`, the transactionId sent where it is another, MatchedBy.

        `credible`: the time is one to go by; else what is open now counts.
        """
        owner = self._owner
        if owner is not None and _covers(owner, self._connector_id, at, credible):
            return self._named, "", ""
        tx = self._running(at, credible)
        if tx is None:
            return (None, self._reference, "") if owner is None else (self._named, "", "")
        if tx.candidates and credible:
            self.went_on.append((tx, at))
        if tx.pk == self._named:
            return self._named, "", ""
        return tx.pk, self._reference, MatchedBy.CONNECTOR

    def _running(self, at: datetime, credible: bool) -> Transaction | None:
        connector_id = self._connector_id
        if connector_id == 0:
            connector_id = self._batch.only_connector(self._charge_point.pk)
        if connector_id <= 0:
            return None
        # What names a transaction of this charge point was not announced: for it only what the batch has counts.
        look_up = self._named is None
        return running_at(self._batch, self._charge_point.pk, connector_id, at, credible, look_up=look_up)


def _covers(owner: Owner, connector_id: int, at: datetime, credible: bool) -> bool:
    """Whether a transaction that was named can have had this reading."""
    if connector_id != owner.connector_id and connector_id > 0 and owner.connector_id > 0:
        return False
    if not credible:
        return True
    if at < owner.started_at - SAME_INSTANT:
        return False
    return owner.stopped_at is None or at <= owner.stopped_at + SAME_INSTANT


def running_at(
    batch: Batch, charge_point_id: int, connector_id: int, at: datetime, credible: bool, *, look_up: bool = True
) -> Transaction | None:
    """The transaction that ran on the connector at `at`; the one that is open now where that time is no help."""
    open_here = [
        tx
        for tx in batch.transactions.open_at(charge_point_id)
        if tx.connector_id == connector_id and tx.stopped_at is None
    ]
    for tx in sorted(open_here, key=lambda tx: tx.pk, reverse=True):
        if not credible or Flag.CLOCK_SUSPECT in tx.flags or tx.started_at <= at + SAME_INSTANT:
            return tx
    if not credible:
        return None
    earlier = batch.transactions.begun_before(charge_point_id, connector_id, at, look_up=look_up)
    if earlier is None or (earlier.stopped_at is not None and at > earlier.stopped_at + SAME_INSTANT):
        return None
    return earlier
