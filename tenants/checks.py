"""System checks that keep both walls between tenants complete.

`manage.py check` looks at the models: a table without a tenant must be named here, with no way round the managers. With
`--database default`, and when the server starts, the database is looked at too: the role, and the policy of every
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, models

from tenants.rls import POLICY
from tenants.scoped import TenantModel, TenantQuerySet

# Models that belong to the installation and not to a tenant. Whoever adds one says why in the commit: none of its rows
# may tell one tenant something about another. A whole app is named "app.*".
PLATFORM_MODELS: Final[frozenset[str]] = frozenset(
    {
        "tenants.Tenant",
        "tenants.Guessing",
        "tenants.WriteProbe",
        "admin.LogEntry",
        "auth.Group",
        "auth.Permission",
        "auth.User",
        "contenttypes.ContentType",
        "sessions.Session",
        "sites.Site",
        "stations.ServerProcess",
        "stations.StrayHandshake",
        "account.*",
        "mfa.*",
        "socialaccount.*",
        "usersessions.*",
        "django_celery_beat.*",
    }
)


def is_platform_model(model: type[models.Model]) -> bool:
    """Whether `model` is meant to have no tenant; includes the automatic tables between two platform models."""
    opts = model._meta
    if opts.label in PLATFORM_MODELS or f"{opts.app_label}.*" in PLATFORM_MODELS:
        return True
    if opts.auto_created:
        return all(is_platform_model(field.remote_field.model) for field in opts.fields if field.remote_field)
    return False


def tenant_models() -> list[type[TenantModel]]:
    """Every installed model whose rows belong to a tenant and have a table of their own."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if issubclass(model, TenantModel) and model._meta.managed and not model._meta.proxy and not model._meta.swapped
    ]


@register(Tags.models)
def check_models(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """tenants.E001 to E006: every model is a guarded TenantModel or a named platform model."""
    labels = None if app_configs is None else {config.label for config in app_configs}
    messages: list[CheckMessage] = []
    for model in apps.get_models(include_auto_created=True):
        if labels is None or model._meta.app_label in labels:
            messages += check_model(model)
    return messages


def check_model(model: type[models.Model]) -> Iterator[CheckMessage]:
    """The messages of check_models() for one model."""
    if not issubclass(model, TenantModel):
        if is_platform_model(model):
            return
        if model._meta.auto_created:
            yield Error(
                "The automatic table of a many-to-many relation has no tenant.",
                hint="Give the ManyToManyField a `through` model that is a TenantModel.",
                obj=model,
                id="tenants.E002",
            )
        else:
            yield Error(
                "The model has no tenant and is not listed as a platform model.",
                hint="Derive it from tenants.scoped.TenantModel, or name it in tenants.checks.PLATFORM_MODELS.",
                obj=model,
                id="tenants.E001",
            )
        return
    managers: set[Any] = {*model._meta.managers, model._default_manager, model._base_manager}
    for manager in managers:
        if not issubclass(manager._queryset_class, TenantQuerySet):
            yield Error(
                f"Manager {manager.name!r} is not guarded.",
                hint="Use TenantManager.from_queryset() with a TenantQuerySet; keep base_manager_name.",
                obj=model,
                id="tenants.E003",
            )
    if model._meta.parents and not model._meta.proxy:
        yield Error(
            "Multi-table inheritance splits a row over two tables, of which the guard sees one.",
            obj=model,
            id="tenants.E004",
        )
    for field in model._meta.local_fields + model._meta.local_many_to_many:
        remote: Any = field.remote_field
        target: Any = getattr(remote, "model", None)
        if isinstance(target, type) and not issubclass(target, TenantModel) and not remote.hidden:
            yield Error(
                f"{field.name} lets queries on {remote.model._meta.label} join rows of tenants, past the guard.",
                hint='Set related_name="+" and query from this model instead.',
                obj=field,
                id="tenants.E005",
            )
    tenant = model._meta.get_field("tenant")
    if tenant.null or not isinstance(tenant, models.ForeignKey):
        yield Error("`tenant` must be a foreign key that is never null.", obj=model, id="tenants.E006")


@register(Tags.database)
def check_database(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """tenants.E010 and E011 for each PostgreSQL database."""
    messages: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor == "postgresql":
            messages += check_database_role(connection)
            messages += check_row_level_security(connection)
    return messages


def check_database_role(connection: Any) -> list[CheckMessage]:
    """tenants.E010 when row-level security does not hold for the role we connect with; W010 with DEBUG."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        role, is_superuser, bypasses = cursor.fetchone()
    if not is_superuser and not bypasses:
        return []
    why = "is a superuser" if is_superuser else "has BYPASSRLS"
    text = f"Database role {role!r} {why}: PostgreSQL does not keep tenants apart for it."
    hint = f'Connect with a role of its own, made with: CREATE ROLE csms LOGIN NOSUPERUSER NOBYPASSRLS. Not "{role}".'
    if settings.DEBUG:
        return [Warning(text, hint=hint, id="tenants.W010")]
    return [Error(text, hint=hint, id="tenants.E010")]


def check_row_level_security(connection: Any) -> list[CheckMessage]:
    """tenants.E011 for each table of a TenantModel, and each of its partitions, that lacks the forced policy.

    Tables that are not there yet are passed over: the check also runs before the first migration.
    """
    if connection.vendor != "postgresql":
        return []
    labels = {model._meta.db_table: model._meta.label for model in tenant_models()}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE tables AS (
                SELECT c.oid, c.relname AS root FROM pg_class c
                WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
                UNION ALL
                SELECT i.inhrelid, t.root FROM pg_inherits i JOIN tables t ON i.inhparent = t.oid
            )
            SELECT t.root, c.relname FROM tables t JOIN pg_class c ON c.oid = t.oid
            WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)
               OR NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %s)
               OR EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname <> %s AND p.polpermissive)
            ORDER BY 1, 2
            """,
            [list(labels), POLICY, POLICY],
        )
        return [
            Error(
                f"Table {table!r} of {labels[root]} is not behind the row-level security policy alone.",
                hint="End the migration that creates it with tenants.rls.EnableRowLevelSecurity; for a partition run "
                "tenants.rls.enable_statements().",
                id="tenants.E011",
            )
            for root, table in cursor.fetchall()
        ]
