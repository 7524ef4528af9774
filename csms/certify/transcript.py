"""What was said in one case, in order, as evidence: frames, the operator's REST requests, connects and closes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

# A frame may have any size; a report has to be read.
MAX_TEXT = 20_000
MASK = "***"


class Direction(StrEnum):
    """Whose line it is."""

    SENT = "sent"  # a frame from the charge point, which this tool plays, to the CSMS
    RECEIVED = "received"  # a frame from the CSMS
    OPERATOR = "operator"  # a REST request and its answer
    CONNECTION = "connection"  # opened, refused, closed


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `text` is the frame as it was on the wire, but for secrets."""

    at: datetime
    direction: Direction
    text: str


class Secrets:
    """Texts that no report may show: the API key, passwords. Cases add those they make up."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: set[str] = set()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """From now on `text` is masked; also its hexadecimal form, in which a password travels (whitepaper A01)."""
        if text:
            as_hex = text.encode().hex()
            self._texts |= {text, as_hex, as_hex.upper()}

    def mask(self, text: str) -> str:
        """`text` with every secret replaced, the longest first."""
        for secret in sorted(self._texts, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text


@dataclass
class Transcript:
    """The lines of one case, oldest first."""

    secrets: Secrets
    lines: list[Line] = field(default_factory=list)

    def note(self, direction: Direction, text: str) -> None:
        """Add a line with the present time."""
        if len(text) > MAX_TEXT:
            text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
        self.lines.append(Line(datetime.now(UTC), direction, self.secrets.mask(text)))
