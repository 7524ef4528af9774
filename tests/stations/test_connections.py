"""Whose sockets a process has: rows that say something else are set right, dead processes forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stations import connections, dispatch
from stations.models import ChargePoint, ServerProcess
from tenants.models import Tenant
from tenants.scope import platform_scope

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def process() -> connections.Process:
    return connections.Process(id="this-process")


def charge_point(identity: str, owner: str = "", generation: int = 1) -> ChargePoint:
    return ChargePoint.objects.create(
        identity=identity, connected=bool(owner), connection_owner=owner, connection_generation=generation
    )


def look(process: connections.Process, *held: ChargePoint) -> set[int]:
    with platform_scope():
        return connections._compare(process, {(each.pk, each.connection_generation) for each in held}, NOW)


def state(row: ChargePoint) -> tuple[bool, str]:
    row.refresh_from_db()
    return row.connected, row.connection_owner


class TestCompare:
    def test_connection_whose_end_could_not_be_stored_is_ended_at_the_second_look(
        self, in_tenant_a: Tenant, process: connections.Process
    ) -> None:
        ghost = charge_point("GHOST", "this-process")
        look(process)
        assert state(ghost) == (True, "this-process")
        look(process)
        assert state(ghost) == (False, "")
        assert ghost.disconnected_at == NOW
        assert process.suspects == set()

    def test_one_that_was_just_accepted_is_left_alone(self, in_tenant_a: Tenant, process: connections.Process) -> None:
        new = charge_point("NEW", "this-process")
        look(process)
        look(process, new)
        look(process, new)
        assert state(new) == (True, "this-process")

    def test_one_that_was_taken_for_disconnected_is_connected_again(
        self, in_tenant_a: Tenant, process: connections.Process
    ) -> None:
        forgotten = charge_point("FORGOTTEN")
        look(process, forgotten)
        look(process, forgotten)
        assert state(forgotten) == (True, "this-process")

    def test_one_with_a_newer_connection_elsewhere_is_not_claimed(
        self, in_tenant_a: Tenant, process: connections.Process
    ) -> None:
        moved = charge_point("MOVED", "another-process", generation=2)
        old = ChargePoint(pk=moved.pk, connection_generation=1)
        # It is rung at the second look, and finds that it is over.
        assert [look(process, old) for _ in range(3)] == [set(), {moved.pk}, set()]
        assert state(moved) == (True, "another-process")


class Socket:
    """A connection as this process keeps it."""

    answering = asking = over = False

    def ring(self) -> None: ...

    def outlived(self) -> None:
        self.over = True

    async def close_for_restart(self) -> None: ...


class TestAdd:
    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    async def test_of_two_of_one_charge_point_the_older_is_told_whichever_came_to_be_known_first(
        self, order: tuple[int, int]
    ) -> None:
        links = {generation: dispatch.Link(1, 7, generation, "alpha/CP-7") for generation in order}
        sockets = {generation: Socket() for generation in order}
        for generation in order:
            connections.add(links[generation], sockets[generation])
        assert (sockets[1].over, sockets[2].over) == (True, False)
        for generation in order:
            connections.remove(links[generation], sockets[generation])
        assert connections._process().newest == {}


class TestForgetDeadProcesses:
    @pytest.mark.parametrize(
        ("reported", "alive"),
        [
            (timedelta(seconds=-59), True),
            (timedelta(seconds=-61), False),
            (timedelta(seconds=59), True),
            # From before the clock was set back.
            (timedelta(days=1), False),
        ],
    )
    def test_process_is_alive_while_it_reports(self, in_tenant_a: Tenant, reported: timedelta, alive: bool) -> None:
        ServerProcess.objects.create(id="p", host="h", pid=1, started_at=NOW, alive_at=NOW + reported)
        row = charge_point("CP", "p")
        assert connections.forget_dead_processes(NOW) == (0 if alive else 1)
        assert state(row) == ((True, "p") if alive else (False, ""))
