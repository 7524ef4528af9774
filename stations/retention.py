"""What is kept, and for how long: partitions made ahead and dropped, old rows deleted, old meter values thinned.

Context: each tenant says how long it keeps messages and meter values, while tables and partitions hold the rows of
all.
Choice: a partition is dropped when every tenant's time for it is over; before that each tenant's rows are deleted in
its own scope, some thousands at a time, found by the indexes that are there for other reasons. The meter values of an
old transaction are thinned first: what its chart and its energy at the full quarter hours need stays.
Consequence: every function may run twice, or at the same time as itself. A transaction that is not settled (it runs,
its StopTransaction has not come, or it is flagged and so held back from billing) keeps all its meter values, however
old. Age is the time since we received a row: a clock in 1970 does not make it old.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import DatabaseError, transaction
from django.db.models import F, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from stations import partitions
from stations.models import ChargePoint, MeterValue, OcppMessage, ReservationNumber, Transaction
from stations.partitions import Made, Partition
from stations.retention_table import RETENTION, ByAge, Expiring
from tenants.models import Tenant
from tenants.scope import platform_scope
from tenants.scoped import TenantModel

logger = logging.getLogger(__name__)

ROWS_PER_DELETE = 5000
# Rows that others point at: what points there is looked for in every table that may.
REFERENCED_ROWS_PER_DELETE = 500
CHARGE_POINTS_PER_QUERY = 200
# What one run thins of one tenant; the next run goes on.
TRANSACTIONS_PER_RUN = 5000
QUARTER_SECONDS = 15 * 60
# A charge point's clock that is further ahead than this is wrong.
CLOCK_AHEAD = timedelta(days=1)
# Readings of these contexts may be thinned; all others (begin, end, clock-aligned, triggered, interruptions) were asked
# for at their very instant. No context means Sample.Periodic (OCPP 1.6 section 7.43).
PERIODIC = (None, "", "Sample.Periodic")
SETTLED = Q(stopped_at__isnull=False, stop_received=True, flags=[])
# Meter values that nobody waits for.
RELEASED = Q(transaction__isnull=True) | Q(
    transaction__stopped_at__isnull=False, transaction__stop_received=True, transaction__flags=[]
)


# --- partitions -------------------------------------------------------------------------------------------------------
def prepare_partitions(now: datetime) -> list[Made]:
    """Make the partitions of the coming months, and say in the log when rows had to wait for one.

    A lock that could not be had, or a right that is missing, is logged: the default partition takes the rows meanwhile.
    """
    try:
        made = partitions.prepare(now)
    except DatabaseError as error:
        logger.warning("Partitions could not be made and will be tried again: %s", error)
        return []
    for each in made:
        if each.moved:
            logger.warning("Partition %s made late: %d rows had waited in the default partition", each.name, each.moved)
        else:
            logger.info("Partition %s made", each.name)
    return made


@dataclass(frozen=True, slots=True)
class Drop:
    """A partition that may go, and the newest id in it when that was found."""

    partition: Partition
    newest: int | None


def drop_partitions(now: datetime, *, dry_run: bool = False) -> list[str]:
    """Drop the partitions that hold nothing to be kept; gives their names. Opens the platform scope.

    One whose lock could not be had stays until the next run.
    """
    dropped = []
    with platform_scope():
        for drop in _droppable(now):
            if dry_run or _drop(drop):
                dropped.append(drop.partition.name)
    return dropped


def _droppable(now: datetime) -> Iterator[Drop]:
    days = list(Tenant.objects.values_list("message_retention_days", "meter_value_retention_days"))
    for model, kept in ((OcppMessage, [day for day, _ in days]), (MeterValue, [day for _, day in days])):
        # Without tenants there is nobody who has said how long.
        cutoff = now - timedelta(days=max(kept)) if kept and all(kept) else None
        for each in partitions.partitions(model._meta.db_table):
            if each.upper is None or each.upper > now:
                continue
            rows = _rows_of(model, each)
            newest = rows.order_by("-pk").values_list("pk", "received_at").first()
            if newest is None:
                # As long as months are still made for late rows, this one would only come back.
                if each.upper <= partitions.month_of(now, -partitions.BACK):
                    yield Drop(each, None)
            elif cutoff is not None and each.upper <= cutoff and newest[1] < cutoff and not _is_held(model, rows):
                yield Drop(each, newest[0])


def _rows_of(model: Any, partition: Partition) -> QuerySet[Any]:
    key = partitions.KEYS[model._meta.db_table]
    rows: QuerySet[Any] = model.objects.filter(**{f"{key}__lt": partition.upper})
    return rows if partition.lower is None else rows.filter(**{f"{key}__gte": partition.lower})


def _is_held(model: Any, rows: QuerySet[Any]) -> bool:
    return model is MeterValue and rows.exclude(RELEASED).order_by().exists()


def _drop(drop: Drop) -> bool:
    try:
        return partitions.drop(drop.partition, drop.newest)
    except DatabaseError as error:
        logger.warning("Partition %s could not be dropped and will be tried again: %s", drop.partition.name, error)
        return False


# --- the rows of one tenant -------------------------------------------------------------------------------------------
def purge(tenant: Tenant, now: datetime, *, dry_run: bool = False) -> dict[str, int]:
    """Delete what is past the tenant's retention and thin its old meter values; gives rows by table.

    The caller has opened the tenant's scope. With `dry_run` nothing changes, and the numbers are what would go; thinned
    rows that are old enough to be deleted are then counted twice.
    """
    deleted: dict[str, int] = {}
    if tenant.message_retention_days:
        cutoff = now - timedelta(days=tenant.message_retention_days)
        deleted["messages"] = _delete_messages(cutoff, dry_run)
        deleted |= {"connection_attempts": 0, "security_events": 0}
    if tenant.meter_value_retention_days:
        cutoff = now - timedelta(days=tenant.meter_value_retention_days)
        deleted["meter_values"] = _delete_meter_values(cutoff, now, dry_run)
    if tenant.meter_value_rollup_days:
        thinned = roll_up(now - timedelta(days=tenant.meter_value_rollup_days), now, dry_run=dry_run)
        if thinned:
            deleted["surplus_meter_values"] = thinned
    for model, rule in _ruled(of_tenants=True):
        number = _delete_by_rule(model, rule, tenant, now, dry_run)
        if number:
            deleted[_counted_as(model, rule)] = number
    numbers = _delete_numbers(dry_run)
    return deleted | ({"reservation_numbers": numbers} if numbers else {})


def purge_installation(now: datetime, *, dry_run: bool = False) -> dict[str, int]:
    """Delete what is past its time and belongs to no tenant; gives rows by table, where there are any."""
    deleted = {_counted_as(model, rule): _delete_expired(model, rule.column, now, dry_run)
               for model, rule in _ruled(of_tenants=False) if isinstance(rule, Expiring)}  # fmt: skip
    return {table: number for table, number in deleted.items() if number}


def _ruled(*, of_tenants: bool) -> Iterator[tuple[type[Model], ByAge | Expiring]]:
    """The models whose rows are deleted by a rule of the table, in its order."""
    for label, rule in RETENTION.items():
        if isinstance(rule, ByAge | Expiring):
            model = apps.get_model(label)
            if issubclass(model, TenantModel) is of_tenants:
                yield model, rule


def _counted_as(model: type[Model], rule: ByAge | Expiring) -> str:
    words = rule.counted_as if isinstance(rule, ByAge) else ""
    return (words or str(model._meta.verbose_name_plural)).replace(" ", "_")


def _delete_by_rule(model: type[Model], rule: ByAge | Expiring, tenant: Tenant, now: datetime, dry_run: bool) -> int:
    if isinstance(rule, Expiring):
        return _delete_expired(model, rule.column, now, dry_run)
    days = getattr(tenant, rule.days)
    if not days:
        return 0
    cutoff = now - timedelta(days=days)
    if rule.indexed:
        return _delete_expired(model, rule.columns[0], cutoff, dry_run)
    return (_delete_measured if rule.measured else _delete_aged)(model, rule, cutoff, now, dry_run)


def _delete_expired(model: type[Model], column: str, now: datetime, dry_run: bool) -> int:
    """Delete the rows whose time is over, by the index of that time."""
    due = model._default_manager.filter(**{f"{column}__lte": now}).order_by(column)
    if dry_run:
        return due.count()
    total = 0
    while True:
        expired = list(due.values_list("pk", flat=True)[:ROWS_PER_DELETE])
        total += _delete(model._default_manager.all(), expired)
        if len(expired) < ROWS_PER_DELETE:
            return total


def _delete_aged(model: type[Model], rule: ByAge, cutoff: datetime, now: datetime, dry_run: bool) -> int:
    """Delete the open tenant's rows that are old enough and may go, some at a time, oldest first.

    Rows are written in the order of their ids, so the scan ends at the first lot that is young enough; a lane that
    writes meanwhile never waits for long. Rows that others point at go with what belongs to them.
    """
    columns = [F(column) for column in rule.columns]
    aged = model._default_manager.annotate(age=Coalesce(*columns) if len(columns) > 1 else columns[0])
    if dry_run:
        return aged.filter(rule.only, age__lt=cutoff).count()
    referenced = bool(model._meta.related_objects)
    size = REFERENCED_ROWS_PER_DELETE if referenced else ROWS_PER_DELETE
    total = after = 0
    while True:
        lot = list(aged.filter(pk__gt=after).order_by("pk").values_list("pk", "age")[:size])
        old = [pk for pk, age in lot if age < cutoff]
        may_go = model._default_manager.filter(rule.only, pk__in=old)
        if referenced:
            total += may_go.delete()[1].get(model._meta.label, 0)
        elif old:
            total += _delete(model._default_manager.filter(rule.only), old)
        if not old or len(lot) < size:
            return total
        after = lot[-1][0]


def _delete_measured(model: type[Model], rule: ByAge, cutoff: datetime, now: datetime, dry_run: bool) -> int:
    """As `_delete_aged`, by charge point and the charge point's own time, for which there is an index.

    Also those of clocks that are far ahead, which no time makes old.
    """
    charge_point_ids = list(ChargePoint.objects.order_by("pk").values_list("pk", flat=True))
    old = Q(**{f"{rule.columns[0]}__lt": cutoff})
    total = 0
    for measured in (Q(**{f"{rule.measured}__lt": cutoff}), Q(**{f"{rule.measured}__gt": now + CLOCK_AHEAD})):
        for start in range(0, len(charge_point_ids), CHARGE_POINTS_PER_QUERY):
            chunk = charge_point_ids[start : start + CHARGE_POINTS_PER_QUERY]
            due = model._default_manager.filter(measured, old, rule.only, charge_point__in=chunk)
            if dry_run:
                total += due.count()
                continue
            while True:
                expired = list(due.order_by().values_list("pk", flat=True)[:ROWS_PER_DELETE])
                total += _delete(model._default_manager.all(), expired)
                if len(expired) < ROWS_PER_DELETE:
                    break
    return total


def _delete_numbers(dry_run: bool) -> int:
    """Delete the numbers given to reservations but for the newest, from which they go on."""
    newest = ReservationNumber.objects.order_by("-pk").values_list("pk", flat=True).first()
    used = ReservationNumber.objects.filter(pk__lt=newest or 0)
    return used.count() if dry_run else used.order_by()._raw_delete(used.db)


def _delete_messages(cutoff: datetime, dry_run: bool) -> int:
    """Delete the messages received before `cutoff`, charge point by charge point: each has an index in their order.

    A charge point whose first message is young enough is passed over; ids and times of receipt have one order.
    """
    if dry_run:
        return OcppMessage.objects.filter(received_at__lt=cutoff).count()
    messages = OcppMessage.objects.filter(charge_point=OuterRef("pk")).order_by("pk")
    oldest = Subquery(messages.values("received_at")[:1])
    due = ChargePoint.objects.annotate(oldest=oldest).filter(oldest__lt=cutoff).order_by("pk")
    total = 0
    for charge_point_id in list(due.values_list("pk", flat=True)):
        rows = OcppMessage.objects.filter(charge_point=charge_point_id)
        while True:
            first = list(rows.order_by("pk").values_list("pk", "received_at")[:ROWS_PER_DELETE])
            expired = [pk for pk, at in first if at < cutoff]
            total += _delete(rows.filter(received_at__lt=cutoff), expired)
            if len(expired) < ROWS_PER_DELETE:
                break
    return total


def _delete_meter_values(cutoff: datetime, now: datetime, dry_run: bool) -> int:
    """Delete the meter values received before `cutoff`, but for those of transactions that are not settled.

    By charge point and time, for which there is an index; also those of clocks that are far ahead, which no time makes
    old. What was measured, or so the charge point says, after the cutoff is left for a later run.
    """
    charge_point_ids = list(ChargePoint.objects.order_by("pk").values_list("pk", flat=True))
    total = 0
    for measured in (Q(timestamp__lt=cutoff), Q(timestamp__gt=now + CLOCK_AHEAD)):
        for start in range(0, len(charge_point_ids), CHARGE_POINTS_PER_QUERY):
            chunk = charge_point_ids[start : start + CHARGE_POINTS_PER_QUERY]
            due = MeterValue.objects.filter(measured, RELEASED, charge_point__in=chunk, received_at__lt=cutoff)
            if dry_run:
                total += due.count()
                continue
            while True:
                expired = list(due.order_by().values_list("pk", flat=True)[:ROWS_PER_DELETE])
                total += _delete(MeterValue.objects.filter(measured), expired)
                if len(expired) < ROWS_PER_DELETE:
                    break
    return total


def _delete(rows: QuerySet[Any], ids: list[int]) -> int:
    """Delete the rows of these ids in one statement; `rows` says in which partitions they are."""
    return rows.filter(pk__in=ids).order_by()._raw_delete(rows.db) if ids else 0


# --- roll-up ----------------------------------------------------------------------------------------------------------
def roll_up(cutoff: datetime, now: datetime, *, dry_run: bool = False) -> int:
    """Thin the meter values of the open tenant's settled transactions whose stop came before `cutoff`; rows deleted.

    At most TRANSACTIONS_PER_RUN, oldest first. Each is done in one database transaction with its mark, so a run that is
    cut off goes on where it was.
    """
    due = Transaction.objects.filter(
        SETTLED, meter_values_rolled_up_at__isnull=True, stopped_received_at__lt=cutoff
    ).order_by("stopped_received_at")
    total = 0
    for pk in list(due.values_list("pk", flat=True)[:TRANSACTIONS_PER_RUN]):
        with transaction.atomic():
            # A repeated stop may be flagging it at this moment.
            tx = Transaction.objects.select_for_update().filter(SETTLED, pk=pk).first()
            if tx is None or tx.meter_values_rolled_up_at is not None:
                continue
            rows = MeterValue.objects.filter(transaction=pk)
            surplus = surplus_of(
                rows.order_by("timestamp", "pk")
                .values_list("pk", "timestamp", "energy_wh", "power_w", "soc_percent", "sampled_value")
                .iterator(chunk_size=ROWS_PER_DELETE)
            )
            if dry_run:
                total += len(surplus)
                continue
            for start in range(0, len(surplus), ROWS_PER_DELETE):
                total += _delete(rows, surplus[start : start + ROWS_PER_DELETE])
            Transaction.objects.filter(pk=pk).update(meter_values_rolled_up_at=now)
    return total


Reading = tuple[int, datetime, Decimal | None, float | None, float | None, Any]


def surplus_of(readings: Iterable[Reading]) -> list[int]:
    """The ids of what may go of one transaction's readings, given in the order of their time.

    A reading is `(id, timestamp, energy_wh, power_w, soc_percent, sampled_value)`. What stays: the first and the last
    reading of each of the three measurands, in every quarter of an hour the first of each, and whatever was not taken
    periodically or is signed. Readings stay as they are, so the energy at their instants is exact.
    """
    surplus: list[int] = []
    seen: set[tuple[int, int]] = set()
    # The newest reading of each measurand so far: it goes only when another one follows.
    last: dict[int, int] = {}
    waiting: dict[int, int] = {}
    for pk, timestamp, energy_wh, power_w, soc_percent, sampled_value in readings:
        quarter = int(timestamp.timestamp() // QUARTER_SECONDS)
        has = [number for number, value in enumerate((energy_wh, power_w, soc_percent)) if value is not None]
        fresh = [number for number in has if (quarter, number) not in seen]
        seen.update((quarter, number) for number in fresh)
        keep = bool(fresh) or not _is_periodic(sampled_value)
        for number in has:
            previous = last.get(number)
            if previous in waiting:
                waiting[previous] -= 1
                if not waiting[previous]:
                    surplus.append(previous)
                    del waiting[previous]
            last[number] = pk
        if not keep:
            if has:
                waiting[pk] = len(has)
            else:
                surplus.append(pk)
    return surplus


def _is_periodic(sampled_value: Any) -> bool:
    """Whether every sampled value was taken at an interval, and none is signed."""
    return all(
        sample.get("context") in PERIODIC and sample.get("format") != "SignedData"
        for sample in sampled_value
        if isinstance(sample, dict)
    )
