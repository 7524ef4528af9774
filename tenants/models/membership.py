"""Membership: which person works for which tenant, in which role, at which sites."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models.site import Site
from tenants.scoped import TenantModel


class Role(models.TextChoices):
    """What a member may do; tenants/permissions.py turns it into scopes."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Administrator"
    OPERATOR = "operator", "Operator"
    BILLING = "billing", "Billing"
    VIEWER = "viewer", "Viewer"


class Membership(TenantModel):
    """One person in one tenant. `sites` empty: all sites."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=8, choices=Role, default=Role.VIEWER)
    sites = models.ManyToManyField(Site, through="MembershipSite", related_name="memberships", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_user_unique")]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"


class MembershipSite(TenantModel):
    """A site to which a membership is limited. Explicit, so that the relation has a tenant like every other row."""

    verify_foreign_ids = True

    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="+")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["membership", "site"], name="membership_site_unique")]

    def __str__(self) -> str:
        return str(self.site)
