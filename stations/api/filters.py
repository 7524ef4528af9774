"""Query parameters to conditions; what cannot be understood is 400 with a pointer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.request import Request

from csms.ocppj.times import parse_time
from tenants.api.problems import bad_request

MAX_INT32 = 2**31 - 1


def boolean(request: Request, rows: Any, name: str, lookup: str | None = None) -> Any:
    """Rows whose `lookup` (default `name`) equals the parameter, true or false."""
    value = flag(request, name)
    return rows if value is None else rows.filter(**{lookup or name: value})


def flag(request: Request, name: str) -> bool | None:
    """The parameter as a boolean; None when it is absent."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise bad_request(f"/{name}", "true or false.", "invalid")
    return text == "true"


def choice(request: Request, rows: Any, name: str, allowed: Iterable[str]) -> Any:
    """Rows whose `name` equals the parameter, one of `allowed`."""
    text = request.query_params.get(name)
    if text is None:
        return rows
    if text not in set(allowed):
        raise bad_request(f"/{name}", f"One of {', '.join(allowed)}.", "invalid_choice")
    return rows.filter(**{name: text})


def instant(request: Request, rows: Any, name: str, lookup: str) -> Any:
    """Rows compared by `lookup` with the parameter, an RFC 3339 time."""
    text = request.query_params.get(name)
    if text is None:
        return rows
    at = parse_time(text.replace(" ", "+"))
    if at is None:
        raise bad_request(f"/{name}", "A time such as 2026-01-31T12:00:00Z.", "invalid_time")
    return rows.filter(**{lookup: at})


def whole_number(request: Request, name: str) -> int | None:
    """The parameter as an int32; None when it is absent."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= MAX_INT32):
        raise bad_request(f"/{name}", "A whole number.", "invalid")
    return int(text)


def site_filter(request: Request, rows: Any, lookup: str) -> Any:
    """Rows of the site whose slug is the parameter `site`."""
    slug = request.query_params.get("site")
    return rows if slug is None else rows.filter(**{lookup: slug})
