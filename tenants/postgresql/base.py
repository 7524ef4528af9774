"""PostgreSQL backend that mirrors the tenant scope into the session setting `csms.tenant`, which row-level security
reads.

Context: policies (tenants/rls.py) must know the scope of every statement, while connections outlive scopes and change
hands in the pool, and PostgreSQL takes a setting back when the transaction or savepoint in which it was made is rolled
back.
Choice: the cursor compares the scope with what its connection was last told and, when they differ, sends `SET
csms.tenant` just before the statement. What was told is kept on the psycopg connection itself, so it moves through the
pool with it. It is forgotten, and so told again, whenever it may have been taken back: after ROLLBACK, ROLLBACK TO
SAVEPOINT, a COMMIT that the server turned into a rollback, and when a connection goes back to the pool inside a
transaction.
Consequence: an unchanged scope costs one comparison and no round trip. Session settings need session pooling: this
works with Django's psycopg pool and with PgBouncer in session mode, not in transaction mode.

Values of the setting: '' no scope, 'platform', or the tenant's id.
"""

# The stubs leave out the methods of cursors and connections that are overridden here.
# mypy: disable-error-code="attr-defined, call-arg, misc"

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import register_tzloader
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult

from tenants.postgresql.breaker import CONNECT_TIMEOUT_SECONDS, Breaker
from tenants.postgresql.exchange import Step, exchange, rows_of
from tenants.scope import PLATFORM, Scope, _scope

# What a connection was last told when that is not known: equal to no scope.
UNKNOWN: Final = object()


def setting_value(scope: Scope) -> str:
    """The text of `csms.tenant` for a scope."""
    if scope is None:
        return ""
    return "platform" if scope is PLATFORM else str(int(scope))


def set_scope(scope: Scope) -> bytes:
    """The command that tells the server a scope."""
    return b"SET csms.tenant TO '%s'" % setting_value(scope).encode()


def mirror_scope(connection: psycopg.Connection[Any]) -> None:
    """Tell the server the open scope, unless it knows."""
    scope = _scope.get()
    if connection.__dict__.get("csms_scope", UNKNOWN) == scope:
        return
    pgconn = connection.pgconn
    if pgconn.transaction_status == TransactionStatus.INERROR:
        return  # only a rollback can follow; it must not fail because the scope was left before it
    with connection.lock:
        # Straight to libpq: outside a transaction psycopg would first open one, whose rollback would take the setting
        # back.
        result = pgconn.exec_(set_scope(scope))
    if result.status != ExecStatus.COMMAND_OK:
        connection.__dict__["csms_scope"] = UNKNOWN
        if pgconn.status == ConnStatus.BAD:
            return  # the statement itself will report the lost connection, as Django expects it
        raise psycopg.errors.error_from_result(result)
    connection.__dict__["csms_scope"] = scope


def forget_scope(connection: psycopg.Connection[Any] | None) -> None:
    """Have the next statement tell the server the scope again."""
    if connection is not None:
        connection.__dict__["csms_scope"] = UNKNOWN


