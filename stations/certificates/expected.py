"""What a charge point's certificate must say, and who of its tenant signs."""

from __future__ import annotations

from cryptography import x509

from stations.certificates import pem
from stations.models import CertificateAuthority, ChargePoint, ConfigurationKey

MAX_CHAIN = 10_000
MAX_CHAIN_KEY = "CertificateSignedMaxChainSize"


def serial_numbers(charge_point: ChargePoint) -> set[str]:
    """The CNs that mean this charge point: the serial number set for it, else its identity and what it booted with.

    Source: Improved security for OCPP 1.6-J, edition 3: A00.FR.405, 511.
    """
    if charge_point.serial_number:
        return {charge_point.serial_number}
    return {each for each in (charge_point.identity, charge_point.charge_point_serial_number) if each}


def is_of(charge_point: ChargePoint, common_name: str) -> bool:
    """Whether a CN names this charge point; letter case does not matter."""
    return common_name.casefold() in {each.casefold() for each in serial_numbers(charge_point)}


def signing_authority() -> CertificateAuthority | None:
    """Who of the open tenant gets the requests of charge points."""
    return (
        CertificateAuthority.objects.filter(signs_requests=True, active=True).select_related("tenant", "parent").first()
    )


def chain_limit(charge_point: ChargePoint) -> int:
    """Bytes that a chain may have: the charge point's CertificateSignedMaxChainSize, at most that of the schema."""
    row = ConfigurationKey.objects.filter(charge_point=charge_point, key=MAX_CHAIN_KEY, known=True).first()
    text = (row.value or "").strip() if row is not None else ""
    return min(int(text), MAX_CHAIN) if text.isascii() and text.isdigit() and int(text) > 0 else MAX_CHAIN


def chain_text(leaf: x509.Certificate, authority: CertificateAuthority) -> str:
    """Leaf first, then the intermediates towards the root, without the root: the charge point has it."""
    chain, above = [leaf], authority
    while above.parent is not None:
        chain.extend(pem.certificates(above.certificate))
        above = above.parent
    return pem.written(*chain)
