"""Security events of charge points.

From the charge point: SecurityEventNotification. What we notice ourselves is noted by stations/security_events.py.
"""

from __future__ import annotations

from datetime import datetime

from ocpp.v16 import call, call_result

from csms.ocppj.times import parse_time
from stations.batch import open_batch
from stations.models import ChargePoint
from stations.models.security_event import EventSource, digest_of, is_critical


def security_event_notification(
    charge_point: ChargePoint, req: call.SecurityEventNotification, now: datetime
) -> call_result.SecurityEventNotification:
    """Answer SecurityEventNotification.req: keep the event once, however often it comes.

    Always `{}`, whatever the type: delivery is guaranteed, so anything else would only make the charge point repeat
    itself. Bursts and old timestamps are normal after an outage; the batch writes all of them in one statement. Without
    a readable timestamp the event has the time of receipt.
    Source: Improved security for OCPP 1.6-J ed. 3, A04.FR.01-04, 5.16.
    """
    event_type, tech_info = str(req.type), str(req.tech_info or "")
    at = parse_time(req.timestamp, charge_point.zone)
    digest = digest_of(charge_point.pk, event_type, req.timestamp if at is None else at.isoformat(), tech_info)
    with open_batch() as batch:
        batch.add_security_event(
            charge_point.pk, EventSource.CHARGE_POINT.value, event_type, tech_info, is_critical(event_type),
            at or now, now, "", "", 1, now, "", digest,
        )  # fmt: skip
    return call_result.SecurityEventNotification()
