"""The lane's own SQL reads the same rows as the ORM, and keeps to its tenant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from stations import lane_sql
from stations.models import ChargePoint, Connector, IdTag, Transaction
from stations.models.charge_point import LANE_COLUMNS
from tenants.models import Site
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import MINUTE, NOW, new_charge_point, start, stop, transaction, wire


@pytest.fixture
def charge_point(tenants: Tenants) -> ChargePoint:
    with tenant_scope(tenants.tenant_a):
        return new_charge_point(
            last_seen_at=datetime(2026, 3, 1, 12, 0, 0, 123456, UTC), disabled=True, time_zone="Europe/Berlin",
            heartbeat_interval_seconds=45, reserved_until=NOW,
        )  # fmt: skip


def test_charge_point_has_what_the_orm_would_read(tenants: Tenants, charge_point: ChargePoint) -> None:
    with tenant_scope(tenants.tenant_a):
        found = lane_sql.look_up(tenants.tenant_a.pk, {charge_point.pk}, set())
        (light,) = found.charge_points.values()
        usual = ChargePoint.objects.only(*LANE_COLUMNS).get(pk=charge_point.pk)
        for name in ("id", *LANE_COLUMNS):
            assert (getattr(light, name), type(getattr(light, name))) == (
                getattr(usual, name),
                type(getattr(usual, name)),
            )
        assert light == usual
        assert light.get_deferred_fields() == usual.get_deferred_fields()
    assert (found.owners, found.id_tags, found.connectors) == ({}, {}, {})


def test_column_that_was_not_read_is_read_when_asked_for_and_can_be_saved(
    tenants: Tenants, charge_point: ChargePoint
) -> None:
    with tenant_scope(tenants.tenant_a):
        light = lane_sql.look_up(tenants.tenant_a.pk, {charge_point.pk}).charge_points[charge_point.pk]
        assert light.deviations == {}
        light.vendor = "Acme"
        light.save(update_fields=["vendor"])
        assert ChargePoint.objects.get().vendor == "Acme"


def test_transaction_is_found_with_its_charge_point_and_a_missing_one_is_left_out(
    tenants: Tenants, charge_point: ChargePoint
) -> None:
    with tenant_scope(tenants.tenant_a):
        tx = transaction(start(charge_point).transaction_id)
        found = lane_sql.look_up(tenants.tenant_a.pk, {charge_point.pk}, {tx.pk, tx.pk + 1})
    assert found.owners == {tx.pk: lane_sql.Owner(charge_point.pk, 1, NOW, None)}


def test_rows_of_another_tenant_do_not_exist(tenants: Tenants, charge_point: ChargePoint) -> None:
    with tenant_scope(tenants.tenant_a):
        tx = transaction(start(charge_point).transaction_id)
    with tenant_scope(tenants.tenant_b):
        assert lane_sql.look_up(tenants.tenant_b.pk, {charge_point.pk}, {tx.pk}) == ({}, {}, {}, {})


@pytest.mark.postgres
def test_statement_is_prepared_and_still_sees_only_its_tenant(tenants: Tenants, charge_point: ChargePoint) -> None:
    for _ in range(4):
        with tenant_scope(tenants.tenant_a):
            assert set(lane_sql.look_up(tenants.tenant_a.pk, {charge_point.pk}).charge_points) == {charge_point.pk}
        with tenant_scope(tenants.tenant_b):
            # Even when asked in the other tenant's name: row-level security.
            assert lane_sql.look_up(tenants.tenant_a.pk, {charge_point.pk}).charge_points == {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%stations_chargepoint%%'")
        assert cursor.fetchone()[0] >= 1


@pytest.mark.parametrize("started_at", [NOW, NOW.replace(microsecond=120000), NOW.replace(year=1970)])
def test_start_is_found_by_its_words_and_only_by_all_of_them(
    tenants: Tenants, charge_point: ChargePoint, started_at: datetime
) -> None:
    tags = ['say "hi"', "back\\slash", "{a,b}", "NULL", "ÄÖ 漢", "'"]
    keys = [lane_sql.StartKey(charge_point.pk, 2, tag.upper(), started_at, -7) for tag in tags]
    others = [
        keys[0]._replace(charge_point_id=charge_point.pk + 1), keys[0]._replace(connector_id=1),
        keys[0]._replace(id_tag_key="SAY"), keys[0]._replace(started_at=started_at + MINUTE),
        keys[0]._replace(meter_start_wh=2**62),
    ]  # fmt: skip
    with tenant_scope(tenants.tenant_a):
        for tag in tags:
            start(charge_point, id_tag=tag, timestamp=wire(started_at), connector_id=2, meter_start=-7)
        ids = Transaction.objects.order_by("pk").values_list("pk", flat=True)
        known, new_ids = lane_sql.look_up_starts(tenants.tenant_a.pk, [*others, *keys])
        assert known == dict(zip(keys, ids, strict=True))
    if connection.vendor == "postgresql":
        assert list(new_ids) == others
        assert [*new_ids.values()] == [max(known.values()) + n for n in range(1, 6)]
    else:
        assert new_ids == {}
    with tenant_scope(tenants.tenant_b):
        assert lane_sql.look_up_starts(tenants.tenant_b.pk, keys)[0] == {}


def test_orphan_stop_is_not_taken_for_a_start(tenants: Tenants, charge_point: ChargePoint) -> None:
    with tenant_scope(tenants.tenant_a):
        stop(charge_point, 4711, meter_stop=5, id_tag="TAG-1", now=NOW)
        key = lane_sql.StartKey(charge_point.pk, 0, "TAG-1", NOW, 5)
        assert lane_sql.look_up_starts(tenants.tenant_a.pk, [key])[0] == {}


def test_id_tag_has_its_sites_and_what_an_answer_needs(tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_a):
        sites = [Site.objects.create(name=name, slug=name) for name in ("north", "south")]
        usual = IdTag.objects.create(
            id_tag="Tag-1", parent_id_tag="P", expiry_date=NOW, blocked=True, max_active_transactions=3
        )
        usual.sites.set(sites)
        IdTag.objects.create(id_tag="tag-2")
        keys = {"TAG-1", "TAG-2", "TAG-3"}
        found = lane_sql.look_up(tenants.tenant_a.pk, id_tag_keys=keys).id_tags
    assert found.keys() == {"TAG-1", "TAG-2"}
    light = found["TAG-1"]
    for name in ("pk", "tenant_id", "parent_id_tag", "expiry_date", "blocked", "max_active_transactions"):
        assert (getattr(light, name), type(getattr(light, name))) == (getattr(usual, name), type(getattr(usual, name)))
    assert (light.site_ids, found["TAG-2"].site_ids) == ({site.pk for site in sites}, set())
    with tenant_scope(tenants.tenant_b):
        assert lane_sql.look_up(tenants.tenant_b.pk, id_tag_keys=keys).id_tags == {}


def test_connectors_come_by_charge_point_and_number(tenants: Tenants, charge_point: ChargePoint) -> None:
    with tenant_scope(tenants.tenant_a):
        other = new_charge_point("CP-2")
        for number in (0, 2):
            Connector.objects.create(charge_point=charge_point, connector_id=number, status_at=NOW, status="Available")
        found = lane_sql.look_up(tenants.tenant_a.pk, connectors_of={charge_point.pk, other.pk}).connectors
        assert {pk: sorted(rows) for pk, rows in found.items()} == {charge_point.pk: [0, 2], other.pk: []}
        assert (found[charge_point.pk][2].status_at, found[charge_point.pk][2].status) == (NOW, "Available")
    with tenant_scope(tenants.tenant_b):
        found = lane_sql.look_up(tenants.tenant_b.pk, connectors_of={charge_point.pk}).connectors
    assert found == {charge_point.pk: {}}
