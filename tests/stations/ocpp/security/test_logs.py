"""GetLog and LogStatusNotification: which request a status belongs to, and how requests end (whitepaper, N01)."""

from __future__ import annotations

from typing import Any

import pytest
from ocpp.v16 import call_result

from csms.ocppj.payloads import parse_call, parse_result
from stations import commands, file_exchange, log_requests
from stations.models import ChargePoint, Command, DiagnosticsStatus, FileUrl, LogRequest
from stations.models.command import CommandStatus
from stations.ocpp.actions import TO_CHARGE_POINT, WITHOUT_ANSWER
from stations.ocpp.security import logs
from stations.refusal import CommandRefused
from tenants.models import Tenant
from tests.stations.rows import HOUR, NOW, new_charge_point, wire

pytestmark = pytest.mark.usefixtures("in_tenant_a")

LOG = {"log": {"remoteLocation": "ftp://h/logs"}, "logType": "SecurityLog"}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def asked(charge_point: ChargePoint, payload: dict[str, Any] = LOG, *, sent: bool = True) -> Command:
    command = commands.enqueue(charge_point, "GetLog", payload, "test")
    if sent:
        command.sent_at = NOW
        command.save(update_fields=["sent_at"])
    return command


def answer(command: Command, status: str, **members: Any) -> None:
    command.status = CommandStatus.ANSWERED
    command.save(update_fields=["status"])
    conf, _ = parse_result("GetLog", {"status": status, **members})
    TO_CHARGE_POINT["GetLog"](command, conf, NOW)


def row_of(command: Command) -> LogRequest:
    return LogRequest.objects.get(command=command)


def report(charge_point: ChargePoint, *statuses: str, **members: Any) -> None:
    for status in statuses:
        req, _ = parse_call("LogStatusNotification", {"status": status, **members})
        assert logs.log_status_notification(charge_point, req, NOW) == call_result.LogStatusNotification()


class TestRequest:
    def test_row_exists_before_the_answer_with_what_was_asked(self, charge_point: ChargePoint) -> None:
        log = {"remoteLocation": "ftp://u:p@h/", "oldestTimestamp": wire(NOW), "latestTimestamp": wire(NOW + HOUR)}
        payload = {"log": log, "logType": "DiagnosticsLog", "requestId": 77, "retries": 3, "retryInterval": 60}
        row = row_of(asked(charge_point, payload, sent=False))
        assert (row.location, row.log_type, row.request_id) == ("ftp://u:***@h/", "DiagnosticsLog", 77)
        assert (row.start_time, row.stop_time, row.retries, row.retry_interval_seconds) == (NOW, NOW + HOUR, 3, 60)
        assert (row.status, row.is_final, str(row)) == ("Requested", False, f"DiagnosticsLog {row.pk}")

    def test_request_id_is_given_when_left_out_and_counts_by_charge_point(self, charge_point: ChargePoint) -> None:
        asked(charge_point, {**LOG, "requestId": 3})
        other = new_charge_point("CP-2")
        ids = [asked(each).payload["requestId"] for each in (charge_point, charge_point, charge_point, other)]
        assert ids == [1, 2, 4, 1]

    @pytest.mark.parametrize("request_id", [0, -5, 2**31 - 1])
    def test_request_id_that_was_given_is_not_touched(self, charge_point: ChargePoint, request_id: int) -> None:
        assert asked(charge_point, {**LOG, "requestId": request_id}).payload["requestId"] == request_id

    @pytest.mark.parametrize("payload", [{}, {"log": "x"}, {"log": {}, "logType": 7}, {**LOG, "requestId": "1"}])
    def test_nonsense_is_refused_by_the_schema(self, charge_point: ChargePoint, payload: dict[str, Any]) -> None:
        with pytest.raises(CommandRefused) as refused:
            asked(charge_point, payload)
        assert refused.value.code == "invalid_payload"

    def test_members_go_out_in_the_order_of_the_schema(self, charge_point: ChargePoint) -> None:
        assert list(asked(charge_point).payload) == ["log", "logType", "requestId"]

    def test_warnings(self, charge_point: ChargePoint) -> None:
        log = {"remoteLocation": "ftp://h/", "oldestTimestamp": wire(NOW), "latestTimestamp": wire(NOW)}
        payload = {"log": log, "logType": "SecurityLog", "requestId": 5}
        first, second = (asked(charge_point, payload) for _ in range(2))
        assert [warning["code"] for warning in first.warnings] == ["empty_window"]
        assert [warning["code"] for warning in second.warnings] == ["empty_window", "request_id_used"]

    def test_verb_without_location_gives_a_url_of_ours(self, charge_point: ChargePoint) -> None:
        row = log_requests.request_log(charge_point, "otto", "SecurityLog", oldest=NOW)
        assert row.command is not None
        payload = row.command.payload
        assert list(payload) == ["log", "logType", "requestId"]
        assert payload["log"]["remoteLocation"].startswith("http://127.0.0.1:8000/files/u-")
        assert payload["log"]["oldestTimestamp"] == "2026-03-01T12:00:00.000Z"
        assert "latestTimestamp" not in payload["log"]
        assert (row.to_us, row.location) == (True, "http://127.0.0.1:8000/files/***/")
        token = payload["log"]["remoteLocation"].split("/")[4]
        found = file_exchange.find(token, "10.0.0.1", NOW)
        assert found.url_id == FileUrl.objects.get(log_request=row).pk


