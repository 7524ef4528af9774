"""Secrets are taken out of a payload before anybody can read it: message log, command rows, answers of the API."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
SECRET_KEYS = {"authorizationkey"}
# Requests and confirmations with the URL of a file in them.
ABOUT_FILES = {"GetDiagnostics", "GetLog", "SignedUpdateFirmware", "UpdateFirmware"}
# The password of `scheme://user:password@host`, which may hold an @ and, against all rules, a slash.
_PASSWORD = re.compile(r"(://[^\s/?#:@\"]*:)(?:[^\s/?#\"]*|(?!\d*(?:[/?#\s\"]|$))[^\s\"]*)(?=@)")
# The token of our own file exchange (stations/file_exchange.py), and signatures in the query of other people's.
_TOKEN = re.compile(r"(/files/)[du]-[A-Za-z0-9_-]{32}")
_SIGNATURE = re.compile(
    r"([?&](?:[\w.-]*(?:signature|token|password|passwd|secret|credential)|sig|key|pwd)=)[^&#\s\"]+", re.IGNORECASE
)


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


def is_secret_key(key: object) -> bool:
    """Whether a configuration key's value is a secret (AuthorizationKey, whatever its letter case)."""
    return isinstance(key, str) and key.strip().lower() in SECRET_KEYS


def masked(action: str, payload: Any) -> Any:
    """`payload` (JSON of a request or a confirmation, or free text) with secret values replaced, the rest untouched."""
    if isinstance(payload, str):
        return MASK if any(key in payload.lower() for key in SECRET_KEYS) else masked_url(payload)
    if action in ABOUT_FILES:
        return _masked_urls(payload)
    if not isinstance(payload, dict):
        return payload
    if is_secret_key(payload.get("key")) and "value" in payload:
        return {**payload, "value": MASK}
    entries = payload.get("configurationKey")
    if isinstance(entries, list) and any(isinstance(e, dict) and is_secret_key(e.get("key")) for e in entries):
        return {
            **payload,
            "configurationKey": [
                {**entry, "value": MASK}
                if isinstance(entry, dict) and is_secret_key(entry.get("key")) and "value" in entry
                else entry
                for entry in entries
            ],
        }
    return payload
