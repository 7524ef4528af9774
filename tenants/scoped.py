"""Rows that belong to a tenant: the first wall between tenants (the second is row-level security, tenants/rls.py).

Context: class-level querysets (API views, admin, forms) are built once, at import, and run for every tenant.
Choice: a queryset is born with a condition that asks for the open scope when SQL is compiled, that is at every
execution and in every kind of query that grows out of it: lists, counts, updates, deletes, subqueries, prefetches,
unions. Inserts have no WHERE, so rows are checked one by one before they are written; ON CONFLICT DO UPDATE gets the
condition added.
Consequence: no scope, no SQL (NoTenantScope). Inside a scope the rows of others do not exist, and writing them is
CrossTenantWrite.
What the guard does not see: joined tables. They are reached by foreign keys, which are checked when written; a key set
as a bare number is checked only where a model asks for it (`verify_foreign_ids`), else by row-level security alone.
"""

# The stubs leave out, or narrow, the parts of Django that the guard has to override.
# mypy: disable-error-code="arg-type, attr-defined, misc, override, union-attr"

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from django.apps import apps
from django.core.exceptions import EmptyResultSet, FullResultSet, ValidationError
from django.db import models
from django.db.models import sql
from django.db.models.constants import OnConflict
from django.db.models.expressions import Expression
from django.db.models.query import RawQuerySet

from tenants.scope import PLATFORM, CrossTenantWrite, NoTenantScope, Scope, UnguardedQuery, _scope

Row = TypeVar("Row", bound="TenantModel")


class TenantGuard(Expression):
    """`<table>.tenant_id = <tenant of the open scope>`, decided when SQL is compiled.

    Immutable, one instance per model and table alias, shared by all querysets.
    """

    contains_aggregate = False
    contains_over_clause = False
    contains_column_references = True
    conditional = True
    is_summary = False
    filterable = True

    def __init__(self, model: type[TenantModel], alias: str) -> None:
        super().__init__(output_field=models.BooleanField())
        self.model = model
        self.alias = alias
        self.column = model._meta.get_field("tenant").column

    def as_sql(self, compiler: sql.compiler.SQLCompiler, connection: Any) -> tuple[str, tuple[int, ...]]:
        scope = _scope.get()
        if type(scope) is int:
            quoted_alias = compiler.quote_name_unless_alias(self.alias)
            return f"{quoted_alias}.{connection.ops.quote_name(self.column)} = %s", (scope,)
        if scope is PLATFORM:
            raise FullResultSet
        if compiler.query.is_empty():
            raise EmptyResultSet  # none() touches no row, and class-level none() is common in forms and views
        raise NoTenantScope(f"{self.model._meta.label} queried while no tenant scope is open.")

    def get_group_by_cols(self) -> list[Expression]:
        # For HAVING. In the platform scope there is no condition, and groups must not split by tenant.
        return [] if _scope.get() is PLATFORM else [self.model._meta.get_field("tenant").get_col(self.alias)]

    def relabeled_clone(self, change_map: dict[str | None, str]) -> TenantGuard:
        alias = change_map.get(self.alias)
        return self if alias is None else guard_of(self.model, alias)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> TenantGuard:
        return self

    def replace_expressions(self, replacements: dict[Expression, Expression]) -> TenantGuard:
        return self

    def get_source_expressions(self) -> list[Expression]:
        return []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TenantGuard) and self.alias == other.alias and self.model is other.model

    def __hash__(self) -> int:
        return hash((TenantGuard, self.alias))

    def __copy__(self) -> TenantGuard:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TenantGuard:
        return self

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return _unpickle_guard, (self.model._meta.label_lower, self.alias)

    def __repr__(self) -> str:
        return f"<TenantGuard {self.alias}.{self.column}>"


@cache
def _guard_of_table(model: type[TenantModel]) -> TenantGuard:
    return TenantGuard(model, model._meta.db_table)


def guard_of(model: type[TenantModel], alias: str | None = None) -> TenantGuard:
    """The guard of `model` for its own table, or for the alias that it has in a subquery."""
    if alias is None or alias == model._meta.db_table:
        return _guard_of_table(model)
    return TenantGuard(model, alias)


def _unpickle_guard(label: str, alias: str) -> TenantGuard:
    return guard_of(apps.get_model(label), alias)


@cache
def _keys_to_tenant_rows(model: type[models.Model]) -> tuple[models.ForeignKey[Any, Any], ...]:
    """The foreign keys of `model` that point at rows of tenants."""
    return tuple(
        field
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and issubclass(field.remote_field.model, TenantModel)
    )


