"""Start and stop of a transaction: what a charge point reports is stored, flagged where it is odd, and always answered.

Context: charge points repeat StartTransaction and StopTransaction until they are answered, replay hours of them after
an outage, and send ids that were never ours.
Choice: repetition is recognised by what the request says (and a constraint on the same columns), never by its message
id; facts are never refused; a flag holds a transaction back from billing.
Consequence: every function here may be called twice with the same request and the second call changes nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Case, When

from csms.ocppj.times import parse_time
from stations import charging_profiles, credibility, matching
from stations import meter_values as readings
from stations.authorization import Authorization, authorize, authorize_start, authorize_stop
from stations.batch import Batch, open_batch
from stations.effects import MAY_HAVE_WORKED
from stations.lane_sql import StartKey
from stations.matching import Stop
from stations.models import ChargePoint, Command, Connector, MeterValue, Reservation, Transaction
from stations.models.transaction import AHEAD, SAME_INSTANT, Flag, MatchedBy

logger = logging.getLogger(__name__)

# How far a charge point's clock may be behind ours before its start seems older than the command that it followed.
CLOCK_TOLERANCE = timedelta(minutes=5)
# What a stop that was kept by itself gives to the transaction that it turns out to be of.
STOP_FACTS = (
    "stopped_at", "stopped_received_at", "meter_stop_wh", "stop_reason", "stop_id_tag", "stop_id_tag_status",
    "stop_received", "stop_ref",
)  # fmt: skip
# Readings of one transaction that are looked at when its meter readings cannot be.
MAX_REGISTERS = 50_000
# Flags that are over when the transaction has its stop.
ENDED_BY_STOP = (Flag.ENERGY_FROM_METER_VALUES, Flag.STOP_AMBIGUOUS)
# What ends a transaction writes these columns.
CLOSED = ("stopped_at", "stopped_received_at", "energy_wh", "flags")
STOPPED = (
    *CLOSED, "meter_stop_wh", "stop_reason", "stop_id_tag", "stop_id_tag_status", "stop_received", "matched_by",
    "stop_ref", "candidates",
)  # fmt: skip


def reference_of(transaction_id: Any) -> str:
    """A transactionId as it is kept when it is not that of a transaction of ours."""
    return str(transaction_id)[:100]


def start(
    charge_point: ChargePoint,
    *,
    connector_id: int,
    id_tag: str,
    timestamp: Any,
    meter_start_wh: int,
    reservation_id: int | None,
    now: datetime,
) -> tuple[Transaction, Authorization]:
    """Open a transaction, or find the one that this request opened before; with the status of its idTag.

    `timestamp` is the charge point's, as sent; `meter_start_wh` in Wh. A repeated request gets the answer of the first.
    """
    with open_batch() as batch:
        return _start(batch, charge_point, connector_id, id_tag[:255], timestamp, meter_start_wh, reservation_id, now)


def start_key(
    charge_point: ChargePoint, connector_id: int, id_tag: str, timestamp: Any, meter_start_wh: int
) -> StartKey | None:
    """What `start` recognises this request by when it is repeated; None when it has no time that can be read."""
    given = parse_time(timestamp, charge_point.zone)
    key = _tag_key(id_tag[:255])
    return None if given is None else StartKey(charge_point.pk, connector_id, key, given, meter_start_wh)


def _tag_key(id_tag: str) -> str:
    """An id tag as it is compared: in whatever letters."""
    return id_tag.upper()[:255]


def _start(
    batch: Batch,
    charge_point: ChargePoint,
    connector_id: int,
    id_tag: str,
    timestamp: Any,
    meter_start_wh: int,
    reservation_id: int | None,
    now: datetime,
) -> tuple[Transaction, Authorization]:
    started_at, suspect = _instant(timestamp, charge_point, now)
    started_at_text = str(timestamp or "")[:255]
    key = start_key(charge_point, connector_id, id_tag, timestamp, meter_start_wh)
    earlier = None if key is None else batch.transactions.started_by(key)
    # A clock that starts at the same instant after every power cut gives two sessions the same time.
    begins_anew = earlier is not None and suspect and earlier.stop_received
    if begins_anew:
        started_at = now
    if key is None or begins_anew:
        # No time to recognise a repetition by: the same words for a transaction that still runs are a repetition.
        key = None
        batch.flush_facts()
        earlier = Transaction.objects.open().filter(
            charge_point=charge_point, connector_id=connector_id, id_tag_key=_tag_key(id_tag),
            meter_start_wh=meter_start_wh, started_at_text=started_at_text,
        ).first()  # fmt: skip
    if earlier is not None:
        batch.transactions.note_start(earlier)
        return earlier, Authorization(earlier.id_tag_status, None, earlier.id_tag_expiry_date, earlier.parent_id_tag)

    authorization = authorize_start(charge_point, connector_id, id_tag, now)
    tx = Transaction(
        charge_point=charge_point,
        connector_id=connector_id,
        id_tag=id_tag,
        id_tag_key=_tag_key(id_tag),
        id_tag_row=authorization.id_tag,
        id_tag_status=authorization.status,
        id_tag_expiry_date=authorization.expiry_date,
        parent_id_tag=authorization.parent_id_tag,
        reservation_id=reservation_id,
        started_at=started_at,
        started_received_at=now,
        started_at_text=started_at_text,
        meter_start_wh=meter_start_wh,
    )
    if key is None:
        # This time is ours: that two of them are near each other says nothing.
        while Transaction.objects.begun_as(tx).exists():
            tx.started_at += SAME_INSTANT
    if suspect:
        tx.add_flag(Flag.CLOCK_SUSPECT)
    if connector_id <= 0:
        tx.add_flag(Flag.UNKNOWN_CONNECTOR)
    if not authorization.accepted:
        tx.add_flag(Flag.ID_TAG_REFUSED)
    command = _remote_start_behind(batch, charge_point, connector_id, id_tag, started_at, now)
    tx.started_by_command = command
    if connector_id > 0 and authorization.accepted:
        _supersede(batch, charge_point, connector_id, started_at, now)
    batch.transactions.insert(tx, key)
    batch.transactions.note_start(tx)
    if reservation_id is not None or charge_point.may_hold_reservations(min(started_at, now)):
        Reservation.objects.use(tx, now)
    if connector_id > 0 and batch.connector(charge_point.pk, connector_id) is None:
        batch.put_connector(
            Connector(tenant_id=charge_point.tenant_id, charge_point=charge_point, connector_id=connector_id)
        )
    if command is not None:
        command.effect = {"transaction": tx.pk}
        batch.update(command, ("effect",))
        charging_profiles.installed_by_remote_start(command, tx, now)
    return tx, authorization


def _instant(timestamp: Any, charge_point: ChargePoint, now: datetime) -> tuple[datetime, bool]:
    """The time as given, else the time of receipt; and whether the charge point's clock is to be doubted."""
    given = parse_time(timestamp, charge_point.zone)
    if given is None:
        return now, True
    return given, given < readings.OLDEST_CREDIBLE or given > now + readings.CLOCK_AHEAD


