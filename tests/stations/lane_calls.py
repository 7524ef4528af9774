"""Calls as a lane gets them, and what it leaves in the message log."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import Any

from csms.ocppj.payloads import parse_call
from stations.dispatch import InboundCall, Item, Link, answer_batch
from stations.models import OcppMessage
from stations.models.message import MessageType
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.stations.rows import new_charge_point, wire


def new_link(tenant: Tenant, identity: str = "CP-1", **fields: Any) -> Link:
    """A connected charge point of `tenant` and the link of its newest socket."""
    with tenant_scope(tenant):
        charge_point = new_charge_point(identity, **fields)
    return Link(tenant.pk, charge_point.pk, 1, f"{tenant.slug}/{identity}")


def inbound(link: Link, action: str, payload: dict[str, Any] | None = None, message_id: str = "m-1") -> InboundCall:
    payload = payload or {}
    req, deviations = parse_call(action, payload)
    now = datetime.now(UTC)
    return InboundCall(link, message_id, action, req, payload, list(deviations), now, monotonic())


def results(*items: Item) -> list[Any]:
    return [outcome.result for outcome in answer_batch(list(items))]


def meter_values(value: str, **members: Any) -> dict[str, Any]:
    element = {"timestamp": wire(datetime.now(UTC)), "sampledValue": [{"value": value}]}
    return {"connectorId": 1, "meterValue": [element]} | members


def messages(link: Link) -> list[tuple[str, str, str, Any, str]]:
    """The message log, oldest first: direction, kind, action, payload, error."""
    with tenant_scope(link.tenant_id):
        rows = OcppMessage.objects.filter(charge_point_id=link.charge_point_id).order_by("id")
        return [(row.direction, MessageType(row.message_type).name, row.action, row.payload_json, row.error)
                for row in rows]  # fmt: skip
