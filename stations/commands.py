"""Life of an outbound CALL: enqueue, take_next, finish.

Context: whoever wants something of a charge point (admin, REST, a job) is rarely in the process that has its socket,
the socket may die at any moment, and a message broker forgets.
Choice: the Command row is the truth. The channel layer only rings a doorbell, which may be lost: the process that has
the socket also looks at connect, after each answer, and every few seconds (stations/connections.py).

    queued --take_next--> sent --CALLRESULT--> answered
       |                   |----CALLERROR----> error
       |                   |----silence------> timed_out   (a late answer is recorded, the status stays)
       |                   `----socket died--> unknown     (or queued again, if repeating it does no harm, after
       |                                                    growing pauses, CSMS_COMMAND_ATTEMPTS times in all)
       |--too late--> expired
       `--operator--> withdrawn

Consequence: nothing ever waits for a charge point. At most one CALL is outstanding per connection, and nothing is
sent that has no row.

A request to a thousand charge points is one INSERT and one message to the channel layer for all of them; what the lane
then does about each, it does for a batch at a time (stations/open_commands.py): the functions below change the rows in
memory, the batch writes them before it commits.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from csms.ocppj.payloads import order_call, parse_result, validate_call
from stations import secret_keys
from stations.batch import Batch, open_batch
from stations.masking import MASK, masked, masked_url
from stations.models import ChargePoint, Command, CommandBatch, Connector, Transaction
from stations.models.charge_point import RegistrationStatus
from stations.models.command import OPEN_STATUSES, CommandStatus
from stations.ocpp.actions import COMPLETE, QUEUED, TO_CHARGE_POINT, WARNINGS, WITHOUT_ANSWER
from stations.ocpp.security.credentials import is_profile_key
from stations.refusal import CommandRefused
from stations.sealing import SealBroken, opened, sealed
from tenants.models import Tenant
from tenants.scope import tenant_scope

__all__ = ["CommandRefused", "enqueue", "enqueue_many"]

logger = logging.getLogger(__name__)

# Seconds a command may wait for its charge point (api.md); what is not named waits as long as configuration.
MINUTE, WEEK = 60, 7 * 24 * 3600
TIME_TO_LIVE_SECONDS = {
    "RemoteStartTransaction": MINUTE,
    "RemoteStopTransaction": 5 * MINUTE,
    "UnlockConnector": MINUTE,
    "TriggerMessage": MINUTE,
    "ExtendedTriggerMessage": MINUTE,
    "ReserveNow": MINUTE,
    "CancelReservation": 60 * MINUTE,
    "Reset": 5 * MINUTE,
    "DataTransfer": 5 * MINUTE,
    "GetCompositeSchedule": 5 * MINUTE,
    "GetLocalListVersion": 5 * MINUTE,
    "GetInstalledCertificateIds": 5 * MINUTE,
}
DEFAULT_TIME_TO_LIVE_SECONDS = WEEK
# Sending these twice does what sending them once does.
IDEMPOTENT = {
    "ChangeAvailability", "ChangeConfiguration", "ClearCache", "GetCompositeSchedule", "GetConfiguration",
    "GetInstalledCertificateIds", "GetLocalListVersion", "SetChargingProfile",
}  # fmt: skip
# OCPP 1.6 section 4.2: not while the registration is Pending.
NOT_WHILE_PENDING = ("RemoteStartTransaction", "RemoteStopTransaction")


def usual_life_seconds(action: str) -> int:
    """How long a command waits for its charge point unless it says otherwise."""
    return TIME_TO_LIVE_SECONDS.get(action, DEFAULT_TIME_TO_LIVE_SECONDS)


# --- enqueue ----------------------------------------------------------------------------------------------------------
def enqueue(
    charge_point: ChargePoint,
    action: str,
    payload: dict[str, Any],
    requested_by: str,
    *,
    reason: str = "",
    time_to_live_seconds: int | None = None,
    batch: CommandBatch | None = None,
) -> Command:
    """Write a queued Command in the caller's transaction and ring when it commits.

    `payload` is the OCPP request as JSON; members keep their values, absent members stay absent. Unwise but possible
    requests get `warnings`. Raises CommandRefused: `unknown_action`, `invalid_payload`, `tenant_suspended`,
    `charge_point_disabled`.
    """
    payload = _checked(charge_point, action, payload)
    _check_receiver(charge_point)
    stored = sealed(payload, secret_keys.listed(action, charge_point.tenant_id))
    command = _new(charge_point, action, stored, requested_by, reason, time_to_live_seconds, batch)
    command.warnings = warnings(charge_point, action, payload)
    with transaction.atomic():
        command.save(force_insert=True)
        _note_queued(command)
        ring_on_commit([charge_point.pk])
    return command


def _note_queued(command: Command) -> None:
    """The rows of the command's profile that must exist before the charge point answers."""
    queued = QUEUED.get(command.action)
    if queued is not None:
        queued(command)


