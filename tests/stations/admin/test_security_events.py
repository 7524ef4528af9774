"""Security at the admin: alerts and acknowledging them, and the dialogs GetLog and SignedUpdateFirmware."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client

from stations import firmware, security_events
from stations.models import ChargePoint, Command, FirmwareUpdate, LogRequest, SecurityEvent
from tenants.models import Role, Site, Tenant
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import NOW, new_charge_point
from tests.stations.signatures import CONTENT, certificate, key_of, sign

PEM = "-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n\r\n"
SENT_PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
RETRIEVE = {"retrieve_date": "2026-03-01T12:00:30"}


@pytest.fixture
def operator(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, Role.OPERATOR, username="otto")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point(vendor="ACME", model="One")


def event(charge_point: ChargePoint | None, event_type: str, **members: Any) -> SecurityEvent:
    facts = {"source": "charge_point", "critical": True, "timestamp": NOW, "received_at": NOW, "last_at": NOW}
    digest = f"{event_type}{SecurityEvent.objects.count()}"[:32]
    return SecurityEvent.objects.create(
        charge_point=charge_point, type=event_type, digest=digest, **{**facts, **members}
    )


class TestAlerts:
    def test_alert_is_shown_on_the_page_the_panel_the_list_and_the_dashboard(
        self, operator: Client, charge_point: ChargePoint
    ) -> None:
        event(charge_point, "TamperDetectionActivated", tech_info="<lid> open")
        event(charge_point, "TamperDetectionActivated")
        event(charge_point, "InvalidMessages", critical=False)
        new_charge_point("CP-QUIET")
        page = text_of(operator.get(url("stations_chargepoint_change", charge_point.pk)))
        assert "TamperDetectionActivated (2 times)" in page
        panel = text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "security_events")))
        assert "Open alerts" in panel
        assert "&lt;lid&gt; open" in panel
        assert "InvalidMessages" in panel
        assert url("stations_chargepoint_acknowledge_alerts", charge_point.pk) in panel
        stations = text_of(operator.get(url("stations_chargepoint_changelist"), {"alerts": "open"}))
        assert "CP-1" in stations
        assert "CP-QUIET" not in stations
        others = text_of(operator.get(url("stations_chargepoint_changelist"), {"alerts": "none"}))
        assert "CP-QUIET" in others
        context = operator.get(url("index")).context
        assert [(group.name, group.times) for group in context["alerts"]] == [("TamperDetectionActivated", 2)]

    def test_acknowledging_all_of_a_charge_point(self, operator: Client, charge_point: ChargePoint) -> None:
        for name in ("ResetOrReboot", "MemoryExhaustion"):
            event(charge_point, name)
        other = event(new_charge_point("CP-2"), "ResetOrReboot")
        response = submit(operator, "stations_chargepoint_acknowledge_alerts", charge_point.pk)
        assert response["HX-Redirect"] == url("stations_chargepoint_change", charge_point.pk)
        assert list(SecurityEvent.objects.alerts()) == [other]
        assert set(SecurityEvent.objects.exclude(pk=other.pk).values_list("acknowledged_by", flat=True)) == {"otto"}
        page = text_of(operator.get(url("stations_chargepoint_change", charge_point.pk)))
        assert "2 alerts acknowledged." in page
        assert "Security alerts that nobody" not in page

    def test_acknowledging_one_and_some(self, operator: Client, charge_point: ChargePoint) -> None:
        one, two, three = (
            event(charge_point, name) for name in ("ResetOrReboot", "SettingSystemTime", "FirmwareUpdated")
        )
        submit(operator, "stations_securityevent_acknowledge", one.pk)
        chosen = {"action": "acknowledge_many", "_selected_action": [two.pk], "csms_confirmed": "yes"}
        operator.post(url("stations_securityevent_changelist"), chosen)
        assert list(SecurityEvent.objects.alerts()) == [three]
        page = text_of(operator.get(url("stations_securityevent_change", one.pk)))
        assert "otto, " in page
        assert url("stations_securityevent_acknowledge", one.pk) not in page

    def test_viewer_looks_and_does_not_acknowledge(self, in_tenant_a: Tenant, charge_point: ChargePoint) -> None:
        row = event(charge_point, "ResetOrReboot")
        viewer = sign_in(in_tenant_a, Role.VIEWER)
        assert viewer.get(url("stations_securityevent_change", row.pk)).status_code == 200
        submit(viewer, "stations_securityevent_acknowledge", row.pk)
        submit(viewer, "stations_chargepoint_acknowledge_alerts", charge_point.pk)
        viewer.post(
            url("stations_securityevent_changelist"), {"action": "acknowledge_many", "_selected_action": [row.pk]}
        )
        assert SecurityEvent.objects.get().is_alert
        panel = text_of(viewer.get(url("stations_chargepoint_panel", charge_point.pk, "security_events")))
        assert "acknowledge-alerts" not in panel

    def test_event_of_an_unknown_identity_is_for_people_of_every_site(
        self, in_tenant_a: Tenant, operator: Client
    ) -> None:
        site = Site.objects.create(slug="depot", name="Depot")
        security_events.note("unknown_identity", identity="NOBODY", address="10.0.0.1")
        of_site = sign_in(in_tenant_a, Role.OPERATOR, sites=[site])
        assert "NOBODY" in text_of(operator.get(url("stations_securityevent_changelist")))
        assert "NOBODY" not in text_of(of_site.get(url("stations_securityevent_changelist")))

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"q": "resetorreboot"}, ["ResetOrReboot"]), ({"q": "CP-1"}, ["wrong_password", "ResetOrReboot"]),
            ({"alert": "open"}, ["ResetOrReboot"]), ({"alert": "acknowledged"}, []),
            ({"source__exact": "csms"}, ["wrong_password"]), ({"critical__exact": "1"}, ["ResetOrReboot"]),
        ],
    )  # fmt: skip
    def test_list_is_searched_and_filtered(
        self, operator: Client, charge_point: ChargePoint, query: dict[str, str], found: list[str]
    ) -> None:
        event(charge_point, "ResetOrReboot")
        security_events.note("wrong_password", charge_point, address="10.0.0.1")
        changelist = operator.get(url("stations_securityevent_changelist"), query).context["cl"]
        assert [row.type for row in changelist.result_list] == found


class TestGetLog:
    @pytest.mark.parametrize(
        ("fields", "payload"),
        [
            (
                {"log_type": "SecurityLog", "location": "ftp://u:p@h/a%20b/"},
                {"log": {"remoteLocation": "ftp://u:p@h/a%20b/"}, "logType": "SecurityLog", "requestId": 1},
            ),
            (
                {
                    "log_type": "DiagnosticsLog", "location": "sftp://h/", "oldest": "2026-03-01T00:00",
                    "latest": "2026-03-02T00:00:01", "retries": "0", "retry_interval": "60", "request_id": "0",
                },
                {
                    "log": {
                        "remoteLocation": "sftp://h/", "oldestTimestamp": "2026-03-01T00:00:00.000Z",
                        "latestTimestamp": "2026-03-02T00:00:01.000Z",
                    },
                    "logType": "DiagnosticsLog", "requestId": 0, "retries": 0, "retryInterval": 60,
                },
            ),
        ],
    )  # fmt: skip
    def test_payload_is_exactly_what_was_filled_in(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str], payload: dict[str, Any]
    ) -> None:
        response = submit(operator, "stations_chargepoint_get_log", charge_point.pk, **fields)
        command = Command.objects.get()
        assert (command.action, command.payload, command.requested_by) == ("GetLog", payload, "otto")
        assert response["HX-Redirect"] == url("stations_command_change", command.pk)
        assert "u:p@" not in text_of(operator.get(url("stations_command_change", command.pk)))

    def test_without_a_location_the_log_comes_to_us(self, operator: Client, charge_point: ChargePoint) -> None:
        submit(operator, "stations_chargepoint_get_log", charge_point.pk, log_type="SecurityLog")
        row = LogRequest.objects.get()
        assert (row.to_us, row.log_type, row.request_id) == (True, "SecurityLog", 1)
        page = text_of(operator.get(url("stations_logrequest_change", row.pk)))
        assert "SecurityLog" in page
        panel = text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "firmware")))
        assert "SecurityLog" in panel
        kinds = {"": 1, "SecurityLog": 1, "DiagnosticsLog": 0, "diagnostics": 0}
        for kind, number in kinds.items():
            query = {"log_type": kind} if kind else {}
            shown = operator.get(url("stations_logrequest_changelist"), query).context["cl"].result_list
            assert len(shown) == number

    @pytest.mark.parametrize(
        "fields",
        [{"log_type": "Other"}, {"log_type": "SecurityLog", "location": "ftp://h/" + "x" * 600},
         {"log_type": "SecurityLog", "request_id": str(2**31)}],
    )  # fmt: skip
    def test_what_the_schema_refuses_is_said_in_the_dialog(
        self, operator: Client, charge_point: ChargePoint, fields: dict[str, str]
    ) -> None:
        response = submit(operator, "stations_chargepoint_get_log", charge_point.pk, **fields)
        assert "HX-Redirect" not in response
        assert not Command.objects.exists()


class TestSignedUpdate:
    def test_payload_is_exactly_what_was_filled_in(self, operator: Client, charge_point: ChargePoint) -> None:
        fields = {
            "location": "https://u:p@h/fw", "signature": "QUJD\r\nREVG", "signing_certificate": PEM, **RETRIEVE,
            "install_date": "2026-03-02T00:00", "retries": "0", "retry_interval": "5", "request_id": "-3",
        }  # fmt: skip
        response = submit(operator, "stations_chargepoint_signed_update_firmware", charge_point.pk, **fields)
        command = Command.objects.get()
        assert command.payload == {
            "requestId": -3, "retries": 0, "retryInterval": 5,
            "firmware": {
                "location": "https://u:p@h/fw", "retrieveDateTime": "2026-03-01T12:00:30.000Z",
                "installDateTime": "2026-03-02T00:00:00.000Z", "signingCertificate": SENT_PEM, "signature": "QUJDREVG",
            },
        }  # fmt: skip
        assert response["HX-Redirect"] == url("stations_command_change", command.pk)
        page = text_of(operator.get(url("stations_firmwareupdate_change", FirmwareUpdate.objects.get().pk)))
        assert "QUJDREVG" in page
        assert "u:p@" not in page
        assert "not a certificate in PEM" in page

    def test_image_brings_its_signature_and_certificate(self, operator: Client, charge_point: ChargePoint) -> None:
        key = key_of("rsa")
        members = {"signature": sign(key, b"other"), "signing_certificate": certificate(key)}
        image = firmware.add_image(ContentFile(CONTENT, name="fw.bin"), "olga", **members)
        name = "stations_chargepoint_signed_update_firmware"
        submit(operator, name, charge_point.pk, image=str(image.pk), **RETRIEVE)
        command = Command.objects.get()
        names = {"location", "retrieveDateTime", "signingCertificate", "signature"}
        assert set(command.payload["firmware"]) == names
        assert [warning["code"] for warning in command.warnings] == ["signature_invalid"]
        assert FirmwareUpdate.objects.get().image == image

    def test_image_without_a_signature_needs_one(self, operator: Client, charge_point: ChargePoint) -> None:
        image = firmware.add_image(ContentFile(CONTENT, name="fw.bin"), "olga")
        name = "stations_chargepoint_signed_update_firmware"
        response = submit(operator, name, charge_point.pk, image=str(image.pk), **RETRIEVE)
        assert "the image has none" in text_of(response)
        assert not Command.objects.exists()

    @pytest.mark.parametrize(("code", "offered"), [("NotSupported", True), ("InternalError", False)])
    def test_offered_after_the_old_update_was_not_supported(
        self, operator: Client, charge_point: ChargePoint, code: str, offered: bool
    ) -> None:
        submit(operator, "stations_chargepoint_update_firmware", charge_point.pk, location="ftp://h/", **RETRIEVE)
        error = {"code": code, "description": "", "details": {}}
        Command.objects.update(status="error", error=error, answered_at=NOW)
        panel = text_of(operator.get(url("stations_chargepoint_panel", charge_point.pk, "firmware")))
        assert ("it takes signed updates only" in panel) is offered

    def test_image_keeps_signature_on_one_line_and_pem_with_lf(self, in_tenant_a: Tenant) -> None:
        owner = sign_in(in_tenant_a)
        image = firmware.add_image(ContentFile(CONTENT, name="fw.bin"), "olga")
        form = {"name": "fw.bin", "signature": " QUJD\r\nREVG ", "signing_certificate": PEM}
        assert owner.post(url("stations_firmwareimage_change", image.pk), form).status_code == 302
        image.refresh_from_db()
        assert (image.signature, image.signing_certificate) == ("QUJDREVG", SENT_PEM)

    @pytest.mark.parametrize(
        ("signature", "shown"),
        [
            (sign(key_of("rsa")), "The signature is right: RSA-PSS with SHA-256."),
            (sign(key_of("rsa"), scheme="pkcs1"), "RSA PKCS#1 v1.5"),
            (sign(key_of("rsa"), b"other"), "not one of this file"),
        ],
    )
    def test_image_page_says_whether_the_signature_is_right(
        self, in_tenant_a: Tenant, signature: str, shown: str
    ) -> None:
        members = {"signature": signature, "signing_certificate": certificate(key_of("rsa"))}
        image = firmware.add_image(ContentFile(CONTENT, name="fw.bin"), "olga", **members)
        assert shown in text_of(sign_in(in_tenant_a).get(url("stations_firmwareimage_change", image.pk)))
