"""ApiKey: what a tenant's programs sign in with. Shown once, stored as a salted hash."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import string
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, models

from tenants.models.site import Site
from tenants.scope import platform_scope, tenant_scope
from tenants.scoped import TenantModel

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tenants.models.tenant import Tenant

logger = logging.getLogger(__name__)

PREFIX_LENGTH = 12
PREFIX_ALPHABET = string.ascii_lowercase + string.digits
LAST_USED_RESOLUTION = timedelta(minutes=1)


class ApiScope(models.TextChoices):
    """What a key, or a role, allows."""

    READ = "read", "Read"
    OPERATE = "operate", "Send commands"
    MANAGE = "manage", "Change data"
    BILLING = "billing", "Tariffs, invoices, payments"


def validate_scopes(value: object) -> None:
    """A non-empty list of ApiScope values without repetition (ValidationError)."""
    if not isinstance(value, list) or not value:
        raise ValidationError("Name at least one scope.", code="no_scope")
    for scope in value:
        if scope not in ApiScope.values:
            raise ValidationError(
                "%(scope)s is not a scope; use %(known)s.",
                code="unknown_scope",
                params={"scope": scope, "known": ", ".join(ApiScope.values)},
            )
    if len(set(value)) != len(value):
        raise ValidationError("Name each scope once.", code="repeated_scope")


class ApiKey(TenantModel):
    """`Authorization: Api-Key <prefix>.<secret>`. The prefix finds the row, the secret proves the caller."""

    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=PREFIX_LENGTH, unique=True, editable=False)
    salt = models.BinaryField(max_length=16, editable=False)
    # The secret has 256 random bits, so one fast hash is enough: there is nothing to guess that stretching would slow
    # down.
    secret_hash = models.BinaryField(max_length=32, editable=False)
    scopes = models.JSONField(default=list, validators=[validate_scopes])
    sites = models.ManyToManyField(Site, through="ApiKeySite", related_name="api_keys", blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )

    class Meta(TenantModel.Meta):
        ordering = ["-pk"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @classmethod
    def issue(
        cls,
        tenant: Tenant,
        name: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        sites: Iterable[Site] = (),
        created_by: User | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key for `tenant`: the row, and the text "<prefix>.<secret>" that exists nowhere else.

        Sites empty: all sites. Errors: ValidationError for scopes that do not exist.
        """
        scopes = list(scopes)
        validate_scopes(scopes)
        secret = secrets.token_urlsafe(32)
        salt = secrets.token_bytes(16)
        with tenant_scope(tenant):
            key = cls.objects.create(
                name=name,
                prefix="".join(secrets.choice(PREFIX_ALPHABET) for _ in range(PREFIX_LENGTH)),
                salt=salt,
                secret_hash=_digest(salt, secret),
                scopes=scopes,
                expires_at=expires_at,
                created_by=created_by,
            )
            key.sites.set(sites)
        return key, f"{key.prefix}.{secret}"

    @classmethod
    def authenticate(cls, text: str, now: datetime) -> ApiKey | None:
        """The key that `text` is, with its tenant loaded; None when it is unknown, wrong, expired or revoked.

        Works in any scope; the caller opens the scope of `key.tenant_id`. Notes the use, at most once a minute.
        """
        prefix, _, secret = text.partition(".")
        if len(prefix) != PREFIX_LENGTH or not secret or "\x00" in text:
            return None
        # Whose key it is, is what the look-up has to find out.
        with platform_scope():
            key = cls.objects.select_related("tenant").filter(prefix=prefix).first()
            if key is None or not hmac.compare_digest(_digest(bytes(key.salt), secret), bytes(key.secret_hash)):
                return None
            if not key.is_valid_at(now):
                return None
            key._note_use(now)
        return key

    def is_valid_at(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def revoke(self, now: datetime) -> None:
        """Refuse the key from now on. Repeating it keeps the first date."""
        if self.revoked_at is None:
            self.revoked_at = now
            self.save(update_fields=["revoked_at"])

    def _note_use(self, now: datetime) -> None:
        if self.last_used_at is None or now - self.last_used_at >= LAST_USED_RESOLUTION:
            self.last_used_at = now
            try:
                # Who is calling is found out before any transaction begins, so there is none that an error would end.
                type(self).objects.filter(pk=self.pk).update(last_used_at=now)
            except DatabaseError as error:
                # Of a database that takes no writes one may still read.
                logger.warning("The use of an API key was not noted (%s)", type(error).__name__)


class ApiKeySite(TenantModel):
    """A site to which a key is limited."""

    verify_foreign_ids = True

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["api_key", "site"], name="api_key_site_unique")]

    def __str__(self) -> str:
        return str(self.site)


def _digest(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode()).digest()
