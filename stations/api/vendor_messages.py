"""`data-transfers/`: vendors' own messages as they came. `vendor-extensions/`: the vendors whose messages are taken."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from stations.api import schemas
from stations.api.filters import charge_point_filter, instant
from stations.api.visibility import at_sites_of, charge_point_of
from stations.models import VendorExtension, VendorMessage
from stations.models.vendor_message import MAX_VENDOR_ID
from tenants.api.fields import Boolean, Text
from tenants.api.problems import Problem, bad_request
from tenants.api.views import StrictSerializer, TenantAPIView

PARAMETERS = [
    OpenApiParameter("vendor_id", schemas.TEXT, description="The vendorId, in any letter case."),
    OpenApiParameter("message_id", schemas.TEXT, description="The messageId, in any letter case."),
    OpenApiParameter("q", schemas.TEXT, description="A text that the data, or the answer to them, contain."),
]
FILTERS = frozenset({"vendor_id", "message_id", "q", "since", "until"})


class VendorExtensionWrite(StrictSerializer):
    """What may be written."""

    shown_only = frozenset({"id", "created_at", "updated_at"})

    vendor_id = Text(max_length=MAX_VENDOR_ID)
    description = Text(max_length=200, required=False, default="", allow_blank=True)
    message_ids = serializers.ListField(
        child=Text(max_length=255),
        required=False,
        default=list,
        max_length=100,
        help_text="The only messageIds that are known, others are answered UnknownMessageId. Empty means all.",
    )
    enabled = Boolean(required=False, default=True)


def message_json(row: VendorMessage) -> dict[str, Any]:
    """The resource; `row` comes with its charge point."""
    return {
        "id": row.pk,
        "charge_point": row.charge_point.identity,
        "vendor_id": row.vendor_id,
        "message_id": row.message_id,
        "data": row.data,
        "status": row.status,
        "response": row.response,
        "received_at": row.received_at,
    }


def extension_json(row: VendorExtension) -> dict[str, Any]:
    names = ("vendor_id", "description", "message_ids", "enabled", "created_at", "updated_at")
    return {"id": row.pk} | {name: getattr(row, name) for name in names}


class _DataTransfers(TenantAPIView):
    paginated = True

    def filtered(self, rows: QuerySet[VendorMessage]) -> QuerySet[VendorMessage]:
        """`rows` by the query parameters, with their charge points."""
        given = self.request.query_params
        for name in ("vendor_id", "message_id"):
            if name in given:
                rows = rows.filter(**{f"{name}__iexact": given[name]})
        if "q" in given:
            rows = rows.filter(Q(data__icontains=given["q"]) | Q(response__icontains=given["q"]))
        rows = instant(self.request, rows, "since", "received_at__gte")
        rows = instant(self.request, rows, "until", "received_at__lt")
        return rows.select_related("charge_point")


class DataTransferList(_DataTransfers):
    query_parameters = FILTERS | {"charge_point"}

    @extend_schema(
        operation_id="data_transfers_list",
        summary="DataTransfers of vendors that are switched on, newest first",
        parameters=[*schemas.query("charge_point", "since", "until"), *PARAMETERS],
        responses={200: schemas.page_of(schemas.VENDOR_MESSAGE)},
    )
    def get(self, request: Request) -> Response:
        rows = at_sites_of(self, VendorMessage.objects.all(), "charge_point__site_id")
        return self.page(self.filtered(charge_point_filter(request, rows)), message_json)


class ChargePointDataTransferList(_DataTransfers):
    query_parameters = FILTERS

    @extend_schema(
        operation_id="charge_point_data_transfers_list",
        summary="DataTransfers of one charge point, newest first",
        parameters=[*schemas.query("since", "until"), *PARAMETERS],
        responses={200: schemas.page_of(schemas.VENDOR_MESSAGE)},
    )
    def get(self, request: Request, identity: str) -> Response:
        rows = VendorMessage.objects.filter(charge_point=charge_point_of(self, identity))
        return self.page(self.filtered(rows), message_json)


class _VendorExtensions(TenantAPIView):
    def one(self, pk: int, *, locked: bool = False) -> VendorExtension:
        rows = VendorExtension.objects.select_for_update() if locked else VendorExtension.objects.all()
        row = rows.filter(pk=pk).first()
        if row is None:
            raise Problem(404, "not_found", "There is no such vendor extension.")
        return row

    def check_sites(self) -> None:
        if self.site_ids() is not None:
            raise Problem(403, "site_not_allowed", "Vendor extensions concern every site.")

    def write(self, row: VendorExtension, values: dict[str, Any]) -> None:
        self.check_sites()
        created = row.pk is None
        before = {name: None if created else getattr(row, name) for name in values}
        for name, value in values.items():
            setattr(row, name, value)
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            raise bad_request("/vendor_id", "There is an entry of this vendorId already.", "taken") from None
        changes = {name: [before[name], value] for name, value in values.items() if before[name] != value}
        self.audit("create" if created else "change", row, changes)


class VendorExtensionList(_VendorExtensions):
    paginated = True

    @extend_schema(
        operation_id="vendor_extensions_list",
        summary="Vendors whose DataTransfers are taken, newest first",
        responses={200: schemas.page_of(schemas.VENDOR_EXTENSION)},
    )
    def get(self, request: Request) -> Response:
        return self.page(VendorExtension.objects.all(), extension_json)

    @extend_schema(
        operation_id="vendor_extensions_create",
        summary="Take a vendor's DataTransfers: answered Accepted and kept",
        request=VendorExtensionWrite,
        responses={201: schemas.VENDOR_EXTENSION},
    )
    def post(self, request: Request) -> Response:
        row = VendorExtension()
        self.write(row, self.validated(VendorExtensionWrite))
        return self.created(extension_json(row), reverse("api:vendor-extension", args=[row.pk]))


class VendorExtensionDetail(_VendorExtensions):
    @extend_schema(
        operation_id="vendor_extensions_read", summary="One vendor", responses={200: schemas.VENDOR_EXTENSION}
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(extension_json(self.one(pk)))

    @extend_schema(
        operation_id="vendor_extensions_replace",
        summary="Replace what is said of a vendor",
        request=VendorExtensionWrite,
        responses={200: schemas.VENDOR_EXTENSION},
    )
    def put(self, request: Request, pk: int) -> Response:
        row = self.one(pk, locked=True)
        self.write(row, self.validated(VendorExtensionWrite))
        return Response(extension_json(row))

    @extend_schema(
        operation_id="vendor_extensions_change",
        summary="Change members of a vendor: switch it on or off",
        request=VendorExtensionWrite,
        responses={200: schemas.VENDOR_EXTENSION},
    )
    def patch(self, request: Request, pk: int) -> Response:
        row = self.one(pk, locked=True)
        self.write(row, self.validated(VendorExtensionWrite, partial=True))
        return Response(extension_json(row))

    @extend_schema(
        operation_id="vendor_extensions_delete",
        summary="Take a vendor's messages no longer; those that came stay",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        row = self.one(pk, locked=True)
        self.check_sites()
        self.audit("delete", row)
        row.delete()
        return Response(status=204)
