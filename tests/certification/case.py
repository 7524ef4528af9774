"""One certification case: the tool's side of it (a charge point) and the operator's (REST).

The reusable flows have the names they have in the cases: Booted, Authorized, Charging, Ended. Each checks the exact
answers. Source: the public descriptions of the OCA's cases for an OCPP 1.6-J central system.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from websockets.exceptions import InvalidMessage

from tests.conftest import Csms
from tests.fake_charge_point import FakeChargePoint, ReceivedCall, timestamp

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True)
class Tokens:
    """Id tags of every state; `valid` and `same_parent` belong to the group `parent`, `unknown` is not registered."""

    valid: str
    same_parent: str
    parent: str
    expired: str
    blocked: str
    unknown: str

    @classmethod
    def register(cls, csms: Csms) -> Tokens:
        valid = csms.id_tag()
        parent = f"P-{valid}"
        csms.id_tag(valid, parent_id_tag=parent)
        past = timestamp(datetime.now(UTC) - timedelta(days=1))
        return cls(
            valid=valid,
            same_parent=csms.id_tag(parent_id_tag=parent),
            parent=parent,
            expired=csms.id_tag(expiry_date=past),
            blocked=csms.id_tag(status="Blocked"),
            unknown=f"X-{valid}",
        )


async def connected(cp: FakeChargePoint) -> FakeChargePoint:
    """Connect, as a charge point does: again and again until a new root has come to the server's ears."""
    async with asyncio.timeout(15):
        while True:
            try:
                return await cp.connect()
            except (ssl.SSLError, ConnectionError, InvalidMessage):
                await asyncio.sleep(0.1)


