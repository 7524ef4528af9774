"""One running case: the charge point and the operator, expectations, and the reusable flows of the case texts.

A case is an async function of a Case. It reads like its row in the tables: what the charge point does (`call`,
`status`, `authorize`, `start`, `stop`), what the operator orders and the charge point receives (`send`, or `order`,
`expect` and `reply`), what the operator must see (`sees`). Every one of them raises CaseFailed with the sentence of
the report. What the general rules demand (schemas, one answer each, nothing unsolicited) needs no line in a case.

The flows Booted, Authorized, Charging and Ended have the names they have in the case texts.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from csms.certify import wire
from csms.certify.charge_point import ChargePoint, HandshakeRefused, NotConnected, timestamp
from csms.certify.failure import CaseFailed
from csms.certify.operator import Operator
from csms.certify.options import Options
from csms.certify.testbed import IdTags, Testbed
from csms.certify.transcript import Transcript
from csms.certify.wire import difference, shown

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}
# "every timestamp we send carries exactly three fractional digits and ends in Z": the answer on the certificate.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Two machines whose clocks follow NTP differ by far less.
CLOCK_TOLERANCE = timedelta(seconds=30)
# How a connection is refused whose credentials are missing, wrong, or not enough.
NOT_AUTHENTIC = (401, 403)
LOOK_AGAIN_SECONDS = 0.1
# The CSMS need not know at once of a root that was imported a moment ago.
ROOT_KNOWN_SECONDS = 15
METER_START_WH, METER_STOP_WH = 1000, 2000
_starts = itertools.count()


class Case:
    """A running case.

    `cp` is the charge point (already connected, unless the case is listed with `connects=False`), `operator` the
    operator, `id_tags` those of the test bed, `connector_id` the connector that the case is about, `options` the run's.
    """

    def __init__(self, options: Options, testbed: Testbed, cp: ChargePoint, operator: Operator) -> None:
        self.options = options
        self.testbed = testbed
        self.cp = cp
        self.operator = operator
        self.connector_id = 1
        self.warnings: list[str] = []
        # A case that leaves its charge point in a state which would disturb the next (another password, a raised
        # security profile) sets this, and the next gets a charge point of its own.
        self.testbed_is_spoiled = False
        # Whether to dial again while TLS fails: the root of the charge point's certificate may be new to the CSMS.
        self.patient = testbed.client is not None
        self._taken: Counter[str] = Counter()
        self._known_commands: set[int] = set()
        self._running: dict[int, int] = {}
        self.meter_start_wh, self.meter_stop_wh = METER_START_WH, METER_STOP_WH
        self._touched: set[int] = set()

    @property
    def id_tags(self) -> IdTags:
        return self.testbed.id_tags

    @property
    def transcript(self) -> Transcript:
        return self.operator.transcript

    # --- expectations ------------------------------------------------------------------------------------------------
    def check(self, holds: object, otherwise: str) -> None:
        """Fail with the sentence `otherwise` unless `holds`."""
        if not holds:
            raise CaseFailed(otherwise)

    def warn(self, sentence: str) -> None:
        """Note for the report what is tolerated and yet not right."""
        self.warnings.append(sentence)

    def equal(self, what: str, found: Any, expected: Any) -> None:
        """Fail unless both are the same JSON value (order of members aside); `what` begins the sentence."""
        differs = difference(expected, found)
        if differs is not None:
            raise CaseFailed(f"{what}: {differs}.")

    def is_now(self, what: str, time: object) -> None:
        """Fail unless `time` is ISO 8601 in UTC with milliseconds, and the present."""
        if not isinstance(time, str) or not TIME.fullmatch(time):
            raise CaseFailed(f"{what} is {shown(time)}, which is not a UTC time with milliseconds and Z.")
        distance = abs(datetime.fromisoformat(time) - datetime.now(UTC))
        if distance > CLOCK_TOLERANCE:
            raise CaseFailed(f"{what} is {time}, {distance.total_seconds():.0f} seconds from the present.")

    async def sees(
        self, what: str, look: Callable[[], Awaitable[Mapping[str, Any]]], **expected: Any
    ) -> dict[str, Any]:
        """Fail unless the operator sees these members in what `look` gets by REST; it is looked at again for some
        seconds. A value that is callable is a condition on the member. Gives what was seen."""
        deadline = asyncio.get_running_loop().time() + self.options.sight_seconds
        while True:
            seen = dict(await look())
            wrong = next((name for name, value in expected.items() if not _fits(seen.get(name), value)), None)
            if wrong is None:
                return seen
            if asyncio.get_running_loop().time() > deadline:
                wanted = expected[wrong]
                instead = "" if callable(wanted) else f" instead of {shown(wanted)}"
                raise CaseFailed(f"The operator sees {wrong} {shown(seen.get(wrong))}{instead} for {what}.")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def sees_connector(self, connector_id: int, **expected: Any) -> dict[str, Any]:
        """`sees` on a connector: status, error_code, transaction, …"""
        return await self.sees(f"connector {connector_id}", lambda: self.operator.connector(connector_id), **expected)

    async def sees_transaction(self, transaction_id: int, **expected: Any) -> dict[str, Any]:
        """`sees` on a transaction: id_tag, active, stop_reason, flags, …"""
        return await self.sees(
            f"transaction {transaction_id}", lambda: self.operator.transaction(transaction_id), **expected
        )

    async def transaction_ids(self) -> list[int]:
        """The latest transactions of the charge point that the operator sees, newest first; to compare two moments."""
        return [row["id"] for row in await self.operator.transactions()]

    async def sees_command(self, command: Mapping[str, Any], **expected: Any) -> dict[str, Any]:
        """`sees` on a command: status, response, effect, …"""
        what = f"the command {command['action']}"
        return await self.sees(what, lambda: self.operator.final(dict(command)), **expected)

    async def sees_configuration(self, key: str, **expected: Any) -> dict[str, Any]:
        """`sees` on a configuration key; a key that is not shown is an empty object."""

        async def look() -> Mapping[str, Any]:
            return (await self.operator.configuration()).get(key, {})

        return await self.sees(f"the configuration key {key}", look, **expected)

    async def sees_message(self, action: str, message_type: str, direction: str, payload: Any) -> None:
        """Fail unless the newest frame of this kind in the operator's message log has this payload."""

        async def look() -> Mapping[str, Any]:
            found = await self.operator.messages(action=action, message_type=message_type, direction=direction)
            return dict(found[0]) if found else {}

        same = lambda logged: difference(payload, logged) is None  # noqa: E731 - a condition for `sees`
        await self.sees(f"the last {action} {message_type} of the message log", look, payload=same)

    # --- the operator orders, the charge point receives --------------------------------------------------------------
    async def order(self, action: str, payload: dict[str, Any], **members: Any) -> dict[str, Any]:
        """The operator asks for a request to the charge point; the command as it was queued.

        `members` go beside the payload (`transaction_id`, `charging_profile_id`, …).
        """
        command = await self.operator.command(action, payload, **members)
        self._known_commands.add(command["id"])
        return command

    async def expect(
        self, action: str, payload: dict[str, Any] | None = None, *, absent: tuple[str, ...] = ()
    ) -> wire.Call:
        """Receive the request that the operator asked for, with exactly this payload (None: the case looks itself).

        `absent` are members that must not be there, for a payload that is not known as a whole.
        """
        call = await self.cp.expect_call(action)
        self._taken[action] += 1
        if payload is not None:
            self.equal(f"The request {action} is not what the operator ordered", call.payload, payload)
        for member in absent:
            self.check(
                member not in call.payload, f"The request {action} has the member {member}, which must be absent."
            )
        return call

    async def reply(self, call: wire.Call, answer: Mapping[str, Any]) -> None:
        """Answer a request with a CALLRESULT."""
        await self.cp.reply(call, answer)

    async def send(
        self, action: str, payload: dict[str, Any], answer: dict[str, Any], *, on_wire: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The operator orders, the charge point receives exactly that (or `on_wire`) and gives `answer`, and the
        operator sees that answer; the final command."""
        command = await self.order(action, payload)
        call = await self.expect(action, payload if on_wire is None else on_wire)
        await self.reply(call, answer)
        return await self.answered(command, answer)

    async def answered(self, command: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """The operator sees the command answered with exactly `answer`; the final command."""
        return await self.sees_command(command, status="answered", response=answer, error=None, answered_at=bool)

    # --- the charge point --------------------------------------------------------------------------------------------
    async def connect(self, **options: Any) -> None:
        """Connect with the right credentials (or `options` of ChargePoint.connect). Errors: CaseFailed if refused."""
        try:
            await self._dial(self._patience_seconds, **options)
        except HandshakeRefused as refused:
            raise CaseFailed(f"The CSMS refused the connection with {refused}.") from None

    async def is_refused(
        self,
        what: str,
        *,
        statuses: Collection[int] = NOT_AUTHENTIC,
        without_answer: bool = False,
        insist_seconds: float = 0,
        **options: Any,
    ) -> int | None:
        """Fail unless a connection is refused before it is upgraded, with one of the HTTP `statuses`: any other says
        that something else was wrong. The status; None when there was no answer.

        `what` follows "connection", such as "without a password"; `without_answer`: TLS may end it instead of HTTP.
        `insist_seconds`: try that long while TLS ends it, for that may be because a root is not known yet.
        """
        try:
            await self._dial(insist_seconds if without_answer else self._patience_seconds, **options)
        except HandshakeRefused as refused:
            self.check(
                refused.status in statuses,
                f"The connection {what} was refused with HTTP {refused.status} instead of "
                f"{' or '.join(map(str, statuses))}.",
            )
            return refused.status
        except NotConnected:
            if not without_answer:
                raise
            return None
        await self.cp.drop()
        raise CaseFailed(f"The CSMS upgraded a connection {what}, which it must refuse.")

    @property
    def _patience_seconds(self) -> float:
        return ROOT_KNOWN_SECONDS if self.patient else 0

    async def _dial(self, patience_seconds: float, **options: Any) -> None:
        """Connect; while TLS fails, try again as charge points do."""
        deadline = asyncio.get_running_loop().time() + patience_seconds
        while True:
            try:
                return await self.cp.connect(**options)
            except NotConnected:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def reconnected(self) -> None:
        """The connection is cut without a closing frame; the charge point connects again."""
        await self.cp.drop()
        await self.connect()

    async def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a request; the confirmation, valid by its schema. For requests with an empty confirmation see `tell`."""
        return await self.cp.call(action, payload)

    async def tell(self, action: str, payload: dict[str, Any]) -> None:
        """Send a notification; the CSMS must answer `{}`."""
        self.equal(f"The answer to {action}", await self.cp.call(action, payload), {})

    async def status(self, connector_id: int, status: str, error_code: str = "NoError", **members: Any) -> None:
        """StatusNotification with the present time; answered `{}`."""
        self._touched.add(connector_id)
        payload = {"connectorId": connector_id, "errorCode": error_code, "status": status, "timestamp": timestamp()}
        await self.tell("StatusNotification", payload | members)

    async def authorize(self, id_tag: str, status: str, parent: str | None = None) -> dict[str, Any]:
        """Authorize; the idTagInfo, which has this status and, if `parent` is given, this parentIdTag."""
        info: dict[str, Any] = (await self.call("Authorize", {"idTag": id_tag}))["idTagInfo"]
        self._info("Authorize", info, status, parent)
        return info

    async def start(
        self,
        id_tag: str | None = None,
        status: str = "Accepted",
        *,
        connector_id: int | None = None,
        parent: str | None = None,
        **members: Any,
    ) -> int:
        """StartTransaction with the valid id tag unless told otherwise; the transactionId. The answer's idTagInfo has
        this status and, if given, this parentIdTag; there is a transactionId in any case."""
        connector_id = self.connector_id if connector_id is None else connector_id
        # A register rises; the same start again within a second would be a repetition of the one before.
        self.meter_start_wh = METER_START_WH + next(_starts)
        self.meter_stop_wh = self.meter_start_wh + METER_STOP_WH - METER_START_WH
        payload = {
            "connectorId": connector_id,
            "idTag": id_tag or self.id_tags.valid,
            "meterStart": self.meter_start_wh,
            "timestamp": timestamp(),
        }
        conf = await self.call("StartTransaction", payload | members)
        transaction_id = int(conf["transactionId"])
        self.check(transaction_id > 0, f"StartTransaction was answered with the transactionId {transaction_id}.")
        self.check(transaction_id not in self._running, f"The transactionId {transaction_id} was given a second time.")
        self._running[transaction_id] = connector_id
        self._touched.add(connector_id)
        self._info("StartTransaction", conf["idTagInfo"], status, parent)
        return transaction_id

    async def stop(self, transaction_id: int, *, id_tag: str | None = "", **members: Any) -> None:
        """StopTransaction with the valid id tag, whose idTagInfo must be in the answer, and Accepted; `id_tag` None:
        without one, and idTagInfo may be left out."""
        payload: dict[str, Any] = {
            "transactionId": transaction_id,
            "meterStop": self.meter_stop_wh,
            "timestamp": timestamp(),
        }
        if id_tag is not None:
            payload["idTag"] = id_tag or self.id_tags.valid
        conf = await self.call("StopTransaction", payload | members)
        self._running.pop(transaction_id, None)
        if id_tag is not None:
            # OCPP 1.6 section 6.50: optional only because a transaction may be stopped without an identifier.
            self.check("idTagInfo" in conf, "StopTransaction with an id tag was answered without idTagInfo.")
        if "idTagInfo" in conf:
            self._info("StopTransaction", conf["idTagInfo"], "Accepted", None)

    def _info(self, action: str, info: Mapping[str, Any], status: str, parent: str | None) -> None:
        found = info["status"]
        self.check(found == status, f"{action} was answered with the status {found} instead of {status}.")
        known = {self.id_tags.parent, parent, None}
        self.check(
            info.get("parentIdTag") in known, f"{action} was answered with the parentIdTag {info.get('parentIdTag')!r}."
        )
        expiry = info.get("expiryDate")
        if expiry is not None:
            self.check(TIME.fullmatch(expiry), f"{action} was answered with the expiryDate {expiry!r}.")
            late = found == "Accepted" and datetime.fromisoformat(expiry) <= datetime.now(UTC)
            self.check(not late, f"{action} was Accepted for an id tag that expired at {expiry}.")
        if parent is not None:
            self.check("parentIdTag" in info, f"{action} was answered without the parentIdTag of the id tag.")

    # --- reusable flows ----------------------------------------------------------------------------------------------
    async def booted(self, statuses: Mapping[int, str] | None = None) -> int:
        """Booted: BootNotification, then the status of connector 0 and of each connector, Available unless `statuses`
        says otherwise; the heartbeat interval in seconds."""
        payload = {
            "chargePointModel": "Certification",
            "chargePointVendor": "CSMS",
            "chargePointSerialNumber": self.cp.identity[:25],
            "firmwareVersion": "1.0",
        }
        conf = await self.call("BootNotification", payload)
        self.check(conf["status"] == "Accepted", f"BootNotification was answered with the status {conf['status']}.")
        interval = int(conf["interval"])
        self.check(interval > 0, f"BootNotification was answered with the interval {interval}.")
        self.is_now("currentTime in the answer to BootNotification", conf["currentTime"])
        for connector_id in range(self.options.connectors + 1):
            await self.status(connector_id, (statuses or {}).get(connector_id, "Available"))
        return interval

    async def authorized(self) -> None:
        """Authorized: Authorize with the valid id tag, Accepted."""
        await self.authorize(self.id_tags.valid, "Accepted")

    async def charging(self) -> int:
        """Charging: Authorized, Preparing, StartTransaction, Charging; the transactionId."""
        await self.authorized()
        await self.status(self.connector_id, "Preparing")
        transaction_id = await self.start()
        await self.status(self.connector_id, "Charging")
        return transaction_id

    async def ended(self, transaction_id: int, reason: str | None = None) -> None:
        """Ended: StopTransaction (with a reason if given), Finishing, Available."""
        await self.stop(transaction_id, **({"reason": reason} if reason else {}))
        await self.status(self.connector_id, "Finishing")
        await self.status(self.connector_id, "Available")

    # --- the frame of every case -------------------------------------------------------------------------------------
    async def begin(self) -> None:
        """What was ordered before this case does not count as unsolicited in it."""
        self._known_commands = {command["id"] for command in await self.operator.commands()}

    async def finish(self) -> None:
        """The end of every case: whatever the CSMS sent was an answer, or a request that the operator asked for."""
        if self.cp.closed is None:
            heartbeat = await self.call("Heartbeat", {})
            self.is_now("currentTime in the answer to Heartbeat", heartbeat["currentTime"])
            await asyncio.sleep(self.options.settle_seconds)
        self.cp.raise_fault()
        self.check(self.cp.left or self.cp.closed is None, f"The CSMS closed the connection ({self.cp.closed}).")
        for call in self.cp.unexpected:
            raise CaseFailed(f"The CSMS sent {call.action} {shown(call.payload)}, which nobody asked for.")
        for command in await self.operator.commands():
            action = command["action"]
            if command["id"] not in self._known_commands:
                # Ordered through another resource (a reservation, a list): then the case has received it.
                self.check(self._taken[action] > 0, f"The CSMS has queued {action}, which nobody asked for.")
                self._taken[action] -= 1

    @property
    def leaves_testbed_clean(self) -> bool:
        return not self._running and not self.testbed_is_spoiled

    async def tidy(self) -> None:
        """After a case that passed: end its transactions and free its connectors, so that the next finds them free."""
        for transaction_id in list(self._running):
            await self.stop(transaction_id, reason="Other")
        for connector_id in sorted(self._touched):
            await self.status(connector_id, "Available")


def _fits(found: Any, expected: Any) -> bool:
    if callable(expected):
        return bool(expected(found))
    return difference(expected, found) is None
