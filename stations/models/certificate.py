"""Certificates of charge points: who may sign them, which were asked for and given, and which roots are where.

A tenant has certificate authorities of three kinds. `issuing`: the key is held here, encrypted. `external`: somebody
else signs; the requests are exported, the signed chains imported. `trusted`: nothing is asked of it, but client
certificates may lead to it. All of them are roots of trust for the tenant's own charge points alone.

| Certificate | becomes                                                                                              |
|-------------|------------------------------------------------------------------------------------------------------|
| issued      | signed, or imported; not yet on its way                                                              |
| sent        | CertificateSigned is queued or out; accepted from then on, for its answer may get lost               |
| accepted    | the charge point said so; or it was in use until a newer one was used                                |
| rejected    | the charge point refused it, and whatever it had stays trusted                                       |
| in_use      | shown by the charge point at its latest connection                                                   |
| revoked     | withdrawn by the operator; never accepted again                                                      |

That a certificate has expired is read off its dates.
Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.401-429, 501-512, 601-705; A02, A03, M03-M05.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from stations.models.charge_point import ChargePoint
from stations.models.command import Command
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key


class AuthorityKind(models.TextChoices):
    ISSUING = "issuing", "Signs here: the key is held by us"
    EXTERNAL = "external", "Signs elsewhere: requests are exported, chains imported"
    TRUSTED = "trusted", "Trusted only: client certificates may lead to it"


class KeyType(models.TextChoices):
    RSA_2048 = "rsa_2048", "RSA, 2048 bits"
    RSA_3072 = "rsa_3072", "RSA, 3072 bits"
    EC_P256 = "ec_p256", "Elliptic curve, P-256"


class SignatureScheme(models.TextChoices):
    """How an authority signs, always with SHA-256."""

    PKCS1V15 = "pkcs1v15", "RSA, PKCS#1 v1.5 (every charge point reads it)"
    PSS = "pss", "RSA-PSS (many charge points cannot read it)"
    ECDSA = "ecdsa", "ECDSA"


class CertificateType(models.TextChoices):
    """Improved security for OCPP 1.6-J, CertificateUseEnumType."""

    CENTRAL_SYSTEM_ROOT = "CentralSystemRootCertificate"
    MANUFACTURER_ROOT = "ManufacturerRootCertificate"


class CertificateFacts(models.Model):
    """What is read off a certificate once, for lists and look-ups; empty or null when it could not be read."""

    subject = models.CharField(max_length=500, blank=True, editable=False)
    issuer = models.CharField(max_length=500, blank=True, editable=False)
    serial_number = models.CharField(max_length=64, blank=True, editable=False)
    fingerprint = models.CharField("SHA-256 fingerprint", max_length=64, blank=True, editable=False)
    key = models.CharField(max_length=50, blank=True, editable=False)
    not_before = models.DateTimeField(null=True, editable=False)
    not_after = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


class CertificateAuthority(CertificateFacts, TenantModel):
    """Who may vouch for the charge points of a tenant. `private_key` is encrypted and never leaves this row."""

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=8, choices=AuthorityKind.choices)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    certificate = models.TextField(blank=True, help_text="PEM.")
    # Tells whether a certificate of a chain is this authority's, also when it was renewed with the same key.
    name_and_key = models.CharField(max_length=64, editable=False)
    key_type = models.CharField(max_length=8, choices=KeyType.choices, blank=True)
    signature_scheme = models.CharField(max_length=8, choices=SignatureScheme.choices, blank=True)
    private_key = models.BinaryField(null=True, editable=False)

    active = models.BooleanField(default=True, help_text="Off: no certificate of it lets a charge point in any more.")
    signs_requests = models.BooleanField(
        default=False, help_text="Requests of charge points go to this one; at most one of a tenant."
    )
    organization = models.CharField(
        max_length=64, blank=True, help_text="O of the certificates; empty: the name of the tenant."
    )
    validity_days = models.PositiveIntegerField(
        default=365, validators=[MinValueValidator(1), MaxValueValidator(3650)], help_text="Of new certificates."
    )
    check_common_name = models.BooleanField(
        default=True, help_text="Sign only requests whose CN is the serial number expected of the charge point."
    )
    check_organization = models.BooleanField(
        default=False, help_text="Sign and accept only certificates whose O is the organization."
    )
    renew_days_before = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(3650)],
        help_text="Ask charge points for a new request this many days before theirs expires. Empty: never by itself.",
    )
    crl_updated_at = models.DateTimeField("list of", null=True, editable=False)
    crl_next_update = models.DateTimeField("next list due", null=True, editable=False)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(editable=False)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "certificate authorities"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="authority_name_per_tenant"),
            models.UniqueConstraint(fields=["tenant", "fingerprint"], name="authority_certificate_once"),
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(signs_requests=True), name="authority_one_signs_requests"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "name_and_key"], name="authority_by_name_and_key")]

    def __str__(self) -> str:
        return self.name

    @property
    def effective_organization(self) -> str:
        return self.organization or str(self.tenant.name)[:64]


class CertificateRevocation(TenantModel):
    """One entry of the revocation list that was imported last for an authority."""

    authority = models.ForeignKey(
        CertificateAuthority, on_delete=models.CASCADE, related_name="revocations", db_index=False
    )
    serial_number = models.CharField(max_length=64, help_text="Hexadecimal.")
    revoked_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["authority", "serial_number"], name="revocation_once")]

    def __str__(self) -> str:
        return self.serial_number


class RequestState(models.TextChoices):
    RECEIVED = "received", "About to be signed"
    WAITING = "waiting", "Waits for the signed chain of the external issuer"
    SIGNED = "signed", "Signed"
    REJECTED = "rejected", "Answered Rejected"
    REPLACED = "replaced", "Replaced by a newer request"
    FAILED = "failed", "Could not be signed"
    CLOSED = "closed", "Closed by the operator"


OPEN_REQUEST_STATES = (RequestState.RECEIVED, RequestState.WAITING)


class CertificateRequest(TenantModel):
    """One SignCertificate.req; at most one of a charge point is open. `problem` says why it came to nothing."""

    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="certificate_requests", db_index=False
    )
    authority = models.ForeignKey(CertificateAuthority, null=True, on_delete=models.SET_NULL, related_name="requests")
    csr = models.TextField(help_text="PEM; as received when it could not be read.")
    subject = models.CharField(max_length=500, blank=True)
    key = models.CharField(max_length=50, blank=True)
    state = models.CharField(max_length=8, choices=RequestState.choices)
    problem = models.CharField(max_length=500, blank=True)
    received_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["charge_point"], condition=Q(state__in=OPEN_REQUEST_STATES), name="certificate_request_one_open"
            )
        ]
        indexes = [models.Index(fields=["charge_point", "-id"], name="certificate_request_newest")]

    def __str__(self) -> str:
        return f"Request {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_REQUEST_STATES


class CertificateState(models.TextChoices):
    ISSUED = "issued", "Issued"
    SENT = "sent", "Sent"
    ACCEPTED = "accepted", "Accepted"
    REJECTED = "rejected", "Rejected"
    IN_USE = "in_use", "In use"
    REVOKED = "revoked", "Revoked"


class Origin(models.TextChoices):
    ISSUED = "issued", "Signed here"
    IMPORTED = "imported", "Signed elsewhere"
    PRESENTED = "presented", "Shown by the charge point"


# States in which the charge point may come with it.
TRUSTED_STATES = (
    CertificateState.ISSUED, CertificateState.SENT, CertificateState.ACCEPTED, CertificateState.IN_USE,
)  # fmt: skip
EXPIRED = "expired"


class CertificateQuerySet(TenantQuerySet["Certificate"]):
    def in_state(self, state: str, now: datetime) -> Self:
        """Rows whose `state_at(now)` is `state`."""
        if state == EXPIRED:
            return self.filter(not_after__lt=now).exclude(state=CertificateState.REVOKED)
        found = self.filter(state=state)
        return found if state == CertificateState.REVOKED else found.exclude(not_after__lt=now)


class Certificate(CertificateFacts, TenantModel):
    """One client certificate of one charge point, with the chain as it is sent: leaf first, PEM."""

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="certificates", db_index=False)
    authority = models.ForeignKey(
        CertificateAuthority, null=True, on_delete=models.SET_NULL, related_name="certificates"
    )
    request = models.OneToOneField(CertificateRequest, null=True, on_delete=models.SET_NULL, related_name="certificate")
    command = models.ForeignKey(Command, null=True, on_delete=models.SET_NULL, related_name="certificates")
    origin = models.CharField(max_length=9, choices=Origin.choices)
    chain = models.TextField()
    state = models.CharField(max_length=8, choices=CertificateState.choices, default=CertificateState.ISSUED)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    first_used_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was revoked.")

    objects = TenantManager.from_queryset(CertificateQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "fingerprint"], name="certificate_once_per_tenant")]
        indexes = [
            models.Index(fields=["charge_point", "-id"], name="certificate_newest"),
            models.Index(fields=["tenant", "-id"], name="certificate_of_tenant"),
            models.Index(fields=["tenant", "not_after"], name="certificate_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} ({self.serial_number})"

    def is_expired(self, now: datetime) -> bool:
        return self.not_after is not None and self.not_after < now

    def state_at(self, now: datetime) -> str:
        """The state, or `expired`."""
        return EXPIRED if self.state != CertificateState.REVOKED and self.is_expired(now) else self.state


class RootCertificate(CertificateFacts, TenantModel):
    """A root that can be installed in charge points. What is in it is not judged: odd ones are for trying out, too."""

    name = models.CharField(max_length=100)
    certificate_type = models.CharField(max_length=28, choices=CertificateType.choices)
    certificate = models.TextField(help_text="PEM.")
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(editable=False)

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="root_certificate_name_per_tenant")]

    def __str__(self) -> str:
        return self.name


class InstalledCertificate(TenantModel):
    """A root certificate that a charge point has: as it listed it, or as it accepted it and has not listed it yet.

    `hash_data` is the certificateHashData exactly as the charge point sent it; null until it has listed it.
    """

    charge_point = models.ForeignKey(
        ChargePoint, on_delete=models.CASCADE, related_name="installed_certificates", db_index=False
    )
    certificate_type = models.CharField(max_length=28, choices=CertificateType.choices)
    hash_data = models.JSONField(null=True)
    # The hash data in one letter case, or the fingerprint while there is none: tells one from another.
    key = models.CharField(max_length=512)
    certificate = models.TextField(blank=True, help_text="PEM, where it is known to us.")
    subject = models.CharField(max_length=500, blank=True)
    not_after = models.DateTimeField(null=True)
    installed_at = models.DateTimeField(null=True, help_text="When an InstallCertificate of ours was accepted.")
    reported_at = models.DateTimeField(null=True, help_text="When the charge point listed it last.")

    class Meta(TenantModel.Meta):
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["charge_point", "certificate_type", "key"], name="installed_certificate_once"
            )
        ]

    def __str__(self) -> str:
        return self.subject or str((self.hash_data or {}).get("serialNumber", ""))


def hash_key(hash_data: dict[str, Any]) -> str:
    """What two hash data have in common when they mean the same certificate: letter case does not matter."""
    names = ("hashAlgorithm", "issuerNameHash", "issuerKeyHash", "serialNumber")
    return "|".join(str(hash_data.get(name, "")).lower() for name in names)[:512]
