"""Root certificates for charge points: the catalogue, and install, list and delete at a charge point.

All three end in commands.enqueue; what the charge point says is taken in by stations/ocpp/security/certificates.py, so
that a bare command does the same.
Source: Improved security for OCPP 1.6-J, edition 3: M03, M04, M05.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from stations import commands
from stations.certificates import pem
from stations.certificates.facts import facts
from stations.models import ChargePoint, Command, InstalledCertificate, RootCertificate
from stations.models.certificate import CertificateType, hash_key


class RootRefused(Exception):
    """A root that cannot be kept; `member` is the field it is about."""

    def __init__(self, code: str, member: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.member = member
        self.detail = detail


def add(name: str, certificate_type: str, certificate: str, created_by: str, now: datetime) -> RootCertificate:
    """Keep a root for installing. One that cannot be read is kept as it is: charge points are to refuse such.

    Raises RootRefused: `name_taken`.
    """
    text = pem.with_plain_line_ends(certificate)
    found: dict[str, Any] = {}
    try:
        loaded = pem.certificates(certificate)[0]
    except pem.Unreadable:
        pass
    else:
        text, found = pem.written(loaded), facts(loaded)
    try:
        with transaction.atomic():
            return RootCertificate.objects.create(
                name=name,
                certificate_type=certificate_type,
                certificate=text,
                created_by=created_by[:200],
                created_at=now,
                **found,
            )
    except IntegrityError:
        raise RootRefused("name_taken", "name", "Another root certificate has this name.") from None


def install(
    charge_point: ChargePoint, certificate_type: str, certificate: str, requested_by: str, *, reason: str = ""
) -> Command:
    """Queue InstallCertificate with a PEM text, its line ends made LF. Errors: those of commands.enqueue."""
    payload = {"certificateType": certificate_type, "certificate": pem.with_plain_line_ends(certificate)}
    return commands.enqueue(charge_point, "InstallCertificate", payload, requested_by, reason=reason)


def ask_for_list(charge_point: ChargePoint, certificate_type: str, requested_by: str) -> Command:
    """Queue GetInstalledCertificateIds. Errors: those of commands.enqueue."""
    payload = {"certificateType": certificate_type}
    return commands.enqueue(charge_point, "GetInstalledCertificateIds", payload, requested_by)


def delete(charge_point: ChargePoint, hash_data: dict[str, Any], requested_by: str, *, reason: str = "") -> Command:
    """Queue DeleteCertificate with hash data as the charge point gave it. Errors: those of commands.enqueue."""
    payload = {"certificateHashData": hash_data}
    return commands.enqueue(charge_point, "DeleteCertificate", payload, requested_by, reason=reason)


def is_last_root(charge_point: ChargePoint, hash_data: dict[str, Any]) -> bool:
    """Whether the charge point would be left without a root for us, as far as we know: it could never connect again.

    Source: the remark to M04.
    """
    known = InstalledCertificate.objects.filter(
        charge_point=charge_point, certificate_type=CertificateType.CENTRAL_SYSTEM_ROOT
    )
    keys = list(known.values_list("key", flat=True)[:2])
    return keys == [hash_key(hash_data)]
