"""Configuration keys whose values are secrets: by their name, or because the tenant says so; write-only everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps

from stations import commands
from stations.dispatch import Link, LogEntry, answer_batch
from stations.masking import SEALED, is_authorization_key, is_secret_key
from stations.models import ChargePoint, Command, ConfigurationKey, OcppMessage
from stations.models.message import MessageType
from tenants.models import ApiKey, Tenant
from tests.stations.api.conftest import Api
from tests.stations.rows import new_charge_point

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("key", [
    "AuthorizationKey", "WiFiPassword", "wifipassword", "WIFI_PSK", "APNPassword", "SimPin", "SIM-PIN", "simpin",
    "AdminPwd", "adminpwd", "BackendToken", "ApiKey", "API_KEY", "PrivateKey", "wifiKey", "Passphrase", "FtpPass",
    "ocpp.basicauth.password", "ClientSecret", "Credentials", "WEPKey", "PreSharedKey", "PUK", "vpnkey",
])  # fmt: skip
def test_a_name_that_says_secret_is_one(key: str) -> None:
    assert is_secret_key(key)
    assert is_secret_key(f" {key} ")


@pytest.mark.parametrize("key", [
    "HeartbeatInterval", "Shipping", "CarMapping", "TopInfo", "BypassMode", "PassiveMode", "CompassHeading", "MaxPing",
    "PinpointX", "WebSocketPingInterval", "LocalPreAuthorize", "AuthorizeRemoteTxRequests", "KeyboardLayout",
    "MeterPublicKey1", "SecurityProfile", "StopTransactionOnInvalidId", "Keypad", "", None, 7,
])  # fmt: skip
def test_a_name_that_only_sounds_like_one_is_none(key: Any) -> None:
    assert not is_secret_key(key)


def test_only_one_is_the_charge_points_password() -> None:
    assert is_authorization_key(" authorizationKEY ")
    assert not is_authorization_key("WiFiPassword")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def list_as_secret(tenant: Tenant, *keys: str) -> None:
    tenant.secret_configuration_keys = "\n".join(keys)
    tenant.save()


def everything_shown(tenant: Tenant) -> str:
    """What a key that may only read sees, and what lies in the tables, as one text."""
    _, key = ApiKey.issue(tenant, "reads", ("read",))
    paths = ("commands/", "charge-points/CP-1/configuration/", "charge-points/CP-1/messages/")
    texts = [Api(key)("GET", path).content.decode() for path in paths]
    rows = (*Command.objects.values(), *ConfigurationKey.objects.values(), *OcppMessage.objects.values())
    return "\n".join([*texts, *(str(row) for row in rows)])


@pytest.mark.parametrize(("key", "listed"), [("WiFiPassword", False), ("Vendor.Blob7", True)])
class TestWriteOnly:
    def test_it_is_sent_and_seen_nowhere(
        self, charge_point: ChargePoint, in_tenant_a: Tenant, key: str, listed: bool
    ) -> None:
        if listed:
            list_as_secret(in_tenant_a, "other", key.upper())
        payload = {"key": key, "value": "hush-hush-1"}
        command = commands.enqueue(charge_point, "ChangeConfiguration", payload, "tester")
        assert command.payload["value"].startswith(SEALED)
        assert "hush-hush-1" not in everything_shown(in_tenant_a)
        charge_point = ChargePoint.objects.get(pk=charge_point.pk)
        sent = commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
        assert sent is not None
        assert sent.payload == payload
        commands.answered(charge_point, NOW, message_id="m", payload={"status": "Accepted"}, late=False)
        assert Command.objects.get().payload == {"key": key, "value": "***"}
        assert "hush-hush-1" not in everything_shown(in_tenant_a)

    def test_a_charge_point_that_tells_it_is_not_heard(
        self, charge_point: ChargePoint, in_tenant_a: Tenant, key: str, listed: bool
    ) -> None:
        if listed:
            list_as_secret(in_tenant_a, key)
        commands.enqueue(charge_point, "GetConfiguration", {}, "tester")
        commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
        conf = {"configurationKey": [
            {"key": key, "readonly": False, "value": "hush-hush-2"}, {"key": "Open", "readonly": False, "value": "1"},
        ]}  # fmt: skip
        link = Link(in_tenant_a.pk, charge_point.pk, 1, "alpha/CP-1")
        answer_batch([LogEntry(link, True, MessageType.CALLRESULT, "GetConfiguration", "m", conf, NOW)])
        commands.answered(charge_point, NOW, message_id="m", payload=conf, late=False)
        assert dict(ConfigurationKey.objects.values_list("key", "value")) == {key: None, "Open": "1"}
        shown = everything_shown(in_tenant_a)
        assert "hush-hush-2" not in shown
        assert "***" in shown

    def test_it_is_not_sent_again_when_the_line_is_lost(
        self, charge_point: ChargePoint, in_tenant_a: Tenant, key: str, listed: bool
    ) -> None:
        if listed:
            list_as_secret(in_tenant_a, key)
        payload = {"key": key, "value": "hush-hush-3"}
        command = commands.enqueue(charge_point, "ChangeConfiguration", payload, "tester")
        commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
        commands.connection_lost(charge_point.pk, 1)
        assert Command.objects.get(pk=command.pk).status == "unknown"


def test_what_was_stored_before_it_was_listed_is_not_shown(charge_point: ChargePoint, in_tenant_a: Tenant) -> None:
    ConfigurationKey.objects.create(charge_point=charge_point, key="Vendor.Blob7", value="old-secret")
    list_as_secret(in_tenant_a, "Vendor.Blob7")
    _, key = ApiKey.issue(in_tenant_a, "reads", ("read",))
    (row,) = Api(key)("GET", "charge-points/CP-1/configuration/").json()["results"]
    assert (row["key"], row["value"]) == ("Vendor.Blob7", "***")


def test_a_value_that_looks_sealed_arrives_as_it_is(charge_point: ChargePoint) -> None:
    payload = {"key": "Greeting", "value": f"{SEALED}hello"}
    commands.enqueue(charge_point, "ChangeConfiguration", payload, "tester")
    sent = commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
    assert sent is not None
    assert sent.payload == payload


def test_rows_of_an_older_version_lose_their_secrets(charge_point: ChargePoint) -> None:
    ConfigurationKey.objects.create(charge_point=charge_point, key="WiFiPassword", value="w1", desired_value="w2")
    ConfigurationKey.objects.create(charge_point=charge_point, key="HeartbeatInterval", value="60")
    entry = {"key": "SimPin", "readonly": False, "value": "1234"}
    waiting, done = (
        Command.objects.create(
            charge_point=charge_point, action="ChangeConfiguration", status=status, requested_by="t", created_at=NOW,
            expires_at=NOW, payload={"key": "WiFiPassword", "value": "w3"},
            response={"configurationKey": [entry]},
        )
        for status in ("queued", "answered")
    )  # fmt: skip
    message = OcppMessage.objects.create(
        charge_point=charge_point, incoming=True, message_type=3, action="GetConfiguration", message_id="1",
        payload=json.dumps({"configurationKey": [entry]}), received_at=NOW,
    )  # fmt: skip
    upgrade = import_module("stations.migrations.0018_mask_secrets")
    upgrade.mask(apps, None)
    assert list(ConfigurationKey.objects.order_by("key").values_list("key", "value", "desired_value")) == [
        ("HeartbeatInterval", "60", None), ("WiFiPassword", None, None),
    ]  # fmt: skip
    payloads = dict(Command.objects.values_list("pk", "payload"))
    assert (payloads[waiting.pk]["value"], payloads[done.pk]["value"]) == ("w3", "***")
    assert all("1234" not in str(response) for response in Command.objects.values_list("response", flat=True))
    message.refresh_from_db()
    assert message.payload == '{"configurationKey":[{"key":"SimPin","readonly":false,"value":"***"}]}'
