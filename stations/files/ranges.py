"""Which part of a file a request asks for (RFC 9110, 13 and 14): single byte ranges, and whether they still apply."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins after the end of the file: 416."""


def requested(
    range_header: str, if_range: str, *, size: int, etag: str, modified_at: datetime
) -> tuple[int, int] | None:
    """First byte and the one after the last that are to be sent, or None for the whole file.

    The whole file also where RFC 9110 lets a range be ignored: it is malformed, of another unit or of several parts, or
    If-Range names another state of the file. Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(range_header.strip())
    if match is None or not _still_the_same(if_range.strip(), etag, modified_at):
        return None
    first, last = match.groups()
    if len(first) > 18 or len(last) > 18:
        raise Unsatisfiable
    if not first:
        if not last:
            return None
        length = int(last)
        if length == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - length), size
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(size, int(last) + 1) if last else size


def _still_the_same(if_range: str, etag: str, modified_at: datetime) -> bool:
    """Whether the validator of If-Range is that of the file; none at all is."""
    if not if_range or if_range == etag:
        return True
    if if_range.startswith(('"', "W/")):
        return False
    try:
        at = parsedate_to_datetime(if_range)
    except ValueError:
        return False
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return at == modified_at.astimezone(UTC).replace(microsecond=0)
