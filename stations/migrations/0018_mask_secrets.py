"""Values of configuration keys that are secret by their name, stored before they were recognised, are taken out.

Of commands that still wait only their charge point may read the value, so they stay until they are sent; the product
shows no value of theirs. Messages are looked through by their id, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from django.apps.registry import Apps
from django.db import migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from tenants.scope import platform_scope

MASK = "***"
ROWS = 1000
ACTIONS = ("ChangeConfiguration", "GetConfiguration")
WAITING = ("queued", "sent")
# The names as stations/masking.py knew them when this was written.
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
WITHIN = re.compile(r"pass(?!ive|ed\b|eng|age|thr|es\b|ing)|pwd|passwd|secret|token|credential|kennwort")
NOT_SECRET = frozenset({"bypass", "compass", "bypassed"})
ALONE = frozenset({"pin", "pins", "psk", "puk", "pw", "otp", "cvv"})
ENDS = ("psk", "simpin", "userpin", "adminpin", "cardpin")
TOGETHER = re.compile(
    r"(?:private|api|access|shared|auth|authorization|encryption|encrypt|signing|wifi|wlan|wpa2?|wep|network|master|"
    r"secret|hmac|aes|cipher|license|licence|ssh|vpn|session)keys?(?!word|board|pad)"
)


def secret(key: Any) -> bool:
    words = [word.lower() for word in WORDS.findall(key)] if isinstance(key, str) else []
    return (
        any(
            word in ALONE or word.endswith(ENDS) or (WITHIN.search(word) is not None and word not in NOT_SECRET)
            for word in words
        )
        or TOGETHER.search("".join(words)) is not None
    )


def masked(payload: Any) -> Any:
    """`payload` without secret values; the very object when there is none in it."""
    if not isinstance(payload, dict):
        return payload
    if secret(payload.get("key")) and payload.get("value", MASK) != MASK:
        return {**payload, "value": MASK}
    entries = payload.get("configurationKey")
    if not isinstance(entries, list):
        return payload
    without = [
        {**e, "value": MASK} if isinstance(e, dict) and secret(e.get("key")) and e.get("value", MASK) != MASK else e
        for e in entries
    ]
    return payload if without == entries else {**payload, "configurationKey": without}


def mask(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with platform_scope():
        keys = apps.get_model("stations", "ConfigurationKey")
        for lot in lots(keys, ("key",)):
            found = [pk for pk, key in lot if secret(key)]
            keys._base_manager.filter(pk__in=found).update(value=None, desired_value=None)
        commands = apps.get_model("stations", "Command")
        for lot in lots(commands, ("status", "payload", "response"), action__in=ACTIONS):
            with transaction.atomic():
                for pk, status, payload, response in lot:
                    changed = {"response": masked(response)} if masked(response) is not response else {}
                    if status not in WAITING and masked(payload) is not payload:
                        changed["payload"] = masked(payload)
                    if changed:
                        commands._base_manager.filter(pk=pk).update(**changed)
        messages = apps.get_model("stations", "OcppMessage")
        for lot in lots(messages, ("payload",), action__in=ACTIONS):
            with transaction.atomic():
                for pk, text in lot:
                    try:
                        payload = json.loads(text)
                    except ValueError:
                        continue
                    if masked(payload) is not payload:
                        compact = json.dumps(masked(payload), separators=(",", ":"), ensure_ascii=False)
                        messages._base_manager.filter(pk=pk).update(payload=compact)


def lots(model: Any, columns: tuple[str, ...], **which: Any) -> Iterator[list[Any]]:
    """Rows in the order of their ids, some at a time."""
    last = 0
    rows = model._base_manager.filter(**which).order_by("pk")
    while lot := list(rows.filter(pk__gt=last).values_list("pk", *columns)[:ROWS]):
        yield lot
        last = lot[-1][0]


class Migration(migrations.Migration):
    dependencies = [("stations", "0017_alike_id_tags")]

    operations = [migrations.RunPython(mask, migrations.RunPython.noop, elidable=True)]
