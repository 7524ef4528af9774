"""Firmware Management: which request a status belongs to, what it changes, and how requests end (protocol 5.4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from ocpp.v16 import call, call_result

from csms.ocppj.payloads import parse_result
from stations import commands, diagnostics, file_exchange, firmware, progress
from stations.models import (
    ChargePoint,
    Command,
    ConfigurationKey,
    DiagnosticsStatus,
    FileUrl,
    FirmwareStatus,
    FirmwareUpdate,
    LogRequest,
)
from stations.models.command import CommandStatus
from stations.ocpp import firmware_management
from stations.ocpp.actions import TO_CHARGE_POINT, WITHOUT_ANSWER
from tenants.models import Tenant
from tests.stations.rows import HOUR, MINUTE, NOW, new_charge_point

pytestmark = pytest.mark.usefixtures("in_tenant_a")

DIAGNOSTICS = {"location": "ftp://h/up"}
UPDATE = {"location": "ftp://h/fw", "retrieveDate": "2026-03-01T12:00:00Z"}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def asked(charge_point: ChargePoint, action: str, payload: dict[str, Any], *, sent: bool = True) -> Command:
    command = commands.enqueue(charge_point, action, payload, "test")
    if sent:
        command.sent_at = NOW
        command.save(update_fields=["sent_at"])
    return command


def answer(command: Command, payload: dict[str, Any]) -> None:
    command.status = CommandStatus.ANSWERED
    command.save(update_fields=["status"])
    conf, deviations = parse_result(command.action, payload)
    assert deviations == []
    TO_CHARGE_POINT[command.action](command, conf, NOW)


def update_of(command: Command) -> FirmwareUpdate:
    return FirmwareUpdate.objects.get(command=command)


def report(charge_point: ChargePoint, *statuses: str, at: Any = NOW) -> None:
    for status in statuses:
        conf = firmware_management.firmware_status_notification(
            charge_point, call.FirmwareStatusNotification(status=status), at
        )
        assert conf == call_result.FirmwareStatusNotification()


def report_diagnostics(charge_point: ChargePoint, *statuses: str) -> None:
    for status in statuses:
        conf = firmware_management.diagnostics_status_notification(
            charge_point, call.DiagnosticsStatusNotification(status=status), NOW
        )
        assert conf == call_result.DiagnosticsStatusNotification()


class TestProgress:
    def test_row_exists_before_the_answer_with_what_was_asked(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE | {"retries": 3, "retryInterval": 60}, sent=False)
        update = update_of(command)
        assert (update.location, update.retrieve_date) == ("ftp://h/fw", NOW)
        assert (update.retries, update.retry_interval_seconds) == (3, 60)
        assert (update.status, update.is_final) == ("Requested", False)

    def test_statuses_before_the_answer_count(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "Downloading")
        answer(command, {})
        assert update_of(command).status == "Downloading"

    def test_out_of_order_statuses_are_all_kept_and_repeated_ones_counted(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        sequence = ["Downloaded", "Downloading", "Downloading", "Idle", "Installing", "Installed", "Installed"]
        report(charge_point, *sequence)
        update = update_of(command)
        assert [(row.status, row.times) for row in update.statuses.all()] == [
            ("Downloaded", 1), ("Downloading", 2), ("Idle", 1), ("Installing", 1), ("Installed", 2),
        ]  # fmt: skip
        assert (update.status, update.is_final) == ("Installed", True)

    def test_three_hundred_times_uploading_is_one_row_with_its_first_and_last_time(
        self, charge_point: ChargePoint
    ) -> None:
        request = LogRequest.objects.get(command=asked(charge_point, "GetDiagnostics", DIAGNOSTICS))
        for minute in range(300):
            progress.diagnostics_reported(charge_point, "Uploading", NOW + minute * MINUTE)
        progress.diagnostics_reported(charge_point, "Uploaded", NOW + 300 * MINUTE)
        progress.diagnostics_reported(charge_point, "Idle", NOW + 301 * MINUTE)
        progress.diagnostics_reported(charge_point, "Idle", NOW + 302 * MINUTE)
        assert [(row.status, row.times, row.received_at, row.last_received_at) for row in request.statuses.all()] == [
            ("Uploading", 300, NOW, NOW + 299 * MINUTE),
            ("Uploaded", 1, NOW + 300 * MINUTE, None),
        ]
        unasked = DiagnosticsStatus.objects.get(request=None)
        assert (unasked.status, unasked.times) == ("Idle", 2)

    @pytest.mark.parametrize("status", ["InvalidSignature", "Failed", "UpdateAborted", "DownloadRejected"])
    def test_word_that_says_failure_ends_the_update(self, charge_point: ChargePoint, status: str) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "Downloading", status)
        update = update_of(command)
        assert (update.status, update.is_final, update.status_known) == (status, True, False)

    def test_unknown_word_is_kept_as_sent_and_ends_nothing(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "Downloading", "DownloadPaused")
        update = update_of(command)
        assert (update.status, update.is_final, update.status_known) == ("DownloadPaused", False, False)
        report(charge_point, "Installed")
        assert (update_of(command).status, update_of(command).status_known) == ("Installed", True)

    def test_status_belongs_to_the_newest_open_request(self, charge_point: ChargePoint) -> None:
        first, second = (asked(charge_point, "UpdateFirmware", UPDATE) for _ in range(2))
        waiting = asked(charge_point, "UpdateFirmware", UPDATE, sent=False)
        report(charge_point, "Downloading")
        statuses = [update_of(each).status for each in (first, second, waiting)]
        assert statuses == ["Requested", "Downloading", "Requested"]

    def test_final_stays_final_until_another_final_comes(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "DownloadFailed")
        report(charge_point, "Downloading", "Downloaded", at=NOW + MINUTE)
        assert (update_of(command).status, update_of(command).is_final) == ("DownloadFailed", True)
        report(charge_point, "Installed", at=NOW + HOUR)
        assert update_of(command).status == "Installed"
        assert update_of(command).statuses.count() == 4

    def test_what_comes_days_after_the_end_is_the_charge_points_own(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "DownloadFailed")
        report(charge_point, "Installed", at=NOW + timedelta(days=2))
        assert update_of(command).status == "DownloadFailed"
        assert [row.update for row in FirmwareStatus.objects.filter(status="Installed")] == [None]

    def test_idle_ends_nothing_and_is_no_progress(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "Downloading", "Idle")
        assert (update_of(command).status, update_of(command).is_final) == ("Downloading", False)

    def test_another_charge_points_status_is_not_mine(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "UpdateFirmware", UPDATE)
        report(new_charge_point("CP-2"), "Installed")
        assert update_of(command).status == "Requested"

    def test_nothing_is_asked_again_after_a_failure(self, charge_point: ChargePoint) -> None:
        asked(charge_point, "UpdateFirmware", UPDATE)
        report(charge_point, "DownloadFailed", "InstallationFailed")
        assert Command.objects.count() == 1

    def test_later_request_supersedes_when_it_is_taken(self, charge_point: ChargePoint) -> None:
        first, second = (asked(charge_point, "UpdateFirmware", UPDATE) for _ in range(2))
        Command.objects.filter(pk=first.pk).update(status=CommandStatus.ANSWERED)
        answer(second, {})
        assert [update_of(each).status for each in (first, second)] == ["Superseded", "Requested"]


class TestEnds:
    @pytest.mark.parametrize(
        ("status", "shown", "final"),
        [
            (CommandStatus.ERROR, "Refused", True), (CommandStatus.EXPIRED, "NotSent", True),
            (CommandStatus.WITHDRAWN, "NotSent", True), (CommandStatus.TIMED_OUT, "Requested", False),
            (CommandStatus.UNKNOWN, "Requested", False),
        ],
    )  # fmt: skip
    def test_command_without_an_answer(
        self, charge_point: ChargePoint, status: CommandStatus, shown: str, final: bool
    ) -> None:
        update, request = (
            asked(charge_point, "UpdateFirmware", UPDATE),
            asked(charge_point, "GetDiagnostics", {"location": "ftp://h/"}),
        )
        for command in (update, request):
            command.status = status
            WITHOUT_ANSWER[command.action](command, NOW)
        for row in (update_of(update), LogRequest.objects.get(command=request)):
            assert (row.status, row.is_final) == (shown, final)

    def test_answer_without_a_name_means_nothing_to_upload(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "GetDiagnostics", {"location": "ftp://h/"})
        answer(command, {})
        request = LogRequest.objects.get()
        assert (request.status, request.is_final, request.file_name) == ("NothingToUpload", True, "")
        report_diagnostics(charge_point, "Uploading")
        request.refresh_from_db()
        assert (request.status, request.is_final) == ("Uploading", False)

    def test_final_status_of_diagnostics_is_the_effect(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point, "GetDiagnostics", {"location": "ftp://h/"})
        answer(command, {"fileName": "x.zip"})
        report_diagnostics(charge_point, "Idle", "Uploading", "UploadFailed")
        command.refresh_from_db()
        request = LogRequest.objects.get()
        assert command.effect == {
            "diagnostics": request.pk, "status": "UploadFailed", "status_at": "2026-03-01T12:00:00.000Z",
        }  # fmt: skip
        assert DiagnosticsStatus.objects.filter(request=request).count() == 3

    def test_statuses_without_any_request_are_kept_for_the_charge_point(self, charge_point: ChargePoint) -> None:
        report_diagnostics(charge_point, "Idle", "Uploaded")
        report(charge_point, "Idle", "Installing")
        assert list(DiagnosticsStatus.objects.values_list("status", "request")) == [("Idle", None), ("Uploaded", None)]
        assert list(FirmwareStatus.objects.values_list("status", "update")) == [("Idle", None), ("Installing", None)]


class TestWarnings:
    def test_protocol_that_the_charge_point_has_not_named(self, charge_point: ChargePoint) -> None:
        ConfigurationKey.objects.create(
            charge_point=charge_point, key="SupportedFileTransferProtocols", value="FTP, https", known=True
        )
        warnings = firmware_management.update_firmware_warnings
        found = {
            location: [code for code, _ in warnings(charge_point, {"location": location})]
            for location in ("ftp://h/", "HTTPS://h/", "http://h/")
        }
        assert found == {"ftp://h/": [], "HTTPS://h/": [], "http://h/": ["protocol_not_supported"]}

    def test_window_that_ends_before_it_begins(self, charge_point: ChargePoint) -> None:
        payload = {"location": "x:", "startTime": "2026-03-02T00:00:00Z", "stopTime": "2026-03-01T00:00:00Z"}
        assert firmware_management.get_diagnostics_warnings(charge_point, payload) == [
            ("empty_window", "stopTime is not after startTime.")
        ]

    @pytest.mark.parametrize("payload", [{}, {"location": None}, {"startTime": 5, "stopTime": []}])
    def test_garbage_is_no_warning(self, charge_point: ChargePoint, payload: dict[str, Any]) -> None:
        assert firmware_management.get_diagnostics_warnings(charge_point, payload) == []


class TestUrls:
    def update(self, charge_point: ChargePoint, **members: Any) -> tuple[str, FirmwareUpdate]:
        image = firmware.add_image(ContentFile(b"content", name="fw.bin"), "test")
        update = firmware.request_update(charge_point, "test", image=image, **{"retrieve_date": NOW} | members)
        assert update.command is not None
        return str(update.command.payload["location"]).split("/")[4], update

    def test_token_is_random_and_kept_as_a_hash(self, charge_point: ChargePoint) -> None:
        tokens = [self.update(charge_point)[0] for _ in range(3)]
        assert len(set(tokens)) == 3
        assert all(len(token) == 34 for token in tokens)
        stored = str(list(FileUrl.objects.values())) + str(list(FirmwareUpdate.objects.values()))
        assert not any(token in stored for token in tokens)

    def test_valid_until_it_expires(self, charge_point: ChargePoint) -> None:
        token, update = self.update(charge_point)
        expires_at = FileUrl.objects.get().expires_at
        found = file_exchange.find(token, "192.0.2.1", expires_at - MINUTE)
        assert isinstance(found, file_exchange.Download)
        assert (found.name, found.size) == ("fw.bin", 7)
        with pytest.raises(file_exchange.UrlRefused, match="not valid any more") as refused:
            file_exchange.find(token, "192.0.2.1", expires_at)
        assert refused.value.status == 410

    def test_retrieve_date_far_ahead_is_waited_for(self, charge_point: ChargePoint) -> None:
        ahead = NOW + timedelta(days=1000)
        self.update(charge_point, retrieve_date=ahead)
        assert FileUrl.objects.get().expires_at == ahead + timedelta(days=2)

    def test_disabled_charge_point_has_no_files(self, charge_point: ChargePoint) -> None:
        token, _ = self.update(charge_point)
        ChargePoint.objects.update(disabled=True)
        with pytest.raises(file_exchange.UrlRefused) as refused:
            file_exchange.find(token, "192.0.2.1", NOW)
        assert refused.value.status == 404

    def test_ends_with_the_update_whichever_way(self, charge_point: ChargePoint) -> None:
        token, update = self.update(charge_point)
        progress.end(update, "NotSent", NOW)
        with pytest.raises(file_exchange.UrlRefused) as refused:
            file_exchange.find(token, "192.0.2.1", NOW)
        assert refused.value.status == 410

    def test_bound_to_the_first_address_unless_switched_off(self, charge_point: ChargePoint, settings: Any) -> None:
        token, _ = self.update(charge_point)
        file_exchange.find(token, "192.0.2.1", NOW)
        with pytest.raises(file_exchange.UrlRefused) as refused:
            file_exchange.find(token, "192.0.2.2", NOW)
        assert refused.value.status == 403
        settings.CSMS_FILE_URL_BOUND = False
        file_exchange.find(token, "192.0.2.2", NOW)

    def test_times_are_sent_as_the_charge_point_takes_them(self, charge_point: ChargePoint) -> None:
        charge_point.send_milliseconds = False
        _, update = self.update(charge_point)
        request = diagnostics.request_diagnostics(charge_point, "test", start_time=NOW)
        assert update.command is not None
        assert request.command is not None
        assert update.command.payload["retrieveDate"] == "2026-03-01T12:00:00Z"
        assert request.command.payload["startTime"] == "2026-03-01T12:00:00Z"

    def test_orphans_are_removed_and_files_with_rows_stay(self, charge_point: ChargePoint) -> None:
        _, update = self.update(charge_point)
        assert update.image is not None
        storage = update.image.file.storage
        lost = storage.save(f"{charge_point.tenant_id}/uploads/{'0' * 32}", ContentFile(b"x"))
        later = storage.get_modified_time(lost) + 2 * HOUR
        file_exchange.remove_orphans(later - 2 * HOUR)
        assert storage.exists(lost)
        assert file_exchange.remove_orphans(later) >= 1
        assert storage.exists(update.image.file.name)
        assert not storage.exists(lost)
