"""Checking, mending and building messages."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from ocpp.v16 import call, call_result, datatypes, enums

from csms.ocppj.payloads import (
    FROM_CHARGE_POINT,
    TO_CHARGE_POINT,
    Problem,
    order_call,
    parse_call,
    parse_result,
    result_payload,
    validate_call,
)
from tests.csms.ocppj import messages
from tests.csms.ocppj.messages import TIME, changed, kinds, meter_values, refused, without


class TestActions:
    """OCPP 1.6 edition 2 sections 4 and 5; security whitepaper edition 3."""

    def test_fourteen_from_the_charge_point_and_twenty_six_to_it(self) -> None:
        assert frozenset(messages.FROM_CHARGE_POINT) == FROM_CHARGE_POINT
        assert frozenset(messages.TO_CHARGE_POINT) == TO_CHARGE_POINT
        assert (len(FROM_CHARGE_POINT), len(TO_CHARGE_POINT)) == (14, 26)
        assert FROM_CHARGE_POINT & TO_CHARGE_POINT == {"DataTransfer"}

    def test_together_they_are_the_actions_of_the_ocpp_package(self) -> None:
        assert {action.value for action in enums.Action} == FROM_CHARGE_POINT | TO_CHARGE_POINT

    @pytest.mark.parametrize("action", ["Nonsense", "heartbeat", "", "NotifyReport", "GetInstalledCertificates"])
    def test_unknown_action_is_not_implemented(self, action: str) -> None:
        assert refused(action, {}).code == "NotImplemented"

    @pytest.mark.parametrize("action", sorted(TO_CHARGE_POINT - FROM_CHARGE_POINT))
    def test_action_of_the_central_system_is_not_supported(self, action: str) -> None:
        assert refused(action, messages.TO_CHARGE_POINT[action]).code == "NotSupported"


class TestValidRequests:
    """OCPP 1.6 section 6: what follows the schema is built as it is, without deviations."""

    @pytest.mark.parametrize("strict", [False, True])
    @pytest.mark.parametrize("action", sorted(FROM_CHARGE_POINT))
    def test_full_payload(self, action: str, strict: bool) -> None:
        payload = messages.FROM_CHARGE_POINT[action]
        before = copy.deepcopy(payload)
        req, deviations = parse_call(action, payload, strict=strict)
        assert type(req) is vars(call)[action]
        assert deviations == []
        assert payload == before
        values = [value for value in dataclasses.asdict(req).values() if value is not None]
        assert sorted(values, key=str) == sorted(payload.values(), key=str)

    def test_fields_are_snake_case_and_nested_json_is_untouched(self) -> None:
        payload = messages.FROM_CHARGE_POINT["MeterValues"]
        req, _ = parse_call("MeterValues", payload)
        assert (req.connector_id, req.transaction_id) == (1, 7)
        assert req.meter_value is payload["meterValue"]

    def test_enumerations_equal_those_of_the_ocpp_package(self) -> None:
        req, _ = parse_call("StatusNotification", changed("StatusNotification", status="SuspendedEVSE"))
        assert req.status == enums.ChargePointStatus.suspended_evse

    @pytest.mark.parametrize(
        ("action", "optional"),
        [
            (
                "BootNotification",
                set(messages.FROM_CHARGE_POINT["BootNotification"]) - {"chargePointVendor", "chargePointModel"},
            ),
            ("DataTransfer", {"messageId", "data"}),
            ("LogStatusNotification", {"requestId"}),
            ("MeterValues", {"transactionId"}),
            ("SecurityEventNotification", {"techInfo"}),
            ("SignedFirmwareStatusNotification", {"requestId"}),
            ("StartTransaction", {"reservationId"}),
            ("StatusNotification", {"info", "timestamp", "vendorId", "vendorErrorCode"}),
            ("StopTransaction", {"idTag", "reason", "transactionData"}),
        ],
    )
    def test_absent_optionals_are_none(self, action: str, optional: set[str]) -> None:
        req, deviations = parse_call(action, without(action, *optional), strict=True)
        assert deviations == []
        assert list(dataclasses.asdict(req).values()).count(None) == len(optional)

    @pytest.mark.parametrize("unit", ["Celsius", "Celcius"])
    def test_both_spellings_of_celsius_are_right(self, unit: str) -> None:
        assert parse_call("MeterValues", meter_values(unit=unit), strict=True)[1] == []

    def test_connector_0_is_the_main_meter(self) -> None:
        assert parse_call("MeterValues", {**meter_values(), "connectorId": 0}, strict=True)[1] == []


class TestResults:
    """OCPP-J 1.6 section 4.2.2: a confirmation is used as far as it goes; nothing is answered to it."""

    @pytest.mark.parametrize("action", sorted(messages.RESULTS))
    def test_full_payload(self, action: str) -> None:
        payload = messages.RESULTS[action]
        conf, deviations = parse_result(action, payload)
        assert type(conf) is vars(call_result)[action]
        assert deviations == []

    @pytest.mark.parametrize(
        ("action", "payload", "field", "value", "deviation"),
        [
            ("Reset", {"status": "accepted"}, "status", "Accepted", ("/status", "enum_case")),
            ("Reset", {"status": "Scheduled"}, "status", "Scheduled", ("/status", "unknown_value")),
            ("Reset", {"status": "accept"}, "status", "Accepted", ("/status", "enum_alias")),
            ("SendLocalList", {"status": "Version_Mismatch"}, "status", "VersionMismatch", ("/status", "enum_alias")),
            ("UnlockConnector", {"status": "unlock failed"}, "status", "UnlockFailed", ("/status", "enum_alias")),
            ("DataTransfer", {"status": "Accepted", "data": {"a": 1}}, "data", '{"a":1}', ("/data", "json_as_text")),
            ("Reset", {"status": "Accepted", "extra": 1}, "status", "Accepted", ("/extra", "extra_member")),
            ("GetLocalListVersion", {"listVersion": "12"}, "list_version", 12, ("/listVersion", "text_as_number")),
            ("GetDiagnostics", {"fileName": "x" * 300}, "file_name", "x" * 300, ("/fileName", "too_long")),
            ("GetDiagnostics", {"fileName": None}, "file_name", None, ("/fileName", "null_member")),
            ("GetDiagnostics", {"fileName": {}}, "file_name", None, ("/fileName", "unusable_dropped")),
            ("GetConfiguration", {"unknownKey": "A"}, "unknown_key", ["A"], ("/unknownKey", "single_for_list")),
            ("GetConfiguration", {"unknownKey": None}, "unknown_key", None, ("/unknownKey", "null_member")),
            (
                "GetInstalledCertificateIds",
                {"status": "NotFound", "certificateHashData": []},
                "certificate_hash_data",
                [],
                ("/certificateHashData", "empty_list"),
            ),
        ],
    )
    def test_deviations(self, action: str, payload: Any, field: str, value: Any, deviation: tuple[str, str]) -> None:
        conf, deviations = parse_result(action, payload)
        assert getattr(conf, field) == value
        assert kinds(deviations) == [deviation]

    @pytest.mark.parametrize(
        ("entry", "mended", "kind"),
        [
            (
                {"key": "A", "readonly": "True", "value": "1"},
                {"key": "A", "readonly": True, "value": "1"},
                "text_as_boolean",
            ),
            (
                {"key": "A", "readonly": False, "value": 5},
                {"key": "A", "readonly": False, "value": "5"},
                "number_as_text",
            ),
            (
                {"key": "A", "readonly": False, "value": True},
                {"key": "A", "readonly": False, "value": "true"},
                "boolean_as_text",
            ),
            ({"key": "A", "readonly": False, "value": None}, {"key": "A", "readonly": False}, "null_member"),
            *(
                ({"key": "A", "readonly": sent, "value": "1"}, {"key": "A", "readonly": meant, "value": "1"}, kind)
                for sent, meant, kind in (
                    (1, True, "number_as_boolean"),
                    (0, False, "number_as_boolean"),
                    (1.0, True, "number_as_boolean"),
                    ("1", True, "text_as_boolean"),
                    ("0", False, "text_as_boolean"),
                    (" TRUE ", True, "text_as_boolean"),
                    (None, None, "missing_member"),
                    (5, None, "unusable_dropped"),
                    ("yes", None, "unusable_dropped"),
                    ("no", None, "unusable_dropped"),
                    ("", None, "unusable_dropped"),
                    ({}, None, "unusable_dropped"),
                )
            ),
            ({"key": "A", "value": "1"}, {"key": "A", "readonly": None, "value": "1"}, "missing_member"),
            (
                {"key": "A", "readonly": True, "value": "x" * 501},
                {"key": "A", "readonly": True, "value": "x" * 501},
                "too_long",
            ),
        ],
    )
    def test_configuration_key(self, entry: dict[str, Any], mended: dict[str, Any], kind: str) -> None:
        conf, deviations = parse_result("GetConfiguration", {"configurationKey": [entry]})
        assert conf.configuration_key == [mended]
        assert [deviation.kind for deviation in deviations] == [kind]

    def test_configuration_key_without_key_is_dropped(self) -> None:
        payload = {"configurationKey": [{"readonly": True}, {"key": "A", "readonly": True}]}
        conf, deviations = parse_result("GetConfiguration", payload)
        assert conf.configuration_key == [{"key": "A", "readonly": True}]
        assert kinds(deviations) == [("/configurationKey/0/key", "unusable_dropped")]

    def test_composite_schedule_with_binary_noise(self) -> None:
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.000000000000001}]}
        conf, deviations = parse_result("GetCompositeSchedule", {"status": "Accepted", "chargingSchedule": schedule})
        assert conf.charging_schedule == schedule
        assert kinds(deviations) == [("/chargingSchedule/chargingSchedulePeriod/0/limit", "too_many_decimals")]

    @pytest.mark.parametrize(
        ("action", "payload", "deviation"),
        [
            ("Reset", {}, ("/status", "missing_member")),
            ("Reset", {"status": None}, ("/status", "missing_member")),
            ("Reset", {"status": {}}, ("/status", "wrong_type")),
            ("Reset", [], ("", "wrong_type")),
            ("Reset", "Accepted", ("", "wrong_type")),
            ("Nonsense", {}, ("", "unknown_action")),
        ],
    )
    def test_unusable_result_is_none(self, action: str, payload: Any, deviation: tuple[str, str]) -> None:
        conf, deviations = parse_result(action, payload)
        assert conf is None
        assert kinds(deviations) == [deviation]


class TestValidateCall:
    """OCPP 1.6 section 6 and 7: what we send follows the schema to the letter."""

    @pytest.mark.parametrize("action", sorted(TO_CHARGE_POINT))
    def test_full_payload_has_no_problem(self, action: str) -> None:
        payload = messages.TO_CHARGE_POINT[action]
        before = copy.deepcopy(payload)
        assert validate_call(action, payload) == []
        assert payload == before

    @pytest.mark.parametrize(
        ("action", "payload", "problem"),
        [
            ("Reset", {}, ("/type", "ProtocolError")),
            ("Reset", {"type": "hard"}, ("/type", "PropertyConstraintViolation")),
            ("Reset", {"type": None}, ("/type", "TypeConstraintViolation")),
            ("Reset", {"type": "Hard", "force": True}, ("/force", "FormationViolation")),
            ("Reset", [], ("", "FormationViolation")),
            ("UnlockConnector", {"connectorId": "1"}, ("/connectorId", "TypeConstraintViolation")),
            ("UnlockConnector", {"connectorId": True}, ("/connectorId", "TypeConstraintViolation")),
            ("UnlockConnector", {"connectorId": 1.0}, ("/connectorId", "TypeConstraintViolation")),
            ("UnlockConnector", {"connectorId": 0}, ("/connectorId", "PropertyConstraintViolation")),
            ("UnlockConnector", {"connectorId": 2**31}, ("/connectorId", "PropertyConstraintViolation")),
            (
                "RemoteStartTransaction",
                {"idTag": "A", "connectorId": 0},
                ("/connectorId", "PropertyConstraintViolation"),
            ),
            ("RemoteStartTransaction", {"idTag": "x" * 21}, ("/idTag", "PropertyConstraintViolation")),
            (
                "TriggerMessage",
                {"requestedMessage": "SignChargePointCertificate"},
                ("/requestedMessage", "PropertyConstraintViolation"),
            ),
            (
                "RemoteStopTransaction",
                {"transactionId": -(2**31) - 1},
                ("/transactionId", "PropertyConstraintViolation"),
            ),
            ("ChangeConfiguration", {"key": "A", "value": 5}, ("/value", "TypeConstraintViolation")),
            ("ChangeConfiguration", {"key": "A", "value": "x" * 501}, ("/value", "PropertyConstraintViolation")),
            ("ChangeConfiguration", {"key": "A", "value": "a\x00"}, ("/value", "PropertyConstraintViolation")),
            ("ChangeConfiguration", {"key": "A", "value": "\ud800"}, ("/value", "PropertyConstraintViolation")),
            ("GetConfiguration", {"key": "A"}, ("/key", "TypeConstraintViolation")),
            ("GetConfiguration", {"key": ["A", 5]}, ("/key/1", "TypeConstraintViolation")),
            ("GetDiagnostics", {"location": "no location"}, ("/location", "PropertyConstraintViolation")),
            ("GetDiagnostics", {"location": "ftp://h/", "retries": "3"}, ("/retries", "TypeConstraintViolation")),
            (
                "GetDiagnostics",
                {"location": "ftp://h/", "retryInterval": 1.0},
                ("/retryInterval", "TypeConstraintViolation"),
            ),
            (
                "GetDiagnostics",
                {"location": "ftp://h/", "startTime": "2024-05-01T12:00:00"},
                ("/startTime", "PropertyConstraintViolation"),
            ),
            (
                "UpdateFirmware",
                {"location": "ftp://h/f", "retrieveDate": "now"},
                ("/retrieveDate", "PropertyConstraintViolation"),
            ),
            (
                "SendLocalList",
                {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [{"idTag": "A", "idTagInfo": {}}]},
                ("/localAuthorizationList/0/idTagInfo/status", "ProtocolError"),
            ),
            (
                "GetLog",
                {"log": {"remoteLocation": "x" * 513}, "logType": "SecurityLog", "requestId": 1},
                ("/log/remoteLocation", "PropertyConstraintViolation"),
            ),
            ("DataTransfer", {"vendorId": "x" * 256}, ("/vendorId", "PropertyConstraintViolation")),
            ("BootNotification", {}, ("", "NotSupported")),
            ("Nonsense", {}, ("", "NotImplemented")),
        ],
    )
    def test_problem(self, action: str, payload: Any, problem: tuple[str, str]) -> None:
        assert [(found.pointer, found.code) for found in validate_call(action, payload)] == [problem]

    def test_all_problems_are_reported(self) -> None:
        assert validate_call("ReserveNow", {"connectorId": "0", "idTag": "x" * 21, "extra": 1}) == [
            Problem("/expiryDate", "is missing", "ProtocolError"),
            Problem("/reservationId", "is missing", "ProtocolError"),
            Problem("/connectorId", "is a text, not an integer", "TypeConstraintViolation"),
            Problem("/idTag", "is longer than 20 characters", "PropertyConstraintViolation"),
            Problem("/extra", "is not a member of this message", "FormationViolation"),
        ]

    def test_problem_does_not_repeat_the_value(self) -> None:
        payload = {"key": "AuthorizationKey", "value": "secret" * 100}
        assert "secret" not in str(validate_call("ChangeConfiguration", payload))

    @pytest.mark.parametrize("limit", [0, 6, 6.0, 16.3, 0.1, 0.7, 1.1, 32.4, 3276.7, 22000.9, 1e6, 1e22])
    def test_limit_with_one_decimal(self, limit: float) -> None:
        assert validate_call("SetChargingProfile", self.profile(limit)) == []

    @pytest.mark.parametrize("limit", [6.25, 0.1 + 0.2, 6.000000000000001, 1e-7, 16.299999999999997])
    def test_limit_with_more_decimals(self, limit: float) -> None:
        place = "/csChargingProfiles/chargingSchedule"
        assert validate_call("SetChargingProfile", self.profile(limit)) == [
            Problem(
                f"{place}/chargingSchedulePeriod/0/limit", "has more than one decimal", "PropertyConstraintViolation"
            ),
            Problem(f"{place}/minChargingRate", "has more than one decimal", "PropertyConstraintViolation"),
        ]

    @pytest.mark.parametrize("limit", ["16", True, float("nan"), float("inf"), {}])
    def test_limit_that_is_no_number(self, limit: Any) -> None:
        codes = [problem.code for problem in validate_call("SetChargingProfile", self.profile(limit))]
        assert codes == ["TypeConstraintViolation", "TypeConstraintViolation"]

    def test_schedule_needs_a_period(self) -> None:
        payload = self.profile(6)
        payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"] = []
        assert [problem.code for problem in validate_call("SetChargingProfile", payload)] == [
            "OccurenceConstraintViolation"
        ]

    @staticmethod
    def profile(limit: Any) -> dict[str, Any]:
        return {
            "connectorId": 1,
            "csChargingProfiles": {
                "chargingProfileId": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxDefaultProfile",
                "chargingProfileKind": "Absolute",
                "chargingSchedule": {
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
                    "minChargingRate": limit,
                },
            },
        }


class TestOrder:
    """OCPP-J 1.6 section 4.2: members in the order of the schema, optional members left out, never null."""

    @pytest.mark.parametrize("action", sorted(TO_CHARGE_POINT))
    def test_members_are_put_in_order(self, action: str) -> None:
        payload = messages.TO_CHARGE_POINT[action]
        assert json.dumps(order_call(action, self.shuffled(payload))) == json.dumps(order_call(action, payload))
        assert order_call(action, self.shuffled(payload)) == payload

    def test_nested_members_too(self) -> None:
        payload = {"csChargingProfiles": self.shuffled(messages.PROFILE), "connectorId": 1}
        assert list(order_call("SetChargingProfile", payload)) == ["connectorId", "csChargingProfiles"]
        assert json.dumps(order_call("SetChargingProfile", payload)["csChargingProfiles"]) == json.dumps(
            messages.PROFILE
        )

    def test_values_are_untouched(self) -> None:
        payload = TestValidateCall.profile(6.0)
        assert '"limit": 6.0' in json.dumps(order_call("SetChargingProfile", payload))

    def test_none_is_dropped_at_every_level(self) -> None:
        payload = {
            "updateType": "Full",
            "listVersion": 1,
            "localAuthorizationList": [{"idTag": "A", "idTagInfo": None}],
        }
        assert order_call("SendLocalList", payload) == {
            "listVersion": 1,
            "localAuthorizationList": [{"idTag": "A"}],
            "updateType": "Full",
        }

    def test_unknown_members_come_last(self) -> None:
        assert list(order_call("ChangeConfiguration", {"z": {"b": 1}, "value": "1", "key": "A"})) == [
            "key",
            "value",
            "z",
        ]

    def test_unknown_action_is_left_alone(self) -> None:
        assert order_call("Nonsense", {"b": 1, "a": None}) == {"b": 1}

    @classmethod
    def shuffled(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cls.shuffled(value[name]) for name in reversed(value)}
        if isinstance(value, list):
            return [cls.shuffled(element) for element in value]
        return value


class TestResultPayload:
    """OCPP 1.6 section 6: our confirmations on the wire."""

    @pytest.mark.parametrize("action", sorted(messages.RESULTS))
    def test_is_the_inverse_of_parse_result(self, action: str) -> None:
        payload = messages.RESULTS[action]
        conf, _ = parse_result(action, TestOrder.shuffled(payload))
        assert json.dumps(result_payload(conf)) == json.dumps(payload)

    def test_enumerations_of_the_ocpp_package_are_plain_texts_on_the_wire(self) -> None:
        conf = call_result.BootNotification(current_time=TIME, interval=300, status=enums.RegistrationStatus.accepted)
        assert json.dumps(result_payload(conf)) == f'{{"status": "Accepted", "currentTime": "{TIME}", "interval": 300}}'

    def test_none_is_left_out_at_every_level(self) -> None:
        conf = call_result.StartTransaction(
            transaction_id=7, id_tag_info={"parentIdTag": None, "status": "Accepted", "expiryDate": None}
        )
        assert json.dumps(result_payload(conf)) == '{"idTagInfo": {"status": "Accepted"}, "transactionId": 7}'
        assert result_payload(call_result.StopTransaction()) == {}

    def test_nested_dataclass_is_converted(self) -> None:
        info = datatypes.IdTagInfo(status=enums.AuthorizationStatus.accepted, parent_id_tag="GROUP")
        assert result_payload(call_result.Authorize(id_tag_info=info)) == {
            "idTagInfo": {"parentIdTag": "GROUP", "status": "Accepted"}
        }

    @pytest.mark.parametrize("conf", [None, {}, call.Heartbeat(), object()])
    def test_anything_else_is_a_mistake(self, conf: Any) -> None:
        with pytest.raises(TypeError):
            result_payload(conf)
