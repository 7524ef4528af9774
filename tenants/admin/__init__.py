"""The admin of tenants, their people, keys and traces; TenantModelAdmin is what every other admin derives from."""

from __future__ import annotations

from tenants.admin.api_keys import ApiKeyAdmin
from tenants.admin.people import MembershipAdmin, UserAdmin
from tenants.admin.scoped import LogAdmin, ReadOnlyAdmin, TenantModelAdmin
from tenants.admin.tenant import SiteAdmin, TenantAdmin
from tenants.admin.traces import AuditEntryAdmin, GuessingAdmin, JobRunAdmin

__all__ = [
    "ApiKeyAdmin",
    "AuditEntryAdmin",
    "GuessingAdmin",
    "JobRunAdmin",
    "LogAdmin",
    "MembershipAdmin",
    "ReadOnlyAdmin",
    "SiteAdmin",
    "TenantAdmin",
    "TenantModelAdmin",
    "UserAdmin",
]
