"""Password and security profile at a charge point's page: who may, what is shown, and what is asked twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from stations import commands, credentials
from stations.models import ChargePoint, Command
from tenants.models import AuditEntry, Role, Tenant
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.admin.test_charge_points import shown_secret
from tests.stations.rows import new_charge_point

OLD = b"0123456789abcdef"


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, username="olga")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point(password_hash=credentials.hashed(OLD, generated=True))


def page(client: Client, charge_point: ChargePoint) -> str:
    return text_of(client.get(url("stations_chargepoint_change", charge_point.pk)))


def test_rotated_password_is_shown_once_on_the_commands_page(owner: Client, charge_point: ChargePoint) -> None:
    response = submit(owner, "stations_chargepoint_rotate_password", charge_point.pk, password="", reason="Yearly")
    command = Command.objects.get()
    assert response["HX-Redirect"] == url("stations_command_change", command.pk)
    first = text_of(owner.get(response["HX-Redirect"]))
    password = shown_secret(first)
    assert len(bytes.fromhex(password)) == 20
    assert password not in text_of(owner.get(response["HX-Redirect"]))
    assert (command.requested_by, command.reason) == ("olga", "Yearly")
    assert AuditEntry.objects.get().action == "rotate password"
    assert "a new password is on its way" in page(owner, charge_point)
    outgoing = commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
    assert outgoing is not None
    assert outgoing.payload["value"] == password
    commands.connection_lost(charge_point.pk, 1)
    assert "the old and the new one are accepted until it connects" in page(owner, charge_point)


def test_typed_password_is_not_shown_again(owner: Client, charge_point: ChargePoint) -> None:
    typed = "typed-password-12"
    response = submit(owner, "stations_chargepoint_rotate_password", charge_point.pk, password=typed)
    shown = text_of(owner.get(response["HX-Redirect"]))
    assert typed not in shown
    assert typed.encode().hex().upper() not in shown


def test_password_that_ocpp_does_not_allow_is_refused_in_the_dialog(owner: Client, charge_point: ChargePoint) -> None:
    response = submit(owner, "stations_chargepoint_rotate_password", charge_point.pk, password="short")
    assert "A password has 16 to 20 bytes" in text_of(response)
    assert not Command.objects.exists()


def test_command_that_is_refused_is_said_in_the_dialog(owner: Client, charge_point: ChargePoint) -> None:
    ChargePoint.objects.update(disabled=True)
    response = submit(owner, "stations_chargepoint_rotate_password", charge_point.pk, password="")
    assert "The charge point is disabled" in text_of(response)
    assert not AuditEntry.objects.exists()


def test_profile_is_raised_by_a_command(owner: Client, charge_point: ChargePoint) -> None:
    submit(owner, "stations_chargepoint_raise_security_profile", charge_point.pk, profile="2")
    assert Command.objects.get().payload == {"key": "SecurityProfile", "value": "2"}
    ChargePoint.objects.update(pending_security_profile=2)
    assert "both profiles are let in until it connects" in page(owner, charge_point)


def test_lower_profile_is_not_sent(owner: Client, charge_point: ChargePoint) -> None:
    ChargePoint.objects.update(security_profile=2)
    response = submit(owner, "stations_chargepoint_raise_security_profile", charge_point.pk, profile="1")
    assert "a security profile is never lowered over OCPP" in text_of(response)
    assert not Command.objects.exists()


class TestLowering:
    FIELDS = {"profile": "1", "reason": "Modem without TLS", "identity": "CP-1"}  # noqa: RUF012 - never changed

    def lower(self, client: Client, charge_point: ChargePoint, **fields: str) -> Any:
        return submit(client, "stations_chargepoint_lower_security_profile", charge_point.pk, **self.FIELDS | fields)

    def test_with_a_reason_and_the_identity_it_is_set(self, owner: Client, charge_point: ChargePoint) -> None:
        ChargePoint.objects.update(security_profile=2)
        response = self.lower(owner, charge_point)
        assert "set its security profile on site" in text_of(owner.get(response["HX-Redirect"]))
        charge_point.refresh_from_db()
        assert charge_point.security_profile == 1
        entry = AuditEntry.objects.get()
        assert (entry.actor, entry.action) == ("olga", "lower security profile")
        assert entry.changes == {"security_profile": [2, 1], "reason": ["", "Modem without TLS"]}

    @pytest.mark.parametrize(
        "fields", [{"reason": ""}, {"identity": "CP-2"}, {"identity": ""}, {"profile": "2"}, {"profile": "3"}]
    )
    def test_without_them_it_is_not(self, owner: Client, charge_point: ChargePoint, fields: dict[str, str]) -> None:
        ChargePoint.objects.update(security_profile=2)
        assert "HX-Redirect" not in self.lower(owner, charge_point, **fields)
        charge_point.refresh_from_db()
        assert charge_point.security_profile == 2

    @pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER, Role.BILLING])
    def test_administrators_only(self, tenants: Tenants, charge_point: ChargePoint, role: str) -> None:
        ChargePoint.objects.update(security_profile=2)
        self.lower(sign_in(tenants.tenant_a, role), charge_point)
        charge_point.refresh_from_db()
        assert charge_point.security_profile == 2

    def test_settings_form_is_no_way_around(self, owner: Client, charge_point: ChargePoint) -> None:
        ChargePoint.objects.update(security_profile=2, connected_at=datetime.now(UTC))
        data = {"registration_status": "Accepted", "security_profile": "1"}
        response = owner.post(url("stations_chargepoint_change", charge_point.pk), data)
        assert "A lower profile is set by" in text_of(response)
        charge_point.refresh_from_db()
        assert charge_point.security_profile == 2


def test_contest_is_shown_at_the_top_of_the_page(owner: Client, charge_point: ChargePoint) -> None:
    assert "Two charge points dial with this identity" not in page(owner, charge_point)
    ChargePoint.objects.update(contested_at=datetime.now(UTC))
    assert "Two charge points dial with this identity" in page(owner, charge_point)
