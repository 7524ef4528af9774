"""Smart charging at the admin: what the dialogs send, and what the panel shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from csms.ocppj.payloads import order_call
from stations.models import ChargePoint, ChargingProfile, Command, ConfigurationKey, Connector, InstalledProfile
from tenants.models import Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import new_charge_point, new_id_tag, start

NIGHT = {
    "stackLevel": 1,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Recurring",
    "recurrencyKind": "Daily",
    "chargingSchedule": {
        "duration": 28800,
        "startSchedule": "2026-01-01T22:00:00Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": 6.0},
            {"startPeriod": 3600, "limit": 10, "numberPhases": 1},
        ],
    },
}
OWN = {
    "transactionId": 4711,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6000.0}]},
}


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "operator", username="otto")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def installed(charge_point: ChargePoint, profile: dict[str, Any], pk: int = 9, connector_id: int = 1) -> None:
    InstalledProfile.objects.create(
        charge_point=charge_point, connector_id=connector_id, charging_profile_id=pk,
        profile={"chargingProfileId": pk, **profile}, purpose=profile["chargingProfilePurpose"],
        stack_level=profile["stackLevel"], installed_at=datetime.now(UTC),
    )  # fmt: skip


def sent() -> str:
    """The one command as it goes on the wire."""
    command = Command.objects.get()
    return json.dumps(order_call(command.action, command.payload))


class TestSetChargingProfile:
    dialog = "stations_chargepoint_set_charging_profile"

    def test_profile_of_the_library_goes_with_its_id_and_nothing_else(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        row = ChargingProfile.objects.create(profile=NIGHT)
        response = submit(operator, self.dialog, charge_point.pk, connector_id="0", library=row.pk)
        assert response["HX-Redirect"] == url("stations_command_change", Command.objects.get().pk)
        assert sent() == json.dumps({"connectorId": 0, "csChargingProfiles": {"chargingProfileId": row.pk, **NIGHT}})

    def test_json_goes_as_it_was_written_with_the_transaction_put_in(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        profile = {"chargingProfileId": 5, **OWN}
        fields = {"connector_id": "1", "profile": json.dumps(profile), "transaction_id": "12"}
        submit(operator, self.dialog, charge_point.pk, **fields)
        assert sent() == json.dumps({"connectorId": 1, "csChargingProfiles": profile | {"transactionId": 12}})

    def test_json_without_an_id_gets_one_that_the_library_never_uses(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        submit(operator, self.dialog, charge_point.pk, connector_id="1", profile=json.dumps(OWN))
        pk = Command.objects.get().payload["csChargingProfiles"]["chargingProfileId"]
        assert ChargingProfile.objects.create(profile=NIGHT).pk > pk > 0

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({}, "Choose a profile of the library, or write one as JSON."),
            ({"profile": "{"}, "This is not JSON"),
            ({"profile": '{"limit": NaN}'}, "NaN is not a number of JSON"),
            ({"profile": "[]"}, "A charging profile is a JSON object."),
            ({"profile": json.dumps(NIGHT | {"stackLevel": -1})}, "stackLevel is below 0."),
            ({"profile": json.dumps(NIGHT | {"x": 1})}, "x is not a member of this message."),
            ({"profile": json.dumps(NIGHT), "connector_id": "-1"}, "connectorId is below 0."),
            ({"profile": json.dumps(NIGHT), "connector_id": ""}, "This field is required."),
        ],
    )
    def test_what_cannot_be_sent_is_refused_at_its_field(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str], error: str
    ) -> None:
        response = submit(operator, self.dialog, charge_point.pk, **{"connector_id": "1"} | fields)
        assert error in text_of(response)
        assert not Command.objects.exists()

    def test_two_decimals_are_pointed_at_where_they_stand(self, operator: Client, charge_point: ChargePoint) -> None:
        profile = json.loads(json.dumps(NIGHT))
        profile["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] = 6.25
        response = submit(operator, self.dialog, charge_point.pk, connector_id="1", profile=json.dumps(profile))
        assert "chargingSchedule/chargingSchedulePeriod/0/limit has more than one decimal." in text_of(response)

    def test_library_and_json_together_are_refused(self, operator: Client, charge_point: ChargePoint) -> None:
        row = ChargingProfile.objects.create(profile=NIGHT)
        fields = {"connector_id": "1", "library": row.pk, "profile": json.dumps(OWN)}
        assert "or write one as JSON" in text_of(submit(operator, self.dialog, charge_point.pk, **fields))

    def test_suggests_connectors_transactions_and_the_library(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        new_id_tag()
        tx = start(charge_point).transaction_id
        row = ChargingProfile.objects.create(profile=NIGHT, description="By night")
        page = text_of(operator.get(url(self.dialog, charge_point.pk) + f"?library={row.pk}"))
        assert f'<option value="{tx}">connector 1, TAG-1</option>' in page
        assert f'value="{row.pk}" selected' in page
        assert f"{row.pk} · By night · TxDefaultProfile, level 1" in page

    def test_unwise_profile_is_sent_and_the_page_of_the_command_warns(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        response = submit(operator, self.dialog, charge_point.pk, connector_id="0", profile=json.dumps(OWN))
        page = text_of(operator.get(response["HX-Redirect"]))
        assert "A TxProfile belongs on the connector of its transaction." in page


class TestRemoteStart:
    dialog = "stations_chargepoint_remote_start_with_profile"

    def test_profile_of_the_library_goes_without_its_transaction(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        row = ChargingProfile.objects.create(profile=OWN)
        submit(operator, self.dialog, charge_point.pk, id_tag="T", connector_id="1", library=row.pk)
        profile = {name: value for name, value in OWN.items() if name != "transactionId"}
        assert sent() == json.dumps(
            {"connectorId": 1, "idTag": "T", "chargingProfile": {"chargingProfileId": row.pk, **profile}}
        )

    def test_json_goes_as_it_was_written(self, operator: Client, charge_point: ChargePoint) -> None:
        profile = {"chargingProfileId": 5, **OWN}
        submit(operator, self.dialog, charge_point.pk, id_tag="T", profile=json.dumps(profile))
        assert sent() == json.dumps({"idTag": "T", "chargingProfile": profile})


class TestClear:
    dialog = "stations_chargepoint_clear_charging_profile"

    @pytest.mark.parametrize(
        ("fields", "payload"),
        [
            ({"profile_id": "7"}, {"id": 7}),
            ({"everything": "on"}, {}),
            (
                {"connector_id": "0", "purpose": "TxDefaultProfile", "stack_level": "0"},
                {"connectorId": 0, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0},
            ),
            ({"stack_level": "3"}, {"stackLevel": 3}),
            ({"profile_id": "7", "connector_id": "1"}, {"id": 7, "connectorId": 1}),
        ],
    )
    def test_payload_is_exactly_what_was_filled_in(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str], payload: dict[str, Any]
    ) -> None:
        submit(operator, self.dialog, charge_point.pk, **fields)
        assert Command.objects.get().payload == payload

    @pytest.mark.parametrize("fields", [{}, {"everything": "on", "profile_id": "1"}])
    def test_everything_is_never_cleared_by_an_oversight(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str]
    ) -> None:
        response = submit(operator, self.dialog, charge_point.pk, **fields)
        assert "Either fill in which profiles to clear, or choose every profile." in text_of(response)
        assert not Command.objects.exists()


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        (
            {"connector_id": "1", "duration": "200", "unit": "A"},
            {"connectorId": 1, "duration": 200, "chargingRateUnit": "A"},
        ),
        ({"connector_id": "0", "duration": "86400", "unit": ""}, {"connectorId": 0, "duration": 86400}),
    ],
)
def test_composite_schedule_is_asked_for_with_exactly_what_was_filled_in(
    operator: Client, charge_point: ChargePoint, fields: dict[str, str], payload: dict[str, Any]
) -> None:
    submit(operator, "stations_chargepoint_get_composite_schedule", charge_point.pk, **fields)
    assert Command.objects.get().payload == payload


class TestPanel:
    def panel(self, client: Client, charge_point: ChargePoint) -> str:
        return text_of(client.get(url("stations_chargepoint_panel", charge_point.pk, "charging_profiles")))

    def test_shows_what_is_installed_and_which_profile_is_in_force(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1)
        whole = OWN | {"chargingProfilePurpose": "ChargePointMaxProfile"}
        installed(charge_point, whole, 8, 0)
        installed(charge_point, NIGHT)
        ConfigurationKey.objects.create(charge_point=charge_point, key="ChargeProfileMaxStackLevel", value="3")
        page = self.panel(operator, charge_point)
        assert "6 A, from 3600 s 10 A on 1 phase, for 28800 s" in page
        assert "Recurring Daily" in page
        assert "ChargeProfileMaxStackLevel" in page
        # 6000 W hold on connector 0 whatever the hour; the other one only by night.
        assert "connector 0" in page
        assert "?id=9" in page

    def test_is_empty_and_offers_nothing_to_who_may_only_look(
        self, in_tenant_a: Tenant, charge_point: ChargePoint
    ) -> None:
        page = self.panel(sign_in(in_tenant_a, "viewer"), charge_point)
        assert "No profiles that we know of." in page
        assert "hx-get" not in page

    def test_costs_a_fixed_number_of_queries(
        self, operator: Client, charge_point: ChargePoint, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(1, 6):
            Connector.objects.create(charge_point=charge_point, connector_id=number)
            installed(charge_point, NIGHT, number, number)
        self.panel(operator, charge_point)
        with django_assert_max_num_queries(12):
            self.panel(operator, charge_point)


def test_viewer_may_not_send(in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
    viewer = sign_in(in_tenant_a, "viewer")
    for name in (
        "set_charging_profile",
        "clear_charging_profile",
        "get_composite_schedule",
        "remote_start_with_profile",
    ):
        response = submit(viewer, f"stations_chargepoint_{name}", charge_point.pk, everything="on")
        assert response.status_code in (302, 403)
    assert not Command.objects.exists()
