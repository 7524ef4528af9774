"""IdempotencyRecord: the first answer to a POST, given again when the request is repeated."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import models
from django.utils import timezone

from tenants.models.api_key import ApiKey
from tenants.scoped import TenantModel


class IdempotencyState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"


class IdempotencyRecord(TenantModel):
    """One Idempotency-Key of one owner, an API key or a person. A unique constraint makes repetition safe."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    key = models.CharField(max_length=255)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=2000)
    body_digest = models.CharField(max_length=64, help_text="SHA-256 of the request body, hexadecimal.")
    state = models.CharField(max_length=7, choices=IdempotencyState, default=IdempotencyState.RUNNING)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_headers = models.JSONField(default=dict, blank=True)
    response_body = models.BinaryField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)

    class Meta(TenantModel.Meta):
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["api_key", "key"], name="idempotency_key_of_api_key_unique"),
            models.UniqueConstraint(fields=["tenant", "user", "key"], name="idempotency_key_of_user_unique"),
            models.CheckConstraint(
                condition=models.Q(api_key__isnull=True) ^ models.Q(user__isnull=True),
                name="idempotency_record_one_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.key}"

    def keep(self, answer: bytes) -> None:
        """Hold the answer, encrypted: it may have a password or a key that is shown once."""
        self.response_body = _cipher().encrypt(answer)

    def kept(self) -> bytes:
        """The answer that was kept. Errors: cryptography's InvalidToken when the installation's key is another now."""
        return _cipher().decrypt(bytes(self.response_body or b""))


def _cipher() -> Fernet:
    secret = hashlib.sha256(b"idempotency\n" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(secret))
