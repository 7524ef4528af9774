"""The report as a PDF to hand on: A4, page numbers, the same content as the HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import Any

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

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
from csms.certify.results import Report
from csms.certify.transcript import Direction

INK, SOFT, LINE = colors.HexColor("#17202a"), colors.HexColor("#5b6775"), colors.HexColor("#d8dee6")
BAND = colors.HexColor("#f5f7fa")
PASSED, FAILED, OTHER = colors.HexColor("#11703f"), colors.HexColor("#b3211c"), colors.HexColor("#8a5a00")
MARGIN = 18 * mm
# Between the paddings of the frame that reportlab lays each page out in.
WIDTH = A4[0] - 2 * MARGIN - 12

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12, textColor=INK, wordWrap="CJK")
NUMBER = ParagraphStyle("number", BODY, alignment=TA_RIGHT)
HEAD = ParagraphStyle("head", BODY, fontName="Helvetica-Bold", fontSize=8, textColor=SOFT)
HEAD_NUMBER = ParagraphStyle("head_number", HEAD, alignment=TA_RIGHT)
SMALL = ParagraphStyle("small", BODY, fontSize=7.5, leading=10, textColor=SOFT, wordWrap=None)
TITLE_STYLE = ParagraphStyle("title", BODY, fontName="Helvetica-Bold", fontSize=20, leading=24)
SECTION = ParagraphStyle(
    "section", BODY, fontName="Helvetica-Bold", fontSize=12, leading=15, spaceBefore=12, spaceAfter=4, keepWithNext=1
)
CASE = ParagraphStyle("case", BODY, fontName="Helvetica-Bold", fontSize=10, leading=13, spaceBefore=8, keepWithNext=1)
FRAME = ParagraphStyle(
    "frame", BODY, fontName="Courier", fontSize=7.5, leading=9.2, leftIndent=3 * mm, rightIndent=1 * mm, spaceBefore=1.5
)
FRAME_RECEIVED = ParagraphStyle("frame_received", FRAME, backColor=BAND)
FRAME_ASIDE = ParagraphStyle("frame_aside", FRAME, textColor=SOFT)


def document(report: Report) -> bytes:
    """The whole file. Everything that is not written here is escaped."""
    target = BytesIO()
    template = SimpleDocTemplate(
        target,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 4 * mm,
        title=f"{TITLE}: {SUBTITLE.lower()}",
        author="csms certify",
        subject=" ".join(verdict(report)),
    )
    story: list[Flowable] = [
        *_heading(report),
        *_functionality(report),
        *_performance(report),
        *_facts(report),
        *_failures(report),
        *_warnings(report),
        *_cases(report),
        Spacer(0, 6 * mm),
        Paragraph(_text(DISCLAIMER), SMALL),
    ]
    template.build(story, canvasmaker=_numbered(f"{TITLE}, {report.started_at:%Y-%m-%d}"))
    return target.getvalue()


def _heading(report: Report) -> Iterable[Flowable]:
    word, sentence = verdict(report)
    colour = _colour(word)
    left = [Paragraph(_text(TITLE), TITLE_STYLE), Paragraph(_text(f"{SUBTITLE}, {moment(report)}"), BODY)]
    big = ParagraphStyle("verdict", NUMBER, fontName="Helvetica-Bold", fontSize=18, leading=24, textColor=colour)
    right = [Paragraph(_text(word), big), Paragraph(_text(sentence), NUMBER)]
    heading = Table([[left, right]], colWidths=[WIDTH * 0.64, WIDTH * 0.36])
    heading.setStyle(
        TableStyle(
            [
                ("LINEABOVE", (0, 0), (-1, 0), 3, colour),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 8),
            ]
        )
    )
    yield heading


def _functionality(report: Report) -> Iterable[Flowable]:
    rows = [
        [_cell(row.row), _outcome(ROW_OUTCOMES[row.outcome]), Paragraph(_text(counts(row)), NUMBER)]
        for row in report.rows
    ]
    heads = [_head("Functionality"), _head("Result"), _head("Cases passed", number=True)]
    yield KeepTogether([Paragraph("Functionality", SECTION), _table([heads, *rows], (0.5, 0.2, 0.3))])


def _performance(report: Report) -> Iterable[Flowable]:
    if not report.performance:
        return
    heads = [_head("In seconds"), *(_head(name, number=True) for name in COLUMNS)]
    rows = [
        [
            _cell(figures.name),
            Paragraph(str(figures.count), NUMBER),
            *(
                Paragraph(seconds(value), NUMBER)
                for value in (figures.minimum, figures.average, figures.p95, figures.maximum)
            ),
        ]
        for figures in report.performance
    ]
    table = _table([heads, *rows], (0.35, 0.13, 0.13, 0.13, 0.13, 0.13))
    yield KeepTogether([Paragraph("Performance", SECTION), table, Paragraph(_text(PERFORMANCE_NOTE), SMALL)])


def _facts(report: Report) -> Iterable[Flowable]:
    for title, facts in (("Software", report.software), ("Configuration", report.configuration)):
        rows = [[_head(name), _cell(value)] for name, value in facts.items()]
        if rows:
            yield KeepTogether([Paragraph(title, SECTION), _table(rows, (0.35, 0.65), headings=0)])
    if report.left_behind:
        yield Paragraph("Left in the tenant", SECTION)
        yield from (Paragraph(_text(sentence), BODY) for sentence in report.left_behind)


def _failures(report: Report) -> Iterable[Flowable]:
    if report.failures:
        yield Paragraph("Failed cases", SECTION)
    for one in report.failures:
        reason = ParagraphStyle("reason", BODY, textColor=FAILED, spaceAfter=3, keepWithNext=1)
        yield Paragraph(_text(f"{one.id}  {one.title}"), CASE)
        yield Paragraph(_text(one.reason), reason)
        for line in one.frames:
            aside = line.direction in (Direction.OPERATOR, Direction.CONNECTION)
            style = FRAME_RECEIVED if line.direction == Direction.RECEIVED else FRAME_ASIDE if aside else FRAME
            # Not a table: a frame may be longer than a page, and paragraphs go on to the next.
            when = _text(f"{clock(line.at)} {DIRECTIONS[line.direction]}")
            yield Paragraph(f"<b>{when}</b> {_text(shown(line.text))}", style)


def _warnings(report: Report) -> Iterable[Flowable]:
    if report.warned:
        yield Paragraph("Warnings", SECTION)
    for one in report.warned:
        yield from (Paragraph(_text(f"{one.id}: {sentence}"), BODY) for sentence in one.warnings)


def _cases(report: Report) -> Iterable[Flowable]:
    yield Paragraph("Cases", SECTION)
    heads = [_head("Case"), _head("Title"), _head("Functionality"), _head("Result"), _head("Seconds", number=True)]
    rows = [
        [
            _cell(one.id),
            _cell(one.title),
            _cell(one.row),
            _outcome(OUTCOMES[one.outcome]),
            Paragraph(seconds(one.seconds), NUMBER),
        ]
        for one in report.cases
    ]
    yield _table([heads, *rows], (0.18, 0.37, 0.21, 0.14, 0.1))


def _table(rows: Sequence[Sequence[Any]], shares: Sequence[float], headings: int = 1) -> Table:
    table = Table([list(row) for row in rows], colWidths=[WIDTH * share for share in shares], repeatRows=headings)
    table.setStyle(
        TableStyle(
            [
                ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 3),
                ("RIGHTPADDING", (0, 0), (-1, -1), 3),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return table


def _cell(text: str) -> Paragraph:
    return Paragraph(_text(text), BODY)


def _head(text: str, number: bool = False) -> Paragraph:
    return Paragraph(_text(text), HEAD_NUMBER if number else HEAD)


def _outcome(word: str) -> Paragraph:
    return Paragraph(_text(word), ParagraphStyle("outcome", BODY, fontName="Helvetica-Bold", textColor=_colour(word)))


def _colour(word: str) -> colors.Color:
    return {"Passed": PASSED, "Failed": FAILED}.get(word, OTHER)


def _text(text: str) -> str:
    """`text` as reportlab's markup; what the standard fonts of PDF cannot show becomes an escape as in JSON."""
    shown_text = "".join(
        character if _has_glyph(character) else f"\\u{ord(character):04x}" for character in text.replace("\t", " ")
    )
    return escape(shown_text)


def _has_glyph(character: str) -> bool:
    return character.isprintable() and bool(character.encode("cp1252", "ignore"))


def _numbered(name: str) -> type[Canvas]:
    """A canvas that writes `name` and `Page 1 of 3` below each page, once the number of pages is known."""

    class NumberedCanvas(Canvas):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - the name is reportlab's
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self.setFont("Helvetica", 8)
                self.setFillColor(SOFT)
                self.drawString(MARGIN, 12 * mm, name)
                self.drawRightString(A4[0] - MARGIN, 12 * mm, f"Page {number} of {len(self._pages)}")
                super().showPage()
            super().save()

    return NumberedCanvas
