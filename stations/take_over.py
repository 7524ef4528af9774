"""The newest socket wins: make accepted handshakes the connections of their charge points, many in one transaction.

Each raises its charge point's generation; whatever belongs to an older one (a socket in whichever process, what was
sent there and not answered) is over from the commit on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from django.db import connection, transaction

from stations import commands, connection_attempts, lane_sql, passwords, rivals, security_profiles
from stations.certificates import presented
from stations.models import ChargePoint, Command
from stations.models.charge_point import SecurityProfile
from stations.models.command import OPEN_STATUSES, CommandStatus
from tenants.postgresql.arrays import as_array
from tenants.postgresql.exchange import Statement
from tenants.scope import current_tenant_id

if TYPE_CHECKING:
    from stations.handshake import Request

# Locked in the order of their ids: two that meet on the same rows wait instead of deadlocking.
_RAISE = Statement(
    "WITH come AS (SELECT * FROM json_to_recordset(%s::json) AS come (id bigint, address text)),"
    " locked AS (SELECT id FROM stations_chargepoint WHERE tenant_id = %s AND id = ANY(%s)"
    " ORDER BY id FOR NO KEY UPDATE)"
    " UPDATE stations_chargepoint AS c SET connection_generation = c.connection_generation + 1,"
    " connection_owner = %s, connected = true, connected_at = %s, last_seen_at = %s, remote_address = come.address"
    " FROM locked JOIN come USING (id) WHERE c.id = locked.id RETURNING c.id, c.connection_generation"
)
_RAISE_ONE = (
    "UPDATE stations_chargepoint SET connection_generation = connection_generation + 1, connection_owner = %s,"
    " connected = 1, connected_at = %s, last_seen_at = %s, remote_address = %s WHERE tenant_id = %s AND id = %s"
)
_RAISED = (
    "SELECT id, connection_generation FROM stations_chargepoint"
    " WHERE tenant_id = %s AND id IN (SELECT value FROM json_each(%s))"
)


@dataclass(slots=True)
class Arrival:
    """A handshake that is let in. `held_to`: the security profile that it had to have.

    `plain`: it proved just what was in force, and nothing newer is on its way to the charge point.
    """

    charge_point: ChargePoint
    request: Request
    profile: SecurityProfile
    held_to: int
    plain: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an arrival: its generation, and whether commands wait for it."""

    generation: int
    has_commands: bool


def take_over(arrivals: Sequence[Arrival], owner: str, now: datetime) -> list[Taken | None]:
    """Make each of `arrivals`, of as many charge points of the open tenant, the newest connection of its charge point.

    `owner` is the ServerProcess that has the sockets. None for a charge point that is gone.
    """
    with ExitStack() as stack, transaction.atomic():
        generations = _raise_generations(arrivals, owner, now)
        here = [one for one in arrivals if one.charge_point.pk in generations]
        has_commands = _end_older(generations)
        for one in here:
            if not one.plain:
                passwords.proved(one.charge_point, one.request.proof)
                security_profiles.proved(one.charge_point, one.held_to)
            if one.request.certificate is not None:
                presented.note_use(one.charge_point, one.request.certificate, now)
        # More than one step: another socket was accepted since the charge point was read.
        replacing = [
            one
            for one in here
            if one.charge_point.connected
            or generations[one.charge_point.pk] != one.charge_point.connection_generation + 1
        ]
        if not replacing:
            stack.enter_context(lane_sql.with_commit())
        connection_attempts.record_accepted([(one.request, one.charge_point, one.profile) for one in here], now)
        for one in replacing:
            _replace(one.charge_point, generations[one.charge_point.pk], now)
    taken = {pk: Taken(generation, pk in has_commands) for pk, generation in generations.items()}
    return [taken.get(one.charge_point.pk) for one in arrivals]


def _raise_generations(arrivals: Sequence[Arrival], owner: str, now: datetime) -> dict[int, int]:
    """The new generation of each charge point that still exists, by its id."""
    tenant_id = current_tenant_id()
    addresses = sorted((one.charge_point.pk, one.request.address) for one in arrivals)
    ids = [pk for pk, _ in addresses]
    if connection.vendor == "postgresql":
        database: Any = connection
        come = orjson.dumps([{"id": pk, "address": address} for pk, address in addresses]).decode()
        at = now.isoformat()
        (raised,) = database.ask((_RAISE, (come, str(tenant_id), as_array("plain", ids), owner, at, at)))
        return dict(raised)
    stored = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.executemany(_RAISE_ONE, [(owner, stored, stored, address, tenant_id, pk) for pk, address in addresses])
        cursor.execute(_RAISED, [tenant_id, orjson.dumps(ids).decode()])
        return dict(cursor.fetchall())


def _end_older(generations: Mapping[int, int]) -> set[int]:
    """Close what was sent on older connections and not answered; gives the charge points for which something waits."""
    open_commands = Command.objects.filter(charge_point_id__in=generations, status__in=OPEN_STATUSES).order_by()
    waiting: set[int] = set()
    sent: set[int] = set()
    for pk, status in open_commands.values_list("charge_point_id", "status").distinct():
        (sent if status == CommandStatus.SENT else waiting).add(pk)
    for pk in sorted(sent):
        if commands.connection_lost(pk, generations[pk] - 1):
            waiting.add(pk)
    return waiting


def _replace(charge_point: ChargePoint, generation: int, now: datetime) -> None:
    """An older socket may still be open, here or in another process."""
    rivals.note_take_over(charge_point, now)
    message = {"type": "charge_point.superseded", "generation": generation}
    transaction.on_commit(lambda: commands.notify([charge_point.pk], message))
