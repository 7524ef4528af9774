"""`password/` and `security-profile/` of a charge point, and what the resource says of both."""

from __future__ import annotations

from typing import Any

import pytest

from stations import commands
from stations.models import ChargePoint, Command
from tenants.models import ApiKey, AuditEntry
from tenants.scope import tenant_scope
from tests.stations.api.conftest import NOW, Api, Owner

pytestmark = pytest.mark.django_db
PASSWORD, PROFILE = "charge-points/SAME/password/", "charge-points/SAME/security-profile/"


def change(a: Owner, **columns: Any) -> None:
    with tenant_scope(a.tenant):
        ChargePoint.objects.filter(identity="SAME").update(**columns)


def wire(a: Owner) -> str:
    """The value of the ChangeConfiguration that is sent next."""
    with tenant_scope(a.tenant):
        row = ChargePoint.objects.select_related("tenant").get(identity="SAME")
        outgoing = commands.take_next(row, NOW, generation=row.connection_generation, message_id="m")
    assert outgoing is not None
    return str(outgoing.payload["value"])


class TestPassword:
    def test_made_one_is_shown_once_and_sent_in_hexadecimal(self, a: Owner) -> None:
        answer = a.api("POST", PASSWORD, {"reason": "Yearly"})
        body = answer.json()
        assert answer.status_code == 202
        assert answer["Location"].endswith(f"/api/v1/commands/{body['id']}/")
        assert (body["action"], body["reason"], body["status"]) == ("ChangeConfiguration", "Yearly", "queued")
        assert body["payload"] == {"key": "AuthorizationKey", "value": "***"}
        assert len(bytes.fromhex(body["password"])) == 20
        assert a.api("GET", "charge-points/SAME/").json()["password_state"] == "pending"
        assert body["password"] not in a.api("GET", f"commands/{body['id']}/").content.decode()
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.get(action="rotate password")
        assert (entry.actor, entry.changes) == ("API key test", {"password": ["***", "***"]})
        assert wire(a) == body["password"]

    def test_given_one_is_not_shown(self, a: Owner) -> None:
        answer = a.api("POST", PASSWORD, {"password": "0123456789abcdef"})
        assert (answer.status_code, "password" in answer.json()) == (202, False)
        assert wire(a) == b"0123456789abcdef".hex()

    def test_repeated_request_gets_the_same_password_again(self, a: Owner) -> None:
        first, second = (a.api("POST", PASSWORD, {}, **{"Idempotency-Key": "one"}) for _ in range(2))
        assert first.json() == second.json()
        with tenant_scope(a.tenant):
            assert Command.objects.filter(action="ChangeConfiguration").count() == 1

    @pytest.mark.parametrize(
        ("body", "pointer"), [({"password": "short"}, "/password"), ({"password": 7}, "/password"), ({"x": 1}, "/x")]
    )
    def test_what_cannot_be_a_password_is_pointed_at(self, a: Owner, body: Any, pointer: str) -> None:
        answer = a.api("POST", PASSWORD, body)
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert "short" not in answer.content.decode()

    def test_disabled_charge_point_is_409(self, a: Owner) -> None:
        change(a, disabled=True)
        assert a.api("POST", PASSWORD, {}).json()["code"] == "charge_point_disabled"

    def test_it_needs_the_scope_manage(self, a: Owner) -> None:
        _, key = ApiKey.issue(a.tenant, "operator", ("read", "operate"))
        assert Api(key)("POST", PASSWORD, {}).json()["code"] == "missing_scope"

    def test_states(self, a: Owner) -> None:
        def state() -> str:
            return str(a.api("GET", "charge-points/SAME/").json()["password_state"])

        assert state() == "none"
        a.api("PATCH", "charge-points/SAME/", {"password": "0123456789abcdef"})
        assert state() == "set"
        pk = a.api("POST", PASSWORD, {}).json()["id"]
        assert state() == "pending"
        wire(a)
        with tenant_scope(a.tenant):
            commands.connection_lost(a.charge_point.pk, 99)
            assert Command.objects.get(pk=pk).status == "unknown"
        assert state() == "unknown"
        (listed,) = a.api("GET", "charge-points/").json()["results"]
        assert listed["password_state"] == "unknown"
        a.api("PATCH", "charge-points/SAME/", {"password": "0123456789abcdef"})
        assert state() == "set"