def enqueue_many(
    charge_points: Iterable[ChargePoint], action: str, payload: dict[str, Any], requested_by: str, *, reason: str = ""
) -> CommandBatch:
    """The same request to many charge points of the open tenant; disabled ones are left out. Raises CommandRefused.

    No query a charge point, but where the profile completes the payload or keeps rows of each request.
    """
    now = datetime.now(UTC)
    chosen = [charge_point for charge_point in charge_points if not charge_point.disabled]
    with transaction.atomic():
        batch = CommandBatch.objects.create(action=action, requested_by=requested_by[:200], created_at=now)
        payloads = _checked_for_all(chosen, action, payload)
        listed = secret_keys.listed(action, batch.tenant_id)
        if chosen:
            _check_receiver(chosen[0])
        rows = [
            _new(charge_point, action, sealed(its_payload, listed), requested_by, reason, None, batch)
            for charge_point, its_payload in zip(chosen, payloads, strict=True)
        ]
        Command.objects.bulk_create(rows, batch_size=500)
        for command in rows:
            _note_queued(command)
        ring_on_commit([charge_point.pk for charge_point in chosen])
    return batch


def _checked_for_all(charge_points: list[ChargePoint], action: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The payload for each of the charge points: the same, unless the action has something of its own for each."""
    if action in COMPLETE:
        return [_checked(charge_point, action, payload) for charge_point in charge_points]
    return [_checked(charge_points[0], action, payload)] * len(charge_points) if charge_points else []


def _checked(charge_point: ChargePoint, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The complete payload, in the order of the schema. Raises CommandRefused."""
    if action not in TO_CHARGE_POINT:
        raise CommandRefused("unknown_action", f"{action!r} is not a request that a central system sends.")
    if action in COMPLETE:
        payload = COMPLETE[action](charge_point, payload)
    problems = validate_call(action, payload)
    if problems:
        raise CommandRefused("invalid_payload", f"The payload is not a valid {action}.req.", problems)
    return order_call(action, payload)


def _check_receiver(charge_point: ChargePoint) -> None:
    tenant: Tenant = charge_point.tenant
    if tenant.is_suspended:
        raise CommandRefused("tenant_suspended", "The tenant is suspended; no commands are sent.")
    if charge_point.disabled:
        raise CommandRefused("charge_point_disabled", "The charge point is disabled; it cannot connect.")


def _new(
    charge_point: ChargePoint,
    action: str,
    payload: dict[str, Any],
    requested_by: str,
    reason: str,
    time_to_live_seconds: int | None,
    batch: CommandBatch | None,
) -> Command:
    now = datetime.now(UTC)
    life = time_to_live_seconds or usual_life_seconds(action)
    return Command(
        charge_point=charge_point,
        tenant_id=charge_point.tenant_id,
        action=action,
        payload=payload,
        requested_by=requested_by[:200],
        reason=reason[:500],
        batch=batch,
        created_at=now,
        expires_at=now + timedelta(seconds=life),
    )


def warnings(charge_point: ChargePoint, action: str, payload: dict[str, Any]) -> list[dict[str, str]]:
    """What is unwise about a valid request, as a list of {code, detail}; never a reason not to send it."""
    found: list[tuple[str, str]] = []
    connector_id = payload.get("connectorId")
    if isinstance(connector_id, int) and connector_id > 0:
        known = Connector.objects.filter(charge_point=charge_point).values_list("connector_id", flat=True)
        if known and connector_id not in known:
            found.append(("unknown_connector", f"The charge point has not reported a connector {connector_id}."))
    transaction_id = payload.get("transactionId")
    if action == "RemoteStopTransaction" and isinstance(transaction_id, int):
        tx = Transaction.objects.filter(charge_point=charge_point, pk=transaction_id).first()
        if tx is None:
            found.append(("unknown_transaction", f"Transaction {transaction_id} is not one of this charge point."))
        elif not tx.active:
            found.append(("transaction_ended", f"Transaction {transaction_id} has ended."))
    if action in WARNINGS:
        found.extend(WARNINGS[action](charge_point, payload))
    if not charge_point.connected:
        found.append(("charge_point_offline", "The charge point is not connected; the command waits until it expires."))
    if charge_point.registration_status == RegistrationStatus.REJECTED:
        found.append(("charge_point_rejected", "The registration is Rejected; nothing is sent until it is accepted."))
    elif charge_point.registration_status == RegistrationStatus.PENDING and action in NOT_WHILE_PENDING:
        found.append(("charge_point_pending", f"{action} is not sent while the registration is Pending."))
    return [{"code": code, "detail": detail} for code, detail in found]


def withdraw(command: Command) -> bool:
    """Withdraw a command that is still queued; False when it is not any more."""
    with transaction.atomic():
        withdrawn = Command.objects.filter(pk=command.pk, status=CommandStatus.QUEUED).update(
            status=CommandStatus.WITHDRAWN, payload=masked(command.action, command.payload)
        )
        if withdrawn:
            command.status = CommandStatus.WITHDRAWN
            _note_without_answer(command, datetime.now(UTC))
    return bool(withdrawn)


def withdraw_many(rows: QuerySet[Command]) -> int:
    """Withdraw those of `rows` that are still queued; gives their number."""
    with transaction.atomic():
        return sum(withdraw(command) for command in rows.filter(status=CommandStatus.QUEUED).order_by("pk"))


def _note_without_answer(command: Command, now: datetime) -> None:
    """Tell the command's profile that no confirmation came, and why: the command's status."""
    without_answer = WITHOUT_ANSWER.get(command.action)
    if without_answer is not None:
        without_answer(command, now)


# --- the doorbell -----------------------------------------------------------------------------------------------------
def group_name(charge_point_id: int) -> str:
    """The channel-layer group that the charge point's connection listens to."""
    return f"charge_point.{charge_point_id}"


def ring_on_commit(charge_point_ids: list[int]) -> None:
    """Tell whoever has these charge points' sockets, once the rows are there, that there is something to send."""
    transaction.on_commit(lambda: notify(charge_point_ids, {"type": "charge_point.ring"}))


def notify(charge_point_ids: list[int], message: dict[str, Any]) -> None:
    """Send `message` to the connections of charge points; lost when the layer is down, and that is logged only."""
    send = async_to_sync(get_channel_layer().group_send_to_all)
    try:
        send([group_name(charge_point_id) for charge_point_id in charge_point_ids], message)
    except (OSError, ConnectionError, TimeoutError) as error:
        logger.warning("Doorbell not rung (%s); the rows will be found by the next look.", type(error).__name__)
    except Exception as error:
        if not type(error).__module__.startswith("redis"):
            raise
        logger.warning("Doorbell not rung (%s); the rows will be found by the next look.", type(error).__name__)


# --- taken, in the lane of the charge point ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Outgoing:
    """A command that has just become `sent`: what the session puts on the wire."""

    message_id: str
    action: str
    payload: dict[str, Any]


def take_next(charge_point: ChargePoint, now: datetime, *, generation: int, message_id: str) -> Outgoing | None:
    """Turn the oldest queued command of `charge_point` into `sent`, or give None.

    None also while the registration is Rejected, the tenant suspended, or the connection not the newest: a replaced
    socket must not take what belongs to the new one. The caller has nothing outstanding; so what is `sent` all the same
    was lost, with a commit whose success nobody heard of or with an answer that could not be stored.
    """
    if charge_point.connection_generation != generation or charge_point.tenant.is_suspended:
        return None
    if charge_point.registration_status == RegistrationStatus.REJECTED:
        return None
    with open_batch() as batch:
        held: set[int] = set()
        while (command := _first_open(batch, charge_point, held)) is not None:
            if command.status == CommandStatus.SENT:
                _lost(batch, command, now)
                continue
            if command.expires_at <= now:
                _close_without_answer(batch, command, CommandStatus.EXPIRED, now)
                continue
            if command.not_before is not None and command.not_before > now:
                # It has cost the line before, perhaps by itself: those behind it do not wait for it.
                held.add(command.pk)
                continue
            if charge_point.registration_status == RegistrationStatus.PENDING and command.action in NOT_WHILE_PENDING:
                held.add(command.pk)
                continue
            try:
                payload = opened(command.payload)
            except SealBroken as broken:
                command.warnings = [*command.warnings, {"code": "secret_lost", "detail": str(broken)}]
                _close_without_answer(batch, command, CommandStatus.EXPIRED, now)
                continue
            command.status = CommandStatus.SENT
            command.sent_at = datetime.now(UTC)
            command.attempts += 1
            command.message_id = message_id
            command.connection_generation = generation
            if payload is not command.payload:
                # It is on its way: whoever reads the row from now on needs no secret.
                command.payload = masked(command.action, command.payload)
            batch.commands.put(command)
            # A JSON column does not keep the order of members; the wire has that of the schema.
            return Outgoing(message_id, command.action, order_call(command.action, payload))
    return None


def _first_open(batch: Batch, charge_point: ChargePoint, held: Collection[int]) -> Command | None:
    """What is sent and has to be given up, else the oldest that is queued.

    Asked anew each time: the end of one command may have been the end of others (a list sent in parts).
    """
    rows = [row for row in batch.commands.of(charge_point.pk) if row.status in OPEN_STATUSES and row.pk not in held]
    return min(rows, key=lambda row: (row.status != CommandStatus.SENT, row.pk), default=None)


# --- finished, in the lane of the charge point ------------------------------------------------------------------------
def answered(charge_point: ChargePoint, now: datetime, *, message_id: str, payload: Any, late: bool) -> None:
    """Record a CALLRESULT and let the profile function take in what it changes."""
    with open_batch() as batch:
        command = _outstanding(batch, charge_point, message_id)
        if command is None:
            return
        conf, deviations = parse_result(command.action, payload)
        listed = secret_keys.listed(command.action, command.tenant_id)
        command.response = masked(command.action, payload, listed)
        command.answered_at = now
        if conf is None or deviations:
            command.warnings = [
                *command.warnings,
                {"code": "invalid_response", "detail": "; ".join(f"{d.pointer}: {d.detail}" for d in deviations)[:500]},
            ]
            if charge_point.note_deviations(f"{command.action}.conf", deviations, now):
                batch.update(charge_point, ("deviations",))
        status = CommandStatus.TIMED_OUT if late else CommandStatus.ANSWERED
        if conf is None:
            _close_without_answer(batch, command, status, now)
            return
        # A late answer changes what it says all the same: the charge point has done it.
        TO_CHARGE_POINT[command.action](command, conf, now)
        _close(batch, command, status)


def failed(
    charge_point: ChargePoint,
    now: datetime,
    *,
    message_id: str,
    code: str,
    description: str,
    details: Any,
    late: bool,
) -> None:
    """Record a CALLERROR: a normal outcome, nothing is sent again."""
    with open_batch() as batch:
        command = _outstanding(batch, charge_point, message_id)
        if command is None:
            return
        listed = secret_keys.listed(command.action, command.tenant_id)
        command.error = {
            "code": code, "description": masked_url(description), "details": masked(command.action, details, listed),
        }  # fmt: skip
        command.answered_at = now
        _close_without_answer(batch, command, CommandStatus.TIMED_OUT if late else CommandStatus.ERROR, now)


def timed_out(charge_point: ChargePoint, now: datetime, *, message_id: str) -> None:
    """Record that no answer came in time; the row keeps its message id for a late one."""
    with open_batch() as batch:
        command = _outstanding(batch, charge_point, message_id)
        if command is not None and command.status == CommandStatus.SENT:
            _close_without_answer(batch, command, CommandStatus.TIMED_OUT, now)


def connection_lost(charge_point_id: int, generation: int) -> bool:
    """What was sent on a connection up to `generation` and not answered: queued again if harmless, else `unknown`.

    Gives whether anything is queued now.

    A secret or a security profile in flight is never repeated by itself: which of the two values holds shows when the
    charge point connects.
    """
    with open_batch() as batch:
        rows = list(batch.commands.of(charge_point_id))
        for command in rows:
            sent_on = command.connection_generation
            if command.status == CommandStatus.SENT and sent_on is not None and sent_on <= generation:
                _lost(batch, command, datetime.now(UTC))
        return any(command.status == CommandStatus.QUEUED for command in rows)


def _lost(batch: Batch, command: Command, now: datetime) -> None:
    """Nobody will hear the answer to a command that was sent: queue it again if that is harmless, else `unknown`.

    Also `unknown` once it was sent CSMS_COMMAND_ATTEMPTS times: one that costs the line each time would do so for ever.
    The first repetition waits for nothing but the line, those after it for pauses that double.
    """
    key, value = command.payload.get("key"), command.payload.get("value")
    harmless = command.action in IDEMPOTENT and not (value == MASK or is_profile_key(key))
    if harmless and command.attempts < settings.CSMS_COMMAND_ATTEMPTS:
        if command.attempts > 1:
            pause_seconds = settings.CSMS_COMMAND_RETRY_SECONDS * 2 ** (command.attempts - 2)
            command.not_before = now + timedelta(seconds=pause_seconds)
        command.status, command.message_id, command.sent_at = CommandStatus.QUEUED, "", None
        batch.commands.put(command)
    else:
        if harmless:
            detail = f"Sent {command.attempts} times, and each time the connection was lost before the answer."
            command.warnings = [*command.warnings, {"code": "attempts_exhausted", "detail": detail}]
            logger.warning("%s %d is given up: %s", command.action, command.pk, detail)
        _close_without_answer(batch, command, CommandStatus.UNKNOWN, now)


def forget_lost() -> int:
    """Close, or queue again, what was sent to charge points that are not connected any more; gives the number.

    Their connection's end should have done it, but the database was away then, or the process was killed.
    """
    lost = Command.objects.filter(status=CommandStatus.SENT, charge_point__connected=False)
    forgotten = 0
    for command in lost.select_related("charge_point").order_by("id")[:5000]:
        with tenant_scope(command.tenant_id), transaction.atomic():
            connection_lost(command.charge_point_id, command.charge_point.connection_generation)
            forgotten += 1
    return forgotten


def expire_all(now: datetime) -> int:
    """Expire every queued command whose time is over, of the tenants the open scope covers; the number of them."""
    rows = Command.objects.filter(status=CommandStatus.QUEUED, expires_at__lte=now)
    expired = 0
    while chunk := list(rows.order_by("id")[:500]):
        for command in chunk:
            with tenant_scope(command.tenant_id), transaction.atomic():
                # Taken or withdrawn meanwhile: not ours any more.
                if rows.filter(pk=command.pk).update(
                    status=CommandStatus.EXPIRED, payload=masked(command.action, command.payload)
                ):
                    command.status = CommandStatus.EXPIRED
                    _note_without_answer(command, now)
                    expired += 1
    return expired


def _outstanding(batch: Batch, charge_point: ChargePoint, message_id: str) -> Command | None:
    """The command that was sent as `message_id`; the answer to one that is closed may come late."""
    if not message_id:
        return None
    for command in batch.commands.of(charge_point.pk):
        if command.message_id == message_id:
            return command
    batch.commands.write()
    return Command.objects.filter(charge_point=charge_point, message_id=message_id).order_by("-id").first()


def _close(batch: Batch, command: Command, status: CommandStatus) -> None:
    command.status = status
    command.payload = masked(command.action, command.payload)
    batch.commands.put(command)


def _close_without_answer(batch: Batch, command: Command, status: CommandStatus, now: datetime) -> None:
    _close(batch, command, status)
    if command.action in WITHOUT_ANSWER:
        # Its profile asks the database what became of it.
        batch.commands.write()
        _note_without_answer(command, now)
