"""The ticket that every form of the admin carries: for whom and for which tenant it was opened, and what it showed.

Context: what a form is about used to be taken from the session and from the database when the form came back, so a form
opened for one tenant was saved into another, a second tab undid the first, and a double click sent twice.
Choice: the tag `csrf_token` (tenants/templatetags/tickets.py) puts a signed ticket beside the token against forgery,
into each form of the admin, also into those of Django and of pages yet to be written. It has the person, the tenant,
the path, a key that is good for one submission, and a short digest of each value that the form or dialog showed.
Consequence: tenants/submissions.py refuses what does not fit the ticket, wherever it was posted to; nothing of the
page's state is kept in the server until the form comes back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from django.conf import settings
from django.core import signing
from django.db import models
from django.db.models.query import QuerySet
from django.http import HttpRequest

FIELD = "csms_form"
KEPT = timedelta(hours=24)
_SALT = "csms.form"
_DIGEST_BYTES = 6


@dataclass(frozen=True)
class Ticket:
    """A ticket that was read: `shown` has a digest for each name (of a field or column) that the form showed."""

    user_id: int
    tenant_id: int | None
    path: str
    key: str
    expired: bool = False
    shown: Mapping[str, str] = field(default_factory=dict)


def issue(request: Any) -> str:
    """A new ticket for a form on the page that answers `request`; what it shows is what `show` was told."""
    tenant = request.tenant
    return sign(
        user_id=request.user.pk,
        tenant_id=None if tenant is None else tenant.pk,
        path=request.path,
        shown=getattr(request, "csms_shown", {}),
    )


def sign(*, user_id: int, tenant_id: int | None, path: str, shown: Mapping[str, str]) -> str:
    """The text of a ticket, with a key of its own."""
    facts = {"u": user_id, "t": tenant_id, "p": path, "k": secrets.token_urlsafe(18), "s": dict(shown)}
    return signing.TimestampSigner(salt=_SALT).sign_object(facts, compress=True)


def read(text: str) -> Ticket | None:
    """The ticket that `text` is; None when it is none of ours."""
    signer = signing.TimestampSigner(salt=_SALT)
    try:
        facts = signer.unsign_object(text)
    except signing.BadSignature:
        return None
    try:
        signer.unsign(text, max_age=KEPT)
    except signing.SignatureExpired:
        expired = True
    else:
        expired = False
    return Ticket(facts["u"], facts["t"], facts["p"], facts["k"], expired, facts["s"])


def show(request: HttpRequest, values: Mapping[str, Any]) -> None:
    """Have the tickets of this page say that it showed `values`."""
    shown = getattr(request, "csms_shown", {})
    request.csms_shown = {**shown, **{name: digest(value) for name, value in values.items()}}  # type: ignore[attr-defined]


def digest(value: Any) -> str:
    """A few letters that differ when `value` does; they tell nothing about it to whoever sees them."""
    key = settings.SECRET_KEY.encode()
    return hmac.new(key, orjson.dumps(_plain(value)), hashlib.sha256).digest()[:_DIGEST_BYTES].hex()


def _plain(value: Any) -> Any:
    """`value` as JSON, the same for a row and its key, for rows in any order, and for a time in any zone."""
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, list | tuple) and not any(isinstance(each, models.Model) for each in value):
        return [_plain(each) for each in value]
    if isinstance(value, QuerySet | list | tuple | set | frozenset):
        return sorted((_plain(each) for each in value), key=str)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in sorted(value.items())}
    if value is None or value == "":
        return ""
    if hasattr(value, "timestamp"):
        return str(value.timestamp())
    return str(value)
