"""Meter values for people: other measurands in one line, and a chart of power and energy drawn as SVG by the server.

Drawn here rather than by a script: it needs no library, prints, and is tested as text. Times are the x axis, so a gap
in the readings is a gap in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from stations.meter_values import ENERGY, POWER, SOC

WIDTH, HEIGHT = 900, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 12, 28
MAX_POINTS = 400
TIME_STEPS = [timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080)]


def summary(sampled_value: Any) -> str:
    """The readings that have no column of their own: "Voltage L1 230.1 V, Current.Import L1 16 A"."""
    parts = []
    for sample in sampled_value if isinstance(sampled_value, list) else []:
        if not isinstance(sample, dict):
            continue
        measurand = sample.get("measurand", ENERGY)
        if measurand in (ENERGY, POWER, SOC) and not sample.get("phase"):
            continue
        words = (measurand, sample.get("phase"), sample.get("value"), sample.get("unit"))
        parts.append(" ".join(str(word) for word in words if word not in (None, "")))
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid: where it is in the picture, and what is written beside it."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One curve in a box of WIDTH x HEIGHT: points for the tooltips, paths for the line and the area under it."""

    title: str
    unit: str
    points: list[Point]
    line: str
    area: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM
    top: int = TOP


def chart(title: str, unit: str, values: Sequence[tuple[datetime, float]]) -> Chart | None:
    """The curve of `values` (time, amount in `unit`), oldest first; None for fewer than two."""
    values = thinned(values)
    if len(values) < 2 or values[0][0] == values[-1][0]:
        return None
    start, end = values[0][0], values[-1][0]
    span = (end - start).total_seconds()
    highest = max(max(amount for _, amount in values), 0.0)
    step, decimals = _step(highest)
    top = max(step, step * -(-highest // step))

    def x_of(at: datetime) -> float:
        return round(LEFT + (at - start).total_seconds() / span * (WIDTH - LEFT - RIGHT), 1)

    def y_of(amount: float) -> float:
        return round(HEIGHT - BOTTOM - max(amount, 0.0) / top * (HEIGHT - TOP - BOTTOM), 1)

    points = [
        Point(x_of(at), y_of(amount), f"{timezone.localtime(at):%H:%M:%S}  {amount:.{max(decimals, 1)}f} {unit}")
        for at, amount in values
    ]
    line = "M" + " L".join(f"{point.x},{point.y}" for point in points)
    floor = y_of(0)
    return Chart(
        title,
        unit,
        points,
        line,
        f"{line} L{points[-1].x},{floor} L{points[0].x},{floor} Z",
        [Tick(x_of(at), label) for at, label in _times(start, end)],
        [Tick(y_of(step * n), f"{step * n:.{decimals}f}") for n in range(round(top / step) + 1)],
    )


def thinned(values: Sequence[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
    """At most about MAX_POINTS of `values`, the first and the last among them."""
    stride = max(1, len(values) // MAX_POINTS)
    kept = list(values[::stride])
    return kept if not values or kept[-1] == values[-1] else [*kept, values[-1]]


def _step(highest: float) -> tuple[float, int]:
    """A round distance of grid lines for amounts up to `highest`, and the decimals that its multiples need."""
    if highest <= 0:
        return 1.0, 0
    size = 1.0
    while size > highest / 4:
        size /= 10
    while size * 10 <= highest / 4:
        size *= 10
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= highest / 5)
    decimals = 0
    while decimals < 6 and round(step, decimals) != round(step, 9):
        decimals += 1
    return step, decimals


def _times(start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Round local times between `start` and `end`, eight at most."""
    step = next((step for step in TIME_STEPS if (end - start) / step <= 8), (end - start) / 8)
    local = timezone.localtime(start)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + step * (-((midnight - local) // step))
    form = "%H:%M" if step < timedelta(days=1) else "%d %b"
    found = []
    while at <= end:
        found.append((at, at.strftime(form)))
        at += step
    return found
