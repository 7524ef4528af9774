"""The panels of a charge point's page: each a few bounded queries, fetched when it comes into view.

A panel is a function from the charge point to what its template shows; its name is part of the URL and of the template.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from stations import attention
from stations.admin.certificates import certificates_panel
from stations.admin.composite_schedule import composite_schedule
from stations.admin.configuration_keys import KNOWN_KEYS
from stations.admin.firmware import firmware_panel
from stations.admin.local_auth_lists import local_list_panel
from stations.admin.reservations import reservations_panel
from stations.admin.response_times import response_times
from stations.admin.security_events import security_panel
from stations.admin.smart_charging import charging_profiles
from stations.admin.vendor_messages import vendor_messages_of
from stations.masking import MASK, is_secret_key
from stations.models import (
    Boot,
    ChargePoint,
    Command,
    ConfigurationKey,
    ConnectionAttempt,
    ConnectorStatus,
    OcppMessage,
    Transaction,
)
from stations.models.charge_point import BOOT_TEXTS

SHOWN = 20
SHOWN_MESSAGES = 50
BOOT_LABELS = {
    "vendor": "Vendor",
    "model": "Model",
    "firmware_version": "Firmware",
    "charge_point_serial_number": "Charge point serial number",
    "charge_box_serial_number": "Charge box serial number",
    "iccid": "ICCID",
    "imsi": "IMSI",
    "meter_type": "Meter type",
    "meter_serial_number": "Meter serial number",
}


def presence(charge_point: ChargePoint) -> dict[str, Any]:
    """Why it is not connected: the newest handshake, if that was refused after the connection ended. Polled."""
    if charge_point.connected:
        return {"refused": None}
    newest = ConnectionAttempt.objects.filter(charge_point=charge_point).order_by("-id").first()
    return {"refused": None if newest is None or newest.accepted else newest}


def live(charge_point: ChargePoint) -> dict[str, Any]:
    """Connectors with their status and what runs on them, and the state of the connection. Polled."""
    running: dict[int, Any] = {
        tx.connector_id: tx
        for tx in Transaction.objects.open().filter(charge_point=charge_point).with_latest_reading().order_by("id")
    }
    doubts = attention.doubts(datetime.now(UTC), [tx.pk for tx in running.values()])
    for tx in running.values():
        tx.doubts = doubts.get(tx.pk, [])
    connectors = list(charge_point.connectors.order_by("connector_id"))
    known = {connector.connector_id for connector in connectors}
    return {
        "rows": [(connector, running.get(connector.connector_id)) for connector in connectors],
        "elsewhere": [tx for connector_id, tx in running.items() if connector_id not in known],
        "now": datetime.now(UTC),
    }


def boot(charge_point: ChargePoint) -> dict[str, Any]:
    """What it said of itself at its last boots, and the deviations from the standard that were let pass."""
    deviations = [
        {"action": key.split(":")[0], "kind": key.split(":")[1].replace("_", " "), **found}
        for key, found in sorted(charge_point.deviations.items())
    ]
    for deviation in deviations:
        deviation["at"] = _instant(deviation.get("at"))
    return {
        "facts": [(BOOT_LABELS[name], getattr(charge_point, name)) for name in BOOT_TEXTS.values()],
        "boots": Boot.objects.filter(charge_point=charge_point)[:5],
        "deviations": deviations,
    }


def _instant(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def transactions(charge_point: ChargePoint) -> dict[str, Any]:
    rows = Transaction.objects.filter(charge_point=charge_point).with_latest_reading().order_by("-id")
    return {"rows": rows[:SHOWN]}


def commands(charge_point: ChargePoint) -> dict[str, Any]:
    """The newest commands with their answers. Polled."""
    return {
        "rows": Command.objects.filter(charge_point=charge_point)
        .select_related("charge_point__tenant")
        .order_by("-id")[:SHOWN]
    }


def configuration(charge_point: ChargePoint) -> dict[str, Any]:
    """Keys as reported and as wanted."""
    rows = list(ConfigurationKey.objects.filter(charge_point=charge_point).order_by("key"))
    listed = charge_point.tenant.secret_keys
    for row in rows:
        if is_secret_key(row.key, listed):
            row.value = row.value and MASK
            row.desired_value = row.desired_value and MASK
    reported = [row.reported_at for row in rows if row.reported_at is not None]
    return {
        "rows": [(row, KNOWN_KEYS.get(row.key.lower(), "")) for row in rows if row.known],
        "unknown": [row.key for row in rows if not row.known],
        "drifting": sum(row.drift for row in rows),
        "reported_at": max(reported, default=None),
    }


def messages(charge_point: ChargePoint) -> dict[str, Any]:
    """The newest frames, and what the vendor says in its own words."""
    return {
        "rows": OcppMessage.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN_MESSAGES],
        "vendor_messages": vendor_messages_of(charge_point),
    }


def connection(charge_point: ChargePoint) -> dict[str, Any]:
    """Handshakes with what to do about the refused ones, and the newest statuses reported."""
    return {
        "rows": ConnectionAttempt.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN],
        "statuses": ConnectorStatus.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN],
    }


def times(charge_point: ChargePoint) -> dict[str, Any]:
    """Response times of the last 24 hours, ours and the charge point's."""
    return {"times": response_times(charge_point, datetime.now(UTC))}


PANELS: dict[str, Callable[[ChargePoint], dict[str, Any]]] = {
    "presence": presence,
    "waiting": presence,
    "live": live,
    "boot": boot,
    "transactions": transactions,
    "reservations": reservations_panel,
    "commands": commands,
    "charging_profiles": charging_profiles,
    "composite_schedule": composite_schedule,
    "local_list": local_list_panel,
    "configuration": configuration,
    "firmware": firmware_panel,
    "certificates": certificates_panel,
    "security_events": security_panel,
    "messages": messages,
    "connection": connection,
    "times": times,
}