class PlatformRawQuerySet(RawQuerySet):
    """The result of raw(): runs in the platform scope only, for its SQL cannot be confined."""

    def iterator(self) -> Iterator[Any]:
        _require_platform(self.model)
        yield from super().iterator()

    def using(self, alias: str | None) -> PlatformRawQuerySet:
        query = self.query.chain(using=alias)
        return type(self)(
            self.raw_query,
            model=self.model,
            query=query,
            params=self.params,
            translations=self.translations,
            using=alias,
        )


def _require_platform(model: type[models.Model]) -> None:
    scope = _scope.get()
    if scope is None:
        raise NoTenantScope(f"{model._meta.label}.raw() while no scope is open.")
    if scope is not PLATFORM:
        raise UnguardedQuery(
            f"{model._meta.label}.raw() cannot be confined to a tenant; use the ORM or platform_scope()."
        )


class TenantInsertQuery(sql.InsertQuery):
    """INSERT whose ON CONFLICT DO UPDATE changes rows of the open scope's tenant only."""

    def get_compiler(self, *args: Any, **kwargs: Any) -> sql.compiler.SQLInsertCompiler:
        compiler = super().get_compiler(*args, **kwargs)
        scope = _scope.get()
        if self.on_conflict is not OnConflict.UPDATE or scope is PLATFORM:
            return compiler
        ops = compiler.connection.ops
        suffix = ops.on_conflict_suffix_sql(
            self.fields,
            self.on_conflict,
            (f.column for f in self.update_fields),
            (f.column for f in self.unique_fields),
        )
        opts = self.get_meta()
        tenant_column = f"{ops.quote_name(opts.db_table)}.{ops.quote_name(opts.get_field('tenant').column)}"
        original = compiler.as_sql

        def as_sql() -> list[tuple[str, tuple[Any, ...]]]:
            confined = []
            for statement, params in original():
                head, found, tail = statement.rpartition(suffix)
                if not found:
                    raise UnguardedQuery("This database's ON CONFLICT clause is not known to the tenant guard.")
                # An int, so safe as a literal; a parameter would have to be slipped in between those of the values.
                confined.append((f"{head}{suffix} WHERE {tenant_column} = {scope:d}{tail}", params))
            return confined

        compiler.as_sql = as_sql
        return compiler


