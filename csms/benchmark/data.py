"""What stored rows cost: the same measurements with ten thousand meter values in the database, and with many.

Both on one server and one new PostgreSQL database: nothing else changes between them.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from csms.benchmark import target
from csms.benchmark.history import READINGS
from csms.benchmark.processes import BenchmarkError
from csms.benchmark.results import Page, Plan, Results
from csms.benchmark.target import HOST, Running, Target, Tell, meter_values, running

FEW_ROWS = 10_000
STEP_ROWS = 500_000
CHARGE_POINTS = 1000
PAGE_TIMES = 40
PAGES_SECONDS = 900
PLACE = re.compile(r"{\w+}")
REST, ADMIN = "REST", "admin"
# Name, and path with the places of history.places().
PAGES = (
    (REST, "transactions/"),
    (REST, "transactions/?cursor={cursor}"),
    (REST, "transactions/?charge_point={charge_point}"),
    (REST, "transactions/?active=true"),
    (REST, "transactions/?id_tag={id_tag}"),
    (REST, "transactions/{transaction}/meter-values/"),
    (REST, "charge-points/"),
    (REST, "charge-points/{charge_point}/messages/"),
    (REST, "charge-points/{charge_point}/commands/"),
    (REST, "commands/"),
    (REST, "connection-attempts/"),
    (REST, "id-tags/"),
    (ADMIN, ""),
    (ADMIN, "stations/chargepoint/"),
    (ADMIN, "stations/chargepoint/{charge_point_id}/change/"),
    (ADMIN, "stations/transaction/"),
    (ADMIN, "stations/transaction/?q={charge_point}"),
    (ADMIN, "stations/transaction/{transaction}/change/"),
    (ADMIN, "stations/metervalue/"),
    (ADMIN, "stations/ocppmessage/"),
    (ADMIN, "stations/command/"),
    (ADMIN, "stations/connectionattempt/"),
)


def measure(plan: Plan, folder: Path, results: Results, tell: Tell) -> None:
    """The part data, on the first PostgreSQL of the plan. Adds to `results`. Raises BenchmarkError."""
    choice = next((choice for choice in plan.databases if choice != "sqlite"), None)
    if choice is None:
        results.notes.append("data: only measured on PostgreSQL.")
        return
    count = max(plan.stations[0], CHARGE_POINTS if plan.rows > FEW_ROWS else 0)
    with ExitStack() as stack:
        product = target.product(choice, count, folder / "data", stack)
        headers = {
            REST: {"Authorization": f"Api-Key {product.order('api_key')}"},
            ADMIN: {"Cookie": f"sessionid={product.order('session')}"},
        }
        there = 0
        with running(product) as server:
            server.connect(plan.stations[0], transaction=True)
            for rows in sorted({min(FEW_ROWS, plan.rows), plan.rows}):
                there = _grow(product, there, rows, tell)
                for number in range(1, plan.rounds + 1):
                    tell(f"MeterValues with {rows:,} rows, round {number} of {plan.rounds}")
                    group = meter_values(plan, plan.stations[0])
                    results.measurements.append(server.measure("data", number, plan.seconds, [group], rows=rows))
                tell(f"Lists with {rows:,} rows")
                for kind in (REST, ADMIN):
                    results.pages += _browse(plan, server, kind, headers[kind], rows)
        results.counted[f"{product.name} (data)"] = product.verify()


def _grow(product: Target, there: int, rows: int, tell: Tell) -> int:
    """Add to the history until it has `rows` meter values."""
    rows = rows // READINGS * READINGS
    while there < rows:
        tell(f"Making rows: {there:,} of {rows:,}")
        there = product.order("history", there, min(rows, there + STEP_ROWS))
    product.order("tidy")
    return there


def _browse(plan: Plan, server: Running, kind: str, headers: dict[str, str], rows: int) -> list[Page]:
    places: dict[str, Any] = server.target.order("places")
    folder = {REST: "/api/v1/", ADMIN: "/admin/"}[kind]
    chosen = [name for of, name in PAGES if of == kind]
    pages = [{"name": name, "path": folder + name.format_map(places)} for name in chosen]
    times = max(1, min(PAGE_TIMES, round(PAGE_TIMES * plan.seconds)))
    server.client.order("browse", host=HOST, port=server.server.port, headers=headers, pages=pages, times=times)
    found = server.client.report("browsed", PAGES_SECONDS)["pages"]
    if len(found) != len(pages):
        raise BenchmarkError("Some lists were not read.")
    return [
        Page(
            server.target.name,
            f"{kind} {PLACE.sub('…', page['name'])}",
            rows,
            page["bytes"],
            page["p50_ms"],
            page["p95_ms"],
        )  # fmt: skip
        for page in found
    ]
