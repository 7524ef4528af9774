"""The report as one HTML file: no script, no request to anywhere, for the screen (light and dark) and for paper."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from csms.certify.reports.wording import (
    COLUMNS,
    DIRECTIONS,
    DISCLAIMER,
    OUTCOMES,
    PERFORMANCE_NOTE,
    ROW_OUTCOMES,
    SUBTITLE,
    TITLE,
    clock,
    counts,
    moment,
    seconds,
    shown,
    verdict,
)
from csms.certify.results import CaseResult, Report

STYLE = """
:root { color-scheme: light dark; --ink: #17202a; --soft: #5b6775; --line: #d8dee6; --paper: #ffffff; --ground: #eef1f5;
  --band: #f5f7fa; --passed: #11703f; --failed: #b3211c; --other: #8a5a00; --passed-bg: #e4f4ea; --failed-bg: #fbe7e6;
  --other-bg: #fdf2dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa7b6; --line: #36404d; --paper: #1a212a;
  --ground: #10151b; --band: #212a35; --passed: #6cd69a; --failed: #ff9089; --other: #f0c26a; --passed-bg: #16321f;
  --failed-bg: #43191a; --other-bg: #3a2d10; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 3rem; background: var(--paper); border: 1px solid var(--line);
  border-top: 6px solid var(--passed); border-radius: 6px; }
main.failed { border-top-color: var(--failed); } main.other { border-top-color: var(--other); }
header { display: flex; justify-content: space-between; gap: 2rem; align-items: flex-start; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; } header p { margin: .3rem 0 0; color: var(--soft); }
h2 { margin: 2.2rem 0 .6rem; font-size: 1.1rem; } h3 { margin: 1.6rem 0 .3rem; font-size: 1rem; }
.verdict { text-align: right; flex: none; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; font-weight: 600; white-space: nowrap; }
.verdict .badge { font-size: 1.15rem; padding: .3rem 1.1rem; }
.badge.passed { color: var(--passed); background: var(--passed-bg); } .badge.failed, .reason { color: var(--failed);
  background: var(--failed-bg); } .badge.other, .warning { color: var(--other); background: var(--other-bg); }
table { width: 100%; border-collapse: collapse; } th, td { padding: .4rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); } thead th { color: var(--soft); font-size: .85rem; font-weight: 600; }
tbody th { font-weight: 500; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts { display: grid; grid-template-columns: 3fr 2fr; gap: 0 2.5rem; } .facts table { align-self: start; }
.facts th { color: var(--soft); font-weight: 400; width: 38%; } .facts td { overflow-wrap: anywhere; }
.id, .frames { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; } .id { white-space: nowrap;
  font-size: .9em; } .reason, .warning { padding: .5rem .8rem; border-radius: 4px; margin: .3rem 0 .6rem; }
.frames { font-size: .8rem; border: 1px solid var(--line); border-radius: 4px; overflow: hidden; }
.frames td { padding: .2rem .6rem; border-color: var(--line); overflow-wrap: anywhere; white-space: pre-wrap; }
.frames td:nth-child(-n+2) { white-space: nowrap; color: var(--soft); width: 1%; } .frames .received td:nth-child(2),
.frames .sent td:nth-child(2) { color: var(--ink); font-weight: 600; } .frames .received { background: var(--band); }
.frames .operator td, .frames .connection td { color: var(--soft); font-style: italic; }
.note, footer { color: var(--soft); font-size: .85rem; } footer { margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: .8rem; }
@media (max-width: 45rem) { main { padding: 1.2rem; } header, .facts { display: block; } .verdict { text-align: left;
  margin-top: 1rem; } .wide { overflow-x: auto; } }
@page { size: A4; margin: 15mm; }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --ground: #fff;
  --band: #f3f3f3; --passed: #11703f; --failed: #b3211c; --other: #8a5a00; --passed-bg: #fff; --failed-bg: #fff;
  --other-bg: #fff; } body { padding: 0; font-size: 10pt; } main { max-width: none; border: 0; padding: 0; }
  .badge { border: 1px solid currentColor; }
  .reason, .warning { border-left: 3px solid currentColor; border-radius: 0; }
  tr, h2, h3 { break-inside: avoid; } h2, h3, .reason { break-after: avoid; } thead { display: table-header-group; } }
