"""What dispatch writes beside the answer: the message log with secrets masked, deviations noted once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from csms.ocppj.tolerance import Deviation
from stations.dispatch import Link, LogEntry
from stations.models import ChargePoint, OcppMessage
from stations.models.message import MessageType
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.lane_calls import inbound, messages, meter_values, new_link, results


@pytest.fixture
def link(tenants: Tenants) -> Link:
    return new_link(tenants.tenant_a)


class TestDeviations:
    def test_each_kind_is_noted_once(self, link: Link) -> None:
        number = meter_values("1")
        number["meterValue"][0]["sampledValue"][0]["value"] = 1.5
        results(inbound(link, "MeterValues", number, "m-1"))
        with tenant_scope(link.tenant_id):
            first = ChargePoint.objects.get().deviations
        results(inbound(link, "MeterValues", number, "m-2"))
        with tenant_scope(link.tenant_id):
            assert ChargePoint.objects.get().deviations == first
        assert list(first) == ["MeterValues:number_as_text"]
        assert first["MeterValues:number_as_text"]["pointer"] == "/meterValue/0/sampledValue/0/value"

    def test_charge_point_that_babbles_does_not_grow_its_row_without_end(self, link: Link) -> None:
        call = inbound(link, "Heartbeat")
        call.deviations = [Deviation("/x" * 500, f"kind-{n}", "d" * 9000) for n in range(200)]
        results(call)
        with tenant_scope(link.tenant_id):
            deviations = ChargePoint.objects.get().deviations
        assert len(deviations) == 50
        assert len(json.dumps(deviations)) < 50 * 1000


class TestMessageLog:
    def test_call_and_answer_are_two_rows_with_the_payload_as_sent(self, link: Link) -> None:
        call = inbound(link, "Authorize", {"idTag": "NOBODY"}, "m-77")
        results(call)
        assert messages(link) == [
            ("in", "CALL", "Authorize", {"idTag": "NOBODY"}, ""),
            ("out", "CALLRESULT", "Authorize", {"idTagInfo": {"status": "Invalid"}}, ""),
        ]
        with tenant_scope(link.tenant_id):
            received, answered = OcppMessage.objects.order_by("id")
        assert {received.message_id, answered.message_id} == {"m-77"}
        assert (received.received_at, received.latency_ms) == (call.received_at, None)
        assert answered.latency_ms is not None
        assert 0 <= answered.latency_ms < 60_000

    def test_frames_without_a_call_are_kept_too(self, link: Link) -> None:
        now = datetime.now(UTC)
        results(
            LogEntry(link, True, MessageType.OTHER, "", "", "not JSON at all", now, error="not JSON"),
            LogEntry(link, True, MessageType.CALLRESULT, "Reset", "m", {"status": "Accepted"}, now, latency_ms=12.5),
        )
        assert messages(link) == [
            ("in", "OTHER", "", "not JSON at all", "not JSON"),
            ("in", "CALLRESULT", "Reset", {"status": "Accepted"}, ""),
        ]

    def test_secrets_are_masked_before_they_are_written(self, link: Link) -> None:
        now, secret = datetime.now(UTC), "00112233445566778899AABBCCDDEEFF"
        change = {"key": "AuthorizationKey", "value": secret}
        reported = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": secret}]}
        broken = f'[2,"1","ChangeConfiguration",{{"key":"AuthorizationKey","value":"{secret}"'
        results(
            LogEntry(link, False, MessageType.CALL, "ChangeConfiguration", "m", change, now),
            LogEntry(link, True, MessageType.CALLRESULT, "GetConfiguration", "m", reported, now),
            LogEntry(link, True, MessageType.OTHER, "", "", broken, now),
        )
        # A charge point may put it where it does not belong; extra members are tolerated, and logged.
        results(inbound(link, "DataTransfer", {"vendorId": "x"} | change))
        with tenant_scope(link.tenant_id):
            assert all(secret not in row.payload for row in OcppMessage.objects.all())
            assert OcppMessage.objects.count() == 5

    @pytest.mark.parametrize("payload", [None, 7, ["x"], "text", {"a": 2**70}])
    def test_payload_of_any_kind_can_be_logged(self, link: Link, payload: Any) -> None:
        entry = LogEntry(link, True, MessageType.CALL, "A" * 400, "i" * 400, payload, datetime.now(UTC))
        assert results(entry) == [None]
        ((_, _, action, _, _),) = messages(link)
        assert action == "A" * 255
