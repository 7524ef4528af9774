"""The picture of the composite schedule on a charge point's page, and the step charts it is drawn with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from stations.admin.step_chart import Series, duration_text, step_chart
from stations.models import ChargePoint, Command, Connector, InstalledProfile
from tenants.models import Site, Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.rows import new_charge_point

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def wire(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def install(charge_point: ChargePoint, connector_id: int, *periods: tuple[int, float], profile_id: int = 1) -> None:
    """A TxDefaultProfile in A that began two hours ago."""
    profile = {
        "chargingProfileId": profile_id,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "startSchedule": wire(NOW - 2 * HOUR),
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": second, "limit": limit} for second, limit in periods],
        },
    }
    InstalledProfile.objects.create(
        charge_point=charge_point, connector_id=connector_id, charging_profile_id=profile_id, profile=profile,
        purpose="TxDefaultProfile", stack_level=0, installed_at=NOW,
    )  # fmt: skip


def answered(charge_point: ChargePoint, connector_id: int, *periods: tuple[int, float], **response: Any) -> Command:
    """A GetCompositeSchedule of an hour ago with its answer for the four hours from then."""
    schedule = {
        "chargingRateUnit": "A",
        "duration": 14_400,
        "chargingSchedulePeriod": [{"startPeriod": second, "limit": limit} for second, limit in periods],
    }
    conf = {"status": "Accepted", "scheduleStart": wire(NOW - HOUR), "chargingSchedule": schedule}
    return Command.objects.create(
        charge_point=charge_point, action="GetCompositeSchedule", requested_by="ada", status="answered",
        payload={"connectorId": connector_id, "duration": 14_400, "chargingRateUnit": "A"},
        response=response or conf, created_at=NOW - HOUR, expires_at=NOW, sent_at=NOW - HOUR, answered_at=NOW - HOUR,
    )  # fmt: skip


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "operator")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    row = new_charge_point()
    for number in (0, 1, 2):
        Connector.objects.create(charge_point=row, connector_id=number)
    return row


def picture(client: Client, charge_point: ChargePoint, **query: Any) -> Any:
    response = client.get(url("stations_chargingprofile_composite", charge_point.pk), query)
    assert response.status_code == 200
    return response


def test_panel_offers_the_connectors(operator: Client, charge_point: ChargePoint) -> None:
    response = operator.get(url("stations_chargepoint_panel", charge_point.pk, "composite_schedule"))
    assert response.context["connectors"] == [(0, "0, the charge point"), (1, "1"), (2, "2")]
    assert '<option value="1" selected>' in text_of(response)


def test_without_profiles_and_answers_it_says_so(operator: Client, charge_point: ChargePoint) -> None:
    page = text_of(picture(operator, charge_point, connector=1))
    assert "No profile that we know of limits in this time." in page
    assert "has not been asked about this connector yet" in page


def test_our_limits_are_listed_with_the_profile_that_decides(operator: Client, charge_point: ChargePoint) -> None:
    install(charge_point, 1, (0, 16), (10_800, 10), profile_id=12)
    context = picture(operator, charge_point, connector=1, duration=7200, start="now", unit="A").context
    assert [(str(row["limit"]), row["profiles"]) for row in context["rows"]] == [("16.0", [12]), ("10.0", [12])]
    assert context["rows"][1]["begin"] == NOW + HOUR
    assert context["start"] + timedelta(seconds=context["rows"][1]["second"]) == NOW + HOUR
    watts = picture(operator, charge_point, connector=1, unit="W").context["rows"]
    assert [str(row["limit"]) for row in watts] == ["11040.0", "6900.0"]


def test_connector_0_is_the_sum_of_its_connectors(operator: Client, charge_point: ChargePoint) -> None:
    install(charge_point, 1, (0, 16))
    install(charge_point, 2, (0, 10), profile_id=2)
    rows = picture(operator, charge_point, connector=0).context["rows"]
    assert [(str(row["limit"]), row["profiles"]) for row in rows] == [("26.0", [1, 2])]


def test_answer_that_agrees_is_said_to_agree(operator: Client, charge_point: ChargePoint) -> None:
    install(charge_point, 1, (0, 16), (10_800, 10))
    command = answered(charge_point, 1, (0, 16.0), (7200, 10.0))
    response = picture(operator, charge_point, connector=1)
    assert response.context["differences"] == []
    assert response.context["start"] == NOW - HOUR
    assert "It agrees with the answer" in text_of(response)
    assert url("stations_command_change", command.pk) in text_of(response)


def test_differences_are_marked_in_the_chart_and_listed(operator: Client, charge_point: ChargePoint) -> None:
    install(charge_point, 1, (0, 16), (10_800, 10))
    answered(charge_point, 1, (0, 16.0), (7200, 32.0))
    response = picture(operator, charge_point, connector=1)
    (row,) = response.context["differences"]
    assert (row["begin"], row["end"], str(row["ours"]), str(row["theirs"]), row["kind"]) == (
        NOW + HOUR, NOW + 3 * HOUR, "10.0", "32.0", "higher",
    )  # fmt: skip
    (band,) = response.context["chart"].bands
    assert (band.x, band.width) == (472.0, 408.0)
    assert "The charge point allows more than we expect." in text_of(response)


def test_newest_answer_of_that_connector_counts(operator: Client, charge_point: ChargePoint) -> None:
    answered(charge_point, 1, (0, 6.0))
    newest = answered(charge_point, 1, (0, 7.0))
    answered(charge_point, 2, (0, 8.0))
    assert picture(operator, charge_point, connector=1).context["command"] == newest


def test_refusal_is_shown_as_one(operator: Client, charge_point: ChargePoint) -> None:
    answered(charge_point, 1, status="Rejected")
    response = picture(operator, charge_point, connector=1)
    assert response.context["compared"] is None
    assert "has no schedule in it" in text_of(response)


def test_profile_that_cannot_be_computed_breaks_nothing(operator: Client, charge_point: ChargePoint) -> None:
    install(charge_point, 1, (0, 16))
    row = InstalledProfile.objects.get()
    row.profile["validFrom"] = "never"
    row.save()
    assert "It cannot be computed" in text_of(picture(operator, charge_point, connector=1))


def test_senseless_questions_are_answered_with_what_is_usual(operator: Client, charge_point: ChargePoint) -> None:
    response = picture(operator, charge_point, connector="x", duration="-1", unit="kW", start="then")
    assert (response.context["question"].connector_id, response.context["unit"]) == (0, "A")
    assert response.context["end"] - response.context["start"] == 24 * HOUR


def test_charge_point_of_another_site_is_not_there(in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
    site = Site.objects.create(name="Depot", slug="depot")
    path = url("stations_chargingprofile_composite", charge_point.pk)
    assert sign_in(in_tenant_a, "operator", sites=[site]).get(path).status_code == 404
    new_charge_point("CP-2", site=site)
    assert sign_in(in_tenant_a, "viewer").get(path).status_code == 200


def test_charge_point_of_another_tenant_is_not_there(tenants: Tenants) -> None:
    with tenant_scope(tenants.tenant_a):
        path = url("stations_chargingprofile_composite", new_charge_point().pk)
    assert sign_in(tenants.tenant_b, "owner").get(path).status_code == 404


class TestStepChart:
    def test_limits_hold_until_they_change_and_gaps_stay_open(self) -> None:
        chart = step_chart("Limits", "A", 100, [Series("Ours", "ours", [(0, 10.0), (50, None), (75, 20.0)])])
        (line,) = chart.lines
        assert line.path == "M64.0,122.0H472.0M676.0,14.0H880.0"
        assert [tick.label for tick in chart.y_ticks] == ["0", "5", "10", "15", "20"]
        assert [spot.label for spot in chart.spots] == [
            "0:00 to 0:00:50\nOurs: 10.0 A",
            "0:00:50 to 0:01:15\nOurs: no limit",
            "0:01:15 to 0:01:40\nOurs: 20.0 A",
        ]

    def test_time_axis_has_round_times_of_day(self) -> None:
        begin = datetime(2026, 3, 1, 11, 20, tzinfo=UTC)
        chart = step_chart("Limits", "A", 6 * 3600, [Series("Ours", "ours", [(0, 10.0)])], begin=begin)
        assert [tick.label for tick in chart.x_ticks] == ["12:00", "13:00", "14:00", "15:00", "16:00", "17:00"]

    @pytest.mark.parametrize("highest", [0, 0.4, 1, 6, 32, 63, 100, 999, 11040, 22080, 1e9])
    def test_scale_fits_every_limit(self, highest: float) -> None:
        chart = step_chart("Limits", "W", 60, [Series("Ours", "ours", [(0, highest)])])
        assert 2 <= len(chart.y_ticks) <= 7
        assert float(chart.y_ticks[-1].label) >= highest
        assert len({tick.label for tick in chart.y_ticks}) == len(chart.y_ticks)

    @pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59, "0:00:59"), (3600, "1:00"), (90_061, "25:01:01")])
    def test_durations_are_written_in_hours(self, seconds: int, text: str) -> None:
        assert duration_text(seconds) == text
