"""Monthly partitions on PostgreSQL: no row lost or doubled, no tenant's row shown, nothing dropped too early.

Also that the lists over the big tables read them by index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stations import partitions, retention
from stations.models import ChargePoint, MeterValue, OcppMessage, Transaction
from stations.partitions import Partition, PartitionByMonth, month_of
from tenants import checks
from tenants.models import ApiKey, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in
from tests.stations.rows import meter_values, new_charge_point, wire

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]

METER_VALUES, MESSAGES = "stations_metervalue", "stations_ocppmessage"
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
# A month long before the tables were made: its rows are in the default partition until somebody makes the month.
LONG_AGO = datetime(2024, 3, 10, 12, tzinfo=UTC)
ABSURD = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _needs_postgresql(db: None) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("partitions are PostgreSQL's; this run uses another database")


@pytest.fixture
def this_month() -> datetime:
    return month_of(datetime.now(UTC))


def query(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def places(table: str) -> dict[str, int]:
    """How many rows the open scope sees in each partition."""
    return dict(query(f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1"))  # noqa: S608 - a constant


def name_of(table: str, month: datetime) -> str:
    return f"{table}_{month:%Y_%m}"


def new_message(charge_point: ChargePoint, at: datetime) -> OcppMessage:
    return OcppMessage.objects.create(
        charge_point=charge_point, incoming=True, message_type=2, action="Heartbeat", payload="{}", received_at=at
    )


def new_reading(charge_point: ChargePoint, at: datetime, received_at: datetime | None = None, **fields: Any) -> None:
    MeterValue.objects.create(
        charge_point=charge_point, connector_id=1, timestamp=at, received_at=received_at or at,
        **{"sampled_value": [], "digest": 1} | fields,
    )  # fmt: skip


class TestRepetition:
    def test_meter_values_of_either_side_of_midnight_are_stored_once(
        self, in_tenant_a: Tenant, this_month: datetime
    ) -> None:
        charge_point, midnight = new_charge_point(), month_of(this_month, 1)
        # Repeated after midnight too: the time of receipt is in the next month, that of the reading is not.
        for now in (midnight - SECOND, midnight + SECOND, midnight + 40 * DAY):
            for at in (midnight - SECOND, midnight):
                meter_values(charge_point, timestamp=wire(at), now=now)
        assert places(METER_VALUES) == {name_of(METER_VALUES, this_month): 1, name_of(METER_VALUES, midnight): 1}

    @pytest.mark.parametrize("year", [1, 1970, 2035, 2099, 9999])
    def test_reading_of_an_absurd_year_is_kept_and_stored_once(self, in_tenant_a: Tenant, year: int) -> None:
        charge_point = new_charge_point()
        at = datetime(year, 1, 2, tzinfo=UTC)
        for _ in range(2):
            meter_values(charge_point, timestamp=f"{year:04d}-01-02T00:00:00Z")
        assert places(METER_VALUES) == {f"{METER_VALUES}_default": 1}
        assert MeterValue.objects.get().timestamp == at

    def test_reading_that_waited_for_its_month_is_found_again(self, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        meter_values(charge_point, timestamp=wire(LONG_AGO))
        partitions.prepare(LONG_AGO + 40 * DAY)
        meter_values(charge_point, timestamp=wire(LONG_AGO))
        assert places(METER_VALUES) == {name_of(METER_VALUES, LONG_AGO): 1}


class TestPrepare:
    def test_months_ahead_are_there_from_the_first_migration_on(self, this_month: datetime) -> None:
        for table in partitions.KEYS:
            found = partitions.partitions(table)
            months = {each.lower for each in found if each.upper is not None}
            assert {month_of(this_month, later) for later in range(partitions.AHEAD + 1)} <= months
            assert found[-1] == Partition(table, f"{table}_default", None, None)

    def test_next_months_are_made_once(self, this_month: datetime) -> None:
        new = month_of(this_month, partitions.AHEAD + 1)
        made = retention.prepare_partitions(month_of(this_month, 1))
        assert [(each.name, each.moved) for each in made] == [(name_of(table, new), 0) for table in partitions.KEYS]
        assert retention.prepare_partitions(month_of(this_month, 1)) == []
        for table in partitions.KEYS:
            assert Partition(table, name_of(table, new), new, month_of(new, 1)) in partitions.partitions(table)

    def test_rows_that_waited_move_and_absurd_ones_stay(
        self, tenants: Tenants, caplog: pytest.LogCaptureFixture
    ) -> None:
        for tenant in tenants:
            with tenant_scope(tenant):
                charge_point = new_charge_point()
                for at in (LONG_AGO, LONG_AGO + DAY, *ABSURD):
                    new_reading(charge_point, at)
                new_message(charge_point, LONG_AGO)
        made = {each.name: each.moved for each in retention.prepare_partitions(LONG_AGO + 60 * DAY)}
        assert made[name_of(METER_VALUES, LONG_AGO)] == 4
        assert made[name_of(MESSAGES, LONG_AGO)] == 2
        assert "4 rows had waited" in caplog.text
        # This month and those ahead, as seen from there; what lies between has no rows and so no partition.
        assert len(made) == 2 * (1 + 1 + partitions.AHEAD)
        with platform_scope():
            assert places(METER_VALUES) == {name_of(METER_VALUES, LONG_AGO): 4, f"{METER_VALUES}_default": 4}

    def test_lock_that_cannot_be_had_is_left_for_the_next_run(
        self, this_month: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(partitions, "LOCK_TIMEOUT", "50ms")
        parameters = connection.get_connection_params()
        keys = ("host", "port", "user", "password", "dbname")
        with psycopg.connect(**{key: parameters[key] for key in keys}) as reader:
            reader.execute(f"LOCK TABLE {METER_VALUES}_default IN ACCESS SHARE MODE")
            assert retention.prepare_partitions(month_of(this_month, 1)) == []
        assert "will be tried again" in caplog.text
        assert len(retention.prepare_partitions(month_of(this_month, 1))) == 2


class TestRowLevelSecurity:
    def test_partition_shows_and_takes_rows_of_the_scope_alone(self, tenants: Tenants, this_month: datetime) -> None:
        """Also one made by the job: reading it by its own name is no way around the policy."""
        later = month_of(this_month, partitions.AHEAD + 1)
        partitions.prepare(month_of(this_month, 1))
        for tenant in tenants:
            with tenant_scope(tenant):
                new_reading(new_charge_point(), later)
        partition = name_of(METER_VALUES, later)
        count = f"SELECT count(*), min(tenant_id) FROM {partition}"  # noqa: S608 - a constant
        assert query(count) == [(0, None)]
        for tenant in tenants:
            with tenant_scope(tenant):
                assert query(count) == [(1, tenant.pk)]
        with tenant_scope(tenants.tenant_a), pytest.raises(Exception, match="row-level security"), transaction.atomic():
            query(f"UPDATE {partition} SET tenant_id = %s", [tenants.tenant_b.pk])  # noqa: S608 - a constant

    def test_no_partition_is_without_the_policy(self, this_month: datetime) -> None:
        partitions.prepare(month_of(this_month, 1))
        assert checks.check_row_level_security(connection) == []


class TestMigration:
    @pytest.fixture
    def migrate(self) -> Iterator[Any]:
        """Run the operation of the migration, there (`forwards`) or back, on tables that have rows."""
        state = MigrationLoader(connection).project_state(("stations", "0010_partitions"))

        def run(direction: str) -> None:
            for model, key in (("MeterValue", "timestamp"), ("OcppMessage", "received_at")):
                operation: Any = PartitionByMonth(model, key)
                with connection.schema_editor(atomic=False) as editor:
                    getattr(operation, f"database_{direction}")("stations", editor, state, state)

        return run

    def test_rows_policies_and_numbers_survive_the_way_back_and_forth(
        self, tenants: Tenants, this_month: datetime, migrate: Any
    ) -> None:
        times = [
            datetime(1970, 1, 1, tzinfo=UTC), LONG_AGO, this_month, month_of(this_month, 1) - SECOND,
            month_of(this_month, 1), month_of(this_month, 20), datetime(2099, 1, 1, tzinfo=UTC),
        ]  # fmt: skip
        charge_points = {}
        for tenant in tenants:
            with tenant_scope(tenant):
                charge_points[tenant.pk] = new_charge_point()
                for at in times:
                    new_reading(charge_points[tenant.pk], at)
                    new_message(charge_points[tenant.pk], at)
        before = self.seen(tenants)
        migrate("backwards")
        assert partitions.partitions(METER_VALUES) == []
        assert query("SELECT relkind FROM pg_class WHERE relname = %s", [METER_VALUES]) == [("r",)]
        assert self.seen(tenants) == before
        assert checks.check_row_level_security(connection) == []

        migrate("forwards")
        assert self.seen(tenants) == before
        assert checks.check_row_level_security(connection) == []
        with platform_scope():
            assert places(METER_VALUES) == {
                f"{METER_VALUES}_before_months": 8,
                name_of(METER_VALUES, month_of(this_month, 1)): 2,
                f"{METER_VALUES}_default": 4,
            }
            newest = MeterValue.objects.order_by("-pk").values_list("pk", flat=True)[0]
        with tenant_scope(tenants.tenant_a):
            for at in times:
                with pytest.raises(IntegrityError, match="meter_value_once|_key"), transaction.atomic():
                    new_reading(charge_points[tenants.tenant_a.pk], at)
            new_reading(charge_points[tenants.tenant_a.pk], this_month + SECOND)
            assert MeterValue.objects.order_by("-pk").values_list("pk", flat=True)[0] > newest
        # This month is covered by what was there; the next run of the job makes nothing twice.
        assert partitions.prepare(this_month) == []

    def test_empty_tables_leave_no_partition_behind(self, this_month: datetime, migrate: Any) -> None:
        with platform_scope():
            OcppMessage.objects.all().delete()
        migrate("backwards")
        migrate("forwards")
        names = [each.name for each in partitions.partitions(MESSAGES)]
        months = [name_of(MESSAGES, month_of(this_month, later)) for later in range(partitions.AHEAD + 1)]
        assert names == [*months, f"{MESSAGES}_default"]

    @staticmethod
    def seen(tenants: Tenants) -> list[Any]:
        """What each tenant has in both tables, by raw SQL: the policies alone keep them apart."""
        found = []
        for tenant in tenants:
            with tenant_scope(tenant):
                found.append(query(f"SELECT * FROM {METER_VALUES} ORDER BY id"))  # noqa: S608 - a constant
                found.append(query(f"SELECT * FROM {MESSAGES} ORDER BY id"))  # noqa: S608 - a constant
        return found


class TestDrop:
    """Partitions of March 2024 and after, as they were looked at later."""

    @pytest.fixture(autouse=True)
    def _months(self, tenants: Tenants) -> None:
        partitions.prepare(LONG_AGO)
        self.keep(tenants, message_retention_days=90, meter_value_retention_days=90)

    @staticmethod
    def keep(tenants: Any, **days: int) -> None:
        Tenant.objects.filter(pk__in=[tenant.pk for tenant in tenants]).update(**days)

    @staticmethod
    def end(table: str) -> datetime:
        """When the month of LONG_AGO, and then 90 days, are over."""
        return month_of(LONG_AGO, 1) + 90 * DAY

    def test_partition_goes_when_the_time_of_every_tenant_is_over(self, tenants: Tenants) -> None:
        for tenant in tenants:
            with tenant_scope(tenant):
                charge_point = new_charge_point()
                new_message(charge_point, LONG_AGO)
                new_reading(charge_point, LONG_AGO)
        over = self.end(MESSAGES)
        assert retention.drop_partitions(over - SECOND) == []
        self.keep([tenants.tenant_b], message_retention_days=91)
        assert retention.drop_partitions(over, dry_run=True) == [name_of(METER_VALUES, LONG_AGO)]
        assert retention.drop_partitions(over) == [name_of(METER_VALUES, LONG_AGO)]
        assert retention.drop_partitions(over) == []
        assert retention.drop_partitions(over + DAY) == [name_of(MESSAGES, LONG_AGO)]
        with platform_scope():
            assert (MeterValue.objects.count(), OcppMessage.objects.count()) == (0, 0)

    def test_partition_stays_while_one_tenant_keeps_its_rows_for_ever(self, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            new_message(new_charge_point(), LONG_AGO)
        self.keep([tenants.tenant_b], message_retention_days=0, meter_value_retention_days=0)
        assert retention.drop_partitions(self.end(MESSAGES) + 100 * DAY) == []

    def test_meter_values_that_came_late_are_as_old_as_their_receipt(self, tenants: Tenants) -> None:
        over = self.end(METER_VALUES)
        with tenant_scope(tenants.tenant_a):
            new_reading(new_charge_point(), LONG_AGO, received_at=LONG_AGO + 30 * DAY)
        assert retention.drop_partitions(over) == []
        assert retention.drop_partitions(LONG_AGO + 121 * DAY) == [name_of(METER_VALUES, LONG_AGO)]

    @pytest.mark.parametrize(
        "unsettled", [{"stopped_at": None}, {"stop_received": False}, {"flags": ["negative_energy"]}]
    )
    def test_partition_with_values_of_an_unsettled_transaction_stays(
        self, tenants: Tenants, unsettled: dict[str, Any]
    ) -> None:
        with tenant_scope(tenants.tenant_a):
            charge_point = new_charge_point()
            facts = {"stopped_at": LONG_AGO, "stop_received": True, "flags": []} | unsettled
            tx = Transaction.objects.create(
                charge_point=charge_point, connector_id=1, started_at=LONG_AGO, started_received_at=LONG_AGO,
                meter_start_wh=0, stopped_received_at=LONG_AGO, **facts,
            )  # fmt: skip
            new_reading(charge_point, LONG_AGO, transaction=tx)
        assert retention.drop_partitions(self.end(METER_VALUES)) == []
        with tenant_scope(tenants.tenant_a):
            Transaction.objects.update(stopped_at=LONG_AGO, stop_received=True, flags=[])
        assert retention.drop_partitions(self.end(METER_VALUES)) == [name_of(METER_VALUES, LONG_AGO)]

    def test_row_that_comes_between_the_look_and_the_drop_saves_its_partition(self, tenants: Tenants) -> None:
        (partition,) = [each for each in partitions.partitions(MESSAGES) if each.lower == month_of(LONG_AGO)]
        with tenant_scope(tenants.tenant_a):
            row = new_message(new_charge_point(), LONG_AGO)
        assert not partitions.drop(partition, None)
        assert partitions.drop(partition, row.pk)

    def test_empty_month_goes_when_rows_are_not_waited_for_any_more(self, tenants: Tenants) -> None:
        self.keep(tenants, message_retention_days=0, meter_value_retention_days=0)
        after_a_year = month_of(LONG_AGO, 1 + partitions.BACK)
        assert retention.drop_partitions(after_a_year - SECOND) == []
        assert sorted(retention.drop_partitions(after_a_year)) == [
            name_of(METER_VALUES, LONG_AGO), name_of(MESSAGES, LONG_AGO)
        ]  # fmt: skip


class TestPlans:
    """The queries behind the lists, as PostgreSQL would run them over tables of some size."""

    BIG = "stations_(metervalue|ocppmessage|transaction|command|connectionattempt)"
    # A page shows a hundred rows at most; a list without its index reads those of all charge points, thousands.
    MOST_READ = 600
    ROWS = 20_000

    def fill(self, tenants: Tenants) -> ChargePoint:
        """Two hundred charge points of each tenant with rows of all kinds, over four months."""
        partitions.prepare(LONG_AGO)
        for tenant in tenants:
            with tenant_scope(tenant):
                rows = [ChargePoint(identity=f"CP-{number}") for number in range(200)]
                first = ChargePoint.objects.bulk_create(rows)[0]
        series = (
            f"(SELECT n, tenant_id, c.id AS charge_point_id, '{month_of(LONG_AGO).isoformat()}'::timestamptz "
            f"+ n * interval '{partitions.AHEAD * 30 * DAY // self.ROWS}' AS at "
            f"FROM generate_series(1, {self.ROWS}) n JOIN (SELECT id, tenant_id, "
            "row_number() OVER (ORDER BY id) - 1 AS k FROM stations_chargepoint) c ON c.k = n * 7 % 400 ORDER BY n) s"
        )
        columns = {
            # One in a hundred runs.
            "stations_transaction": "tenant_id, charge_point_id, connector_id, id_tag, id_tag_key, id_tag_status, "
            "parent_id_tag, started_at, started_received_at, started_at_text, meter_start_wh, stopped_at, stop_reason, "
            "stop_id_tag, stop_id_tag_status, stop_received, flags, orphan_ref | 1, 'TAG' || n, 'TAG' || n, '', '', "
            "at, at, '', n, CASE WHEN n % 100 > 0 THEN at END, '', '', '', true, '[]', ''",
            METER_VALUES: "tenant_id, charge_point_id, connector_id, transaction_id, transaction_ref, timestamp, "
            "received_at, energy_wh, power_w, sampled_value, digest | 1, (SELECT min(id) FROM stations_transaction) "
            "+ n / 50, '', at, at, n, 1, '[]', n",
            MESSAGES: "tenant_id, charge_point_id, incoming, message_type, action, message_id, payload, received_at, "
            "error | true, 2, 'Heartbeat', n, '{}', at, ''",
            "stations_command": "tenant_id, charge_point_id, action, payload, requested_by, reason, status, "
            "message_id, warnings, created_at, expires_at | 'Reset', '{}', '', '', 'answered', '', '[]', at, at",
            "stations_connectionattempt": "tenant_id, charge_point_id, identity, at, address, accepted, http_status, "
            "reason, remedy, subprotocols, user_agent, tls_version, tls_cipher, client_certificate "
            "| 'CP-' || n % 200, at, '', true, 101, '', '', '', '', '', '', ''",
        }
        with platform_scope():
            for table, text in columns.items():
                names, values = text.split(" | ")
                query(f"INSERT INTO {table} ({names}) SELECT tenant_id, charge_point_id, {values} FROM {series}")  # noqa: S608 - constants
                query(f"ANALYZE {table}")
        return first

    def test_no_list_reads_much_more_than_it_shows(self, tenants: Tenants) -> None:
        first = self.fill(tenants)
        tenant = tenants.tenant_b
        _, key = ApiKey.issue(tenant, "test", ["read"])
        with tenant_scope(tenant):
            tx = Transaction.objects.filter(charge_point=first).order_by("pk")[5]
        api = [
            "transactions/", "transactions/?charge_point=CP-0", "transactions/?active=true",
            "transactions/?id_tag=TAG7", f"transactions/{tx.pk}/", f"transactions/{tx.pk}/meter-values/",
            "charge-points/CP-0/messages/", "commands/", "commands/?charge_point=CP-0", "charge-points/CP-0/commands/",
            "connection-attempts/", "connection-attempts/?identity=CP-0", "charge-points/CP-0/connection-attempts/",
        ]  # fmt: skip
        pages = [
            "transaction/", f"transaction/?charge_point={first.pk}", f"transaction/{tx.pk}/change/", "metervalue/",
            "ocppmessage/", f"ocppmessage/?charge_point={first.pk}", "command/", f"command/?charge_point={first.pk}",
            "connectionattempt/", f"connectionattempt/?charge_point={first.pk}",
        ]  # fmt: skip
        person, caller = sign_in(tenant), Client(headers={"Authorization": f"Api-Key {key}"})
        requests = [(caller, f"/api/v1/{path}") for path in api]
        requests += [(person, f"/admin/stations/{path}") for path in pages]
        read = {path: self.rows_read(tenant, client, path) for client, path in requests}
        assert {path: rows for path, rows in read.items() if rows > self.MOST_READ} == {}

    def rows_read(self, tenant: Tenant, client: Client, path: str) -> int:
        """Rows of the big tables that the page's hungriest query takes in its hand."""
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200, path
        wanted = [sql for each in queries if re.search(f'FROM "({self.BIG})"', sql := each["sql"])]
        assert wanted, path
        most = 0
        for sql in wanted:
            # The newest id of a table is looked up for all tenants.
            with platform_scope() if "tenant_id" not in sql else tenant_scope(tenant):
                most = max(most, self.fewest_rows_of(sql))
        return most

    def fewest_rows_of(self, sql: str) -> int:
        """As the planner likes it, or without sorting: with so few rows both may look alike, the more the less."""
        found = []
        for sorts in ("on", "off"):
            query(f"SET enable_sort = {sorts}")
            (((plan,),),) = query(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
            found.append(self.rows_of(plan["Plan"]))
        query("RESET enable_sort")
        return min(found)

    def rows_of(self, node: dict[str, Any]) -> int:
        each = 0.0
        if re.match(self.BIG, node.get("Relation Name", "")):
            each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        return int(each * node["Actual Loops"]) + sum(self.rows_of(below) for below in node.get("Plans", ()))
