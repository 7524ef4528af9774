"""Two that dial with one identity: a cloned charge point, a copied configuration, a password in the wrong hands.

Context: the newest socket wins, because the older one is usually half open. Two live ones then throw each other out
for ever, and neither charges; nobody sees more than a charge point that reconnects a lot.
Choice: a take-over by somebody else (another address or user agent) is counted. More than MOST within WINDOW is a
contest: the operator is told, and from then on each such take-over is followed by a pause, twice as long each time, in
which the one connected keeps its socket and the rival is told when to come back (503, Retry-After).
Consequence: the identity is never closed to everybody. The one connected may always replace its own socket, anybody
may connect when nobody is, and no pause is longer than LONGEST_PAUSE. An unauthenticated handshake never gets here.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import QuerySet

from stations import security_events
from stations.models import ChargePoint, ConnectionAttempt

logger = logging.getLogger(__name__)

WINDOW = timedelta(seconds=60)
MOST = 3
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(seconds=300)
# So long after the last pause the pauses start from the beginning.
CALM = timedelta(minutes=15)
LOOKED_AT = 20
# So long the operator is shown that there was a contest.
SHOWN_FOR = timedelta(hours=24)


def put_off(charge_point: ChargePoint, address: str, user_agent: str, now: datetime) -> timedelta | None:
    """How long the one who dials has to wait because somebody else is connected; None when it may take over."""
    until = charge_point.contested_until
    if not charge_point.connected or until is None or until <= now:
        return None
    last = _accepted(charge_point).first()
    if last is None or (last.address, last.user_agent) == (address, user_agent):
        return None
    return until - now


def note_take_over(charge_point: ChargePoint, now: datetime) -> None:
    """Count the take-over just recorded; starts a contest, or its next pause, when it was one too many.

    Costs a query, and only when somebody was connected.
    """
    latest = list(_accepted(charge_point).values_list("address", "user_agent", "at")[:LOOKED_AT])
    if len(latest) < 2 or latest[0][:2] == latest[1][:2]:
        return
    take_overs = sum(
        newer[:2] != older[:2] and newer[2] >= now - WINDOW for newer, older in zip(latest, latest[1:], strict=False)
    )
    security_events.note("connected_elsewhere", charge_point, address=latest[0][0], now=now)
    until = charge_point.contested_until
    goes_on = until is not None and now < until + CALM
    if not goes_on and take_overs <= MOST:
        return
    contests = charge_point.contests + 1 if goes_on else 1
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(contests - 1, 10))
    ChargePoint.objects.filter(pk=charge_point.pk).update(
        contested_at=now, contested_until=now + pause, contests=min(contests, 1000)
    )
    seconds = round(pause.total_seconds())
    detail = f"{take_overs} take-overs within {round(WINDOW.total_seconds())} s; the next one waits {seconds} s."
    security_events.note("contested", charge_point, address=latest[0][0], detail=detail, now=now)
    logger.warning(
        "Charge point %r is contested: %s take-overs within %s s, the latest from %s; the next one waits %s s",
        charge_point.identity, take_overs, round(WINDOW.total_seconds()), latest[0][0], seconds,
    )  # fmt: skip


def is_contested(charge_point: ChargePoint, now: datetime) -> bool:
    """Whether its operator should look after who else dials with this identity."""
    return charge_point.contested_at is not None and now - charge_point.contested_at < SHOWN_FOR


def _accepted(charge_point: ChargePoint) -> QuerySet[ConnectionAttempt]:
    return ConnectionAttempt.objects.filter(charge_point=charge_point, accepted=True).order_by("-id")
