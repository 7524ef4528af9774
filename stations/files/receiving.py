"""PUT and POST: a file as it is or as multipart/form-data, to disk as it arrives, and kept only when it is complete."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings

from stations.file_exchange import Upload, UrlRefused, incoming_folder, take_upload
from stations.files.http import Exchange
from stations.files.multipart import FilePart, Malformed, boundary_of
from stations.files.threads import with_file, with_rows

logger = logging.getLogger(__name__)

# What is collected before it is written.
WRITE_BYTES = 256 * 1024
# What a multipart body may have beside the file.
ENVELOPE_BYTES = 64 * 1024
# What is read of a body that is refused, so that its sender reads the answer instead of finding the line cut.
DRAINED_BYTES = 4 * 1024 * 1024
# A sender that says nothing for so long has gone.
SILENCE_SECONDS = 120
# No room: on the disk, of a quota, or beyond the largest file that the process may write.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
INSUFFICIENT_STORAGE = 507


class Broken(Exception):
    """The body cannot be taken; `status` is None when there is nobody left to tell."""

    def __init__(self, status: int | None, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Sink:
    """A file in the incoming folder that grows in a thread, with its digest."""

    def __init__(self) -> None:
        self.path: Path = incoming_folder() / f"{uuid4().hex}.part"
        self.size = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._digest = hashlib.sha256()
        self._file: Any = None

    async def write(self, data: bytes) -> None:
        if self.size + len(data) > settings.CSMS_UPLOAD_LIMIT_BYTES:
            raise Broken(413, too_large())
        self.size += len(data)
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= WRITE_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        data, self._waiting, self._waiting_size = b"".join(self._waiting), [], 0
        await with_file(partial(self._append, data))

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = self.path.open("xb")
        self._file.write(data)
        self._digest.update(data)

    async def finish(self) -> str:
        """Write what waits and close the file; its SHA-256."""
        await self._flush()
        await with_file(self._file.close)
        return self._digest.hexdigest()

    async def discard(self) -> None:
        """Leave nothing behind; harmless when the file has been taken over."""
        await with_file(self._remove)

    def _remove(self) -> None:
        if self._file is not None:
            # On a full disk what is still buffered cannot be written, which is no reason to keep the rest.
            with suppress(OSError):
                self._file.close()
        self.path.unlink(missing_ok=True)


def too_large() -> str:
    return f"The file has more than {settings.CSMS_UPLOAD_LIMIT_BYTES} bytes."


async def answer(exchange: Exchange, upload: Upload, *, name: str, address: str) -> None:
    """Take the body; 201 when it is stored, else nothing of it is kept and the URL can be used again.

    507 when there is no room for it.
    """
    sink = Sink()
    refused: tuple[int | None, str] | None = None
    try:
        part = await _read(exchange, sink)
        sha256 = await sink.finish()
        take = partial(
            take_upload,
            upload,
            sink.path,
            name=(part.name if part is not None else "") or name,
            content_type=part.content_type if part is not None else exchange.header("content-type"),
            size=sink.size,
            sha256=sha256,
            address=address,
            now=datetime.now(UTC),
        )
        await with_rows(take)
    except (Broken, UrlRefused) as refusal:
        refused = refusal.status, refusal.detail
    except OSError as error:
        refused = INSUFFICIENT_STORAGE, _no_room(error, sink)
    finally:
        # Also when the server stops: the charge point sends it again.
        await asyncio.shield(sink.discard())
    if refused is None:
        await exchange.say(201, "The file has been stored.")
    elif refused[0] is not None:
        await exchange.refuse(refused[0], refused[1])


async def _read(exchange: Exchange, sink: Sink) -> FilePart | None:
    """Write the file in the body to `sink`; the part that held it when the body is multipart. Raises Broken."""
    try:
        boundary = boundary_of(exchange.header("content-type"))
    except Malformed as malformed:
        await drain(exchange)
        raise Broken(400, str(malformed)) from None
    part = None if boundary is None else FilePart(boundary)
    declared = exchange.header("content-length")
    most = settings.CSMS_UPLOAD_LIMIT_BYTES + (0 if part is None else ENVELOPE_BYTES)
    if declared.isdigit() and int(declared) > most:
        await drain(exchange)
        raise Broken(413, too_large())
    received, more = 0, True
    try:
        while more:
            data, more = await _next(exchange)
            received += len(data)
            if received > most:
                raise Broken(413, too_large())
            content = data if part is None else part.feed(data)
            if content:
                await sink.write(content)
        if declared.isdigit() and received != int(declared):
            raise Broken(400, "The body is shorter than its Content-Length says.")
        if part is not None and not part.complete:
            raise Broken(400, "The multipart body is cut off, or has no file in it.")
        if sink.size == 0:
            raise Broken(400, "The file is empty.")
    except Malformed as malformed:
        raise Broken(400, str(malformed)) from None
    except OSError as error:
        sentence = _no_room(error, sink)
        if more:
            await drain(exchange)
        raise Broken(INSUFFICIENT_STORAGE, sentence) from None
    except Broken as broken:
        if broken.status is not None and more:
            await drain(exchange)
        raise
    return part


def _no_room(error: OSError, sink: Sink) -> str:
    """What to say when the file could not be written for want of room; raises any other error."""
    if error.errno not in NO_ROOM:
        raise error
    logger.error("An upload was refused after %d bytes: %s", sink.size, error.strerror)
    return "There is no room for the file. Try again later."


async def _next(exchange: Exchange) -> tuple[bytes, bool]:
    """The next piece of the body, and whether more follows. Raises Broken when the sender is gone."""
    try:
        message = await asyncio.wait_for(exchange.receive(), SILENCE_SECONDS)
    except TimeoutError:
        raise Broken(408, "Nothing more has come.") from None
    if message["type"] == "http.disconnect":
        raise Broken(None, "The connection ended before the file did.")
    return message.get("body", b""), message.get("more_body", False)


async def drain(exchange: Exchange) -> None:
    """Read some of a body that is not wanted; nothing of one whose sender waits to be asked for it."""
    if exchange.header("expect"):
        return
    drained, more = 0, True
    while more and drained < DRAINED_BYTES:
        try:
            data, more = await _next(exchange)
        except Broken:
            return
        drained += len(data)
