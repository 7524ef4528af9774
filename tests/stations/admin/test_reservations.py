"""Reservations at the admin: the dialogs send what is filled in, the pages show what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from stations import reservations
from stations.models import ChargePoint, Command, Connector, IdTag, Reservation
from tenants.models import Site, Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag, start

UNTIL = "2030-01-01T12:00:30"
ASKED = {"connector_id": "1", "id_tag": "TAG-1", "until": UNTIL}
SENT = {"connectorId": 1, "expiryDate": "2030-01-01T12:00:30.000Z", "idTag": "TAG-1"}


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "operator", username="otto")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    new_id_tag()
    return new_charge_point()


def new_reservation(charge_point: ChargePoint, **members: Any) -> Reservation:
    """A live one, as the operator asked for it."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    defaults = {"connector_id": 1, "id_tag": "TAG-1", "expiry_date": soon, "requested_by": "otto"}
    return reservations.reserve(charge_point, **defaults | members)


def ask(operator: Client, charge_point: ChargePoint, **fields: str) -> Command:
    response = submit(operator, "stations_chargepoint_reserve", charge_point.pk, **fields)
    command = Command.objects.get()
    assert response.headers["HX-Redirect"] == url("stations_command_change", command.pk)
    assert (command.action, command.requested_by) == ("ReserveNow", "otto")
    assert Reservation.objects.get().command == command
    return command


class TestReserve:
    @pytest.mark.parametrize(
        ("fields", "parent", "payload"),
        [
            ({}, "", {}),
            ({}, "FAMILY", {"parentIdTag": "FAMILY"}),
            ({"without_parent": "on"}, "FAMILY", {}),
            ({"parent_id_tag": "Other"}, "FAMILY", {"parentIdTag": "Other"}),
            ({"connector_id": "0"}, "", {"connectorId": 0}),
            ({"connector_id": "99", "id_tag": " x"}, "", {"connectorId": 99, "idTag": " x"}),
            ({"until": "2030-06-01T12:00"}, "", {"expiryDate": "2030-06-01T12:00:00.000Z"}),
            ({"reservation_id": "77", "minutes": "5"}, "", {"reservationId": 77}),
            ({"reservation_id": "0"}, "", {"reservationId": 0}),
        ],
    )
    def test_payload_is_what_was_filled_in(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str], parent: str, payload: dict[str, Any]
    ) -> None:
        IdTag.objects.update(parent_id_tag=parent)
        command = ask(operator, charge_point, **ASKED | fields)
        allocated = {"reservationId": Reservation.objects.get().reservation_id}
        assert command.payload == SENT | allocated | payload

    @pytest.mark.parametrize("minutes", [1, 90, -5])
    def test_minutes_count_from_now(self, operator: Client, charge_point: ChargePoint, minutes: int) -> None:
        ask(operator, charge_point, connector_id="1", id_tag="TAG-1", minutes=str(minutes))
        expected = datetime.now(UTC) + timedelta(minutes=minutes)
        assert abs(Reservation.objects.get().expiry_date - expected) < timedelta(seconds=20)

    def test_time_is_read_in_the_time_zone_of_the_tenant(
        self, operator: Client, in_tenant_a: Tenant, charge_point: ChargePoint
    ) -> None:
        in_tenant_a.time_zone = "Europe/Berlin"
        in_tenant_a.save()
        page = text_of(operator.get(url("stations_chargepoint_reserve", charge_point.pk)))
        assert "in the time zone Europe/Berlin" in page
        assert ask(operator, charge_point, **ASKED).payload["expiryDate"] == "2030-01-01T11:00:30.000Z"

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"until": ""}, "Say how long, or until when."),
            ({"until": "soon"}, "Enter a valid date/time."),
            ({"id_tag": "x" * 21}, "idTag"),
            ({"reservation_id": str(2**31)}, "reservationId"),
            ({"without_parent": "on", "parent_id_tag": "P"}, "A parent id tag is filled in."),
            ({"minutes": "9999999", "until": ""}, "less than or equal to 5000000"),
        ],
    )
    def test_what_is_impossible_is_said_in_the_dialog(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str], complaint: str
    ) -> None:
        response = submit(operator, "stations_chargepoint_reserve", charge_point.pk, **ASKED | fields)
        assert complaint in text_of(response)
        assert not Command.objects.exists()
        assert not Reservation.objects.exists()

    def test_connector_in_use_is_a_warning_only(self, operator: Client, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1, status="Preparing")
        command = ask(operator, charge_point, **ASKED)
        assert "connector_in_use" in [warning["code"] for warning in command.warnings]
        page = text_of(operator.get(url("stations_reservation_change", Reservation.objects.get().pk)))
        assert "Connector 1 is Preparing." in page

    def test_any_connector_and_the_known_ones_are_suggested(self, operator: Client, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1, status="Available")
        page = text_of(operator.get(url("stations_chargepoint_reserve", charge_point.pk)))
        assert '<option value="0">any</option><option value="1">Available</option>' in page
        assert '<option value="TAG-1">' in page


