"""Every case is able to fail: the server, seen through a fault, turns exactly that case red."""

from __future__ import annotations

from typing import Any

import pytest

from csms.certify.options import Options
from csms.certify.registry import CASES, CertificationCase, choose
from csms.certify.results import CaseResult, Outcome, Report
from csms.certify.runner import run
from tests.conftest import Csms
from tests.csms.certify.interposer import (
    ABSENT,
    Fault,
    HangsUp,
    Interposer,
    Passing,
    RefusesWith,
    answers,
    asks,
    asks_unasked,
    hears,
    hears_answer,
    ignores,
    refuses,
    upgrades_what_it_refuses,
)
from tests.csms.certify.secure import dial_through, secure, secure_options
from tests.csms.test_tls import TlsServer

__all__ = ["secure"]

# Plays after the case, without the fault: what a failed case leaves behind must not harm the next.
CONTROL, OTHER_CONTROL = "TC_061_CSMS", "TC_064_CSMS"
FAULTS_IN_A_RUN = 12

PERIODS = "csChargingProfiles.chargingSchedule.chargingSchedulePeriod"
# What a server might ask again of its own accord.
AGAIN = {"location": "ftp://example.com/again", "retrieveDate": "2026-01-02T03:04:05.678Z"}
RESERVED_AGAIN = {"connectorId": 2, "expiryDate": "2036-01-02T03:04:05.678Z", "idTag": "AGAIN", "reservationId": 1}
SENT_AGAIN = {"listVersion": 9, "updateType": "Full"}


def resends_all_entries(passing: Passing) -> None:
    """The server's differential list has every entry, not the new one alone."""
    if passing.to_charge_point and passing.action == "SendLocalList" and passing.payload["updateType"] != "Full":
        entry = passing.payload["localAuthorizationList"][0]
        passing.payload["localAuthorizationList"].insert(0, {**entry, "idTag": "EARLIER"})


def doubles_line_ends(passing: Passing) -> None:
    """The server sends PEM as it stands in JSON, not as the text it is."""
    if passing.to_charge_point and passing.action == "CertificateSigned" and "certificateChain" in passing.payload:
        passing.payload["certificateChain"] = passing.payload["certificateChain"].replace("\n", "\\n")


def turns_the_chain(passing: Passing) -> None:
    """The server's chain ends with the leaf."""
    if passing.to_charge_point and passing.action == "CertificateSigned" and "certificateChain" in passing.payload:
        end = "-----END CERTIFICATE-----\n"
        parts = [part + end for part in passing.payload["certificateChain"].split(end) if part]
        passing.payload["certificateChain"] = "".join(reversed(parts))


class SignsFirst:
    """The server sends CertificateSigned before it answers SignCertificate: the answer is held back until then."""

    def __init__(self) -> None:
        self.held: Any = None

    def __call__(self, passing: Passing) -> None:
        if not passing.to_charge_point:
            return
        if passing.action == "SignCertificate":
            self.held, passing.frame = passing.frame, None
        elif passing.action == "CertificateSigned" and self.held is not None:
            passing.more.append(self.held)


def alters_hash_data(algorithm: str) -> Fault:
    """The server spells the serial number of this algorithm in its own way, without the leading zeros."""

    def fault(passing: Passing) -> None:
        if passing.to_charge_point and passing.action == "DeleteCertificate":
            data = passing.payload["certificateHashData"]
            if data["hashAlgorithm"] == algorithm:
                data["issuerNameHash"] = data["issuerNameHash"].lower()

    return fault


