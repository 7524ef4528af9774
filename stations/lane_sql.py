"""The lane's own SQL: what every message needs, in words that never change, and in as few round trips as there can be.

Context: building a query, reading its rows into models and waiting for each answer of the database in turn costs more
than everything else that answering a message takes. While the lane's thread waits, the event loop has the interpreter,
and each wake-up has to win it back.
Choice: constant statements (prepared on PostgreSQL), the look-ups of a batch sent together with its BEGIN, and its
inserts sent together with the COMMIT: two round trips. Consequence: these statements name tables and columns that the
models define; a test compares them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from django.db import connection
from django.db.models.base import ModelState

from stations.bulk import as_arrays
from stations.models import ChargePoint
from stations.models.charge_point import LANE_COLUMNS
from tenants.postgresql.arrays import Kind, as_array
from tenants.postgresql.exchange import Statement, Step

_CHARGE_POINTS = f"SELECT id, {', '.join(LANE_COLUMNS)} FROM stations_chargepoint WHERE tenant_id = %s AND id"  # noqa: S608
_OWNERS = "SELECT id, charge_point_id FROM stations_transaction WHERE tenant_id = %s AND id"
_ONE_OF = " IN (SELECT value FROM json_each(%s))"
_ANY = " = ANY(%s)"
_ASK_CHARGE_POINTS, _ASK_OWNERS = Statement(_CHARGE_POINTS + _ANY), Statement(_OWNERS + _ANY)
# What was opened by a StartTransaction with these words, in the order of StartKey: an entry of its constraint.
_STARTED = """SELECT id FROM stations_transaction WHERE tenant_id = %s AND orphan_ref = ''
 AND charge_point_id = {} AND connector_id = {} AND id_tag = {} AND started_at = {} AND meter_start_wh = {}"""
_ASK_STARTS = Statement(
    "SELECT asked.number, known.id,"  # noqa: S608
    " CASE WHEN known.id IS NULL THEN nextval(pg_get_serial_sequence('stations_transaction', 'id')) END"
    " FROM unnest(%s::bigint[], %s::integer[], %s::varchar[], %s::timestamptz[], %s::bigint[]) WITH ORDINALITY"
    " AS asked(place, connector, tag, started, meter, number) LEFT JOIN LATERAL ("
    + _STARTED.format("place", "connector", "tag", "started", "meter")
    + " LIMIT 1) AS known ON true"
)
_STARTS = "SELECT asked.key + 1, ({}), NULL FROM json_each(%s) AS asked".format(  # noqa: S608
    _STARTED.format(*(f"json_extract(asked.value, '$[{index}]')" for index in range(5)))
)
_NAMES = ("id", *LANE_COLUMNS)
_TIMES = [index for index, name in enumerate(_NAMES) if name.endswith(("_at", "_until"))]


class StartKey(NamedTuple):
    """What a StartTransaction is recognised by when it is repeated; the meter reading in Wh."""

    charge_point_id: int
    connector_id: int
    id_tag: str
    started_at: datetime
    meter_start_wh: int


def with_commit() -> AbstractContextManager[None]:
    """What `insert_rows` is given in this block leaves together with its COMMIT, where the database can do that."""
    # What is asked of it beyond Django's own: tenants/postgresql/base.py.
    database: Any = connection
    return database.with_commit() if connection.vendor == "postgresql" else nullcontext()


def look_up(
    tenant_id: int, charge_point_ids: Collection[int], transaction_ids: Collection[int]
) -> tuple[dict[int, ChargePoint], dict[int, int]]:
    """The charge points by id, and of each transaction the id of its charge point; what does not exist is left out.

    A charge point has the columns that answering a message needs (LANE_COLUMNS); another one is read when it is asked
    for, as with `only()`. The caller has opened the tenant scope: row-level security checks every row.
    """
    read = _read_postgresql if connection.vendor == "postgresql" else _read_sqlite
    charge_points, owners = read(tenant_id, charge_point_ids, transaction_ids)
    alias = connection.alias
    return {row[0]: _charge_point(row, alias) for row in charge_points}, dict(owners)


def _read_postgresql(tenant_id: int, charge_point_ids: Collection[int], transaction_ids: Collection[int]) -> Any:
    database: Any = connection
    tenant = str(tenant_id)
    steps: list[Step] = [(_ASK_CHARGE_POINTS, (tenant, as_array("plain", charge_point_ids)))]
    if transaction_ids:
        steps.append((_ASK_OWNERS, (tenant, as_array("plain", transaction_ids))))
    charge_points, *owners = database.ask(*steps)
    return charge_points, owners[0] if owners else ()


def _read_sqlite(tenant_id: int, charge_point_ids: Collection[int], transaction_ids: Collection[int]) -> Any:
    owners: Any = ()
    with connection.cursor() as cursor:
        cursor.execute(_CHARGE_POINTS + _ONE_OF, [tenant_id, orjson.dumps(list(charge_point_ids)).decode()])
        charge_points = [_in_utc(row) for row in cursor.fetchall()]
        if transaction_ids:
            cursor.execute(_OWNERS + _ONE_OF, [tenant_id, orjson.dumps(list(transaction_ids)).decode()])
            owners = cursor.fetchall()
    return charge_points, owners


def _in_utc(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of a charge point from SQLite, which keeps times in UTC without saying so."""
    values = list(row)
    for index in _TIMES:
        if values[index] is not None:
            values[index] = values[index].replace(tzinfo=UTC)
    return tuple(values)


def look_up_starts(tenant_id: int, keys: Sequence[StartKey]) -> tuple[dict[StartKey, int], dict[StartKey, int]]:
    """The ids of the transactions that these requests have opened, and ids to be given to those that are new.

    SQLite hands out an id with its row only, so the second is empty there. PostgreSQL takes none for a repetition: a
    charge point that repeats itself for months must not use up the numbers.
    """
    if connection.vendor == "postgresql":
        database: Any = connection
        kinds: tuple[Kind, ...] = ("plain", "plain", "varchar", "time", "plain")
        (rows,) = database.ask((_ASK_STARTS, (*as_arrays(kinds, keys), str(tenant_id))))
    else:
        adapt = connection.ops.adapt_datetimefield_value
        asked = [(*key[:3], adapt(key.started_at), key.meter_start_wh) for key in keys]
        with connection.cursor() as cursor:
            cursor.execute(_STARTS, [tenant_id, orjson.dumps(asked).decode()])
            rows = cursor.fetchall()
    known = {keys[number - 1]: row_id for number, row_id, _ in rows if row_id is not None}
    return known, {keys[number - 1]: new_id for number, _, new_id in rows if new_id is not None}


def _charge_point(row: tuple[Any, ...], alias: str) -> ChargePoint:
    """The model of a row, as `Model.from_db` would make it of the same columns, for a tenth of the time."""
    charge_point = ChargePoint.__new__(ChargePoint)
    state = charge_point._state = ModelState()
    state.adding, state.db = False, alias
    charge_point.__dict__.update(zip(_NAMES, row, strict=True))
    return charge_point
