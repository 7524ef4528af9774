"""Many rows in one statement, for the rows that every message writes.

Context: the ORM's bulk_create spends most of a message's budget on building SQL, one parameter a column and row.
Choice: rows are plain tuples; PostgreSQL receives each column as one array (COPY is refused on tables with row-level
security, and reading the rows out of JSON costs it twice the time), SQLite all of them as one executemany.
Consequence: the caller gives values that are already right for the database, and no model's save() or validation runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from django.db import connection, models

from stations import lane_sql

_statements: dict[tuple[str, type[models.Model], tuple[str, ...]], str] = {}


def insert_rows(model: type[models.Model], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert `rows`, each in the order of `columns`; a row that a unique constraint already has is left as it was.

    Values: text, int, float, bool, None, aware datetime in UTC, and Decimal as text. A JSON column takes the JSON value
    itself (list or dict). The caller has opened the tenant scope; row-level security checks every row.
    """
    if not rows:
        return
    with lane_sql.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_statement(model, columns), [_array(values) for values in zip(*rows, strict=True)])
        else:
            cursor.executemany(_statement(model, columns), [tuple(map(_sqlite_value, row)) for row in rows])


def _array(values: Sequence[Any]) -> str:
    """A column as PostgreSQL writes an array: texts and JSON in quotes, nothing else has a character for them."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | dict):
        value = orjson.dumps(value).decode()
    elif not isinstance(value, str):
        return str(value)
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    if '"' in value:
        value = value.replace('"', '\\"')
    return f'"{value}"'


def _sqlite_value(value: Any) -> Any:
    """A value as the ORM would store it: times in UTC without an offset, JSON as text."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    return value


def _field(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.column == column)


def _statement(model: type[models.Model], columns: tuple[str, ...]) -> str:
    key = (connection.vendor, model, columns)
    if key not in _statements:
        quote = connection.ops.quote_name
        names = ", ".join(quote(column) for column in columns)
        target = f"INSERT INTO {quote(model._meta.db_table)} ({names})"
        if connection.vendor == "postgresql":
            arrays = ", ".join(f"%s::{_field(model, c).rel_db_type(connection)}[]" for c in columns)
            _statements[key] = f"{target} SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of ours
        else:
            places = ", ".join(["%s"] * len(columns))
            _statements[key] = f"{target} VALUES ({places}) ON CONFLICT DO NOTHING"
    return _statements[key]
