"""States of charge points, connectors, transactions and commands as coloured words."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Protocol

from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from csms.ocppj.payloads import order_call
from stations import secret_keys
from stations.attention import Kind
from stations.masking import masked
from stations.models import (
    ChargePoint,
    Command,
    ConnectionAttempt,
    Connector,
    ConnectorStatus,
    Reservation,
    Transaction,
)
from stations.models.charge_point import RegistrationStatus
from stations.models.command import CommandStatus
from stations.models.connector import ChargePointStatus
from stations.models.reservation import EndReason, ReservationStatus
from stations.models.transaction import Flag
from tenants.display import DASH, ago_text, badge, local_text, moment

CONNECTOR_VARIANTS: dict[str, str] = {
    ChargePointStatus.AVAILABLE: "success",
    ChargePointStatus.PREPARING: "info",
    ChargePointStatus.CHARGING: "active",
    ChargePointStatus.SUSPENDED_EVSE: "warning",
    ChargePointStatus.SUSPENDED_EV: "warning",
    ChargePointStatus.FINISHING: "info",
    ChargePointStatus.RESERVED: "warning",
    ChargePointStatus.UNAVAILABLE: "plain",
    ChargePointStatus.FAULTED: "danger",
}
LAST_KNOWN = "the charge point is not connected: this is the last status that it sent"
UNKNOWN_STATUS = "not a status of OCPP 1.6, kept as the charge point sent it"
REGISTRATION_VARIANTS = {
    RegistrationStatus.ACCEPTED: "success",
    RegistrationStatus.PENDING: "warning",
    RegistrationStatus.REJECTED: "danger",
}
# Words of confirmations that say yes or no; every other word is shown as it came, without a verdict.
YES = {"Accepted", "Unlocked", "Scheduled", "RebootRequired"}
NO = {"Rejected", "NotSupported", "UnlockFailed", "Failed", "Faulted", "UnknownVendorId", "UnknownMessageId"}
RESERVATION_VARIANTS = {
    ReservationStatus.REQUESTED: "active",
    ReservationStatus.ACCEPTED: "success",
    ReservationStatus.USED: "plain",
    ReservationStatus.FAULTED: "danger",
    ReservationStatus.REJECTED: "danger",
    ReservationStatus.OCCUPIED: "info",
    ReservationStatus.UNAVAILABLE: "info",
}
# What became of a command without an answer.
COMMAND_VARIANTS = {
    CommandStatus.QUEUED: "plain",
    CommandStatus.SENT: "active",
    CommandStatus.ANSWERED: "success",
    CommandStatus.ERROR: "danger",
    CommandStatus.TIMED_OUT: "danger",
    CommandStatus.EXPIRED: "warning",
    CommandStatus.WITHDRAWN: "plain",
    CommandStatus.UNKNOWN: "warning",
}

# From here on W and Wh are shown in millions.
LARGE_WH = 10_000_000
# What a composite schedule was found to be beside the one that we compute.
AGREEMENT = {
    True: "The schedule is the one that we compute",
    False: "The schedule differs from the one that we compute",
    None: "We know of no profile that limits here",
}


def connector_badge(connector: Connector, *, connected: bool = True) -> SafeString:
    """The status of one connector with its number; the error and its age are in the tooltip.

    Of a charge point that is not `connected` it is the last one known, and has no colour.
    """
    title = [f"Connector {connector.connector_id}: {connector.status or 'no status yet'}"]
    if not connector.status_known:
        title.append(UNKNOWN_STATUS)
    if connector.error_code and connector.error_code != "NoError":
        title.append(f"{connector.error_code} {connector.info}".strip())
    if connector.status_at is not None:
        title.append(f"since {local_text(connector.status_at)}")
    text = f"{connector.connector_id} {shown_status(connector) or '?'}"
    if not connected:
        return badge(f"{text}, last known", "past", ", ".join([*title, LAST_KNOWN]))
    return badge(text, _connector_variant(connector), ", ".join(title))


def status_badge(connector: Connector | ConnectorStatus) -> SafeString:
    """The status of one connector, present or past, without its number."""
    title = "" if connector.status_known else UNKNOWN_STATUS
    return badge(shown_status(connector) or "no status yet", _connector_variant(connector), title)


def present_status_badge(connector: Connector, connected: bool) -> SafeString:
    """The status of one connector as it is now, or, of a charge point that is not connected, the last one known."""
    if connected or not connector.status:
        return status_badge(connector)
    return badge(f"{shown_status(connector)}, last known", "past", LAST_KNOWN)


def _connector_variant(connector: Connector | ConnectorStatus) -> str:
    return CONNECTOR_VARIANTS.get(connector.status, "plain" if connector.status_known else "warning")


class _Reported(Protocol):
    """What has a status in a charge point's own words."""

    status: str

    @property
    def status_known(self) -> bool: ...


def shown_status(row: _Reported) -> str:
    """The status in the charge point's own word, and that it is unknown where no standard defines it."""
    return row.status if row.status_known else f"{row.status} (unknown)"


def connection_dot(charge_point: ChargePoint) -> SafeString:
    """A green dot for a connected charge point, else a grey one; since when is in the tooltip."""
    since = charge_point.connected_at if charge_point.connected else charge_point.disconnected_at
    word = "Connected" if charge_point.connected else "Not connected"
    title = word if since is None else f"{word} since {local_text(since)} ({ago_text(since)})"
    return format_html(
        '<span class="csms-dot {}" role="img" aria-label="{}" title="{}"></span>',
        "csms-dot-on" if charge_point.connected else "", word, title,
    )  # fmt: skip


