"""The figures of a lane's batch: counted in plain integers in the lane's thread, added to the instruments once.

What a frame was tells its item: a call has its outcome beside it; the entries for the message log tell of frames that
needed no answer from the lane.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from time import monotonic
from typing import Any

from csms.metrics import figures
from csms.metrics.figures import ANSWER_BOUNDS
from csms.ocppj import errors
from csms.ocppj.errors import OcppError
from csms.ocppj.payloads import FROM_CHARGE_POINT, TO_CHARGE_POINT

logger = logging.getLogger(__name__)

FROM, TO = "from_charge_point", "to_charge_point"
UNKNOWN = "unknown"
CALL, CALLRESULT, CALLERROR = 2, 3, 4
ACTIONS = {FROM: FROM_CHARGE_POINT, TO: TO_CHARGE_POINT}
CODES = {error.code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, OcppError)}


def committed(begun: float) -> None:
    """A transaction's rows were written and committed; `begun` (monotonic) when its messages had been answered."""
    if figures.current is not None:
        figures.current.commit_seconds.observe(monotonic() - begun)


def answered(items: Sequence[Any], outcomes: Sequence[Any], begun: float) -> None:
    """A batch is done: count its frames by what became of them, and how long those who asked have waited.

    Items and outcomes as in stations/dispatch.py, `begun` by the monotonic clock. Costs about a microsecond an item and
    some ten for the batch.
    """
    current = figures.current
    if current is None:
        return
    now = monotonic()
    counts: dict[Any, int] = {}
    latencies = [0] * (len(ANSWER_BOUNDS) + 1)
    total = 0.0
    calls = 0
    for item, outcome in zip(items, outcomes, strict=True):
        arrived = getattr(item, "arrived", None)
        if arrived is not None:
            latency = now - arrived
            latencies[bisect_left(ANSWER_BOUNDS, latency)] += 1
            total += latency
            calls += 1
            result = outcome.result
            key = (item.action, result.code) if isinstance(result, OcppError) else item.action
        elif hasattr(item, "message_type"):
            key = (item.incoming, int(item.message_type), item.action, item.error)
        else:
            continue
        counts[key] = counts.get(key, 0) + 1
    try:
        for key, count in counts.items():
            labels = _labels_of(key)
            if labels is not None:
                current.messages_of(*labels).inc(count)
        if calls:
            current.answer_seconds.add(latencies, total)
        current.batch_seconds.observe(now - begun)
        current.batch_items.observe(len(items))
    except OSError as error:
        # A file could not grow. The messages are committed, and their answers must leave.
        logger.warning("A batch was not counted: %s", error)


def _labels_of(key: Any) -> tuple[str, str, str, str] | None:
    """Direction, action, outcome and code of what a batch counted under `key`; None for what is no frame of its own."""
    if isinstance(key, str):
        return (FROM, _known(FROM, key), "result", "")
    if len(key) == 2:
        return (FROM, _known(FROM, key[0]), "error", _code(key[1]))
    incoming, kind, action, error = key
    code = error.partition(":")[0]
    if incoming:
        if kind == CALLRESULT:
            return (TO, _known(TO, action), "result", "")
        if kind == CALLERROR:
            return (TO, _known(TO, action), "error", _code(code))
        if kind == CALL:
            # The CALL that was refused comes with its CALLERROR, which is counted.
            return (FROM, _known(FROM, action), "repeated", "") if error else None
        return (FROM, "", "ignored", "")
    if kind == CALLERROR:
        return (FROM, _known(FROM, action), "refused", _code(code))
    return (TO, _known(TO, action), "sent", "") if kind == CALL else None


def _known(direction: str, action: str) -> str:
    return action if action in ACTIONS[direction] else UNKNOWN


def _code(code: str) -> str:
    return code if code in CODES else UNKNOWN