class ScopeMirror:
    """Cursor part: mirrors the scope before whatever sends SQL, and notices rollbacks sent as SQL."""

    connection: psycopg.Connection[Any]
    pgresult: Any

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        mirror_scope(self.connection)
        result = super().execute(*args, **kwargs)
        pgresult = self.pgresult
        # The tag of ROLLBACK, of ROLLBACK TO SAVEPOINT, and of a COMMIT of a failed transaction.
        if pgresult is not None and pgresult.command_status == b"ROLLBACK":
            forget_scope(self.connection)
        return result

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        mirror_scope(self.connection)
        return super().executemany(*args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        mirror_scope(self.connection)
        yield from super().stream(*args, **kwargs)

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        mirror_scope(self.connection)
        return super().copy(*args, **kwargs)


class Cursor(ScopeMirror, base.Cursor):
    pass


class ServerBindingCursor(ScopeMirror, base.ServerBindingCursor):
    pass


class ServerSideCursor(ScopeMirror, base.ServerSideCursor):
    pass


class ServerBindingServerSideCursor(ScopeMirror, psycopg.ServerCursor[Any]):
    pass


CURSOR_FACTORIES = {base.Cursor: Cursor, base.ServerBindingCursor: ServerBindingCursor}


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's, with cursors that mirror the scope, and constant statements that travel together (exchange.py)."""

    _breakers: ClassVar[dict[str, Breaker]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._with_commit = False
        self._untold: list[Step] = []

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        factory = CURSOR_FACTORIES.get(params["cursor_factory"])
        if factory is None:
            raise ImproperlyConfigured("OPTIONS['cursor_factory'] cannot be set: cursors must mirror the tenant scope.")
        params["cursor_factory"] = factory
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any]
        if self.pool is None:
            connection = super().get_new_connection(conn_params)
        else:
            connection = self._from_pool()
        connection.server_cursor_factory = ServerBindingServerSideCursor
        return connection

    def _from_pool(self) -> psycopg.Connection[Any]:
        """As Django's, by way of the breaker."""
        level = self.settings_dict["OPTIONS"].get("isolation_level")
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED if level is None else psycopg.IsolationLevel(level)
        connection = self.breaker.check_out(lambda: self.pool)
        if level is not None:
            connection.isolation_level = self.isolation_level
        return connection

    @property
    def breaker(self) -> Breaker:
        """The one of this process for this database."""
        if self.alias not in self._breakers:
            self._breakers.setdefault(self.alias, Breaker(self._connect_directly, self._end_pool))
        return self._breakers[self.alias]

    def _connect_directly(self) -> psycopg.Connection[Any]:
        params = self.get_connection_params()
        return psycopg.connect(**params | {"connect_timeout": CONNECT_TIMEOUT_SECONDS})

    def _end_pool(self) -> None:
        """As close_pool, without waiting for those who are connecting, and without making a pool to close it."""
        pool = self._connection_pools.pop(self.alias, None)
        if pool is not None:
            pool.close(timeout=0)

    def create_cursor(self, name: str | None = None) -> Any:
        if name is None or self.settings_dict["OPTIONS"].get("server_side_binding") is True:
            return super().create_cursor(name)
        # As Django does it, with our class.
        connection = self.connection
        cursor = ServerSideCursor(connection, name=name, scrollable=False, withhold=connection.autocommit)
        if self.timezone != connection.adapters.get_loader(base.TIMESTAMPTZ_OID, Format.TEXT).timezone:
            register_tzloader(self.timezone, cursor)
        return cursor

    def ask(self, *steps: Step) -> list[list[tuple[Any, ...]]]:
        """The rows of constant statements, in one round trip. What is sent later waits for them, COMMIT as well."""
        results = self._exchange(steps)
        return [rows_of(self.connection, result) for result in results]

    def tell(self, *steps: Step) -> None:
        """Run constant statements that give no rows: now, or inside `with_commit` together with the COMMIT."""
        if self._with_commit and self.in_atomic_block and not self.savepoint_ids:
            self._untold += steps
        else:
            self._exchange(steps)

    @contextmanager
    def with_commit(self) -> Iterator[None]:
        """Let what `tell` is given in this block leave with the COMMIT of the transaction that ends inside it.

        Until then its errors are not known; they are raised by the COMMIT, and the transaction is rolled back.
        """
        self._with_commit = True
        try:
            yield
        finally:
            self._with_commit = False
            self._untold = []

    def _exchange(self, steps: Sequence[Step], *, commit: bool = False) -> list[PGresult]:
        self.ensure_connection()
        connection = self.connection
        before = []
        if connection.info.transaction_status == TransactionStatus.IDLE and not connection.autocommit:
            before.append(b"BEGIN")
        scope = _scope.get()
        if connection.__dict__.get("csms_scope", UNKNOWN) != scope:
            before.append(set_scope(scope))
        started = time.monotonic()
        with self.wrap_database_errors:
            # Told again after an error, which may take it back.
            forget_scope(connection)
            results = exchange(connection, steps, before=before, after=(b"COMMIT",) if commit else ())
            connection.__dict__["csms_scope"] = scope
        if self.queries_logged:
            seconds = f"{time.monotonic() - started:.3f}"
            self.queries_log.extend({"sql": statement.text, "time": seconds} for statement, _ in steps)
        return results

    def _commit(self) -> None:
        connection = self.connection
        if self._untold:
            steps, self._untold = self._untold, []
            # COMMIT after an error is not carried out, and one that was refused before it ends in a rollback.
            self._exchange(steps, commit=True)
            return
        committed = False
        try:
            # COMMIT of a failed transaction succeeds, and rolls back.
            sound = connection is None or connection.info.transaction_status != TransactionStatus.INERROR
            super()._commit()
            committed = sound
        finally:
            if not committed:
                forget_scope(connection)

    def _rollback(self) -> None:
        connection = self.connection
        self._untold = []
        try:
            super()._rollback()
        finally:
            forget_scope(connection)

    def _close(self) -> None:
        connection = self.connection
        # The pool rolls back what is unfinished; a connection that comes back idle still knows what it was told.
        if connection is not None and connection.info.transaction_status != TransactionStatus.IDLE:
            forget_scope(connection)
        super()._close()
