"""Idempotency-Key where it is hard: waiting, dying processes, answers with secrets."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from stations.api import commands as commands_api
from stations.models import ChargePoint, Command
from tenants.models import IdempotencyRecord
from tenants.scope import platform_scope, tenant_scope
from tests.stations.api.conftest import Api, Owner

PATH = "charge-points/SAME/commands/"
BODY = {"action": "ClearCache"}
KEY = {"Idempotency-Key": "k1"}

pytestmark = pytest.mark.django_db


def finish(pk: int) -> None:
    """What the charge point's answer does to the command."""
    Command.objects.filter(pk=pk).update(status="answered", response={"status": "Accepted"})


def test_wait_is_no_part_of_the_request(a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_api, "wait_until_final", lambda pk, seconds: finish(pk))
    first = a.api("POST", f"{PATH}?wait=5", BODY, **KEY)
    assert (first.status_code, first.json()["status"]) == (202, "answered")
    for path in (PATH, f"{PATH}?wait=5", f"{PATH}?wait=60"):
        again = a.api("POST", path, BODY, **KEY)
        assert (again.content, again["Idempotency-Replayed"]) == (first.content, "true")
    with tenant_scope(a.tenant):
        assert Command.objects.count() == 1


def test_one_that_waits_is_still_running(a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile: list[Any] = []

    def wait(pk: int, seconds: float) -> None:
        meanwhile.append(a.api("POST", PATH, BODY, **KEY))

    monkeypatch.setattr(commands_api, "wait_until_final", wait)
    first = a.api("POST", f"{PATH}?wait=5", BODY, **KEY)
    assert first.status_code == 202
    assert [(answer.status_code, answer["Retry-After"]) for answer in meanwhile] == [(409, "1")]


def test_process_that_died_waiting_leaves_its_answer(a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(pk: int, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands_api, "wait_until_final", die)
    with pytest.raises(KeyboardInterrupt):
        a.api("POST", f"{PATH}?wait=5", BODY, **KEY)
    assert a.api("POST", PATH, BODY, **KEY).status_code == 409
    with tenant_scope(a.tenant):
        IdempotencyRecord.objects.update(created_at=datetime.now(UTC) - timedelta(seconds=61))
    answers = [a.api("POST", PATH, BODY, **KEY) for _ in range(2)]
    with tenant_scope(a.tenant):
        assert [answer.json()["id"] for answer in answers] == [Command.objects.get().pk] * 2


def test_process_that_died_before_its_work_is_taken_over(a: Owner) -> None:
    a.api("POST", PATH, BODY, **KEY)
    with tenant_scope(a.tenant):
        Command.objects.all().delete()
        IdempotencyRecord.objects.update(
            state="running", response_status=None, created_at=datetime.now(UTC) - timedelta(seconds=61)
        )
    taken_over = a.api("POST", PATH, BODY, **KEY)
    assert (taken_over.status_code, taken_over.has_header("Idempotency-Replayed")) == (202, False)
    with tenant_scope(a.tenant):
        assert (Command.objects.count(), IdempotencyRecord.objects.get().state) == (1, "done")


def test_expired_record_is_forgotten(a: Owner) -> None:
    first = a.api("POST", PATH, BODY, **KEY).json()
    with tenant_scope(a.tenant):
        IdempotencyRecord.objects.update(expires_at=datetime.now(UTC))
    assert a.api("POST", PATH, BODY, **KEY).json()["id"] != first["id"]


def test_same_key_for_another_path_is_422(a: Owner) -> None:
    assert a.api("POST", "id-tags/", {"id_tag": "X"}, **KEY).status_code == 201
    assert a.api("POST", "sites/", {"id_tag": "X"}, **KEY).status_code == 422


def test_failure_of_ours_is_not_kept(a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(commands_api.commands, "enqueue", fail)
        broken = a.api("POST", PATH, BODY, **KEY)
    assert (broken.status_code, broken.json()["code"]) == (500, "internal_error")
    assert "a bug" not in broken.content.decode()
    with tenant_scope(a.tenant):
        assert not IdempotencyRecord.objects.exists()
    assert a.api("POST", PATH, BODY, **KEY).status_code == 202


def test_error_takes_back_what_was_done(a: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise commands_api.Problem(409, "too_late", "After the row was written.")

    monkeypatch.setattr(commands_api._Commands, "created", refuse)
    assert a.api("POST", PATH, BODY, **KEY).status_code == 409
    with tenant_scope(a.tenant):
        assert not Command.objects.exists()


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ü"])
def test_bad_key_is_400(a: Owner, key: str) -> None:
    response = a.api("POST", PATH, BODY, **{"Idempotency-Key": key})
    # A blank is printable, and no worse a key than another.
    assert response.status_code == (202 if key == " " else 400)


def test_password_shown_once_is_stored_encrypted(a: Owner) -> None:
    answers = [a.api("POST", "charge-points/", {"identity": "NEW"}, **KEY) for _ in range(2)]
    assert answers[0].content == answers[1].content
    password = answers[0].json()["password"]
    with tenant_scope(a.tenant):
        record = IdempotencyRecord.objects.get()
        assert password.encode() not in bytes(record.response_body or b"")
        assert password not in ChargePoint.objects.get(identity="NEW").password_hash


def test_answer_written_under_another_secret_is_lost_not_repeated(a: Owner, settings: Any) -> None:
    a.api("POST", PATH, BODY, **KEY)
    settings.SECRET_KEY = "another-key-of-at-least-thirty-two-characters"
    response = a.api("POST", PATH, BODY, **KEY)
    assert (response.status_code, response.json()["code"]) == (409, "answer_lost")


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_do_it_once(a: Owner) -> None:
    together = threading.Barrier(10)
    statuses: list[int] = []

    def post() -> None:
        try:
            together.wait(10)
            statuses.append(Api(a.api.key)("POST", PATH, BODY, **KEY).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=post) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(statuses) == 10
    assert set(statuses) <= {202, 409}
    assert 202 in statuses
    with platform_scope():
        assert Command.objects.count() == IdempotencyRecord.objects.count() == 1
