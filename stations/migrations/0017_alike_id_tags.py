"""Fill `IdTag.alike`, by which other spellings of a registered tag are found, as stations/id_tag_spellings.py does."""

from __future__ import annotations

import re
from typing import Any

from django.db import migrations

from tenants.scope import platform_scope

ROWS = 2000
PREFIX = re.compile(r"(?:VID|MAC|EVCCID|EVCC|VIN|UID|RFID|TAG)[^0-9A-Z]+")


def alike(id_tag: str) -> str:
    text = PREFIX.sub("", id_tag.upper().strip(), count=1) if PREFIX.match(id_tag.upper().strip()) else id_tag.upper()
    bare = "".join(letter for letter in text if letter.isalnum())
    return bare.strip("0") or bare


def fill(apps: Any, schema_editor: Any) -> None:
    id_tags = apps.get_model("stations", "IdTag")._base_manager
    after = 0
    with platform_scope():
        while rows := list(id_tags.filter(pk__gt=after).order_by("pk").only("pk", "id_tag")[:ROWS]):
            for row in rows:
                row.alike = alike(row.id_tag)
            id_tags.bulk_update(rows, ["alike"], batch_size=ROWS // 4)
            after = rows[-1].pk


class Migration(migrations.Migration):
    dependencies = [("stations", "0016_refused_id_tags_and_vendors"), ("tenants", "0001_tenants")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
