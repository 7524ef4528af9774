"""The action table: every message of the profiles we have, each function in its profile's module under its own name."""

from __future__ import annotations

import inspect
import re

import pytest

from csms.ocppj import payloads
from stations.ocpp import (
    actions,
    core,
    firmware_management,
    local_auth_list_management,
    remote_trigger,
    reservation,
    smart_charging,
)
from stations.ocpp.security import certificates, events, logs, triggers
from stations.ocpp.security import firmware as signed_firmware

# OCPP 1.6 edition 2, section 3.3 (as corrected by errata v4.0 3.2, 3.3): the messages of each profile, by direction.
PROFILES = {
    core: (
        {
            "Authorize", "BootNotification", "DataTransfer", "Heartbeat", "MeterValues", "StartTransaction",
            "StatusNotification", "StopTransaction",
        },
        {
            "ChangeAvailability", "ChangeConfiguration", "ClearCache", "DataTransfer", "GetConfiguration",
            "RemoteStartTransaction", "RemoteStopTransaction", "Reset", "UnlockConnector",
        },
    ),
    local_auth_list_management: (set(), {"GetLocalListVersion", "SendLocalList"}),
    remote_trigger: (set(), {"TriggerMessage"}),
    reservation: (set(), {"CancelReservation", "ReserveNow"}),
    smart_charging: (set(), {"ClearChargingProfile", "GetCompositeSchedule", "SetChargingProfile"}),
    firmware_management: (
        {"DiagnosticsStatusNotification", "FirmwareStatusNotification"},
        {"GetDiagnostics", "UpdateFirmware"},
    ),
    certificates: (
        {"SignCertificate"},
        {"CertificateSigned", "DeleteCertificate", "GetInstalledCertificateIds", "InstallCertificate"},
    ),
    triggers: (set(), {"ExtendedTriggerMessage"}),
    events: ({"SecurityEventNotification"}, set()),
    logs: ({"LogStatusNotification"}, {"GetLog"}),
    signed_firmware: ({"SignedFirmwareStatusNotification"}, {"SignedUpdateFirmware"}),
}  # fmt: skip
INBOUND = [(module, action) for module, (inbound, _) in PROFILES.items() for action in sorted(inbound)]
OUTBOUND = [(module, action) for module, (_, outbound) in PROFILES.items() for action in sorted(outbound)]


def snake_case(action: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", action).lower()


def test_table_from_the_charge_point_has_the_messages_of_the_profiles_and_no_others() -> None:
    assert set(actions.FROM_CHARGE_POINT) == set().union(*(inbound for inbound, _ in PROFILES.values()))


def test_table_to_the_charge_point_has_the_messages_of_the_profiles_and_no_others() -> None:
    assert set(actions.TO_CHARGE_POINT) == set().union(*(outbound for _, outbound in PROFILES.values()))


def test_no_key_is_unknown_to_ocpp_16() -> None:
    assert set(actions.FROM_CHARGE_POINT) <= payloads.FROM_CHARGE_POINT
    assert set(actions.TO_CHARGE_POINT) <= payloads.TO_CHARGE_POINT


@pytest.mark.parametrize(("module", "action"), INBOUND, ids=[action for _, action in INBOUND])
def test_inbound_function_lives_in_its_profile_and_is_named_as_the_action(module: object, action: str) -> None:
    function = actions.FROM_CHARGE_POINT[action]
    assert function is getattr(module, snake_case(action))
    assert list(inspect.signature(function).parameters) == ["charge_point", "req", "now"]


@pytest.mark.parametrize(("module", "action"), OUTBOUND, ids=[action for _, action in OUTBOUND])
def test_outbound_function_lives_in_its_profile_and_is_named_conf(module: object, action: str) -> None:
    function = actions.TO_CHARGE_POINT[action]
    assert function is getattr(module, f"{snake_case(action)}_conf")
    assert list(inspect.signature(function).parameters) == ["command", "conf", "now"]


@pytest.mark.parametrize("suffix", ["complete", "warnings", "queued", "without_answer"])
def test_function_around_a_command_lives_in_its_profile_and_is_named_for_its_part(suffix: str) -> None:
    table = getattr(actions, suffix.upper())
    assert set(table) <= set(actions.TO_CHARGE_POINT)
    modules = {action: module for module, (_, outbound) in PROFILES.items() for action in outbound}
    for action, function in table.items():
        assert function is getattr(modules[action], f"{snake_case(action)}_{suffix}")


@pytest.mark.parametrize(
    "function",
    [*actions.FROM_CHARGE_POINT.values(), *actions.TO_CHARGE_POINT.values()],
    ids=lambda function: function.__name__,
)
def test_function_is_synchronous_and_its_docstring_names_its_source(function: object) -> None:
    assert not inspect.iscoroutinefunction(function)
    assert re.search(r"Source: .*\d", inspect.getdoc(function) or "")
