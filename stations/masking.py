"""Secrets are taken out of a payload before anybody can read it: message log, command rows, answers of the API.

Context: charge points have passwords of networks, back offices and SIM cards among their configuration keys, each
vendor under names of its own. Choice: a key is secret by the words of its name, or because its tenant has listed it;
its value is write-only from then on. Consequence: a key that only sounds secret is not shown either, and a secret that
a vendor calls by an innocent name is shown until the tenant lists it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from csms.ocppj.frames import dumps

MASK = "***"
# In front of a value that is encrypted at rest (stations/sealing.py): nobody reads it, whatever its key is called.
SEALED = "sealed:"
AUTHORIZATION_KEY = "authorizationkey"
# Requests and confirmations with the URL of a file in them.
ABOUT_FILES = {"GetDiagnostics", "GetLog", "SignedUpdateFirmware", "UpdateFirmware"}
# Requests and confirmations with configuration keys in them.
ABOUT_CONFIGURATION = {"ChangeConfiguration", "GetConfiguration"}
# The password of `scheme://user:password@host`, which may hold an @ and, against all rules, a slash.
_PASSWORD = re.compile(r"(://[^\s/?#:@\"]*:)(?:[^\s/?#\"]*|(?!\d*(?:[/?#\s\"]|$))[^\s\"]*)(?=@)")
# The token of our own file exchange (stations/file_exchange.py), and signatures in the query of other people's.
_TOKEN = re.compile(r"(/files/)[du]-[A-Za-z0-9_-]{32}")
_SIGNATURE = re.compile(
    r"([?&](?:[\w.-]*(?:signature|token|password|passwd|secret|credential)|sig|key|pwd)=)[^&#\s\"]+", re.IGNORECASE
)

# --- names of secrets -------------------------------------------------------------------------------------------------
# "WiFiPassword", "wifi_psk2" and "APNPin" as words: wi, fi, password; wifi, psk; apn, pin.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WITHIN_A_WORD = re.compile(r"pass(?!ive|ed\b|eng|age|thr|es\b|ing)|pwd|passwd|secret|token|credential|kennwort")
_NOT_SECRET_WORDS = frozenset({"bypass", "compass", "bypassed"})
_WORDS_ALONE = frozenset({"pin", "pins", "psk", "puk", "pw", "otp", "cvv"})
_ENDS_OF_WORDS = ("psk", "simpin", "userpin", "adminpin", "cardpin")
# Two words, or one where the vendor writes everything small.
_TOGETHER = re.compile(
    r"(?:private|api|access|shared|auth|authorization|encryption|encrypt|signing|wifi|wlan|wpa2?|wep|network|master|"
    r"secret|hmac|aes|cipher|license|licence|ssh|vpn|session)keys?(?!word|board|pad)"
)
# The name of a key in a text that is no frame.
_NAMED = re.compile(r'"key"\s*:\s*"([^"]{0,255})"')


def is_authorization_key(key: object) -> bool:
    """Whether a configuration key is AuthorizationKey, the charge point's password, whatever its letter case."""
    return isinstance(key, str) and key.strip().lower() == AUTHORIZATION_KEY


def is_secret_key(key: object, listed: Collection[str] = ()) -> bool:
    """Whether a configuration key's value is a secret: by its name, or because it is `listed` (in lower case)."""
    if not isinstance(key, str):
        return False
    name = key.strip()
    if name.lower() in listed:
        return True
    words = [word.lower() for word in _WORDS.findall(name)]
    return (
        any(
            word in _WORDS_ALONE
            or word.endswith(_ENDS_OF_WORDS)
            or (_WITHIN_A_WORD.search(word) is not None and word not in _NOT_SECRET_WORDS)
            for word in words
        )
        or _TOGETHER.search("".join(words)) is not None
    )


# --- payloads ---------------------------------------------------------------------------------------------------------
def masked_url(text: str) -> str:
    """`text` with the secrets of every URL in it replaced: passwords, tokens of ours, signatures in a query."""
    if "/" not in text:
        return text
    for pattern in (_PASSWORD, _TOKEN, _SIGNATURE):
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def _masked_urls(value: Any) -> Any:
    if isinstance(value, str):
        return masked_url(value)
    if isinstance(value, dict):
        return {name: _masked_urls(inner) for name, inner in value.items()}
    return [_masked_urls(inner) for inner in value] if isinstance(value, list) else value


def _masked_text(text: str, listed: Collection[str]) -> str:
    """A frame that could not be read, as a whole, if a secret may stand in it."""
    named = _NAMED.findall(text)
    if AUTHORIZATION_KEY in text.lower() or any(is_secret_key(name, listed) for name in named):
        return MASK
    return masked_url(text)


def masked(action: str, payload: Any, listed: Collection[str] = ()) -> Any:
    """`payload` (JSON of a request or a confirmation, or free text) with secret values replaced, the rest untouched.

    `listed`: names of configuration keys, in lower case, that the tenant has declared secret.
    """
    if isinstance(payload, str):
        return _masked_text(payload, listed)
    if action in ABOUT_FILES:
        return _masked_urls(payload)
    if not isinstance(payload, dict):
        return payload
    if action == "DataTransfer" and "data" in payload:
        shown = masked_data(payload["data"], listed)
        payload = payload if shown == payload["data"] else {**payload, "data": shown}
    if "value" in payload and _is_secret(payload, listed):
        return {**payload, "value": MASK}
    entries = payload.get("configurationKey")
    if isinstance(entries, list) and any(isinstance(e, dict) and _is_secret(e, listed) for e in entries):
        return {
            **payload,
            "configurationKey": [
                {**entry, "value": MASK}
                if isinstance(entry, dict) and "value" in entry and _is_secret(entry, listed)
                else entry
                for entry in entries
            ],
        }
    return payload


def masked_data(data: Any, listed: Collection[str] = ()) -> Any:
    """The data of a DataTransfer, JSON or the text of it, without the values of members that are secret by their name.

    Any other text stays as it was sent.
    """
    if not isinstance(data, str):
        return _masked_members(data, listed)
    if not data.lstrip().startswith(("{", "[")):
        return data
    try:
        value = json.loads(data)
    except ValueError:
        return data
    shown = _masked_members(value, listed)
    return data if shown == value else dumps(shown)


def _masked_members(value: Any, listed: Collection[str]) -> Any:
    if isinstance(value, list):
        return [_masked_members(each, listed) for each in value]
    if not isinstance(value, dict):
        return value
    if "value" in value and _is_secret(value, listed):
        value = {**value, "value": MASK}
    return {
        name: MASK if is_secret_key(name, listed) and isinstance(inner, str | int) else _masked_members(inner, listed)
        for name, inner in value.items()
    }


def _is_secret(entry: dict[str, Any], listed: Collection[str]) -> bool:
    """Whether the value of an object with `key` and `value` is one that nobody may read."""
    value = entry.get("value")
    return is_secret_key(entry.get("key"), listed) or (isinstance(value, str) and value.startswith(SEALED))
