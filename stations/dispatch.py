"""Messages against the database: lanes, tenant scope, one transaction a batch, the action table, bulk writes.

Context: an answer may leave only after COMMIT, and one commit a message gives a fifth of the rate that a disk and a
core allow. A slow hop delays every station.
Choice: a process has a few lanes (stations/lanes.py); a charge point always uses the same one. A lane's batch is
answered in one transaction (`answer_batch`) and committed before anybody is told.
Consequence: one bad message could hurt its neighbours, so a batch that fails is rolled back and run again one by one;
calls are grouped by tenant and each group runs in its own scope, so that row-level security checks every row.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction

from csms import logs
from csms.metrics import lane as lane_figures
from csms.ocppj.errors import InternalError, NotSupported, OcppError, SecurityError
from csms.ocppj.frames import dumps
from csms.ocppj.payloads import result_payload
from csms.outage import takes_no_writes
from stations import lane_sql, secret_keys
from stations.batch import Batch, open_batch
from stations.lanes import Lane
from stations.masking import masked, masked_url
from stations.models import ChargePoint
from stations.models.message import MessageType
from stations.ocpp import core, data_transfers, remote_trigger
from stations.ocpp.actions import FROM_CHARGE_POINT
from tenants.models import Tenant
from tenants.postgresql.breaker import is_away, patience
from tenants.scope import tenant_scope

logger = logging.getLogger(__name__)

ATTEMPTS = 3
# Of a charge point's patience, what is left for the way of an answer.
MARGIN = 0.1
# Actions whose answer depends on the settings of the tenant.
ASKS_TENANT = ("BootNotification", "StartTransaction")


@dataclass(slots=True, eq=False)
class Link:
    """One accepted websocket: whose it is, and since when (its generation). What every hop needs to know.

    `triggered`: messages asked for by TriggerMessage on this socket that may still come. Only a hint that spares every
    other message a look at the commands. `call_timeout_seconds`: how long the charge point is believed to wait for an
    answer. `lane`: where its messages are answered, once it is known.
    """

    tenant_id: int
    charge_point_id: int
    generation: int
    lane_key: str
    triggered: set[str] = field(default_factory=set)
    call_timeout_seconds: int = field(default_factory=lambda: settings.CSMS_CALL_TIMEOUT_SECONDS)
    lane: Lane[Any] | None = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class InboundCall:
    """A valid CALL of a charge point, waiting for its answer."""

    link: Link
    message_id: str
    action: str
    req: Any
    payload: dict[str, Any]
    deviations: list[Any]
    received_at: datetime
    arrived: float


@dataclass(slots=True, eq=False)
class Work:
    """Something else that must happen in the order of a charge point's messages: `function(charge_point, now)`.

    `commands`: it is about commands of the charge point, so that those are looked up with those of others.
    """

    link: Link
    function: Callable[[ChargePoint, datetime], Any]
    commands: bool = False


@dataclass(slots=True, eq=False)
class LogEntry:
    """A frame that needs no answer from here (refused, ignored, an answer to us), for the message log."""

    link: Link
    incoming: bool
    message_type: MessageType
    action: str
    message_id: str
    payload: Any
    received_at: datetime
    latency_ms: float | None = None
    error: str = ""


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of an item: a confirmation, an OcppError, or what a function returned.

    `superseded`: the charge point has a newer connection, is disabled or gone; this socket is to be closed.
    """

    result: Any
    superseded: bool = False


Item = InboundCall | Work | LogEntry


# --- lanes ------------------------------------------------------------------------------------------------------------
_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Lane[Item]]] = WeakKeyDictionary()


