"""Security extension, root certificates at the charge point: installed, listed, deleted, rejected."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography import x509

from csms.certify.authority import HASHES, hash_data, pem_of, root
from csms.certify.case import ACCEPTED, REJECTED, Case
from csms.certify.cases.security_certificates import sees_event
from csms.certify.charge_point import timestamp

CENTRAL_SYSTEM, MANUFACTURER = "CentralSystemRootCertificate", "ManufacturerRootCertificate"


async def tc_075_1(case: Case) -> None:
    """Install manufacturer root."""
    await _installed_from_catalogue(case, MANUFACTURER, "ec")


async def tc_075_2(case: Case) -> None:
    """Install central-system root."""
    await _installed_from_catalogue(case, CENTRAL_SYSTEM, "rsa")


async def tc_076(case: Case) -> None:
    """Delete a certificate."""
    for algorithm in HASHES:
        certificate = root(f"{case.testbed.identity} {algorithm}")
        payload = {"certificateType": CENTRAL_SYSTEM, "certificate": pem_of(certificate)}
        await case.send("InstallCertificate", payload, ACCEPTED)
        data = hash_data(certificate, algorithm)
        await _listed(case, CENTRAL_SYSTEM, data, certificate)
        picked = await _row(case, CENTRAL_SYSTEM, data)
        # What came from the charge point goes back, letter by letter.
        await case.send(
            "DeleteCertificate",
            {"certificateHashData": picked["certificate_hash_data"]},
            ACCEPTED,
            on_wire={"certificateHashData": data},
        )
        payload = {"certificateType": CENTRAL_SYSTEM}
        await case.send("GetInstalledCertificateIds", payload, {"status": "NotFound"})
        await _sees_no(case, CENTRAL_SYSTEM, data)


async def tc_078(case: Case) -> None:
    """Invalid central-system certificate event."""
    # No authority, and expired: the operator may send it all the same.
    odd = root(f"{case.testbed.identity} odd", expired=True)
    body = {"certificate_type": CENTRAL_SYSTEM, "certificate": pem_of(odd)}
    command = await case.operator.request("POST", _installed(case), body)
    call = await case.expect("InstallCertificate", {"certificateType": CENTRAL_SYSTEM, "certificate": pem_of(odd)})
    await case.reply(call, REJECTED)
    await case.answered(command, REJECTED)
    event = {"type": "InvalidCentralSystemCertificate", "timestamp": timestamp(), "techInfo": "expired"}
    await case.tell("SecurityEventNotification", event)
    await sees_event(case, event["type"])
    # Nothing of it counts as installed, whatever its hash data would have been.
    found = (await case.operator.get(_installed(case)))["results"]
    case.check(
        all(row["certificate"] != pem_of(odd) for row in found),
        "The operator sees a certificate as installed that the charge point rejected.",
    )


async def _installed_from_catalogue(case: Case, kind: str, key: str) -> None:
    """The operator uploads a root and has it installed; the charge point lists it."""
    certificate = await asyncio.to_thread(root, f"{case.testbed.identity} {kind}", key)
    # As it comes from another system; on the wire it is plain PEM.
    text = pem_of(certificate).replace("\n", "\r\n")
    body = {"name": f"{case.testbed.identity} {kind}", "certificate_type": kind, "certificate": text}
    kept = await case.operator.request("POST", "root-certificates/", body)
    try:
        command = await case.operator.request("POST", _installed(case), {"root_certificate": kept["id"]})
        payload = {"certificateType": kind, "certificate": pem_of(certificate)}
        call = await case.expect("InstallCertificate", payload)
        await case.reply(call, ACCEPTED)
        await case.answered(command, ACCEPTED)
        await _listed(case, kind, hash_data(certificate, "SHA256"), certificate)
    finally:
        await case.operator.request("DELETE", f"root-certificates/{kept['id']}/")


async def _listed(case: Case, kind: str, data: dict[str, str], certificate: x509.Certificate) -> None:
    """The operator has the roots listed, and sees which one it is by its hash data."""
    answer: dict[str, Any] = {"status": "Accepted", "certificateHashData": [data]}
    await case.send("GetInstalledCertificateIds", {"certificateType": kind}, answer)
    await case.sees(
        "the installed certificate",
        lambda: _row(case, kind, data),
        certificate_type=kind,
        certificate_hash_data=data,
        certificate=pem_of(certificate),
    )


async def _row(case: Case, kind: str, data: dict[str, str]) -> dict[str, Any]:
    found = (await case.operator.get(_installed(case), certificate_type=kind))["results"]
    return next((row for row in found if row["certificate_hash_data"] == data), {})


async def _sees_no(case: Case, kind: str, data: dict[str, str]) -> None:
    gone = lambda row: row is None  # noqa: E731 - a condition for `sees`
    await case.sees("the deleted certificate", lambda: _row(case, kind, data), certificate_hash_data=gone)


def _installed(case: Case) -> str:
    return f"{case.operator.path}installed-certificates/"
