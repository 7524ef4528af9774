"""Lists by cursor: a page begins after a row, not after a number of rows, so page 1,000 costs what page 1 costs."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from tenants.api.problems import bad_request

DEFAULT_SIZE, MAX_SIZE = 50, 500
PARAMETERS = frozenset({"cursor", "page_size", "count"})


class NewestFirstPagination(BasePagination):
    """`results`, `next`, `previous` (URLs or null); `count` only when asked for with ?count=true.

    Rows come in descending order of the view's `cursor_fields` (default: the primary key), which must be unique
    together. The cursor holds their values at the edge of the page, and the direction.
    """

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        self._request = request
        self._fields: tuple[str, ...] = getattr(view, "cursor_fields", ("pk",))
        size = _page_size(request, getattr(view, "default_page_size", DEFAULT_SIZE))
        self._count = queryset.count() if _wants_count(request) else None
        values, backwards = self._cursor(request)
        if values is not None:
            queryset = queryset.filter(_beyond(self._fields, values, backwards))
        order = [field if backwards else f"-{field}" for field in self._fields]
        rows = list(queryset.order_by(*order)[: size + 1])
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

    def _cursor(self, request: Request) -> tuple[list[Any] | None, bool]:
        text = request.query_params.get("cursor")
        if text is None:
            return None, False
        try:
            backwards, *values = orjson.loads(base64.urlsafe_b64decode(text.encode() + b"=="))
            if type(backwards) is not bool or len(values) != len(self._fields):
                raise ValueError
            for index, value in enumerate(values):
                if isinstance(value, str):
                    values[index] = datetime.fromisoformat(value)
                elif type(value) is not int or not -(2**63) <= value < 2**63:
                    raise ValueError
        except (ValueError, TypeError, binascii.Error):
            raise bad_request("/cursor", "This is not a cursor from `next` or `previous`.", "invalid_cursor") from None
        return values, backwards

    def _link(self, row: Any, *, backwards: bool) -> str:
        values = [getattr(row, field) for field in self._fields]
        packed = orjson.dumps([backwards, *(v.isoformat() if isinstance(v, datetime) else v for v in values)])
        url = remove_query_param(self._request.build_absolute_uri(), "count")
        cursor = base64.urlsafe_b64encode(packed).decode().rstrip("=")
        return str(replace_query_param(url, "cursor", cursor))


def _beyond(fields: tuple[str, ...], values: list[Any], backwards: bool) -> Q:
    """Rows strictly beyond `values` in the order of the page: a row comparison, written out."""
    operator = "gt" if backwards else "lt"
    condition = Q()
    for index, (field, value) in enumerate(zip(fields, values, strict=True)):
        equal = Q(**dict(zip(fields[:index], values[:index], strict=True)))
        condition |= equal & Q(**{f"{field}__{operator}": value})
    return condition


def _page_size(request: Request, default: int) -> int:
    text = request.query_params.get("page_size")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_SIZE):
        raise bad_request("/page_size", f"A whole number from 1 to {MAX_SIZE}.", "out_of_range")
    return int(text)


def _wants_count(request: Request) -> bool:
    text = request.query_params.get("count", "false")
    if text not in ("true", "false"):
        raise bad_request("/count", "true or false.", "invalid")
    return text == "true"
