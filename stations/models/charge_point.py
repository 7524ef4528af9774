"""ChargePoint: who a charging station is, how it proves itself, what it told us at boot."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Upper

from csms.ocppj.tolerance import Deviation
from tenants.scoped import TenantModel

# Deviations are shown to the operator once each; a babbling charge point must not grow its own row without end.
MAX_DEVIATIONS = 50
LAST_SEEN_RESOLUTION_SECONDS = 5
# What answering a message needs; the rest of the row would cost more to read than the message to answer.
LANE_COLUMNS = (
    "tenant_id", "identity", "site_id", "registration_status", "disabled", "accept_any_id_tag", "send_milliseconds",
    "time_zone", "heartbeat_interval_seconds", "connection_generation", "connected", "last_seen_at",
    "reserved_until",
)  # fmt: skip
BOOT_TEXTS = {
    "charge_point_vendor": "vendor",
    "charge_point_model": "model",
    "firmware_version": "firmware_version",
    "charge_point_serial_number": "charge_point_serial_number",
    "charge_box_serial_number": "charge_box_serial_number",
    "iccid": "iccid",
    "imsi": "imsi",
    "meter_type": "meter_type",
    "meter_serial_number": "meter_serial_number",
}


class RegistrationStatus(models.TextChoices):
    """OCPP 1.6 section 7.37."""

    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


class SecurityProfile(models.IntegerChoices):
    """Improved security for OCPP 1.6-J, section 2; 0 is no security at all."""

    NONE = 0, "0: no authentication"
    BASIC = 1, "1: password"
    TLS_BASIC = 2, "2: TLS and password"
    TLS_CLIENT_CERTIFICATE = 3, "3: TLS with client certificates"


def validate_identity(identity: str) -> None:
    """Raise ValidationError unless `identity` can be the last segment of a charge point's URL (protocol 1.1)."""
    if not 1 <= len(identity) <= 48:
        raise ValidationError("An identity has 1 to 48 characters.", code="invalid_length")
    if any(not character.isprintable() for character in identity):
        raise ValidationError("An identity contains no control characters.", code="control_character")


def validate_time_zone(name: str) -> None:
    if name and name not in available_timezones():
        raise ValidationError("This is not an IANA time zone such as Europe/Berlin.", code="unknown_time_zone")


