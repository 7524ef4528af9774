"""AuditEntry: who changed what. Written once, never changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class AuditEntryQuerySet(TenantQuerySet["AuditEntry"]):
    def record(
        self,
        actor: str,
        action: str,
        obj: models.Model | None = None,
        *,
        changes: dict[str, Any] | None = None,
        user: User | None = None,
        address: str | None = None,
    ) -> AuditEntry:
        """Note that `actor` (a name for people, such as "api key billing-export") did `action` (a verb) to `obj`.

        `changes` maps a field to [before, after]; the caller leaves secrets out.
        """
        entry = self._entry(actor, action, obj, changes, user, address)
        entry.save(force_insert=True)
        return entry

    def record_all(
        self,
        actor: str,
        action: str,
        objects: Iterable[models.Model],
        *,
        changes: dict[str, Any] | None = None,
        user: User | None = None,
        address: str | None = None,
    ) -> None:
        """As `record` for each of `objects`, which were all changed alike."""
        entries = (self._entry(actor, action, obj, changes, user, address) for obj in objects)
        self.bulk_create(entries, batch_size=500)

    def _entry(
        self,
        actor: str,
        action: str,
        obj: models.Model | None,
        changes: dict[str, Any] | None,
        user: User | None,
        address: str | None,
    ) -> AuditEntry:
        return AuditEntry(
            actor=actor[:200],
            user=user,
            action=action,
            object_type=obj._meta.label_lower if obj is not None else "",
            object_id=str(obj.pk) if obj is not None else "",
            object_label=str(obj)[:200] if obj is not None else "",
            changes=changes or {},
            address=address,
        )


class AuditEntry(TenantModel):
    tenant = tenant_foreign_key(db_index=False)  # the indexes below begin with it
    actor = models.CharField(max_length=200)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=100, blank=True, help_text='As "app.model".')
    object_id = models.CharField(max_length=64, blank=True)
    object_label = models.CharField(max_length=200, blank=True)
    changes = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder, help_text="Field: [before, after].")
    address = models.GenericIPAddressField(null=True, blank=True)
    at = models.DateTimeField(default=timezone.now)

    objects = TenantManager.from_queryset(AuditEntryQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-pk"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["tenant", "-id"], name="audit_entry_newest"),
            models.Index(fields=["tenant", "object_type", "object_id"], name="audit_entry_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.object_label}".rstrip()
