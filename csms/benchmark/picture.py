"""The picture of a run: bars in an SVG file, which any browser shows. Written by hand; it needs no library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from xml.sax.saxutils import escape

from csms.benchmark.report import ratios
from csms.benchmark.results import ECHO, Measurement, Results

WIDTH, LABELS, VALUES = 960, 330, 150
BAR, GAP, HEADING, MARGIN = 16, 6, 34, 16
COLOURS = {"echo": "#8a8f98", "SQLite": "#2f7ebc", "PostgreSQL": "#1d5e3c"}
OTHER_COLOUR = "#7a4fa3"


@dataclass
class Bar:
    label: str
    value: float
    text: str


@dataclass
class Chart:
    """Bars of one unit, the longest as wide as there is room."""

    title: str
    bars: list[Bar]


def svg(results: Results) -> str:
    """Everything measured, one chart below the other."""
    charts = [chart for chart in _charts(results) if chart.bars]
    lines: list[str] = []
    y = MARGIN + HEADING
    lines.append(_text(MARGIN, MARGIN + 14, "CSMS benchmark", size=18, bold=True))
    facts = f"{results.machine.get('Processor', '')}, {results.machine.get('Cores', '')} cores"
    lines.append(_text(MARGIN, MARGIN + 34, facts, size=12))
    for chart in charts:
        y += HEADING
        lines.append(_text(MARGIN, y - 8, chart.title, size=14, bold=True))
        longest = max(bar.value for bar in chart.bars) or 1.0
        for bar in chart.bars:
            width = max(1.0, (WIDTH - LABELS - VALUES - 2 * MARGIN) * bar.value / longest)
            colour = next((found for name, found in COLOURS.items() if bar.label.startswith(name)), OTHER_COLOUR)
            lines.append(_text(MARGIN + LABELS - 8, y + BAR - 4, bar.label, size=12, end=True))
            lines.append(
                f'<rect x="{MARGIN + LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
            )
            lines.append(_text(MARGIN + LABELS + width + 6, y + BAR - 4, bar.text, size=12))
            y += BAR + GAP
    height = y + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" fill="#1c1f23">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(lines) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, *, size: int, bold: bool = False, end: bool = False) -> str:
    attributes = f'x="{x:.0f}" y="{y:.0f}" font-size="{size}"'
    attributes += ' font-weight="600"' * bold + ' text-anchor="end"' * end
    return f"<text {attributes}>{escape(text)}</text>"


# --- what to draw -----------------------------------------------------------------------------------------------------
def _charts(results: Results) -> Iterator[Chart]:
    plan = results.plan
    for count in sorted(plan.stations):
        measured = [m for m in results.of_phase("meter-values") if m.stations == count]
        yield Chart(f"MeterValues a second, {count} charge points", list(_rates(measured)))
    authorize = [*results.of_phase("authorize alone"), *results.of_phase("authorize"), *results.of_phase("sampling")]
    yield Chart("Authorize, 99 of 100 answered within ms", list(_authorize(authorize)))
    yield Chart("Messages a second by connected charge points", list(_actions(results.of_phase("actions"))))
    yield Chart(
        "Memory of an idle charge point, KiB",
        [_bar(f"{m.target}, {m.sockets:,} sockets", m.bytes_a_socket / 1024, "{:.1f} KiB") for m in results.memory],
    )
    yield Chart(
        "Back after a cut, all answered, s",
        [
            _bar(f"{storm.target}, {storm.stations:,} charge points", storm.seconds, "{:.1f} s")
            for storm in results.storms
        ],
    )
    yield Chart(
        "One command to many, all answered, s",
        [
            _bar(f"{bulk.target}, {bulk.stations:,} charge points", bulk.answered_seconds, "{:.2f} s")
            for bulk in results.bulks
        ],
    )
    yield Chart("MeterValues a second by stored meter values", list(_data(results.of_phase("data"))))
    slowest = sorted(results.pages, key=lambda page: -page.p95_ms)[:8]
    yield Chart(
        "The slowest lists, 95 of 100 answered within ms",
        [_bar(f"{page.name} ({page.rows:,} rows)", page.p95_ms, "{:.0f} ms") for page in slowest],
    )
    yield Chart("MeterValues a second by server processes", list(_processes(results.of_phase("processes"))))


def _bar(label: str, value: float, shown: str) -> Bar:
    return Bar(label, value, shown.format(value))


def _rates(measured: list[Measurement]) -> Iterator[Bar]:
    base = [m for m in measured if m.target == ECHO]
    for target in dict.fromkeys(m.target for m in measured):
        rounds = [m for m in measured if m.target == target]
        rate, compared = median(m.rate for m in rounds), ratios(base, rounds)
        share = f" ({median(compared):.0%} of the echo)" if compared and target != ECHO else ""
        yield Bar(target, rate, f"{rate:,.0f}{share}")


def _authorize(measured: list[Measurement]) -> Iterator[Bar]:
    load = {"authorize alone": "alone", "sampling": "while {:,} sample", "authorize": "under full load of {:,}"}
    for target, phase, stations in dict.fromkeys((m.target, m.phase, m.stations) for m in measured):
        same = [m for m in measured if (m.target, m.phase, m.stations) == (target, phase, stations)]
        p99 = median(m.group("Authorize").p99_ms for m in same)
        yield _bar(f"{target}, {load[phase].format(stations)}", p99, "{:.1f} ms")


def _actions(measured: Iterable[Measurement]) -> Iterator[Bar]:
    for m in sorted(measured, key=lambda m: (m.target, m.groups[0].action, m.connected)):
        for group in m.groups:
            yield Bar(
                f"{m.target}, {group.action}, {m.connected:,}",
                group.rate,
                f"{group.rate:,.0f} (p99 {group.p99_ms:.0f} ms)",
            )


def _data(measured: list[Measurement]) -> Iterator[Bar]:
    for rows in dict.fromkeys(m.rows for m in measured):
        yield _bar(f"{rows:,} rows", median(m.rate for m in measured if m.rows == rows), "{:,.0f}")


def _processes(measured: list[Measurement]) -> Iterator[Bar]:
    for stations, processes in sorted({(m.stations, m.processes) for m in measured}):
        same = [m for m in measured if m.stations == stations]
        rounds = [m for m in same if m.processes == processes]
        gain = ratios([m for m in same if m.processes == 1], rounds)
        shown = f" ({median(gain):.2f} of one)" if processes > 1 and gain else ""
        rate = median(m.rate for m in rounds)
        yield Bar(f"{processes} process(es), {stations:,} charge points", rate, f"{rate:,.0f}{shown}")
