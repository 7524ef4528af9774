"""What an upload gets for which there is no room (stations/files/receiving.py)."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stations.file_exchange import Upload, incoming_folder
from stations.files import receiving
from stations.files.http import Exchange


class FullDisk:
    """A file that has room for nothing, not even for what is still buffered when it is closed."""

    def __init__(self, path: Path) -> None:
        path.touch()

    def write(self, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        self.write(b"")


@pytest.mark.parametrize("size", [10, receiving.WRITE_BYTES + 10], ids=["at the end", "in the middle"])
async def test_upload_without_room_is_refused_with_507_and_leaves_nothing(
    size: int, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CSMS_MEDIA_DIR = tmp_path
    monkeypatch.setattr(Path, "open", lambda path, mode: FullDisk(path))
    parts = [{"type": "http.request", "body": bytes(size), "more_body": True}, {"type": "http.request", "body": b"x"}]
    answers: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return parts.pop(0)

    async def send(message: Mapping[str, Any]) -> None:
        answers.append(message)

    exchange = Exchange({"method": "PUT", "headers": []}, receive, send)
    await receiving.answer(exchange, Upload(tenant_id=1, url_id=1), name="log", address="127.0.0.1")
    assert answers[0]["status"] == 507
    assert answers[1]["body"] == b"There is no room for the file. Try again later.\n"
    assert list(incoming_folder().iterdir()) == []
