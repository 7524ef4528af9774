"""Certificates of the security extension of OCPP 1.6, both directions.

From the charge point: SignCertificate. To it: CertificateSigned, InstallCertificate, DeleteCertificate,
GetInstalledCertificateIds. The request is checked and answered here; it is signed after the answer is committed
(stations/certificates/follow_up.py), so that CertificateSigned always comes second.
Source: Improved security for OCPP 1.6-J, edition 3: A02, A03, M03, M04, M05.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import GenericStatus

from stations.certificates import expected, follow_up, pem, signing
from stations.certificates.facts import (
    common_name,
    facts,
    fingerprint,
    is_authority,
    is_self_signed,
    issued_by,
    key_text,
    name_text,
    weakness,
)
from stations.certificates.hash_data import ALGORITHMS, hash_data
from stations.models import (
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    ChargePoint,
    Command,
    ConfigurationKey,
    InstalledCertificate,
    RootCertificate,
)
from stations.models.certificate import (
    OPEN_REQUEST_STATES,
    AuthorityKind,
    CertificateState,
    CertificateType,
    Origin,
    RequestState,
    hash_key,
)
from stations.models.command import CommandStatus

# More than this is a fault of the charge point, and would fill the tables.
MAX_REQUESTS_AN_HOUR = 30
# Roots of the catalogue that a list of a charge point is compared with.
MAX_CATALOGUE = 200


# --- from the charge point --------------------------------------------------------------------------------------------
def sign_certificate(
    charge_point: ChargePoint, req: call.SignCertificate, now: datetime
) -> call_result.SignCertificate:
    """Answer SignCertificate.req: Accepted when an authority of the tenant is going to sign it, else Rejected.

    Served on every security profile: a charge point on its way to profile 3 gets its first certificate before. Only
    subject and public key count; extensions are never copied. A newer request takes the place of an open one.
    Errors: none of its own; what cannot be read is kept, and Rejected.
    Source: Improved security for OCPP 1.6-J, edition 3, A02.FR.02-04, 11, 12; A03.
    """
    recent = CertificateRequest.objects.filter(charge_point=charge_point, received_at__gt=now - timedelta(hours=1))
    if recent.count() >= MAX_REQUESTS_AN_HOUR:
        return call_result.SignCertificate(status=GenericStatus.rejected)
    authority = expected.signing_authority()
    text, subject, key, problem = str(req.csr), "", "", ""
    try:
        csr = pem.signing_request(text)
    except pem.Unreadable as error:
        problem = str(error)
    else:
        text, subject, key = pem.written(csr), name_text(csr.subject), key_text(csr.public_key())
        if authority is None:
            problem = "No certificate authority of the tenant signs requests."
        else:
            problem = signing.problem_of(
                csr,
                expected.serial_numbers(charge_point) if authority.check_common_name else set(),
                authority.effective_organization if authority.check_organization else None,
            )
    state = RequestState.REJECTED
    if not problem and authority is not None:
        state = RequestState.RECEIVED if authority.kind == AuthorityKind.ISSUING else RequestState.WAITING
        CertificateRequest.objects.filter(charge_point=charge_point, state__in=OPEN_REQUEST_STATES).update(
            state=RequestState.REPLACED, closed_at=now
        )
    request = CertificateRequest.objects.create(
        charge_point=charge_point,
        authority=authority,
        csr=text,
        subject=subject,
        key=key,
        state=state,
        problem=problem[:500],
        received_at=now,
        closed_at=now if problem else None,
    )
    if state == RequestState.RECEIVED:
        follow_up.sign_after_commit(request)
    return call_result.SignCertificate(status=GenericStatus.rejected if problem else GenericStatus.accepted)


# --- CertificateSigned ------------------------------------------------------------------------------------------------
def certificate_signed_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a CertificateSigned.req; nothing of it keeps the chain from being sent."""
    text = payload["certificateChain"]
    found = []
    limit = expected.chain_limit(charge_point)
    if len(text.encode()) > limit:
        found.append(("chain_too_long", f"The charge point takes chains of at most {limit} bytes."))
    try:
        leaf, *above = pem.certificates(text)
    except pem.Unreadable as error:
        return [*found, ("certificate_unreadable", str(error))]
    if any(not issued_by(each, issuer) for each, issuer in zip([leaf, *above], above, strict=False)):
        found.append(("chain_order", "The chain does not go from the leaf towards the root."))
    if any(is_self_signed(each) for each in above):
        found.append(("chain_with_root", "The chain contains a root; charge points have it, and may refuse it here."))
    if not expected.is_of(charge_point, common_name(leaf.subject)):
        found.append(("certificate_of_another", "The CN is not the serial number of the charge point."))
    row = Certificate.objects.filter(fingerprint=fingerprint(leaf)).first()
    if row is not None and row.charge_point_id != charge_point.pk:
        found.append(("certificate_of_another", "The certificate has been given to another charge point."))
    return [*found, *_validity_warnings(leaf)]


