"""Idempotency-Key: a POST that is repeated gets the first answer again, whichever process it reaches.

Context: a program whose connection broke does not know whether its command was queued. It must be able to ask again.
Choice: the record is inserted first, so the database decides who runs; the answer is stored in the transaction of the
work itself, so there is never work without its answer. What follows the commit (waiting for a charge point) may still
change the answer; until then the record stays `running`.
Consequence: a process that dies leaves `running`, taken over after a minute: with an answer it is that answer, without
one nothing was done. Answers may hold a password or a key shown once, so they are stored encrypted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.problems import CONTENT_TYPE, Problem
from tenants.api.rendering import JsonRenderer
from tenants.api.requests import raw_path
from tenants.models import ApiKey, IdempotencyRecord, IdempotencyState

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
KEPT = timedelta(hours=24)
TAKEN_OVER_AFTER = timedelta(minutes=1)
MAX_KEY = 255
REPEATED_HEADERS = ("Location", "ETag")

Work = Callable[[], Response]
FollowUp = Callable[[Response], Response]


def run_once(request: Request, work: Work, follow_up: FollowUp | None) -> Response | HttpResponse:
    """Run `work` in a transaction, then `follow_up`, and keep the answer under the request's key; or give the kept one.

    `work` returns errors as answers too; what it did is then taken back. `follow_up` runs after the commit, and only
    for an answer that is no error. Raises Problem: 400 for a bad key, 409 while the first request runs, 422 when the
    key was used for another path or body. Answers of 500 and above are not kept.
    """
    key = request.headers.get(HEADER)
    if key is None:
        response = _in_transaction(work)
        return follow_up(response) if follow_up is not None and response.status_code < 400 else response
    if not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise Problem(400, "invalid_idempotency_key", f"{HEADER} must have 1 to {MAX_KEY} printable ASCII characters.")
    owner: dict[str, Any] = (
        {"api_key": request.auth} if isinstance(request.auth, ApiKey) else {"api_key": None, "user": request.user}
    )
    path = raw_path(request._request)
    digest = hashlib.sha256(f"POST {path}\n".encode() + request._request.body).hexdigest()
    record = _claim(owner, key, path[:2000], digest)
    if record.response_status is not None:
        if record.state == IdempotencyState.RUNNING:
            _finish(record)
        return _kept(record)
    try:
        response = _in_transaction(work, record, final=follow_up is None)
    except BaseException:
        record.delete()
        raise
    if response.status_code >= 500:
        record.delete()
    elif record.state == IdempotencyState.RUNNING and follow_up is not None:
        response = follow_up(response)
        _fill(record, response)
        _finish(record)
    return response


def _claim(owner: dict[str, Any], key: str, path: str, digest: str) -> IdempotencyRecord:
    """The record of this key: a new one to run under, or one with an answer to repeat; else raises Problem."""
    now = datetime.now(UTC)
    rows = IdempotencyRecord.objects.filter(**owner, key=key)
    for _ in range(3):
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
            rows.filter(pk=record.pk).delete()
            continue
        if record.body_digest != digest:
            raise Problem(422, "idempotency_key_reused", f"This {HEADER} was used for another request.")
        if record.state == IdempotencyState.DONE:
            return record
        abandoned = rows.filter(state=IdempotencyState.RUNNING, created_at=record.created_at)
        if record.created_at <= now - TAKEN_OVER_AFTER and abandoned.update(created_at=now):
            record.created_at = now
            return record
        break
    raise Problem(
        409,
        "idempotency_key_running",
        f"The first request with this {HEADER} is still running.",
        headers={"Retry-After": "1"},
    )


def _in_transaction(work: Work, record: IdempotencyRecord | None = None, *, final: bool = True) -> Response:
    """Commit what `work` did together with its answer; an answer that is an error takes what it did back."""
    with transaction.atomic():
        savepoint = transaction.savepoint()
        response = work()
        if response.status_code >= 400:
            transaction.savepoint_rollback(savepoint)
        else:
            transaction.savepoint_commit(savepoint)
        if record is not None and response.status_code < 500:
            _fill(record, response)
            if final or response.status_code >= 400:
                record.state = IdempotencyState.DONE
            record.save()
    return response


def _fill(record: IdempotencyRecord, response: Response) -> None:
    record.response_status = response.status_code
    record.response_headers = {name: response[name] for name in REPEATED_HEADERS if response.has_header(name)}
    record.keep(JsonRenderer().render(response.data))


def _finish(record: IdempotencyRecord) -> None:
    """Make the answer final, unless a repetition has done so before: what was given once stays."""
    IdempotencyRecord.objects.filter(pk=record.pk, state=IdempotencyState.RUNNING).update(
        state=IdempotencyState.DONE,
        response_status=record.response_status,
        response_headers=record.response_headers,
        response_body=record.response_body,
    )


def _kept(record: IdempotencyRecord) -> HttpResponse:
    status = record.response_status or 200
    try:
        body = record.kept()
    except InvalidToken:
        raise Problem(
            409, "answer_lost", "The request was carried out, but its answer can no longer be read."
        ) from None
    response = HttpResponse(body, status=status, content_type="application/json" if status < 400 else CONTENT_TYPE)
    for name, value in record.response_headers.items():
        response[name] = value
    response[REPLAYED_HEADER] = "true"
    return response
