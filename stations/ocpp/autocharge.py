"""AutoCharge: a vehicle that charges by its own identity, which the charge point reads over the charging cable.

Charge points tell it in two ways. As the idTag of Authorize and StartTransaction, most often "VID:" and the MAC address
of the vehicle's charge controller (EVCCID of ISO 15118): stations/batch.py finds the tag that is registered for it, in
whatever spelling. And as the data of a DataTransfer, a text or JSON: `vehicle` here. Both only where the tenant has
switched it on, for a MAC address is no secret: whoever can send one charges in its owner's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
from ocpp.v16 import call, call_result

from csms.ocppj.frames import dumps
from stations import authorization
from stations.batch import open_batch
from stations.id_tag_spellings import mac_of
from stations.models import ChargePoint

MAX_ID_TAG = 20
# What the vehicle's identity is called in JSON, as its letters and digits.
_MEMBERS = frozenset(
    {
        "evccid", "evid", "evmac", "evmacaddress", "evccmac", "idtag", "mac", "macaddress", "macid", "vehicleid",
        "vehicleidentifier", "vehiclemac", "vid", "vin",
    }
)  # fmt: skip
_VIN = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_MOST_IDENTITIES = 5
_MOST_DEPTH = 4


def vehicle(charge_point: ChargePoint, req: call.DataTransfer, now: datetime) -> call_result.DataTransfer:
    """Answer with the idTagInfo of the vehicle that the data name, and its idTag where one is registered.

    Of several identities (VIN and MAC address) the first that is accepted counts. Data without one are Rejected.
    Response data: the JSON text {"idTag": …, "idTagInfo": {…}}.
    """
    names = identities(req.data)
    if not names:
        return call_result.DataTransfer(status="Rejected")
    with open_batch():
        answers = [authorization.authorize(charge_point, name, now) for name in names]
        best = next((answer for answer in answers if answer.accepted), None)
        if best is None:
            known = next((index for index, answer in enumerate(answers) if answer.id_tag is not None), 0)
            best = authorization.presented(charge_point, names[known], "DataTransfer", now)
    answer: dict[str, Any] = {"idTagInfo": best.id_tag_info(charge_point)}
    if best.id_tag is not None:
        # In capitals, as it is compared.
        answer = {"idTag": best.id_tag.key} | answer
    return call_result.DataTransfer(status="Accepted", data=dumps(answer))


def identities(data: Any) -> list[str]:
    """What idTags the vehicle of these data may be registered as, each once, in the order of the data."""
    text = str(data or "").strip()
    try:
        value = orjson.loads(text)
    except ValueError:
        value = text
    found = dict.fromkeys(name for each in _texts(value, 0) if (name := _identity(each)))
    return list(found)[:_MOST_IDENTITIES]


def _texts(value: Any, depth: int, named: bool = True) -> Iterator[str]:
    """The texts that may be an identity: the data itself, or members of JSON that are called so."""
    if isinstance(value, dict) and depth < _MOST_DEPTH:
        for name, member in value.items():
            yield from _texts(member, depth + 1, "".join(filter(str.isalnum, str(name))).lower() in _MEMBERS)
    elif isinstance(value, list) and depth < _MOST_DEPTH:
        for member in value:
            yield from _texts(member, depth + 1, named)
    elif named and isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def _identity(text: str) -> str:
    """The idTag that an identity is looked up as: a MAC address, a VIN, or any text that can be an idTag."""
    text = text.strip()
    mac = mac_of(text)
    if mac:
        return text if len(text) <= MAX_ID_TAG else mac
    bare = text.upper().removeprefix("VIN").lstrip(":-_ ")
    if _VIN.fullmatch(bare):
        return bare
    return text if 1 <= len(text) <= MAX_ID_TAG and text.isprintable() else ""
