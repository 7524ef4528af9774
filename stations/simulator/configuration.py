"""The configuration keys of a simulated charge point: OCPP 1.6 section 9 with the values of a two-socket AC station."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ocpp.v16.enums import ConfigurationStatus

from .meter import SUPPORTED_MEASURANDS

FEATURE_PROFILES = "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
SAMPLED_DATA = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"
FILE_TRANSFER_PROTOCOLS = "FTP,FTPS,HTTP,HTTPS"
PHASE_ROTATIONS = ("NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR")
LARGEST_INTEGER = 2**31 - 1

Check = Callable[[str], bool]


def whole_number(text: str, largest: int = LARGEST_INTEGER) -> bool:
    return re.fullmatch(r"\d{1,10}", text) is not None and int(text) <= largest


def percentage(text: str) -> bool:
    return whole_number(text, 100)


def true_or_false(text: str) -> bool:
    return text.lower() in ("true", "false")


def measurands(text: str) -> bool:
    """A list with one measurand we do not have is wrong as a whole (OCPP 1.6 ed. 2, 5.3 and 9.1)."""
    return all(item.strip() in SUPPORTED_MEASURANDS for item in text.split(",")) if text else True


def phase_rotations(text: str) -> bool:
    items = [item.strip().partition(".") for item in text.split(",")]
    return all(whole_number(connector) and rotation in PHASE_ROTATIONS for connector, _, rotation in items)


def password(text: str) -> bool:
    """16 to 20 bytes as hexadecimal digits (whitepaper A00.FR.205), or 16 to 20 characters as they are."""
    return re.fullmatch(r"([0-9A-Fa-f]{2}){16,20}", text) is not None or 16 <= len(text) <= 20


@dataclass
class ConfigurationKey:
    """One key; `check` None means read-only."""

    value: str | None
    check: Check | None = None
    needs_reboot: bool = False
    secret: bool = False  # written, never read back


class Configuration:
    """The keys by name, what they accept, and typed access to those that steer the simulation."""

    def __init__(self, *, connectors: int, sample_interval_seconds: float) -> None:
        rotation = ",".join(f"{number}.RST" for number in range(connectors + 1))
        self._keys: dict[str, ConfigurationKey] = {
            "AllowOfflineTxForUnknownId": ConfigurationKey("false", true_or_false),
            "AuthorizationCacheEnabled": ConfigurationKey("true", true_or_false),
            "AuthorizationKey": ConfigurationKey(None, password, secret=True),
            "AuthorizeRemoteTxRequests": ConfigurationKey("true", true_or_false),
            "BlinkRepeat": ConfigurationKey("3", whole_number),
            "ChargeProfileMaxStackLevel": ConfigurationKey("8"),
            "ChargingScheduleAllowedChargingRateUnit": ConfigurationKey("Current,Power"),
            "ChargingScheduleMaxPeriods": ConfigurationKey("24"),
            "ClockAlignedDataInterval": ConfigurationKey("0", whole_number),
            "ConnectionTimeOut": ConfigurationKey("60", whole_number),
            "ConnectorPhaseRotation": ConfigurationKey(rotation, phase_rotations, needs_reboot=True),
            "ConnectorPhaseRotationMaxLength": ConfigurationKey(str(connectors + 1)),
            "ConnectorSwitch3to1PhaseSupported": ConfigurationKey("false"),
            "GetConfigurationMaxKeys": ConfigurationKey("50"),
            "HeartbeatInterval": ConfigurationKey("300", whole_number),
            "LightIntensity": ConfigurationKey("80", percentage),
            "LocalAuthListEnabled": ConfigurationKey("true", true_or_false),
            "LocalAuthListMaxLength": ConfigurationKey("1000"),
            "LocalAuthorizeOffline": ConfigurationKey("true", true_or_false),
            "LocalPreAuthorize": ConfigurationKey("false", true_or_false),
            "MaxChargingProfilesInstalled": ConfigurationKey("24"),
            "MessageTimeout": ConfigurationKey("30", whole_number),
            "MeterValueSampleInterval": ConfigurationKey(f"{sample_interval_seconds:g}", whole_number),
            "MeterValuesAlignedData": ConfigurationKey("Energy.Active.Import.Register", measurands),
            "MeterValuesAlignedDataMaxLength": ConfigurationKey(str(len(SUPPORTED_MEASURANDS))),
            "MeterValuesSampledData": ConfigurationKey(SAMPLED_DATA, measurands),
            "MeterValuesSampledDataMaxLength": ConfigurationKey(str(len(SUPPORTED_MEASURANDS))),
            "MinimumStatusDuration": ConfigurationKey("0", whole_number),
            "NumberOfConnectors": ConfigurationKey(str(connectors)),
            "ReserveConnectorZeroSupported": ConfigurationKey("true"),
            "ResetRetries": ConfigurationKey("1", whole_number),
            "SendLocalListMaxLength": ConfigurationKey("200"),
            "StopTransactionMaxMeterValues": ConfigurationKey("100"),
            "StopTransactionOnEVSideDisconnect": ConfigurationKey("true", true_or_false),
            "StopTransactionOnInvalidId": ConfigurationKey("true", true_or_false),
            "StopTxnAlignedData": ConfigurationKey("", measurands),
            "StopTxnAlignedDataMaxLength": ConfigurationKey(str(len(SUPPORTED_MEASURANDS))),
            "StopTxnSampledData": ConfigurationKey("Energy.Active.Import.Register", measurands),
            "StopTxnSampledDataMaxLength": ConfigurationKey(str(len(SUPPORTED_MEASURANDS))),
            "SupportedFeatureProfiles": ConfigurationKey(FEATURE_PROFILES),
            "SupportedFileTransferProtocols": ConfigurationKey(FILE_TRANSFER_PROTOCOLS),
            "TransactionMessageAttempts": ConfigurationKey("3", whole_number),
            "TransactionMessageRetryInterval": ConfigurationKey("10", whole_number),
            "UnlockConnectorOnEVSideDisconnect": ConfigurationKey("true", true_or_false),
            "WebSocketPingInterval": ConfigurationKey("60", whole_number, needs_reboot=True),
        }

    def __len__(self) -> int:
        return len(self._keys)

    def text(self, key: str) -> str:
        return self._keys[key].value or ""

    def number(self, key: str) -> float:
        return float(self.text(key))

    def flag(self, key: str) -> bool:
        return self.text(key).lower() == "true"

    def items(self, key: str) -> list[str]:
        """The entries of a comma-separated list."""
        return [item.strip() for item in self.text(key).split(",") if item.strip()]

    def set(self, key: str, value: str) -> None:
        """Set a key from inside the station, read-only or not."""
        self._keys[key].value = value

    def change(self, key: str, value: str) -> ConfigurationStatus:
        """Carry out ChangeConfiguration.req.

        Source: OCPP 1.6 ed. 2, 5.3: unknown key NotSupported, read-only key or bad value Rejected.
        """
        entry = self._keys.get(key)
        if entry is None:
            return ConfigurationStatus.not_supported
        if entry.check is None or not entry.check(value):
            return ConfigurationStatus.rejected
        entry.value = value
        return ConfigurationStatus.reboot_required if entry.needs_reboot else ConfigurationStatus.accepted

    def report(self, keys: Iterable[str] | None) -> tuple[list[dict], list[str]]:
        """Return the configurationKey and unknownKey lists of GetConfiguration.conf; no keys asked for means all."""
        asked = list(keys or self._keys)
        known = [self._entry(key) for key in asked if key in self._keys]
        return known, [key for key in asked if key not in self._keys]

    def _entry(self, key: str) -> dict:
        entry = self._keys[key]
        reported: dict = {"key": key, "readonly": entry.check is None}
        if entry.value is not None and not entry.secret:
            reported["value"] = entry.value
        return reported
