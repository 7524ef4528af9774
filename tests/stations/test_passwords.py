"""Rotating a password: which ones are let in while its change is under way, and how it ends (security 2, A01)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache

from stations import commands, credentials, handshake, passwords, registration
from stations.credentials import InvalidPassword
from stations.handshake import Accepted
from stations.models import ChargePoint, Command, PasswordChange
from stations.passwords import rotate_password
from tenants.models import AuditEntry, Tenant
from tests.stations.rows import new_charge_point
from tests.stations.test_handshake_decision import PASSWORD, request
from tests.stations.upgrade import basic

NEW = bytes.fromhex("00112233445566778899AABBCCDDEEFF00112233")
CHANGED = {"status": "Accepted"}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    cache.clear()
    return new_charge_point(password_hash=credentials.hashed(PASSWORD.encode(), generated=True), connected=False)


def rotate(charge_point: ChargePoint, password: str | None = NEW.hex()) -> Command:
    return rotate_password(charge_point, "olga", password)[0]


def connect(charge_point: ChargePoint, password: bytes | str) -> str:
    """What a handshake with this password comes to: `in`, or the reason of the refusal."""
    authorization = basic(charge_point.identity, password)[1].encode()
    decision = handshake.decide(request(authorization=authorization), "process-1")
    return "in" if isinstance(decision, Accepted) else decision.reason


def present(charge_point: ChargePoint) -> ChargePoint:
    return ChargePoint.objects.select_related("tenant").get(pk=charge_point.pk)


def send(charge_point: ChargePoint) -> str:
    """Put the next command on the wire; its value."""
    row = present(charge_point)
    now = datetime.now(UTC)
    outgoing = commands.take_next(row, now, generation=row.connection_generation, message_id=f"m{now.timestamp()}")
    assert outgoing is not None
    return str(outgoing.payload["value"])


def answer(charge_point: ChargePoint, payload: dict[str, Any], *, late: bool = False) -> None:
    command = Command.objects.exclude(message_id="").order_by("-id").first()
    assert command is not None
    row = present(charge_point)
    commands.answered(row, datetime.now(UTC), message_id=command.message_id, payload=payload, late=late)


def state(charge_point: ChargePoint) -> str:
    return passwords.state_of(present(charge_point)).value


class TestWhatIsSent:
    def test_made_one_is_20_random_bytes_in_hexadecimal_and_given_back_once(self, charge_point: ChargePoint) -> None:
        command, made = rotate_password(charge_point, "olga")
        assert made is not None
        assert (len(made), len(bytes.fromhex(made))) == (40, 20)
        assert send(charge_point) == made
        assert (command.action, command.requested_by) == ("ChangeConfiguration", "olga")
        assert rotate_password(charge_point, "olga")[1] != made

    @pytest.mark.parametrize(
        ("typed", "value"),
        [
            ("0123456789abcdef", "30313233343536373839616263646566"),
            (NEW.hex(), NEW.hex().upper()),
            ("ü" * 8, "C3BC" * 8),
        ],
    )
    def test_typed_one_goes_out_as_hexadecimal(self, charge_point: ChargePoint, typed: str, value: str) -> None:
        command, made = rotate_password(charge_point, "olga", typed)
        assert (send(charge_point), made) == (value, None)

    @pytest.mark.parametrize("typed", ["short", "x" * 21, "", "0" * 42])
    def test_typed_one_that_ocpp_does_not_allow_is_not_sent(self, charge_point: ChargePoint, typed: str) -> None:
        with pytest.raises(InvalidPassword):
            rotate_password(charge_point, "olga", typed)
        assert not Command.objects.exists()

    def test_value_waits_encrypted_and_leaves_the_row_when_it_is_sent(self, charge_point: ChargePoint) -> None:
        command = rotate(charge_point)
        waiting = str(Command.objects.values_list("payload", flat=True).get(pk=command.pk))
        assert NEW.hex().upper() not in waiting
        assert "gAAAA" in waiting
        assert send(charge_point) == NEW.hex().upper()
        assert Command.objects.get(pk=command.pk).payload == {"key": "AuthorizationKey", "value": "***"}

    def test_secret_that_can_no_longer_be_read_is_not_sent(self, charge_point: ChargePoint, settings: Any) -> None:
        command = rotate(charge_point)
        settings.SECRET_KEY = "another-key-than-before-00000000000"
        row = present(charge_point)
        assert commands.take_next(row, datetime.now(UTC), generation=1, message_id="m") is None
        command.refresh_from_db()
        assert (command.status, command.warnings[-1]["code"]) == ("expired", "secret_lost")
        assert state(charge_point) == "set"


class TestWhichIsLetIn:
    def test_queued_change_changes_nothing_yet(self, charge_point: ChargePoint) -> None:
        rotate(charge_point)
        assert state(charge_point) == "pending"
        assert connect(charge_point, NEW) == "wrong_password"
        assert connect(charge_point, PASSWORD) == "in"
        assert state(charge_point) == "pending"

    def test_accepted_makes_the_new_one_the_only_one_at_once(self, charge_point: ChargePoint) -> None:
        rotate(charge_point)
        send(charge_point)
        answer(charge_point, CHANGED)
        assert state(charge_point) == "set"
        assert connect(charge_point, PASSWORD) == "wrong_password"
        assert connect(charge_point, NEW) == "in"
        assert not PasswordChange.objects.exists()
        entry = AuditEntry.objects.get()
        assert (entry.actor, entry.action, entry.changes) == ("olga", "change password", {"password": ["***", "***"]})

    @pytest.mark.parametrize("status", ["Rejected", "NotSupported"])
    def test_refused_leaves_the_old_one(self, charge_point: ChargePoint, status: str) -> None:
        rotate(charge_point)
        send(charge_point)
        answer(charge_point, {"status": status})
        assert (state(charge_point), PasswordChange.objects.count()) == ("set", 0)
        assert connect(charge_point, NEW) == "wrong_password"
        assert connect(charge_point, PASSWORD) == "in"

    @pytest.mark.parametrize("late", [False, True])
    def test_callerror_leaves_the_old_one(self, charge_point: ChargePoint, late: bool) -> None:
        command = rotate(charge_point)
        send(charge_point)
        command.refresh_from_db()
        if late:
            commands.timed_out(present(charge_point), datetime.now(UTC), message_id=command.message_id)
        commands.failed(
            present(charge_point), datetime.now(UTC), message_id=command.message_id, code="InternalError",
            description="", details={}, late=late,
        )  # fmt: skip
        assert state(charge_point) == "set"
        assert connect(charge_point, NEW) == "wrong_password"
        assert connect(charge_point, PASSWORD) == "in"

    @pytest.mark.parametrize("end", ["withdrawn", "expired"])
    def test_change_that_was_never_sent_is_forgotten(self, charge_point: ChargePoint, end: str) -> None:
        command = rotate(charge_point)
        if end == "withdrawn":
            commands.withdraw(command)
        else:
            commands.expire_all(command.expires_at + timedelta(seconds=1))
        assert state(charge_point) == "set"
        assert connect(charge_point, NEW) == "wrong_password"


class TestInDoubt:
    """Timed out, or the connection was lost: both are let in until the first success with one of them."""

    @pytest.fixture(params=["timed_out", "unknown", "nonsense"])
    def in_doubt(self, charge_point: ChargePoint, request: pytest.FixtureRequest) -> ChargePoint:
        command = rotate(charge_point)
        send(charge_point)
        command.refresh_from_db()
        if request.param == "timed_out":
            commands.timed_out(present(charge_point), datetime.now(UTC), message_id=command.message_id)
        elif request.param == "unknown":
            commands.connection_lost(charge_point.pk, 1)
        else:
            answer(charge_point, {"status": "Perhaps"})
        assert state(charge_point) == "unknown"
        return charge_point

    @pytest.mark.parametrize(("first", "other"), [(PASSWORD.encode(), NEW), (NEW, PASSWORD.encode())])
    def test_first_success_decides(self, in_doubt: ChargePoint, first: bytes, other: bytes) -> None:
        assert connect(in_doubt, b"neither-of-the-two-1") == "wrong_password"
        assert connect(in_doubt, first) == "in"
        assert state(in_doubt) == "set"
        assert connect(in_doubt, other) == "wrong_password"
        assert connect(in_doubt, first) == "in"

    def test_next_change_that_is_accepted_ends_the_doubt(self, in_doubt: ChargePoint) -> None:
        third = "another-password-now"
        rotate(in_doubt, third)
        assert connect(in_doubt, third) == "wrong_password"
        send(in_doubt)
        answer(in_doubt, CHANGED)
        assert [connect(in_doubt, one) for one in (PASSWORD, NEW, third)] == ["wrong_password"] * 2 + ["in"]

    def test_next_change_that_is_rejected_leaves_the_doubt(self, in_doubt: ChargePoint) -> None:
        rotate(in_doubt, "another-password-now")
        send(in_doubt)
        answer(in_doubt, {"status": "Rejected"})
        assert state(in_doubt) == "unknown"
        assert connect(in_doubt, NEW) == "in"

    def test_password_that_the_operator_sets_here_ends_the_doubt(self, in_doubt: ChargePoint) -> None:
        row = present(in_doubt)
        registration.set_password(row, "another-password-now")
        registration.save(row, ["password_hash"])
        assert state(in_doubt) == "set"
        assert [connect(in_doubt, one) for one in (PASSWORD, NEW)] == ["wrong_password"] * 2


class TestRaces:
    def test_charge_point_may_be_back_before_its_answer_is_taken_in(self, charge_point: ChargePoint) -> None:
        rotate(charge_point)
        send(charge_point)
        assert connect(charge_point, NEW) == "in"
        assert connect(charge_point, PASSWORD) == "wrong_password"
        answer(charge_point, CHANGED)
        assert (state(charge_point), connect(charge_point, NEW)) == ("set", "in")

    @pytest.mark.parametrize(("status", "let_in"), [("Accepted", NEW), ("Rejected", PASSWORD.encode())])
    def test_late_answer_decides(self, charge_point: ChargePoint, status: str, let_in: bytes) -> None:
        command = rotate(charge_point)
        send(charge_point)
        command.refresh_from_db()
        commands.timed_out(present(charge_point), datetime.now(UTC), message_id=command.message_id)
        answer(charge_point, {"status": status}, late=True)
        assert state(charge_point) == "set"
        assert [connect(charge_point, one) == "in" for one in (PASSWORD.encode(), NEW)] == [
            let_in == PASSWORD.encode(), let_in == NEW,
        ]  # fmt: skip

    def test_reboot_required_keeps_both_until_it_has_restarted(self, charge_point: ChargePoint) -> None:
        rotate(charge_point)
        send(charge_point)
        answer(charge_point, {"status": "RebootRequired"})
        assert state(charge_point) == "pending"
        # The network was away for a moment: it has not restarted yet.
        assert connect(charge_point, PASSWORD) == "in"
        assert state(charge_point) == "pending"
        assert connect(charge_point, NEW) == "in"
        assert state(charge_point) == "set"
        assert connect(charge_point, PASSWORD) == "wrong_password"

    def test_reboot_that_brought_the_old_one_back_ends_the_change(self, charge_point: ChargePoint) -> None:
        rotate(charge_point)
        send(charge_point)
        answer(charge_point, {"status": "RebootRequired"})
        ChargePoint.objects.filter(pk=charge_point.pk).update(booted_at=datetime.now(UTC) + timedelta(seconds=1))
        assert connect(charge_point, PASSWORD) == "in"
        assert (state(charge_point), connect(charge_point, NEW)) == ("set", "wrong_password")


class TestByHand:
    """ChangeConfiguration of AuthorizationKey as any other command: sent as it was typed, followed all the same."""

    def test_value_is_sent_untouched_and_followed(self, charge_point: ChargePoint) -> None:
        payload = {"key": "authorizationkey", "value": NEW.hex()}
        command = commands.enqueue(charge_point, "ChangeConfiguration", payload, "olga")
        assert [warning["code"] for warning in command.warnings] == ["charge_point_offline"]
        assert send(charge_point) == NEW.hex()
        answer(charge_point, CHANGED)
        assert [connect(charge_point, one) for one in (PASSWORD, NEW)] == ["wrong_password", "in"]

    @pytest.mark.parametrize("value", ["0123456789abcdef", "short", "00112233445566778899AABBCCDDEEFF0", "ab" * 21])
    def test_value_that_is_no_valid_key_is_sent_with_a_warning(self, charge_point: ChargePoint, value: str) -> None:
        payload = {"key": "AuthorizationKey", "value": value}
        command = commands.enqueue(charge_point, "ChangeConfiguration", payload, "olga")
        assert command.warnings[0]["code"] == "invalid_authorization_key"
        assert value not in str(command.warnings)
        assert send(charge_point) == value
        answer(charge_point, CHANGED)
        assert connect(charge_point, value) == "in"

    def test_empty_value_never_becomes_a_password(self, charge_point: ChargePoint) -> None:
        commands.enqueue(charge_point, "ChangeConfiguration", {"key": "AuthorizationKey", "value": ""}, "olga")
        assert send(charge_point) == ""
        answer(charge_point, CHANGED)
        assert [connect(charge_point, one) for one in ("", PASSWORD)] == ["wrong_password", "in"]

    def test_second_change_warns_of_the_first(self, charge_point: ChargePoint) -> None:
        rotate(charge_point)
        command = rotate(charge_point, "another-password-now")
        assert "password_change_open" in [warning["code"] for warning in command.warnings]


def test_made_password_costs_no_slow_hash_at_the_handshake(
    charge_point: ChargePoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = rotate_password(charge_point, "olga")
    send(charge_point)
    answer(charge_point, CHANGED)
    monkeypatch.setattr(credentials.hashlib, "scrypt", None)
    assert made is not None
    assert connect(charge_point, bytes.fromhex(made)) == "in"
