"""LocalAuthList: the id tags a charge point shall know by itself, and those we believe it knows.

What is wanted is a source of id tags; their entries follow from the tags as they are now. What is installed changes
only when the charge point accepts an update. Versions it reports are kept beside, and never taken for entries.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models

from csms.ocppj.times import parse_time
from stations.models.charge_point import ChargePoint
from stations.models.command import Command, CommandBatch
from stations.models.id_tag import IdTag
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

MAX_VERSION = 2**31 - 1
NOT_SUPPORTED_VERSION = -1
FINGERPRINTS = 2**63
# Ends of a SendLocalList after which the charge point's list is not known for certain.
UNANSWERED = ("error", "timed_out", "unknown")


class ListSource(models.TextChoices):
    """Where the entries that are wanted come from."""

    ID_TAGS = "id_tags", "Id tags chosen by hand"
    GROUPS = "groups", "Id tags of groups"
    SITES = "sites", "Id tags allowed at sites"


class LocalAuthListQuerySet(TenantQuerySet["LocalAuthList"]):
    def of(self, charge_point_id: int, *, lock: bool = False) -> LocalAuthList:
        """The row of a charge point, made when there is none; `lock` holds it until the transaction ends."""
        rows = self.select_for_update(of=("self",)) if lock else self
        row = rows.filter(charge_point_id=charge_point_id).first()
        if row is None:
            charge_point = ChargePoint.objects.only("pk", "tenant_id").get(pk=charge_point_id)
            row, _ = rows.get_or_create(charge_point=charge_point)
        return row


class LocalAuthList(TenantModel):
    """One charge point's local authorization list (OCPP 1.6 section 3.5.2).

    Wanted: `source` (empty: nothing is wanted) with `groups`, LocalAuthListSite or LocalAuthListIdTag; no site named
    means the charge point's own. Installed: `installed_version` is null until we know one; `installed_complete` tells
    whether LocalAuthListEntry holds every entry, or only what differentials brought; `installed_fingerprint` is the sum
    of theirs. `reported_version`: -1 not supported, 0 empty. `highest_version` is the highest listVersion ever queued.
    `outcome` is the end of the newest SendLocalList that was sent: the status in its answer, or the command's.
    `batch` and `target_fingerprint` belong to the newest sync: its commands, and the list they lead to.
    """

    charge_point = models.OneToOneField(ChargePoint, on_delete=models.CASCADE, related_name="local_auth_list")
    source = models.CharField(max_length=10, choices=ListSource.choices, blank=True)
    groups = models.JSONField(default=list, blank=True)
    desired_at = models.DateTimeField(null=True)
    sync_automatically = models.BooleanField(
        default=False, help_text="Send the difference by itself when what is wanted changes."
    )

    installed_version = models.BigIntegerField(null=True)
    installed_complete = models.BooleanField(default=False)
    installed_at = models.DateTimeField(null=True)
    installed_length = models.PositiveIntegerField(default=0)
    installed_fingerprint = models.BigIntegerField(default=0)
    installed_by = models.ForeignKey(Command, null=True, on_delete=models.SET_NULL, related_name="+")
    reported_version = models.BigIntegerField(null=True)
    reported_at = models.DateTimeField(null=True)
    highest_version = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    outcome = models.CharField(max_length=50, blank=True)
    outcome_at = models.DateTimeField(null=True)

    batch = models.ForeignKey(CommandBatch, null=True, on_delete=models.SET_NULL, related_name="+")
    target_fingerprint = models.BigIntegerField(null=True)

    objects = TenantManager.from_queryset(LocalAuthListQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        verbose_name = "local authorization list"

    def __str__(self) -> str:
        return f"Local list of {self.charge_point}"

    @property
    def present_version(self) -> int:
        """The version it has as far as we know; 0 when we know of none."""
        return max(self.installed_version or 0, self.reported_version or 0)

    @property
    def next_version(self) -> int:
        """The listVersion of the next update: greater than the present one and than all that were ever queued."""
        return max(self.present_version, self.highest_version) + 1

    @property
    def not_supported(self) -> bool:
        """Whether the charge point has no local list, by its newest word on it."""
        if self.outcome == "NotSupported":
            # Unless it has reported a version since: somebody switched its list on.
            has_one = self.reported_version is not None and self.reported_version >= 0
            return not (has_one and self.reported_at and self.outcome_at and self.reported_at > self.outcome_at)
        if self.reported_version != NOT_SUPPORTED_VERSION or self.reported_at is None:
            return False
        return self.installed_at is None or self.reported_at >= self.installed_at

    @property
    def drift(self) -> bool:
        """Whether it reported another version than we believe, since we came to believe it."""
        if self.reported_version is None or self.installed_version is None or self.reported_at is None:
            return False
        if self.installed_at is not None and self.reported_at < self.installed_at:
            return False
        return self.reported_version != self.installed_version

    @property
    def certain(self) -> bool:
        """Whether every installed entry is known, so that a difference can be sent."""
        return (
            self.installed_version is not None
            and self.installed_complete
            and self.outcome in ("", "Accepted")
            and not self.drift
        )


class LocalAuthListSite(TenantModel):
    """One of the sites whose id tags are wanted; while it is, the site stays: none at all would mean another list."""

    local_auth_list = models.ForeignKey(LocalAuthList, on_delete=models.CASCADE, db_index=False, related_name="sites")
    site = models.ForeignKey("tenants.Site", on_delete=models.PROTECT)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "local authorization lists"
        constraints = [models.UniqueConstraint(fields=["local_auth_list", "site"], name="local_auth_list_site_once")]

    def __str__(self) -> str:
        return f"{self.local_auth_list_id}: site {self.site_id}"


class LocalAuthListIdTag(TenantModel):
    """One of the id tags chosen by hand. A deleted tag is not wanted any more."""

    tenant = tenant_foreign_key(db_index=False)
    local_auth_list = models.ForeignKey(LocalAuthList, on_delete=models.CASCADE, db_index=False, related_name="chosen")
    id_tag = models.ForeignKey(IdTag, on_delete=models.CASCADE)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["local_auth_list", "id_tag"], name="local_auth_list_id_tag_once")
        ]

    def __str__(self) -> str:
        return f"{self.local_auth_list_id}: id tag {self.id_tag_id}"


class LocalAuthListEntry(TenantModel):
    """One entry that we believe is on the charge point; `info` is the idTagInfo that it accepted."""

    tenant = tenant_foreign_key(db_index=False)
    local_auth_list = models.ForeignKey(LocalAuthList, on_delete=models.CASCADE, db_index=False, related_name="entries")
    id_tag = models.CharField(max_length=20)
    # Upper case may be longer than what it was made of: "ß" becomes "SS".
    key = models.CharField(max_length=60)
    info = models.JSONField()
    fingerprint = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        ordering = ["local_auth_list", "key"]
        verbose_name_plural = "local auth list entries"
        constraints = [models.UniqueConstraint(fields=["local_auth_list", "key"], name="local_auth_list_entry_once")]

    def __str__(self) -> str:
        return self.id_tag


def fingerprint(key: str, status: str, expiry_date: datetime | None, parent_id_tag: str) -> int:
    """63 bits that differ when two entries of a list mean different things.

    Expired with a time that has passed is Accepted until then: the caller writes one for the other, so that an entry
    does not differ from itself when its time comes. Fractions of seconds do not count, for they may be left out.
    """
    expiry = "" if expiry_date is None else str(int(expiry_date.timestamp()))
    text = "\x00".join((key, status, expiry, parent_id_tag.upper()))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def info_fingerprint(key: str, info: dict[str, Any], now: datetime, zone: tzinfo = UTC) -> int:
    """The fingerprint of an entry as it was sent."""
    status = str(info.get("status"))
    expiry_date = parse_time(info.get("expiryDate"), zone)
    if status == "Expired" and expiry_date is not None and expiry_date <= now:
        status = "Accepted"
    return fingerprint(key, status, expiry_date, str(info.get("parentIdTag") or ""))
