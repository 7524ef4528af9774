"""A password on its way to a charge point cannot be read once it is delivered or given up; expiry; batches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from stations import commands
from stations.commands import CommandRefused
from stations.masking import masked
from stations.models import ChargePoint, Command, CommandBatch
from tenants.models import Tenant
from tenants.scope import platform_scope
from tests.conftest import Tenants
from tests.stations.rows import as_tenant, new_charge_point

pytestmark = pytest.mark.usefixtures("in_tenant_a")
SECRET = "00112233445566778899AABBCCDDEEFF"
MASKED = {"key": "AuthorizationKey", "value": "***"}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def enqueue_secret(charge_point: ChargePoint) -> Command:
    payload = {"key": "AuthorizationKey", "value": SECRET}
    return commands.enqueue(charge_point, "ChangeConfiguration", payload, "tester")


def payload_of(command: Command) -> Any:
    return Command.objects.get(pk=command.pk).payload


class TestSecretInACommand:
    def test_it_goes_out_in_clear(self, charge_point: ChargePoint) -> None:
        enqueue_secret(charge_point)
        outgoing = commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
        assert outgoing is not None
        assert outgoing.payload == {"key": "AuthorizationKey", "value": SECRET}

    @pytest.mark.parametrize("status", ["Accepted", "Rejected", "NotSupported"])
    def test_it_is_gone_from_the_row_once_answered(self, charge_point: ChargePoint, status: str) -> None:
        command, now = enqueue_secret(charge_point), datetime.now(UTC)
        commands.take_next(charge_point, now, generation=1, message_id="m")
        commands.answered(charge_point, now, message_id="m", payload={"status": status}, late=False)
        assert payload_of(command) == MASKED

    def test_it_is_gone_after_an_error(self, charge_point: ChargePoint) -> None:
        command, now = enqueue_secret(charge_point), datetime.now(UTC)
        commands.take_next(charge_point, now, generation=1, message_id="m")
        commands.failed(charge_point, now, message_id="m", code="x", description="", details={}, late=False)
        assert payload_of(command) == MASKED

    def test_it_is_gone_after_a_time_out(self, charge_point: ChargePoint) -> None:
        command, now = enqueue_secret(charge_point), datetime.now(UTC)
        commands.take_next(charge_point, now, generation=1, message_id="m")
        commands.timed_out(charge_point, now, message_id="m")
        assert payload_of(command) == MASKED

    def test_it_is_not_sent_again_when_the_connection_is_lost(self, charge_point: ChargePoint) -> None:
        command = enqueue_secret(charge_point)
        commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
        commands.connection_lost(charge_point.pk, 1)
        assert Command.objects.get(pk=command.pk).status == "unknown"
        assert payload_of(command) == MASKED

    def test_it_is_gone_when_withdrawn(self, charge_point: ChargePoint) -> None:
        command = enqueue_secret(charge_point)
        commands.withdraw(command)
        assert payload_of(command) == MASKED

    def test_it_is_gone_when_expired_unsent(self, charge_point: ChargePoint) -> None:
        command = enqueue_secret(charge_point)
        commands.take_next(charge_point, command.expires_at, generation=1, message_id="m")
        assert payload_of(command) == MASKED

    def test_it_is_gone_when_the_sweep_expires_it(self, charge_point: ChargePoint) -> None:
        command = enqueue_secret(charge_point)
        assert commands.expire_all(command.expires_at) == 1
        assert payload_of(command) == MASKED


class TestMasking:
    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            ({"key": "AuthorizationKey", "value": "s"}, {"key": "AuthorizationKey", "value": "***"}),
            ({"key": " authorizationKEY ", "value": "s"}, {"key": " authorizationKEY ", "value": "***"}),
            ({"key": "HeartbeatInterval", "value": "60"}, {"key": "HeartbeatInterval", "value": "60"}),
            (
                {"configurationKey": [{"key": "A", "value": "1"}, {"key": "AuthorizationKey", "value": "s"}]},
                {"configurationKey": [{"key": "A", "value": "1"}, {"key": "AuthorizationKey", "value": "***"}]},
            ),
            ({"configurationKey": [{"key": "AuthorizationKey"}, 7]},) * 2,
            ('[2,"1","ChangeConfiguration",{"key":"AuthorizationKey"', "***"),
            ("half a frame", "half a frame"),
            ([1, 2], [1, 2]),
            (None, None),
        ],
    )  # fmt: skip
    def test_secret_values_are_replaced_and_nothing_else(self, payload: Any, expected: Any) -> None:
        assert masked("ChangeConfiguration", payload) == expected


class TestExpiry:
    def test_sweep_expires_what_is_over_and_leaves_the_rest(self, charge_point: ChargePoint) -> None:
        short = commands.enqueue(charge_point, "ClearCache", {}, "tester", time_to_live_seconds=5)
        long = commands.enqueue(charge_point, "ClearCache", {}, "tester", time_to_live_seconds=50)
        assert commands.expire_all(datetime.now(UTC) + timedelta(seconds=10)) == 1
        statuses = dict(Command.objects.values_list("pk", "status"))
        assert statuses == {short.pk: "expired", long.pk: "queued"}

    def test_sweep_of_the_platform_covers_every_tenant(self, charge_point: ChargePoint, tenants: Tenants) -> None:
        commands.enqueue(charge_point, "Reset", {"type": "Soft"}, "tester")
        as_tenant(
            tenants.tenant_b,
            lambda: commands.enqueue(new_charge_point("CP-1"), "Reset", {"type": "Soft"}, "tester"),
        )
        with platform_scope():
            assert commands.expire_all(datetime.now(UTC) + timedelta(minutes=6)) == 2

    def test_sent_command_is_not_expired(self, charge_point: ChargePoint) -> None:
        command = commands.enqueue(charge_point, "Reset", {"type": "Soft"}, "tester")
        commands.take_next(charge_point, datetime.now(UTC), generation=1, message_id="m")
        assert commands.expire_all(command.expires_at + timedelta(days=1)) == 0


class TestBatch:
    def test_same_request_goes_to_every_charge_point_that_is_not_disabled(self) -> None:
        chosen = [new_charge_point("A"), new_charge_point("B"), new_charge_point("C", disabled=True)]
        batch = commands.enqueue_many(chosen, "Reset", {"type": "Soft"}, "tester", reason="night")
        found = batch.commands.order_by("charge_point__identity")
        assert [(c.charge_point.identity, c.action, c.payload, c.reason, c.status) for c in found] == [
            ("A", "Reset", {"type": "Soft"}, "night", "queued"), ("B", "Reset", {"type": "Soft"}, "night", "queued"),
        ]  # fmt: skip

    def test_invalid_request_makes_neither_batch_nor_commands(self) -> None:
        with pytest.raises(CommandRefused):
            commands.enqueue_many([new_charge_point()], "Reset", {}, "tester")
        assert not Command.objects.exists()
        assert not CommandBatch.objects.exists()

    def test_number_of_queries_does_not_grow_with_the_batch(self) -> None:
        few = [new_charge_point(f"A-{n}") for n in range(2)]
        many = [new_charge_point(f"B-{n}") for n in range(40)]
        counts = []
        for chosen in (few, many):
            with CaptureQueriesContext(connection) as queries:
                commands.enqueue_many(chosen, "ClearCache", {}, "tester")
            counts.append(len(queries))
        assert counts[0] == counts[1]