def certificate_signed_queued(command: Command) -> None:
    """Note that a certificate is on its way; one that was signed elsewhere and came by a bare command gets a row."""
    text = str(command.payload["certificateChain"])
    try:
        leaf = pem.certificates(text)[0]
    except pem.Unreadable:
        return
    row, _ = Certificate.objects.get_or_create(
        fingerprint=fingerprint(leaf),
        defaults={
            **facts(leaf),
            "charge_point": command.charge_point,
            "authority": _authority_of(text),
            "origin": Origin.IMPORTED,
            "chain": pem.with_plain_line_ends(text),
            "created_at": command.created_at,
        },
    )
    if row.charge_point_id != command.charge_point_id:
        return
    row.command = command
    if row.state in (CertificateState.ISSUED, CertificateState.REJECTED):
        row.state = CertificateState.SENT
        row.sent_at = command.created_at
    row.save(update_fields=["command", "state", "sent_at"])
    command.effect = {"certificate": row.pk}
    command.save(update_fields=["effect"])


def _authority_of(text: str) -> CertificateAuthority | None:
    """The authority of the open tenant that signed the last certificate of a chain."""
    last = pem.certificates(text)[-1]
    names = (name_text(last.issuer), name_text(last.subject))
    rows: list[CertificateAuthority] = list(CertificateAuthority.objects.filter(subject__in=names))
    for row in rows:
        if issued_by(last, pem.certificates(row.certificate)[0]):
            return row
    return None


def certificate_signed_conf(command: Command, conf: call_result.CertificateSigned, now: datetime) -> None:
    """CertificateSigned.conf: Accepted makes the certificate wait for its first use; Rejected changes nothing else.

    The one in use stays trusted in both cases. Source: Improved security for OCPP 1.6-J, edition 3, A02.FR.06-10.
    """
    state = CertificateState.ACCEPTED if str(conf.status) == "Accepted" else CertificateState.REJECTED
    Certificate.objects.filter(command=command, state=CertificateState.SENT).update(state=state, answered_at=now)


def certificate_signed_without_answer(command: Command, now: datetime) -> None:
    """An error is a refusal; one that was never sent is only issued; after silence the charge point may have it."""
    rows = Certificate.objects.filter(command=command, state=CertificateState.SENT)
    if command.status == CommandStatus.ERROR:
        rows.update(state=CertificateState.REJECTED, answered_at=now)
    elif command.status in (CommandStatus.EXPIRED, CommandStatus.WITHDRAWN):
        rows.update(state=CertificateState.ISSUED, sent_at=None)


