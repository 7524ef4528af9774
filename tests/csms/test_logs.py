"""Log lines: JSON that says what it is about, text for people, and no secret in either."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from csms import logs
from stations.dispatch import InboundCall, Link, Work
from tests.conftest import Csms
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import wait_until

SECRET = "MarkSecret-00000001"
LINK = Link(1, 2, 3, "alpha/CP/1")


Written = tuple[logging.Logger, io.StringIO]


@contextmanager
def written(form: str) -> Iterator[Written]:
    """A logger of its own with the product's formatter, and what it has written."""
    formatter = dict(logs.configuration(form, "INFO")["formatters"]["line"])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter.pop("()")(**formatter))
    logger = logging.getLogger(f"tests.logs.{form}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


@pytest.fixture
def as_json() -> Iterator[Written]:
    with written("json") as made:
        yield made


@pytest.fixture
def as_console() -> Iterator[Written]:
    with written("console") as made:
        yield made


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_one_json_object(as_json: Written) -> None:
    logger, stream = as_json
    # Handed over directly: half of a surrogate pair among what pytest captures cannot be sent between its processes.
    record = logger.makeRecord(logger.name, logging.WARNING, "", 0, "A %s line\nof %d parts, \ud800", ("long", 2), None)
    logger.handlers[0].handle(record)
    (line,) = lines(stream)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {"level": "warning", "logger": "tests.logs.json", "message": "A long line\nof 2 parts, \ud800"}


def test_failure_is_in_the_line(as_json: Written) -> None:
    logger, stream = as_json
    try:
        raise ValueError(f"ftp://user:{SECRET}@host/")
    except ValueError:
        logger.exception("It failed")
    (line,) = lines(stream)
    assert line["message"] == "It failed"
    assert line["exception"].endswith("ValueError: ftp://user:***@host/")


def test_lane_names_the_item_that_it_answers(as_json: Written) -> None:
    logger, stream = as_json
    call = InboundCall(LINK, "message-1", "Heartbeat", None, {}, [], datetime.now(UTC), 0.0)
    answer = Work(LINK, partial(print, message_id="message-2"))
    try:
        for item in (call, answer, None):
            logs.lane.item = item
            logger.info("A line")
            # Of another thread the lane knows nothing.
            other = threading.Thread(target=logger.info, args=("Elsewhere",))
            other.start()
            other.join()
    finally:
        logs.lane.item = None
    whose = {"tenant": "alpha", "charge_point": "CP/1"}
    expected = [whose | {"message_id": "message-1", "action": "Heartbeat"}, whose | {"message_id": "message-2"}, {}]
    members = [
        {name: value for name, value in line.items() if name not in ("timestamp", "level", "logger", "message")}
        for line in lines(stream)
    ]
    assert members == [expected[0], {}, expected[1], {}, {}, {}]


async def test_tasks_and_threads_of_a_conversation_know_whose_it_is(as_json: Written) -> None:
    logger, stream = as_json

    async def beside() -> None:
        await known.wait()
        logger.info("A task")

    known = asyncio.Event()
    logs.begin_conversation()
    task = asyncio.create_task(beside())
    logs.know(tenant="alpha", charge_point="x" * 500)
    known.set()
    await task
    await asyncio.get_running_loop().run_in_executor(None, logs.carried(partial(logger.info, "A thread")))
    await asyncio.get_running_loop().run_in_executor(None, partial(logger.info, "Somebody else"))
    told = [(line["message"], line.get("tenant"), len(line.get("charge_point", ""))) for line in lines(stream)]
    assert told == [("A task", "alpha", 100), ("A thread", "alpha", 100), ("Somebody else", None, 0)]


@pytest.mark.parametrize(
    "text",
    [
        f"wss://CP-1:{SECRET}@host/ocpp",
        f"https://host/image.bin?X-Amz-Signature={SECRET}",
        f"Authorization: Basic {SECRET}==",
        f"headers {{'authorization': 'Bearer {SECRET}'}}",
        f"Api-Key {SECRET}",
        f'[2,"1","ChangeConfiguration",{{"key":"AuthorizationKey","value":"{SECRET}"}}]',
        f'Failing row contains (7, {{"key": "AuthorizationKey", "value": "{SECRET}"}}, null).',
        f"{{'key': 'authorizationKEY', 'readonly': False, 'value': '{SECRET}'}}",
    ],
)
def test_secrets_are_masked_in_both_forms(text: str, as_json: Written, as_console: Written) -> None:
    for logger, stream in (as_json, as_console):
        logger.warning("It said %s", text)
        logger.warning(text, extra={"ignored": SECRET})
        try:
            raise RuntimeError(text)
        except RuntimeError:
            logger.exception("It failed")
        assert "It said" in stream.getvalue()
        assert SECRET not in stream.getvalue()
        assert stream.getvalue().count("***") == 3


def test_people_read_lines_with_members_at_the_end(as_console: Written) -> None:
    logger, stream = as_console
    logs.lane.item = InboundCall(LINK, "message-1", "Heartbeat", None, {}, [], datetime.now(UTC), 0.0)
    try:
        logger.info("A line")
    finally:
        logs.lane.item = None
    words = stream.getvalue().split()
    assert words[1:5] == ["[info", "]", "A", "line"]
    assert words[5:] == [
        "[tests.logs.console]", "action=Heartbeat", "charge_point=CP/1", "message_id=message-1", "tenant=alpha",
    ]  # fmt: skip


# --- a running server -------------------------------------------------------------------------------------------------
def logged(csms: Csms, since: int) -> list[dict[str, Any]]:
    """The lines of the running server from `since` on; every one is JSON, or what `serve` announces."""
    return [json.loads(line) for line in csms.server.log()[since:].splitlines() if not line.startswith("Listening on ")]


async def test_refused_handshake_says_whose_it_was_and_no_password(csms: Csms) -> None:
    cp = await asyncio.to_thread(csms.charge_point)
    since = len(csms.server.log())
    with pytest.raises(ConnectionRefused):
        await FakeChargePoint(csms.server.ws_url(csms.tenant.slug), cp.identity, SECRET).connect()

    def refusals() -> list[dict[str, Any]]:
        return [line for line in logged(csms, since) if line.get("charge_point") == cp.identity]

    # One line, and none of the web server's beside it.
    (line,) = await asyncio.to_thread(wait_until, refusals, describe="the refusal in the log")
    assert (line["level"], line["logger"], line["tenant"]) == ("info", "stations.handshake", csms.tenant.slug)
    assert line["message"].startswith(f"Handshake refused: wrong_password, identity '{cp.identity}'")
    assert SECRET not in csms.server.log()


def test_web_request_has_one_id_in_the_log_and_in_its_answer(csms: Csms) -> None:
    since = len(csms.server.log())
    answer = csms.server.api("GET", "no-such-list/", key=csms.tenant.api_key, headers={"X-Request-ID": "proxy-0001"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (404, "proxy-0001")
    given = csms.server.api("GET", "no-such-list/", headers={"X-Request-ID": "no plain word"})
    assert len(given.headers["x-request-id"]) == 32

    def lines_of_both() -> list[str]:
        ids = [line["request_id"] for line in logged(csms, since) if line["logger"] == "django.request"]
        return ids if len(ids) == 2 else []

    assert wait_until(lines_of_both, describe="both lines") == ["proxy-0001", given.headers["x-request-id"]]