class TenantQuerySet(models.QuerySet[Row]):
    """QuerySet confined to the tenant of the scope that is open when it runs. Subclass it for a model's queries."""

    def __init__(
        self,
        model: type[Row] | None = None,
        query: sql.Query | None = None,
        using: str | None = None,
        hints: dict[str, models.Model] | None = None,
    ) -> None:
        if query is None and model is not None:
            query = sql.Query(model)
            query.get_initial_alias()
            query.where.children.append(_guard_of_table(model))
        super().__init__(model=model, query=query, using=using, hints=hints)

    def raw(
        self,
        raw_query: str,
        params: Any = (),
        translations: dict[str, str] | None = None,
        using: str | None = None,
    ) -> RawQuerySet[Any]:
        """As Django's, in the platform scope only."""
        _require_platform(self.model)
        queryset = PlatformRawQuerySet(
            raw_query, model=self.model, params=params, translations=translations, using=using or self.db
        )
        queryset._prefetch_related_lookups = self._prefetch_related_lookups[:]
        return queryset

    def update(self, **kwargs: Any) -> int:
        """As Django's. CrossTenantWrite for the tenant itself and for a reference to another tenant's row."""
        if "tenant" in kwargs or "tenant_id" in kwargs:
            raise CrossTenantWrite(f"{self.model._meta.label}: a row never changes its tenant.")
        scope = _scope.get()
        if type(scope) is int:
            for name, value in kwargs.items():
                if isinstance(value, TenantModel) and value.tenant_id != scope:
                    raise _foreign_reference(self.model, name, value, scope)
        return super().update(**kwargs)

    def bulk_create(
        self,
        objs: Iterable[Row],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Sequence[str] | None = None,
        unique_fields: Sequence[str] | None = None,
    ) -> list[Row]:
        """As Django's; fills the tenant of each row. An upsert that meets another tenant's row is CrossTenantWrite."""
        if update_fields and not {"tenant", "tenant_id"}.isdisjoint(update_fields):
            raise CrossTenantWrite(f"{self.model._meta.label}: a row never changes its tenant.")
        return super().bulk_create(
            objs,
            batch_size=batch_size,
            ignore_conflicts=ignore_conflicts,
            update_conflicts=update_conflicts,
            update_fields=update_fields,
            unique_fields=unique_fields,
        )

    def bulk_update(self, objs: Iterable[Row], fields: Sequence[str], batch_size: int | None = None) -> int:
        """As Django's. CrossTenantWrite when one of the rows, or a row it points at, is another tenant's."""
        if not {"tenant", "tenant_id"}.isdisjoint(fields):
            raise CrossTenantWrite(f"{self.model._meta.label}: a row never changes its tenant.")
        objs = tuple(objs)
        scope = _scope.get()
        for obj in objs:
            obj._confine(scope)
        return super().bulk_update(objs, fields, batch_size=batch_size)

    def _prepare_for_bulk_create(self, objs: list[Row]) -> None:
        scope = _scope.get()
        for obj in objs:
            obj._confine(scope)
        super()._prepare_for_bulk_create(objs)

    def _insert(
        self,
        objs: Sequence[Row],
        fields: Sequence[models.Field[Any, Any]],
        returning_fields: Sequence[models.Field[Any, Any]] | None = None,
        raw: bool = False,
        using: str | None = None,
        on_conflict: OnConflict | None = None,
        update_fields: Sequence[models.Field[Any, Any]] | None = None,
        unique_fields: Sequence[models.Field[Any, Any]] | None = None,
    ) -> list[tuple[Any, ...]]:
        """The one gate of every INSERT: save(), bulk_create() and fixtures all end here."""
        scope = _scope.get()
        for obj in objs:
            if obj.tenant_id != scope or scope is None:
                obj._confine(scope)
        if self.model.verify_foreign_ids:
            self._verify_foreign_ids(objs)
        self._for_write = True
        query = TenantInsertQuery(
            self.model, on_conflict=on_conflict, update_fields=update_fields, unique_fields=unique_fields
        )
        query.insert_values(fields, objs, raw=raw)
        rows = query.get_compiler(using=using or self.db).execute_sql(returning_fields)
        if on_conflict is OnConflict.UPDATE and returning_fields and scope is not PLATFORM:
            # The condition left out rows of other tenants: no id comes back for them, or None for a single one.
            if len(rows) != len(objs) or rows[0] is None:
                raise CrossTenantWrite(f"{self.model._meta.label}: an upsert met a row of another tenant.")
        return rows

    _insert.alters_data = True
    _insert.queryset_only = False

    def _verify_foreign_ids(self, objs: Sequence[Row]) -> None:
        """CrossTenantWrite when a foreign key that was set as a bare number names no row of the same tenant."""
        for field in _keys_to_tenant_rows(self.model):
            wanted: dict[int, set[Any]] = {}
            for obj in objs:
                value = getattr(obj, field.attname)
                if value is not None and not field.is_cached(obj):
                    wanted.setdefault(obj.tenant_id, set()).add(value)
            for tenant_id, values in wanted.items():
                rows = field.remote_field.model._base_manager.using(self.db)
                target = field.target_field.attname
                if rows.filter(tenant_id=tenant_id, **{f"{target}__in": values}).count() != len(values):
                    raise CrossTenantWrite(
                        f"{self.model._meta.label}.{field.name} would point at a row of another tenant."
                    )

    def _update(self, values: Sequence[tuple[models.Field[Any, Any], Any, Any]]) -> int:
        scope = _scope.get()
        if type(scope) is int:
            for field, _, value in values:
                if field.name == "tenant" and value != scope:
                    raise CrossTenantWrite(f"{self.model._meta.label}: a row never changes its tenant.")
        return super()._update(values)

    _update.alters_data = True
    _update.queryset_only = False


_GuardedManager = models.Manager.from_queryset(TenantQuerySet)


class TenantManager(_GuardedManager):
    """Manager of a TenantModel. For queries of one's own: `TenantManager.from_queryset(ThingQuerySet)()`."""

    @classmethod
    def from_queryset(
        cls, queryset_class: type[models.QuerySet[Any]], class_name: str | None = None
    ) -> type[TenantManager]:
        """As Django's; the queryset class must be a TenantQuerySet, or the rows would be unguarded (TypeError)."""
        if not issubclass(queryset_class, TenantQuerySet):
            raise TypeError(f"{queryset_class.__qualname__} must be a TenantQuerySet.")
        return super().from_queryset(queryset_class, class_name)


