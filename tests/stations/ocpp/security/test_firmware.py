"""Signed firmware updates: the request, its answers, its statuses in any order (whitepaper, L01)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from ocpp.v16 import call_result

from csms.ocppj.payloads import parse_call, parse_result
from stations import commands, firmware, signed_firmware
from stations.models import ChargePoint, Command, FileUrl, FirmwareStatus, FirmwareUpdate, RootCertificate
from stations.models.command import CommandStatus
from stations.ocpp import firmware_management
from stations.ocpp.actions import TO_CHARGE_POINT, WITHOUT_ANSWER
from stations.ocpp.security import firmware as security_firmware
from tenants.models import Tenant
from tests.stations.rows import HOUR, MINUTE, NOW, new_charge_point, wire
from tests.stations.signatures import CONTENT, certificate, key_of, sign

pytestmark = pytest.mark.usefixtures("in_tenant_a")

FIRMWARE = {
    "location": "https://u:p@h/fw", "retrieveDateTime": wire(NOW), "signingCertificate": "PEM", "signature": "QUJD",
}  # fmt: skip
ALL = (
    "DownloadScheduled", "Downloading", "DownloadPaused", "Downloaded", "SignatureVerified", "InstallScheduled",
    "Installing", "InstallRebooting", "Installed", "DownloadFailed", "InvalidSignature", "InstallVerificationFailed",
    "InstallationFailed", "Idle",
)  # fmt: skip
FAILURES = ("DownloadFailed", "InvalidSignature", "InstallVerificationFailed", "InstallationFailed")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def asked(charge_point: ChargePoint, *, sent: bool = True, firmware: Any = None, **members: Any) -> Command:
    payload = {**members, "firmware": {**FIRMWARE, **(firmware or {})}}
    command = commands.enqueue(charge_point, "SignedUpdateFirmware", payload, "test")
    if sent:
        command.sent_at = NOW
        command.save(update_fields=["sent_at"])
    return command


def answer(command: Command, status: str) -> None:
    command.status = CommandStatus.ANSWERED
    command.save(update_fields=["status"])
    conf, _ = parse_result(command.action, {"status": status})
    TO_CHARGE_POINT[command.action](command, conf, NOW)


def row_of(command: Command) -> FirmwareUpdate:
    return FirmwareUpdate.objects.get(command=command)


def report(charge_point: ChargePoint, *statuses: str, at: datetime = NOW, **members: Any) -> None:
    for status in statuses:
        req, deviations = parse_call("SignedFirmwareStatusNotification", {"status": status, **members})
        assert deviations == []
        conf = security_firmware.signed_firmware_status_notification(charge_point, req, at)
        assert conf == call_result.SignedFirmwareStatusNotification()


class TestRequest:
    def test_row_exists_before_the_answer_with_what_was_asked(self, charge_point: ChargePoint) -> None:
        command = asked(
            charge_point, sent=False, requestId=5, retries=2, retryInterval=30,
            firmware={"installDateTime": wire(NOW + HOUR)},
        )  # fmt: skip
        row = row_of(command)
        assert (row.signed, row.request_id, row.location) == (True, 5, "https://u:***@h/fw")
        assert (row.retrieve_date, row.install_date) == (NOW, NOW + HOUR)
        assert (row.retries, row.retry_interval_seconds) == (2, 30)
        assert (row.signature, row.signing_certificate, row.status) == ("QUJD", "PEM", "Requested")
        assert command.payload["firmware"]["location"] == "https://u:p@h/fw"

    def test_request_id_is_given_when_left_out_and_shared_with_get_log(self, charge_point: ChargePoint) -> None:
        log = {"log": {"remoteLocation": "ftp://h"}, "logType": "SecurityLog"}
        first = asked(charge_point).payload["requestId"]
        second = commands.enqueue(charge_point, "GetLog", log, "test").payload["requestId"]
        assert (first, second, asked(charge_point).payload["requestId"]) == (1, 2, 3)

    def test_members_go_out_in_the_order_of_the_schema(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, retries=1)
        assert list(command.payload) == ["retries", "requestId", "firmware"]
        names = ["location", "retrieveDateTime", "signingCertificate", "signature"]
        assert list(command.payload["firmware"]) == names

    def test_what_is_wrong_is_a_warning(self, charge_point: ChargePoint) -> None:
        pem = certificate(key_of("rsa1024"), days=(-2, -1))
        command = asked(
            charge_point, requestId=9,
            firmware={"signingCertificate": pem, "signature": "???", "installDateTime": wire(NOW - MINUTE)},
        )  # fmt: skip
        assert [warning["code"] for warning in command.warnings] == [
            "signing_certificate_expired", "signing_key_too_small", "signature_unreadable", "install_before_retrieve",
        ]  # fmt: skip
        again = asked(charge_point, requestId=9)
        codes = [warning["code"] for warning in again.warnings]
        assert codes == ["signing_certificate_unreadable", "request_id_used"]

    def test_certificate_is_compared_with_the_manufacturer_roots_of_the_tenant(self, charge_point: ChargePoint) -> None:
        made: dict[str, Any] = {"created_at": NOW, "certificate": certificate(key_of("rsa"), name="Root")}
        RootCertificate.objects.create(name="cs", certificate_type="CentralSystemRootCertificate", **made)
        signed, stranger = certificate(key_of("ec"), issuer=key_of("rsa")), certificate(key_of("ec"))
        assert asked(charge_point, firmware={"signingCertificate": stranger}).warnings == []
        RootCertificate.objects.create(name="mfr", certificate_type="ManufacturerRootCertificate", **made)
        assert asked(charge_point, firmware={"signingCertificate": signed}).warnings == []
        (warning,) = asked(charge_point, firmware={"signingCertificate": stranger}).warnings
        assert warning["code"] == "signing_certificate_untrusted"


class TestImage:
    def ask(self, charge_point: ChargePoint, **members: Any) -> FirmwareUpdate:
        key = key_of("rsa")
        members = {"signature": sign(key), "signing_certificate": certificate(key), **members}
        image = firmware.add_image(ContentFile(CONTENT, name="fw.bin"), "olga", version="2.1", **members)
        return signed_firmware.request_signed_update(charge_point, "otto", retrieve_date=NOW, image=image)

    def test_image_goes_with_its_signature_and_certificate(self, charge_point: ChargePoint) -> None:
        update = self.ask(charge_point)
        assert update.command is not None
        assert update.command.warnings == []
        sent = update.command.payload["firmware"]
        assert update.image is not None
        assert (sent["signature"], sent["signingCertificate"]) == (
            update.image.signature, update.image.signing_certificate,
        )  # fmt: skip
        assert sent["location"].startswith("http://127.0.0.1:8000/files/d-")
        assert sent["location"].endswith("/fw.bin")
        assert sent["retrieveDateTime"] == "2026-03-01T12:00:00.000Z"
        assert "installDateTime" not in sent
        assert (update.version, update.location) == ("2.1", "http://127.0.0.1:8000/files/***/fw.bin")
        url = FileUrl.objects.get(firmware_update=update)
        assert url.expires_at > datetime.now(UTC) + timedelta(days=6)

    def test_signature_that_does_not_fit_goes_out_with_a_warning(self, charge_point: ChargePoint) -> None:
        update = self.ask(charge_point, signature=sign(key_of("rsa"), b"other"), vendor="Other")
        charge_point.vendor = "ACME"
        assert update.command is not None
        assert [warning["code"] for warning in update.command.warnings] == ["signature_invalid"]
        assert Command.objects.get().status == "queued"

    def test_other_scheme_is_named(self, charge_point: ChargePoint) -> None:
        update = self.ask(charge_point, signature=sign(key_of("rsa"), scheme="pkcs1"))
        assert update.command is not None
        (warning,) = update.command.warnings
        assert warning["code"] == "signature_scheme"
        assert "PKCS#1" in warning["detail"]


class TestAnswer:
    def test_accepted_leaves_it_open_and_replaces_an_earlier_one(self, charge_point: ChargePoint) -> None:
        first, second = (asked(charge_point) for _ in range(2))
        answer(first, "Accepted")
        answer(second, "Accepted")
        assert [row_of(each).status for each in (first, second)] == ["Superseded", "Requested"]

    def test_accepted_canceled_ends_the_one_before_also_an_unsigned_one(self, charge_point: ChargePoint) -> None:
        unsigned = commands.enqueue(
            charge_point, "UpdateFirmware", {"location": "ftp://h/", "retrieveDate": wire(NOW)}, "test"
        )
        Command.objects.filter(pk=unsigned.pk).update(sent_at=NOW, status="answered")
        first, second = (asked(charge_point) for _ in range(2))
        answer(first, "Accepted")
        answer(second, "AcceptedCanceled")
        assert [row_of(each).status for each in (unsigned, first, second)] == ["Superseded", "Canceled", "Requested"]

    @pytest.mark.parametrize(
        ("status", "shown"),
        [
            ("Rejected", "Refused"), ("InvalidCertificate", "InvalidCertificate"),
            ("RevokedCertificate", "RevokedCertificate"), ("Whatever", "Refused"),
        ],
    )  # fmt: skip
    def test_refusals_end_it(self, charge_point: ChargePoint, status: str, shown: str) -> None:
        command = asked(charge_point)
        answer(command, status)
        assert (row_of(command).status, row_of(command).is_final) == (shown, True)

    def test_callerror_ends_it(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point)
        command.status = CommandStatus.ERROR
        command.save(update_fields=["status"])
        WITHOUT_ANSWER["SignedUpdateFirmware"](command, NOW)
        assert row_of(command).status == "Refused"


class TestStatus:
    @pytest.mark.parametrize("status", ALL)
    def test_every_status_is_kept_with_or_without_a_request(self, charge_point: ChargePoint, status: str) -> None:
        report(charge_point, status)
        report(charge_point, status, requestId=7)
        command = asked(charge_point)
        report(charge_point, status, requestId=command.payload["requestId"])
        final = status == "Installed" or status in FAILURES
        row = row_of(command)
        assert (row.status, row.is_final) == ("Requested" if status == "Idle" else status, final)
        assert FirmwareStatus.objects.get(update=None).times == 2
        assert [each.status for each in row.statuses.all()] == [status]

    def test_later_final_status_wins(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point)
        named = {"requestId": command.payload["requestId"]}
        report(charge_point, "InstallVerificationFailed", "Downloading", **named)
        assert row_of(command).status == "InstallVerificationFailed"
        report(charge_point, "Installed", **named)
        assert row_of(command).status == "Installed"
        report(charge_point, "InstallRebooting", "SignatureVerified", **named)
        assert (row_of(command).status, row_of(command).statuses.count()) == ("Installed", 5)

    def test_without_request_id_it_is_about_the_newest_open_signed_one(self, charge_point: ChargePoint) -> None:
        first, second = (asked(charge_point) for _ in range(2))
        unsigned = commands.enqueue(
            charge_point, "UpdateFirmware", {"location": "ftp://h/", "retrieveDate": wire(NOW)}, "test"
        )
        Command.objects.filter(pk=unsigned.pk).update(sent_at=NOW)
        report(charge_point, "Downloading")
        assert [row_of(each).status for each in (first, second, unsigned)] == ["Requested", "Downloading", "Requested"]
        req, _ = parse_call("FirmwareStatusNotification", {"status": "Downloaded"})
        firmware_management.firmware_status_notification(charge_point, req, NOW)
        assert [row_of(each).status for each in (second, unsigned)] == ["Downloading", "Downloaded"]

    def test_request_id_holds_days_later(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point)
        report(charge_point, "DownloadFailed")
        report(charge_point, "Installed", at=NOW + timedelta(days=9), requestId=command.payload["requestId"])
        assert row_of(command).status == "Installed"
