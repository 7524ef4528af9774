"""A small central system for the simulator's tests: answers everything, records everything, misbehaves on request.

Written with the `ocpp` package on real sockets: the simulator is tested without the product, which it shares no code
with.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from ocpp.exceptions import InternalError
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.enums import Action, AuthorizationStatus, DataTransferStatus, RegistrationStatus
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

WAIT_SECONDS = 15.0


@dataclass(frozen=True)
class Received:
    """One CALL of a station: snake_case members, in the order of arrival over all stations."""

    identity: str
    action: str
    members: dict[str, Any]
    message_id: str


@dataclass
class SmallCsms:
    """The central system: what it knows, how it behaves, and what it has seen."""

    known_id_tags: set[str] = field(default_factory=lambda: {"SIM-TAG"})
    parent_id_tags: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, bytes] = field(default_factory=dict)
    registrations: list[tuple[RegistrationStatus, int]] = field(default_factory=list)  # then Accepted
    heartbeat_seconds: int = 300
    clock_offset: timedelta = timedelta()
    refuse_with: int | None = None
    subprotocol: str | None = "ocpp1.6"
    errors: dict[str, int] = field(default_factory=dict)  # action -> how many CALLERRORs are still to come
    silences: dict[str, int] = field(default_factory=dict)  # action -> how many CALLs stay unanswered
    received: list[Received] = field(default_factory=list)
    handshakes: list[str] = field(default_factory=list)
    stations: dict[str, Station] = field(default_factory=dict)
    url: str = ""
    _transaction_ids: Any = field(default_factory=lambda: itertools.count(1001))
    _transactions: dict[tuple, int] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Wait until the condition holds; it is looked at again after everything that happens."""
        async with asyncio.timeout(WAIT_SECONDS), self._news:
            return await self._news.wait_for(condition)

    async def wait_for_action(self, action: str, count: int = 1) -> list[Received]:
        await self.wait_for(lambda: len(self.of(action)) >= count)
        return self.of(action)

    async def wait_for_status(self, connector_id: int, status: str) -> None:
        await self.wait_for(lambda: (connector_id, status) in self.statuses())

    async def send(self, payload: Any, identity: str = "SIM0001") -> Any:
        """Send a command and return the answer as a `call_result`; CALLERRORs are raised."""
        return await self.stations[identity].call(payload, suppress=False)

    def of(self, action: str) -> list[Received]:
        return [one for one in self.received if one.action == action]

    def statuses(self) -> list[tuple[int, str]]:
        return [(one.members["connector_id"], one.members["status"]) for one in self.of("StatusNotification")]

    def story(self) -> list[str]:
        """What happened, one word per CALL: the action, or `connector:status`."""
        words = []
        for one in self.received:
            if one.action == "StatusNotification":
                words.append(f"{one.members['connector_id']}:{one.members['status']}")
            elif one.action not in ("MeterValues", "Heartbeat"):
                words.append(one.action)
        return words

    async def record(self, identity: str, action: str, members: dict[str, Any], message_id: str) -> None:
        async with self._news:
            self.received.append(Received(identity, action, members, message_id))
            self._news.notify_all()

    def id_tag_info(self, id_tag: str) -> dict[str, str]:
        known = id_tag in self.known_id_tags
        info = {"status": AuthorizationStatus.accepted if known else AuthorizationStatus.invalid}
        if id_tag in self.parent_id_tags:
            info["parent_id_tag"] = self.parent_id_tags[id_tag]
        return info

    def transaction_id(self, *facts: Any) -> int:
        """The same facts get the same number, as they should."""
        if facts not in self._transactions:
            self._transactions[facts] = next(self._transaction_ids)
        return self._transactions[facts]

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        identity = unquote(request.path.rpartition("/")[2])
        self.handshakes.append(identity)
        if self.refuse_with is not None:
            return connection.respond(HTTPStatus(self.refuse_with), "refused\n")
        if identity in self.passwords:
            expected = base64.b64encode(identity.encode() + b":" + self.passwords[identity]).decode()
            if request.headers.get("Authorization") != f"Basic {expected}":
                return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong password\n")
        return None

    async def talk(self, connection: ServerConnection) -> None:
        identity = unquote(connection.request.path.rpartition("/")[2])
        station = self.stations[identity] = Station(identity, connection, self)
        async with self._news:
            self._news.notify_all()
        try:
            await station.start()
        except ConnectionClosed:
            pass
        finally:
            async with self._news:
                if self.stations.get(identity) is station:
                    del self.stations[identity]
                self._news.notify_all()


