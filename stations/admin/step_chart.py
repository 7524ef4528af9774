"""Step charts of charging limits, drawn as SVG by the server: limits hold until they change, so there are no slopes.

Drawn here like the curves of the meter values (readings.py): what is computed once, by the rules that are tested, is
also what is shown. Seconds after the beginning are the x axis; where nothing limits there is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from stations.admin.readings import Tick

WIDTH, HEIGHT = 900, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 14, 30
MAX_STEPS = 2000
GRID_LINES = 5
# Distances of the lines of the time axis, in seconds.
TIME_STEPS = (1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
MAX_TIME_LINES = 9
# (from second, limit); None: no limit. Ascending.
Steps = Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Series:
    """One step function: its name in the legend, the suffix of its CSS class, and its steps."""

    name: str
    style: str
    steps: Steps


@dataclass(frozen=True, slots=True)
class Line:
    """A series in the picture: `path` is its line, `area` what is under it."""

    name: str
    style: str
    path: str
    area: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A stretch of the time axis and the text that is shown when it is pointed at."""

    x: float
    width: float
    label: str


@dataclass(frozen=True, slots=True)
class StepChart:
    """A picture of WIDTH x HEIGHT.

    `spots` are the stretches on which no series changes, `bands` the marked ones, `rule` a limit drawn all across.
    """

    title: str
    unit: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    spots: list[Spot]
    bands: list[Spot] = field(default_factory=list)
    rule: Tick | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM
    top: int = TOP
    plot_height: int = HEIGHT - TOP - BOTTOM


def step_chart(
    title: str,
    unit: str,
    span_seconds: int,
    series: Sequence[Series],
    *,
    begin: datetime | None = None,
    bands: Sequence[tuple[int, int, str]] = (),
    rule: tuple[float, str] | None = None,
) -> StepChart:
    """The picture of `series` over `span_seconds` (above 0).

    `begin`: the x axis shows times of day in the current time zone; without it, time since the beginning. `bands` are
    (from second, to second, text), `rule` is (limit, text). Series beyond MAX_STEPS steps are cut off there.
    """
    limits = [limit for one in series for _, limit in one.steps if limit is not None]
    highest = max([*limits, rule[0] if rule else 0.0, 0.0])
    step = _round_step(highest)
    top = step * max(1, -(-highest // step))

    def x_of(second: float) -> float:
        return round(LEFT + min(max(second, 0), span_seconds) / span_seconds * (WIDTH - LEFT - RIGHT), 1)

    def y_of(limit: float) -> float:
        return round(HEIGHT - BOTTOM - max(limit, 0.0) / top * (HEIGHT - TOP - BOTTOM), 1)

    def spot(first: int, last: int, label: str) -> Spot:
        return Spot(x_of(first), round(x_of(last) - x_of(first), 1), label)

    name_of = _clock(begin, span_seconds) if begin else duration_text
    shown = [
        Series(one.name, one.style, [each for each in one.steps if each[0] < span_seconds][:MAX_STEPS])
        for one in series
    ]
    decimals = 1 if step < 1 else 0
    return StepChart(
        title,
        unit,
        [_line(one, span_seconds, x_of, y_of) for one in shown],
        [Tick(x_of(second), name_of(second)) for second in _time_lines(begin, span_seconds)],
        [Tick(y_of(step * n), f"{step * n:.{decimals}f}") for n in range(round(top / step) + 1)],
        [spot(*stretch) for stretch in _stretches(shown, unit, span_seconds, name_of)],
        [spot(first, last, label) for first, last, label in bands if first < span_seconds],
        Tick(y_of(rule[0]), rule[1]) if rule else None,
    )


def _line(one: Series, span: int, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> Line:
    ends = [second for second, _ in one.steps[1:]] + [span]
    path: list[str] = []
    area: list[str] = []
    before: float | None = None
    for (second, limit), end in zip(one.steps, ends, strict=True):
        if limit is not None:
            left, right, height = x_of(second), x_of(end), y_of(limit)
            path.append(f"M{left},{height}" if before is None else f"V{height}")
            path.append(f"H{right}")
            area.append(f"M{left},{y_of(0)}V{height}H{right}V{y_of(0)}Z")
        before = limit
    return Line(one.name, one.style, "".join(path), "".join(area))


def _stretches(
    series: Sequence[Series], unit: str, span: int, name_of: Callable[[int], str]
) -> Iterator[tuple[int, int, str]]:
    """(from, to, text) wherever no series changes; the text names the limit of each."""
    following = [0] * len(series)
    values: list[float | None] = [None] * len(series)
    points = sorted({second for one in series for second, _ in one.steps})
    for second, end in zip(points, [*points[1:], span], strict=True):
        for index, one in enumerate(series):
            if following[index] < len(one.steps) and one.steps[following[index]][0] == second:
                values[index] = one.steps[following[index]][1]
                following[index] += 1
        texts = [
            f"{one.name}: {'no limit' if value is None else f'{value:.1f} {unit}'}"
            for one, value in zip(series, values, strict=True)
        ]
        yield second, end, "\n".join((f"{name_of(second)} to {name_of(end)}", *texts))


def _round_step(highest: float) -> float:
    """A round distance of grid lines for limits up to `highest`."""
    if highest <= 0:
        return 1.0
    size = 10.0 ** (len(str(int(highest))) - 2)
    return next(size * factor for factor in (0.5, 1, 2, 5, 10, 20) if size * factor * GRID_LINES >= highest)


def _time_lines(begin: datetime | None, span: int) -> list[int]:
    """Seconds at which the grid has a line: round times of day, or round distances."""
    step = next((step for step in TIME_STEPS if span / step < MAX_TIME_LINES), span // (MAX_TIME_LINES - 1))
    if begin is None:
        return list(range(0, span + 1, step))
    local = timezone.localtime(begin)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    first = -int((local - midnight).total_seconds()) % step
    return list(range(first, span + 1, step))


def _clock(begin: datetime, span: int) -> Callable[[int], str]:
    form = "%H:%M:%S" if span < 600 else "%H:%M"
    if span > 2 * 86_400:
        form = "%d %b"
    elif span > 86_400:
        form = "%a %H:%M"
    return lambda second: timezone.localtime(begin + timedelta(seconds=second)).strftime(form)


def duration_text(seconds: int) -> str:
    """Seconds as h:mm, or h:mm:ss where that matters."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}" if not left else f"{hours}:{minutes:02d}:{left:02d}"
