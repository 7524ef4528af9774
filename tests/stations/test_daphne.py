"""Daphne, which drives runserver, carries an OCPP conversation as well; uvicorn is what production uses."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Csms
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import LOOPBACK, Program, free_port


@pytest.fixture
def port(csms: Csms, tmp_path: Path) -> Iterator[int]:
    """The port of a Daphne on the database of the shared server."""
    port = free_port()
    program = Program(tmp_path / "daphne.log", parent_death_signal=signal.SIGKILL)
    command = [sys.executable, "-m", "daphne", "-b", LOOPBACK, "-p", str(port), "csms.asgi:application"]
    program.launch(command, csms.server.env)

    def answers() -> bool:
        try:
            return httpx.get(f"http://{LOOPBACK}:{port}/no-such-page", timeout=5).status_code == 404
        except httpx.TransportError:
            return False

    program.wait_ready(answers, timeout_seconds=60, describe="Daphne")
    yield port
    program.end(signal.SIGTERM, grace_seconds=10)
    sys.stdout.write(program.log())


async def test_conversation_over_daphne(csms: Csms, port: int) -> None:
    password = secrets.token_hex(8)
    identity = (await asyncio.to_thread(csms.charge_point, password=password)).identity
    tag = await asyncio.to_thread(csms.id_tag)
    cp = FakeChargePoint(f"ws://{LOOPBACK}:{port}/ocpp/{csms.tenant.slug}", identity, password)
    async with cp:
        assert cp.subprotocol == "ocpp1.6"
        assert (await cp.boot())["status"] == "Accepted"
        assert await cp.status(1, "Preparing") == {}
        started = await cp.start_transaction(1, tag)
        assert started["idTagInfo"] == {"status": "Accepted"}
        assert await cp.meter_values(1, started["transactionId"]) == {}
        # A command asked of Daphne itself, by REST over the same port.
        headers = {"Authorization": f"Api-Key {csms.tenant.api_key}"}
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}/api/v1/", headers=headers) as client:
            body = {"action": "ClearCache", "payload": {}}
            queued = (await client.post(f"charge-points/{identity}/commands/", json=body)).json()
            await cp.reply(await cp.expect_call("ClearCache"), {"status": "Accepted"})
            done = (await client.get(f"commands/{queued['id']}/", params={"wait": 10}, timeout=20)).json()
            assert (done["status"], done["response"]) == ("answered", {"status": "Accepted"})
        assert await cp.stop_transaction(started["transactionId"], reason="Remote") == {}
    tx = await asyncio.to_thread(csms.get, f"transactions/{started['transactionId']}/")
    assert (tx["active"], tx["stop_reason"], tx["energy_wh"]) == (False, "Remote", 1000)


async def test_refusal_over_daphne_is_no_upgrade(csms: Csms, port: int) -> None:
    identity = (await asyncio.to_thread(csms.charge_point)).identity
    cp = FakeChargePoint(f"ws://{LOOPBACK}:{port}/ocpp/{csms.tenant.slug}", identity, "wrong-password-1234")
    with pytest.raises(ConnectionRefused) as refused:
        await cp.connect()
    # Daphne cannot send a status of ours.
    assert refused.value.status == 403
