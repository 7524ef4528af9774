"""The table of all cases: id, title, functionality row, function. One line each, in the order of the certificate.

A case of an optional profile or of the security extension is one more line here. `connects` False: the case itself
opens the connection, perhaps more than once. `security_profiles`: the case makes sense in these only. It is played in
that of the run if it is one of them, else in the first that the run covers; when it covers none, the case is shown as
not applicable and counts neither as passed nor as failed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from csms.certify.case import Case
from csms.certify.cases import (
    core_commands,
    core_sessions,
    firmware_management,
    local_auth_list,
    remote_trigger,
    reservation,
    security_certificates,
    security_connections,
    security_credentials,
    security_files,
    security_roots,
    smart_charging,
)
from csms.certify.failure import UsageError
from csms.certify.options import Options

ALL_SECURITY_PROFILES = (0, 1, 2, 3)
ID = re.compile(r"(?:TC_)?(\d{3}(?:_\d)?)(?:_CSMS)?", re.IGNORECASE)


class Row(StrEnum):
    """The functionality rows of the certificates, in their order."""

    CORE = "Core"
    FIRMWARE_MANAGEMENT = "Firmware Management"
    SMART_CHARGING = "Smart Charging"
    RESERVATION = "Reservation"
    LOCAL_AUTH_LIST_MANAGEMENT = "Local Authorization List Management"
    REMOTE_TRIGGER = "Remote Trigger"
    SECURITY_EXTENSION = "Security extension"


SHORT_NAMES = {
    "core": Row.CORE,
    "firmware": Row.FIRMWARE_MANAGEMENT,
    "smart": Row.SMART_CHARGING,
    "reservation": Row.RESERVATION,
    "local": Row.LOCAL_AUTH_LIST_MANAGEMENT,
    "lists": Row.LOCAL_AUTH_LIST_MANAGEMENT,
    "trigger": Row.REMOTE_TRIGGER,
    "security": Row.SECURITY_EXTENSION,
    # The names of SupportedFeatureProfiles in OCPP 1.6.
    "firmwaremanagement": Row.FIRMWARE_MANAGEMENT,
    "smartcharging": Row.SMART_CHARGING,
    "localauthlistmanagement": Row.LOCAL_AUTH_LIST_MANAGEMENT,
    "remotetrigger": Row.REMOTE_TRIGGER,
}


@dataclass(frozen=True, slots=True)
class CertificationCase:
    """One line of the table."""

    id: str
    title: str
    row: Row
    play: Callable[[Case], Awaitable[None]]
    connects: bool = True
    security_profiles: tuple[int, ...] = ALL_SECURITY_PROFILES
    # The case begins in the lowest profile of these above which the run covers the next as well.
    raises_profile: bool = False

    def profile_in(self, options: Options) -> int | None:
        """The security profile in which a run plays the case; None when it is not applicable."""
        covered = [profile for profile in self.security_profiles if profile in options.urls]
        if self.raises_profile:
            covered = [profile for profile in covered if profile + 1 in options.urls]
        elif options.profile in covered:
            return options.profile
        return covered[0] if covered else None

    def why_not(self, options: Options) -> str:
        """Why the case is not applicable."""
        covered = _or(sorted(options.urls), " and ")
        if self.raises_profile:
            pairs = _or([f"{profile} to {profile + 1}" for profile in self.security_profiles])
            return f"The case raises the security profile from {pairs}; the run covers {covered}."
        return f"The case is about security profile {_or(self.security_profiles)}; the run covers {covered}."


def _or(values: Iterable[object], last: str = " or ") -> str:
    """`1, 2 or 3`."""
    texts = [str(value) for value in values]
    return last.join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


CASES: tuple[CertificationCase, ...] = (
    # --- Core --------------------------------------------------------------------------------------------------------
    CertificationCase("TC_001_CSMS", "Cold boot", Row.CORE, core_sessions.tc_001),
    CertificationCase("TC_003_CSMS", "Regular charging session, plug in first", Row.CORE, core_sessions.tc_003),
    CertificationCase(
        "TC_004_1_CSMS", "Regular charging session, identification first", Row.CORE, core_sessions.tc_004_1
    ),
    CertificationCase("TC_004_2_CSMS", "Identification first, ConnectionTimeOut", Row.CORE, core_sessions.tc_004_2),
    CertificationCase("TC_005_1_CSMS", "EV side disconnected ends the session", Row.CORE, core_sessions.tc_005_1),
    CertificationCase("TC_007_CSMS", "Regular start with a cached id", Row.CORE, core_sessions.tc_007),
    CertificationCase("TC_010_CSMS", "Remote start, cable plugged in first", Row.CORE, core_commands.tc_010),
    CertificationCase("TC_011_1_CSMS", "Remote start first", Row.CORE, core_commands.tc_011_1),
    CertificationCase("TC_011_2_CSMS", "Remote start first, ConnectionTimeOut", Row.CORE, core_commands.tc_011_2),
    CertificationCase("TC_012_CSMS", "Remote stop", Row.CORE, core_commands.tc_012),
    CertificationCase("TC_013_CSMS", "Hard reset", Row.CORE, core_commands.tc_013),
    CertificationCase("TC_014_CSMS", "Soft reset", Row.CORE, core_commands.tc_014),
    CertificationCase(
        "TC_017_1_CSMS", "Unlock connector, no session, detachable cable", Row.CORE, core_commands.tc_017_1
    ),
    CertificationCase("TC_017_2_CSMS", "Unlock connector, no session, fixed cable", Row.CORE, core_commands.tc_017_2),
    CertificationCase("TC_018_1_CSMS", "Unlock connector with a session", Row.CORE, core_commands.tc_018_1),
    CertificationCase("TC_019_1_CSMS", "Read all configuration keys", Row.CORE, core_commands.tc_019_1),
    CertificationCase("TC_019_2_CSMS", "Read one configuration key", Row.CORE, core_commands.tc_019_2),
    CertificationCase("TC_021_CSMS", "Change a configuration key", Row.CORE, core_commands.tc_021),
    CertificationCase("TC_023_1_CSMS", "Authorize, invalid", Row.CORE, core_sessions.tc_023_1),
    CertificationCase("TC_023_2_CSMS", "Authorize, expired", Row.CORE, core_sessions.tc_023_2),
    CertificationCase("TC_023_3_CSMS", "Authorize, blocked", Row.CORE, core_sessions.tc_023_3),
    CertificationCase("TC_024_CSMS", "Start session, lock failure", Row.CORE, core_sessions.tc_024),
    CertificationCase("TC_026_CSMS", "Remote start rejected", Row.CORE, core_commands.tc_026),
    CertificationCase("TC_028_CSMS", "Remote stop rejected", Row.CORE, core_commands.tc_028),
    CertificationCase("TC_030_CSMS", "Unlock connector fails", Row.CORE, core_commands.tc_030),
    CertificationCase("TC_031_CSMS", "Unlock an unknown connector", Row.CORE, core_commands.tc_031),
    CertificationCase("TC_032_1_CSMS", "Power failure, transaction stopped at boot", Row.CORE, core_sessions.tc_032_1),
    CertificationCase("TC_037_1_CSMS", "Offline start, valid id tag", Row.CORE, core_sessions.tc_037_1),
    CertificationCase(
        "TC_037_3_CSMS", "Offline start, invalid id tag, StopTransactionOnInvalidId", Row.CORE, core_sessions.tc_037_3
    ),
    CertificationCase("TC_039_CSMS", "Offline transaction", Row.CORE, core_sessions.tc_039),
    CertificationCase("TC_040_1_CSMS", "Configuration key not supported", Row.CORE, core_commands.tc_040_1),
    CertificationCase("TC_040_2_CSMS", "Invalid configuration value", Row.CORE, core_commands.tc_040_2),
    CertificationCase("TC_061_CSMS", "Clear the authorization cache", Row.CORE, core_commands.tc_061),
    CertificationCase("TC_064_CSMS", "Data transfer to the central system", Row.CORE, core_sessions.tc_064),
    # --- Firmware Management ------------------------------------------------------------------------------------------
    CertificationCase(
        "TC_044_1_CSMS", "Firmware update, success", Row.FIRMWARE_MANAGEMENT, firmware_management.tc_044_1
    ),
    CertificationCase(
        "TC_044_2_CSMS", "Firmware update, download failed", Row.FIRMWARE_MANAGEMENT, firmware_management.tc_044_2
    ),
    CertificationCase(
        "TC_044_3_CSMS", "Firmware update, installation failed", Row.FIRMWARE_MANAGEMENT, firmware_management.tc_044_3
    ),
    CertificationCase("TC_045_1_CSMS", "Get diagnostics", Row.FIRMWARE_MANAGEMENT, firmware_management.tc_045_1),
    CertificationCase(
        "TC_045_2_CSMS", "Get diagnostics, upload failed", Row.FIRMWARE_MANAGEMENT, firmware_management.tc_045_2
    ),
    # --- Smart Charging -----------------------------------------------------------------------------------------------
    CertificationCase("TC_056_CSMS", "Default profile for transactions", Row.SMART_CHARGING, smart_charging.tc_056),
    CertificationCase("TC_057_CSMS", "Profile of a transaction", Row.SMART_CHARGING, smart_charging.tc_057),
    CertificationCase("TC_059_CSMS", "Remote start with a profile", Row.SMART_CHARGING, smart_charging.tc_059),
    CertificationCase("TC_066_CSMS", "Get the composite schedule", Row.SMART_CHARGING, smart_charging.tc_066),
    CertificationCase("TC_067_CSMS", "Clear charging profiles", Row.SMART_CHARGING, smart_charging.tc_067),
    # --- Reservation --------------------------------------------------------------------------------------------------
    CertificationCase("TC_046_CSMS", "Reserve a connector, then charge", Row.RESERVATION, reservation.tc_046),
    CertificationCase("TC_047_CSMS", "Reservation expires", Row.RESERVATION, reservation.tc_047),
    CertificationCase("TC_048_1_CSMS", "Reserve a connector, Faulted", Row.RESERVATION, reservation.tc_048_1),
    CertificationCase("TC_048_2_CSMS", "Reserve a connector, Occupied", Row.RESERVATION, reservation.tc_048_2),
    CertificationCase("TC_048_3_CSMS", "Reserve a connector, Unavailable", Row.RESERVATION, reservation.tc_048_3),
    CertificationCase("TC_048_4_CSMS", "Reserve a connector, Rejected", Row.RESERVATION, reservation.tc_048_4),
    CertificationCase("TC_049_CSMS", "Reserve the whole charge point", Row.RESERVATION, reservation.tc_049),
    CertificationCase("TC_051_CSMS", "Cancel a reservation", Row.RESERVATION, reservation.tc_051),
    CertificationCase("TC_052_CSMS", "Cancel a reservation, rejected", Row.RESERVATION, reservation.tc_052),
    CertificationCase(
        "TC_053_CSMS", "Use a reserved connector with an id tag of the same group", Row.RESERVATION, reservation.tc_053
    ),
    # --- Local Authorization List Management --------------------------------------------------------------------------
    CertificationCase(
        "TC_042_1_CSMS", "Local list version, not supported", Row.LOCAL_AUTH_LIST_MANAGEMENT, local_auth_list.tc_042_1
    ),
    CertificationCase(
        "TC_042_2_CSMS", "Local list version, empty", Row.LOCAL_AUTH_LIST_MANAGEMENT, local_auth_list.tc_042_2
    ),
    CertificationCase(
        "TC_043_1_CSMS", "Send the local list, not supported", Row.LOCAL_AUTH_LIST_MANAGEMENT, local_auth_list.tc_043_1
    ),
    CertificationCase(
        "TC_043_3_CSMS", "Send the local list, failed", Row.LOCAL_AUTH_LIST_MANAGEMENT, local_auth_list.tc_043_3
    ),
    CertificationCase(
        "TC_043_4_CSMS", "Send the local list, full", Row.LOCAL_AUTH_LIST_MANAGEMENT, local_auth_list.tc_043_4
    ),
    CertificationCase(
        "TC_043_5_CSMS", "Send the local list, differential", Row.LOCAL_AUTH_LIST_MANAGEMENT, local_auth_list.tc_043_5
    ),
    # --- Remote Trigger -----------------------------------------------------------------------------------------------
    CertificationCase("TC_054_CSMS", "Trigger message", Row.REMOTE_TRIGGER, remote_trigger.tc_054),
    CertificationCase("TC_055_CSMS", "Trigger message, rejected", Row.REMOTE_TRIGGER, remote_trigger.tc_055),
    # --- Security extension -------------------------------------------------------------------------------------------
    CertificationCase(
        "TC_073_CSMS",
        "New Basic password",
        Row.SECURITY_EXTENSION,
        security_credentials.tc_073,
        security_profiles=(1, 2),
    ),
    CertificationCase(
        "TC_074_CSMS",
        "New charge point certificate on request",
        Row.SECURITY_EXTENSION,
        security_certificates.tc_074,
        security_profiles=(3,),
    ),
    CertificationCase("TC_075_1_CSMS", "Install manufacturer root", Row.SECURITY_EXTENSION, security_roots.tc_075_1),
    CertificationCase("TC_075_2_CSMS", "Install central-system root", Row.SECURITY_EXTENSION, security_roots.tc_075_2),
    CertificationCase("TC_076_CSMS", "Delete a certificate", Row.SECURITY_EXTENSION, security_roots.tc_076),
    CertificationCase(
        "TC_077_CSMS",
        "Invalid charge point certificate event",
        Row.SECURITY_EXTENSION,
        security_certificates.tc_077,
        security_profiles=(3,),
    ),
    CertificationCase(
        "TC_078_CSMS", "Invalid central-system certificate event", Row.SECURITY_EXTENSION, security_roots.tc_078
    ),
    CertificationCase("TC_079_CSMS", "Get security log", Row.SECURITY_EXTENSION, security_files.tc_079),
    CertificationCase("TC_080_CSMS", "Signed firmware update", Row.SECURITY_EXTENSION, security_files.tc_080),
    CertificationCase("TC_081_CSMS", "Signed update, invalid signature", Row.SECURITY_EXTENSION, security_files.tc_081),
    CertificationCase(
        "TC_083_CSMS",
        "Upgrade the security profile",
        Row.SECURITY_EXTENSION,
        security_credentials.tc_083,
        security_profiles=(1, 2),
        raises_profile=True,
    ),
    CertificationCase(
        "TC_085_CSMS",
        "Basic authentication",
        Row.SECURITY_EXTENSION,
        security_connections.tc_085,
        connects=False,
        security_profiles=(1, 2),
    ),
    CertificationCase(
        "TC_086_CSMS",
        "TLS server certificate",
        Row.SECURITY_EXTENSION,
        security_connections.tc_086,
        connects=False,
        security_profiles=(2, 3),
    ),
    CertificationCase(
        "TC_087_CSMS",
        "TLS client certificate",
        Row.SECURITY_EXTENSION,
        security_connections.tc_087,
        connects=False,
        security_profiles=(3,),
    ),
    CertificationCase(
        "TC_088_CSMS",
        "Subprotocol negotiation",
        Row.SECURITY_EXTENSION,
        security_connections.tc_088,
        connects=False,
    ),
)


def choose(only: Iterable[str] = (), profiles: Iterable[str] = ()) -> Sequence[CertificationCase]:
    """The cases with these ids (`001`, `TC_001_CSMS`) that belong to these rows (`Core`, `smart`); all without a word.

    Errors: UsageError naming what is not known, or when nothing is left.
    """
    chosen: Sequence[CertificationCase] = CASES
    ids = {_id(text) for text in only}
    if ids:
        unknown = ids - {case.id for case in CASES}
        if unknown:
            raise UsageError(f"There is no case {', '.join(sorted(unknown))}; --list shows all.")
        chosen = [case for case in chosen if case.id in ids]
    rows = {_row(text) for text in profiles}
    if rows:
        chosen = [case for case in chosen if case.row in rows]
    if not chosen:
        raise UsageError("No case is both among --only and in a row of --profile.")
    return chosen


def _id(text: str) -> str:
    found = ID.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text.strip()!r} is no id of a case; ids look like 001, 004_1 or TC_001_CSMS.")
    return f"TC_{found[1]}_CSMS"


def _row(text: str) -> Row:
    name = " ".join(text.lower().split())
    for row in Row:
        if name == row.lower():
            return row
    row_of_short = SHORT_NAMES.get(name.replace(" ", ""))
    if row_of_short is None:
        raise UsageError(f"There is no profile {text!r}; there are: {', '.join(Row)}.")
    return row_of_short