class Station(ChargePoint):
    """The central system's end of one connection."""

    def __init__(self, identity: str, connection: ServerConnection, csms: SmallCsms) -> None:
        super().__init__(identity, connection, response_timeout=WAIT_SECONDS)
        self.connection = connection
        self.csms = csms

    async def _handle_call(self, msg: Any) -> None:
        """Record first, so that a test sees the CALL even when it is answered badly or not at all."""
        if self.csms.silences.get(msg.action, 0) > 0:
            self.csms.silences[msg.action] -= 1
            await self.csms.record(self.id, msg.action, {}, msg.unique_id)
            return
        await super()._handle_call(msg)

    async def _take(self, action: str, message_id: str, **members: Any) -> None:
        await self.csms.record(self.id, action, members, message_id)
        if self.csms.errors.get(action, 0) > 0:
            self.csms.errors[action] -= 1
            raise InternalError("told to fail")

    def _now(self) -> str:
        return (datetime.now(UTC) + self.csms.clock_offset).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @on(Action.boot_notification)
    async def on_boot_notification(self, call_unique_id: str, **members: Any) -> call_result.BootNotification:
        await self._take("BootNotification", call_unique_id, **members)
        accepted = (RegistrationStatus.accepted, self.csms.heartbeat_seconds)
        status, interval = self.csms.registrations.pop(0) if self.csms.registrations else accepted
        return call_result.BootNotification(self._now(), interval, status)

    @on(Action.heartbeat)
    async def on_heartbeat(self, call_unique_id: str) -> call_result.Heartbeat:
        await self._take("Heartbeat", call_unique_id)
        return call_result.Heartbeat(self._now())

    @on(Action.status_notification)
    async def on_status_notification(self, call_unique_id: str, **members: Any) -> call_result.StatusNotification:
        await self._take("StatusNotification", call_unique_id, **members)
        return call_result.StatusNotification()

    @on(Action.authorize)
    async def on_authorize(self, call_unique_id: str, id_tag: str) -> call_result.Authorize:
        await self._take("Authorize", call_unique_id, id_tag=id_tag)
        return call_result.Authorize(self.csms.id_tag_info(id_tag))

    @on(Action.start_transaction)
    async def on_start_transaction(self, call_unique_id: str, **members: Any) -> call_result.StartTransaction:
        await self._take("StartTransaction", call_unique_id, **members)
        facts = (self.id, members["connector_id"], members["id_tag"], members["timestamp"], members["meter_start"])
        return call_result.StartTransaction(self.csms.transaction_id(*facts), self.csms.id_tag_info(members["id_tag"]))

    @on(Action.stop_transaction)
    async def on_stop_transaction(self, call_unique_id: str, **members: Any) -> call_result.StopTransaction:
        await self._take("StopTransaction", call_unique_id, **members)
        return call_result.StopTransaction()

    @on(Action.meter_values)
    async def on_meter_values(self, call_unique_id: str, **members: Any) -> call_result.MeterValues:
        await self._take("MeterValues", call_unique_id, **members)
        return call_result.MeterValues()

    @on(Action.firmware_status_notification)
    async def on_firmware_status_notification(
        self, call_unique_id: str, status: str
    ) -> call_result.FirmwareStatusNotification:
        await self._take("FirmwareStatusNotification", call_unique_id, status=status)
        return call_result.FirmwareStatusNotification()

    @on(Action.diagnostics_status_notification)
    async def on_diagnostics_status_notification(
        self, call_unique_id: str, status: str
    ) -> call_result.DiagnosticsStatusNotification:
        await self._take("DiagnosticsStatusNotification", call_unique_id, status=status)
        return call_result.DiagnosticsStatusNotification()

    @on(Action.data_transfer)
    async def on_data_transfer(self, call_unique_id: str, **members: Any) -> call_result.DataTransfer:
        await self._take("DataTransfer", call_unique_id, **members)
        return call_result.DataTransfer(DataTransferStatus.unknown_vendor_id)


@asynccontextmanager
async def small_csms(tls: ssl.SSLContext | None = None) -> AsyncIterator[SmallCsms]:
    """Serve on a free port of the loopback interface for as long as the context lasts."""
    csms = SmallCsms()
    server: Server

    def choose(connection: ServerConnection, offered: list[str]) -> str | None:
        return csms.subprotocol if csms.subprotocol in offered else None

    async with serve(
        csms.talk, "127.0.0.1", 0, select_subprotocol=choose, process_request=csms.check, compression=None, ssl=tls
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        csms.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/ocpp/demo/"
        yield csms
