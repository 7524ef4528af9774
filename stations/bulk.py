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

import orjson
from django.db import connection, models

from tenants.postgresql.exchange import Statement

_PLAIN = (models.IntegerField, models.FloatField, models.DecimalField, models.BooleanField)


def insert_rows(model: type[models.Model], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert `rows`, each in the order of `columns`; a row that a unique constraint already has is left as it was.

    Values: text, int, float, bool, None, aware datetime in UTC, and Decimal as text. A JSON column takes the JSON value
    itself (list or dict). On PostgreSQL inside `lane_sql.with_commit` the rows leave with the COMMIT. The caller has
    opened the tenant scope; row-level security checks every row.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        database: Any = connection
        statement, kinds = _on_postgresql(model, columns)
        arrays = [_array(kind, values) for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)]
        database.tell((statement, arrays))
    else:
        with connection.cursor() as cursor:
            cursor.executemany(_on_sqlite(model, columns), [tuple(map(_sqlite_value, row)) for row in rows])


def _array(kind: str, values: Sequence[Any]) -> str:
    """A column as PostgreSQL writes an array: texts and JSON in quotes, nothing else has a character for them."""
    if kind == "plain":
        elements = ["NULL" if value is None else str(value) for value in values]
    else:
        if kind == "json":
            values = [None if value is None else orjson.dumps(value).decode() for value in values]
        elements = ["NULL" if value is None else f'"{_escaped(str(value))}"' for value in values]
    return f"{{{','.join(elements)}}}"


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace('"', '\\"') if '"' in text else text


def _sqlite_value(value: Any) -> Any:
    """A value as the ORM would store it: times in UTC without an offset, JSON as text."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    return value


def _field(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.column == column)


@cache
def _on_postgresql(model: type[models.Model], columns: tuple[str, ...]) -> tuple[Statement, list[str]]:
    """The statement, and of each column how its values are written: as `json`, `plain` (no quotes), or `text`."""
    fields = [_field(model, column) for column in columns]
    arrays = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in fields)
    target = _insert(model, columns)
    statement = Statement(f"{target} SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING")  # noqa: S608 - names of ours
    return statement, [_kind(field) for field in fields]


def _kind(field: models.Field[Any, Any]) -> str:
    if isinstance(field, models.ForeignKey):
        return _kind(field.target_field)
    if isinstance(field, models.JSONField):
        return "json"
    return "plain" if isinstance(field, _PLAIN) else "text"


@cache
def _on_sqlite(model: type[models.Model], columns: tuple[str, ...]) -> str:
    places = ", ".join(["%s"] * len(columns))
    return f"{_insert(model, columns)} VALUES ({places}) ON CONFLICT DO NOTHING"


def _insert(model: type[models.Model], columns: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    return f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(map(quote, columns))})"
