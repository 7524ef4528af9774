"""Secrets on their way to a charge point, encrypted at rest.

A command may wait for days until its charge point connects. Who reads the database, or a copy of it, must not find the
password in it; who also has the installation's secret key (CSMS_SECRET_KEY) could send one as well.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from stations.masking import SEALED, is_authorization_key, is_secret_key


class SealBroken(Exception):
    """A sealed value that cannot be opened: the installation's secret key is another one now."""


def sealed(payload: dict[str, Any], listed: Collection[str] = ()) -> dict[str, Any]:
    """`payload` of a request as it may be stored: the value of a secret configuration key encrypted.

    `listed`: keys that the tenant has declared secret (masking.py). A value that looks encrypted is encrypted too.
    """
    value = payload.get("value")
    if not isinstance(value, str) or not (is_secret_key(payload.get("key"), listed) or value.startswith(SEALED)):
        return payload
    return {**payload, "value": SEALED + _cipher().encrypt(value.encode()).decode()}


def opened(payload: dict[str, Any]) -> dict[str, Any]:
    """The stored `payload` as it goes on the wire; raises SealBroken."""
    value = str(payload.get("value"))
    # Passwords that were queued before values were marked have no mark.
    if not value.startswith(SEALED) and not is_authorization_key(payload.get("key")):
        return payload
    try:
        return {**payload, "value": _cipher().decrypt(value.removeprefix(SEALED).encode()).decode()}
    except InvalidToken:
        raise SealBroken("The secret cannot be read any more.") from None


def _cipher() -> Fernet:
    secret = hashlib.sha256(b"secrets in commands\n" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(secret))
