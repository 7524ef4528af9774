"""The certificate that a charge point shows: whose it is, and whether it is still good.

OpenSSL has verified the chain up to a root of some tenant of the installation. Whether that is the tenant whose URL was
dialled, and whether the leaf is this charge point's, is judged here.
Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.403-408, 702, 704.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from django.db.models import Q

from stations.certificates import expected, pem
from stations.certificates.facts import common_name, facts, name_and_key, organization, serial_text
from stations.models import Certificate, CertificateAuthority, CertificateRevocation, ChargePoint
from stations.models.certificate import AuthorityKind, CertificateState, Origin
from tenants.scope import platform_scope

# A charge point that has taken one of ours does not come with another one.
_TAKEN = (CertificateState.ACCEPTED, CertificateState.IN_USE)


class NotAccepted(Exception):
    """A certificate that does not let a charge point in; `reason` is a key of stations.handshake.REFUSALS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate that was accepted: what is read off it, its row if it has one, and who vouches for it."""

    facts: dict[str, Any]
    chain: str
    row: Certificate | None
    authority_id: int


def described(chain: list[bytes]) -> str:
    """The leaf of a verified chain for the log of connections: subject, serial number, fingerprint."""
    if not chain:
        return ""
    try:
        found = facts(pem.certificate(chain[0]))
    except pem.Unreadable:
        return "not readable"
    return f"{found['subject']}; serial number {found['serial_number']}; SHA-256 {found['fingerprint']}"


def judge(charge_point: ChargePoint, chain: list[bytes], now: datetime) -> Presented:
    """Accept the verified `chain` (DER, leaf first, root last) for `charge_point` of the open tenant.

    `charge_point` may be one that has no row yet. Raises NotAccepted: `certificate_unreadable`,
    `certificate_untrusted`, `certificate_revoked`, `certificate_of_another`, `certificate_rejected`,
    `certificate_unknown`, `certificate_organization`.
    """
    try:
        certificates = [pem.certificate(der) for der in chain]
    except pem.Unreadable:
        raise NotAccepted("certificate_unreadable") from None
    leaf, *above = certificates
    identities = [name_and_key(each) for each in above]
    found = CertificateAuthority.objects.filter(name_and_key__in=identities, active=True).select_related("tenant")
    authorities = {row.name_and_key: row for row in found}
    # The one nearest to the leaf.
    authority = next((authorities[each] for each in identities if each in authorities), None)
    if authority is None:
        raise NotAccepted("certificate_untrusted")
    if _revoked(certificates, identities, authorities):
        raise NotAccepted("certificate_revoked")
    presented = facts(leaf)
    row = Certificate.objects.select_related("authority").filter(fingerprint=presented["fingerprint"]).first()
    if row is not None:
        _check_row(row, charge_point)
    elif authorities.get(identities[0], authority).kind == AuthorityKind.ISSUING or _has_one_of_ours(charge_point, now):
        raise NotAccepted("certificate_unknown")
    # What we issued to this very charge point is bound to it by its fingerprint.
    bound = row is not None and row.origin != Origin.PRESENTED and not authority.check_common_name
    if not bound and not expected.is_of(charge_point, common_name(leaf.subject)):
        raise NotAccepted("certificate_of_another")
    if authority.check_organization:
        if organization(leaf.subject).casefold() != authority.effective_organization.casefold():
            raise NotAccepted("certificate_organization")
    return Presented(presented, pem.written(*certificates[:-1]), row, authority.pk)


def _revoked(
    certificates: list[x509.Certificate], identities: list[str], authorities: dict[str, CertificateAuthority]
) -> bool:
    """Whether a certificate of the chain is on the imported list of the one above it."""
    entries = Q()
    for certificate, issuer in zip(certificates, identities, strict=False):
        if issuer in authorities:
            entries |= Q(authority=authorities[issuer], serial_number=serial_text(certificate.serial_number))
    return bool(entries) and CertificateRevocation.objects.filter(entries).exists()


def _check_row(row: Certificate, charge_point: ChargePoint) -> None:
    if row.charge_point_id != charge_point.pk:
        raise NotAccepted("certificate_of_another")
    if row.state == CertificateState.REVOKED:
        raise NotAccepted("certificate_revoked")
    if row.state == CertificateState.REJECTED:
        raise NotAccepted("certificate_rejected")


def _has_one_of_ours(charge_point: ChargePoint, now: datetime) -> bool:
    """Whether it has taken a certificate that we gave it, and that is still good."""
    if charge_point.pk is None:
        return False
    rows = Certificate.objects.filter(charge_point=charge_point, state__in=_TAKEN, not_after__gte=now)
    return rows.exclude(origin=Origin.PRESENTED).exists()


def note_use(charge_point: ChargePoint, presented: Presented, now: datetime) -> None:
    """Mark the certificate as in use, and the one that was as accepted: it stays good until it expires or is revoked.

    One that nobody issued here gets a row, so that it can be revoked. Runs in the transaction of the handshake.
    """
    row = presented.row
    if row is None:
        row, _ = Certificate.objects.get_or_create(
            fingerprint=presented.facts["fingerprint"],
            defaults={
                **presented.facts,
                "charge_point": charge_point,
                "authority_id": presented.authority_id,
                "origin": Origin.PRESENTED,
                "chain": presented.chain,
                "created_at": now,
            },
        )
    if row.state != CertificateState.IN_USE:
        Certificate.objects.filter(charge_point=charge_point, state=CertificateState.IN_USE).update(
            state=CertificateState.ACCEPTED
        )
        row.state = CertificateState.IN_USE
    row.first_used_at = row.first_used_at or now
    row.last_used_at = now
    row.save(update_fields=["state", "first_used_at", "last_used_at"])


def client_roots() -> str:
    """PEM of every certificate that a client's chain may lead to or over, of all tenants, each once."""
    # A TLS handshake comes before any URL: the tenant is not known yet.
    with platform_scope():
        rows = CertificateAuthority.objects.filter(active=True).exclude(not_after__lt=datetime.now(UTC))
        certificates = {row["fingerprint"]: row["certificate"] for row in rows.values("fingerprint", "certificate")}
    return "".join(certificates[each] for each in sorted(certificates))