"""


def document(report: Report) -> bytes:
    """The whole file. Everything that is not written here is escaped."""
    word, sentence = verdict(report)
    kind = {"Passed": "passed", "Failed": "failed"}.get(word, "other")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # The text of a report comes off the wire: whatever it holds, nothing runs and nothing is fetched.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(TITLE)}: {escape(word.lower())}, {report.started_at:%Y-%m-%d}</title>",
        f'<style>{STYLE}</style></head><body><main class="{kind}">',
        f"<header><div><h1>{escape(TITLE)}</h1><p>{escape(SUBTITLE)}<br>{escape(moment(report))}</p></div>",
        f'<div class="verdict"><span class="badge {kind}">{escape(word)}</span>',
        f"<p>{escape(sentence)}</p></div></header>",
        *_functionality(report),
        *_performance(report),
        *_facts(report),
        *_failures(report),
        *_warnings(report),
        *_cases(report),
        f"<footer><p>{escape(DISCLAIMER)}</p></footer>",
        "</main></body></html>",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def _functionality(report: Report) -> Iterable[str]:
    yield "<h2>Functionality</h2><table><thead><tr><th>Functionality</th><th>Result</th>"
    yield '<th class="number">Cases passed</th></tr></thead><tbody>'
    for row in report.rows:
        badge = _badge(row.outcome.value, ROW_OUTCOMES[row.outcome])
        yield f'<tr><th>{escape(row.row)}</th><td>{badge}</td><td class="number">{escape(counts(row))}</td></tr>'
    yield "</tbody></table>"


def _performance(report: Report) -> Iterable[str]:
    if not report.performance:
        return
    heads = "".join(f'<th class="number">{escape(name)}</th>' for name in COLUMNS)
    yield f'<h2>Performance</h2><div class="wide"><table><thead><tr><th>In seconds</th>{heads}</tr></thead><tbody>'
    for figures in report.performance:
        values = (figures.minimum, figures.average, figures.p95, figures.maximum)
        cells = "".join(f'<td class="number">{seconds(value)}</td>' for value in values)
        yield f'<tr><th>{escape(figures.name)}</th><td class="number">{figures.count}</td>{cells}</tr>'
    yield f'</tbody></table></div><p class="note">{escape(PERFORMANCE_NOTE)}</p>'


def _facts(report: Report) -> Iterable[str]:
    yield '<div class="facts"><div><h2>Configuration</h2>'
    yield _pairs(report.configuration)
    yield "</div><div><h2>Software</h2>"
    yield _pairs(report.software)
    if report.left_behind:
        yield "<h2>Left in the tenant</h2>"
        yield from (f"<p>{escape(sentence)}</p>" for sentence in report.left_behind)
    yield "</div></div>"


def _pairs(facts: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table><tbody>{rows}</tbody></table>"


def _failures(report: Report) -> Iterable[str]:
    if report.failures:
        yield "<h2>Failed cases</h2>"
    for one in report.failures:
        yield f'<h3><span class="id">{escape(one.id)}</span> {escape(one.title)}</h3>'
        yield f'<p class="reason">{escape(one.reason)}</p>{_frames(one)}'


def _frames(one: CaseResult) -> str:
    if not one.frames:
        return ""
    rows = "".join(
        f'<tr class="{line.direction.value}"><td>{clock(line.at)}</td>'
        f"<td>{escape(DIRECTIONS[line.direction])}</td><td>{escape(shown(line.text))}</td></tr>"
        for line in one.frames
    )
    return f'<table class="frames"><tbody>{rows}</tbody></table>'


def _warnings(report: Report) -> Iterable[str]:
    if report.warned:
        yield "<h2>Warnings</h2>"
    for one in report.warned:
        for sentence in one.warnings:
            yield f'<p class="warning"><span class="id">{escape(one.id)}</span> {escape(sentence)}</p>'


def _cases(report: Report) -> Iterable[str]:
    yield '<h2>Cases</h2><div class="wide"><table><thead><tr><th>Case</th><th>Title</th><th>Functionality</th>'
    yield '<th>Result</th><th class="number">Seconds</th></tr></thead><tbody>'
    for one in report.cases:
        badge = _badge(one.outcome.value, OUTCOMES[one.outcome])
        yield (
            f'<tr><td class="id">{escape(one.id)}</td><td>{escape(one.title)}</td><td>{escape(one.row)}</td>'
            f'<td>{badge}</td><td class="number">{seconds(one.seconds)}</td></tr>'
        )
    yield "</tbody></table></div>"


def _badge(outcome: str, text: str) -> str:
    kind = outcome if outcome in ("passed", "failed") else "other"
    return f'<span class="badge {kind}">{escape(text)}</span>'
