"""Many rows in one statement, for the rows that every message writes.

Context: the ORM's bulk_create spends most of a message's budget on building SQL, one parameter a column and row.
Choice: rows are plain tuples; PostgreSQL receives each column as one array (COPY is refused on tables with row-level
security, and reading the rows out of JSON costs it twice the time), SQLite all of them as one executemany.
Consequence: the caller gives values that are already right for the database, and no model's save() or validation runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection, models

from csms.ocppj.frames import dumps
from tenants.postgresql.arrays import Kind, as_array
from tenants.postgresql.exchange import Statement
from tenants.scope import current_tenant_id

_KINDS: tuple[tuple[Any, Kind], ...] = (
    ((models.IntegerField, models.FloatField, models.DecimalField, models.BooleanField), "plain"),
    (models.DateTimeField, "time"),
    (models.JSONField, "json"),
    (models.TextField, "text"),
    (models.CharField, "varchar"),
)


class Json(str):
    """The text of a JSON value, for a JSON column: written already."""

    __slots__ = ()


def insert_rows(
    model: type[models.Model],
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    strict: bool = False,
    replace: tuple[str, ...] = (),
    add: tuple[str, ...] = (),
) -> None:
    """Insert `rows`, each in the order of `columns`; a row that a unique constraint already has is left as it was.

    `strict`: such a row is an IntegrityError instead, raised by the COMMIT where the rows leave with it. `replace`: its
    columns of these names are set instead, by the only unique constraint of the model; no row may come twice. `add`:
    numbers that are added to those of the row that is there.
    Values: text, int, float, bool, None, aware datetime in UTC, and Decimal as text. A JSON column takes the JSON value
    itself (list or dict) or its text as Json. On PostgreSQL inside `lane_sql.with_commit` the rows leave with the
    COMMIT. The caller has opened the tenant scope; row-level security checks every row.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        database: Any = connection
        statement, kinds = _on_postgresql(model, columns, strict, replace, add)
        database.tell((statement, as_arrays(kinds, rows)))
    else:
        with connection.cursor() as cursor:
            sql = _on_sqlite(model, columns, strict, replace, add)
            cursor.executemany(sql, [tuple(map(_sqlite_value, row)) for row in rows])


def update_rows(
    model: type[models.Model],
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    unless_changed: tuple[str, ...] = (),
) -> None:
    """Set `columns` of rows of the open tenant: each row is `(id, *values)`, and no id comes twice.

    `unless_changed`: columns whose values follow those of `columns` in each row; where the database has others by now,
    nothing is set. An id that does not exist, or is another tenant's, changes nothing. Values and time of leaving as in
    `insert_rows`.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        database: Any = connection
        statement, kinds = _update_on_postgresql(model, columns, unless_changed)
        database.tell((statement, as_arrays(kinds, rows)))
    else:
        tenant_id = current_tenant_id()
        sql, json = _update_on_sqlite(model, columns, unless_changed)
        changes = []
        for row_id, *values in rows:
            for index in json:
                values[index] = None if values[index] is None else dumps(values[index])
            set_to, found = values[: len(columns)], values[len(columns) :]
            changes.append((*map(_sqlite_value, set_to), row_id, tenant_id, *map(_sqlite_value, found)))
        with connection.cursor() as cursor:
            cursor.executemany(sql, changes)


def as_arrays(kinds: Sequence[Kind], rows: Sequence[tuple[Any, ...]]) -> list[str | bytes]:
    """The columns of `rows`, each as an array of its kind; of `json` the rows have values, or texts as Json."""
    return [
        as_array(kind, map(_json, values) if kind == "json" else values)
        for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)
    ]


def _json(value: Any) -> str | None:
    return value if value is None or isinstance(value, Json) else dumps(value)


def _sqlite_value(value: Any) -> Any:
    """A value as the ORM would store it: times in UTC without an offset, JSON as text."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, list | dict):
        return dumps(value)
    return value


def _field(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.column == column)


