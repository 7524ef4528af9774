from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from tenants.models import ApiKey, Tenant

pytestmark = pytest.mark.django_db


def _create_tenant(*arguments: str) -> dict[str, Any]:
    stdout = io.StringIO()
    call_command("create_tenant", *arguments, stdout=stdout)
    created: dict[str, Any] = json.loads(stdout.getvalue())
    return created


@override_settings(CSMS_PUBLIC_URL="http://127.0.0.1:8000")
def test_prints_the_tenant_and_its_url() -> None:
    assert _create_tenant("acme") == {
        "tenant": "acme",
        "ocpp_url": "ws://127.0.0.1:8000/ocpp/acme/",
        "api_key": None,
    }
    tenant = Tenant.objects.get(slug="acme")
    assert (tenant.name, tenant.currency, tenant.time_zone) == ("acme", "EUR", "UTC")
    assert (tenant.allow_security_profile_0, tenant.allow_security_profile_1) == (False, True)
    assert tenant.unknown_charge_points == "refuse"


def test_takes_every_option() -> None:
    created = _create_tenant(
        "acme-2",
        "--name=Acme & Söhne",
        "--currency=JPY",
        "--time-zone=Asia/Tokyo",
        "--api-key=read, operate",
        "--allow-profile-0",
        "--allow-weak-passwords",
        "--unknown=pending",
    )
    tenant = Tenant.objects.get(slug="acme-2")
    assert (tenant.name, tenant.currency, tenant.time_zone) == ("Acme & Söhne", "JPY", "Asia/Tokyo")
    assert (tenant.allow_security_profile_0, tenant.unknown_charge_points) == (True, "pending")
    assert tenant.allow_weak_passwords
    key = ApiKey.authenticate(created["api_key"], timezone.now())
    assert key is not None
    assert (key.tenant, key.scopes) == (tenant, ["read", "operate"])


@pytest.mark.parametrize(
    ("public_url", "ocpp_url"),
    [
        ("https://csms.example.com", "wss://csms.example.com/ocpp/acme/"),
        ("https://example.com:8443/csms/", "wss://example.com:8443/csms/ocpp/acme/"),
        ("http://[::1]:8000", "ws://[::1]:8000/ocpp/acme/"),
    ],
)
def test_ocpp_url_follows_the_public_url(public_url: str, ocpp_url: str) -> None:
    with override_settings(CSMS_PUBLIC_URL=public_url):
        assert _create_tenant("acme")["ocpp_url"] == ocpp_url


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken"], "slug: Tenant with this Slug already exists"),
        (["Acme"], "slug: Use 1 to 63 lower-case letters"),
        (["acme-"], "slug: Use 1 to 63 lower-case letters"),
        (["a/b"], "slug: Use 1 to 63 lower-case letters"),
        (["acme\n"], "slug: Use 1 to 63 lower-case letters"),
        (["a" * 64], "slug: "),
        (["acme", "--currency=DEM"], "currency: DEM is not an ISO 4217 currency in use"),
        (["acme", "--currency=eur"], "currency: eur is not"),
        (["acme", "--time-zone=Mars/Base"], "time_zone: Mars/Base is not an IANA time zone"),
        (["acme", "--api-key=read,fly"], "fly is not a scope; use read, operate, manage, billing"),
        (["acme", "--api-key="], "Name at least one scope"),
        (["acme", "--api-key=read,read"], "Name each scope once"),
        (["acme", "--unknown=welcome"], "invalid choice: 'welcome'"),
    ],
)
def test_refuses_with_a_sentence_and_makes_nothing(arguments: list[str], message: str) -> None:
    Tenant.objects.create(slug="taken", name="Taken")
    with pytest.raises(CommandError, match=message):
        _create_tenant(*arguments)
    assert Tenant.objects.count() == 1


def test_public_url_of_another_kind_is_refused() -> None:
    with override_settings(CSMS_PUBLIC_URL="csms.example.com"), pytest.raises(CommandError, match="CSMS_PUBLIC_URL"):
        _create_tenant("acme")
