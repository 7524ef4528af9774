"""What comes of a form of the admin that does not fit its ticket; tests/stations/admin walks over every form."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from stations import commands
from stations.models import ChargePoint, Command, IdTag
from tenants import tickets
from tenants.models import AuditEntry, IdempotencyRecord, Membership, Role, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.every_form import Form, form_at, forms_of
from tests.stations.admin.people import Browser, client_of, new_user, sign_in, sign_in_superuser, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag, start


@pytest.fixture
def both(tenants: Tenants) -> Client:
    """Somebody who owns both tenants and works for the first."""
    user = new_user("ada")
    for tenant in tenants:
        with platform_scope(), tenant_scope(tenant):
            Membership.objects.create(user=user, role=Role.OWNER)
    return client_of(user)


@pytest.fixture
def owner(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, username="olga")


def opened(client: Client, address: str) -> Form:
    form = form_at(client, address)
    assert form is not None
    return form


def switch(client: Client, tenant: Tenant) -> None:
    client.post(reverse("tenants:switch"), {"tenant": tenant.pk})


def where(model: Any) -> list[tuple[str, str]]:
    with platform_scope():
        return [(str(row), row.tenant.slug) for row in model.objects.select_related("tenant")]


class TestAnotherTenant:
    def test_form_is_shown_again_and_sent_after_switching_back(self, both: Client, tenants: Tenants) -> None:
        address = url("stations_idtag_add")
        form = opened(both, address)
        switch(both, tenants.tenant_b)
        refused = both.post(address, form.with_values(id_tag="TWOTABS", driver="Jane"))
        assert refused.status_code == 409
        assert where(IdTag) == []
        again = forms_of(text_of(refused))[0]
        assert (again.fields["id_tag"], again.fields["driver"]) == (["TWOTABS"], ["Jane"])

        assert both.post(address, again.fields).status_code == 409
        assert where(IdTag) == []

        assert both.post(address, again.with_values(csms_switch="1")).status_code == 302
        assert where(IdTag) == [("TWOTABS", "alpha")]
        assert both.session["tenant_id"] == tenants.tenant_a.pk

    def test_dialog_says_so_inside_itself(self, both: Client, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            address = url("stations_chargepoint_reset", new_charge_point().pk)
        htmx = {"HX-Request": "true"}
        form = forms_of(text_of(both.get(address, headers=htmx)))[0]
        switch(both, tenants.tenant_b)
        refused = both.post(address, form.with_values(type="Hard"), headers=htmx)
        assert refused.status_code == 409
        assert 'id="dialog-form"' in text_of(refused)
        again = forms_of(text_of(refused))[0]
        assert again.fields["type"] == ["Hard"]
        with platform_scope():
            assert not Command.objects.exists()

        done = both.post(address, again.with_values(csms_switch="1"), headers=htmx)
        assert done["HX-Redirect"].startswith("/admin/stations/command/")
        with platform_scope():
            assert Command.objects.get().payload == {"type": "Hard"}

    def test_deletion_and_action_are_asked_about_again(self, both: Client, tenants: Tenants) -> None:
        with tenant_scope(tenants.tenant_a):
            tag = new_id_tag("A")
        for address, values in (
            (url("stations_idtag_delete", tag.pk), {}),
            (url("stations_idtag_changelist"), {"action": "delete_selected", "_selected_action": [tag.pk]}),
        ):
            switch(both, tenants.tenant_a)
            form = opened(both, address)
            switch(both, tenants.tenant_b)
            refused = both.post(address, form.with_values(**values))
            assert refused.status_code == 409
            assert where(IdTag) == [("A", "alpha")]
            again = forms_of(text_of(refused))[0]
        assert again.fields["action"] == ["delete_selected"]
        # The question of the action, in the tenant it was asked for.
        question = both.post(address, again.with_values(csms_switch="1"))
        assert question.status_code == 200
        assert "Are you sure" in text_of(question)

    def test_tenant_that_is_not_worked_for_any_more(self, both: Client, tenants: Tenants) -> None:
        address = url("stations_idtag_add")
        form = opened(both, address)
        with platform_scope():
            Membership.objects.filter(tenant=tenants.tenant_a).delete()
        for values in ({}, {"csms_switch": "1"}):
            refused = both.post(address, form.with_values(id_tag="TWOTABS", **values))
            assert refused.status_code == 409
            assert "gone or that you no longer work for" in text_of(refused)
            assert "csms_switch" not in text_of(refused)
        assert where(IdTag) == []


class TestLostUpdate:
    @pytest.fixture
    def tag(self, in_tenant_a: Tenant) -> IdTag:
        return new_id_tag("TAG", driver="before", description="before")

    def conflict(self, owner: Client, tag: IdTag) -> tuple[str, Form, str]:
        """The first tab changes the driver, the second opened before changes the description and another driver."""
        address = url("stations_idtag_change", tag.pk)
        first, second = opened(owner, address), opened(owner, address)
        assert owner.post(address, first.with_values(driver="first")).status_code == 302
        refused = owner.post(address, second.with_values(description="second", driver="second"))
        assert refused.status_code == 409
        page = text_of(refused)
        return address, forms_of(page)[0], page

    def read(self, tag: IdTag) -> tuple[str, str]:
        tag.refresh_from_db()
        return tag.driver, tag.description

    def test_what_differs_is_shown_and_nothing_is_saved(self, owner: Client, tag: IdTag) -> None:
        _, again, page = self.conflict(owner, tag)
        assert self.read(tag) == ("first", "before")
        table = re.search(r'<table class="csms-differences">(.*?)</table>', page, re.S)
        assert table is not None
        cells = re.sub(r"<[^>]+>", " ", table[1]).split()
        assert cells == ["Field", "There", "now", "Yours", "Driver", "first", "second"]
        assert again.fields["driver"] == ["second"]

    @pytest.mark.parametrize("choice", ["theirs", "yours"])
    def test_choice_is_kept(self, owner: Client, tag: IdTag, choice: str) -> None:
        address, again, _ = self.conflict(owner, tag)
        done = owner.post(address, again.with_values(**{"csms_choice-driver": choice}))
        assert done.status_code == 302
        assert self.read(tag) == ("first" if choice == "theirs" else "second", "second")
        entry = AuditEntry.objects.latest("id")
        assert set(entry.changes) == ({"description"} if choice == "theirs" else {"driver", "description"})

    def test_choice_survives_an_error_elsewhere(self, owner: Client, tag: IdTag) -> None:
        address, again, _ = self.conflict(owner, tag)
        wrong = owner.post(
            address, again.with_values(**{"csms_choice-driver": "theirs", "max_active_transactions": "x"})
        )
        assert wrong.status_code == 200
        third = forms_of(text_of(wrong))[0]
        assert third.fields["csms_choice-driver"] == ["theirs"]
        del third.fields["driver"]
        assert owner.post(address, third.with_values(max_active_transactions="2")).status_code == 302
        assert self.read(tag) == ("first", "second")

    def test_field_left_alone_is_theirs_unless_chosen_otherwise(self, owner: Client, tag: IdTag) -> None:
        address = url("stations_idtag_change", tag.pk)
        second = opened(owner, address)
        IdTag.objects.filter(pk=tag.pk).update(driver="first")
        refused = owner.post(address, second.with_values(description="second"))
        again = forms_of(text_of(refused))[0]
        assert again.fields["csms_choice-driver"] == ["theirs"]
        assert owner.post(address, again.fields).status_code == 302
        assert self.read(tag) == ("first", "second")

    def test_same_change_by_both_is_no_conflict(self, owner: Client, tag: IdTag) -> None:
        address = url("stations_idtag_change", tag.pk)
        second = opened(owner, address)
        IdTag.objects.filter(pk=tag.pk).update(driver="same")
        assert owner.post(address, second.with_values(driver="same")).status_code == 302

    def test_what_the_charge_point_writes_is_no_conflict(self, owner: Client, in_tenant_a: Tenant) -> None:
        charge_point = new_charge_point()
        pages = [url(f"stations_chargepoint_{name}", charge_point.pk) for name in ("change", "reset")]
        forms = [opened(owner, page) for page in pages]
        ChargePoint.objects.filter(pk=charge_point.pk).update(
            connected=False, last_seen_at=charge_point.created_at, vendor="Other", firmware_version="2"
        )
        assert [owner.post(*pair).status_code for pair in zip(pages, [f.fields for f in forms], strict=True)] == [
            302,
            302,
        ]

    def test_deleting_what_was_changed_is_asked_about_again(self, owner: Client, tag: IdTag) -> None:
        address = url("stations_idtag_delete", tag.pk)
        form = opened(owner, address)
        IdTag.objects.filter(pk=tag.pk).update(driver="first")
        refused = owner.post(address, form.fields)
        assert refused.status_code == 409
        assert "first" in text_of(refused)
        assert IdTag.objects.filter(pk=tag.pk).exists()
        assert owner.post(address, forms_of(text_of(refused))[0].fields).status_code == 302
        assert not IdTag.objects.filter(pk=tag.pk).exists()

    def test_row_that_is_gone_is_404(self, owner: Client, tag: IdTag) -> None:
        address = url("stations_idtag_change", tag.pk)
        form = opened(owner, address)
        tag.delete()
        assert owner.post(address, form.fields).status_code == 404


class TestTwice:
    def test_second_answer_leads_to_the_same_result(self, owner: Client, in_tenant_a: Tenant) -> None:
        address = url("stations_chargepoint_reset", new_charge_point().pk)
        form = opened(owner, address)
        answers = [owner.post(address, form.fields) for _ in range(3)]
        command = Command.objects.get()
        assert [answer["Location"] for answer in answers] == [url("stations_command_change", command.pk)] * 3

    def test_secret_is_said_again_to_whoever_missed_the_first_answer(self, in_tenant_a: Tenant) -> None:
        first = sign_in(in_tenant_a, username="olga")
        assert isinstance(first, Browser)
        form = opened(first, url("stations_chargepoint_add"))
        first.post(url("stations_chargepoint_add"), form.with_values(identity="NEW"))
        password = re.search(r'csms-secret">([^<]+)<', text_of(first.get(url("index"))))
        assert password is not None
        second = client_of(first.user)
        second.post(url("stations_chargepoint_add"), form.with_values(identity="NEW"))
        assert password[1] in text_of(second.get(url("index")))
        assert password[1].encode() not in bytes(IdempotencyRecord.objects.get().response_body or b"")

    def test_form_with_an_error_can_be_sent_again(self, owner: Client) -> None:
        address = url("stations_idtag_add")
        form = opened(owner, address)
        assert owner.post(address, form.fields).status_code == 200
        assert not IdempotencyRecord.objects.exists()
        assert owner.post(address, form.with_values(id_tag="A")).status_code == 302

    def test_other_contents_with_a_used_key_are_asked_about(self, owner: Client) -> None:
        address = url("stations_idtag_add")
        form = opened(owner, address)
        owner.post(address, form.with_values(id_tag="A"))
        refused = owner.post(address, form.with_values(id_tag="B"))
        assert refused.status_code == 409
        assert "has been sent before" in text_of(refused)
        assert [tag.id_tag for tag in IdTag.objects.all()] == ["A"]
        again = forms_of(text_of(refused))[0]
        assert again.fields["id_tag"] == ["B"]
        assert owner.post(address, again.fields).status_code == 302
        assert IdTag.objects.count() == 2

    def test_key_is_kept_with_the_effect_or_not_at_all(self, owner: Client, monkeypatch: Any) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError

        address = url("stations_idtag_add")
        form = opened(owner, address)
        with monkeypatch.context() as patched:
            patched.setattr(AuditEntry.objects, "record", fail)
            with pytest.raises(ZeroDivisionError):
                owner.post(address, form.with_values(id_tag="A"))
        assert not IdTag.objects.exists()
        assert not IdempotencyRecord.objects.exists()
        assert owner.post(address, form.with_values(id_tag="A")).status_code == 302


class TestTicket:
    def forged(self, form: Form, ticket: str) -> dict[str, Any]:
        return form.with_values(**{tickets.FIELD: ticket}, id_tag="A")

    @pytest.mark.parametrize("change", ["", "x", "cut", "other"])
    def test_missing_or_changed_is_refused(self, owner: Client, change: str) -> None:
        address = url("stations_idtag_add")
        form = opened(owner, address)
        ticket = form.fields[tickets.FIELD][0]
        given = {"cut": ticket[:-1], "other": ticket[1:]}.get(change, change)
        refused = owner.post(address, self.forged(form, given))
        assert refused.status_code == 400
        assert "came without the key" in text_of(refused)
        assert not IdTag.objects.exists()
        again = forms_of(text_of(refused))[0]
        assert again.fields["id_tag"] == ["A"]
        assert owner.post(address, again.fields).status_code == 302

    def test_without_a_ticket_nothing_of_others_is_undone(self, owner: Client) -> None:
        tag = new_id_tag("TAG", driver="there")
        address = url("stations_idtag_change", tag.pk)
        fields = opened(owner, address).with_values(**{tickets.FIELD: "x"}, driver="mine")
        refused = owner.post(address, fields)
        assert refused.status_code == 400
        assert forms_of(text_of(refused))[0].fields["csms_choice-driver"] == ["yours"]

    def test_old_one_is_refused_and_what_differs_is_shown(self, owner: Client) -> None:
        tag = new_id_tag("TAG", driver="before")
        address = url("stations_idtag_change", tag.pk)
        with time_machine.travel(0, tick=True) as traveller:
            traveller.move_to("2026-01-01T00:00:00Z")
            ticket = opened(owner, address).fields
        IdTag.objects.filter(pk=tag.pk).update(driver="there")
        refused = owner.post(address, ticket)
        assert refused.status_code == 409
        assert "more than 24 hours ago" in text_of(refused)
        assert "csms-differences" in text_of(refused)

    def test_of_another_page_or_person_is_refused(self, owner: Client, in_tenant_a: Tenant) -> None:
        form = opened(owner, url("stations_idtag_add"))
        elsewhere = owner.post(url("tenants_site_add"), form.with_values(name="X", slug="x"))
        assert "belongs to another page" in text_of(elsewhere)
        other = sign_in(in_tenant_a).post(url("stations_idtag_add"), form.with_values(id_tag="A"))
        assert "signed in here before you" in text_of(other)
        assert (elsewhere.status_code, other.status_code) == (409, 409)
        assert not IdTag.objects.exists()

    def test_says_nothing_of_what_it_is_about(self, owner: Client) -> None:
        tag = new_id_tag("TAG", driver="Jane Doe")
        ticket = tickets.read(opened(owner, url("stations_idtag_change", tag.pk)).fields[tickets.FIELD][0])
        assert ticket is not None
        assert set(map(len, ticket.shown.values())) == {12}
        assert tickets.KEPT == timedelta(hours=24)


def test_dialog_by_its_address_is_a_whole_page_that_works_without_script(owner: Client) -> None:
    charge_point = new_charge_point()
    address = url("stations_chargepoint_remote_start", charge_point.pk)
    page = text_of(owner.get(address))
    assert "<html" in page
    assert "stations/admin.css" in page
    assert "Charge points" in page
    assert f'href="{url("index")}"' in page
    fetched = text_of(owner.get(address, headers={"HX-Request": "true"}))
    assert fetched.lstrip().startswith('<div id="dialog"')
    form = forms_of(page)[0]
    wrong = owner.post(address, form.fields)
    assert wrong.status_code == 200
    assert "This field is required." in text_of(wrong)
    assert "<html" in text_of(wrong)
    done = owner.post(address, form.with_values(id_tag="TAG"))
    assert done["Location"] == url("stations_command_change", Command.objects.get().pk)


class TestManyRows:
    """Two thousand rows and more: one field for all of them, and exactly those that were asked about."""

    def question(self, owner: Client, list_name: str, action: str, query: str = "") -> Form:
        address = url(list_name) + query
        first = opened(owner, address)
        shown = owner.post(
            address, first.with_values(action=action, select_across="1", index="0", _selected_action=["1"])
        )
        assert shown.status_code == 200
        return next(form for form in forms_of(text_of(shown)) if form.fields.get("action") == [action])

    def test_two_thousand_charge_points_are_deleted(self, owner: Client, in_tenant_a: Tenant) -> None:
        ChargePoint.objects.bulk_create(
            ChargePoint(identity=f"CP-{number}", tenant=in_tenant_a) for number in range(2000)
        )
        form = self.question(owner, "stations_chargepoint_changelist", "delete_selected")
        assert len(form.fields) < 10
        done = owner.post(url("stations_chargepoint_changelist"), form.fields)
        assert done.status_code == 302
        assert not ChargePoint.objects.exists()
        assert AuditEntry.objects.filter(action="delete").count() == 2000

    def test_five_thousand_id_tags_are_blocked_as_chosen_by_a_filter(self, owner: Client, in_tenant_a: Tenant) -> None:
        IdTag.objects.bulk_create(
            IdTag(id_tag=f"TAG-{number}", key=f"TAG-{number}", tenant=in_tenant_a, blocked=number < 10)
            for number in range(5000)
        )
        form = self.question(owner, "stations_idtag_changelist", "block", "?acceptance=accepted")
        owner.post(url("stations_idtag_changelist") + "?acceptance=accepted", form.fields)
        assert IdTag.objects.filter(blocked=True).count() == 5000
        assert AuditEntry.objects.count() == 4990

    @pytest.mark.parametrize("change", ["gone", "changed", "more"])
    def test_only_what_was_asked_about(self, owner: Client, change: str) -> None:
        tags = [new_id_tag(name) for name in ("A", "B", "C")]
        form = self.question(owner, "stations_idtag_changelist", "delete_selected")
        match change:
            case "gone":
                tags[0].delete()
            case "changed":
                IdTag.objects.filter(pk=tags[0].pk).update(driver="somebody")
            case "more":
                new_id_tag("D")
        answer = owner.post(url("stations_idtag_changelist"), form.fields)
        if change == "more":
            assert [tag.id_tag for tag in IdTag.objects.all()] == ["D"]
            return
        assert answer.status_code == 409
        sentence = "1 of the 3 chosen are gone" if change == "gone" else "Some of the chosen were changed"
        assert sentence in text_of(answer)
        assert IdTag.objects.count() == (2 if change == "gone" else 3)
        again = forms_of(text_of(answer))[0]
        assert owner.post(url("stations_idtag_changelist"), again.fields).status_code == 302
        assert not IdTag.objects.exists()

    def test_queued_commands_are_withdrawn_together(self, owner: Client) -> None:
        charge_points = [new_charge_point(f"CP-{number}", connected=False) for number in range(3)]
        commands.enqueue_many(charge_points, "Reset", {"type": "Soft"}, "ada")
        Command.objects.filter(charge_point=charge_points[0]).update(status="sent")
        form = self.question(owner, "stations_command_changelist", "withdraw_many")
        owner.post(url("stations_command_changelist"), form.fields)
        assert sorted(Command.objects.values_list("status", flat=True)) == ["sent", "withdrawn", "withdrawn"]

    def test_reset_of_many_says_how_long_it_waits_and_for_whom(self, owner: Client) -> None:
        for number in range(3):
            new_charge_point(f"CP-{number}", connected=number == 0, disabled=number == 2)
        address = url("stations_chargepoint_changelist")
        form = opened(owner, address)
        page = text_of(
            owner.post(
                address,
                form.with_values(action="reset_many", select_across="1", index="0", _selected_action=["1"]),
            )
        )
        assert "1 of the chosen are disabled and left out; 2 remain." in page
        assert "1 of them not connected: their commands are queued until they connect, at the latest until" in page


def test_charge_point_with_transactions_can_be_disabled_instead_of_deleted(owner: Client) -> None:
    charge_point = new_charge_point()
    new_id_tag()
    start(charge_point)
    address = url("stations_chargepoint_delete", charge_point.pk)
    page = text_of(owner.get(address))
    assert "CP-1 has 1 transaction, which are kept" in page
    assert "Disable instead" in page
    done = owner.post(address, opened(owner, address).with_values(csms_instead="1"))
    assert done["Location"] == url("stations_chargepoint_change", charge_point.pk)
    charge_point.refresh_from_db()
    assert charge_point.disabled
    assert AuditEntry.objects.latest("id").changes == {"disabled": [False, True]}


def test_tenant_is_not_deleted_for_a_reason_that_is_said(tenants: Tenants) -> None:
    page = sign_in_superuser().get(url("tenants_tenant_delete", tenants.tenant_a.pk))
    assert page.status_code == 403
    assert "Nobody deletes a tenant here" in text_of(page)
    assert "Your role" not in text_of(page)
