"""ChargePointConsumer: moves text between a charge point's socket and its Session; decides nothing.

Channels hands a consumer its frames one at a time, so nothing here waits for the charge point. What it does wait for is
the lane: an answer leaves after COMMIT, and the next frame of the same charge point is looked at after that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any
from uuid import uuid4

from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer
from django.conf import settings

from csms import logs
from csms.metrics import counting
from csms.ocppj import session as ocppj
from csms.ocppj.errors import OcppError
from csms.ocppj.session import Session
from stations import commands, connections, departures, dispatch, doorkeeper, handshake
from stations.models.message import MessageType
from stations.ocpp.remote_trigger import TRIGGERS, awaited_action
from stations.pace import Pace
from stations.security_events import babbles

logger = logging.getLogger(__name__)

NORMAL_CLOSURE, SERVICE_RESTART = 1000, 1012
# A boot may be the first frame; commands that waited for this connection give it this long to come first.
FIRST_FRAME_SECONDS = 5.0
# Deviations of one connection that are worth a look at the charge point's row.
MOST_NOTED = 200


class ChargePointConsumer(AsyncConsumer):
    """One websocket of one charge point, from handshake to close."""

    session: Session
    link: dispatch.Link
    _open = False
    _accepted = False
    _pace: Pace | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand over frames as they come, and doorbells beside them.

        Channels' own loop makes and awaits two tasks a frame, and its `dispatch` first closes old database connections
        in a thread; this consumer has none: lanes and handshakes look after theirs.
        """
        self.scope, self.base_send = scope, send
        logs.begin_conversation()
        self.channel_layer = get_channel_layer()
        self.channel_name = await self.channel_layer.new_channel()
        doorbells = asyncio.get_running_loop().create_task(self._listen())
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.receive":
                    await self.websocket_receive(message)
                else:
                    await self.dispatch(message)
        except StopConsumer:
            pass
        finally:
            doorbells.cancel()
            # Whatever ended it, an error or the end of the server: the charge point is not connected here any more.
            await self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a message."""
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"No handler for message type {message['type']}")
        await handler(message)

    async def _listen(self) -> None:
        """Take what the channel layer brings. It may fail and lose messages: the sweep finds the rows."""
        while True:
            try:
                await self.dispatch(await self.channel_layer.receive(self.channel_name))
            except Exception:
                logger.exception("A doorbell could not be heard")
                await asyncio.sleep(1)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        """Refuse before the upgrade, or accept and listen to the doorbell."""
        connections.start_housekeeping()
        began = monotonic()
        if connections.draining():
            counting.handshake("draining", None)
            await self._refuse(handshake.REFUSALS["draining"])
            return
        request = handshake.read(self.scope)
        logs.know(tenant=request.tenant_slug, charge_point=request.identity)
        decision = await doorkeeper.of_this_loop().decide(request)
        counting.handshake(getattr(decision, "reason", counting.ACCEPTED), monotonic() - began)
        if isinstance(decision, handshake.Refusal):
            await self._refuse(decision)
            return
        self.link, self._open = decision.link, True
        self.session = Session(strict=decision.strict, call_timeout_seconds=float(decision.call_timeout_seconds))
        rate = settings.CSMS_FRAMES_PER_SECOND
        self._pace = Pace(rate, began) if rate else None
        self._pumping = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._may_pump = not decision.has_commands
        self._closing: int | None = None
        self._sent_at: datetime | None = None
        self._noted: set[tuple[str, str, str]] = set()
        self._logged: asyncio.Future[dispatch.Outcome] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        await self.channel_layer.group_add(commands.group_name(self.link.charge_point_id), self.channel_name)
        connections.add(self.link, self)
        await self.send({"type": "websocket.accept", "subprotocol": decision.subprotocol})
        self._accepted = True
        if self._closing is not None:
            await self._send_close(self._closing)
            return
        if decision.has_commands:
            asyncio.get_running_loop().call_later(FIRST_FRAME_SECONDS, self._first_frame_is_over)

    async def _refuse(self, refusal: handshake.Refusal) -> None:
        if "websocket.http.response" in self.scope.get("extensions", {}):
            body = f"{refusal.body}\n".encode()
            headers = [(b"content-type", b"text/plain; charset=utf-8"), *refusal.headers]
            await self.send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
            await self.send({"type": "websocket.http.response.body", "body": body})
        else:
            await self.send({"type": "websocket.close"})
        raise StopConsumer

    # --- frames in ---------------------------------------------------------------------------------------------------
    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self._closing is not None:
            return  # An answer could not be sent any more; the charge point repeats the frame on its next connection.
        text = message.get("text")
        frame: str | bytes = text if text is not None else message.get("bytes") or b""
        received_at, arrived = datetime.now(UTC), monotonic()
        if self._pace is not None and (delay := self._pace.delay(arrived)):
            await self._slow_down(delay, arrived)
        for event in self.session.receive(frame, arrived):
            if isinstance(event, ocppj.CallReceived):
                await self._answer(event, received_at, arrived)
            else:
                await self._take(event, received_at)
                await self._flush()
                if self._logged is not None:
                    # Whoever babbles waits for its rows; else they pile up in the lane, before everybody's answers.
                    await self._logged
                    self._logged = None

    async def _slow_down(self, seconds: float, now: float) -> None:
        """Let a charge point that talks too much wait, and tell the operator."""
        if self._pace is not None and self._pace.to_report(now):
            await dispatch.run(self.link, babbles)
        counting.frame_delayed()
        await asyncio.sleep(seconds)

    async def _answer(self, event: ocppj.CallReceived, received_at: datetime, arrived: float) -> None:
        call = dispatch.InboundCall(
            self.link,
            str(event.message_id),
            event.action,
            event.req,
            event.payload,
            self._new_deviations(event) if event.deviations else [],
            received_at,
            arrived,
        )
        outcome = await dispatch.answer(call)
        if isinstance(outcome.result, OcppError):
            self.session.send_error(event.message_id, outcome.result)
        else:
            self.session.send_result(event.message_id, outcome.result)
        await self._flush()
        self._first_frame_is_over()
        if outcome.superseded:
            await self._close(NORMAL_CLOSURE)

    async def _take(self, event: Any, received_at: datetime) -> None:
        if isinstance(event, ocppj.CallAnswered):
            function = partial(
                commands.answered, message_id=str(event.message_id), payload=event.payload, late=event.late
            )
            await self._finish(function, MessageType.CALLRESULT, event, event.payload, received_at)
        elif isinstance(event, ocppj.CallFailed):
            function = partial(
                commands.failed, message_id=str(event.message_id), code=event.code, description=event.description,
                details=event.details, late=event.late,
            )  # fmt: skip
            error = f"{event.code}: {event.description}"
            await self._finish(function, MessageType.CALLERROR, event, event.details, received_at, error)
        elif isinstance(event, ocppj.CallRefused):
            message_id, action = str(event.message_id), event.action or ""
            self._log(True, MessageType.CALL, action, message_id, event.payload, received_at)
            error = f"{event.error.code}: {event.error.description}"
            self._log(False, MessageType.CALLERROR, action, message_id, event.error.details or {}, received_at, error)
        elif isinstance(event, ocppj.CallRepeated):
            note = "repeated: answered as before"
            self._log(True, MessageType.CALL, event.action, str(event.message_id), event.payload, received_at, note)
        elif isinstance(event, ocppj.FrameIgnored):
            self._log(True, MessageType.OTHER, "", "", event.text, received_at, event.reason)

    def _new_deviations(self, event: ocppj.CallReceived) -> list[Any]:
        """Those that this connection has not shown yet: each is for the operator to see once, and not without end."""
        new = []
        for deviation in event.deviations:
            shown = (event.action, deviation.kind, deviation.place)
            if shown not in self._noted and len(self._noted) < MOST_NOTED:
                self._noted.add(shown)
                new.append(deviation)
        return new

    async def _finish(
        self,
        function: Callable[..., None],
        kind: MessageType,
        event: Any,
        payload: Any,
        received_at: datetime,
        error: str = "",
    ) -> None:
        """Store the charge point's answer to a command, and look for the next command, if possible in one batch."""
        latency_ms = None
        if self._sent_at is not None and not event.late:
            latency_ms = round((received_at - self._sent_at).total_seconds() * 1000, 3)
        self._log(True, kind, event.action, str(event.message_id), payload, received_at, error, latency_ms)
        stored = dispatch.run(self.link, function, commands=True)
        await self._pump()
        await stored

    def _log(
        self,
        incoming: bool,
        kind: MessageType,
        action: str,
        message_id: str,
        payload: Any,
        at: datetime,
        error: str = "",
        latency_ms: float | None = None,
    ) -> None:
        entry = dispatch.LogEntry(self.link, incoming, kind, action, message_id, payload, at, latency_ms, error)
        self._logged = dispatch.log(entry)

    # --- frames out --------------------------------------------------------------------------------------------------
    async def _flush(self) -> None:
        for text in self.session.frames_to_send():
            await self.send({"type": "websocket.send", "text": text})

    async def _pump(self) -> None:
        """Send the next command, if none is outstanding. The lock: doorbell, answer and time-out all come here."""
        async with self._pumping:
            over = not self._open or self._closing is not None
            if over or not self._may_pump or self.session.outstanding is not None:
                return
            if connections.draining():
                return  # Whoever has the charge point next sends it, and is there for the answer.
            message_id = str(uuid4())
            take = partial(commands.take_next, generation=self.link.generation, message_id=message_id)
            outcome = await dispatch.run(self.link, take, commands=True)
            if outcome.superseded:
                await self._close(NORMAL_CLOSURE)
                return
            command = outcome.result
            if not isinstance(command, commands.Outgoing):
                return
            self._sent_at = datetime.now(UTC)
            if command.action in TRIGGERS:
                self.link.triggered.add(awaited_action(command.action, command.payload))
            self.session.send_call(command.action, command.payload, monotonic(), command.message_id)
            self._log(False, MessageType.CALL, command.action, message_id, command.payload, self._sent_at)
            await self._flush()
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.session.next_timeout is not None:
            delay = max(0.0, self.session.next_timeout - monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._spawn, self._tick)

    async def _tick(self) -> None:
        """Time out the outstanding CALL, then go on with the next command."""
        for event in self.session.tick(monotonic()):
            if not isinstance(event, ocppj.CallTimedOut):
                continue
            counting.call_timed_out(event.action)
            timed_out = partial(commands.timed_out, message_id=str(event.message_id))
            await dispatch.run(self.link, timed_out, commands=True)
        await self._pump()
        self._set_timer()

    def _first_frame_is_over(self) -> None:
        if not self._may_pump:
            self._may_pump = True
            self._spawn(self._pump)

    def _spawn(self, function: Callable[[], Any]) -> None:
        """Run a coroutine beside the frames; its failure is logged, not lost."""
        task = asyncio.get_running_loop().create_task(function())
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # An OSError is a line that was lost meanwhile (ASGI's websocket.send); its websocket.disconnect is on the way.
        if error is not None and not isinstance(error, OSError):
            logger.error("Background work of a connection failed", exc_info=error)

    # --- doorbells ---------------------------------------------------------------------------------------------------
    async def charge_point_ring(self, message: dict[str, Any]) -> None:
        """Something may be queued for this charge point."""
        self.ring()

    def ring(self) -> None:
        """As the doorbell, from within the process. Not awaited: the frame being answered comes first."""
        if self._open and self._closing is None:
            self._spawn(self._pump)

    async def charge_point_superseded(self, message: dict[str, Any]) -> None:
        """A newer connection of this charge point was accepted."""
        if self._open and message["generation"] > self.link.generation:
            await self._close(NORMAL_CLOSURE)

    def outlived(self) -> None:
        """As the doorbell, from within the process."""
        self._spawn(partial(self._close, NORMAL_CLOSURE))

    async def close_for_restart(self) -> None:
        """The server is stopping; the charge point will come back to another process or the next one."""
        await self._close(SERVICE_RESTART)

    @property
    def answering(self) -> bool:
        """Whether the charge point has asked something that is not answered yet."""
        return self.session.pending_calls > 0

    @property
    def asking(self) -> bool:
        """Whether an answer to a command of ours is to come."""
        return self.session.outstanding is not None

    # --- the end -----------------------------------------------------------------------------------------------------
    async def _close(self, code: int) -> None:
        """Close for `code`, once the handshake is answered: before that a close would be a refusal, HTTP 403."""
        if self._closing is None:
            self._closing = code
            if self._accepted:
                await self._send_close(code)

    async def _send_close(self, code: int) -> None:
        with suppress(OSError):  # The line is lost already.
            await self.send({"type": "websocket.close", "code": code})

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        await self._leave()
        raise StopConsumer

    async def _leave(self) -> None:
        if self._open:
            self._open = False
            link = self.link
            if self._timer is not None:
                self._timer.cancel()
            connections.remove(link, self)
            await self.channel_layer.group_discard(commands.group_name(link.charge_point_id), self.channel_name)
            lost = self.scope.get("extensions", {}).get("lost", "")
            release = partial(departures.release, generation=link.generation, lost=lost)
            await dispatch.run(link, release, commands=True)
