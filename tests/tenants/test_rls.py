"""The second wall, on PostgreSQL: what raw SQL sees and may write, and that `csms.tenant` follows the scope.

Also through everything that takes settings back: rollbacks, savepoints, failed transactions, the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, ProgrammingError, connection, connections, models, transaction
from django.db.migrations.state import ModelState, ProjectState

from tenants import rls
from tenants.models import ApiKey, Membership, MembershipSite, Site
from tenants.scope import PLATFORM, platform_scope, tenant_scope

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]

ALIAS = "mirrored"


@pytest.fixture(autouse=True)
def _needs_postgresql(db: None) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("row-level security is PostgreSQL's; this run uses another database")


@pytest.fixture
def sites(tenants: Any) -> tuple[Site, Site]:
    """A site of tenant a and one of tenant b."""
    made = []
    for tenant in tenants:
        with tenant_scope(tenant):
            made.append(Site.objects.create(slug=tenant.slug, name="Site"))
    return made[0], made[1]


def _execute(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]


class TestPolicies:
    def test_raw_sql_sees_the_rows_of_the_scope_alone(self, tenants: Any, sites: Any) -> None:
        select = "SELECT slug FROM tenants_site ORDER BY slug"
        assert _execute(select) == []
        with tenant_scope(tenants.tenant_a):
            assert _execute(select) == [("alpha",)]
        with tenant_scope(tenants.tenant_b):
            assert _execute(select) == [("beta",)]
        with platform_scope():
            assert _execute(select) == [("alpha",), ("beta",)]
        assert _execute(select) == []

    @pytest.mark.parametrize(
        "write",
        ["UPDATE tenants_site SET name = 'x' WHERE slug = 'beta'", "DELETE FROM tenants_site WHERE slug = 'beta'"],
    )
    def test_raw_writes_do_not_reach_the_rows_of_others(self, tenants: Any, sites: Any, write: str) -> None:
        assert _execute(write) == [(0,)]
        with tenant_scope(tenants.tenant_a):
            assert _execute(write) == [(0,)]
        with tenant_scope(tenants.tenant_b):
            assert _execute(write) == [(1,)]

    def test_raw_insert_and_change_of_tenant_are_refused(self, tenants: Any, sites: Any) -> None:
        insert = (
            "INSERT INTO tenants_site (tenant_id, slug, name, address, time_zone) VALUES (%s, 'new', 'New', '', '')"
        )
        move = "UPDATE tenants_site SET tenant_id = %s"
        other = [tenants.tenant_b.pk]
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            _execute(insert, other)
        with tenant_scope(tenants.tenant_a):
            for statement in (insert, move):
                with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                    _execute(statement, other)
        with tenant_scope(tenants.tenant_b):
            assert _execute(insert, other) == [(1,)]

    def test_upsert_onto_a_row_of_another_tenant_is_refused(self, tenants: Any, sites: Any) -> None:
        upsert = (
            "INSERT INTO tenants_site (id, tenant_id, slug, name, address, time_zone) "
            "VALUES (%s, %s, 'x', 'x', '', '') ON CONFLICT (id) DO UPDATE SET name = 'x'"
        )
        with (
            tenant_scope(tenants.tenant_a),
            pytest.raises(ProgrammingError, match="row-level security"),
            transaction.atomic(),
        ):
            _execute(upsert, [sites[1].pk, tenants.tenant_a.pk])

    def test_joined_tables_are_confined_where_the_managers_do_not_look(self, tenants: Any, sites: Any) -> None:
        """A reference across tenants, made past the guard, shows nothing of the other tenant."""
        with tenant_scope(tenants.tenant_a):
            member = Membership.objects.create(user=User.objects.create(username="u"))
            _execute(
                "INSERT INTO tenants_membershipsite (tenant_id, membership_id, site_id) VALUES (%s, %s, %s)",
                [tenants.tenant_a.pk, member.pk, sites[1].pk],
            )
            assert MembershipSite.objects.count() == 1
            assert list(MembershipSite.objects.select_related("site")) == []
            assert not MembershipSite.objects.filter(site__slug="beta").exists()

    def test_key_is_found_by_its_prefix_without_any_scope(self, tenants: Any) -> None:
        from django.utils import timezone

        _, text = ApiKey.issue(tenants.tenant_a, "key", ["read"])
        key = ApiKey.authenticate(text, timezone.now())
        assert key is not None
        assert key.tenant == tenants.tenant_a

    def test_copy_out_is_confined(self, tenants: Any, sites: Any) -> None:
        with tenant_scope(tenants.tenant_a), connection.cursor() as cursor:
            with cursor.copy("COPY (SELECT slug FROM tenants_site) TO STDOUT") as copied:
                assert b"".join(copied) == b"alpha\n"

    def test_server_side_cursor_keeps_the_scope_in_which_it_was_opened(self, tenants: Any, sites: Any) -> None:
        with tenant_scope(tenants.tenant_a):
            Site.objects.bulk_create([Site(slug=f"s{number}", name="Site") for number in range(9)])
            iterator = Site.objects.iterator(chunk_size=2)
            first = next(iterator)
        with tenant_scope(tenants.tenant_b):
            assert Site.objects.count() == 1
            rest = list(iterator)
        assert {site.tenant_id for site in [first, *rest]} == {tenants.tenant_a.pk}
        assert len(rest) == 9

    def test_executemany_is_confined(self, tenants: Any, sites: Any) -> None:
        with tenant_scope(tenants.tenant_a), connection.cursor() as cursor:
            cursor.executemany("UPDATE tenants_site SET name = %s WHERE slug = %s", [("x", "alpha"), ("x", "beta")])
        with platform_scope():
            assert dict(Site.objects.values_list("slug", "name")) == {"alpha": "x", "beta": "Site"}


class TestOperation:
    def test_puts_the_table_behind_the_policy_and_takes_it_out_again(self) -> None:
        operation = rls.EnableRowLevelSecurity("Site")
        state = ProjectState()
        state.add_model(
            ModelState("tenants", "Site", [("id", models.BigAutoField(primary_key=True)), *_tenant_column()])
        )
        secured = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'tenants_site'::regclass"
        policies = "SELECT count(*) FROM pg_policy WHERE polrelid = 'tenants_site'::regclass"
        with connection.schema_editor() as editor:
            operation.database_backwards("tenants", editor, state, state)
        assert _execute(secured) == [(False, False)]
        assert _execute(policies) == [(0,)]
        with connection.schema_editor() as editor:
            operation.database_forwards("tenants", editor, state, state)
        assert _execute(secured) == [(True, True)]
        assert _execute(policies) == [(1,)]

    def test_quotes_names(self) -> None:
        assert rls.enable_statements('a"b')[0] == 'ALTER TABLE "a""b" ENABLE ROW LEVEL SECURITY'


def _tenant_column() -> list[tuple[str, models.Field[Any, Any]]]:
    return [("tenant", models.BigIntegerField(db_column="tenant_id"))]


@contextmanager
def _connected(**options: Any) -> Iterator[Any]:
    """A connection of its own to the test database, as `connections["mirrored"]`."""
    settings = connection.settings_dict | {"OPTIONS": options}
    wrapper = type(connections["default"])(settings, ALIAS)
    connections[ALIAS] = wrapper
    try:
        yield wrapper
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections[ALIAS]


@pytest.fixture
def mirrored() -> Iterator[Any]:
    with _connected() as wrapper:
        yield wrapper


def _setting(wrapper: Any) -> str:
    """What the server believes the scope to be."""
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT current_setting('csms.tenant', true)")
        return str(cursor.fetchone()[0])


class _Undo(Exception):
    pass


@contextmanager
def _rolled_back() -> Iterator[None]:
    """A transaction, or a savepoint inside one, that is rolled back at the end of the block."""
    try:
        with transaction.atomic(using=ALIAS):
            yield
            raise _Undo
    except _Undo:
        pass


def _fail(wrapper: Any) -> None:
    _execute_in(wrapper, "SELECT 1 / 0")


def _execute_in(wrapper: Any, sql: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(sql)


class TestMirror:
    """`csms.tenant` is what the scope says whenever a statement runs. No rows needed."""

    def test_follows_the_scope(self, mirrored: Any) -> None:
        assert _setting(mirrored) == ""
        with tenant_scope(7):
            assert _setting(mirrored) == "7"
            with platform_scope():
                assert _setting(mirrored) == "platform"
            assert _setting(mirrored) == "7"
        assert _setting(mirrored) == ""

    def test_cursor_held_over_a_change_of_scope_follows(self, mirrored: Any) -> None:
        with mirrored.cursor() as cursor:
            seen = []
            for tenant_id in (7, 8):
                with tenant_scope(tenant_id):
                    cursor.execute("SELECT current_setting('csms.tenant', true)")
                    seen += cursor.fetchall()
        assert seen == [("7",), ("8",)]

    @pytest.mark.parametrize("scope_is_open_before", [False, True])
    def test_is_told_again_after_rollback(self, mirrored: Any, scope_is_open_before: bool) -> None:
        _setting(mirrored)
        with tenant_scope(7) if scope_is_open_before else nullcontext():
            with _rolled_back():
                # A statement first: what is told before a transaction begins survives it.
                _setting(mirrored)
                with tenant_scope(7), platform_scope():
                    assert _setting(mirrored) == "platform"
            with platform_scope():
                assert _setting(mirrored) == "platform"
            assert _setting(mirrored) == ("7" if scope_is_open_before else "")

    def test_is_told_again_after_rollback_to_savepoint(self, mirrored: Any) -> None:
        with transaction.atomic(using=ALIAS), platform_scope():
            assert _setting(mirrored) == "platform"
            with tenant_scope(7):
                with _rolled_back():
                    with platform_scope():
                        assert _setting(mirrored) == "platform"
                    assert _setting(mirrored) == "7"
                assert _setting(mirrored) == "7"
            assert _setting(mirrored) == "platform"
        assert _setting(mirrored) == ""

    def test_scopes_of_a_batch_each_in_a_savepoint(self, mirrored: Any) -> None:
        """The lanes' way: one transaction, a scope per tenant, a savepoint per call, some of which fail."""
        with transaction.atomic(using=ALIAS):
            for tenant_id in (7, 8, 7):
                with tenant_scope(tenant_id):
                    for failing in (False, True, False):
                        try:
                            with transaction.atomic(using=ALIAS):
                                assert _setting(mirrored) == str(tenant_id)
                                if failing:
                                    _fail(mirrored)
                        except DatabaseError:
                            pass
                        assert _setting(mirrored) == str(tenant_id)
        assert _setting(mirrored) == ""

    def test_scope_left_after_an_error_does_not_hinder_the_rollback(self, mirrored: Any) -> None:
        with transaction.atomic(using=ALIAS):
            with pytest.raises(DatabaseError), transaction.atomic(using=ALIAS), tenant_scope(7):
                _fail(mirrored)
            assert _setting(mirrored) == ""
        with pytest.raises(DatabaseError), transaction.atomic(using=ALIAS), tenant_scope(7):
            _fail(mirrored)
        assert _setting(mirrored) == ""

    def test_savepoint_rolled_back_by_hand(self, mirrored: Any) -> None:
        with transaction.atomic(using=ALIAS), platform_scope():
            _setting(mirrored)
            savepoint = transaction.savepoint(using=ALIAS)
            with tenant_scope(7):
                assert _setting(mirrored) == "7"
                transaction.savepoint_rollback(savepoint, using=ALIAS)
                assert _setting(mirrored) == "7"
            assert _setting(mirrored) == "platform"

    def test_rollback_sent_as_sql(self, mirrored: Any) -> None:
        with tenant_scope(7):
            _setting(mirrored)
        with mirrored.cursor() as cursor:
            cursor.execute("BEGIN")
            with tenant_scope(8):
                assert _setting(mirrored) == "8"
                cursor.execute("ROLLBACK")
                assert _setting(mirrored) == "8"

    def test_commit_of_a_failed_transaction_is_a_rollback(self, mirrored: Any) -> None:
        with tenant_scope(7):
            with transaction.atomic(using=ALIAS):
                assert _setting(mirrored) == "7"
                with platform_scope(), pytest.raises(DatabaseError):
                    _fail(mirrored)
            with platform_scope():
                assert _setting(mirrored) == "platform"
            assert _setting(mirrored) == "7"

    def test_failing_commit_is_a_rollback(self, mirrored: Any) -> None:
        _execute_in(mirrored, "CREATE TEMPORARY TABLE a (id int PRIMARY KEY)")
        _execute_in(mirrored, "CREATE TEMPORARY TABLE b (a_id int REFERENCES a DEFERRABLE INITIALLY DEFERRED)")

        mirrored.set_autocommit(False)
        with tenant_scope(7):
            _execute_in(mirrored, "INSERT INTO b VALUES (1)")
            with platform_scope():
                assert _setting(mirrored) == "platform"
                with pytest.raises(DatabaseError, match="foreign key"):
                    mirrored.commit()
                assert _setting(mirrored) == "platform"
            assert _setting(mirrored) == "7"

    def test_is_told_again_after_reconnecting(self, mirrored: Any) -> None:
        with tenant_scope(7):
            assert _setting(mirrored) == "7"
            mirrored.close()
            assert _setting(mirrored) == "7"

    def test_lost_connection_is_reported_as_such(self, mirrored: Any) -> None:
        from django.db import OperationalError

        _setting(mirrored)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [mirrored.connection.info.backend_pid])
        with tenant_scope(7):
            with pytest.raises(OperationalError):
                _setting(mirrored)
            mirrored.close()
            assert _setting(mirrored) == "7"

    def test_unchanged_scope_sends_nothing(self, mirrored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from tenants.postgresql import base

        told: list[object] = []
        original = base.setting_value
        monkeypatch.setattr(base, "setting_value", lambda scope: told.append(scope) or original(scope))
        for _ in range(3):
            _setting(mirrored)
        with tenant_scope(7):
            with transaction.atomic(using=ALIAS):
                for _ in range(3):
                    with transaction.atomic(using=ALIAS), tenant_scope(7):
                        _setting(mirrored)
            _setting(mirrored)
        with platform_scope():
            _setting(mirrored)
        assert told == [None, 7, PLATFORM]

    @pytest.mark.parametrize("server_side_binding", [False, True])
    def test_named_cursors_and_server_side_binding(self, server_side_binding: bool) -> None:
        with _connected(server_side_binding=server_side_binding) as wrapper:
            assert _setting(wrapper) == ""
            with tenant_scope(7):
                assert _setting(wrapper) == "7"
                with transaction.atomic(using=ALIAS), wrapper.chunked_cursor() as cursor:
                    with tenant_scope(7), platform_scope():
                        cursor.execute("SELECT current_setting('csms.tenant', true) FROM generate_series(1, 3)")
                        assert cursor.fetchall() == [("platform",)] * 3

    def test_stream_and_copy(self, mirrored: Any) -> None:
        query = "SELECT current_setting('csms.tenant', true)"
        with mirrored.cursor() as cursor:
            with tenant_scope(7):
                assert list(cursor.cursor.stream(query)) == [("7",)]
            with tenant_scope(8), cursor.copy(f"COPY ({query}) TO STDOUT") as copied:
                assert b"".join(copied) == b"8\n"

    def test_other_cursor_classes_are_refused(self) -> None:
        import psycopg

        with (
            pytest.raises(ImproperlyConfigured, match="cursor_factory"),
            _connected(cursor_factory=psycopg.Cursor) as wrapper,
        ):
            wrapper.ensure_connection()


class TestPool:
    """Connections change hands: what one thread left is nothing to the next."""

    @pytest.fixture
    def pooled(self) -> Iterator[Any]:
        with _connected(pool={"min_size": 1, "max_size": 1, "timeout": 5}) as wrapper:
            yield wrapper

    def test_next_user_of_a_connection_has_a_scope_of_its_own(self, pooled: Any) -> None:
        with tenant_scope(7):
            assert _setting(pooled) == "7"
            first = pooled.connection
            pooled.close()
        seen: list[Any] = []

        def another() -> None:
            wrapper = type(connections["default"])(pooled.settings_dict, ALIAS)
            with tenant_scope(8):
                seen.append(_setting(wrapper))
            seen.append(_setting(wrapper))
            seen.append(wrapper.connection)
            wrapper.close()

        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        assert seen == ["8", "", first]
        with tenant_scope(7):
            assert _setting(pooled) == "7"

    def test_connection_returned_inside_a_transaction_is_told_again(self, pooled: Any) -> None:
        with tenant_scope(7):
            _setting(pooled)
            first = pooled.connection
            pooled.set_autocommit(False)
            assert _setting(pooled) == "7"
            with platform_scope():
                assert _setting(pooled) == "platform"
            # The pool rolls back: the server is at 7 again, and must not believe to be asked for the platform.
            pooled.close()
        with platform_scope():
            assert _setting(pooled) == "platform"
            assert pooled.connection is first