def _remote_start_behind(
    batch: Batch, charge_point: ChargePoint, connector_id: int, id_tag: str, started_at: datetime, now: datetime
) -> Command | None:
    """The RemoteStartTransaction that led to a start of this idTag here, if one did: the newest not yet fulfilled.

    An older one that nothing came of is over: the charge point gave up waiting for the cable.
    """
    for command in batch.effects.candidates("RemoteStartTransaction", charge_point.pk, now):
        asked_connector = command.payload.get("connectorId")
        if (
            str(command.payload.get("idTag", "")).upper() == id_tag.upper()
            and asked_connector in (None, connector_id)
            and command.outcome in MAY_HAVE_WORKED
            and command.sent_at is not None
            and started_at >= command.sent_at - CLOCK_TOLERANCE
        ):
            return command
    return None


def _supersede(batch: Batch, charge_point: ChargePoint, connector_id: int, started_at: datetime, now: datetime) -> None:
    """Close what still runs on the connector as "stop not received"; its own stop is taken in when it comes late."""
    for tx in batch.transactions.running(charge_point.pk, connector_id, started_at):
        tx.add_flag(Flag.SUPERSEDED)
        close_without_stop(batch, tx, min(started_at, now), now)


def close_without_stop(batch: Batch, tx: Transaction, at: datetime, now: datetime) -> None:
    """Close `tx` at its last meter value, or at `at` if there is none; energy in Wh from that value, else unknown."""
    batch.flush_readings_of(tx.pk)
    # One from the future counts only where there is no other.
    ahead = Case(When(timestamp__gt=now + AHEAD, then=1), default=0)
    having = MeterValue.objects.filter(transaction=tx, energy_wh__isnull=False)
    last = having.order_by(ahead, "-timestamp").first()
    tx.stopped_at = at if last is None else max(tx.started_at, min(last.timestamp, at))
    tx.stopped_received_at = now
    tx.energy_wh = None if last is None else _energy(tx, last.energy_wh)
    if tx.energy_wh is not None:
        tx.add_flag(Flag.ENERGY_FROM_METER_VALUES)
    batch.update(tx, CLOSED)
    charging_profiles.transaction_ended(batch, tx)


