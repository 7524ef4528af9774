"""A stored file as the answer of a view, for people and programs: an attachment, in pieces, never in memory whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from stations.files.threads import with_file

CHUNK_BYTES = 256 * 1024


def attachment(stored: Any, name: str, size: int) -> StreamingHttpResponse | None:
    """The file that `stored` (of a FileField) refers to, under `name`; None when it is not there any more.

    Always an attachment of no particular type: what a charge point delivered must not be shown by a browser as ours.
    """
    try:
        file = stored.storage.open(stored.name, "rb")
    except FileNotFoundError:
        return None
    return StreamingHttpResponse(
        _chunks(file),
        content_type="application/octet-stream",
        headers={
            "Content-Disposition": content_disposition_header(True, name) or "attachment",
            "Content-Length": str(size),
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )


async def _chunks(file: Any) -> AsyncIterator[bytes]:
    try:
        while chunk := await with_file(lambda: file.read(CHUNK_BYTES)):
            yield chunk
    finally:
        await with_file(file.close)
