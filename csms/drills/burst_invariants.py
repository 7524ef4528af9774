"""What must hold after the bursts of charge points that do not know their transactionIds. Runs in the drill's database.

Every transaction is there once, with its own stop, energy and readings; or its stop is kept by itself, flagged, with
the transaction among its candidates. Nothing else exists.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from stations.models import ChargePoint, MeterValue, Transaction
from stations.models.transaction import Flag
from tenants.models import Tenant
from tenants.scope import tenant_scope


def accept_any_card(slug: str) -> None:
    """The cards of the bursts are nobody's: all are let charge."""
    with tenant_scope(Tenant.objects.get(slug=slug)):
        ChargePoint.objects.update(accept_any_id_tag=True)


def verify(slug: str, books: list[dict[str, Any]]) -> dict[str, Any]:
    """`violations`, and by habit how many transactions were `matched`, how many of them `flagged`, and `in_doubt`."""
    found: list[str] = []
    habits: dict[str, Counter[str]] = {}
    with tenant_scope(Tenant.objects.get(slug=slug)):
        for book in books:
            counts = habits.setdefault(book["habit"], Counter(matched=0, flagged=0, in_doubt=0))
            found += _verify_station(book, counts)
    return {"violations": found, "habits": {name: dict(counts) for name, counts in habits.items()}}


def _verify_station(book: dict[str, Any], counts: Counter[str]) -> list[str]:
    identity, charges = book["identity"], book["charges"]
    rows = list(Transaction.objects.filter(charge_point__identity=identity))
    orphans = {tx.meter_stop_wh: tx for tx in rows if tx.orphan_ref}
    starts = {(tx.connector_id, tx.meter_start_wh): tx for tx in rows if not tx.orphan_ref}
    found = []
    if len(rows) != len(starts) + len(orphans) or len(starts) != len(charges):
        found.append(
            f"{identity}: {len(charges)} transactions, but {len(rows)} rows, {len(orphans)} of them stops alone"
        )
    readings = MeterValue.objects.filter(charge_point__identity=identity)
    awaited = sum(len(charge["readings"]) for charge in charges)
    if readings.count() != awaited:
        found.append(f"{identity}: {awaited} readings, but {readings.count()} rows")
    for charge in charges:
        tx = starts.get((charge["connector_id"], charge["meter_start_wh"]))
        if tx is None:
            found.append(f"{identity}: the transaction from {charge['meter_start_wh']} Wh is missing")
            continue
        stored = readings.filter(transaction=tx).order_by("timestamp").values_list("timestamp", "energy_wh")
        if [(at, int(wh or 0)) for at, wh in stored] != [
            (datetime.fromisoformat(at), wh) for at, wh in charge["readings"]
        ]:
            found.append(f"{identity} transaction {tx.pk}: has other readings than it had")
        stop = charge["meter_stop_wh"]
        if tx.stop_received:
            counts["matched"] += 1
            counts["flagged"] += bool(tx.flags)
            energy = stop - charge["meter_start_wh"]
            if (tx.meter_stop_wh, tx.energy_wh) != (stop, energy):
                found.append(f"{identity} transaction {tx.pk}: {tx.energy_wh} Wh at {tx.meter_stop_wh}, not {energy}")
            continue
        counts["in_doubt"] += 1
        kept = orphans.get(stop)
        if kept is None or tx.pk not in kept.candidates or Flag.STOP_AMBIGUOUS not in kept.flags or not tx.flags:
            found.append(f"{identity} transaction {tx.pk}: has no stop, and none that names it as a candidate")
    return found
