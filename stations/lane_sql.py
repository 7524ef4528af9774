"""The lane's own SQL: what every message needs, in words that never change, and in as few round trips as there can be.

Context: building a query, reading its rows into models and waiting for each answer of the database in turn costs more
than everything else that answering a message takes. While the lane's thread waits, the event loop has the interpreter,
and each wake-up has to win it back.
Choice: constant statements (prepared on PostgreSQL), the look-ups of a batch sent together, and its inserts sent
together with the COMMIT. Consequence: these statements name tables and columns that the models define; a test compares
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC
from typing import Any

import orjson
from django.db import connection
from django.db.models.base import ModelState

from stations.models import ChargePoint
from stations.models.charge_point import LANE_COLUMNS

_CHARGE_POINTS = f"SELECT id, {', '.join(LANE_COLUMNS)} FROM stations_chargepoint WHERE tenant_id = %s AND id"  # noqa: S608
_OWNERS = "SELECT id, charge_point_id FROM stations_transaction WHERE tenant_id = %s AND id"
_ANY = {"postgresql": " = ANY(%s)", "sqlite": " IN (SELECT value FROM json_each(%s))"}
_NAMES = ("id", *LANE_COLUMNS)
_TIMES = [index for index, name in enumerate(_NAMES) if name.endswith(("_at", "_until"))]


def round_trip() -> AbstractContextManager[None]:
    """Statements of the block go to the database together, the COMMIT too if it is among them, where it can do that."""
    # What is asked of it beyond Django's own: tenants/postgresql/base.py.
    database: Any = connection
    return database.pipeline() if connection.vendor == "postgresql" else nullcontext()


def cursor() -> Any:
    """A cursor for constant SQL. The caller has opened the tenant scope: row-level security checks every row."""
    database: Any = connection
    return database.constant_cursor() if connection.vendor == "postgresql" else database.cursor()


def look_up(
    tenant_id: int, charge_point_ids: Collection[int], transaction_ids: Collection[int]
) -> tuple[dict[int, ChargePoint], dict[int, int]]:
    """The charge points by id, and of each transaction the id of its charge point; what does not exist is left out.

    A charge point has the columns that answering a message needs (LANE_COLUMNS); another one is read when it is asked
    for, as with `only()`.
    """
    one_of = _ANY[connection.vendor]
    with cursor() as charge_points, cursor() as owners:
        with round_trip():
            charge_points.execute(_CHARGE_POINTS + one_of, [tenant_id, _list(charge_point_ids)])
            if transaction_ids:
                owners.execute(_OWNERS + one_of, [tenant_id, _list(transaction_ids)])
        found = {row[0]: _charge_point(row) for row in charge_points.fetchall()}
        return found, dict(owners.fetchall()) if transaction_ids else {}


def _list(ids: Iterable[int]) -> Any:
    return list(ids) if connection.vendor == "postgresql" else orjson.dumps(list(ids)).decode()


def _charge_point(row: tuple[Any, ...]) -> ChargePoint:
    """The model of a row, as `Model.from_db` would make it of the same columns, for a tenth of the time."""
    if connection.vendor == "sqlite":
        # It keeps times in UTC without saying so.
        values = list(row)
        for index in _TIMES:
            if values[index] is not None:
                values[index] = values[index].replace(tzinfo=UTC)
        row = tuple(values)
    charge_point = ChargePoint.__new__(ChargePoint)
    state = charge_point._state = ModelState()
    state.adding, state.db = False, connection.alias
    charge_point.__dict__.update(zip(_NAMES, row, strict=True))
    return charge_point
