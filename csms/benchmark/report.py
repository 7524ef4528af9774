"""The tables of a run. Every figure is the median of the rounds, with the lowest and the highest behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from csms.benchmark.results import ECHO, TUNED_ECHO, Group, Measurement, Page, Profile, Results, against

# Above this share of a core the load client may have been what was measured.
CLIENT_LIMIT = 0.8
# Processor time of a function that is worth naming, a message.
SHOWN_MICROS = 0.5
# A list is named when it got so much slower, or is so slow, in milliseconds.
SLOWER, SLOW_MS = 1.5, 100.0


def show(console: Console, results: Results) -> None:
    """Print everything in `results`."""
    console.print(_machine(results))
    for count in sorted(results.plan.stations):
        for phase, title in (
            ("meter-values", f"MeterValues of {results.plan.samples} samples, {count} charge points"),
            ("authorize alone", "Authorize, one charge point and no other load"),
            (
                "authorize",
                f"Authorize, {results.plan.authorizing} charge points, while {count} others send MeterValues",
            ),
        ):
            measured = [
                m for m in results.of_phase(phase) if m.stations == count or (phase == "authorize alone" and m.stations)
            ]
            if measured and not (phase == "authorize alone" and count != min(results.plan.stations)):
                action = "MeterValues" if phase == "meter-values" else "Authorize"
                console.print(_speed(title, measured, action))
    tables = (
        _actions(results.of_phase("actions")),
        _sampling(results.of_phase("sampling")),
        _compared(results),
        _memory(results),
        _storms(results),
        _bulks(results),
        _data(results.of_phase("data")),
        _pages(results.pages),
        _processes(results.of_phase("processes"), results.plan.share),
        *(_layers(profile) for profile in results.profiles),
    )
    for table in tables:
        if table.row_count:
            console.print(table)
    for sentence in _sentences(results):
        console.print(sentence, highlight=False)


def _table(title: str, first: str, *numbers: str, caption: str = "") -> Table:
    table = Table(title=title, title_justify="left", caption=caption or None, caption_justify="left")
    table.add_column(first)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _machine(results: Results) -> Table:
    table = Table(title="Machine", title_justify="left", show_header=False)
    for name, fact in results.machine.items():
        table.add_row(name, fact)
    for name, fact in results.databases.items():
        table.add_row(name, fact)
    return table


# --- speed ------------------------------------------------------------------------------------------------------------
def _speed(title: str, measured: list[Measurement], action: str) -> Table:
    """One row a server: the rate and latency of `action`, and what a message cost, all of the phase taken together."""
    targets = _by_target(measured)
    compared, mixed = action == "MeterValues" and ECHO in targets, len(measured[0].groups) > 1
    headings = ["messages/s", "of the echo" * compared, "p50 ms", "p99 ms", "MeterValues/s" * mixed]
    table = _table(
        title, "Server", *filter(None, [*headings, "CPU s of the server", "of PostgreSQL", "client busy"]),
        caption="CPU seconds a thousand messages. Busy: share of one core.",
    )  # fmt: skip
    for target, rounds in targets.items():
        groups = [measurement.group(action) for measurement in rounds]
        row = [target, spread((group.rate for group in groups), rate)]
        if compared:
            row.append(spread(ratios(targets[ECHO], rounds), percent) if target != ECHO else "")
        row.append(spread((group.p50_ms for group in groups), milliseconds))
        row.append(spread((group.p99_ms for group in groups), milliseconds))
        if mixed:
            row.append(spread((measurement.group("MeterValues").rate for measurement in rounds), rate))
        table.add_row(*row, *_costs(rounds))
    return table


def _costs(rounds: list[Measurement]) -> list[str]:
    """CPU of the server and of PostgreSQL for a thousand messages, and the client's share of a core."""
    by_database = [cost(m, m.database_cpu_seconds) for m in rounds if m.database_cpu_seconds is not None]
    return [
        spread((cost(measurement, measurement.server_cpu_seconds) for measurement in rounds), seconds),
        spread(by_database, seconds),
        spread((measurement.client_busy for measurement in rounds), percent),
    ]


