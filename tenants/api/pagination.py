"""Lists by cursor: a page begins after a row, not after a number of rows, so page 1,000 costs what page 1 costs."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
from django.db import models
from django.db.models import Q, QuerySet
from django.http import QueryDict
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.problems import bad_request
from tenants.api.requests import absolute, raw_path

DEFAULT_SIZE, MAX_SIZE = 50, 500
PARAMETERS = frozenset({"cursor", "page_size", "count"})
NEWEST_FIRST = ("-pk",)


class NewestFirstPagination(BasePagination):
    """`results`, `next`, `previous` (URLs or null); `count` only when asked for with ?count=true.

    Rows come in the view's `cursor_order`, names of fields as for order_by() that must be unique together and share
    one direction. The cursor holds their values at the edge of the page, and whether the page ends there.
    """

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        self._request = request
        order: tuple[str, ...] = getattr(view, "cursor_order", NEWEST_FIRST)
        self._fields = [name.removeprefix("-") for name in order]
        descending = order[0].startswith("-")
        size = page_size(request, getattr(view, "default_page_size", DEFAULT_SIZE))
        self._count = queryset.count() if wants_count(request) else None
        values, backwards = self._cursor(request, queryset.model)
        if values is not None:
            queryset = queryset.filter(_beyond(self._fields, values, "lt" if descending != backwards else "gt"))
        sign = "-" if descending != backwards else ""
        rows = list(queryset.order_by(*(f"{sign}{field}" for field in self._fields))[: size + 1])
        more = len(rows) > size
        rows = rows[:size]
        if backwards:
            rows.reverse()
        self._has_previous = more if backwards else values is not None
        self._has_next = True if backwards else more
        self._rows = rows
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        body: dict[str, Any] = {
            "results": data,
            "next": self._link(self._rows[-1], backwards=False) if self._rows and self._has_next else None,
            "previous": self._link(self._rows[0], backwards=True) if self._rows and self._has_previous else None,
        }
        if self._count is not None:
            body["count"] = self._count
        return Response(body)

    def _cursor(self, request: Request, model: type[models.Model]) -> tuple[list[Any] | None, bool]:
        text = request.query_params.get("cursor")
        if text is None:
            return None, False
        try:
            backwards, *packed = orjson.loads(base64.b64decode(text.encode() + b"==", altchars=b"-_", validate=False))
            if type(backwards) is not bool or len(packed) != len(self._fields):
                raise ValueError
            values = [_unpacked(model, name, value) for name, value in zip(self._fields, packed, strict=True)]
        except (ValueError, TypeError, OverflowError):
            raise bad_request("/cursor", "This is not a cursor from `next` or `previous`.", "invalid_cursor") from None
        return values, backwards

    def _link(self, row: Any, *, backwards: bool) -> str:
        packed = orjson.dumps([backwards, *(getattr(row, field) for field in self._fields)])
        query = QueryDict(mutable=True)
        query.update(self._request.query_params)
        query.pop("count", None)
        query["cursor"] = base64.urlsafe_b64encode(packed).decode().rstrip("=")
        request = self._request._request
        return absolute(request, f"{raw_path(request)}?{query.urlencode()}")


def _unpacked(model: type[models.Model], name: str, value: Any) -> Any:
    """A value of a cursor as its column has it; ValueError for what we never put into one."""
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if isinstance(field, models.DateTimeField):
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError
        return at.astimezone(UTC)
    if isinstance(field, models.IntegerField):
        if type(value) is not int or not -(2**63) <= value < 2**63:
            raise ValueError
        return value
    if type(value) is not str or "\x00" in value:
        raise ValueError
    return value


def _beyond(fields: list[str], values: list[Any], operator: str) -> Q:
    """Rows strictly beyond `values`: a row comparison, written out so that an index on the first field serves it."""
    condition = Q(**{f"{fields[0]}__{operator}e": values[0]}) if len(fields) > 1 else Q()
    alternatives = Q()
    for index, (field, value) in enumerate(zip(fields, values, strict=True)):
        equal = Q(**dict(zip(fields[:index], values[:index], strict=True)))
        alternatives |= equal & Q(**{f"{field}__{operator}": value})
    return condition & alternatives


def page_size(request: Request, default: int = DEFAULT_SIZE) -> int:
    """The parameter `page_size`; raises 400."""
    text = request.query_params.get("page_size")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_SIZE):
        raise bad_request("/page_size", f"A whole number from 1 to {MAX_SIZE}.", "out_of_range")
    return int(text)


def wants_count(request: Request) -> bool:
    """The parameter `count`; raises 400."""
    text = request.query_params.get("count", "false")
    if text not in ("true", "false"):
        raise bad_request("/count", "true or false.", "invalid")
    return text == "true"