# Case, fault, and a part of the sentence by which the case must fail. One line for each case at least.
FAULTS: list[tuple[str, Fault, str]] = [
    # --- Core, sessions ----------------------------------------------------------------------------------------------
    ("001", answers("BootNotification", "status", "Pending"), "answered with the status Pending"),
    ("001", answers("BootNotification", "interval", 0), "the interval 0"),
    ("001", answers("BootNotification", "interval", ABSENT), "breaks its schema: /interval"),
    ("001", answers("Heartbeat", "currentTime", "2020-01-01T00:00:00.000Z"), "seconds from the present"),
    ("001", answers("Heartbeat", "currentTime", "2026-01-01T00:00:00+01:00"), "not a UTC time"),
    ("001", ignores("Heartbeat"), "did not answer Heartbeat"),
    ("001", asks_unasked("GetConfiguration", {}, after="BootNotification"), "GetConfiguration {}, which nobody asked"),
    ("023_1", HangsUp("Heartbeat"), "The CSMS closed the connection (1001"),
    ("003", answers("Authorize", "idTagInfo.status", "Invalid"), "Authorize was answered with the status Invalid"),
    ("003", hears("StartTransaction", "meterStart", 0), "meter_start_wh 0 instead of 4711"),
    ("004_1", answers("StartTransaction", "transactionId", ABSENT), "breaks its schema: /transactionId"),
    ("004_2", answers("Authorize", "idTagInfo.status", "ConcurrentTx"), "the status ConcurrentTx"),
    ("005_1", refuses("StopTransaction"), "StopTransaction with the CALLERROR InternalError"),
    ("005_1", answers("StopTransaction", "idTagInfo", ABSENT), "StopTransaction with an id tag was answered without"),
    ("012", answers("StopTransaction", "idTagInfo.status", "Blocked"), "Blocked instead of Accepted"),
    ("003", answers("Authorize", "idTagInfo.expiryDate", "2026-01-01T00:00:00.000Z"), "that expired at 2026-01-01"),
    ("003", answers("Authorize", "idTagInfo.expiryDate", "2126-01-01T00:00:00Z"), "answered with the expiryDate"),
    (
        "007",
        answers("StartTransaction", "idTagInfo.status", "Invalid"),
        "StartTransaction was answered with the status",
    ),
    ("023_1", answers("Authorize", "idTagInfo.status", "Accepted"), "Accepted instead of Invalid"),
    ("023_1", hears("Authorize", "idTag", "ANOTHER"), "of the message log"),
    ("023_2", answers("Authorize", "idTagInfo.status", "Invalid"), "Invalid instead of Expired"),
    ("023_3", answers("Authorize", "idTagInfo.status", "Invalid"), "Invalid instead of Blocked"),
    ("024", hears("StatusNotification", "errorCode", "NoError"), 'error_code "NoError" instead of'),
    ("032_1", hears("StopTransaction", "reason", "Local"), 'stop_reason "Local" instead of "PowerLoss"'),
    ("037_1", hears("StartTransaction", "timestamp", "2026-01-02T03:04:05.678Z"), "started_at"),
    ("037_3", answers("StartTransaction", "idTagInfo.status", "Blocked"), "Blocked instead of Invalid"),
    ("039", refuses("StopTransaction", "PropertyConstraintViolation"), "PropertyConstraintViolation"),
    ("039", hears("StopTransaction", "timestamp", "2026-11-01T00:00:00.000Z"), "stopped_at"),
    ("064", refuses("DataTransfer", "NotImplemented"), "DataTransfer with the CALLERROR NotImplemented"),
    ("064", answers("DataTransfer", "status", "Accepted"), "nobody knows was answered with the status Accepted"),
    ("064", answers("DataTransfer", "data", "welcome"), "DataTransfer was refused with data"),
    # --- Core, commands ----------------------------------------------------------------------------------------------
    ("010", asks("RemoteStartTransaction", "connectorId", 2), "connectorId is 2 instead of 1"),
    ("011_1", asks("RemoteStartTransaction", "connectorId", ABSENT), "connectorId is absent"),
    ("011_2", hears_answer("RemoteStartTransaction", "status", "Rejected"), "sees response"),
    ("012", asks("RemoteStopTransaction", "transactionId", 1), "transactionId is 1 instead of"),
    ("012", hears("StopTransaction", "reason", ABSENT), 'instead of "Remote"'),
    ("013", asks("Reset", "type", "Soft"), 'type is "Soft" instead of "Hard"'),
    ("014", answers("BootNotification", "status", "Rejected"), "the status Rejected"),
    ("017_1", asks("UnlockConnector", "connectorId", 2), "connectorId is 2 instead of 1"),
    ("017_2", hears_answer("UnlockConnector", "status", "Unlocked"), '"Unlocked"'),
    ("018_1", refuses("StopTransaction"), "StopTransaction with the CALLERROR"),
    ("019_1", asks("GetConfiguration", "key", ["HeartbeatInterval"]), "names keys"),
    ("019_1", hears_answer("GetConfiguration", "configurationKey.7", ABSENT), "sees response"),
    ("019_2", asks("GetConfiguration", "key.0", "supportedfeatureprofiles"), "supportedfeatureprofiles"),
    ("021", asks("ChangeConfiguration", "value", 60), "breaks its schema: /value"),
    ("021", asks_unasked("GetConfiguration", {}, after="ChangeConfiguration"), "GetConfiguration {}, which nobody"),
    ("026", asks_unasked("ClearCache", {}, after="RemoteStartTransaction"), "ClearCache {}, which nobody asked for"),
    ("028", hears_answer("RemoteStopTransaction", "status", "Accepted"), '"Accepted"'),
    ("030", hears_answer("UnlockConnector", "status", "Unlocked"), '"Unlocked"'),
    ("031", asks("UnlockConnector", "connectorId", 1), "connectorId is 1 instead of 9"),
    ("040_1", hears_answer("ChangeConfiguration", "status", "Accepted"), '"Accepted"'),
    ("040_2", asks("ChangeConfiguration", "value", "1"), 'value is "1" instead of'),
    ("061", asks("ClearCache", "type", "all"), "breaks its schema: /type"),
    # --- Firmware Management ------------------------------------------------------------------------------------------
    (
        "044_1",
        asks("UpdateFirmware", "location", "ftp://updates.example.com"),
        'location is "ftp://updates.example.com"',
    ),
    ("044_1", asks("UpdateFirmware", "retries", 3), "retries should be absent"),
    ("044_1", answers("BootNotification", "status", "Pending"), "answered with the status Pending"),
    ("044_1", refuses("FirmwareStatusNotification", "NotSupported"), "CALLERROR NotSupported"),
    (
        "044_2",
        hears("FirmwareStatusNotification", "status", "Downloading"),
        '"Downloading" instead of "DownloadFailed"',
    ),
    ("044_2", asks_unasked("UpdateFirmware", AGAIN, after="FirmwareStatusNotification"), "which nobody asked for"),
    ("044_3", ignores("FirmwareStatusNotification"), "did not answer FirmwareStatusNotification"),
    ("044_3", hears("StatusNotification", "status", "Unavailable"), '"Unavailable" instead of "Available"'),
    ("045_1", asks("GetDiagnostics", "stopTime", "2026-01-02T03:04:05.678Z"), "stopTime should be absent"),
    ("045_1", hears_answer("GetDiagnostics", "fileName", ABSENT), '{} instead of {"fileName"'),
    ("045_1", refuses("DiagnosticsStatusNotification", "NotSupported"), "CALLERROR NotSupported"),
    ("045_2", hears("DiagnosticsStatusNotification", "status", "Uploading"), '"Uploading" instead of "UploadFailed"'),
    # --- Smart Charging -----------------------------------------------------------------------------------------------
    ("056", asks("SetChargingProfile", "csChargingProfiles.validTo", ABSENT), "validTo is absent"),
    ("056", asks("SetChargingProfile", "csChargingProfiles.transactionId", 0), "transactionId should be absent"),
    (
        "056",
        asks("SetChargingProfile", "csChargingProfiles.recurrencyKind", "Daily"),
        "recurrencyKind should be absent",
    ),
    ("056", asks("SetChargingProfile", f"{PERIODS}.0.numberPhases", ABSENT), "numberPhases is absent"),
    ("056", asks("SetChargingProfile", f"{PERIODS}.0.limit", 6.1), "limit is 6.1 instead of 6.0"),
    ("057", asks("SetChargingProfile", "csChargingProfiles.transactionId", ABSENT), "transactionId is absent"),
    ("057", hears_answer("SetChargingProfile", "status", "Rejected"), 'instead of {"status": "Accepted"}'),
    ("059", asks("RemoteStartTransaction", "chargingProfile.transactionId", 0), "transactionId should be absent"),
    ("059", asks("RemoteStartTransaction", "connectorId", ABSENT), "connectorId is absent"),
    ("059", asks("RemoteStartTransaction", "chargingProfile", ABSENT), "chargingProfile is absent"),
    ("066", asks("GetCompositeSchedule", "chargingRateUnit", ABSENT), "chargingRateUnit is absent"),
    ("066", hears_answer("GetCompositeSchedule", "chargingSchedule", ABSENT), "sees response"),
    ("067", asks("SetChargingProfile", "csChargingProfiles.chargingProfileId", 7), "the same chargingProfileId"),
    ("067", asks("ClearChargingProfile", "connectorId", 0), "connectorId should be absent"),
    ("067", hears_answer("ClearChargingProfile", "status", "Unknown"), 'instead of {"status": "Accepted"}'),
    # --- Reservation --------------------------------------------------------------------------------------------------
    ("046", asks("ReserveNow", "parentIdTag", "GROUP"), "parentIdTag should be absent"),
    ("046", asks("ReserveNow", "reservationId", 1_000_000), "reservationId is 1000000 instead of"),
    ("046", hears("StartTransaction", "reservationId", 1_000_000), '"Accepted" instead of "Used"'),
    ("047", asks("ReserveNow", "expiryDate", "2026-01-02T03:00:00.000Z"), "expiryDate is"),
    ("047", asks_unasked("CancelReservation", {"reservationId": 1}, after="StatusNotification"), "nobody asked for"),
    ("048_1", hears_answer("ReserveNow", "status", "Accepted"), 'instead of {"status": "Faulted"}'),
    ("048_2", hears_answer("ReserveNow", "status", "Accepted"), 'instead of {"status": "Occupied"}'),
    ("048_3", asks("ChangeAvailability", "connectorId", 0), "connectorId is 0 instead of 1"),
    ("048_3", hears_answer("ReserveNow", "status", "Accepted"), 'instead of {"status": "Unavailable"}'),
    ("048_4", hears_answer("ReserveNow", "status", "Accepted"), 'instead of {"status": "Rejected"}'),
    ("048_4", asks_unasked("ReserveNow", RESERVED_AGAIN, after="ReserveNow"), "nobody asked for"),
    ("049", asks("ReserveNow", "connectorId", 1), "connectorId is 1 instead of 0"),
    ("051", asks("CancelReservation", "reservationId", 1_000_000), "reservationId is 1000000 instead of"),
    ("051", hears_answer("CancelReservation", "status", "Rejected"), 'instead of {"status": "Accepted"}'),
    ("052", hears_answer("CancelReservation", "status", "Accepted"), 'instead of {"status": "Rejected"}'),
    ("052", asks_unasked("CancelReservation", {"reservationId": 1}, after="CancelReservation"), "nobody asked for"),
    ("053", asks("ReserveNow", "parentIdTag", ABSENT), "parentIdTag is absent"),
    ("053", answers("Authorize", "idTagInfo.parentIdTag", ABSENT), "Authorize was answered without the parentIdTag"),
    ("053", answers("StartTransaction", "idTagInfo.status", "Invalid"), "Invalid instead of Accepted"),
    # --- Local Authorization List Management --------------------------------------------------------------------------
    ("042_1", asks("GetLocalListVersion", "listVersion", 0), "breaks its schema: /listVersion"),
    ("042_1", hears_answer("GetLocalListVersion", "listVersion", 0), '{"listVersion": 0} instead of'),
    ("042_2", hears_answer("GetLocalListVersion", "listVersion", -1), '{"listVersion": -1} instead of'),
    ("043_1", asks("SendLocalList", "updateType", "Differential"), 'updateType is "Differential" instead of "Full"'),
    ("043_1", hears_answer("SendLocalList", "status", "Accepted"), 'instead of {"status": "NotSupported"}'),
    ("043_3", asks_unasked("SendLocalList", SENT_AGAIN, after="SendLocalList"), "nobody asked for"),
    ("043_4", asks("SendLocalList", "localAuthorizationList.1.idTagInfo", ABSENT), "idTagInfo is absent"),
    ("043_4", asks("SendLocalList", "listVersion", 0), "has the listVersion 0"),
    ("043_5", asks("SendLocalList", "listVersion", 1), "listVersion 1; it must be 2 at least"),
    ("043_5", asks("SendLocalList", "updateType", "Full"), "the updateType Full instead of Differential"),
    ("043_5", asks("SendLocalList", "localAuthorizationList.0.idTagInfo", ABSENT), "without idTagInfo"),
    ("043_5", resends_all_entries, "id tags of the differential list"),
    # --- Remote Trigger -----------------------------------------------------------------------------------------------
    ("054", asks("TriggerMessage", "connectorId", 1), "connectorId should be absent"),
    ("054", refuses("MeterValues", "PropertyConstraintViolation"), "MeterValues with the CALLERROR"),
    ("054", refuses("DiagnosticsStatusNotification", "NotSupported"), "CALLERROR NotSupported"),
    ("055", hears_answer("TriggerMessage", "status", "Accepted"), 'instead of {"status": "Rejected"}'),
]

