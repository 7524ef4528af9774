"""Why a request to a charge point is not taken at all."""

from __future__ import annotations

from csms.ocppj.payloads import Problem


class CommandRefused(Exception):
    """A command that cannot be queued; `code` is stable, `problems` point into the payload."""

    def __init__(self, code: str, detail: str, problems: list[Problem] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.problems = problems or []