class ChargePoint(TenantModel):
    """One charging station of one tenant; `identity` is matched exactly, as the standard's URLs are case-sensitive."""

    identity = models.CharField(max_length=48, validators=[validate_identity])
    description = models.CharField(max_length=200, blank=True)
    site = models.ForeignKey(
        "tenants.Site", null=True, blank=True, on_delete=models.SET_NULL, related_name="charge_points"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    registration_status = models.CharField(
        max_length=8, choices=RegistrationStatus.choices, default=RegistrationStatus.ACCEPTED
    )
    disabled = models.BooleanField(default=False, help_text="Refuse every connection of this charge point.")

    security_profile = models.PositiveSmallIntegerField(choices=SecurityProfile.choices, default=SecurityProfile.BASIC)
    exact_security_profile = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Let it in with just this security profile. Else it may also come with a higher one and what that "
        "asks for; a lower one is always refused.",
    )
    pending_security_profile = models.PositiveSmallIntegerField(
        choices=SecurityProfile.choices, null=True, blank=True, editable=False
    )
    password_hash = models.CharField(max_length=255, blank=True, editable=False)
    serial_number = models.CharField(
        max_length=64, blank=True, help_text="Expected in the client certificate's CN; empty means the identity."
    )

    strict = models.BooleanField(default=False, help_text="Refuse every deviation from the schemas of OCPP 1.6.")
    assume_ocpp16 = models.BooleanField(
        default=False, help_text="Connect even when no subprotocol is offered (some firmware leaves the header out)."
    )
    accept_hexadecimal_password = models.BooleanField(
        default=True, help_text="Also accept the password sent as hexadecimal text instead of its bytes."
    )
    accept_any_id_tag = models.BooleanField(
        default=False, help_text="Free charging: every id tag, known or not, is accepted here."
    )
    send_milliseconds = models.BooleanField(default=True, help_text="Send times with three fractional digits.")
    time_zone = models.CharField(
        max_length=64, blank=True, validators=[validate_time_zone], help_text="For times sent without a zone; else UTC."
    )
    heartbeat_interval_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(86_400)]
    )
    call_timeout_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(600)]
    )

    vendor = models.TextField(blank=True, editable=False)
    model = models.TextField(blank=True, editable=False)
    firmware_version = models.TextField(blank=True, editable=False)
    charge_point_serial_number = models.TextField(blank=True, editable=False)
    charge_box_serial_number = models.TextField(blank=True, editable=False)
    iccid = models.TextField(blank=True, editable=False)
    imsi = models.TextField(blank=True, editable=False)
    meter_type = models.TextField(blank=True, editable=False)
    meter_serial_number = models.TextField(blank=True, editable=False)
    booted_at = models.DateTimeField(null=True, editable=False)

    # The newest socket wins: each accepted handshake raises the generation, and only the holder of the present one
    # may change what follows. `connection_owner` is the ServerProcess that has the socket.
    connection_generation = models.BigIntegerField(default=0, editable=False)
    connection_owner = models.CharField(max_length=36, blank=True, editable=False)
    connected = models.BooleanField(default=False, editable=False)
    connected_at = models.DateTimeField(null=True, editable=False)
    disconnected_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    remote_address = models.CharField(max_length=64, blank=True, editable=False)
    # Two that dial with one identity (stations/rivals.py): when that was last seen, until when a rival is put off, and
    # how many times in a row it has been.
    contested_at = models.DateTimeField(null=True, editable=False)
    contested_until = models.DateTimeField(null=True, editable=False)
    contests = models.PositiveSmallIntegerField(default=0, editable=False)
    # The latest expiry date of what it has accepted to reserve, never lowered: whether there is anything to look up.
    reserved_until = models.DateTimeField(null=True, editable=False)
    deviations = models.JSONField(default=dict, editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["identity"]
        constraints = [models.UniqueConstraint(fields=["tenant", "identity"], name="charge_point_identity_per_tenant")]
        indexes = [
            models.Index(
                fields=["connection_owner"], name="charge_point_connected", condition=models.Q(connected=True)
            ),
            # Which one somebody means who mixes up capital letters (stations/near_misses.py).
            models.Index(Upper("identity"), name="charge_point_in_capitals"),
        ]

    def __str__(self) -> str:
        return self.identity

    @property
    def zone(self) -> tzinfo:
        """The zone of times that this charge point sends without one."""
        return ZoneInfo(self.time_zone) if self.time_zone else UTC

    @property
    def accepted(self) -> bool:
        return self.registration_status == RegistrationStatus.ACCEPTED

    @property
    def effective_call_timeout_seconds(self) -> int:
        return self.call_timeout_seconds or int(settings.CSMS_CALL_TIMEOUT_SECONDS)

    @property
    def effective_heartbeat_interval_seconds(self) -> int:
        return self.heartbeat_interval_seconds or int(self.tenant.heartbeat_interval_seconds)

    def may_hold_reservations(self, at: datetime) -> bool:
        """False when nothing can have been reserved here at `at`; known from this row, without a look-up."""
        return self.reserved_until is not None and self.reserved_until > at

    def last_seen_is_stale(self, now: datetime) -> bool:
        """Whether `last_seen_at` is old enough to be worth a write: every frame counts, not every frame is written."""
        if self.last_seen_at is None:
            return True
        # Either way: the clock may have been set back.
        return abs((now - self.last_seen_at).total_seconds()) >= LAST_SEEN_RESOLUTION_SECONDS

    def note_deviations(self, action: str, deviations: list[Any], now: datetime) -> bool:
        """Remember each tolerated deviation once, by its kind and place; True when something new must be saved.

        `action` as on the wire, for an answer with ".conf". What follows the first of a kind has its place in its key,
        or, where that is what tells them apart, the word that nobody has defined.
        """
        new = False
        for deviation in deviations:
            key = f"{action}:{deviation.kind}"
            first = self.deviations.get(key)
            if (
                first is not None
                and Deviation(first["pointer"], deviation.kind, first["detail"]).place != deviation.place
            ):
                key = f"{key}:{deviation.place[:200]}"
            if key not in self.deviations and len(self.deviations) < MAX_DEVIATIONS:
                self.deviations[key] = {
                    "pointer": deviation.pointer[:200],
                    "detail": deviation.detail[:500],
                    "at": now.isoformat(),
                }
                new = True
        return new


class Boot(TenantModel):
    """One BootNotification as received, with what we answered: the history behind the charge point's boot facts."""

    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="boots", db_index=False)
    at = models.DateTimeField()
    payload = models.JSONField()
    status = models.CharField(max_length=8, choices=RegistrationStatus.choices)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        indexes = [models.Index(fields=["charge_point", "-id"], name="boot_newest_first")]

    def __str__(self) -> str:
        return f"{self.charge_point_id} {self.at:%Y-%m-%d %H:%M:%S}"
