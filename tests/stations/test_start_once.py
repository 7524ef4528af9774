"""One StartTransaction in whatever words is one transaction: by look-up, and by a constraint of either database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models
from django.db import transaction as database_transaction

from stations import lane_sql
from stations.dispatch import Link
from stations.models import ChargePoint, MeterValue, Transaction
from stations.models.start_constraint import StartOnce
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.lane_calls import inbound, new_link, results
from tests.stations.rows import HOUR, MINUTE, NOW, new_charge_point, new_id_tag, start, stop, transaction

# The first as most charge points have it in their memory, and what they write when they send it again.
FIRST = "2026-03-01T11:59:59.600Z"
REPEATED = {
    "fraction cut": {"timestamp": "2026-03-01T11:59:59Z"},
    "fraction rounded": {"timestamp": "2026-03-01T12:00:00Z"},
    "more digits": {"timestamp": "2026-03-01T11:59:59.600499Z"},
    "almost a second later": {"timestamp": "2026-03-01T12:00:00.599Z"},
    "almost a second earlier": {"timestamp": "2026-03-01T11:59:58.601Z"},
    "tag in other case": {"id_tag": "tag-1"},
    "all of it": {"timestamp": "2026-03-01T13:00:00+01:00", "id_tag": "Tag-1", "meter_start": 1000.0},
}
ANOTHER = {
    "a second later": {"timestamp": "2026-03-01T12:00:00.600Z"},
    "a second earlier": {"timestamp": "2026-03-01T11:59:58.600Z"},
    "another tag": {"id_tag": "TAG-2"},
    "another connector": {"connector_id": 2},
    "another reading": {"meter_start": 1001},
}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag("TAG-1")
    new_id_tag("TAG-2")
    return new_charge_point()


@pytest.mark.parametrize("words", REPEATED.values(), ids=REPEATED)
class TestRepetition:
    def test_start_in_other_words_gets_the_same_transaction(
        self, charge_point: ChargePoint, words: dict[str, Any]
    ) -> None:
        first = start(charge_point, timestamp=FIRST)
        assert start(charge_point, **{"timestamp": FIRST, "now": NOW + MINUTE} | words) == first
        tx = Transaction.objects.get()
        assert (tx.started_at, tx.flags) == (datetime(2026, 3, 1, 11, 59, 59, 600_000, UTC), [])

    def test_whichever_comes_first(self, charge_point: ChargePoint, words: dict[str, Any]) -> None:
        first = start(charge_point, **{"timestamp": FIRST} | words)
        assert start(charge_point, timestamp=FIRST, now=NOW + MINUTE) == first
        assert Transaction.objects.count() == 1

    def test_after_its_stop_too(self, charge_point: ChargePoint, words: dict[str, Any]) -> None:
        first = start(charge_point, timestamp=FIRST)
        stop(charge_point, first.transaction_id)
        assert start(charge_point, **{"timestamp": FIRST, "now": NOW + 2 * HOUR} | words) == first
        assert not transaction(first.transaction_id).active

    def test_database_refuses_a_second_row(self, charge_point: ChargePoint, words: dict[str, Any]) -> None:
        row = transaction(start(charge_point, timestamp=FIRST).transaction_id)
        second = in_words(row, words)
        with pytest.raises(ValidationError, match="transaction_start_once"):
            second.validate_constraints()
        with pytest.raises(IntegrityError, match="transaction_start_once"), database_transaction.atomic():
            second.save(force_insert=True)
        assert Transaction.objects.count() == 1


@pytest.mark.parametrize("words", ANOTHER.values(), ids=ANOTHER)
class TestAnotherStart:
    def test_another_start_is_another_transaction(self, charge_point: ChargePoint, words: dict[str, Any]) -> None:
        first = start(charge_point, timestamp=FIRST)
        assert start(charge_point, **{"timestamp": FIRST} | words).transaction_id != first.transaction_id

    def test_database_takes_it(self, charge_point: ChargePoint, words: dict[str, Any]) -> None:
        row = transaction(start(charge_point, timestamp=FIRST).transaction_id)
        second = in_words(row, words)
        second.validate_constraints()
        second.save(force_insert=True)
        assert Transaction.objects.count() == 2


def in_words(row: Transaction, words: dict[str, Any]) -> Transaction:
    """A second row, as `row` would be had its StartTransaction been in these words."""
    second = Transaction.objects.get(pk=row.pk)
    second.pk = None
    second.connector_id = words.get("connector_id", row.connector_id)
    second.meter_start_wh = int(words.get("meter_start", row.meter_start_wh))
    second.id_tag = words.get("id_tag", row.id_tag)
    second.id_tag_key = second.id_tag.upper()
    if "timestamp" in words:
        second.started_at = datetime.fromisoformat(words["timestamp"])
    return second


class TestConstraint:
    def test_row_that_becomes_the_same_by_a_change_is_refused(self, charge_point: ChargePoint) -> None:
        start(charge_point, timestamp=FIRST)
        other = start(charge_point, timestamp=FIRST, meter_start=2000).transaction_id
        with pytest.raises(IntegrityError), database_transaction.atomic():
            Transaction.objects.filter(pk=other).update(meter_start_wh=1000)
        Transaction.objects.filter(pk=other).update(started_at=NOW)
        with pytest.raises(IntegrityError), database_transaction.atomic():
            Transaction.objects.filter(pk=other).update(meter_start_wh=1000)

    def test_stop_without_a_start_is_no_start(self, charge_point: ChargePoint) -> None:
        for number in (-1, -2):
            stop(charge_point, number, meter_stop=7, id_tag=f"TAG-{-number}", now=NOW)
        assert Transaction.objects.filter(meter_start_wh=7).count() == 2

    def test_years_before_1970_and_9999_are_compared_as_any(self, charge_point: ChargePoint) -> None:
        for year in (1, 1969, 9998):
            row = transaction(start(charge_point, timestamp=FIRST.replace("2026", f"{year:04}")).transaction_id)
            with pytest.raises(IntegrityError), database_transaction.atomic():
                in_words(row, {"timestamp": row.started_at.replace(microsecond=0).isoformat()}).save(force_insert=True)
            second = in_words(row, {"timestamp": (row.started_at + timedelta(seconds=1)).isoformat()})
            second.save(force_insert=True)

    @pytest.mark.django_db(transaction=True)
    def test_table_that_is_made_anew_keeps_it(self, charge_point: ChargePoint) -> None:
        if connection.vendor != "sqlite":
            pytest.skip("only SQLite makes tables anew")
        row = transaction(start(charge_point, timestamp=FIRST).transaction_id)
        field = Transaction._meta.get_field("stop_reason")
        wider = models.CharField(max_length=256, blank=True)
        wider.set_attributes_from_name("stop_reason")
        connection.disable_constraint_checking()
        with connection.schema_editor() as editor:
            editor.alter_field(Transaction, field, wider)
            editor.alter_field(Transaction, wider, field)
        with pytest.raises(IntegrityError, match="transaction_start_once"):
            in_words(row, {"timestamp": "2026-03-01T12:00:00Z"}).save(force_insert=True)


class TestInOneBatch:
    @pytest.fixture
    def link(self, tenants: Tenants) -> Link:
        with tenant_scope(tenants.tenant_a):
            new_id_tag("TAG-1")
        return new_link(tenants.tenant_a)

    def calls(self, link: Link) -> Iterator[Any]:
        for number, words in enumerate(({"timestamp": FIRST}, *REPEATED.values())):
            payload = {"connectorId": 1, "idTag": "TAG-1", "meterStart": 1000, "timestamp": FIRST}
            payload["timestamp"] = words.get("timestamp", FIRST)
            payload["idTag"] = words.get("id_tag", "TAG-1")
            yield inbound(link, "StartTransaction", payload, f"m-{number}")

    def test_every_wording_is_the_first(self, link: Link) -> None:
        found = results(*self.calls(link))
        with tenant_scope(link.tenant_id):
            tx = Transaction.objects.get()
        assert [conf.transaction_id for conf in found] == [tx.pk] * (1 + len(REPEATED))

    def test_rival_that_came_between_look_up_and_insert_wins(self, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
        """What another process has stored meanwhile makes the batch run again; then it is found."""
        first = results(next(self.calls(link)))[0]
        look_up, looked = lane_sql.look_up_starts, []

        def too_early(tenant_id: int, keys: Any) -> Any:
            looked.append(keys)
            if len(looked) > 1:
                return look_up(tenant_id, keys)
            _, new_ids = look_up(tenant_id, [key._replace(connector_id=99) for key in keys])
            return {}, dict(zip(keys, new_ids.values(), strict=False))

        monkeypatch.setattr(lane_sql, "look_up_starts", too_early)
        payload = {"connectorId": 1, "idTag": "tag-1", "meterStart": 1000, "timestamp": "2026-03-01T12:00:00Z"}
        assert results(inbound(link, "StartTransaction", payload, "m-9")) == [first]
        assert len(looked) == 2
        with tenant_scope(link.tenant_id):
            assert Transaction.objects.count() == 1


class TestUpgrade:
    """Rows from before the constraint, doubled by repetitions in other words."""

    @pytest.fixture
    def doubled(self, charge_point: ChargePoint) -> list[Transaction]:
        """FIRST, its repetition, one that is near the repetition only, and one of another meterStart."""
        rule = StartOnce(name="transaction_start_once")
        remove(rule)
        rows = []
        for second, meter_start_wh in ((0.0, 1000), (0.9, 1000), (1.8, 1000), (0.9, 2000)):
            first = Transaction(
                charge_point=charge_point, connector_id=1, id_tag="TAG-1", id_tag_key="TAG-1", stop_received=False,
                started_at=NOW + timedelta(seconds=second), started_received_at=NOW, meter_start_wh=meter_start_wh,
            )  # fmt: skip
            first.save(force_insert=True)
            rows.append(first)
        return rows

    def test_doubled_rows_are_marked_and_flagged_and_keep_their_facts(self, doubled: list[Transaction]) -> None:
        upgrade = import_module("stations.migrations.0013_same_meaning")
        upgrade.mark_duplicates(Transaction)
        first, second, third, other = [transaction(tx.pk) for tx in doubled]
        assert [tx.duplicate_of for tx in (first, second, third, other)] == [None, first.pk, None, None]
        assert second.flags == ["duplicate_start"]
        assert second.started_at == NOW + timedelta(seconds=0.9)
        restore(StartOnce(name="transaction_start_once"))
        assert lane_sql.look_up_starts(
            first.tenant_id, [lane_sql.StartKey(first.charge_point_id, 1, "TAG-1", NOW, 1000)]
        )[0] == {lane_sql.StartKey(first.charge_point_id, 1, "TAG-1", NOW, 1000): first.pk}

    def test_the_one_that_was_stopped_is_the_real_one(self, doubled: list[Transaction]) -> None:
        Transaction.objects.filter(pk=doubled[1].pk).update(stop_received=True)
        upgrade = import_module("stations.migrations.0013_same_meaning")
        upgrade.mark_duplicates(Transaction)
        assert [transaction(tx.pk).duplicate_of for tx in doubled[:3]] == [doubled[1].pk, None, doubled[1].pk]

    def test_recent_readings_get_the_digest_by_meaning_and_doubled_ones_keep_theirs(
        self, charge_point: ChargePoint
    ) -> None:
        upgrade = import_module("stations.migrations.0013_same_meaning")
        now = datetime.now(UTC)
        plain, written_out = [{"value": "10"}], [{"value": "10.0", "context": "Sample.Periodic"}]
        for at, sampled, digest in ((now, plain, 1), (now, written_out, 2), (now - 30 * 24 * HOUR, plain, 3)):
            MeterValue.objects.create(
                charge_point=charge_point, connector_id=1, timestamp=at, received_at=at, sampled_value=sampled,
                digest=digest,
            )  # fmt: skip
        upgrade.renew_digests(ChargePoint, MeterValue)
        digests = set(MeterValue.objects.values_list("digest", flat=True))
        assert upgrade.digest(plain) in digests
        assert len(digests & {1, 2}) == 1
        assert 3 in digests

    def test_stop_without_a_start_is_found_by_what_it_was_sent_with(self, charge_point: ChargePoint) -> None:
        stop(charge_point, -1, id_tag="TAG-1")
        Transaction.objects.update(stop_ref="")
        import_module("stations.migrations.0013_same_meaning").name_orphans(apps.get_model("stations", "Transaction"))
        assert Transaction.objects.get().stop_ref == "-1"


def remove(rule: StartOnce) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER TABLE stations_transaction DROP CONSTRAINT {rule.name}")
        else:
            for event in ("insert", "update"):
                cursor.execute(f"DROP TRIGGER {rule.name}_{event}")


def restore(rule: StartOnce) -> None:
    editor = connection.SchemaEditorClass(connection, atomic=False)
    editor.deferred_sql = []
    statements: list[Any] = [rule.create_sql(Transaction, editor)]
    if connection.vendor == "sqlite":
        rule.constraint_sql(Transaction, editor)
        statements = editor.deferred_sql
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in statements:
            cursor.execute(str(statement))
