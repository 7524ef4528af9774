"""What every form of the report says in the same words."""

from __future__ import annotations

from datetime import UTC, datetime

from csms.certify.results import Outcome, Report, RowOutcome, RowResult
from csms.certify.transcript import Direction

TITLE = "OCPP 1.6-J central system"
SUBTITLE = "Report of a certification run"
DISCLAIMER = (
    "The cases follow the public descriptions of the compliance test of the Open Charge Alliance. This report is a "
    "self-test by the tool named above; it is not a certificate issued by the Open Charge Alliance."
)
PERFORMANCE_NOTE = (
    "Seconds from sending a request of the charge point to the arrival of its answer, network included, over all "
    "requests of the run. p95: 95 of 100 answers came within this time."
)
COLUMNS = ("Count", "Min", "Average", "p95", "Max")
# A frame longer than this is cut for people; the JSON report has it as it was kept.
MAX_SHOWN = 4000

OUTCOMES = {Outcome.PASSED: "Passed", Outcome.FAILED: "Failed", Outcome.NOT_APPLICABLE: "Not applicable"}
ROW_OUTCOMES = {
    RowOutcome.PASSED: "Passed",
    RowOutcome.FAILED: "Failed",
    RowOutcome.INCOMPLETE: "Incomplete",
    RowOutcome.NOT_RUN: "Not run",
}
DIRECTIONS = {
    Direction.SENT: "charge point",
    Direction.RECEIVED: "CSMS",
    Direction.OPERATOR: "operator",
    Direction.CONNECTION: "connection",
}


def verdict(report: Report) -> tuple[str, str]:
    """One word, and the sentence that explains it."""
    run = [one for one in report.cases if one.outcome != Outcome.NOT_APPLICABLE]
    failed = len(report.failures)
    if failed:
        return "Failed", f"{failed} of {number_of_cases(len(run))} failed."
    if not report.complete:
        return "Incomplete", f"The run was ended before its last case; {number_of_cases(len(run))} passed until then."
    if not run:
        return "Not run", "No case applied to this configuration."
    return "Passed", "The case passed." if len(run) == 1 else f"All {len(run)} cases passed."


def counts(row: RowResult) -> str:
    """Such as `34/34`, with what was left out."""
    notes = [f"{row.not_run} not run"] if row.not_run and row.outcome != RowOutcome.NOT_RUN else []
    notes += [f"{row.not_applicable} not applicable"] if row.not_applicable else []
    return f"{row.passed}/{row.applicable}" + (f" ({', '.join(notes)})" if notes else "")


def seconds(value: float) -> str:
    return f"{value:.3f}"


def shown(text: str) -> str:
    """A frame for people."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


def clock(at: datetime) -> str:
    """The time of day of a frame, UTC, with milliseconds."""
    return at.astimezone(UTC).time().isoformat(timespec="milliseconds")


def moment(report: Report) -> str:
    """When the run took place, in UTC."""
    began, ended = report.started_at, report.finished_at
    return f"{began:%Y-%m-%d %H:%M:%S} to {ended:%H:%M:%S} UTC"


def number_of_cases(number: int) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} case" if number == 1 else f"{number} cases"