def _by_target(measured: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    targets: dict[str, list[Measurement]] = defaultdict(list)
    for measurement in measured:
        targets[measurement.target].append(measurement)
    return targets


def cost(measurement: Measurement, cpu_seconds: float) -> float:
    """CPU seconds a thousand messages."""
    return cpu_seconds * 1000 / measurement.answers


def ratios(base: list[Measurement], rounds: list[Measurement]) -> list[float]:
    """Rate of each round by that of `base` in the same round: what slowed the one will have slowed the other."""
    rates = {measurement.round: measurement.rate for measurement in base}
    return [measurement.rate / rates[measurement.round] for measurement in rounds if measurement.round in rates]


def spread(values: Iterable[float], shown: Callable[[float], str]) -> str:
    """The median, and the lowest and the highest if there are several."""
    ordered = sorted(values)
    if not ordered:
        return "–"
    middle = shown(median(ordered))
    return middle if len(ordered) == 1 else f"{middle} ({shown(ordered[0])}–{shown(ordered[-1])})"


def rate(value: float) -> str:
    return f"{value:,.0f}"


def percent(value: float) -> str:
    return f"{value:.0%}"


def milliseconds(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def seconds(value: float) -> str:
    return f"{value:.3f}"


def times(value: float) -> str:
    return f"{value:.2f}"


# --- a fleet and a crowd ----------------------------------------------------------------------------------------------
def _actions(measured: list[Measurement]) -> Table:
    senders = max((measurement.stations for measurement in measured), default=0)
    table = _table(
        f"Actions, {senders} charge points sending", "Server", "connected", "action", "messages/s", "p50 ms", "p99 ms",
        "CPU s of the server", "of PostgreSQL", "client busy", caption="CPU seconds a thousand messages of the phase.",
    )  # fmt: skip
    for m in sorted(measured, key=lambda m: (m.target, m.connected)):
        for group in m.groups:
            figures = [rate(group.rate), milliseconds(group.p50_ms), milliseconds(group.p99_ms)]
            table.add_row(m.target, f"{m.connected:,}", group.action, *figures, *_costs([m]))
    return table


def _compared(results: Results) -> Table:
    """This checkout by the other one: rates and the latency of the slowest hundredth, each within its round."""
    table = _table(
        "This checkout by the other", "Server", "charge points", "what", "messages/s", "p99",
        caption="Of each round. More than 100 % of the messages a second is better, less of the p99.",
    )  # fmt: skip
    found: dict[tuple[str, int, str], dict[int, Group]] = defaultdict(dict)
    for m in results.measurements:
        for group in m.groups:
            beside = "" if len(m.groups) == 1 else f", {m.phase}"
            found[m.target, m.connected if m.phase == "actions" else m.stations, f"{group.action}{beside}"][m.round] = (
                group
            )
    for (target, stations, what), ours in found.items():
        theirs = found.get((against(target), stations, what), {})
        pairs = [(group, theirs[number]) for number, group in ours.items() if number in theirs]
        if pairs:
            rates = spread((mine.rate / other.rate for mine, other in pairs), percent)
            slowest = spread((mine.p99_ms / other.p99_ms for mine, other in pairs), percent)
            table.add_row(target, f"{stations:,}", what, rates, slowest)
    return table


def _sampling(measured: list[Measurement]) -> Table:
    samplers = max((measurement.stations for measurement in measured), default=0)
    table = _table(
        f"Authorize while {samplers:,} charge points sample every 10 s", "Server", "Authorize/s", "p50 ms", "p99 ms",
        "MeterValues/s", "p50 ms", "p99 ms", "server busy", "client busy",
        caption="Sent when due, whether or not the server is busy; latency counts from when it was due.",
    )  # fmt: skip
    for m in measured:
        figures = [
            shown(value)
            for group in (m.group("Authorize"), m.group("MeterValues"))
            for value, shown in ((group.rate, rate), (group.p50_ms, milliseconds), (group.p99_ms, milliseconds))
        ]
        table.add_row(m.target, *figures, percent(m.server_cpu_seconds / m.seconds), percent(m.client_busy))
    return table


def _memory(results: Results) -> Table:
    table = _table(
        "Memory of an idle charge point (connected and booted)", "Server", "sockets", "before MiB", "after MiB",
        "KiB a socket", "connected in s",
    )  # fmt: skip
    for memory in results.memory:
        table.add_row(
            memory.target,
            f"{memory.sockets:,}",
            f"{memory.before_bytes / 2**20:.1f}",
            f"{memory.after_bytes / 2**20:.1f}",
            f"{memory.bytes_a_socket / 2**10:.1f}",
            f"{memory.connect_seconds:.1f}",
        )
    return table


def _storms(results: Results) -> Table:
    table = _table(
        "Cut off at once and back at once: boot, and the status of two connectors", "Server", "charge points",
        "all connected s", "half done s", "99 % done s", "all done s", "turned away", "CPU s of the server",
        "of PostgreSQL", "client busy", caption="Seconds since the cut; CPU seconds in all.",
    )  # fmt: skip
    for storm in results.storms:
        table.add_row(
            storm.target,
            f"{storm.stations:,} of {storm.sockets:,}",
            *(f"{at:.1f}" for at in (storm.connected_seconds, storm.p50_seconds, storm.p99_seconds, storm.seconds)),
            f"{storm.turned_away:,}",
            f"{storm.server_cpu_seconds:.1f}",
            "–" if storm.database_cpu_seconds is None else f"{storm.database_cpu_seconds:.1f}",
            percent(storm.client_cpu_seconds / storm.seconds),
        )
    return table


def _bulks(results: Results) -> Table:
    table = _table(
        "One command to many charge points, by one REST request", "Server", "action", "charge points", "accepted s",
        "last sent s", "all answered s", "CPU s of the server",
    )  # fmt: skip
    for bulk in results.bulks:
        at = (bulk.accepted_seconds, bulk.sent_seconds, bulk.answered_seconds)
        figures = [f"{bulk.stations:,}", *(f"{value:.2f}" for value in at), f"{bulk.server_cpu_seconds:.2f}"]
        table.add_row(bulk.target, bulk.action, *figures)
    return table


# --- rows and processes -----------------------------------------------------------------------------------------------
def _data(measured: list[Measurement]) -> Table:
    table = _table(
        "MeterValues, by the meter values in the database before", "Rows", "messages/s", "times slower", "p50 ms",
        "p99 ms", "CPU s of the server", "of PostgreSQL", "client busy",
    )  # fmt: skip
    few = [m for m in measured if m.rows == measured[0].rows]
    for rows in dict.fromkeys(m.rows for m in measured):
        rounds = [m for m in measured if m.rows == rows]
        groups = [m.group("MeterValues") for m in rounds]
        table.add_row(
            f"{rows:,}",
            spread((m.rate for m in rounds), rate),
            spread((1 / ratio for ratio in ratios(few, rounds)), times) if rounds != few else "",
            spread((group.p50_ms for group in groups), milliseconds),
            spread((group.p99_ms for group in groups), milliseconds),
            *_costs(rounds),
        )
    return table


def _pages(pages: list[Page]) -> Table:
    sizes = list(dict.fromkeys(page.rows for page in pages))
    headings = [f"{name} ms, {rows:,} rows" for rows in sizes for name in ("p50", "p95")]
    table = _table("Lists", "Page", *headings, *(["times slower"] if len(sizes) > 1 else []), "KiB")
    for name in dict.fromkeys(page.name for page in pages):
        found = [page for page in pages if page.name == name]
        figures = [milliseconds(value) for page in found for value in (page.p50_ms, page.p95_ms)]
        slower = [times(found[-1].p50_ms / found[0].p50_ms)] if len(sizes) > 1 else []
        table.add_row(name, *figures, *slower, f"{found[-1].bytes / 1024:.0f}")
    return table


def _processes(measured: list[Measurement], share: float) -> Table:
    held = f", each held to {share:g} of a core" if share else ""
    table = _table(
        f"MeterValues by server processes{held}, PostgreSQL and Redis", "Processes", "charge points", "messages/s",
        "of one process", "p50 ms", "p99 ms", "CPU s of the server", "of PostgreSQL", "client busy",
    )  # fmt: skip
    for stations, processes in sorted({(m.stations, m.processes) for m in measured}):
        same = [m for m in measured if m.stations == stations]
        rounds = [m for m in same if m.processes == processes]
        groups = [m.group("MeterValues") for m in rounds]
        table.add_row(
            str(processes),
            f"{stations:,}",
            spread((m.rate for m in rounds), rate),
            spread(ratios([m for m in same if m.processes == 1], rounds), times) if processes > 1 else "",
            spread((group.p50_ms for group in groups), milliseconds),
            spread((group.p99_ms for group in groups), milliseconds),
            *_costs(rounds),
        )
    return table


def _layers(profile: Profile) -> Table:
    table = Table(title=f"Where the server's time goes, MeterValues: {profile.target}", title_justify="left")
    table.add_column("Layer")
    table.add_column("µs a message", justify="right")
    table.add_column("share", justify="right")
    table.add_column("of it in")
    layers: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for layer, function, cpu_seconds in profile.used:
        layers[layer].append((function, cpu_seconds / profile.answers * 1e6))
    everything = sum(micros for functions in layers.values() for _, micros in functions)
    totals = {layer: sum(micros for _, micros in functions) for layer, functions in layers.items()}
    for layer, functions in sorted(layers.items(), key=lambda item: -totals[item[0]]):
        named = [f"{function} {micros:.1f}" for function, micros in functions if function and micros >= SHOWN_MICROS]
        share = totals[layer] / everything
        table.add_row(layer, f"{totals[layer]:.1f}", percent(share), ", ".join(named) if len(named) > 1 else "")
    table.add_row("all", f"{everything:.1f}")
    table.caption = (
        f"At {profile.answers / profile.seconds:,.0f} messages/s; measuring this makes the server a little slower."
    )
    table.caption_justify = "left"
    return table


# --- in words ---------------------------------------------------------------------------------------------------------
def _sentences(results: Results) -> Iterable[str]:
    """What the tables come to, and what makes them doubtful."""
    for target, found in results.counted.items():
        yield f"{target}: all {found:,} acknowledged MeterValues are in the database, each once."
    for count in sorted(results.plan.stations):
        targets = _by_target(m for m in results.of_phase("meter-values") if m.stations == count)
        for target, rounds in targets.items():
            compared = ratios(targets.get(ECHO, []), rounds)
            if target != ECHO and compared:
                shown = spread(compared, percent)
                what = "messages" if target == TUNED_ECHO else "durable MeterValues"
                yield f"{target}: {what} of {count} charge points at {shown} of the bare echo."
    busy = [m.client_busy for m in results.measurements]
    busiest = max([*busy, *(s.client_cpu_seconds / s.seconds for s in results.storms)], default=0.0)
    if busiest > CLIENT_LIMIT:
        yield f"The load client was busy for {busiest:.0%} of a core: the true rates may be higher."
    yield from (*results.notes, *results.failures)
