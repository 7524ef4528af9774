"""Handshakes that name no charge point: whom they mean is told to those who may know, and to nobody else."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from django.core.cache import cache

from stations import handshake
from stations.handshake import REFUSALS, Refusal
from stations.models import ConnectionAttempt, StrayHandshake
from stations.screening import Screen
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, sign_in_superuser, text_of, url
from tests.stations.rows import new_charge_point
from tests.stations.upgrade import basic

TWICE = "It stands twice in the URL: enter the URL without it."


@pytest.fixture(autouse=True)
def _no_attempts_yet() -> None:
    cache.clear()


@pytest.fixture
def tenant(tenants: Tenants) -> Tenant:
    with tenant_scope(tenants.tenant_a):
        new_charge_point("MYCP-1", connected=False)
        new_charge_point("A/B", connected=False)
    return tenants.tenant_a


def dial(path: str, user: str | None = None) -> Refusal:
    """What is answered to a handshake with a password, of `user`, or of what the path ends with."""
    name, value = basic(unquote(path.rpartition("/")[2]) if user is None else user, "0123456789abcdef")
    scope: dict[str, Any] = {
        "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "ws",
        "client": ("192.0.2.1", 1),
        "headers": [(b"sec-websocket-protocol", b"ocpp1.6"), (name.lower().encode(), value.encode())],
    }  # fmt: skip
    decision = handshake.decide(handshake.read(scope), "process-1")
    assert isinstance(decision, Refusal), decision
    return decision


def attempts(tenant: Tenant) -> list[tuple[str, Any, str]]:
    with tenant_scope(tenant):
        rows = ConnectionAttempt.objects.select_related("charge_point").order_by("id")
        return [(row.reason, row.charge_point and row.charge_point.identity, row.remedy) for row in rows]


@pytest.mark.parametrize(
    ("path", "reason", "identity", "sentence"),
    [
        ("/ocpp/alpha/mycp-1", "unknown_identity", "MYCP-1", "Capital letters count."),
        ("/ocpp/alpha/MYCP-1/MYCP-1", "bad_path", "MYCP-1", TWICE),
        ("/ocpp/alpha/ocpp/alpha/MYCP-1", "bad_path", "MYCP-1", TWICE),
        ("/ocpp/alpha/MYCP%252D1", "unknown_identity", "MYCP-1", "The identity is percent-encoded twice."),
        ("/ocpp/alpha/A/B", "bad_path", "A/B", "A slash in an identity is typed as %2F."),
        ("/ocpp/Alpha/MYCP-1", "unknown_tenant", "MYCP-1", "The tenant in the URL is written in small letters."),
        ("/ocpp/MYCP-1", "unknown_tenant", "MYCP-1", "The tenant is left out of the URL."),
        ("/MYCP-1", "unknown_tenant", "MYCP-1", "The tenant is left out of the URL."),
        ("/ocpp/acme/MYCP-1", "unknown_tenant", "MYCP-1", "The URL names another tenant."),
        ("/OCPP/alpha/MYCP-1", "unknown_tenant", "MYCP-1", "The path must begin with /ocpp/."),
    ],
)  # fmt: skip
def test_near_miss_is_a_row_of_the_charge_point_that_is_meant(
    tenant: Tenant, path: str, reason: str, identity: str, sentence: str
) -> None:
    answer = dial(path)
    assert (answer.reason, answer.body) == (reason, REFUSALS[reason].body)
    ((found, meant, remedy),) = attempts(tenant)
    assert (found, meant) == (reason, identity)
    assert f"It most likely means {identity}. {sentence}" in remedy
    assert remedy.endswith(f"The path is /ocpp/alpha/{'A%2FB' if identity == 'A/B' else identity}.")


def test_without_a_path_the_user_name_says_who_it_is(tenant: Tenant) -> None:
    dial("/", user="MYCP-1")
    assert [(row[0], row[1]) for row in attempts(tenant)] == [("unknown_tenant", "MYCP-1")]


def test_stranger_stays_one(tenant: Tenant) -> None:
    dial("/ocpp/alpha/OTHER")
    assert attempts(tenant) == [("unknown_identity", None, REFUSALS["unknown_identity"].remedy)]


def test_name_that_several_have_means_none_of_them(tenant: Tenant, tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_b):
        new_charge_point("MYCP-1", connected=False)
    dial("/ocpp/MYCP-1")
    assert attempts(tenant) == attempts(tenants.tenant_b) == []
    assert StrayHandshake.objects.values_list("path", "meant", "times").get() == ("/ocpp/MYCP-1", "", 1)


def test_platform_people_see_what_is_dialled_without_a_tenant(tenant: Tenant) -> None:
    for _ in range(2):
        dial("/ocpp/nobody/THERE")
    dial("/ocpp/Alpha/MYCP-1")
    assert list(StrayHandshake.objects.order_by("pk").values_list("path", "meant", "times")) == [
        ("/ocpp/nobody/THERE", "", 2), ("/ocpp/Alpha/MYCP-1", "alpha/MYCP-1", 1),
    ]  # fmt: skip
    page = text_of(sign_in_superuser().get(url("stations_strayhandshake_changelist")))
    assert "/ocpp/nobody/THERE" in page
    assert "alpha/MYCP-1" in page
    assert sign_in(tenant).get(url("stations_strayhandshake_changelist")).status_code == 403


def test_flood_of_them_fills_no_table(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stations.models.connection.MOST_STRAYS", 5)
    for number in range(12):
        dial(f"/ocpp/nobody/{number}")
    assert StrayHandshake.objects.count() == 5
    screen = Screen()
    asked = [
        handshake.read(
            {"type": "websocket", "path": f"/x/{n}", "headers": [], "client": ("192.0.2.9", 1), "scheme": "ws"}
        )
        for n in range(60)
    ]  # fmt: skip
    recorded = sum(each.recorded for each in screen.look_through(asked))
    assert 0 < recorded < 60


def test_list_of_attempts_names_who_is_meant_and_offers_to_create_strangers(tenant: Tenant) -> None:
    dial("/ocpp/alpha/mycp-1")
    dial("/ocpp/alpha/OTHER")
    page = text_of(sign_in(tenant).get(url("stations_connectionattempt_changelist")))
    assert "most likely" in page
    assert "It most likely means MYCP-1." in page
    assert page.count("/admin/stations/chargepoint/add/?identity=OTHER") == 1
    assert "add/?identity=mycp-1" not in page