class TestAnswer:
    def test_accepted_keeps_the_file_name_and_leaves_an_earlier_request_alone(self, charge_point: ChargePoint) -> None:
        first, second = (asked(charge_point) for _ in range(2))
        answer(first, "Accepted", filename="a.log")
        answer(second, "Accepted", filename="b.log")
        assert [row_of(each).file_name for each in (first, second)] == ["a.log", "b.log"]
        assert [row_of(each).status for each in (first, second)] == ["Requested", "Requested"]
        assert row_of(first).answered_at == NOW

    def test_accepted_canceled_ends_the_request_before(self, charge_point: ChargePoint) -> None:
        first, diagnostics = (
            asked(charge_point),
            commands.enqueue(charge_point, "GetDiagnostics", {"location": "x:y"}, "t"),
        )
        Command.objects.filter(pk=diagnostics.pk).update(sent_at=NOW, status="answered")
        second, waiting = asked(charge_point), asked(charge_point, sent=False)
        answer(first, "Accepted")
        report(charge_point, "Uploading", requestId=first.payload["requestId"])
        answer(second, "AcceptedCanceled", filename="b.log")
        rows = [row_of(each) for each in (first, second, waiting, diagnostics)]
        assert [(row.status, row.is_final) for row in rows] == [
            ("Canceled", True), ("Requested", False), ("Requested", False), ("Requested", False),
        ]  # fmt: skip
        assert Command.objects.get(pk=first.pk).effect["status"] == "Canceled"
        # What the charge point says of it later is kept, and changes nothing.
        report(charge_point, "UploadFailure", requestId=first.payload["requestId"])
        assert row_of(first).status == "Canceled"
        assert [status.status for status in row_of(first).statuses.all()] == ["Uploading", "UploadFailure"]

    @pytest.mark.parametrize("status", ["Rejected", "SomethingElse"])
    def test_any_other_answer_is_a_refusal(self, charge_point: ChargePoint, status: str) -> None:
        command = asked(charge_point)
        answer(command, status)
        assert (row_of(command).status, row_of(command).is_final) == ("Refused", True)

    def test_without_answer(self, charge_point: ChargePoint) -> None:
        states = {"error": "Refused", "expired": "NotSent", "withdrawn": "NotSent", "timed_out": "Requested"}
        for status, shown in states.items():
            command = asked(charge_point)
            command.status = CommandStatus(status)
            command.save(update_fields=["status"])
            WITHOUT_ANSWER["GetLog"](command, NOW)
            assert row_of(command).status == shown


class TestStatus:
    def test_request_id_says_which_request_it_is_about(self, charge_point: ChargePoint) -> None:
        first, second = (asked(charge_point) for _ in range(2))
        report(charge_point, "Uploading", "Uploaded", requestId=first.payload["requestId"])
        assert [row_of(each).status for each in (first, second)] == ["Uploaded", "Requested"]
        effect = Command.objects.get(pk=first.pk).effect
        assert (effect["log"], effect["status"]) == (row_of(first).pk, "Uploaded")

    @pytest.mark.parametrize("members", [{}, {"requestId": 0}, {"requestId": -1}])
    def test_without_one_it_is_about_the_newest_open(self, charge_point: ChargePoint, members: Any) -> None:
        first, second = (asked(charge_point) for _ in range(2))
        waiting = asked(charge_point, sent=False)
        report(charge_point, "Uploading", **members)
        assert [row_of(each).status for each in (first, second, waiting)] == ["Requested", "Uploading", "Requested"]

    @pytest.mark.parametrize("request_id", [99, 2**70])
    def test_one_that_is_not_ours_is_kept_for_the_charge_point(
        self, charge_point: ChargePoint, request_id: int
    ) -> None:
        command = asked(charge_point)
        report(charge_point, "Uploaded", requestId=request_id)
        assert row_of(command).status == "Requested"
        assert DiagnosticsStatus.objects.get().request is None

    def test_idle_is_no_progress(self, charge_point: ChargePoint) -> None:
        report(charge_point, "Idle")
        command = asked(charge_point)
        report(charge_point, "Idle")
        report(charge_point, "Idle", requestId=command.payload["requestId"])
        assert (row_of(command).status, row_of(command).statuses.get().times) == ("Requested", 2)

    def test_upload_failed_is_taken_for_upload_failure(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point)
        report(charge_point, "UploadFailed")
        assert (row_of(command).status, row_of(command).is_final) == ("UploadFailure", True)

    def test_unknown_word_is_kept_and_one_that_says_failure_ends_the_request(self, charge_point: ChargePoint) -> None:
        command = asked(charge_point)
        report(charge_point, "Uploading", "Compressing")
        assert (row_of(command).status, row_of(command).status_known, row_of(command).is_final) == (
            "Compressing", False, False,
        )  # fmt: skip
        report(charge_point, "QuotaError")
        assert (row_of(command).status, row_of(command).is_final) == ("QuotaError", True)

    @pytest.mark.parametrize("status", ["BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure"])
    def test_failures_are_final_until_a_later_final_status(self, charge_point: ChargePoint, status: str) -> None:
        command = asked(charge_point)
        report(charge_point, status)
        assert (row_of(command).status, row_of(command).is_final) == (status, True)
        report(charge_point, "Uploading", "Uploaded")
        assert row_of(command).status == "Uploaded"

    def test_get_diagnostics_and_get_log_do_not_mix(self, charge_point: ChargePoint) -> None:
        log = asked(charge_point)
        diagnostics = commands.enqueue(charge_point, "GetDiagnostics", {"location": "ftp://h/"}, "test")
        Command.objects.filter(pk=diagnostics.pk).update(sent_at=NOW)
        report(charge_point, "Uploading")
        assert (row_of(log).status, row_of(diagnostics).status) == ("Uploading", "Requested")
