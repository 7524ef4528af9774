"""Connectors and configuration of one charge point."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.visibility import charge_point_of
from stations.masking import MASK, is_secret_key
from stations.models import ConfigurationKey, Connector, Transaction
from tenants.api.pagination import MAX_SIZE
from tenants.api.permissions import tenant_of
from tenants.api.views import TenantAPIView

CONFIGURATION_MEMBERS = (
    "key", "value", "readonly", "known", "reported_at", "desired_value", "desired_at", "reboot_required", "drift",
)  # fmt: skip


def connector_json(connector: Connector, running: dict[int, int]) -> dict[str, Any]:
    """The resource; `running` maps connector ids to the transactions that run there."""
    return {
        "connector_id": connector.connector_id,
        "status": connector.status,
        "status_known": connector.status_known,
        "error_code": connector.error_code,
        "info": connector.info,
        "vendor_id": connector.vendor_id,
        "vendor_error_code": connector.vendor_error_code,
        "status_at": connector.status_at,
        "transaction": running.get(connector.connector_id),
    }


def configuration_json(row: ConfigurationKey, listed: Collection[str]) -> dict[str, Any]:
    data = {name: getattr(row, name) for name in CONFIGURATION_MEMBERS}
    if is_secret_key(row.key, listed):
        data |= {name: MASK for name in ("value", "desired_value") if data[name] is not None}
    return data


class ConnectorList(TenantAPIView):
    cursor_order = ("connector_id",)
    default_page_size = MAX_SIZE
    paginated = True

    @extend_schema(
        operation_id="connectors_list",
        summary="Connectors with their latest status, by number; 0 is the main controller",
        responses={200: schemas.page_of(schemas.CONNECTOR)},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        rows = Connector.objects.filter(charge_point=charge_point)
        running = Transaction.objects.open().filter(charge_point=charge_point).order_by("pk")
        by_connector = dict(running.values_list("connector_id", "pk"))
        return self.page(rows, lambda row: connector_json(row, by_connector))


class ConfigurationList(TenantAPIView):
    cursor_order = ("key",)
    default_page_size = MAX_SIZE
    paginated = True

    @extend_schema(
        operation_id="configuration_list",
        summary="Configuration keys as last reported, and as desired, by name",
        responses={200: schemas.page_of(schemas.CONFIGURATION_KEY)},
    )
    def get(self, request: Request, identity: str) -> Response:
        charge_point = charge_point_of(self, identity)
        listed = tenant_of(request).secret_keys
        rows = ConfigurationKey.objects.filter(charge_point=charge_point)
        return self.page(rows, lambda row: configuration_json(row, listed))
