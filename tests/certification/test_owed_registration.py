"""Registration: Pending and Rejected per charge point, what becomes of unknown identities, acceptance by hand.

Not among the 77 cases, owed all the same: OCPP 1.6 section 4.2, errata of OCPP-J 3.10.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from tests.certification.case import Case, Tokens
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import CallErrorReceived, ConnectionRefused, FakeChargePoint, timestamp
from tests.servers import CsmsServer

NOW = "2026-03-01T12:00:00Z"


async def register_as(case: Case, status: str) -> None:
    path = f"charge-points/{case.cp.identity}/"
    await asyncio.to_thread(case.csms.request, "PATCH", path, {"registration_status": status})


@pytest.fixture
async def pending(registered: Case) -> Case:
    """A connected charge point that an operator has put on Pending."""
    await register_as(registered, "Pending")
    await registered.cp.connect()
    return registered


async def test_pending_charge_point_is_told_when_to_boot_again(pending: Case) -> None:
    conf = await pending.cp.boot()
    assert conf == {"currentTime": conf["currentTime"], "interval": 60, "status": "Pending"}
    pending.is_now(conf["currentTime"])
    seen = await pending.charge_point()
    assert (seen["registration_status"], seen["vendor"], seen["connected"]) == ("Pending", "Fake", True)
    await pending.cp.close()


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Heartbeat", {}),
        ("Authorize", {"idTag": "X"}),
        ("StartTransaction", {"connectorId": 1, "idTag": "X", "meterStart": 0, "timestamp": NOW}),
        ("StopTransaction", {"transactionId": 1, "meterStop": 0, "timestamp": NOW}),
        ("StatusNotification", {"connectorId": 0, "status": "Available", "errorCode": "NoError"}),
        ("MeterValues", {"connectorId": 0, "meterValue": [{"timestamp": NOW, "sampledValue": [{"value": "1"}]}]}),
        ("DataTransfer", {"vendorId": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_any_other_call_before_acceptance_is_a_security_error(
    registered: Case, status: str, action: str, payload: dict[str, Any]
) -> None:
    await register_as(registered, status)
    async with registered.cp as cp:
        with pytest.raises(CallErrorReceived) as refused:
            await cp.call(action, payload)
        assert refused.value.code == "SecurityError"
        assert (await cp.boot())["status"] == status
    assert await registered.transactions() == []


async def test_pending_charge_point_can_be_configured(pending: Case) -> None:
    await pending.cp.boot()
    await pending.send("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, {"status": "Accepted"})
    await pending.send("GetConfiguration", {}, {"configurationKey": []})
    await pending.finish()


async def test_no_remote_start_or_stop_is_sent_while_pending(pending: Case) -> None:
    await pending.cp.boot()
    start = await pending.command("RemoteStartTransaction", {"connectorId": 1, "idTag": pending.tokens.valid})
    stop = await pending.command("RemoteStopTransaction", {"transactionId": 1})
    assert [warning["code"] for warning in start["warnings"]] == ["charge_point_pending"]
    # A later command overtakes them, so they were looked at and left where they are.
    await pending.send("ClearCache", {}, {"status": "Rejected"})
    for command in (start, stop):
        assert (await pending.get(f"commands/{command['id']}/"))["status"] == "queued"
    await pending.finish()


async def test_operator_accepts_by_hand_and_the_next_boot_is_accepted(pending: Case) -> None:
    assert (await pending.cp.boot())["status"] == "Pending"
    await register_as(pending, "Accepted")
    await pending.booted()
    assert await pending.transaction(await pending.charging())
    await pending.finish()


async def test_acceptance_outlives_the_connection(pending: Case) -> None:
    await register_as(pending, "Accepted")
    await pending.reconnected()
    # No boot on this connection.
    await pending.charging()
    await pending.finish()


async def test_rejected_charge_point_is_sent_nothing_until_it_is_accepted(registered: Case) -> None:
    await register_as(registered, "Rejected")
    await registered.cp.connect()
    command = await registered.command("ClearCache", {})
    assert [warning["code"] for warning in command["warnings"]] == ["charge_point_rejected"]
    conf = await registered.cp.boot()
    assert (conf["status"], conf["interval"]) == ("Rejected", 60)
    await registered.cp.assert_silent_until_answered()
    await register_as(registered, "Accepted")
    assert (await registered.cp.boot())["status"] == "Accepted"
    await registered.cp.reply(await registered.expect("ClearCache", {}), {"status": "Accepted"})
    assert (await registered.final(command))["status"] == "answered"
    await registered.finish()


# --- identities that nobody registered --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tenant_with_policy(csms_server: CsmsServer) -> Callable[[str], LiveTenant]:
    """A tenant per policy for unknown identities, made at first use."""
    made: dict[str, LiveTenant] = {}

    def tenant(policy: str) -> LiveTenant:
        if policy not in made:
            slug = f"unknown-{policy}-{secrets.token_hex(3)}"
            made[policy] = LiveTenant(slug, csms_server.create_tenant(slug, unknown=policy)["api_key"])
        return made[policy]

    return tenant


def stranger(csms: Csms, tenant: LiveTenant) -> Case:
    """A charge point that nobody registered with `tenant`."""
    theirs = Csms(csms.server, tenant)
    identity = f"NEW-{secrets.token_hex(4)}"
    cp = FakeChargePoint(csms.server.ws_url(tenant.slug), identity, password=secrets.token_hex(8))
    return Case(theirs, cp, Tokens.register(theirs))


@pytest.mark.parametrize("policy", ["pending", "rejected"])
async def test_unknown_identity_is_admitted_as_the_tenant_wants(
    csms: Csms, tenant_with_policy: Callable[[str], LiveTenant], policy: str
) -> None:
    case = await asyncio.to_thread(lambda: stranger(csms, tenant_with_policy(policy)))
    await case.cp.connect()
    conf = await case.cp.boot()
    assert conf["status"] == policy.title()
    assert (await case.charge_point())["registration_status"] == policy.title()
    await register_as(case, "Accepted")
    await case.booted()
    await case.charging()
    await case.finish()


async def test_admitted_charge_point_has_to_come_back_with_the_password_it_first_came_with(
    csms: Csms, tenant_with_policy: Callable[[str], LiveTenant]
) -> None:
    case = await asyncio.to_thread(lambda: stranger(csms, tenant_with_policy("pending")))
    await case.cp.connect()
    await case.cp.close()
    imposter = FakeChargePoint(case.csms.server.ws_url(case.csms.tenant.slug), case.cp.identity, "another-password-1")
    with pytest.raises(ConnectionRefused) as refused:
        await imposter.connect()
    assert refused.value.status == 401
    await case.cp.connect()
    assert (await case.cp.boot())["status"] == "Pending"
    await case.cp.close()


async def test_unknown_identity_is_refused_by_default(csms: Csms) -> None:
    identity = f"NEW-{secrets.token_hex(4)}"
    with pytest.raises(ConnectionRefused) as refused:
        await FakeChargePoint(csms.server.ws_url(csms.tenant.slug), identity, password=secrets.token_hex(8)).connect()
    assert refused.value.status == 401
    assert csms.server.api("GET", f"charge-points/{identity}/", key=csms.tenant.api_key).status_code == 404


async def test_boots_are_answered_as_often_as_they_come(pending: Case) -> None:
    for _ in range(5):
        assert (await pending.cp.boot())["status"] == "Pending"
    assert timestamp() > (await pending.charge_point())["last_seen_at"]
    await pending.cp.close()
