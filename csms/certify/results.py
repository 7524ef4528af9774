"""What came of a run: cases, functionality rows, response times. `as_json` is the documented shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from csms.certify.charge_point import ResponseTime
from csms.certify.registry import CASES, Row
from csms.certify.transcript import Line

FORMAT = "csms-certification/1"


class Outcome(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case: `reason` is a sentence unless it passed, `warnings` tell what was tolerated; `frames` if it failed."""

    id: str
    title: str
    row: Row
    outcome: Outcome
    seconds: float
    reason: str = ""
    warnings: Sequence[str] = ()
    frames: Sequence[Line] = ()


class RowOutcome(StrEnum):
    """What can be said of a functionality row."""

    PASSED = "passed"  # every case that applies was run and passed
    FAILED = "failed"
    INCOMPLETE = "incomplete"  # none failed, but not all were run
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class RowResult:
    """One functionality row: its `cases` are those passed, failed, not applicable and not run."""

    row: Row
    cases: int
    passed: int
    failed: int
    not_applicable: int

    @property
    def not_run(self) -> int:
        return self.cases - self.passed - self.failed - self.not_applicable

    @property
    def applicable(self) -> int:
        return self.cases - self.not_applicable

    @property
    def outcome(self) -> RowOutcome:
        if self.failed:
            return RowOutcome.FAILED
        if not self.passed:
            return RowOutcome.NOT_RUN
        return RowOutcome.INCOMPLETE if self.not_run else RowOutcome.PASSED


@dataclass(frozen=True, slots=True)
class Figures:
    """Response times in seconds of `count` requests; `p95` by nearest rank."""

    name: str
    count: int
    minimum: float
    average: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, name: str, seconds: Iterable[float]) -> Figures | None:
        """None when nothing was measured."""
        ordered = sorted(seconds)
        if not ordered:
            return None
        p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
        return cls(name, len(ordered), ordered[0], sum(ordered) / len(ordered), p95, ordered[-1])


@dataclass
class Report:
    """A run. `configuration` and `software` are name and value, for reading; no secrets in either."""

    started_at: datetime
    software: dict[str, str]
    configuration: dict[str, str]
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    cases: list[CaseResult] = field(default_factory=list)
    response_times: list[ResponseTime] = field(default_factory=list)
    # What could not be removed from the tenant at the end.
    left_behind: list[str] = field(default_factory=list)
    # The run was ended before its last case.
    complete: bool = False

    @property
    def passed(self) -> bool:
        """Every chosen case was run and none failed; a run in which no case applied proves nothing."""
        return self.complete and not self.failures and any(one.outcome == Outcome.PASSED for one in self.cases)

    @property
    def failures(self) -> list[CaseResult]:
        return [one for one in self.cases if one.outcome == Outcome.FAILED]

    @property
    def rows(self) -> list[RowResult]:
        """All rows of the certificate that have cases, in its order, whether they were run or not."""
        results = []
        for row in Row:
            cases = sum(case.row == row for case in CASES)
            outcomes = [one.outcome for one in self.cases if one.row == row]
            if cases:
                results.append(RowResult(row, cases, *(outcomes.count(outcome) for outcome in Outcome)))
        return results

    @property
    def warned(self) -> list[CaseResult]:
        return [one for one in self.cases if one.warnings]

    @property
    def performance(self) -> list[Figures]:
        """Over all requests of the charge point, then Authorize alone."""
        everything = Figures.of("OCPP response time", (one.seconds for one in self.response_times))
        authorize = Figures.of(
            "Authorize response time", (one.seconds for one in self.response_times if one.action == "Authorize")
        )
        return [figures for figures in (everything, authorize) if figures is not None]

    def as_json(self) -> dict[str, Any]:
        """The report as docs/certification.md describes it; times are RFC 3339 in UTC, durations in seconds."""
        return {
            "format": FORMAT,
            "passed": self.passed,
            "complete": self.complete,
            "started_at": instant(self.started_at),
            "finished_at": instant(self.finished_at),
            "software": self.software,
            "configuration": self.configuration,
            "rows": [
                {
                    "name": row.row.value,
                    "outcome": row.outcome.value,
                    "cases": row.cases,
                    "passed": row.passed,
                    "failed": row.failed,
                    "not_applicable": row.not_applicable,
                    "not_run": row.not_run,
                }
                for row in self.rows
            ],
            "performance": [
                {
                    "name": figures.name,
                    "count": figures.count,
                    "min": round(figures.minimum, 6),
                    "average": round(figures.average, 6),
                    "p95": round(figures.p95, 6),
                    "max": round(figures.maximum, 6),
                }
                for figures in self.performance
            ],
            "cases": [
                {
                    "id": one.id,
                    "title": one.title,
                    "row": one.row.value,
                    "outcome": one.outcome.value,
                    "seconds": round(one.seconds, 3),
                    "reason": one.reason,
                    "warnings": list(one.warnings),
                    "frames": [
                        {"at": instant(line.at), "direction": line.direction.value, "text": line.text}
                        for line in one.frames
                    ],
                }
                for one in self.cases
            ],
            "left_behind": self.left_behind,
        }


def instant(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
