"""The charge point's clock: set by the central system, read as OCPP timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 timestamp as an aware datetime in UTC; without a zone it is taken as UTC.

    Errors: ValueError when the text is not a timestamp.
    Source: OCPP 1.6 ed. 2, 3.15.
    """
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class Clock:
    """A clock without battery: it runs on the host's time until BootNotification.conf sets it."""

    # Smaller differences are the travel time of the answer; following them would make timestamps jitter.
    TOLERANCE = timedelta(seconds=2)

    def __init__(self, *, milliseconds: bool = True) -> None:
        self.milliseconds = milliseconds
        self._offset = timedelta()

    def now(self) -> datetime:
        """The charge point's present time, aware, UTC."""
        return datetime.now(UTC) + self._offset

    def set(self, current_time: str) -> timedelta:
        """Set the clock to the `currentTime` of an answer and return by how much it was wrong (may be negative).

        Errors: ValueError when the text is not a timestamp.
        """
        error = parse_time(current_time) - self.now()
        if abs(error) > self.TOLERANCE:
            self._offset += error
        return error

    def text(self, at: datetime | None = None) -> str:
        """Return a time (default: now) as sent on the wire: UTC, `Z`, with three fraction digits or none."""
        at = (at or self.now()).astimezone(UTC)
        return at.isoformat(timespec="milliseconds" if self.milliseconds else "seconds").replace("+00:00", "Z")