def tenant_foreign_key(*, db_index: bool = True, db_constraint: bool = True) -> models.ForeignKey[Any, Any]:
    """The `tenant` column, for models that override the one of TenantModel.

    Tables with very many inserts turn off `db_index` when their own indexes serve every query, and `db_constraint`,
    because each inserted row would lock the one row of its tenant in share mode. Hidden from the tenant's side, so that
    a query on Tenant cannot join into the rows of tenants.
    """
    return models.ForeignKey(
        "tenants.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        editable=False,
        db_index=db_index,
        db_constraint=db_constraint,
    )


class TenantModel(models.Model):
    """A row that belongs to one tenant, for ever. `tenant` is filled from the open scope when it is first written."""

    # Whether INSERT looks up, in one query per foreign key, that numbers set without their instance are rows of this
    # tenant. For tables written seldom and from bare ids, as the rows between two ends of a many-to-many relation are.
    verify_foreign_ids: ClassVar[bool] = False

    tenant = tenant_foreign_key()

    objects: TenantManager = TenantManager()

    class Meta:
        abstract = True
        # Forward references, cascades and prefetches use the base manager: it must be guarded too.
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._confine(_scope.get())
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        # Django deletes a single instance by its primary key alone, past the manager.
        self._confine(_scope.get())
        return super().delete(*args, **kwargs)

    def _confine(self, scope: Scope) -> None:
        """Fill `tenant` from `scope`. CrossTenantWrite when this row, or one it points at, is another tenant's."""
        tenant_id = self.tenant_id
        if scope is None:
            raise NoTenantScope(f"{self._meta.label} written while no tenant scope is open.")
        if tenant_id is None:
            if scope is PLATFORM:
                raise NoTenantScope(
                    f"{self._meta.label}: the platform scope cannot say whose row this is; set its tenant."
                )
            tenant_id = self.tenant_id = scope
        elif tenant_id != scope and scope is not PLATFORM:
            raise CrossTenantWrite(f"{self._meta.label} of tenant {tenant_id} written in the scope of tenant {scope}.")
        related = self._state.fields_cache
        if related:
            for field in _keys_to_tenant_rows(type(self)):
                row = related.get(field.name)
                if row is not None and row.tenant_id != tenant_id and row.tenant_id is not None:
                    raise _foreign_reference(type(self), field.name, row, tenant_id)

    def _fill_tenant(self, exclude: Iterable[str] | None) -> set[str]:
        """Fill `tenant` if the scope knows it; return `exclude` without it, so that unique (tenant, …) is validated."""
        scope = _scope.get()
        if self.tenant_id is None:
            if scope is None:
                raise NoTenantScope(f"{self._meta.label} validated while no tenant scope is open.")
            self.tenant_id = None if scope is PLATFORM else scope
        excluded = set(exclude or ())
        if self.tenant_id is not None:
            excluded.discard("tenant")
        return excluded

    def clean_fields(self, exclude: Iterable[str] | None = None) -> None:
        self._fill_tenant(exclude)
        # The tenant comes from the scope and is checked on save; looking it up in the database would add a query.
        super().clean_fields(exclude={*(exclude or ()), "tenant"})

    def validate_unique(self, exclude: Iterable[str] | None = None) -> None:
        super().validate_unique(exclude=self._fill_tenant(exclude))

    def validate_constraints(self, exclude: Iterable[str] | None = None) -> None:
        super().validate_constraints(exclude=self._fill_tenant(exclude))

    def unique_error_message(self, model_class: type[models.Model], unique_check: Sequence[str]) -> ValidationError:
        # Whoever reads "with this Tenant and Slug already exists" has only one tenant and never chose it.
        shown = tuple(name for name in unique_check if name != "tenant")
        return super().unique_error_message(model_class, shown or tuple(unique_check))

    def _do_update(self, base_qs: models.QuerySet[Self], *args: Any, **kwargs: Any) -> Any:
        # In the platform scope the guard does not confine the UPDATE; a row must not change hands there either.
        if _scope.get() is PLATFORM:
            base_qs = base_qs.filter(tenant_id=self.tenant_id)
        return super()._do_update(base_qs, *args, **kwargs)


def _foreign_reference(model: type[models.Model], name: str, row: TenantModel, scope: Scope) -> CrossTenantWrite:
    return CrossTenantWrite(
        f"{model._meta.label}.{name} of tenant {scope} would point at a row of tenant {row.tenant_id}."
    )


__all__ = [
    "TenantGuard",
    "TenantInsertQuery",
    "TenantManager",
    "TenantModel",
    "TenantQuerySet",
    "guard_of",
    "tenant_foreign_key",
]
