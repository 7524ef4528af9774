"""The report of a run as a file: `.json` for programs, `.html` and `.pdf` for people, with the same content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from csms.certify.failure import UsageError
from csms.certify.reports import html, pdf
from csms.certify.results import Report


def _json(report: Report) -> bytes:
    return (json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


WRITERS: dict[str, Callable[[Report], bytes]] = {".json": _json, ".html": html.document, ".pdf": pdf.document}


def check_target(path: Path) -> None:
    """Find out before the run whether its report can be written. Errors: UsageError with a sentence."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"--report {path}: the name must end in {', '.join(WRITERS)}.")
    if not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}.")
    if path.is_dir():
        raise UsageError(f"--report {path} is a folder.")


def write(report: Report, path: Path) -> None:
    """Write the report in the form that the name of the file asks for. Errors: OSError."""
    path.write_bytes(WRITERS[path.suffix.lower()](report))
