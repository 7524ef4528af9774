"""Row-level security: the second wall between tenants, in PostgreSQL itself.

Context: the managers (tenants/scoped.py) confine what goes through them; raw SQL, joined tables and mistakes do not.
Choice: every table of a TenantModel has one policy that compares `tenant_id` with the session setting `csms.tenant`,
which the database backend (tenants/postgresql) keeps equal to the open scope. FORCE makes it hold for the owner of the
tables too, so the product can run migrations with the same role. The role must be neither superuser nor BYPASSRLS
(tenants/checks.py).
Consequence: without a scope there are no rows. Data migrations run in `with platform_scope():`; backups with pg_dump
need a role with BYPASSRLS. Foreign keys and unique constraints still see all rows, as PostgreSQL checks them past the
policies.

Each migration that creates a TenantModel ends with `EnableRowLevelSecurity("Model")`; whoever makes tables by hand,
such as partitions, runs `enable_statements(table)` on them. SQLite has no such thing; there the operation does nothing.
"""

from __future__ import annotations

from typing import Any, Final

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState

SETTING: Final = "csms.tenant"
POLICY: Final = "csms_tenant"

# The sub-selects are evaluated once a statement instead of once a row, and only NULLIF keeps 'platform' from being
# cast.
_CONDITION = (
    f"{{column}} = (SELECT NULLIF(NULLIF(current_setting('{SETTING}', true), ''), 'platform')::bigint) "
    f"OR (SELECT current_setting('{SETTING}', true) = 'platform')"
)


def enable_statements(table: str, column: str = "tenant_id") -> list[str]:
    """SQL that puts `table` behind the policy. Identifiers are quoted here."""
    name, condition = _quoted(table), _CONDITION.format(column=_quoted(column))
    return [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {POLICY} ON {name} USING ({condition}) WITH CHECK ({condition})",
    ]


def disable_statements(table: str) -> list[str]:
    """SQL that undoes enable_statements()."""
    name = _quoted(table)
    return [
        f"DROP POLICY {POLICY} ON {name}",
        f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY",
    ]


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


class EnableRowLevelSecurity(Operation):
    """Migration operation: put the table of a TenantModel, made earlier in the same migration, behind the policy."""

    reduces_to_sql = True
    reversible = True
    category = OperationCategory.SQL

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = self._model(app_label, schema_editor, to_state.apps)
        if model is not None:
            column: Any = model._meta.get_field("tenant")
            for statement in enable_statements(model._meta.db_table, column.column):
                schema_editor.execute(statement)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = self._model(app_label, schema_editor, to_state.apps)
        if model is not None:
            for statement in disable_statements(model._meta.db_table):
                schema_editor.execute(statement)

    def _model(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, apps: Apps) -> type[models.Model] | None:
        """The model as of this migration; None where there is nothing to do."""
        connection: Any = schema_editor.connection
        if connection.vendor != "postgresql":
            return None
        model = apps.get_model(app_label, self.model_name)
        return model if self.allow_migrate_model(connection.alias, model) else None

    def references_model(self, name: str, app_label: str) -> bool:
        return name.lower() == self.model_name.lower()

    def describe(self) -> str:
        return f"Row-level security by tenant on {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_row_level_security"
