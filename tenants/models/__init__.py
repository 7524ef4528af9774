"""Who works with whom: tenants, their people, programs, sites, and the traces these leave."""

from __future__ import annotations

from tenants.models.api_key import ApiKey, ApiKeySite, ApiScope
from tenants.models.audit import AuditEntry
from tenants.models.guessing import Guessing
from tenants.models.idempotency import IdempotencyRecord, IdempotencyState
from tenants.models.job_run import JobRun, JobState
from tenants.models.membership import Membership, MembershipSite, Role
from tenants.models.site import Site
from tenants.models.tenant import Tenant, UnknownChargePoints
from tenants.models.write_probe import WriteProbe

__all__ = [
    "ApiKey",
    "ApiKeySite",
    "ApiScope",
    "AuditEntry",
    "Guessing",
    "IdempotencyRecord",
    "IdempotencyState",
    "JobRun",
    "JobState",
    "Membership",
    "MembershipSite",
    "Role",
    "Site",
    "Tenant",
    "UnknownChargePoints",
    "WriteProbe",
]
