"""Is this idTag allowed? The order of the checks, exact statuses, groups, sites, free charging (protocol 4.2, 4.3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from ocpp.v16 import call

from stations.authorization import authorize
from stations.models import ChargePoint, IdTag
from stations.ocpp import core
from tenants.models import Site, Tenant
from tests.conftest import Tenants
from tests.stations.rows import HOUR, MINUTE, NOW, as_tenant, new_charge_point, new_id_tag, start, stop, wire

pytestmark = pytest.mark.usefixtures("in_tenant_a")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def ask(charge_point: ChargePoint, id_tag: str = "TAG-1", now: datetime = NOW) -> dict[str, Any]:
    """The idTagInfo of Authorize."""
    info: dict[str, Any] = core.authorize(charge_point, call.Authorize(id_tag), now).id_tag_info
    return info


class TestStatus:
    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({}, "Accepted"),
            ({"blocked": True}, "Blocked"),
            ({"expiry_date": NOW - MINUTE}, "Expired"),
            ({"expiry_date": NOW}, "Expired"),
            ({"expiry_date": NOW + MINUTE}, "Accepted"),
            # Checked in this order: blocked, then expired.
            ({"blocked": True, "expiry_date": NOW - MINUTE}, "Blocked"),
        ],
    )
    def test_status_of_a_known_id_tag(self, charge_point: ChargePoint, fields: dict[str, Any], status: str) -> None:
        new_id_tag(**fields)
        assert ask(charge_point)["status"] == status

    def test_unknown_id_tag_is_invalid_and_nothing_else_is_said(self, charge_point: ChargePoint) -> None:
        assert ask(charge_point, "NOBODY") == {"status": "Invalid"}

    @pytest.mark.parametrize(("registered", "presented"), [("TAG-1", "tag-1"), ("Ärger", "äRGER"), ("a b", "A B")])
    def test_letter_case_does_not_matter(self, charge_point: ChargePoint, registered: str, presented: str) -> None:
        new_id_tag(registered)
        assert ask(charge_point, presented) == {"status": "Accepted"}
        assert IdTag.objects.get().id_tag == registered

    @pytest.mark.parametrize("presented", ["TAG-1 ", "TAG", "TAG-10", "%", "TAG_1"])
    def test_similar_is_not_the_same(self, charge_point: ChargePoint, presented: str) -> None:
        new_id_tag()
        assert ask(charge_point, presented)["status"] == "Invalid"

    def test_expiry_and_parent_are_given_whatever_the_status(self, charge_point: ChargePoint) -> None:
        expiry = datetime(2027, 1, 1, 8, 30, tzinfo=UTC)
        new_id_tag("A", expiry_date=expiry, parent_id_tag="FLEET")
        new_id_tag("B", expiry_date=expiry, parent_id_tag="FLEET", blocked=True)
        given = {"expiryDate": "2027-01-01T08:30:00.000Z", "parentIdTag": "FLEET"}
        assert ask(charge_point, "A") == given | {"status": "Accepted"}
        assert ask(charge_point, "B") == given | {"status": "Blocked"}

    def test_expiry_without_fraction_for_a_charge_point_that_chokes_on_it(self) -> None:
        new_id_tag(expiry_date=datetime(2027, 1, 1, tzinfo=UTC))
        assert ask(new_charge_point(send_milliseconds=False))["expiryDate"] == "2027-01-01T00:00:00Z"

    def test_parent_need_not_be_an_id_tag_and_is_not_one_by_being_a_parent(self, charge_point: ChargePoint) -> None:
        new_id_tag(parent_id_tag="FLEET")
        assert ask(charge_point, "FLEET") == {"status": "Invalid"}

    def test_blocked_parent_does_not_block_its_group(self, charge_point: ChargePoint) -> None:
        new_id_tag("FLEET", blocked=True)
        new_id_tag(parent_id_tag="FLEET")
        assert ask(charge_point)["status"] == "Accepted"

    def test_id_tag_of_another_tenant_is_unknown(self, charge_point: ChargePoint, tenants: Tenants) -> None:
        as_tenant(tenants.tenant_b, lambda: new_id_tag("THEIRS"))
        assert ask(charge_point, "THEIRS") == {"status": "Invalid"}

    def test_id_tags_that_differ_in_case_only_cannot_both_exist(self) -> None:
        new_id_tag("TAG-1")
        with pytest.raises(IntegrityError), transaction.atomic():
            new_id_tag("tag-1")

    def test_using_an_id_tag_does_not_use_it_up(self, charge_point: ChargePoint) -> None:
        new_id_tag()
        start(charge_point)
        assert ask(charge_point) == {"status": "Accepted"}


class TestSites:
    @pytest.fixture
    def sites(self, in_tenant_a: Tenant) -> tuple[Site, Site]:
        return Site.objects.create(name="North", slug="north"), Site.objects.create(name="South", slug="south")

    def test_id_tag_is_valid_at_its_sites_only(self, sites: tuple[Site, Site]) -> None:
        north, south = sites
        new_id_tag().sites.add(north)
        assert ask(new_charge_point("N", site=north))["status"] == "Accepted"
        assert ask(new_charge_point("S", site=south))["status"] == "Invalid"
        assert ask(new_charge_point("X"))["status"] == "Invalid"

    def test_id_tag_without_sites_is_valid_everywhere(self, sites: tuple[Site, Site]) -> None:
        new_id_tag()
        assert ask(new_charge_point("N", site=sites[0]))["status"] == "Accepted"
        assert ask(new_charge_point("X"))["status"] == "Accepted"

    def test_blocked_and_expired_come_before_the_site(self, sites: tuple[Site, Site]) -> None:
        new_id_tag("B", blocked=True).sites.add(sites[0])
        new_id_tag("E", expiry_date=NOW - MINUTE).sites.add(sites[0])
        elsewhere = new_charge_point(site=sites[1])
        assert (ask(elsewhere, "B")["status"], ask(elsewhere, "E")["status"]) == ("Blocked", "Expired")


class TestFreeCharging:
    @pytest.fixture
    def free(self, in_tenant_a: Tenant) -> ChargePoint:
        return new_charge_point(accept_any_id_tag=True)

    def test_unknown_id_tag_is_accepted_where_charging_is_free(self, free: ChargePoint) -> None:
        assert ask(free, "NOBODY") == {"status": "Accepted"}
        assert start(free, id_tag="NOBODY").id_tag_info == {"status": "Accepted"}

    def test_site_does_not_matter_where_charging_is_free(self, free: ChargePoint) -> None:
        new_id_tag().sites.add(Site.objects.create(name="North", slug="north"))
        assert ask(free)["status"] == "Accepted"

    def test_blocked_stays_blocked(self, free: ChargePoint) -> None:
        new_id_tag(blocked=True)
        assert ask(free)["status"] == "Blocked"


class TestConcurrentTx:
    @pytest.fixture
    def one_at_a_time(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.concurrent_tx_enabled = True
        in_tenant_a.save()
        new_id_tag()

    def test_is_off_unless_switched_on(self, charge_point: ChargePoint) -> None:
        new_id_tag()
        start(charge_point)
        assert start(new_charge_point("CP-2")).id_tag_info["status"] == "Accepted"

    @pytest.mark.usefixtures("one_at_a_time")
    def test_second_transaction_of_an_id_tag_is_concurrent_and_still_gets_an_id(self) -> None:
        first = start(new_charge_point("CP-1"))
        second = start(new_charge_point("CP-2"), id_tag="tag-1")
        assert (first.id_tag_info["status"], second.id_tag_info["status"]) == ("Accepted", "ConcurrentTx")
        assert second.transaction_id != first.transaction_id

    @pytest.mark.usefixtures("one_at_a_time")
    def test_authorize_never_says_concurrent(self) -> None:
        start(new_charge_point("CP-1"))
        assert ask(new_charge_point("CP-2")) == {"status": "Accepted"}

    @pytest.mark.usefixtures("one_at_a_time")
    def test_transaction_that_has_ended_does_not_count(self) -> None:
        first = new_charge_point("CP-1")
        stop(first, start(first).transaction_id)
        assert start(new_charge_point("CP-2")).id_tag_info["status"] == "Accepted"

    @pytest.mark.usefixtures("one_at_a_time")
    def test_transaction_at_an_offline_charge_point_does_not_count(self) -> None:
        start(new_charge_point("CP-1", connected=False))
        assert start(new_charge_point("CP-2")).id_tag_info["status"] == "Accepted"

    @pytest.mark.usefixtures("one_at_a_time")
    def test_transaction_of_another_id_tag_of_the_group_does_not_count(self) -> None:
        new_id_tag("A", parent_id_tag="FLEET")
        new_id_tag("B", parent_id_tag="FLEET")
        start(new_charge_point("CP-1"), id_tag="A")
        assert start(new_charge_point("CP-2"), id_tag="B").id_tag_info["status"] == "Accepted"

    @pytest.mark.usefixtures("one_at_a_time")
    def test_transaction_whose_stop_was_lost_does_not_lock_its_driver_out_of_the_connector(self) -> None:
        charge_point = new_charge_point()
        lost = start(charge_point)
        again = start(charge_point, timestamp=wire(NOW + HOUR), now=NOW + HOUR)
        assert again.id_tag_info["status"] == "Accepted"
        assert again.transaction_id != lost.transaction_id

    @pytest.mark.usefixtures("one_at_a_time")
    def test_transaction_on_another_connector_of_the_charge_point_counts(self) -> None:
        charge_point = new_charge_point()
        start(charge_point)
        assert start(charge_point, connector_id=2).id_tag_info["status"] == "ConcurrentTx"

    @pytest.mark.usefixtures("one_at_a_time")
    def test_refusals_come_before_concurrency(self) -> None:
        start(new_charge_point("CP-1"))
        IdTag.objects.update(blocked=True)
        assert start(new_charge_point("CP-2")).id_tag_info["status"] == "Blocked"

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_id_tag_may_have_a_maximum_of_its_own(self, limit: int) -> None:
        new_id_tag(max_active_transactions=limit)
        statuses = [start(new_charge_point(f"CP-{n}")).id_tag_info["status"] for n in range(4)]
        assert statuses == ["Accepted"] * limit + ["ConcurrentTx"] * (4 - limit)

    def test_maximum_of_the_id_tag_wins_over_the_option_of_the_tenant(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.concurrent_tx_enabled = True
        in_tenant_a.save()
        new_id_tag(max_active_transactions=2)
        assert [start(new_charge_point(f"CP-{n}")).id_tag_info["status"] for n in range(3)] == [
            "Accepted", "Accepted", "ConcurrentTx",
        ]  # fmt: skip


def test_answer_outside_a_lane_reads_the_id_tag_afresh(charge_point: ChargePoint) -> None:
    tag = new_id_tag()
    assert authorize(charge_point, "TAG-1", NOW).accepted
    tag.expiry_date = NOW + timedelta(minutes=5)
    tag.save()
    assert not authorize(charge_point, "TAG-1", NOW + HOUR).accepted
