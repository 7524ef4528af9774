"""`python -m csms.drills.downloads`: charge points that fetch an image, drop the line, and resume.

A process of its own, so that what it spends is not counted. One order on stdin, one report on stdout, as JSON:
`{port, paths, drops, size, sha256}`; `{completed, resumed, fetched_bytes, seconds, failures}`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import sys
import threading
import time
from typing import Any

CHUNK_BYTES = 256 * 1024
TIMEOUT_SECONDS = 120


class Fetching(threading.Thread):
    """One charge point; `failure` says what was not as it must be."""

    def __init__(self, order: dict[str, Any], number: int) -> None:
        super().__init__(daemon=True)
        self._order = order
        self._path = order["paths"][number]
        self._chance = random.Random(number)  # noqa: S311 - a drill is to be repeatable, not secret
        self._digest = hashlib.sha256()
        self._etag = ""
        self.at = 0
        self.resumed = 0
        self.failure = ""

    def run(self) -> None:
        try:
            size = self._order["size"]
            for left in range(self._order["drops"], -1, -1):
                rest = size - self.at
                # Dropped lines are spread over the file; the last attempt gets to its end.
                self._fetch(int(rest / (left + 1) * self._chance.uniform(0.5, 1.0)) if left else rest)
            if self._digest.hexdigest() != self._order["sha256"]:
                self.failure = "what was fetched is not the image"
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failure = f"{type(error).__name__} {error}"

    def _fetch(self, length: int) -> None:
        """Take the next `length` bytes and drop the line."""
        connection = http.client.HTTPConnection("127.0.0.1", self._order["port"], timeout=TIMEOUT_SECONDS)
        headers = {"Range": f"bytes={self.at}-", "If-Range": self._etag} if self.at else {}
        try:
            connection.request("GET", self._path, headers=headers)
            response = connection.getresponse()
            if response.status != (206 if self.at else 200):
                raise ValueError(f"answered {response.status} at {self.at}")
            if self.at:
                self.resumed += 1
            self._etag = response.headers["ETag"]
            end = self.at + length
            while self.at < end:
                data = response.read1(min(CHUNK_BYTES, end - self.at))
                if not data:
                    raise ValueError(f"ended at {self.at}")
                self._digest.update(data)
                self.at += len(data)
        finally:
            connection.close()


def main() -> None:
    order = json.loads(sys.stdin.readline())
    began = time.perf_counter()
    fetching = [Fetching(order, number) for number in range(len(order["paths"]))]
    for one in fetching:
        one.start()
    for one in fetching:
        one.join()
    report = {
        "completed": sum(not one.failure for one in fetching),
        "resumed": sum(one.resumed for one in fetching),
        "fetched_bytes": sum(one.at for one in fetching),
        "seconds": round(time.perf_counter() - began, 1),
        "failures": [one.failure for one in fetching if one.failure],
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
