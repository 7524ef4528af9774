"""Scheduled work of the charge points: command expiry, offline detection, retention. Each job may run twice."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from celery import shared_task

from stations import commands, connections, file_exchange, local_auth_lists
from stations.certificates import issuing
from stations.models import (
    CertificateAuthority,
    ConnectionAttempt,
    LocalAuthList,
    MeterValue,
    OcppMessage,
    Reservation,
    SecurityEvent,
)
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


@shared_task(base=TenantTask, platform=True, name="stations.tasks.expire_reservations")
def expire_reservations() -> int:
    """Close reservations whose date has passed; gives their number. Nothing is sent."""
    with platform_scope():
        return Reservation.objects.expire(datetime.now(UTC))


@shared_task(base=TenantTask, platform=True, name="stations.tasks.detect_offline")
def detect_offline() -> int:
    """Mark the charge points of server processes that died as disconnected; gives their number."""
    return connections.forget_dead_processes(datetime.now(UTC))


@shared_task(base=TenantTask, platform=True, name="stations.tasks.reconcile_local_auth_lists")
def reconcile_local_auth_lists() -> int:
    """Publish `sync_local_auth_lists` for every tenant with a list that follows by itself and differs; their number."""
    with platform_scope():
        automatic = LocalAuthList.objects.filter(sync_automatically=True, tenant__suspended_at__isnull=True)
        tenant_ids = list(automatic.order_by("tenant_id").values_list("tenant_id", flat=True).distinct())
    published = 0
    for tenant_id in tenant_ids:
        with tenant_scope(tenant_id):
            if local_auth_lists.due(datetime.now(UTC)):
                sync_local_auth_lists.delay()
                published += 1
    return published


@shared_task(base=TenantTask, track=True, name="stations.tasks.sync_local_auth_lists")
def sync_local_auth_lists() -> dict[str, int]:
    """Send the differences of the tenant's lists that shall follow by themselves; gives the number of charge points."""
    return {"charge_points": local_auth_lists.reconcile(datetime.now(UTC))}


@shared_task(base=TenantTask, name="stations.tasks.issue_certificate")
def issue_certificate(request_id: int) -> None:
    """Sign a charge point's request and queue its CertificateSigned; nothing when it has been done."""
    issuing.issue(request_id, datetime.now(UTC))


@shared_task(base=TenantTask, platform=True, name="stations.tasks.issue_certificates")
def issue_certificates() -> int:
    """Sign the requests whose own task never came; gives their number."""
    with platform_scope():
        waiting = issuing.overdue(datetime.now(UTC))
    for tenant_id, request_id in waiting:
        with tenant_scope(tenant_id):
            issuing.issue(request_id, datetime.now(UTC))
    return len(waiting)


@shared_task(base=TenantTask, platform=True, name="stations.tasks.renew_certificates")
def renew_certificates() -> int:
    """Publish `renew_certificates_of_tenant` for every tenant that switched renewal on; gives their number."""
    with platform_scope():
        authorities = CertificateAuthority.objects.filter(
            active=True, renew_days_before__isnull=False, tenant__suspended_at__isnull=True
        )
        tenant_ids = list(authorities.order_by("tenant_id").values_list("tenant_id", flat=True).distinct())
    for tenant_id in tenant_ids:
        with tenant_scope(tenant_id):
            renew_certificates_of_tenant.delay()
    return len(tenant_ids)


@shared_task(base=TenantTask, track=True, name="stations.tasks.renew_certificates_of_tenant")
def renew_certificates_of_tenant() -> dict[str, int]:
    """Ask the tenant's charge points whose certificate expires soon for a new request; gives their number."""
    return {"charge_points": issuing.renew_due(datetime.now(UTC))}


@shared_task(base=TenantTask, platform=True, name="stations.tasks.purge_expired_rows")
def purge_expired_rows() -> int:
    """Publish `purge_tenant` for every tenant; gives their number."""
    file_exchange.remove_broken_uploads(datetime.now(UTC))
    tenant_ids = list(Tenant.objects.values_list("pk", flat=True))
    for tenant_id in tenant_ids:
        with tenant_scope(tenant_id):
            purge_tenant.delay()
    return len(tenant_ids)


@shared_task(base=TenantTask, track=True, name="stations.tasks.purge_tenant")
def purge_tenant() -> dict[str, int]:
    """Delete the rows of the logs, and meter values, that are past the tenant's retention; gives rows by table."""
    now = datetime.now(UTC)
    tenant = Tenant.objects.get(pk=current_tenant_id())
    # Files whose rows went with their charge point.
    orphans = file_exchange.remove_orphans(now)
    deleted: dict[str, int] = {"files": orphans} if orphans else {}
    if tenant.message_retention_days:
        cutoff = now - timedelta(days=tenant.message_retention_days)
        deleted["messages"] = _delete_before(OcppMessage, "received_at", cutoff)
        deleted["connection_attempts"] = _delete_before(ConnectionAttempt, "at", cutoff)
        deleted["security_events"] = _delete_before(SecurityEvent, "received_at", cutoff)
    if tenant.meter_value_retention_days:
        cutoff = now - timedelta(days=tenant.meter_value_retention_days)
        deleted["meter_values"] = _delete_before(MeterValue, "received_at", cutoff)
    return deleted


def _delete_before(
    model: type[OcppMessage] | type[ConnectionAttempt] | type[SecurityEvent] | type[MeterValue],
    column: str,
    cutoff: datetime,
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
