"""Life of an outbound CALL, state by state: enqueue, take_next, finish (stations/commands.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from stations import commands
from stations.commands import CommandRefused, Outgoing
from stations.models import ChargePoint, Command, ConfigurationKey
from stations.models.command import CommandStatus
from tenants.models import Tenant
from tests.conftest import Tenants
from tests.stations.rows import as_tenant, new_charge_point

pytestmark = pytest.mark.usefixtures("in_tenant_a")

SECRET = {"key": "AuthorizationKey", "value": "00112233445566778899AABBCCDDEEFF"}
# One valid request of each kind.
PAYLOADS: dict[str, dict[str, Any]] = {
    "ChangeAvailability": {"connectorId": 0, "type": "Inoperative"},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "60"},
    "ClearCache": {},
    "DataTransfer": {"vendorId": "com.example"},
    "GetConfiguration": {},
    "RemoteStartTransaction": {"idTag": "TAG-1", "connectorId": 1},
    "RemoteStopTransaction": {"transactionId": 1},
    "Reset": {"type": "Hard"},
    "UnlockConnector": {"connectorId": 1},
}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def now() -> datetime:
    return datetime.now(UTC)


def enqueue(charge_point: ChargePoint, action: str = "ClearCache", **options: Any) -> Command:
    return commands.enqueue(charge_point, action, PAYLOADS[action], "tester", **options)


def take(charge_point: ChargePoint, at: datetime | None = None, message_id: str = "m-1") -> Outgoing | None:
    charge_point = ChargePoint.objects.select_related("tenant").get(pk=charge_point.pk)
    return commands.take_next(charge_point, at or now(), generation=1, message_id=message_id)


def sent(charge_point: ChargePoint, action: str = "ClearCache") -> Command:
    """A command that waits for its answer, with message id m-1."""
    command = enqueue(charge_point, action)
    assert take(charge_point) is not None
    return fresh(command)


def fresh(command: Command) -> Command:
    return Command.objects.get(pk=command.pk)


class TestEnqueue:
    def test_command_is_a_queued_row_with_what_was_asked_and_by_whom(self, charge_point: ChargePoint) -> None:
        command = fresh(enqueue(charge_point, "Reset", reason="stuck"))
        assert (command.status, command.action, command.payload) == ("queued", "Reset", {"type": "Hard"})
        assert (command.requested_by, command.reason, command.warnings) == ("tester", "stuck", [])
        assert (command.sent_at, command.answered_at, command.response, command.error) == (None, None, None, None)

    @pytest.mark.parametrize(
        ("action", "seconds"),
        [
            ("RemoteStartTransaction", 60),
            ("UnlockConnector", 60),
            ("RemoteStopTransaction", 300),
            ("Reset", 300),
            ("DataTransfer", 300),
            ("ChangeAvailability", 7 * 86400),
            ("ChangeConfiguration", 7 * 86400),
            ("ClearCache", 7 * 86400),
            ("GetConfiguration", 7 * 86400),
        ],
    )
    def test_life_depends_on_the_action(self, charge_point: ChargePoint, action: str, seconds: int) -> None:
        command = enqueue(charge_point, action)
        assert command.expires_at - command.created_at == timedelta(seconds=seconds)

    def test_life_may_be_given(self, charge_point: ChargePoint) -> None:
        command = enqueue(charge_point, time_to_live_seconds=5)
        assert command.expires_at - command.created_at == timedelta(seconds=5)

    @pytest.mark.parametrize(
        ("action", "payload", "code", "pointers"),
        [
            ("Coffee", {}, "unknown_action", []),
            ("Heartbeat", {}, "unknown_action", []),
            ("Reset", {}, "invalid_payload", ["/type"]),
            ("Reset", {"type": "Medium"}, "invalid_payload", ["/type"]),
            ("Reset", {"type": "Hard", "extra": 1}, "invalid_payload", ["/extra"]),
            ("ChangeConfiguration", {"key": "A", "value": 60}, "invalid_payload", ["/value"]),
            ("UnlockConnector", {"connectorId": 0}, "invalid_payload", ["/connectorId"]),
            ("RemoteStartTransaction", {"idTag": "T" * 21}, "invalid_payload", ["/idTag"]),
        ],
    )
    def test_request_that_breaks_the_schema_is_refused_with_pointers(
        self, charge_point: ChargePoint, action: str, payload: dict[str, Any], code: str, pointers: list[str]
    ) -> None:
        with pytest.raises(CommandRefused) as refused:
            commands.enqueue(charge_point, action, payload, "tester")
        assert (refused.value.code, [problem.pointer for problem in refused.value.problems]) == (code, pointers)
        assert not Command.objects.exists()

    def test_suspended_tenant_sends_no_commands(self, in_tenant_a: Tenant) -> None:
        in_tenant_a.suspend(now())
        with pytest.raises(CommandRefused) as refused:
            enqueue(new_charge_point())
        assert refused.value.code == "tenant_suspended"

    def test_disabled_charge_point_gets_no_commands(self) -> None:
        with pytest.raises(CommandRefused) as refused:
            enqueue(new_charge_point(disabled=True))
        assert refused.value.code == "charge_point_disabled"

    def test_rolled_back_request_leaves_no_command(self, charge_point: ChargePoint) -> None:
        with transaction.atomic():
            enqueue(charge_point)
            transaction.set_rollback(True)
        assert not Command.objects.exists()

    def test_doorbell_rings_after_the_commit_only(
        self, charge_point: ChargePoint, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rung: list[list[int]] = []
        monkeypatch.setattr(commands, "notify", lambda ids, message: rung.append(ids))
        with django_capture_on_commit_callbacks(execute=True):
            enqueue(charge_point)
            assert rung == []
        assert rung == [[charge_point.pk]]


class TestTakeNext:
    def test_oldest_command_becomes_sent(self, charge_point: ChargePoint) -> None:
        first, second = enqueue(charge_point, "Reset"), enqueue(charge_point)
        assert take(charge_point, message_id="m-1") == Outgoing("m-1", "Reset", {"type": "Hard"})
        row = fresh(first)
        assert (row.status, row.message_id, row.connection_generation) == ("sent", "m-1", 1)
        assert row.sent_at is not None
        assert fresh(second).status == "queued"

    def test_order_of_requests_is_the_order_of_sending(self, charge_point: ChargePoint) -> None:
        actions = ["Reset", "ClearCache", "GetConfiguration", "UnlockConnector"]
        for action in actions:
            enqueue(charge_point, action)
        taken = []
        for number in range(len(actions)):
            outgoing = take(charge_point, message_id=f"m-{number}")
            assert outgoing is not None
            taken.append(outgoing.action)
            commands.answered(charge_point, now(), message_id=f"m-{number}", payload={}, late=False)
        assert taken == actions
        assert take(charge_point) is None

    def test_what_nobody_awaits_any_more_is_sent_again_if_harmless(self, charge_point: ChargePoint) -> None:
        """Whoever takes has nothing outstanding: the answer was lost with the database, or the commit's success was."""
        lost = sent(charge_point)
        enqueue(charge_point, "Reset")
        assert take(charge_point, message_id="m-2") == Outgoing("m-2", "ClearCache", {})
        assert (fresh(lost).status, fresh(lost).message_id) == ("sent", "m-2")

    def test_what_nobody_awaits_any_more_is_unknown_if_it_must_not_be_repeated(self, charge_point: ChargePoint) -> None:
        lost = sent(charge_point, "UnlockConnector")
        enqueue(charge_point, "Reset")
        assert take(charge_point, message_id="m-2") == Outgoing("m-2", "Reset", {"type": "Hard"})
        assert fresh(lost).status == "unknown"

    @pytest.mark.parametrize(("action", "status"), [("ClearCache", "queued"), ("Reset", "unknown")])
    def test_what_was_sent_to_one_that_is_gone_is_forgotten(
        self, charge_point: ChargePoint, action: str, status: str
    ) -> None:
        command = sent(charge_point, action)
        ChargePoint.objects.filter(pk=charge_point.pk).update(connected=True)
        assert (commands.forget_lost(), fresh(command).status) == (0, "sent")
        ChargePoint.objects.filter(pk=charge_point.pk).update(connected=False)
        assert (commands.forget_lost(), fresh(command).status) == (1, status)

    def test_database_allows_one_outstanding_command_only(self, charge_point: ChargePoint) -> None:
        sent(charge_point)
        second = enqueue(charge_point)
        with pytest.raises(IntegrityError), transaction.atomic():
            Command.objects.filter(pk=second.pk).update(status=CommandStatus.SENT)

    def test_charge_points_do_not_wait_for_each_other(self, charge_point: ChargePoint) -> None:
        sent(charge_point)
        other = new_charge_point("CP-2")
        enqueue(other, "Reset")
        assert take(other, message_id="m-2") == Outgoing("m-2", "Reset", {"type": "Hard"})

    def test_members_go_out_in_the_order_of_the_schema(self, charge_point: ChargePoint) -> None:
        commands.enqueue(charge_point, "ChangeConfiguration", {"value": "60", "key": "A"}, "tester")
        outgoing = take(charge_point)
        assert outgoing is not None
        assert list(outgoing.payload) == ["key", "value"]

    @pytest.mark.parametrize("action", sorted(PAYLOADS))
    def test_command_whose_time_is_over_is_expired_and_never_sent(self, charge_point: ChargePoint, action: str) -> None:
        command = enqueue(charge_point, action)
        assert take(charge_point, at=command.expires_at) is None
        assert (fresh(command).status, fresh(command).sent_at) == ("expired", None)

    def test_expired_command_does_not_hold_up_the_next(self, charge_point: ChargePoint) -> None:
        late, good = enqueue(charge_point, "RemoteStartTransaction"), enqueue(charge_point)
        outgoing = take(charge_point, at=now() + timedelta(minutes=2))
        assert outgoing is not None
        assert outgoing.action == "ClearCache"
        assert (fresh(late).status, fresh(good).status) == ("expired", "sent")

    def test_withdrawn_command_is_never_sent(self, charge_point: ChargePoint) -> None:
        command = enqueue(charge_point)
        assert commands.withdraw(command)
        assert take(charge_point) is None
        assert fresh(command).status == "withdrawn"

    def test_socket_that_was_replaced_takes_nothing(self, charge_point: ChargePoint) -> None:
        command = enqueue(charge_point)
        ChargePoint.objects.update(connection_generation=2)
        assert take(charge_point) is None
        assert fresh(command).status == "queued"

    def test_suspended_tenant_sends_nothing_that_was_queued_before(
        self, charge_point: ChargePoint, in_tenant_a: Tenant
    ) -> None:
        enqueue(charge_point)
        in_tenant_a.suspend(now())
        assert take(charge_point) is None

    def test_rejected_charge_point_gets_nothing_until_it_is_accepted(self, charge_point: ChargePoint) -> None:
        enqueue(charge_point)
        ChargePoint.objects.update(registration_status="Rejected")
        assert take(charge_point) is None
        ChargePoint.objects.update(registration_status="Accepted")
        assert take(charge_point) is not None

    @pytest.mark.parametrize("action", ["RemoteStartTransaction", "RemoteStopTransaction"])
    def test_pending_charge_point_gets_configuration_but_no_remote_start_or_stop(
        self, charge_point: ChargePoint, action: str
    ) -> None:
        held = enqueue(charge_point, action)
        enqueue(charge_point, "GetConfiguration")
        ChargePoint.objects.update(registration_status="Pending")
        outgoing = take(charge_point)
        assert outgoing is not None
        assert outgoing.action == "GetConfiguration"
        assert fresh(held).status == "queued"

    def test_commands_of_another_tenant_do_not_exist(self, charge_point: ChargePoint, tenants: Tenants) -> None:
        theirs = as_tenant(tenants.tenant_b, lambda: enqueue(new_charge_point("CP-1")))
        assert take(charge_point) is None
        assert as_tenant(tenants.tenant_b, lambda: fresh(theirs).status) == "queued"


