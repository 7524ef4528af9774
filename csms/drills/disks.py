"""The drill of the full disk: the file system beneath the files, and beneath the SQLite database, has no room left."""

from __future__ import annotations

import asyncio
import http.client
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

from csms.drills.course import Plan, Tell, play
from csms.drills.operator import request
from csms.drills.sockets import until
from csms.drills.stage import SLUG, Result, stage

# The files have a disk of their own, below the one of SQLite and of the logs; megabytes.
DISKS = {"": 96, "files": 48}
PAGE_BYTES = 4096
FILE_BYTES = 3 * 1024 * 1024
# What the full disk of the files has left: an upload is to fail in its middle.
LEFT_BYTES = 1024 * 1024
# SQLite writes on into the room that its log has already, for a while.
SQLITE_SECONDS = 30.0
INSUFFICIENT_STORAGE, UNAVAILABLE = 507, 503


def disk(plan: Plan, tell: Tell) -> Result:
    """Fill the disk of the files (and of SQLite) while charge points charge and deliver diagnostics.

    An upload must be refused with a status that says so and leave nothing behind, and succeed once there is room; what
    cannot be stored must be answered InternalError, never acknowledged.
    """
    result = Result("disk")
    answers: Counter[int] = Counter()
    with stage(plan.database, plan.stations, disks=DISKS) as made, made.server() as server:
        paths: list[str] = made.inside("upload_paths", {"slug": SLUG, "count": plan.times})
        incoming = made.folder / "files" / "incoming"
        file = random.Random(plan.seed).randbytes(FILE_BYTES)  # noqa: S311 - content that cannot be compressed away

        on_disk = ["files", ""] if plan.database == "sqlite" else ["files"]

        async def database_is_full() -> bool:
            body = {"action": "ClearCache", "payload": {}}
            path = "charge-points/UPLOAD-0000/commands/"
            status, _ = await asyncio.to_thread(request, server.port, made.api_key, "POST", path, body)
            return status == UNAVAILABLE

        async def fault(number: int) -> str:
            name = on_disk[number % len(on_disk)]
            with _Full(made.folder / name, LEFT_BYTES if name else 0):
                if name:
                    status = await asyncio.to_thread(_put, server.port, paths[number], file)
                    answers[status] += 1
                    if status != INSUFFICIENT_STORAGE:
                        result.violations.append(f"an upload on a full disk was answered {status}")
                    left = sorted(path.name for path in incoming.iterdir()) if incoming.exists() else []
                    result.violations.extend(f"{name} was left behind on a full disk" for name in left)
                elif await until(database_is_full, SQLITE_SECONDS) is None:
                    result.violations.append("SQLite found room on a full disk")
                await asyncio.sleep(plan.outage_seconds)
            status = await asyncio.to_thread(_put, server.port, paths[number], file)
            answers[status] += 1
            if status != http.client.CREATED:
                result.violations.append(f"an upload with room again was answered {status}")
            return f"disk of {name or 'SQLite'} full"

        asyncio.run(play(result, plan, made, [server], fault, tell))
        if not server.running:
            result.violations.append("the server process ended")
        files = (made.folder / "files").rglob("*")
        stored = sorted(path.stat().st_size for path in files if path.is_file())
        if stored != [FILE_BYTES] * plan.times:
            result.violations.append(f"{plan.times} files of {FILE_BYTES} bytes were taken, stored are {stored}")
    result.figures["uploads"] = {str(status): count for status, count in sorted(answers.items())}
    return result


class _Full:
    """While it is open, the disk of `folder` has no room but `left_bytes`."""

    def __init__(self, folder: Path, left_bytes: int) -> None:
        self._path, self._left_bytes = folder / "filler", left_bytes

    def __enter__(self) -> None:
        status = os.statvfs(self._path.parent)
        size = max(1, status.f_bavail * status.f_frsize - self._left_bytes)
        # Others write meanwhile: there may be less room than there was.
        with self._path.open("wb", buffering=0) as file, suppress(OSError):
            while file.tell() < size:
                file.write(bytes(min(PAGE_BYTES, size - file.tell())))

    def __exit__(self, *_: object) -> None:
        self._path.unlink()


def _put(port: int, path: str, file: bytes) -> int:
    """The HTTP status that a file gets; 0 for none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("PUT", f"{path}diagnostics.bin", file)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