def lanes() -> list[Lane[Item]]:
    """The lanes of the running event loop; made at first use."""
    loop = asyncio.get_running_loop()
    if loop not in _lanes:
        # SQLite has one writer.
        threads = settings.CSMS_LANE_THREADS if connection.vendor == "postgresql" else 1
        size = settings.CSMS_LANE_BATCH_SIZE
        _lanes[loop] = [
            Lane(f"lane-{number}", loop, lambda items: answer_batch(items), threads=threads, batch_size=size)
            for number in range(settings.CSMS_LANES)
        ]
    return _lanes[loop]


def _lane(link: Link) -> Lane[Item]:
    if link.lane is None:
        available = lanes()
        link.lane = available[crc32(link.lane_key.encode()) % len(available)]
    return link.lane


def answer(call: InboundCall) -> asyncio.Future[Outcome]:
    """Answer one CALL; done after COMMIT. `result` is a confirmation of ocpp.v16.call_result or an OcppError."""
    return _lane(call.link).submit(call)


def run(
    link: Link, function: Callable[[ChargePoint, datetime], Any], *, commands: bool = False
) -> asyncio.Future[Outcome]:
    """Run `function(charge_point, now)` in the lane of the charge point; done after COMMIT, with what it returned.

    `commands`: as in Work.
    """
    return _lane(link).submit(Work(link, function, commands))


def log(entry: LogEntry) -> asyncio.Future[Outcome]:
    """Write a frame to the message log with the lane's next batch; done after COMMIT."""
    return _lane(entry.link).submit(entry)


# --- one batch, in the lane's thread ----------------------------------------------------------------------------------
def answer_batch(items: list[Item]) -> list[Outcome]:
    """Answer `items` in their order, each tenant's in one transaction; the outcomes stand in the order of the items."""
    now, begun = datetime.now(UTC), monotonic()
    groups: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.link.tenant_id, []).append(index)
    outcomes: list[Outcome] = [Outcome(None)] * len(items)
    for tenant_id, indexes in groups.items():
        members = [items[index] for index in indexes]
        with tenant_scope(tenant_id), patience(_given_up_at(members)):
            for index, outcome in zip(indexes, _answer_group(members, now), strict=True):
                outcomes[index] = outcome
    logs.lane.item = None
    lane_figures.answered(items, outcomes, begun)
    return outcomes


def _given_up_at(items: list[Item]) -> float:
    """When the last of those who asked gives up waiting (monotonic), less a margin for the answer's way.

    A refusal is final for some charge points, so one that has not given up yet is not refused because every connection
    is in use. Who waits at a locked row or table waits there; only one that is away is a reason to refuse at once.
    """
    until = 0.0
    for item in items:
        begun = item.arrived if isinstance(item, InboundCall) else monotonic()
        until = max(until, begun + item.link.call_timeout_seconds * (1 - MARGIN))
    return until