class TestFinish:
    def test_call_result_is_kept_as_received(self, charge_point: ChargePoint) -> None:
        command, at = sent(charge_point, "Reset"), now()
        commands.answered(charge_point, at, message_id="m-1", payload={"status": "Accepted"}, late=False)
        command = fresh(command)
        assert (command.status, command.response, command.answered_at) == ("answered", {"status": "Accepted"}, at)
        assert command.outcome == "Accepted"

    def test_refusal_by_the_charge_point_is_a_normal_answer(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point, "RemoteStartTransaction")
        commands.answered(charge_point, now(), message_id="m-1", payload={"status": "Rejected"}, late=False)
        assert (fresh(command).status, fresh(command).outcome) == ("answered", "Rejected")
        assert take(charge_point) is None

    def test_call_error_is_kept_and_nothing_is_sent_again(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        commands.failed(
            charge_point, now(), message_id="m-1", code="NotSupported", description="no", details={"a": 1}, late=False
        )
        command = fresh(command)
        assert (command.status, command.outcome) == ("error", "NotSupported")
        assert command.error == {"code": "NotSupported", "description": "no", "details": {"a": 1}}
        assert take(charge_point) is None

    @pytest.mark.parametrize("payload", [{}, {"status": 7}, {"status": "Perhaps"}, {"status": "Accepted", "x": 1}])
    def test_answer_that_breaks_the_schema_is_recorded_with_a_warning(
        self, charge_point: ChargePoint, payload: dict[str, Any]
    ) -> None:
        command = sent(charge_point)
        commands.answered(charge_point, now(), message_id="m-1", payload=payload, late=False)
        command = fresh(command)
        assert (command.status, command.response) == ("answered", payload)
        assert [warning["code"] for warning in command.warnings] == ["invalid_response"]

    def test_silence_is_timed_out_and_never_sent_again(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point, "GetConfiguration")
        commands.timed_out(charge_point, now(), message_id="m-1")
        assert fresh(command).status == "timed_out"
        assert take(charge_point) is None

    def test_late_result_is_recorded_takes_effect_and_the_status_stays(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point, "ChangeConfiguration")
        commands.timed_out(charge_point, now(), message_id="m-1")
        commands.answered(charge_point, now(), message_id="m-1", payload={"status": "Accepted"}, late=True)
        command = fresh(command)
        assert (command.status, command.response) == ("timed_out", {"status": "Accepted"})
        assert command.answered_at is not None
        assert ConfigurationKey.objects.get().value == "60"

    def test_late_error_is_recorded_and_the_status_stays(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        commands.timed_out(charge_point, now(), message_id="m-1")
        failed = partial(commands.failed, code="GenericError", description="", details={}, late=True)
        failed(charge_point, now(), message_id="m-1")
        assert (fresh(command).status, fresh(command).error) == (
            "timed_out", {"code": "GenericError", "description": "", "details": {}},
        )  # fmt: skip

    @pytest.mark.parametrize("message_id", ["m-9", ""])
    def test_answer_to_nothing_changes_nothing(self, charge_point: ChargePoint, message_id: str) -> None:
        outstanding, queued = sent(charge_point), enqueue(charge_point)
        commands.answered(charge_point, now(), message_id=message_id, payload={}, late=False)
        commands.timed_out(charge_point, now(), message_id=message_id)
        assert (fresh(outstanding).status, fresh(queued).status) == ("sent", "queued")

    def test_answer_of_another_charge_point_changes_nothing(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        commands.answered(new_charge_point("CP-2"), now(), message_id="m-1", payload={"status": "x"}, late=False)
        assert fresh(command).status == "sent"

    def test_command_that_was_sent_cannot_be_withdrawn(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        assert not commands.withdraw(command)
        assert fresh(command).status == "sent"


class TestConnectionLost:
    @pytest.mark.parametrize(
        ("action", "status"),
        [
            ("ChangeAvailability", "queued"),
            ("ChangeConfiguration", "queued"),
            ("ClearCache", "queued"),
            ("GetConfiguration", "queued"),
            ("DataTransfer", "unknown"),
            ("RemoteStartTransaction", "unknown"),
            ("RemoteStopTransaction", "unknown"),
            ("Reset", "unknown"),
            ("UnlockConnector", "unknown"),
        ],
    )
    def test_what_does_no_harm_is_queued_again_the_rest_is_unknown(
        self, charge_point: ChargePoint, action: str, status: str
    ) -> None:
        command = sent(charge_point, action)
        commands.connection_lost(charge_point.pk, 1)
        command = fresh(command)
        assert command.status == status
        if status == "queued":
            assert (command.message_id, command.sent_at) == ("", None)

    def test_queued_again_keeps_its_place_and_its_life(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        enqueue(charge_point, "Reset")
        commands.connection_lost(charge_point.pk, 1)
        assert fresh(command).expires_at == command.expires_at
        outgoing = take(charge_point, message_id="m-2")
        assert outgoing is not None
        assert outgoing.action == "ClearCache"

    def test_repeated_three_times_at_most_then_unknown_with_the_count(self, charge_point: ChargePoint) -> None:
        command, at = enqueue(charge_point, "ChangeConfiguration"), now()
        taken = []
        for generation in range(8):
            at += timedelta(minutes=1)
            outgoing = take(charge_point, at, message_id=f"m-{generation}")
            taken.append(None if outgoing is None else outgoing.action)
            commands.connection_lost(charge_point.pk, 1)
        assert taken == ["ChangeConfiguration"] * 3 + [None] * 5
        command = fresh(command)
        assert (command.status, command.attempts) == ("unknown", 3)
        assert command.warnings[-1] == {
            "code": "attempts_exhausted",
            "detail": "Sent 3 times, and each time the connection was lost before the answer.",
        }

    def test_third_attempt_waits_and_others_pass_it(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        enqueue(charge_point, "Reset")
        commands.connection_lost(charge_point.pk, 1)
        again = take(charge_point, message_id="m-2")
        assert again is not None
        assert again.action == "ClearCache"
        commands.connection_lost(charge_point.pk, 1)
        passing = take(charge_point, message_id="m-3")
        assert passing is not None
        assert passing.action == "Reset"
        waiting = fresh(command)
        assert (waiting.status, waiting.attempts) == ("queued", 2)
        assert waiting.not_before is not None
        assert timedelta(seconds=4) < waiting.not_before - now() <= timedelta(seconds=5)

    @pytest.mark.parametrize(("attempts", "status"), [(1, "unknown"), (2, "queued")])
    def test_limit_of_attempts_is_a_setting(
        self, charge_point: ChargePoint, settings: Any, attempts: int, status: str
    ) -> None:
        settings.CSMS_COMMAND_ATTEMPTS = attempts
        command = sent(charge_point)
        commands.connection_lost(charge_point.pk, 1)
        assert fresh(command).status == status

    def test_unknown_command_does_not_hold_up_the_next(self, charge_point: ChargePoint) -> None:
        sent(charge_point, "Reset")
        enqueue(charge_point)
        commands.connection_lost(charge_point.pk, 1)
        assert take(charge_point) is not None

    def test_what_the_newer_connection_sent_is_not_touched(self, charge_point: ChargePoint) -> None:
        command = sent(charge_point)
        Command.objects.update(connection_generation=2)
        commands.connection_lost(charge_point.pk, 1)
        assert fresh(command).status == "sent"

    def test_commands_that_were_not_sent_are_not_touched(self, charge_point: ChargePoint) -> None:
        waiting = enqueue(charge_point)
        commands.connection_lost(charge_point.pk, 1)
        assert fresh(waiting).status == "queued"