# The same for cases of the security extension, which are played on all three ports of a server.
SECURE_FAULTS: list[tuple[str, Fault, str]] = [
    ("073", asks("ChangeConfiguration", "value", "a password as it was typed"), "is not the new password in hexa"),
    ("073", asks("ChangeConfiguration", "value", "00" * 21), "has 42 characters"),
    ("073", hears_answer("ChangeConfiguration", "status", "Accepted"), 'instead of {"status": "Rejected"}'),
    ("073", upgrades_what_it_refuses, "with the password that the charge point rejected"),
    ("074", asks("ExtendedTriggerMessage", "connectorId", 1), "connectorId should be absent"),
    ("074", answers("SignCertificate", "status", "Rejected"), "The answer to SignCertificate"),
    ("074", SignsFirst(), "CertificateSigned before it answered SignCertificate"),
    ("074", turns_the_chain, "the first certificate does not have the public key"),
    ("074", doubles_line_ends, "line ends other than LF"),
    ("074", hears_answer("CertificateSigned", "status", "Rejected"), 'state "rejected" instead of "accepted"'),
    ("075_1", asks("InstallCertificate", "certificateType", "CentralSystemRootCertificate"), "certificateType is"),
    ("075_1", hears_answer("GetInstalledCertificateIds", "certificateHashData", ABSENT), "sees response"),
    ("075_2", asks("InstallCertificate", "certificate", "-----BEGIN CERTIFICATE-----\\n"), "certificate is"),
    ("075_2", asks("GetInstalledCertificateIds", "certificateType", "ManufacturerRootCertificate"), 'is "Manuf'),
    *(("076", alters_hash_data(algorithm), "issuerNameHash is") for algorithm in ("SHA256", "SHA384", "SHA512")),
    ("076", hears_answer("DeleteCertificate", "status", "Failed"), 'instead of {"status": "Accepted"}'),
    ("077", hears_answer("CertificateSigned", "status", "Accepted"), 'state "accepted" instead of "rejected"'),
    ("077", refuses("SecurityEventNotification", "NotSupported"), "CALLERROR NotSupported"),
    ("077", hears("SecurityEventNotification", "type", "InvalidTLSVersion"), "InvalidChargePointCertificate"),
    ("077", upgrades_what_it_refuses, "with the certificate that was rejected"),
    ("078", hears_answer("InstallCertificate", "status", "Accepted"), 'instead of {"status": "Rejected"}'),
    ("078", refuses("SecurityEventNotification", "NotSupported"), "CALLERROR NotSupported"),
    ("079", asks("GetLog", "requestId", ABSENT), "breaks its schema: /requestId"),
    ("079", asks("GetLog", "log.remoteLocation", "ftp://logs.example.com"), "remoteLocation is"),
    ("079", asks("GetLog", "logType", "DiagnosticsLog"), 'logType is "DiagnosticsLog"'),
    ("079", hears("LogStatusNotification", "status", "UploadFailure"), '"UploadFailure" instead of'),
    ("080", asks("SignedUpdateFirmware", "firmware.signature", "QUJD"), 'signature is "QUJD"'),
    ("080", asks("SignedUpdateFirmware", "firmware.installDateTime", "2026-01-02T03:04:05.678Z"), "be absent"),
    ("080", refuses("SignedFirmwareStatusNotification", "NotSupported"), "CALLERROR NotSupported"),
    ("080", answers("BootNotification", "status", "Pending"), "answered with the status Pending"),
    ("081", asks("SignedUpdateFirmware", "requestId", ABSENT), "breaks its schema: /requestId"),
    ("081", hears("SignedFirmwareStatusNotification", "status", "SignatureVerified"), '"SignatureVerified" instead of'),
    ("083", asks("ChangeConfiguration", "value", "3"), 'value is "3" instead of "2"'),
    ("083", asks("Reset", "type", "Soft"), 'type is "Soft" instead of "Hard"'),
    ("083", hears_answer("ChangeConfiguration", "status", "Rejected"), 'instead of {"status": "Accepted"}'),
    ("083", upgrades_what_it_refuses, "at security profile 1, after 2 came into force"),
    ("085", upgrades_what_it_refuses, "upgraded a connection without credentials"),
    ("085", RefusesWith(403), "without credentials was refused with HTTP 403 instead of 401"),
    ("073", RefusesWith(500), "refused with HTTP 500 instead of 401 or 403"),
    ("083", RefusesWith(404), "refused with HTTP 404 instead of 401 or 403"),
    ("088", RefusesWith(401), "that offers only ocpp0.1 was refused with HTTP 401 instead of 400"),
    ("085", answers("BootNotification", "status", "Rejected"), "the status Rejected"),
    ("086", answers("BootNotification", "status", "Pending"), "answered with the status Pending"),
    ("087", answers("BootNotification", "status", "Pending"), "answered with the status Pending"),
    ("088", upgrades_what_it_refuses, "upgraded a connection that offers only ocpp0.1"),
]


