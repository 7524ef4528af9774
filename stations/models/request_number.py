"""RequestNumber: the requestIds that we give to GetLog and SignedUpdateFirmware, counted by charge point."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction

from stations.models.charge_point import ChargePoint
from stations.models.firmware import FirmwareUpdate, LogRequest
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet

MAX_REQUEST_ID = 2**31 - 1


class RequestNumberQuerySet(TenantQuerySet["RequestNumber"]):
    def next_for(self, charge_point: ChargePoint) -> int:
        """A requestId that no request to this charge point has or had; 31 bits, positive."""
        with transaction.atomic():
            row, _ = self.select_for_update().get_or_create(charge_point=charge_point)
            while True:
                row.last = row.last % MAX_REQUEST_ID + 1
                # An operator may have chosen the same number by hand.
                same = {"charge_point": charge_point, "request_id": row.last}
                if not (LogRequest.objects.filter(**same).exists() or FirmwareUpdate.objects.filter(**same).exists()):
                    break
            row.save(update_fields=["last"])
        return row.last

    def completed(self, charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
        """`payload` of a request, with a requestId that this charge point has not had unless it has one."""
        return payload if "requestId" in payload else {**payload, "requestId": self.next_for(charge_point)}


class RequestNumber(TenantModel):
    """The last requestId that was given out for one charge point."""

    charge_point = models.OneToOneField(ChargePoint, on_delete=models.CASCADE, related_name="+")
    last = models.IntegerField(default=0)

    objects = TenantManager.from_queryset(RequestNumberQuerySet)()

    def __str__(self) -> str:
        return str(self.last)