def _answer_group(items: list[Item], now: datetime) -> list[Outcome]:
    """One tenant's items in one transaction; one by one when that fails."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # The block ends after the transaction: what the batch writes leaves with the COMMIT.
            with ExitStack() as stack, transaction.atomic(), open_batch() as batch:
                outcomes = _run_group(batch, items, now)
                handled = monotonic()
                stack.enter_context(lane_sql.with_commit())
            lane_figures.committed(handled)
            return outcomes
        except (OperationalError, InterfaceError, IntegrityError) as error:
            # Deadlock, serialization failure, lost connection, or two processes that met on one constraint.
            if not is_away(error):
                logger.warning("Batch of %d failed at attempt %d: %s", len(items), attempt, type(error).__name__)
            failure: Exception = error
            away = error if takes_no_writes(error) else _unreachable()
            if away is not None:
                return _without_database(items, away)
        except Exception as error:
            if takes_no_writes(error):
                return _without_database(items, error)
            failure = error
            break
    if len(items) > 1:
        return [_answer_group([item], now)[0] for item in items]
    return [_failed(items[0], failure, now)]


def _unreachable() -> DatabaseError | None:
    """Why the database cannot be reached, if need be by a new connection in place of one that died; else None."""
    try:
        if connection.connection is None or not connection.is_usable():
            connection.close()
            connection.ensure_connection()
    except DatabaseError as error:
        return error
    return None


def _without_database(items: list[Item], failure: Exception) -> list[Outcome]:
    """InternalError to everybody at once: the charge points repeat what matters, and nobody waits for time-outs."""
    if is_away(failure):
        # The breaker has said so, once; a line for each message would fill the disk.
        return [Outcome(InternalError("The database cannot be reached, please repeat this.")) for _ in items]
    reference = uuid.uuid4().hex[:12]
    logger.error(
        "Reference %s: the database is of no use; %d messages failed",
        reference,
        len(items),
        exc_info=failure,
    )
    return [Outcome(InternalError(f"Reference {reference}")) for _ in items]


def _failed(item: Item, failure: Exception, now: datetime) -> Outcome:
    """A failure of ours: logged with a reference that the charge point's answer repeats, without internals."""
    reference = uuid.uuid4().hex[:12]
    logs.lane.item = item
    logger.error("Reference %s: %s failed", reference, _describe(item), exc_info=failure)
    if not isinstance(item, InboundCall):
        return Outcome(InternalError(f"Reference {reference}"))
    error = InternalError(f"Reference {reference}")
    try:
        with transaction.atomic(), open_batch() as batch:
            _log_call(batch, item, error, now)
    except DatabaseError:
        logger.exception("Reference %s: the message log could not be written either", reference)
    return Outcome(error)


def _describe(item: Item) -> str:
    what = item.action if isinstance(item, InboundCall | LogEntry) else item.function
    return f"{what} of charge point {item.link.charge_point_id}"


def _run_group(batch: Batch, items: list[Item], now: datetime) -> list[Outcome]:
    charge_points = _look_ahead(batch, items)
    outcomes = []
    for item in items:
        logs.lane.item = item
        charge_point = charge_points.get(item.link.charge_point_id)
        if charge_point is None:
            outcomes.append(Outcome(SecurityError("This charge point is not registered any more."), superseded=True))
            continue
        superseded = charge_point.disabled or charge_point.connection_generation != item.link.generation
        if isinstance(item, InboundCall):
            answer = _answer_call(charge_point, item, now)
            _log_call(batch, item, answer, now)
            outcomes.append(Outcome(answer, superseded))
        elif isinstance(item, Work):
            outcomes.append(Outcome(item.function(charge_point, now), superseded))
        else:
            _log_entry(batch, item)
            outcomes.append(Outcome(None, superseded))
    logs.lane.item = None
    stale = [pk for pk, charge_point in sorted(charge_points.items()) if charge_point.last_seen_is_stale(now)]
    if stale:
        ChargePoint.objects.filter(pk__in=stale).update(last_seen_at=now)
    return outcomes