def certification_case(short_id: str) -> CertificationCase:
    (found,) = choose([short_id])
    return found


def options(csms: Csms, **changes: object) -> Options:
    """A run against the test's server, with little patience."""
    usual = {"timeout_seconds": 2.0, "settle_seconds": 0.05, "sight_seconds": 0.3}
    return Options(
        f"http://127.0.0.1:{csms.server.port}",
        csms.tenant.slug,
        csms.tenant.api_key,
        **(usual | changes),  # type: ignore[arg-type]
    )


async def played(csms: Csms, case: CertificationCase, fault: Fault, **changes: object) -> Report:
    """The case with the fault, then a control without."""
    control = certification_case(CONTROL if case.id != CONTROL else OTHER_CONTROL)
    async with Interposer(csms.server.ws_url(csms.tenant.slug)) as interposer:

        def show(shown: CertificationCase, result: CaseResult | None) -> None:
            interposer.fault = fault if shown is case and result is None else None

        return await run(options(csms, ocpp_url=interposer.url, **changes), [case, control], show)


def chunks(faults: list[tuple[str, Fault, str]]) -> list[Any]:
    """Parts of a table: a run costs more requests to begin and end than a case does."""
    parts = [faults[first : first + FAULTS_IN_A_RUN] for first in range(0, len(faults), FAULTS_IN_A_RUN)]
    return [pytest.param(part, id="+".join(dict.fromkeys(case for case, _, _ in part))) for part in parts]


