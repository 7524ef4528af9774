"""Raising and lowering a security profile: what is let in before, between and after (security 1.1, 5.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache

from stations import commands, credentials, handshake, security_profiles
from stations.handshake import Accepted
from stations.models import ChargePoint, Command
from stations.refusal import CommandRefused
from stations.security_profiles import ProfileRefused, lower_profile, raise_profile
from tenants.models import AuditEntry, Tenant
from tests.stations.rows import new_charge_point
from tests.stations.test_handshake_decision import PASSWORD, request
from tests.stations.test_passwords import answer, present, send

WS: dict[str, Any] = {"secure": False}
WSS: dict[str, Any] = {"secure": True}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    cache.clear()
    stored = credentials.hashed(PASSWORD.encode(), generated=True)
    return new_charge_point(password_hash=stored, connected=False, security_profile=1, exact_security_profile=True)


def connect(password: str | None = PASSWORD, **members: Any) -> str:
    decision = handshake.decide(request(password=password, **members), "process-1")
    return "in" if isinstance(decision, Accepted) else decision.reason


def profiles(charge_point: ChargePoint) -> tuple[int, int | None]:
    """In force, and pending."""
    row = present(charge_point)
    return row.security_profile, row.pending_security_profile


class TestRaising:
    def test_exactly_the_key_and_the_number_are_sent(self, charge_point: ChargePoint) -> None:
        command = raise_profile(charge_point, 2, "olga", reason="TLS everywhere")
        assert (command.action, command.payload) == ("ChangeConfiguration", {"key": "SecurityProfile", "value": "2"})
        assert (command.requested_by, command.reason) == ("olga", "TLS everywhere")
        assert send(charge_point) == "2"

    @pytest.mark.parametrize("status", ["Accepted", "RebootRequired"])
    def test_both_are_let_in_until_the_first_success_with_the_new_one(
        self, charge_point: ChargePoint, status: str
    ) -> None:
        assert connect(**WSS) == "profile_differs"
        raise_profile(charge_point, 2, "olga")
        send(charge_point)
        answer(charge_point, {"status": status})
        assert profiles(charge_point) == (1, 2)
        assert connect(**WS) == "in"
        assert profiles(charge_point) == (1, 2)
        assert connect(**WSS) == "in"
        assert profiles(charge_point) == (2, None)
        assert connect(**WS) == "profile_too_low"
        assert connect(**WSS) == "in"
        entry = AuditEntry.objects.get()
        assert (entry.actor, entry.action) == ("charge point CP-1", "raise security profile")
        assert entry.changes == {"security_profile": [1, 2]}

    @pytest.mark.parametrize("status", ["Rejected", "NotSupported"])
    def test_refused_changes_nothing(self, charge_point: ChargePoint, status: str) -> None:
        raise_profile(charge_point, 2, "olga")
        send(charge_point)
        answer(charge_point, {"status": status})
        assert profiles(charge_point) == (1, None)
        assert connect(**WSS) == "profile_differs"

    def test_callerror_changes_nothing(self, charge_point: ChargePoint) -> None:
        command = raise_profile(charge_point, 2, "olga")
        send(charge_point)
        command.refresh_from_db()
        commands.failed(
            present(charge_point), datetime.now(UTC), message_id=command.message_id, code="NotSupported",
            description="", details={}, late=False,
        )  # fmt: skip
        assert profiles(charge_point) == (1, None)

    def test_unanswered_request_may_have_been_followed(self, charge_point: ChargePoint) -> None:
        raise_profile(charge_point, 2, "olga")
        send(charge_point)
        commands.connection_lost(charge_point.pk, present(charge_point).connection_generation)
        assert Command.objects.get().status == "unknown"
        assert profiles(charge_point) == (1, 2)
        assert [connect(**WS), connect(**WSS), connect(**WS)] == ["in", "in", "profile_too_low"]

    def test_charge_point_may_be_back_before_its_answer_is_taken_in(self, charge_point: ChargePoint) -> None:
        raise_profile(charge_point, 2, "olga")
        assert connect(**WSS) == "profile_differs"
        send(charge_point)
        assert connect(**WSS) == "in"
        assert profiles(charge_point) == (2, None)
        answer(charge_point, {"status": "Accepted"})
        assert profiles(charge_point) == (2, None)

    def test_new_profile_needs_the_password_too(self, charge_point: ChargePoint) -> None:
        raise_profile(charge_point, 2, "olga")
        send(charge_point)
        answer(charge_point, {"status": "Accepted"})
        assert connect("wrong-password-1234", **WSS) == "wrong_password"
        assert connect(None, **WSS) == "no_credentials"
        assert profiles(charge_point) == (1, 2)

    def test_password_that_profile_0_did_not_ask_for_raises_nothing(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.allow_security_profile_0 = True
        in_tenant_a.save()
        charge_point = new_charge_point(security_profile=0, connected=False)
        assert connect("anything-goes-here") == "in"
        assert profiles(charge_point) == (0, None)

    @pytest.mark.parametrize("key", ["SecurityProfile", "securityprofile "])
    def test_by_hand_it_is_followed_all_the_same(self, charge_point: ChargePoint, key: str) -> None:
        commands.enqueue(charge_point, "ChangeConfiguration", {"key": key, "value": "2"}, "olga")
        send(charge_point)
        answer(charge_point, {"status": "Accepted"})
        assert profiles(charge_point) == (1, 2)

    @pytest.mark.parametrize(
        ("value", "code"),
        [("7", "invalid_security_profile"), ("high", "invalid_security_profile"), ("1", "security_profile_unchanged")],
    )
    def test_odd_value_is_sent_with_a_warning_and_changes_nothing(
        self, charge_point: ChargePoint, value: str, code: str
    ) -> None:
        payload = {"key": "SecurityProfile", "value": value}
        command = commands.enqueue(charge_point, "ChangeConfiguration", payload, "olga")
        assert command.warnings[0]["code"] == code
        assert send(charge_point) == value
        answer(charge_point, {"status": "Accepted"})
        assert profiles(charge_point) == (1, None)


class TestLowering:
    @pytest.mark.parametrize(("key", "value"), [("SecurityProfile", "1"), ("SECURITYPROFILE", " 0 ")])
    def test_never_over_ocpp(self, in_tenant_a: Tenant, key: str, value: str) -> None:
        charge_point = new_charge_point(security_profile=2)
        with pytest.raises(CommandRefused) as refused:
            commands.enqueue(charge_point, "ChangeConfiguration", {"key": key, "value": value}, "olga")
        assert refused.value.code == "security_profile_lowered"
        assert not Command.objects.exists()

    def test_administrator_lowers_it_here_and_is_told_what_to_mind(self, charge_point: ChargePoint) -> None:
        ChargePoint.objects.update(security_profile=2)
        found = lower_profile(present(charge_point), 1)
        assert [warning["code"] for warning in found] == ["reconfigure_on_site"]
        assert profiles(charge_point) == (1, None)
        assert [connect(**WSS), connect(**WS)] == ["profile_differs", "in"]
        assert not Command.objects.exists()

    def test_what_keeps_it_out_afterwards_is_said(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.allow_security_profile_1 = False
        in_tenant_a.save()
        found = lower_profile(new_charge_point(security_profile=3), 1)
        assert [warning["code"] for warning in found] == ["reconfigure_on_site", "no_password", "profile_not_allowed"]

    def test_raise_that_came_to_nothing_is_given_up(self, charge_point: ChargePoint) -> None:
        ChargePoint.objects.update(pending_security_profile=2)
        lower_profile(present(charge_point), 1)
        assert profiles(charge_point) == (1, None)
        assert connect(**WSS) == "profile_differs"

    @pytest.mark.parametrize("profile", [1, 2, 3])
    def test_it_is_no_way_to_raise(self, charge_point: ChargePoint, profile: int) -> None:
        with pytest.raises(ProfileRefused) as refused:
            lower_profile(charge_point, profile)
        assert refused.value.code == "security_profile_not_lower"

    def test_identity_with_a_colon_cannot_come_to_a_password(self, in_tenant_a: Tenant) -> None:
        with pytest.raises(ProfileRefused) as refused:
            lower_profile(new_charge_point("A:B", security_profile=3), 2)
        assert refused.value.code == "colon_in_identity"


def test_refusal_of_the_old_profile_has_a_remedy(charge_point: ChargePoint) -> None:
    ChargePoint.objects.update(security_profile=2)
    decision = handshake.decide(request(**WS), "process-1")
    assert not isinstance(decision, Accepted)
    assert (decision.status, decision.reason) == (403, "profile_too_low")
    assert "wss" in decision.remedy
    assert security_profiles.expected(present(charge_point), 1) == 2
