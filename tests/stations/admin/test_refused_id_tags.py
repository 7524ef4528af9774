"""Refused cards, aliases and vendors' messages at the admin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from stations import authorization
from stations.models import ChargePoint, IdTag, IdTagAlias, RefusedIdTag, VendorExtension, VendorMessage
from tenants.models import AuditEntry, Role, Site, Tenant
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.rows import NOW, new_charge_point, new_id_tag


@pytest.fixture
def admin(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "admin", username="ada")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def refuse(charge_point: ChargePoint, card: str = "04:A1:B2:C3", times: int = 2) -> RefusedIdTag:
    for minute in range(times):
        authorization.presented(charge_point, card, "Authorize", NOW + timedelta(minutes=minute))
    return RefusedIdTag.objects.get(charge_point=charge_point, key=card.upper())


def page(client: Client, **query: str) -> str:
    return text_of(client.get(url("stations_refusedidtag_changelist"), query))


class TestList:
    def test_shows_which_where_how_often_why_and_what_is_near(self, admin: Client, charge_point: ChargePoint) -> None:
        new_id_tag("04A1B2C3", driver="Anna")
        refuse(charge_point)
        shown = page(admin)
        for expected in (
            "04:A1:B2:C3", "CP-1", ">2<", "unknown", "04A1B2C3", "Anna", "the same but for separators or a prefix",
            "Same driver as 04A1B2C3", ">Add<", "2026-03-01 12:00:00", "2026-03-01 12:01:00",
        ):  # fmt: skip
            assert expected in shown, expected
        assert "04:A1:B2:C3" in page(admin, q="04:a1")
        assert "04:A1:B2:C3" not in page(admin, q="ffff")
        assert "04:A1:B2:C3" not in page(admin, reason="blocked")

    def test_queries_do_not_grow_with_the_cards(
        self, admin: Client, charge_point: ChargePoint, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(30):
            new_id_tag(f"A{number}")
            refuse(charge_point, f"0A-{number}", 1)
        page(admin)
        with django_assert_max_num_queries(14):
            assert page(admin).count("Same driver as") >= 20

    def test_blocked_card_is_listed_without_buttons(self, admin: Client, charge_point: ChargePoint) -> None:
        new_id_tag("LOST", blocked=True)
        refuse(charge_point, "LOST")
        shown = page(admin)
        assert "LOST" in shown
        assert ">Add<" not in shown


def let_in(client: Client, *wish: Any) -> Any:
    """Press a button of the list."""
    return client.post(url("stations_refusedidtag_changelist"), {"let_in": " ".join(map(str, wish))}, follow=True)


class TestLettingIn:
    def test_add_registers_the_card_with_one_click(self, admin: Client, charge_point: ChargePoint) -> None:
        row = refuse(charge_point)
        assert f'name="let_in" value="add {row.pk}"' in page(admin)
        assert "04:A1:B2:C3 is an id tag now." in text_of(let_in(admin, "add", row.pk))
        assert IdTag.objects.get().id_tag == "04:A1:B2:C3"
        assert not RefusedIdTag.objects.exists()
        assert AuditEntry.objects.get().action == "create"

    def test_same_driver_as_makes_an_alias_with_one_click(self, admin: Client, charge_point: ChargePoint) -> None:
        tag = new_id_tag("04A1B2C3")
        row = refuse(charge_point)
        assert f'name="let_in" value="alias {row.pk} {tag.pk}"' in page(admin)
        answer = let_in(admin, "alias", row.pk, tag.pk)
        assert "04:A1:B2:C3 authorises as 04A1B2C3 from now on." in text_of(answer)
        assert IdTagAlias.objects.get().id_tag == tag
        assert authorization.authorize(charge_point, "04:a1:b2:c3", NOW).accepted

    def test_card_that_is_a_tag_by_now_is_said_to_be(self, admin: Client, charge_point: ChargePoint) -> None:
        row = refuse(charge_point)
        new_id_tag("04:a1:b2:c3")
        assert "is an id tag, or an alias of one, already" in text_of(let_in(admin, "add", row.pk))

    def test_looking_is_not_letting_in(self, in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
        row = refuse(charge_point)
        viewer = sign_in(in_tenant_a, Role.VIEWER)
        assert "04:A1:B2:C3" in page(viewer)
        assert ">Add<" not in page(viewer)
        assert let_in(viewer, "add", row.pk).status_code == 403
        site = Site.objects.create(slug="x", name="X")
        limited = sign_in(in_tenant_a, "admin", sites=[site])
        assert "04:A1:B2:C3" not in page(limited)
        assert let_in(limited, "add", row.pk).status_code == 404
        charge_point.site = site
        charge_point.save()
        assert "04:A1:B2:C3" in page(limited)
        assert let_in(limited, "add", row.pk).status_code == 403
        assert IdTag.objects.count() == 0

    @pytest.mark.parametrize("wish", ["add", "add x", "add 999999", "alias 1", "dance 1", "add 99999999999999999999"])
    def test_nonsense_lets_nobody_in(self, admin: Client, charge_point: ChargePoint, wish: str) -> None:
        refuse(charge_point)
        assert let_in(admin, wish).status_code == 404
        assert IdTag.objects.count() == 0


class TestAliases:
    def test_are_edited_with_the_tag(self, admin: Client) -> None:
        tag = new_id_tag("CARD")
        data = {"id_tag": "CARD", "other_names": "X-1, x-2"}
        response = admin.post(url("stations_idtag_change", tag.pk), data)
        assert response.status_code == 302, text_of(response)
        assert list(tag.aliases.values_list("alias", flat=True)) == ["X-1", "x-2"]
        form = admin.get(url("stations_idtag_change", tag.pk)).context["adminform"].form
        assert form["other_names"].value() == "X-1, x-2"
        assert "X-1, x-2" in text_of(admin.get(url("stations_idtag_changelist"), {"q": "x-2"}))
        refused = admin.post(url("stations_idtag_add"), {"id_tag": "X-1"})
        assert "of which this is an alias" in text_of(refused)
        other = new_id_tag("OTHER")
        refused = admin.post(url("stations_idtag_change", other.pk), {"id_tag": "OTHER", "other_names": "card"})
        assert "is an id tag, or an alias of another, already" in text_of(refused)


class TestVendorMessages:
    def test_vendor_is_switched_on_and_its_messages_are_shown(self, admin: Client, charge_point: ChargePoint) -> None:
        data = {"vendor_id": "com.acme", "enabled": "on", "message_ids": "Hello, Bye"}
        response = admin.post(url("stations_vendorextension_add"), data)
        assert response.status_code == 302, text_of(response)
        assert VendorExtension.objects.get().message_ids == ["Hello", "Bye"]
        again = admin.post(url("stations_vendorextension_add"), {"vendor_id": "COM.ACME", "enabled": "on"})
        assert "There is an entry of this vendorId" in text_of(again)
        assert "Hello, Bye" in text_of(admin.get(url("stations_vendorextension_changelist")))
        row = VendorMessage.objects.create(
            charge_point=charge_point, vendor_id="com.acme", message_id="Hello", data='{"serial":"Z-77"}',
            status="Accepted", received_at=NOW,
        )  # fmt: skip
        listed = text_of(admin.get(url("stations_vendormessage_changelist"), {"q": "z-77"}))
        for expected in ("com.acme", "Hello", "Z-77", "Accepted", "CP-1"):
            assert expected in listed
        assert "Z-77" not in text_of(admin.get(url("stations_vendormessage_changelist"), {"q": "nothing"}))
        assert "Z-77" in text_of(admin.get(url("stations_vendormessage_change", row.pk)))
        panel = text_of(admin.get(url("stations_chargepoint_panel", charge_point.pk, "messages")))
        assert "Vendor messages" in panel
        assert "Z-77" in panel
