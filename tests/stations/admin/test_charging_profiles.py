"""The editor of charging profiles: fields to JSON and back, what is refused and where, what is merely unwise."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stations.admin.charging_profile_form import ChargingProfileForm, limit, read_periods, seconds
from stations.admin.charging_profiles import span_of
from stations.models import ChargingProfile, InstalledProfile
from tenants.models import AuditEntry, Site, Tenant
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.rows import NOW, new_charge_point

NIGHT: dict[str, Any] = {
    "stackLevel": 2,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Recurring",
    "recurrencyKind": "Daily",
    "validFrom": "2026-01-01T00:00:00Z",
    "validTo": "2099-01-01T00:00:00.500Z",
    "chargingSchedule": {
        "duration": 86400,
        "startSchedule": "2026-01-01T22:00:00Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": 32},
            {"startPeriod": 28800, "limit": 6.5, "numberPhases": 1},
        ],
        "minChargingRate": 6.0,
    },
}
FIELDS = {
    "description": "By night",
    "purpose": "TxDefaultProfile",
    "kind": "Recurring",
    "recurrency_kind": "Daily",
    "stack_level": "2",
    "valid_from": "2026-01-01T01:00:00",
    "valid_to": "",
    "unit": "A",
    "start_schedule": "2026-01-01T23:00",
    "duration": "24:00",
    "min_charging_rate": "6.0",
    "periods-start": ["0", "8:00", ""],
    "periods-limit": ["32", "6,5", ""],
    "periods-phases": ["", "1", ""],
}
LEAST = {
    "purpose": "ChargePointMaxProfile",
    "kind": "Absolute",
    "stack_level": "0",
    "unit": "W",
    "periods-start": "0",
    "periods-limit": "6000.0",
    "periods-phases": "",
}


@pytest.fixture
def admin(in_tenant_a: Tenant) -> Client:
    Tenant.objects.filter(pk=in_tenant_a.pk).update(time_zone="Europe/Berlin")
    return sign_in(in_tenant_a, "admin", username="ada")


def errors_of(response: Any) -> dict[str, list[str]]:
    form = response.context["adminform"].form
    return {name: list(map(str, errors)) for name, errors in form.errors.items()}


class TestTyping:
    @pytest.mark.parametrize(
        ("written", "value"),
        [("0", 0), ("3600", 3600), ("8:30", 30600), ("0:00:05", 5), ("168:00", 604800), ("-1", -1)],
    )
    def test_seconds_may_be_written_as_hours_and_minutes(self, written: str, value: int) -> None:
        assert seconds(written) == value

    @pytest.mark.parametrize(
        ("written", "value"), [("16", "16"), ("16.0", "16.0"), ("16,5", "16.5"), ("6000.0", "6000.0"), ("0.10", "0.1")]
    )
    def test_limit_stays_as_it_is_written(self, written: str, value: str) -> None:
        assert repr(limit(written)) == value

    def test_each_row_that_cannot_be_read_says_why(self) -> None:
        rows = [
            {"start": "0", "limit": "16.25", "phases": ""},
            {"start": "1:60", "limit": "16", "phases": ""},
            {"start": "60", "limit": "", "phases": ""},
            {"start": "60", "limit": "6", "phases": "all"},
            {"start": "60", "limit": "6", "phases": "3"},
        ]
        assert read_periods(rows) == (
            [{"startPeriod": 60, "limit": 6, "numberPhases": 3}],
            {
                0: "A limit has one decimal at most.",
                1: "Enter seconds, or hours and minutes as 1:30.",
                2: "it needs a start and a limit.",
                3: "the phases are a whole number.",
            },
        )


class TestEditor:
    def test_fields_become_exactly_the_members_that_are_filled_in(self, admin: Client) -> None:
        response = admin.post(url("stations_chargingprofile_add"), FIELDS)
        assert response.status_code == 302, text_of(response)
        row = ChargingProfile.objects.get()
        expected = {name: value for name, value in NIGHT.items() if name != "validTo"}
        assert (row.description, row.profile, row.requested_by) == ("By night", expected, "ada")

    def test_nothing_is_added_to_the_least_profile(self, admin: Client) -> None:
        assert admin.post(url("stations_chargingprofile_add"), LEAST).status_code == 302
        assert ChargingProfile.objects.get().profile == {
            "stackLevel": 0,
            "chargingProfilePurpose": "ChargePointMaxProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": {
                "chargingRateUnit": "W",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6000.0}],
            },
        }

    def test_opened_and_saved_again_it_is_the_same(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(description="By night", profile={**NIGHT, "transactionId": 7})
        form = admin.get(url("stations_chargingprofile_change", row.pk)).context["adminform"].form
        # In the time zone of the tenant, and without the fraction that the browser's field does not know.
        timezone.activate("Europe/Berlin")
        assert form["valid_to"].value() == "2099-01-01T01:00:00"
        data = {
            name: form[name].value() for name in form.fields if name != "periods" and form[name].value() is not None
        }
        for column in ("start", "limit", "phases"):
            data[f"periods-{column}"] = [period[column] for period in form["periods"].value()]
        timezone.deactivate()
        assert admin.post(url("stations_chargingprofile_change", row.pk), data).status_code == 302
        row.refresh_from_db()
        assert row.profile == {**NIGHT, "transactionId": 7}
        assert repr(row.profile["chargingSchedule"]["minChargingRate"]) == "6.0"

    def test_change_is_audited_as_the_profile_before_and_after(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(description="By night", profile=NIGHT)
        admin.post(
            url("stations_chargingprofile_change", row.pk),
            {**FIELDS, "valid_to": "2099-01-01T01:00:00"} | {"stack_level": "3"},
        )
        assert AuditEntry.objects.get().changes == {"profile": [NIGHT, {**NIGHT, "stackLevel": 3}]}

    @pytest.mark.parametrize(
        ("fields", "errors"),
        [
            ({"stack_level": ""}, {"stack_level": ["This field is required."]}),
            ({"duration": "a day"}, {"duration": ["Enter seconds, or hours and minutes as 1:30."]}),
            ({"valid_from": "tomorrow"}, {"valid_from": ["Enter a date and a time."]}),
            ({"min_charging_rate": "6.25"}, {"min_charging_rate": ["A limit has one decimal at most."]}),
            ({"periods-limit": ["32", "x"]}, {"periods": ["Period 2: Enter a number, with one decimal at most."]}),
            ({"periods-start": []}, {"periods": ["A schedule needs a period."]}),
        ],
    )
    def test_what_is_impossible_is_said_at_its_field(
        self, admin: Client, fields: dict[str, Any], errors: dict[str, list[str]]
    ) -> None:
        response = admin.post(url("stations_chargingprofile_add"), FIELDS | fields)
        assert errors_of(response) == errors
        assert ChargingProfile.objects.count() == 0

    def test_negative_stack_level_is_refused_at_its_field(self, admin: Client) -> None:
        response = admin.post(url("stations_chargingprofile_add"), FIELDS | {"stack_level": "-1"})
        assert list(errors_of(response)) == ["stack_level"]

    def test_what_is_unwise_is_saved_and_said(self, admin: Client) -> None:
        data = FIELDS | {"kind": "Relative", "periods-start": ["60", "30"], "periods-phases": ["", ""]}
        response = admin.post(url("stations_chargingprofile_add"), data, follow=True)
        row = ChargingProfile.objects.get()
        assert row.profile["chargingSchedule"]["chargingSchedulePeriod"][0]["startPeriod"] == 60
        said = [str(message) for message in response.context["messages"]]
        assert "A Relative schedule begins with the charging: it has no startSchedule." in said
        assert "The first startPeriod should be 0." in said

    def test_json_takes_the_place_of_the_fields(self, admin: Client) -> None:
        written = """{"chargingProfileId": 99, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative", "chargingSchedule": {"chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}]}}"""
        data = {"use_json": "on", "as_json": written, "duration": "nonsense", "stack_level": ""}
        assert admin.post(url("stations_chargingprofile_add"), data).status_code == 302
        row = ChargingProfile.objects.get()
        assert row.as_sent == {
            "chargingProfileId": row.pk,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {
                "chargingRateUnit": "A",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}],
            },
        }

    @pytest.mark.parametrize(
        ("written", "sentence"),
        [
            ("{", "This is not JSON"),
            ("[]", "A charging profile is a JSON object."),
            ('{"stackLevel": NaN}', "NaN is not a number of JSON"),
            ("{}", "chargingSchedule"),
        ],
    )
    def test_bad_json_is_refused_there(self, admin: Client, written: str, sentence: str) -> None:
        response = admin.post(url("stations_chargingprofile_add"), {"use_json": "on", "as_json": written})
        errors = errors_of(response)
        assert list(errors) == ["as_json"]
        assert sentence in " ".join(errors["as_json"])

    def test_copy_is_a_profile_of_its_own(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(profile=NIGHT)
        admin.post(url("stations_chargingprofile_change", row.pk), {**FIELDS, "_saveasnew": "1"})
        copy = ChargingProfile.objects.exclude(pk=row.pk).get()
        assert (copy.description, copy.requested_by) == ("By night", "ada")


class TestPreview:
    def preview(self, admin: Client, data: dict[str, Any], row: ChargingProfile | None = None) -> Any:
        query = f"?id={row.pk}" if row else ""
        return admin.post(url("stations_chargingprofile_preview") + query, data)

    def test_it_shows_chart_json_and_warnings_and_saves_nothing(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(profile=NIGHT)
        response = self.preview(admin, FIELDS | {"stack_level": "7", "duration": "8:00"}, row)
        assert response.context["sent"]["stackLevel"] == 7
        assert list(response.context["sent"])[0] == "chargingProfileId"
        assert response.context["findings"] == [("Periods", "A period after the duration is never executed.")]
        assert "<svg" in text_of(response)
        row.refresh_from_db()
        assert row.profile == NIGHT

    def test_chart_has_the_steps_of_the_day_from_its_start(self, admin: Client) -> None:
        chart = self.preview(admin, FIELDS).context["chart"]
        assert chart.unit == "A per phase"
        assert [spot.label for spot in chart.spots] == [
            "23:00 to 07:00\nLimit, each time it recurs: 32.0 A per phase",
            "07:00 to 23:00\nLimit, each time it recurs: 6.5 A per phase",
        ]
        assert chart.rule.label == "minimum 6"

    def test_row_that_is_not_finished_leaves_the_others_drawn(self, admin: Client) -> None:
        data = FIELDS | {"stack_level": "", "periods-limit": ["32", "6."]}
        response = self.preview(admin, data)
        assert [spot.label.splitlines()[1] for spot in response.context["chart"].spots] == [
            "Limit, each time it recurs: 32.0 A per phase"
        ]
        assert response.context["sent"] is None
        assert ("Stack level", "This field is required.") in response.context["incomplete"]

    def test_garbage_draws_nothing_and_breaks_nothing(self, admin: Client) -> None:
        assert self.preview(admin, {}).context["chart"] is None
        far = FIELDS | {"start_schedule": "9999-12-31T23:59:59Z"}
        assert self.preview(admin, far).status_code == 200
        assert self.preview(admin, FIELDS | {"periods-start": ["0", "99999999999"]}).status_code == 200

    def test_length_is_that_of_the_schedule(self) -> None:
        schedule: dict[str, Any] = {"chargingSchedulePeriod": [{"startPeriod": 0}, {"startPeriod": 200_000}]}
        assert span_of({"chargingProfileKind": "Recurring", "chargingSchedule": schedule}) == 86_400
        weekly = {"chargingProfileKind": "Recurring", "recurrencyKind": "Weekly", "chargingSchedule": schedule}
        assert span_of(weekly) == 604_800
        assert span_of({"chargingProfileKind": "Absolute", "chargingSchedule": schedule}) == 250_000
        assert span_of({"chargingProfileKind": "Absolute", "chargingSchedule": {**schedule, "duration": 7200}}) == 7200


class TestPages:
    def install(self, row: ChargingProfile, identity: str = "CP-1", **fields: Any) -> InstalledProfile:
        site = fields.pop("site", None)
        return InstalledProfile.objects.create(
            **{
                "charge_point": new_charge_point(identity, site=site),
                "connector_id": 1,
                "charging_profile_id": row.pk,
                "library": row,
                "profile": row.as_sent,
                "purpose": "TxDefaultProfile",
                "stack_level": 2,
                "installed_at": NOW,
            }
            | fields
        )

    def test_list_says_what_and_where(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(description="By night", profile=NIGHT)
        self.install(row)
        page = text_of(admin.get(url("stations_chargingprofile_changelist")))
        for words in ("By night", "TxDefaultProfile", "Recurring Daily", "6.5 to 32 A, 2 periods"):
            assert words in page
        assert (
            admin.get(url("stations_chargingprofile_changelist"), {"purpose": "TxProfile"}).context["cl"].result_count
            == 0
        )

    def test_page_tells_where_it_is_installed_and_whether_as_it_is_here(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(profile=NIGHT)
        self.install(row, "CP-1", state="confirmed", confirmed_at=NOW)
        self.install(row, "CP-2", profile={**row.as_sent, "stackLevel": 1})
        shown = admin.get(url("stations_chargingprofile_change", row.pk)).context["installed"]
        assert [(one["installed"].charge_point.identity, one["confirmed"], one["current"]) for one in shown] == [
            ("CP-1", True, True),
            ("CP-2", False, False),
        ]

    def test_person_of_one_site_sees_only_charge_points_there_and_edits_nothing(self, in_tenant_a: Tenant) -> None:
        site = Site.objects.create(name="Depot", slug="depot")
        row = ChargingProfile.objects.create(profile=NIGHT)
        self.install(row, "CP-1", site=site)
        self.install(row, "CP-2")
        limited = sign_in(in_tenant_a, "admin", sites=[site])
        response = limited.get(url("stations_chargingprofile_change", row.pk))
        assert [one["installed"].charge_point.identity for one in response.context["installed"]] == ["CP-1"]
        assert limited.post(url("stations_chargingprofile_change", row.pk), FIELDS).status_code == 403
        assert limited.post(url("stations_chargingprofile_preview"), FIELDS).status_code == 403

    def test_viewer_sees_the_chart_and_the_json(self, in_tenant_a: Tenant) -> None:
        row = ChargingProfile.objects.create(description="By night", profile=NIGHT)
        page = text_of(sign_in(in_tenant_a, "viewer").get(url("stations_chargingprofile_change", row.pk)))
        assert "<svg" in page
        assert "&quot;stackLevel&quot;: 2" in page
        assert "periods-start" not in page

    def test_new_profile_begins_empty_but_for_what_is_usual(self, admin: Client) -> None:
        form = admin.get(url("stations_chargingprofile_add")).context["adminform"].form
        assert isinstance(form, ChargingProfileForm)
        assert (form["purpose"].value(), form["stack_level"].value()) == ("TxDefaultProfile", 0)

    def test_deleted_profile_stays_where_it_is_installed(self, admin: Client) -> None:
        row = ChargingProfile.objects.create(profile=NIGHT)
        installed = self.install(row)
        assert admin.post(url("stations_chargingprofile_delete", row.pk), {"post": "yes"}).status_code == 302
        installed.refresh_from_db()
        assert (installed.library, installed.charging_profile_id) == (None, row.pk)
