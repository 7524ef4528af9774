"""Adding a charge point, connecting it, and finding out why it does not: what the pages say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stations.handshake import REFUSALS
from stations.models import ChargePoint, ConfigurationKey, ConnectionAttempt, Connector, Transaction
from tenants.models import Tenant
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.admin.test_charge_points import SETTINGS, shown_secret
from tests.stations.rows import new_charge_point, new_id_tag


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a)


def refused(charge_point: ChargePoint, reason: str = "wrong_password") -> None:
    refusal = REFUSALS[reason]
    ConnectionAttempt.objects.create(
        charge_point=charge_point, identity=charge_point.identity, at=timezone.now(), address="192.0.2.7",
        accepted=False, http_status=refusal.status, reason=reason, remedy=refusal.remedy,
    )  # fmt: skip


def panel(client: Client, charge_point: ChargePoint, name: str) -> str:
    return text_of(client.get(url("stations_chargepoint_panel", charge_point.pk, name)))


def test_url_password_and_protocol_of_a_new_one_are_on_one_page(owner: Client) -> None:
    response = owner.post(url("stations_chargepoint_add"), {"identity": "CP-9", **SETTINGS}, follow=True)
    charge_point = ChargePoint.objects.get(identity="CP-9")
    assert response.redirect_chain == [(url("stations_chargepoint_connect", charge_point.pk), 302)]
    page = text_of(response)
    assert len(shown_secret(page)) == 20
    assert "/ocpp/alpha/CP-9" in page
    assert "ocpp1.6" in page
    assert "Waiting for its first connection" in page
    assert shown_secret(text_of(owner.get(url("stations_chargepoint_connect", charge_point.pk)))) == ""


def test_waiting_says_why_it_was_refused_and_ends_when_it_connects(owner: Client) -> None:
    charge_point = new_charge_point(connected=False)
    assert "No attempt of it has reached us yet." in panel(owner, charge_point, "waiting")
    refused(charge_point)
    shown = panel(owner, charge_point, "waiting")
    assert REFUSALS["wrong_password"].remedy in shown
    assert "192.0.2.7" in shown
    assert "hx-trigger" in shown
    ChargePoint.objects.filter(pk=charge_point.pk).update(connected=True, connected_at=timezone.now())
    shown = panel(owner, charge_point, "waiting")
    assert "Go on to its page" in shown
    assert "hx-trigger" not in shown


def test_page_of_an_offline_one_says_why(owner: Client) -> None:
    ago = timezone.now() - timedelta(hours=3)
    charge_point = new_charge_point(connected=False, connected_at=ago, disconnected_at=ago, last_seen_at=ago)
    page = text_of(owner.get(url("stations_chargepoint_change", charge_point.pk)))
    assert "3 h ago" in page
    assert "No attempt has reached us since" in page
    refused(charge_point, "disabled")
    page = text_of(owner.get(url("stations_chargepoint_change", charge_point.pk)))
    assert REFUSALS["disabled"].remedy in page
    assert page.count('class="csms-tab-group"') == 5


def test_statuses_of_an_offline_one_are_the_last_known(owner: Client) -> None:
    charge_point = new_charge_point(connected=False)
    Connector.objects.create(charge_point=charge_point, connector_id=1, status="Charging", status_at=timezone.now())
    assert "1 Charging, last known" in text_of(owner.get(url("stations_chargepoint_changelist")))
    assert "Charging, last known" in panel(owner, charge_point, "live")
    ChargePoint.objects.update(connected=True)
    assert "last known" not in text_of(owner.get(url("stations_chargepoint_changelist")))
    assert "last known" not in panel(owner, charge_point, "live")


def test_stuck_transaction_is_marked_wherever_it_is_shown(owner: Client) -> None:
    at = timezone.now() - timedelta(hours=2)
    charge_point = new_charge_point(connected_at=at)
    tag = new_id_tag()
    tx = Transaction.objects.create(
        charge_point=charge_point, connector_id=1, id_tag="TAG-1", id_tag_row=tag, started_at=at,
        started_received_at=at, meter_start_wh=0,
    )  # fmt: skip
    later = at + timedelta(hours=1)
    Connector.objects.create(
        charge_point=charge_point, connector_id=1, status="Available", status_at=later, status_received_at=later
    )
    pages = [
        panel(owner, charge_point, "live"),
        text_of(owner.get(url("stations_transaction_changelist"))),
        text_of(owner.get(url("stations_transaction_change", tx.pk))),
        text_of(owner.get(url("index"))),
    ]
    assert ["Available, yet charging" in page for page in pages] == [True] * 4
    assert f'href="{url("stations_idtag_change", tag.pk)}"' in pages[2]


def test_keys_are_explained_and_read_only_ones_are_not_changed(owner: Client) -> None:
    charge_point = new_charge_point()
    for key, readonly in (("numberofconnectors", True), ("VendorKey", False)):
        ConfigurationKey.objects.create(
            charge_point=charge_point, key=key, value="2", readonly=readonly, reported_at=timezone.now()
        )
    shown = panel(owner, charge_point, "configuration")
    assert "How many connectors it has." in shown
    assert "?key=VendorKey" in shown
    assert "?key=numberofconnectors" not in shown


@pytest.mark.parametrize("identity", [".", ".."])
def test_identity_that_no_url_can_hold_is_refused(owner: Client, identity: str) -> None:
    page = text_of(owner.post(url("stations_chargepoint_add"), {"identity": identity, **SETTINGS}))
    assert "taken out of the URL by every client" in page
    assert ChargePoint.objects.count() == 0


@pytest.mark.parametrize(
    ("identity", "warning"),
    [
        ("%41", "in the URL it must be typed as %2541."),
        ("a/b", "in the URL it must be typed as a%2Fb."),
        ("demo-01", "There is DEMO-01 as well, which differs only in capital letters; they are two."),
    ],
)
def test_identity_that_is_easily_mistyped_comes_with_a_warning(owner: Client, identity: str, warning: str) -> None:
    new_charge_point("DEMO-01")
    data: dict[str, Any] = {"identity": identity, **SETTINGS}
    assert warning in text_of(owner.post(url("stations_chargepoint_add"), data, follow=True))
    assert ChargePoint.objects.filter(identity=identity).exists()


def test_disabling_asks_first(owner: Client) -> None:
    page = text_of(owner.get(url("stations_chargepoint_change", new_charge_point().pk)))
    assert "Disable CP-1? Its connection ends, and every new one is refused. It is connected now." in page