def shows_frames(fault: Fault) -> bool:
    """Whether the fault lets a case get as far as frames of OCPP."""
    return fault is not upgrades_what_it_refuses and not isinstance(fault, RefusesWith)


async def wrong_about(
    part: list[tuple[str, Fault, str]], run_options: Options, interposer: Interposer, *, has_transactions: bool
) -> list[str]:
    """Play each case of `part` with its fault, and after each a control without; what was not as it must be.

    A charge point that has transactions is left behind, by design.
    """
    plan: list[tuple[CertificationCase, Fault | None]] = []
    for short_id, fault, _ in part:
        case = certification_case(short_id)
        plan += [(case, fault), (certification_case(CONTROL if case.id != CONTROL else OTHER_CONTROL), None)]
    faults = iter(plan)

    def show(shown: CertificationCase, result: CaseResult | None) -> None:
        interposer.fault = None
        if result is None:
            case, interposer.fault = next(faults)
            assert shown is case

    report = await run(run_options, [case for case, _ in plan], show)
    assert (report.passed, len(report.cases)) == (False, len(plan))
    wrong = [] if has_transactions else list(report.left_behind)
    for (short_id, fault, sentence), red, control in zip(part, report.cases[::2], report.cases[1::2], strict=True):
        if red.outcome != Outcome.FAILED:
            wrong.append(f"{short_id} did not see the fault that {sentence!r} is about")
        elif sentence not in red.reason:
            wrong.append(f"{short_id} says {red.reason!r}, not {sentence!r}")
        elif shows_frames(fault) and not any(line.text.startswith("[") for line in red.frames):
            wrong.append(f"{short_id} shows no frames for {sentence!r}")
        if (control.outcome, control.reason) != (Outcome.PASSED, ""):
            wrong.append(f"after {short_id} ({sentence!r}) {control.id} failed: {control.reason}")
    return wrong


@pytest.mark.parametrize("part", chunks(FAULTS))
async def test_a_fault_turns_exactly_its_case_red(csms: Csms, part: list[tuple[str, Fault, str]]) -> None:
    async with Interposer(csms.server.ws_url(csms.tenant.slug)) as interposer:
        assert await wrong_about(part, options(csms, ocpp_url=interposer.url), interposer, has_transactions=True) == []


@pytest.mark.parametrize("part", chunks(SECURE_FAULTS))
async def test_a_fault_turns_exactly_its_security_case_red(
    secure: TlsServer, monkeypatch: pytest.MonkeyPatch, part: list[tuple[str, Fault, str]]
) -> None:
    async with Interposer("ws://127.0.0.1/") as interposer:
        dial_through(interposer, monkeypatch)
        assert await wrong_about(part, secure_options(secure), interposer, has_transactions=False) == []


def test_every_case_has_a_fault_that_it_sees() -> None:
    seen = {certification_case(short_id).id for short_id, _, _ in [*FAULTS, *SECURE_FAULTS]}
    assert [case.id for case in CASES if case.id not in seen] == []
