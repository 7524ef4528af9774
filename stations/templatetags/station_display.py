"""Filters for the templates of charge points: the same words and colours as in the lists."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from django import template
from django.utils import timezone

import tenants.display
from stations import display

register = template.Library()

FILTERS: dict[str, Callable[..., Any]] = {
    "ago": tenants.display.ago,
    "badge": tenants.display.badge,
    "command_badge": display.command_badge,
    "connection_dot": display.connection_dot,
    "doubt_badges": display.doubt_badges,
    "effect_link": display.effect_link,
    "energy": display.energy,
    "flag_badges": display.flag_badges,
    "moment": tenants.display.moment,
    "power": display.power,
    "present_status_badge": display.present_status_badge,
    "pretty_json": tenants.display.pretty_json,
    "registration_badge": display.registration_badge,
    "reservation_badge": display.reservation_badge,
    "shown_payload": display.shown_payload,
    "shown_response": display.shown_response,
    "status_badge": display.status_badge,
    "transaction_link": display.transaction_link,
}
for name, function in FILTERS.items():
    register.filter(name, function)


@register.filter
def milliseconds(value: float | None) -> str:
    """Milliseconds with as many decimals as they deserve."""
    if value is None:
        return tenants.display.DASH
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


@register.filter
def compact_json(value: Any) -> str:
    """JSON on one line."""
    return orjson.dumps(value, default=str).decode()


@register.filter
def clock(at: datetime) -> str:
    """A time of day to the millisecond, with the day when it was not today."""
    local = timezone.localtime(at)
    day = "" if local.date() == timezone.localdate() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


@register.filter
def words(code: str) -> str:
    """A stable code as words."""
    return code.replace("_", " ")


@register.filter
def unlocalized(value: float) -> str:
    """A number for SVG: with a point, whatever the language."""
    return str(value)
