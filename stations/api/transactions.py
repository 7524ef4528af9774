"""`transactions/`: what was charged, and its meter values; those of a charge point, whosever they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from stations import transactions
from stations.api import schemas
from stations.api.filters import charge_point_filter, flag, instant, site_filter, whole_number
from stations.api.visibility import at_sites_of, charge_point_of
from stations.models import MeterValue, Transaction
from stations.models.transaction import MatchedBy
from tenants.api.fields import Text
from tenants.api.problems import Problem
from tenants.api.views import StrictSerializer, TenantAPIView
from tenants.models import ApiScope


class CloseWrite(StrictSerializer):
    """Why the record is closed, for the audit log."""

    reason = Text(max_length=500, required=False, default="", allow_blank=True)


def transaction_json(tx: Transaction) -> dict[str, Any]:
    """The resource; `tx` comes from with_latest_reading()."""
    return {
        "id": tx.pk,
        "charge_point": tx.charge_point.identity,
        "connector_id": tx.connector_id,
        "id_tag": tx.id_tag,
        "started_at": tx.started_at,
        "started_received_at": tx.started_received_at,
        "stopped_at": tx.stopped_at,
        "stopped_received_at": tx.stopped_received_at,
        "active": tx.active,
        "meter_start_wh": tx.meter_start_wh,
        "meter_stop_wh": tx.meter_stop_wh,
        "energy_wh": tx.current_energy_wh,
        "power_w": getattr(tx, "latest_power_w", None) if tx.active else None,
        "stop_reason": tx.stop_reason,
        "stop_id_tag": tx.stop_id_tag,
        "id_tag_status": tx.id_tag_status,
        "parent_id_tag": tx.parent_id_tag,
        "reservation_id": tx.reservation_id,
        "flags": tx.flags,
        "matched_by": tx.matched_by or None,
        "stop_transaction_id": tx.stop_ref or (str(tx.pk) if tx.stop_received else None),
        "candidates": tx.candidates,
        "duplicate_of": tx.duplicate_of,
        "started_by_command": tx.started_by_command_id,
    }


def matched_by(row: MeterValue) -> str | None:
    """How a reading was found to be its transaction's; None without one."""
    return None if row.transaction_id is None else row.matched_by or MatchedBy.TRANSACTION_ID.value


def meter_value_json(row: MeterValue) -> dict[str, Any]:
    return {
        "timestamp": row.timestamp,
        "received_at": row.received_at,
        "connector_id": row.connector_id,
        "transaction": row.transaction_id,
        "transaction_id_sent": row.transaction_ref or None,
        "matched_by": matched_by(row),
        "energy_wh": row.energy_wh,
        "power_w": row.power_w,
        "soc_percent": row.soc_percent,
        "sampled_value": row.sampled_value,
    }


class _Transactions(TenantAPIView):
    write_scope = ApiScope.OPERATE

    def rows(self) -> QuerySet[Transaction]:
        rows = Transaction.objects.select_related("charge_point").with_latest_reading()
        return at_sites_of(self, rows, "charge_point__site_id")

    def one(self, pk: int) -> Transaction:
        tx = self.rows().filter(pk=pk).first()
        if tx is None:
            raise Problem(404, "not_found", "There is no such transaction.")
        return tx


class TransactionList(_Transactions):
    query_parameters = frozenset(
        {"charge_point", "connector_id", "id_tag", "active", "started_after", "started_before", "site"}
    )
    paginated = True

    @extend_schema(
        operation_id="transactions_list",
        summary="Transactions, newest first",
        parameters=schemas.query(
            "charge_point", "connector_id", "id_tag", "active", "started_after", "started_before", "site"
        ),
        responses={200: schemas.page_of(schemas.TRANSACTION)},
    )
    def get(self, request: Request) -> Response:
        rows = charge_point_filter(request, self.rows())
        parameters = request.query_params
        connector_id = whole_number(request, "connector_id")
        if connector_id is not None:
            rows = rows.filter(connector_id=connector_id)
        if "id_tag" in parameters:
            rows = rows.filter(id_tag_key=parameters["id_tag"].upper())
        active = flag(request, "active")
        if active is not None:
            rows = rows.filter(stopped_at__isnull=active)
        rows = instant(request, rows, "started_after", "started_at__gte")
        rows = instant(request, rows, "started_before", "started_at__lt")
        rows = site_filter(request, rows, "charge_point__site__slug")
        return self.page(rows, transaction_json)


class TransactionDetail(_Transactions):
    @extend_schema(operation_id="transactions_read", summary="One transaction", responses={200: schemas.TRANSACTION})
    def get(self, request: Request, pk: int) -> Response:
        return Response(transaction_json(self.one(pk)))


class TransactionMeterValueList(_Transactions):
    cursor_order = ("-timestamp", "-pk")
    paginated = True

    @extend_schema(
        operation_id="transaction_meter_values_list",
        summary="Meter values of a transaction, newest first",
        responses={200: schemas.page_of(schemas.METER_VALUE)},
    )
    def get(self, request: Request, pk: int) -> Response:
        return self.page(MeterValue.objects.filter(transaction=self.one(pk)), meter_value_json)


class ChargePointMeterValueList(TenantAPIView):
    query_parameters = frozenset({"connector_id", "transaction", "since", "until"})
    cursor_order = ("-timestamp", "-pk")
    paginated = True

    @extend_schema(
        operation_id="charge_point_meter_values_list",
        summary="Meter values of a charge point, with and without a transaction, newest first",
        parameters=schemas.query("connector_id", "transaction", "since", "until"),
        responses={200: schemas.page_of(schemas.METER_VALUE)},
    )
    def get(self, request: Request, identity: str) -> Response:
        rows = MeterValue.objects.filter(charge_point=charge_point_of(self, identity))
        connector_id = whole_number(request, "connector_id")
        if connector_id is not None:
            rows = rows.filter(connector_id=connector_id)
        if request.query_params.get("transaction") == "none":
            rows = rows.filter(transaction__isnull=True)
        else:
            transaction_id = whole_number(request, "transaction")
            rows = rows if transaction_id is None else rows.filter(transaction_id=transaction_id)
        rows = instant(request, rows, "since", "timestamp__gte")
        rows = instant(request, rows, "until", "timestamp__lt")
        return self.page(rows, meter_value_json)


class TransactionClose(_Transactions):
    @extend_schema(
        operation_id="transactions_close",
        summary="Close the record of a transaction whose stop will not come; nothing is sent",
        request=CloseWrite,
        responses={200: schemas.TRANSACTION},
    )
    def post(self, request: Request, pk: int) -> Response:
        reason = self.validated(CloseWrite)["reason"]
        self.one(pk)
        # Locked, so that the stop, if it comes at this moment after all, waits and is then taken in.
        tx = Transaction.objects.select_for_update().get(pk=pk)
        if not tx.active:
            raise Problem(409, "not_active", "The transaction has ended.")
        transactions.close_by_operator(tx, datetime.now(UTC))
        self.audit("close", tx, {"reason": ["", reason]} if reason else None)
        return Response(transaction_json(self.one(pk)))
