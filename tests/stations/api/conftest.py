"""An API client for each of two tenants that have the same identity and the same id tag."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from stations.models import ChargePoint, Connector, IdTag, MeterValue, OcppMessage, Transaction
from tenants.models import ApiKey, Site, Tenant
from tenants.scope import tenant_scope

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL_SCOPES = ("read", "operate", "manage", "billing")


@dataclass
class Api:
    """Requests with one key; answers are parsed and checked for their media type."""

    key: str

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        extra: dict[str, Any] = {"headers": {"Authorization": f"Api-Key {self.key}", **headers}}
        if body is not None:
            content = body if isinstance(body, str | bytes) else json.dumps(body)
            extra |= {"data": content, "content_type": "application/json"}
        response = Client(raise_request_exception=False).generic(method, f"/api/v1/{path}", **extra)
        media_type = response.headers.get("Content-Type", "")
        of_answer = "application/octet-stream" if path.endswith("/file/") else "application/json"
        expected = "application/problem+json" if response.status_code >= 400 else of_answer
        assert media_type.startswith(expected) or response.status_code == 204, (response.status_code, media_type)
        return response


@dataclass
class Owner:
    """A tenant with one of everything."""

    tenant: Tenant
    api: Api
    charge_point: ChargePoint
    transaction: Transaction


def _owner(tenant: Tenant) -> Owner:
    _, key = ApiKey.issue(tenant, "test", ALL_SCOPES)
    with tenant_scope(tenant):
        site = Site.objects.create(slug="depot", name="Depot")
        charge_point = ChargePoint.objects.create(identity="SAME", site=site, security_profile=1)
        Connector.objects.create(charge_point=charge_point, connector_id=1, status="Charging", error_code="NoError")
        IdTag.objects.create(id_tag="SameTag")
        tx = Transaction.objects.create(
            charge_point=charge_point, connector_id=1, id_tag="SameTag", id_tag_key="SAMETAG", started_at=NOW,
            started_received_at=NOW, meter_start_wh=1000,
        )  # fmt: skip
        MeterValue.objects.create(
            charge_point=charge_point, connector_id=1, transaction=tx, timestamp=NOW, received_at=NOW,
            energy_wh="1500.000", power_w=11000.0, sampled_value=[{"value": "1500"}], digest=1,
        )  # fmt: skip
        OcppMessage.objects.create(
            charge_point=charge_point, incoming=True, message_type=2, action="Heartbeat", message_id="1", payload="{}",
            received_at=NOW,
        )  # fmt: skip
    return Owner(tenant, Api(key), charge_point, tx)


@pytest.fixture
def a(tenants: Any) -> Owner:
    return _owner(tenants.tenant_a)


@pytest.fixture
def b(tenants: Any) -> Owner:
    return _owner(tenants.tenant_b)
