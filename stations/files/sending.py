"""GET and HEAD: an image in pieces, with the ranges that a charge point resumes by."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC
from email.utils import format_datetime
from time import monotonic
from typing import Any

from django.conf import settings
from django.utils.http import content_disposition_header

from stations.file_exchange import Download, note_delivered
from stations.files import ranges
from stations.files.http import Exchange
from stations.files.pace import Pace
from stations.files.threads import with_file, with_rows

CHUNK_BYTES = 128 * 1024

_pace = Pace(settings.CSMS_DOWNLOAD_BYTES_PER_SECOND)


async def answer(exchange: Exchange, download: Download) -> None:
    """Send what was asked for, and keep how far it went."""
    etag = f'"{download.sha256}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Disposition": content_disposition_header(True, download.name) or "attachment",
        "Content-Type": "application/octet-stream",
        "ETag": etag,
        "Last-Modified": format_datetime(download.modified_at.astimezone(UTC), usegmt=True),
        "X-Content-Type-Options": "nosniff",
    }
    try:
        part = ranges.requested(
            exchange.header("range"),
            exchange.header("if-range"),
            size=download.size,
            etag=etag,
            modified_at=download.modified_at,
        )
    except ranges.Unsatisfiable:
        await exchange.refuse(416, "The range begins after the end of the file.", {
            "Content-Range": f"bytes */{download.size}", "Accept-Ranges": "bytes",
        })  # fmt: skip
        return
    start, end = part or (0, download.size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{download.size}"
    headers["Content-Length"] = str(end - start)
    if exchange.method == "HEAD":
        await exchange.start(206 if part is not None else 200, headers)
        await exchange.body(b"", more=False)
        return
    try:
        file = await with_file(lambda: download.storage.open(download.stored, "rb"))
    except FileNotFoundError:
        await exchange.refuse(410, "The file has been deleted.")
        return
    reached = start
    gone = asyncio.create_task(exchange.caller_is_gone())
    try:
        await exchange.start(206 if part is not None else 200, headers)
        reached = await _send(exchange, file, start, end, gone)
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        await with_file(file.close)
        if reached > start:
            await with_rows(lambda: note_delivered(download, reached))


async def _send(exchange: Exchange, file: Any, start: int, end: int, gone: asyncio.Task[None]) -> int:
    """Send the bytes from `start` to `end`; where it got to before the caller went away."""

    def read() -> bytes:
        if file.tell() != at:
            file.seek(at)
        data: bytes = file.read(min(CHUNK_BYTES, end - at))
        return data

    at = start
    while at < end and not gone.done():
        chunk = await with_file(read)
        if not chunk:
            # The file is shorter than its row says; the missing bytes end the connection.
            return at
        wait = _pace.book(len(chunk), monotonic())
        if wait > 0:
            await asyncio.sleep(wait)
        if gone.done():
            break
        at += len(chunk)
        await exchange.body(chunk, more=at < end)
    return at
