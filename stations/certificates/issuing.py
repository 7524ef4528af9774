"""From a charge point's request to its certificate: sign, or import what was signed elsewhere; renew; revoke.

Each certificate ends in a CertificateSigned through commands.enqueue; nothing is repeated by itself.
Source: Improved security for OCPP 1.6-J, edition 3: A02, A03.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from cryptography import x509
from django.db import transaction
from django.db.models import Exists, OuterRef

from stations import commands, security_events
from stations.certificates import expected, pem, signing
from stations.certificates.facts import common_name, facts, fingerprint, issued_by, name_and_key, public_key_der
from stations.models import (
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    ChargePoint,
    Command,
)
from stations.models.certificate import (
    OPEN_REQUEST_STATES,
    AuthorityKind,
    CertificateState,
    Origin,
    RequestState,
)
from stations.refusal import CommandRefused

logger = logging.getLogger(__name__)

# How long a request waits for the task it was promised before the sweep takes it up.
OVERDUE = timedelta(seconds=30)
# A charge point that does not answer a renewal is not asked again before.
RENEWAL_PAUSE = timedelta(days=1)
MAX_RENEWALS = 500
RENEWAL = {"requestedMessage": "SignChargePointCertificate"}
BY_AUTHORITY = "certificate authority"


class ChainRefused(Exception):
    """A chain that is not what was asked for; `code` is stable, the text a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def issue(request_id: int, now: datetime) -> Certificate | None:
    """Sign one request of the open tenant and queue its CertificateSigned; None when there is nothing to do.

    May run twice: the second finds the request closed. A request that cannot be signed is closed with its problem.
    """
    with transaction.atomic():
        request = (
            CertificateRequest.objects.select_for_update(of=("self",))
            .select_related("charge_point__tenant")
            .filter(pk=request_id, state=RequestState.RECEIVED)
            .first()
        )
        if request is None:
            return None
        try:
            with transaction.atomic():
                return _issue(request, now)
        except (signing.KeyUnavailable, CommandRefused, ChainRefused, pem.Unreadable, ValueError) as error:
            problem = getattr(error, "detail", "") or str(error) or "The certificate could not be made."
            _close(request, RequestState.FAILED, now, problem)
            logger.warning("Certificate request %s was not signed: %s", request.pk, problem)
            return None


def _issue(request: CertificateRequest, now: datetime) -> Certificate:
    authority = expected.signing_authority()
    if authority is None or authority.kind != AuthorityKind.ISSUING:
        raise signing.KeyUnavailable("No authority signs requests here any more.")
    csr = pem.signing_request(request.csr)
    charge_point = request.charge_point
    cn = common_name(csr.subject) or min(expected.serial_numbers(charge_point))
    leaf = signing.issue(
        csr.public_key(),
        cn,
        authority.effective_organization,
        pem.certificates(authority.certificate)[0],
        signing.decrypted(authority.private_key),
        authority.signature_scheme,
        now,
        timedelta(days=authority.validity_days),
    )
    return _hand_out(request, leaf, expected.chain_text(leaf, authority), authority, Origin.ISSUED, BY_AUTHORITY, now)


def import_chain(request: CertificateRequest, text: str, requested_by: str, now: datetime) -> Certificate:
    """Take the chain that an external issuer made of `request`, and queue its CertificateSigned.

    The certificates may come in any order, with or without the root.
    Raises ChainRefused: `not_open`, `unreadable`, `no_leaf`, `wrong_issuer`, `already_there`, `too_long`;
    CommandRefused.
    """
    if not request.is_open:
        raise ChainRefused("not_open", "The request is closed.")
    try:
        found = pem.certificates(text)
        wanted = public_key_der(pem.signing_request(request.csr).public_key())
    except pem.Unreadable as error:
        raise ChainRefused("unreadable", str(error)) from None
    leaf = next((each for each in found if public_key_der(each.public_key()) == wanted), None)
    if leaf is None:
        raise ChainRefused("no_leaf", "None of the certificates has the public key of the request.")
    if Certificate.objects.filter(fingerprint=fingerprint(leaf)).exists():
        raise ChainRefused("already_there", "This certificate is here already.")
    chain = [leaf]
    while above := next((each for each in found if each not in chain and issued_by(chain[-1], each)), None):
        chain.append(above)
    roots = CertificateAuthority.objects.filter(active=True).exclude(kind=AuthorityKind.ISSUING)
    trusted = {row.name_and_key: row for row in roots}
    authority = _authority_above(chain, trusted)
    if authority is None:
        raise ChainRefused("wrong_issuer", "The chain does not lead to an external authority that is known here.")
    if name_and_key(chain[-1]) in trusted and issued_by(chain[-1], chain[-1]):
        chain.pop()
    with transaction.atomic():
        return _hand_out(request, leaf, pem.written(*chain), authority, Origin.IMPORTED, requested_by, now)