@cache
def _on_postgresql(
    model: type[models.Model],
    columns: tuple[str, ...],
    strict: bool,
    replace: tuple[str, ...],
    add: tuple[str, ...],
) -> tuple[Statement, list[Kind]]:
    """The statement, and of each column how its values are written."""
    fields = [_field(model, column) for column in columns]
    # Not FROM unnest(...), which would keep a copy of all rows before the first is written.
    values = ", ".join(f"unnest(%s::{field.rel_db_type(connection)}[])" for field in fields)
    statement = Statement(f"{_insert(model, columns)} SELECT {values}{_on_conflict(model, strict, replace, add)}")
    return statement, [_kind(field) for field in fields]


def _kind(field: models.Field[Any, Any]) -> Kind:
    if isinstance(field, models.ForeignKey):
        return _kind(field.target_field)
    return next((kind for fields, kind in _KINDS if isinstance(field, fields)), "quoted")


@cache
def _on_sqlite(
    model: type[models.Model],
    columns: tuple[str, ...],
    strict: bool,
    replace: tuple[str, ...],
    add: tuple[str, ...],
) -> str:
    places = ", ".join(["%s"] * len(columns))
    return f"{_insert(model, columns)} VALUES ({places}){_on_conflict(model, strict, replace, add)}"


def _on_conflict(model: type[models.Model], strict: bool, replace: tuple[str, ...], add: tuple[str, ...]) -> str:
    """What is to happen with a row that is there already. Every unique index that may have it costs a search, and on
    PostgreSQL the row is written in two steps: none is named that cannot have it, the key least of all."""
    constraints = [each for each in model._meta.constraints if isinstance(each, models.UniqueConstraint)]
    others = any(field.unique for field in model._meta.concrete_fields if not field.primary_key)
    if strict or not (constraints or others or model._meta.unique_together):
        return ""
    only = constraints[0] if len(constraints) == 1 and not others and not model._meta.unique_together else None
    if only is None or only.condition is not None or not only.fields:
        if replace or add:
            raise ValueError(f"{model.__name__} has more than one way to be there already")
        return " ON CONFLICT DO NOTHING"
    named = {field.name: connection.ops.quote_name(str(field.column)) for field in model._meta.concrete_fields}
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    changes = [f"{quote(column)} = EXCLUDED.{quote(column)}" for column in replace]
    changes += [f"{quote(column)} = {table}.{quote(column)} + EXCLUDED.{quote(column)}" for column in add]
    reaction = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
    return f" ON CONFLICT ({', '.join(named[name] for name in only.fields)}) DO {reaction}"


def _insert(model: type[models.Model], columns: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    return f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(map(quote, columns))})"


@cache
def _update_on_postgresql(
    model: type[models.Model], columns: tuple[str, ...], unless_changed: tuple[str, ...]
) -> tuple[Statement, list[Kind]]:
    """As `_on_postgresql`, with the id first; row-level security keeps it to the tenant."""
    quote = connection.ops.quote_name
    given = ("id", *columns, *unless_changed)
    fields = [_field(model, column) for column in given]
    arrays = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in fields)
    names = ", ".join(map(quote, given))
    assignments = ", ".join(f"{quote(column)} = new.{quote(column)}" for column in columns)
    found = " AND ".join(f"old.{quote(column)} = new.{quote(column)}" for column in ("id", *unless_changed))
    table = quote(model._meta.db_table)
    statement = Statement(
        f"UPDATE {table} AS old SET {assignments} FROM unnest({arrays}) AS new({names}) WHERE {found}"  # noqa: S608 - names of ours
    )
    return statement, [_kind(field) for field in fields]


@cache
def _update_on_sqlite(
    model: type[models.Model], columns: tuple[str, ...], unless_changed: tuple[str, ...]
) -> tuple[str, list[int]]:
    """The statement, and which of `columns` are JSON."""
    quote = connection.ops.quote_name
    assignments = ", ".join(f"{quote(column)} = %s" for column in columns)
    found = " AND ".join(f"{quote(column)} = %s" for column in ("id", "tenant_id", *unless_changed))
    json = [index for index, column in enumerate(columns) if _kind(_field(model, column)) == "json"]
    return f"UPDATE {quote(model._meta.db_table)} SET {assignments} WHERE {found}", json  # noqa: S608 - names of ours
