"""The constraint that says which StartTransactions are the same: a look-up alone would let two processes pass.

Context: charge points repeat a StartTransaction in other words: the fraction of the second cut or rounded, the tag in
other letters. "Less than a second apart" is no equality, so no unique index says it: .9999 and the full second after it
have neither a second nor a rounded second in common with all that is near them.
Choice: an exclusion constraint on PostgreSQL: ranges of one second that begin with the transactions must not overlap
where connector, tag and reading are the same. Its index needs no extension: what must be equal is one number, 63 bits
of a hash, so two different starts of one second are taken for one less than once in 10^18. On SQLite, which has one
writer, a trigger before each insert and update.
Consequence: SQLite loses triggers when a migration makes the table anew; as part of the model's constraints this one is
made again with it. Rows that stand for the same start from times without the constraint are marked `duplicate_of`.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, models
from django.db.backends.ddl_references import Statement, Table

_ON_POSTGRESQL = """CONSTRAINT %(name)s EXCLUDE USING gist (
    (int8range(
        hashint8extended(charge_point_id, hashint4extended(connector_id,
            hashint8extended(meter_start_wh, hashtextextended(id_tag_key, 0)))) >> 1,
        hashint8extended(charge_point_id, hashint4extended(connector_id,
            hashint8extended(meter_start_wh, hashtextextended(id_tag_key, 0)))) >> 1, '[]'
    )) WITH &&,
    (tsrange(started_at AT TIME ZONE 'UTC', (started_at AT TIME ZONE 'UTC') + interval '1 second', '[)')) WITH &&
) WHERE (orphan_ref = '' AND duplicate_of IS NULL)"""

# The microseconds of a time as SQLite keeps it: the fraction is left out when it is zero.
_MICROSECONDS = (
    "(CAST(round(julianday(substr({0}, 1, 19)) * 86400) AS INTEGER) * 1000000"
    " + CAST(substr(substr({0}, 21) || '000000', 1, 6) AS INTEGER))"
)
_ON_SQLITE = (
    "CREATE TRIGGER %(name)s BEFORE %(event)s ON %(table)s"  # noqa: S608 - names of ours
    " WHEN NEW.orphan_ref = '' AND NEW.duplicate_of IS NULL"
    " BEGIN SELECT RAISE(ABORT, '%(rule)s') WHERE EXISTS ("
    "SELECT 1 FROM %(table)s AS other"
    " WHERE other.charge_point_id = NEW.charge_point_id AND other.connector_id = NEW.connector_id"
    " AND other.started_at >= datetime(substr(NEW.started_at, 1, 19), '-1 seconds')"
    " AND other.started_at < datetime(substr(NEW.started_at, 1, 19), '+2 seconds')"
    " AND other.id_tag_key = NEW.id_tag_key AND other.meter_start_wh = NEW.meter_start_wh"
    " AND other.orphan_ref = '' AND other.duplicate_of IS NULL AND other.id IS NOT NEW.id"
    f" AND abs({_MICROSECONDS.format('other.started_at')} - {_MICROSECONDS.format('NEW.started_at')}) < 1000000); END"
)
_EVENTS = {
    "insert": "INSERT",
    "update": "UPDATE OF charge_point_id, connector_id, id_tag_key, started_at, meter_start_wh, orphan_ref,"
    " duplicate_of",
}


class StartOnce(models.BaseConstraint):
    """At most one transaction of a connector, tag (without case) and meterStart begins within less than a second.

    Breaking it is an IntegrityError. Rows of a stop without a start, and those marked as duplicates, do not count.
    """

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        """The part of CREATE TABLE; on SQLite the triggers follow it."""
        if schema_editor.connection.vendor == "postgresql":
            return _ON_POSTGRESQL % {"name": schema_editor.quote_name(self.name)}
        schema_editor.deferred_sql.extend(self._triggers(model, schema_editor))
        return ""

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        """On PostgreSQL; SQLite makes the table anew, with `constraint_sql`."""
        return self._alter(model, schema_editor, f"ADD {_ON_POSTGRESQL}")

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._alter(model, schema_editor, "DROP CONSTRAINT %(name)s")

    def validate(self, model: Any, instance: Any, exclude: Any = None, using: str = DEFAULT_DB_ALIAS) -> None:
        """As the database does, for forms. Raises ValidationError."""
        if instance.orphan_ref or instance.duplicate_of is not None:
            return
        same = model._default_manager.using(using).begun_as(instance)
        if same.exclude(pk=instance.pk).exists():
            raise ValidationError(self.get_violation_error_message(), code=self.violation_error_code)

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, StartOnce) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def _alter(self, model: Any, schema_editor: Any, what: str) -> Statement | None:
        if schema_editor.connection.vendor != "postgresql":
            return None
        table = Table(model._meta.db_table, schema_editor.quote_name)
        return Statement(f"ALTER TABLE %(table)s {what}", table=table, name=schema_editor.quote_name(self.name))

    def _triggers(self, model: Any, schema_editor: Any) -> list[Statement]:
        table = Table(model._meta.db_table, schema_editor.quote_name)
        return [
            Statement(_ON_SQLITE, table=table, name=f"{self.name}_{suffix}", event=event, rule=self.name)
            for suffix, event in _EVENTS.items()
        ]
