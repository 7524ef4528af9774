"""Scheduled work of the charge points: command expiry, offline detection, retention. Each job may run twice."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from celery import shared_task

from stations import commands, connections
from stations.models import ConnectionAttempt, MeterValue, OcppMessage
from tenants.models import Tenant
from tenants.scope import current_tenant_id, platform_scope, tenant_scope
from tenants.tasks import TenantTask

logger = logging.getLogger(__name__)

ROWS_PER_DELETE = 5000


@shared_task(base=TenantTask, platform=True, name="stations.tasks.expire_commands")
def expire_commands() -> int:
    """Close queued commands whose time is over; gives their number."""
    with platform_scope():
        return commands.expire_all(datetime.now(UTC))


@shared_task(base=TenantTask, platform=True, name="stations.tasks.detect_offline")
def detect_offline() -> int:
    """Mark the charge points of server processes that died as disconnected; gives their number."""
    return connections.forget_dead_processes(datetime.now(UTC))


@shared_task(base=TenantTask, platform=True, name="stations.tasks.purge_expired_rows")
def purge_expired_rows() -> int:
    """Publish `purge_tenant` for every tenant; gives their number."""
    tenant_ids = list(Tenant.objects.values_list("pk", flat=True))
    for tenant_id in tenant_ids:
        with tenant_scope(tenant_id):
            purge_tenant.delay()
    return len(tenant_ids)


@shared_task(base=TenantTask, track=True, name="stations.tasks.purge_tenant")
def purge_tenant() -> dict[str, int]:
    """Delete messages, connection attempts and meter values past the tenant's retention; gives rows by table."""
    now = datetime.now(UTC)
    tenant = Tenant.objects.get(pk=current_tenant_id())
    deleted: dict[str, int] = {}
    if tenant.message_retention_days:
        cutoff = now - timedelta(days=tenant.message_retention_days)
        deleted["messages"] = _delete_before(OcppMessage, "received_at", cutoff)
        deleted["connection_attempts"] = _delete_before(ConnectionAttempt, "at", cutoff)
    if tenant.meter_value_retention_days:
        cutoff = now - timedelta(days=tenant.meter_value_retention_days)
        deleted["meter_values"] = _delete_before(MeterValue, "received_at", cutoff)
    return deleted


def _delete_before(
    model: type[OcppMessage] | type[ConnectionAttempt] | type[MeterValue], column: str, cutoff: datetime
) -> int:
    """Delete the open tenant's rows older than `cutoff`, some thousands at a time, oldest first.

    Rows are written in the order of their ids, so the scan ends at the first row that is young enough; a lane that
    writes meanwhile never waits for long.
    """
    total = 0
    while True:
        oldest = list(model.objects.order_by("pk").values_list("pk", column)[:ROWS_PER_DELETE])
        expired = [pk for pk, at in oldest if at < cutoff]
        if not expired:
            return total
        total += model.objects.filter(pk__in=expired)._raw_delete(model.objects.db)
        if len(expired) < len(oldest):
            return total
