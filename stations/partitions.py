"""Monthly partitions of the two tables that every message writes to, on PostgreSQL. SQLite keeps plain tables.

Context: deleting a month of rows one by one leaves holes that only VACUUM FULL gives back, and the indexes of a table
that is never cut grow beyond memory.
Choice: OcppMessage goes by `received_at`, our own clock. MeterValue goes by `timestamp`, the charge point's: PostgreSQL
wants the key in every unique constraint, and a repeated MeterValues has the timestamp of the first but another
`received_at`; by that one the repetition would be a new row. Clocks in 1970 or 2099 are ordinary: rows that fit no
month are in the default partition, with the same constraints.
Consequence: partitions are made ahead by a job (stations/retention.py); when it did not run, rows wait in the default
partition and move when their month is made. What was there before the tables were partitioned is one partition
without a lower end. A partition is a table of its own, so each is behind the row-level security policy too.

Source: PostgreSQL 15, 5.11 Table Partitioning; ATTACH PARTITION locks out neither reads nor inserts of the other
partitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState

from tenants.rls import enable_statements
from tenants.scope import platform_scope

# Table: the column it is partitioned by.
KEYS: Final = {"stations_metervalue": "timestamp", "stations_ocppmessage": "received_at"}
# Months made ahead of the present one; and how far back a month is made for rows that wait in the default partition.
AHEAD = 3
BACK = 12
# A partition is attached in milliseconds, unless somebody holds a lock: then it is tried again at the next run.
LOCK_TIMEOUT = "2s"
_ADVISORY_LOCK = 0x63736D73
_BOUND = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'([^']+)')\) TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: rows from `lower` (None: from the beginning) to before `upper`; both None for the default."""

    table: str
    name: str
    lower: datetime | None
    upper: datetime | None

    @property
    def is_default(self) -> bool:
        return self.upper is None


@dataclass(frozen=True, slots=True)
class Made:
    """A partition that was made, and how many rows of its month had been waiting in the default partition."""

    name: str
    moved: int


def month_of(moment: datetime, later: int = 0) -> datetime:
    """The beginning (UTC) of the month of `moment`, or of the one `later` months after it."""
    months = moment.astimezone(UTC).year * 12 + moment.astimezone(UTC).month - 1 + later
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def partitions(table: str) -> list[Partition]:
    """The partitions of `table`, oldest first, the default one last; none on SQLite."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i "
            "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)",
            [_quoted(table)],
        )
        found = [Partition(table, name, *_bounds(bound)) for name, bound in cursor.fetchall()]
    return sorted(found, key=lambda each: (each.is_default, each.upper, each.name))


def _bounds(text: str) -> tuple[datetime | None, datetime | None]:
    match = _BOUND.fullmatch(text)
    if match is None:
        return None, None
    lower, upper = match.groups()
    return datetime.fromisoformat(lower) if lower else None, datetime.fromisoformat(upper)


def prepare(now: datetime) -> list[Made]:
    """Make what is missing of this month and the next AHEAD, and of the BACK before if rows wait for it.

    Opens the platform scope: a partition holds rows of every tenant. Needs the rights of the tables' owner. May run
    twice at the same time. Errors: OperationalError when a lock could not be had in LOCK_TIMEOUT; what was made stays.
    """
    made: list[Made] = []
    if connection.vendor != "postgresql":
        return made
    with platform_scope():
        for table, key in KEYS.items():
            wanted = {month_of(now, later) for later in range(AHEAD + 1)} | _waiting_months(table, key, now)
            for month in sorted(wanted):
                new = _make(table, key, month)
                if new is not None:
                    made.append(new)
    return made


def _waiting_months(table: str, key: str, now: datetime) -> set[datetime]:
    """The months around `now` of which the default partition has rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT date_trunc('month', {_quoted(key)}, 'UTC') FROM {_quoted(_default_name(table))} "  # noqa: S608
            f"WHERE {_quoted(key)} >= %s AND {_quoted(key)} < %s",
            [month_of(now, -BACK), month_of(now, AHEAD + 1)],
        )
        return {month.astimezone(UTC) for (month,) in cursor.fetchall()}


