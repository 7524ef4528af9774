"""Tariffs: a code that people and charge points name, and versions of it that never change.

Context: a bill must say, years later, by which prices it was made. Choice: a change makes the next version; versions
are never edited nor deleted, and what is rated keeps the version that was in force when it began. Consequence: there is
no price to correct, only a next one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q

from billing import tariffs
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet
from tenants.validators import validate_slug


class Tariff(TenantModel):
    """What the versions of one tariff have in common."""

    code = models.CharField(max_length=36, validators=[validate_slug])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["tenant", "code"], name="tariff_code_unique")]

    def __str__(self) -> str:
        return self.code

    def in_force(self, at: datetime) -> TariffVersion | None:
        """The newest version that is valid at `at`; None when none is."""
        return self.versions.in_force(at).order_by("-number").first()


class TariffVersionQuerySet(TenantQuerySet["TariffVersion"]):
    def in_force(self, at: datetime) -> TariffVersionQuerySet:
        begun = Q(valid_from__isnull=True) | Q(valid_from__lte=at)
        return self.filter(begun, Q(valid_to__isnull=True) | Q(valid_to__gt=at))

    def update(self, **kwargs: Any) -> int:
        raise NeverChanged("A version of a tariff is never changed.")

    def delete(self) -> Any:
        raise NeverChanged("A version of a tariff is never deleted.")


class NeverChanged(Exception):
    """An attempt to change what bills are made by."""


class TariffVersion(TenantModel):
    """One version: `data` is the tariff as it was written, in the shape of the API's `tariffs/`, without its code.

    Valid from `valid_from` (inclusive, None: always) to `valid_to` (exclusive, None: for ever).
    """

    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=200, blank=True)
    data = models.JSONField()
    valid_from = models.DateTimeField(null=True)
    valid_to = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=200, blank=True)

    objects = TenantManager.from_queryset(TariffVersionQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["tariff", "-number"]
        constraints = [models.UniqueConstraint(fields=["tariff", "number"], name="tariff_version_once")]

    def __str__(self) -> str:
        return f"{self.tariff} version {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise NeverChanged("A version of a tariff is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise NeverChanged("A version of a tariff is never deleted.")

    @property
    def terms(self) -> tariffs.Tariff:
        """The prices as billing/rating.py takes them."""
        return tariffs.parse({"code": self.tariff.code, **self.data})


__all__ = ["NeverChanged", "Tariff", "TariffVersion"]
