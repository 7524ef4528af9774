"""Authorities of a tenant: made here, imported, renamed, retired; revocation lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509
from django.db import IntegrityError, transaction

from stations.certificates import pem, signing
from stations.certificates.facts import facts, fingerprint, is_authority, name_and_key, serial_text, weakness
from stations.models import CertificateAuthority, CertificateRevocation
from stations.models.certificate import AuthorityKind, KeyType
from tenants.models import Tenant
from tenants.scope import current_tenant_id

MAX_AUTHORITIES = 100
MAX_REVOCATIONS = 100_000


class AuthorityRefused(Exception):
    """What an operator asked of an authority cannot be; `member` is the field it is about, "" for none."""

    def __init__(self, code: str, member: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.member = member
        self.detail = detail


def create_issuing(
    name: str,
    created_by: str,
    now: datetime,
    *,
    key_type: str,
    signature_scheme: str = "",
    parent: CertificateAuthority | None = None,
    **settings: Any,
) -> CertificateAuthority:
    """Make a root, or an intermediate below `parent`, with a new key of ours.

    `settings` are columns that people set: organization, validity_days, signs_requests and so on.
    Raises AuthorityRefused: `scheme_does_not_fit`, `parent_cannot_sign`, `name_taken`, `too_many`.
    """
    scheme = scheme_for(key_type, signature_scheme)
    issuer = None
    if parent is not None:
        if parent.kind != AuthorityKind.ISSUING or parent.parent_id is not None:
            raise AuthorityRefused("parent_cannot_sign", "parent", "Only a root that signs here can be above another.")
        try:
            issuer = (
                pem.certificates(parent.certificate)[0],
                signing.decrypted(parent.private_key),
                parent.signature_scheme,
            )
        except signing.KeyUnavailable as unavailable:
            raise AuthorityRefused("parent_cannot_sign", "parent", str(unavailable)) from None
    key = signing.new_key(key_type)
    organization = settings.get("organization") or Tenant.objects.get(pk=current_tenant_id()).name
    certificate = signing.make_authority(name, organization, key, scheme, now, issuer=issuer)
    return _save(
        CertificateAuthority(
            name=name,
            kind=AuthorityKind.ISSUING,
            parent=parent,
            certificate=pem.written(certificate),
            name_and_key=name_and_key(certificate),
            key_type=key_type,
            signature_scheme=scheme,
            private_key=signing.encrypted(key),
            created_by=created_by[:200],
            created_at=now,
            **settings,
            **facts(certificate),
        )
    )


def scheme_for(key_type: str, signature_scheme: str) -> str:
    """The scheme asked for, or the usual one of the key. Raises AuthorityRefused: `scheme_does_not_fit`."""
    schemes = signing.SCHEMES[KeyType(key_type)]
    if signature_scheme and signature_scheme not in schemes:
        raise AuthorityRefused("scheme_does_not_fit", "signature_scheme", "This key cannot sign in this way.")
    return signature_scheme or schemes[0]


def import_authority(
    name: str, created_by: str, now: datetime, *, kind: str, certificate: str, **settings: Any
) -> CertificateAuthority:
    """Trust the first certificate of a PEM text, as `external` or `trusted`.

    Raises AuthorityRefused: `unreadable`, `not_an_authority`, `weak_key`, `already_there`, `name_taken`, `too_many`.
    """
    loaded = usable(certificate)
    return _save(
        CertificateAuthority(
            name=name,
            kind=kind,
            certificate=pem.written(loaded),
            name_and_key=name_and_key(loaded),
            created_by=created_by[:200],
            created_at=now,
            **settings,
            **facts(loaded),
        )
    )


def usable(certificate: str) -> x509.Certificate:
    """The first certificate of a PEM text, when it can be trusted here.

    Raises AuthorityRefused: `unreadable`, `not_an_authority`, `weak_key`, `already_there`.
    """
    try:
        loaded = pem.certificates(certificate)[0]
    except pem.Unreadable as error:
        raise AuthorityRefused("unreadable", "certificate", str(error)) from None
    if not is_authority(loaded):
        raise AuthorityRefused(
            "not_an_authority", "certificate", "The certificate may not sign others (basic constraints)."
        )
    weak = weakness(loaded.public_key())
    if weak:
        raise AuthorityRefused("weak_key", "certificate", weak)
    if CertificateAuthority.objects.filter(fingerprint=fingerprint(loaded)).exists():
        raise AuthorityRefused("already_there", "certificate", "This certificate is an authority here already.")
    return loaded


def _save(authority: CertificateAuthority) -> CertificateAuthority:
    if CertificateAuthority.objects.count() >= MAX_AUTHORITIES:
        raise AuthorityRefused("too_many", "", f"A tenant has at most {MAX_AUTHORITIES} authorities.")
    check(authority)
    try:
        with transaction.atomic():
            if authority.signs_requests:
                _stop_others(authority)
            authority.save(force_insert=True)
    except IntegrityError:
        raise AuthorityRefused("name_taken", "name", "Another authority has this name.") from None
    return authority


def check(authority: CertificateAuthority) -> None:
    """Raise AuthorityRefused for settings that do not go together: `trusted_only`, `scheme_does_not_fit`."""
    if authority.signs_requests and authority.kind == AuthorityKind.TRUSTED:
        raise AuthorityRefused("trusted_only", "signs_requests", "An authority that is only trusted signs nothing.")
    if authority.kind == AuthorityKind.ISSUING:
        scheme_for(authority.key_type, authority.signature_scheme)


def change(authority: CertificateAuthority, columns: set[str]) -> None:
    """Save what people changed of an authority. Raises AuthorityRefused."""
    check(authority)
    try:
        with transaction.atomic():
            if authority.signs_requests:
                _stop_others(authority)
            authority.save(update_fields=columns)
    except IntegrityError:
        raise AuthorityRefused("name_taken", "name", "Another authority has this name.") from None


def _stop_others(authority: CertificateAuthority) -> None:
    """At most one signs: the others hand over."""
    CertificateAuthority.objects.filter(signs_requests=True).exclude(pk=authority.pk).update(signs_requests=False)


def import_revocations(authority: CertificateAuthority, text: str, now: datetime) -> int:
    """Take the place of an authority's revocation list by a newer one (PEM); the number of entries.

    Raises AuthorityRefused: `unreadable`, `wrong_issuer`, `older`, `too_long`.
    """
    try:
        loaded = pem.revocation_list(text)
        issuer = pem.certificates(authority.certificate)[0]
        signed = loaded.issuer == issuer.subject and loaded.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (pem.Unreadable, ValueError, TypeError) as error:
        detail = str(error) if isinstance(error, pem.Unreadable) else "The revocation list cannot be read."
        raise AuthorityRefused("unreadable", "crl", detail) from None
    if not signed:
        raise AuthorityRefused("wrong_issuer", "crl", "The revocation list is not signed by this authority.")
    if authority.crl_updated_at is not None and loaded.last_update_utc < authority.crl_updated_at:
        raise AuthorityRefused("older", "crl", "A newer revocation list is there already.")
    entries = {serial_text(entry.serial_number): entry.revocation_date_utc for entry in loaded}
    if len(entries) > MAX_REVOCATIONS:
        raise AuthorityRefused("too_long", "crl", f"The revocation list has more than {MAX_REVOCATIONS} entries.")
    rows = [
        CertificateRevocation(authority=authority, serial_number=serial, revoked_at=at)
        for serial, at in sorted(entries.items())
    ]
    with transaction.atomic():
        CertificateRevocation.objects.filter(authority=authority).delete()
        CertificateRevocation.objects.bulk_create(rows, batch_size=1000)
        authority.crl_updated_at, authority.crl_next_update = loaded.last_update_utc, loaded.next_update_utc
        authority.save(update_fields=["crl_updated_at", "crl_next_update"])
    return len(rows)
