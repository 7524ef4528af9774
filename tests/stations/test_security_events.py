"""Our own security events: one row for what is alike within a minute, alerts for what is serious."""

from __future__ import annotations

from datetime import timedelta

import pytest

from csms import tls
from stations import connections, handshake, registration, security_events, security_profiles
from stations.models import ChargePoint, SecurityEvent
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import NOW, new_charge_point


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def test_event_of_ours_says_who_and_from_where(charge_point: ChargePoint) -> None:
    security_events.note("wrong_password", charge_point, address="10.0.0.1", detail="twice", now=NOW)
    event = SecurityEvent.objects.get()
    assert (event.source, event.type, event.charge_point, event.identity) == (
        "csms", "wrong_password", charge_point, "CP-1",
    )  # fmt: skip
    assert (event.address, event.tech_info, event.times, event.critical) == ("10.0.0.1", "twice", 1, False)
    assert (event.timestamp, event.received_at, event.last_at) == (NOW, NOW, NOW)


def test_flood_within_a_minute_is_one_row_with_a_count(charge_point: ChargePoint) -> None:
    for second in range(59):
        security_events.note("no_credentials", charge_point, address="10.0.0.1", now=NOW + timedelta(seconds=second))
    event = SecurityEvent.objects.get()
    assert (event.times, event.last_at) == (59, NOW + timedelta(seconds=58))
    security_events.note("no_credentials", charge_point, address="10.0.0.1", now=NOW + timedelta(seconds=60))
    assert SecurityEvent.objects.count() == 2


def test_other_kind_identity_or_address_is_a_row_of_its_own(charge_point: ChargePoint) -> None:
    for kind, identity, address in (
        ("no_credentials", "", "a"), ("wrong_password", "", "a"), ("no_credentials", "", "b"),
        ("no_credentials", "CP-9", "a"),
    ):  # fmt: skip
        security_events.note(kind, charge_point, identity, address, now=NOW)
    assert SecurityEvent.objects.count() == 4


def test_serious_kinds_are_alerts(charge_point: ChargePoint) -> None:
    for kind in ("security_profile_lowered", "password_changed", "never heard of"):
        security_events.note(kind, charge_point, now=NOW)
    assert [event.type for event in SecurityEvent.objects.alerts()] == ["security_profile_lowered"]
    assert security_events.acknowledge(SecurityEvent.objects.all(), "otto") == 1
    assert not SecurityEvent.objects.alerts().exists()


def test_refusals_that_are_no_matter_of_security_are_no_event(charge_point: ChargePoint) -> None:
    for reason in ("no_subprotocol", "bad_path", "tenant_limit", "draining", "disabled"):
        security_events.note_refusal(reason, charge_point, "CP-1", "a", NOW)
    assert not SecurityEvent.objects.exists()


def test_every_refusal_for_the_sake_of_security_is_a_kind() -> None:
    others = {
        "bad_path", "no_subprotocol", "unsupported_subprotocol", "colon_in_identity", "unknown_tenant", "disabled",
        "tenant_limit", "draining", "busy", "unavailable", "malformed", "head_too_slow", "head_too_large", "not_get",
        "no_upgrade", "websocket_version", "websocket_key",
    }  # fmt: skip
    assert set(handshake.REFUSALS) - others <= set(security_events.KINDS)
    assert not others & set(security_events.KINDS)


def handshake_of(tenant: Tenant, identity: str, authorization: bytes | None) -> None:
    request = handshake.Request(
        tenant_slug=tenant.slug, identity=identity, path_is_valid=True, subprotocols=["ocpp1.6"],
        authorization=authorization, address="10.0.0.9", secure=False, user_agent="",
    )  # fmt: skip
    assert isinstance(handshake.decide(request, "process"), handshake.Refusal)


def test_refused_handshakes_are_events_without_the_password(in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
    handshake_of(in_tenant_a, "CP-1", None)
    handshake_of(in_tenant_a, "CP-1", b"Basic Q1AtMTpzM2NyZXQtd29yZC0xMjM0")
    handshake_of(in_tenant_a, "NOBODY", b"Basic Tk9CT0RZOnMzY3JldC13b3JkLTEyMzQ=")
    events = list(SecurityEvent.objects.order_by("id"))
    assert [(event.type, event.identity, event.charge_point, event.address) for event in events] == [
        ("no_credentials", "CP-1", charge_point, "10.0.0.9"),
        ("wrong_password", "CP-1", charge_point, "10.0.0.9"),
        ("unknown_identity", "NOBODY", None, "10.0.0.9"),
    ]
    assert "s3cret" not in str([vars(event) for event in events])


def kinds() -> list[str]:
    return list(SecurityEvent.objects.order_by("id").values_list("type", flat=True))


def test_profile_and_password_set_by_an_administrator(charge_point: ChargePoint) -> None:
    charge_point.security_profile = 0
    registration.set_password(charge_point, "0123456789abcdef")
    registration.save(charge_point, ["security_profile", "password_hash"])
    assert kinds() == ["password_changed", "security_profile_lowered"]
    registration.save(charge_point, ["security_profile"])
    assert "0123456789abcdef" not in str([vars(event) for event in SecurityEvent.objects.all()])
    assert [event.type for event in SecurityEvent.objects.alerts()] == ["security_profile_lowered"]
    assert len(kinds()) == 2


def test_profile_lowered_by_its_own_verb(in_tenant_a: Tenant) -> None:
    row = new_charge_point("CP-3", security_profile=2)
    security_profiles.lower_profile(row, 1)
    event = SecurityEvent.objects.get()
    assert (event.type, event.tech_info, event.charge_point) == ("security_profile_lowered", "From 2 to 1.", row)


def test_failed_tls_handshake_is_that_of_the_charge_point_at_the_address(tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_a):
        new_charge_point("CP-1", remote_address="10.0.0.1")
        for number in (2, 3):
            new_charge_point(f"CP-{number}", remote_address="10.0.0.2")
    with tenant_scope(tenants.tenant_b):
        new_charge_point("CP-1", remote_address="10.0.0.2")
    for reason, address in (
        ("tls_version", "10.0.0.1"), ("tls_no_suite", "10.0.0.2"), ("tls_version", "10.9.9.9"),
        ("tls_connection_lost", "10.0.0.1"),
    ):  # fmt: skip
        security_events.note_tls_failure(reason, address, "detail")
    found = []
    for tenant in tenants:
        with tenant_scope(tenant):
            rows = SecurityEvent.objects.order_by("id").select_related("charge_point")
            found += [(tenant.slug, row.type, str(row.charge_point), row.address) for row in rows]
    assert found == [
        ("alpha", "tls_version", "CP-1", "10.0.0.1"),
        ("alpha", "tls_no_suite", "None", "10.0.0.2"),
        ("beta", "tls_no_suite", "CP-1", "10.0.0.2"),
    ]


async def test_failed_tls_handshakes_that_are_alike_are_looked_into_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_into: list[tuple[str, str, str]] = []
    monkeypatch.setattr(security_events, "note_tls_failure", lambda *facts: looked_into.append(facts))
    monkeypatch.setattr(connections, "_told", {})
    monkeypatch.setattr(connections, "MAX_TLS_FAILURES_A_MINUTE", 3)
    for number in (1, 1, 2, 3, 4, 5):
        connections.tls_failed(tls.Failure(f"10.0.0.{number}", "tls_version", "old"))
    await connections.in_handshake_thread(lambda: None)
    process = connections._process()
    process.handshakes.shutdown(wait=True)
    assert sorted(looked_into) == [("tls_version", f"10.0.0.{number}", "old") for number in (1, 2, 3)]
