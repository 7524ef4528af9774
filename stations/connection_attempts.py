"""Rows of handshakes: what the tenant sees of each one, let in or refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from stations import near_misses, security_events
from stations.bulk import insert_rows
from stations.certificates import presented
from stations.models import ChargePoint, ConnectionAttempt
from stations.models.charge_point import SecurityProfile
from tenants.scope import current_tenant_id

if TYPE_CHECKING:
    from stations.handshake import Refusal, Request

_COLUMNS = (
    "tenant_id", "charge_point_id", "identity", "at", "address", "accepted", "http_status", "reason", "remedy",
    "security_profile", "subprotocols", "user_agent", "tls_version", "tls_cipher", "client_certificate",
)  # fmt: skip
# Refusals that may be of a charge point whose name, or URL, was mistyped.
NAMES_NOBODY = frozenset({"bad_path", "unknown_identity", "not_found", "wrong_username", "no_credentials"})


def record_accepted(accepted: Iterable[tuple[Request, ChargePoint, SecurityProfile]], now: datetime) -> None:
    """A row for each handshake of the open tenant that is let in; in the caller's transaction."""
    rows = [_row(request, charge_point, profile, None, now) for request, charge_point, profile in accepted]
    insert_rows(ConnectionAttempt, _COLUMNS, rows)


def record_refused(
    request: Request, charge_point: ChargePoint | None, profile: SecurityProfile, refusal: Refusal, now: datetime
) -> None:
    """The row of a refused handshake of the open tenant, and its security event.

    A near miss becomes a row of the charge point that is meant; the event stays one of a stranger.
    """
    near = near_misses.in_tenant(request) if charge_point is None and refusal.reason in NAMES_NOBODY else None
    # One commit for both: attackers decide how often this happens.
    with transaction.atomic(savepoint=False):
        shown = charge_point if near is None else near.charge_point
        remedy = refusal.remedy if near is None else f"{refusal.remedy} {near.sentence}"
        insert_rows(ConnectionAttempt, _COLUMNS, [_row(request, shown, profile, refusal, now, remedy)])
        identity = printable(request.identity)
        security_events.note_refusal(refusal.reason, charge_point, identity, request.address, now)


def record_stray(request: Request, charge_point: ChargePoint, refusal: Refusal, sentence: str, now: datetime) -> None:
    """The row of a handshake that named no tenant, in the open one, whose `charge_point` it most likely means."""
    remedy = f"{refusal.remedy} {sentence}"
    insert_rows(ConnectionAttempt, _COLUMNS, [_row(request, charge_point, None, refusal, now, remedy)])


def _row(
    request: Request,
    charge_point: ChargePoint | None,
    profile: SecurityProfile | None,
    refusal: Refusal | None,
    now: datetime,
    remedy: str = "",
) -> tuple[Any, ...]:
    return (
        current_tenant_id(),
        None if charge_point is None else charge_point.pk,
        printable(request.identity),
        now,
        request.address,
        refusal is None,
        101 if refusal is None else refusal.status,
        "" if refusal is None else refusal.reason,
        remedy,
        None if profile is None else int(profile),
        printable(", ".join(request.subprotocols)),
        printable(request.user_agent),
        str(request.tls.get("tls_version") or ""),
        str(request.tls.get("cipher_suite") or ""),
        presented.described(_shown_certificates(request)),
    )


def _shown_certificates(request: Request) -> list[bytes]:
    leaf = request.tls.get("client_cert")
    return request.tls.get("client_cert_chain") or ([leaf] if leaf else [])


def printable(text: str) -> str:
    """`text` as it may be stored and shown: no control characters, at most 255 characters."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)[:255]
