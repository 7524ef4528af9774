"""Local lists: what is wanted, how the charge point stands to it, and the requests that bring it there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ocpp.v16 import call_result

from stations import commands, local_auth_lists, tasks
from stations.local_auth_entries import difference, pairs, wanted
from stations.local_auth_lists import ListState, Source, Sync
from stations.models import (
    ChargePoint,
    Command,
    ConfigurationKey,
    IdTag,
    LocalAuthList,
    LocalAuthListEntry,
    LocalAuthListIdTag,
)
from stations.models.local_auth_list import MAX_VERSION, ListSource
from stations.ocpp import local_auth_list_management as profile
from stations.refusal import CommandRefused
from tenants.models import JobRun, Site, Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import HOUR, NOW, new_charge_point, new_id_tag, wire

ACCEPTED = {"status": "Accepted"}


@pytest.fixture
def depot(in_tenant_a: Tenant) -> Site:
    return Site.objects.create(slug="depot", name="Depot")


@pytest.fixture
def charge_point(depot: Site) -> ChargePoint:
    return new_charge_point(site=depot)


def configure(charge_point: ChargePoint, **values: Any) -> None:
    for key, value in values.items():
        ConfigurationKey.objects.create(charge_point=charge_point, key=key, value=str(value))


def by_hand(charge_point: ChargePoint, *tags: IdTag, **options: Any) -> LocalAuthList:
    source = Source(ListSource.ID_TAGS, id_tags=[tag.pk for tag in tags])
    return local_auth_lists.want(charge_point, source, NOW, **options)


def by_group(charge_point: ChargePoint, *groups: str, **options: Any) -> LocalAuthList:
    return local_auth_lists.want(charge_point, Source(ListSource.GROUPS, groups=groups), NOW, **options)


def by_site(charge_point: ChargePoint, *sites: Site) -> LocalAuthList:
    return local_auth_lists.want(charge_point, Source(ListSource.SITES, sites=sites), NOW)


def row_of(charge_point: ChargePoint) -> LocalAuthList:
    return local_auth_lists.list_of(charge_point)


def infos(charge_point: ChargePoint, now: datetime = NOW) -> dict[str, Any]:
    """idTagInfo by idTag of what is wanted."""
    return {entry.id_tag: entry.info(charge_point) for entry in wanted(row_of(charge_point), now)}


def sync(charge_point: ChargePoint, full: bool | None = None, now: datetime = NOW) -> Sync:
    return local_auth_lists.sync(charge_point, "test", full, now=now)


def payloads(made: Sync) -> list[Any]:
    """Update type, version and idTags of each request; a minus before those that are removed."""
    return [
        (
            command.payload["updateType"],
            command.payload["listVersion"],
            [
                entry["idTag"] if "idTagInfo" in entry else f"-{entry['idTag']}"
                for entry in command.payload.get("localAuthorizationList", [])
            ],
        )
        for command in made.commands
    ]


def answer(made: Sync, status: str = "Accepted", now: datetime = NOW) -> None:
    for command in made.commands:
        profile.send_local_list_conf(command, call_result.SendLocalList(status=status), now)
        Command.objects.filter(pk=command.pk, status="queued").update(status="answered")


def state(charge_point: ChargePoint, now: datetime = NOW) -> str:
    row = row_of(charge_point)
    alone = local_auth_lists.state_of(row, difference(row, now))
    # Lists are judged by sums, single ones entry by entry; both must say the same.
    assert local_auth_lists.states([row], now)[charge_point.pk][0] == alone
    return alone.value


class TestWanted:
    def test_status_expiry_and_parent_follow_the_tag(self, charge_point: ChargePoint) -> None:
        past, future = NOW - HOUR, NOW + HOUR
        tags = [
            new_id_tag("PLAIN"), new_id_tag("BLOCKED", blocked=True, expiry_date=past),
            new_id_tag("EXPIRED", expiry_date=past), new_id_tag("FUTURE", expiry_date=future, parent_id_tag="P"),
            new_id_tag("AT-MOST-ONE", max_active_transactions=1),
        ]  # fmt: skip
        by_hand(charge_point, *tags)
        assert infos(charge_point) == {
            "PLAIN": ACCEPTED,
            "BLOCKED": {"expiryDate": wire(past), "status": "Blocked"},
            "EXPIRED": {"expiryDate": wire(past), "status": "Expired"},
            "FUTURE": {"expiryDate": wire(future), "parentIdTag": "P", "status": "Accepted"},
            "AT-MOST-ONE": ACCEPTED,
        }

    def test_fractions_of_seconds_are_left_out_for_those_that_choke_on_them(self, charge_point: ChargePoint) -> None:
        charge_point.send_milliseconds = False
        charge_point.save()
        by_hand(charge_point, new_id_tag("A", expiry_date=NOW + timedelta(microseconds=500_001)))
        info = {"expiryDate": "2026-03-01T12:00:00Z", "status": "Accepted"}
        assert infos(charge_point) == {"A": info}
        answer(sync(charge_point))
        assert state(charge_point) == "in_sync"

    def test_groups_take_their_tags_that_may_charge_here(self, charge_point: ChargePoint, depot: Site) -> None:
        elsewhere = Site.objects.create(slug="mall", name="Mall")
        new_id_tag("A", groups=["staff"])
        new_id_tag("B", groups=["guests", "staff"]).sites.set([depot])
        new_id_tag("C", groups=["staff"]).sites.set([elsewhere])
        new_id_tag("D", groups=["staff2"])
        new_id_tag("E")
        by_group(charge_point, "staff", "nobody")
        assert infos(charge_point) == {"A": ACCEPTED, "B": ACCEPTED}

    def test_tag_chosen_by_hand_that_may_not_charge_here_is_invalid(self, charge_point: ChargePoint) -> None:
        tag = new_id_tag("A")
        tag.sites.set([Site.objects.create(slug="mall", name="Mall")])
        by_hand(charge_point, tag)
        assert infos(charge_point) == {"A": {"status": "Invalid"}}
        charge_point.accept_any_id_tag = True
        charge_point.save()
        assert infos(charge_point) == {"A": ACCEPTED}

    def test_sites_named_or_that_of_the_charge_point(self, charge_point: ChargePoint, depot: Site) -> None:
        mall = Site.objects.create(slug="mall", name="Mall")
        for name, sites in (("A", [depot]), ("B", [mall]), ("C", []), ("D", [depot, mall])):
            new_id_tag(name).sites.set(sites)
        by_site(charge_point)
        assert list(infos(charge_point)) == ["A", "C", "D"]
        by_site(charge_point, mall)
        assert list(infos(charge_point)) == ["B", "C", "D"]
        ChargePoint.objects.update(site=None)
        nowhere = ChargePoint.objects.get()
        by_site(nowhere)
        assert list(infos(nowhere)) == ["C"]

    def test_each_source_replaces_the_one_before(self, charge_point: ChargePoint, depot: Site) -> None:
        by_hand(charge_point, new_id_tag("A"))
        by_site(charge_point, depot)
        row = by_group(charge_point, "staff")
        assert (row.source, row.groups, row.sites.count(), LocalAuthListIdTag.objects.count()) == (
            "groups", ["staff"], 0, 0,
        )  # fmt: skip
        local_auth_lists.want(charge_point, None, NOW)
        assert (row_of(charge_point).source, row_of(charge_point).groups) == ("", [])

    def test_deleted_tag_is_not_wanted_any_more(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"), new_id_tag("B"))
        answer(sync(charge_point))
        IdTag.objects.get(id_tag="A").delete()
        assert payloads(sync(charge_point)) == [("Differential", 2, ["-A"])]

    def test_names_are_found_in_any_case_and_once(self, in_tenant_a: Tenant) -> None:
        tags = {name: new_id_tag(name).pk for name in ("Aa", "B")}
        found, unknown = local_auth_lists.find_id_tags(IdTag.objects.all(), ["aA", "X", "B", "AA", "y"])
        assert (found, unknown) == ([tags["Aa"], tags["B"]], [1, 4])


class TestState:
    def test_course_of_a_list(self, charge_point: ChargePoint) -> None:
        assert state(charge_point) == "not_managed"
        tag = new_id_tag("A")
        by_hand(charge_point, tag)
        assert state(charge_point) == "unknown"
        made = sync(charge_point)
        assert state(charge_point) == "sending"
        answer(made)
        assert state(charge_point) == "in_sync"
        tag.blocked = True
        tag.save()
        assert state(charge_point) == "differs"
        answer(sync(charge_point))
        assert state(charge_point) == "in_sync"

    def test_expiry_that_comes_is_no_difference(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A", expiry_date=NOW + HOUR))
        answer(sync(charge_point))
        assert state(charge_point, NOW + 2 * HOUR) == "in_sync"

    @pytest.mark.parametrize(
        ("status", "expected"),
        [("Failed", "failed"), ("NotSupported", "not_supported"), ("VersionMismatch", "version_mismatch")],
    )
    def test_refused_list(self, charge_point: ChargePoint, status: str, expected: str) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point), status)
        assert state(charge_point) == expected
        assert (expected in local_auth_lists.NEEDS_FULL) is (status != "NotSupported")

    def test_reported_version(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point))
        command = commands.enqueue(charge_point, "GetLocalListVersion", {}, "test")
        for version, expected in ((1, "in_sync"), (3, "drift"), (0, "drift"), (-1, "not_supported")):
            conf = call_result.GetLocalListVersion(list_version=version)
            profile.get_local_list_version_conf(command, conf, NOW + HOUR)
            assert state(charge_point) == expected

    def test_list_that_was_switched_on_after_a_refusal_is_supported(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point), "NotSupported")
        command = commands.enqueue(charge_point, "GetLocalListVersion", {}, "test")
        conf = call_result.GetLocalListVersion(list_version=0)
        profile.get_local_list_version_conf(command, conf, NOW + HOUR)
        assert state(charge_point) != "not_supported"

    def test_many_lists_take_few_queries(self, depot: Site, django_assert_max_num_queries: Any) -> None:
        new_id_tag("A", groups=["staff"])
        rows = []
        for number in range(6):
            charge_point = new_charge_point(f"CP-{number}", site=depot)
            rows.append(by_group(charge_point, "staff") if number % 2 else by_site(charge_point, depot))
        # What is being sent, the sites named, and one for each of the two kinds of list.
        with django_assert_max_num_queries(4):
            found = local_auth_lists.states(rows, NOW)
        assert set(found.values()) == {(ListState.UNKNOWN, 1)}


class TestSync:
    def test_first_list_is_full_and_the_next_the_difference(self, charge_point: ChargePoint) -> None:
        tags = {name: new_id_tag(name) for name in "ABCD"}
        by_hand(charge_point, tags["A"], tags["B"], tags["C"])
        made = sync(charge_point)
        assert payloads(made) == [("Full", 1, ["A", "B", "C"])]
        assert list(made.commands[0].payload) == ["listVersion", "localAuthorizationList", "updateType"]
        answer(made)
        IdTag.objects.filter(id_tag="B").update(blocked=True)
        by_hand(charge_point, tags["B"], tags["C"], tags["D"])
        # Removals first, so that the list never grows beyond its limit.
        assert payloads(sync(charge_point)) == [("Differential", 2, ["-A", "B", "D"])]

    def test_full_is_taken_when_the_difference_is_longer(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, *(new_id_tag(name) for name in "ABC"))
        answer(sync(charge_point))
        by_hand(charge_point, new_id_tag("D"))
        assert payloads(sync(charge_point, full=False)) == [("Differential", 2, ["-A", "-B", "-C", "D"])]
        assert payloads(sync(charge_point)) == [("Differential", 2, ["-A", "-B", "-C", "D"])]
        commands.withdraw(Command.objects.get(status="queued"))
        assert payloads(sync(charge_point)) == [("Full", 3, ["D"])]

    def test_list_that_shall_be_empty_is_cleared(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point))
        by_hand(charge_point)
        made = sync(charge_point)
        assert made.commands[0].payload == {"listVersion": 2, "updateType": "Full"}
        answer(made)
        assert state(charge_point) == "in_sync"
        assert not LocalAuthListEntry.objects.exists()

    def test_nothing_to_do(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point))
        assert sync(charge_point) == Sync([], None, None)
        assert payloads(sync(charge_point, full=True)) == [("Full", 2, ["A"])]

    def test_long_list_is_split(self, charge_point: ChargePoint) -> None:
        configure(charge_point, SendLocalListMaxLength=2, LocalAuthListMaxLength=5)
        by_hand(charge_point, *(new_id_tag(name) for name in "ABCDE"))
        made = sync(charge_point)
        assert payloads(made) == [
            ("Full", 1, ["A", "B"]), ("Differential", 2, ["C", "D"]), ("Differential", 3, ["E"]),
        ]  # fmt: skip
        assert {command.batch for command in made.commands} == {made.batch}
        assert [command.warnings for command in made.commands[:1]] == [[]]
        answer(made)
        assert (state(charge_point), row_of(charge_point).installed_version) == ("in_sync", 3)

    def test_longer_list_than_the_charge_point_takes_is_refused(self, charge_point: ChargePoint) -> None:
        configure(charge_point, LocalAuthListMaxLength=2)
        by_hand(charge_point, *(new_id_tag(name) for name in "ABC"))
        with pytest.raises(CommandRefused) as refused:
            sync(charge_point)
        assert (refused.value.code, refused.value.problems[0].pointer) == ("list_too_long", "/localAuthorizationList")
        assert refused.value.detail == "The list has 3 entries, more than the 2 of LocalAuthListMaxLength."
        assert not Command.objects.exists()

    def test_unknown_limits_are_warned_of(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        assert [warning["code"] for warning in sync(charge_point).commands[0].warnings] == ["list_limits_unknown"]

    def test_nothing_wanted_is_refused(self, charge_point: ChargePoint) -> None:
        with pytest.raises(CommandRefused) as refused:
            sync(charge_point)
        assert refused.value.code == "no_desired_list"

    def test_difference_to_an_unknown_list_is_refused(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        with pytest.raises(CommandRefused) as refused:
            sync(charge_point, full=False)
        assert refused.value.code == "installed_list_uncertain"

    @pytest.mark.parametrize("status", ["Failed", "VersionMismatch"])
    def test_after_a_refusal_the_full_list_is_sent_with_the_next_version(
        self, charge_point: ChargePoint, status: str
    ) -> None:
        by_hand(charge_point, *(new_id_tag(name) for name in "ABC"))
        answer(sync(charge_point))
        IdTag.objects.filter(id_tag="B").update(blocked=True)
        answer(sync(charge_point), status)
        assert payloads(sync(charge_point)) == [("Full", 3, ["A", "B", "C"])]

    def test_versions_that_run_out_are_refused(self, charge_point: ChargePoint) -> None:
        configure(charge_point, SendLocalListMaxLength=1)
        by_hand(charge_point, new_id_tag("A"), new_id_tag("B"))
        LocalAuthList.objects.update(highest_version=MAX_VERSION - 1)
        with pytest.raises(CommandRefused) as refused:
            sync(charge_point)
        assert refused.value.code == "list_versions_exhausted"
        assert not Command.objects.exists()

    def test_repeating_it_queues_nothing_more(self, charge_point: ChargePoint) -> None:
        configure(charge_point, SendLocalListMaxLength=1)
        by_hand(charge_point, new_id_tag("A"), new_id_tag("B"))
        first = sync(charge_point)
        second = sync(charge_point)
        assert (second.repeated, second.batch, [each.pk for each in second.commands]) == (
            True, first.batch, [each.pk for each in first.commands],
        )  # fmt: skip
        assert Command.objects.count() == 2

    def test_list_that_waits_is_replaced_when_another_is_wanted(self, charge_point: ChargePoint) -> None:
        configure(charge_point, SendLocalListMaxLength=1)
        tags = [new_id_tag(name) for name in "ABC"]
        by_hand(charge_point, *tags[:2])
        first = sync(charge_point)
        by_hand(charge_point, tags[2])
        assert payloads(sync(charge_point)) == [("Full", 3, ["C"])]
        statuses = Command.objects.filter(batch=first.batch).values_list("status", flat=True)
        assert set(statuses) == {"withdrawn"}

    def test_list_on_its_way_is_not_overtaken(self, charge_point: ChargePoint) -> None:
        tags = [new_id_tag(name) for name in "AB"]
        by_hand(charge_point, tags[0])
        sync(charge_point)
        Command.objects.update(status="sent")
        by_hand(charge_point, tags[1])
        with pytest.raises(CommandRefused) as refused:
            sync(charge_point)
        assert refused.value.code == "list_being_sent"

    def test_request_of_an_operator_stays_and_the_full_list_follows_it(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point))
        raw = commands.enqueue(charge_point, "SendLocalList", {"updateType": "Full"}, "test")
        assert payloads(sync(charge_point)) == [("Full", 3, ["A"])]
        raw.refresh_from_db()
        assert raw.status == "queued"

    def test_failed_part_withdraws_the_rest_and_leaves_what_was_taken(self, charge_point: ChargePoint) -> None:
        configure(charge_point, SendLocalListMaxLength=1)
        by_hand(charge_point, *(new_id_tag(name) for name in "ABC"))
        made = sync(charge_point)
        answer(Sync(made.commands[:1], made.batch, "Full"))
        answer(Sync(made.commands[1:2], made.batch, "Full"), "Failed")
        assert list(Command.objects.order_by("id").values_list("status", flat=True)) == [
            "answered", "answered", "withdrawn",
        ]  # fmt: skip
        assert state(charge_point) == "failed"
        assert list(LocalAuthListEntry.objects.values_list("id_tag", flat=True)) == ["A"]
        assert payloads(sync(charge_point))[0] == ("Full", 4, ["A"])

    def test_many_charge_points_share_a_batch_and_refusals_stay_apart(self, charge_point: ChargePoint) -> None:
        other, off = new_charge_point("CP-2"), new_charge_point("CP-3", disabled=True)
        for each in (charge_point, off):
            by_hand(each, IdTag.objects.filter(id_tag="A").first() or new_id_tag("A"))
        batch, outcomes = local_auth_lists.sync_many([charge_point, other, off], "test")
        assert [each.code if isinstance(each, CommandRefused) else payloads(each) for _, each in outcomes] == [
            [("Full", 1, ["A"])], "no_desired_list", "charge_point_disabled",
        ]  # fmt: skip
        assert Command.objects.get().batch == batch

    def test_number_of_queries_does_not_grow_with_the_list(
        self, charge_point: ChargePoint, django_assert_max_num_queries: Any
    ) -> None:
        IdTag.objects.bulk_create(IdTag(id_tag=f"T{n}", key=f"T{n}", groups=["all"]) for n in range(3000))
        by_group(charge_point, "all")
        with django_assert_max_num_queries(20):
            made = sync(charge_point)
        assert len(made.commands[0].payload["localAuthorizationList"]) == 3000


class TestPairs:
    def test_both_lists_beside_each_other_from_both_ends(self, charge_point: ChargePoint) -> None:
        tags = {name: new_id_tag(name) for name in ("b", "A", "_", "é", "c")}
        by_hand(charge_point, *tags.values())
        answer(sync(charge_point))
        tags["b"].blocked = True
        tags["b"].save()
        by_hand(charge_point, tags["b"], tags["_"], tags["c"], new_id_tag("Ab"))
        row = row_of(charge_point)
        found = list(pairs(row, NOW))
        assert [(pair.id_tag, pair.change) for pair in found] == [
            ("A", "remove"), ("Ab", "add"), ("b", "change"), ("c", None), ("_", None), ("é", "remove"),
        ]  # fmt: skip
        assert (found[2].desired, found[2].installed) == ({"status": "Blocked"}, ACCEPTED)
        assert list(pairs(row, NOW, backwards=True)) == found[::-1]
        assert list(pairs(row, NOW, edge="B")) == found[3:]
        assert list(pairs(row, NOW, edge="C", backwards=True)) == found[:3][::-1]
        assert [pair.id_tag for pair in pairs(row, NOW, differing=True)] == ["A", "Ab", "b", "é"]

    def test_where_nothing_is_wanted_nothing_is_to_be_removed(self, charge_point: ChargePoint) -> None:
        by_hand(charge_point, new_id_tag("A"))
        answer(sync(charge_point))
        local_auth_lists.want(charge_point, None, NOW)
        assert [pair.change for pair in pairs(row_of(charge_point), NOW)] == [None]


class TestReconciler:
    def run(self) -> int:
        return int(tasks.reconcile_local_auth_lists.apply().get())

    def test_nothing_is_sent_unless_it_was_switched_on(self, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            by_hand(new_charge_point(), new_id_tag("A"))
        assert self.run() == 0
        with tenant_scope(tenants.tenant_a):
            assert not Command.objects.exists()

    def test_difference_is_sent_once(self, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            by_hand(new_charge_point(), new_id_tag("A"), sync_automatically=True)
            made = [local_auth_lists.reconcile(datetime.now(UTC)) for _ in range(2)]
            assert made == [1, 0]
            command = Command.objects.get()
            assert (command.requested_by, command.payload["updateType"]) == ("automatic sync", "Full")

    def test_each_tenant_has_its_own_job(self, tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks.sync_local_auth_lists, "delay", tasks.sync_local_auth_lists.apply)
        for tenant in tenants:
            with tenant_scope(tenant):
                by_hand(new_charge_point(), new_id_tag("A"), sync_automatically=True)
        with tenant_scope(tenants.tenant_b):
            ChargePoint.objects.update(connected=False)
        assert self.run() == 1
        with tenant_scope(tenants.tenant_a):
            run = JobRun.objects.get()
            assert (run.task_name, run.state) == ("stations.tasks.sync_local_auth_lists", "succeeded")
            assert Command.objects.count() == 1
        with tenant_scope(tenants.tenant_b):
            assert not JobRun.objects.exists()
            assert not Command.objects.exists()

    @pytest.mark.parametrize("status", ["Failed", "VersionMismatch", "NotSupported"])
    def test_refused_list_is_never_sent_again_by_itself(self, charge_point: ChargePoint, status: str) -> None:
        by_hand(charge_point, new_id_tag("A"), sync_automatically=True)
        answer(sync(charge_point), status)
        assert local_auth_lists.reconcile(NOW) == 0

    @pytest.mark.parametrize("change", [{"connected": False}, {"disabled": True}, {"registration_status": "Pending"}])
    def test_only_to_charge_points_that_would_take_it_now(
        self, charge_point: ChargePoint, change: dict[str, Any]
    ) -> None:
        by_hand(charge_point, new_id_tag("A"), sync_automatically=True)
        ChargePoint.objects.update(**change)
        assert local_auth_lists.due(NOW) == []

    def test_list_that_is_too_long_does_not_keep_others_from_theirs(self, charge_point: ChargePoint) -> None:
        configure(charge_point, LocalAuthListMaxLength=1)
        tags = [new_id_tag("A"), new_id_tag("B")]
        for each in (charge_point, new_charge_point("CP-2")):
            by_hand(each, *tags, sync_automatically=True)
        assert local_auth_lists.reconcile(NOW) == 1
