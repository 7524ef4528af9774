"""The schemas after correction, against the message table and the dataclasses they are built into."""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import Any

import pytest
from ocpp.v16 import call, call_result

from csms.ocppj.schemas import request_schema, result_schema
from tests.csms.ocppj import messages

REQUESTS = {**messages.FROM_CHARGE_POINT, **messages.TO_CHARGE_POINT}


def snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


class TestMembers:
    """OCPP 1.6 section 6: the members of schema, dataclass and our example are the same."""

    @pytest.mark.parametrize("action", sorted(REQUESTS))
    def test_requests(self, action: str) -> None:
        members = set(request_schema(action).shape.members)
        assert members == set(REQUESTS[action])
        assert {snake_case(name) for name in members} == {f.name for f in dataclasses.fields(vars(call)[action])}

    @pytest.mark.parametrize("action", sorted(messages.RESULTS))
    def test_confirmations(self, action: str) -> None:
        members = set(result_schema(action).shape.members)
        assert members == set(messages.RESULTS[action])
        assert {snake_case(name) for name in members} == {f.name for f in dataclasses.fields(vars(call_result)[action])}


class TestCorrections:
    """OCPP 1.6 section 6 and 7, OCPP-J errata 2: what the published schemas get wrong or cannot say."""

    @pytest.mark.parametrize(
        ("action", "members", "valid"),
        [
            ("StopTransaction", {"reason": ...}, True),
            ("GetDiagnostics", {"retries": 3.5}, False),
            ("GetDiagnostics", {"retryInterval": "60"}, False),
            ("GetLog", {"retries": 3.0}, False),
            ("UpdateFirmware", {"retryInterval": 60}, True),
            ("SendLocalList", {"localAuthorizationList": [{"idTag": "A"}]}, True),
            ("SendLocalList", {"localAuthorizationList": []}, True),
            ("SendLocalList", {"localAuthorizationList": [{"idTag": "A", "extra": 1}]}, False),
            ("LogStatusNotification", {"requestId": ...}, True),
            ("StartTransaction", {"connectorId": 0}, False),
            ("StartTransaction", {"connectorId": 1}, True),
            ("UnlockConnector", {"connectorId": 0}, False),
            ("TriggerMessage", {"connectorId": 0}, True),
            ("TriggerMessage", {"connectorId": -1}, False),
            ("ExtendedTriggerMessage", {"connectorId": 0}, True),
            ("ExtendedTriggerMessage", {"connectorId": -1}, False),
            ("RemoteStartTransaction", {"connectorId": 0}, False),
            ("ReserveNow", {"connectorId": 0}, True),
            ("MeterValues", {"connectorId": 0}, True),
            ("MeterValues", {"connectorId": -1}, False),
            ("ClearChargingProfile", {"stackLevel": -1}, False),
            ("RemoteStopTransaction", {"transactionId": -1}, True),
            ("RemoteStopTransaction", {"transactionId": 2**31 - 1}, True),
            ("RemoteStopTransaction", {"transactionId": 2**31}, False),
            ("RemoteStopTransaction", {"transactionId": -(2**31) - 1}, False),
            ("StopTransaction", {"transactionData": []}, True),
            ("StopTransaction", {"transactionData": [{"timestamp": messages.TIME, "sampledValue": []}]}, False),
        ],
    )
    def test_request(self, action: str, members: dict[str, Any], valid: bool) -> None:
        payload = copy.deepcopy(REQUESTS[action]) | members
        payload = {name: value for name, value in payload.items() if value is not ...}
        assert request_schema(action).is_valid(payload) is valid

    @pytest.mark.parametrize("action", ["MeterValues", "StopTransaction"])
    @pytest.mark.parametrize(
        ("unit", "valid"), [("Celcius", True), ("Celsius", True), ("Percent", True), ("Hertz", False), ("C", False)]
    )
    def test_units_are_those_of_the_table_in_both_messages(self, action: str, unit: str, valid: bool) -> None:
        name = "meterValue" if action == "MeterValues" else "transactionData"
        meter_value = {"timestamp": messages.TIME, "sampledValue": [{"value": "1", "unit": unit}]}
        assert request_schema(action).is_valid({**REQUESTS[action], name: [meter_value]}) is valid
