"""Statements that travel together: what they give, what an error leaves behind, and that a lost line ends the wait."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.utils import NotSupportedError, ProgrammingError

from stations.models import IdTag
from tenants.postgresql.exchange import Statement
from tenants.scope import tenant_scope
from tests.conftest import Tenants

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

ECHO = Statement("SELECT %s::text, %s::timestamptz, %s::bigint + 1")
DIVIDE = Statement("SELECT 1 / %s::int")
ADD = Statement(
    "INSERT INTO stations_idtag (tenant_id, id_tag, key, description, driver, parent_id_tag, groups, blocked,"
    " created_at, updated_at) VALUES (%s, %s, upper(%s), '', '', '', '[]', false, now(), now())"
)


def backend() -> int:
    return int(connection.connection.info.backend_pid)


def elsewhere(query: str) -> None:
    """Run something on a connection of its own."""
    with psycopg.connect(connection.connection.info.dsn, password=connection.settings_dict["PASSWORD"]) as other:
        other.autocommit = True
        other.execute(query)


def test_rows_come_in_the_order_of_the_statements_and_with_their_types() -> None:
    at = datetime(2026, 5, 1, 12, 0, 0, 123456, UTC)
    first, second = connection.ask((ECHO, ("ä'\"\\", at.isoformat(), "41")), (ECHO, (None, None, None)))
    assert first == [("ä'\"\\", at, 42)]
    assert second == [(None, None, None)]


def test_statement_used_twice_in_one_exchange_is_prepared_once() -> None:
    connection.ensure_connection()
    assert connection.ask((ECHO, ("a", None, "1")), (ECHO, ("b", None, "2"))) == [[("a", None, 2)], [("b", None, 3)]]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE starts_with(name, %s)", [f"{ECHO.name}_"])
        assert cursor.fetchone() == (1,)


def test_error_is_djangos_and_nothing_after_it_is_carried_out(tenants: Tenants) -> None:
    tenant = str(tenants.tenant_a.pk)
    with tenant_scope(tenants.tenant_a):
        with pytest.raises(IntegrityError), transaction.atomic():
            connection.tell((ADD, (tenant, "ONE", "ONE")), (ADD, (tenant, "ONE", "ONE")), (ADD, (tenant, "TWO", "TWO")))
        assert IdTag.objects.count() == 0
        connection.tell((ADD, (tenant, "ONE", "ONE")))
        assert list(IdTag.objects.values_list("id_tag", flat=True)) == ["ONE"]


def test_what_is_told_leaves_with_the_commit(tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_a):
        with connection.with_commit(), transaction.atomic():
            connection.tell((ADD, (str(tenants.tenant_a.pk), "ONE", "ONE")))
            # It waits for the COMMIT.
            assert IdTag.objects.count() == 0
        assert IdTag.objects.count() == 1
        assert connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_error_at_the_commit_rolls_the_transaction_back(tenants: Tenants) -> None:
    tenant = str(tenants.tenant_a.pk)
    with tenant_scope(tenants.tenant_a):
        with pytest.raises(IntegrityError):  # noqa: PT012 - the end of the inner block raises it
            with connection.with_commit(), transaction.atomic():
                IdTag.objects.create(id_tag="FIRST")
                connection.tell((ADD, (tenant, "ONE", "ONE")), (ADD, (tenant, "ONE", "ONE")))
        assert IdTag.objects.count() == 0


def test_block_that_fails_takes_back_what_was_not_told_yet(tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_a):
        with suppress(ZeroDivisionError), connection.with_commit(), transaction.atomic():
            connection.tell((ADD, (str(tenants.tenant_a.pk), "ONE", "ONE")))
            raise ZeroDivisionError
        assert IdTag.objects.count() == 0
        with transaction.atomic():
            IdTag.objects.create(id_tag="TWO")
        assert list(IdTag.objects.values_list("id_tag", flat=True)) == ["TWO"]


def test_scope_travels_along_and_is_told_again_after_a_rollback(tenants: Tenants) -> None:
    count = Statement("SELECT count(*) FROM stations_idtag")
    for tenant in (tenants.tenant_a, tenants.tenant_b):
        with tenant_scope(tenant):
            IdTag.objects.create(id_tag="ONE")
    with tenant_scope(tenants.tenant_a):
        with suppress(ZeroDivisionError), transaction.atomic():
            assert connection.ask((count, ())) == [[(1,)]]
            raise ZeroDivisionError
        assert connection.ask((count, ())) == [[(1,)]]
    # No scope, no rows.
    assert connection.ask((count, ())) == [[(0,)]]


def test_connection_that_was_cut_raises_instead_of_waiting() -> None:
    connection.ensure_connection()
    elsewhere(f"SELECT pg_terminate_backend({backend()})")
    with pytest.raises(OperationalError):
        connection.ask((ECHO, ("a", None, "1")))
    connection.close()
    assert connection.ask((ECHO, ("a", None, "1"))) == [[("a", None, 2)]]


def test_lost_prepared_statement_fails_once() -> None:
    connection.ask((ECHO, ("a", None, "1")))
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    with pytest.raises((NotSupportedError, OperationalError, ProgrammingError)):
        connection.ask((ECHO, ("a", None, "1")))
    assert connection.ask((ECHO, ("a", None, "1"))) == [[("a", None, 2)]]


def test_error_leaves_the_prepared_statements_as_they_are() -> None:
    assert connection.ask((DIVIDE, ("1",))) == [[(1,)]]
    for _ in range(3):
        with pytest.raises(Exception, match="division by zero"):
            connection.ask((DIVIDE, ("0",)), (ECHO, ("a", None, "1")))
    assert connection.ask((DIVIDE, ("1",)), (ECHO, ("a", None, "1"))) == [[(1,)], [("a", None, 2)]]


def test_texts_larger_than_every_buffer_go_both_ways() -> None:
    text = "x" * 5_000_000
    answers = connection.ask(*[(ECHO, (text, None, str(n))) for n in range(4)])
    assert [(row[0] == text, row[2]) for (row,) in answers] == [(True, n + 1) for n in range(4)]
