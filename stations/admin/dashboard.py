"""The first page: what is charging, what is broken, what waits. Bounded queries, no COUNT of a log.

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

from stations import attention
from stations.admin.attention import choices, lines, shown_count
from stations.admin.security_events import alert_groups
from stations.display import command_badge, create_url, energy, flag_badges, power, status_badge
from stations.models import ChargePoint, Command, ConnectionAttempt, Connector, Transaction
from stations.models.command import OPEN_STATUSES
from stations.models.connector import ChargePointStatus
from stations.models.transaction import Flag
from tenants.admin.scoped import confined, limited_site_ids, may
from tenants.models import ApiScope, Guessing

SHOWN = 8
# Newest rows looked at where a table has no index on time.
MAX_ATTEMPTS = 1000
MAX_RUNNING = 1000
# Counts go no further; what is beyond is shown as "1000+".
COUNTED = 10_000
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
    create_url: str
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
        # Before the next one, whose name hides the column.
        never=Count("pk", filter=Q(connected=False, connected_at__isnull=True)),
        connected=Count("pk", filter=Q(connected=True)),
        pending=Count("pk", filter=Q(registration_status="Pending")),
    )
    of_stations = "charge_point__site"
    open_ones = confined(Transaction.objects.open(), request, of_stations)
    running = list(open_ones.with_latest_reading().select_related("charge_point").order_by("-id")[: MAX_RUNNING + 1])
    waiting = confined(Command.objects.filter(status__in=OPEN_STATUSES), request, of_stations)
    waiting_count = len(waiting.order_by().values_list("pk")[: COUNTED + 1])
    first_waiting = list(waiting.select_related("charge_point").order_by("-id")[:SHOWN])
    latest = list(
        confined(Transaction.objects.all(), request, of_stations)
        .with_latest_reading()
        .select_related("charge_point")
        .order_by("-id")[:SHOWN]
    )
    faulted = list(
        confined(Connector.objects.filter(status=ChargePointStatus.FAULTED), request, of_stations)
        .select_related("charge_point")
        .order_by("-status_at")[: MAX_FAULTED + 1]
    )
    failed, failed_count = failed_handshakes(request, now)
    sites = limited_site_ids(request)
    counted = attention.counts(now, sites)
    # Those that were never there, and cards, have their figures; what is lost or stuck comes first.
    urgent = [kind for kind in attention.KINDS.values() if kind.severity != attention.INFO and counted[kind.code]]
    doubts = attention.doubts(now, [tx.pk for tx in latest if tx.active])
    for tx in latest:
        tx.doubts = doubts.get(tx.pk, [])
        tx.energy_text, tx.flag_badges = energy(tx.current_energy_wh), flag_badges(tx)
        tx.power_text = power(tx.latest_power_w) if tx.active else ""
    for command in first_waiting:
        command.badge = command_badge(command)
    for connector in faulted:
        connector.badge = status_badge(connector)
    return {
        "stations": stations,
        "lost": stations["total"] - stations["connected"] - stations["never"],
        "attention": lines(attention.findings(now, sites, urgent, SHOWN)),
        "attention_choices": choices(counted),
        "attention_count": shown_count(sum(counted[kind.code] for kind in urgent)),
        "running_count": shown_count(len(running), MAX_RUNNING),
        "running_power": power(sum(tx.latest_power_w or 0 for tx in running[:MAX_RUNNING])),
        "energy_today": energy(energy_today(request, running, now), decimals=1),
        "latest_transactions": latest,
        "faulted": faulted[:MAX_FAULTED],
        "faulted_count": shown_count(len(faulted), MAX_FAULTED),
        "alerts": alert_groups(request),
        "may_create": may(request, ApiScope.MANAGE),
        "failed_handshakes": failed[:SHOWN],
        "failed_handshake_count": failed_count,
        "waiting": first_waiting,
        "waiting_count": shown_count(waiting_count, COUNTED),
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
    # What nobody believes is no energy of today.
    held = Q(flags__icontains=f'"{Flag.ENERGY_BEYOND_BELIEF.value}"')
    wh = confined(ended.exclude(held), request, "charge_point__site").aggregate(wh=Sum("energy_wh"))["wh"] or 0
    return Decimal(wh) + sum((tx.current_energy_wh or Decimal(0) for tx in running), Decimal(0))


def failed_handshakes(request: Any, now: datetime) -> tuple[list[FailedHandshakes], str]:
    """Refused handshakes of the last hour, one entry for each identity and reason, and how many there were."""
    since = now - FAILED_HANDSHAKES_FOR
    groups: dict[tuple[str, str], FailedHandshakes] = {}
    newest = confined(ConnectionAttempt.objects.all(), request, "charge_point__site").order_by("-id")[:MAX_ATTEMPTS]
    recent = ConnectionAttempt.objects.filter(pk__in=newest.values("pk"), at__gte=since)
    looked_at = 0
    for attempt in recent.order_by("-id"):
        looked_at += 1
        if attempt.accepted:
            continue
        key = (attempt.identity, attempt.reason)
        if key in groups:
            groups[key].times += 1
        else:
            groups[key] = FailedHandshakes(
                attempt.identity, attempt.charge_point_id, attempt.reason, attempt.remedy, attempt.at, attempt.address,
                create_url(attempt),
            )  # fmt: skip
    times = sum(group.times for group in groups.values())
    # With a whole window within the hour there may be more before it.
    return list(groups.values()), f"{times}+" if looked_at == MAX_ATTEMPTS else str(times)
