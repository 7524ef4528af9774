"""Idempotency-Key: a POST that is repeated gets the first answer again, whichever process it reaches.

The record is inserted first, so the database decides who runs; it becomes `done` in the transaction of the work itself,
so there is never work without its answer. A process that dies in between leaves `running`, taken over after a minute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.problems import CONTENT_TYPE, Problem
from tenants.api.rendering import JsonRenderer
from tenants.models import ApiKey, IdempotencyRecord

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
TAKEN_OVER_AFTER = timedelta(minutes=1)
MAX_KEY = 255
REPEATED_HEADERS = ("Location", "ETag")
RUNNING, DONE = "running", "done"


def run_once(request: Request, work: Callable[[], Response]) -> Response | HttpResponse:
    """Run `work` in a transaction and keep its answer under the request's Idempotency-Key, or give the kept one.

    `work` returns errors as answers too. Raises Problem: 400 for a bad key, 409 while the first one runs, 422 when the
    key was used for something else. Answers of 500 and above are not kept.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return _in_transaction(work)
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise Problem(400, "invalid_idempotency_key", f"{HEADER} has 1 to {MAX_KEY} printable characters.")
    owner: dict[str, Any] = (
        {"api_key": request.auth, "user": None}
        if isinstance(request.auth, ApiKey)
        else {"api_key": None, "user": request.user}
    )
    path = request._request.path[:2000]
    digest = hashlib.sha256(f"POST {path}\n".encode() + request._request.body).hexdigest()
    record = _claim(owner, key, path, digest)
    if record.state == DONE:
        return _kept(record)
    try:
        response = _in_transaction(work, record)
    except BaseException:
        record.delete()
        raise
    if response.status_code >= 500:
        record.delete()
    return response


def _claim(owner: dict[str, Any], key: str, path: str, digest: str) -> IdempotencyRecord:
    """The record of this key: a new one to run under, a finished one to repeat; else raises Problem."""
    now = datetime.now(UTC)
    rows = (
        IdempotencyRecord.objects.filter(**owner, key=key)
        if owner["user"]
        else IdempotencyRecord.objects.filter(api_key=owner["api_key"], key=key)
    )
    for _ in range(2):
        try:
            with transaction.atomic():
                return IdempotencyRecord.objects.create(
                    **owner, key=key, method="POST", path=path, body_digest=digest, created_at=now,
                    expires_at=now + KEPT,
                )  # fmt: skip
        except IntegrityError:
            record = rows.first()
            if record is None:
                continue
            if record.expires_at <= now:
                record.delete()
                continue
            if record.body_digest != digest:
                raise Problem(422, "idempotency_key_reused", f"This {HEADER} was used for another request.") from None
            if record.state == DONE:
                return record
            abandoned = rows.filter(state=RUNNING, created_at=record.created_at)
            if record.created_at <= now - TAKEN_OVER_AFTER and abandoned.update(created_at=now):
                record.created_at = now
                return record
            break
    raise Problem(
        409, "idempotency_key_running", "The first request with this key is still running.",
        headers={"Retry-After": "1"},
    )  # fmt: skip


def _in_transaction(work: Callable[[], Response], record: IdempotencyRecord | None = None) -> Response:
    """Commit what `work` did together with its answer; an answer that is an error takes what it did back."""
    with transaction.atomic():
        savepoint = transaction.savepoint()
        response = work()
        if response.status_code >= 400:
            transaction.savepoint_rollback(savepoint)
        else:
            transaction.savepoint_commit(savepoint)
        if record is not None and response.status_code < 500:
            record.state = DONE
            record.response_status = response.status_code
            record.response_headers = {n: response[n] for n in REPEATED_HEADERS if response.has_header(n)}
            record.response_body = JsonRenderer().render(response.data)
            record.save()
    return response


def _kept(record: IdempotencyRecord) -> HttpResponse:
    status = record.response_status or 200
    response = HttpResponse(
        bytes(record.response_body or b""),
        status=status,
        content_type="application/json" if status < 400 else CONTENT_TYPE,
    )
    for name, value in record.response_headers.items():
        response[name] = value
    response["Idempotency-Replayed"] = "true"
    return response
