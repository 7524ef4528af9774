"""The schema of a page of a list."""

from __future__ import annotations

from typing import Any

from tenants.api.schema import obj


def page_schema(item: dict[str, Any]) -> dict[str, Any]:
    """A page whose `results` are `item`s."""
    link = {"type": ["string", "null"], "format": "uri"}
    return obj(
        optional=("count",),
        results={"type": "array", "items": item},
        next=link,
        previous=link,
        count={"type": "integer", "description": "Only with `?count=true`."},
    )
