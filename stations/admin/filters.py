"""Filters of lists that grow without end: by one charge point, by an identity typed into the search box."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from unfold.views import ChangeList

from stations.models import ChargePoint
from tenants.scope import platform_scope

# How many charge points a search for an identity may stand for.
MAX_CHARGE_POINTS = 50
# Rows of a table that an unfiltered list looks at, newest first: tables without an index by tenant hold the rows of
# all tenants in the order of arrival, and a quiet tenant's page must not read back to the first of them.
WINDOW = 200_000


class ChosenChargePoint(admin.SimpleListFilter):
    """One charge point, chosen by a link (`?charge_point=<id>`); shown only then, so that it can be taken off again."""

    title = "charge point"
    parameter_name = "charge_point"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        if not value:
            return []
        charge_point = ChargePoint.objects.filter(pk=value).first() if value.isdecimal() else None
        return [(value, charge_point.identity if charge_point else "unknown")]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(charge_point=value) if value.isdecimal() else queryset.none()


def charge_points_called(term: str) -> list[int]:
    """Ids of the charge points whose identity contains `term`, looked up first: the big table is then read by index."""
    rows = ChargePoint.objects.filter(identity__icontains=term.strip()).order_by("identity")
    return list(rows.values_list("pk", flat=True)[:MAX_CHARGE_POINTS])


class WindowedChangeList(ChangeList):
    """A list that looks at the newest rows of its table only, unless one charge point has been chosen."""

    # Whether the table has an index by which the newest rows of one charge point are found.
    indexed_by_charge_point = True

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        chosen = request.GET.get(ChosenChargePoint.parameter_name) or self.query.strip()
        if chosen and self.indexed_by_charge_point:
            return queryset
        # The newest id of all tenants is a number without meaning; that of one tenant costs the scan to be avoided.
        with platform_scope():
            newest = self.model._base_manager.order_by("-pk").values_list("pk", flat=True).first()
        return queryset if newest is None else queryset.filter(pk__gt=newest - WINDOW)


class AlwaysWindowedChangeList(WindowedChangeList):
    """The same for a table whose index by charge point is in another order than that of arrival."""

    indexed_by_charge_point = False
