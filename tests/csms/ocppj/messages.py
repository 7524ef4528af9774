"""A valid payload, as full as the specification allows, for every message of OCPP 1.6; and ways to spoil it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from csms.ocppj.errors import OcppError
from csms.ocppj.payloads import Deviation, parse_call

TIME = "2024-05-01T12:00:00.000Z"

SAMPLED_VALUE = {
    "value": "12345.678",
    "context": "Sample.Periodic",
    "format": "Raw",
    "measurand": "Energy.Active.Import.Register",
    "phase": "L1",
    "location": "Outlet",
    "unit": "Wh",
}
METER_VALUE = {"timestamp": TIME, "sampledValue": [SAMPLED_VALUE, {"value": "230.1", "measurand": "Voltage"}]}
ID_TAG_INFO = {"expiryDate": TIME, "parentIdTag": "GROUP", "status": "Accepted"}
SCHEDULE = {
    "duration": 3600,
    "startSchedule": TIME,
    "chargingRateUnit": "A",
    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.3, "numberPhases": 3}, {"startPeriod": 60, "limit": 6}],
    "minChargingRate": 6.0,
}
PROFILE = {
    "chargingProfileId": 1,
    "transactionId": 7,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Recurring",
    "recurrencyKind": "Daily",
    "validFrom": TIME,
    "validTo": TIME,
    "chargingSchedule": SCHEDULE,
}
CERTIFICATE_HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "ab", "issuerKeyHash": "cd", "serialNumber": "1f"}

FROM_CHARGE_POINT: dict[str, dict[str, Any]] = {
    "Authorize": {"idTag": "04A1B2C3"},
    "BootNotification": {
        "chargePointVendor": "Vendor",
        "chargePointModel": "Model",
        "chargePointSerialNumber": "SN-1",
        "chargeBoxSerialNumber": "SN-2",
        "firmwareVersion": "1.0",
        "iccid": "8949",
        "imsi": "262",
        "meterType": "Meter",
        "meterSerialNumber": "M-1",
    },
    "DataTransfer": {"vendorId": "com.example", "messageId": "ping", "data": "any text"},
    "DiagnosticsStatusNotification": {"status": "Uploaded"},
    "FirmwareStatusNotification": {"status": "Installed"},
    "Heartbeat": {},
    "LogStatusNotification": {"status": "Uploaded", "requestId": 5},
    "MeterValues": {"connectorId": 1, "transactionId": 7, "meterValue": [METER_VALUE]},
    "SecurityEventNotification": {"type": "FirmwareUpdated", "timestamp": TIME, "techInfo": "info"},
    "SignCertificate": {"csr": "-----BEGIN CERTIFICATE REQUEST-----"},
    "SignedFirmwareStatusNotification": {"status": "SignatureVerified", "requestId": 5},
    "StartTransaction": {
        "connectorId": 1,
        "idTag": "04A1B2C3",
        "meterStart": 1000,
        "reservationId": 3,
        "timestamp": TIME,
    },
    "StatusNotification": {
        "connectorId": 1,
        "errorCode": "NoError",
        "info": "info",
        "status": "Available",
        "timestamp": TIME,
        "vendorId": "com.example",
        "vendorErrorCode": "E1",
    },
    "StopTransaction": {
        "idTag": "04A1B2C3",
        "meterStop": 2000,
        "timestamp": TIME,
        "transactionId": 7,
        "reason": "EVDisconnected",
        "transactionData": [METER_VALUE],
    },
}

TO_CHARGE_POINT: dict[str, dict[str, Any]] = {
    "CancelReservation": {"reservationId": 3},
    "CertificateSigned": {"certificateChain": "-----BEGIN CERTIFICATE-----"},
    "ChangeAvailability": {"connectorId": 0, "type": "Inoperative"},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "300"},
    "ClearCache": {},
    "ClearChargingProfile": {
        "id": 1,
        "connectorId": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "stackLevel": 0,
    },
    "DataTransfer": {"vendorId": "com.example", "messageId": "ping", "data": "any text"},
    "DeleteCertificate": {"certificateHashData": CERTIFICATE_HASH},
    "ExtendedTriggerMessage": {"requestedMessage": "SignChargePointCertificate", "connectorId": 1},
    "GetCompositeSchedule": {"connectorId": 0, "duration": 3600, "chargingRateUnit": "W"},
    "GetConfiguration": {"key": ["HeartbeatInterval", "Unknown"]},
    "GetDiagnostics": {
        "location": "ftp://user:secret@files.example.com/in/",
        "retries": 3,
        "retryInterval": 60,
        "startTime": TIME,
        "stopTime": TIME,
    },
    "GetInstalledCertificateIds": {"certificateType": "CentralSystemRootCertificate"},
    "GetLocalListVersion": {},
    "GetLog": {
        "log": {"remoteLocation": "https://files.example.com/", "oldestTimestamp": TIME, "latestTimestamp": TIME},
        "logType": "SecurityLog",
        "requestId": 5,
        "retries": 3,
        "retryInterval": 60,
    },
    "InstallCertificate": {
        "certificateType": "ManufacturerRootCertificate",
        "certificate": "-----BEGIN CERTIFICATE-----",
    },
    "RemoteStartTransaction": {"connectorId": 1, "idTag": "04A1B2C3", "chargingProfile": PROFILE},
    "RemoteStopTransaction": {"transactionId": 7},
    "ReserveNow": {
        "connectorId": 0,
        "expiryDate": TIME,
        "idTag": "04A1B2C3",
        "parentIdTag": "GROUP",
        "reservationId": 3,
    },
    "Reset": {"type": "Soft"},
    "SendLocalList": {
        "listVersion": 1,
        "localAuthorizationList": [{"idTag": "04A1B2C3", "idTagInfo": ID_TAG_INFO}, {"idTag": "REMOVED"}],
        "updateType": "Differential",
    },
    "SetChargingProfile": {"connectorId": 1, "csChargingProfiles": PROFILE},
    "SignedUpdateFirmware": {
        "retries": 3,
        "retryInterval": 60,
        "requestId": 5,
        "firmware": {
            "location": "https://files.example.com/firmware",
            "retrieveDateTime": TIME,
            "installDateTime": TIME,
            "signingCertificate": "-----BEGIN CERTIFICATE-----",
            "signature": "c2ln",
        },
    },
    "TriggerMessage": {"requestedMessage": "MeterValues", "connectorId": 1},
    "UnlockConnector": {"connectorId": 1},
    "UpdateFirmware": {
        "location": "https://files.example.com/firmware",
        "retries": 3,
        "retrieveDate": TIME,
        "retryInterval": 60,
    },
}

RESULTS: dict[str, dict[str, Any]] = {
    "Authorize": {"idTagInfo": ID_TAG_INFO},
    "BootNotification": {"status": "Accepted", "currentTime": TIME, "interval": 300},
    "CancelReservation": {"status": "Accepted"},
    "CertificateSigned": {"status": "Accepted"},
    "ChangeAvailability": {"status": "Scheduled"},
    "ChangeConfiguration": {"status": "RebootRequired"},
    "ClearCache": {"status": "Accepted"},
    "ClearChargingProfile": {"status": "Unknown"},
    "DataTransfer": {"status": "Accepted", "data": "any text"},
    "DeleteCertificate": {"status": "NotFound"},
    "DiagnosticsStatusNotification": {},
    "ExtendedTriggerMessage": {"status": "NotImplemented"},
    "FirmwareStatusNotification": {},
    "GetCompositeSchedule": {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": TIME,
        "chargingSchedule": SCHEDULE,
    },
    "GetConfiguration": {
        "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}],
        "unknownKey": ["Unknown"],
    },
    "GetDiagnostics": {"fileName": "diagnostics.zip"},
    "GetInstalledCertificateIds": {"certificateHashData": [CERTIFICATE_HASH], "status": "Accepted"},
    "GetLocalListVersion": {"listVersion": -1},
    "GetLog": {"status": "AcceptedCanceled", "filename": "log.zip"},
    "Heartbeat": {"currentTime": TIME},
    "InstallCertificate": {"status": "Failed"},
    "LogStatusNotification": {},
    "MeterValues": {},
    "RemoteStartTransaction": {"status": "Rejected"},
    "RemoteStopTransaction": {"status": "Accepted"},
    "ReserveNow": {"status": "Occupied"},
    "Reset": {"status": "Accepted"},
    "SecurityEventNotification": {},
    "SendLocalList": {"status": "VersionMismatch"},
    "SetChargingProfile": {"status": "NotSupported"},
    "SignCertificate": {"status": "Accepted"},
    "SignedFirmwareStatusNotification": {},
    "SignedUpdateFirmware": {"status": "RevokedCertificate"},
    "StartTransaction": {"idTagInfo": ID_TAG_INFO, "transactionId": 7},
    "StatusNotification": {},
    "StopTransaction": {"idTagInfo": ID_TAG_INFO},
    "TriggerMessage": {"status": "Accepted"},
    "UnlockConnector": {"status": "UnlockFailed"},
    "UpdateFirmware": {},
}


def refused(action: str, payload: Any, *, strict: bool = False) -> OcppError:
    with pytest.raises(OcppError) as caught:
        parse_call(action, payload, strict=strict)
    return caught.value


def changed(action: str, **members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(FROM_CHARGE_POINT[action]), **members}


def without(action: str, *names: str) -> dict[str, Any]:
    return {name: value for name, value in FROM_CHARGE_POINT[action].items() if name not in names}


def kinds(deviations: list[Deviation]) -> list[tuple[str, str]]:
    return [(deviation.pointer, deviation.kind) for deviation in deviations]


def meter_values(**members: Any) -> dict[str, Any]:
    """A MeterValues with one sampled value, whose members are replaced by `members`."""
    return {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": "1", **members}]}]}
