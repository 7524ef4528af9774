"""Rows and requests for tests that call the rules directly, inside an open tenant scope."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ocpp.v16 import call, call_result

from stations.models import ChargePoint, IdTag, Transaction
from stations.ocpp import core
from tenants.models import Tenant
from tenants.scope import tenant_scope

T = TypeVar("T")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def wire(moment: datetime) -> str:
    """A time as a charge point writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_charge_point(identity: str = "CP-1", **fields: Any) -> ChargePoint:
    """A connected charge point of the open tenant, read back as dispatch reads it."""
    fields = {"connected": True, "connection_generation": 1} | fields
    row = ChargePoint.objects.create(identity=identity, **fields)
    return ChargePoint.objects.select_related("tenant").get(pk=row.pk)


def new_id_tag(id_tag: str = "TAG-1", **fields: Any) -> IdTag:
    return IdTag.objects.create(id_tag=id_tag, **fields)


def start(
    charge_point: ChargePoint,
    *,
    connector_id: Any = 1,
    id_tag: str = "TAG-1",
    meter_start: Any = 1000,
    timestamp: str | None = None,
    reservation_id: int | None = None,
    now: datetime = NOW,
) -> call_result.StartTransaction:
    """StartTransaction, at `now` by the charge point's clock unless `timestamp` says otherwise."""
    req = call.StartTransaction(
        connector_id=connector_id,
        id_tag=id_tag,
        meter_start=meter_start,
        timestamp=wire(now) if timestamp is None else timestamp,
        reservation_id=reservation_id,
    )
    return core.start_transaction(charge_point, req, now)


def stop(
    charge_point: ChargePoint,
    transaction_id: int,
    *,
    meter_stop: Any = 3500,
    timestamp: str | None = None,
    id_tag: str | None = None,
    reason: str | None = None,
    transaction_data: list[dict[str, Any]] | None = None,
    now: datetime = NOW + HOUR,
) -> call_result.StopTransaction:
    """StopTransaction, at `now` by the charge point's clock unless `timestamp` says otherwise."""
    req = call.StopTransaction(
        transaction_id=transaction_id,
        meter_stop=meter_stop,
        timestamp=wire(now) if timestamp is None else timestamp,
        id_tag=id_tag,
        reason=reason,
        transaction_data=transaction_data,
    )
    return core.stop_transaction(charge_point, req, now)


def meter_values(
    charge_point: ChargePoint,
    *samples: dict[str, Any],
    connector_id: Any = 1,
    transaction_id: int | None = None,
    timestamp: str | None = None,
    now: datetime = NOW + MINUTE,
) -> None:
    """MeterValues with one element; a register of 1500 Wh unless `samples` are given."""
    element = {
        "timestamp": wire(now) if timestamp is None else timestamp,
        "sampledValue": list(samples) or [{"value": "1500"}],
    }
    req = call.MeterValues(connector_id=connector_id, meter_value=[element], transaction_id=transaction_id)
    assert core.meter_values(charge_point, req, now) == call_result.MeterValues()


def transaction(transaction_id: int) -> Transaction:
    """The transaction as the database has it now."""
    return Transaction.objects.get(pk=transaction_id)


def as_tenant(tenant: Tenant, function: Callable[[], T]) -> T:
    """What `function` gives when it acts for `tenant`, while the scope of another tenant is open here."""

    def act() -> T:
        with tenant_scope(tenant):
            return function()

    return contextvars.Context().run(act)
