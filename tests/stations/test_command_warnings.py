"""What is unwise about a request of ours is said, and never a reason not to send it (conformance 2, rule 5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stations import commands
from stations.models import ChargePoint, Connector
from tenants.models import Tenant
from tests.stations.rows import new_charge_point, new_id_tag, start, stop

pytestmark = pytest.mark.usefixtures("in_tenant_a")

REQUESTS: dict[str, dict[str, Any]] = {
    "ClearCache": {},
    "RemoteStartTransaction": {"idTag": "TAG-1"},
    "RemoteStopTransaction": {"transactionId": 1},
}


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


class TestWarnings:
    def codes(self, charge_point: ChargePoint, action: str, payload: dict[str, Any]) -> list[str]:
        command = commands.enqueue(charge_point, action, payload, "tester")
        return [warning["code"] for warning in command.warnings]

    def test_connector_never_reported_is_a_warning_only(self, charge_point: ChargePoint) -> None:
        Connector.objects.create(charge_point=charge_point, connector_id=1)
        assert self.codes(charge_point, "UnlockConnector", {"connectorId": 7}) == ["unknown_connector"]
        assert self.codes(charge_point, "UnlockConnector", {"connectorId": 1}) == []
        assert self.codes(charge_point, "ChangeAvailability", {"connectorId": 0, "type": "Operative"}) == []

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            (None, ["id_tag_not_accepted"]),
            ({"blocked": True}, ["id_tag_blocked"]),
            ({"expiry_date": datetime(2020, 1, 1, tzinfo=UTC)}, ["id_tag_expired"]),
            ({}, []),
        ],
    )
    def test_remote_start_for_a_card_that_will_be_refused(
        self, charge_point: ChargePoint, fields: dict[str, Any] | None, expected: list[str]
    ) -> None:
        if fields is not None:
            new_id_tag(**fields)
        assert self.codes(charge_point, "RemoteStartTransaction", {"idTag": "TAG-1"}) == expected

    @pytest.mark.parametrize("action", ["TriggerMessage", "ExtendedTriggerMessage"])
    def test_trigger_for_connector_0_is_sent_with_a_warning(self, charge_point: ChargePoint, action: str) -> None:
        payload = {"requestedMessage": "StatusNotification", "connectorId": 0}
        assert self.codes(charge_point, action, payload) == ["connector_zero"]

    def test_transaction_that_is_not_running_here_is_a_warning_only(self, charge_point: ChargePoint) -> None:
        new_id_tag()
        opened = start(charge_point).transaction_id
        elsewhere = start(new_charge_point("CP-2")).transaction_id
        assert self.codes(charge_point, "RemoteStopTransaction", {"transactionId": opened}) == []
        assert self.codes(charge_point, "RemoteStopTransaction", {"transactionId": -1}) == ["unknown_transaction"]
        assert self.codes(charge_point, "RemoteStopTransaction", {"transactionId": elsewhere}) == [
            "unknown_transaction"
        ]
        stop(charge_point, opened)
        assert self.codes(charge_point, "RemoteStopTransaction", {"transactionId": opened}) == ["transaction_ended"]

    @pytest.mark.parametrize(
        ("fields", "action", "expected"),
        [
            ({"connected": False}, "ClearCache", ["charge_point_offline"]),
            ({"registration_status": "Rejected"}, "ClearCache", ["charge_point_rejected"]),
            ({"registration_status": "Pending"}, "ClearCache", []),
            ({"registration_status": "Pending"}, "RemoteStartTransaction", ["charge_point_pending"]),
            (
                {"registration_status": "Pending"}, "RemoteStopTransaction",
                ["unknown_transaction", "charge_point_pending"],
            ),
        ],
    )  # fmt: skip
    def test_what_keeps_a_command_waiting_is_said(
        self, fields: dict[str, Any], action: str, expected: list[str]
    ) -> None:
        new_id_tag()
        assert self.codes(new_charge_point(**fields), action, REQUESTS[action]) == expected