def close_by_operator(tx: Transaction, now: datetime) -> None:
    """Close the record of a transaction whose stop will not come; nothing goes on the wire."""
    with open_batch() as batch:
        tx.add_flag(Flag.CLOSED_BY_OPERATOR)
        close_without_stop(batch, tx, now, now)


def stop(
    charge_point: ChargePoint,
    *,
    transaction_id: int,
    meter_stop_wh: int,
    timestamp: Any,
    id_tag: str | None,
    reason: str,
    transaction_data: list[dict[str, Any]],
    now: datetime,
) -> Authorization | None:
    """Close a transaction with its StopTransaction, or keep the stop of one that we do not have.

    Gives the status of `id_tag`, None without one. The first stop counts; a repeated one is compared and flagged.
    Which transaction it is of, stations/matching.py says: one that it does not name, or does not fit, is flagged.
    """
    stopped_at, suspect = _instant(timestamp, charge_point, now)
    id_tag = id_tag[:255] if id_tag else None
    with open_batch() as batch:
        own = None if id_tag is None else authorize(charge_point, id_tag, now)
        said = Stop(
            reference=reference_of(transaction_id),
            meter_stop_wh=meter_stop_wh,
            stopped_at=stopped_at,
            has_time=parse_time(timestamp, charge_point.zone) is not None,
            credible=not suspect,
            id_tag_key=_tag_key(id_tag or ""),
            parent_key="" if own is None else own.parent_id_tag.upper(),
            id_tag_id=None if own is None or own.id_tag is None else own.id_tag.pk,
            data=transaction_data,
        )
        named = batch.transactions.get(transaction_id, charge_point.pk) if matching.is_ours(transaction_id) else None
        match = matching.match_stop(batch, charge_point, named, said)
        tx = match.tx
        authorization = None if id_tag is None else authorize_stop(charge_point, tx, id_tag, now)
        if tx is not None and match.repeated:
            _compare(batch, tx, said)
            return authorization
        orphan = tx is None
        if tx is None:
            tx = _orphan(charge_point, said, id_tag, timestamp, now)
        tx.stopped_at, tx.stopped_received_at, tx.stop_received = stopped_at, now, True
        tx.meter_stop_wh = meter_stop_wh
        tx.stop_reason = reason[:255]
        tx.stop_id_tag = id_tag or ""
        tx.stop_id_tag_status = "" if authorization is None else authorization.status
        tx.matched_by = match.matched_by
        tx.stop_ref = "" if tx is named else said.reference
        if suspect:
            tx.add_flag(Flag.CLOCK_SUSPECT)
        if match.doubted:
            tx.add_flag(Flag.STOP_DOUBTED)
        # True until now, if it had been closed without its stop, or another stop could have been its.
        tx.flags = [flag for flag in tx.flags if flag not in ENDED_BY_STOP]
        doubts, tx.candidates = tx.candidates, []
        if not orphan:
            _store_transaction_data(batch, charge_point, tx, transaction_data, now)
            _settle_energy(batch, tx)
            batch.update(tx, STOPPED)
            charging_profiles.transaction_ended(batch, tx)
            for kept in doubts:
                _exclude(batch, kept, tx)
        else:
            _name_candidates(batch, tx, match.candidates)
            batch.transactions.insert(tx, None)
            _flag_candidates(batch, tx, match.candidates)
            _store_transaction_data(batch, charge_point, tx, transaction_data, now)
        batch.transactions.note_stop(tx)
    return authorization


