"""The forms of a report: the same content, nothing off the wire taken for markup."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from csms.certify.charge_point import ResponseTime
from csms.certify.failure import UsageError
from csms.certify.registry import CASES, Row
from csms.certify.reports import check_target, html, pdf, write
from csms.certify.reports.console import Display, print_report
from csms.certify.reports.wording import counts, verdict
from csms.certify.results import CaseResult, Figures, Outcome, Report, RowOutcome
from csms.certify.transcript import Direction, Line

BEGAN = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
HOSTILE = '[3,"x",{"status":"<script>alert(1)</script> & żółć 電 \x07 </para>"}]'
CORE_CASES = [case for case in CASES if case.row == Row.CORE]


def report(*failing: str, complete: bool = True) -> Report:
    """All Core cases; those named failed."""
    made = Report(
        BEGAN,
        {"Product": "CSMS <b>1</b>"},
        {"URL": "http://csms.example", "Tenant": "acme"},
        BEGAN + timedelta(seconds=9),
        complete=complete,
        left_behind=["Charge point certify-1 has transactions and is kept, disabled."],
    )
    for case in CORE_CASES:
        failed = case.id in failing
        made.cases.append(
            CaseResult(
                case.id,
                case.title,
                case.row,
                Outcome.FAILED if failed else Outcome.PASSED,
                0.25,
                reason='type is "Soft" & not <i>Hard</i>.' if failed else "",
                warnings=("Tolerated.",) if case.id == "TC_064_CSMS" else (),
                frames=[Line(BEGAN, Direction.RECEIVED, HOSTILE)] * 2 if failed else (),
            )
        )
    made.response_times = [ResponseTime("Heartbeat", 0.001 * number) for number in range(1, 101)]
    made.response_times += [ResponseTime("Authorize", 0.5)]
    return made


def test_the_json_has_the_documented_shape() -> None:
    shown = report("TC_013_CSMS").as_json()
    assert (shown["format"], shown["passed"], shown["complete"]) == ("csms-certification/1", False, True)
    assert (shown["started_at"], shown["finished_at"]) == ("2026-11-21T07:00:00.000Z", "2026-11-21T07:00:09.000Z")
    assert shown["rows"][0] == {
        "name": "Core",
        "outcome": "failed",
        "cases": 34,
        "passed": 33,
        "failed": 1,
        "not_applicable": 0,
        "not_run": 0,
    }
    assert shown["performance"] == [
        {"name": "OCPP response time", "count": 101, "min": 0.001, "average": 0.05495, "p95": 0.096, "max": 0.5},
        {"name": "Authorize response time", "count": 1, "min": 0.5, "average": 0.5, "p95": 0.5, "max": 0.5},
    ]
    (red,) = [one for one in shown["cases"] if one["outcome"] == "failed"]
    assert red == {
        "id": "TC_013_CSMS",
        "title": "Hard reset",
        "row": "Core",
        "outcome": "failed",
        "seconds": 0.25,
        "reason": 'type is "Soft" & not <i>Hard</i>.',
        "warnings": [],
        "frames": [{"at": "2026-11-21T07:00:00.000Z", "direction": "received", "text": HOSTILE}] * 2,
    }


def test_every_file_is_written_in_its_form(tmp_path: Path) -> None:
    for name in ("r.json", "r.HTML", "r.pdf"):
        check_target(tmp_path / name)
        write(report("TC_013_CSMS"), tmp_path / name)
    assert json.loads((tmp_path / "r.json").read_text())["passed"] is False
    assert (tmp_path / "r.HTML").read_text().startswith("<!doctype html>")
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("name", ["report.xlsx", "report", "no-such-folder/report.pdf"])
def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        check_target(tmp_path / name)


def test_html_escapes_what_came_off_the_wire() -> None:
    page = html.document(report("TC_013_CSMS")).decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; żółć 電" in page
    assert "type is &quot;Soft&quot; &amp; not &lt;i&gt;Hard&lt;/i&gt;." in page
    assert "CSMS &lt;b&gt;1&lt;/b&gt;" in page


def test_html_asks_nobody_for_anything() -> None:
    page = html.document(report()).decode()
    assert "default-src 'none'" in page
    assert not re.search(r"src=|url\(|@import|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_html_shows_rows_performance_and_cases() -> None:
    page = html.document(report("TC_013_CSMS")).decode()
    assert '<td class="number">33/34</td>' in page
    assert "1 of 34 cases failed." in page
    assert "Authorize response time" in page
    assert all(case.id in page for case in CORE_CASES)
    assert "Tolerated." in page


def test_pdf_takes_any_text_and_any_length() -> None:
    long = report("TC_013_CSMS", "TC_014_CSMS")
    result = long.cases[0]
    endless = [Line(BEGAN, Direction.SENT, '"' + "<&x" * 5000)] * 3
    long.cases[0] = CaseResult(result.id, result.title, result.row, Outcome.FAILED, 1.0, "x" * 3000, (), endless)
    document = pdf.document(long)
    assert document.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", document)) > 3


def test_a_row_of_which_not_all_was_run_is_incomplete() -> None:
    partial = report()
    partial.cases = partial.cases[:3]
    (core,) = [row for row in partial.rows if row.row == Row.CORE]
    assert (core.outcome, core.not_run, counts(core)) == (RowOutcome.INCOMPLETE, 31, "3/34 (31 not run)")
    partial.cases = []
    (core,) = [row for row in partial.rows if row.row == Row.CORE]
    assert (core.outcome, counts(core)) == (RowOutcome.NOT_RUN, "0/34")


def test_the_verdict_is_green_only_when_everything_passed() -> None:
    assert verdict(report()) == ("Passed", "All 34 cases passed.")
    assert verdict(report("TC_001_CSMS")) == ("Failed", "1 of 34 cases failed.")
    ended = report(complete=False)
    assert verdict(ended)[0] == "Incomplete"
    assert not ended.passed


def test_p95_is_the_nearest_rank() -> None:
    figures = Figures.of("x", [float(number) for number in range(20, 0, -1)])
    assert figures == Figures("x", 20, 1.0, 10.5, 19.0, 20.0)
    assert Figures.of("x", []) is None


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines() -> None:
    result = report("TC_001_CSMS").cases[0]
    texts = []
    for terminal in (False, True):
        out = StringIO()
        with Display(Console(file=out, force_terminal=terminal, width=100), 1) as show:
            show(CASES[0], None)
            show(CASES[0], result)
        texts.append(out.getvalue())
    assert texts[0].startswith("TC_001_CSMS   Failed         Cold boot\n")
    assert "1/1" in texts[1]


def test_the_tables_on_the_terminal_have_the_frames_of_what_failed() -> None:
    out = StringIO()
    print_report(Console(file=out, width=150), report("TC_013_CSMS"))
    text = out.getvalue()
    assert "Core" in text
    assert "33/34" in text
    assert "07:00:00.000 CSMS" in text
    assert "<script>alert(1)</script>" in text
    assert "Failed: 1 of 34 cases failed." in text
