"""Secrets are taken out of a payload before anybody can read it: message log, command rows, answers of the API."""

from __future__ import annotations

from typing import Any

MASK = "***"
SECRET_KEYS = {"authorizationkey"}


def is_secret_key(key: object) -> bool:
    """Whether a configuration key's value is a secret (AuthorizationKey, whatever its letter case)."""
    return isinstance(key, str) and key.strip().lower() in SECRET_KEYS


def masked(action: str, payload: Any) -> Any:
    """`payload` (JSON of a request or a confirmation, or free text) with secret values replaced, the rest untouched."""
    if isinstance(payload, str):
        return MASK if any(key in payload.lower() for key in SECRET_KEYS) else payload
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
