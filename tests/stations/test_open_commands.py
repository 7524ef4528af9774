"""Commands of many charge points in one batch of a lane: as each alone, at the cost of one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from csms.ocppj.errors import InternalError
from stations import commands, departures, open_commands
from stations.commands import Outgoing
from stations.dispatch import Item, Work, answer_batch
from stations.models import ChargePoint, Command, ConfigurationKey, SecurityEvent
from stations.models.command import CommandStatus
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.lane_calls import new_link

BATCH = 10
CHANGE = ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"})
CLEAR: tuple[str, dict[str, Any]] = ("ClearCache", {})
RESET = ("Reset", {"type": "Soft"})


class Fleet:
    """Connected charge points of one tenant, and what a lane does about their commands."""

    def __init__(self, tenant: Tenant, size: int = BATCH) -> None:
        self.tenant = tenant
        self.links = [new_link(tenant, f"CP-{n}", last_seen_at=datetime.now(UTC)) for n in range(size)]

    def enqueue(self, *requests: tuple[str, dict[str, Any]], to: list[int] | None = None) -> None:
        with tenant_scope(self.tenant):
            numbers = range(len(self.links)) if to is None else to
            ids = [self.links[number].charge_point_id for number in numbers]
            chosen = list(ChargePoint.objects.filter(pk__in=ids).select_related("tenant").order_by("pk"))
            for action, payload in requests:
                commands.enqueue_many(chosen, action, payload, "tester")

    def take(self, number: int, message_id: str = "") -> Work:
        link = self.links[number]
        take = partial(commands.take_next, generation=link.generation, message_id=message_id or f"m-{number}")
        return Work(link, take, commands=True)

    def answered(self, number: int, payload: Any, message_id: str = "", late: bool = False) -> Work:
        message_id = message_id or f"m-{number}"
        answered = partial(commands.answered, message_id=message_id, payload=payload, late=late)
        return Work(self.links[number], answered, commands=True)

    def release(self, number: int, lost: str = "") -> Work:
        link = self.links[number]
        return Work(link, partial(departures.release, generation=link.generation, lost=lost), commands=True)

    def all(self, item: Callable[..., Work], *arguments: Any) -> list[Work]:
        return [item(number, *arguments) for number in range(len(self.links))]

    def statuses(self) -> list[list[str]]:
        """Of each charge point, the statuses of its commands, the oldest first."""
        with tenant_scope(self.tenant):
            rows = list(Command.objects.order_by("pk").values_list("charge_point_id", "status"))
        return [[status for owner, status in rows if owner == link.charge_point_id] for link in self.links]


@pytest.fixture
def fleet(tenants: Tenants) -> Fleet:
    return Fleet(tenants.tenant_a)


def run(*items: Item) -> list[Any]:
    return [outcome.result for outcome in answer_batch(list(items))]


def actions(found: list[Any]) -> list[str | None]:
    return [one.action if isinstance(one, Outgoing) else None for one in found]


def statements(items: list[Work]) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        found = run(*items)
    assert not any(isinstance(one, Exception) for one in found)
    return [sql for query in queries if "SAVEPOINT" not in (sql := query["sql"] or "sent in a pipeline")]


# --- cost -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1, BATCH])
def test_taking_answering_and_leaving_cost_the_same_for_one_and_for_many(fleet: Fleet, size: int) -> None:
    """The charge points, their tenant and their open commands are looked up; what changed is written."""
    fleet.enqueue(CHANGE, CHANGE)
    taken = statements(fleet.all(fleet.take)[:size])
    assert len(taken) == 4, "\n".join(taken)
    # The command, and the value of the key.
    answered = statements(fleet.all(fleet.answered, {"status": "Accepted"})[:size])
    assert len(answered) == 5, "\n".join(answered)
    # The command that was on the connection, and the charge point.
    run(*fleet.all(fleet.take)[:size])
    left = statements(fleet.all(fleet.release)[:size])
    assert len(left) == 5, "\n".join(left)
    assert fleet.statuses()[0] == ["answered", "queued"]


def test_answer_and_next_command_cost_one_statement_more_than_the_answer(fleet: Fleet) -> None:
    fleet.enqueue(CHANGE, CLEAR)
    run(*fleet.all(fleet.take))
    pairs = [
        item
        for number in range(BATCH)
        for item in (fleet.answered(number, {"status": "Accepted"}), fleet.take(number, f"n-{number}"))
    ]
    found = statements(pairs)
    assert len(found) == 6, "\n".join(found)
    assert fleet.statuses() == [["answered", "sent"]] * BATCH


def test_queries_of_a_bulk_request_do_not_grow_and_its_payload_is_checked_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    validate = commands.validate_call

    def count(action: str, payload: Any) -> Any:
        checked.append(action)
        return validate(action, payload)

    monkeypatch.setattr(commands, "validate_call", count)
    counts = []
    for to in ([0], list(range(BATCH))):
        with CaptureQueriesContext(connection) as queries:
            fleet.enqueue(CHANGE, to=to)
        counts.append(len(queries))
    assert (counts[0], checked) == (counts[1], ["ChangeConfiguration"] * 2)


# --- each as alone ----------------------------------------------------------------------------------------------------
def test_bulk_request_reaches_every_charge_point_exactly_once(fleet: Fleet) -> None:
    fleet.enqueue(CHANGE)
    found = run(*fleet.all(fleet.take), *fleet.all(fleet.take, "again"))
    # Whoever takes has nothing outstanding: the second look sends it again, under the newer id.
    assert actions(found) == ["ChangeConfiguration"] * (2 * BATCH)
    run(*fleet.all(fleet.answered, {"status": "Accepted"}, "again"))
    assert actions(run(*fleet.all(fleet.take))) == [None] * BATCH
    with tenant_scope(fleet.tenant):
        assert set(Command.objects.values_list("status", "message_id")) == {("answered", "again")}
        assert (
            list(ConfigurationKey.objects.values_list("desired_value", "value", "reboot_required", "known"))
            == [("60", "60", False, True)] * BATCH
        )


def test_oldest_command_goes_first_and_one_is_outstanding(fleet: Fleet) -> None:
    fleet.enqueue(CLEAR, CHANGE)
    run(*fleet.all(fleet.take))
    assert fleet.statuses() == [["sent", "queued"]] * BATCH


def test_value_taken_with_the_next_boot_is_wanted_but_not_yet_the_present_one(fleet: Fleet) -> None:
    with tenant_scope(fleet.tenant):
        for link in fleet.links[:2]:
            ConfigurationKey.objects.create(
                charge_point_id=link.charge_point_id, key="HeartbeatInterval", value="30", readonly=False
            )
    fleet.enqueue(CHANGE)
    run(*fleet.all(fleet.take))
    replies = ["RebootRequired", "Accepted", "RebootRequired", "Rejected"]
    run(*(fleet.answered(number, {"status": reply}) for number, reply in enumerate(replies)))
    with tenant_scope(fleet.tenant):
        rows = ConfigurationKey.objects.order_by("charge_point_id")
        found = list(rows.values_list("desired_value", "value", "reboot_required", "readonly"))
    assert found == [("60", "30", True, False), ("60", "60", False, False), ("60", None, True, None)]


def test_those_that_may_not_be_told_anything_do_not_hold_up_the_others(fleet: Fleet) -> None:
    remote_start = ("RemoteStartTransaction", {"idTag": "TAG-1"})
    fleet.enqueue(remote_start, CLEAR)
    with tenant_scope(fleet.tenant):
        ChargePoint.objects.filter(identity="CP-1").update(registration_status="Rejected")
        ChargePoint.objects.filter(identity="CP-2").update(registration_status="Pending")
        ChargePoint.objects.filter(identity="CP-3").update(connection_generation=2)
        Command.objects.filter(charge_point__identity="CP-4", action="RemoteStartTransaction").update(
            expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )
    found = actions(run(*fleet.all(fleet.take)))
    start = "RemoteStartTransaction"
    assert found == [start, None, "ClearCache", None, "ClearCache", *[start] * (BATCH - 5)]
    assert fleet.statuses()[:6] == [
        ["sent", "queued"], ["queued", "queued"], ["queued", "sent"], ["queued", "queued"], ["expired", "sent"],
        ["sent", "queued"],
    ]  # fmt: skip


def test_suspended_tenant_sends_nothing_and_another_in_the_same_batch_does(tenants: Tenants) -> None:
    a, b = Fleet(tenants.tenant_a, 2), Fleet(tenants.tenant_b, 2)
    a.enqueue(CLEAR)
    b.enqueue(CLEAR)
    with tenant_scope(tenants.tenant_a):
        tenants.tenant_a.suspend(datetime.now(UTC))
    assert actions(run(a.take(0), b.take(0), a.take(1), b.take(1))) == [None, "ClearCache", None, "ClearCache"]
    assert (a.statuses(), b.statuses()) == ([["queued"]] * 2, [["sent"]] * 2)


def test_late_answer_and_answer_to_nothing_stand_beside_others(fleet: Fleet) -> None:
    fleet.enqueue(CHANGE)
    run(*fleet.all(fleet.take))
    silent = partial(commands.timed_out, message_id="m-0")
    run(Work(fleet.links[0], silent, commands=True))
    accepted = {"status": "Accepted"}
    run(fleet.answered(0, accepted, late=True), fleet.answered(1, accepted), fleet.answered(2, accepted, "m-9"))
    assert fleet.statuses()[:3] == [["timed_out"], ["answered"], ["sent"]]
    with tenant_scope(fleet.tenant):
        assert ConfigurationKey.objects.count() == 2


def test_answer_that_is_no_json_object_is_kept_as_it_came(fleet: Fleet) -> None:
    fleet.enqueue(CLEAR)
    run(*fleet.all(fleet.take))
    odd: list[Any] = ["text", 7, [1], {"status": 2**70}, {"a": 'quo"te\\'}]
    run(*(fleet.answered(number, payload) for number, payload in enumerate(odd)))
    with tenant_scope(fleet.tenant):
        rows = Command.objects.filter(status="answered").order_by("charge_point_id")
        assert [row.response for row in rows] == odd
        assert all(row.warnings[0]["code"] == "invalid_response" for row in rows)


def test_parts_of_a_list_after_one_that_was_refused_are_not_sent_in_the_same_batch(fleet: Fleet) -> None:
    part = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": []}
    with tenant_scope(fleet.tenant):
        charge_points = list(ChargePoint.objects.filter(identity="CP-0").select_related("tenant"))
        batch = commands.enqueue_many(charge_points, "SendLocalList", part, "tester")
        commands.enqueue(
            charge_points[0], "SendLocalList", part | {"listVersion": 2, "updateType": "Differential"}, "tester",
            batch=batch,
        )  # fmt: skip
    run(fleet.take(0))
    found = run(fleet.answered(0, {"status": "Failed"}), fleet.take(0, "n"))
    assert (found[1], fleet.statuses()[0]) == (None, ["answered", "withdrawn"])


# --- the end of connections -------------------------------------------------------------------------------------------
def test_connections_that_end_together_end_what_was_on_them(fleet: Fleet) -> None:
    fleet.enqueue(CLEAR, to=[0, 2, 3])
    fleet.enqueue(RESET, to=[1])
    run(*fleet.all(fleet.take))
    with tenant_scope(fleet.tenant):
        # Newer connections: one had been read by the lane, the other came meanwhile.
        ChargePoint.objects.filter(identity="CP-2").update(connection_generation=2)
    meanwhile = Work(fleet.links[3], lambda charge_point, _: raise_generation(charge_point.pk))
    run(fleet.release(0, "unreachable"), fleet.release(1), fleet.release(2), fleet.release(3), meanwhile)
    assert fleet.statuses()[:4] == [["queued"], ["unknown"], ["queued"], ["queued"]]
    with tenant_scope(fleet.tenant):
        connected = list(ChargePoint.objects.order_by("pk").values_list("connected", flat=True)[:5])
        assert connected == [False, False, True, True, True]
        assert [event.type for event in SecurityEvent.objects.all()] == ["unreachable"]


def raise_generation(charge_point_id: int) -> None:
    ChargePoint.objects.filter(pk=charge_point_id).update(connection_generation=2)


def test_command_taken_and_lost_in_one_batch_is_queued_again(fleet: Fleet) -> None:
    fleet.enqueue(CLEAR)
    run(fleet.take(0), fleet.release(0), fleet.take(1))
    assert fleet.statuses()[:2] == [["queued"], ["sent"]]


# --- failure ----------------------------------------------------------------------------------------------------------
def test_one_whose_answer_cannot_be_taken_in_does_not_hurt_the_others(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = fleet.links[1].charge_point_id
    take_in = commands.TO_CHARGE_POINT["ChangeConfiguration"]

    def conf(command: Command, *arguments: Any) -> None:
        if command.charge_point_id == bad:
            raise ValueError("cannot be taken in")
        take_in(command, *arguments)

    monkeypatch.setitem(commands.TO_CHARGE_POINT, "ChangeConfiguration", conf)
    fleet.enqueue(CHANGE)
    run(*fleet.all(fleet.take))
    found = run(*fleet.all(fleet.answered, {"status": "Accepted"}))
    assert [isinstance(one, InternalError) for one in found] == [False, True, *[False] * (BATCH - 2)]
    assert fleet.statuses() == [["answered"], ["sent"], *[["answered"]] * (BATCH - 2)]


@pytest.mark.django_db(transaction=True)
def test_second_outstanding_command_is_refused_by_the_database_and_its_batch_done_one_by_one() -> None:
    fleet = Fleet(Tenant.objects.create(slug="alpha", name="A"), 3)
    fleet.enqueue(CLEAR)

    def intrude(charge_point: ChargePoint, now: datetime) -> None:
        later = now + timedelta(minutes=1)
        Command.objects.create(
            charge_point=charge_point, action="ClearCache", payload={}, status=CommandStatus.SENT, message_id="theirs",
            connection_generation=1, created_at=now, expires_at=later, sent_at=now,
        )  # fmt: skip

    found = run(fleet.take(0), Work(fleet.links[1], intrude), fleet.take(1), fleet.take(2))
    assert actions(found) == ["ClearCache", None, "ClearCache", "ClearCache"]
    # Theirs is seen now, and nobody awaits it.
    assert fleet.statuses() == [["sent"], ["sent", "queued"], ["sent"]]


@pytest.mark.parametrize(("many", "of_one"), [(3, 50), (1, 1)])
def test_more_than_may_be_read_at_once_is_read_for_each(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, many: int, of_one: int
) -> None:
    monkeypatch.setattr(open_commands, "MANY", many)
    monkeypatch.setattr(open_commands, "MANY_OF_ONE", of_one)
    fleet.enqueue(CLEAR, CHANGE)
    assert actions(run(*fleet.all(fleet.take))) == ["ClearCache"] * BATCH
    run(*fleet.all(fleet.answered, {"status": "Accepted"}))
    assert actions(run(*fleet.all(fleet.take))) == ["ChangeConfiguration"] * BATCH
    assert fleet.statuses() == [["answered", "sent"]] * BATCH


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_what_another_process_has_its_hands_on_is_left_to_it() -> None:
    fleet = Fleet(Tenant.objects.create(slug="alpha", name="A"), 2)
    fleet.enqueue(CLEAR, CHANGE)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with tenant_scope(fleet.tenant), transaction.atomic():
            rows = Command.objects.filter(charge_point__identity="CP-0", action="ClearCache")
            list(rows.select_for_update(of=("self",)))
            locked.set()
            done.wait(30)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert locked.wait(30)
        assert actions(run(fleet.take(0), fleet.take(1))) == ["ChangeConfiguration", "ClearCache"]
    finally:
        done.set()
        other.join()
    assert fleet.statuses() == [["queued", "sent"], ["sent", "queued"]]
