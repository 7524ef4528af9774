"""How fast one charge point may talk.

Context: what a charge point sends costs a place in the lane that it shares with hundreds of others, and rows that its
owner pays for. A charge point that is broken sends thousands of frames a second; one that is not sends one now and
then, and some hundreds when it comes back with what it stored.
Choice: a token bucket a connection. Nothing is refused and nothing lost: beyond its rate the next frame is looked at
later, the socket is read no further, and TCP makes the charge point wait. Consequence: a burst passes at full speed,
its neighbours never notice, and the operator finds one event a minute.
"""

from __future__ import annotations

# So many seconds' worth may come at once: messages that were stored while the charge point was offline.
BURST_SECONDS = 10.0
# Between two events about one connection.
REPORT_SECONDS = 60.0


class Pace:
    """The bucket of one connection; `now` is always monotonic seconds. Holds no clock."""

    __slots__ = ("_next_report", "_rate", "_tokens", "_updated")

    def __init__(self, frames_per_second: float, now: float) -> None:
        self._rate = frames_per_second
        self._tokens = frames_per_second * BURST_SECONDS
        self._updated = now
        self._next_report = now

    def delay(self, now: float) -> float:
        """Seconds that the frame that has just been read has to wait; it counts from now on."""
        tokens = min(self._tokens + (now - self._updated) * self._rate, self._rate * BURST_SECONDS) - 1
        self._tokens, self._updated = tokens, now
        return -tokens / self._rate if tokens < 0 else 0.0

    def to_report(self, now: float) -> bool:
        """Whether an operator is to be told of a delay: at the first, and then once a minute."""
        if now < self._next_report:
            return False
        self._next_report = now + REPORT_SECONDS
        return True
