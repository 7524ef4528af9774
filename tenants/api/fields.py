"""Members of a request's body. Types are taken literally: "yes" is no boolean, and 5 no text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

FIRST_YEAR, LAST_YEAR = 1970, 9998
INSTANT_HINT = f"A time with its zone, such as 2026-01-31T12:00:00Z, from {FIRST_YEAR} to {LAST_YEAR}."


def parse_instant(text: str) -> datetime | None:
    """The instant that an ISO 8601 text with a zone means, in UTC; None for anything else.

    The last year is left out: local time, somewhere, would be in a year that no datetime has.
    """
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None or not FIRST_YEAR <= at.year <= LAST_YEAR:
            return None
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class Text(serializers.CharField):
    """Text as it is, blanks included."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False} | kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Integer(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class Number(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if type(data) not in (int, float):
            self.fail("invalid")
        return float(data)


class Boolean(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if type(data) is not bool:
            self.fail("invalid", input=data)
        return data


class Instant(serializers.DateTimeField):
    """An RFC 3339 time; the value is in UTC."""

    def to_internal_value(self, data: Any) -> datetime:
        at = parse_instant(data) if isinstance(data, str) else None
        if at is None:
            raise serializers.ValidationError(INSTANT_HINT, code="invalid_time")
        return at


class Slugs(serializers.ListField):
    """A list of slugs of sites, each named once."""

    child = Text(max_length=63)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 1000} | kwargs)
