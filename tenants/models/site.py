"""Site: a place with charge points."""

from __future__ import annotations

from datetime import tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from tenants.scoped import TenantModel
from tenants.validators import validate_slug, validate_time_zone


class Site(TenantModel):
    """Opening hours, tariffs by local time and site-scoped access follow the site."""

    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=63, validators=[validate_slug])
    address = models.TextField(blank=True)
    time_zone = models.CharField(
        max_length=64, blank=True, validators=[validate_time_zone], help_text="Empty: the tenant's time zone."
    )
    latitude = models.DecimalField(
        max_digits=8,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(-90)), MaxValueValidator(Decimal(90))],
        help_text="Degrees north, WGS 84.",
    )
    longitude = models.DecimalField(
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(-180)), MaxValueValidator(Decimal(180))],
        help_text="Degrees east, WGS 84.",
    )

    class Meta(TenantModel.Meta):
        ordering = ["name", "pk"]
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="site_slug_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> tzinfo:
        """The time zone of the site: its own, else the tenant's."""
        return ZoneInfo(self.time_zone or self.tenant.time_zone)
