"""DataTransfers of charge points: which vendors' messages are understood, and what becomes of all others.

HANDLERS is the table: by vendorId and messageId as on the wire, in any letter case. "" as vendorId is any vendor. A
handler is function(charge_point, req, now) -> call_result.DataTransfer, runs inside the lane's transaction as those of
stations/ocpp/actions.py do, and only where its switch, an attribute of the batch, is on for the tenant.

Without a handler, a vendor that the tenant has switched on (VendorExtension) is answered Accepted; all that a known
vendor sends is kept (VendorMessage), also what is answered UnknownMessageId. A vendor nobody has switched on is
UnknownVendorId, without data, as the standard wants.
Source: OCPP 1.6 ed. 2, 4.3, 6.13, 6.14.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ocpp.v16 import call, call_result

from stations.batch import Batch, open_batch
from stations.masking import masked_data
from stations.models import ChargePoint
from stations.ocpp import autocharge

ANY_VENDOR = ""


@dataclass(frozen=True, slots=True)
class Handler:
    """What answers one message of a vendor. `id_tags` gives the idTags that the data name, to be looked up at once."""

    function: Callable[[ChargePoint, call.DataTransfer, datetime], call_result.DataTransfer]
    switch: str
    id_tags: Callable[[Any], list[str]]


_AUTOCHARGE = Handler(autocharge.vehicle, "autocharge_enabled", autocharge.identities)

HANDLERS: dict[str, dict[str, Handler]] = {
    ANY_VENDOR: {
        "AutoCharge": _AUTOCHARGE,
        "AutoChargeAuthorize": _AUTOCHARGE,
        "EVCCID": _AUTOCHARGE,
        "MacAddress": _AUTOCHARGE,
        "MacID": _AUTOCHARGE,
        "VehicleId": _AUTOCHARGE,
        "VehicleIdentification": _AUTOCHARGE,
        "VID": _AUTOCHARGE,
        "VIN": _AUTOCHARGE,
    },
    "AutoCharge": {"": _AUTOCHARGE, "Authorize": _AUTOCHARGE},
}

_BY_KEY = {
    vendor_id.upper(): {message_id.upper(): handler for message_id, handler in messages.items()}
    for vendor_id, messages in HANDLERS.items()
}


def handler_of(req: call.DataTransfer) -> Handler | None:
    """The handler of a message, switched on or not; the vendor's own before that of any vendor."""
    message_id = str(req.message_id or "").upper()
    own = _BY_KEY.get(str(req.vendor_id).upper(), {})
    return own.get(message_id) or _BY_KEY[ANY_VENDOR].get(message_id)


def id_tags_of(req: call.DataTransfer) -> list[str]:
    """The idTags that will be asked for when this message is answered."""
    handler = handler_of(req)
    return [] if handler is None else handler.id_tags(req.data)


def answer(charge_point: ChargePoint, req: call.DataTransfer, now: datetime) -> call_result.DataTransfer:
    """Answer DataTransfer.req by its handler, or by what the tenant has said of its vendor, and keep it."""
    with open_batch() as batch:
        conf = _answer(batch, charge_point, req, now)
        if conf.status != "UnknownVendorId":
            batch.add_vendor_message(
                charge_point.pk, str(req.vendor_id), str(req.message_id or ""), masked_data(req.data), conf.status,
                conf.data, now,
            )  # fmt: skip
        return conf


def _answer(batch: Batch, charge_point: ChargePoint, req: call.DataTransfer, now: datetime) -> call_result.DataTransfer:
    handler = handler_of(req)
    if handler is not None and getattr(batch, handler.switch):
        return handler.function(charge_point, req, now)
    extension = batch.vendor_extension(str(req.vendor_id))
    if extension is not None:
        known = extension.knows(str(req.message_id or ""))
        return call_result.DataTransfer(status="Accepted" if known else "UnknownMessageId")
    own = _BY_KEY.get(str(req.vendor_id).upper(), {})
    if any(getattr(batch, each.switch) for each in own.values()):
        return call_result.DataTransfer(status="UnknownMessageId")
    return call_result.DataTransfer(status="UnknownVendorId")
