"""What was stored before repetitions in other words were recognised: doubled starts are marked, recent digests renewed.

A start that repeats another one keeps its row and its facts, flagged `duplicate_start`, and is left out of the constraint
that the next migration adds. The digest of a reading covers what the sampled list means from now on: those of the last
days are renewed, for what is repeated after the upgrade; older ones no charge point repeats any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any

from django.apps.registry import Apps
from django.db import migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Count, F, Q

from tenants.scope import platform_scope

SAME_INSTANT = timedelta(seconds=1)
STARTS = ("charge_point_id", "connector_id", "id_tag_key", "meter_start_wh")
RECENT = timedelta(days=7)
ROWS = 1000
REGISTER = "Energy.Active.Import.Register"
DEFAULTS = {"measurand": REGISTER, "context": "Sample.Periodic", "format": "Raw", "location": "Outlet"}
UNITS = (
    ("Energy.", "Wh"),
    ("Power.Factor", ""),
    ("Power.", "W"),
    ("Current.", "A"),
    ("Voltage", "V"),
    ("SoC", "Percent"),
)


def convert(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with platform_scope():
        mark_duplicates(apps.get_model("stations", "Transaction"))
        name_orphans(apps.get_model("stations", "Transaction"))
        renew_digests(apps.get_model("stations", "ChargePoint"), apps.get_model("stations", "MeterValue"))


def mark_duplicates(model: Any) -> None:
    """Of starts that are the same but for the wording the one that was stopped, else the first, stays as it is."""
    rows = model._base_manager.filter(orphan_ref="")
    groups = rows.order_by().values(*STARTS).annotate(times=Count("pk")).filter(times__gt=1)
    for group in list(groups):
        key = {name: group[name] for name in STARTS}
        kept: list[Any] = []
        found = list(rows.filter(**key).only("id", "started_at", "stop_received", "flags"))
        for tx in sorted(found, key=lambda tx: (not tx.stop_received, tx.pk)):
            same = next((other for other in kept if abs(other.started_at - tx.started_at) < SAME_INSTANT), None)
            if same is None:
                kept.append(tx)
                continue
            flags = tx.flags if "duplicate_start" in tx.flags else [*tx.flags, "duplicate_start"]
            model._base_manager.filter(pk=tx.pk).update(duplicate_of=same.pk, flags=flags)


def name_orphans(model: Any) -> None:
    """Stops without a start are found by the transactionId that they carried, as all that do not name their own."""
    rows = model._base_manager.filter(~Q(orphan_ref=""), stop_ref="").order_by("pk")
    while ids := list(rows.values_list("pk", flat=True)[:ROWS]):
        model._base_manager.filter(pk__in=ids).update(stop_ref=F("orphan_ref"))


def renew_digests(charge_points: Any, meter_values: Any) -> None:
    since = datetime.now(UTC) - RECENT
    for charge_point_id in list(charge_points._base_manager.order_by("pk").values_list("pk", flat=True)):
        rows = meter_values._base_manager.filter(charge_point_id=charge_point_id, timestamp__gte=since)
        for batch in batches(rows.order_by().values_list("pk", "connector_id", "timestamp", "digest", "sampled_value")):
            with transaction.atomic():
                for pk, connector_id, timestamp, before, sampled in batch:
                    after = digest(sampled)
                    there = rows.filter(connector_id=connector_id, timestamp=timestamp, digest=after)
                    # One that was doubled stays with its old digest.
                    if after != before and not there.exists():
                        rows.filter(pk=pk, timestamp=timestamp).update(digest=after)


def batches(rows: Any) -> Iterator[list[Any]]:
    found = list(rows)
    for start in range(0, len(found), ROWS):
        yield found[start : start + ROWS]


# As stations/same_reading.py had it at this version.
def digest(sampled: Any) -> int:
    samples = sampled if isinstance(sampled, list) else []
    described = sorted(
        ((describe(sample), index) for index, sample in enumerate(samples)), key=lambda pair: (pair[0], pair[1])
    )
    values = [text(samples[index]) for _, index in described]
    meaning = "\n".join(words for words, _ in described)
    whole = meaning + ",".join(number(value) for value in values) + ","
    return int.from_bytes(blake2b(whole.encode(), digest_size=8).digest(), "big", signed=True)


def describe(sample: Any) -> str:
    if not isinstance(sample, dict):
        return compact(sample)
    measurand = str(sample.get("measurand") or REGISTER)
    usual = {**DEFAULTS, "unit": next((unit for start, unit in UNITS if measurand.startswith(start)), "")}
    return compact(
        {
            name: member
            for name, member in sorted(sample.items())
            if name != "value" and member not in (None, "") and usual.get(name) != member
        }
    )


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text(sample: Any) -> str:
    value = sample.get("value", "") if isinstance(sample, dict) else ""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else compact(value)


def number(value: str) -> str:
    try:
        found = Decimal(value)
    except InvalidOperation:
        return value
    if not found.is_finite() or not -300 < found.adjusted() < 300:
        return value
    return f"{found.normalize():f}" if found else "0"


class Migration(migrations.Migration):
    # Batches of their own: a table of years is not held in one transaction.
    atomic = False

    dependencies = [("stations", "0012_matching")]

    operations = [migrations.RunPython(convert, migrations.RunPython.noop, elidable=True)]
