"""Payloads that break their schema: refused with the right code, or mended with a trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from csms.ocppj.payloads import Deviation, parse_call
from tests.csms.ocppj.messages import TIME, changed, kinds, meter_values, refused, without

HUGE = 9223372036854775807


class TestRefusals:
    """OCPP-J 1.6 section 4.2.3: the errorCode for each kind of bad payload; the description starts with a pointer."""

    @pytest.mark.parametrize("payload", [[], "text", 5, True, None])
    def test_payload_that_is_no_object(self, payload: Any) -> None:
        assert refused("Heartbeat", payload).code == "FormationViolation"

    @pytest.mark.parametrize(
        ("action", "name"),
        [
            ("Authorize", "idTag"),
            ("BootNotification", "chargePointVendor"),
            ("BootNotification", "chargePointModel"),
            ("DataTransfer", "vendorId"),
            ("DiagnosticsStatusNotification", "status"),
            ("FirmwareStatusNotification", "status"),
            ("LogStatusNotification", "status"),
            ("MeterValues", "connectorId"),
            ("MeterValues", "meterValue"),
            ("SecurityEventNotification", "type"),
            ("SecurityEventNotification", "timestamp"),
            ("SignCertificate", "csr"),
            ("SignedFirmwareStatusNotification", "status"),
            ("StartTransaction", "connectorId"),
            ("StartTransaction", "idTag"),
            ("StartTransaction", "meterStart"),
            ("StartTransaction", "timestamp"),
            ("StatusNotification", "connectorId"),
            ("StatusNotification", "errorCode"),
            ("StatusNotification", "status"),
            ("StopTransaction", "meterStop"),
            ("StopTransaction", "timestamp"),
            ("StopTransaction", "transactionId"),
        ],
    )
    def test_missing_member_is_protocol_error(self, action: str, name: str) -> None:
        for payload in (without(action, name), changed(action, **{name: None})):
            error = refused(action, payload)
            assert (error.code, error.description) == ("ProtocolError", f"/{name} is missing")

    @pytest.mark.parametrize(
        ("action", "name", "value"),
        [
            ("Authorize", "idTag", {}),
            ("Authorize", "idTag", ["04A1B2C3"]),
            ("Authorize", "idTag", True),
            ("StatusNotification", "connectorId", "one"),
            ("StatusNotification", "connectorId", ""),
            ("StatusNotification", "connectorId", True),
            ("StatusNotification", "connectorId", 1.5),
            ("StatusNotification", "connectorId", {}),
            ("StatusNotification", "connectorId", "1e999999999"),
            ("StartTransaction", "connectorId", "one"),
            ("StartTransaction", "connectorId", True),
            ("StartTransaction", "idTag", {}),
            ("StartTransaction", "meterStart", "lots"),
            ("StopTransaction", "transactionId", []),
            ("MeterValues", "meterValue", "none"),
            ("MeterValues", "meterValue", 5),
            ("MeterValues", "connectorId", {}),
        ],
    )
    def test_wrong_type_is_type_constraint_violation(self, action: str, name: str, value: Any) -> None:
        error = refused(action, changed(action, **{name: value}))
        assert error.code == "TypeConstraintViolation"
        assert error.description.startswith(f"/{name} ")

    @pytest.mark.parametrize(
        ("action", "name", "value"),
        [
            ("Authorize", "idTag", "x" * 21),
            ("SignCertificate", "csr", "x" * 5501),
            ("StatusNotification", "connectorId", -1),
            ("StatusNotification", "connectorId", 2**31),
        ],
    )
    def test_bad_value_is_property_constraint_violation(self, action: str, name: str, value: Any) -> None:
        error = refused(action, changed(action, **{name: value}))
        assert error.code == "PropertyConstraintViolation"
        assert error.description.startswith(f"/{name} ")

    def test_description_does_not_repeat_the_value(self) -> None:
        assert "secret" not in refused("Authorize", {"idTag": "secret" * 10}).description


class TestTolerances:
    """OCPP 1.6 section 7 is loosened where the meaning is plain; each tolerance leaves a trace with a stable kind."""

    @pytest.mark.parametrize(
        ("action", "members", "field", "value", "deviation"),
        [
            ("StatusNotification", {"connectorId": "1"}, "connector_id", 1, ("/connectorId", "text_as_number")),
            ("StatusNotification", {"connectorId": " 1.0 "}, "connector_id", 1, ("/connectorId", "text_as_number")),
            ("StatusNotification", {"connectorId": 1.0}, "connector_id", 1, ("/connectorId", "float_as_integer")),
            ("Authorize", {"idTag": 4711}, "id_tag", "4711", ("/idTag", "number_as_text")),
            (
                "BootNotification",
                {"firmwareVersion": 1.5},
                "firmware_version",
                "1.5",
                ("/firmwareVersion", "number_as_text"),
            ),
            ("BootNotification", {"iccid": 1e19}, "iccid", "10000000000000000000", ("/iccid", "number_as_text")),
            ("BootNotification", {"iccid": None}, "iccid", None, ("/iccid", "null_member")),
            (
                "BootNotification",
                {"chargePointVendor": "x" * 21},
                "charge_point_vendor",
                "x" * 21,
                ("/chargePointVendor", "too_long"),
            ),
            (
                "BootNotification",
                {"chargePointSerialNumber": "x" * 26},
                "charge_point_serial_number",
                "x" * 26,
                ("/chargePointSerialNumber", "too_long"),
            ),
            ("StatusNotification", {"info": "x" * 51}, "info", "x" * 51, ("/info", "too_long")),
            (
                "StatusNotification",
                {"vendorErrorCode": "x" * 51},
                "vendor_error_code",
                "x" * 51,
                ("/vendorErrorCode", "too_long"),
            ),
            ("SecurityEventNotification", {"techInfo": "x" * 256}, "tech_info", "x" * 256, ("/techInfo", "too_long")),
            ("DataTransfer", {"messageId": "x" * 51}, "message_id", "x" * 51, ("/messageId", "too_long")),
            ("StatusNotification", {"status": "available"}, "status", "Available", ("/status", "enum_case")),
            ("StatusNotification", {"status": "SUSPENDEDEVSE"}, "status", "SuspendedEVSE", ("/status", "enum_case")),
            ("StopTransaction", {"reason": "evdisconnected"}, "reason", "EVDisconnected", ("/reason", "enum_case")),
            ("LogStatusNotification", {"status": "UploadFailed"}, "status", "UploadFailure", ("/status", "enum_alias")),
            ("LogStatusNotification", {"requestId": HUGE}, "request_id", HUGE, ("/requestId", "huge_integer")),
            (
                "StatusNotification",
                {"errorCode": "Vendor42"},
                "error_code",
                "Vendor42",
                ("/errorCode", "unknown_value"),
            ),
            ("StopTransaction", {"reason": "Bored"}, "reason", "Bored", ("/reason", "unknown_value")),
            ("StatusNotification", {"timestamp": ""}, "timestamp", "", ("/timestamp", "bad_timestamp")),
            ("StatusNotification", {"timestamp": "soon"}, "timestamp", "soon", ("/timestamp", "bad_timestamp")),
            (
                "StatusNotification",
                {"timestamp": "2024-05-01T12:00:00"},
                "timestamp",
                "2024-05-01T12:00:00",
                ("/timestamp", "timestamp_format"),
            ),
            (
                "StatusNotification",
                {"timestamp": "2024-05-01T12:00:00+02"},
                "timestamp",
                "2024-05-01T12:00:00+02",
                ("/timestamp", "timestamp_format"),
            ),
            ("StatusNotification", {"vendor": {"a": [1]}}, "vendor_id", "com.example", ("/vendor", "extra_member")),
            ("Heartbeat", {"a/b~c": 1}, None, None, ("/a~1b~0c", "extra_member")),
        ],
    )
    def test_is_mended_and_noted(
        self, action: str, members: dict[str, Any], field: str | None, value: Any, deviation: tuple[str, str]
    ) -> None:
        payload = changed(action, **members)
        req, deviations = parse_call(action, payload)
        assert kinds(deviations) == [deviation]
        if field is not None:
            assert getattr(req, field) == value

    @pytest.mark.parametrize(
        ("action", "sent", "meant"),
        [
            ("DiagnosticsStatusNotification", "UploadFailure", "UploadFailed"),
            ("DiagnosticsStatusNotification", "upload_failed", "UploadFailed"),
            ("DiagnosticsStatusNotification", "Failed", "UploadFailed"),
            ("DiagnosticsStatusNotification", "UploadCompleted", "Uploaded"),
            ("LogStatusNotification", "UploadFailed", "UploadFailure"),
            ("LogStatusNotification", "Permission Denied", "PermissionDenied"),
            ("FirmwareStatusNotification", "InstallFailed", "InstallationFailed"),
            ("FirmwareStatusNotification", "DownloadError", "DownloadFailed"),
            ("FirmwareStatusNotification", "INSTALLATION-FAILED", "InstallationFailed"),
            ("SignedFirmwareStatusNotification", "Install_Rebooting", "InstallRebooting"),
            ("SignedFirmwareStatusNotification", "SignatureInvalid", "InvalidSignature"),
            ("StatusNotification", "Suspended_EVSE", "SuspendedEVSE"),
            ("StatusNotification", "Suspended EV", "SuspendedEV"),
            ("StatusNotification", "Fault", "Faulted"),
        ],
    )
    def test_near_word_for_a_state_is_understood(self, action: str, sent: str, meant: str) -> None:
        req, deviations = parse_call(action, changed(action, status=sent))
        assert req.status == meant
        assert kinds(deviations) == [("/status", "enum_alias")]

    @pytest.mark.parametrize(
        ("action", "sent"),
        [
            ("DiagnosticsStatusNotification", "Done"),
            ("DiagnosticsStatusNotification", "Compressing"),
            ("FirmwareStatusNotification", "DownloadPaused"),
            ("FirmwareStatusNotification", "Failed"),
            ("FirmwareStatusNotification", "InstallRebooting"),
            ("SignedFirmwareStatusNotification", "Done"),
            ("LogStatusNotification", "Done"),
            ("StatusNotification", "Occupied"),
            ("StatusNotification", ""),
        ],
    )
    def test_unknown_state_is_kept_as_sent(self, action: str, sent: str) -> None:
        req, deviations = parse_call(action, changed(action, status=sent))
        assert req.status == sent
        assert deviations == [Deviation("/status", "unknown_value", sent)]
        assert refused(action, changed(action, status=sent), strict=True).code == "PropertyConstraintViolation"

    @pytest.mark.parametrize(
        ("data", "text", "kind"),
        [
            ({"vin": "W0", "a": [1, 2.5, None]}, '{"vin":"W0","a":[1,2.5,null]}', "json_as_text"),
            ([], "[]", "json_as_text"),
            (5, "5", "number_as_text"),
            (2.5, "2.5", "number_as_text"),
            (True, "true", "boolean_as_text"),
            ({"n": "a\x00b"}, '{"n":"a\\u0000b"}', "json_as_text"),
            ({"n": 10**30}, '{"n":1000000000000000000000000000000}', "json_as_text"),
        ],
    )
    def test_json_as_data_is_kept_as_its_text(self, data: Any, text: str, kind: str) -> None:
        payload = changed("DataTransfer", data=data)
        req, deviations = parse_call("DataTransfer", payload)
        assert req.data == text
        assert kinds(deviations) == [("/data", kind)]
        assert refused("DataTransfer", payload, strict=True).code == "TypeConstraintViolation"

    def test_unknown_value_is_in_the_deviation_too(self) -> None:
        _, (deviation,) = parse_call("StatusNotification", changed("StatusNotification", errorCode="Vendor42"))
        assert deviation == Deviation("/errorCode", "unknown_value", "Vendor42")

    def test_several_deviations_are_all_noted(self) -> None:
        payload = {"connectorId": "1", "errorCode": "noerror", "status": "Available", "info": None, "x": 1}
        req, deviations = parse_call("StatusNotification", payload)
        assert (req.connector_id, req.error_code, req.info) == (1, "NoError", None)
        assert kinds(deviations) == [
            ("/connectorId", "text_as_number"),
            ("/errorCode", "enum_case"),
            ("/info", "null_member"),
            ("/x", "extra_member"),
        ]

    def test_text_that_no_database_takes_is_cleaned(self) -> None:
        payload = changed("StatusNotification", info="a\x00b\ud800", connectorId="1")
        req, deviations = parse_call("StatusNotification", payload)
        assert req.info == "ab\ufffd"
        assert kinds(deviations) == [("/connectorId", "text_as_number"), ("/info", "unclean_text")]

    def test_payload_is_not_altered(self) -> None:
        payload = meter_values(value=1.5, unit="wh")
        before = copy.deepcopy(payload)
        parse_call("MeterValues", payload)
        assert payload == before

    def test_no_more_than_fifty_deviations_are_listed(self) -> None:
        _, deviations = parse_call("Heartbeat", {f"extra{number}": 1 for number in range(1000)})
        assert len(deviations) == 50


class TestMeterValueTolerances:
    """OCPP 1.6 section 4.7 and 6.31: MeterValues and transactionData are answered whatever they hold."""

    @pytest.mark.parametrize(
        ("members", "sampled_value", "kind"),
        [
            ({"value": 12.5}, {"value": "12.5"}, "number_as_text"),
            ({"value": 230}, {"value": "230"}, "number_as_text"),
            ({"value": 0.00001}, {"value": "0.00001"}, "number_as_text"),
            ({"value": True}, {"value": "true"}, "boolean_as_text"),
            ({"unit": "Hertz"}, {"value": "1", "unit": "Hertz"}, "unknown_value"),
            ({"unit": "C"}, {"value": "1", "unit": "C"}, "unknown_value"),
            ({"unit": "kwh"}, {"value": "1", "unit": "kWh"}, "enum_case"),
            ({"measurand": "Power.Magic"}, {"value": "1", "measurand": "Power.Magic"}, "unknown_value"),
            ({"context": "Periodic"}, {"value": "1", "context": "Periodic"}, "unknown_value"),
            ({"location": "Roof"}, {"value": "1", "location": "Roof"}, "unknown_value"),
            ({"phase": "L4"}, {"value": "1", "phase": "L4"}, "unknown_value"),
            ({"phase": "l1-n"}, {"value": "1", "phase": "L1-N"}, "enum_case"),
            ({"format": "OCMF"}, {"value": "1", "format": "OCMF"}, "unknown_value"),
            ({"phase": None}, {"value": "1"}, "null_member"),
            ({"phase": {}}, {"value": "1"}, "unusable_dropped"),
            ({"vendor": 1}, {"value": "1"}, "extra_member"),
        ],
    )
    def test_sampled_value(self, members: dict[str, Any], sampled_value: dict[str, Any], kind: str) -> None:
        payload = meter_values(**members)
        req, deviations = parse_call("MeterValues", payload)
        assert req.meter_value == [{"timestamp": TIME, "sampledValue": [sampled_value]}]
        assert [deviation.kind for deviation in deviations] == [kind]
        stop, same = parse_call("StopTransaction", changed("StopTransaction", transactionData=payload["meterValue"]))
        assert stop.transaction_data == req.meter_value
        assert [deviation.kind for deviation in same] == [kind]

    def test_signed_data_is_kept_untouched(self) -> None:
        payload = meter_values(value="4f434d46" * 500, format="SignedData")
        assert parse_call("MeterValues", payload)[0].meter_value is payload["meterValue"]

    @pytest.mark.parametrize(
        ("meter_value", "mended", "deviations"),
        [
            ([], [], [("/meterValue", "empty_list")]),
            (
                [{"timestamp": TIME, "sampledValue": []}],
                [{"timestamp": TIME, "sampledValue": []}],
                [("/meterValue/0/sampledValue", "empty_list")],
            ),
            (
                {"timestamp": TIME, "sampledValue": {"value": "1"}},
                [{"timestamp": TIME, "sampledValue": [{"value": "1"}]}],
                [("/meterValue", "single_for_list"), ("/meterValue/0/sampledValue", "single_for_list")],
            ),
            (
                [{"timestamp": "", "sampledValue": [{"value": "1"}]}],
                [{"timestamp": "", "sampledValue": [{"value": "1"}]}],
                [("/meterValue/0/timestamp", "bad_timestamp")],
            ),
            (
                [{"sampledValue": [{"value": "1"}]}],
                [{"timestamp": "", "sampledValue": [{"value": "1"}]}],
                [("/meterValue/0/timestamp", "missing_member")],
            ),
            (
                [{"timestamp": {}, "sampledValue": "none"}],
                [{"timestamp": "", "sampledValue": []}],
                [
                    ("/meterValue/0/timestamp", "unusable_dropped"),
                    ("/meterValue/0/sampledValue", "unusable_dropped"),
                ],
            ),
            (
                [{"timestamp": TIME, "sampledValue": [{"value": "1"}, {"unit": "Wh"}, None, {"value": None}, "x"]}],
                [{"timestamp": TIME, "sampledValue": [{"value": "1"}]}],
                [
                    ("/meterValue/0/sampledValue/1/value", "unusable_dropped"),
                    ("/meterValue/0/sampledValue/2", "unusable_dropped"),
                    ("/meterValue/0/sampledValue/3/value", "unusable_dropped"),
                    ("/meterValue/0/sampledValue/4", "unusable_dropped"),
                ],
            ),
            (["x", 5], [], [("/meterValue/0", "unusable_dropped"), ("/meterValue/1", "unusable_dropped")]),
        ],
    )
    def test_lists(self, meter_value: Any, mended: Any, deviations: list[tuple[str, str]]) -> None:
        req, found = parse_call("MeterValues", {"connectorId": 1, "meterValue": meter_value})
        assert req.meter_value == mended
        assert kinds(found) == deviations


class TestAlwaysAnswered:
    """OCPP 1.6 sections 4.7, 4.8, 4.10: a refusal that will not go away would only be repeated for ever."""

    @pytest.mark.parametrize(
        ("action", "members", "field", "value", "kind"),
        [
            ("StartTransaction", {"idTag": "x" * 21}, "id_tag", "x" * 21, "too_long"),
            ("StartTransaction", {"idTag": 4711}, "id_tag", "4711", "number_as_text"),
            ("StartTransaction", {"idTag": True}, "id_tag", "true", "boolean_as_text"),
            ("StartTransaction", {"connectorId": 0}, "connector_id", 0, "out_of_range"),
            ("StartTransaction", {"connectorId": -1}, "connector_id", -1, "out_of_range"),
            ("StartTransaction", {"meterStart": 12.4}, "meter_start", 12, "fraction_rounded"),
            ("StartTransaction", {"meterStart": 12.0}, "meter_start", 12, "float_as_integer"),
            ("StartTransaction", {"meterStart": "12"}, "meter_start", 12, "text_as_number"),
            ("StartTransaction", {"meterStart": HUGE}, "meter_start", HUGE, "huge_integer"),
            ("StartTransaction", {"timestamp": "nonsense"}, "timestamp", "nonsense", "bad_timestamp"),
            ("StartTransaction", {"timestamp": 1714564800}, "timestamp", "1714564800", "number_as_text"),
            ("StartTransaction", {"reservationId": "none"}, "reservation_id", None, "unusable_dropped"),
            ("StopTransaction", {"idTag": "x" * 21}, "id_tag", "x" * 21, "too_long"),
            ("StopTransaction", {"idTag": {}}, "id_tag", None, "unusable_dropped"),
            ("StopTransaction", {"reason": 5}, "reason", "5", "number_as_text"),
            ("StopTransaction", {"reason": []}, "reason", None, "unusable_dropped"),
            ("StopTransaction", {"transactionData": "none"}, "transaction_data", None, "unusable_dropped"),
            ("StopTransaction", {"transactionId": HUGE}, "transaction_id", HUGE, "huge_integer"),
            ("StopTransaction", {"transactionId": 10**30}, "transaction_id", 10**30, "huge_integer"),
            ("StopTransaction", {"transactionId": "7"}, "transaction_id", 7, "text_as_number"),
            ("MeterValues", {"transactionId": HUGE}, "transaction_id", HUGE, "huge_integer"),
            ("MeterValues", {"transactionId": ""}, "transaction_id", None, "unusable_dropped"),
            ("MeterValues", {"connectorId": -1}, "connector_id", -1, "out_of_range"),
        ],
    )
    def test_is_taken(self, action: str, members: dict[str, Any], field: str, value: Any, kind: str) -> None:
        req, deviations = parse_call(action, changed(action, **members))
        assert getattr(req, field) == value
        assert deviations[0].kind == kind

    @pytest.mark.parametrize("number", [-1, 0])
    @pytest.mark.parametrize("action", ["StopTransaction", "MeterValues"])
    def test_transaction_id_0_and_minus_1_are_no_deviation(self, action: str, number: int) -> None:
        assert parse_call(action, changed(action, transactionId=number), strict=True)[1] == []

    def test_negative_meter_stop_is_no_deviation(self) -> None:
        assert parse_call("StopTransaction", changed("StopTransaction", meterStop=-1), strict=True)[1] == []

    def test_fraction_as_text_is_rounded_too(self) -> None:
        req, deviations = parse_call("StopTransaction", changed("StopTransaction", meterStop="2000.7"))
        assert req.meter_stop == 2001
        assert kinds(deviations) == [("/meterStop", "text_as_number"), ("/meterStop", "fraction_rounded")]


class TestStrict:
    """A strict charge point is refused for every deviation from the schema, with the code OCPP-J has for it."""

    @pytest.mark.parametrize(
        ("action", "payload", "code", "pointer"),
        [
            (
                "StatusNotification",
                changed("StatusNotification", connectorId="1"),
                "TypeConstraintViolation",
                "/connectorId",
            ),
            (
                "StatusNotification",
                changed("StatusNotification", connectorId=1.0),
                "TypeConstraintViolation",
                "/connectorId",
            ),
            ("StatusNotification", changed("StatusNotification", info=None), "TypeConstraintViolation", "/info"),
            (
                "StatusNotification",
                changed("StatusNotification", info="x" * 51),
                "PropertyConstraintViolation",
                "/info",
            ),
            (
                "StatusNotification",
                changed("StatusNotification", status="available"),
                "PropertyConstraintViolation",
                "/status",
            ),
            (
                "StatusNotification",
                changed("StatusNotification", errorCode="Vendor"),
                "PropertyConstraintViolation",
                "/errorCode",
            ),
            (
                "StatusNotification",
                changed("StatusNotification", timestamp="2024-05-01T12:00:00"),
                "PropertyConstraintViolation",
                "/timestamp",
            ),
            ("StatusNotification", changed("StatusNotification", extra=1), "FormationViolation", "/extra"),
            (
                "StatusNotification",
                {**without("StatusNotification", "status"), "Status": "Available"},
                "ProtocolError",
                "/status",
            ),
            ("StartTransaction", changed("StartTransaction", idTag="x" * 21), "PropertyConstraintViolation", "/idTag"),
            (
                "StartTransaction",
                changed("StartTransaction", connectorId=0),
                "PropertyConstraintViolation",
                "/connectorId",
            ),
            ("StartTransaction", changed("StartTransaction", meterStart=1.5), "TypeConstraintViolation", "/meterStart"),
            (
                "StopTransaction",
                changed("StopTransaction", transactionId=HUGE),
                "PropertyConstraintViolation",
                "/transactionId",
            ),
            ("StopTransaction", changed("StopTransaction", reason="Bored"), "PropertyConstraintViolation", "/reason"),
            ("MeterValues", {"connectorId": 1, "meterValue": []}, "OccurenceConstraintViolation", "/meterValue"),
            (
                "MeterValues",
                {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": []}]},
                "OccurenceConstraintViolation",
                "/meterValue/0/sampledValue",
            ),
            ("MeterValues", {"connectorId": 1, "meterValue": {}}, "TypeConstraintViolation", "/meterValue"),
            ("MeterValues", meter_values(value=1), "TypeConstraintViolation", "/meterValue/0/sampledValue/0/value"),
            (
                "MeterValues",
                meter_values(unit="Hertz"),
                "PropertyConstraintViolation",
                "/meterValue/0/sampledValue/0/unit",
            ),
            (
                "MeterValues",
                {"connectorId": 1, "meterValue": [{"timestamp": TIME}]},
                "ProtocolError",
                "/meterValue/0/sampledValue",
            ),
        ],
    )
    def test_is_refused(self, action: str, payload: dict[str, Any], code: str, pointer: str) -> None:
        error = refused(action, payload, strict=True)
        assert error.code == code
        assert error.description.startswith(f"{pointer} ")

    def test_payload_that_is_no_object(self) -> None:
        assert refused("Heartbeat", [], strict=True).code == "FormationViolation"