def _authority_above(
    chain: list[x509.Certificate], trusted: dict[str, CertificateAuthority]
) -> CertificateAuthority | None:
    for each in chain[1:]:
        if name_and_key(each) in trusted:
            return trusted[name_and_key(each)]
    last = chain[-1]
    return next((row for row in trusted.values() if issued_by(last, pem.certificates(row.certificate)[0])), None)


def _hand_out(
    request: CertificateRequest,
    leaf: x509.Certificate,
    chain: str,
    authority: CertificateAuthority,
    origin: Origin,
    requested_by: str,
    now: datetime,
) -> Certificate:
    charge_point = request.charge_point
    limit = expected.chain_limit(charge_point)
    if len(chain.encode()) > limit:
        raise ChainRefused("too_long", f"The chain has {len(chain.encode())} bytes, the charge point takes {limit}.")
    row = Certificate.objects.create(
        charge_point=charge_point,
        authority=authority,
        request=request,
        origin=origin,
        chain=chain,
        created_at=now,
        **facts(leaf),
    )
    request.authority = authority
    _close(request, RequestState.SIGNED, now)
    commands.enqueue(charge_point, "CertificateSigned", {"certificateChain": chain}, requested_by)
    security_events.note("certificate_issued", charge_point, detail=str(row), now=now)
    row.refresh_from_db()
    return row


def _close(request: CertificateRequest, state: str, now: datetime, problem: str = "") -> None:
    request.state, request.closed_at, request.problem = state, now, problem[:500]
    request.save(update_fields=["state", "closed_at", "problem", "authority"])


def close(request: CertificateRequest, now: datetime) -> bool:
    """Close an open request by hand, say because its issuer refused; the charge point is not told. False if it is."""
    return bool(
        CertificateRequest.objects.filter(pk=request.pk, state__in=OPEN_REQUEST_STATES).update(
            state=RequestState.CLOSED, closed_at=now
        )
    )


def overdue(now: datetime) -> list[tuple[int, int]]:
    """Requests of all tenants that wait for a task that never came, as (tenant, request). In the platform scope."""
    rows = CertificateRequest.objects.filter(state=RequestState.RECEIVED, received_at__lte=now - OVERDUE)
    return list(rows.order_by("id").values_list("tenant_id", "id")[:500])


def revoke(certificate: Certificate, revoked_by: str, reason: str, now: datetime) -> bool:
    """Withdraw a certificate for good: no connection is let in with it any more. False when it was already.

    A connection that stands is not cut: the operator may disable the charge point, or ask it to reset.
    """
    with transaction.atomic():
        rows = Certificate.objects.filter(pk=certificate.pk).exclude(state=CertificateState.REVOKED)
        revoked = rows.update(
            state=CertificateState.REVOKED, revoked_at=now, revoked_by=revoked_by[:200], reason=reason[:500]
        )
        if revoked:
            security_events.note("certificate_withdrawn", certificate.charge_point, detail=str(certificate), now=now)
    return bool(revoked)


def renew(charge_point: ChargePoint, requested_by: str, *, reason: str = "") -> Command:
    """Ask a charge point for a request for a new certificate. Errors: those of commands.enqueue."""
    return commands.enqueue(charge_point, "ExtendedTriggerMessage", dict(RENEWAL), requested_by, reason=reason)


def renew_due(now: datetime) -> int:
    """Ask the open tenant's charge points whose certificate in use expires soon, where an authority is set to do so.

    Once a day each, only those that are connected and have no request open; gives their number.
    """
    asked = 0
    for authority in CertificateAuthority.objects.filter(active=True, renew_days_before__isnull=False):
        until = now + timedelta(days=authority.renew_days_before or 0)
        trigger = Command.objects.filter(
            charge_point=OuterRef("charge_point"), action="ExtendedTriggerMessage", created_at__gt=now - RENEWAL_PAUSE,
            payload__requestedMessage=RENEWAL["requestedMessage"],
        )  # fmt: skip
        open_request = CertificateRequest.objects.filter(
            charge_point=OuterRef("charge_point"), state__in=OPEN_REQUEST_STATES
        )
        on_its_way = Certificate.objects.filter(
            charge_point=OuterRef("charge_point"), not_after__gt=until,
            state__in=(CertificateState.ISSUED, CertificateState.SENT, CertificateState.ACCEPTED),
        )  # fmt: skip
        due = Certificate.objects.filter(
            authority=authority, state=CertificateState.IN_USE, not_after__lte=until, charge_point__disabled=False,
            charge_point__connected=True,
        )  # fmt: skip
        due = due.exclude(Exists(trigger)).exclude(Exists(open_request)).exclude(Exists(on_its_way))
        for certificate in due.select_related("charge_point__tenant").order_by("not_after")[:MAX_RENEWALS]:
            try:
                renew(certificate.charge_point, "certificate renewal", reason="The certificate expires soon.")
            except CommandRefused as refused:
                logger.info("No renewal for charge point %s: %s", certificate.charge_point_id, refused.detail)
            else:
                asked += 1
    return asked
