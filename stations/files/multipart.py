"""multipart/form-data as it arrives, piece by piece: the content of the first part that has a file name (RFC 7578)."""

from __future__ import annotations

from email import message_from_bytes
from enum import Enum

MAX_HEADERS = 16 * 1024
MAX_PREAMBLE = 64 * 1024


class Malformed(Exception):
    """The body is not what its Content-Type says."""


class _Place(Enum):
    BEFORE = 0
    AFTER_DELIMITER = 1
    IN_HEADERS = 2
    IN_FILE = 3
    IN_OTHER = 4
    AFTER_END = 5


def boundary_of(content_type: str) -> bytes | None:
    """The boundary, when `content_type` is multipart/form-data (or another multipart); raises Malformed without one."""
    if not content_type.lower().startswith("multipart/"):
        return None
    message = message_from_bytes(b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n")
    boundary = message.get_boundary()
    if not boundary or len(boundary) > 200:
        raise Malformed("The Content-Type has no boundary.")
    return boundary.encode("latin-1", "replace")


class FilePart:
    """Feed it the body; it gives the bytes of the file.

    `complete` once the body has properly ended, with a file in it.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning.
        self._buffer = b"\r\n"
        self._place = _Place.BEFORE
        self._found = False
        self._skipped = 0
        self.name = ""
        self.content_type = ""

    @property
    def complete(self) -> bool:
        return self._found and self._place == _Place.AFTER_END

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of the body; what of it belongs to the file. Raises Malformed."""
        self._buffer += data
        out = []
        while True:
            before = self._place, len(self._buffer)
            out.append(self._step())
            if (self._place, len(self._buffer)) == before:
                return b"".join(out)

    def _step(self) -> bytes:
        if self._place in (_Place.BEFORE, _Place.IN_FILE, _Place.IN_OTHER):
            return self._up_to_delimiter()
        if self._place == _Place.AFTER_DELIMITER:
            self._after_delimiter()
        elif self._place == _Place.IN_HEADERS:
            self._headers()
        else:
            self._buffer = b""
        return b""

    def _up_to_delimiter(self) -> bytes:
        content, found, rest = self._buffer.partition(self._delimiter)
        if found:
            self._buffer = rest
            place, self._place = self._place, _Place.AFTER_DELIMITER
        else:
            # The end may be the beginning of a delimiter.
            kept = len(self._delimiter) - 1
            content, self._buffer = self._buffer[:-kept], self._buffer[-kept:]
            place = self._place
        if place == _Place.BEFORE:
            self._skipped += len(content)
            if self._skipped > MAX_PREAMBLE:
                raise Malformed("The boundary does not come.")
        return content if place == _Place.IN_FILE else b""

    def _after_delimiter(self) -> None:
        if self._buffer.startswith(b"--"):
            self._buffer, self._place = b"", _Place.AFTER_END
            return
        padding, found, rest = self._buffer.partition(b"\r\n")
        if found and not padding.strip():
            # The line break also ends the headers of a part that has none.
            self._buffer, self._place = b"\r\n" + rest, _Place.IN_HEADERS
        elif len(self._buffer) > 200 or (found and padding.strip()):
            raise Malformed("A boundary is not followed by a line break.")

    def _headers(self) -> None:
        headers, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(self._buffer) > MAX_HEADERS:
                raise Malformed("The headers of a part are too long.")
            return
        self._buffer = rest
        message = message_from_bytes(headers.lstrip(b"\r\n") + b"\r\n\r\n")
        name = message.get_filename()
        if name is None or self._found:
            self._place = _Place.IN_OTHER
            return
        self._found, self._place = True, _Place.IN_FILE
        self.name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self.content_type = message.get_content_type() if "Content-Type" in message else ""
