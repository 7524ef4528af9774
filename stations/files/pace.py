"""A common rate for all downloads of a process. No clock of its own: the time is an argument."""

from __future__ import annotations


class Pace:
    """Bytes a second that several senders share, with a small burst; 0 is no limit."""

    def __init__(self, bytes_per_second: int, burst_seconds: float = 0.05) -> None:
        self._rate = bytes_per_second
        self._burst = burst_seconds
        self._booked_until = 0.0

    def book(self, size: int, now: float) -> float:
        """Seconds to wait, from `now`, before `size` bytes may be sent."""
        if self._rate <= 0:
            return 0.0
        self._booked_until = max(self._booked_until, now - self._burst) + size / self._rate
        return max(0.0, self._booked_until - now)
