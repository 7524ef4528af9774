"""Refused cards: noted without a query a message, bounded, near to known tags, let in by one step; and aliases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from stations import authorization, local_auth_entries
from stations.dispatch import Link
from stations.models import IdTag, IdTagAlias, LocalAuthList, RefusedIdTag, Transaction
from stations.models import refused_id_tag as rows
from stations.models.local_auth_list import ListSource
from tenants.models import ApiKey, Site, Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.api.conftest import Api
from tests.stations.lane_calls import inbound, new_link, results
from tests.stations.rows import NOW, new_charge_point, new_id_tag, start, stop, transaction, wire

pytestmark = pytest.mark.django_db


def authorize(link: Link, *id_tags: str) -> list[str]:
    """The statuses answered, all in one batch."""
    calls = [inbound(link, "Authorize", {"idTag": id_tag}, f"m-{n}") for n, id_tag in enumerate(id_tags)]
    return [answer.id_tag_info["status"] for answer in results(*calls)]


@pytest.fixture
def link(tenants: Tenants) -> Link:
    return new_link(tenants.tenant_a)


@pytest.fixture
def api(tenants: Tenants) -> Api:
    return Api(ApiKey.issue(tenants.tenant_a, "test", ("read", "manage"))[1])


class TestNoted:
    def test_which_where_how_often_and_why(self, link: Link, api: Api) -> None:
        with tenant_scope(link.tenant_id):
            new_id_tag("LOST", blocked=True)
            new_id_tag("OLD", expiry_date=NOW - timedelta(days=1))
            new_id_tag("ELSEWHERE").sites.set([Site.objects.create(slug="x", name="X")])
            new_id_tag("GOOD")
        begun = datetime.now(UTC)
        statuses = authorize(link, "nobody", "LOST", "OLD", "ELSEWHERE", "GOOD", "NOBODY")
        assert statuses == ["Invalid", "Blocked", "Expired", "Invalid", "Accepted", "Invalid"]
        assert authorize(link, "Nobody") == ["Invalid"]
        listed = api("GET", "refused-id-tags/").json()["results"]
        assert {(row["id_tag"], row["reason"], row["status"], row["times"], row["action"]) for row in listed} == {
            ("Nobody", "unknown", "Invalid", 3, "Authorize"), ("LOST", "blocked", "Blocked", 1, "Authorize"),
            ("OLD", "expired", "Expired", 1, "Authorize"), ("ELSEWHERE", "other_site", "Invalid", 1, "Authorize"),
        }  # fmt: skip
        assert {row["charge_point"] for row in listed} == {"CP-1"}
        assert listed[0]["id_tag"] == "Nobody"
        assert begun <= datetime.fromisoformat(listed[0]["first_at"]) + timedelta(seconds=1)
        assert listed[0]["first_at"] <= listed[0]["last_at"]

    def test_start_of_a_transaction_counts_and_its_repetition_does_not(self, link: Link, api: Api) -> None:
        begin = {"connectorId": 1, "idTag": "X" * 40, "meterStart": 0, "timestamp": wire(datetime.now(UTC))}
        for number in range(3):
            results(inbound(link, "StartTransaction", begin, f"m-{number}"))
        (row,) = api("GET", "refused-id-tags/").json()["results"]
        assert (row["id_tag"], row["action"], row["times"]) == ("X" * 40, "StartTransaction", 1)

    def test_each_charge_point_has_a_row_of_its_own(self, tenants: Tenants, link: Link, api: Api) -> None:
        authorize(link, "NOBODY")
        authorize(new_link(tenants.tenant_a, "CP-2"), "NOBODY")
        authorize(new_link(tenants.tenant_b, "CP-1"), "NOBODY")
        listed = api("GET", "refused-id-tags/?id_tag=nobody").json()["results"]
        assert sorted(row["charge_point"] for row in listed) == ["CP-1", "CP-2"]

    def test_free_charging_refuses_nobody(self, tenants: Tenants, api: Api) -> None:
        assert authorize(new_link(tenants.tenant_a, "FREE", accept_any_id_tag=True), "NOBODY") == ["Accepted"]
        assert api("GET", "refused-id-tags/").json()["results"] == []

    def test_number_of_queries_does_not_grow_with_the_batch(self, link: Link) -> None:
        def queries(number: int, prefix: str) -> int:
            calls = [inbound(link, "Authorize", {"idTag": f"{prefix}{n}"}, f"{prefix}{n}") for n in range(number)]
            with CaptureQueriesContext(connection) as captured:
                results(*calls)
            return len([query for query in captured if "SAVEPOINT" not in str(query["sql"])])

        queries(1, "WARM")
        assert queries(20, "A") <= queries(1, "B") + (0 if connection.vendor == "postgresql" else 1)

    def test_flood_of_random_cards_is_bounded(self, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rows, "MOST_OF_ONE_CHARGE_POINT", 10)
        other = new_link_of(link, "CP-2")
        authorize(other, "KEPT")
        for lot in range(5):
            authorize(link, *(f"R{lot}-{n}" for n in range(8)))
        with tenant_scope(link.tenant_id):
            kept = RefusedIdTag.objects.filter(charge_point_id=link.charge_point_id)
            assert kept.count() <= 10 + 8
            assert kept.filter(id_tag__startswith="R4-").count() == 8
            assert RefusedIdTag.objects.filter(id_tag="KEPT").count() == 1


def new_link_of(link: Link, identity: str) -> Link:
    return new_link(Tenant.objects.get(pk=link.tenant_id), identity)


class TestLetIn:
    def refused(self, link: Link, api: Api, card: str) -> dict[str, Any]:
        authorize(link, card)
        (row,) = api("GET", "refused-id-tags/").json()["results"]
        return dict(row)

    def test_near_tags_are_named_with_the_way_in_which_they_are_near(self, link: Link, api: Api) -> None:
        with tenant_scope(link.tenant_id):
            for tag in ("04A1B2C3", "77705923", "C3B2A104", "04A1B2C30000", "04A1B2C4"):
                new_id_tag(tag)
        row = self.refused(link, api, "04:a1:b2:c3")
        assert {(near["id_tag"], near["why"]) for near in row["near"]} == {
            ("04A1B2C3", "separators"), ("77705923", "decimal"), ("C3B2A104", "byte_order"),
            ("04A1B2C30000", "padding"),
        }  # fmt: skip
        assert all(near["text"] for near in row["near"])

    def test_added_card_is_accepted_and_leaves_the_list(self, link: Link, api: Api) -> None:
        authorize(new_link_of(link, "CP-2"), "04A1B2C3")
        row = self.refused_at(link, api, "04A1B2C3", "CP-1")
        made = api("POST", f"refused-id-tags/{row['id']}/add/", {"driver": "Anna"})
        assert (made.status_code, made.json()["id_tag"], made.json()["driver"]) == (201, "04A1B2C3", "Anna")
        assert api("GET", made["Location"].partition("/api/v1/")[2]).json() == made.json()
        assert authorize(link, "04a1b2c3") == ["Accepted"]
        assert api("GET", "refused-id-tags/").json()["results"] == []

    def refused_at(self, link: Link, api: Api, card: str, identity: str) -> dict[str, Any]:
        authorize(link, card)
        (row,) = api("GET", f"refused-id-tags/?charge_point={identity}").json()["results"]
        return dict(row)

    def test_same_driver_as_makes_an_alias(self, link: Link, api: Api) -> None:
        with tenant_scope(link.tenant_id):
            new_id_tag("CARD-1", parent_id_tag="FLEET")
        row = self.refused(link, api, "CARD-2")
        made = api("POST", f"refused-id-tags/{row['id']}/alias/", {"id_tag": "card-1"})
        assert (made.status_code, made.json()["id_tag"], made.json()["aliases"]) == (201, "CARD-1", ["CARD-2"])
        call = inbound(link, "Authorize", {"idTag": "card-2"})
        assert results(call)[0].id_tag_info == {"parentIdTag": "FLEET", "status": "Accepted"}
        assert api("GET", "refused-id-tags/").json()["results"] == []

    def test_bad_wishes_are_refused_with_a_reason(self, link: Link, api: Api) -> None:
        results(inbound(link, "StartTransaction", {"connectorId": 1, "idTag": "X" * 21, "meterStart": 0,
                                                   "timestamp": wire(datetime.now(UTC))}))  # fmt: skip
        (row,) = api("GET", "refused-id-tags/").json()["results"]
        assert api("POST", f"refused-id-tags/{row['id']}/add/", {}).json()["code"] == "invalid_length"
        unknown = api("POST", f"refused-id-tags/{row['id']}/alias/", {"id_tag": "NOBODY"})
        assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (400, "/id_tag")
        assert api("POST", "refused-id-tags/999999/add/", {}).status_code == 404
        with tenant_scope(link.tenant_id):
            new_id_tag("KNOWN", blocked=True)
        authorize(link, "KNOWN")
        blocked = api("GET", "refused-id-tags/?reason=blocked").json()["results"][0]
        assert api("POST", f"refused-id-tags/{blocked['id']}/add/", {}).json()["code"] == "id_tag_taken"
        assert api("DELETE", f"refused-id-tags/{blocked['id']}/").status_code == 204
        assert api("GET", "refused-id-tags/?reason=strange").status_code == 400

    def test_whoever_is_limited_to_sites_sees_theirs_and_adds_for_theirs(self, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            here, there = (Site.objects.create(slug=slug, name=slug) for slug in ("here", "there"))
        mine = new_link(tenants.tenant_a, "MINE", site=here)
        authorize(mine, "CARD")
        authorize(new_link(tenants.tenant_a, "OTHERS", site=there), "OTHER")
        limited = Api(ApiKey.issue(tenants.tenant_a, "limited", ("read", "manage"), sites=[here])[1])
        (row,) = limited("GET", "refused-id-tags/").json()["results"]
        assert row["id_tag"] == "CARD"
        assert limited("POST", f"refused-id-tags/{row['id']}/add/", {}).status_code == 400
        assert limited("POST", f"refused-id-tags/{row['id']}/add/", {"sites": ["there"]}).status_code == 400
        assert limited("POST", f"refused-id-tags/{row['id']}/add/", {"sites": ["here"]}).status_code == 201
        assert authorize(mine, "CARD") == ["Accepted"]


class TestAliases:
    def test_are_written_and_shown_with_the_tag(self, link: Link, api: Api) -> None:
        with tenant_scope(link.tenant_id):
            new_id_tag("SameTag")
        assert api("PATCH", "id-tags/SameTag/", {"aliases": ["X-1", "x-2"]}).json()["aliases"] == ["X-1", "x-2"]
        assert api("PATCH", "id-tags/SameTag/", {"driver": "Anna"}).json()["aliases"] == ["X-1", "x-2"]
        assert api("PUT", "id-tags/SameTag/", {"aliases": ["x-2", "X-3"]}).json()["aliases"] == ["x-2", "X-3"]
        assert api("GET", "id-tags/").json()["results"][0]["aliases"] == ["x-2", "X-3"]
        for taken, code in (("SAMETAG", "own_alias"), ("", "blank"), ("X" * 21, "max_length")):
            refused = api("PATCH", "id-tags/SameTag/", {"aliases": [taken]})
            assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, code)
        assert api("POST", "id-tags/", {"id_tag": "x-3"}).json()["code"] == "id_tag_taken"
        assert api("PUT", "id-tags/OTHER/", {}).status_code == 201
        assert api("PATCH", "id-tags/OTHER/", {"aliases": ["X-3"]}).json()["code"] == "alias_taken"

    def test_block_of_the_tag_blocks_its_aliases(self, link: Link) -> None:
        with tenant_scope(link.tenant_id):
            tag = new_id_tag("CARD", blocked=True)
            IdTagAlias.objects.create(id_tag=tag, alias="OTHER")
        assert authorize(link, "OTHER") == ["Blocked"]

    def test_sites_of_the_tag_hold_for_its_aliases(self, link: Link) -> None:
        with tenant_scope(link.tenant_id):
            tag = new_id_tag("CARD")
            tag.sites.set([Site.objects.create(slug="x", name="X")])
            IdTagAlias.objects.create(id_tag=tag, alias="OTHER")
        assert authorize(link, "OTHER", "CARD") == ["Invalid", "Invalid"]

    def test_tag_and_alias_count_as_one_and_stop_each_other(self, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        tag = new_id_tag("CARD", max_active_transactions=1)
        IdTagAlias.objects.create(id_tag=tag, alias="OTHER")
        first = start(charge_point, connector_id=1, id_tag="CARD")
        second = start(charge_point, connector_id=2, id_tag="OTHER", now=NOW + timedelta(minutes=1))
        assert (first.id_tag_info["status"], second.id_tag_info["status"]) == ("Accepted", "ConcurrentTx")
        assert transaction(first.transaction_id).id_tag_row == tag
        tag.blocked = True
        tag.save()
        assert stop(charge_point, first.transaction_id, id_tag="OTHER").id_tag_info["status"] == "Accepted"
        assert RefusedIdTag.objects.get().reason == "concurrent"
        assert Transaction.objects.get(pk=first.transaction_id).stopped_at is not None

    def test_another_tenants_alias_authorises_nobody(self, tenants: Tenants, link: Link) -> None:
        with tenant_scope(tenants.tenant_b):
            IdTagAlias.objects.create(id_tag=new_id_tag("CARD"), alias="OTHER")
        assert authorize(link, "OTHER", "CARD") == ["Invalid", "Invalid"]

    @pytest.mark.parametrize("source", [ListSource.ID_TAGS, ListSource.GROUPS, ListSource.SITES])
    def test_are_entries_of_local_lists(self, in_tenant_a: Tenant, source: str) -> None:
        site = Site.objects.create(slug="x", name="X")
        charge_point = new_charge_point(site=site)
        tag = new_id_tag("CARD", groups=["staff"], parent_id_tag="FLEET")
        IdTagAlias.objects.create(id_tag=tag, alias="Other")
        new_id_tag("LAST", groups=["staff"])
        row = LocalAuthList.objects.create(charge_point=charge_point, source=source, groups=["staff"])
        for each in IdTag.objects.all():
            row.chosen.create(id_tag=each)
        entries = list(local_auth_entries.wanted(row, NOW))
        assert [(entry.id_tag, entry.status, entry.parent_id_tag) for entry in entries] == [
            ("CARD", "Accepted", "FLEET"), ("Other", "Accepted", "FLEET"), ("LAST", "Accepted", ""),
        ]  # fmt: skip
        assert [pair.id_tag for pair in local_auth_entries.pairs(row, NOW)] == ["CARD", "LAST", "Other"]
        assert [pair.id_tag for pair in local_auth_entries.pairs(row, NOW, edge="LAST")] == ["Other"]
        assert set(local_auth_entries.registered(charge_point, ["other", "card", "x"], NOW)) == {"OTHER", "CARD"}


class TestVehicles:
    """AutoCharge as an idTag: a vehicle's MAC address, in whatever spelling it was registered."""

    @pytest.mark.parametrize("registered", ["AABBCCDDEEFF", "aa:bb:cc:dd:ee:ff", "VID:AABBCCDDEEFF", "aabb.ccdd.eeff"])
    @pytest.mark.parametrize("presented", ["VID:aabbccddeeff", "AA-BB-CC-DD-EE-FF", "aabbccddeeff"])
    def test_any_spelling_authorises_where_it_is_switched_on(
        self, tenants: Tenants, link: Link, registered: str, presented: str
    ) -> None:
        with tenant_scope(link.tenant_id):
            tag = new_id_tag(registered)
        exact = presented.upper() == registered.upper()
        assert authorize(link, presented) == ["Accepted" if exact else "Invalid"]
        tenants.tenant_a.autocharge_enabled = True
        tenants.tenant_a.save()
        assert authorize(link, presented, "AABBCCDDEEF0") == ["Accepted", "Invalid"]
        begin = {"connectorId": 1, "idTag": presented, "meterStart": 0, "timestamp": wire(datetime.now(UTC))}
        (started,) = results(inbound(link, "StartTransaction", begin))
        assert started.id_tag_info["status"] == "Accepted"
        with tenant_scope(link.tenant_id):
            tx = Transaction.objects.get()
            assert (tx.id_tag, tx.id_tag_row) == (presented, tag)

    def test_ordinary_cards_are_never_matched_by_likeness(self, tenants: Tenants, link: Link) -> None:
        tenants.tenant_a.autocharge_enabled = True
        tenants.tenant_a.save()
        with tenant_scope(link.tenant_id):
            new_id_tag("04A1B2C3")
            new_id_tag("AABBCCDDEE00")
        assert authorize(link, "04:A1:B2:C3", "00AABBCCDDEE", "C3B2A104") == ["Invalid"] * 3

    def test_authorize_is_asked_outside_a_lane_as_well(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.autocharge_enabled = True
        in_tenant_a.save()
        new_id_tag("AABBCCDDEEFF")
        answer = authorization.authorize(new_charge_point(), "VID:AABBCCDDEEFF", NOW)
        assert (answer.status, answer.id_tag.key if answer.id_tag else None) == ("Accepted", "AABBCCDDEEFF")
