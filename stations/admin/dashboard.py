"""The first page: what is charging, what is broken, what waits. Nine bounded queries, no COUNT of a log.

Platform administrators also see who guesses at passwords and API keys, whichever tenant's they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone

from stations.admin.security_events import alert_groups
from stations.display import command_badge, energy, flag_badges, power, status_badge
from stations.models import ChargePoint, Command, ConnectionAttempt, Connector, Transaction
from stations.models.command import OPEN_STATUSES
from stations.models.connector import ChargePointStatus
from tenants.admin.scoped import confined, may
from tenants.models import ApiScope, Guessing

SHOWN = 8
# Newest rows looked at where a table has no index on time.
MAX_ATTEMPTS = 1000
MAX_RUNNING = 1000
MAX_COMMANDS = 200
MAX_FAULTED = 50
GUESSING_FOR = timedelta(days=1)
FAILED_HANDSHAKES_FOR = timedelta(hours=1)
# How far a charge point's clock may be ahead of ours for its stop of today to have come yesterday.
CLOCK_AHEAD = timedelta(hours=1)


@dataclass(slots=True)
class FailedHandshakes:
    """Refused handshakes of one identity for one reason, the newest first."""

    identity: str
    charge_point_id: int | None
    reason: str
    remedy: str
    at: datetime
    address: str
    times: int = 1

    @property
    def reason_text(self) -> str:
        return self.reason.replace("_", " ")


def dashboard(request: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the context of the admin's index what its template shows; nothing for people without a tenant."""
    context["title"] = "Dashboard"
    if request.user.is_superuser:
        since = timezone.now() - GUESSING_FOR
        context["guessing"] = list(Guessing.objects.filter(last_at__gte=since)[:SHOWN])
    if may(request, ApiScope.READ):
        context |= figures(request, timezone.now())
    return context


def figures(request: Any, now: datetime) -> dict[str, Any]:
    """What the dashboard shows of the tenant (and sites) of `request`."""
    stations = confined(ChargePoint.objects.all(), request, "site").aggregate(
        total=Count("pk"),
        connected=Count("pk", filter=Q(connected=True)),
        pending=Count("pk", filter=Q(registration_status="Pending")),
    )
    of_stations = "charge_point__site"
    running = list(
        confined(Transaction.objects.open(), request, of_stations)
        .with_latest_reading()
        .select_related("charge_point")
        .order_by("-id")[:MAX_RUNNING]
    )
    waiting = list(
        confined(Command.objects.filter(status__in=OPEN_STATUSES), request, of_stations)
        .select_related("charge_point")
        .order_by("-id")[:MAX_COMMANDS]
    )
    latest = list(
        confined(Transaction.objects.all(), request, of_stations)
        .with_latest_reading()
        .select_related("charge_point")
        .order_by("-id")[:SHOWN]
    )
    faulted = list(
        confined(Connector.objects.filter(status=ChargePointStatus.FAULTED), request, of_stations)
        .select_related("charge_point")
        .order_by("-status_at")[:MAX_FAULTED]
    )
    failed = failed_handshakes(request, now)
    for tx in latest:
        tx.energy_text, tx.flag_badges = energy(tx.current_energy_wh), flag_badges(tx)
        tx.power_text = power(tx.latest_power_w) if tx.active else ""
    for command in waiting[:SHOWN]:
        command.badge = command_badge(command)
    for connector in faulted:
        connector.badge = status_badge(connector)
    return {
        "stations": stations,
        "offline": stations["total"] - stations["connected"],
        "running_count": len(running),
        "running_power": power(sum(tx.latest_power_w or 0 for tx in running)),
        "energy_today": energy(energy_today(request, running, now), decimals=1),
        "latest_transactions": latest,
        "faulted": faulted,
        "alerts": alert_groups(request),
        "failed_handshakes": failed[:SHOWN],
        "failed_handshake_count": sum(group.times for group in failed),
        "waiting": waiting[:SHOWN],
        "waiting_count": len(waiting),
        "now": now,
    }


def energy_today(request: Any, running: Iterable[Transaction], now: datetime) -> Decimal:
    """Wh of the transactions that ended since midnight (of the tenant) and of those that run."""
    local = now.astimezone(request.tenant.zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    # The index of stops by when they came has only those whose meter values are still whole, the last weeks' at least.
    ended = Transaction.objects.filter(
        meter_values_rolled_up_at=None, stopped_received_at__gte=midnight - CLOCK_AHEAD, stopped_at__gte=midnight
    )
    wh = confined(ended, request, "charge_point__site").aggregate(wh=Sum("energy_wh"))["wh"] or 0
    return Decimal(wh) + sum((tx.current_energy_wh or Decimal(0) for tx in running), Decimal(0))


def failed_handshakes(request: Any, now: datetime) -> list[FailedHandshakes]:
    """Refused handshakes of the last hour, one entry for each identity and reason."""
    since = now - FAILED_HANDSHAKES_FOR
    groups: dict[tuple[str, str], FailedHandshakes] = {}
    newest = confined(ConnectionAttempt.objects.all(), request, "charge_point__site").order_by("-id")[:MAX_ATTEMPTS]
    failed = ConnectionAttempt.objects.filter(pk__in=newest.values("pk"), accepted=False, at__gte=since)
    for attempt in failed.order_by("-id"):
        key = (attempt.identity, attempt.reason)
        if key in groups:
            groups[key].times += 1
        else:
            groups[key] = FailedHandshakes(
                attempt.identity, attempt.charge_point_id, attempt.reason, attempt.remedy, attempt.at, attempt.address
            )
    return list(groups.values())
