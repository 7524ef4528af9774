"""Web pages and REST lists as one person reads them: one after the other over one connection, nothing parsed."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from csms.benchmark.station import LoadError

PAGE_SECONDS = 60


async def browse(
    host: str, port: int, headers: dict[str, str], pages: list[dict[str, str]], times: int
) -> list[dict[str, Any]]:
    """Read every page `times` times, all of them in turn so that what disturbs the machine disturbs all alike.

    A page is `{name, path}`; gives `{name, bytes, p50_ms, p95_ms}` for each. Raises LoadError unless it is 200.
    """
    common = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    requests = [f"GET {page['path']} HTTP/1.1\r\nHost: {host}:{port}\r\n{common}\r\n".encode() for page in pages]
    took: list[list[float]] = [[] for _ in pages]
    sizes = [0] * len(pages)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        # The first reading of each is not counted: it fills caches that a server has once.
        for turn in range(times + 1):
            for number, request in enumerate(requests):
                began = perf_counter()
                writer.write(request)
                async with asyncio.timeout(PAGE_SECONDS):
                    sizes[number] = await _read(reader, pages[number]["path"])
                if turn:
                    took[number].append((perf_counter() - began) * 1000)
    finally:
        writer.close()
    return [
        {"name": page["name"], "bytes": size, "p50_ms": _percentile(found, 0.5), "p95_ms": _percentile(found, 0.95)}
        for page, size, found in zip(pages, sizes, took, strict=True)
    ]


async def _read(reader: asyncio.StreamReader, path: str) -> int:
    """Take in one answer; the size of its body. Raises LoadError unless it is 200."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        raise LoadError(f"{path}: the connection ended") from error
    first, *lines = head.splitlines()
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    if first.split()[1] != "200":
        raise LoadError(f"{path}: {first} {fields.get('location', '')} {body[:300].decode(errors='replace')}")
    return len(body)


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
