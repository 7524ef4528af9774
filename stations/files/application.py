"""`/files/<token>/<name>`: finds out what a URL stands for, and lets it be sent or received."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError

from csms.proxies import peer
from stations import file_exchange
from stations.attempt_limits import cache_safely
from stations.file_exchange import Download, Upload, UrlRefused
from stations.files import receiving, sending
from stations.files.http import Exchange, Receive, Scope, Send
from stations.files.threads import with_rows

logger = logging.getLogger(__name__)

# By the beginning of the token, which says what the URL is for.
METHODS = {f"{file_exchange.DOWNLOAD}-": ("GET", "HEAD"), f"{file_exchange.UPLOAD}-": ("PUT", "POST")}
WINDOW_SECONDS = 60
# Transfers of this process at a time; each holds a few hundred kilobytes.
MAX_TRANSFERS = 256

_transfers = 0


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application below /files/."""
    global _transfers
    exchange = Exchange(scope, receive, send)
    if _transfers >= MAX_TRANSFERS:
        await exchange.refuse(503, "Too many transfers at once.", {"Retry-After": "30"})
        return
    _transfers += 1
    try:
        await _serve(scope, exchange)
    except DatabaseError as error:
        logger.error("A transfer failed: %s", type(error).__name__)
        if not exchange.answered:
            await exchange.refuse(503, "Try again later.", {"Retry-After": "30"})
    finally:
        _transfers -= 1


async def _serve(scope: Scope, exchange: Exchange) -> None:
    address = peer(scope, exchange.headers).address
    parts = _path(scope).removeprefix(file_exchange.PATH).split("/")
    allowed = METHODS.get(parts[0][:2])
    if allowed is not None and exchange.method not in allowed:
        await exchange.refuse(405, f"Use {' or '.join(allowed)}.", {"Allow": ", ".join(allowed)})
        return
    try:
        found = await with_rows(partial(_find, parts[0], address))
    except UrlRefused as refused:
        if exchange.method not in ("GET", "HEAD"):
            await receiving.drain(exchange)
        await exchange.refuse(
            refused.status, refused.detail, {"Retry-After": str(WINDOW_SECONDS)} if refused.status == 429 else None
        )
        return
    if isinstance(found, Download):
        await sending.answer(exchange, found)
    else:
        await receiving.answer(exchange, found, name=unquote(parts[-1]) if len(parts) > 1 else "", address=address)


def _path(scope: Scope) -> str:
    """The path as it was sent, still percent-encoded: an encoded slash is part of a name."""
    raw: bytes = scope.get("raw_path") or str(scope["path"]).encode()
    return raw.split(b"?")[0].decode("latin-1")


def _find(token: str, address: str) -> Download | Upload:
    """file_exchange.find, unless the address has asked for too many URLs that do not exist."""
    key = f"files:unknown:{address}"
    limit: Any = settings.CSMS_FAILED_ATTEMPTS_PER_ADDRESS
    if (cache_safely(lambda: cache.get(key)) or 0) >= limit:
        raise UrlRefused(429, "Too many requests for files that do not exist.")
    try:
        return file_exchange.find(token, address, datetime.now(UTC))
    except UrlRefused as refused:
        if refused.status == 404:
            cache_safely(lambda: cache.add(key, 0, WINDOW_SECONDS))
            cache_safely(lambda: cache.incr(key))
            logger.info("Unknown file URL asked for, from %s", address)
        raise
