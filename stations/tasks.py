"""Scheduled work of the charge points: command expiry, offline detection, retention. Each job may run twice."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from celery import shared_task

from stations import commands, connections, file_exchange, local_auth_lists, retention
from stations.certificates import issuing
from stations.models import CertificateAuthority, LocalAuthList, Reservation, StrayHandshake
from tenants.models import Tenant
from tenants.scope import current_tenant_id, platform_scope, tenant_scope
from tenants.tasks import TenantTask

logger = logging.getLogger(__name__)


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
    """Mark the charge points of server processes that died as disconnected; gives their number.

    Then close what was sent to charge points that are not connected any more, and not closed then.
    """
    disconnected = connections.forget_dead_processes(datetime.now(UTC))
    with platform_scope():
        commands.forget_lost()
    return disconnected


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


@shared_task(base=TenantTask, platform=True, name="stations.tasks.forget_strays")
def forget_strays() -> int:
    """Delete handshakes without a tenant that have not come again for 30 days; gives the number of rows."""
    return StrayHandshake.objects.forget(datetime.now(UTC))


@shared_task(base=TenantTask, platform=True, name="stations.tasks.prepare_partitions")
def prepare_partitions() -> list[str]:
    """Make the monthly partitions of the coming months (PostgreSQL); gives the names of new ones."""
    return [made.name for made in retention.prepare_partitions(datetime.now(UTC))]


@shared_task(base=TenantTask, platform=True, name="stations.tasks.purge_expired_rows")
def purge_expired_rows() -> int:
    """Drop partitions past every tenant's retention and publish `purge_tenant` for each; gives the tenants' number."""
    file_exchange.remove_broken_uploads(datetime.now(UTC))
    for name in retention.drop_partitions(datetime.now(UTC)):
        logger.info("Partition %s dropped: it is past the retention of every tenant", name)
    for table, number in retention.purge_installation(datetime.now(UTC)).items():
        logger.info("%d %s deleted: their time is over", number, table)
    tenant_ids = list(Tenant.objects.values_list("pk", flat=True))
    for tenant_id in tenant_ids:
        with tenant_scope(tenant_id):
            purge_tenant.delay()
    return len(tenant_ids)


@shared_task(base=TenantTask, track=True, name="stations.tasks.purge_tenant")
def purge_tenant() -> dict[str, int]:
    """Delete what is past the tenant's retention: logs, meter values, files without an owner; gives rows by table."""
    now = datetime.now(UTC)
    tenant = Tenant.objects.get(pk=current_tenant_id())
    # Files whose rows went with their charge point.
    orphans = file_exchange.remove_orphans(now)
    return ({"files": orphans} if orphans else {}) | retention.purge(tenant, now)
