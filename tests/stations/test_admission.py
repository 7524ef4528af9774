"""Many handshakes let in at once: who comes in with others, who is left to be judged alone, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from stations import admission, attempt_limits, commands, credentials, handshake, passwords, take_over
from stations.handshake import Accepted, Request
from stations.models import ChargePoint, Command, ConnectionAttempt
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.test_handshake_decision import PASSWORD, register, request

OPEN = {"password": None, "secure": False}


@pytest.fixture(autouse=True)
def _no_attempts_yet() -> None:
    cache.clear()


@pytest.fixture
def tenant(tenants: Tenants) -> Tenant:
    return tenants.tenant_a


def let_in(*requests: Request) -> list[Accepted | None]:
    return admission.let_in(requests, "process-1")


def test_all_who_are_right_are_let_in_as_if_each_had_come_alone(tenant: Tenant) -> None:
    rows = [register(tenant, f"CP-{number}") for number in range(3)]
    one, two, alone = request("CP-0"), request("CP-1", address="192.0.2.2", user_agent="Box\n1"), request("CP-2")
    first, second = let_in(one, two)
    third = handshake.decide(alone, "process-1")
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert isinstance(third, Accepted)
    assert [a.link.charge_point_id for a in (first, second, third)] == [row.pk for row in rows]
    assert [a.link.generation for a in (first, second, third)] == [2, 2, 2]
    assert first.link.lane_key == "alpha/CP-0"
    assert (first.subprotocol, first.strict, first.call_timeout_seconds, first.has_commands) == (
        third.subprotocol, third.strict, third.call_timeout_seconds, third.has_commands,
    )  # fmt: skip
    fields = ("connected", "connection_owner", "remote_address", "connection_generation")
    with tenant_scope(tenant):
        stored = [ChargePoint.objects.filter(pk=row.pk).values_list(*fields).get() for row in rows]
        attempts = list(ConnectionAttempt.objects.order_by("charge_point_id").values_list("address", "user_agent"))
        alike = ConnectionAttempt.objects.exclude(user_agent="Box\ufffd1").order_by("charge_point_id")
        columns = [field.name for field in ConnectionAttempt._meta.fields]
        same = [name for name in columns if name not in ("id", "charge_point", "identity", "at")]
        together, judged = alike.values(*same)
    assert stored == [(True, "process-1", f"192.0.2.{number}", 2) for number in (1, 2, 1)]
    assert attempts == [("192.0.2.1", "test"), ("192.0.2.2", "Box\ufffd1"), ("192.0.2.1", "test")]
    assert together == judged
    assert attempt_limits.look_up([attempt_limits.good_key(tenant, one)])


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ({}, {"password": "wrong-password-1234"}),
        ({}, {"password": None}),
        ({"exact_security_profile": True}, {"secure": True}),
        ({"pending_security_profile": 2}, {"secure": True}),
        ({"security_profile": 0}, {"secure": True}),
        ({}, {"subprotocols": ["ocpp2.0.1"]}),
        ({}, {"path_is_valid": False}),
        ({}, {"tenant_slug": "no-such-tenant"}),
        ({}, {"authorization": b"Basic %%%"}),
        ({"disabled": True}, {}),
        ({"security_profile": 2}, {}),
        ({"security_profile": 3}, {"secure": True, "tls": {"client_cert_chain": [b"DER"]}}),
        ({"security_profile": 0}, {"password": None}),
        ({"password_hash": credentials.hashed(PASSWORD.encode(), generated=False)}, {}),
        ({"password_hash": credentials.hashed(bytes.fromhex("ab" * 20), generated=True),
          "accept_hexadecimal_password": False}, {"password": "AB" * 20}),
    ],
)  # fmt: skip
def test_who_is_not_plainly_right_is_left_to_be_judged_alone(
    tenant: Tenant, fields: dict[str, Any], members: dict[str, Any]
) -> None:
    register(tenant, **fields)
    register(tenant, "OTHER")
    left, other = let_in(request(**members), request("OTHER"))
    assert left is None
    assert isinstance(other, Accepted)
    with tenant_scope(tenant):
        assert ConnectionAttempt.objects.values_list("identity", flat=True).get() == "OTHER"


def test_right_password_inside_tls_is_plain_where_that_is_not_asked_for(tenant: Tenant) -> None:
    register(tenant)
    (accepted,) = let_in(request(secure=True))
    assert isinstance(accepted, Accepted)
    with tenant_scope(tenant):
        assert ConnectionAttempt.objects.get().security_profile == 2
        assert ChargePoint.objects.get().security_profile == 1


def test_unknown_identity_and_second_dial_of_one_are_left_to_be_judged_alone(tenant: Tenant) -> None:
    register(tenant)
    accepted, again, unknown = let_in(request(), request(), request("NOBODY"))
    assert isinstance(accepted, Accepted)
    assert (again, unknown) == (None, None)


def test_without_a_password_where_the_tenant_allows_it_and_without_a_subprotocol_where_that_is_assumed(
    tenant: Tenant,
) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(allow_security_profile_0=True)
    register(tenant, security_profile=0, assume_ocpp16=True)
    (found,) = let_in(request(password=None, subprotocols=[]))
    assert isinstance(found, Accepted)
    assert found.subprotocol is None


def test_charge_points_of_two_tenants_with_one_identity_come_in_each_at_its_own(tenants: Tenants) -> None:
    a, b = register(tenants.tenant_a), register(tenants.tenant_b)
    found = let_in(request(), request(tenant_slug=tenants.tenant_b.slug))
    assert [one and (one.link.tenant_id, one.link.charge_point_id) for one in found] == [
        (tenants.tenant_a.pk, a.pk), (tenants.tenant_b.pk, b.pk),
    ]  # fmt: skip


def test_password_that_is_being_changed_is_judged_alone(tenant: Tenant) -> None:
    row = register(tenant, registration_status="Accepted")
    with tenant_scope(tenant):
        passwords.rotate_password(row, "operator")
    assert let_in(request()) == [None]


def test_rival_in_a_contest_is_judged_alone_and_whoever_is_connected_is_not(tenant: Tenant) -> None:
    register(tenant)
    assert isinstance(handshake.decide(request(), "process-1"), Accepted)
    until = datetime.now(UTC) + timedelta(minutes=1)
    with tenant_scope(tenant):
        ChargePoint.objects.update(contested_at=datetime.now(UTC), contested_until=until, contests=1)
    assert let_in(request(address="192.0.2.9")) == [None]
    assert isinstance(let_in(request())[0], Accepted)


def test_older_socket_is_told_to_go_and_its_commands_are_settled(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    row, idle = register(tenant, registration_status="Accepted"), register(tenant, "IDLE")
    told: list[tuple[list[int], int]] = []
    now = datetime.now(UTC)
    with tenant_scope(tenant):
        ChargePoint.objects.filter(pk=row.pk).update(connected=True)
        row.refresh_from_db()
        command = commands.enqueue(row, "Reset", {"type": "Soft"}, "operator")
        Command.objects.filter(pk=command.pk).update(
            status="sent", message_id="m", sent_at=now, connection_generation=1
        )
        commands.enqueue(row, "ClearCache", {}, "operator")
    monkeypatch.setattr(take_over.commands, "notify", lambda ids, message: told.append((ids, message["generation"])))
    with django_capture_on_commit_callbacks(execute=True):
        first, second = let_in(request(), request("IDLE"))
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert (first.has_commands, second.has_commands) == (True, False)
    assert told == [([row.pk], 2)]
    with tenant_scope(tenant):
        assert sorted(Command.objects.values_list("action", "status")) == [
            ("ClearCache", "queued"),
            ("Reset", "unknown"),
        ]
        assert ChargePoint.objects.get(pk=idle.pk).connection_generation == 2


def test_charge_point_deleted_meanwhile_is_left_out(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, other = register(tenant), register(tenant, "OTHER")
    unchanged = take_over.take_over

    def delete_first(arrivals: Any, owner: str, now: datetime) -> Any:
        ChargePoint.objects.filter(pk=gone.pk).delete()
        return unchanged(arrivals, owner, now)

    monkeypatch.setattr(admission, "take_over", delete_first)
    left, found = let_in(request(), request("OTHER"))
    assert left is None
    assert isinstance(found, Accepted)
    assert found.link.charge_point_id == other.pk


def test_number_of_statements_does_not_grow_with_those_who_come(tenant: Tenant) -> None:
    for number in range(20):
        register(tenant, f"CP-{number}")
    counted = []
    for numbers in (range(1), range(1, 20)):
        requests = [request(f"CP-{number}") for number in numbers]
        with CaptureQueriesContext(connection) as queries:
            found = let_in(*requests)
        assert all(found)
        # On SQLite each row of an executemany is counted.
        sql = {query["sql"].split(" WHERE ")[0][:40] for query in queries}
        counted.append((len(sql), len([query for query in queries if query["sql"].startswith("SELECT")])))
    assert counted[0] == counted[1]
    assert counted[1][0] <= 9
