"""Query parameters to conditions; what cannot be understood is 400 with a pointer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rest_framework.request import Request

from stations.models import ChargePoint
from tenants.api.fields import INSTANT_HINT, parse_instant
from tenants.api.problems import bad_request

MAX_INT32, MAX_INT64 = 2**31 - 1, 2**63 - 1


def flag(request: Request, name: str) -> bool | None:
    """The parameter as a boolean; None when it is absent."""
    text = chosen(request, name, ("true", "false"))
    return None if text is None else text == "true"


def boolean(request: Request, rows: Any, name: str) -> Any:
    """Rows whose `name` equals the parameter, true or false."""
    value = flag(request, name)
    return rows if value is None else rows.filter(**{name: value})


def chosen(request: Request, name: str, allowed: Collection[str]) -> str | None:
    """The parameter, one of `allowed`; None when it is absent."""
    text = request.query_params.get(name)
    if text is not None and text not in allowed:
        raise bad_request(f"/{name}", f"One of {', '.join(allowed)}.", "invalid_choice")
    return text


def choice(request: Request, rows: Any, name: str, allowed: Collection[str]) -> Any:
    """Rows whose `name` equals the parameter, one of `allowed`."""
    text = chosen(request, name, allowed)
    return rows if text is None else rows.filter(**{name: text})


def instant(request: Request, rows: Any, name: str, lookup: str) -> Any:
    """Rows compared by `lookup` with the parameter, an RFC 3339 time."""
    text = request.query_params.get(name)
    if text is None:
        return rows
    # A plus sign that was not percent-encoded arrives as a blank.
    at = parse_instant(text.replace(" ", "+"))
    if at is None:
        raise bad_request(f"/{name}", INSTANT_HINT, "invalid_time")
    return rows.filter(**{lookup: at})


def whole_number(request: Request, name: str, maximum: int = MAX_INT32) -> int | None:
    """The parameter as a number from 0 to `maximum`; None when it is absent."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= maximum):
        raise bad_request(f"/{name}", f"A whole number from 0 to {maximum}.", "invalid")
    return int(text)


def charge_point_filter(request: Request, rows: Any) -> Any:
    """Rows of the charge point whose identity is the parameter `charge_point`.

    Its id is looked up first: the newest rows of one id are read from an index, those of a joined name are sorted.
    """
    identity = request.query_params.get("charge_point")
    if identity is None:
        return rows
    return rows.filter(charge_point=ChargePoint.objects.filter(identity=identity).order_by().values("pk")[:1])


def site_filter(request: Request, rows: Any, lookup: str) -> Any:
    """Rows of the site whose slug is the parameter `site`."""
    slug = request.query_params.get("site")
    return rows if slug is None else rows.filter(**{lookup: slug})
