"""Id tags at the admin: editing, limits, blocking, states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stations.models import IdTag
from tenants.models import AuditEntry, Site, Tenant
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag, start


@pytest.fixture
def admin(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "admin", username="ada")


def test_tag_is_made_with_expiry_groups_and_sites(admin: Client) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    response = admin.post(
        url("stations_idtag_add"),
        {
            "id_tag": "04aB",
            "parent_id_tag": "FLEET",
            "groups": "staff,  visitors ",
            "expiry_date_0": "2027-01-31",
            "expiry_date_1": "23:59:00",
            "limited_to_sites": [site.pk],
            "max_active_transactions": "1",
        },
    )
    assert response.status_code == 302, text_of(response)
    tag = IdTag.objects.get()
    assert (tag.id_tag, tag.key, tag.parent_id_tag, tag.groups) == ("04aB", "04AB", "FLEET", ["staff", "visitors"])
    assert tag.expiry_date is not None
    assert tag.expiry_date.isoformat() == "2027-01-31T23:59:00+00:00"
    assert list(tag.sites.all()) == [site]


def test_edit_keeps_what_was_not_touched(admin: Client) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    tag = new_id_tag("04AB", groups=["staff"], driver="Anna")
    tag.sites.set([site])
    form = admin.get(url("stations_idtag_change", tag.pk)).context["adminform"].form
    assert form["groups"].value() == "staff"
    assert form["limited_to_sites"].value() == [site.pk]
    data = {"id_tag": "04AB", "groups": "staff", "driver": "Anna", "limited_to_sites": [site.pk], "blocked": "on"}
    admin.post(url("stations_idtag_change", tag.pk), data)
    tag.refresh_from_db()
    assert (tag.blocked, tag.groups, list(tag.sites.all())) == (True, ["staff"], [site])
    assert AuditEntry.objects.get().changes == {"blocked": [False, True]}


def test_same_tag_in_other_letters_is_refused(admin: Client) -> None:
    new_id_tag("04ab")
    response = admin.post(url("stations_idtag_add"), {"id_tag": "04AB"})
    assert "There is such an id tag already" in text_of(response)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "Accepted"),
        ({"blocked": True}, "Blocked"),
        ({"expiry_date": timezone.now() - timedelta(days=1)}, "Expired"),
        ({"expiry_date": timezone.now() + timedelta(days=1)}, "Accepted"),
    ],
)
def test_state_in_the_list_is_what_a_charge_point_is_answered(
    admin: Client, fields: dict[str, Any], state: str
) -> None:
    new_id_tag("04AB", **fields)
    assert f">{state}</span>" in text_of(admin.get(url("stations_idtag_changelist")))
    for choice in ("accepted", "blocked", "expired"):
        changelist = admin.get(url("stations_idtag_changelist"), {"acceptance": choice}).context["cl"]
        assert len(changelist.result_list) == (choice == state.lower())


def test_many_are_blocked_and_unblocked_after_a_question(admin: Client) -> None:
    tags = [new_id_tag("A"), new_id_tag("B", blocked=True)]
    chosen = {"_selected_action": [tag.pk for tag in tags]}
    question = admin.post(url("stations_idtag_changelist"), {"action": "block", **chosen})
    assert "Block 1 id tags?" in text_of(question)
    assert "1 of the 2 chosen are blocked already." in text_of(question)
    assert IdTag.objects.filter(blocked=True).count() == 1
    chosen["csms_confirmed"] = ["yes"]
    admin.post(url("stations_idtag_changelist"), {"action": "block", **chosen})
    assert IdTag.objects.filter(blocked=True).count() == 2
    assert AuditEntry.objects.get().object_label == "A"
    admin.post(url("stations_idtag_changelist"), {"action": "unblock", **chosen})
    assert not IdTag.objects.filter(blocked=True).exists()


def test_deleting_a_tag_in_use_says_what_follows_and_offers_to_block_it(admin: Client) -> None:
    tag = new_id_tag("TAG-1")
    start(new_charge_point())
    address = url("stations_idtag_delete", tag.pk)
    page = text_of(admin.get(address))
    assert "1 transaction running with it now: it goes on, and can be stopped." in page
    assert "Block instead" in page
    done = admin.post(address, {"post": "yes", "csms_instead": "1"})
    assert done["Location"] == url("stations_idtag_change", tag.pk)
    tag.refresh_from_db()
    assert tag.blocked
