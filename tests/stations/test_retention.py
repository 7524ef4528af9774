"""What is thinned, what is deleted and what stays, tenant by tenant; and the command that does and says it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from stations import retention
from stations.models import ChargePoint, MeterValue, OcppMessage, Transaction
from stations.models.transaction import Flag
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import new_charge_point

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NOW = datetime.now(UTC)
# A full hour, long before any retention below.
BEGIN = (NOW - 500 * DAY).replace(minute=0, second=0, microsecond=0)
PERIODIC = [{"value": "1"}]


def new_transaction(charge_point: ChargePoint, at: datetime = BEGIN, **fields: Any) -> Transaction:
    """A settled transaction of two hours, unless `fields` say otherwise."""
    facts = {"stopped_at": at + 120 * MINUTE, "stopped_received_at": at + 120 * MINUTE, "stop_received": True}
    return Transaction.objects.create(
        charge_point=charge_point, connector_id=1, started_at=at, started_received_at=at, meter_start_wh=0,
        **facts | fields,
    )  # fmt: skip


def new_readings(tx: Transaction | None, charge_point: ChargePoint, at: datetime, minutes: Iterable[int]) -> None:
    """A reading of 100 Wh a minute at each of `minutes` after `at`."""
    MeterValue.objects.bulk_create(
        MeterValue(
            charge_point=charge_point,
            connector_id=1,
            transaction=tx,
            timestamp=at + n * MINUTE,
            received_at=at + n * MINUTE,
            energy_wh=100 * n,
            power_w=6000.0,
            sampled_value=PERIODIC,
            digest=n,
        )  # fmt: skip
        for n in minutes
    )


def minutes_left(at: datetime = BEGIN) -> list[int]:
    left = MeterValue.objects.order_by("timestamp").values_list("timestamp", flat=True)
    return [(each - at) // MINUTE for each in left]


def reading(pk: int, minute: float, energy: Any = None, power: Any = None, sampled: Any = PERIODIC) -> Any:
    return pk, BEGIN + minute * MINUTE, energy, power, None, sampled


class TestSurplus:
    """Which readings of a transaction may go."""

    def test_first_of_each_quarter_and_the_last_stay(self) -> None:
        readings = [reading(n, n, energy=n) for n in range(50)]
        assert sorted({*range(50)} - {*retention.surplus_of(readings)}) == [0, 15, 30, 45, 49]

    def test_quarters_are_those_of_the_clock(self) -> None:
        assert retention.surplus_of([reading(n, n, energy=n) for n in (14, 15, 16, 17, 29, 30)]) == [16, 17, 29]

    def test_each_measurand_has_a_first_and_a_last_of_its_own(self) -> None:
        readings = [
            reading(1, 0, power=1), reading(2, 1, energy=1), reading(3, 2, power=1), reading(4, 3, energy=1),
            reading(5, 4, energy=1), reading(6, 5, power=1), reading(7, 6),
        ]  # fmt: skip
        assert sorted(retention.surplus_of(readings)) == [3, 4, 7]

    @pytest.mark.parametrize(
        "sample",
        [
            {"context": "Transaction.Begin"}, {"context": "Transaction.End"}, {"context": "Sample.Clock"},
            {"context": "Interruption.Begin"}, {"context": "Trigger"}, {"format": "SignedData"},
        ],
    )  # fmt: skip
    def test_reading_taken_on_purpose_or_signed_stays(self, sample: dict[str, str]) -> None:
        special = [{"value": "1"}, {"value": "1"} | sample]
        readings = [reading(n, n, energy=n, sampled=special if n == 7 else PERIODIC) for n in range(10)]
        assert retention.surplus_of(readings) == [1, 2, 3, 4, 5, 6, 8]

    def test_context_that_says_periodic_is_like_none(self) -> None:
        periodic = [{"value": "1", "context": "Sample.Periodic", "format": "Raw"}]
        assert retention.surplus_of([reading(n, n, energy=n, sampled=periodic) for n in range(4)]) == [1, 2]

    def test_nothing_goes_of_one_or_two_readings(self) -> None:
        assert retention.surplus_of([]) == []
        assert retention.surplus_of([reading(1, 0, energy=1), reading(2, 1, energy=2)]) == []


class TestRollUp:
    def test_old_transaction_is_thinned_once_and_keeps_exact_readings(self, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        tx = new_transaction(charge_point)
        new_readings(tx, charge_point, BEGIN, range(121))
        assert retention.purge(in_tenant_a, NOW) == {**NOTHING, "surplus_meter_values": 112}
        assert minutes_left() == [0, 15, 30, 45, 60, 75, 90, 105, 120]
        energies = MeterValue.objects.order_by("timestamp").values_list("energy_wh", flat=True)
        assert list(energies) == [Decimal(100 * minute) for minute in minutes_left()]
        tx.refresh_from_db()
        assert tx.meter_values_rolled_up_at == NOW
        # What comes after all is not looked at again.
        new_readings(tx, charge_point, BEGIN, [1, 2])
        assert retention.purge(in_tenant_a, NOW) == NOTHING

    @pytest.mark.parametrize(
        "unsettled",
        [
            {"stopped_at": None, "stopped_received_at": None, "stop_received": False},
            {"stop_received": False},
            {"flags": [Flag.CLOCK_SUSPECT]},
            {"stopped_received_at": NOW - 399 * DAY},
        ],
    )
    def test_young_running_unstopped_or_flagged_transaction_is_not_touched(
        self, in_tenant_a: Tenant, unsettled: dict[str, Any]
    ) -> None:
        charge_point = new_charge_point()
        tx = new_transaction(charge_point, **unsettled)
        new_readings(tx, charge_point, BEGIN, range(20))
        assert retention.purge(in_tenant_a, NOW) == NOTHING
        assert minutes_left() == list(range(20))
        # Once it is settled, it is done like the others.
        Transaction.objects.update(flags=[], stop_received=True, stopped_at=BEGIN, stopped_received_at=BEGIN)
        assert retention.purge(in_tenant_a, NOW) == {**NOTHING, "surplus_meter_values": 17}

    def test_tenant_that_wants_all_values_keeps_them(self, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        new_readings(new_transaction(charge_point), charge_point, BEGIN, range(20))
        in_tenant_a.meter_value_rollup_days = 0
        assert retention.purge(in_tenant_a, NOW) == NOTHING
        assert minutes_left() == list(range(20))

    def test_run_goes_on_where_the_last_one_ended(self, in_tenant_a: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "TRANSACTIONS_PER_RUN", 2)
        charge_point = new_charge_point()
        for day in range(3):
            at = BEGIN + day * DAY
            new_readings(new_transaction(charge_point, at), charge_point, at, range(4))
        runs = [retention.purge(in_tenant_a, NOW).get("surplus_meter_values", 0) for _ in range(3)]
        assert runs == [4, 2, 0]


class TestMeterValues:
    """Deletion, when the tenant wants old meter values gone altogether."""

    def purge(self, tenant: Tenant) -> int:
        tenant.meter_value_retention_days, tenant.meter_value_rollup_days = 100, 0
        return retention.purge(tenant, NOW)["meter_values"]

    def test_old_values_go_but_for_those_of_unsettled_transactions(
        self, in_tenant_a: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "ROWS_PER_DELETE", 3)
        monkeypatch.setattr(retention, "CHARGE_POINTS_PER_QUERY", 1)
        first, second = new_charge_point("CP-1"), new_charge_point("CP-2")
        new_readings(new_transaction(first), first, BEGIN, range(7))
        new_readings(None, second, BEGIN, range(10, 15))
        new_readings(new_transaction(second, flags=[Flag.NEGATIVE_ENERGY]), second, BEGIN, range(20, 24))
        new_readings(None, first, NOW - 99 * DAY, [0])
        assert self.purge(in_tenant_a) == 12
        assert minutes_left()[:-1] == [20, 21, 22, 23]
        assert self.purge(in_tenant_a) == 0

    @pytest.mark.parametrize("year", [1970, 2099])
    def test_wrong_clock_makes_a_value_neither_old_nor_young(self, in_tenant_a: Tenant, year: int) -> None:
        charge_point = new_charge_point()
        new_readings(None, charge_point, datetime(year, 1, 1, tzinfo=UTC), [0, 1])
        late, early = MeterValue.objects.order_by("pk")
        MeterValue.objects.filter(pk=late.pk).update(received_at=NOW - 99 * DAY)
        MeterValue.objects.filter(pk=early.pk).update(received_at=NOW - 101 * DAY)
        assert self.purge(in_tenant_a) == 1
        assert MeterValue.objects.get() == late


class TestMessages:
    def test_charge_points_are_gone_through_one_by_one(
        self, in_tenant_a: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "ROWS_PER_DELETE", 3)
        for number, old in enumerate((0, 3, 4)):
            charge_point = new_charge_point(f"CP-{number}")
            new_messages(charge_point, [95] * old + [89, 1])
        assert retention.purge(in_tenant_a, NOW) == {**NOTHING, "messages": 7}
        assert OcppMessage.objects.count() == 6


class TestCommand:
    def run(self, *arguments: str) -> list[str]:
        out = StringIO()
        call_command("retention", *arguments, stdout=out)
        return [line for line in out.getvalue().splitlines() if "stations_" not in line]

    def fill(self, tenants: Tenants) -> None:
        for tenant, days in zip(tenants, (10, 0), strict=True):
            tenant.message_retention_days, tenant.meter_value_rollup_days = days, 50
            tenant.save()
            with tenant_scope(tenant):
                charge_point = new_charge_point()
                new_messages(charge_point, [20, 11, 9])
                new_readings(new_transaction(charge_point), charge_point, BEGIN, range(5))

    def rows(self, tenant: Tenant) -> tuple[int, int]:
        with tenant_scope(tenant):
            return OcppMessage.objects.count(), MeterValue.objects.count()

    def test_dry_run_says_what_would_go_and_changes_nothing(self, tenants: Tenants) -> None:
        self.fill(tenants)
        for _ in range(2):
            assert self.run("--dry-run") == [
                "alpha: 2 messages due",
                "alpha: 0 connection attempts due",
                "alpha: 0 security events due",
                "alpha: 3 surplus meter values due",
                "beta: 3 surplus meter values due",
            ]
        assert [self.rows(tenant) for tenant in tenants] == [(3, 5), (3, 5)]

    def test_rows_go_tenant_by_tenant_and_only_once(self, tenants: Tenants) -> None:
        self.fill(tenants)
        assert "alpha: 2 messages deleted" in self.run()
        assert [self.rows(tenant) for tenant in tenants] == [(1, 2), (3, 2)]
        assert "alpha: 0 messages deleted" in self.run()

    def test_one_tenant_alone(self, tenants: Tenants) -> None:
        self.fill(tenants)
        assert self.run("--tenant", "beta") == ["beta: 3 surplus meter values deleted"]
        assert [self.rows(tenant) for tenant in tenants] == [(3, 5), (3, 2)]
        with pytest.raises(CommandError, match="no tenant 'gamma'"):
            self.run("--tenant", "gamma")


NOTHING = {"messages": 0, "connection_attempts": 0, "security_events": 0}


def new_messages(charge_point: ChargePoint, ages_in_days: Iterable[int]) -> None:
    OcppMessage.objects.bulk_create(
        OcppMessage(
            charge_point=charge_point, incoming=True, message_type=2, payload="{}", received_at=NOW - age * DAY
        )  # fmt: skip
        for age in ages_in_days
    )
