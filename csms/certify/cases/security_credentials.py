"""Security extension, credentials: a new password, a higher security profile."""

from __future__ import annotations

import secrets
from typing import Any

from csms.certify.case import ACCEPTED, REJECTED, Case
from csms.certify.cases.security_certificates import answered_request, keep
from csms.certify.options import BASIC_AUTHENTICATION, TLS_BASIC_AUTHENTICATION, TLS_CLIENT_CERTIFICATE

MAX_PASSWORD_DIGITS = 40
MASK = "***"
PASSWORD_SET = {"has_password": True, "password_state": "set"}
WITH_PASSWORD = (BASIC_AUTHENTICATION, TLS_BASIC_AUTHENTICATION)


async def tc_073(case: Case) -> None:
    """New Basic password."""
    case.testbed_is_spoiled = True
    # As text; the charge point does not take it, so nothing changes.
    text = secrets.token_urlsafe(15)
    refused = await _offered(case, text, text.encode(), REJECTED)
    await case.cp.close()
    await case.is_refused("with the password that the charge point rejected", password=refused)
    await case.connect()
    # As digits, which stand for bytes that are no text.
    new = bytes([0, 255]) + secrets.token_bytes(18)
    await _offered(case, new.hex().upper(), new, ACCEPTED)
    await case.cp.close()
    await case.is_refused("with the old password")
    await case.connect(password=new)
    await case.sees("the charge point", case.operator.charge_point, **PASSWORD_SET)
    await case.sees_message("ChangeConfiguration", "CALL", "out", {"key": "AuthorizationKey", "value": MASK})


async def _offered(case: Case, text: str, password: bytes, answer: dict[str, Any]) -> bytes:
    """The operator sets `text`, the charge point gets `password` in hexadecimal and gives `answer`; the password."""
    for secret in (text, password.hex(), password.hex().upper()):
        case.transcript.secrets.add(secret)
    command = await case.operator.request("POST", f"{case.operator.path}password/", {"password": text})
    call = await case.expect("ChangeConfiguration")
    value = str(call.payload.get("value"))
    case.equal("The key of ChangeConfiguration", call.payload.get("key"), "AuthorizationKey")
    case.check(
        len(value) <= MAX_PASSWORD_DIGITS,
        f"The value of AuthorizationKey has {len(value)} characters; it may have {MAX_PASSWORD_DIGITS}.",
    )
    case.check(
        value.lower() == password.hex(), "The value of AuthorizationKey is not the new password in hexadecimal digits."
    )
    await case.reply(call, answer)
    await case.answered(command, answer)
    shown = await case.operator.get(f"commands/{command['id']}/")
    case.equal("The value that the operator is shown again", shown["payload"]["value"], MASK)
    return password


async def tc_083(case: Case) -> None:
    """Upgrade the security profile."""
    case.testbed_is_spoiled = True
    profile = case.testbed.security_profile
    await _raised(case, profile)
    if profile + 1 == TLS_BASIC_AUTHENTICATION and TLS_CLIENT_CERTIFICATE in case.options.urls:
        await _raised(case, profile + 1)


async def _raised(case: Case, profile: int) -> None:
    """The operator raises `profile` by one, the charge point boots with the new one and cannot go back."""
    new, client = profile + 1, None
    old: dict[str, Any] = {"endpoint": case.cp.endpoint, "password": case.cp.password}
    if new == TLS_CLIENT_CERTIFICATE:
        # The charge point comes to its certificate over OCPP, while it still has a password.
        key, call, _ = await answered_request(case)
        await case.reply(call, ACCEPTED)
        client = keep(call, key)
        case.patient = True
    body = {"security_profile": new}
    command = await case.operator.request("POST", f"{case.operator.path}security-profile/", body)
    call = await case.expect("ChangeConfiguration", {"key": "SecurityProfile", "value": str(new)})
    await case.reply(call, ACCEPTED)
    await case.answered(command, ACCEPTED)
    await case.send("Reset", {"type": "Hard"}, ACCEPTED)
    await case.cp.close()
    case.cp.endpoint = case.options.endpoint(new, client)
    case.cp.password = case.testbed.password if new in WITH_PASSWORD else None
    await case.connect()
    await case.booted()
    await case.sees("the charge point", case.operator.charge_point, security_profile=new)
    await case.cp.close()
    what = f"at security profile {profile}, after {new} came into force"
    await case.is_refused(what, without_answer=profile >= TLS_BASIC_AUTHENTICATION, **old)
    await case.connect()
