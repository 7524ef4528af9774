"""The end of a connection, as the rows keep it. A newer connection of the charge point is not touched by it."""

from __future__ import annotations

from datetime import datetime

from stations import commands, security_events
from stations.batch import open_batch
from stations.models import ChargePoint


def release(charge_point: ChargePoint, now: datetime, *, generation: int, lost: str = "") -> None:
    """The connection of `generation` has ended: so have the commands that were on it. Runs in the lane.

    `lost`: why, when nobody closed it (csms.websocket); kept as an event.
    """
    with open_batch() as batch:
        commands.connection_lost(charge_point.pk, generation)
        if lost:
            security_events.note(lost, charge_point, address=charge_point.remote_address, now=now)
        batch.put_departure(charge_point.pk, generation, now)
