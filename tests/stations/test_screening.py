"""Many handshakes looked through at once: what is refused, what is left to be judged for itself, what has a row."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from pytest_django import Settings

from stations import credentials, handshake, screening
from stations.doorkeeper import note_floods
from stations.handshake import Refusal, Request
from stations.models import ConnectionAttempt, SecurityEvent
from stations.screening import Screen
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.test_handshake_decision import PASSWORD, register, request
from tests.stations.upgrade import basic

WRONG = "wrong-password-1234"


@pytest.fixture(autouse=True)
def _no_attempts_yet() -> None:
    cache.clear()


@pytest.fixture
def tenant(tenants: Tenants) -> Tenant:
    return tenants.tenant_a


def reasons(*requests: Request, screen: Screen | None = None) -> list[str | None]:
    screened = (screen or Screen()).look_through(requests)
    return [None if one.refusal is None else one.refusal.reason for one in screened]


SAME = [
    request(password=WRONG),
    request(password=None),
    request("NOBODY"),
    request("NOBODY", None),
    request("NOBODY", address="192.0.2.7", subprotocols=["ocpp2.0.1"]),
    request(authorization=b"Bearer x"),
    request(authorization=b"Basic %%%"),
    request(authorization=basic("CP-2", PASSWORD)[1].encode()),
    request(path_is_valid=False),
    request(subprotocols=[]),
    request(tenant_slug="no-such-tenant"),
    request("CERTIFICATE", None),
]


@pytest.mark.parametrize("asked", SAME, ids=range(len(SAME)))
def test_refusal_is_the_one_that_judging_comes_to(tenant: Tenant, asked: Request) -> None:
    register(tenant)
    register(tenant, "CERTIFICATE", security_profile=3)
    (found,) = Screen().look_through([asked])
    cache.clear()
    judged = handshake.decide(asked, "process-1")
    assert isinstance(judged, Refusal)
    assert found.refusal == judged


def typed(tenant: Tenant) -> None:
    register(tenant, password_hash=credentials.hashed(PASSWORD.encode(), generated=False))


def test_nobody_with_the_right_password_is_refused(tenant: Tenant) -> None:
    register(tenant)
    register(tenant, "CP-2", password_hash=credentials.hashed(PASSWORD.encode(), generated=False))
    assert reasons(request(), request("CP-2")) == [None, None]
    # A typed password takes a slow hash, so it cannot be let in with others.
    assert [one.plain for one in Screen().look_through([request(), request("CP-2")])] == [True, False]


def test_wrong_one_is_left_to_be_judged_where_that_takes_a_slow_hash(tenant: Tenant) -> None:
    typed(tenant)
    assert reasons(request(password=WRONG)) == [None]


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ({"security_profile": 0}, {"password": None}),
        ({"security_profile": 1}, {"secure": True}),
        ({}, {"tls": {"client_cert_chain": [b"DER"]}, "secure": True}),
    ],
)
def test_what_hangs_on_more_than_the_password_is_left_to_be_judged(
    tenant: Tenant, fields: dict[str, Any], members: dict[str, Any]
) -> None:
    register(tenant, **fields)
    assert reasons(request(**{"password": WRONG} | members)) == [None]


def test_identity_of_no_one_is_left_to_be_judged_where_the_tenant_admits_it(tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(unknown_charge_points="pending")
    assert reasons(request("NEW")) == [None]


def test_failures_count_up_to_the_limits_within_one_look_and_for_the_other_processes(
    tenant: Tenant, settings: Settings
) -> None:
    settings.CSMS_FAILED_ATTEMPTS_PER_IDENTITY, settings.CSMS_FAILED_ATTEMPTS_PER_ADDRESS = 2, 4
    register(tenant)
    guesses = [request(password=WRONG)] * 3
    strangers = [request(f"NOBODY-{number}") for number in range(3)]
    assert reasons(*guesses, *strangers) == [
        *["wrong_password"] * 2, "too_many_attempts", *["unknown_identity"] * 2, "too_many_attempts",
    ]  # fmt: skip
    assert reasons(request(), request("OTHER"), screen=Screen()) == ["too_many_attempts"] * 2
    # Who was connected from there before is meant by the limit of its own pair only.
    assert reasons(request("KNOWN", known=True)) == ["unknown_identity"]


def test_limit_that_judging_has_counted_to_holds_here_too(tenant: Tenant, settings: Settings) -> None:
    settings.CSMS_FAILED_ATTEMPTS_PER_IDENTITY = 2
    register(tenant)
    for _ in range(2):
        handshake.decide(request(password=WRONG), "process-1")
    assert reasons(request()) == ["too_many_attempts"]


def test_who_was_let_in_with_the_same_before_is_not_held_up(tenant: Tenant, settings: Settings) -> None:
    settings.CSMS_FAILED_ATTEMPTS_PER_ADDRESS = 1
    register(tenant)
    handshake.decide(request(), "process-1")
    assert reasons(request("NOBODY"), request("NOBODY"), request()) == ["unknown_identity", "too_many_attempts", None]


def test_first_refusals_of_an_address_have_rows_and_the_others_are_left_out(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "ROWS_OF_ONE", 2)
    monkeypatch.setattr(screening, "ROWS", 3)
    asked = [request(f"NOBODY-{number}", address=f"192.0.2.{1 + number // 3}") for number in range(6)]
    assert [one.recorded for one in Screen().look_through(asked)] == [True, True, False, True, False, False]
    with tenant_scope(tenant):
        rows = ConnectionAttempt.objects.order_by("id").values_list("identity", "reason", "http_status")
        assert list(rows) == [(f"NOBODY-{number}", "unknown_identity", 401) for number in (0, 1, 3)]
        assert SecurityEvent.objects.filter(type="unknown_identity").count() == 3


def test_flood_is_one_alert_a_minute_with_a_count(tenant: Tenant) -> None:
    note_floods({"alpha": 1000, "nobody": 5})
    note_floods({"alpha": 500})
    with tenant_scope(tenant):
        event = SecurityEvent.objects.get(type="handshake_flood")
    assert (event.times, event.critical) == (1500, True)
