"""The buttons of a charge point's page, gathered: four menus, whatever profiles there are."""

from __future__ import annotations

from typing import Any

from stations.admin.actions import CommandActions
from stations.admin.certificates import CertificateActions
from stations.admin.credentials import CredentialActions
from stations.admin.firmware import FirmwareActions
from stations.admin.local_auth_lists import LocalAuthListActions
from stations.admin.reservations import ReservationActions
from stations.admin.security_events import SecurityEventActions
from stations.admin.security_requests import SecurityRequestActions
from stations.admin.smart_charging import SmartChargingActions


def menu(title: str, icon: str, *menus: dict[str, Any]) -> dict[str, Any]:
    """One menu with the items of several."""
    return {"title": title, "icon": icon, "items": [item for each in menus for item in each["items"]]}


class ChargingActions(SmartChargingActions, ReservationActions):
    """Profiles and reservations."""

    charging_menu = menu(
        "Charging", "ssid_chart", SmartChargingActions.smart_charging_menu, ReservationActions.reservation_menu
    )


class MaintenanceActions(FirmwareActions, LocalAuthListActions):
    """Firmware, diagnostics and the local list."""

    maintenance_menu = menu("Maintenance", "build", FirmwareActions.firmware_menu, LocalAuthListActions.local_list_menu)


class KeyActions(CredentialActions, CertificateActions):
    """Passwords, security profiles, certificates."""

    key_menu = menu("Security", "key", CredentialActions.credentials_menu, CertificateActions.certificate_menu)


class EventActions(SecurityRequestActions, SecurityEventActions):
    """Logs, signed firmware, and what the charge point reported."""


class ProfileActions(ChargingActions, MaintenanceActions):
    """What the profiles beside Core offer."""


class SecurityActions(KeyActions, EventActions):
    """What the security extension offers."""


class ExtensionActions(ProfileActions, SecurityActions):
    """Everything beside Core and Remote Trigger."""


MENUS = (
    *CommandActions.actions_detail,
    ChargingActions.charging_menu,
    MaintenanceActions.maintenance_menu,
    KeyActions.key_menu,
)
MANY = (*CommandActions.actions, *LocalAuthListActions.local_list_actions)
