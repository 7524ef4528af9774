"""Timestamps of OCPP 1.6: ISO 8601, read tolerantly and written in one form.

Senders differ in fractions, offsets and letter case, and receivers must handle that (OCPP 1.6 section 3.15, errata
v4.0 3.10). Some charge points send no zone at all; then the caller says which one is meant.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt]|[ ]+)"
    r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]*))?)?"
    r"[ ]*(?:([Zz])|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)

# YYYY-MM-DDThh:mm:ssZ, and with three digits of fraction.
_USUAL_LENGTHS = (20, 24)


def parse_time(text: object, zone: tzinfo = UTC) -> datetime | None:
    """The instant that `text` means, aware and in UTC; None when it means none.

    Accepts 0 to 9 (and more) fraction digits, of which six count; `Z`, `+hh:mm`, `+hhmm`, `+hh`; lower-case t and z; a
    blank for T; missing seconds. A text without zone is taken in `zone`. None is the answer to anything that is not
    text, empty, nonsense or out of range, also to a date without a time of day, which says too little to bill by: the
    caller then uses the time of receipt.
    Source: OCPP 1.6 section 3.15.
    """
    if not isinstance(text, str):
        return None
    if len(text) in _USUAL_LENGTHS and text[7] == "-" and text[10] == "T" and text[13] == ":" and text[-1] == "Z":
        # What nearly all send, and datetime reads by itself; in a tenth of the time.
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, utc, sign, offset_hours, offset_minutes = match.groups()
    # ISO 8601 knows 24:00 as the end of a day and :60 as a leap second; datetime knows neither.
    carry = timedelta()
    if hour == "24" and minute == "00" and (second or "00") == "00":
        hour, carry = "23", timedelta(hours=1)
    elif second == "60":
        second, carry = "59", timedelta(seconds=1)
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second or 0),
            int((fraction or "")[:6].ljust(6, "0")),
            tzinfo=UTC if utc else _offset(sign, offset_hours, offset_minutes) if sign else zone,
        )
        return moment.astimezone(UTC) + carry
    except (ValueError, OverflowError):
        return None


def format_time(moment: datetime, milliseconds: bool = True) -> str:
    """`moment` as we send it: `YYYY-MM-DDThh:mm:ss.mmmZ`, always three digits and cut, not rounded.

    `milliseconds=False` leaves the fraction out, for charge points that choke on it. A datetime without zone is a
    mistake of the caller and raises ValueError.
    """
    if moment.tzinfo is None:
        raise ValueError("a timestamp to be sent needs a time zone")
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return f"{text.removesuffix('+00:00')}Z"


def _offset(sign: str, hours: str, minutes: str | None) -> timezone:
    """The zone of `+hh`, `+hhmm` or `+hh:mm`; ValueError beyond 24 hours."""
    distance = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return timezone(-distance if sign == "-" else distance)
