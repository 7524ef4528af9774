"""Tenant: one operator of charge points, its settings, and whether it may act."""

from __future__ import annotations

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import MaxLengthValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from tenants.validators import validate_currency, validate_slug, validate_time_zone


class UnknownChargePoints(models.TextChoices):
    """What a charge point gets that dials in with an identity nobody registered."""

    REFUSE = "refuse", "Refuse the connection (404)"
    PENDING = "pending", "Register it and answer Pending"
    REJECTED = "rejected", "Register it and answer Rejected"


class Tenant(models.Model):
    """Platform model: has no tenant of its own, is not confined, and cannot be reached or left by a reverse join.

    Deleting one that has rows is refused (PROTECT): invoices outlive the wish to clean up. Suspend it instead.
    """

    slug = models.CharField(
        max_length=63, unique=True, validators=[validate_slug], help_text="Part of the charge points' URL."
    )
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3, default="EUR", validators=[validate_currency], help_text="ISO 4217.")
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone], help_text="IANA name.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended_at = models.DateTimeField(
        null=True, blank=True, help_text="Keeps data and sockets, sends no commands, changes nothing."
    )

    unknown_charge_points = models.CharField(
        max_length=8, choices=UnknownChargePoints, default=UnknownChargePoints.REFUSE
    )
    allow_security_profile_0 = models.BooleanField(
        default=False, help_text="No password at all; for trusted networks only."
    )
    allow_security_profile_1 = models.BooleanField(default=True, help_text="HTTP Basic without TLS.")
    allow_weak_passwords = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Take passwords of 1 to 40 bytes, for charge points whose factory password cannot be changed.",
    )
    concurrent_tx_enabled = models.BooleanField(
        default=False, help_text="Answer ConcurrentTx when an idTag starts while another transaction of it runs."
    )
    autocharge_enabled = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A vehicle's MAC address authorises like the id tag registered for it, in whatever spelling.",
    )
    heartbeat_interval_seconds = models.PositiveIntegerField(default=300, validators=[MinValueValidator(1)])
    pending_interval_seconds = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1)],
        help_text="Until the next BootNotification while Pending or Rejected.",
    )
    stop_tolerance_seconds = models.PositiveIntegerField(
        default=5,
        db_default=5,
        help_text="A repeated StopTransaction whose time differs by more is flagged as another statement.",
    )
    secret_configuration_keys = models.TextField(
        blank=True,
        db_default="",
        validators=[MaxLengthValidator(5000)],
        help_text="One a line: configuration keys of charge points whose values nobody may read, beside those whose "
        "names say so (password, PIN, secret, token, private key and the like).",
    )
    message_retention_days = models.PositiveIntegerField(default=90, help_text="0 keeps messages for ever.")
    history_retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="For commands, boots, connector statuses, firmware updates, logs and their files, and job runs. "
        "0 keeps them for ever, empty is as the installation has it.",
    )
    audit_retention_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="0 keeps the audit log for ever, empty is as the installation has it."
    )
    meter_value_rollup_days = models.PositiveIntegerField(
        default=400,
        help_text="Then a settled transaction keeps one meter value a quarter of an hour. 0 keeps them all.",
    )
    meter_value_retention_days = models.PositiveIntegerField(default=0, help_text="0 keeps meter values for ever.")
    max_charge_points = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no limit.")

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(heartbeat_interval_seconds__gt=0), name="tenant_heartbeat_interval_positive"
            ),
            models.CheckConstraint(
                condition=models.Q(pending_interval_seconds__gt=0), name="tenant_pending_interval_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def secret_keys(self) -> frozenset[str]:
        """The configuration keys that the tenant has declared secret, in lower case."""
        return frozenset(key.strip().lower() for key in self.secret_configuration_keys.splitlines() if key.strip())

    @property
    def kept_history_days(self) -> int:
        """Days for what came and went; 0 is for ever."""
        days = self.history_retention_days
        return int(settings.CSMS_HISTORY_RETENTION_DAYS) if days is None else days

    @property
    def kept_audit_days(self) -> int:
        """Days for the audit log; 0 is for ever."""
        days = self.audit_retention_days
        return int(settings.CSMS_AUDIT_RETENTION_DAYS) if days is None else days

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None

    @property
    def zone(self) -> tzinfo:
        """The time zone in which this tenant's local times are meant."""
        return ZoneInfo(self.time_zone)

    def suspend(self, now: datetime) -> None:
        """Stop the tenant from acting. Repeating it keeps the first date."""
        if self.suspended_at is None:
            self.suspended_at = now
            self.save(update_fields=["suspended_at"])

    def resume(self) -> None:
        """Undo suspend()."""
        self.suspended_at = None
        self.save(update_fields=["suspended_at"])