def registration_badge(charge_point: ChargePoint) -> SafeString:
    """The registration status, or that the charge point is disabled here."""
    if charge_point.disabled:
        return badge("disabled", "danger", "Every connection is refused")
    status = charge_point.registration_status
    return badge(status, REGISTRATION_VARIANTS.get(RegistrationStatus(status), "plain"))


def command_badge(command: Command) -> SafeString:
    """The charge point's own word when it answered, else what became of the command."""
    outcome = command.outcome
    if command.status == CommandStatus.ANSWERED:
        variant = "success" if outcome in YES or outcome == "answered" else "danger" if outcome in NO else "info"
    else:
        variant = COMMAND_VARIANTS.get(CommandStatus(command.status), "plain")
    return badge(outcome.replace("_", " "), variant)


def flag_badges(tx: Transaction) -> SafeString:
    """One badge a flag; the sentence behind it is in the tooltip."""
    labels = dict(Flag.choices)
    return format_html_join(
        " ", "{}", ((badge(flag.replace("_", " "), "warning", labels.get(flag, flag)),) for flag in tx.flags)
    )


def doubt_badges(kinds: Iterable[Kind]) -> SafeString:
    """Why an open transaction may not be running (attention.doubts); what to do is in the tooltip."""
    return format_html_join(" ", "{}", ((badge(kind.label, "warning", kind.remedy),) for kind in kinds))


def shown_payload(command: Command) -> Any:
    """The request of a command as it goes on the wire, but without secrets, also while it waits to be sent."""
    return masked(command.action, order_call(command.action, command.payload), secret_keys.of(command))


def shown_response(command: Command) -> Any:
    """What a command was answered, without the values of keys that were declared secret since."""
    return masked(command.action, command.response, secret_keys.of(command))


def effect_link(command: Command) -> SafeString | str:
    """What came of a command, as a link where it is a row of ours."""
    effect: dict[str, Any] = command.effect or {}
    if "transaction" in effect:
        url = reverse("admin:stations_transaction_change", args=[effect["transaction"]])
        return format_html('<a class="csms-link" href="{}">Transaction {}</a>', url, effect["transaction"])
    if "diagnostics" in effect or "log" in effect:
        url = reverse("admin:stations_logrequest_change", args=[effect.get("diagnostics", effect.get("log"))])
        kind = "Diagnostics" if "diagnostics" in effect else "Log"
        what = effect["upload"]["name"] if "upload" in effect else f"{kind} {effect.get('status', '')}"
        return format_html('<a class="csms-link" href="{}">{}</a>', url, what)
    if "boot" in effect:
        url = reverse("admin:stations_boot_change", args=[effect["boot"]])
        at = parse_datetime(str(effect.get("booted_at", "")))
        return format_html('<a class="csms-link" href="{}">Booted {}</a>', url, DASH if at is None else moment(at))
    if "reservation" in effect:
        number = effect["reservation"]
        query = urlencode({"charge_point": command.charge_point_id, "q": number})
        url = f"{reverse('admin:stations_reservation_changelist')}?{query}"
        return format_html('<a class="csms-link" href="{}">Reservation {}</a>', url, number)
    if "messages" in effect:
        return format_html_join(", ", "{}", ((_message_came(message),) for message in effect["messages"]))
    if "agrees" in effect:
        return AGREEMENT[effect["agrees"]]
    return ", ".join(f"{name}: {value}" for name, value in effect.items()) or DASH


def _message_came(message: dict[str, Any]) -> SafeString:
    """A message that a TriggerMessage led to, as stations/ocpp/remote_trigger.py notes it."""
    at = parse_datetime(str(message.get("received_at", "")))
    connector = f" of connector {message['connector_id']}" if "connector_id" in message else ""
    return format_html("{}{} {}", message.get("action", ""), connector, DASH if at is None else moment(at))


def transaction_link(transaction_id: int | None) -> SafeString | str:
    if transaction_id is None:
        return DASH
    url = reverse("admin:stations_transaction_change", args=[transaction_id])
    return format_html('<a class="csms-link" href="{}">{}</a>', url, transaction_id)


def reservation_badge(reservation: Reservation) -> SafeString:
    """The state of a reservation; why it ended is in the tooltip."""
    variant = RESERVATION_VARIANTS.get(ReservationStatus(reservation.status), "plain")
    return badge(reservation.status, variant, dict(EndReason.choices).get(reservation.end_reason, ""))


def charge_point_link(charge_point: ChargePoint | None, otherwise: str = DASH) -> SafeString | str:
    if charge_point is None:
        return otherwise
    url = reverse("admin:stations_chargepoint_change", args=[charge_point.pk])
    return format_html('<a class="csms-link" href="{}">{}</a>', url, charge_point.identity)


def create_url(attempt: ConnectionAttempt) -> str:
    """Where a charge point is added that was refused because nobody knows it; "" where that is not what it needs."""
    if attempt.charge_point_id is not None or attempt.reason not in ("unknown_identity", "not_found"):
        return ""
    return f"{reverse('admin:stations_chargepoint_add')}?{urlencode({'identity': attempt.identity})}"


def energy(wh: Decimal | float | None, decimals: int = 3) -> str:
    """Wh as kWh; from 10 MWh on as MWh, which fits where the smaller ones do."""
    if wh is None:
        return DASH
    if abs(float(wh)) >= LARGE_WH:
        return f"{float(wh) / 1e6:.{decimals}f} MWh"
    return f"{float(wh) / 1000:.{decimals}f} kWh"


def power(w: float | None) -> str:
    """W as kW with one decimal; from 10 MW on as MW."""
    if w is None:
        return DASH
    return f"{w / 1e6:.1f} MW" if abs(w) >= LARGE_WH else f"{w / 1000:.1f} kW"


def duration(seconds: float) -> str:
    """Hours and minutes: "1 h 05 min"."""
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
