"""The tables of a run. Every figure is the median of the rounds, with the lowest and the highest behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from csms.benchmark.run import ECHO, Measurement, Profile, Results

# Above this share of a core the load client may have been what was measured.
CLIENT_LIMIT = 0.8
# Processor time of a function that is worth naming, a message.
SHOWN_MICROS = 0.5


def show(console: Console, results: Results) -> None:
    """Print everything in `results`."""
    console.print(_machine(results))
    for phase, title in (
        ("meter-values", f"MeterValues of {results.plan.samples} samples, {results.plan.stations} charge points"),
        ("authorize alone", "Authorize, one charge point and no other load"),
        ("authorize", f"Authorize, {results.plan.authorizing} charge points, while the others send MeterValues"),
    ):
        measured = [measurement for measurement in results.measurements if measurement.phase == phase]
        if measured:
            action = "MeterValues" if phase == "meter-values" else "Authorize"
            console.print(_speed(title, measured, action))
    if results.memory:
        console.print(_memory(results))
    for profile in results.profiles:
        console.print(_layers(profile))
    for sentence in _sentences(results):
        console.print(sentence, highlight=False)


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
    table = Table(title=title, title_justify="left")
    table.add_column("Server")
    targets = _by_target(measured)
    compared, mixed = action == "MeterValues" and ECHO in targets, len(measured[0].groups) > 1
    headings = ["messages/s", "of the echo" * compared, "p50 ms", "p99 ms", "MeterValues/s" * mixed]
    for heading in filter(None, [*headings, "CPU s of the server", "of PostgreSQL", "client busy"]):
        table.add_column(heading, justify="right")
    for target, rounds in targets.items():
        groups = [measurement.group(action) for measurement in rounds]
        row = [target, _spread((group.rate for group in groups), _rate)]
        if compared:
            row.append(_spread(ratios(targets[ECHO], rounds), _percent) if target != ECHO else "")
        row.append(_spread((group.p50_ms for group in groups), _milliseconds))
        row.append(_spread((group.p99_ms for group in groups), _milliseconds))
        if mixed:
            row.append(_spread((measurement.group("MeterValues").rate for measurement in rounds), _rate))
        row.append(_spread((cost(measurement, measurement.server_cpu_seconds) for measurement in rounds), _seconds))
        by_database = [cost(m, m.database_cpu_seconds) for m in rounds if m.database_cpu_seconds is not None]
        row.append(_spread(by_database, _seconds))
        row.append(_spread((m.client_cpu_seconds / m.seconds for m in rounds), _percent))
        table.add_row(*row)
    table.caption = "CPU seconds a thousand messages. Busy: share of one core."
    table.caption_justify = "left"
    return table


def _by_target(measured: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    targets: dict[str, list[Measurement]] = defaultdict(list)
    for measurement in measured:
        targets[measurement.target].append(measurement)
    return targets


def cost(measurement: Measurement, cpu_seconds: float) -> float:
    """CPU seconds a thousand messages."""
    return cpu_seconds * 1000 / measurement.answers


def ratios(echo: list[Measurement], rounds: list[Measurement]) -> list[float]:
    """Rate of each round by the echo's rate of the same round: what slowed the one will have slowed the other."""
    base = {measurement.round: measurement.rate for measurement in echo}
    return [measurement.rate / base[measurement.round] for measurement in rounds if measurement.round in base]


def _spread(values: Iterable[float], shown: Callable[[float], str]) -> str:
    ordered = sorted(values)
    if not ordered:
        return "–"
    middle = shown(median(ordered))
    return middle if len(ordered) == 1 else f"{middle} ({shown(ordered[0])}–{shown(ordered[-1])})"


def _rate(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.3f}"


# --- memory and profile -----------------------------------------------------------------------------------------------
def _memory(results: Results) -> Table:
    table = Table(title="Memory of an idle charge point (connected and booted)", title_justify="left")
    table.add_column("Server")
    for heading in ("before MiB", f"with {results.plan.idle_sockets} more MiB", "KiB a socket"):
        table.add_column(heading, justify="right")
    for memory in results.memory:
        table.add_row(
            memory.target,
            f"{memory.before_bytes / 2**20:.1f}",
            f"{memory.after_bytes / 2**20:.1f}",
            f"{memory.bytes_a_socket / 2**10:.1f}",
        )
    return table


def _layers(profile: Profile) -> Table:
    table = Table(title=f"Where the server's time goes, MeterValues: {profile.target}", title_justify="left")
    table.add_column("Layer")
    table.add_column("µs a message", justify="right")
    table.add_column("share", justify="right")
    table.add_column("of it in")
    layers: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for layer, function, seconds in profile.used:
        layers[layer].append((function, seconds / profile.answers * 1e6))
    everything = sum(micros for functions in layers.values() for _, micros in functions)
    totals = {layer: sum(micros for _, micros in functions) for layer, functions in layers.items()}
    for layer, functions in sorted(layers.items(), key=lambda item: -totals[item[0]]):
        named = [f"{function} {micros:.1f}" for function, micros in functions if function and micros >= SHOWN_MICROS]
        share = totals[layer] / everything
        table.add_row(layer, f"{totals[layer]:.1f}", _percent(share), ", ".join(named) if len(named) > 1 else "")
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
    targets = _by_target(measurement for measurement in results.measurements if measurement.phase == "meter-values")
    for target, rounds in targets.items():
        compared = ratios(targets.get(ECHO, []), rounds)
        if target != ECHO and compared:
            yield f"{target}: durable MeterValues at {_spread(compared, _percent)} of the bare echo."
    busiest = max((m.client_cpu_seconds / m.seconds for m in results.measurements), default=0.0)
    if busiest > CLIENT_LIMIT:
        yield f"The load client was busy for {busiest:.0%} of a core: the true rates may be higher."
