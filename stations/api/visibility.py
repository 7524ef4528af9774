"""What of the tenant's the caller may see: everything, or what is at the sites they are limited to."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import QuerySet

from stations.models import ChargePoint
from tenants.api.problems import Problem
from tenants.api.views import TenantAPIView

Rows = TypeVar("Rows", bound=QuerySet[Any])


def at_sites_of(view: TenantAPIView, rows: Rows, path: str) -> Rows:
    """`rows` whose site, at the end of the look-up `path`, is one of the caller's."""
    sites = view.site_ids()
    return rows if sites is None else rows.filter(**{f"{path}__in": sites})


def charge_points_of(view: TenantAPIView) -> QuerySet[ChargePoint]:
    """The charge points that the caller may see."""
    return at_sites_of(view, ChargePoint.objects.all(), "site_id")


def charge_point_of(view: TenantAPIView, identity: str) -> ChargePoint:
    """The charge point of this identity, with its site and tenant, or 404."""
    charge_point = charge_points_of(view).filter(identity=identity).select_related("site", "tenant").first()
    if charge_point is None:
        raise Problem(404, "not_found", "There is no charge point of this identity.")
    return charge_point