def _make(table: str, key: str, month: datetime) -> Made | None:
    """The partition of `month` with the rows that waited for it; None when a partition covers it already."""
    end = month_of(month, 1)
    if _is_covered(table, month, end):
        return None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
        if _is_covered(table, month, end):
            return None
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        name, default = f"{table}_{month:%Y_%m}", _default_name(table)
        _create_like(cursor, name, table)
        # Attaching takes this lock anyhow, to look for rows of the month; taken first, none can arrive in between.
        cursor.execute(f"LOCK TABLE {_quoted(default)} IN ACCESS EXCLUSIVE MODE")
        moved = _move(cursor, default, name, key, month, end)
        cursor.execute(f"ALTER TABLE {_quoted(table)} ATTACH PARTITION {_quoted(name)} {_values(month, end)}")
    return Made(name, moved)


def drop(partition: Partition, newest: int | None) -> bool:
    """Drop `partition` with its rows if `newest` is still its highest id (None: if it is still empty); whether it went.

    Errors: OperationalError when its table's lock could not be had in LOCK_TIMEOUT.
    """
    with platform_scope(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        # Before the partition, as those who write do: the other way round they would wait for each other.
        cursor.execute(f"LOCK TABLE ONLY {_quoted(partition.table)} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"SELECT max(id) FROM {_quoted(partition.name)}")  # noqa: S608 - a name from the catalogue
        if cursor.fetchone()[0] != newest:
            return False
        cursor.execute(f"DROP TABLE {_quoted(partition.name)}")
    return True


def _is_covered(table: str, lower: datetime, upper: datetime) -> bool:
    return any(
        each.upper is not None and each.upper > lower and (each.lower is None or each.lower < upper)
        for each in partitions(table)
    )


def _create_like(cursor: Any, name: str, table: str) -> None:
    """A table with the columns and checks of `table`, behind the policy; indexes come when it is attached."""
    cursor.execute(
        f"CREATE TABLE {_quoted(name)} "
        f"(LIKE {_quoted(table)} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
    )
    for statement in enable_statements(name):
        cursor.execute(statement)


def _move(cursor: Any, source: str, target: str, key: str, lower: datetime, upper: datetime | None) -> int:
    """Move the rows from `lower` to before `upper` (None: all later ones); their number."""
    until = "" if upper is None else f"AND {_quoted(key)} < '{upper.isoformat()}'"
    cursor.execute(
        f"WITH moved AS (DELETE FROM {_quoted(source)} "  # noqa: S608 - names and times of ours
        f"WHERE {_quoted(key)} >= '{lower.isoformat()}' {until} RETURNING *) "
        f"INSERT INTO {_quoted(target)} SELECT * FROM moved"
    )
    return int(cursor.rowcount)


def _values(lower: datetime | None, upper: datetime) -> str:
    start = "MINVALUE" if lower is None else f"'{lower.isoformat()}'"
    return f"FOR VALUES FROM ({start}) TO ('{upper.isoformat()}')"


def _default_name(table: str) -> str:
    return f"{table}_default"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class PartitionByMonth(Operation):
    """Migration operation: turn the table of a model, with its rows, into one partitioned by the month of `key`.

    The table becomes the first partition as it is, so its rows are read twice but not copied; only those of a time
    after this month move. Backwards, all rows are copied into a plain table. The state keeps `id` as primary key; in
    the database it is (id, key), because a unique constraint must contain the key.
    """

    reduces_to_sql = False
    reversible = True
    category = OperationCategory.ALTERATION

    def __init__(self, model_name: str, key: str) -> None:
        self.model_name = model_name
        self.key = key

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = self._model(app_label, schema_editor, to_state)
        if model is None:
            return
        table, now = model._meta.db_table, datetime.now(UTC)
        old, default, bound = f"{table}_before_months", _default_name(table), month_of(now, 1)
        # The rows of every tenant are counted and moved.
        with platform_scope(), schema_editor.connection.cursor() as cursor:
            sequence = _drop_identity(cursor, table)
            cursor.execute(f"ALTER TABLE {_quoted(table)} RENAME TO {_quoted(old)}")
            cursor.execute(f"ALTER TABLE {_quoted(old)} DROP CONSTRAINT {_quoted(f'{table}_pkey')}")
            for named in (*model._meta.indexes, *model._meta.constraints):
                cursor.execute(f"ALTER INDEX {_quoted(named.name)} RENAME TO {_quoted(f'{named.name}_before_months')}")
            cursor.execute(
                f"CREATE TABLE {_quoted(table)} "
                f"(LIKE {_quoted(old)} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE) "
                f"PARTITION BY RANGE ({_quoted(self.key)})"
            )
            self._finish(schema_editor, cursor, model, sequence, f"id, {_quoted(self.key)}")
            _create_like(cursor, default, table)
            cursor.execute(f"ALTER TABLE {_quoted(table)} ATTACH PARTITION {_quoted(default)} DEFAULT")
            cursor.execute(f"CREATE INDEX {_quoted(f'{default}_key')} ON {_quoted(default)} ({_quoted(self.key)})")
            for later in range(1, AHEAD + 1):
                _make(table, self.key, month_of(now, later))
            _move(cursor, old, table, self.key, bound, None)
            cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {_quoted(old)})")  # noqa: S608 - a name of ours
            if cursor.fetchone()[0]:
                cursor.execute(f"ALTER TABLE {_quoted(table)} ATTACH PARTITION {_quoted(old)} {_values(None, bound)}")
            else:
                cursor.execute(f"DROP TABLE {_quoted(old)}")
                _make(table, self.key, month_of(now))

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = self._model(app_label, schema_editor, to_state)
        if model is None:
            return
        table = model._meta.db_table
        old = f"{table}_by_month"
        with platform_scope(), schema_editor.connection.cursor() as cursor:
            sequence = _drop_identity(cursor, table)
            cursor.execute(f"ALTER TABLE {_quoted(table)} RENAME TO {_quoted(old)}")
            cursor.execute(
                f"CREATE TABLE {_quoted(table)} "
                f"(LIKE {_quoted(old)} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
            )
            cursor.execute(f"INSERT INTO {_quoted(table)} SELECT * FROM {_quoted(old)}")  # noqa: S608 - names of ours
            cursor.execute(f"DROP TABLE {_quoted(old)}")
            self._finish(schema_editor, cursor, model, sequence, "id")

    def _finish(self, schema_editor: Any, cursor: Any, model: Any, sequence: tuple[int, bool], keys: str) -> None:
        """Identity, primary key, the model's constraints and indexes, and the policy, for a table just made."""
        table = model._meta.db_table
        cursor.execute(f"ALTER TABLE {_quoted(table)} ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY")
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s, %s)", [_quoted(table), *sequence])
        cursor.execute(f"ALTER TABLE {_quoted(table)} ADD CONSTRAINT {_quoted(f'{table}_pkey')} PRIMARY KEY ({keys})")
        for constraint in model._meta.constraints:
            schema_editor.add_constraint(model, constraint)
        for index in model._meta.indexes:
            schema_editor.add_index(model, index)
        for statement in enable_statements(table):
            cursor.execute(statement)

    def _model(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState) -> Any:
        """The model as of this migration; None where there is nothing to do."""
        database: Any = schema_editor.connection
        if database.vendor != "postgresql":
            return None
        model = state.apps.get_model(app_label, self.model_name)
        return model if self.allow_migrate_model(database.alias, model) else None

    def references_model(self, name: str, app_label: str) -> bool:
        return name.lower() == self.model_name.lower()

    def describe(self) -> str:
        return f"Partitions of {self.model_name} by the month of its {self.key}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_by_month"


def _drop_identity(cursor: Any, table: str) -> tuple[int, bool]:
    """Take the identity off `table`; the last value of its sequence, and whether that was given out."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [_quoted(table)])
    (sequence,) = cursor.fetchone()
    cursor.execute(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608 - a name from the catalogue
    last, called = cursor.fetchone()
    cursor.execute(f"ALTER TABLE {_quoted(table)} ALTER COLUMN id DROP IDENTITY")
    return last, called