def _compare(batch: Batch, tx: Transaction, said: Stop) -> None:
    """Flag a repeated stop that changes energy, tag, or time by more than the tolerance; the first is kept."""
    if (
        tx.meter_stop_wh != said.meter_stop_wh
        or (said.id_tag_key and tx.stop_id_tag.upper() != said.id_tag_key)
        or (said.has_time and matching.apart(tx, said) > batch.stop_tolerance)
    ):
        logger.warning(
            "StopTransaction for %s repeated with other data: %s Wh at %s, kept %s Wh at %s",
            tx.pk, said.meter_stop_wh, said.stopped_at, tx.meter_stop_wh, tx.stopped_at,
        )  # fmt: skip
        if Flag.STOP_DIFFERS not in tx.flags:
            tx.add_flag(Flag.STOP_DIFFERS)
            batch.update(tx, ("flags",))


def _orphan(charge_point: ChargePoint, said: Stop, id_tag: str | None, timestamp: Any, now: datetime) -> Transaction:
    """A row for a stop by itself, not saved yet."""
    tx = Transaction(
        charge_point=charge_point,
        connector_id=0,
        id_tag=id_tag or "",
        id_tag_key=said.id_tag_key,
        started_at=said.stopped_at,
        started_received_at=now,
        started_at_text=str(timestamp or "")[:255],
        meter_start_wh=said.meter_stop_wh,
        orphan_ref=said.reference,
    )
    tx.add_flag(Flag.ORPHAN_STOP)
    return tx


def _name_candidates(batch: Batch, orphan: Transaction, candidates: list[Transaction]) -> None:
    """Keep beside a stop which transactions it could be of."""
    if candidates:
        orphan.add_flag(Flag.STOP_AMBIGUOUS)
        orphan.candidates = sorted(tx.pk for tx in candidates)


def _flag_candidates(batch: Batch, orphan: Transaction, candidates: list[Transaction]) -> None:
    """Say at each candidate that the stop may be its: it is not to be taken for one that simply runs."""
    for tx in candidates:
        tx.add_flag(Flag.STOP_AMBIGUOUS)
        tx.candidates = [*tx.candidates, orphan.pk]
        batch.update(tx, ("flags", "candidates"))


# --- stops in doubt ---------------------------------------------------------------------------------------------------
def went_on(batch: Batch, tx: Transaction, at: datetime) -> None:
    """`tx` has had a reading at `at`: no stop of before then was its."""
    batch.transactions.load(tx.candidates)
    for kept_id in tx.candidates:
        kept = batch.transactions.get(kept_id, tx.charge_point_id)
        if kept is not None and kept.stopped_at is not None and kept.stopped_at + SAME_INSTANT < at:
            _exclude(batch, kept_id, tx)


def _exclude(batch: Batch, kept_id: int, tx: Transaction) -> None:
    """A stop that was kept by itself is not that of `tx`; where one candidate is left it is that one's."""
    tx.candidates = [each for each in tx.candidates if each != kept_id]
    if not tx.candidates:
        tx.flags = [flag for flag in tx.flags if flag != Flag.STOP_AMBIGUOUS]
    batch.update(tx, ("flags", "candidates"))
    kept = batch.transactions.get(kept_id, tx.charge_point_id)
    if kept is None or tx.pk not in kept.candidates:
        return
    kept.candidates = [each for each in kept.candidates if each != tx.pk]
    batch.update(kept, ("flags", "candidates"))
    if len(kept.candidates) == 1:
        last = batch.transactions.get(kept.candidates[0], tx.charge_point_id)
        if last is not None and not last.stop_received:
            _give(batch, kept, last)