class Case:
    """A running case. `info` is the idTagInfo that the valid token must get."""

    def __init__(self, csms: Csms, cp: FakeChargePoint, tokens: Tokens) -> None:
        self.csms = csms
        self.cp = cp
        self.tokens = tokens
        self.info = {"parentIdTag": tokens.parent, "status": "Accepted"}
        self._asked_for: list[tuple[str, Any]] = []

    # --- the operator ------------------------------------------------------------------------------------------------
    async def get(self, path: str, **params: Any) -> Any:
        return await asyncio.to_thread(lambda: self.csms.get(path, **params))

    @property
    def _path(self) -> str:
        return f"charge-points/{quote(self.cp.identity, safe='')}/"

    async def charge_point(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(self._path)
        return found

    async def connector(self, connector_id: int) -> dict[str, Any]:
        found = await self.get(f"{self._path}connectors/")
        (row,) = [row for row in found["results"] if row["connector_id"] == connector_id]
        return dict(row)

    async def configuration(self) -> dict[str, dict[str, Any]]:
        found = await self.get(f"{self._path}configuration/")
        return {row["key"]: row for row in found["results"]}

    async def transaction(self, transaction_id: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"transactions/{transaction_id}/")
        return found

    async def transactions(self) -> list[dict[str, Any]]:
        found = await self.get("transactions/", charge_point=self.cp.identity)
        return list(found["results"])

    async def messages(self) -> list[tuple[str, str, str, Any]]:
        """The message log, oldest first: direction, message type, action, payload."""
        found = await self.get(f"{self._path}messages/", page_size=500)
        log = [(row["direction"], row["message_type"], row["action"], row["payload"]) for row in found["results"]]
        return log[::-1]

    async def command(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask for a request to the charge point; the command as it was queued."""
        return await asyncio.to_thread(lambda: self.csms.command(self.cp.identity, action, payload))

    async def final(self, command: dict[str, Any]) -> dict[str, Any]:
        """The command once it is final."""
        found: dict[str, Any] = await self.get(f"commands/{command['id']}/", wait=10)
        return found

    # --- the charge point --------------------------------------------------------------------------------------------
    async def expect(self, action: str, payload: Any) -> ReceivedCall:
        """Receive the request that the operator asked for, with exactly this payload."""
        received = await self.cp.expect_call(action)
        assert received.payload == payload
        assert list(received.payload) == list(payload), "the members do not stand in the order of the schema"
        self._asked_for.append((action, received.payload))
        return received

    async def expect_any(self, action: str) -> ReceivedCall:
        """Receive the request that the operator asked for, where part of it was the server's to choose."""
        received = await self.cp.expect_call(action)
        self._asked_for.append((action, received.payload))
        return received

    async def send(
        self, action: str, payload: dict[str, Any], answer: dict[str, Any], *, on_wire: Any = None
    ) -> dict[str, Any]:
        """The operator sends, the charge point receives exactly that and gives `answer`; the final command."""
        command = await self.command(action, payload)
        await self.cp.reply(await self.expect(action, payload if on_wire is None else on_wire), answer)
        final = await self.final(command)
        assert (final["status"], final["response"], final["error"]) == ("answered", answer, None)
        assert final["sent_at"] is not None
        assert final["answered_at"] is not None
        return final

    async def status(self, connector_id: int, status: str, error_code: str = "NoError", **members: Any) -> None:
        assert await self.cp.status(connector_id, status, error_code, **members) == {}

    async def authorize(self, id_tag: str, info: dict[str, Any]) -> None:
        assert await self.cp.authorize(id_tag) == {"idTagInfo": info}

    async def start(
        self, id_tag: str | None = None, info: dict[str, Any] | None = None, connector_id: int = 1, **members: Any
    ) -> int:
        """StartTransaction with the valid token unless told otherwise; the transactionId."""
        conf = await self.cp.start_transaction(connector_id, id_tag or self.tokens.valid, **members)
        assert conf == {"idTagInfo": info or self.info, "transactionId": conf["transactionId"]}
        assert 0 < conf["transactionId"] < 2**31
        return int(conf["transactionId"])

    async def stop(self, transaction_id: int, **members: Any) -> None:
        """StopTransaction with the valid token."""
        conf = await self.cp.stop_transaction(transaction_id, idTag=self.tokens.valid, **members)
        assert conf == {"idTagInfo": self.info}

    # --- reusable flows ----------------------------------------------------------------------------------------------
    async def booted(self, connectors: tuple[str, str, str] = ("Available", "Available", "Available")) -> int:
        """BootNotification, then the status of connector 0 and of each connector; the heartbeat interval."""
        conf = await self.cp.boot()
        assert set(conf) == {"status", "currentTime", "interval"}
        assert conf["status"] == "Accepted"
        assert conf["interval"] > 0
        self.is_now(conf["currentTime"])
        for connector_id, status in enumerate(connectors):
            await self.status(connector_id, status)
        return int(conf["interval"])

    @staticmethod
    def is_now(time: str) -> None:
        """ISO 8601 in UTC with milliseconds, near real time."""
        assert TIME.fullmatch(time), time
        assert abs(datetime.fromisoformat(time) - datetime.now(UTC)) < timedelta(seconds=10)

    async def authorized(self) -> None:
        await self.authorize(self.tokens.valid, self.info)

    async def charging(self) -> int:
        """Authorized, Preparing, StartTransaction, Charging on connector 1; the transactionId."""
        await self.authorized()
        await self.status(1, "Preparing")
        transaction_id = await self.start()
        await self.status(1, "Charging")
        return transaction_id

    async def ended(self, transaction_id: int, reason: str | None = None) -> None:
        """StopTransaction, Finishing, Available."""
        await self.stop(transaction_id, **({"reason": reason} if reason else {}))
        await self.status(1, "Finishing")
        await self.status(1, "Available")

    async def reconnected(self) -> None:
        """The connection is cut without a closing frame; the charge point dials again."""
        await self.cp.drop()
        await self.cp.connect()

    async def finish(self) -> None:
        """The end of every case: whatever the server sent was an answer, or was asked for by the operator."""
        if self.cp.closed is None:
            await self.cp.assert_silent_until_answered()
            await self.cp.close()
        sent = [(frame[2], frame[3]) for one in self.cp.received if (frame := one.frame)[0] == 2]
        assert sent == self._asked_for