class TestSecurityProfile:
    def test_higher_one_is_asked_of_the_charge_point(self, a: Owner) -> None:
        answer = a.api("POST", PROFILE, {"security_profile": 2})
        assert answer.status_code == 202
        assert answer.json()["payload"] == {"key": "SecurityProfile", "value": "2"}
        row = a.api("GET", "charge-points/SAME/").json()
        assert (row["security_profile"], row["pending_security_profile"]) == (1, None)
        change(a, pending_security_profile=2)
        assert a.api("GET", "charge-points/SAME/").json()["pending_security_profile"] == 2

    def test_operator_may_raise_and_not_lower(self, a: Owner) -> None:
        _, key = ApiKey.issue(a.tenant, "operator", ("read", "operate"))
        assert Api(key)("POST", PROFILE, {"security_profile": 2}).status_code == 202
        change(a, security_profile=2)
        answer = Api(key)("POST", PROFILE, {"security_profile": 1, "reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")

    def test_lower_one_needs_a_reason_and_is_set_here_with_a_warning(self, a: Owner) -> None:
        change(a, security_profile=2, connected_at=NOW)
        for reason in ({}, {"reason": "  "}):
            answer = a.api("POST", PROFILE, {"security_profile": 1, **reason})
            assert [error["pointer"] for error in answer.json()["errors"]] == ["/reason"]
        answer = a.api("POST", PROFILE, {"security_profile": 1, "reason": "Modem without TLS"})
        assert (answer.status_code, answer.json()["security_profile"]) == (200, 1)
        assert [warning["code"] for warning in answer.json()["warnings"]] == ["reconfigure_on_site", "no_password"]
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.get(action="lower security profile")
            assert not Command.objects.exclude(action="RemoteStartTransaction").exists()
        assert entry.changes == {"security_profile": [2, 1], "reason": ["", "Modem without TLS"]}
        assert a.api("GET", "charge-points/SAME/").json()["security_profile"] == 1

    def test_by_hand_over_ocpp_it_is_never_lowered(self, a: Owner) -> None:
        change(a, security_profile=2)
        body = {"action": "ChangeConfiguration", "payload": {"key": "SecurityProfile", "value": "1"}}
        answer = a.api("POST", "charge-points/SAME/commands/", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "security_profile_lowered")

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_member_of_a_charge_point_that_has_connected_is_not_lowered_in_passing(self, a: Owner, method: str) -> None:
        change(a, security_profile=2, connected_at=NOW)
        answer = a.api(method, "charge-points/SAME/", {"security_profile": 1})
        assert answer.status_code == 400
        assert [error["code"] for error in answer.json()["errors"]] == ["security_profile_lowered"]
        assert a.api(method, "charge-points/SAME/", {"description": "x"}).json()["security_profile"] == 2

    def test_member_set_here_settles_what_was_pending(self, a: Owner) -> None:
        change(a, pending_security_profile=2, connected_at=NOW)
        assert a.api("PATCH", "charge-points/SAME/", {"description": "x"}).json()["pending_security_profile"] == 2
        row = a.api("PATCH", "charge-points/SAME/", {"security_profile": 3}).json()
        assert (row["security_profile"], row["pending_security_profile"]) == (3, None)

    @pytest.mark.parametrize("body", [{}, {"security_profile": 4}, {"security_profile": "2"}, {"security_profile": -1}])
    def test_what_is_no_profile_is_400(self, a: Owner, body: Any) -> None:
        assert a.api("POST", PROFILE, body).status_code == 400