def _give(batch: Batch, kept: Transaction, tx: Transaction) -> None:
    """`tx` gets the stop that was kept by itself, and all that came with it."""
    for column in STOP_FACTS:
        setattr(tx, column, getattr(kept, column))
    tx.matched_by = MatchedBy.ORDER
    tx.flags = [flag for flag in tx.flags if flag not in ENDED_BY_STOP]
    for flag in kept.flags:
        if flag in (Flag.CLOCK_SUSPECT, Flag.STOP_DOUBTED):
            tx.add_flag(flag)
    batch.flush_readings_of(kept.pk)
    MeterValue.objects.filter(transaction=kept).update(transaction=tx, matched_by=MatchedBy.ORDER)
    _settle_energy(batch, tx)
    doubts, tx.candidates = tx.candidates, []
    batch.update(tx, STOPPED)
    charging_profiles.transaction_ended(batch, tx)
    batch.transactions.replace(kept, tx)
    for other in doubts:
        if other != kept.pk:
            _exclude(batch, other, tx)


def _store_transaction_data(
    batch: Batch, charge_point: ChargePoint, tx: Transaction, transaction_data: list[dict[str, Any]], now: datetime
) -> None:
    """Add what transactionData holds beyond the MeterValues already stored for this transaction."""
    if not transaction_data:
        return
    batch.flush_readings_of(tx.pk)
    instants = [parse_time(element.get("timestamp"), charge_point.zone) for element in transaction_data]
    stored = MeterValue.objects.filter(transaction=tx, timestamp__in=[instant for instant in instants if instant])
    known: dict[datetime, set[tuple[str, ...]]] = {}
    for instant, sampled in stored.values_list("timestamp", "sampled_value"):
        known.setdefault(instant, set()).update(readings.sample_key(sample) for sample in sampled)
    elements = readings.without_known(transaction_data, known, charge_point)
    owner = (tx.pk, "", "")
    readings.record(batch, charge_point, tx.connector_id, lambda at, credible: owner, elements, now)


def _seconds(tx: Transaction) -> float:
    """How long `tx` lasted at most, by the charge point's clock or by ours."""
    if tx.stopped_at is None or tx.stopped_received_at is None:
        return 0.0
    ours = (tx.stopped_received_at - tx.started_received_at).total_seconds()
    return max(ours, (tx.stopped_at - tx.started_at).total_seconds())


def _energy(tx: Transaction, register_wh: Decimal) -> Decimal | None:
    """Energy in Wh from the start of `tx` to a reading; None where that cannot be of the same register."""
    energy, _ = credibility.energy_between(tx.meter_start_wh, register_wh, _seconds(tx), _max_power_w())
    return None if energy is None or energy >= readings.ENERGY_LIMIT else energy


def _max_power_w() -> int:
    return int(settings.CSMS_MAX_CONNECTOR_POWER_W)


def _settle_energy(batch: Batch, tx: Transaction) -> None:
    """Energy of a stopped transaction in Wh: the two meter readings where they can be (credibility.py).

    Those between them are looked at only where the two call for it.
    """
    seconds = _seconds(tx)
    registers: list[Decimal] = []
    if credibility.suspicious(tx.meter_start_wh, tx.meter_stop_wh, seconds, _max_power_w()):
        batch.flush_readings_of(tx.pk)
        rows = MeterValue.objects.filter(transaction=tx, energy_wh__isnull=False).order_by("timestamp", "pk")
        registers = list(rows.values_list("energy_wh", flat=True)[:MAX_REGISTERS])
    judged = credibility.judged(tx.meter_start_wh, tx.meter_stop_wh, seconds, registers, _max_power_w())
    tx.energy_wh = judged.energy_wh
    if tx.energy_wh is not None and tx.energy_wh >= readings.ENERGY_LIMIT:
        tx.energy_wh = None
    for flag in judged.flags:
        tx.add_flag(flag)
