"""Security extension, the charge point's own certificate: asked for, signed, taken or rejected."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from csms.certify.authority import ClientIdentity, Key, chain_problem, new_key, signing_request
from csms.certify.case import ACCEPTED, REJECTED, Case
from csms.certify.cases.security_connections import sees_certificate
from csms.certify.charge_point import timestamp
from csms.certify.failure import CaseFailed
from csms.certify.rest import RestRefused, Unreachable
from csms.certify.wire import Call

# Until a refusal by TLS is one of the certificate, and not of a root that the CSMS has made a moment ago.
INSIST_SECONDS = 5
RENEWAL = {"requestedMessage": "SignChargePointCertificate"}


async def tc_074(case: Case) -> None:
    """New charge point certificate on request."""
    case.testbed_is_spoiled = True
    await _asked(case)
    key, call, text = await answered_request(case, "rsa")
    new = keep(call, key)
    await _sees_request(case, text, state="signed", problem="")
    await case.reply(call, ACCEPTED)
    await sees_certificate(case, new.fingerprint, state="accepted")
    await case.cp.close()
    case.cp.endpoint = case.options.endpoint(case.testbed.security_profile, new)
    await case.connect()
    await sees_certificate(case, new.fingerprint, state="in_use")


async def tc_077(case: Case) -> None:
    """Invalid charge point certificate event."""
    case.testbed_is_spoiled = True
    await _asked(case)
    key, call, _ = await answered_request(case)
    rejected = keep(call, key)
    await case.reply(call, REJECTED)
    await case.tell("SecurityEventNotification", {"type": "InvalidChargePointCertificate", "timestamp": timestamp()})
    await sees_certificate(case, rejected.fingerprint, state="rejected")
    await sees_event(case, "InvalidChargePointCertificate")
    # The old one is the charge point's as before, and the only one.
    await case.cp.close()
    await case.connect()
    await case.cp.close()
    endpoint = case.options.endpoint(case.testbed.security_profile, rejected)
    what = "with the certificate that was rejected"
    await case.is_refused(what, endpoint=endpoint, without_answer=True, insist_seconds=INSIST_SECONDS)
    await case.connect()


async def _asked(case: Case) -> None:
    """The operator has the certificate renewed: ExtendedTriggerMessage, which has no connectorId."""
    await _signing(case)
    command = await case.operator.request("POST", f"{case.operator.path}certificate-renewal/", {})
    call = await case.expect("ExtendedTriggerMessage", RENEWAL, absent=("connectorId",))
    await case.reply(call, ACCEPTED)
    await case.answered(command, ACCEPTED)


async def answered_request(case: Case, kind: str = "ec") -> tuple[Key, Call, str]:
    """SignCertificate, Accepted, and only then CertificateSigned with a right chain: the key, that request (not
    answered yet), and the PKCS#10 text. `kind` is that of the key."""
    authorities = await _signing(case)
    key = await asyncio.to_thread(new_key, kind)
    text = signing_request(key, case.testbed.serial_number)
    message_id = await case.cp.send_call("SignCertificate", {"csr": text})
    case.equal("The answer to SignCertificate", await case.cp.answer_for(message_id), ACCEPTED)
    call = await case.expect("CertificateSigned")
    arrived = case.cp.arrived
    case.check(
        arrived.index(message_id) < arrived.index(call.message_id),
        "The CSMS sent CertificateSigned before it answered SignCertificate.",
    )
    chain = call.payload["certificateChain"]
    problem = chain_problem(chain, key, case.testbed.serial_number, authorities)
    case.check(not problem, f"The certificateChain of CertificateSigned is not right: {problem}.")
    return key, call, text


def keep(call: Call, key: Key) -> ClientIdentity:
    """The charge point stores the chain that came, beside its key."""
    return ClientIdentity(call.payload["certificateChain"], key)


async def sees_event(case: Case, event_type: str) -> None:
    """The operator sees a security event of this type, which the charge point told of."""

    async def look() -> Mapping[str, Any]:
        found = await case.operator.get("security-events/", charge_point=case.cp.identity, type=event_type)
        return found["results"][0] if found["results"] else {}

    await case.sees(f"the security event {event_type}", look, type=event_type, charge_point=case.cp.identity)


async def _sees_request(case: Case, text: str, **expected: Any) -> None:
    async def look() -> Mapping[str, Any]:
        found = (await case.operator.get("certificate-requests/", charge_point=case.cp.identity))["results"]
        return found[0] if found else {}

    await case.sees(
        "the request of the charge point", look, csr=lambda csr: str(csr).split() == text.split(), **expected
    )


async def _signing(case: Case) -> list[str]:
    """The authorities (PEM) that sign for this run; made when a case first needs them."""
    try:
        return await asyncio.to_thread(case.testbed.trust.signing)
    except (RestRefused, Unreachable) as error:
        raise CaseFailed(f"An authority that signs cannot be made: {error}.") from None