# --- roots ------------------------------------------------------------------------------------------------------------
def install_certificate_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about an InstallCertificate.req: odd certificates may be sent all the same.

    Source: Improved security for OCPP 1.6-J, edition 3, M05.FR.06-13.
    """
    text, kind = payload["certificate"], payload["certificateType"]
    found = []
    if "\r" in text or "\\n" in text:
        found.append(("line_ends", "The PEM has line ends other than LF; charge points may not read it."))
    try:
        loaded = pem.certificates(text)
    except pem.Unreadable as error:
        return [*found, ("certificate_unreadable", str(error))]
    root = loaded[0]
    if len(loaded) > 1:
        found.append(("more_than_one", "There is more than one certificate in the PEM."))
    if not is_self_signed(root):
        found.append(("not_a_root", "The certificate is not signed by itself."))
    if not is_authority(root):
        found.append(("not_an_authority", "The certificate may not sign others (basic constraints)."))
    found.extend(_validity_warnings(root))
    keys = {row.key: (row.value or "").strip() for row in ConfigurationKey.objects.filter(
        charge_point=charge_point, known=True, key__in=("AdditionalRootCertificateCheck", "CertificateStoreMaxLength")
    )}  # fmt: skip
    installed = InstalledCertificate.objects.filter(charge_point=charge_point)
    room = keys.get("CertificateStoreMaxLength", "")
    if room.isascii() and room.isdigit() and installed.count() >= int(room):
        found.append(("store_full", f"The charge point has room for {room} certificates, which it has."))
    checked = keys.get("AdditionalRootCertificateCheck", "").lower() == "true"
    if checked and kind == CertificateType.CENTRAL_SYSTEM_ROOT and not _signed_by_installed(root, installed):
        found.append(("not_signed_by_old_root", "The charge point takes a new root only when the old one signed it."))
    return found


def _signed_by_installed(root: Any, installed: Any) -> bool:
    """Whether one of the roots we know the charge point has signed `root`; True when we know none of them."""
    texts = installed.filter(certificate_type=CertificateType.CENTRAL_SYSTEM_ROOT).exclude(certificate="")
    known = [pem.certificates(text)[0] for text in texts.values_list("certificate", flat=True)[:20]]
    return not known or any(issued_by(root, each) for each in known)


def _validity_warnings(certificate: Any) -> list[tuple[str, str]]:
    now = datetime.now(tz=certificate.not_valid_after_utc.tzinfo)
    found = []
    if certificate.not_valid_after_utc < now:
        found.append(("certificate_expired", "The certificate has expired."))
    if certificate.not_valid_before_utc > now:
        found.append(("certificate_not_yet_valid", "The certificate is not valid yet."))
    weak = weakness(certificate.public_key())
    if weak:
        found.append(("weak_key", weak))
    return found


def install_certificate_conf(command: Command, conf: call_result.InstallCertificate, now: datetime) -> None:
    """InstallCertificate.conf: Accepted is noted as installed; Rejected and Failed leave our list as it is.

    Source: Improved security for OCPP 1.6-J, edition 3, M05.FR.01-04, 06.
    """
    if str(conf.status) != "Accepted":
        return
    text, kind = str(command.payload["certificate"]), str(command.payload["certificateType"])
    known: dict[str, Any] = {"key": hashlib.sha256(text.encode()).hexdigest(), "certificate": ""}
    try:
        root = pem.certificates(text)[0]
    except pem.Unreadable:
        pass
    else:
        known = {
            "key": fingerprint(root),
            "certificate": pem.written(root),
            "subject": name_text(root.subject),
            "not_after": root.not_valid_after_utc,
        }
        for row in InstalledCertificate.objects.filter(charge_point=command.charge_point, certificate_type=kind):
            if row.certificate == known["certificate"]:
                row.installed_at = now
                row.save(update_fields=["installed_at"])
                return
    InstalledCertificate.objects.update_or_create(
        charge_point=command.charge_point,
        certificate_type=kind,
        key=known.pop("key"),
        defaults={**known, "installed_at": now},
    )


def get_installed_certificate_ids_conf(
    command: Command, conf: call_result.GetInstalledCertificateIds, now: datetime
) -> None:
    """GetInstalledCertificateIds.conf: what it lists, unchanged, takes the place of what we knew of that type.

    NotFound: it has none. Source: Improved security for OCPP 1.6-J, edition 3, M03.FR.01-04.
    """
    kind = str(command.payload["certificateType"])
    rows = InstalledCertificate.objects.filter(charge_point=command.charge_point, certificate_type=kind)
    if str(conf.status) not in ("Accepted", "NotFound"):
        return
    before = list(rows)
    catalogue = list(
        RootCertificate.objects.filter(certificate_type=kind).exclude(fingerprint="").order_by("-id")[:MAX_CATALOGUE]
    )
    found: dict[str, InstalledCertificate] = {}
    listed = conf.certificate_hash_data if str(conf.status) == "Accepted" else None
    for each in listed or []:
        if not isinstance(each, dict):
            continue
        key = hash_key(each)
        row = InstalledCertificate(
            charge_point=command.charge_point, certificate_type=kind, hash_data=each, key=key, reported_at=now
        )
        same = next((old for old in before if old.key == key), None) or _recognised(each, before)
        if same is not None:
            row.certificate, row.subject = same.certificate, same.subject
            row.not_after, row.installed_at = same.not_after, same.installed_at
        elif (root := _recognised(each, catalogue)) is not None:
            row.certificate, row.subject, row.not_after = root.certificate, root.subject, root.not_after
        found[key] = row
    rows.delete()
    InstalledCertificate.objects.bulk_create(found.values())


def _recognised(listed: dict[str, Any], candidates: list[Any]) -> Any:
    """The candidate whose certificate has this hash data, by the algorithm that the charge point used; or None."""
    algorithm = str(listed.get("hashAlgorithm", "")).upper()
    if algorithm not in ALGORITHMS:
        return None
    for candidate in candidates:
        if not candidate.certificate:
            continue
        try:
            computed = hash_data(pem.certificates(candidate.certificate)[0], algorithm)
        except pem.Unreadable:
            continue
        # A charge point that writes leading zeros means the same number.
        wanted = {**listed, "serialNumber": str(listed.get("serialNumber", "")).lstrip("0")}
        if hash_key(computed) == hash_key(wanted):
            return candidate
    return None


def delete_certificate_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about a DeleteCertificate.req: the last root, or one that the charge point has not listed.

    Source: Improved security for OCPP 1.6-J, edition 3, M04.FR.06, 07 and the remark to M04.
    """
    wanted = payload["certificateHashData"]
    rows = list(InstalledCertificate.objects.filter(charge_point=charge_point)[:MAX_CATALOGUE])
    row = next((each for each in rows if each.key == hash_key(wanted)), None)
    if row is None or row.hash_data is None:
        return [("not_listed", "The charge point has not listed such a certificate; ask for its list first.")]
    found = []
    if row.hash_data != wanted:
        found.append(("hash_data_altered", "The hash data are not letter for letter what the charge point listed."))
    roots = [each for each in rows if each.certificate_type == CertificateType.CENTRAL_SYSTEM_ROOT]
    if roots == [row]:
        found.append(("last_root", "This is the last root it has for us: with TLS it could never connect again."))
    return found


def delete_certificate_conf(command: Command, conf: call_result.DeleteCertificate, now: datetime) -> None:
    """DeleteCertificate.conf: Accepted and NotFound take it off our list; Failed leaves it.

    Source: Improved security for OCPP 1.6-J, edition 3, M04.FR.01-06.
    """
    if str(conf.status) in ("Accepted", "NotFound"):
        key = hash_key(command.payload["certificateHashData"])
        InstalledCertificate.objects.filter(charge_point=command.charge_point, key=key).delete()
