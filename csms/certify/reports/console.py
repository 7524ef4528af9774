"""The run on the terminal: a progress bar while it lasts, then the tables of the certificate."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from csms.certify.registry import CertificationCase
from csms.certify.reports.wording import (
    COLUMNS,
    DIRECTIONS,
    OUTCOMES,
    ROW_OUTCOMES,
    TITLE,
    clock,
    counts,
    moment,
    number_of_cases,
    seconds,
    shown,
    verdict,
)
from csms.certify.results import CaseResult, Outcome, Report

STYLES = {"Passed": "bold green", "Failed": "bold red"}


class Display:
    """Shows each case as it ends: a bar on a terminal, a plain line a case elsewhere. Give it to the runner."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
                console=console,
            )
            self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description="")
            self._progress.stop()

    def __call__(self, case: CertificationCase, result: CaseResult | None) -> None:
        if self._progress is None:
            if result is not None:
                self._line(result)
            return
        if result is None:
            self._progress.update(self._task, description=f"{case.id} {case.title}")
            return
        self._progress.advance(self._task)
        if result.outcome == Outcome.FAILED:
            self._line(result)

    def _line(self, result: CaseResult) -> None:
        word = OUTCOMES[result.outcome]
        self._console.print(
            Text.assemble(f"{result.id:<14}", (f"{word:<15}", STYLES.get(word, "yellow")), result.title), soft_wrap=True
        )
        if result.reason:
            self._console.print(Text(f"{'':<14}{result.reason}"), soft_wrap=True)


def print_report(console: Console, report: Report) -> None:
    """The tables of the certificate and the frames of every failed case."""
    for one in report.failures:
        _print_failure(console, one)
    for one in report.warned:
        for sentence in one.warnings:
            console.print(Text(f"{one.id} warning: {sentence}", "yellow"), soft_wrap=True)
    console.print()
    console.print(Text(f"{TITLE}, {moment(report)}", "bold"))
    console.print(_functionality(report))
    if report.performance:
        console.print(_performance(report))
    console.print(_facts({**report.software, **report.configuration}))
    for sentence in report.left_behind:
        console.print(Text(sentence), soft_wrap=True)
    word, sentence = verdict(report)
    console.print(Text.assemble((word, STYLES.get(word, "bold yellow")), f": {sentence}"), soft_wrap=True)


def print_cases(console: Console, cases: Sequence[CertificationCase]) -> None:
    """The table of `--list`."""
    table = Table("Case", "Title", "Functionality")
    for case in cases:
        table.add_row(case.id, case.title, case.row.value)
    console.print(table)
    console.print(number_of_cases(len(cases)))


def _print_failure(console: Console, one: CaseResult) -> None:
    console.print()
    console.print(Text.assemble((f"{one.id} {one.title}: ", "bold red"), one.reason), soft_wrap=True)
    for line in one.frames:
        when = f"  {clock(line.at)} {DIRECTIONS[line.direction]:<12} "
        console.print(Text.assemble((when, "dim"), shown(line.text)), soft_wrap=True)


def _functionality(report: Report) -> Table:
    table = Table("Functionality", "Result")
    table.add_column("Cases passed", justify="right")
    for row in report.rows:
        word = ROW_OUTCOMES[row.outcome]
        table.add_row(row.row.value, Text(word, STYLES.get(word, "yellow")), counts(row))
    return table


def _performance(report: Report) -> Table:
    table = Table("In seconds")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for figures in report.performance:
        values = (figures.minimum, figures.average, figures.p95, figures.maximum)
        table.add_row(figures.name, str(figures.count), *map(seconds, values))
    return table


def _facts(facts: dict[str, str]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(Text(name, "dim"), Text(value, overflow="fold"))
    return table