def _look_ahead(batch: Batch, items: list[Item]) -> dict[int, ChargePoint]:
    """Fetch once for the group what its calls are going to ask for one by one; gives its charge points by id."""
    id_tags: set[str] = set()
    metered: set[int] = set()
    stopped: set[int] = set()
    connectors: set[int] = set()
    asking: list[InboundCall] = []
    naming: list[InboundCall] = []
    asks_tenant = False
    for item in items:
        if not isinstance(item, InboundCall):
            if isinstance(item, Work):
                asks_tenant = True
                if item.commands:
                    batch.commands.announce(item.link.charge_point_id)
            continue
        asks_tenant |= item.action in ASKS_TENANT
        if item.action in core.LOOKS_AHEAD:
            asking.append(item)
        if item.action == "MeterValues":
            reference = item.req.transaction_id
            if reference is not None and 1 <= reference < 2**31:
                metered.add(reference)
                naming.append(item)
            else:
                asking.append(item)
                if not item.req.connector_id:
                    connectors.add(item.link.charge_point_id)
        elif item.action == "StopTransaction":
            reference = item.req.transaction_id
            if reference is not None and 1 <= reference < 2**31:
                stopped.add(reference)
        if item.action in ("Authorize", "StartTransaction", "StopTransaction") and item.req.id_tag:
            id_tags.add(str(item.req.id_tag))
        if item.action == "DataTransfer":
            id_tags.update(data_transfers.id_tags_of(item.req))
        if item.action in ("StatusNotification", "StartTransaction"):
            connectors.add(item.link.charge_point_id)
    keys = {id_tag.upper() for id_tag in id_tags}
    charge_points, owners, found_tags, found_connectors = lane_sql.look_up(
        batch.tenant_id, {item.link.charge_point_id for item in items}, metered, keys, connectors
    )
    batch.put_owners(metered, owners)
    batch.put_id_tags(keys, found_tags)
    batch.put_connectors(found_connectors)
    if asks_tenant:
        tenant = Tenant.objects.get(pk=batch.tenant_id)
        batch.put_tenant(tenant)
        for charge_point in charge_points.values():
            charge_point.tenant = tenant
    if stopped:
        batch.transactions.load(stopped)
    for item in naming:
        owner = owners.get(item.req.transaction_id)
        if owner is None or owner.charge_point_id != item.link.charge_point_id:
            asking.append(item)
    if asking:
        found = [(charge_points.get(call.link.charge_point_id), call.action, call.req) for call in asking]
        core.look_ahead(batch, [(row, action, req) for row, action, req in found if row is not None])
    return charge_points


def _answer_call(charge_point: ChargePoint, call: InboundCall, now: datetime) -> Any:
    if call.deviations and charge_point.note_deviations(call.action, call.deviations, now):
        charge_point.save(update_fields=["deviations"])
    asked_for: bool | None = None
    if call.action in call.link.triggered:
        asked_for = remote_trigger.triggered(charge_point, call.action, call.req, call.message_id, call.received_at)
        if asked_for is False:
            call.link.triggered.discard(call.action)
    if not charge_point.accepted and call.action != "BootNotification" and not asked_for:
        # OCPP-J errata 3.10: nothing else before the charge point is accepted.
        return SecurityError(
            f"The charge point is {charge_point.registration_status}, only BootNotification is allowed."
        )
    function = FROM_CHARGE_POINT.get(call.action)
    if function is None:
        return NotSupported(f"{call.action} is not supported.")
    return function(charge_point, call.req, call.received_at)


# --- message log ------------------------------------------------------------------------------------------------------
def _log_call(batch: Batch, call: InboundCall, answer: Any, now: datetime) -> None:
    """The CALL and our answer, as two rows; `latency_ms` up to the commit that is about to happen."""
    payload = dumps(masked(call.action, call.payload))
    batch.add_message(
        call.link.charge_point_id, True, MessageType.CALL.value, call.action, call.message_id, payload,
        call.received_at, None, "",
    )  # fmt: skip
    latency_ms = round((monotonic() - call.arrived) * 1000, 3)
    if isinstance(answer, OcppError):
        kind, body, error = MessageType.CALLERROR.value, answer.details or {}, f"{answer.code}: {answer.description}"
    else:
        kind, body, error = MessageType.CALLRESULT.value, result_payload(answer), ""
    batch.add_message(
        call.link.charge_point_id, False, kind, call.action, call.message_id, dumps(body) if body else "{}",
        now, latency_ms, error,
    )  # fmt: skip


def _log_entry(batch: Batch, entry: LogEntry) -> None:
    payload = masked(entry.action, entry.payload, secret_keys.listed(entry.action, entry.link.tenant_id))
    batch.add_message(
        entry.link.charge_point_id, entry.incoming, entry.message_type.value, entry.action[:255],
        entry.message_id[:255],
        payload if isinstance(payload, str) else dumps(payload), entry.received_at,
        entry.latency_ms, masked_url(entry.error),
    )  # fmt: skip
