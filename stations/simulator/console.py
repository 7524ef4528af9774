"""How a run looks in a terminal: a progress line while it goes on, tables when it is over."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .options import FleetOptions
from .statistics import ActionSummary, FleetProgress, FleetSummary


class ProgressDisplay:
    """A progress bar; a context manager whose `show` is the `on_progress` of run_fleet.

    The bar follows what ends the run: the rounds or the time; without an end it shows how many stations are connected.
    """

    def __init__(self, console: Console, options: FleetOptions, *, enabled: bool) -> None:
        self._options = options
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not enabled,
        )
        self._task = self._progress.add_task("Simulating", total=1.0, counts="connecting")

    def __enter__(self) -> Callable[[FleetProgress], None]:
        self._progress.start()
        return self.show

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, now: FleetProgress) -> None:
        options = self._options
        if options.transactions is not None:
            done, total = float(now.rounds_done), float(now.stations * options.transactions)
        elif options.duration_seconds is not None:
            done, total = min(now.elapsed_seconds, options.duration_seconds), options.duration_seconds
        else:
            done, total = float(now.connected), float(now.stations)
        style = "red" if now.errors else "green"
        counts = (
            f"{now.connected}/{now.stations} connected  {now.charging} charging  {now.rounds_done} done  "
            f"{now.energy_kwh:.1f} kWh  {now.messages} messages  [{style}]{now.errors} errors[/{style}]"
        )
        self._progress.update(self._task, completed=done, total=total, counts=counts)


def print_summary(console: Console, summary: FleetSummary) -> None:
    """Print the tables of a finished run: what happened, response times by action, what went wrong."""
    facts = Table(box=box.SIMPLE, show_header=False, title="Simulation", title_justify="left", title_style="bold")
    facts.add_column(style="dim")
    facts.add_column(justify="right")
    for name, value in (
        ("Stations", f"{summary.stations}"),
        ("Duration", f"{summary.seconds:.1f} s"),
        ("Connects", f"{summary.connects}"),
        ("Reconnects", f"{summary.reconnects}"),
        ("Connections lost", f"{summary.connections_lost}"),
        ("Server not reached", f"{summary.unreachable} times"),
        ("Rounds", f"{summary.rounds}"),
        ("Transactions started", f"{summary.transactions_started}"),
        ("Transactions stopped", f"{summary.transactions_stopped}"),
        ("Refused idTags", f"{summary.refused_id_tags}"),
        ("Energy", f"{summary.energy_kwh:.2f} kWh"),
        ("Messages", f"{summary.messages_per_second:.1f} per s"),
    ):
        facts.add_row(name, value)
    console.print(facts)

    if summary.actions:
        times = Table(box=box.SIMPLE, title="Response times", title_justify="left", title_style="bold")
        times.add_column("Message")
        for heading in ("Count", "Average ms", "p95 ms", "Max ms"):
            times.add_column(heading, justify="right")
        for action in summary.actions:
            _add_times(times, action.action, action)
        times.add_section()
        _add_times(times, "all", summary.overall)
        console.print(times)

    if summary.commands_received:
        commands = Table(box=box.SIMPLE, title="Answered commands", title_justify="left", title_style="bold")
        commands.add_column("Message")
        commands.add_column("Count", justify="right")
        for name, count in summary.commands_received.items():
            commands.add_row(name, str(count))
        console.print(commands)

    console.print(_verdict(summary))


def _add_times(table: Table, name: str, times: ActionSummary) -> None:
    figures = (times.average_ms, times.p95_ms, times.max_ms)
    table.add_row(name, str(times.count), *(f"{figure:.1f}" for figure in figures))


def _verdict(summary: FleetSummary) -> Table | Text:
    failures = failure_lines(summary)
    if not failures:
        return Text("Nothing failed: no CALLERROR, no timeout, no refused handshake.", style="green")
    table = Table(box=box.SIMPLE, show_header=False, title="Failures", title_justify="left", title_style="bold red")
    table.add_column(overflow="fold")
    for line in failures:
        table.add_row(Text(line))
    return table


def failure_lines(summary: FleetSummary) -> list[str]:
    """Return one sentence for each kind of failure, the worst first; empty when nothing failed."""
    lines = [f"Handshake refused with {status}: {count}" for status, count in summary.refused_handshakes.items()]
    lines += [f"{identity} gave up: {why}" for identity, why in list(summary.gave_up.items())[:10]]
    if len(summary.gave_up) > 10:
        lines.append(f"... and {len(summary.gave_up) - 10} more stations gave up")
    lines += [f"CALLERROR {what}: {count}" for what, count in summary.call_errors.items()]
    lines += [f"Timeout {action}: {count}" for action, count in summary.timeouts.items()]
    if summary.undelivered:
        lines.append(f"Transaction messages not delivered: {summary.undelivered}")
    return lines + summary.problems
