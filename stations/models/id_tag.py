"""IdTag: what a driver presents. Compared without regard to case, kept as first registered."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from stations.id_tag_spellings import alike
from tenants.scoped import TenantModel


def validate_id_tag(id_tag: str) -> None:
    """Raise ValidationError unless `id_tag` is a CiString20Type (OCPP 1.6 section 7.28)."""
    if not 1 <= len(id_tag) <= 20:
        raise ValidationError("An id tag has 1 to 20 characters.", code="invalid_length")
    if any(not character.isprintable() for character in id_tag):
        raise ValidationError("An id tag contains no control characters.", code="control_character")


class IdTag(TenantModel):
    """One idTag of one tenant; `parent_id_tag` groups tags and need not be a tag itself (OCPP 1.6 section 3.10)."""

    id_tag = models.CharField(max_length=20, validators=[validate_id_tag])
    # Upper case may be longer than what it was made of: "ß" becomes "SS".
    key = models.CharField(max_length=60, editable=False)
    # What other spellings of it have in common (stations/id_tag_spellings.py).
    # The database has a default for processes of the version before, which do not know the column.
    alike = models.CharField(max_length=60, blank=True, editable=False, default="", db_default="")
    description = models.CharField(max_length=200, blank=True)
    driver = models.CharField(max_length=200, blank=True, help_text="Whose it is: a name or your own customer number.")
    parent_id_tag = models.CharField(max_length=20, blank=True)
    groups = models.JSONField(default=list, blank=True, help_text="Names of groups, for example for local lists.")
    expiry_date = models.DateTimeField(null=True, blank=True)
    blocked = models.BooleanField(default=False)
    max_active_transactions = models.PositiveIntegerField(null=True, blank=True)
    sites = models.ManyToManyField(
        "tenants.Site", through="IdTagSite", blank=True, related_name="id_tags", help_text="Empty means every site."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    # Of `sites`, where the row was looked up by stations/lane_sql.py.
    site_ids: set[int]

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="id_tag_per_tenant")]
        indexes = [models.Index(fields=["tenant", "alike"], name="id_tag_alike")]

    def __str__(self) -> str:
        return self.id_tag

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.key, self.alike = self.id_tag.upper(), alike(self.id_tag)
        fields = kwargs.get("update_fields")
        if fields is not None and "id_tag" in fields:
            kwargs["update_fields"] = {*fields, "key", "alike"}
        super().save(*args, **kwargs)


class IdTagSite(TenantModel):
    """Where an idTag may charge. No row at all means everywhere in the tenant."""

    id_tag = models.ForeignKey(IdTag, on_delete=models.CASCADE)
    site = models.ForeignKey("tenants.Site", on_delete=models.CASCADE)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["id_tag", "site"], name="id_tag_site_once")]

    def __str__(self) -> str:
        return f"{self.id_tag_id} at {self.site_id}"


class IdTagAlias(TenantModel):
    """Another idTag of the same driver, or the same card in other words: it authorises as its tag does."""

    id_tag = models.ForeignKey(IdTag, on_delete=models.CASCADE, related_name="aliases")
    alias = models.CharField(max_length=20, validators=[validate_id_tag])
    key = models.CharField(max_length=60, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ["id"]
        verbose_name_plural = "id tag aliases"
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="id_tag_alias_per_tenant")]

    def __str__(self) -> str:
        return self.alias

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.key = self.alias.upper()
        super().save(*args, **kwargs)