class TestCancel:
    def test_from_the_charge_point_any_id_can_be_cancelled(self, operator: Client, charge_point: ChargePoint) -> None:
        submit(operator, "stations_chargepoint_cancel_reservation", charge_point.pk, reservation_id="4711")
        command = Command.objects.get()
        assert (command.action, command.payload) == ("CancelReservation", {"reservationId": 4711})
        assert [warning["code"] for warning in command.warnings] == ["unknown_reservation"]

    def test_the_one_that_is_live_is_filled_in(self, operator: Client, charge_point: ChargePoint) -> None:
        row = new_reservation(charge_point)
        dialog = url("stations_chargepoint_cancel_reservation", charge_point.pk)
        assert f'value="{row.reservation_id}"' in text_of(operator.get(dialog))
        assert 'value="12"' in text_of(operator.get(dialog, {"reservation": "12"}))

    def test_from_its_page(self, operator: Client, charge_point: ChargePoint) -> None:
        row = new_reservation(charge_point)
        submit(operator, "stations_reservation_cancel", row.pk)
        command = Command.objects.get(action="CancelReservation")
        assert command.payload == {"reservationId": row.reservation_id}
        row.refresh_from_db()
        assert (row.status, row.cancel_command) == ("Requested", command)

    @pytest.mark.parametrize(("role", "number"), [("operator", 1), ("viewer", 0)])
    def test_only_those_who_operate_may(
        self, in_tenant_a: Tenant, charge_point: ChargePoint, role: str, number: int
    ) -> None:
        row = new_reservation(charge_point)
        client = sign_in(in_tenant_a, role)
        submit(client, "stations_reservation_cancel", row.pk)
        assert Command.objects.filter(action="CancelReservation").count() == number
        submit(client, "stations_chargepoint_reserve", charge_point.pk, **ASKED)
        assert Reservation.objects.count() == 1 + number
        panel = text_of(client.get(url("stations_chargepoint_panel", charge_point.pk, "reservations")))
        assert (">reserve</a>" in panel) is (number == 1)


class TestPages:
    def test_panel_shows_the_state_without_waiting_for_the_job(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        over = datetime.now(UTC) - timedelta(minutes=1)
        new_reservation(charge_point, expiry_date=over)
        panel = text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "reservations")))
        assert ">Expired</span>" in panel
        assert ">cancel</a>" not in panel
        new_reservation(charge_point)
        panel = text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "reservations")))
        assert ">Requested</span>" in panel
        assert ">cancel</a>" in panel

    def test_page_is_polled_while_it_is_live(self, operator: Client, charge_point: ChargePoint) -> None:
        row = new_reservation(charge_point)
        state = url("stations_reservation_state", row.pk)
        assert 'hx-trigger="every 1s ' in text_of(operator.get(state))
        Command.objects.update(status="answered")
        assert 'hx-trigger="every 10s ' in text_of(operator.get(state))
        Reservation.objects.update(status="Occupied", end_reason="refused", ended_at=datetime.now(UTC))
        page = text_of(operator.get(state))
        assert "hx-trigger" not in page
        cancel = url("stations_reservation_cancel", row.pk)
        assert cancel not in text_of(operator.get(url("stations_reservation_change", row.pk)))
        assert "The charge point refused it" in page

    def test_unanswered_one_says_what_that_means(self, operator: Client, charge_point: ChargePoint) -> None:
        row = new_reservation(charge_point)
        assert "has not answered" not in text_of(operator.get(url("stations_reservation_change", row.pk)))
        Command.objects.update(status="timed_out")
        assert "has not answered" in text_of(operator.get(url("stations_reservation_change", row.pk)))

    def test_transaction_shows_its_reservation(self, operator: Client, charge_point: ChargePoint) -> None:
        row = new_reservation(charge_point)
        tx = start(charge_point, reservation_id=row.reservation_id, now=datetime.now(UTC)).transaction_id
        page = text_of(operator.get(url("stations_transaction_change", tx)))
        assert f'href="{url("stations_reservation_change", row.pk)}">{row.reservation_id}</a>' in page
        shown = text_of(operator.get(url("stations_reservation_change", row.pk)))
        assert f'href="{url("stations_transaction_change", tx)}">{tx}</a>' in shown

    def test_transaction_with_an_unknown_reservation_says_so(self, operator: Client, charge_point: ChargePoint) -> None:
        tx = start(charge_point, reservation_id=4711, now=datetime.now(UTC)).transaction_id
        page = text_of(operator.get(url("stations_transaction_change", tx)))
        assert '4711 <span class="csms-subtle">unknown here' in page

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ({"status": "Expired"}, {1}), ({"status": "Requested"}, {2}), ({"status": "Used"}, set()),
            ({"q": "2"}, {2}), ({"q": "tag-1"}, {1, 2}), ({"q": "CP-"}, {1, 2}), ({"q": "99999999999"}, set()),
        ],
    )  # fmt: skip
    def test_list_filters_and_finds(
        self, operator: Client, charge_point: ChargePoint, query: dict[str, str], shown: set[int]
    ) -> None:
        new_reservation(charge_point, reservation_id=1, expiry_date=datetime.now(UTC) - timedelta(minutes=1))
        new_reservation(charge_point, reservation_id=2)
        response = operator.get(url("stations_reservation_changelist"), query)
        assert {row.reservation_id for row in response.context["cl"].result_list} == shown

    def test_people_of_other_sites_see_none_of_it(self, in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
        row = new_reservation(charge_point)
        site = Site.objects.create(slug="other", name="Other")
        client = sign_in(in_tenant_a, "operator", sites=[site])
        assert list(client.get(url("stations_reservation_changelist")).context["cl"].result_list) == []
        for name in ("change", "state", "cancel"):
            assert client.get(url(f"stations_reservation_{name}", row.pk)).status_code == 404

    def test_command_links_to_the_reservation_that_came_of_it(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        row = new_reservation(charge_point)
        Command.objects.update(effect={"reservation": row.reservation_id})
        page = text_of(operator.get(url("stations_command_change", row.command_id)))
        assert f">Reservation {row.reservation_id}</a>" in page
