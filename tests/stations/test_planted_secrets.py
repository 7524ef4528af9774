"""Passwords that came in by every way there is are found nowhere: not in a table, a log, an answer or a page."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import CsmsServer

# Each begins with a mark of its own, so that a find says by which way it came.
REGISTERED = "MarkRegistered-0001"
PATCHED = "MarkPatched-00000002"
GUESSED = "MarkGuessed-00000003"
TYPED = "MarkTyped-0000000004"
BY_HAND = b"MarkByHand-000000005".hex()
QUEUED = b"MarkQueued-000000006".hex()
AS_TEXT = "MarkAsText-000000007"
REPORTED = "MarkReported-0000008"
BROKEN = "MarkBroken-000000009"
WITHDRAWN = b"MarkWithdrawn-000010".hex()
# No secret: it must be found.
CONTROL = "MarkControl-00000011"


@pytest.fixture(scope="module")
def csms(_make_csms_server: Callable[..., CsmsServer]) -> Iterator[Csms]:
    """A server of its own: every row of its database was made here."""
    server = _make_csms_server()
    server.start()
    yield Csms(server, LiveTenant("planted", server.create_tenant("planted")["api_key"]))
    server.close()


def forms(secret: str) -> set[str]:
    """What a secret may look like: itself, its digits, its bytes, and as HTTP Basic has it."""
    raw = bytes.fromhex(secret) if all(character in "0123456789abcdefABCDEF" for character in secret) else b""
    found = {secret, secret.upper(), secret.lower(), secret.encode().hex(), secret.encode().hex().upper()}
    if raw:
        found |= {raw.decode("latin-1"), raw.hex(), raw.hex().upper()}
    for password in (secret.encode(), raw):
        # Of base64 with something in front of it, what does not depend on that: three alignments, without the edges.
        for padding in range(3):
            encoded = base64.b64encode(b"x" * padding + password).decode()
            found.add(encoded[4:-4])
    return {form for form in found if len(form) >= 12}


def every_text_of_the_database(server: CsmsServer) -> str:
    """Every column of every row of every table, as text."""
    texts: list[str] = []
    if server.database_url.startswith("sqlite"):
        with sqlite3.connect(server.database_url.removeprefix("sqlite:///")) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                texts.extend(str(row) for row in database.execute(f'SELECT * FROM "{table}"'))  # noqa: S608
    else:
        with psycopg.connect(server.database_url) as postgres:
            postgres.execute("SELECT set_config('csms.tenant', 'platform', false)")
            names = postgres.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in names:
                rows = postgres.execute(f'SELECT t::text FROM "{table}" t').fetchall()  # type: ignore[arg-type]  # noqa: S608
                texts.extend(str(row) for row in rows)
    return "\n".join(texts)


async def test_secrets_are_found_nowhere_after_they_came_in_by_every_way(csms: Csms) -> None:
    def ask(method: str, path: str, body: Any = None, **params: Any) -> Any:
        return csms.request(method, path, body, params=params)

    path = "charge-points/PLANTED/"
    made = [
        csms.request("PUT", path, {"password": REGISTERED, "description": CONTROL}),
        csms.request("PATCH", path, {"password": PATCHED}),
    ]
    cp = FakeChargePoint(csms.server.ws_url(csms.tenant.slug), "PLANTED", GUESSED)
    with pytest.raises(ConnectionRefused):
        await cp.connect()
    cp.password = PATCHED
    await cp.connect()
    cp.on("ChangeConfiguration", {"status": "Accepted"})
    cp.on("GetConfiguration", {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": REPORTED}]})

    def command(key: str, value: str, wait: int = 10) -> Any:
        body = {"action": "ChangeConfiguration", "payload": {"key": key, "value": value}}
        return ask("POST", f"{path}commands/", body, **({"wait": wait} if wait else {}))

    def by_every_way() -> Iterator[Any]:
        yield ask("POST", f"{path}password/", {"password": TYPED})
        yield csms.post(f"{path}password/", {}, headers={"Idempotency-Key": "once"})
        yield command("AuthorizationKey", BY_HAND)
        yield command("authorizationKEY", AS_TEXT)
        bulk = {"action": "ChangeConfiguration", "payload": {"key": "AuthorizationKey", "value": BY_HAND}}
        yield ask("POST", "commands/bulk/", {**bulk, "charge_points": ["PLANTED"]})
        yield ask("POST", f"{path}commands/", {"action": "GetConfiguration"}, wait=10)

    answers = await asyncio.to_thread(lambda: list(by_every_way()))
    shown_once = answers[1].pop("password")
    # Not OCPP-J at all, and half of it.
    await cp.send_raw(json.dumps([2, "x", "ChangeConfiguration", {"key": "AuthorizationKey", "value": BROKEN}]))
    await cp.send_raw(f'[2,"y","GetConfiguration",{{"configurationKey":[{{"key":"AuthorizationKey","value":"{BROKEN}"')
    await cp.heartbeat()
    await cp.close()
    # These wait for a charge point that does not come.
    waiting = await asyncio.to_thread(command, "AuthorizationKey", QUEUED, 0)
    assert waiting["status"] == "queued"
    withdrawn = await asyncio.to_thread(command, "AuthorizationKey", WITHDRAWN, 0)
    await asyncio.to_thread(ask, "DELETE", f"commands/{withdrawn['id']}/")

    def everything() -> dict[str, str]:
        parts = ("", "commands/", "messages/", "configuration/", "connection-attempts/")
        lists = ("charge-points/", "commands/", "connection-attempts/", "security-events/", "audit-log/")
        read: list[Any] = [ask("GET", f"{path}{part}") for part in parts]
        read += [csms.server.api("GET", one, key=csms.tenant.api_key).text for one in lists]
        return {
            "database": every_text_of_the_database(csms.server),
            "log": csms.server.log(),
            "answers": json.dumps([*made, *answers, waiting, withdrawn, *read]),
        }

    found = await asyncio.to_thread(everything)
    assert "AuthorizationKey" in found["database"]
    assert "PLANTED" in found["log"]
    assert CONTROL in found["database"]
    assert CONTROL in found["answers"]
    assert found["answers"].count("AuthorizationKey") > 10
    planted = (
        REGISTERED, PATCHED, GUESSED, TYPED, BY_HAND, AS_TEXT, REPORTED, BROKEN, QUEUED, WITHDRAWN, str(shown_once),
    )  # fmt: skip
    for place, text in found.items():
        leaks = [secret for secret in planted if any(form in text for form in forms(secret))]
        assert not leaks, f"in the {place}"
